"""Equations ``∂u/∂t = L u − ∂(u²/2)/∂x + f`` on a periodic interval, in Fourier modes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import fft

from rom.fom.etdrk4 import ETDRK4
from rom.fom.states import substeps


def grid(n: int, length: float, name: str = "u") -> xr.DataArray:
    """The state zero on `n` even points of the interval [0, `length`)."""
    x = ("x", length / n * np.arange(n), {"long_name": "position", "units": "1"})
    return xr.DataArray(np.zeros(n), {"x": x}, ("x",), name=name, attrs={"units": "1"})


def wavenumbers(n: int, length: float) -> NDArray[np.float64]:
    """Wavenumbers (n // 2 + 1,) of the modes of a real state on `n` points."""
    return np.arange(n // 2 + 1, dtype=np.float64) * (2 * np.pi / length)


def n_kept(n: int) -> int:
    """How many modes products keep, of a real state on `n` points: those that none is aliased to.

    Two modes below a third of `n` feed none that looks like one of them on the grid.
    """
    return (n - 1) // 3 + 1


def run(
    x0: NDArray[np.float64],
    t: NDArray[np.float64],
    length: float,
    linear: NDArray[np.float64],
    longest_step: float,
    forcing: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """States (n_time, n) at times `t` from `x0` (n,).

    `linear` (n // 2 + 1,) is L on the modes; `forcing` (n_time, n) is f at the times `t`, taken
    as piecewise linear between them. Products drop the modes from a third of the points on, to
    which others are aliased.
    """
    n = len(x0)
    k = wavenumbers(n, length)
    flux = np.where(np.arange(len(k)) < n_kept(n), -0.5j * k, 0)
    force = None if forcing is None else fft.rfft(forcing, axis=1)

    def nonlinear(s: float, v: NDArray[np.complex128]) -> NDArray[np.complex128]:
        product = flux * fft.rfft(fft.irfft(v, n) ** 2)
        if force is None:
            return product
        i = min(int(np.searchsorted(t, s, side="right")), len(t) - 1) - 1
        part = (s - t[i]) / (t[i + 1] - t[i])
        return product + (1 - part) * force[i] + part * force[i + 1]

    states = np.empty((len(t), n))
    states[0] = x0
    v = fft.rfft(x0)
    stepper = ETDRK4.of(linear, longest_step)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, (n_steps, dt) in enumerate(substeps(t, longest_step)):
            if abs(dt - stepper.dt) > 1e-12 * dt:
                stepper = ETDRK4.of(linear, dt)
            for j in range(n_steps):
                v = stepper.step(v, t[i] + j * dt, nonlinear)
            states[i + 1] = fft.irfft(v, n)
    return states
