"""Errors of rollouts in the units of the data, at some cells of the field."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.rollout.compare import BLOCK_BYTES, decode
from rom.rollout.result import Rollout
from rom.rollout.truths import Truth, evenly

Array = NDArray[np.float64]

# At most so many cells, and of a rollout at most so many numbers, at one cell or more.
MOST_CELLS, MOST_NUMBERS = 100, 50_000


class Cells(NamedTuple):
    """Some cells of the snapshots, spread evenly over them."""

    column: NDArray[np.intp]
    """(n_cells,) where they stand in a row of numbers."""
    name: tuple[str, ...]
    """Variable, unit and place."""
    variable: tuple[str, ...]
    """Variable and unit."""


def some_cells(model: Any, n_lead: int) -> Cells:
    """Those of a fitted ROM at which rollouts of so many lead times are looked at."""
    flatten = model.flatten_
    n_cells = max(1, min(MOST_CELLS, MOST_NUMBERS // n_lead))
    column = evenly(np.arange(flatten.n_features_in_), n_cells)
    if flatten.template_ is None:
        return Cells(column, tuple(f"column {k}" for k in column), ("value",) * len(column))
    names, variables = [], []
    of_column = flatten.variable_[column]
    for k, (variable, mask) in enumerate(flatten.template_.items()):
        unit = mask.attrs.get("units", "1")
        words = variable if unit in ("", "1") else f"{variable} [{unit}]"
        inside = column[of_column == k] - np.searchsorted(flatten.variable_, k)
        for place in np.argwhere(mask.values)[inside]:
            at = [f"{dim} {mask[dim].values[i]}" for dim, i in zip(mask.dims, place, strict=True)]
            names.append(f"{words} at {', '.join(at)}" if at else words)
            variables.append(words)
    return Cells(column, tuple(names), tuple(variables))


def cell_errors(model: Any, cells: Cells, truth: Truth, run: Rollout) -> Array:
    """Truth minus rollout (n_lead, n_cells), in the units of the data; NaN after its end."""
    width = max(1, BLOCK_BYTES // (8 * truth.rows.shape[1]))
    parts = [slice(i, i + width) for i in range(0, len(run.z), width)]
    off = [(truth.rows[part] - decode(model, run.z[part]))[:, cells.column] for part in parts]
    factor = model.preprocess_.factor_[cells.column]
    return np.asarray(np.concatenate(off) / factor, dtype=np.float64)
