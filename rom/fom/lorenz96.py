"""Lorenz's chain of waves around a latitude circle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from rom.fom.states import (
    check_count,
    check_finite,
    check_run,
    label,
    solve_tightly,
    with_params,
)


@dataclass(frozen=True)
class Lorenz96:
    """``ẋ_i = (x_{i+1} − x_{i−2}) x_{i−1} − x_i + F`` on a ring of `n` sites.

    Solved to a relative tolerance of 1e-11. With n = 40 and F = 8, chaotic. All
    quantities are pure numbers.

    Parameters
    ----------
    n : int
        Number of sites, at least 4.
    forcing : float
        F, the same at all sites.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    E. N. Lorenz (1996), Predictability: a problem partly solved, Proc. ECMWF Seminar on
    Predictability 1, 1-18.

    Examples
    --------
    >>> import numpy as np
    >>> model = Lorenz96(n=8)
    >>> model.simulate(model.initial_state(), np.linspace(0, 1, 11)).sizes
    Frozen({'time': 11, 'site': 8})
    """

    n: int = 40
    forcing: float = 8.0

    def __post_init__(self) -> None:
        check_count(self, "n", 4)
        check_finite(self, "forcing")

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from state `x0` (n,), the state at ``t[0]``, to states (time, site) at times `t`.

        The model takes no inputs `u`; `params` replaces parameters for this run.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (model.n,), u)
        return label(solve_tightly(model._rhs, x0, t), t, model.initial_state())

    def initial_state(self, amplitude: float = 0.01) -> xr.DataArray:
        """State (site,): at rest, x_i = F, but for the first site, `amplitude` higher."""
        state = np.full(self.n, self.forcing)
        state[0] += amplitude
        sites = {"site": np.arange(self.n)}
        return xr.DataArray(state, sites, name="state", attrs={"units": "1"})

    def _rhs(self, t: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
        ring = np.concatenate([x[-2:], x, x[:1]])
        return (ring[3:] - ring[:-3]) * ring[1:-2] - x + self.forcing
