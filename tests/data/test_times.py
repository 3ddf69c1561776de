from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from rom.data.times import TimeAxis, check_increasing, phase, time_dim


def series(times, **coords):
    return xr.DataArray(np.zeros(len(times)), dims="time", coords={"time": times, **coords})


def dates(*stamps):
    return np.array(stamps, dtype="datetime64[ns]")


# Calendars by name: None is numpy's datetime64.
CALENDARS = [None, "noleap", "360_day", "all_leap", "julian", "proleptic_gregorian"]


def date_range(calendar, start="1999-01-01", **kwargs):
    cf = calendar is not None
    return xr.date_range(start, calendar=calendar or "standard", use_cftime=cf, **kwargs).values


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize(
    ("freq", "unit", "step"),
    [
        ("D", "days", 1),
        ("5D", "days", 5),
        ("6h", "hours", 6),
        ("10min", "minutes", 10),
        ("s", "seconds", 1),
        ("MS", "months", 1),
        ("QS", "months", 3),
        ("YS", "months", 12),
    ],
)
def test_even_calendars_are_even_numbers_and_come_back_exactly(calendar, freq, unit, step):
    times = date_range(calendar, freq=freq, periods=40)
    axis = TimeAxis.of(series(times))
    numbers = axis.to_numbers(times)
    assert axis.unit == unit
    np.testing.assert_array_equal(numbers, step * np.arange(40.0))
    assert (axis.to_times(numbers) == times).all()


@pytest.mark.parametrize("calendar", [None, "noleap"])
@pytest.mark.parametrize("freq", ["ME", "MS"])
@pytest.mark.parametrize("start", ["1999-02-15", "2000-01-31T06:00"])
def test_month_stamps_far_ahead_follow_the_calendar(calendar, freq, start):
    times = date_range(calendar, start, freq=freq, periods=600)
    axis = TimeAxis.of(series(times[:14]))
    assert (axis.to_times(np.arange(600.0)) == times).all()


def test_mid_month_stamps_are_monthly():
    edges = np.arange("2001-01", "2011-01", dtype="datetime64[M]").astype("datetime64[ns]")
    middle = edges[:-1] + np.diff(edges) // 2
    axis = TimeAxis.of(series(middle))
    assert (axis.unit, axis.anchor) == ("months", "middle")
    np.testing.assert_array_equal(axis.to_numbers(middle), np.arange(len(middle)))
    assert (axis.to_times(np.arange(len(middle))) == middle).all()


def test_roughly_mid_month_stamps_are_monthly():
    # As HadISST has them: single-precision days, and a February of its own.
    rough = dates(
        "1870-01-16T11:59:59.5", "1870-02-14T13:00", "1870-03-16T11:59:59.5", "1870-04-16"
    )
    axis = TimeAxis.of(series(rough))
    np.testing.assert_array_equal(axis.to_numbers(rough), np.arange(4))
    np.testing.assert_array_equal(
        axis.to_times([1.0, 2.0]), dates("1870-02-15T00:00", "1870-03-16T12:00")
    )


@pytest.mark.parametrize(
    "days", [30 * np.arange(12), np.array([0, 33, 58, 95, 121]), 28 * np.arange(20), np.arange(70)]
)
def test_what_is_not_monthly_counts_days(days):
    axis = TimeAxis.of(series(np.datetime64("2001-01-01", "ns") + days * np.timedelta64(1, "D")))
    assert axis.unit == "days"


def test_a_missing_month_leaves_a_step_of_two():
    times = np.delete(date_range(None, freq="MS", periods=12), 5)
    axis = TimeAxis.of(series(times))
    np.testing.assert_array_equal(axis.to_numbers(times), np.delete(np.arange(12), 5))


@given(st.floats(-500, 500))
@pytest.mark.parametrize("anchor_stamp", ["2000-01-31", "2000-02-15T12", "2000-04-30"])
def test_fractional_months_invert(anchor_stamp, t):
    axis = TimeAxis("time", "months", anchor_stamp, "datetime64", "start")
    back = axis.to_numbers(np.append(axis.to_times([t]), axis.to_times([0.5])))[0]
    assert back == pytest.approx(t, abs=1e-9)


@given(st.lists(st.floats(-1e5, 1e5), min_size=2, max_size=20, unique=True))
def test_months_increase_with_time(t):
    axis = TimeAxis("time", "months", "2000-01-30", "datetime64", "start")
    micros = (np.sort(t) * 86_400e6).astype("timedelta64[us]")
    numbers = axis._months((np.datetime64("2000-01-30", "us") + micros).astype(np.int64))
    assert (np.diff(numbers) >= 0).all()


@given(st.integers(-1_000_000, 1_000_000), st.sampled_from(["days", "hours", "seconds"]))
def test_whole_steps_invert_exactly(n, unit):
    axis = TimeAxis("time", unit, "1970-03-01T12:30:00", "datetime64")
    step = np.timedelta64(1, {"days": "D", "hours": "h", "seconds": "s"}[unit])
    expected = np.datetime64("1970-03-01T12:30:00", "us") + n * step
    assert axis.to_times(float(n)) == expected
    assert axis.to_numbers(expected) == n


def test_dates_beyond_nanoseconds_do_not_wrap_around():
    axis = TimeAxis("time", "days", "2000-01-01T00:00:00", "datetime64")
    assert axis.to_times([365_242.0])[0] == np.datetime64("2999-12-31")


def test_numbers_and_steps_stay_as_they_are():
    wave = series([0.0, 0.5, 2.0])
    wave.time.attrs["units"] = "s"
    axis = TimeAxis.of(wave)
    assert (axis.unit, axis.origin, axis.calendar) == ("s", None, None)
    np.testing.assert_array_equal(axis.to_times(axis.to_numbers(wave.time)), wave.time)
    assert TimeAxis.of(wave.drop_vars("time")).unit == "steps"


def test_steps_are_taken_inside_trajectories():
    months = date_range(None, freq="MS", periods=3)
    both = series(np.r_[months, months[:2]], trajectory=("time", [0, 0, 0, 1, 1]))
    axis = TimeAxis.of(both)
    assert axis.unit == "months"
    np.testing.assert_array_equal(axis.to_numbers(both.time), [0, 1, 2, 0, 1])


@pytest.mark.parametrize("wrong", [[1.0], ["monday"], [cftime.DatetimeNoLeap(2000, 1, 1)]])
def test_times_of_another_calendar_are_refused(wrong):
    axis = TimeAxis("time", "days", "2000-01-01", "datetime64")
    with pytest.raises(TypeError, match="Expected datetime64 times along 'time', but came"):
        axis.to_numbers(wrong)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_phases(calendar):
    times = date_range(calendar, freq="D", periods=5 * 366)
    stamps = times.astype("datetime64[s]").tolist() if calendar is None else times
    np.testing.assert_array_equal(phase(times, "month"), [d.month - 1 for d in stamps])
    day = phase(times, "day")
    if calendar == "360_day":
        np.testing.assert_array_equal(day, np.arange(len(day)) % 360)
    else:  # each day of the year has one number, and the numbers run as in a leap year
        leap = np.arange("2000-01-01", "2001-01-01", dtype="datetime64[D]").tolist()
        assert [(leap[n].month, leap[n].day) for n in day] == [(d.month, d.day) for d in stamps]


def test_a_climatology_needs_dates():
    with pytest.raises(TypeError, match="calendar times"):
        phase(np.arange(3.0), "month")


@pytest.mark.parametrize(
    ("coord", "attrs"),
    [
        (dates("2000-01-01", "2000-01-02"), {}),
        (np.array([cftime.Datetime360Day(2000, 2, 30)] * 2), {}),
        ([0.0, 1.0], {"axis": "T"}),
        ([0.0, 1.0], {"standard_name": "time"}),
    ],
)
def test_time_dimension_is_found_by_its_coordinate(coord, attrs):
    X = xr.DataArray(np.zeros((3, 2)), dims=("x", "T"), coords={"T": ("T", coord, attrs)})
    assert time_dim(X) == "T"


@pytest.mark.parametrize("X", [xr.DataArray(np.zeros((2, 2)), dims=("x", "y"))])
def test_no_time_dimension(X):
    with pytest.raises(ValueError, match=r"found none among the dimensions \['x', 'y'\]"):
        time_dim(X)


def test_two_time_dimensions():
    coord = dates("2000-01-01", "2000-01-02")
    X = xr.DataArray(np.zeros((2, 2)), dims=("a", "b"), coords={"a": coord, "b": coord})
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        time_dim(X)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (dates("2000-01-01", "2000-01-02", "2000-01-02"), "repeats at position 2 .2000-01-02 then"),
        (
            dates("2000-01-02", "2000-01-01"),
            "runs backwards at position 1 .2000-01-02 then 2000-01-01",
        ),
        (dates("2000-01-02", "NaT"), "1 missing values, the first at position 1"),
        ([0.0, np.nan], "1 missing values"),
        ([0.0, 1.0, 0.5, 0.2], "runs backwards at position 2 .1.0 then 0.5.; 2 such steps"),
        ([cftime.DatetimeNoLeap(2000, 1, 1)] * 2, "repeats at position 1"),
    ],
)
def test_disordered_times_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        check_increasing(series(times))


def test_times_may_repeat_in_another_trajectory():
    check_increasing(series([0.0, 1.0, 0.0, 1.0], trajectory=("time", ["a", "a", "b", "b"])))
    with pytest.raises(ValueError, match="position 3"):
        check_increasing(series([0.0, 1.0, 0.0, 0.0], trajectory=("time", ["a", "a", "b", "b"])))
