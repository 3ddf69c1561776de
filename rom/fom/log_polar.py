"""Vorticity and stream function around a circle of radius ½ in a uniform unit stream.

Coordinates are ``ξ = log(2 r)``, even from the wall outwards, and the angle ``θ``, in Fourier
modes ``k = 0 … n_k − 1``. Arrays are ``(n_r, n_k)``, complex. In these coordinates
``r² ∇² = ∂²/∂ξ² + ∂²/∂θ²``, so that ``∇²ψ = −ω`` is one tridiagonal solve for each mode.
Stream function and derivatives are of fourth order in the step of ``ξ``, the wall's vorticity of
third.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

RADIUS = 0.5
# ψ(h) = ψ(0) + h ψ'(0) + h² Σ NEAR_WALL[i] ψ''(i h), with an error of h⁶.
NEAR_WALL = np.array([97, 114, -39, 8]) / 360


class Poisson(NamedTuple):
    """``ψ'' − k² ψ = −r² ω`` by Numerov's three-point formula, factorised for every mode.

    Outside of the last circle there is no vorticity, and ψ less the uniform stream decays from
    there by the discrete solution's own factor: the outer boundary is transparent.
    """

    r: NDArray[np.float64]
    """Radii (n_r,)."""
    h: float
    """Step in ξ."""
    side: NDArray[np.float64]
    """Off-diagonal element (n_k,)."""
    pivot: NDArray[np.float64]
    """Reciprocal pivots (n_r, n_k)."""
    upper: NDArray[np.float64]
    """Eliminated off-diagonal (n_r, n_k)."""
    decay: NDArray[np.float64]
    """Factor of ψ from one circle to the next, without vorticity (n_k,)."""
    stream: complex
    """What the uniform stream ψ = r sin θ adds at the last circle, in mode 1."""
    wall_psi: NDArray[np.float64]
    """ψ of a unit wall vorticity (n_r, n_k)."""
    wall_slip: NDArray[np.float64]
    """Its slip: h ∂ψ/∂ξ at the wall (n_k,)."""


def factorise(r_max: float, n_r: int, n_k: int) -> Poisson:
    """Set the solver up on `n_r` circles out to `r_max`, for `n_k` modes."""
    h = np.log(r_max / RADIUS) / (n_r - 1)
    r = RADIUS * np.exp(h * np.arange(n_r))
    k2 = np.arange(n_k) ** 2.0
    side, centre = 1 / h**2 - k2 / 12, 2 / h**2 + 10 * k2 / 12
    half = centre / (2 * side)  # (decay + 1/decay) / 2
    decay = half - np.sqrt(half**2 - 1)
    pivot, upper = np.zeros((2, n_r, n_k))
    for i in range(1, n_r - 1):
        pivot[i] = 1 / (-centre - side * upper[i - 1] + (side * decay if i == n_r - 2 else 0))
        upper[i] = side * pivot[i]
    bare = Poisson(
        r=r,
        h=h,
        side=side,
        pivot=pivot,
        upper=upper,
        decay=decay,
        stream=0j,
        wall_psi=np.zeros((n_r, n_k)),
        wall_slip=np.ones(n_k),
    )
    vorticity, psi = np.zeros((2, n_r, n_k), dtype=complex)
    vorticity[0] = 1
    _solve(bare, vorticity, psi)
    return bare._replace(
        stream=-0.5j * (r[-1] - decay[1] * r[-2]),
        wall_psi=psi.real.copy(),
        wall_slip=np.array([_slip(bare, vorticity, psi, k).real for k in range(n_k)]),
    )


@njit(cache=True)
def _solve(p: Poisson, vorticity: NDArray, psi: NDArray) -> None:
    """Stream function of modes k ≥ 1 for the vorticity as it stands, zero at the wall."""
    n, n_k = psi.shape
    psi[0] = 0
    for i in range(1, n - 1):
        inner, here, outer = p.r[i - 1] ** 2 / 12, p.r[i] ** 2 / 1.2, p.r[i + 1] ** 2 / 12
        for k in range(1, n_k):
            source = (
                inner * vorticity[i - 1, k] + here * vorticity[i, k] + outer * vorticity[i + 1, k]
            )
            if i == n - 2 and k == 1:
                source += p.side[1] * p.stream
            psi[i, k] = -(source + p.side[k] * psi[i - 1, k]) * p.pivot[i, k]
    for i in range(n - 3, 0, -1):
        for k in range(1, n_k):
            psi[i, k] -= p.upper[i, k] * psi[i + 1, k]
    for k in range(1, n_k):
        psi[n - 1, k] = p.decay[k] * psi[n - 2, k]
    psi[n - 1, 1] += p.stream


@njit(cache=True)
def _slip(p: Poisson, vorticity: NDArray, psi: NDArray, k: int) -> complex:
    """``h ∂ψ/∂ξ`` at the wall, from ψ there and on the next circle, and ψ'' on four circles."""
    change = psi[1, k]
    for i in range(4):
        change -= p.h**2 * NEAR_WALL[i] * (k**2 * psi[i, k] - p.r[i] ** 2 * vorticity[i, k])
    return change


@njit(cache=True)
def _solve_mean(p: Poisson, w: NDArray, psi: NDArray) -> None:
    """Mode 0, whose circulation is free, outwards from ψ = ∂ψ/∂ξ = 0 at the wall.

    That the pressure comes back to itself around the wall asks for ∂ω/∂ξ = 0 there.
    """
    w[0] = (48 * w[1] - 36 * w[2] + 16 * w[3] - 3 * w[4]) / 25
    psi[0] = psi[1] = 0
    for i in range(4):
        psi[1] -= (p.h * p.r[i]) ** 2 * NEAR_WALL[i] * w[i]
    for i in range(1, len(w) - 1):
        inner, here, outer = p.r[i - 1] ** 2 / 12, p.r[i] ** 2 / 1.2, p.r[i + 1] ** 2 / 12
        bend = inner * w[i - 1] + here * w[i] + outer * w[i + 1]
        psi[i + 1] = 2 * psi[i] - psi[i - 1] - p.h**2 * bend


@njit(cache=True)
def stream_function(p: Poisson, vorticity: NDArray, psi: NDArray) -> None:
    """Fill `psi`, and the wall row of `vorticity` such that the fluid sticks to the wall."""
    n, n_k = psi.shape
    vorticity[0] = 0
    _solve(p, vorticity, psi)
    for k in range(1, n_k):
        vorticity[0, k] = -_slip(p, vorticity, psi, k) / p.wall_slip[k]
    for i in range(1, n):
        for k in range(1, n_k):
            psi[i, k] += vorticity[0, k] * p.wall_psi[i, k]
    _solve_mean(p, vorticity[:, 0], psi[:, 0])


@njit(cache=True)
def slope(f: NDArray, h: float, out: NDArray) -> None:
    """Fill `out` with ∂f/∂ξ on all circles but the first, at the last to first order only."""
    n, n_k = f.shape
    for k in range(n_k):
        out[1, k] = (-3 * f[0, k] - 10 * f[1, k] + 18 * f[2, k] - 6 * f[3, k] + f[4, k]) / (12 * h)
        out[n - 2, k] = (f[n - 1, k] - f[n - 3, k]) / (2 * h)
        out[n - 1, k] = (f[n - 1, k] - f[n - 2, k]) / h
    for i in range(2, n - 2):
        for k in range(n_k):
            out[i, k] = (f[i - 2, k] - f[i + 2, k] + 8 * (f[i + 1, k] - f[i - 1, k])) / (12 * h)


@njit(cache=True)
def laplacian(f: NDArray, h: float, out: NDArray) -> None:
    """Fill `out` with r² ∇²f inside; next to the outermost circle to second order only."""
    n, n_k = f.shape
    c = 1 / (12 * h**2)
    for k in range(n_k):
        near = 10 * f[0, k] - 15 * f[1, k] - 4 * f[2, k] + 14 * f[3, k] - 6 * f[4, k] + f[5, k]
        out[1, k] = c * near - k**2 * f[1, k]
        far = f[n - 1, k] - 2 * f[n - 2, k] + f[n - 3, k]
        out[n - 2, k] = 12 * c * far - k**2 * f[n - 2, k]
    for i in range(2, n - 2):
        for k in range(n_k):
            bend = 16 * (f[i - 1, k] + f[i + 1, k]) - 30 * f[i, k] - f[i - 2, k] - f[i + 2, k]
            out[i, k] = c * bend - k**2 * f[i, k]
