"""Compiled branch and bound through the subsets of terms; only those who search wait for numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.moments import compiled

Array = NDArray[np.float64]


def drop(inverses: Array, coefs: Array, kept: NDArray[np.bool_], level: int, j: int) -> None:
    """The fit of the next level: that of a level without term j.

    Number by number: an assignment between arrays takes numba three seconds to compile, for the
    words of the error that shapes differ.
    """
    n = coefs.shape[1]
    change, pivot = coefs[level, j] / inverses[level, j, j], inverses[level, j, j]
    for a in range(n):
        kept[level + 1, a] = kept[level, a] and a != j
        if kept[level + 1, a]:
            column = inverses[level, a, j]
            coefs[level + 1, a] = coefs[level, a] - column * change
            for b in range(n):
                product = column * inverses[level, b, j]
                inverses[level + 1, a, b] = inverses[level, a, b] - product / pivot


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
    kept[0] = chosen[n] = True
    errors[0] = square
    for a in range(n):
        for b in range(n):
            inverses[0, a, b] = inverse[a, b]
            coefs[0, a] += inverse[a, b] * cross[b]
        errors[0] -= coefs[0, a] * cross[a]
    best[n] = errors[0] = max(errors[0], floor)
    level, new = 0, True
    while level >= 0:
        if new:
            free = 0
            if level == 0:
                for j in range(n):
                    orders[0, j] = j
                free = n
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
            for a in range(n):
                chosen[size, a] = kept[level, a] and a != j
        # Those left may be dropped down to the terms before them; no such subset fits better.
        smallest = size - (n_free[level] - k - 1)
        open_ = False
        for s in range(smallest, size):
            if error < best[s]:
                open_ = True
        if open_:
            drop_term(inverses, coefs, kept, level, j)
            errors[level + 1] = error
            level += 1
            new = True
    return best, chosen


search = compiled(leaps)
