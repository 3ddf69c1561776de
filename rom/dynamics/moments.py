"""Compiled loops over rows: monomials, and sums of their products.

A :class:`Recipe` forms each monomial as the product of an earlier one and one variable, for a few
rows at a time, so that all of them stay in a core's cache. Only those who fit wait for numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Rows that are worked on at a time: the monomials of so many stay in the innermost cache.
TILE = 128


class Recipe(NamedTuple):
    """How the rows of a tile follow from each other: terms, then targets, then helpers."""

    order: Integers
    """Places of the monomials in an order in which they can be formed."""
    parent: Integers
    """Place of the earlier monomial of each place; -1 for the constant 1."""
    factor: Integers
    """The variable it is multiplied by."""
    n_terms: int
    n_places: int


def recipe(exponents: Integers, n_targets: int) -> Recipe:
    """The recipe for monomials with these exponents (n_terms, n), and what helps to form them."""
    n_terms = len(exponents)
    powers = dict(enumerate(map(tuple, exponents.tolist())))
    place = {power: i for i, power in reversed(powers.items())}
    parent, factor = dict.fromkeys(powers, -1), dict.fromkeys(powers, 0)
    todo = list(powers)
    while todo:
        i = todo.pop()
        if not any(powers[i]):
            continue
        factor[i] = max(j for j, power in enumerate(powers[i]) if power)
        earlier = tuple(power - (j == factor[i]) for j, power in enumerate(powers[i]))
        if earlier not in place:
            place[earlier] = helper = len(powers) + n_targets
            powers[helper], parent[helper], factor[helper] = earlier, -1, 0
            todo.append(helper)
        parent[i] = place[earlier]
    order = sorted(powers, key=lambda i: sum(powers[i]))
    n_places = len(powers) + n_targets
    arrays = np.full((2, n_places), -1)
    for i in powers:
        arrays[:, i] = parent[i], factor[i]
    return Recipe(np.array(order), arrays[0], arrays[1], n_terms, n_places)


def fill(recipe: Recipe, Z: Array, Y: Array, roots: Array, tile: Array) -> None:
    """Write monomials and targets, a column for each row of `Z`, to a `tile`.

    It has `n_places` rows and, after them, room for the variables (n_places + n, n_time or more).
    Monomials and targets are multiplied by `roots` (n_time,), where that is not empty.
    """
    n, n_terms = len(Z), recipe.n_terms
    for j in range(Z.shape[1]):
        variable = tile[recipe.n_places + j]
        for k in range(n):
            variable[k] = Z[k, j]
    for i in recipe.order:
        term = tile[i]
        if recipe.parent[i] < 0:  # the constant, which all others come from
            for k in range(n):
                term[k] = roots[k] if len(roots) else 1.0
            continue
        parent, variable = tile[recipe.parent[i]], tile[recipe.n_places + recipe.factor[i]]
        for k in range(n):
            term[k] = parent[k] * variable[k]
    for j in range(Y.shape[1]):
        target = tile[n_terms + j]
        for k in range(n):
            target[k] = Y[k, j] * roots[k] if len(roots) else Y[k, j]


def keep_largest(variables: Array, n: int, sizes: Array) -> None:
    """Of `n` columns, write the squared norms to `sizes` (3, TILE), keep the largest, and add them.

    What is not a number shows in the sums alone.
    """
    squares, largest, sums = sizes[0], sizes[1], sizes[2]
    squares[:n] = 0.0
    for j in range(len(variables)):
        variable = variables[j]
        for k in range(n):
            squares[k] += variable[k] * variable[k]
    for k in range(n):
        largest[k] = largest[k] if squares[k] < largest[k] else squares[k]
        sums[k] += squares[k]


def add_products(
    lefts: Integers, firsts: Integers, size: int, tile: Array, n: int, total: Array
) -> None:
    """Add the products of rows of a tile, summed over its first `n` columns.

    Each four `lefts` are multiplied with the rows from their `firsts` to `size`, four at a time.
    """
    to = 0
    for group in range(len(lefts)):
        p, q = tile[lefts[group, 0]], tile[lefts[group, 1]]
        r, s = tile[lefts[group, 2]], tile[lefts[group, 3]]
        for right in range(firsts[group], size, 4):
            v, w, x, y = tile[right], tile[right + 1], tile[right + 2], tile[right + 3]
            pv = pw = px = py = qv = qw = qx = qy = 0.0
            rv = rw = rx = ry = sv = sw = sx = sy = 0.0
            for k in range(n):  # sixteen sums share the reading of eight rows
                pv += p[k] * v[k]
                pw += p[k] * w[k]
                px += p[k] * x[k]
                py += p[k] * y[k]
                qv += q[k] * v[k]
                qw += q[k] * w[k]
                qx += q[k] * x[k]
                qy += q[k] * y[k]
                rv += r[k] * v[k]
                rw += r[k] * w[k]
                rx += r[k] * x[k]
                ry += r[k] * y[k]
                sv += s[k] * v[k]
                sw += s[k] * w[k]
                sx += s[k] * x[k]
                sy += s[k] * y[k]
            total[to] += pv
            total[to + 1] += pw
            total[to + 2] += px
            total[to + 3] += py
            total[to + 4] += qv
            total[to + 5] += qw
            total[to + 6] += qx
            total[to + 7] += qy
            total[to + 8] += rv
            total[to + 9] += rw
            total[to + 10] += rx
            total[to + 11] += ry
            total[to + 12] += sv
            total[to + 13] += sw
            total[to + 14] += sx
            total[to + 15] += sy
            to += 16


def add_rows(
    recipe: Recipe,
    Z: Array,
    Y: Array,
    roots: Array,
    lefts: Integers,
    firsts: Integers,
    total: Array,
) -> float:
    """Add the products of all monomials and targets, summed over rows, to `total`.

    Returns the largest squared norm of a row of `Z`; infinity if a value is not finite.
    """
    tile = np.zeros((recipe.n_places + Z.shape[1] + 3, TILE))  # a group of four may reach past it
    variables = tile[recipe.n_places : recipe.n_places + Z.shape[1]]
    sizes = np.zeros((3, TILE))
    size = recipe.n_terms + Y.shape[1]
    for start in range(0, len(Z), TILE):
        rows = slice(start, min(start + TILE, len(Z)))
        fill_tile(recipe, Z[rows], Y[rows], roots[rows], tile)
        add_tile(lefts, firsts, size, tile, rows.stop - rows.start, total)
        keep_tile(variables, rows.stop - rows.start, sizes)
    return sizes[1].max() if np.isfinite(sizes[2]).all() else np.inf


def compiled(loop: Callable[..., Any], signature: Any = None, **options: Any) -> Callable[..., Any]:
    """Compile a loop, once for all sessions if there is a folder to keep it in."""
    try:
        return njit(signature, cache=True, nogil=True, **options)(loop)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(signature, nogil=True, **options)(loop)


# One meaning for arrays of any layout, which may be read-only: nobody waits for a second one.
READ_1D, READ_2D = (types.Array(types.float64, n, "A", readonly=True) for n in (1, 2))
TILE_TYPE = types.float64[:, ::1]
RECIPE = types.NamedTuple((*[types.int64[::1]] * 3, types.int64, types.int64), Recipe)
ROWS = (RECIPE, READ_2D, READ_2D, READ_1D, TILE_TYPE)

GROUPS = types.int64[:, ::1], types.int64[::1]

fill_tile = compiled(fill, types.void(*ROWS))
# Sums in any order: the compiler may keep several at a time.
add_tile = compiled(
    add_products,
    types.void(*GROUPS, types.int64, TILE_TYPE, types.int64, types.float64[::1]),
    fastmath={"reassoc", "contract"},
)
keep_tile = compiled(keep_largest, types.void(TILE_TYPE, types.int64, TILE_TYPE))
add_all = compiled(add_rows, types.float64(*ROWS[:4], *GROUPS, types.float64[::1]))
