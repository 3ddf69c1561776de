"""Each latent coordinate by itself: how long its forecasts hold, beside the simple ones.

The error of a state weighs coordinates by their variance: what is wrong in one that has little of
it does not show there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rom.rollout.baselines import Climate
from rom.rollout.compare import Comparison
from rom.rollout.horizon import holding_time, reliable_time
from rom.rollout.judgements import outlasts_baselines
from rom.rollout.words import all_of, time_in_words

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# A coordinate with a smaller share of the variance is rounding, which no model can follow.
ROUNDING = 1e-12
# So many are named, those of largest variance.
MOST_NAMED = 3


def with_coordinates(
    data: xr.Dataset, climate: Climate, comparisons: Sequence[Comparison]
) -> xr.Dataset:
    """Add to which lead time each coordinate is reliable, and its best simple forecast.

    In as many of the starts as the level says, with the same tolerance as the whole state; but
    errors are relative to the coordinate's own root mean square distance from the training mean.
    """
    truth = np.stack([c.truth for c in comparisons])
    variance = np.mean((truth - climate.mean) ** 2, axis=(0, 1))
    share = variance / variance.sum()
    scale = np.where(share > ROUNDING, np.sqrt(variance), np.inf)
    lead, level = np.stack([c.lead for c in comparisons]), data.attrs["level"]

    def reliable(forecast: Array) -> Array:
        error = np.moveaxis(np.abs(forecast - truth) / scale, -1, 0)
        times = holding_time(error, lead, data.attrs["tolerance"])
        return np.array([reliable_time(each, level) for each in times])

    others = [climate.forecasts(c.truth[0], c.run.t) for c in comparisons]
    simple = [
        np.broadcast_to(truth[:, :1], truth.shape),
        np.broadcast_to(climate.mean, truth.shape),
        *(np.stack([found[name] for found in others]) for name in others[0]),
    ]
    unit = {"units": data.attrs["time_unit"]}
    ours = reliable(np.stack([c.run.z for c in comparisons]))
    best = np.max([reliable(forecast) for forecast in simple], axis=0)
    return data.assign(
        coordinate_share=("coordinate", share, {"long_name": "share of the variance"}),
        coordinate_reliable_time=("coordinate", ours, unit),
        coordinate_simple_time=("coordinate", best, unit),
    )


def without_skill(data: xr.Dataset) -> list[int]:
    """Coordinates that are reliable for no longer than their best simple forecast."""
    if "coordinate_share" not in data:
        return []
    time = data["coordinate_reliable_time"].values
    lost = (time <= data["coordinate_simple_time"].values) & (time < float(data["horizon"].min()))
    return by_variance(data, lost)


def in_verdict(data: xr.Dataset) -> list[str]:
    """What the errors of the whole state do not show."""
    lost = without_skill(data)
    if not lost or not outlasts_baselines(data):
        return []
    return [f"no better than simple forecasts in {named(data, lost)}"]


def in_reasons(data: xr.Dataset) -> list[str]:
    """Which coordinates are not forecast, and for how long their simple forecasts hold."""
    lost = without_skill(data)
    if not lost:
        return []
    parts = [
        f"z{k} ({percent(data, [k])} of the variance) to lead time "
        f"{time_in_words(float(data['coordinate_reliable_time'][k]), data)}, its best simple "
        f"forecast to {time_in_words(float(data['coordinate_simple_time'][k]), data)}"
        for k in lost[:MOST_NAMED]
    ]
    n = data.sizes["coordinate"]
    every, but = ("no", "") if len(lost) == n else ("each", f" but for {len(lost)} of {n}")
    return [
        f"At the scale of its own variability, {every} latent coordinate by itself is reliable for "
        f"longer than its best simple forecast{but}: {all_of(parts)}{more(lost)}."
    ]


def by_variance(data: xr.Dataset, chosen: NDArray[np.bool_]) -> list[int]:
    """Numbers of the coordinates chosen, that of largest variance first."""
    order = np.argsort(-data["coordinate_share"].values, kind="stable")
    return [int(k) for k in order if chosen[k]]


def named(data: xr.Dataset, chosen: Sequence[int]) -> str:
    """Coordinates by their names in the equations, and how much of the variance they hold."""
    names = all_of([f"z{k}" for k in chosen[:MOST_NAMED]])
    return f"{names}{more(chosen)} ({percent(data, chosen)} of the variance)"


def more(chosen: Sequence[int]) -> str:
    """How many are not named."""
    return f", and {len(chosen) - MOST_NAMED} more" if len(chosen) > MOST_NAMED else ""


def percent(data: xr.Dataset, chosen: Sequence[int]) -> str:
    """Their share of the variance, to two digits."""
    share = 100 * float(data["coordinate_share"].values[list(chosen)].sum())
    return f"{float(f'{share:.2g}'):g} %"
