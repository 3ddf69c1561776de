"""The implicit midpoint rule, compiled for polynomials as the loops of :mod:`rom.rollout.steppers`.

Its equations are solved by Newton's method.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from rom.rollout.steppers import (
    COMPLETED,
    EULER_STEP,
    LEFT_BOUND,
    NOT_FINITE,
    STEP_TOO_SMALL,
    Outcome,
    combine,
    load,
    norm,
    put,
    set_inputs,
    time_after,
)
from rom.rollout.terms import EPS, derivative, slope, values_of

Array = NDArray[np.float64]

# The most iterations; the ratio of one change to the last above which an old matrix is no good;
# and the changes, relative to the state, below which it is put down to rounding that they do not
# fall further, with an old matrix and with a new one.
ITERATIONS = 30
CONTRACTION = 0.1
ROUNDING_OLD, ROUNDING_NEW = 1e-14, 1e-10


def midpoint(model: Any, z0: Array, t: Array, u: Array, bound: float, substeps: int = 1) -> Outcome:
    """The implicit midpoint rule, which keeps quadratic invariants.

    It takes so many equal steps in each output interval. Each is solved to rounding, with a matrix
    kept from earlier steps as long as it serves: for a linear model and even steps, to the end.
    Rounding in that matrix is the same in every step, and would add up over the steps [1]_; the
    last iteration, which starts from a residual computed afresh, takes it out.

    References
    ----------
    .. [1] E. Hairer, R. I. McLachlan, A. Razakarivony, "Achieving Brouwer's law with implicit
       Runge-Kutta methods", BIT Numerical Mathematics 48 (2008) 231-243.
    """
    rank = len(z0)
    z = np.full((len(t), rank), np.nan)
    put(z, 0, z0)
    values, found = values_of(model, rank + u.shape[1]), np.empty((1, rank))
    now, inverse = z0.copy(), np.full((rank, rank), np.nan)
    for i in range(len(t) - 1):
        h = (t[i + 1] - t[i]) / substeps
        for part in range(substeps):
            step = i * substeps + part
            set_inputs(values, rank, u, i, (part + 0.5) / substeps)
            inverse, cause = find_slope(model, values, now, h, inverse, False, found)
            if cause != COMPLETED:
                inverse, cause = find_slope(model, values, now, h, inverse, True, found)
            if cause != COMPLETED:
                return z, cause, time_after(t, step, substeps), step + 1
            combine(values, now, h, EULER_STEP, found)
            load(now, values)
            if part + 1 == substeps:
                put(z, i + 1, values)
            if norm(now, rank) > bound:
                return z, LEFT_BOUND, time_after(t, step + 1, substeps), step + 1
    return z, COMPLETED, t[-1], substeps * (len(t) - 1)


@register_jitable
def find_slope(
    model: Any, values: Array, z: Array, h: float, inverse: Array, renew: bool, found: Array
) -> tuple[Array, int]:
    """Set ``found[0]`` to the slope k of a step: ``k = field(z + h/2 k, u)``, by Newton's method.

    It uses an `inverse` (see :func:`newton_inverse`) from an earlier step, and gives up where
    that makes it slow, or, if `renew`, makes a new one in each iteration. Returns the inverse
    last used, and the status: completed if k was found.
    """
    rank = len(z)
    k, at, change = found[0], np.empty((1, rank)), np.empty(rank)
    k[:] = 0.0
    last = float(np.inf)
    for _ in range(ITERATIONS):
        combine(values, z, 0.5 * h, EULER_STEP, found)
        if renew:
            inverse = newton_inverse(model, values, rank, h)
        slope(model, values, at, 0)
        np.dot(inverse, at[0] - k, change)
        k += change
        moved = h * norm(change, rank)
        size = norm(z, rank) + h * norm(k, rank)
        if not moved + size < np.inf:
            return inverse, NOT_FINITE
        small = moved <= (ROUNDING_NEW if renew else ROUNDING_OLD) * size
        if moved <= EPS * size or (small and moved >= last):
            return inverse, COMPLETED
        if not (renew or small or moved <= CONTRACTION * last):
            break
        last = moved
    return inverse, STEP_TOO_SMALL


@register_jitable
def newton_inverse(model: Any, values: Array, rank: int, h: float) -> Array:
    """The inverse of ``I - h/2 J`` at the state in `values`; NaN where there is none."""
    J = np.empty((rank, rank))
    derivative(model, values, J)
    try:
        return np.ascontiguousarray(np.linalg.inv(np.eye(rank) - 0.5 * h * J))
    except Exception:  # the only kind that numba knows
        return np.full_like(J, np.nan)
