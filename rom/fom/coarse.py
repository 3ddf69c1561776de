"""A full model on a coarser grid, seen from outside as if it ran on the fine one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from rom.base import FullModel

# Values (…, *space) of one grid on another that has so many points.
Regrid = Callable[[NDArray[np.float64], tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class Coarse:
    """A model that runs on a coarser grid, and takes and gives states on the fine one.

    Parameters
    ----------
    model : FullModel
        On the coarser grid.
    rest : DataArray
        Any state of the fine model, for its labels.
    shape : tuple of int
        Of a state of `model`.
    regrid : callable
        Takes values (…, *space) and the shape of another grid, gives the values there.

    Examples
    --------
    >>> import numpy as np
    >>> from rom.fom import Heat
    >>> heat = Heat(n=255)
    >>> q = heat.simulate(heat.initial_state(), [0.0, 0.1])
    >>> coarse = heat.coarser(8)
    >>> type(coarse).__name__, coarse.model.n
    ('Coarse', 31)
    >>> off = coarse.simulate(heat.initial_state(), [0.0, 0.1]) - q
    >>> bool(abs(off[1]).max() < 0.002 * q[1].max())
    True
    """

    model: FullModel
    rest: xr.DataArray
    shape: tuple[int, ...]
    regrid: Regrid

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from the state `x0` (*space) of the fine grid to states (time, *space) on it."""
        start = self.regrid(np.asarray(x0, dtype=np.float64), self.shape)
        run = self.model.simulate(start, t, u=u, params=params)
        fine = self.regrid(run.values, self.rest.shape)
        time = run["time"].variable
        return xr.DataArray(
            fine,
            dims=("time", *self.rest.dims),
            coords={"time": time, **self.rest.coords},
            name=self.rest.name,
            attrs=self.rest.attrs,
        )


def check_factor(factor: int) -> None:
    """Refuse a factor that makes no grid coarser."""
    if not factor >= 2:
        raise ValueError(f"factor must be 2 or more, but it is {factor!r}.")


def even(n: int, factor: int) -> int:
    """An even number of points, about `factor` times fewer than `n`."""
    return 2 * round(n / (2 * factor))


def resample(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Values on a periodic grid (…, n) at ``shape[-1]`` even points, by Fourier modes."""
    from scipy.signal import resample

    return np.asarray(resample(values, shape[-1], axis=-1))
