"""How far apart statistics come out by chance: the truth in blocks, groups of these, and halves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from rom.rollout.features import Frame, Statistic

Array = NDArray[np.float64]

# The truth is cut into this many blocks, or more where its stretches are short, of this many rows
# at least.
BLOCKS, SHORTEST = 20, 8
# More blocks than this are put together in groups, which are divided in halves this many times.
GROUPS, HALVINGS = 40, 400
# Numbers of the features of halves that are held at a time.
AT_A_TIME = 2**20
# The probability that all statistics of a model that is as the truth are within sampling error.
LEVEL = 0.95
# The correlation of neighbouring blocks beyond which nothing can be said of their mean.
MOST_SHARED = 0.9


def blocks_of(truth: Sequence[ArrayLike], model: Sequence[ArrayLike]) -> tuple[Array, Array, bool]:
    """Both as blocks (n_blocks, n_time, rank) of equally many rows, and whether the model ended."""
    ours, theirs = (
        [np.asarray(each, dtype=np.float64) for each in stretches] for stretches in (truth, model)
    )
    shapes = [each.shape for each in (*ours, *theirs)]
    if not ours or not theirs or {(len(s), *s[1:]) for s in shapes} != {(2, shapes[0][-1])}:
        raise ValueError(
            f"truth and model must be stretches of states, each (n_time, rank), but of the truth "
            f"came shapes {shapes[: len(ours)]} and of the model {shapes[len(ours) :]}."
        )
    if not all(np.isfinite(each).all() for each in ours):
        raise ValueError("The truth must be finite.")
    lengths = [len(each) for each in ours]
    length = int(min(np.median(lengths), sum(lengths) // BLOCKS))
    if length < SHORTEST:
        raise ValueError(
            f"Statistics take {BLOCKS} blocks of {SHORTEST} rows or more of the truth, but it has "
            f"{sum(lengths)} rows, {np.median(lengths):g} in the median stretch."
        )
    if max(len(each) for each in theirs) < length:
        raise ValueError(
            f"The model's stretches must have {length} rows or more, as the truth's blocks, but "
            f"the longest has {max(len(each) for each in theirs)}."
        )
    ended = not all(np.isfinite(each).all() for each in theirs)
    return _cut(ours, length), _cut(theirs, length), ended


def _cut(stretches: list[Array], length: int) -> Array:
    """Blocks of `length` rows, none across the end of a stretch."""
    whole = [each[: len(each) // length * length] for each in stretches]
    return np.concatenate([each.reshape(-1, length, each.shape[1]) for each in whole])


def halves_of(n: int, random_state: int | np.random.RandomState | None) -> NDArray[np.bool_]:
    """Which of `n` are in the first half, many times (HALVINGS, n)."""
    rng = check_random_state(random_state)
    return np.array([rng.permutation(n) < n // 2 for _ in range(HALVINGS)])


def grouped(statistic: Statistic, blocks: Array, frame: Frame) -> tuple[Array, list[int]]:
    """Mean features of groups of neighbouring blocks, and how many blocks each has."""
    parts = np.array_split(blocks, min(len(blocks), GROUPS))
    return (
        np.stack([statistic.features(part, frame).mean(axis=0) for part in parts]),
        [len(part) for part in parts],
    )


def mean_of(statistic: Statistic, blocks: Array, frame: Frame) -> Array:
    """Mean features of all blocks."""
    groups, sizes = grouped(statistic, blocks, frame)
    return np.asarray(np.average(groups, axis=0, weights=sizes))


def between(statistic: Statistic, groups: Array, halves: NDArray[np.bool_], frame: Frame) -> Array:
    """The distance of each half of the groups to the other."""
    flat, shape = groups.reshape(len(groups), -1), (-1, *groups.shape[1:])

    def means(parts: NDArray[np.bool_]) -> Array:
        return np.asarray(parts / parts.sum(axis=1, keepdims=True) @ flat).reshape(shape)

    n = max(1, AT_A_TIME // flat.shape[1])
    some = [halves[i : i + n] for i in range(0, len(halves), n)]
    return np.concatenate([statistic.distance(means(h), means(~h), frame) for h in some])


def enlarged(groups: Array, level: float) -> float:
    """How much the few blocks, and what neighbours share, hide of the spread of a mean.

    Of blocks that are an autoregression of order one with correlation r, the variance of the mean
    is (1 + r) / (1 - r) times what it is for blocks that share nothing.
    """
    from scipy.stats import norm, t

    n = len(groups)
    few = t.isf((1 - level) / 2, n - 1) / norm.isf((1 - level) / 2)
    away = (groups - groups.mean(axis=0)).reshape(n, -1)
    away /= np.abs(away).max() or 1.0  # their squares may overflow
    size = np.sum(away**2)
    shared = np.sum(away[1:] * away[:-1]) / size + 1 / n if size > 0 else 0.0
    r = min(max(float(shared), 0.0), MOST_SHARED)
    return float(few * np.sqrt((1 + r) / (1 - r)))
