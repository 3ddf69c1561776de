"""The few different products of the monomials of a complete polynomial library.

With 1 as a further variable, every monomial up to degree d is a product of exactly d variables.
An entry of the Gram matrix is the mean of a product of 2 d of them, whichever two terms they came
from: sorted, the first d and the last d of them are terms of the library again. So each product
is formed once, from a left term whose last variable does not come after the first of the right
one. Ten variables of degree 3 have 8,008 different products, but a Gram matrix of 81,796 entries.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

# Of a lower degree too few products repeat.
MIN_DEGREE = 3
# Left terms that are multiplied at a time, at least: BLAS is slow with fewer.
MIN_GROUP = 16


class Products(NamedTuple):
    """Which terms to multiply, and where the Gram matrix finds each product."""

    groups: list[Integers]
    """Left terms; after those of the first group, the targets."""
    firsts: list[int]
    """The right terms of each group are those from here on."""
    place: Integers
    """(n_terms, n_terms): places in the products of all groups, one after the other."""


def products(exponents: NDArray[np.int64], n_targets: int) -> Products | None:
    """The products of monomials with these exponents (n_terms, n), and with targets after them.

    None unless they are all monomials up to a degree of three or more, in the order of a
    polynomial library.

    Examples
    --------
    >>> powers = np.array([[0], [1], [2], [3]])
    >>> products(powers, 0).place  # of 1, x, x² and x³ from left to right
    array([[ 0,  1,  2,  3],
           [ 1,  2,  3,  7],
           [ 2,  3,  7, 11],
           [ 3,  7, 11, 15]])
    """
    n_terms, n = exponents.shape
    degree = int(exponents.sum(axis=1).max(initial=0))
    if degree < MIN_DEGREE or n_terms != comb(n + degree, degree):
        return None
    factors = np.array(list(combinations_with_replacement(range(n + 1), degree)))
    powers = (factors[:, :, None] == np.arange(1, n + 1)).sum(axis=1)
    if not np.array_equal(powers, exponents):
        return None
    groups, firsts = _groups(factors, n)

    rank = np.zeros((n + 1,) * degree, np.intp)
    rank[tuple(factors.T)] = np.arange(n_terms)
    start = np.empty(n_terms, np.intp)
    done = 0
    for k, (group, first) in enumerate(zip(groups, firsts, strict=True)):
        start[group] = done + np.arange(len(group)) * (n_terms - first) - first
        done += (len(group) + n_targets * (k == 0)) * (n_terms - first)
    i, j = np.tril_indices(n_terms)
    groups[0] = np.append(groups[0], n_terms + np.arange(n_targets))
    both = np.sort(np.concatenate([factors[i], factors[j]], axis=1), axis=1)
    left, right = (rank[tuple(half.T)] for half in np.split(both, 2, axis=1))
    place = np.empty((n_terms, n_terms), np.intp)
    place[i, j] = place[j, i] = start[left] + right
    return Products(groups, firsts, place)


def _groups(factors: Integers, n: int) -> tuple[list[Integers], list[int]]:
    """Left terms by their last variable, with the first right term of each group."""
    groups: list[Integers] = []
    firsts: list[int] = []
    for variable in range(n + 1):
        group = np.flatnonzero(factors[:, -1] == variable)
        if groups and len(groups[-1]) < MIN_GROUP:
            groups[-1] = np.concatenate([groups[-1], group])
        else:
            groups.append(group)
            firsts.append(int(np.searchsorted(factors[:, 0], variable)))
    return groups, firsts


def zeros(found: Products) -> list[Array]:
    """Products of no rows."""
    n_terms = len(found.place)
    return [
        np.zeros((len(group), n_terms - first))
        for group, first in zip(found.groups, found.firsts, strict=True)
    ]


def add_products(found: Products, columns: Array, total: list[Array]) -> None:
    """Add the products of terms and targets (n_terms + n_targets, n_time), summed over time."""
    n_terms = len(found.place)
    for group, first, products in zip(found.groups, found.firsts, total, strict=True):
        products += columns[group] @ columns[first:n_terms].T


def gram_and_cross(found: Products, total: list[Array]) -> tuple[Array, Array]:
    """Sums over time of the products of terms, and of terms and targets."""
    gram = np.concatenate([products.ravel() for products in total])[found.place]
    n_targets = np.count_nonzero(found.groups[0] >= len(gram))
    return gram, total[0][len(total[0]) - n_targets :].T
