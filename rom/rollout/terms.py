"""Polynomials as the compiled loops take them: only the terms there are.

The loops are written once, for models of two kinds: a function ``model(z, u)``, which runs as
plain Python, and the :class:`Terms` of a polynomial, for which numba takes the second meaning of
each function below. Both keep state and inputs in one array of *values*, so that nothing is
allocated inside a loop. numba puts these functions into the loops that call them (a call would
count the references to each array, at five times the cost of the arithmetic of three variables).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from rom.base import Polynomial

Array = NDArray[np.float64]
Places = NDArray[np.uint32]

EPS = float(np.finfo(np.float64).eps)
# A coefficient of the full matrix costs this much of a listed one, where one state is run and where
# many are side by side; and a row of it costs this many.
ALONE, SIDE_BY_SIDE, ROW_COST = 0.2, 0.65, 4
# How loops are compiled: a product and a sum may be rounded once, and division by zero gives
# infinity. The functions of this file are put where they are called; sums of terms may be taken
# in any order, several at a time.
JIT: Any = {"fastmath": {"contract"}, "error_model": "numpy"}
INLINE: Any = {**JIT, "forceinline": True}
SUMS: Any = {**INLINE, "fastmath": {"contract", "reassoc"}}


class Terms(NamedTuple):
    """A polynomial, ready to be evaluated.

    Its *values* are the state, the inputs, the number 1, and products of two earlier values each.
    A target is the sum of a row of the full matrix times the first values, and of its listed
    coefficients times two values each: one factor of the term, and the product of the others.
    Terms of a target with that factor in common stand together: loops multiply by it once.
    """

    left: Places
    """One factor of each product (n_products,): the place of a value."""
    right: Places
    """The other one."""
    full: Array
    """The full matrix (rank, n_full); n_full is 0 where few targets have many terms."""
    first: Places
    """Where the listed coefficients of each target begin, and the last ends (rank + 1,)."""
    place: Places
    """One value that each listed coefficient multiplies (n_listed,)."""
    last: Places
    """The other one, a variable or the number 1."""
    coef: Array
    """Listed coefficients (n_listed,), target by target."""


def terms_of(polynomial: Polynomial, full_cost: float = ALONE) -> Terms:
    """The terms of a polynomial that any target has."""
    used = np.any(polynomial.coef != 0, axis=0)
    factors, one = _factors(polynomial.exponents[used]), polynomial.exponents.shape[1]
    places = _products(factors, one)[2]
    order = np.argsort(places)
    factors, coef = factors[order], polynomial.coef[:, used][:, order]
    n_terms = _cheapest(places[order], coef, full_cost)
    target, term = np.nonzero(coef[:, n_terms:])
    listed = coef[target, n_terms + term]
    last, rest = _taken_out(target, factors[n_terms + term], one, len(coef))
    order = np.lexsort(((last + 1) % (one + 1), target))  # terms with a common factor together
    target, listed, last, rest = target[order], listed[order], last[order], rest[order]
    left, right, places = _products(np.concatenate([factors[:n_terms], rest]), one)
    full = np.zeros((len(coef), int(places[:n_terms].max(initial=-1)) + 1))
    np.add.at(full.T, places[:n_terms], coef[:, :n_terms].T)  # a term may be there twice
    return Terms(
        left=left.astype(np.uint32),
        right=right.astype(np.uint32),
        full=full,
        first=np.searchsorted(target, np.arange(len(coef) + 1)).astype(np.uint32),
        place=places[n_terms:].astype(np.uint32),
        last=last.astype(np.uint32),
        coef=listed.astype(np.float64),
    )


def _factors(exponents: NDArray[np.int64]) -> NDArray[np.int64]:
    """The variables of each term (n_terms, largest degree), as often as their powers, then 1s."""
    degree = exponents.sum(axis=1)
    term, variable = np.nonzero(exponents)
    power = exponents[term, variable]
    factors = np.full((len(exponents), max(1, degree.max(initial=0))), exponents.shape[1])
    factors[np.arange(factors.shape[1]) < degree[:, None]] = np.repeat(variable, power)
    return factors


def _taken_out(
    target: NDArray[np.int64], factors: NDArray[np.int64], one: int, rank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One factor of each term, the one that most terms of its target have, and the others.

    A term of one variable keeps it, unless it is taken out of products of that target too.
    """
    rows, several = np.arange(len(factors)), factors[:, 1:2].min(axis=1, initial=one) < one
    once = (np.diff(factors, prepend=-1, axis=1) > 0) & (factors < one)
    count = np.zeros((rank, one + 1), np.int64)
    np.add.at(count, (target[:, None], factors), once)
    best = np.argmax(np.where(once, count[target[:, None], factors], 0), axis=1)
    taken = factors[rows, best]
    shared = np.zeros((rank, one + 1), np.bool_)
    shared[target[several], taken[several]] = True
    out = several | shared[target, taken]
    rest = factors.copy()
    rest[rows[out], best[out]] = one
    return np.where(out, taken, one), np.sort(rest, axis=1)


def _products(factors: NDArray[np.int64], one: int) -> tuple[NDArray[np.int64], ...]:
    """The factors of all products needed, and the place of the value that each term is.

    A product of n variables is that of the first n - 1, which others may share, and the last.
    """
    place = factors[:, 0].copy()
    left, right = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    n_values = one + 1
    for factor in factors.T[1:]:
        longer = np.flatnonzero(factor < one)
        pairs = place[longer] * one + factor[longer]
        new, which = np.unique(pairs, return_inverse=True)
        left.append(new // one)
        right.append(new % one)
        place[longer] = n_values + which
        n_values += len(new)
    return np.concatenate(left), np.concatenate(right), place


def _cheapest(places: NDArray[np.int64], coef: Array, full_cost: float) -> int:
    """How many terms, in the order of their `places`, the full matrix is best made for."""
    rank = len(coef)
    n_values = np.append(0, places + 1)
    listed = np.cumsum(np.append(0, np.count_nonzero(coef, axis=0)))
    cost = rank * (full_cost * n_values + ROW_COST * (n_values > 0)) - listed
    return int(np.argmin(cost))


def values_of(model: Any, n_variables: int) -> Array:
    """Room for state and inputs, `n_variables` together, and for what is formed of them."""
    return np.zeros(n_variables)


def slope(model: Any, values: Array, slopes: Array, row: int) -> None:
    """Set ``slopes[row]`` to the right-hand side at the state and inputs in `values`."""
    rank = slopes.shape[1]
    slopes[row] = model(values[:rank], values[rank:])


def derivative(model: Any, values: Array, out: Array) -> None:
    """Set `out` (rank, rank) to the derivatives of the right-hand side by the state.

    Forward differences here, exact for polynomials.
    """
    rank = len(out)
    slopes = np.empty((2, rank))
    slope(model, values, slopes, 0)
    step = np.sqrt(EPS) * max(1e-6, float(np.abs(values[:rank]).max()))
    for j in range(rank):
        here = values[j]
        values[j] = here + step
        slope(model, values, slopes, 1)
        values[j] = here
        out[:, j] = (slopes[1] - slopes[0]) / step


def field(model: Any, z: Array, u: Array) -> Array:
    """The right-hand side at state `z` (rank,) and input `u` (n_inputs,)."""
    return model(z, u)


def jacobian(model: Any, z: Array, u: Array) -> Array:
    """Its derivatives (rank, rank) by `z`."""
    out = np.empty((len(z), len(z)))
    derivative(model, np.concatenate((z, u)), out)
    return out


@overload(values_of, jit_options=INLINE)
def _polynomial_values(model: Any, n_variables: Any) -> Callable[..., Array] | None:
    if not isinstance(model, types.BaseTuple):
        return None

    def room(model: Any, n_variables: Any) -> Array:
        values = np.zeros(n_variables + 1 + len(model.left))
        values[n_variables] = 1.0
        return values

    return room


@overload(slope, jit_options=SUMS)
def _polynomial_slope(model: Any, values: Any, slopes: Any, row: Any) -> Callable[..., None]:
    def evaluate(model: Any, values: Any, slopes: Any, row: Any) -> None:
        left, right, full, first, place, last, coef = model
        start = len(values) - len(left)
        for k in range(len(left)):
            values[start + k] = values[left[k]] * values[right[k]]
        for i in range(slopes.shape[1]):
            total = 0.0
            for k in range(full.shape[1]):
                total += full[i, k] * values[k]
            for k in range(first[i], first[i + 1]):
                total += coef[k] * values[place[k]] * values[last[k]]
            slopes[row, i] = total

    return evaluate


@overload(derivative, jit_options=SUMS)
def _polynomial_derivative(model: Any, values: Any, out: Any) -> Callable[..., None]:
    def differentiate(model: Any, values: Any, out: Any) -> None:
        left, right, full, first, place, last, coef = model
        rank, start = len(out), len(values) - len(left)
        # by[v, i] is the derivative of target i by value v: first where v stands in its sum, then,
        # from the last product back to the variables, through the products that v is a factor of.
        by = np.zeros((len(values), rank))
        for k in range(len(left)):
            values[start + k] = values[left[k]] * values[right[k]]
        for i in range(rank):
            for k in range(full.shape[1]):
                by[k, i] = full[i, k]
            for k in range(first[i], first[i + 1]):
                by[place[k], i] += coef[k] * values[last[k]]
                by[last[k], i] += coef[k] * values[place[k]]
        for k in range(len(left) - 1, -1, -1):
            for i in range(rank):
                by[left[k], i] += by[start + k, i] * values[right[k]]
                by[right[k], i] += by[start + k, i] * values[left[k]]
        for i in range(rank):
            for j in range(rank):
                out[i, j] = by[j, i]

    return differentiate


@overload(field, jit_options=INLINE)
def _polynomial_field(model: Any, z: Any, u: Any) -> Callable[..., Array]:
    def evaluate(model: Any, z: Any, u: Any) -> Array:
        values, out = values_at(model, z, u), np.empty((1, len(z)))
        slope(model, values, out, 0)
        return out[0]

    return evaluate


@overload(jacobian, jit_options=INLINE)
def _polynomial_jacobian(model: Any, z: Any, u: Any) -> Callable[..., Array]:
    def evaluate(model: Any, z: Any, u: Any) -> Array:
        out = np.empty((len(z), len(z)))
        derivative(model, values_at(model, z, u), out)
        return out

    return evaluate


@register_jitable(**INLINE)
def values_at(model: Terms, z: Array, u: Array) -> Array:
    """Values with state `z` and inputs `u` in their places."""
    values = values_of(model, len(z) + len(u))
    for j in range(len(z)):
        values[j] = z[j]
    for j in range(len(u)):
        values[len(z) + j] = u[j]
    return values
