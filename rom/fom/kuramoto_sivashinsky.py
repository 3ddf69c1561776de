"""The Kuramoto-Sivashinsky equation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from rom.fom import periodic
from rom.fom.coarse import Coarse, check_factor, even, resample
from rom.fom.states import check_count, check_positive, check_run, label, with_params


@dataclass(frozen=True)
class KuramotoSivashinsky:
    """``∂u/∂t + u ∂u/∂x + ∂²u/∂x² + ∂⁴u/∂x⁴ = 0`` on a periodic interval.

    Chaotic in space and time for most lengths from about 22, where it is often studied.

    Parameters
    ----------
    length : float
        Length of the interval: modes longer than 2π grow.
    n : int
        Number of points (even, at least 4).
    dt : float
        Longest time step of the Fourier pseudo-spectral ETDRK4 scheme.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    References
    ----------
    P. Cvitanović, R. L. Davidchack and E. Siminos (2010), On the state space geometry of the
    Kuramoto-Sivashinsky flow in a periodic domain, SIAM J. Appl. Dyn. Syst. 9, 1-33.

    Examples
    --------
    >>> import numpy as np
    >>> model = KuramotoSivashinsky()
    >>> u = model.simulate(model.initial_state(), np.arange(0.0, 50.0, 10.0))
    >>> u.sizes, bool(abs(u.mean("x")).max() < 1e-12)
    (Frozen({'time': 5, 'x': 64}), True)
    """

    length: float = 22.0
    n: int = 64
    dt: float = 0.05

    def __post_init__(self) -> None:
        check_positive(self, "length", "dt")
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

        The model takes no inputs `u`; `params` replaces parameters for this run.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (model.n,), u)
        rest = periodic.grid(model.n, model.length)
        k = periodic.wavenumbers(model.n, model.length)
        return label(periodic.run(x0, t, model.length, k**2 - k**4, model.dt), t, rest)

    def initial_state(self, random_state: int = 0, amplitude: float = 0.1) -> xr.DataArray:
        """State (x,) of mean zero: the four longest waves with random amplitudes and phases."""
        rest = periodic.grid(self.n, self.length)
        angle = 2 * np.pi / self.length * np.multiply.outer(np.arange(1, 5), rest.x.to_numpy())
        cosine, sine = np.random.default_rng(random_state).normal(size=(2, 4))
        return rest.copy(data=amplitude * (cosine @ np.cos(angle) + sine @ np.sin(angle)))

    def coarser(self, factor: int) -> Coarse:
        """The same on `factor` times fewer points and steps; states by their Fourier modes."""
        check_factor(factor)
        model = replace(self, n=even(self.n, factor), dt=factor * self.dt)
        return Coarse(model, periodic.grid(self.n, self.length), (model.n,), resample)
