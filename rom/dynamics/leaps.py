"""Compiled branch and bound through the subsets of terms; only those who search wait for numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.moments import compiled

Array = NDArray[np.float64]


def drop(inverse: Array, coef: Array, j: int, kept: NDArray[np.bool_]) -> None:
    """Take term j out of a fit, given the inverse of its Gram matrix, in place."""
    n = len(coef)
    pivot = inverse[j, j]
    coef -= inverse[:, j] * (coef[j] / pivot)
    column = inverse[:, j].copy()
    for a in range(n):
        if kept[a]:
            for b in range(n):
                inverse[a, b] -= column[a] * column[b] / pivot
    kept[j] = False
    coef[j] = 0.0


drop_term = compiled(drop)


def leaps(
    inverse: Array, cross: Array, square: float, floor: float
) -> tuple[Array, NDArray[np.bool_]]:
    """The least squared error, and its terms, of each size of subset.

    A node of the search is a set of terms, of which the last `n_free` in its order may still be
    dropped. Its children drop one of these each, and may drop those after it.
    """
    n = len(cross)
    best = np.full(n + 1, np.inf)
    chosen = np.zeros((n + 1, n), np.bool_)
    best[0] = square
    # One level of the search for each term dropped.
    inverses, coefs = np.zeros((n + 1, n, n)), np.zeros((n + 1, n))
    kept = np.zeros((n + 1, n), np.bool_)
    errors, rises = np.zeros(n + 1), np.zeros(n)
    orders = np.zeros((n + 1, n), np.int64)
    n_free, following = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    inverses[0], coefs[0], kept[0] = inverse, inverse @ cross, True
    errors[0] = max(square - coefs[0] @ cross, floor)
    best[n], chosen[n] = errors[0], True
    level, new = 0, True
    while level >= 0:
        if new:
            free = 0
            if level == 0:
                free = n
                orders[0] = np.arange(n)
            else:
                for k in range(following[level - 1], n_free[level - 1]):
                    orders[level, free] = orders[level - 1, k]
                    free += 1
            for k in range(free):
                j = orders[level, k]
                rises[j] = coefs[level, j] ** 2 / inverses[level, j, j]
            # What is missed most is dropped first: that branch is the widest, and soon cut.
            for k in range(1, free):
                j, at = orders[level, k], k
                while at > 0 and rises[orders[level, at - 1]] < rises[j]:
                    orders[level, at] = orders[level, at - 1]
                    at -= 1
                orders[level, at] = j
            n_free[level], following[level] = free, 0
            new = False
        k = following[level]
        size = n - level - 1
        if k >= n_free[level]:
            level -= 1
            continue
        following[level] += 1
        j = orders[level, k]
        error = max(errors[level] + coefs[level, j] ** 2 / inverses[level, j, j], floor)
        if error < best[size]:
            best[size] = error
            chosen[size] = kept[level]
            chosen[size, j] = False
        # Those left may be dropped down to the terms before them; no such subset fits better.
        smallest = size - (n_free[level] - k - 1)
        open_ = False
        for s in range(smallest, size):
            if error < best[s]:
                open_ = True
        if open_:
            inverses[level + 1], coefs[level + 1] = inverses[level], coefs[level]
            kept[level + 1] = kept[level]
            drop_term(inverses[level + 1], coefs[level + 1], j, kept[level + 1])
            errors[level + 1] = error
            level += 1
            new = True
    return best, chosen


search = compiled(leaps)
