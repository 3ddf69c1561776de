"""Sparse regression from normal equations: paths from few terms to many, and criteria to choose.

A path is an array (n_steps, n_targets, n_terms) of coefficients. Its supports come from a solver;
the coefficients are those of plain least squares on each support, so that one path may be compared
with another, and a criterion with a threshold.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.dynamics.least_squares import EPS, Problem, mean_squares, refit, scaled
from rom.dynamics.linbreg import linbreg_path
from rom.dynamics.normal import Normal
from rom.dynamics.regression import fit_stlsq, keep_large, units
from rom.dynamics.sr3 import fit_sr3
from rom.dynamics.subset import best_subsets

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Solver = Literal["stlsq", "sr3", "forward", "subset", "linbreg"]
Criterion = Literal["aic", "aicc", "bic"]
SOLVERS, CRITERIA = get_args(Solver), get_args(Criterion)

# Thresholds of a path: the least, as a share of the largest coefficient, and their ratio.
LOWEST, STEP = 1e-6, 1.3


def criterion(
    mean_square: Array, n_terms: NDArray[np.int_], n_rows: float, kind: Criterion
) -> Array:
    """Information criterion of fits with these mean squared errors: the least is the best.

    References
    ----------
    Akaike (1974), IEEE Trans. Automat. Contr. 19, 716; Hurvich & Tsai (1989), Biometrika 76, 297;
    Schwarz (1978), Ann. Statist. 6, 461.
    """
    with np.errstate(divide="ignore"):
        fit = n_rows * np.log(mean_square)
    if kind == "bic":
        return fit + np.log(n_rows) * n_terms
    if kind == "aic":
        return fit + 2.0 * n_terms
    room = n_rows - n_terms - 1
    correction = np.where(room > 0, n_rows / np.where(room > 0, room, 1.0), np.inf)
    return fit + 2.0 * np.where(n_terms > 0, n_terms * correction, 0.0)


def choose(found: Normal, path: Array, kind: Criterion, *, n_samples: float | None = None) -> Array:
    """The coefficients (n_targets, n_terms) of a path that a criterion prefers, by target.

    Parameters
    ----------
    found : Normal
        Of the rows to judge by: those of the fit or, better, others.
    path : ndarray, shape (n_steps, n_targets, n_terms)
    kind : {"aic", "aicc", "bic"}
    n_samples : float, optional
        How many independent samples the rows are worth; all by default. Rows of a trajectory that
        is sampled more finely than its errors change are worth fewer.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)
    """
    problem = scaled(found)
    errors = mean_squares(problem, path * problem.scale)
    n = found.n_rows if n_samples is None else n_samples
    score = criterion(errors, np.count_nonzero(path, axis=2), n, kind)
    return np.stack([path[best, i] for i, best in enumerate(score.argmin(axis=0))])


def cut(found: Normal, path: Array, smallest: Array) -> Array:
    """The best fit by terms of a path of which none is too small.

    From each set of the path terms are dropped as in sequential thresholding, which what came in
    later may have made superfluous.

    Parameters
    ----------
    found : Normal
    path : ndarray, shape (n_steps, n_targets, n_terms)
    smallest : ndarray, shape (n_targets, n_terms)
        The least modulus of each coefficient that is not zero.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)
    """
    problem = scaled(found)
    left = np.stack(
        [
            [keep_large(problem, i, row != 0, smallest[i]) for i, row in enumerate(coef)]
            for coef in path
        ]
    )
    best = mean_squares(problem, left * problem.scale).argmin(axis=0)
    return np.stack([left[k, i] for i, k in enumerate(best)])


def stlsq_path(
    found: Normal,
    thresholds: ArrayLike | None = None,
    *,
    alpha: float = 0.0,
    relative: bool = False,
    offered: Mask | None = None,
) -> Array:
    """What :func:`~rom.dynamics.regression.fit_stlsq` gives for many thresholds.

    Where none are given they rise from the smallest coefficient to the largest.
    """
    if thresholds is None:
        thresholds = rising_thresholds(found, alpha=alpha, relative=relative, offered=offered)
    return np.stack(
        [
            fit_stlsq(found, threshold, alpha=alpha, relative=relative, offered=offered)
            for threshold in np.atleast_1d(np.asarray(thresholds, dtype=np.float64)).tolist()
        ]
    )


def rising_thresholds(
    found: Normal, *, alpha: float = 0.0, relative: bool = False, offered: Mask | None = None
) -> Array:
    """Thresholds between the smallest and the largest coefficient of a fit with all terms."""
    full = np.abs(fit_stlsq(found, 0.0, alpha=alpha, offered=offered)) / units(found, relative)
    full = full[full > 0]
    high = full.max(initial=0.0) or 1.0
    low = max(full.min(initial=high), LOWEST * high)
    return np.geomspace(low, 1.01 * high, 2 + int(np.log(high / low) / np.log(STEP)))


def sr3_path(found: Normal, *, relative: bool = False, offered: Mask | None = None) -> Array:
    """What :func:`fit_sr3` gives for many thresholds."""
    thresholds = rising_thresholds(found, relative=relative, offered=offered).tolist()
    return np.stack(
        [fit_sr3(found, each, relative=relative, offered=offered) for each in thresholds]
    )


def forward_path(
    found: Normal, max_terms: int | None = None, *, offered: Mask | None = None
) -> Array:
    """Forward selection: at each step the term is added that lowers the squared error most.

    Parameters
    ----------
    found : Normal
    max_terms : int, optional
        Where to stop; with all terms by default.
    offered : ndarray of bool, shape (n_terms,), optional
        Terms to choose from.

    Returns
    -------
    ndarray, shape (n_steps, n_targets, n_terms)

    References
    ----------
    Chen, Billings & Luo (1989), Int. J. Control 50, 1873 (orthogonal least squares).
    """
    problem = scaled(found)
    every = np.ones(len(problem.scale), bool) if offered is None else offered
    n = int(every.sum()) if max_terms is None else min(max_terms, int(every.sum()))
    supports = [_forward(problem, i, every, n) for i in range(problem.cross.shape[1])]
    return refit(problem, supports)


def _forward(problem: Problem, target: int, offered: Mask, max_terms: int) -> list[Mask]:
    """Supports of growing size. The Gram matrix is swept by each term as it comes in."""
    cross, gram = problem.cross[:, target].copy(), problem.gram.copy()
    out, smallest = offered.copy(), len(gram) * EPS
    supports = [np.zeros(len(gram), bool)]
    for _ in range(max_terms):
        left = np.diag(gram)  # of each term, what those chosen do not explain
        gain = np.divide(
            cross**2, left, out=np.full(len(gram), -1.0), where=out & (left > smallest)
        )
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        out[best] = False
        row = gram[best] / gram[best, best]
        cross = cross - row * cross[best]
        gram = gram - np.outer(gram[best], row)
        supports.append(supports[-1] | (np.arange(len(gram)) == best))
    return supports


def fit_sparse(
    found: Normal,
    solver: Solver,
    threshold: float | Criterion,
    *,
    alpha: float = 0.0,
    relative: bool = False,
    offered: Mask | None = None,
    judge: Normal | None = None,
) -> Array:
    """Coefficients by one of the solvers, of a size that a threshold or a criterion sets.

    Parameters
    ----------
    found : Normal
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}
    threshold : float or {"aic", "aicc", "bic"}
        A number is what no coefficient falls below in modulus; see :func:`cut` for solvers that
        give a path. A criterion chooses from the solver's path.
    alpha, relative, offered
        As for STLSQ; `alpha` is for STLSQ only.
    judge : Normal, optional
        Of the rows by which a criterion chooses; `found` by default.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)
    """
    if not isinstance(threshold, str):
        if solver == "stlsq":
            return fit_stlsq(found, threshold, alpha=alpha, relative=relative, offered=offered)
        if solver == "sr3":
            return fit_sr3(found, threshold, relative=relative, offered=offered)
    path = sparse_path(found, solver, alpha=alpha, relative=relative, offered=offered)
    if isinstance(threshold, str):
        return choose(found if judge is None else judge, path, threshold)
    return cut(found, path, threshold * units(found, relative))


def sparse_path(
    found: Normal,
    solver: Solver,
    *,
    alpha: float = 0.0,
    relative: bool = False,
    offered: Mask | None = None,
) -> Array:
    """The path (n_steps, n_targets, n_terms) of a solver; parameters as for :func:`fit_sparse`."""
    if solver == "stlsq":
        return stlsq_path(found, alpha=alpha, relative=relative, offered=offered)
    if solver == "sr3":
        return sr3_path(found, relative=relative, offered=offered)
    if solver == "forward":
        return forward_path(found, offered=offered)
    if solver == "subset":
        return subset_path(found, offered=offered)
    return linbreg_path(found, offered=offered)


def subset_path(found: Normal, *, offered: Mask | None = None) -> Array:
    """The best subset of each size, exactly; for libraries of at most a few dozen terms.

    Returns
    -------
    ndarray, shape (n_sizes, n_targets, n_terms)

    Raises
    ------
    ValueError
        If there are more terms than a search through all subsets allows.
    """
    problem = scaled(found)
    every = np.ones(len(problem.scale), bool) if offered is None else offered
    supports = [best_subsets(problem, i, every) for i in range(problem.cross.shape[1])]
    return refit(problem, supports)
