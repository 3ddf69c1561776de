from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from made_reports import Dated, bare, complete, stiff

import rom
from rom.data.times import TimeAxis
from rom.report.tables import (
    as_text,
    comparison_table,
    cost_table,
    exponents_table,
    starts_table,
    statistics_table,
    tiles,
)
from rom.report.words import number, quantity, training_times, with_dates
from rom.rollout.words import time_in_words


def test_tiles_say_the_figures_of_the_check():
    found = {tile.label: tile.value for tile in tiles(complete().data)}
    median = float(complete().data["valid_time"].median())
    assert found == {
        "Reliable to": "2.2 days",
        "Median valid time": f"{median:.4g} days",
        "Bound below tolerance": "to 3.4 days",
        "90 % bands held": "90.4 %",
        "Statistics kept": "4 of 6",  # one is lost, one not known
        "Largest exponent": "0.9 ± 0.042",
        "Stayed in training range": "8 of 12",
        "Time of a run": "200 × less",
    }
    assert [tile.label for tile in tiles(bare().data)] == ["Reliable to", "Median valid time"]


def test_statistics_are_kept_to_a_tolerance_too():
    (tile,) = (tile for tile in tiles(complete().data) if tile.label == "Statistics kept")
    assert tile.note == "to 0.1 or sampling error"


def test_valid_times_that_were_cut_off_are_marked():
    data = bare().data
    never = data.assign(exceeded=data["exceeded"] & False)
    assert tiles(never)[1].value.startswith("≥ ")
    rows = starts_table(data.assign(exceeded=("start", np.arange(12) < 2))).rows
    assert [valid.startswith("≥ ") for _, valid, _ in rows] == [False] * 2 + [True] * 10


def test_statistics_are_kept_lost_or_not_known():
    words = [row[-1] for row in statistics_table(complete().data).rows]
    assert words == ["kept", "kept", "not kept", "kept", "kept", "not known"]
    assert statistics_table(bare().data) is None


def test_exponents_of_model_and_truth_need_not_be_as_many():
    data = complete().data.drop_vars(["lyapunov_truth", "lyapunov_truth_error"])
    data = data.assign(lyapunov_truth=("other", [0.906]), lyapunov_truth_error=("other", [0.0111]))
    table = exponents_table(data)
    assert table.head == ("± 2 standard errors", "reduced model", "full model")
    assert table.rows[0] == ("exponent 1", "0.9 ± 0.042", "0.906 ± 0.022")
    assert table.rows[1] == ("exponent 2", "0.01 ± 0.008", "")
    assert table.rows[-1] == ("Kaplan–Yorke dimension", "2.06", "2.062")
    unknown = data.assign(lyapunov_model=data["lyapunov_model"] * np.nan).drop_vars(
        "lyapunov_truth"
    )
    assert exponents_table(unknown) is None


def test_costs():
    rows = {name: cells for name, *cells in cost_table(complete().data).rows}
    assert rows["time of a run"] == ["2 s", "0.01 s"]
    assert rows["memory"] == ["410 MB", "32 kB"]
    assert rows["runs that pay for it"] == ["", "3"]
    never = complete().data.assign_attrs(break_even_runs=np.inf)
    assert cost_table(never).rows[-1] == ("runs that pay for it", "", "never")
    assert cost_table(bare().data) is None


def test_comparison_has_one_row_a_model_and_leaves_gaps():
    table = comparison_table({"a": complete(), "b": bare()})
    assert [row[0] for row in table.rows] == ["a", "b"]
    column = list(table.head).index("statistics kept")
    assert [row[column] for row in table.rows] == ["4 of 6", ""]
    text = as_text(table, 1000).splitlines()
    assert len(text) == 3
    assert (
        len(
            {
                line.index(word)
                for line, word in zip(text, ("verdict", "stable", "stable"), strict=True)
            }
        )
        == 1
    )


def test_the_comparison_says_no_more_than_the_verdict():
    report = stiff()
    assert report.verdict.startswith("not known")
    failed = replace(report, verdict="unstable")
    rows = comparison_table({"a": report, "b": failed, "c": bare()}).rows
    assert [row[1] for row in rows] == ["not known", "unstable", "stable"]


def test_columns_that_do_not_fit_the_terminal_stand_below():
    table = comparison_table({"a": complete(), "b": bare()})
    parts = as_text(table, 60).split("\n\n")
    assert len(parts) > 1
    assert all(len(line) <= 60 for part in parts for line in part.splitlines())
    assert all([line[0] for line in part.splitlines()] == ["m", "a", "b"] for part in parts)
    assert all(any(head in part for part in parts) for head in table.head)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "–"), (np.inf, "∞"), (-np.inf, "-∞"), (0.12345, "0.123")]
)
def test_numbers(value, words):
    assert number(value) == words


def test_training_times_are_dates_or_numbers_from_first_to_last_of_all_trajectories():
    t = np.array([3.0, 14.0, 0.0, 7.0])
    dates = xr.date_range("2000-01-01", periods=20, freq="MS", use_cftime=False)
    months = TimeAxis.of(xr.DataArray(np.zeros(20), {"time": dates}, "time"))
    for axis, words in (
        (months, "2000-01-01T00:00:00 to 2001-03-01T00:00:00"),
        (TimeAxis("time", "D/U"), "0 to 14 D/U"),
        (TimeAxis("time", "1"), "0 to 14"),
        (None, "0 to 14"),
    ):
        model = SimpleNamespace(latent_t_=t, time_axis_=axis, states_per_row=1)
        assert training_times(model) == words
    assert training_times(SimpleNamespace(latent_t_=None, time_axis_=months)) == ""


def test_training_begins_with_the_first_snapshot_of_the_first_history():
    t = np.arange(20) * 0.5
    X = np.c_[np.cos(t), np.sin(t), np.cos(2 * t)]
    for n_delays in (1, 4):
        model = rom.ROM(rom.POD(2), rom.DMD(), n_delays=n_delays).fit(X, t=t)
        assert training_times(model) == "0 to 9.5"


@pytest.mark.parametrize(
    ("figure", "unit", "words"),
    [
        ("1", "days", "1 day"),
        ("1", "months", "1 month"),
        ("1", "D/U", "1 D/U"),
        ("1", "s", "1 s"),
        ("1", "1", "1"),
        ("1", None, "1"),
        ("0", "days", "0 days"),
        ("1.001", "hours", "1.001 hours"),
    ],
)
def test_one_is_singular(figure, unit, words):
    assert quantity(figure, unit) == words
    if unit is not None:
        assert time_in_words(float(figure), xr.Dataset(attrs={"time_unit": unit})) == words


@pytest.mark.parametrize("calendar", ["datetime64", "noleap"])
def test_starts_have_dates_where_the_model_knows_them(calendar):
    data = with_dates(
        complete().data.assign_coords(tested=[14.0, 16, 18, 20]), Dated("days", calendar)
    )
    seen = [str(date).replace("T", " ") for date in data["start_date"].values[:2]]
    assert seen == ["1982-01-11 00:00:00", "1982-01-12 00:00:00"]
    assert [row[0] for row in starts_table(data).rows] == data["start_date"].values.tolist()
    assert str(data["tested_date"].values[0])[:10] == "1982-01-15"
    for model in (None, SimpleNamespace(time_axis_=None)):
        assert with_dates(bare().data, model) is not None
        assert "start_date" not in with_dates(bare().data, model)


def test_what_is_beyond_chance_is_lost_even_where_chance_is_large():
    data = complete().data
    data["distance"][-1], data["statistics_kept"][-1] = np.inf, False
    assert [row[-1] for row in statistics_table(data).rows][-1] == "not kept"


def test_starts_at_one_time_are_told_apart_by_their_number():
    data = bare().data
    assert starts_table(data).rows[3][0] == "13"
    same = data.assign_coords(start_time=("start", np.zeros(12)))
    assert [row[0] for row in starts_table(same).rows] == [str(i) for i in range(12)]
