"""Exponential time differencing for stiff equations on a periodic interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ETDRK4(NamedTuple):
    """Fourth-order steps of ``dv/dt = L v + N(t, v)`` with diagonal L, exact where N is zero.

    References
    ----------
    A.-K. Kassam and L. N. Trefethen (2005), Fourth-order time-stepping for stiff PDEs,
    SIAM J. Sci. Comput. 26, 1214-1233.
    """

    dt: float
    whole: NDArray[np.float64]
    """exp(L dt)."""
    half: NDArray[np.float64]
    """exp(L dt / 2)."""
    stage: NDArray[np.float64]
    """Weight of N inside a half step."""
    first: NDArray[np.float64]
    middle: NDArray[np.float64]
    last: NDArray[np.float64]
    """Weights of N at the start, twice half-way, and at the end."""

    @classmethod
    def of(cls, linear: NDArray[np.float64], dt: float) -> ETDRK4:
        """Prepare steps of length `dt` for the diagonal `linear`.

        The weights suffer from cancellation near L dt = 0; the mean over a circle around L dt,
        by Cauchy's formula the value in its middle, does not.
        """
        circle = np.exp(1j * np.pi * (np.arange(32) + 0.5) / 32)
        z = dt * linear[:, np.newaxis] + circle
        e = np.exp(z)

        def mean(f: NDArray[np.complex128]) -> NDArray[np.float64]:
            return dt * f.mean(axis=1).real

        return cls(
            dt=dt,
            whole=np.exp(dt * linear),
            half=np.exp(dt * linear / 2),
            stage=mean((np.exp(z / 2) - 1) / z),
            first=mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3),
            middle=mean((2 + z + e * (z - 2)) / z**3),
            last=mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3),
        )

    def step(
        self,
        v: NDArray[np.complex128],
        t: float,
        nonlinear: Callable[[float, NDArray[np.complex128]], NDArray[np.complex128]],
    ) -> NDArray[np.complex128]:
        """The state `dt` after `v` at time `t`."""
        mid, end = t + self.dt / 2, t + self.dt
        n_v = nonlinear(t, v)
        a = self.half * v + self.stage * n_v
        n_a = nonlinear(mid, a)
        b = self.half * v + self.stage * n_a
        n_b = nonlinear(mid, b)
        c = self.half * a + self.stage * (2 * n_b - n_v)
        n_c = nonlinear(end, c)
        return self.whole * v + self.first * n_v + 2 * self.middle * (n_a + n_b) + self.last * n_c
