"""Inputs with labels are found at the times asked for, and go on where they are known to."""

from copy import deepcopy

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import rom
from rom.data.times import TimeAxis
from rom.rollout.inputs import input_names, input_rows, onward

T = np.arange(0, 6, 0.1)
WIND = xr.DataArray(np.cos(T), {"time": T}, ["time"], name="wind")
RAIN = xr.DataArray(np.sin(T), {"time": T}, ["time"], name="rain")
BOTH = xr.Dataset({"wind": WIND, "rain": RAIN})
AXIS = TimeAxis.of(WIND)


def test_columns_come_by_name_and_rows_by_time():
    rows = input_rows(BOTH, T[7:9] + 1e-9, AXIS, ["rain", "wind"])
    np.testing.assert_array_equal(rows, np.c_[np.sin(T), np.cos(T)][7:9])
    assert input_names(BOTH) == ["wind", "rain"]
    assert input_names(WIND) == ["wind"]
    assert input_names(WIND.rename(None)) is input_names(T) is None


def test_dates_and_several_trajectories():
    months = xr.date_range("2000-01-01", periods=24, freq="MS", use_cftime=False)
    index = xr.DataArray(np.arange(24.0), {"time": months}, ["time"])
    rows = input_rows(index, np.array([3.0, 14.0]), TimeAxis.of(index))
    np.testing.assert_array_equal(rows, [[3.0], [14.0]])
    twice = xr.concat([WIND, WIND], "time")
    np.testing.assert_array_equal(input_rows(twice, np.r_[T, T], AXIS)[:, 0], twice)
    with pytest.raises(ValueError, match="must increase"):
        input_rows(twice, T, AXIS)


def test_plain_numbers_are_left_as_they_are():
    u = np.ones((3, 2))
    assert input_rows(u, T, AXIS) is u
    assert input_rows(None) is None


@pytest.mark.parametrize(
    ("u", "t", "words"),
    [
        (BOTH, np.array([5.95]), "no value at 5.95"),
        (BOTH, T + 1, "no value at 6.0, one of 10 of the times"),
        (BOTH.drop_vars("wind"), T, "No input 'wind'; there are rain"),
        (BOTH.assign(wind=WIND.expand_dims(x=2)), T, "alone"),
        (WIND.rename(time="x"), T, "along 'time'"),
    ],
)
def test_what_is_missing_is_named(u, t, words):
    with pytest.raises(ValueError, match=words):
        input_rows(u, t, AXIS, ["wind", "rain"])


@given(st.integers(1, 7), st.integers(2, 5), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_inputs_of_a_whole_period_go_on_as_they_would(period, times, seed, most):
    waves = np.random.default_rng(seed).normal(size=(period, 2))
    n = period * times
    found = onward(np.arange(n) * 0.5, np.tile(waves, (times, 1)), n, most)
    assert found.repeated
    np.testing.assert_allclose(found.t, 0.5 * (n - 1 + np.arange(most + 1)))
    np.testing.assert_array_equal(found.u, waves[(n - 1 + np.arange(most + 1)) % period])


def test_others_go_on_as_far_as_they_are_known():
    tones = (np.sin(T) + np.sin(np.sqrt(2) * T))[:, None]
    found = onward(T, tones, 20, 500)
    assert not found.repeated
    np.testing.assert_array_equal(found.u, tones[19:])
    assert len(onward(T, tones, len(T), 500).t) == 1
    once = onward(np.arange(4.0), np.arange(4.0)[:, None] % 3, 4, 5)  # not two whole periods
    assert not once.repeated


def driven(rate=-0.5):
    """A model of dz/dt = rate z + u, known exactly."""
    u = np.random.default_rng(0).normal(size=(60, 1))
    rows = rom.rollout(rom.OperatorInference.from_operators(A=[[-0.5]], B=[[1.0]]), [1.0], T, u=u).z
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(rows, t=T, u=u)
    model.dynamics_ = rom.OperatorInference.from_operators(
        A=[[rate]], B=[[1.0]], bound=model.dynamics_.bound_
    )
    return model, rows, u


def test_a_check_carries_rollouts_on_as_far_as_inputs_are_known():
    model, rows, u = driven()
    report = rom.check(model, rows, t=T, u=u, horizon=2.0, n_starts=3)
    np.testing.assert_allclose(report.data["long_run_lead"] + report.data["start_time"], T[-1])
    assert report.data["long_run_size"].max() <= 1 + 1e-9  # the record holds its largest state
    assert "as far as their inputs are known, at most to lead time 5.9" in str(report)


def test_periodic_inputs_are_repeated_to_ten_horizons_and_show_slow_growth():
    model, _, _ = driven(rate=0.15)
    u = np.tile([[0.0], [1.0], [0.0], [-1.0]], (15, 1))
    rows = rom.rollout(model.dynamics_, [1.0], T, u=u, bound=np.inf).z
    options = {"horizon": 3.0, "n_starts": 3, "bound": np.inf, "thorough": True}
    report = rom.check(model, rows, t=T, u=u, **options)
    np.testing.assert_allclose(report.data["long_run_lead"], 30.0)
    assert report.data["lyapunov_model"].item() == pytest.approx(0.15)
    assert "by repeating their inputs, which are periodic" in str(report)
    assert not report.stable


def test_a_parameter_is_held_where_rollouts_are_carried_on():
    model, _, _ = driven()
    u = np.ones((len(T), 1))
    rows = rom.rollout(model.dynamics_, [0.5], T, u=u, bound=np.inf).z
    report = rom.check(model, rows, t=T, u=u, horizon=2.0, n_starts=3, thorough=True)
    np.testing.assert_allclose(report.data["long_run_lead"], 20.0)
    assert "to ten times that lead time, with their inputs held as they are" in str(report)
    assert "with inputs held as they are" in str(report)
    assert "periodic" not in str(report)


def test_a_check_says_why_it_ends_where_inputs_do():
    model, rows, u = driven()
    report = rom.check(model, rows, t=T, u=u, horizon=T[-1], n_starts=1, thorough=True)
    assert "not carried on past that lead time, as the inputs then are not known" in str(report)
    assert "stayed within the bound to lead time 5.9, as far as inputs are known" in str(report)
    assert report.data.attrs["n_around_bounded"] == report.data.attrs["n_around"] == 200
    assert "(exact; Kaplan-Yorke dimension 0)" in str(report)  # it is linear: no run is needed
    curved = deepcopy(model)
    curved.dynamics_ = rom.OperatorInference.from_operators(
        A=[[-1.0]], H=[[1e-9]], B=[[1.0]], bound=model.dynamics_.bound_
    )
    report = rom.check(curved, rows, t=T, u=u, horizon=T[-1], n_starts=1, thorough=True)
    assert "Lyapunov exponents were not computed: they are means over a long run" in str(report)


def test_a_model_takes_labelled_inputs_everywhere(tmp_path):
    _, rows, u = driven()
    X = xr.DataArray(rows, {"time": T}, ["time", "x"], name="z")
    given = xr.Dataset({"wind": ("time", u[:, 0])}, {"time": T})
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A"))
    model.fit(X[:40], u=given).save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    assert loaded.input_names_ == model.input_names_ == ["wind"]
    np.testing.assert_array_equal(loaded.latent_u_, u[:40])
    assert loaded.score(X[40:], u=given) == model.score(X[40:], u=u[40:])
    xr.testing.assert_equal(loaded.predict(X[40:], u=given), model.predict(X[40:], u=u[40:]))
    runs = [loaded.rollout(X[40], T[40:], u=each) for each in (given, given.wind, u[40:])]
    assert runs[0].equals(runs[1])
    assert runs[0].equals(runs[2])
    reports = [rom.check(loaded, X[40:], u=each, horizon=1.0) for each in (given, u[40:])]
    np.testing.assert_array_equal(*(report.data["error"] for report in reports))
