"""The time loops: a map, Runge-Kutta 4, Euler-Maruyama, pairs with adaptive steps; written once.

A loop runs as plain Python where `model` is a function ``model(z, u)``, and compiled where it is
the :class:`~rom.rollout.terms.Terms` of a polynomial: numba then takes the second meaning of the
functions below that have one. A loop returns the states (NaN after the end), the place of its
status in :class:`~rom.rollout.result.Status`, the time it ended and the steps it tried.
Inputs `u` have one row per output time and run straight from one to the next; a map holds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload, register_jitable
from numpy.typing import NDArray
from scipy import linalg

from rom.rollout.terms import (
    EPS,
    INLINE,
    JIT,
    SUMS,
    slope,
    values_of,
)

Array = NDArray[np.float64]
Outcome = tuple[Array, int, float, int]

COMPLETED, LEFT_BOUND, NOT_FINITE, STEP_TOO_SMALL, TOO_MANY_STEPS = range(5)

# Butcher tableaus: the slopes that lead to each stage, its place in the step, and the weights of
# the slopes in the step. For Dormand-Prince also those of its error, and of its dense output, as
# polynomials in the place (powers 1 to 4): the cubic with the values and slopes of both ends, and
# a quartic that changes neither; see `dopri5` for the source.
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
_QUARTIC = np.array(
    [
        -12715105075 / 11282082432,
        0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ]
)
_STEP, _FIRST, _LAST = np.append(DOPRI_STEP, 0.0), np.eye(7)[0], np.eye(7)[6]
_CUBIC = [_FIRST, 3 * _STEP - 2 * _FIRST - _LAST, _FIRST + _LAST - 2 * _STEP, np.zeros(7)]
DOPRI_DENSE = np.stack(_CUBIC, axis=1) + np.outer(_QUARTIC, [0, 1, -2, 1])
EULER_STEP = np.ones(1)
# What the files hold whose functions become a part of loops elsewhere.
SHARED = hashlib.sha256(
    b"".join(
        Path(__file__).with_name(f"{name}.py").read_bytes()
        for name in ("terms", "vectors", "steppers", "lanes")
    )
).hexdigest()
# Sums of slopes of at least so many numbers are taken slope by slope: neighbours at a time.
FEW = 6
# The first step moves the state by this much of its size. Steps grow and shrink by no more than
# these factors, and aim at an error this much below the tolerance.
FIRST_MOVE, MOST_GROWTH, MOST_SHRINKING, SAFETY = 0.01, 5.0, 0.2, 0.9


def put(rows: Array, i: int, row: Array) -> None:
    """Set ``rows[i]`` to the first numbers of `row`."""
    rows[i] = row[: rows.shape[1]]


def load(values: Array, z: Array) -> None:
    """Set as many of the first numbers of `values` to those of `z` as both have."""
    n = min(len(values), len(z))
    values[:n] = z[:n]


def combine(out: Array, z: Array, h: float, weights: Array, slopes: Array) -> None:
    """Set the first numbers of `out` to `z` plus `h` times the weighted sum of the first slopes."""
    out[: len(z)] = z + h * (weights @ slopes[: len(weights)])


def norm(values: Array, rank: int) -> float:
    """Euclidean norm of the first `rank` numbers, finite where they are."""
    return float(linalg.norm(values[:rank], check_finite=False))


@overload(put, jit_options=INLINE)
def _compiled_put(rows: Any, i: Any, row: Any) -> Callable[..., None]:
    def copy(rows: Any, i: Any, row: Any) -> None:
        for j in range(rows.shape[1]):
            rows[i, j] = row[j]

    return copy


@overload(load, jit_options=INLINE)
def _compiled_load(values: Any, z: Any) -> Callable[..., None]:
    def copy(values: Any, z: Any) -> None:
        for j in range(min(len(values), len(z))):
            values[j] = z[j]

    return copy


@overload(combine, jit_options=INLINE)
def _compiled_combine(out: Any, z: Any, h: Any, weights: Any, slopes: Any) -> Callable[..., None]:
    def add(out: Any, z: Any, h: Any, weights: Any, slopes: Any) -> None:
        rank = len(z)
        few = rank if rank < FEW else 0
        for j in range(few):
            total = 0.0
            for i in range(len(weights)):
                total += weights[i] * slopes[i, j]
            out[j] = z[j] + h * total
        for j in range(few, rank):
            out[j] = z[j]
        for i in range(len(weights) if few < rank else 0):
            weight = h * weights[i]
            for j in range(rank):
                out[j] += weight * slopes[i, j]

    return add


@overload(norm, jit_options=SUMS)
def _compiled_norm(values: Any, rank: Any) -> Callable[..., float]:
    def size(values: Any, rank: Any) -> float:
        squares = 0.0
        for j in range(rank):
            squares += values[j] * values[j]
        if 1e-250 < squares < 1e250:
            return np.sqrt(squares)
        largest = 0.0
        for j in range(rank):
            if not abs(values[j]) < np.inf:
                return np.inf
            largest = max(largest, abs(values[j]))
        squares = 0.0
        for j in range(rank):
            squares += (values[j] / largest) ** 2 if largest > 0 else 0.0
        return largest * np.sqrt(squares)

    return size


@register_jitable(**INLINE)
def set_inputs(values: Array, rank: int, u: Array, i: int, part: float) -> None:
    """Put the inputs into `values`, a `part` of the way from output time `i` to the next."""
    for j in range(u.shape[1]):
        values[rank + j] = u[i, j] + part * (u[i + 1, j] - u[i, j])


def iterate(model: Any, z0: Array, t: Array, u: Array, bound: float) -> Outcome:
    """``z[i + 1] = field(z[i], u[i])``."""
    rank = len(z0)
    z = np.full((len(t), rank), np.nan)
    put(z, 0, z0)
    values, later = values_of(model, rank + u.shape[1]), np.empty((1, rank))
    for i in range(len(t) - 1):
        load(values, z[i])
        set_inputs(values, rank, u, i, 0.0)
        slope(model, values, later, 0)
        size = norm(later[0], rank)
        if not size < np.inf:
            return z, NOT_FINITE, t[i], i + 1
        put(z, i + 1, later[0])
        if size > bound:
            return z, LEFT_BOUND, t[i + 1], i + 1
    return z, COMPLETED, t[-1], len(t) - 1


@register_jitable(**INLINE)
def time_after(t: Array, step: int, substeps: int) -> float:
    """The time after so many steps, of which each output interval has `substeps`."""
    i, part = divmod(step, substeps)
    return t[i] + part / substeps * (t[i + 1] - t[i]) if part > 0 else t[i]


def rk4(model: Any, z0: Array, t: Array, u: Array, bound: float, substeps: int = 1) -> Outcome:
    """The classical Runge-Kutta method, so many equal steps in each output interval."""
    rank = len(z0)
    z = np.full((len(t), rank), np.nan)
    put(z, 0, z0)
    now = z0.copy()
    values, slopes = values_of(model, rank + u.shape[1]), np.empty((4, rank))
    for i in range(len(t) - 1):
        h = (t[i + 1] - t[i]) / substeps
        for part in range(substeps):
            for s in range(4):
                combine(values, now, h, RK4_STAGES[s, :s], slopes)
                set_inputs(values, rank, u, i, (part + RK4_PLACES[s]) / substeps)
                slope(model, values, slopes, s)
            combine(values, now, h, RK4_STEP, slopes)
            size, step = norm(values, rank), i * substeps + part
            if not size < np.inf:
                return z, NOT_FINITE, time_after(t, step, substeps), step + 1
            load(now, values)
            if part + 1 == substeps:
                put(z, i + 1, values)
            if size > bound:
                return z, LEFT_BOUND, time_after(t, step + 1, substeps), step + 1
    return z, COMPLETED, t[-1], substeps * (len(t) - 1)


def euler_maruyama(
    model: Any, z0: Array, t: Array, u: Array, bound: float, kicks: Array, substeps: int = 1
) -> Outcome:
    """The Euler-Maruyama method [1]_, so many equal steps in each output interval.

    Row i of `kicks` is the noise of step i. Where the noise does not depend on the state, the
    method has order 1, for single runs and for their statistics.

    References
    ----------
    .. [1] P. E. Kloeden, E. Platen, "Numerical Solution of Stochastic Differential Equations",
       Springer 1992, section 10.2.
    """
    rank = len(z0)
    z = np.full((len(t), rank), np.nan)
    put(z, 0, z0)
    values, slopes = values_of(model, rank + u.shape[1]), np.empty((1, rank))
    load(values, z0)
    now = values[:rank]
    for i in range(len(t) - 1):
        h = (t[i + 1] - t[i]) / substeps
        for part in range(substeps):
            step = i * substeps + part
            set_inputs(values, rank, u, i, part / substeps)
            slope(model, values, slopes, 0)
            combine(values, now, h, EULER_STEP, slopes)
            combine(values, now, 1.0, EULER_STEP, kicks[step : step + 1])
            size = norm(values, rank)
            if not size < np.inf:
                return z, NOT_FINITE, time_after(t, step, substeps), step + 1
            if part + 1 == substeps:
                put(z, i + 1, values)
            if size > bound:
                return z, LEFT_BOUND, time_after(t, step + 1, substeps), step + 1
    return z, COMPLETED, t[-1], substeps * (len(t) - 1)


class Pair(NamedTuple):
    """An explicit Runge-Kutta method with an estimate of its error and with dense output."""

    stages: Array
    """The weights of the slopes that lead to each slope (n_slopes, n_slopes), row by row.

    The last of the step itself is at its end; those that follow serve dense output only.
    """
    places: Array
    """Where in the step the slopes are (n_slopes,)."""
    errors: Array
    """The weights of the step's slopes in its error (1, n_stages); or in two errors, the first of
    higher order, which are taken together."""
    dense: Array
    """Dense output: the weights of the slopes as polynomials in the place (n_slopes, degree)."""
    order: int
    """Of the method."""


DOPRI5 = Pair(
    stages=np.vstack([np.pad(DOPRI_STAGES, ((0, 0), (0, 2))), _STEP]),
    places=np.append(DOPRI_PLACES, 1.0),
    errors=DOPRI_ERROR[None],
    dense=DOPRI_DENSE,
    order=5,
)


def adaptive(pair: Pair) -> Callable[..., Outcome]:
    """The time loop of a pair of methods [1]_, its error per step held in the Euclidean norm.

    Output times within a step get the method's dense output. With inputs, steps end on every
    output time, where piecewise linear inputs have their kinks.

    References
    ----------
    .. [1] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I",
       2nd ed., Springer 1993, table II.5.2, sections II.4 and II.6.
    """
    stages, places, errors, dense, _ = pair  # numbers that compiled loops hold as constants
    n_slopes, n_stages, power = len(dense), errors.shape[1], -1 / pair.order

    def loop(
        model: Any,
        z0: Array,
        t: Array,
        u: Array,
        bound: float,
        rtol: float,
        atol: float,
        max_steps: int,
    ) -> Outcome:
        rank, n_inputs, span = len(z0), u.shape[1], t[-1] - t[0]
        out = np.full((len(t), rank), np.nan)
        put(out, 0, z0)
        smallest = 16 * EPS * max(abs(t[0]), abs(t[-1]))
        values, inside = values_of(model, rank + n_inputs), values_of(model, rank + n_inputs)
        z, slopes, weights = z0.copy(), np.empty((n_slopes, rank)), np.zeros(n_slopes)
        error, zero = np.zeros(rank), np.zeros(rank)
        load(values, z)
        if len(t) > 1:
            set_inputs(values, rank, u, 0, 0.0)
        slope(model, values, slopes, 0)
        size = norm(z, rank)
        step = min(span, FIRST_MOVE * max(size, atol / rtol) / norm(slopes[0], rank))
        n_steps, cause, i = 0, COMPLETED, 1
        done = 0.0  # how much of the time lies behind; t[i] is the next output time
        while i < len(t):
            if n_steps == max_steps:
                cause = TOO_MANY_STEPS
            if cause != COMPLETED:
                now = min(max(t[0] + done, t[i - 1]), np.nextafter(t[i], t[i - 1]))
                return out, cause, now, n_steps
            n_steps += 1
            start, interval = t[i - 1] - t[0], t[i] - t[i - 1]
            stop = t[i] - t[0] if n_inputs else span
            steps_left = max(1.0, np.ceil((stop - done) / step))
            h = (stop - done) / steps_left
            for s in range(1, n_stages):
                combine(values, z, h, stages[s, :s], slopes)
                set_inputs(values, rank, u, i - 1, (done - start + places[s] * h) / interval)
                slope(model, values, slopes, s)
            later_size = norm(values, rank)
            wrong = error_of(error, zero, h, errors, slopes)
            ratio = wrong / (atol + rtol * max(size, later_size))
            step = MOST_SHRINKING * h
            if ratio < np.inf:
                change = SAFETY * max(ratio, 1e-10) ** power
                step = h * min(MOST_GROWTH, max(MOST_SHRINKING, change))
            if step <= smallest:
                cause = STEP_TOO_SMALL if ratio < np.inf else NOT_FINITE
            if not ratio <= 1:
                continue
            reached = stop if steps_left == 1 else done + h
            for s in range(n_stages, n_slopes if t[i] - t[0] <= reached else n_stages):
                combine(inside, z, h, stages[s, :s], slopes)
                set_inputs(inside, rank, u, i - 1, (done - start + places[s] * h) / interval)
                slope(model, inside, slopes, s)
            while i < len(t) and t[i] - t[0] <= reached:
                dense_weights(weights, dense, (t[i] - t[0] - done) / (reached - done))
                combine(out[i], z, h, weights, slopes)
                if norm(out[i], rank) > bound:
                    return out, LEFT_BOUND, t[i], n_steps
                i += 1
            load(z, values)
            put(slopes, 0, slopes[n_stages - 1])
            size, done = later_size, reached
            if size > bound and i < len(t):
                return out, LEFT_BOUND, min(t[0] + done, np.nextafter(t[i], t[i - 1])), n_steps
        return out, COMPLETED, t[-1], n_steps

    return loop


@register_jitable(**INLINE)
def error_of(error: Array, zero: Array, h: float, errors: Array, slopes: Array) -> float:
    """The norm of a step's error; of two as in [1]_, section II.10, of :func:`adaptive`."""
    rank = len(error)
    combine(error, zero, h, errors[0], slopes)
    size = norm(error, rank)
    if len(errors) > 1 and size > 0:
        combine(error, zero, h, errors[1], slopes)
        size *= size / np.hypot(size, 0.1 * norm(error, rank))
    return size


@register_jitable(**INLINE)
def dense_weights(weights: Array, dense: Array, place: float) -> None:
    """Set the weights of the slopes at a `place` from 0 to 1 within a step."""
    for s in range(len(weights)):
        weight = 0.0
        for k in range(dense.shape[1] - 1, -1, -1):
            weight = place * (dense[s, k] + weight)
        weights[s] = weight


dopri5 = adaptive(DOPRI5)


def compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop, once for all sessions if there is a folder to keep it in.

    numba compiles it again where the file of the loop has changed; here, also where a file has
    whose functions become a part of it.
    """
    try:
        kept: Any = njit(cache=True, nogil=True, **JIT)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True, **JIT)(loop)
    with suppress(AttributeError):  # numba's own affair, and of use to those who change rom only
        file = kept._cache._cache_file
        file._source_stamp = (file._source_stamp, SHARED)
    return kept
