"""Linearised Bregman iterations, which grow terms from zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.least_squares import EPS, refit, scaled
from rom.dynamics.normal import Normal

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A first term enters after so many iterations, so that the next is told apart from it.
ITERATIONS, FIRST, TOLERANCE = 10_000, 20, 1e-8


def linbreg_path(
    found: Normal, *, max_iter: int = ITERATIONS, offered: Mask | None = None
) -> Array:
    """Linearised Bregman iterations, which grow terms from zero: the supports as they come.

    ``v ← v - τ ∇L(θ)``, ``θ ← shrink(v, λ)`` for terms of unit size: a term enters when the
    gradients that it has gathered pass λ, so that what matters most is there first.

    Parameters
    ----------
    found : Normal
    max_iter : int, optional
        The most iterations; it ends before where the fit with all terms is reached.
    offered : ndarray of bool, shape (n_terms,), optional
        Terms to choose from.

    Returns
    -------
    ndarray, shape (n_steps, n_targets, n_terms)
        Least squares on each support that came up, the empty one first.

    References
    ----------
    Bungert, Roith, Tenbrinck & Burger (2022), J. Mach. Learn. Res. 23, 192. Unbiased: Osher,
    Burger, Goldfarb, Xu & Yin (2005), Multiscale Model. Simul. 4, 460.
    """
    problem = scaled(found)
    every = np.ones(len(problem.scale), bool) if offered is None else offered
    step = 1.0 / max(float(np.linalg.norm(problem.gram, 2)), EPS)
    cross = np.where(every[:, None], problem.cross, 0.0).T
    gram = problem.gram * every
    shrink = FIRST * step * np.abs(cross).max(axis=1, initial=0.0)[:, None]
    v, theta = np.zeros_like(cross), np.zeros_like(cross)
    supports: list[list[Mask]] = [[np.zeros(len(every), bool)] for _ in cross]
    seen: list[set[bytes]] = [{masks[0].tobytes()} for masks in supports]
    last = np.zeros(cross.shape, bool)
    for _ in range(max_iter):
        gradient = cross - theta @ gram
        if np.abs(gradient).max(initial=0.0) <= TOLERANCE * np.abs(cross).max(initial=0.0):
            break
        v += step * gradient
        theta = np.sign(v) * np.maximum(np.abs(v) - shrink, 0.0)
        kept = theta != 0
        for i in np.flatnonzero((kept != last).any(axis=1)):
            if kept[i].tobytes() not in seen[i]:
                seen[i].add(kept[i].tobytes())
                supports[i].append(kept[i])
        last = kept
    return refit(problem, supports)
