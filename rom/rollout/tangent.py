"""The time loops of Lyapunov exponents: a state and perturbations of it, advanced together.

They are the columns of one array Y (rank, 1 + n_exponents). After every step the perturbations are
made orthonormal again; the logarithms of how long they had become are summed from each output time
to the next. As in :mod:`rom.rollout.steppers`, a loop runs as plain Python where `model` is a
function, here ``model(rows, u)`` of several states, and compiled where it is a :class:`Linearised`
polynomial. It returns those sums (n_time - 1, n_exponents), the place of its status in
:class:`~rom.rollout.result.Status`, the time it ended and the steps it tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from rom.base import Polynomial
from rom.rollout.steppers import (
    COMPLETED,
    DOPRI_ERROR,
    DOPRI_PLACES,
    DOPRI_STAGES,
    DOPRI_STEP,
    LEFT_BOUND,
    NOT_FINITE,
    STEP_TOO_SMALL,
    TOO_MANY_STEPS,
    Outcome,
    compiled,
    load,
    set_inputs,
)
from rom.rollout.terms import EPS, INLINE, SUMS, Places, Terms, slope, terms_of, values_of

Array = NDArray[np.float64]

# Errors of a step, relative to the state and to the perturbations. Of chaotic attractors they could
# be a hundred times larger: sampling hides them. But a conservative system must keep its energy.
RTOL, RTOL_PERTURBATIONS = 1e-7, 1e-5
# A state this much smaller than usual ones counts as zero in those errors.
NEGLIGIBLE = 1e-6
# The step of a central difference: that of the least error in all.
DIFFERENCE = float(np.cbrt(EPS))


class Linearised(NamedTuple):
    """A polynomial and its derivatives by the state, ready to be evaluated."""

    field: Terms
    """The polynomial."""
    derivatives: Terms
    """Those of its derivatives that are not zero everywhere, row by row of the Jacobian matrix."""
    first: Places
    """Where the derivatives of each row begin, and the last ends (rank + 1,)."""
    column: Places
    """The variable by which each one is taken."""


def linearised(polynomial: Polynomial) -> Linearised:
    """A polynomial with its derivatives by the state."""
    rank = len(polynomial.coef)
    target, term = np.nonzero(polynomial.coef)
    source, column = np.nonzero(polynomial.exponents[term, :rank])
    target, term = target[source], term[source]
    lower = polynomial.exponents[term]
    powers = lower[np.arange(len(lower)), column].copy()
    lower[np.arange(len(lower)), column] -= 1
    exponents, place = np.unique(lower, axis=0, return_inverse=True)
    entries, entry = np.unique(target * rank + column, return_inverse=True)
    coef = np.zeros((len(entries), len(exponents)))
    np.add.at(coef, (entry, place.ravel()), polynomial.coef[target, term] * powers)
    return Linearised(
        field=terms_of(polynomial),
        derivatives=terms_of(Polynomial(exponents, coef)),
        first=np.searchsorted(entries, rank * np.arange(rank + 1)).astype(np.uint32),
        column=(entries % rank).astype(np.uint32),
    )


def room(model: Any, rank: int, n_inputs: int) -> Any:
    """Arrays that :func:`tangent` needs for a polynomial."""
    return ()


def tangent(model: Any, Y: Array, u: Array, arrays: Any, slopes: Array, row: int) -> None:
    """Set ``slopes[row]`` to the right-hand side and its derivatives along the perturbations.

    Central differences here, exact for quadratic polynomials. For :class:`Linearised` ones the
    Jacobian matrix times the perturbations.
    """
    z, steps = Y[:, 0], Y[:, 1:].T
    step = DIFFERENCE * max(1e-6, float(np.abs(z).max()))
    found = model(np.concatenate([z[None], z + step * steps, z - step * steps]), u)
    ahead, behind = np.split(found[1:], 2)
    change = (ahead - behind) / (2 * step)
    slopes[row] = np.column_stack([found[0], change.T]).ravel()


@overload(room, jit_options=INLINE)
def _polynomial_room(model: Any, rank: Any, n_inputs: Any) -> Callable[..., Any]:
    def make(model: Any, rank: Any, n_inputs: Any) -> Any:
        return (
            values_of(model.field, rank + n_inputs),
            values_of(model.derivatives, rank + n_inputs),
            np.empty((1, rank)),
            np.empty((1, len(model.column))),
        )

    return make


@overload(tangent, jit_options=SUMS)
def _polynomial_tangent(
    model: Any, Y: Any, u: Any, arrays: Any, slopes: Any, row: Any
) -> Callable[..., None]:
    def evaluate(model: Any, Y: Any, u: Any, arrays: Any, slopes: Any, row: Any) -> None:
        field, derivatives, first, column = model
        values, others, now, jacobian = arrays
        rank, width = Y.shape
        for i in range(rank):
            values[i] = others[i] = Y[i, 0]
        for i in range(len(u)):
            values[rank + i] = others[rank + i] = u[i]
        slope(field, values, now, 0)
        slope(derivatives, others, jacobian, 0)
        for i in range(rank):
            for c in range(width):
                slopes[row, i * width + c] = 0.0
            for k in range(first[i], first[i + 1]):
                for c in range(width):
                    slopes[row, i * width + c] += jacobian[0, k] * Y[column[k], c]
            slopes[row, i * width] = now[0, i]

    return evaluate


def orthonormalise(Y: Array, grown: Array) -> None:
    """Make ``Y[:, 1:]`` orthonormal; add the logarithms of the lengths across to `grown`."""
    Y[:, 1:], R = np.linalg.qr(Y[:, 1:])
    grown += np.log(np.abs(np.diag(R)))


@overload(orthonormalise, jit_options=SUMS)
def _gram_schmidt(Y: Any, grown: Any) -> Callable[..., None]:
    def evaluate(Y: Any, grown: Any) -> None:
        rank, width = Y.shape
        rows = np.empty((width - 1, rank))  # contiguous
        for i in range(rank):
            for c in range(1, width):
                rows[c - 1, i] = Y[i, c]
        for c in range(width - 1):
            square = 0.0
            for i in range(rank):
                square += rows[c, i] ** 2
            grown[c] += 0.5 * np.log(square)
            shrink = 1 / np.sqrt(square) if square > 0 else 0.0
            for i in range(rank):
                rows[c, i] *= shrink
                Y[i, c + 1] = rows[c, i]
            for d in range(c + 1, width - 1):
                part = 0.0
                for i in range(rank):
                    part += rows[c, i] * rows[d, i]
                for i in range(rank):
                    rows[d, i] -= rows[c, i] * part

    return evaluate


def combine(out: Array, y: Array, h: float, weights: Array, slopes: Array) -> None:
    """As :func:`rom.rollout.steppers.combine`, but slope by slope: faster for so many numbers."""
    out[:] = y + h * (weights @ slopes[: len(weights)])


@overload(combine, jit_options=INLINE)
def _compiled_combine(out: Any, y: Any, h: Any, weights: Any, slopes: Any) -> Callable[..., None]:
    def add(out: Any, y: Any, h: Any, weights: Any, slopes: Any) -> None:
        for j in range(len(y)):
            out[j] = y[j]
        for i in range(len(weights)):
            weight = h * weights[i]
            for j in range(len(y)):
                out[j] += weight * slopes[i, j]

    return add


def sizes(y: Array, width: int) -> tuple[float, float]:
    """Norms of the state and of all perturbations."""
    Y = y.reshape(-1, width)
    return float(np.linalg.norm(Y[:, 0])), float(np.linalg.norm(Y[:, 1:]))


@overload(sizes, jit_options=INLINE)
def _compiled_sizes(y: Any, width: Any) -> Callable[..., tuple[float, float]]:
    def evaluate(y: Any, width: Any) -> tuple[float, float]:
        state, others = 0.0, 0.0
        for i in range(0, len(y), width):
            state += y[i] ** 2
            for c in range(1, width):
                others += y[i + c] ** 2
        return np.sqrt(state), np.sqrt(others)

    return evaluate


def follow_map(
    model: Any, Y: Array, t: Array, u: Array, bound: float, scale: float, max_steps: int
) -> Outcome:
    """Along the states of a map."""
    (rank, width), n_inputs = Y.shape, u.shape[1]
    growth = np.zeros((len(t) - 1, width - 1))
    y, slopes = Y.copy().reshape(-1), np.empty((1, Y.size))
    arrays, inputs = room(model, rank, n_inputs), np.zeros(n_inputs)
    for i in range(len(t) - 1):
        set_inputs(inputs, 0, u, i, 0.0)
        tangent(model, y.reshape(rank, width), inputs, arrays, slopes, 0)
        load(y, slopes[0])
        size, other = sizes(y, width)
        if not size + other < np.inf:
            return growth, NOT_FINITE, t[i], i + 1
        if size > bound:
            return growth, LEFT_BOUND, t[i + 1], i + 1
        orthonormalise(y.reshape(rank, width), growth[i])
    return growth, COMPLETED, t[-1], len(t) - 1


def follow_flow(
    model: Any, Y: Array, t: Array, u: Array, bound: float, scale: float, max_steps: int
) -> Outcome:
    """Along a trajectory, by Dormand and Prince's method; see :func:`rom.rollout.steppers.dopri5`.

    `scale` is the size of usual states.
    """
    (rank, width), n_inputs = Y.shape, u.shape[1]
    growth = np.zeros((len(t) - 1, width - 1))
    y, later, error, zero = (
        Y.copy().reshape(-1),
        np.zeros(Y.size),
        np.zeros(Y.size),
        np.zeros(Y.size),
    )
    slopes, stage = np.empty((7, Y.size)), np.empty((rank, width))
    arrays, inputs = room(model, rank, n_inputs), np.zeros(n_inputs)
    flat = stage.reshape(-1)
    smallest = 16 * EPS * max(abs(t[0]), abs(t[-1]))
    step, n_steps, least = t[1] - t[0], 0, NEGLIGIBLE * scale
    for i in range(len(t) - 1):
        interval = t[i + 1] - t[i]
        done = 0.0  # how much of the interval lies behind
        while done < interval:
            if n_steps == max_steps:
                return growth, TOO_MANY_STEPS, t[i] + done, n_steps
            n_steps += 1
            steps_left = max(1.0, np.ceil((interval - done) / step))
            h = (interval - done) / steps_left
            for s in range(6):
                combine(flat, y, h, DOPRI_STAGES[s, :s], slopes)
                set_inputs(inputs, 0, u, i, (done + DOPRI_PLACES[s] * h) / interval)
                tangent(model, stage, inputs, arrays, slopes, s)
            combine(later, y, h, DOPRI_STEP, slopes)
            load(flat, later)
            set_inputs(inputs, 0, u, i, (done + h) / interval)
            tangent(model, stage, inputs, arrays, slopes, 6)
            combine(error, zero, h, DOPRI_ERROR, slopes)
            (wrong, wrong_others), (size, others) = sizes(error, width), sizes(later, width)
            before, others_before = sizes(y, width)
            ratio = np.hypot(
                wrong / (RTOL * max(before, size, least)),
                wrong_others / (RTOL_PERTURBATIONS * max(others_before, others)),
            )
            step = 0.2 * h
            if ratio < np.inf:
                step = h * min(5.0, max(0.2, 0.9 * max(ratio, 1e-10) ** -0.2))
            if step <= smallest:
                cause = STEP_TOO_SMALL if ratio < np.inf else NOT_FINITE
                return growth, cause, t[i] + done, n_steps
            if not ratio <= 1:
                continue
            load(y, later)
            orthonormalise(y.reshape(rank, width), growth[i])
            done = interval if steps_left == 1 else done + h
            if size > bound:
                return growth, LEFT_BOUND, t[i] + done, n_steps
    return growth, COMPLETED, t[-1], n_steps


PLAIN: dict[str, Callable[..., Outcome]] = {"continuous": follow_flow, "discrete": follow_map}
COMPILED = {time: compiled(loop) for time, loop in PLAIN.items()}
