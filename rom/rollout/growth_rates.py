"""Lyapunov exponents and dimension, with their errors, from the growth of perturbations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.rollout.result import Status

Array = NDArray[np.float64]

# Batches of the run that give the sampling errors. An exponent differs from zero if it does by more
# than three of these, and changes a perturbation by more than the factor e³ in the whole run. Two
# halves differ where each is further than that from their mean; their dimensions, where it is also
# further than the last number.
FEWEST_BATCHES, N_BATCHES, CERTAIN, SAME_DIMENSION = 2, 32, 3, 0.05


class Lyapunov(NamedTuple):
    """Lyapunov exponents of a model, with their sampling errors.

    All are NaN where the run ended early, which `status` tells.
    """

    exponents: Array
    """Growth rates of perturbations per unit of time (n_exponents,), the largest first."""
    standard_error: Array
    """Of each exponent (n_exponents,), from batches of the run, or half the difference of its two
    halves where that is more than chance; zero of a linear model, whose exponents are exact. At
    least half of an exponent that changes a perturbation by less than e³ in the whole run."""
    kaplan_yorke: float
    """Kaplan-Yorke dimension; NaN where it needs more exponents than were asked for."""
    kaplan_yorke_error: float
    """Its standard error."""
    time: float
    """Lyapunov time 1 / exponents[0]; NaN where that is not above zero beyond doubt."""
    status: Status
    """How the run ended."""
    settled: bool
    """Whether the largest exponent and the dimension are the same in both halves of the run, but
    for chance. If not, a longer run, or one from a later start, may tell more."""


def kaplan_yorke(exponents: ArrayLike, *, resolution: float = 0.0) -> float:
    """Kaplan-Yorke dimension of an attractor, from its Lyapunov exponents.

    ``j + (λ_1 + … + λ_j) / |λ_{j+1}|``, with the largest j whose sum is not negative [1]_.

    Parameters
    ----------
    exponents : array_like, shape (n_exponents,)
        Lyapunov exponents, in any order.
    resolution : float, default 0
        A sum this little below zero counts as zero. The largest exponent of a limit cycle is
        zero, and comes out a little above or below.

    Returns
    -------
    float
        0 for an equilibrium; the number of exponents if even the sum of all is not negative; NaN
        if an exponent is.

    References
    ----------
    .. [1] P. Frederickson, J. L. Kaplan, E. D. Yorke, J. A. Yorke, "The Liapunov dimension of
       strange attractors", Journal of Differential Equations 49 (1983) 185-207.

    Examples
    --------
    Lorenz's attractor.

    >>> round(kaplan_yorke([0.9056, 0.0, -14.5723]), 3)
    2.062
    """
    exponents = np.sort(np.asarray(exponents, dtype=np.float64))[::-1]
    if np.isnan(exponents).any():
        return float("nan")
    sums = np.cumsum(exponents)
    whole = np.flatnonzero(sums >= -resolution)
    if not whole.size:
        return 0.0
    j = int(whole[-1]) + 1
    if j == len(exponents):
        return float(j)
    return float(j + max(0.0, sums[j - 1]) / abs(exponents[j]))


def summary(growth: Array, t: Array, first: int, code: int, rank: int) -> Lyapunov:
    """Rates from the first time on, with errors by a jackknife over batches and by the halves."""
    status = list(Status)[code]
    if status is not Status.COMPLETED:
        return unknown(growth.shape[1], status)
    n = min(N_BATCHES, len(t) - 1 - first)
    cuts = np.linspace(first, len(t) - 1, n + 1).astype(int)
    batches, spans = np.add.reduceat(growth, cuts[:-1]), np.diff(t[cuts])[:, None]
    batches = batches[:, np.argsort(-batches.sum(axis=0), kind="stable")]
    rates = batches.sum(axis=0) / spans.sum()
    resolution = CERTAIN / spans.sum()

    def with_dimension(row: Array) -> Array:
        return np.append(row, kaplan_yorke(row, resolution=resolution))

    with np.errstate(invalid="ignore"):  # an exponent may be -inf: a direction that a map loses
        others = (batches.sum(axis=0) - batches) / (spans.sum() - spans)
        cut = [0, n // 2]
        halves = np.add.reduceat(batches, cut) / np.add.reduceat(spans, cut)
        others, halves = (
            np.array([with_dimension(row) for row in np.where(np.isinf(rates), rates, part)])
            for part in (others, halves)
        )
        errors, apart = _jackknife(others), np.abs(halves[0] - halves[1]) / 2
    least = np.append(np.full(len(rates), resolution), SAME_DIMENSION)
    changed = apart > np.maximum(CERTAIN * errors, least)
    errors = np.where(changed, apart, errors)
    unsure = np.abs(rates) < resolution  # whether they differ from zero
    errors[:-1][unsure] = np.maximum(errors[:-1], np.abs(rates) / 2)[unsure]
    found = with_dimension(rates)
    positive = rates[0] > max(resolution, CERTAIN * errors[0])
    time = float(1 / rates[0]) if positive else float("nan")
    dimension = if_known(float(found[-1]), float(errors[-1]), len(rates), rank)
    settled = not (changed[0] or changed[-1])
    return Lyapunov(rates, errors[:-1], *dimension, time, status, settled)


def _jackknife(left_out: Array) -> Array:
    """Standard errors of quantities, from their values without each batch, one a row."""
    n = len(left_out)
    return np.sqrt((n - 1) * np.mean((left_out - left_out.mean(axis=0)) ** 2, axis=0))


def if_known(dimension: float, error: float, n_exponents: int, rank: int) -> tuple[float, float]:
    """A Kaplan-Yorke dimension and its error; NaN where it may need more exponents."""
    if dimension == n_exponents < rank:
        return float("nan"), float("nan")
    return dimension, error


def unknown(n_exponents: int, status: Status) -> Lyapunov:
    """Those of a run that ended early."""
    nan, rates = float("nan"), np.full(n_exponents, np.nan)
    return Lyapunov(rates, rates.copy(), nan, nan, nan, status, False)


def check_number(n_exponents: int | None, most: int) -> int:
    """How many exponents are asked for; by default as many as there are."""
    if n_exponents is None:
        return most
    if not 1 <= n_exponents <= most:
        raise ValueError(
            f"n_exponents must be from 1 to {most}, the length of the state, but it is "
            f"{n_exponents}."
        )
    return int(n_exponents)
