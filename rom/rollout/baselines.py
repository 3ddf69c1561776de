"""The simple forecasts that a model has to beat, from what its training states tell."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.data.times import TimeAxis, phase
from rom.data.trajectory import EVEN_RTOL, segments
from rom.rollout.seasonal import SeasonalLinear, seasonal_forecast, seasonal_linear
from rom.rollout.skill import damped_persistence, lag_one_autocorrelation

Array = NDArray[np.float64]

# A yearly cycle is fitted to this many whole years or more.
FEWEST_YEARS = 2
# And up to this many coordinates: its map has three times as many columns.
HIGHEST_RANK = 200
# Of the year, as :func:`rom.data.times.phase` counts them.
MONTHS, DAYS = 12, 366


class Climate(NamedTuple):
    """What the baselines know: the training mean, the persistence and the seasons."""

    mean: Array
    mean_row: Array
    autocorrelation: Array
    dt: float
    axis: TimeAxis | None = None
    seasonal: SeasonalLinear | None = None

    @classmethod
    def of(cls, model: Any) -> Climate:
        """From the training states of a fitted model."""
        t, axis = model.latent_t_, model.time_axis_
        pieces = segments(t, model.latent_trajectory_)
        steps = np.concatenate([np.zeros(0) if t is None else np.diff(t[p]) for p in pieces])
        mean = model.latent_.mean(axis=0)
        return cls(
            mean=mean,
            mean_row=model.from_latent(mean[None]),
            autocorrelation=lag_one_autocorrelation(model.latent_, pieces),
            dt=float(np.median(steps)) if len(steps) else 1.0,
            axis=axis,
            seasonal=_seasonal(model, steps),
        )

    def forecasts(self, z0: Array, t: Array) -> dict[str, Array]:
        """Latent states (n_time, rank) from `z0` over the times `t`, by name of the baseline."""
        steps = (t - t[0]) / self.dt
        found = {
            "damped_persistence": damped_persistence(z0, steps, self.mean, self.autocorrelation)
        }
        whole = np.abs(steps - np.arange(len(t))).max() < EVEN_RTOL * len(t)
        if self.seasonal is not None and self.axis is not None and whole:
            u = _seasons(self.axis, t)
            found["seasonal"] = seasonal_forecast(self.seasonal, z0[None], u[None])[0]
        return found


def _seasonal(model: Any, steps: Array) -> SeasonalLinear | None:
    """Fitted where the training times are dates, even, and of enough years; else None."""
    t, axis = model.latent_t_, model.time_axis_
    if t is None or getattr(axis, "calendar", None) is None or not len(steps):
        return None
    if model.latent_.shape[1] > HIGHEST_RANK:
        return None
    if np.ptp(steps) > EVEN_RTOL * np.median(steps) or len(set(_phases(axis, t))) < 4:
        return None
    if _whole_years(axis, np.array([t.min(), t.max() + np.median(steps)])) < FEWEST_YEARS:
        return None
    return seasonal_linear(
        model.latent_, _seasons(axis, t), t=t, trajectory=model.latent_trajectory_
    )


def _whole_years(axis: TimeAxis, ends: Array) -> int:
    """From the one time to the other, to the month or day that seasons are counted by."""
    first, last = (int(str(time)[:4]) for time in axis.to_times(ends))
    begin, end = _phases(axis, ends)
    return last - first - int(end < begin)


def _phases(axis: TimeAxis, t: Array) -> NDArray[np.intp]:
    return phase(axis.to_times(t), "month" if axis.unit == "months" else "day")


def _seasons(axis: TimeAxis, t: Array) -> Array:
    from rom.dynamics.seasonal import season

    return season(_phases(axis, t), MONTHS if axis.unit == "months" else DAYS)
