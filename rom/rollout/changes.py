"""Whether the equation of each latent coordinate is nearer to the truth than none.

Along the truth, the change that the model gives from row to row stands beside the truth's own. A
forecast may be good although an equation is not, for instance where other coordinates soon pull
back one that is off: the error of forecasts does not show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics
from rom.rollout.bootstrap import skill_interval
from rom.rollout.coordinates import MOST_NAMED, ROUNDING, by_variance, more, named, percent
from rom.rollout.free_runs import FreeRun
from rom.rollout.sampling_error import GROUPS, LEVEL
from rom.rollout.words import all_of

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# Over two rows a coordinate that has a derivative changes twice as far as over one, a random walk
# √2 times. Nearer to that, in squares, its rates along the truth tell nothing of its changes.
SMOOTH = 3.0


def with_changes(data: xr.Dataset, dynamics: Dynamics, runs: Sequence[FreeRun]) -> xr.Dataset:
    """Add the error of each coordinate's change, relative to that change, and its lower bound.

    It is 1 for a model in which nothing changes. The bound holds for all coordinates at once at
    level 95 % (block bootstrap, Bonferroni), for up to a hundred of them.
    """
    found = [squares(dynamics, run) for run in runs if len(run.t) > 2]
    if sum(len(error) for error, _ in found) < GROUPS:
        return data
    error, change = (np.concatenate(each) for each in zip(*found, strict=True))
    size = np.mean(np.concatenate([run.truth for run in runs]) ** 2, axis=0)
    moves = (data["coordinate_share"].values > ROUNDING) & (change.mean(axis=0) > ROUNDING * size)
    if dynamics.time == "continuous":
        moves &= _is_smooth(runs)
    error, change = (_in_groups(np.where(moves, each, np.nan)) for each in (error, change))
    level = 1 - 2 * (1 - LEVEL) / error.shape[1]  # one side counts
    skill = skill_interval(error, change, level=level)
    return data.assign(
        change_error=("coordinate", np.sqrt(error.sum(axis=0) / change.sum(axis=0))),
        change_error_low=("coordinate", np.sqrt(np.maximum(1 - skill.high, 0))),
    )


def squares(dynamics: Dynamics, run: FreeRun) -> tuple[Array, Array]:
    """Squares (n, rank) of the error of the model's changes along the truth, and of the truth's.

    In continuous time the change over two steps is the integral of the model's rates by the
    trapezoidal rule. By one step of twice the length it comes out otherwise, where rows are too far
    apart or states have noise that the rates enlarge: that much is added to the truth's change, so
    that no model is blamed for it.
    """
    z, rate = run.truth, dynamics.predict(run.truth, u=run.u)
    if dynamics.time == "discrete":
        return (rate[:-1] - z[1:]) ** 2, np.diff(z, axis=0) ** 2
    h = np.diff(run.t)[:, None]
    steps = h * (rate[1:] + rate[:-1]) / 2
    fine, coarse = steps[1:] + steps[:-1], (h[1:] + h[:-1]) * (rate[2:] + rate[:-2]) / 2
    change = z[2:] - z[:-2]
    return (fine - change) ** 2, change**2 + (fine - coarse) ** 2


def without_equation(data: xr.Dataset) -> list[int]:
    """Coordinates whose true change is surely nearer to none than to the model's."""
    if "change_error_low" not in data:
        return []
    return by_variance(data, data["change_error_low"].values > 1)


def in_verdict(data: xr.Dataset) -> list[str]:
    """What forecasts need not show."""
    lost = without_equation(data)
    return [f"an equation worse than none for {named(data, lost)}"] if lost else []


def in_reasons(data: xr.Dataset) -> list[str]:
    """How far these equations are off along the truth."""
    lost = without_equation(data)
    if not lost:
        return []
    parts = [
        f"z{k} ({percent(data, [k])} of the variance) is off "
        f"by {float(data['change_error'][k]):.3g} times its size, "
        f"{float(data['change_error_low'][k]):.3g} at least"
        for k in lost[:MOST_NAMED]
    ]
    return [
        f"Along the truth, the equations of {len(lost)} of {data.sizes['coordinate']} latent "
        f"coordinates are further from the true change than 'no change' is (an error of 1 times "
        f"its size; level 95 %, block bootstrap): {all_of(parts)}{more(lost)}."
    ]


def _is_smooth(runs: Sequence[FreeRun]) -> NDArray[np.bool_]:
    one, two = (
        np.concatenate([(run.truth[k:] - run.truth[:-k]) ** 2 for run in runs]).mean(axis=0)
        for k in (1, 2)
    )
    return np.asarray(two > SMOOTH * one)


def _in_groups(rows: Array) -> Array:
    return np.stack([part.sum(axis=0) for part in np.array_split(rows, GROUPS)])
