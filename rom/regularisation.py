"""Choose the ridge parameters of operator inference by rollouts through what was held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from rom import checks
from rom.base import Series
from rom.data.split import ForwardChaining
from rom.data.trajectory import segments
from rom.dynamics.operators import PolynomialInference, Ridge
from rom.dynamics.rows import KeptSums
from rom.rollout.result import Status
from rom.rollout.run import rollout

# Ridge parameters tried: for the terms up to degree one, and for the higher ones.
LOW = np.logspace(-12, 1, 14)
HIGH = np.logspace(-12, 3, 16)


@dataclass(frozen=True)
class RidgeSearch:
    """What :func:`search_ridge` found."""

    table: pd.DataFrame
    """One row per candidate, the best first: `ridge`, the `error` of its held-out rollouts, and
    how many of them were `unbounded`; the error is infinite where one was."""
    best: KeptSums
    """The best candidate, fitted to all rows."""


def search_ridge(
    model: KeptSums,
    Z: ArrayLike,
    y: ArrayLike | None = None,
    *,
    t: ArrayLike,
    u: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    candidates: Sequence[Ridge] | None = None,
    splitter: Any = None,
    growth: float = 3.0,
) -> RidgeSearch:
    """Take the ridge whose rollouts through held-out stretches are bounded and most accurate.

    In each fold the model is fitted once; all candidates follow from the same sums (see
    :meth:`~rom.dynamics.rows.KeptSums.refit`), so that only their rollouts cost.
    A fit of derivatives favours too little ridge: small errors of the operators, harmless in one
    evaluation, make a rollout unbounded.

    Parameters
    ----------
    model : Dynamics
        What all candidates have in common; not changed. Operator inference of any kind, or
        another model with a parameter `ridge` and a method `refit`, such as :class:`rom.DMD`.
    Z, y, t, u, trajectory : array_like, shape (n_time, ...)
        As for :meth:`rom.base.Dynamics.fit`. Without `y`, derivatives are estimated within the
        training rows of each fold.
    candidates : sequence of float or mapping, optional
        Values of the model's parameter `ridge`. By default a grid with one value for the
        operators c, A and B, and one for H, G and N where there are some; or with one for all
        terms, where the model does not tell operators apart.
    splitter : splitter, optional
        Gives rows to train and to test on; :class:`rom.data.ForwardChaining` with three folds
        where not given.
    growth : float, optional
        A rollout is unbounded if a state's norm exceeds this times the largest in training.

    Returns
    -------
    RidgeSearch

    Raises
    ------
    ValueError
        If no candidate was bounded in all rollouts, or the data are refused.
    TypeError
        If the model has no ridge, or cannot be fitted again from its sums.

    Notes
    -----
    Each rollout starts at the first row of a held-out stretch. The error is the root mean square
    over all of their rows, relative to that of the states about their mean.

    References
    ----------
    McQuarrie, Huang & Willcox (2021), J. R. Soc. N. Z. 51, 194.

    Examples
    --------
    >>> import rom
    >>> rng, t = np.random.default_rng(0), np.linspace(0, 20, 400)
    >>> Z = np.stack([np.cos(t), np.sin(t)], axis=1) + 1e-3 * rng.normal(size=(400, 2))
    >>> found = search_ridge(rom.OperatorInference("AH"), Z, t=t)
    >>> bool(found.table.error[0] < 0.01)
    True
    """
    if not (isinstance(model, KeptSums) and "ridge" in model.get_params(deep=False)):
        raise TypeError(
            "search_ridge needs a model with a ridge that keeps the sums of its rows, such as "
            f"OperatorInference or DMD, but it is {model}."
        )
    series = _checked(Z, y, t, u, trajectory)
    splitter = ForwardChaining(n_splits=3) if splitter is None else splitter
    n_inputs = 0 if series.u is None else series.u.shape[1]
    grid = default_candidates(model, series.Z.shape[1], n_inputs)
    tried: list[Ridge] = list(grid if candidates is None else candidates)
    squares, unbounded = np.zeros(len(tried)), np.zeros(len(tried), dtype=int)
    n_values = 0
    for train, test in splitter.split(series.Z, trajectory=series.trajectory):
        fitted = _fit(model, _rows(series, train))
        bound = growth * fitted.bound_ / 100.0
        stretches = list(_stretches(_rows(series, test)))
        n_values += sum(stretch.Z.size for stretch in stretches)
        for i, ridge in enumerate(tried):
            errors = [_error(fitted.refit(ridge=ridge), part, bound) for part in stretches]
            squares[i] += np.sum(errors)
            unbounded[i] += np.isinf(errors).sum()
    scale = np.mean((series.Z - series.Z.mean(axis=0)) ** 2)
    error = np.sqrt(squares / n_values / scale)
    table = pd.DataFrame({"ridge": tried, "error": error, "unbounded": unbounded})
    table = table.sort_values(["error", "unbounded"], kind="stable", ignore_index=True)
    if not np.isfinite(table.error[0]):
        raise ValueError(
            f"None of {len(tried)} candidates stayed below {growth:g} times the training states in "
            "all held-out rollouts: give larger ridge parameters, a smaller rank, or a larger "
            "growth."
        )
    return RidgeSearch(table, _fit(model, series).refit(ridge=table.ridge[0]))


def default_candidates(model: KeptSums, rank: int, n_inputs: int) -> Iterator[Ridge]:
    """The grid that :func:`search_ridge` tries, from least to most ridge."""
    if not isinstance(model, PolynomialInference):
        yield from HIGH.tolist()
        return
    letters = model._blocks(rank, n_inputs)
    low, high = ([x for x in group if x in letters] for group in ("cAB", "HGN"))
    grids = [LOW if low else [0.0], HIGH if high else [0.0]]
    for one, other in product(*grids):
        yield dict.fromkeys(low, float(one)) | dict.fromkeys(high, float(other))


def _checked(
    Z: ArrayLike,
    y: ArrayLike | None,
    t: ArrayLike,
    u: ArrayLike | None,
    trajectory: ArrayLike | None,
) -> Series:
    states = np.asarray(Z, dtype=np.float64)
    if states.ndim != 2:
        raise ValueError(f"Z must be (n_time, rank), but its shape is {states.shape}.")
    codes = checks.check_trajectory(trajectory, len(states))
    return Series(
        Z=states,
        y=None if y is None else checks.check_targets(y, len(states)),
        t=checks.check_times(t, len(states), codes),
        u=checks.check_inputs(u, len(states)),
        trajectory=codes,
    )


def _rows(series: Series, rows: NDArray[np.intp] | slice) -> Series:
    return Series(*(None if field is None else field[rows] for field in series))  # type: ignore[arg-type]


def _fit(model: KeptSums, series: Series) -> KeptSums:
    return clone(model).fit(
        series.Z, series.y, t=series.t, u=series.u, trajectory=series.trajectory
    )


def _stretches(series: Series) -> Iterator[Series]:
    """Parts of continuous sampling, each to be run through from its first row."""
    for piece in segments(series.t, series.trajectory):
        if piece.stop - piece.start > 1:
            yield _rows(series, piece)


def _error(model: KeptSums, part: Series, bound: float) -> float:
    """Sum of squared errors of a rollout from the first row; infinite where it is unbounded."""
    assert part.t is not None
    bound = max(bound, float(np.linalg.norm(part.Z, axis=1).max()))
    run = rollout(model, part.Z[0], part.t, u=part.u, bound=bound, throw=False)
    if run.status is not Status.COMPLETED:
        return float("inf")
    return float(((run.z - part.Z) ** 2).sum())
