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
# Draws for this many lead times at once, times the draws, stay in a processor's cache.
PART = 2**15


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
        and the length of a rollout. Few blocks tell little about the spread; the studentised draws
        share that doubt, and widen the interval by it.
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
    width = max(1, PART // n_resamples)
    parts = [
        _studentised(
            _block_sums(e[:, lead], length), _block_sums(b[:, lead], length), counts, level
        )
        for lead in (slice(i, i + width) for i in range(0, e.shape[1], width))
    ]
    return Interval(*(np.concatenate(ends) for ends in zip(*parts, strict=True)))


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
    ratio, spread = _ratio(error, baseline, np.ones((1, len(error))), n_blocks)
    drawn, its_spread = _ratio(error, baseline, counts, n_blocks)
    off = drawn - ratio
    t = off / its_spread
    # A draw without any spread is endlessly far off, if it is off at all.
    t = np.where(np.isfinite(t), t, np.where(off == 0, 0.0, np.where(off > 0, np.inf, -np.inf)))
    tail = (1 - level) / 2
    lower, upper = np.quantile(t, [tail, 1 - tail], axis=1, method="inverted_cdf")
    ratio, spread = ratio[:, 0], spread[:, 0]
    ends = [1 - ratio + np.where(spread > 0, q * spread, 0 * spread) for q in (lower, upper)]
    return Interval(*(np.where(np.isfinite(ratio), end, np.nan) for end in ends))


def _ratio(error: Array, baseline: Array, counts: Array, n_blocks: int) -> tuple[Array, Array]:
    """The ratio of means (n_lead, n_draws) over the blocks counted, and its standard error.

    That of so many blocks, drawn from those that `counts` (n_draws, n_start) counts.
    """
    n_counted = counts[0].sum()
    above, below, above_2, cross, below_2 = (
        each.T @ counts.T for each in (error, baseline, error**2, error * baseline, baseline**2)
    )
    ratio = above / below
    left = above_2 - 2 * ratio * cross + ratio**2 * below_2
    variance = np.where(left < ROUNDING * above_2, 0.0, left) / (n_counted - 1) / n_blocks
    return ratio, np.asarray(np.sqrt(variance) / (below / n_counted))


def _block_sums(values: Array, length: int) -> Array:
    """Sum over each start and those after it in a block, across the end to the beginning."""
    around = np.concatenate([values, values[: length - 1]])
    return np.asarray(sliding_window_view(around, length, axis=0).sum(axis=-1))
