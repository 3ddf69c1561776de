"""What the figures of a check amount to: grown or not, better than simple forecasts or not.

`data` is the dataset of a check, as in :meth:`StabilityReport.to_dataset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

# Past this many times the reference's variability, or the largest state of training and reference
# in the long run, a rollout counts as grown, even within the bound.
GROWN = 2.0
# The starts are out of range when the usual one is this many times as far out as training states.
FAR_OUT = 2.0
# This many times as large as training states, or as small, they are in other units.
OTHER_UNITS = 5.0


def is_stable(data: xr.Dataset) -> bool:
    """Whether every rollout stayed bounded, and did not grow, as long as they were run."""
    grown = late_variability(data) > GROWN or largest_size(data) > GROWN
    return bool(data["bounded"].all()) and not grown


def late_variability(data: xr.Dataset) -> float:
    """The rollouts' variability over the reference's, in the later half; NaN where some ended."""
    return float(data["variability_ratio"][data.sizes["lead"] // 2 :].mean(skipna=False))


def largest_size(data: xr.Dataset) -> float:
    """The largest of the sizes of long and free runs; NaN where there were none."""
    return float(np.fmax(long_run_size(data), free_run_size(data)))


def long_run_size(data: xr.Dataset) -> float:
    """The largest of the long runs' sizes; NaN where none could be made."""
    return float(data["long_run_size"].max())


def free_run_size(data: xr.Dataset) -> float:
    """The same of the runs beside the whole truth."""
    return float(data["free_run_size"].max()) if "free_run_size" in data else np.nan


def outlasts_baselines(data: xr.Dataset) -> bool:
    """Whether forecasts hold for longer than every simple forecast, in most of the starts."""
    return bool(data.attrs["held_time"] > simple_times(data).max())


def simple_times(data: xr.Dataset) -> xr.DataArray:
    """To which time the baselines hold, but for the coarse model: it shares the right equations."""
    times = data["baseline_reliable_time"]
    return times.sel(baseline=times["baseline"] != "coarse")


def errors_explained(data: xr.Dataset) -> bool:
    """Whether forecasts hold for as long as they would if only their starts were wrong."""
    return not data.attrs["held_time"] < data.attrs.get("explained_time", 0.0)


def statistics_kept(data: xr.Dataset) -> bool | None:
    """Whether the long-run statistics are the truth's; None where that is not known."""
    if "distance" not in data:
        return None
    kept, known = data["statistics_kept"].values, data["statistics_known"].values
    if not kept.all():
        return False
    return True if known.any() else None


def other_units(data: xr.Dataset) -> bool:
    """Whether the starts are of another order of size than the training states."""
    return not 1 / OTHER_UNITS < data.attrs.get("size_ratio", 1.0) < OTHER_UNITS


def out_of_range(data: xr.Dataset) -> bool:
    """Whether the starts are unlike the training states."""
    return "start_size" in data and float(data["start_size"].median()) > FAR_OUT


def inputs_out_of_range(data: xr.Dataset) -> bool:
    """Whether most rollouts have inputs that there were none of in training."""
    return "left_inputs" in data and bool(np.isfinite(data["left_inputs"]).mean() > 0.5)
