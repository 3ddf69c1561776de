from itertools import pairwise

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress.hyper_reduction import HyperReduction, deim_points, qdeim_points
from rom.compress.pod import POD


def benchmark_term(n_runs=51, n_space=100):
    """The nonlinear term of Chaturantabut & Sorensen (2010), section 2.3."""
    x = np.linspace(-1, 1, n_space)
    mu = np.linspace(1, np.pi, n_runs)[:, None]
    return (1 - x) * np.cos(3 * np.pi * mu * (x + 1)) * np.exp(-(1 + x) * mu)


def random_modes(rank, n_space, seed):
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.normal(size=(n_space, rank)))[0].T


def textbook_deim(modes):
    points = [int(np.abs(modes[0]).argmax())]
    for k in range(1, len(modes)):
        coefficients = np.linalg.solve(modes[:k, points].T, modes[k, points])
        points.append(int(np.abs(modes[k] - coefficients @ modes[:k]).argmax()))
    return points


@parametrize_with_checks(
    [HyperReduction(), HyperReduction(n_components=1, method="deim", center=True)]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("method", ["qdeim", "deim"])
def test_interpolates_at_the_points(method, center):
    F = benchmark_term()
    hyper = HyperReduction(9, method=method, center=center).fit(F[::2])
    back = hyper.inverse_transform(hyper.transform(F))
    np.testing.assert_allclose(back[:, hyper.points_], F[:, hyper.points_], atol=1e-12)
    assert np.abs(back - F).max() > 1e-6  # and not elsewhere


@given(
    rank=st.integers(1, 8),
    further=st.integers(0, 6),
    method=st.sampled_from(["qdeim", "deim"]),
    seed=st.integers(0, 10**6),
    center=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_bound_bounds_every_row(rank, further, method, seed, center):
    rng = np.random.default_rng(seed)
    train = rng.normal(size=(20, 15)) @ np.diag(0.7 ** np.arange(15)) + 1.0
    hyper = HyperReduction(rank, method=method, oversampling=further, center=center).fit(train)
    f = rng.normal(size=(30, 15))
    C = hyper.components_
    best = np.linalg.norm(f - hyper.mean_ - (f - hyper.mean_) @ C.T @ C, axis=1)
    error = np.linalg.norm(f - hyper.inverse_transform(hyper.transform(f)), axis=1)
    assert (best <= error * (1 + 1e-9)).all()
    assert (error <= hyper.error_constant_ * best * (1 + 1e-9)).all()


def test_bound_is_attained():
    """A row off the subspace along the worst right-hand side makes the bound an equality."""
    hyper = HyperReduction(5).fit(benchmark_term())
    C, points = hyper.components_, hyper.points_
    values = np.linalg.svd(C[:, points].T)[0][:, -1]
    f = np.zeros(C.shape[1])
    f[points] = values
    f -= f @ C.T @ C
    error = np.linalg.norm(f - hyper.inverse_transform(hyper.transform(f[None]))[0])
    best = np.linalg.norm(f - f @ C.T @ C)
    assert error == pytest.approx(hyper.error_constant_ * best, rel=1e-6)


@given(rank=st.integers(1, 8), extra=st.integers(0, 40), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_priori_bounds_of_the_constants(rank, extra, seed):
    n = rank + extra
    modes = random_modes(rank, n, seed)
    constant = {
        choose: 1 / np.linalg.svd(modes[:, choose(modes)], compute_uv=False)[-1]
        for choose in (qdeim_points, deim_points)
    }
    by_qr = np.sqrt(n - rank + 1) * np.sqrt(4.0**rank + 6 * rank - 1) / 3
    by_greedy = (1 + np.sqrt(2 * n)) ** (rank - 1) / np.abs(modes[0]).max()
    assert 1 - 1e-9 <= constant[qdeim_points] <= by_qr * (1 + 1e-9)
    assert 1 - 1e-9 <= constant[deim_points] <= by_greedy * (1 + 1e-9)


@given(rank=st.integers(1, 8), extra=st.integers(0, 30), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_deim_points_are_those_of_the_greedy_definition(rank, extra, seed):
    modes = random_modes(rank, rank + extra, seed)
    assert deim_points(modes).tolist() == textbook_deim(modes)


@given(rank=st.integers(1, 8), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_qdeim_points_depend_on_the_subspace_only(rank, seed):
    modes = random_modes(rank, 40, seed)
    turned = random_modes(rank, rank, seed + 1) @ modes
    assert set(qdeim_points(modes)) == set(qdeim_points(turned))


@pytest.mark.parametrize("method", ["qdeim", "deim"])
def test_further_points_never_raise_the_constant_and_all_points_reach_one(method):
    F = benchmark_term(n_space=30)
    fits = [HyperReduction(6, method=method, oversampling=m).fit(F) for m in range(25)]
    constants = np.array([h.error_constant_ for h in fits])
    assert (np.diff(constants) <= 1e-12).all()
    assert constants[6] < 0.8 * constants[0]
    assert constants[-1] == pytest.approx(1.0)
    for shorter, longer in pairwise(fits):
        np.testing.assert_array_equal(longer.points_[:-1], shorter.points_)  # nested
    assert sorted(fits[-1].points_) == list(range(30))
    # With all points the least-squares fit is the orthogonal projection.
    projection = fits[-1].components_[:, fits[-1].points_].T
    np.testing.assert_allclose(fits[-1].interpolation_, projection, atol=1e-12)


def test_further_points_beat_random_ones():
    modes = POD(6, center=False).fit(benchmark_term()).components_
    chosen = HyperReduction(6, oversampling=6).fit(benchmark_term())
    rng = np.random.default_rng(0)
    rivals = [
        np.linalg.norm(np.linalg.pinv(modes[:, rng.choice(100, 12, replace=False)]), 2)
        for _ in range(200)
    ]
    assert chosen.error_constant_ < min(rivals)


@pytest.mark.parametrize("method", ["qdeim", "deim"])
def test_error_of_the_published_example_decays_with_the_projection_error(method):
    unseen = benchmark_term(n_runs=101)
    errors = []
    for rank in (4, 8, 12, 16, 20):
        hyper = HyperReduction(rank, method=method).fit(benchmark_term())
        best = POD(rank, center=False).fit(benchmark_term())
        lost = unseen - best.inverse_transform(best.transform(unseen))
        error = np.linalg.norm(unseen - hyper.inverse_transform(hyper.transform(unseen)))
        assert error <= 2.5 * np.linalg.norm(lost)  # the constants are 3 to 6
        errors.append(error / np.linalg.norm(unseen))
    assert (np.diff(np.log10(errors)) < -0.5).all()
    assert errors[-1] < 1e-5


def test_point_values_are_enough():
    F = benchmark_term()
    for center in (False, True):
        hyper = HyperReduction(7, oversampling=3, center=center).fit(F)
        assert len(hyper.points_) == len(set(hyper.points_)) == 10
        np.testing.assert_array_equal(
            hyper.transform_points(F[:, hyper.points_]), hyper.transform(F)
        )
        elsewhere = np.delete(np.arange(100), hyper.points_)
        spoiled = F.copy()
        spoiled[:, elsewhere] = 1e6
        np.testing.assert_array_equal(hyper.transform(spoiled), hyper.transform(F))


def test_decode_then_encode_is_the_identity():
    hyper = HyperReduction(6, oversampling=4, center=True).fit(benchmark_term())
    Z = np.random.default_rng(0).normal(size=(5, 6))
    np.testing.assert_allclose(hyper.transform(hyper.inverse_transform(Z)), Z, atol=1e-12)


def test_lazy_arrays_give_the_same_and_are_read_at_the_points_only():
    F = benchmark_term()
    lazy = da.from_array(F, chunks=(13, 1))
    hyper = HyperReduction(6, oversampling=2).fit(F)
    same = HyperReduction(6, oversampling=2).fit(lazy)
    np.testing.assert_array_equal(same.points_, hyper.points_)
    np.testing.assert_allclose(same.transform(lazy), hyper.transform(F), atol=1e-9)

    read = set()

    def note(block, block_info):
        read.add(block_info[0]["chunk-location"][1])
        return block

    hyper.transform(lazy.map_blocks(note, dtype=lazy.dtype, meta=np.empty((0, 0))))
    assert read == set(hyper.points_)


def test_float32_stays_float32_and_input_is_not_written_to():
    F = benchmark_term().astype(np.float32)
    before = F.copy()
    hyper = HyperReduction(5, oversampling=2).fit(F)
    Z = hyper.transform(F)
    assert Z.dtype == hyper.components_.dtype == hyper.interpolation_.dtype == np.float32
    assert hyper.inverse_transform(Z).dtype == np.float32
    np.testing.assert_array_equal(F, before)
    double = HyperReduction(5, oversampling=2).fit(F.astype(float))
    np.testing.assert_allclose(Z, double.transform(F.astype(float)), atol=1e-4)


def test_bad_input_is_named():
    F = benchmark_term(n_space=20)
    with pytest.raises(ValueError, match="6 modes and oversampling=15 ask for 21 points"):
        HyperReduction(6, oversampling=15).fit(F)
    with pytest.raises(ValueError, match="'method' parameter of HyperReduction"):
        HyperReduction(6, method="lu").fit(F)
    hyper = HyperReduction(3).fit(F)
    with pytest.raises(ValueError, match=r"F must be \(n_time, 3\), one column per point"):
        hyper.transform_points(F)
    with pytest.raises(ValueError, match="F contains NaN"):
        hyper.transform_points([[1.0, np.nan, 2.0]])
