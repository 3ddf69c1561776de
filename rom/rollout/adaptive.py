"""Bands that follow errors as they drift."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.rollout.coverage import check_level

Array = NDArray[np.float64]


class Adaptive(NamedTuple):
    """Thresholds on the score that follow the errors."""

    threshold: Array
    """(n_start,) the score up to which a rollout is in its band; -inf where the band is empty."""
    covered: NDArray[np.bool_]
    """(n_start,)"""
    alpha: Array
    """(n_start,) the nominal rate of misses in use; may leave the interval from 0 to 1."""


def adaptive_thresholds(
    score: ArrayLike,
    calibration: ArrayLike,
    *,
    level: float = 0.9,
    rate: float = 0.01,
    delay: int = 0,
) -> Adaptive:
    """Thresholds for rollouts one after the other, whose errors may drift.

    After each miss the nominal rate of misses α is lowered by ``rate * level``, after each hit it
    is raised by ``rate * (1 - level)``; the threshold is the 1 - α quantile of all scores known.

    Parameters
    ----------
    score : array_like, shape (n_start,)
        Scores of the rollouts in the order of their starts; see :func:`simultaneous_score`.
    calibration : array_like, shape (n_calibration,)
        Scores known before.
    level : float, default 0.9
    rate : float, default 0.01
        How fast the level follows.
    delay : int, default 0
        How many later starts come before the outcome of one is known: the rows that a rollout is
        long.

    Returns
    -------
    Adaptive

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1, `rate` not positive, `delay` negative, or a score is NaN.

    Notes
    -----
    For every sequence of scores, chosen by an adversary even, the share of misses among the first T
    differs from 1 - level by at most ``(level + rate (1 + delay)) / (rate T)`` for a level of a
    half or more: α cannot leave the interval from 0 to 1 by more than ``rate (1 + delay)``, since
    past its ends the band is everything, or nothing.

    References
    ----------
    I. Gibbs, E. Candès, "Adaptive conformal inference under distribution shift", Advances in
    Neural Information Processing Systems 34 (2021) 1660-1672. The delay is ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> growing = np.abs(rng.normal(size=2000)) * np.linspace(1, 5, 2000)
    >>> fixed = np.mean(growing < np.quantile(growing[:100], 0.9))
    >>> adapted = adaptive_thresholds(growing[100:], growing[:100], rate=0.05).covered.mean()
    >>> bool(fixed < 0.6), bool(abs(adapted - 0.9) < 0.01)
    (True, True)
    """
    check_level(level)
    if not rate > 0 or not delay >= 0:
        raise ValueError(f"rate must be positive and delay 0 or more, but came {rate} and {delay}.")
    scores = _check_scores(score, "score")
    known = np.sort(_check_scores(calibration, "calibration"))
    threshold, alphas = np.empty(len(scores)), np.empty(len(scores))
    alpha = 1 - level
    for i in range(len(scores)):
        alphas[i], threshold[i] = alpha, _quantile(known, alpha)
        past = i - delay
        if past >= 0:
            missed = scores[past] > threshold[past]
            alpha += rate * (1 - level - missed)
            known = np.insert(known, np.searchsorted(known, scores[past]), scores[past])
    return Adaptive(threshold, scores <= threshold, alphas)


def delay_of(start: ArrayLike, span: float) -> int:
    """How many later starts come before the outcome of one is known, at most.

    Parameters
    ----------
    start : array_like, shape (n_start,)
        Times of the starts, in order.
    span : float
        How long a rollout is, in time.

    Returns
    -------
    int
        The `delay` of :func:`adaptive_thresholds`.

    Examples
    --------
    >>> delay_of([0, 1, 2, 3, 6], span=2.5)
    2
    """
    times = np.asarray(start, dtype=np.float64)
    known = np.searchsorted(times, times + span * (1 - 1e-9))  # the first start after each outcome
    return int((known - np.arange(len(times))).max()) - 1


def _quantile(known: Array, alpha: float) -> float:
    """The quantile of level 1 - α of scores and one more at infinity; past the ends, the ends."""
    if alpha >= 1:
        return -np.inf
    rank = int(np.ceil((1 - alpha) * (len(known) + 1) * (1 - 1e-12)))
    return np.inf if rank > len(known) else float(known[rank - 1])


def _check_scores(score: ArrayLike, name: str) -> Array:
    scores = np.asarray(score, dtype=np.float64)
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ValueError(
            f"{name} must be one number per start, but its shape is {scores.shape} and "
            f"{np.isnan(scores).sum()} are NaN."
        )
    return scores
