"""The heat equation on an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from rom.fom.coarse import Coarse, check_factor
from rom.fom.states import check_count, check_positive, check_run, label, with_params


@dataclass(frozen=True)
class Heat:
    """``∂q/∂t = κ ∂²q/∂x²`` on an interval whose ends are kept at zero.

    Discrete in space by second-order differences on `n` even interior points, ``dq/dt = A q``,
    and solved exactly in time: sine waves are the eigenvectors of A.

    Parameters
    ----------
    diffusivity : float
        κ, positive: heat running backwards has no solution that depends on its start smoothly.
    n : int
        Number of interior points.
    length : float
        Length of the interval.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> model = Heat(n=63)
    >>> q = model.simulate(model.initial_state(), np.linspace(0, 0.1, 3))
    >>> q.sizes
    Frozen({'time': 3, 'x': 63})
    """

    diffusivity: float = 1.0
    n: int = 1023
    length: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "diffusivity", "length")
        check_count(self, "n", 1)

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
        decay = np.exp(np.multiply.outer(t - t[0], model.eigenvalues()))
        return label(fft.idst(decay * fft.dst(x0, type=1), type=1), t, model._rest())

    def initial_state(self) -> xr.DataArray:
        """State (x,): the parabola ``x (length − x)``."""
        rest = self._rest()
        x = rest.x.to_numpy()
        return rest.copy(data=x * (self.length - x))

    def coarser(self, factor: int) -> Coarse:
        """The same with a grid step `factor` times longer; states by their sine waves."""
        check_factor(factor)
        model = replace(self, n=round((self.n + 1) / factor) - 1)
        return Coarse(model, self._rest(), (model.n,), _resample)

    def eigenvalues(self) -> NDArray[np.float64]:
        """Eigenvalues (n,) of A, the slowest first."""
        dx = self.length / (self.n + 1)
        angle = np.pi / 2 * np.arange(1, self.n + 1) / (self.n + 1)
        return -self.diffusivity * (2 / dx * np.sin(angle)) ** 2

    def _rest(self) -> xr.DataArray:
        points = self.length / (self.n + 1) * np.arange(1, self.n + 1)
        x = ("x", points, {"long_name": "position", "units": "1"})
        return xr.DataArray(np.zeros(self.n), {"x": x}, ("x",), name="q", attrs={"units": "1"})


def _resample(values: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Values (…, n) at ``shape[-1]`` interior points, by as many sine waves as both resolve."""
    n, m = values.shape[-1], shape[-1]
    waves = np.zeros((*values.shape[:-1], m))
    kept = min(n, m)
    waves[..., :kept] = fft.dst(values, type=1)[..., :kept] * ((m + 1) / (n + 1))
    return np.asarray(fft.idst(waves, type=1))
