"""The time loops of Lyapunov exponents: a state and perturbations of it, advanced together.

They are the columns of one array Y (rank, 1 + n_exponents). After every step the perturbations are
made orthonormal again; the logarithms of how long they had become are summed from each output time
to the next. As in :mod:`rom.rollout.steppers`, a loop runs as plain Python where `model` is a
function, here ``model(rows, u)`` of several states, and compiled where it is the
:class:`~rom.rollout.terms.Terms` of a polynomial. It returns those sums (n_time - 1, n_exponents),
the place of its status in :class:`~rom.rollout.result.Status`, the time it ended and the steps it
tried.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

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
    combine,
    compiled,
    load,
    set_inputs,
)
from rom.rollout.terms import EPS, INLINE, SUMS, values_of

Array = NDArray[np.float64]

# Errors of a step, relative to the state and to the perturbations.
RTOL, RTOL_PERTURBATIONS = 1e-8, 1e-6
# A state this much smaller than usual ones counts as zero in those errors.
NEGLIGIBLE = 1e-6
# The step of a central difference: that of the least error in all.
DIFFERENCE = float(np.cbrt(EPS))


def tangent(model: Any, values: Array, slopes: Array, row: int) -> None:
    """Set ``slopes[row]`` to the right-hand side and its derivatives along the perturbations.

    The first rows of `values` are Y, and the inputs follow in its first column. Central
    differences here, exact for polynomials.
    """
    rank = slopes.shape[1] // values.shape[1]
    z, steps, u = values[:rank, 0], values[:rank, 1:].T, values[rank:, 0]
    step = DIFFERENCE * max(1e-6, float(np.abs(z).max()))
    found = model(np.concatenate([z[None], z + step * steps, z - step * steps]), u)
    ahead, behind = np.split(found[1:], 2)
    change = (ahead - behind) / (2 * step)
    slopes[row] = np.column_stack([found[0], change.T]).ravel()


@overload(tangent, jit_options=SUMS)
def _polynomial_tangent(model: Any, values: Any, slopes: Any, row: Any) -> Callable[..., None]:
    def evaluate(model: Any, values: Any, slopes: Any, row: Any) -> None:
        left, right, full, first, place, coef = model
        n, width = values.shape
        start = n - len(left)
        for k in range(len(left)):
            a, b = left[k], right[k]
            for c in range(width):  # the product rule
                values[start + k, c] = values[a, c] * values[b, 0] + values[a, 0] * values[b, c]
            values[start + k, 0] = values[a, 0] * values[b, 0]
        for i in range(len(full)):
            for c in range(width):
                slopes[row, i * width + c] = 0.0
            for k in range(full.shape[1]):
                for c in range(width):
                    slopes[row, i * width + c] += full[i, k] * values[k, c]
            for k in range(first[i], first[i + 1]):
                for c in range(width):
                    slopes[row, i * width + c] += coef[k] * values[place[k], c]

    return evaluate


def orthonormalise(Y: Array, grown: Array) -> None:
    """Make ``Y[:, 1:]`` orthonormal; add the logarithms of the lengths across to `grown`."""
    Y[:, 1:], R = np.linalg.qr(Y[:, 1:])
    grown += np.log(np.abs(np.diag(R)))


@overload(orthonormalise, jit_options=INLINE)
def _gram_schmidt(Y: Any, grown: Any) -> Callable[..., None]:
    def evaluate(Y: Any, grown: Any) -> None:
        rank, width = Y.shape
        parts = np.empty(width)
        for c in range(1, width):
            square = 0.0
            for i in range(rank):
                square += Y[i, c] ** 2
            grown[c - 1] += 0.5 * np.log(square)
            shrink = 1 / np.sqrt(square) if square > 0 else 0.0
            parts[:] = 0.0
            for i in range(rank):
                Y[i, c] *= shrink
                for d in range(c + 1, width):
                    parts[d] += Y[i, c] * Y[i, d]
            for i in range(rank):
                for d in range(c + 1, width):
                    Y[i, d] -= Y[i, c] * parts[d]

    return evaluate


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
    start = values_of(model, rank + n_inputs)
    values = np.zeros((len(start), width))
    values[:, 0] = start
    for i in range(len(t) - 1):
        load(values.reshape(-1), y)
        set_inputs(values[:, 0], rank, u, i, 0.0)
        tangent(model, values, slopes, 0)
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
    slopes, start = np.empty((7, Y.size)), values_of(model, rank + n_inputs)
    values = np.zeros((len(start), width))
    values[:, 0] = start
    flat, inputs = values.reshape(-1), values[:, 0]
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
                set_inputs(inputs, rank, u, i, (done + DOPRI_PLACES[s] * h) / interval)
                tangent(model, values, slopes, s)
            combine(later, y, h, DOPRI_STEP, slopes)
            load(flat, later)
            set_inputs(inputs, rank, u, i, (done + h) / interval)
            tangent(model, values, slopes, 6)
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
