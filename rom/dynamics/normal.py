"""Normal equations of least squares, added up over blocks of rows.

Sums of products are all that a linear regression needs of its rows. They are formed in one pass,
side by side on all cores, and never need the terms of all rows at a time; those of different
blocks, files or trajectories add. What is then asked of them (thresholds, ridge parameters,
ensembles, criteria, fewer coordinates) costs no further pass.

Products lose half of the digits where terms almost depend on each other, as those on modes of very
unequal size do. Then the triangle of the rows' QR decomposition is kept too, which loses none, and
which adds as well: a QR decomposition of two triangles is that of all their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from rom import checks
from rom.dynamics import products
from rom.dynamics.products import Products
from rom.threads import N_THREADS, in_threads, slices

if TYPE_CHECKING:
    from rom.dynamics.moments import Recipe

Array = NDArray[np.float64]
Terms = Callable[[Array], Array]

# Rows that a core works on at a time, so that their terms stay in its cache.
BLOCK_BYTES = 2**20
# From so many rows for each term on, it pays to ask which of their products are different.
MANY_ROWS = 16
# From so many terms and targets on, BLAS outruns the compiled loop, which needs no blocks.
WIDE = 48
# Of the scaled Gram matrix: a larger condition costs more than half of the digits, and the rows
# themselves are asked instead.
MAX_CONDITION = 1e8
# A QR decomposition of so many rows for each column costs little more than one of all rows.
TALL = 8


class Normal(NamedTuple):
    """Sums over rows ``(a, y)`` of terms and targets; sums over further rows add with ``+``.

    Examples
    --------
    >>> A, Y = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([[3.0], [1.0], [-1.0]])
    >>> (normal(A[:2], Y[:2]) + normal(A[2:], Y[2:])).gram
    array([[3., 3.],
           [3., 5.]])
    """

    gram: Array
    """(n_terms, n_terms): sum of w a aᵀ."""
    cross: Array
    """(n_terms, n_targets): sum of w a yᵀ."""
    squares: Array
    """(n_targets,): sum of w y²."""
    n_rows: float
    """Sum of the weights w."""
    root: Array | None = None
    """(any, n_terms + n_targets): fewer rows with the same sums, without the rounding of their
    squares; None where the sums will do."""
    largest: float = float("nan")
    """The largest Euclidean norm of the variables in a row; NaN where it was not looked for."""

    def __add__(self, other: Normal) -> Normal:  # type: ignore[override]
        """The sums over the rows of both."""
        root = None
        if self.root is not None and other.root is not None:
            root = _triangle(np.concatenate([self.root, other.root]))
        return Normal(
            self.gram + other.gram,
            self.cross + other.cross,
            self.squares + other.squares,
            self.n_rows + other.n_rows,
            root,
            float(np.maximum(self.largest, other.largest)),
        )

    def part(self, terms: NDArray[np.bool_], targets: slice) -> Normal:
        """The sums for some of the terms, by a mask, and some of the targets."""
        root = None
        if self.root is not None:
            A, Y = np.split(self.root, [len(terms)], axis=1)
            root = _triangle(np.concatenate([A[:, terms], Y[:, targets]], axis=1))
        cross = np.ascontiguousarray(self.cross[terms, targets])
        return Normal(
            self.gram[np.ix_(terms, terms)], cross, self.squares[targets], self.n_rows, root
        )

    def arrays(self) -> list[Array]:
        """The sums as a list of arrays, for a file; ``Normal.of`` takes them back."""
        parts = [self.gram, self.cross, self.squares, np.array([self.n_rows])]
        return parts if self.root is None else [*parts, self.root]

    @classmethod
    def of(cls, arrays: Sequence[Array]) -> Normal:
        """The sums that :meth:`arrays` gave."""
        gram, cross, squares, n_rows, *root = arrays
        return cls(gram, cross, squares, float(n_rows[0]), root[0] if root else None)


def normal(A: Array, Y: Array, weights: Array | None = None, *, exact: bool = False) -> Normal:
    """Sums over rows of terms.

    Parameters
    ----------
    A : ndarray, shape (n_time, n_terms)
    Y : ndarray, shape (n_time, n_targets)
    weights : ndarray, shape (n_time,), optional
        Not negative; the squared error of each row counts so many times.
    exact : bool, optional
        Find the `root` too, from a QR decomposition of the rows.

    Returns
    -------
    Normal
    """
    rows = np.concatenate([A, Y], axis=1)
    if weights is not None:
        rows *= np.sqrt(weights)[:, None]
    n_rows = float(len(A) if weights is None else weights.sum())
    if exact:
        rows = _triangle(rows)
    return _unpack(rows.T @ rows, A.shape[1], n_rows, rows if exact else None)


def polynomial_normal(
    exponents: NDArray[np.int64], Z: Array, Y: Array, weights: Array | None = None
) -> Normal:
    """Sums over rows of monomials, which are never held for more than a block of rows.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, n)
        Powers of the variables in each term.
    Z : ndarray, shape (n_time, n)
        Variables.
    Y : ndarray, shape (n_time, n_targets)
        Targets.
    weights : ndarray, shape (n_time,), optional
        As for :func:`normal`.

    Returns
    -------
    Normal

    Examples
    --------
    >>> Z = np.array([[1.0], [2.0]])
    >>> polynomial_normal(np.array([[0], [1], [2]]), Z, Z**2).cross.ravel()
    array([ 5.,  9., 17.])
    """
    return sum_normals(polynomial_normals(exponents, Z, Y, slices(len(Z), N_THREADS), weights))


def polynomial_normals(
    exponents: NDArray[np.int64],
    Z: Array,
    Y: Array,
    blocks: Sequence[slice],
    weights: Array | None = None,
) -> list[Normal]:
    """:func:`polynomial_normal` of each of some blocks of rows."""
    # numba takes about half a second to import: only those who fit polynomials wait for it.
    from rom.dynamics import moments

    n_terms, n_targets = len(exponents), Y.shape[1]
    roots = np.empty(0) if weights is None else np.sqrt(weights)
    found, recipe = _plan(
        exponents.tobytes(), exponents.shape, n_targets, len(Z) >= MANY_ROWS * n_terms
    )

    def count(rows: slice) -> float:
        return float(rows.stop - rows.start if weights is None else weights[rows].sum())

    def compiled(rows: slice) -> tuple[Array, float]:
        assert found is not None
        total = np.zeros(found.n_products + 1)
        total[-1] = count(rows)
        groups = found.lefts, found.firsts
        largest = moments.add_all(recipe, Z[rows], Y[rows], roots[rows], *groups, total)
        return total[found.place], largest

    def by_blas(rows: slice) -> tuple[Array, float]:
        total, largest = np.zeros((n_terms + n_targets,) * 2), 0.0
        width = max(256, BLOCK_BYTES // (8 * recipe.n_places))
        tile = np.empty((recipe.n_places + Z.shape[1], width))
        for start in range(rows.start, rows.stop, width):
            part = slice(start, min(start + width, rows.stop))
            moments.fill_tile(recipe, Z[part], Y[part], roots[part], tile)
            columns, variables = np.split(tile[:, : part.stop - start], [recipe.n_places])
            columns = columns[: len(total)]
            total += columns @ columns.T  # NumPy finds the symmetry, and lets other threads run
            largest = np.maximum(largest, (variables**2).sum(axis=0).max())
        return total, float(largest)

    if found is None:
        totals = in_threads(by_blas, blocks, limit_blas=True)
    else:
        totals = in_threads(compiled, blocks)
    return [
        _unpack(total, n_terms, count(rows), None)._replace(largest=float(np.sqrt(largest)))
        for (total, largest), rows in zip(totals, blocks, strict=True)
    ]


# What is made for a library takes as long as many thousand rows, and libraries are fitted again.
@lru_cache(maxsize=8)
def _plan(
    powers: bytes, shape: tuple[int, int], n_targets: int, many: bool
) -> tuple[Products | None, Recipe]:
    """What the compiled loop is to multiply, None where BLAS is faster, and how to form it."""
    from rom.dynamics import moments

    exponents = np.frombuffer(powers, dtype=np.int64).reshape(shape)
    wide = len(exponents) + n_targets > WIDE
    found = None if wide else products.half(exponents, n_targets)
    fewer = products.folded(exponents, n_targets) if many else None
    if fewer is not None and (found is None or fewer.n_products < found.n_products):
        found = fewer
    return found, moments.recipe(exponents if found is None else found.exponents, n_targets)


def library_normals(
    terms: Terms,
    Z: Array,
    Y: Array,
    blocks: Sequence[slice],
    weights: Array | None = None,
    *,
    exact: bool = False,
) -> list[Normal]:
    """:func:`normal` of the `terms` of each of some blocks of rows, a part of a block at a time."""

    def work(rows: slice) -> Normal:
        return sum_normals(
            normal(terms(Z[p]), Y[p], None if weights is None else weights[p], exact=exact)
            for p in _parts(terms, Z, rows, TALL if exact else 1)
        )

    return in_threads(work, blocks, limit_blas=True)


def row_normals(
    terms: Terms,
    exponents: NDArray[np.int64] | None,
    Z: Array,
    Y: Array,
    n_blocks: int = N_THREADS,
    weights: Array | None = None,
    *,
    exact: bool = False,
) -> list[Normal]:
    """Normal equations of blocks of rows, with their root where the sums would not do.

    Parameters
    ----------
    terms : callable
        Gives the terms (n_time, n_terms) of rows of variables.
    exponents : ndarray, shape (n_terms, n), or None
        Their powers, where they are monomials: those are summed without forming them.
    Z : ndarray, shape (n_time, n)
    Y : ndarray, shape (n_time, n_targets)
    n_blocks : int, optional
    weights : ndarray, shape (n_time,), optional
    exact : bool, optional
        Find the root in any case.

    Returns
    -------
    list of Normal
        With their `largest` where the terms are monomials.

    Raises
    ------
    ValueError
        If the terms are monomials, and a variable or a target is not finite.
    """
    blocks = slices(len(Z), n_blocks)
    find = partial(library_normals, terms, Z, Y, blocks, weights)
    if exact:
        return find(exact=True)
    if exponents is None:
        found = find()
        return found if is_resolved(sum_normals(found)) else find(exact=True)
    found = polynomial_normals(exponents, Z, Y, blocks, weights)
    total = sum_normals(found)
    if not np.isfinite(total.largest + total.squares.sum()):
        checks.check_finite(Z, "X")
        checks.check_finite(Y, "y")
    if is_resolved(total):
        return found
    triangles = find(exact=True)
    return [a._replace(largest=b.largest) for a, b in zip(triangles, found, strict=True)]


def sum_normals(normals: Sequence[Normal] | Iterator[Normal]) -> Normal:
    """The sum of some, at least one; two at a time are held of those that an iterator makes."""
    return reduce(Normal.__add__, normals)


def is_resolved(found: Normal) -> bool:
    """Whether the sums hold the answer to half of the digits, or bring their rows' root."""
    if found.root is not None:
        return True
    scale = np.sqrt(np.diag(found.gram))
    if not len(scale) or not (scale.all() and np.isfinite(scale).all()):
        return False
    unit = found.gram / np.outer(scale, scale)
    factor, info = linalg.lapack.dpotrf(unit, lower=1)
    if info:
        return False
    reciprocal, _ = linalg.lapack.dpocon(factor, np.abs(unit).sum(axis=0).max(), uplo="L")
    return bool(reciprocal * MAX_CONDITION > 1)


def _parts(terms: Terms, Z: Array, rows: slice, tall: int) -> Iterator[slice]:
    """The rows of a block, as many at a time as a core's cache holds terms of, or `tall` each."""
    n_terms = terms(Z[rows.start : rows.start + 1]).shape[1]
    width = max(64, tall * n_terms, BLOCK_BYTES // (8 * n_terms))
    for start in range(rows.start, rows.stop, width):
        yield slice(start, min(start + width, rows.stop))


def _triangle(rows: Array) -> Array:
    return np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows


def _unpack(total: Array, n_terms: int, n_rows: float, root: Array | None) -> Normal:
    """The parts of the sums of products of rows ``(a, y)``."""
    cross = np.ascontiguousarray(total[:n_terms, n_terms:])
    squares = np.diag(total)[n_terms:].copy()
    return Normal(np.ascontiguousarray(total[:n_terms, :n_terms]), cross, squares, n_rows, root)
