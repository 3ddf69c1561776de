import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import gram, pod
from rom.compress.identity import Identity
from rom.compress.pod import POD


def snapshots(n_time=60, n_space=40, decay=0.5, seed=0, offset=3.0):
    """Snapshots with known singular values decay**k about a known mean."""
    rng = np.random.default_rng(seed)
    r = min(n_time - 1, n_space, 12)
    U = np.linalg.qr(np.c_[np.ones(n_time), rng.normal(size=(n_time, r))])[0][:, 1 : r + 1]
    V = np.linalg.qr(rng.normal(size=(n_space, r)))[0]
    s = decay ** np.arange(r)
    return (U * s) @ V.T + offset * rng.normal(size=n_space), s


@parametrize_with_checks([POD(), POD(n_components=1), Identity()])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(params=["svd", "gram", "dask"])
def as_solver(request, monkeypatch):
    """Run the same data through each way of computing the decomposition."""
    if request.param == "gram":
        monkeypatch.setattr(pod, "DIRECT_SVD_COST", 0)
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 60 * 7)  # several uneven blocks
    return (lambda X: da.from_array(X, chunks=(13, 17))) if request.param == "dask" else np.asarray


@pytest.mark.parametrize("shape", [(60, 40), (30, 100), (100, 30)])
def test_singular_values_are_the_known_ones(as_solver, shape):
    X, s = snapshots(*shape)
    fitted = POD(n_components=8).fit(as_solver(X))
    np.testing.assert_allclose(fitted.singular_values_, s[:8], rtol=1e-8)
    np.testing.assert_allclose(
        fitted.explained_variance_ratio_, s[:8] ** 2 / (s**2).sum(), rtol=1e-8
    )
    np.testing.assert_allclose(fitted.mean_, X.mean(axis=0), atol=1e-12)


def test_modes_are_orthonormal_to_rounding_even_the_weak_ones(as_solver):
    X, _ = snapshots(decay=0.3)
    C = POD(n_components=10).fit(as_solver(X)).components_
    np.testing.assert_allclose(C @ C.T, np.eye(10), atol=1e-12)


def test_encode_is_the_left_inverse_of_decode(as_solver):
    X, _ = snapshots()
    fitted = POD(n_components=5).fit(as_solver(X))
    Z = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(Z)), Z, atol=1e-12)
    np.testing.assert_allclose(
        fitted.transform(as_solver(X)), (X - X.mean(0)) @ fitted.components_.T, atol=1e-10
    )


def test_projection_error_is_the_energy_left_out(as_solver):
    X, s = snapshots()
    fitted = POD(n_components=4).fit(as_solver(X))
    expected = np.sqrt((s[4:] ** 2).sum() / (s**2).sum())
    assert fitted.projection_error(as_solver(X)) == pytest.approx(expected, rel=1e-8)


def test_no_subspace_of_equal_rank_is_better():
    X, _ = snapshots()
    best = POD(n_components=3).fit(X)
    centred = X - X.mean(0)
    for seed in range(20):
        Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(X.shape[1], 3)))[0]
        rival = np.linalg.norm(centred - centred @ Q @ Q.T) / np.linalg.norm(centred)
        assert best.projection_error(X) <= rival


def test_solvers_agree_in_sign(monkeypatch):
    X, _ = snapshots()
    direct = POD(n_components=6).fit(X)
    monkeypatch.setattr(pod, "DIRECT_SVD_COST", 0)
    blocked = POD(n_components=6).fit(X)
    assert (direct.solver_, blocked.solver_) == ("svd", "gram")
    np.testing.assert_allclose(direct.components_, blocked.components_, atol=1e-7)
    largest = np.abs(direct.components_).argmax(axis=1)
    assert (direct.components_[np.arange(6), largest] > 0).all()


def test_sign_of_an_antisymmetric_mode_does_not_hang_on_rounding():
    mode = np.array([[1.0, 0.5, -0.5, -1.0]])
    for nudge in (-1e-12, 0.0, 1e-12):
        assert gram.fix_signs(mode * [1, 1, 1, 1 + nudge])[0] == 1.0


@given(fraction=st.floats(0.05, 0.999), decay=st.floats(0.3, 0.95))
@settings(max_examples=30, deadline=None)
def test_energy_fraction_is_reached_by_the_smallest_rank(fraction, decay):
    X, s = snapshots(decay=decay)
    rank = POD(n_components=fraction).fit(X).rank_
    kept = np.cumsum(s**2) / (s**2).sum()
    assert kept[rank - 1] >= fraction - 1e-12
    assert rank == 1 or kept[rank - 2] < fraction + 1e-12


def test_truncated_is_the_same_as_fitting_fewer():
    X, _ = snapshots()
    short, direct = POD(n_components=9).fit(X).truncated(4), POD(n_components=4).fit(X)
    np.testing.assert_array_equal(short.components_, direct.components_)
    np.testing.assert_array_equal(short.transform(X), direct.transform(X))


def test_float32_stays_float32_and_sums_in_float64(as_solver):
    X, _ = snapshots(n_time=60, n_space=40, offset=100.0)
    fitted = POD(n_components=3).fit(as_solver(X.astype(np.float32)))
    assert (
        fitted.components_.dtype
        == fitted.transform(as_solver(X.astype(np.float32))).dtype
        == np.float32
    )
    exact = np.linalg.svd(
        X.astype(np.float32).astype(float) - X.astype(np.float32).astype(float).mean(0)
    )[1]
    np.testing.assert_allclose(fitted.singular_values_, exact[:3], rtol=1e-9)


def test_input_is_not_written_to(as_solver):
    X, _ = snapshots()
    before = X.copy()
    POD(3).fit(as_solver(X)).transform(as_solver(X))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("X", "n", "message"),
    [
        (np.ones((5, 4)), None, "constant"),
        (np.eye(4), 5, r"n_components=5 must be at most min\(n_time, n_space\) = 4"),
        (np.outer(np.arange(5.0), np.ones(4)), 2, "numerical rank 1"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), 1, "NaN"),
        (da.from_array(np.array([[1.0, np.nan], [2.0, 3.0]])), 1, "not finite"),
        (np.eye(4), 1.5, "n_components"),
        (np.eye(4), 0, "n_components"),
    ],
)
def test_bad_input_is_named(X, n, message):
    with pytest.raises(ValueError, match=message):
        POD(n).fit(X)


def test_wrong_number_of_columns_is_named():
    X, _ = snapshots()
    for bad in (X[:, :-1], da.from_array(X[:, :-1])):
        with pytest.raises(ValueError, match=r"X has 39 features, but POD is expecting 40"):
            POD(2).fit(X).transform(bad)
    with pytest.raises(ValueError, match=r"Z must be \(n_time, 2\)"):
        POD(2).fit(X).inverse_transform(np.ones((3, 3)))
