"""How far what the full system keeps drifts along the rollouts, and along the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.rollout.compare import Comparison

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
Invariants = Mapping[str, Callable[[Any], Any]]


def with_invariants(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison], invariants: Invariants
) -> xr.Dataset:
    """Add how far functions of the state, which should stay, drift along rollouts and truth."""
    found = list(invariants.items())

    def drift(states: Sequence[Array]) -> tuple[tuple[str, str], Array]:
        values = [
            [
                _values(name, function, physical(model, z, c.run.t), len(z))
                for name, function in found
            ]
            for z, c in zip(states, comparisons, strict=True)
        ]
        return ("invariant", "lead"), invariant_drift(np.moveaxis(np.array(values), 1, 2))

    return data.assign(
        invariant_drift=drift([c.run.z for c in comparisons]),
        invariant_drift_truth=drift([c.truth for c in comparisons]),
    ).assign_coords(invariant=list(invariants))


def invariant_drift(values: ArrayLike) -> Array:
    """The largest change of invariants along rollouts, by lead time.

    Parameters
    ----------
    values : array_like, shape (n_start, n_lead, n_invariant)
        What should not change along the lead times; NaN after the end of a rollout.

    Returns
    -------
    ndarray, shape (n_invariant, n_lead)
        Over the largest size of each invariant at the starts, or as it is where that is 0. The
        largest of the rollouts that still run; NaN where none does.

    Raises
    ------
    ValueError
        If `values` is not (n_start, n_lead, n_invariant), or not finite at the starts.

    Examples
    --------
    >>> invariant_drift([[[2.0], [2.5], [2.0]], [[1.0], [0.0], [float("nan")]]])
    array([[0. , 0.5, 0. ]])
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3 or not values.size:
        raise ValueError(
            f"values must be (n_start, n_lead, n_invariant), but its shape is {values.shape}."
        )
    first = values[:, :1]
    if not np.isfinite(first).all():
        raise ValueError(f"The invariants must be finite at the starts, but they are {first}.")
    size = np.abs(first).max(axis=(0, 1))
    change = np.fmax.reduce(np.abs(values - first), axis=0)
    return np.asarray((change / np.where(size > 0, size, 1.0)).T)


def _values(name: str, function: Callable[[Any], Any], states: Any, n_time: int) -> Array:
    values = np.asarray(function(states), dtype=np.float64)
    if values.shape != (n_time,):
        raise ValueError(
            f"The invariant {name!r} must give one number per state, ({n_time},), but its shape "
            f"is {values.shape}."
        )
    return values


def physical(model: Any, z: Array, t: Array) -> Any:
    """States of latent coordinates in the units of the data, as :meth:`rom.ROM.decode`."""
    axis = model.time_axis_
    if axis is None or axis.unit == "steps":
        return model.decode(z)
    import xarray as xr

    latent = xr.DataArray(z, {axis.dim: axis.to_times(t)}, (axis.dim, "mode"))
    return model.decode(latent)
