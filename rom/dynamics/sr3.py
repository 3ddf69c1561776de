"""Sparse relaxed regularised regression (SR3)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from rom.dynamics.least_squares import refit, scaled, solve
from rom.dynamics.normal import Normal
from rom.dynamics.regression import units

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

ITERATIONS, RELAXATION, TOLERANCE = 10_000, 10.0, 1e-10


def fit_sr3(
    found: Normal,
    threshold: float,
    *,
    norm: Literal["l0", "l1"] = "l0",
    relaxation: float = RELAXATION,
    relative: bool = False,
    offered: Mask | None = None,
) -> Array:
    """Sparse relaxed regularised regression, and plain least squares on the terms it leaves.

    Minimises ``mean((y - a·c)²)/2 + |c - w|²/(2 relaxation) + R(w)`` in turn over c and over w,
    for terms of unit size. The penalty R is such that its step sets entries of w to zero that are
    smaller than the threshold ("l0") or shrinks all by the threshold ("l1").

    Parameters
    ----------
    found : Normal
    threshold : float
        As for STLSQ, in the units of the coefficients unless `relative`.
    norm : {"l0", "l1"}, optional
    relaxation : float, optional
        How far c and w may stand apart.
    relative : bool, optional
        As for STLSQ.
    offered : ndarray of bool, shape (n_terms,), optional
        Terms to choose from.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    References
    ----------
    Zheng, Askham, Brunton, Kutz & Aravkin (2019), IEEE Access 7, 1404.
    """
    problem = scaled(found)
    every = np.ones(len(problem.scale), bool) if offered is None else offered
    level = (threshold * units(found, relative) * problem.scale)[:, every]
    values, vectors = linalg.eigh(problem.gram[np.ix_(every, every)])
    pull, cross = 1.0 / (relaxation * np.maximum(values, 0.0) + 1.0), problem.cross[every].T
    start = relaxation * (cross @ vectors) * pull
    w = np.zeros_like(level)
    w[:] = solve(problem, every).T
    for _ in range(ITERATIONS):
        c = (start + (w @ vectors) * pull) @ vectors.T
        past = np.abs(c) - level
        last, w = w, np.where(past >= 0, c if norm == "l0" else np.sign(c) * past, 0.0)
        if np.abs(w - last).max(initial=0.0) <= TOLERANCE * np.abs(w).max(initial=0.0):
            break
    kept = np.zeros((len(w), len(every)), bool)
    kept[:, every] = w != 0
    return refit(problem, [[mask] for mask in kept])[0]
