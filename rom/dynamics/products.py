"""Which products of terms and targets are summed over rows, and where a Gram matrix finds them.

A Gram matrix is symmetric, and that of a complete polynomial library holds far fewer different
entries still. With 1 as a further variable, every monomial up to degree d is a product of exactly
d variables. An entry is the sum of a product of 2 d of them, whichever two terms they came from:
sorted, the first d and the last d of them are terms of the library again. So each product is formed
once, from a left term whose last variable does not come after the first of the right one. Ten
variables of degree 3 have 8,008 different products, but a Gram matrix of 81,796 entries.

Products are formed in squares of four by four, which share the reading of their eight rows.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

SIDE = 4
# A library that lacks so small a part of all monomials up to its degree is completed.
COMPLETE = 0.8


class Products(NamedTuple):
    """Rows of terms and, after them, targets that are multiplied with each other."""

    exponents: Integers
    """Of the terms, which may be more than were asked for."""
    lefts: Integers
    """(n_groups, 4): rows."""
    firsts: Integers
    """(n_groups,): they are multiplied with all rows from here on, four at a time."""
    n_products: int
    place: Integers
    """(n_terms + n_targets, n_terms + n_targets) of those asked for: where in the products of all
    groups, one after the other, that of two rows is; after them all stands the number of rows."""


def half(exponents: Integers, n_targets: int) -> Products:
    """One of each two entries that are equal because the Gram matrix is symmetric.

    Examples
    --------
    >>> half(np.array([[0], [1]]), 1).place
    array([[ 0,  1,  2],
           [ 1,  5,  6],
           [ 2,  6, 10]])
    """
    size = len(exponents) + n_targets
    lefts = np.arange(-(-size // SIDE) * SIDE).reshape(-1, SIDE)
    firsts = lefts[:, 0].copy()
    start, n_products = _starts(firsts, size)
    i, j = np.triu_indices(size)
    place = np.empty((size, size), np.int64)
    place[i, j] = place[j, i] = _place(start, firsts, i, j)
    return Products(exponents, np.minimum(lefts, size - 1), firsts, n_products, place)


def folded(exponents: Integers, n_targets: int) -> Products | None:
    """One of all entries that are equal, for a library that has about all monomials.

    Examples
    --------
    >>> found = folded(np.array([[0], [1], [2], [3]]), 0)
    >>> len(np.unique(found.place)), bool(found.place[0, 3] == found.place[1, 2])
    (7, True)
    """
    n = exponents.shape[1]
    degree = int(exponents.sum(axis=1).max(initial=0))
    n_terms = comb(n + degree, degree)
    if degree < 2 or len(exponents) < COMPLETE * n_terms:
        return None
    factors = np.array(list(combinations_with_replacement(range(n + 1), degree)))
    rank = np.empty((n + 1,) * degree, np.int64)
    rank[tuple(factors.T)] = np.arange(n_terms)

    size = n_terms + n_targets
    order = np.argsort(factors[:, -1], kind="stable")
    lefts = _in_fours(order, np.arange(n_terms, size))
    last = factors[order[::SIDE], -1]
    firsts = np.full(len(lefts), n_terms)  # targets are multiplied with targets
    firsts[: len(last)] = np.searchsorted(factors[:, 0], last)
    firsts[0] = 1  # the constant with itself is known
    start, n_products = _starts(firsts, size)
    position = np.empty(size, np.int64)  # of rows among the left ones
    position[order] = np.arange(n_terms)
    position[n_terms:] = len(last) * SIDE + np.arange(n_targets)

    place = np.empty((size, size), np.int64)
    i, j = np.tril_indices(n_terms)
    both = np.sort(np.concatenate([factors[i], factors[j]], axis=1), axis=1)
    left, right = (rank[tuple(part.T)] for part in np.split(both, 2, axis=1))
    place[i, j] = place[j, i] = _place(start, firsts, position[left], right)
    i, j = np.mgrid[:size, n_terms:size].reshape(2, -1)
    place[i, j] = place[j, i] = _place(start, firsts, position[i], j)
    place[0, 0] = n_products

    powers = (factors[:, :, None] == np.arange(1, n + 1)).sum(axis=1)
    asked = np.append(rank[tuple(_factors(exponents, degree).T)], np.arange(n_terms, size))
    return Products(powers, lefts, firsts, n_products, place[np.ix_(asked, asked)])


def _factors(exponents: Integers, degree: int) -> Integers:
    """The variables of each monomial from 1 on, as often as they come, after so many zeros."""
    ones = degree - exponents.sum(axis=1)
    counts = np.column_stack([ones, exponents])
    return np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.ravel()).reshape(
        len(counts), degree
    )


def _in_fours(*parts: Integers) -> Integers:
    """Rows in groups of four; the last row of each part is repeated to fill its last group."""
    padded = [np.append(part, np.repeat(part[-1:], -len(part) % SIDE)) for part in parts]
    return np.concatenate(padded).reshape(-1, SIDE)


def _starts(firsts: Integers, size: int) -> tuple[Integers, int]:
    """Where the products of each group begin, and how many there are in all."""
    counts = SIDE**2 * -(-(size - firsts) // SIDE)
    return np.cumsum(counts) - counts, int(counts.sum())


def _place(start: Integers, firsts: Integers, left: Integers, right: Integers) -> Integers:
    """Where the products of left rows, counted as they stand in groups, and right rows are."""
    group, i = np.divmod(left, SIDE)
    square, j = np.divmod(right - firsts[group], SIDE)
    return start[group] + SIDE**2 * square + SIDE * i + j
