"""The heat equation on an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from rom import checks
from rom.fom.coarse import Coarse, check_factor
from rom.fom.states import check_count, check_positive, check_run, label, with_params


@dataclass(frozen=True)
class Heat:
    """``∂q/∂t = κ ∂²q/∂x²`` on an interval whose ends are kept at zero, or at given values.

    Discrete in space by second-order differences on `n` even interior points,
    ``dq/dt = A q + B u``, and solved exactly in time: sine waves are the eigenvectors of A. The
    inputs u, where given, are the values at the ends: one for both, or the left's and the right's.

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

    An end kept at 1 from the start, and one at 0: in the long run a straight line.

    >>> q = model.simulate(np.zeros(63), [0.0, 5.0], u=[[1.0, 0.0], [1.0, 0.0]])
    >>> bool(abs(q[1] - (1 - q.x)).max() < 1e-12)
    True
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

        `u` (n_time, 1 or 2) holds the values at the ends, piecewise linear between the times `t`;
        `params` replaces parameters for this run.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (model.n,))
        inputs, waves = checks.check_inputs(u, len(t)), fft.dst(x0, type=1)
        if inputs is None:
            waves = np.exp(np.multiply.outer(t - t[0], model.eigenvalues())) * waves
        else:
            force = inputs @ fft.dst(model.input_shapes(inputs.shape[1]), type=1)
            waves = model._driven(waves, t, force)
        return label(fft.idst(waves, type=1), t, model._rest())

    def initial_state(self) -> xr.DataArray:
        """State (x,): the parabola ``x (length − x)``."""
        rest = self._rest()
        x = rest.x.to_numpy()
        return rest.copy(data=x * (self.length - x))

    def input_shapes(self, n_inputs: int) -> NDArray[np.float64]:
        """What a unit of each input adds to dq/dt: the columns of B, as rows (n_inputs, n)."""
        if n_inputs not in (1, 2):
            raise ValueError(
                f"u must have one input for both ends, or one for each, but it has {n_inputs}."
            )
        ends = np.zeros((2, self.n))
        ends[0, 0] = ends[1, -1] = self.diffusivity * ((self.n + 1) / self.length) ** 2
        return ends if n_inputs == 2 else ends.sum(axis=0, keepdims=True)

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

    def _driven(
        self, start: NDArray[np.float64], t: NDArray[np.float64], force: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Sine waves (n_time, n) from `start` (n,), driven by `force` (n_time, n), linear between.

        Over a step h, with z = h times the eigenvalue, ``first`` and ``second`` are the integrals
        of ``exp((1 - s) z)`` and ``s exp((1 - s) z)`` from s = 0 to 1.
        """
        rate, waves = self.eigenvalues(), np.empty((len(t), self.n))
        waves[0] = start
        for i, h in enumerate(np.diff(t)):
            z = h * rate
            first = np.expm1(z) / z
            second = (first - 1) / z
            change = first * force[i] + second * (force[i + 1] - force[i])
            waves[i + 1] = np.exp(z) * waves[i] + h * change
        return waves

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
