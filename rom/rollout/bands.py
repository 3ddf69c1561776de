"""Bands that hold for whole rollouts: on latent coordinates, on cells, and as errors drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rom.rollout.adaptive import adaptive_thresholds, delay_of
from rom.rollout.cells import Cells
from rom.rollout.compare import Comparison
from rom.rollout.horizon import blocks, fewest_apart
from rom.rollout.intervals import calibrated_band, in_band, simultaneous_score

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# How fast the adaptive band follows errors that drift. Faster, and misses that follow each other
# leave no finite band more often, as a check has some tens of starts.
RATE = 0.02


def with_bands(data: xr.Dataset, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add the simultaneous band on latent coordinates, where enough rollouts stand apart."""
    error, block = _errors(data, comparisons)
    # One half of them makes the band, and the other half tests it.
    n_apart, fewest = len(np.unique(block)), 2 * fewest_apart(data.attrs["level"])
    data = data.assign_attrs(n_apart=n_apart, n_apart_asked=fewest)
    if n_apart < fewest:
        return data
    radius, attrs = _band(error, block, comparisons, data.attrs["level"])
    return data.assign(band_radius=(("coordinate", "lead"), radius, attrs))


def with_cell_bands(
    data: xr.Dataset, comparisons: Sequence[Comparison], error: Sequence[Array], cells: Cells
) -> xr.Dataset:
    """Add the simultaneous band on cells of the field, from errors (n_lead, n_cells) there."""
    if "band_radius" not in data:
        return data
    block = _errors(data, comparisons)[1]
    radius, attrs = _band(np.stack(error), block, comparisons, data.attrs["level"])
    names = {"cell": list(cells.name), "cell_variable": ("cell", list(cells.variable))}
    return data.assign(cell_band_radius=(("cell", "lead"), radius, attrs)).assign_coords(names)


def _band(
    error: Array, block: NDArray[np.intp], comparisons: Sequence[Comparison], level: float
) -> tuple[Array, dict[str, float]]:
    """Half-width (n_coordinates, n_lead), and what to know of it."""
    if np.ptp([c.start for c in comparisons]) == 0:  # no order in time, but perhaps another
        error = np.random.default_rng(0).permutation(error)
    band, coverage, n = calibrated_band(error, level=level, block=block)
    return band.radius.T, {
        "level": level,
        "coverage": coverage.share,
        "coverage_low": coverage.low,
        "coverage_high": coverage.high,
        "n_calibration": n,
        "n_test": coverage.n,
    }


def with_drift(data: xr.Dataset, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add how often the band has held so far, beside one that follows errors as they drift.

    Start by start, where these come one after the other: a full model's have no order.
    """
    times, span = np.array([c.start for c in comparisons]), float(data["horizon"].max())
    of_data = np.isnan(comparisons[0].full_seconds)
    if "band_radius" not in data or not (of_data and np.all(np.diff(times) > 0)):
        return data
    error, block = _errors(data, comparisons)
    level = data.attrs["level"]
    band, _, n = calibrated_band(error, level=level, block=block)
    score, delay = simultaneous_score(error[n:], band.scale), delay_of(times[n:], span)
    adapted = adaptive_thresholds(score, band.score, level=level, rate=RATE, delay=delay)
    held = np.stack([in_band(error[n:], band.radius), adapted.covered])
    so_far = np.cumsum(held, axis=1) / np.arange(1, len(score) + 1)
    tested = data["start_time"][n:].rename(start="tested").drop_vars("start_time")
    return data.assign(
        running_coverage=(("band", "tested"), so_far, {"level": level}),
        adaptive_width=("tested", np.maximum(adapted.threshold, 0) / (band.threshold or 1.0)),
    ).assign_coords(band=["fixed", "adaptive"], tested=tested)


def _errors(data: xr.Dataset, comparisons: Sequence[Comparison]) -> tuple[Array, NDArray[np.intp]]:
    """Latent errors (n_start, n_lead, rank), and the block of each start."""
    error = np.stack([c.truth - c.run.z for c in comparisons])
    starts, stretches = ([getattr(c, name) for c in comparisons] for name in ("start", "stretch"))
    return error, blocks(starts, stretches, float(data["horizon"].max()))
