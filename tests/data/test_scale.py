from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.data.scale import BLOCK, Scale

rng = np.random.default_rng(0)


@parametrize_with_checks([Scale(), Scale(center=False, scale=False)])
def test_sklearn(estimator, check):
    check(estimator)


def sample(n_time=48, dtype=np.float64):
    """Three variables, of 4, 2 and 1 columns, on very different scales, and their labels."""
    X = rng.normal(size=(n_time, 7)) * [1, 2, 3, 4, 1e5, 2e5, 1e-6] + [0, 1, 2, 3, 1e7, 0, 1]
    return X.astype(dtype), np.array(["u", "u", "u", "u", "p", "p", "q"])


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("climatology", [None, "month"])
def test_each_variable_has_unit_variance_about_its_mean(climatology, lazy):
    X, variable = sample()
    phase = np.arange(len(X)) % 12
    given_X = da.from_array(X, chunks=(7, 3)) if lazy else X
    scale = Scale(climatology=climatology).fit(given_X, variable=variable, phase=phase)
    rows = np.asarray(scale.transform(given_X, phase=phase))
    for name in "upq":
        assert np.mean(rows[:, variable == name] ** 2) == pytest.approx(1)
    groups = [slice(None)] if climatology is None else [phase == p for p in range(12)]
    for group in groups:
        np.testing.assert_allclose(rows[group].mean(axis=0), 0, atol=1e-8)


def test_ratios_within_a_variable_stay_physical():
    X, variable = sample()
    scale = Scale().fit(X, variable=variable)
    assert len(scale.scale_) == 3
    for k, name in enumerate("upq"):
        deviation = X[:, variable == name] - X[:, variable == name].mean(axis=0)
        assert scale.scale_[k] == pytest.approx(np.sqrt(np.mean(deviation**2)))
        np.testing.assert_allclose(scale.factor_[variable == name], 1 / scale.scale_[k])


def test_one_variable_per_column_is_the_standard_scaler():
    X, _ = sample()
    expected = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(
        Scale().fit(X, variable=np.arange(7)).transform(X), expected, rtol=1e-8, atol=1e-8
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float32, np.float64]),
    center=st.booleans(),
    unit=st.booleans(),
    weights=st.booleans(),
    climatology=st.sampled_from([None, "month", "day"]),
    lazy=st.booleans(),
)
def test_inverse_is_the_inverse(seed, dtype, center, unit, weights, climatology, lazy):
    X = (np.random.default_rng(seed).normal(size=(30, 4)) * [1, 10, 100, 1000] + 500).astype(dtype)
    phase = np.arange(30) % 11
    original = X.copy()
    given_X = da.from_array(X, chunks=(8, 2)) if lazy else X
    scale = Scale(center or climatology is not None, unit, weights, climatology)
    scale.fit(given_X, latitude=[-90, 0, 45, 90], phase=phase)
    rows = scale.transform(given_X, phase=phase)
    back = scale.inverse_transform(rows, phase=phase)
    assert isinstance(back, da.Array if lazy else np.ndarray)
    assert rows.dtype == back.dtype == np.asarray(back).dtype == dtype
    np.testing.assert_allclose(
        np.asarray(back), X, atol=8 * np.finfo(dtype).eps * np.abs(X).max(), rtol=0
    )
    np.testing.assert_array_equal(X, original)


def test_weighted_sums_of_squares_are_area_means():
    latitude = np.linspace(-89, 89, 90)
    X = np.vstack([np.ones(90), -np.ones(90)]) * 3.0
    rows = Scale(scale=False, area_weights=True).fit_transform(X, latitude=latitude)
    np.testing.assert_allclose(rows**2, [9 * np.cos(np.deg2rad(latitude))] * 2)
    # The integral of cos over the sphere's latitudes is 2.
    assert np.sum(rows[0] ** 2) * np.deg2rad(2) / 9 == pytest.approx(2, rel=1e-3)


def test_blocks_are_merged_without_cancellation():
    # A mean 1e7 times the deviation, in several blocks: E[x^2] - E[x]^2 would be all rounding.
    n_time, n_space = 5, BLOCK // 2
    X = np.tile(1e7 + np.arange(n_time, dtype=float)[:, None], n_space)
    scale = Scale().fit(X)
    assert scale.scale_[0] == pytest.approx(np.sqrt(2), rel=1e-9)
    np.testing.assert_allclose(scale.offset_, 1e7 + 2, rtol=1e-15)


def test_a_lazy_fit_reads_every_block_once():
    reads = []

    def read(block, block_info=None):
        if block_info:
            reads.append(block_info[0]["chunk-location"])
        return block

    X = da.from_array(sample()[0], chunks=(12, 7)).map_blocks(read, meta=np.empty((0, 0)))
    with dask.config.set(scheduler="synchronous"):
        scale = Scale(climatology="month").fit(X, phase=np.arange(48) % 12)
        assert sorted(reads) == [(k, 0) for k in range(4)]
        scale.transform(X, phase=np.arange(48) % 12)
    assert len(reads) == 4


def test_climatology_is_the_mean_of_each_phase():
    X, _ = sample()
    phase = rng.integers(0, 12, len(X))
    offset = Scale(climatology="month").fit(X, phase=phase).offset_
    assert offset.shape == (12, 7)
    for p in range(12):
        if (phase == p).any():
            np.testing.assert_allclose(offset[p], X[phase == p].mean(axis=0), rtol=1e-12)
        else:
            assert np.isnan(offset[p]).all()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_phase_not_seen_in_training_is_refused(lazy):
    X = sample()[0][:10]
    X = da.from_array(X) if lazy else X
    scale = Scale(climatology="day").fit(X, phase=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    with pytest.raises(ValueError, match="No training data in day 02-29"):
        scale.transform(X, phase=[0, 0, 1, 1, 2, 2, 3, 3, 4, 59])


def test_a_leap_day_that_training_lacks_has_the_mean_of_its_neighbours():
    phase = np.tile(np.r_[0:59, 60:366], 2)  # two years without a leap day
    X = np.stack([np.cos(phase / 58), np.sin(3 * phase)], axis=1)
    X += np.repeat([[0.1], [-0.1]], 365, axis=0)
    scale = Scale(climatology="day").fit(X, phase=phase)
    np.testing.assert_allclose(scale.offset_[59], (scale.offset_[58] + scale.offset_[60]) / 2)
    rows = np.zeros((1, 2))
    np.testing.assert_allclose(
        scale.inverse_transform(rows, phase=[59]), scale.offset_[59:60], atol=1e-12
    )


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e30])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_constant_variable_is_named(constant, lazy):
    X, variable = sample()
    X[:, 4:6] = constant
    X = da.from_array(X, chunks=(5, 7)) if lazy else X
    with pytest.raises(ValueError, match="Variable p does not vary"):
        Scale().fit(X, variable=variable)
    assert (Scale(scale=False).fit(X, variable=variable).factor_ == 1).all()


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"climatology": "month"}, {}, "climatology='month' needs the phase"),
        (
            {"climatology": "month"},
            {"phase": [0] * 47 + [12]},
            "48 numbers from 0 to 11.*from 0 to 12",
        ),
        ({"climatology": "month"}, {"phase": [0, 1]}, r"shape \(2,\)"),
        ({"climatology": "year"}, {}, "'climatology' parameter of Scale must be"),
        ({"climatology": "day", "center": False}, {"phase": [0] * 48}, "needs center=True"),
        ({"area_weights": True}, {}, "needs the latitude of every column"),
        ({"area_weights": True}, {"latitude": [0.0] * 6 + [91.0]}, "7 numbers from -90 to 90"),
        ({}, {"variable": ["u"]}, r"7 labels, but its shape is \(1,\)"),
    ],
)
def test_what_cannot_be_scaled_is_refused(parameters, arguments, message):
    with pytest.raises(ValueError, match=message):
        Scale(**parameters).fit(sample()[0], **arguments)
