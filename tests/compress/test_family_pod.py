import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import gram
from rom.compress.family_pod import FamilyPOD, runs_of
from rom.compress.pod import POD


def family(lengths=(40, 25, 9), scales=(5.0, 1.0, 0.2), n_space=30, seed=0, offset=2.0):
    """Runs that each live mostly on three modes of their own: (X, y)."""
    rng = np.random.default_rng(seed)
    runs = [
        s * rng.normal(size=(n, 3)) @ rng.normal(size=(3, n_space))
        + offset * rng.normal(size=n_space)
        for n, s in zip(lengths, scales, strict=True)
    ]
    X = np.concatenate(runs) + 0.01 * rng.normal(size=(sum(lengths), n_space))
    return X, np.repeat([0.5, 0.1, 0.3], lengths)


def loss(X, y, mean, modes, weights):
    """The weighted mean square error that a fit minimises."""
    error = np.sum((X - mean - (X - mean) @ modes.T @ modes) ** 2, axis=1)
    labels = dict.fromkeys(y)
    return sum(w * error[y == label].mean() for w, label in zip(weights, labels, strict=True))


@parametrize_with_checks(
    [FamilyPOD(), FamilyPOD(1, weights="energy"), FamilyPOD(weights=None, center=False)]
)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("center", [True, False])
def test_rows_that_count_the_same_are_plain_pod(center):
    X, y = family()
    plain = POD(6, center=center).fit(X)
    for fitted in (
        FamilyPOD(6, weights=None, center=center).fit(X, y),
        FamilyPOD(6, weights=[40, 25, 9], center=center).fit(X, y),
        FamilyPOD(6, center=center).fit(X),  # a single run
    ):
        np.testing.assert_allclose(fitted.components_, plain.components_, atol=1e-10)
        np.testing.assert_allclose(fitted.singular_values_, plain.singular_values_, rtol=1e-12)
        np.testing.assert_allclose(fitted.mean_, plain.mean_, atol=1e-12)
        np.testing.assert_allclose(fitted.transform(X), plain.transform(X), atol=1e-9)


@given(
    times=st.integers(2, 5), which=st.integers(0, 2), weights=st.sampled_from(["equal", "energy"])
)
@settings(max_examples=15, deadline=None)
def test_repeating_the_rows_of_a_run_changes_nothing(times, which, weights):
    X, y = family()
    repeats = np.where(y == (0.5, 0.1, 0.3)[which], times, 1)
    once = FamilyPOD(5, weights=weights).fit(X, y)
    often = FamilyPOD(5, weights=weights).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(often.mean_, once.mean_, atol=1e-10)
    np.testing.assert_allclose(often.components_, once.components_, atol=1e-8)
    np.testing.assert_allclose(often.run_errors_, once.run_errors_, rtol=1e-8)
    by_rows = FamilyPOD(5, weights=None).fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    assert np.abs(by_rows.mean_ - FamilyPOD(5, weights=None).fit(X, y).mean_).max() > 1e-3


@given(factor=st.floats(0.01, 100.0))
@settings(max_examples=20, deadline=None)
def test_energy_weights_do_not_see_the_amplitude_of_a_run(factor):
    X, y = family()
    louder = np.where(y == 0.3, factor, 1.0)[:, None] * X
    one = FamilyPOD(5, weights="energy", center=False).fit(X, y)
    other = FamilyPOD(5, weights="energy", center=False).fit(louder, y)
    np.testing.assert_allclose(other.components_, one.components_, atol=1e-8)
    np.testing.assert_allclose(other.run_errors_, one.run_errors_, rtol=1e-8)


def test_energy_weights_are_the_reciprocal_energies():
    X, y = family()
    center = np.mean([X[y == label].mean(axis=0) for label in (0.5, 0.1, 0.3)], axis=0)
    energy = [np.mean(np.sum((X[y == k] - center) ** 2, axis=1)) for k in (0.5, 0.1, 0.3)]
    expected = 1 / np.array(energy)
    fitted = FamilyPOD(5, weights="energy").fit(X, y)
    np.testing.assert_allclose(fitted.weights_, expected / expected.sum(), rtol=1e-10)


@pytest.mark.parametrize("weights", ["equal", "energy", None, [0.1, 3.0, 1.0]])
def test_no_other_mean_or_subspace_does_better(weights):
    X, y = family()
    fitted = FamilyPOD(5, weights=weights).fit(X, y)
    best = loss(X, y, fitted.mean_, fitted.components_, fitted.weights_)
    left_out = POD(center=False).fit(X).rank_  # all modes
    all_modes = FamilyPOD(left_out - 1, weights=weights).fit(X, y).singular_values_
    # The loss is the energy left out, row weights averaging 1.
    assert best == pytest.approx((all_modes[5:] ** 2).sum() / len(X), rel=1e-3)
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 1.0):
        for _ in range(10):
            moved = fitted.components_ + size * rng.normal(size=fitted.components_.shape)
            rival = np.linalg.qr(moved.T)[0].T
            assert best < loss(X, y, fitted.mean_, rival, fitted.weights_)
            other_mean = fitted.mean_ + size * rng.normal(size=30)
            assert best < loss(X, y, other_mean, fitted.components_, fitted.weights_)


def test_run_errors_are_the_projection_errors_of_the_runs():
    X, y = family()
    fitted = FamilyPOD(4).fit(X, y)
    np.testing.assert_array_equal(fitted.runs_, [0.5, 0.1, 0.3])
    for label, error in zip(fitted.runs_, fitted.run_errors_, strict=True):
        rows = X[y == label]
        lost = rows - fitted.inverse_transform(fitted.transform(rows))
        assert error == pytest.approx(np.linalg.norm(lost) / np.linalg.norm(rows - fitted.mean_))


def test_a_short_weak_run_is_served_better_the_more_it_counts():
    X, y = family(offset=0.0)
    weak = [
        FamilyPOD(4, weights=w, center=False).fit(X, y).run_errors_[2]
        for w in (None, "equal", "energy")
    ]
    assert weak[2] < 0.7 * weak[1]
    assert weak[1] < weak[0]
    only = FamilyPOD(3, weights=[0, 0, 1]).fit(X, y)
    alone = POD(3).fit(X[y == 0.3])
    np.testing.assert_allclose(only.components_, alone.components_, atol=1e-8)
    np.testing.assert_allclose(only.mean_, alone.mean_, atol=1e-12)


def test_runs_need_not_stand_together_and_take_any_label():
    X, y = family()
    fitted = FamilyPOD(5).fit(X, y)
    order = np.random.default_rng(3).permutation(len(X))
    shuffled = FamilyPOD(5).fit(X[order], y[order])
    np.testing.assert_allclose(shuffled.components_, fitted.components_, atol=1e-9)
    words = np.array(["a", "b", "c"])[np.unique(y, return_inverse=True)[1]]
    pairs = np.c_[np.ones(len(y)), y]
    for labels in (words, pairs, words.astype(object), y.tolist()):
        same = FamilyPOD(5).fit(X, labels)
        np.testing.assert_array_equal(same.components_, fitted.components_)
    np.testing.assert_array_equal(FamilyPOD(5).fit(X, pairs).runs_, [[1, 0.5], [1, 0.1], [1, 0.3]])


def test_runs_come_by_first_appearance():
    runs, run = runs_of([7, 3, 7, 5, 3], 5)
    assert runs.tolist() == [7, 3, 5]
    assert run.tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("n_space", [30, 100])  # fewer and more than there are times
@pytest.mark.parametrize("weights", ["equal", "energy"])
def test_lazy_and_large_arrays_give_the_same(monkeypatch, weights, n_space):
    X, y = family(n_space=n_space)
    direct = FamilyPOD(5, weights=weights).fit(X, y)
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * 30 * 7)  # several uneven blocks
    for rows in (X, da.from_array(X, chunks=(13, 11))):
        blocked = FamilyPOD(5, weights=weights).fit(rows, y)
        np.testing.assert_allclose(blocked.components_, direct.components_, atol=1e-7)
        np.testing.assert_allclose(blocked.mean_, direct.mean_, atol=1e-12)
        np.testing.assert_allclose(blocked.run_errors_, direct.run_errors_, rtol=1e-6)
        np.testing.assert_allclose(blocked.transform(rows), direct.transform(X), atol=1e-5)


def test_float32_stays_float32_and_input_is_not_written_to():
    X, y = family(offset=100.0)
    X = X.astype(np.float32)
    before = X.copy()
    fitted = FamilyPOD(4).fit(X, y)
    Z = fitted.transform(X)
    assert fitted.components_.dtype == fitted.mean_.dtype == Z.dtype == np.float32
    assert fitted.inverse_transform(Z).dtype == np.float32
    np.testing.assert_array_equal(X, before)
    exact = FamilyPOD(4).fit(X.astype(float), y)
    np.testing.assert_allclose(fitted.singular_values_, exact.singular_values_, rtol=1e-5)


@pytest.mark.parametrize(
    ("y", "weights", "message"),
    [
        ([1, 1, 2], "equal", r"y must be \(4,\) or \(4, n_params\).* but its shape is \(3,\)"),
        (np.ones((4, 1, 1)), "equal", r"its shape is \(4, 1, 1\)"),
        ([1, 1, np.nan, 2], "equal", "y contains NaN"),
        ([1, 1, 2, 2], [1.0], "weights must be 2 non-negative numbers"),
        ([1, 1, 2, 2], [1.0, -1.0], "weights must be 2 non-negative numbers"),
        ([1, 1, 2, 2], [0.0, 0.0], "not all zero"),
        ([1, 1, 2, 2], "length", "'weights' parameter of FamilyPOD"),
        ([1, 1, 2, 2], "energy", "all rows of run 2 are zero"),
    ],
)
def test_bad_input_is_named(y, weights, message):
    X = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        FamilyPOD(1, weights=weights, center=False).fit(X, y)
