"""An exponential Runge-Kutta method for stiff linear parts: dz/dt = A z + N(z, u).

The linear part is solved exactly, so that the nonlinear one alone says how short steps must be.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from rom.base import Polynomial
from rom.rollout.steppers import (
    COMPLETED,
    FIRST_MOVE,
    LEFT_BOUND,
    NOT_FINITE,
    STEP_TOO_SMALL,
    TOO_MANY_STEPS,
    Outcome,
    load,
    norm,
    put,
    set_inputs,
)
from rom.rollout.terms import INLINE, SUMS, slope, values_of

Array = NDArray[np.float64]

# Steps are an output interval, halved up to this many times.
HALVINGS = 40
# A step is doubled where its error, which grows 16-fold, is less than this part of the tolerance.
DOUBLING = 0.03
# Intervals that differ by less, relatively, count as equal.
EVEN = 1e-10
# The part of the last stage's weight that the embedded method gives to the next step's first slope.
EMBEDDED = 0.6
# Terms of the series for matrices of norm 1/2 or less, whose remainder is below rounding.
N_SERIES = 14


class Split(NamedTuple):
    """A polynomial as its linear part and the rest."""

    linear: Array
    """A (rank, rank)."""
    rest: Polynomial
    """N, in state and inputs."""


def split(polynomial: Polynomial) -> Split:
    """Take the terms that are linear in the state out of a polynomial.

    Examples
    --------
    >>> import numpy as np
    >>> linear, rest = split(Polynomial(np.array([[1], [2]]), np.array([[-5.0, 1.0]])))
    >>> linear.tolist(), rest.exponents.tolist(), rest.coef.tolist()
    ([[-5.0]], [[2]], [[1.0]])
    """
    exponents, coef = polynomial
    rank = len(coef)
    is_linear = (exponents.sum(axis=1) == 1) & (exponents[:, :rank].sum(axis=1) == 1)
    linear = coef[:, is_linear] @ exponents[is_linear, :rank]
    return Split(linear.astype(np.float64), Polynomial(exponents[~is_linear], coef[:, ~is_linear]))


def exponential(
    model: Any,
    z0: Array,
    t: Array,
    u: Array,
    bound: float,
    rtol: float,
    atol: float,
    max_steps: int,
    linear: Array,
) -> Outcome:
    """Krogstad's exponential Runge-Kutta method of order 4 [1]_, with adaptive steps.

    `model` is the nonlinear part and `linear` the matrix of the linear one. The error is that of
    the embedded method of order 3 that takes a part of the last stage's weight to the next step's
    first slope [2]_. Steps are output intervals halved, and the functions of the matrix made once
    for each length.

    References
    ----------
    .. [1] S. Krogstad, "Generalized integrating factor methods for stiff PDEs", Journal of
       Computational Physics 203 (2005) 72-88.
    .. [2] S. Balac, F. Mahé, "Embedded Runge-Kutta scheme for step-size control in the
       interaction picture method", Computer Physics Communications 184 (2013) 1211-1219.
    """
    rank = len(z0)
    out = np.full((len(t), rank), np.nan)
    put(out, 0, z0)
    values, slopes = values_of(model, rank + u.shape[1]), np.empty((5, rank))
    z, size, work = z0.copy(), norm(z0, rank), np.empty((4, rank))
    table, known = np.empty((HALVINGS + 1, 3, rank, rank)), np.zeros(HALVINGS + 1, np.bool_)
    load(values, z)
    if len(t) > 1:
        set_inputs(values, rank, u, 0, 0.0)
    slope(model, values, slopes, 0)
    load(work[0], slopes[0])
    add_product(work[0], linear, z0, 1.0)
    first = FIRST_MOVE * max(size, atol / rtol) / norm(work[0], rank)
    interval, halvings, n_steps = 0.0, 0, 0
    while len(t) > 1 and (t[1] - t[0]) / 2**halvings > first and halvings < HALVINGS - 1:
        halvings += 1
    for i in range(len(t) - 1):
        if abs(t[i + 1] - t[i] - interval) > EVEN * interval:
            interval = t[i + 1] - t[i]
            known[:] = False
        parts, done = 2**halvings, 0  # steps to the interval, and how many lie behind
        while done < parts:
            if n_steps == max_steps:
                return out, TOO_MANY_STEPS, t[i] + done / parts * (t[i + 1] - t[i]), n_steps
            n_steps += 1
            for k in range(halvings, halvings + 2):
                if not known[k]:
                    set_phi_functions(table[k], linear, interval / 2**k)
                    known[k] = True
            phi, place, part = table[halvings : halvings + 2], done / parts, 1 / parts
            error = exponential_step(
                model, values, slopes, z, work, linear, phi, interval / parts, u, i, place, part
            )
            later_size = norm(values, rank)
            ratio = error / (atol + rtol * max(size, later_size))
            if not (ratio <= 1 and later_size < np.inf):
                if halvings == HALVINGS - 1:
                    cause = STEP_TOO_SMALL if ratio + later_size < np.inf else NOT_FINITE
                    return out, cause, t[i] + done / parts * (t[i + 1] - t[i]), n_steps
                halvings, parts, done = halvings + 1, 2 * parts, 2 * done
                continue
            load(z, values[:rank])
            put(slopes, 0, slopes[4])
            size, done = later_size, done + 1
            if done == parts:
                put(out, i + 1, z)
            if size > bound:
                now = t[i + 1] if done == parts else t[i] + done / parts * (t[i + 1] - t[i])
                return out, LEFT_BOUND, now, n_steps
            if ratio < DOUBLING and halvings > 0 and done % 2 == 0:
                halvings, parts, done = halvings - 1, parts // 2, done // 2
    return out, COMPLETED, t[-1], n_steps


@register_jitable(**INLINE)
def exponential_step(
    model: Any,
    values: Array,
    slopes: Array,
    z: Array,
    work: Array,
    linear: Array,
    phi: Array,
    h: float,
    u: Array,
    i: int,
    place: float,
    part: float,
) -> float:
    """Set the state in `values` to that a step later, and the slopes; return the error's norm.

    `slopes` are those of the nonlinear part: at the start, at two stages in the middle and one at
    the end, and at the end. `phi` has the functions of the matrix for the step and for half of it.
    The step goes from `place` to `place` + `part` of output interval i.
    """
    rank = len(z)
    a, b, stage, end = work[0], work[1], work[2], work[3]
    load(a, slopes[0])
    add_product(a, linear, z, 1.0)
    load(stage, z)
    add_product(stage, phi[1, 0], a, h / 2)
    load(end, z)
    add_product(end, phi[0, 0], a, h)
    load(values, stage)
    set_inputs(values, rank, u, i, place + part / 2)
    slope(model, values, slopes, 1)
    for j in range(rank):
        a[j] = slopes[1, j] - slopes[0, j]
    add_product(stage, phi[1, 1], a, h)
    load(values, stage)
    slope(model, values, slopes, 2)
    load(stage, end)
    for j in range(rank):
        a[j] = slopes[2, j] - slopes[0, j]
    add_product(stage, phi[0, 1], a, 2 * h)
    load(values, stage)
    set_inputs(values, rank, u, i, place + part)
    slope(model, values, slopes, 3)
    for j in range(rank):
        middle = slopes[1, j] + slopes[2, j] - 2 * slopes[0, j]
        last = slopes[3, j] - slopes[0, j]
        a[j], b[j] = 2 * middle - last, 4 * (last - middle)
    add_product(end, phi[0, 1], a, h)
    add_product(end, phi[0, 2], b, h)
    load(values, end)
    slope(model, values, slopes, 4)
    for j in range(rank):
        last = EMBEDDED * (slopes[3, j] - slopes[4, j])
        a[j], b[j], end[j] = -last, 4 * last, 0.0
    add_product(end, phi[0, 1], a, h)
    add_product(end, phi[0, 2], b, h)
    return norm(end, rank)


@register_jitable(**SUMS)
def add_product(out: Array, matrix: Array, vector: Array, factor: float) -> None:
    """Add `factor` times a matrix times a vector."""
    for i in range(len(out)):
        total = 0.0
        for j in range(len(vector)):
            total += matrix[i, j] * vector[j]
        out[i] += factor * total


@register_jitable(**SUMS)
def multiply(out: Array, left: Array, right: Array, factor: float, diagonal: float) -> None:
    """Set `out` to `factor` times a product of matrices, and add `diagonal` on its diagonal."""
    for i in range(len(out)):
        for j in range(len(out)):
            out[i, j] = diagonal if i == j else 0.0
        for k in range(len(out)):
            weight = factor * left[i, k]
            for j in range(len(out)):
                out[i, j] += weight * right[k, j]


@register_jitable
def set_phi_functions(out: Array, matrix: Array, h: float) -> None:
    """Set `out` (3, rank, rank) to φ_1, φ_2 and φ_3 of `h` times a matrix.

    φ_0 is the exponential and ``φ_k(X) = X φ_{k+1}(X) + 1 / k!``. They come from the series of φ_3
    at a small part of the matrix, and are carried to twice the matrix as often as needed [1]_.

    References
    ----------
    .. [1] B. Skaflestad, W. M. Wright, "The scaling and modified squaring method for matrix
       functions related to the exponential", Applied Numerical Mathematics 59 (2009) 783-799.
    """
    rank = len(matrix)
    one, two, three = out[0], out[1], out[2]
    new, power, X = np.empty((3, rank, rank)), np.empty((rank, rank)), np.empty((rank, rank))
    size, part, doublings = h * norm(matrix.ravel(), rank * rank), h, 0
    while 0.5 < size < np.inf:
        size, part, doublings = size / 2, part / 2, doublings + 1
    multiply(three, matrix, matrix, 0.0, 1.0)
    multiply(X, matrix, three, part, 0.0)
    for k in range(N_SERIES + 3, 3, -1):  # φ_3 = (1 + X/4 (1 + X/5 (1 + ...))) / 3!
        last = 6.0 if k == 4 else 1.0
        multiply(power, X, three, 1 / (k * last), 1 / last)
        load(three.ravel(), power.ravel())
    multiply(two, X, three, 1.0, 0.5)
    multiply(one, X, two, 1.0, 1.0)
    multiply(power, X, one, 1.0, 1.0)
    for _ in range(doublings):
        multiply(new[0], power, one, 1 / 2, 0.0)
        multiply(new[1], power, two, 1 / 4, 0.0)
        multiply(new[2], power, three, 1 / 8, 0.0)
        for i in range(rank):
            for j in range(rank):
                three[i, j] = new[2, i, j] + (one[i, j] / 2 + two[i, j] + three[i, j]) / 8
                two[i, j] = new[1, i, j] + (one[i, j] + two[i, j]) / 4
                one[i, j] = new[0, i, j] + one[i, j] / 2
        multiply(X, power, power, 1.0, 0.0)
        load(power.ravel(), X.ravel())
