"""The reference of trust_lyapunov.py: `python benchmarks/trust_lyapunov_reference.py [NAME ...]`.

Lyapunov exponents of systems of `dysts` along one long trajectory, by a program that shares no code
with :mod:`rom.rollout.lyapunov`: SciPy's coefficients of DOP853 at a relative tolerance of 1e-11
for the state and for each perturbation, derivatives by SymPy, a QR decomposition four times a
period. After 500 periods, as many are counted as bring the sampling error of the largest exponent
to 0.6 %, in stretches of 4000. Errors are those of 40 batches. Prints lines for the table.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from chaotic_systems import System, read_systems
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import DOP853
from trust_lyapunov import LONGEST, PRECISION, REFERENCE

Array = NDArray[np.float64]
Terms = tuple[NDArray[np.int64], Array, NDArray[np.int64]]

SPIN_UP, STRETCH, BATCHES, TIGHT = 500, 4000, 40, 1e-11
A, B, E3, E5 = (DOP853.A[:12, :12].copy(), DOP853.B, DOP853.E3[:12].copy(), DOP853.E5[:12].copy())


def derivatives(system: System) -> Terms:
    """Terms of the right-hand side and, by SymPy, of its Jacobian: place, coefficient, powers."""
    import sympy

    z = sympy.symbols(f"z:{len(system.start)}")
    sides = sympy.Matrix(system.rhs(*z, sympy.Symbol("t"), *system.parameters))
    terms = [
        (place, float(coefficient), powers)
        for place, side in enumerate((*sides, *sides.jacobian(z)))
        for powers, coefficient in sympy.Poly(side, *z).terms()
    ]
    places, coefs, powers = zip(*terms, strict=True)
    return np.array(places), np.array(coefs), np.array(powers)


@njit
def slope(terms: Terms, Y: Array, out: Array, values: Array) -> None:
    """Set `out` to the time derivatives of a state and its perturbations, columns of `Y`."""
    places, coefs, powers = terms
    rank = len(Y)
    values[:] = 0.0
    for k in range(len(coefs)):
        product = coefs[k]
        for i in range(rank):
            for _ in range(powers[k, i]):
                product *= Y[i, 0]
        values[places[k]] += product
    for i in range(rank):
        for c in range(1, rank + 1):
            total = 0.0
            for j in range(rank):
                total += values[rank + i * rank + j] * Y[j, c]
            out[i, c] = total
        out[i, 0] = values[i]


@njit
def combine(Y: Array, h: float, weights: Array, slopes: Array, out: Array) -> None:
    """Set `out` to `Y` plus `h` times the weighted sum of the first slopes."""
    for i in range(Y.shape[0]):
        for c in range(Y.shape[1]):
            total = 0.0
            for s in range(len(weights)):
                total += weights[s] * slopes[i, c, s]
            out[i, c] = Y[i, c] + h * total


@njit
def squares(high: Array, Y: Array, later: Array) -> float:
    """Sum over the columns of the squared error over that allowed."""
    total = 0.0
    for c in range(Y.shape[1]):
        error, before, after = 1e-300, 1e-300, 0.0
        for i in range(Y.shape[0]):
            error += high[i, c] ** 2
            before += Y[i, c] ** 2
            after += later[i, c] ** 2
        total += error / (TIGHT**2 * max(before, after))
    return total


@njit
def advance(terms: Terms, Y: Array, span: float, step: float) -> tuple[Array, float]:
    """`Y` after the time `span`, by DOP853 with SciPy's coefficients; the length of a step."""
    slopes, k = np.zeros((*Y.shape, 12)), np.empty_like(Y)
    stage, error, zero = np.empty_like(Y), np.empty_like(Y), np.zeros_like(Y)
    values = np.empty(len(Y) * (1 + len(Y)))
    Y, done = Y.copy(), 0.0
    while done < span:
        last = step >= span - done
        h = span - done if last else step
        for s in range(12):
            combine(Y, h, A[s, :s], slopes, stage)
            slope(terms, stage, k, values)
            slopes[:, :, s] = k
        combine(Y, h, B, slopes, stage)
        combine(zero, h, E5, slopes, error)
        fifth = squares(error, Y, stage)
        combine(zero, h, E3, slopes, error)
        third = squares(error, Y, stage)
        ratio = fifth / np.sqrt(Y.size * (fifth + 0.01 * third))
        if ratio <= 1:
            Y[:] = stage
            done = span if last else done + h
        if ratio > 1 or not last:
            step = h * min(5.0, max(0.2, 0.9 * max(ratio, 1e-12) ** -0.125))
    return Y, step


@njit
def growth(terms: Terms, Y: Array, span: float, n: int) -> tuple[Array, Array]:
    """Logarithms (n, rank) of how perturbations grew in each `span`; the last `Y`."""
    rank = len(Y)
    out, step = np.empty((n, rank)), 1e-3 * span
    for i in range(n):
        Y, step = advance(terms, Y, span, step)
        Q, R = np.linalg.qr(np.ascontiguousarray(Y[:, 1:]))
        Y[:, 1:] = Q
        out[i] = np.log(np.abs(np.diag(R)))
    return out, Y


def kaplan_yorke(rates: Array) -> float:
    """Where the sum of the largest exponents, joined by straight lines, falls to zero."""
    total = 0.0
    for n, rate in enumerate(sorted(rates.tolist(), reverse=True)):
        if total + rate < 0:
            return n + total / -rate
        total += rate
    return float(len(rates))


def reference(system: System) -> tuple[float, float, float, float]:
    """Largest exponent and Kaplan-Yorke dimension, each with its standard error."""
    rank, cut = len(system.start), 4  # a period is cut so that perturbations stay apart
    terms, span = derivatives(system), system.period / cut
    directions = np.random.default_rng(1).normal(size=(rank, rank))
    Y = np.column_stack([system.start, np.linalg.qr(directions)[0]])
    Y = growth(terms, Y, span, SPIN_UP * cut)[1]
    rates = np.empty((0, rank))
    while True:
        more, Y = growth(terms, Y, span, STRETCH * cut)
        rates = np.concatenate([rates, more / span])
        parts = np.array([part.mean(axis=0) for part in np.array_split(rates, BATCHES)])
        error = parts[:, 0].std(ddof=1) / np.sqrt(BATCHES)
        if error <= PRECISION * parts[:, 0].mean() or len(rates) >= LONGEST * cut:
            break
    dimensions = [kaplan_yorke(np.delete(parts, i, axis=0).mean(axis=0)) for i in range(BATCHES)]
    dimension_error = np.sqrt((BATCHES - 1) * np.var(dimensions))  # jackknife
    largest, *_ = mean = rates.mean(axis=0)
    return float(largest), float(error), kaplan_yorke(mean), float(dimension_error)


if __name__ == "__main__":
    for system in read_systems(sys.argv[1:] or list(REFERENCE)):
        started = time.perf_counter()
        numbers = ", ".join(f"{number:.5g}" for number in reference(system))
        seconds = time.perf_counter() - started
        print(f'    "{system.name}": ({numbers}),  # {seconds:.0f} s', flush=True)
