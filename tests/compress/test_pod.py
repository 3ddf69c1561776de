import functools
import itertools

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import gram, krylov, solvers
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


# Each way to the decomposition: a solver, and how the snapshots come.
WAYS = {
    "svd": ("svd", np.asarray),
    "qr": ("qr", np.asarray),
    "gram": ("gram", np.asarray),
    "krylov": ("krylov", np.asarray),
    "incremental": ("incremental", np.asarray),
    "rows": ("auto", lambda X: da.from_array(X, chunks=(13, 17))),
    "columns": ("auto", lambda X: da.from_array(X, chunks=(-1, 7))),
    "gram of rows": ("gram", lambda X: da.from_array(X, chunks=(-1 if len(X) < 61 else 13, 17))),
    "qr of columns": ("qr", lambda X: da.from_array(X, chunks=(-1, 7))),
    "krylov of columns": ("krylov", lambda X: da.from_array(X, chunks=(-1, 7))),
}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """``POD(n, ...)`` of one way, and how it wants its snapshots."""
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 60 * 7)  # several uneven blocks
    solver, as_input = WAYS[request.param]
    return functools.partial(POD, solver=solver), as_input


@pytest.mark.parametrize("shape", [(60, 40), (30, 100), (100, 30)])
def test_singular_values_are_the_known_ones(way, shape):
    make, as_input = way
    X, s = snapshots(*shape)
    fitted = make(8).fit(as_input(X))
    np.testing.assert_allclose(fitted.singular_values_, s[:8], rtol=1e-8)
    np.testing.assert_allclose(
        fitted.explained_variance_ratio_, s[:8] ** 2 / (s**2).sum(), rtol=1e-8
    )
    np.testing.assert_allclose(fitted.mean_, X.mean(axis=0), atol=1e-12)


def test_modes_are_orthonormal_to_rounding_even_the_weak_ones(way):
    make, as_input = way
    X, _ = snapshots(decay=0.3)
    C = make(10).fit(as_input(X)).components_
    np.testing.assert_allclose(C @ C.T, np.eye(10), atol=1e-12)


def test_encode_is_the_left_inverse_of_decode(way):
    make, as_input = way
    X, _ = snapshots()
    fitted = make(5).fit(as_input(X))
    Z = np.random.default_rng(1).normal(size=(7, 5))
    np.testing.assert_allclose(fitted.transform(fitted.inverse_transform(Z)), Z, atol=1e-12)
    np.testing.assert_allclose(
        fitted.transform(as_input(X)), (X - X.mean(0)) @ fitted.components_.T, atol=1e-10
    )


def test_projection_error_is_the_energy_left_out(way):
    make, as_input = way
    X, s = snapshots()
    fitted = make(4).fit(as_input(X))
    expected = np.sqrt((s[4:] ** 2).sum() / (s**2).sum())
    assert fitted.projection_error(as_input(X)) == pytest.approx(expected, rel=1e-8)


def test_no_subspace_of_equal_rank_is_better():
    X, _ = snapshots()
    best = POD(n_components=3).fit(X)
    centred = X - X.mean(0)
    for seed in range(20):
        Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(X.shape[1], 3)))[0]
        rival = np.linalg.norm(centred - centred @ Q @ Q.T) / np.linalg.norm(centred)
        assert best.projection_error(X) <= rival


@pytest.mark.parametrize("solver", ["qr", "gram", "krylov", "incremental"])
def test_solvers_agree_in_sign(solver):
    X, _ = snapshots()
    direct = POD(n_components=6).fit(X)
    tol = 1e-12 if solver == "krylov" else None  # of squares: modes are known to its root
    blocked = POD(n_components=6, solver=solver, tol=tol).fit(X)
    assert (direct.solver_, blocked.solver_) == ("svd", solver)
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


def test_float32_stays_float32_and_sums_in_float64(way):
    make, as_input = way
    X, _ = snapshots(n_time=60, n_space=40, offset=100.0)
    fitted = make(3).fit(as_input(X.astype(np.float32)))
    assert (
        fitted.components_.dtype
        == fitted.transform(as_input(X.astype(np.float32))).dtype
        == np.float32
    )
    exact = np.linalg.svd(
        X.astype(np.float32).astype(float) - X.astype(np.float32).astype(float).mean(0)
    )[1]
    np.testing.assert_allclose(fitted.singular_values_, exact[:3], rtol=1e-6)


def test_input_is_not_written_to(way):
    make, as_input = way
    X, _ = snapshots()
    before = X.copy()
    make(3).fit(as_input(X)).transform(as_input(X))
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


def noisy(n_time=300, n_space=500, seed=0, noise=0.02):
    """Snapshots whose spectrum decays into noise, so that a truncation loses something."""
    rng = np.random.default_rng(seed)
    X, _ = snapshots(n_time, n_space, decay=0.7, seed=seed)
    return X + noise * rng.normal(size=X.shape) / np.sqrt(n_space)


def exact_values(X):
    return np.linalg.svd(X - X.mean(axis=0), compute_uv=False)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_true_singular_values_lie_within_the_error_given(way, dtype):
    make, as_input = way
    for seed in range(5):
        X = noisy(60, 40, seed).astype(dtype)
        fitted = make(8, tol=0.01).fit(as_input(X))
        off = np.abs(fitted.singular_values_ - exact_values(X.astype(float))[:8])
        assert (off <= fitted.singular_value_error_).all()


def test_stream_is_the_fit_of_all_rows_where_nothing_is_discarded():
    X, s = snapshots()
    stream = POD(12)
    for start in (0, 3, 4, 20, 47):
        stop = {0: 3, 3: 4, 4: 20, 20: 47, 47: 60}[start]
        stream.partial_fit(X[start:stop])
    whole = POD(12).fit(X)
    assert stream.n_samples_seen_ == 60
    np.testing.assert_allclose(stream.singular_values_, s[:12], rtol=1e-6)
    np.testing.assert_allclose(stream.mean_, whole.mean_, atol=1e-12)
    np.testing.assert_allclose(stream.components_[:8], whole.components_[:8], atol=1e-7)
    assert stream.energy_ == pytest.approx(whole.energy_)


@given(batch=st.integers(5, 60), noise=st.floats(0, 0.5), center=st.booleans())
@settings(max_examples=25, deadline=None)
def test_bound_on_what_a_stream_discarded_bounds(batch, noise, center):
    X = noisy(noise=noise)
    stream = POD(4, center=center)
    for start in range(0, len(X), batch):
        stream.partial_fit(X[start : start + batch])
    exact = np.linalg.svd(X - X.mean(axis=0) * center, compute_uv=False)[:4]
    found = stream.singular_values_
    assert (found <= exact * (1 + 1e-8)).all()
    assert (exact**2 <= found**2 + stream.discarded_ + 1e-8 * exact[0] ** 2).all()
    assert stream.energy_ == pytest.approx(np.sum((X - X.mean(axis=0) * center) ** 2))


def test_one_pass_reads_every_chunk_once(monkeypatch):
    X = noisy()
    reads = []

    def read(block, block_info=None):
        reads.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(X, chunks=(20, 100)).map_blocks(read, dtype=X.dtype, meta=X[:0, :0])
    fitted = POD(5).fit(lazy)
    assert fitted.n_passes_ == 1
    first = {(0, j) for j in range(5)}  # the first rows are looked at before
    assert sorted(set(reads)) == [(i, j) for i in range(15) for j in range(5)]
    assert len(reads) == len(set(reads)) + len(first)


def test_bound_of_one_pass_bounds():
    X = noisy(noise=0.3)
    with pytest.warns(ConvergenceWarning, match="read once and truncated"):
        fitted = POD(4, max_memory=14 * 8 * 500 * 3 + 2**28 + 14 * 4000).fit(
            da.from_array(X, chunks=(10, -1))
        )
    exact = exact_values(X)[:4]
    assert (fitted.singular_values_ <= exact * (1 + 1e-12)).all()
    assert (exact**2 <= fitted.singular_values_**2 + fitted.discarded_).all()


def test_too_little_memory_is_named():
    X = da.from_array(np.ones((50, 1000)), chunks=(10, -1))
    with pytest.raises(ValueError, match=r"max_memory=1e\+06 bytes is too little: 5 modes"):
        POD(5, max_memory="1MB").fit(X)


def test_weak_modes_switch_the_solver():
    X, s = snapshots(decay=1e-2, n_time=200, n_space=300)
    fitted = POD(6, solver="gram")
    with pytest.warns(ConvergenceWarning, match=r"below 6\.0e-08 of the first"):
        fitted.fit(X)
    assert solvers.decompose(
        X, solvers.Wanted(6, True, "auto", 1e-8, 10**9), "gram"
    ).values == pytest.approx(s[:6], rel=1e-4)


def test_factors_from_elsewhere_encode_and_go_on():
    X, _ = snapshots()
    half = X[:30]
    U, s, Vt = np.linalg.svd(half - half.mean(axis=0), full_matrices=False)
    given_half = POD.from_factors(Vt[:12], s[:12], half.mean(axis=0), n_samples=30)
    np.testing.assert_allclose(
        np.abs(given_half.transform(half)), np.abs(U[:, :12] * s[:12]), atol=1e-12
    )
    given_half.partial_fit(X[30:])
    np.testing.assert_allclose(
        given_half.singular_values_, POD(12).fit(X).singular_values_, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("components", "values", "mean", "message"),
    [
        (np.ones((2, 3)), [2.0, 1.0], None, "orthonormal"),
        (np.eye(3)[:2], [1.0, 2.0], None, "decrease"),
        (np.eye(3)[:2], [1.0], None, "as many singular values"),
        (np.eye(3)[:2], [2.0, 1.0], np.ones(2), r"mean must be \(3,\)"),
    ],
)
def test_bad_factors_are_named(components, values, mean, message):
    with pytest.raises(ValueError, match=message):
        POD.from_factors(components, values, mean, n_samples=5)


def test_solver_that_cannot_read_the_chunks_is_named():
    X = da.from_array(noisy(), chunks=(50, -1))
    with pytest.raises(ValueError, match="6 chunks along time"):
        POD(3, solver="gram").fit(X)
    for snapshots_ in (noisy(), da.from_array(noisy(), chunks=(-1, 50))):
        with pytest.raises(ValueError, match="n_components must be an int"):
            POD(0.9, solver="krylov").fit(snapshots_)


def test_more_modes_than_single_precision_resolves_are_refused():
    x = np.linspace(0, 1, 60)
    pulse = np.exp(-100 * (x - np.linspace(0.2, 0.8, 40)[:, None]) ** 2).astype(np.float32)
    with pytest.raises(ValueError, match="numerical rank"):
        POD(39).fit(da.from_array(pulse, chunks=(13, -1)))


def test_truncated_modes_can_come_back_in_a_stream():
    X, s = snapshots()
    short = POD(6).fit(X[:40]).truncated(2)
    short.partial_fit(X[40:])
    np.testing.assert_allclose(short.singular_values_, s[:2], rtol=1e-6)


@pytest.mark.parametrize("chunks", [(10, -1), (-1, 250)])
def test_share_of_the_energy_that_memory_cannot_hold_is_named(chunks):
    X = da.from_array(np.random.default_rng(0).normal(size=(400, 4000)), chunks=chunks)
    memory = 2**27 + 6_000_000 if chunks[0] == 10 else 14_000_000
    if chunks[0] == 10:
        with pytest.warns(ConvergenceWarning, match="modes that max_memory="):
            POD(0.999, max_memory=memory, tol=0.9).fit(X)
    else:
        with pytest.raises(ValueError, match=r"is too little: 39\d modes of 4000 cells"):
            POD(0.999, max_memory=memory).fit(X)


def test_krylov_finds_what_lives_in_a_single_cell():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 4000)) + 0.05 * rng.normal(size=(300, 4000))
    X[:, 1234] += 1000 * rng.normal(size=300)
    fitted = POD(6, solver="krylov").fit(X)
    np.testing.assert_allclose(fitted.singular_values_, exact_values(X)[:6], rtol=1e-8)
    assert np.abs(fitted.components_[:, 1234]).max() > 0.99


@settings(max_examples=25, deadline=None)
@given(decay=st.floats(0.05, 3), tol=st.sampled_from([1e-2, 1e-4, 1e-8]), seed=st.integers(0, 99))
def test_krylov_keeps_its_tolerance_however_the_spectrum_falls(decay, tol, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(120, 80)) * np.exp(-decay * np.arange(80)) @ rng.normal(size=(80, 400))
    X += 1e-4 * np.linalg.norm(X) / X.size**0.5 * rng.normal(size=X.shape)
    fitted = POD(5, solver="krylov", tol=tol).fit(X)
    off = np.abs(fitted.singular_values_ / exact_values(X)[:5] - 1)
    assert off.max() <= 2 * tol
    assert (fitted.singular_value_error_ <= 2 * tol * fitted.singular_values_).all()


def test_auto_turns_to_the_gram_matrix_where_the_spectrum_falls_too_slowly(monkeypatch):
    monkeypatch.setattr(solvers, "DIRECT_SVD_COST", 0)
    X = np.random.default_rng(0).normal(size=(200, 500))  # a plateau: no Krylov iteration is fast
    fitted = POD(5).fit(X)
    assert fitted.solver_ == "gram"
    np.testing.assert_allclose(fitted.singular_values_, exact_values(X)[:5], rtol=1e-12)
    assert POD(5).fit(X @ np.diag(0.7 ** np.arange(500))).solver_ == "krylov"


@pytest.mark.parametrize("solver", ["auto", "krylov"])
def test_krylov_is_not_fooled_by_more_equal_values_than_a_block_has_columns(solver):
    rng, k = np.random.default_rng(0), np.arange(299)
    s = np.where(k < 4, 1.0, np.where(k < 40, 1 - 1e-5 * (k - 3), 0.01))
    U = rng.normal(size=(300, 299))
    U = np.linalg.qr(U - U.mean(axis=0))[0]
    V = np.linalg.qr(rng.normal(size=(40_000, 299)))[0]
    fitted = POD(10, solver=solver).fit((U * s) @ V.T)
    np.testing.assert_allclose(fitted.singular_values_, s[:10], rtol=1e-10)


@pytest.mark.parametrize("shape", [(60, 5000), (600, 500)])
@pytest.mark.parametrize("solver", ["qr", "gram", "krylov"])
@pytest.mark.parametrize(("dtype", "size", "tol"), [("f8", 1e-4, 1e-9), ("f4", 1.0, 1e-6)])
def test_means_far_larger_than_anomalies_cost_no_digits(shape, solver, dtype, size, tol):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], 20)) @ rng.normal(size=(20, shape[1])) * size + 1e5
    X = X.astype(dtype)
    fitted, exact = POD(5, solver=solver).fit(X), exact_values(X.astype(float))
    np.testing.assert_allclose(fitted.singular_values_, exact[:5], rtol=tol)
    np.testing.assert_allclose(fitted.energy_, np.sum(exact**2), rtol=tol)


def test_gram_finds_all_of_a_plateau():
    rng = np.random.default_rng(1)
    U = rng.normal(size=(300, 299))
    U = np.linalg.qr(U - U.mean(axis=0))[0]
    V = np.linalg.qr(rng.normal(size=(4000, 299)))[0]
    fitted = POD(20, solver="gram").fit(U @ V.T)
    np.testing.assert_allclose(fitted.singular_values_, np.ones(20), rtol=1e-12)


@pytest.mark.parametrize(("scale", "dtype"), [(1e-25, "f4"), (1e30, "f4"), (1e-150, "f8")])
@pytest.mark.parametrize("solver", ["qr", "gram", "krylov"])
def test_snapshots_whose_squares_overflow_are_refused_with_their_size(scale, dtype, solver):
    X = (scale * np.random.default_rng(0).normal(size=(50, 80))).astype(dtype)
    with pytest.raises(ValueError, match="leave the range of float"):
        POD(3, solver=solver).fit(X)


def test_stream_from_a_fit_counts_what_the_fit_left_out():
    first, new = np.diag([10.0, 9, 8, 7.9, 0, 0]), np.zeros((2, 6))
    new[0, 3] = 3
    exact = np.linalg.svd(np.vstack([first, new]), compute_uv=False)[:3]
    energy = float((first**2).sum())
    given = POD.from_factors(np.eye(6)[:3], [10.0, 9, 8], n_samples=6, energy=energy)
    for pod in POD(3, center=False).fit(first), given:
        pod.partial_fit(new)
        assert (pod.singular_values_ <= exact + 1e-12).all()
        assert (exact <= np.sqrt(pod.singular_values_**2 + pod.discarded_) + 1e-12).all()


@pytest.mark.parametrize("first", [np.arange(10.0)[None], np.ones((4, 10))])
def test_a_stream_may_begin_with_rows_that_have_no_modes(first):
    X = np.random.default_rng(0).normal(size=(30, 10))
    stream = POD(3).partial_fit(first).partial_fit(X)
    exact = exact_values(np.vstack([first, X]))[:3]
    assert (stream.singular_values_ <= exact + 1e-9).all()
    assert (exact <= np.sqrt(stream.singular_values_**2 + stream.discarded_) + 1e-9).all()


@pytest.mark.parametrize("max_memory", ["-5MB", "abc", "0"])
def test_max_memory_is_a_number_of_bytes(max_memory):
    with pytest.raises(ValueError, match="max_memory must be a positive number of bytes"):
        POD(1, max_memory=max_memory).fit(np.eye(4))


def test_a_large_mean_in_float32_is_not_rounded():
    """Anomalies of one on a mean of 1e5, which float32 holds to 0.004 only."""
    rng = np.random.default_rng(0)
    X = (1e5 + rng.normal(size=(200, 3)) @ rng.normal(size=(3, 50))).astype(np.float32)
    pod = POD(3).fit(X)
    assert pod.mean_.dtype == np.float64
    np.testing.assert_allclose(pod.mean_, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    back = pod.inverse_transform(pod.transform(X))
    assert back.dtype == np.float32
    assert np.abs(back - X).max() < 0.02


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("edges", [(0, 50), (0, 3, 4, 21, 50), (0, 7, 14, 49, 50)])
def test_sketch_deals_columns_out_in_turn_however_they_are_read(edges, order):
    """Group g of a sketch sums columns g, g + n, g + 2n, ... of the whole with their signs."""
    rng = np.random.default_rng(0)
    A, signs, sketch = rng.normal(size=(40, 50)), rng.choice([-1.0, 1.0], 50), np.zeros((40, 7))
    for start, stop in itertools.pairwise(edges):
        block = np.array(A[:, start:stop], order=order)
        for rows in (slice(0, 33), slice(33, 40)):
            krylov._add_groups(block, signs[start:stop], start, sketch, rows)
    expected = (A * signs) @ np.eye(7)[np.arange(50) % 7]
    np.testing.assert_allclose(sketch, expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(30, 100), (100, 30)])
@pytest.mark.parametrize(("dtype", "tol"), [("f8", 1e-13), ("f4", 1e-5)])
def test_a_sweep_multiplies_by_the_centred_snapshots_and_their_transpose(shape, dtype, tol):
    rng = np.random.default_rng(0)
    X, Q = (3 + rng.normal(size=shape)).astype(dtype), rng.normal(size=(30, 4))
    A = X.astype(float) - X.mean(axis=0, dtype=float)
    A = A.T if shape[0] > shape[1] else A
    rows = np.empty((4, 100), dtype)
    product, exact = krylov._normal_product(gram.Centred(X, True), Q, rows), A @ (A.T @ Q)
    assert np.linalg.norm(product - exact) <= tol * np.linalg.norm(exact)
    assert np.linalg.norm(rows - Q.T @ A) <= tol * np.linalg.norm(Q.T @ A)


@pytest.mark.parametrize("shape", [(120, 400), (400, 120)])
@pytest.mark.parametrize(("dtype", "tol"), [("f8", 1e-13), ("f4", 1e-5)])
def test_rows_kept_of_the_sweeps_are_products_with_the_vectors_found(shape, dtype, tol):
    X = noisy(*shape).astype(dtype)
    A = X.astype(float) - X.mean(axis=0, dtype=float)
    A = A.T if shape[0] > shape[1] else A
    found = krylov.leading_left(gram.Centred(X, True), 5, tol=1e-6, keep=100)
    expected = found.vectors[:, :5].T @ A
    assert np.linalg.norm(found.rows - expected) <= tol * np.linalg.norm(expected)
    few = krylov.leading_left(gram.Centred(X, True), 5, tol=1e-6, keep=8)
    assert few.rows is None  # a second sweep takes more than the eight rows of the first
    np.testing.assert_array_equal(few.vectors, found.vectors)


@pytest.mark.parametrize("shape", [(120, 400), (400, 120)])
@pytest.mark.parametrize("tol", [1e-2, 1e-4])  # with and without a block that was not multiplied
@pytest.mark.parametrize(("dtype", "off"), [("f8", 1e-12), ("f4", 1e-6)])
def test_triplets_are_the_same_whether_products_are_kept_or_taken_again(shape, tol, dtype, off):
    X = noisy(*shape).astype(dtype)
    found = krylov.leading_left(gram.Centred(X, True), 6, tol, keep=100)
    assert len(found.rows) == 6
    one, other = gram.Centred(X, True), gram.Centred(X, True)
    kept, energy = gram.ritz(one, found.vectors, 6, found.rows)
    again, same_energy = gram.ritz(other, found.vectors, 6)
    np.testing.assert_allclose(kept.values, again.values, rtol=off)
    overlap = kept.right[:6] @ again.right[:6].T  # modes are the same but for their sign
    np.testing.assert_allclose(np.abs(overlap), np.eye(6), atol=10 * off)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    assert (energy, one.n_passes) == (pytest.approx(same_energy, rel=1e-10), other.n_passes)


def test_krylov_keeps_products_only_where_memory_allows():
    X = noisy(120, 400)
    for max_memory, kept in [(12 * 400 * 8, True), (400 * 8, False)]:
        wanted = solvers.Wanted(6, True, "krylov", 1e-2, max_memory)
        found = solvers._krylov(gram.Centred(X, True), wanted)
        assert (found.rows is not None) == kept
