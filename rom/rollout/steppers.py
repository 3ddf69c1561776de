"""The time loops: a map, Runge-Kutta 4, Dormand-Prince 5(4), implicit midpoint, each written once.

A loop runs as plain Python where `model` is a function ``model(z, u)``, and compiled where it is
the :func:`terms_of` a polynomial: numba then takes the second meaning of :func:`field`,
:func:`jacobian` and :func:`combine`, given beside the first. A loop returns the states (NaN after
the end), the place of its status in :class:`~rom.rollout.result.Status`, the time it ended and
the steps it tried.
Inputs `u` have one row per output time and run straight from one to the next; a map holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from rom.base import Polynomial

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Terms = tuple[Integers, Integers, Array]
Model = Callable[[Array, Array], Array] | Terms
Outcome = tuple[Array, int, float, int]

COMPLETED, LEFT_BOUND, NOT_FINITE, STEP_TOO_SMALL, TOO_MANY_STEPS = range(5)

# Butcher tableaus: the slopes that lead to each stage, its place in the step, and the weights of
# the slopes in the step. For Dormand-Prince also those of its error; see `dopri5` for the source.
RK4_STAGES = np.array([[0, 0, 0], [1 / 2, 0, 0], [0, 1 / 2, 0], [0, 0, 1]])
RK4_PLACES = np.array([0, 1 / 2, 1 / 2, 1])
RK4_STEP = np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6])
DOPRI_STAGES = np.array(
    [
        [0, 0, 0, 0, 0],
        [1 / 5, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ]
)
DOPRI_PLACES = np.array([0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1])
DOPRI_STEP = np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84])
DOPRI_ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])

# Newton's method for an implicit step: the most iterations; the ratio of one change to the last
# above which an old matrix is no good; and the changes, relative to the state, below which it is
# put down to rounding that they do not fall further, with an old matrix and with a new one.
NEWTON_ITERATIONS = 30
NEWTON_CONTRACTION = 0.1
NEWTON_ROUNDING_OLD, NEWTON_ROUNDING_NEW = 1e-14, 1e-10
EPS = float(np.finfo(np.float64).eps)


def field(model: Any, z: Array, u: Array) -> Array:
    """The right-hand side at state `z` (rank,) and input `u` (n_inputs,)."""
    return model(z, u)


def jacobian(model: Any, z: Array, u: Array) -> Array:
    """Derivatives (rank, rank) of :func:`field` by `z`; forward differences here."""
    out = np.empty((len(z), len(z)))
    here = field(model, z, u)
    step = np.sqrt(EPS) * max(1e-6, float(np.abs(z).max()))
    for j in range(len(z)):
        moved = z.copy()
        moved[j] += step
        out[:, j] = (field(model, moved, u) - here) / step
    return out


def combine(z: Array, h: float, weights: Array, slopes: Array) -> Array:
    """``z`` plus `h` times the weighted sum of the first slopes (rows)."""
    return z + h * (weights @ slopes[: len(weights)])


def put(rows: Array, i: int, row: Array) -> None:
    """Set ``rows[i]``."""
    rows[i] = row


def terms_of(polynomial: Polynomial) -> Terms:
    """The terms of a polynomial that any target has, as the compiled loops take them.

    Term ``k`` is the product of the variables ``factor[first[k]:first[k + 1]]``; ``coef[k]`` are
    its coefficients, one per target.
    """
    used = np.any(polynomial.coef != 0, axis=0)
    exponents = polynomial.exponents[used]
    term, variable = np.nonzero(exponents)
    factor = np.repeat(variable, exponents[term, variable])
    first = np.concatenate([[0], np.cumsum(exponents.sum(axis=1))])
    coef = np.ascontiguousarray(polynomial.coef[:, used].T, dtype=np.float64)
    return first.astype(np.int64), factor.astype(np.int64), coef


@overload(field)
def _polynomial_field(model: Any, z: Any, u: Any) -> Callable[..., Array] | None:
    if not isinstance(model, types.BaseTuple):
        return None

    def evaluate(model: Any, z: Any, u: Any) -> Array:
        first, factor, coef = model
        rank = len(z)
        out = np.zeros(rank)
        for k in range(len(coef)):
            product = 1.0
            for i in range(first[k], first[k + 1]):
                j = factor[i]
                product *= z[j] if j < rank else u[j - rank]
            for i in range(rank):
                out[i] += coef[k, i] * product
        return out

    return evaluate


@overload(jacobian)
def _polynomial_jacobian(model: Any, z: Any, u: Any) -> Callable[..., Array]:
    def evaluate(model: Any, z: Any, u: Any) -> Array:
        first, factor, coef = model
        rank = len(z)
        out = np.zeros((rank, rank))
        for k in range(len(coef)):
            for one in range(first[k], first[k + 1]):
                if factor[one] >= rank:
                    continue
                product = 1.0
                for other in range(first[k], first[k + 1]):
                    if other != one:
                        j = factor[other]
                        product *= z[j] if j < rank else u[j - rank]
                for i in range(rank):
                    out[i, factor[one]] += coef[k, i] * product
        return out

    return evaluate


@overload(combine)
def _compiled_combine(z: Any, h: Any, weights: Any, slopes: Any) -> Callable[..., Array]:
    def add(z: Any, h: Any, weights: Any, slopes: Any) -> Array:
        out = np.empty(len(z))
        for j in range(len(z)):
            total = 0.0
            for i in range(len(weights)):
                total += weights[i] * slopes[i, j]
            out[j] = z[j] + h * total
        return out

    return add


@overload(put)
def _compiled_put(rows: Any, i: Any, row: Any) -> Callable[..., None]:
    def copy(rows: Any, i: Any, row: Any) -> None:  # numba takes 4 s to compile rows[i] = row
        for j in range(len(row)):
            rows[i, j] = row[j]

    return copy


@register_jitable
def run_stages(
    model: Any,
    stages: Array,
    places: Array,
    z: Array,
    h: float,
    u: Array,
    u_change: Array,
    slopes: Array,
) -> None:
    """Fill ``slopes[1:len(places)]`` for a step `h` from `z`, whose slope is ``slopes[0]``."""
    for s in range(1, len(places)):
        stage = combine(z, h, stages[s, :s], slopes)
        put(slopes, s, field(model, stage, u + places[s] * u_change))


def iterate(model: Any, z0: Array, t: Array, u: Array, bound: float) -> Outcome:
    """``z[i + 1] = field(z[i], u[i])``."""
    z = np.full((len(t), len(z0)), np.nan)
    put(z, 0, z0)
    for i in range(len(t) - 1):
        later = field(model, z[i], u[i])
        if not np.all(np.isfinite(later)):
            return z, NOT_FINITE, t[i], i + 1
        put(z, i + 1, later)
        if np.linalg.norm(later) > bound:
            return z, LEFT_BOUND, t[i + 1], i + 1
    return z, COMPLETED, t[-1], len(t) - 1


def rk4(model: Any, z0: Array, t: Array, u: Array, bound: float) -> Outcome:
    """The classical Runge-Kutta method, one step per output interval."""
    z = np.full((len(t), len(z0)), np.nan)
    put(z, 0, z0)
    slopes = np.empty((4, len(z0)))
    for i in range(len(t) - 1):
        h = t[i + 1] - t[i]
        put(slopes, 0, field(model, z[i], u[i]))
        run_stages(model, RK4_STAGES, RK4_PLACES, z[i], h, u[i], u[i + 1] - u[i], slopes)
        later = combine(z[i], h, RK4_STEP, slopes)
        if not np.all(np.isfinite(later)):
            return z, NOT_FINITE, t[i], i + 1
        put(z, i + 1, later)
        if np.linalg.norm(later) > bound:
            return z, LEFT_BOUND, t[i + 1], i + 1
    return z, COMPLETED, t[-1], len(t) - 1


def dopri5(
    model: Any,
    z0: Array,
    t: Array,
    u: Array,
    bound: float,
    rtol: float,
    atol: float,
    max_steps: int,
) -> Outcome:
    """Dormand and Prince's pair of orders 5(4) [1]_, its error per step held in the Euclidean norm.

    Steps end on every output time, where piecewise linear inputs have their kinks.

    References
    ----------
    .. [1] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I",
       2nd ed., Springer 1993, table II.5.2 and section II.4.
    """
    out = np.full((len(t), len(z0)), np.nan)
    put(out, 0, z0)
    smallest = 16 * np.finfo(np.float64).eps * max(abs(t[0]), abs(t[-1]))
    slopes = np.empty((7, len(z0)))
    z, zero, size = z0, np.zeros(len(z0)), np.linalg.norm(z0)
    put(slopes, 0, field(model, z, u[0]))
    step = t[-1] - t[0]
    n_steps, cause = 0, COMPLETED
    for i in range(len(t) - 1):
        interval = t[i + 1] - t[i]
        done = 0.0  # how much of the interval lies behind
        while done < interval:
            if n_steps == max_steps:
                cause = TOO_MANY_STEPS
            if cause != COMPLETED:
                return out, cause, t[i] + done, n_steps
            n_steps += 1
            steps_left = max(1.0, np.ceil((interval - done) / step))
            h = (interval - done) / steps_left
            u_now = u[i] + done / interval * (u[i + 1] - u[i])
            u_change = h / interval * (u[i + 1] - u[i])
            run_stages(model, DOPRI_STAGES, DOPRI_PLACES, z, h, u_now, u_change, slopes)
            later = combine(z, h, DOPRI_STEP, slopes)
            put(slopes, 6, field(model, later, u_now + u_change))
            later_size = np.linalg.norm(later)
            error = np.linalg.norm(combine(zero, h, DOPRI_ERROR, slopes))
            ratio = float(error / (atol + rtol * max(size, later_size)))
            step = 0.2 * h
            if np.isfinite(ratio):
                step = h * min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2))
            if step <= smallest:
                cause = STEP_TOO_SMALL if np.isfinite(ratio) else NOT_FINITE
            if not ratio <= 1:
                continue
            z, size = later, later_size
            put(slopes, 0, slopes[6])
            done = interval if steps_left == 1 else done + h
            now = t[i] + done
            if done == interval:
                now = t[i + 1]
                put(out, i + 1, z)
            if size > bound:
                return out, LEFT_BOUND, now, n_steps
    return out, COMPLETED, t[-1], n_steps


@register_jitable
def newton_inverse(J: Array, h: float) -> Array:
    """The inverse of ``I - h/2 J``; NaN where there is none."""
    try:
        return np.ascontiguousarray(np.linalg.inv(np.eye(len(J)) - 0.5 * h * J))
    except Exception:  # the only kind that numba knows
        return np.full_like(J, np.nan)


@register_jitable
def midpoint_slope(
    model: Any, z: Array, h: float, u: Array, inverse: Array, renew: bool
) -> tuple[Array, Array, int]:
    """The slope k of an implicit step: ``k = field(z + h/2 k, u)``, by Newton's method.

    It uses an `inverse` (see :func:`newton_inverse`) from an earlier step, and gives up where
    that makes it slow, or, if `renew`, makes a new one in each iteration. Returns k, the inverse
    last used, and the status: completed if k was found.
    """
    slope = np.zeros(len(z))
    last = float(np.inf)
    for _ in range(NEWTON_ITERATIONS):
        middle = z + 0.5 * h * slope
        if renew:
            inverse = newton_inverse(jacobian(model, middle, u), h)
        change = inverse @ (field(model, middle, u) - slope)
        slope = slope + change
        moved = float(h * np.linalg.norm(change))
        size = float(np.linalg.norm(z) + h * np.linalg.norm(slope))
        if not moved + size < np.inf:
            return slope, inverse, NOT_FINITE
        small = moved <= (NEWTON_ROUNDING_NEW if renew else NEWTON_ROUNDING_OLD) * size
        if moved <= EPS * size or (small and moved >= last):
            return slope, inverse, COMPLETED
        if not (renew or small or moved <= NEWTON_CONTRACTION * last):
            break
        last = moved
    return slope, inverse, STEP_TOO_SMALL


def midpoint(model: Any, z0: Array, t: Array, u: Array, bound: float) -> Outcome:
    """The implicit midpoint rule, one step per output interval, which keeps quadratic invariants.

    Each step is solved to rounding, with a matrix kept from earlier steps as long as it serves:
    for a linear model and even steps, to the end. Rounding in that matrix is the same in every
    step, and would add up over the steps [1]_; the last iteration, which starts from a residual
    computed afresh, takes it out.

    References
    ----------
    .. [1] E. Hairer, R. I. McLachlan, A. Razakarivony, "Achieving Brouwer's law with implicit
       Runge-Kutta methods", BIT Numerical Mathematics 48 (2008) 231-243.
    """
    z = np.full((len(t), len(z0)), np.nan)
    put(z, 0, z0)
    inverse = np.full((len(z0), len(z0)), np.nan)
    for i in range(len(t) - 1):
        h = t[i + 1] - t[i]
        middle = 0.5 * (u[i] + u[i + 1])
        slope, inverse, cause = midpoint_slope(model, z[i], h, middle, inverse, False)
        if cause != COMPLETED:
            slope, inverse, cause = midpoint_slope(model, z[i], h, middle, inverse, True)
        if cause != COMPLETED:
            return z, cause, t[i], i + 1
        later = z[i] + h * slope
        put(z, i + 1, later)
        if np.linalg.norm(later) > bound:
            return z, LEFT_BOUND, t[i + 1], i + 1
    return z, COMPLETED, t[-1], len(t) - 1


def compiled(loop: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Compile a loop, once for all sessions if there is a folder to keep it in."""
    try:
        return njit(cache=True)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(loop)


PLAIN: dict[str, Callable[..., Outcome]] = {
    "map": iterate,
    "rk4": rk4,
    "dopri5": dopri5,
    "midpoint": midpoint,
}
COMPILED = {name: compiled(loop) for name, loop in PLAIN.items()}
