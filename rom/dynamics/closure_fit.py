"""Training the learned term of a closure: on residuals, then through the solver, with PyTorch.

Imported only by a fit: a fitted closure is plain numbers and needs no PyTorch to run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rom.base import Polynomial
from rom.dynamics.networks import Initial, effective
from rom.dynamics.shooting import shoot
from rom.dynamics.training import Outcome, descend, minimise

# Checks in a row without a better held-out residual before the a-priori fit ends.
PATIENCE = 5

NONE, A_PRIORI, THROUGH_SOLVER = "none", "a priori", "through the solver"

Array = NDArray[np.float64]
# The learned term in units of its scale: layers, standardised states and inputs (n_rows, n_in).
Term = Callable[[list[Tensor], Tensor], Tensor]
Field = Callable[[Tensor, Tensor], Tensor]


class Scales(NamedTuple):
    """What states, inputs and slopes are measured in."""

    mean: Array
    """(rank + n_inputs,), subtracted from states and inputs."""
    scale: Array
    """(rank + n_inputs,), what they are then divided by."""
    term: Array
    """(n_targets,), unit of the learned term."""


class Runs(NamedTuple):
    """Stretches of data to be run over."""

    z: Array
    """States (n_runs, length + 1, rank)."""
    u: Array
    """Inputs (n_runs, length + 1, n_inputs), of width 0 without."""
    h: Array
    """Steps (n_runs, length)."""


class Schedule(NamedTuple):
    """How to descend through the solver."""

    n_steps: int
    batch: int
    learning_rate: float
    substeps: int
    seed: int


class Trained(NamedTuple):
    """What a training leaves."""

    layers: list[Array]
    """Effective layers; all zero where the base alone did best."""
    stage: str
    """Where they come from: "none", "a priori" or "through the solver"."""
    scores: Array
    """(3,): held-out loss of the base alone, a priori and through the solver; NaN where not run."""
    history: Array
    """(n_checks, 3): steps through the solver so far, training loss, held-out loss."""


class Yardstick:
    """The loss of runs: their error, and that of their mean and covariance, all relative.

    Error: mean square over that of the deviations of the states from their mean. Mean: the same
    for the mean over all runs and times. Covariance: the square of its Frobenius norm over that of
    the states' own.

    Parameters
    ----------
    states : ndarray, shape (n_time, rank)
        Training states.
    statistics : float
        Weight of the mean and the covariance.
    """

    def __init__(self, states: Array, statistics: float) -> None:
        _, covariance = _moments(torch.tensor(states))
        self.variance = float(covariance.trace()) or 1.0
        self.size = float((covariance**2).sum()) or 1.0
        self.statistics = statistics

    def __call__(self, found: Tensor, truth: Tensor) -> Tensor:
        """Of runs `found` and the `truth`, both (n_runs, length, rank)."""
        loss = ((found - truth) ** 2).sum(dim=-1).mean() / self.variance
        if not self.statistics:
            return loss
        (mean, covariance), (true_mean, true_covariance) = (
            _moments(runs.flatten(0, 1)) for runs in (found, truth)
        )
        off = ((mean - true_mean) ** 2).sum() / self.variance
        off = off + ((covariance - true_covariance) ** 2).sum() / self.size
        return loss + self.statistics * off


def _moments(states: Tensor) -> tuple[Tensor, Tensor]:
    mean = states.mean(dim=0)
    deviation = states - mean
    return mean, deviation.T @ deviation / len(states)


def polynomial_field(polynomial: Polynomial) -> Field:
    """The polynomial as a differentiable function of rows (z, u).

    Each monomial is a product of as many factors as its degree, or, of a higher one's, of these and
    ones. A factor of all monomials at a time is one product with a matrix of zeros and ones, whose
    gradient is far cheaper than that of picking columns.
    """
    n_terms, n = polynomial.exponents.shape
    degree = max(1, int(polynomial.exponents.sum(axis=1).max(initial=0)))
    pick = np.zeros((degree, n + 1, n_terms))
    for k, row in enumerate(polynomial.exponents):
        factors = np.repeat(np.arange(n), row)
        pick[:, n, k] = 1.0
        pick[np.arange(len(factors)), n, k] = 0.0
        pick[np.arange(len(factors)), factors, k] = 1.0
    picks, coef = torch.from_numpy(pick), torch.tensor(polynomial.coef.T)

    def field(z: Tensor, u: Tensor) -> Tensor:
        x = torch.cat([z, u, torch.ones_like(z[:, :1])], dim=1)
        terms = x @ picks[0]
        for matrix in picks[1:]:
            terms = terms * (x @ matrix)
        return terms @ coef

    return field


def closed(base: Field, term: Term, scales: Scales) -> Callable[[list[Tensor]], Field]:
    """The base model with the learned term, for given layers."""
    mean, scale, unit = (torch.tensor(values) for values in scales)

    def with_layers(layers: list[Tensor]) -> Field:
        def field(z: Tensor, u: Tensor) -> Tensor:
            return base(z, u) + unit * term(layers, (torch.cat([z, u], dim=1) - mean) / scale)

        return field

    return with_layers


def fit_residual(
    start: Initial,
    term: Term,
    train: tuple[Array, Array],
    held_out: tuple[Array, Array],
    unit: Array,
    *,
    max_iter: int,
    label: str,
) -> Outcome:
    """Fit the term to the base model's residual.

    `train` and `held_out` are standardised states and inputs, and the residual of each coordinate
    over its own root mean square, of which the term's unit is `unit`.
    """
    weight = torch.tensor(unit)

    def loss(parameters: list[Tensor], x: Tensor, residual: Tensor) -> Tensor:
        found = term(effective(parameters, start.multipliers), x)
        return ((weight * found - residual) ** 2).mean()

    return minimise(
        start.parameters, loss, train, held_out,
        max_iter=max_iter, patience=PATIENCE, device="cpu", label=label,
    )  # fmt: skip


def fit_through_solver(
    parameters: list[Array],
    start: Initial,
    model: Callable[[list[Tensor]], Field],
    train: Runs,
    held_out: Runs,
    yardstick: Yardstick,
    schedule: Schedule,
    *,
    label: str,
) -> Trained:
    """Descend from `parameters` on random windows; keep what does best on the held-out runs."""

    def runs_loss(layers: list[Tensor], z: Tensor, u: Tensor, h: Tensor) -> Tensor:
        return yardstick(shoot(model(layers), z[:, 0], u, h, schedule.substeps), z[:, 1:])

    def loss(parameters: list[Tensor], z: Tensor, u: Tensor, h: Tensor) -> Tensor:
        return runs_loss(effective(parameters, start.multipliers), z, u, h)

    def score(layers: list[Array]) -> float:
        with torch.no_grad():
            value = runs_loss([torch.tensor(v) for v in layers], *map(torch.tensor, held_out))
        return float(value) if torch.isfinite(value) else math.inf

    candidates = [effective(parameters, start.multipliers)]
    candidates.insert(0, [np.zeros_like(layer) for layer in candidates[0]])
    history = np.empty((0, 3))
    if schedule.n_steps:
        outcome = descend(
            parameters, loss, tuple(train), tuple(held_out),
            max_iter=schedule.n_steps, patience=schedule.n_steps, device="cpu", label=label,
            learning_rate=schedule.learning_rate, rates=start.rates,
            batch_size=schedule.batch, seed=schedule.seed,
        )  # fmt: skip
        candidates.append(effective(outcome.parameters, start.multipliers))
        history = outcome.history
    scores = np.full(3, np.nan)
    scores[: len(candidates)] = [score(layers) for layers in candidates]
    best = int(np.nanargmin(scores))
    return Trained(candidates[best], (NONE, A_PRIORI, THROUGH_SOLVER)[best], scores, history)
