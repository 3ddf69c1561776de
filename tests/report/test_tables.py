from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from made_reports import bare, complete

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
from rom.report.words import number, time_in_words, training_times


def test_tiles_say_the_figures_of_the_check():
    found = {tile.label: tile.value for tile in tiles(complete().data)}
    assert found == {
        "Reliable to": "2.2 days",
        "Median valid time": time_in_words(complete().data["valid_time"].median(), complete().data),
        "Bound below tolerance": "to 3.4 days",
        "90 % bands held": "90.4 %",
        "Statistics kept": "4 of 6",  # one is lost, one not known
        "Largest exponent": "0.9 ± 0.042",
        "Stayed in training range": "8 of 12",
        "Time of a run": "200 × less",
    }
    assert [tile.label for tile in tiles(bare().data)] == ["Reliable to", "Median valid time"]


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
        assert training_times(SimpleNamespace(latent_t_=t, time_axis_=axis)) == words
    assert training_times(SimpleNamespace(latent_t_=None, time_axis_=months)) == ""


def test_what_is_beyond_chance_is_lost_even_where_chance_is_large():
    data = complete().data
    data["distance"][-1], data["statistics_kept"][-1] = np.inf, False
    assert [row[-1] for row in statistics_table(data).rows][-1] == "not kept"


def test_starts_at_one_time_are_told_apart_by_their_number():
    data = bare().data
    assert starts_table(data).rows[3][0] == "13"
    same = data.assign_coords(start_time=("start", np.zeros(12)))
    assert [row[0] for row in starts_table(same).rows] == [str(i) for i in range(12)]
