"""The wave equation on a periodic interval, as a Hamiltonian system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import fft, sparse

from rom.fom.coarse import Coarse, check_factor, resample
from rom.fom.periodic import grid
from rom.fom.states import check_count, check_positive, check_run, label, with_params


@dataclass(frozen=True)
class Wave:
    """``∂²q/∂t² = c² ∂²q/∂x²`` on a periodic interval, with the momentum ``p = ∂q/∂t``.

    Discrete in space by second-order differences D on `n` even points,

        dq/dt = p,    dp/dt = c² D q,

    a Hamiltonian system whose energy :meth:`energy` never changes. It is solved exactly in time:
    Fourier modes are the eigenvectors of D.

    Parameters
    ----------
    speed : float
        c, positive.
    n : int
        Number of points, at least 3.
    length : float
        Length of the interval.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Notes
    -----
    A state has dims ``(variable, x)`` with the variables q and p, so that its row of numbers
    (:class:`~rom.Flatten`) holds all of q and, after it, all of p.

    References
    ----------
    The model problem of Peng & Mohseni (2016), Symplectic model reduction of Hamiltonian systems,
    SIAM J. Sci. Comput. 38.

    Examples
    --------
    >>> import numpy as np
    >>> model = Wave(n=64)
    >>> x = model.simulate(model.initial_state(), np.linspace(0, 50, 3))
    >>> dict(x.sizes), np.allclose(model.energy(x), model.energy(x[0]), rtol=1e-12)
    ({'time': 3, 'variable': 2, 'x': 64}, True)
    """

    speed: float = 0.1
    n: int = 256
    length: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self, "speed", "length")
        check_count(self, "n", 3)

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from state `x0` (2, n), the state at ``t[0]``, to states (time, variable, x).

        The model takes no inputs `u`; `params` replaces parameters for this run.
        """
        model = with_params(self, params)
        x0, t = check_run(model, x0, t, (2, model.n), u)
        q, p = fft.rfft(x0, axis=1)
        elapsed, omega = (t - t[0])[:, np.newaxis], model.frequencies()
        cos, sin = np.cos(elapsed * omega), np.sin(elapsed * omega)
        over_omega = elapsed * np.sinc(elapsed * omega / np.pi)  # sin(ω t) / ω, and t at ω = 0
        modes = np.stack([cos * q + over_omega * p, cos * p - omega * sin * q], axis=1)
        return label(fft.irfft(modes, model.n, axis=2), t, model._rest())

    def initial_state(self) -> xr.DataArray:
        """State (variable, x): a cubic spline bump of height 1 and width 0.4 length, at rest."""
        state = self._rest()
        s = 10 * abs(state.x.to_numpy() / self.length - 0.5)
        state[0] = np.where(s <= 1, 1 - 1.5 * s**2 + 0.75 * s**3, np.clip(2 - s, 0, None) ** 3 / 4)
        return state

    def coarser(self, factor: int) -> Coarse:
        """The same on `factor` times fewer points; states by their Fourier modes."""
        check_factor(factor)
        model = replace(self, n=round(self.n / factor))
        return Coarse(model, self._rest(), (2, model.n), resample)

    def energy(self, states: ArrayLike) -> NDArray[np.float64]:
        """Energy ``Δx/2 Σ p² + c² (Δq/Δx)²`` of each state: (…, 2, n) to (…)."""
        states = np.asarray(states, dtype=np.float64)
        dx = self.length / self.n
        q, p = states[..., 0, :], states[..., 1, :]
        slope = (np.roll(q, -1, axis=-1) - q) / dx
        energy: NDArray[np.float64] = dx / 2 * np.sum(p**2 + (self.speed * slope) ** 2, axis=-1)
        return energy

    def operator(self) -> sparse.csr_array:
        """The matrix A (2 n, 2 n) of ``dx/dt = A x``, for states as one row [q, p]."""
        ones, dx = np.ones(self.n), self.length / self.n
        D = sparse.diags_array(
            [ones, ones, -2 * ones, ones, ones],
            offsets=[1 - self.n, -1, 0, 1, self.n - 1],
            shape=(self.n, self.n),
        )
        return sparse.block_array(
            [[None, sparse.eye_array(self.n)], [(self.speed / dx) ** 2 * D, None]], format="csr"
        )

    def frequencies(self) -> NDArray[np.float64]:
        """Angular frequencies (n // 2 + 1,) of the Fourier modes, the slowest first."""
        wave = np.arange(self.n // 2 + 1)
        return 2 * self.speed * self.n / self.length * np.sin(np.pi / self.n * wave)

    def _rest(self) -> xr.DataArray:
        zero = grid(self.n, self.length)
        return xr.concat([zero, zero], xr.Variable("variable", ["q", "p"])).rename("state")
