"""The viscous Burgers equation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.fom import periodic
from rom.fom.coarse import Coarse, check_factor, even, resample
from rom.fom.states import check_count, check_positive, check_run, label, with_params


@dataclass(frozen=True)
class Burgers:
    """Viscous Burgers equation ``∂u/∂t + u ∂u/∂x = ν ∂²u/∂x² + f`` on a periodic interval.

    Inputs, where given, are the amplitudes of a body force: column m of the inputs multiplies
    ``sin(2π (m + 1) x / length)``.

    Parameters
    ----------
    viscosity : float
        ν, positive. Shocks of height U are about 8 ν / U wide and need several points.
    n : int
        Number of points (even, at least 4); see Notes for how many.
    length : float
        Length of the interval.
    dt : float
        Longest time step of the Fourier pseudo-spectral ETDRK4 scheme.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    The exact solution without inputs never exceeds the largest ``|u|`` of its start (the maximum
    principle). The scheme has no limiter: on too coarse a grid steep fronts ring and overshoot,
    and nothing says so. Keep the cell Reynolds number ``max|u| length / (n ν)`` at 2 or less:
    runs from :meth:`initial_state` then overshoot by less than 1 %. At 4 they do so by up to 5 %,
    at 16 by 23 %, and at 156 (``viscosity=1e-4, n=64``) by 67 %. For accurate fronts keep it
    at 1 or less. In doubt look at the spectral tail: by wavenumber index n / 3, the highest that
    products keep, the amplitudes in ``rfft(u)`` should have fallen below 0.1 % of the largest.

    Examples
    --------
    >>> import numpy as np
    >>> model = Burgers(viscosity=0.05, n=64)
    >>> u = model.simulate(model.initial_state(), np.linspace(0, 1, 5))
    >>> u.sizes, bool((u**2).sum("x").diff("time").max() < 0)
    (Frozen({'time': 5, 'x': 64}), True)
    """

    viscosity: float = 0.01
    n: int = 256
    length: float = 1.0
    dt: float = 1e-3

    def __post_init__(self) -> None:
        check_positive(self, "viscosity", "length", "dt")
        check_count(self, "n", 4, even=True)

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from state `x0` (n,), the state at ``t[0]``, to states (time, x) at times `t`.

        `u` (n_time, n_inputs) holds the inputs at the times `t`, piecewise linear between them;
        `params` replaces parameters for this run, such as ``{"viscosity": 0.02}``.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (model.n,))
        rest = periodic.grid(model.n, model.length)
        inputs = checks.check_inputs(u, len(t))
        forcing = None if inputs is None else inputs @ model.input_shapes(inputs.shape[1])
        linear = -model.viscosity * periodic.wavenumbers(model.n, model.length) ** 2
        return label(periodic.run(x0, t, model.length, linear, model.dt, forcing), t, rest)

    def initial_state(self, amplitude: float = 1.0) -> xr.DataArray:
        """State (x,): one sine wave, which steepens to a shock by t = length / (2π amplitude)."""
        rest = periodic.grid(self.n, self.length)
        wave = np.sin(2 * np.pi / self.length * rest.x.to_numpy())
        return rest.copy(data=amplitude * wave)

    def input_shapes(self, n_inputs: int) -> NDArray[np.float64]:
        """What a unit of each input adds to ``∂u/∂t``: the sines (n_inputs, n)."""
        if n_inputs >= self.n // 2:
            raise ValueError(
                f"A grid of {self.n} points has {self.n // 2 - 1} sines, but u has {n_inputs} "
                "inputs, one for each sine from the longest on."
            )
        waves = 2 * np.pi * np.arange(1, n_inputs + 1) / self.n
        return np.asarray(np.sin(np.outer(waves, np.arange(self.n))))

    def coarser(self, factor: int) -> Coarse:
        """The same on `factor` times fewer points and steps; states by their Fourier modes."""
        check_factor(factor)
        model = replace(self, n=even(self.n, factor), dt=factor * self.dt)
        return Coarse(model, periodic.grid(self.n, self.length), (model.n,), resample)
