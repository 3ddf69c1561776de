"""Ensembles of regressions: rows drawn again in blocks, and terms left out at random.

The rows are summed once, in blocks; a bag adds up the blocks it drew. Blocks of neighbouring rows
and not single rows, because the errors of a trajectory's neighbouring rows are alike. The sums of
the blocks are kept, so that other ensembles, and those of more rows, need no second look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.normal import Normal

Array = NDArray[np.float64]
Fit = Callable[[Normal, NDArray[np.bool_], Normal | None], Array]

# What lies between these quantiles of the models is a coefficient's interval.
QUANTILES = (0.05, 0.95)


class Summary(NamedTuple):
    """What the models of an ensemble find, each with the terms that were offered to it."""

    coef: Array
    """(n_targets, n_terms): median."""
    inclusion_probability: Array
    """(n_targets, n_terms): the share of models in which it is not zero."""
    std: Array
    """(n_targets, n_terms): standard deviation."""
    interval: Array
    """(2, n_targets, n_terms): quantiles 0.05 and 0.95."""


def draws(n_blocks: int, n_models: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of some blocks (n_models, n_blocks) is drawn, as many as there are.

    References
    ----------
    Breiman (1996), Mach. Learn. 24, 123; Künsch (1989), Ann. Statist. 17, 1217 (blocks).
    """
    return rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_models)


def stack(blocks: Sequence[Normal]) -> list[Array]:
    """The sums of blocks as arrays (n_blocks, ...), for a file; :func:`unstack` takes them back.

    Roots are filled up with rows of zeros, and left out unless all blocks have one.
    """
    stacked = [np.stack(parts) for parts in zip(*(b.arrays()[:4] for b in blocks), strict=True)]
    roots = [block.root for block in blocks if block.root is not None]
    if len(roots) < len(blocks):
        return stacked
    filled = np.zeros((len(roots), max(map(len, roots)), roots[0].shape[1]))
    for rows, root in zip(filled, roots, strict=True):
        rows[: len(root)] = root
    return [*stacked, filled]


def unstack(arrays: Sequence[Array]) -> list[Normal]:
    """The blocks that :func:`stack` was given, or the one whose arrays they are."""
    if arrays[0].ndim == 2:
        return [Normal.of(arrays)]
    return [Normal.of(parts) for parts in zip(*arrays, strict=True)]


def fewer(blocks: Sequence[Normal], n: int) -> list[Normal]:
    """At most `n` blocks, of like size: the neighbours with the fewest rows are summed."""
    left = list(blocks)
    while len(left) > n:
        sizes = np.array([block.n_rows for block in left])
        i = int(np.argmin(sizes[:-1] + sizes[1:]))
        left[i : i + 2] = [left[i] + left[i + 1]]
    return left


def bags(stacked: Sequence[Array], counts: NDArray) -> list[Normal]:
    """The sums over the rows of blocks, each taken so many times, for each row of `counts`.

    Parameters
    ----------
    stacked : sequence of ndarray
        Of the blocks, as :func:`stack` gives them.
    counts : ndarray, shape (n_models, n_blocks)

    Returns
    -------
    list of Normal
    """
    counts = counts.astype(np.float64)
    sums = [np.tensordot(counts, part, axes=1) for part in stacked[:4]]
    roots = [[_root(part, row) for row in counts] for part in stacked[4:]]
    return [Normal.of(parts) for parts in zip(*sums, *roots, strict=True)]


def _root(roots: Array, counts: Array) -> Array:
    drawn = counts > 0
    rows = np.sqrt(counts[drawn, None, None]) * roots[drawn]
    return np.asarray(np.linalg.qr(rows.reshape(-1, rows.shape[2]), mode="r"))


def offers(n_terms: int, n_dropped: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """All terms but a few, which are left out at random."""
    offered = np.ones(n_terms, bool)
    offered[rng.choice(n_terms, n_dropped, replace=False)] = False
    return offered


def fit_ensemble(
    stacked: Sequence[Array],
    fit: Fit,
    n_models: int,
    *,
    n_dropped: int = 0,
    judged: bool = False,
    seed: int = 0,
) -> Summary:
    """Fit models to blocks of rows drawn with replacement, each without a few of the terms.

    Parameters
    ----------
    stacked : sequence of ndarray
        Of the blocks, as :func:`stack` gives them.
    fit : callable
        ``fit(bag, offered, others)`` gives the coefficients (n_targets, n_terms) from a bag, the
        terms to take, and the blocks that are not in the bag.
    n_models : int
    n_dropped : int, optional
        Terms left out of each model.
    judged : bool, optional
        Otherwise `others` is None, and its sums are not needed.
    seed : int, optional

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If all terms are to be left out.
    """
    n_blocks, n_terms = stacked[0].shape[:2]
    rng = np.random.default_rng(seed)
    if n_dropped >= n_terms:
        raise ValueError(f"n_dropped={n_dropped} must be less than the {n_terms} terms.")
    offered = np.stack([offers(n_terms, n_dropped, rng) for _ in range(n_models)])
    counts = draws(n_blocks, n_models, rng)
    others: Sequence[Normal | None] = [None] * n_models
    if judged and (counts == 0).any(axis=1).all():
        others = bags(stacked, counts == 0)
    models = zip(bags(stacked, counts), offered, others, strict=True)
    return summarise(np.stack([fit(*model) for model in models]), offered)


def summarise(coefs: Array, offered: NDArray[np.bool_]) -> Summary:
    """Statistics over the models to which a term was offered; zero for one that never was.

    Parameters
    ----------
    coefs : ndarray, shape (n_models, n_targets, n_terms)
    offered : ndarray of bool, shape (n_models, n_terms)

    Returns
    -------
    Summary

    References
    ----------
    Fasel, Kutz, Brunton & Brunton (2022), Proc. R. Soc. A 478, 20210904.

    Examples
    --------
    >>> coefs = np.array([[[1.0, 0.0]], [[3.0, 0.0]], [[2.0, 1.0]]])
    >>> summarise(coefs, np.ones((3, 2), bool)).inclusion_probability.round(2)
    array([[1.  , 0.33]])
    """
    if offered.all():
        return _statistics(coefs)
    zero = np.zeros(coefs.shape[1:])
    found = Summary(zero, zero.copy(), zero.copy(), np.zeros((2, *zero.shape)))
    for k in np.flatnonzero(offered.any(axis=0)):
        for whole, part in zip(found, _statistics(coefs[offered[:, k], :, k]), strict=True):
            whole[..., k] = part
    return found


def _statistics(coefs: Array) -> Summary:
    low, median, high = np.quantile(coefs, [QUANTILES[0], 0.5, QUANTILES[1]], axis=0)
    share = np.mean(coefs != 0, axis=0)
    return Summary(median, share, coefs.std(axis=0), np.stack([low, high]))
