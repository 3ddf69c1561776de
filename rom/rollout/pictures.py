"""One rollout and the truth as fields in their own units, at a few lead times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.data.times import phase
from rom.rollout.result import Rollout
from rom.rollout.truths import Truth

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

MOST_PICTURES, MOST_CELLS = 40, 200_000


def thinned(truth: Truth) -> Truth:
    """The truth at the lead times shown: at most forty, evenly spread from the first to the last.

    The others, which may be large, are let go.
    """
    rows = np.linspace(0, len(truth.t) - 1, min(MOST_PICTURES, len(truth.t))).round().astype(int)
    return Truth(truth.t[rows], None, truth.rows[rows])


def with_pictures(
    data: xr.Dataset, model: Any, truth: Truth, latent: Array, run: Rollout
) -> xr.Dataset:
    """Add the first variable of the truth, and of the rollout from the same start, and both latent.

    `latent` (n_lead, rank) is the truth at all lead times, projected.
    """
    import xarray as xr

    z = run.z[np.searchsorted(run.t, truth.t)]
    reached = np.isfinite(z).all(axis=1)
    states = np.full_like(truth.rows, np.nan, dtype=np.float64)
    states[reached] = model.from_latent(z[reached])
    fields = [_field(model, rows, truth.t) for rows in (truth.rows, states)]
    if isinstance(fields[0], np.ndarray):
        fields = [xr.DataArray(values, dims=("snapshot", "column")) for values in fields]
    step = max(1, int(np.ceil((fields[0][0].size / MOST_CELLS) ** (1 / (fields[0].ndim - 1)))))
    thin = {dim: slice(None, None, step) for dim in fields[0].dims[1:]} if step > 1 else {}
    taken, pictures = {*data.dims, *data.variables}, {}
    for name, field in zip(("field_truth", "field_model"), fields, strict=True):
        field = field.isel(thin)
        labels = [n for n, c in field.coords.items() if not c.dims or "snapshot" in c.dims]
        field = field.drop_vars(labels)
        pictures[name] = field.rename(
            {n: f"{n}_of_field" for n in taken & {*field.dims, *field.coords}}
        )
    lead = ("snapshot", truth.t - truth.t[0], {"units": data.attrs["time_unit"]})
    return data.assign(
        **pictures,
        latent_truth=(("coordinate", "lead"), latent.T),
        latent_model=(("coordinate", "lead"), run.z.T),
    ).assign_coords(snapshot_lead=lead)


def _field(model: Any, rows: Array, t: Array) -> Any:
    """Rows as the data are: one variable (snapshot, *space) in its units, NaN where they are."""
    known = np.isfinite(rows).all(axis=1)
    climatology, axis = model.preprocess_.climatology, model.time_axis_
    phases = None if climatology is None else phase(axis.to_times(t), climatology)[known]
    values = np.full(rows.shape, np.nan)
    values[known] = model.preprocess_.inverse_transform(rows[known], phase=phases)
    fields = model.flatten_.inverse_transform(values, dim="snapshot")
    return next(iter(fields.values())) if hasattr(fields, "data_vars") else fields
