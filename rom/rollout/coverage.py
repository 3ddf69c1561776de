"""How often rollouts lie in their bands, and how far that count is to be trusted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


class Coverage(NamedTuple):
    """How many rollouts lay in their bands, and how far that count is to be trusted."""

    share: float
    low: float
    high: float
    n: int


def coverage(
    covered: ArrayLike, *, block: ArrayLike | None = None, confidence: float = 0.95
) -> Coverage:
    """The share of rollouts in their bands, with its confidence interval.

    Parameters
    ----------
    covered : array_like of bool, shape (n_start,)
    block : array_like, shape (n_start,), optional
        Blocks inside which rollouts are alike; by default each is on its own, and the interval is
        that of Clopper and Pearson, which holds for every number of rollouts.
    confidence : float, default 0.95

    Returns
    -------
    Coverage

    Notes
    -----
    Blocks lower the number of rollouts to the one that would give the same variance [1]_. Where all
    or none are covered, that is the number of blocks.

    References
    ----------
    .. [1] E. L. Korn, B. I. Graubard, "Confidence intervals for proportions with small expected
       number of positive counts estimated from survey data", Survey Methodology 24 (1998) 193-201.

    Examples
    --------
    >>> hits = np.arange(100) < 90
    >>> share, low, high, n = coverage(hits)
    >>> share, round(low, 3), round(high, 3), n
    (0.9, 0.824, 0.951, 100)
    >>> coverage(hits, block=np.arange(100) // 10).low < 0.6
    True
    """
    check_level(confidence)
    hits = np.asarray(covered, dtype=np.float64)
    if hits.ndim != 1 or not hits.size:
        raise ValueError(f"covered must be one flag per rollout, but its shape is {hits.shape}.")
    n, share, tail = len(hits), float(hits.mean()), (1 - confidence) / 2
    size = n if block is None else _effective_number(hits, check_blocks(block, n), tail)
    x = share * size
    low = 0.0 if share == 0 else float(stats.beta.ppf(tail, x, size - x + 1))
    high = 1.0 if share == 1 else float(stats.beta.ppf(1 - tail, x + 1, size - x))
    return Coverage(share, low, high, n)


def _effective_number(hits: Array, block: NDArray, tail: float) -> float:
    """Of independent rollouts whose share of hits would vary as much."""
    codes = np.unique(block, return_inverse=True)[1]
    n, n_blocks = len(hits), int(codes.max()) + 1
    off = np.bincount(codes, hits - hits.mean())
    if n_blocks == 1 or np.ptp(hits) == 0:
        return float(n_blocks)
    variance = n_blocks / (n_blocks - 1) * np.sum(off**2) / n**2
    wider = stats.t.ppf(tail, n - 1) / stats.t.ppf(tail, n_blocks - 1)
    size = hits.var() / max(variance, hits.var() / n)
    return float(size * wider**2)


def check_blocks(block: ArrayLike | None, n: int) -> NDArray:
    """One label per start; by default each has its own."""
    labels = np.arange(n) if block is None else np.asarray(block)
    if labels.shape != (n,):
        raise ValueError(f"block must be one label for each of {n} starts, but is {labels.shape}.")
    return labels


def check_level(level: float) -> None:
    """Refuse a probability that is not between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, but it is {level}.")
