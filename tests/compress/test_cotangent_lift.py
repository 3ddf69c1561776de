from functools import partial

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import cotangent_lift, gram
from rom.compress.cotangent_lift import CotangentLift
from rom.compress.pod import POD

ODD_COLUMNS = "its data have an odd number of columns, which cannot hold pairs (q, p)"
ONE_COMPONENT = "it sets n_components=1, and a pair has two coordinates"
EXPECTED_FAILURES = {
    "check_fit_score_takes_y": ODD_COLUMNS,
    "check_estimators_dtypes": ODD_COLUMNS,
    "check_pipeline_consistency": ODD_COLUMNS,
    "check_estimators_nan_inf": ODD_COLUMNS,
    "check_estimators_pickle": ODD_COLUMNS,
    "check_f_contiguous_array_estimator": ODD_COLUMNS,
    "check_transformer_data_not_an_array": ODD_COLUMNS,
    "check_transformer_general": ODD_COLUMNS,
    "check_transformer_preserve_dtypes": ODD_COLUMNS,
    "check_dict_unchanged": ODD_COLUMNS,
    "check_dont_overwrite_parameters": ONE_COMPONENT,
    "check_methods_sample_order_invariance": ONE_COMPONENT,
    "check_methods_subset_invariance": ONE_COMPONENT,
    "check_fit2d_1sample": ONE_COMPONENT,
    "check_fit2d_1feature": ONE_COMPONENT,
    "check_fit2d_predict1d": ONE_COMPONENT,
}


@parametrize_with_checks(
    [CotangentLift(), CotangentLift(2, center=True)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def canonical(n):
    """J = [[0, I], [-I, 0]] of n pairs."""
    return np.kron([[0, 1], [-1, 0]], np.eye(n))


def snapshots(n_time=30, n_pairs=20, rank=6, decay=0.5, seed=0, offset=0.0):
    """States [q, p] whose q and p lie together in a subspace of dimension `rank`."""
    rng = np.random.default_rng(seed)
    shapes = np.linalg.qr(rng.normal(size=(n_pairs, rank)))[0].T
    q, p = rng.normal(size=(2, n_time, rank)) * decay ** np.arange(rank)
    return np.hstack([q @ shapes, p @ shapes]) + offset * rng.normal(size=2 * n_pairs)


def halves(X):
    return np.vstack(np.hsplit(X, 2))


@pytest.fixture(params=["svd", "gram", "dask"])
def as_solver(request, monkeypatch):
    """Run the same data through each way of computing the decomposition."""
    if request.param == "gram":
        monkeypatch.setattr(cotangent_lift, "POD", partial(POD, solver="gram"))
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 60 * 7)  # several uneven blocks
    return (lambda X: da.from_array(X, chunks=(7, 17))) if request.param == "dask" else np.asarray


@pytest.mark.parametrize("center", [False, True])
def test_basis_is_symplectic_and_orthonormal(as_solver, center):
    X = snapshots(offset=1.0)
    V = CotangentLift(8, center=center).fit(as_solver(X)).components_.T
    np.testing.assert_allclose(V.T @ canonical(20) @ V, canonical(4), atol=1e-13)
    np.testing.assert_allclose(V.T @ V, np.eye(8), atol=1e-13)
    symplectic_inverse = canonical(4).T @ V.T @ canonical(20)
    np.testing.assert_allclose(symplectic_inverse, V.T, atol=1e-15)


def test_modes_and_singular_values_are_those_of_q_and_p_together(as_solver):
    X = snapshots()
    lift = CotangentLift(6).fit(as_solver(X))
    _, s, Vt = np.linalg.svd(halves(X), full_matrices=False)
    Phi = lift.components_[:3, :20]
    np.testing.assert_allclose(abs(np.sum(Phi * Vt[:3], axis=1)), 1, atol=1e-10)
    np.testing.assert_array_equal(lift.components_, np.kron(np.eye(2), Phi))
    np.testing.assert_allclose(lift.singular_values_, [*s[:3], *s[:3]], rtol=1e-8)
    assert lift.rank_ == 6


@pytest.mark.parametrize(("center", "offset"), [(False, 0.0), (True, 3.0)])
def test_states_in_the_span_come_back(as_solver, center, offset):
    X = snapshots(offset=offset)
    lift = CotangentLift(12, center=center).fit(as_solver(X))
    mean = X.mean(axis=0) if center else np.zeros(40)
    np.testing.assert_allclose(lift.mean_, mean, atol=1e-14)
    np.testing.assert_allclose(
        lift.inverse_transform(lift.transform(as_solver(X))), X, atol=1e-10 * abs(X).max()
    )
    Z = np.random.default_rng(1).normal(size=(7, 12))
    np.testing.assert_allclose(lift.transform(lift.inverse_transform(Z)), Z, atol=1e-12)


@given(rank=st.integers(1, 5), seed=st.integers(0, 100), center=st.booleans())
@settings(max_examples=25, deadline=None)
def test_projection_error_is_the_energy_left_out(rank, seed, center):
    X = snapshots(seed=seed, offset=1.0)
    lift = CotangentLift(2 * rank, center=center).fit(X)
    centred = X - lift.mean_
    s = np.linalg.svd(halves(centred), compute_uv=False)
    lost = np.linalg.norm(X - lift.inverse_transform(lift.transform(X)))
    assert lost == pytest.approx(np.linalg.norm(s[rank:]), rel=1e-8)
    # The best subspace without structure is no worse, and none with it is better.
    assert POD(2 * rank, center=center).fit(X).projection_error(X) <= (
        lost / np.linalg.norm(centred) * (1 + 1e-12)
    )
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(20, rank)))[0]
    assert lost <= np.linalg.norm(halves(centred) @ (np.eye(20) - Q @ Q.T))


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_projecting_hamiltonian_equations_gives_hamiltonian_equations(offset):
    """Vᵀ J ∇H(V z + m) is J ∇ of z ↦ H(V z + m), here for H(x) = xᵀ L x / 2 + l x."""
    rng = np.random.default_rng(0)
    L = np.cov(rng.normal(size=(40, 200)))
    linear = rng.normal(size=40)
    lift = CotangentLift(8, center=bool(offset)).fit(snapshots(offset=offset))
    V, m, z = lift.components_.T, lift.mean_, rng.normal(size=8)
    projected = V.T @ canonical(20) @ (L @ (V @ z + m) + linear)
    reduced_gradient = V.T @ L @ V @ z + V.T @ (L @ m + linear)
    np.testing.assert_allclose(projected, canonical(4) @ reduced_gradient, atol=1e-12)


@given(fraction=st.floats(0.05, 0.999))
@settings(max_examples=20, deadline=None)
def test_energy_fraction_is_reached_by_the_fewest_pairs(fraction):
    X = snapshots()
    lift = CotangentLift(fraction).fit(X)
    s = np.linalg.svd(halves(X), compute_uv=False)
    kept = np.cumsum(s**2) / np.sum(s**2)
    assert kept[lift.rank_ // 2 - 1] >= fraction - 1e-12
    assert lift.rank_ == 2 or kept[lift.rank_ // 2 - 2] < fraction + 1e-12


def test_all_modes_are_kept_by_default():
    assert CotangentLift().fit(snapshots(rank=6)).rank_ == 12


def test_float32_stays_float32_and_sums_in_float64(as_solver):
    X = snapshots(offset=100.0).astype(np.float32)
    lift = CotangentLift(4, center=True).fit(as_solver(X))
    Z = lift.transform(as_solver(X))
    assert lift.components_.dtype == lift.mean_.dtype == Z.dtype == np.float32
    exact = np.linalg.svd(halves(X - X.mean(axis=0, dtype=float)), compute_uv=False)
    np.testing.assert_allclose(lift.singular_values_[:2], exact[:2], rtol=1e-8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("center", [False, True])
def test_input_is_not_written_to(as_solver, order, center):
    X = np.asarray(snapshots(), order=order)
    before = X.copy()
    lift = CotangentLift(4, center=center).fit(as_solver(X))
    lift.transform(as_solver(X))
    np.testing.assert_array_equal(X, before)
    np.testing.assert_allclose(
        abs(lift.components_), abs(CotangentLift(4, center=center).fit(X).components_), atol=1e-6
    )


@pytest.mark.parametrize("chunks", [(30, 7), (30, 40), (7, 40), (7, 17)])
def test_lazy_halves_keep_the_direction_of_their_chunks(chunks):
    X = snapshots()
    rows = cotangent_lift._halves_as_rows(da.from_array(X, chunks=chunks))
    assert rows.numblocks[0 if chunks[0] == 30 else 1] == 1
    np.testing.assert_array_equal(sorted(rows.compute().tolist()), sorted(halves(X).tolist()))


def test_halves_are_a_view():
    X = snapshots()
    assert np.shares_memory(cotangent_lift._halves_as_rows(X), X)


@pytest.mark.parametrize(
    ("X", "n", "message"),
    [
        (np.eye(5), 2, r"even number of columns.*but X has 5"),
        (np.eye(6), 3, r"n_components must be even.*but it is 3"),
        (np.eye(6), 0, "n_components"),
        (np.eye(6), 8, r"CotangentLift\(8\) takes half.*n_components=4 must be at most"),
        (snapshots(rank=2), 8, r"CotangentLift\(8\) takes half.*n_components=4.*rank 2"),
        (np.zeros((4, 6)), None, "no modes"),
        (da.from_array(np.full((4, 6), np.nan)), 2, "not finite"),
    ],
)
def test_bad_input_is_named(X, n, message):
    with pytest.raises(ValueError, match=message):
        CotangentLift(n).fit(X)
