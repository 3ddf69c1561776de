"""True and predicted fields at some lead times, as frames that a slider moves through.

All frames of a picture lie in one tall strip, one below the other; moving the strip behind a
window of the height of one frame shows them one at a time, without any program in the page.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.report.places import curved_places, upright
from rom.report.plots import colour_bar, film_strip
from rom.report.words import labelled
from rom.rollout.words import time_in_words

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# Pixels of a frame. A WebP picture is less than 16384 pixels high.
WIDTH, TALLEST, STRIP = 480, 480, 16383
FEWEST = 12
# The share of the largest standard deviation over time from which a cell of a curved grid is in
# view: what lies far out and never moves would leave the rest too small to be seen.
MOVES = 0.1


class Bar(NamedTuple):
    """A scale of colours."""

    low: float
    high: float
    colours: list[str]


class Strip(NamedTuple):
    """The frames of one field: a picture as a data URI."""

    label: str
    uri: str
    bar: Bar


class Film(NamedTuple):
    """Frames of the same size, one for each of `times`."""

    times: list[str]
    shown: int
    """Which one is seen first: the last that the model reached."""
    width: int
    height: int
    caption: str
    strips: list[Strip]
    """Pictures of fields in two dimensions; none for those in one."""
    curves: list[tuple[str, str]]
    """Of fields in one dimension: SVG paths of the truth and the model, frame by frame."""


def film_of(data: xr.Dataset) -> Film | None:
    """The film of a check, or None where it has no fields.

    Parameters
    ----------
    data : Dataset
        Of a report, with `field_truth`, `field_model` (snapshot, *space) and `snapshot_lead`.
        Of more than two space dimensions the last two are shown, at the first index of the others;
        two-dimensional coordinates of these, known as x and y, are the places of the cells.

    Returns
    -------
    Film or None
        None also for fewer than :data:`FEWEST` cells, which make no field.
    """
    if "field_truth" not in data or data["field_truth"][0].size < FEWEST:
        return None
    fields = [data[name] for name in ("field_truth", "field_model")]
    others = {str(dim): 0 for dim in fields[0].dims[1:-2]}
    truth, model = (field.isel(others) for field in fields)
    reached = np.flatnonzero(np.isfinite(model.values).any(axis=tuple(range(1, model.ndim))))
    where = ", ".join(f"{dim} {truth[dim].values}" for dim in others if dim in truth.coords)
    name = labelled(str(truth.attrs.get("long_name", "")), truth.attrs.get("units"))
    film = (_curves if truth.ndim == 2 else _strips)(truth, model)
    return film._replace(
        times=[time_in_words(lead, data) for lead in data["snapshot_lead"].values],
        shown=int(reached[-1]) if reached.size else 0,
        caption="; ".join(filter(None, (name, where, film.caption))),
    )


# -- fields in two dimensions -----------------------------------------------------------------


def _strips(truth: xr.DataArray, model: xr.DataArray) -> Film:
    truth, model = upright(truth), upright(model)
    stack = np.stack([truth.values, model.values]).astype(np.float64)
    places = curved_places(truth, truth.dims[1:])
    if places is not None:
        frames = _resampled(stack, *places)
    else:
        frames = _nearest(stack, *(_places(truth, str(dim)) for dim in truth.dims[:0:-1]))
    low, high, diverging = _limits(frames[0])
    half = (high - low) / 2
    fields = [
        ("Full model", frames[0], low, high, diverging),
        ("Reduced model", frames[1], low, high, diverging),
        ("Difference", frames[1] - frames[0], -half, half, True),
    ]
    strips = [_strip(*field) for field in fields]
    return Film([], 0, frames.shape[-1], frames.shape[-2], "", strips, [])


def _strip(label: str, frames: Array, low: float, high: float, diverging: bool) -> Strip:
    picture = film_strip(frames, low, high, diverging=diverging)
    uri = "data:image/webp;base64," + b64encode(picture).decode()
    return Strip(label, uri, Bar(low, high, colour_bar(diverging)))


def _nearest(stack: Array, x: Array, y: Array) -> Array:
    """Frames of fields (..., n_y, n_x) on a straight grid, y upwards."""
    (x0, x1), (y0, y1) = _edges(x), _edges(y)
    px, py = _pixels(x0, x1, y0, y1, stack.shape[1])
    columns = np.abs(x[:, None] - px).argmin(axis=0)
    rows = np.abs(y[:, None] - py).argmin(axis=0)
    return np.asarray(stack[..., rows[:, None], columns])


def _resampled(stack: Array, x: Array, y: Array) -> Array:
    """Frames of fields on a curved grid with cells at x, y (n_rows, n_columns), where they move."""
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import KDTree

    spread = np.nan_to_num(stack[0].std(axis=0))
    seen = spread >= MOVES * spread.max()
    px, py = _pixels(x[seen].min(), x[seen].max(), y[seen].min(), y[seen].max(), stack.shape[1])
    points = np.c_[x.ravel(), y.ravel()]
    # Between the cells of a hole, such as a body in the flow, there is nothing to interpolate.
    away, cell = KDTree(points).query(np.stack(np.meshgrid(px, py), axis=-1))
    hole = away > _spacing(x, y).ravel()[cell]
    values = stack.reshape(-1, x.size).T
    frames = LinearNDInterpolator(points, values)(*np.meshgrid(px, py))
    frames[hole] = np.nan
    return np.moveaxis(frames, -1, 0).reshape(*stack.shape[:2], len(py), len(px))


def _spacing(x: Array, y: Array) -> Array:
    """The distance from each cell to the further of its next ones, in the order of the grid."""
    along = [np.hypot(np.diff(x, axis=a), np.diff(y, axis=a)) for a in (0, 1)]
    return np.maximum(
        np.pad(along[0], ((0, 1), (0, 0)), "edge"), np.pad(along[1], ((0, 0), (0, 1)), "edge")
    )


def _pixels(x0: float, x1: float, y0: float, y1: float, n_frames: int) -> tuple[Array, Array]:
    """Centres of the pixels of a frame, square where its shape allows, the topmost first."""
    aspect = float(np.clip((y1 - y0) / (x1 - x0), 0.25, 1.0)) if x1 > x0 else 1.0
    height = min(WIDTH * aspect, TALLEST, STRIP // n_frames)
    n_y, n_x = max(1, int(height)), max(1, int(height / aspect))
    px = x0 + (x1 - x0) * (np.arange(n_x) + 0.5) / n_x
    py = y1 - (y1 - y0) * (np.arange(n_y) + 0.5) / n_y
    return px, py


def _places(field: xr.DataArray, dim: str) -> Array:
    """The coordinate along a dimension, or the numbers of the cells."""
    if dim in field.coords and field[dim].dtype.kind in "fiu":
        return field[dim].values.astype(np.float64)
    return np.arange(field.sizes[dim], dtype=np.float64)


def _edges(x: Array) -> tuple[float, float]:
    half = (x.max() - x.min()) / max(1, len(x) - 1) / 2 or 0.5
    return float(x.min() - half), float(x.max() + half)


def _limits(values: Array) -> tuple[float, float, bool]:
    """A range for colours that leaves out 1 % at each end; whether zero is its middle."""
    known = values[np.isfinite(values)]
    low, high = (float(q) for q in np.quantile(known, (0.01, 0.99))) if known.size else (0.0, 1.0)
    far = max(abs(low), abs(high))
    if min(-low, high) > 0.2 * far:
        return -far, far, True
    return (low, high, False) if high > low else (low - 0.5, low + 0.5, False)


# -- fields in one dimension ------------------------------------------------------------------


def _curves(truth: xr.DataArray, model: xr.DataArray) -> Film:
    x, height = _places(truth, str(truth.dims[1])), WIDTH // 3
    values = truth.values[np.isfinite(truth.values)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    margin = 0.1 * (high - low) or 0.5
    low, high = low - margin, high + margin
    places = WIDTH * (x - x.min()) / ((x.max() - x.min()) or 1.0)
    paths = [
        [
            _path(places, height * (k + 1 - np.clip((row - low) / (high - low), 0.0, 1.0)))
            for k, row in enumerate(field.values.astype(np.float64))
        ]
        for field in (truth, model)
    ]
    shown = f"{truth.dims[1]} from {x.min():.4g} to {x.max():.4g}, up from {low:.3g} to {high:.3g}"
    curves = list(zip(*paths, strict=True))
    return Film([], 0, WIDTH, height, shown, [], curves)


def _path(x: Array, y: Array) -> str:
    """Straight lines from point to point, broken where a value is missing."""
    text, move = [], True
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if np.isfinite(b):
            text.append(f"{'M' if move else 'L'}{a:.1f} {b:.1f}")
        move = not np.isfinite(b)
    return "".join(text)
