"""One least-squares problem: terms of unit size, and the coefficients of those that are kept.

It is solved from the means of products. Where these do not hold enough digits, because terms
almost depend on each other, it is solved from the rows' triangular factor instead.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from rom.dynamics.normal import Normal

Array = NDArray[np.float64]
EPS = float(np.finfo(float).eps)
ALL = slice(None)


class Constraint(NamedTuple):
    """Linear equations ``matrix @ coef.ravel() = value`` that coefficients have to meet."""

    matrix: Array
    """(n_equations, n_targets * n_terms)."""
    value: Array
    """(n_equations,)."""


def as_constraint(given: tuple[ArrayLike, ArrayLike], n_coef: int) -> Constraint:
    """A constraint on `n_coef` coefficients, from a matrix and values; ValueError if it is none."""
    matrix, value = (np.asarray(part, dtype=np.float64) for part in given)
    if matrix.ndim != 2 or value.shape != matrix.shape[:1] or matrix.shape[1] != n_coef:
        raise ValueError(
            f"constraint must be a matrix (n_equations, n_targets * n_terms = {n_coef}) and values "
            f"(n_equations,), but their shapes are {matrix.shape} and {value.shape}."
        )
    return Constraint(matrix, value)


class Problem(NamedTuple):
    """Means over rows of products of targets and of terms brought to unit size."""

    gram: Array
    """(n_terms, n_terms)."""
    cross: Array
    """(n_terms, n_targets)."""
    squares: Array
    """(n_targets,)."""
    scale: Array
    """(n_terms,): by how much the terms were divided."""
    root: Array | None
    """Rows of terms and targets with these means; None where the means hold enough digits."""
    constraint: Constraint | None


def scaled(found: Normal) -> Problem:
    """The problem with terms of unit root mean square."""
    scale, n = scales(found), found.n_rows
    root = None
    if found.root is not None:
        root = found.root / np.sqrt(n)
        root[:, : len(scale)] /= scale
    gram = np.asarray(found.gram / (scale[:, None] * scale * n))
    cross = np.asarray(found.cross / (scale[:, None] * n))
    return Problem(gram, cross, found.squares / n, scale, root, None)


def coupled(
    found: Normal, penalty: Array | None = None, constraint: Constraint | None = None
) -> Problem:
    """The problem whose one vector of unknowns are the coefficients for all targets in turn."""
    one = scaled(found)
    n_terms, n_targets = one.cross.shape
    each = np.eye(n_targets)
    scale = np.tile(one.scale, n_targets)
    gram = np.asarray(np.kron(each, one.gram), dtype=np.float64)
    root = None
    if one.root is not None:
        terms, targets = one.root[:, :n_terms], one.root[:, n_terms:]
        root = np.hstack([np.kron(each, terms), targets.T.reshape(-1, 1)])
    if penalty is not None:
        P = penalty / scale
        gram += P.T @ P
        if root is not None:
            root = np.concatenate([root, np.hstack([P, np.zeros((len(P), 1))])])
    cross, squares = one.cross.T.reshape(-1, 1), np.array([one.squares.sum()])
    return Problem(gram, cross, squares, scale, root, constraint)


def solve(
    problem: Problem,
    kept: NDArray[np.bool_],
    alpha: float | Array = 0.0,
    targets: slice = ALL,
) -> Array:
    """Coefficients (n_kept, n_targets) of the kept terms of unit size, by ridge.

    There may be one ridge parameter for each of all terms.
    """
    n, n_all = int(kept.sum()), len(kept)
    cross = problem.cross[kept, targets]
    if n == 0:
        return np.zeros(cross.shape)
    alpha = alpha[kept] if isinstance(alpha, np.ndarray) else alpha
    if problem.constraint is not None:
        return _solve_constrained(problem, kept, alpha)
    if problem.root is not None:
        return _solve_rows(
            problem.root[:, :n_all][:, kept], problem.root[:, n_all:][:, targets], alpha
        )
    gram = problem.gram if n == n_all else problem.gram[np.ix_(kept, kept)]
    return _solve_gram(gram, cross, alpha)


def _solve_gram(gram: Array, cross: Array, alpha: float | Array) -> Array:
    n = len(gram)
    penalised = _plus_diagonal(gram, alpha)
    factor, info = linalg.lapack.dpotrf(penalised, lower=1)
    if not info and np.diag(factor).min() ** 2 > n * EPS * penalised.max():
        return np.asarray(linalg.lapack.dpotrs(factor, cross, lower=1)[0])
    values, vectors = linalg.eigh(penalised)
    large = values > n * EPS * values[-1]
    return np.asarray(vectors[:, large] @ ((vectors[:, large].T @ cross) / values[large, None]))


def _plus_diagonal(gram: Array, alpha: float | Array) -> Array:
    penalised = gram.copy()
    penalised[np.diag_indices(len(gram))] += alpha
    return penalised


def _solve_rows(A: Array, Y: Array, alpha: float | Array) -> Array:
    roots = np.sqrt(np.broadcast_to(alpha, A.shape[1]))
    penalties = np.diag(roots)[roots > 0]
    A = np.concatenate([A, penalties])
    Y = np.concatenate([Y, np.zeros((len(penalties), Y.shape[1]))])
    return np.asarray(linalg.lstsq(A, Y, cond=EPS * max(A.shape))[0])


def _solve_constrained(problem: Problem, kept: NDArray[np.bool_], alpha: float | Array) -> Array:
    """Coefficients that meet the constraint: one of them, plus what its null space adds."""
    assert problem.constraint is not None
    matrix, value = problem.constraint
    U, s, Vt = linalg.svd(matrix[:, kept] / problem.scale[kept])
    rank = int((s > EPS * max(matrix.shape) * s.max(initial=0.0)).sum())
    one = Vt[:rank].T @ ((U[:, :rank].T @ value) / s[:rank])
    missed = np.abs(matrix[:, kept] / problem.scale[kept] @ one - value).max(initial=0.0)
    if missed > 1e-8 * max(1.0, np.abs(value).max(initial=0.0)):
        raise ValueError(
            f"No coefficients of the {kept.sum()} terms that are left meet the {len(value)} "
            f"constraints: they are missed by {missed:.2g}. Lower the threshold, or check them."
        )
    free, n = Vt[rank:].T, len(kept)
    if problem.root is None:
        gram = _plus_diagonal(problem.gram[np.ix_(kept, kept)], alpha)
        rest = problem.cross[kept, 0] - gram @ one
        change = _solve_gram(free.T @ gram @ free, (free.T @ rest)[:, None], 0.0)
    else:
        A, y = problem.root[:, :n][:, kept], problem.root[:, n]
        A = np.concatenate([A, np.diag(np.sqrt(np.broadcast_to(alpha, A.shape[1])))])
        y = np.concatenate([y, np.zeros(A.shape[1])]) - A @ one
        change = _solve_rows(A @ free, y[:, None], 0.0)
    return one[:, None] + free @ change


def refit(problem: Problem, supports: list[list[NDArray[np.bool_]]]) -> Array:
    """Coefficients of least squares on each target's supports; the last is repeated as needed."""
    path = np.zeros((max(map(len, supports)), len(supports), len(problem.scale)))
    for i, masks in enumerate(supports):
        for step, kept in enumerate(masks):
            coef = solve(problem, kept, targets=slice(i, i + 1))[:, 0]
            path[step, i, kept] = coef / problem.scale[kept]
        path[len(masks) :, i] = path[len(masks) - 1, i]
    return path


def mean_squares(problem: Problem, coef: Array) -> Array:
    """Mean squared errors (...) of coefficients (..., n_targets, n_terms) of terms of unit size.

    Nothing smaller than rounding comes out: where the fit is exact, more terms fit no better.
    """
    if problem.root is None:
        error = (
            problem.squares
            - 2 * np.sum(coef * problem.cross.T, axis=-1)
            + np.sum((coef @ problem.gram) * coef, axis=-1)
        )
        floor = len(problem.scale) * EPS
    else:
        A, Y = np.split(problem.root, [len(problem.scale)], axis=1)
        error = np.sum((Y.T - coef @ A.T) ** 2, axis=-1)
        floor = (len(problem.scale) * EPS) ** 2
    return np.asarray(np.maximum(error, floor * problem.squares))


def scales(found: Normal) -> Array:
    """Root mean square of each term; 1 for a term that is zero, so that it divides."""
    size = np.sqrt(np.diag(found.gram) / found.n_rows)
    return np.where(size > 0, size, 1.0)
