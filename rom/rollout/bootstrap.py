"""How far a score is to be trusted: intervals from blocks of starts drawn again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from rom.rollout.coverage import check_level

Array = NDArray[np.float64]

# From fewer starts than this nothing can be said about a mean.
FEWEST_STARTS = 4
# A square is all rounding where it is this much less than those it is a difference of.
ROUNDING = 1e-12


class Interval(NamedTuple):
    """Ends of an interval; NaN where there is none."""

    low: Array
    high: Array


def skill_interval(
    error: ArrayLike,
    baseline: ArrayLike,
    *,
    level: float = 0.9,
    n_blocks: int = 6,
    n_resamples: int = 2000,
    random_state: int | None = 0,
) -> Interval:
    """The interval of a skill score, one minus the ratio of mean errors over the starts.

    Blocks of neighbouring starts, whose errors are alike, are drawn with replacement, forecast and
    baseline together, and the ratio is studentised by the spread of the blocks drawn.

    Parameters
    ----------
    error, baseline : array_like, shape (n_start, n_lead)
        Errors of which the mean is taken, such as squared errors or ranked probability scores, of
        starts in the order of their times.
    level : float, default 0.9
        Of the interval at each lead time by itself.
    n_blocks : int, default 6
        How many blocks the starts make up. Each should reach far beyond the memory of the errors
        and the length of a rollout. Few are right: what their spread does not know about the error
        of the mean, the studentised draws have in them, and the interval is wider for it.
    n_resamples : int, default 2000
    random_state : int or None, default 0
        Seed.

    Returns
    -------
    Interval
        ``low`` and ``high`` (n_lead,). NaN where there are fewer than four starts, an error is not
        finite, or the baseline makes none.

    Raises
    ------
    ValueError
        If the arrays do not have one shape (n_start, n_lead), or a parameter is out of its range.

    References
    ----------
    H. R. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
    Statistics 17 (1989) 1217-1241. Studentised: F. Götze, H. R. Künsch, Annals of Statistics 24
    (1996) 1914-1933. Few long blocks: S. Gonçalves, T. J. Vogelsang, "Block bootstrap HAC robust
    tests: the sophistication of the naive bootstrap", Econometric Theory 27 (2011) 745-791.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> baseline = rng.exponential(size=(200, 1))
    >>> low, high = skill_interval(0.5 * rng.exponential(size=(200, 1)), baseline)
    >>> bool(low[0] < 0.5 < high[0]), bool(high[0] - low[0] < 0.25)
    (True, True)
    """
    e, b = np.asarray(error, np.float64), np.asarray(baseline, np.float64)
    if e.ndim != 2 or e.shape != b.shape or not e.size:
        raise ValueError(
            f"error and baseline must both be (n_start, n_lead), but their shapes are {e.shape} "
            f"and {b.shape}."
        )
    check_level(level)
    if n_blocks < 2 or n_resamples < 1:
        raise ValueError(
            f"Needed are two blocks and one resample or more, but came {n_blocks}, {n_resamples}."
        )
    n = len(e)
    if n < FEWEST_STARTS:
        return Interval(*np.full((2, e.shape[1]), np.nan))
    n_blocks = min(n_blocks, n)
    length = round(n / n_blocks)
    drawn = np.random.default_rng(random_state).integers(n, size=(n_resamples, n_blocks))
    cells = drawn + n * np.arange(n_resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n * n_resamples).reshape(-1, n).astype(np.float64)
    return _studentised(_block_sums(e, length), _block_sums(b, length), counts, level)


def mean_interval(values: ArrayLike, *, level: float = 0.9) -> Interval:
    """The interval of a mean over the starts, such as that of anomaly correlations.

    As :func:`skill_interval` finds it, of a ratio to one.

    Parameters
    ----------
    values : array_like, shape (n_start, n_lead)
        Of starts in the order of their times.
    level : float, default 0.9

    Returns
    -------
    Interval
        ``low`` and ``high`` (n_lead,). NaN where there are fewer than four starts, or a value is
        not finite.

    Raises
    ------
    ValueError
        As :func:`skill_interval`.

    Examples
    --------
    >>> low, high = mean_interval(np.random.default_rng(0).normal(3.0, size=(200, 1)))
    >>> bool(low[0] < 3 < high[0]), bool(high[0] - low[0] < 0.5)
    (True, True)
    """
    values = np.asarray(values, np.float64)
    low, high = skill_interval(values, np.ones_like(values), level=level)
    return Interval(1 - high, 1 - low)


@np.errstate(invalid="ignore", divide="ignore", over="ignore")
def _studentised(
    error: Array, baseline: Array, counts: NDArray[np.float64], level: float
) -> Interval:
    """From the sums over the block at each start, and how often each block is drawn."""
    n_blocks = int(counts[0].sum())
    ratio = error.sum(axis=0) / baseline.sum(axis=0)
    spread = _standard_error(error, baseline, ratio, np.ones((1, len(error))), n_blocks)[0]
    drawn = (counts @ error) / (counts @ baseline)
    t = (drawn - ratio) / _standard_error(error, baseline, drawn, counts, n_blocks)
    endless = np.where(drawn > ratio, np.inf, -np.inf)
    t = np.where(np.isfinite(t), t, np.where(drawn == ratio, 0.0, endless))
    tail = (1 - level) / 2
    lower, upper = np.quantile(t, [tail, 1 - tail], axis=0, method="inverted_cdf")
    ends = [1 - ratio + np.where(spread > 0, q * spread, 0 * spread) for q in (lower, upper)]
    return Interval(*(np.where(np.isfinite(ratio), end, np.nan) for end in ends))


def _standard_error(
    error: Array, baseline: Array, ratio: Array, counts: Array, n_blocks: int
) -> Array:
    """Of the ratio of means of so many blocks, drawn from those that `counts` counts."""
    n_counted = counts.sum(axis=1, keepdims=True)
    least = ROUNDING * (counts @ error**2)
    cross, squares = counts @ (error * baseline), counts @ baseline**2
    left = counts @ error**2 - 2 * ratio * cross + ratio**2 * squares
    variance = np.where(left < least, 0.0, left) / (n_counted - 1) / n_blocks
    return np.asarray(np.sqrt(variance) / (counts @ baseline / n_counted))


def _block_sums(values: Array, length: int) -> Array:
    """Sum over each start and those after it in a block, across the end to the beginning."""
    around = np.concatenate([values, values[: length - 1]])
    return np.asarray(sliding_window_view(around, length, axis=0).sum(axis=-1))
