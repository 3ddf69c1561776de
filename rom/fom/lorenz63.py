"""Lorenz's three equations of convection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from rom.fom.states import (
    check_finite,
    check_positive,
    check_run,
    label,
    solve_tightly,
    with_params,
)


@dataclass(frozen=True)
class Lorenz63:
    """``ẋ = σ (y − x)``, ``ẏ = x (ρ − z) − y``, ``ż = x y − β z``.

    Solved to a relative tolerance of 1e-11, so that chaos (exponent 0.906) hides the true
    trajectory only after about 25 time units. All quantities are pure numbers.

    Parameters
    ----------
    sigma : float
        σ, the Prandtl number of the fluid; positive.
    rho : float
        ρ, the Rayleigh number over its critical value. Below 1 all comes to rest; above 24.74,
        with the default σ and β, both convecting states are unstable.
    beta : float
        β, set by the width of the convection rolls; positive.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    E. N. Lorenz (1963), Deterministic nonperiodic flow, J. Atmos. Sci. 20, 130-141.

    Examples
    --------
    >>> import numpy as np
    >>> model = Lorenz63()
    >>> model.simulate(model.initial_state(), np.linspace(0, 1, 101)).sizes
    Frozen({'time': 101, 'component': 3})
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    def __post_init__(self) -> None:
        check_positive(self, "sigma", "beta")
        check_finite(self, "rho")

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from state `x0` (3,), that at ``t[0]``, to states (time, component) at times `t`.

        The model takes no inputs `u`; `params` replaces parameters for this run.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (3,), u)
        return label(solve_tightly(model._rhs, x0, t), t, model.initial_state())

    def initial_state(self) -> xr.DataArray:
        """State (component,): a point near the attractor."""
        names = {"component": ["x", "y", "z"]}
        return xr.DataArray([-8.0, 8.0, 27.0], names, name="state", attrs={"units": "1"})

    def _rhs(self, t: float, state: NDArray[np.float64]) -> tuple[float, float, float]:
        x, y, z = state.tolist()
        return self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z
