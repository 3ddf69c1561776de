"""Principal components of data with gaps, by variational Bayes.

``x = loadings (1, z) + noise``: latents z, loadings (the first column is the mean) and noise are
independent and normal; the mean has a flat prior. Latents and loadings are given their posterior
in turn (Ilin & Raiko 2010, J. Mach. Learn. Res. 11).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.utils.extmath import randomized_svd

from rom.compress import gram

# Set apart to choose the rank: this share of the observed cells, at random, and stretches of this
# share of the rows, which lose all the cells that the rows of another stretch lack. Isolated cells
# alone would favour far too many modes where whole regions are missing: their neighbours give them
# away. So do the rows before and after, if gaps that last are not held out as long.
HELD_OUT_CELLS, HELD_OUT_ROWS, HELD_OUT_STRETCHES = 0.01, 0.05, 3
# From one trial rank to the next; every trial starts from the last.
GROWTH = 2
# A trial rank is the last if a smaller share of its modes is stronger than uncertain.
SUPPORTED = 0.9
# Noise and prior variances stay above this fraction of the variance of the data.
SMALLEST = 1e-10


class Data(NamedTuple):
    """Snapshots with zeros in their gaps, and where there are none."""

    values: NDArray[np.float64]
    observed: NDArray[np.bool_]


class Model(NamedTuple):
    """Posterior of the latents, whose second moment over time is one, and mean loadings."""

    loadings: NDArray[np.float64]
    """The mean, then one column per mode: (n_space, 1 + rank)."""
    latents: NDArray[np.float64]
    """(n_time, rank)."""
    covariance: NDArray[np.float64]
    """Of the latents of each row: (n_time, rank, rank)."""
    prior: NDArray[np.float64]
    """Variance of the loadings of each mode: (rank,)."""
    noise: float
    """Variance of the noise, the same in every cell."""
    smallest: float
    """Floor of the variances."""

    @property
    def rank(self) -> int:
        """Number of modes."""
        return len(self.prior)

    def estimate(self) -> NDArray[np.float64]:
        """All cells, (n_time, n_space)."""
        return self.latents @ self.loadings[:, 1:].T + self.loadings[:, 0]

    def rotated(self, W: NDArray[np.float64]) -> Model:
        """The same model with latents ``z W``, for an orthogonal `W`."""
        return self._replace(
            loadings=np.c_[self.loadings[:, :1], self.loadings[:, 1:] @ W],
            latents=self.latents @ W,
            covariance=W.T @ self.covariance @ W,
            prior=self.prior @ W**2,
        )


class Found(NamedTuple):
    """What :func:`grow` chose."""

    model: Model
    shown: Data
    """The snapshots without the held-out cells."""
    held: NDArray[np.bool_]
    """The held-out cells, (n_time, n_space)."""
    error: float
    """Root mean square error on them."""
    n_sweeps: int


class Principal(NamedTuple):
    """Loadings that are orthogonal, by decreasing energy."""

    loadings: NDArray[np.float64]
    """The mean, then one column per mode: (n_space, 1 + rank)."""
    variance: NDArray[np.float64]
    """Of each of them: (1 + rank, n_space)."""
    supported: int
    """Number of modes stronger than they are uncertain; a weaker one says nothing."""


def grow(
    data: Data, ranks: range, *, max_iter: int, tol: float, rng: np.random.RandomState
) -> Found:
    """Add modes while that lowers the error on held-out cells; at least ``ranks[0]`` of them.

    A rank, or a sweep at that rank, is the last if it lowers the error by less than a fraction
    `tol`, and a rank also if the snapshots do not support its modes; it has at most `max_iter`
    sweeps.
    """
    held = _hold_out(data.observed, rng)
    shown = Data(np.where(held, 0.0, data.values), data.observed & ~held)
    best, least_error, n_sweeps = mean_model(shown), np.inf, 0
    for rank in _trial_ranks(ranks):
        model = add_modes(shown, best, rank - best.rank, rng)
        trial, error = model, np.inf
        for _ in range(max_iter):
            model = sweep(shown, model)
            n_sweeps += 1
            last = error
            now = float(np.sqrt(np.mean((model.estimate() - data.values)[held] ** 2)))
            if now < error:
                trial, error = model, now
            if now > (1 - tol) * last:
                break
        better = error < (1 - tol) * least_error
        if error < least_error or rank == ranks[0]:
            best, least_error = trial, error
        if rank < ranks[0]:
            continue
        if not better or principal(shown, trial).supported < SUPPORTED * rank:
            break
    return Found(best, shown, held, least_error, n_sweeps)


def _trial_ranks(ranks: range) -> list[int]:
    """1, 2, 4, 8, … to the last of `ranks`, and its first."""
    trials = [1]
    while trials[-1] < ranks[-1]:
        trials.append(min(ranks[-1], GROWTH * trials[-1]))
    return sorted({*trials, ranks[0]})


def _hold_out(observed: NDArray[np.bool_], rng: np.random.RandomState) -> NDArray[np.bool_]:
    """Observed cells to set apart; every column that has two keeps one, and some are set apart."""
    n_time = len(observed)
    held = rng.random_sample(observed.shape) < HELD_OUT_CELLS
    stretch = np.arange(max(1, round(HELD_OUT_ROWS * n_time)))
    for start, other in rng.randint(n_time, size=(HELD_OUT_STRETCHES, 2)):
        held[(start + stretch) % n_time] |= ~observed[(other + stretch) % n_time]
    often = np.flatnonzero(observed.sum(axis=0) > 1)
    column = rng.choice(often)
    held[rng.choice(np.flatnonzero(observed[:, column])), column] = True
    held &= observed
    held[:, (observed & ~held).sum(axis=0) == 0] = False
    return held


def mean_model(data: Data) -> Model:
    """The model without modes."""
    mean = data.values.sum(axis=0) / data.observed.sum(axis=0)
    noise = float(((data.values - mean) ** 2)[data.observed].mean())
    n_time = len(data.values)
    latents, covariance = np.zeros((n_time, 0)), np.zeros((n_time, 0, 0))
    return Model(mean[:, None], latents, covariance, np.zeros(0), noise, SMALLEST * noise)


def add_modes(data: Data, model: Model, n: int, rng: np.random.RandomState) -> Model:
    """Add the `n` leading modes of what the model leaves over in the observed cells."""
    left = (data.values - model.estimate()) * data.observed
    U, s, Vt = randomized_svd(left, n, random_state=rng)
    n_time = len(left)
    covariance = np.zeros((n_time, model.rank + n, model.rank + n))
    covariance[:, : model.rank, : model.rank] = model.covariance
    return model._replace(
        loadings=np.c_[model.loadings, Vt.T * (s / np.sqrt(n_time))],
        latents=np.c_[model.latents, np.sqrt(n_time) * U],
        covariance=covariance,
        prior=np.maximum(np.r_[model.prior, s**2 / left.size], model.smallest),
    )


def sweep(data: Data, model: Model) -> Model:
    """Posterior of the loadings, then of the latents, then the noise and the priors."""
    loadings, moments, _ = update_loadings(data, model)
    rank, n_space = model.rank, len(loadings)
    # Of the loadings, summed over the cells that each row observes, and over all.
    by_row, total = moments[:-1], moments[-1]
    precision = by_row[:, 1:, 1:] + model.noise * np.eye(rank)
    inverse = np.linalg.inv(precision)
    right = data.values @ loadings[:, 1:] - by_row[:, 1:, 0]
    latents = np.einsum("tij,tj->ti", inverse, right)
    covariance = np.asarray(model.noise * inverse, dtype=np.float64)
    fit = np.sum(data.values * (2 * _with_one(latents) @ loadings.T))
    explained = np.sum(by_row * _second_moments(latents, covariance))
    noise = (np.sum(data.values**2) - fit + explained) / data.observed.sum()

    # Latents are made to have zero mean and unit second moment, loadings to be orthogonal.
    offset = latents.mean(axis=0)
    mean = loadings[:, 0] + loadings[:, 1:] @ offset
    latents = latents - offset
    scale = _root(latents.T @ latents / len(latents) + covariance.mean(axis=0))
    energy, W = linalg.eigh(-scale @ total[1:, 1:] @ scale)
    to_latents = np.linalg.solve(scale, W)
    return model._replace(
        loadings=np.c_[mean, loadings[:, 1:] @ scale @ W],
        latents=latents @ to_latents,
        covariance=to_latents.T @ covariance @ to_latents,
        prior=np.maximum(-energy / n_space, model.smallest),
        noise=max(float(noise), model.smallest),
    )


def principal(data: Data, model: Model) -> Principal:
    """Rotate `model` to the principal axes of its loadings, and say which modes to trust."""
    _, _, Wt = linalg.svd(model.loadings[:, 1:], full_matrices=False)
    loadings, _, variance = update_loadings(data, model.rotated(Wt.T))
    energy = np.sum(loadings[:, 1:] ** 2, axis=0)
    return Principal(loadings, variance, int(np.sum(energy > variance[1:].sum(axis=1))))


def update_loadings(
    data: Data, model: Model
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Posterior of the loadings of every cell.

    Returns
    -------
    loadings : ndarray, shape (n_space, 1 + rank)
        Mean.
    moments : ndarray, shape (n_time + 1, 1 + rank, 1 + rank)
        Second moments summed over the cells that each row observes; in the last row, over all.
    variance : ndarray, shape (1 + rank, n_space)
    """
    n_time, n_space = data.values.shape
    k = 1 + model.rank
    of_latents = _second_moments(model.latents, model.covariance).reshape(n_time, -1)
    right = data.values.T @ _with_one(model.latents)
    prior = np.diag(np.r_[0.0, model.noise / model.prior])
    loadings, variance = np.empty((n_space, k)), np.empty((k, n_space))
    moments = np.zeros((n_time + 1, k * k))
    width = max(1, gram.BLOCK_BYTES // (8 * k * k))
    for start in range(0, n_space, width):
        cells = slice(start, start + width)
        seen = np.ones((n_time + 1, len(right[cells])))
        seen[:-1] = data.observed[:, cells]
        inverse = np.linalg.inv((seen[:-1].T @ of_latents).reshape(-1, k, k) + prior)
        loadings[cells] = np.einsum("nij,nj->ni", inverse, right[cells])
        inverse *= model.noise
        variance[:, cells] = inverse.diagonal(axis1=1, axis2=2).T
        inverse += loadings[cells, :, None] * loadings[cells, None, :]
        moments += seen @ inverse.reshape(-1, k * k)
    return loadings, moments.reshape(-1, k, k), variance


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric square root of a positive definite matrix."""
    values, vectors = linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(values)) @ vectors.T
    return root


def _with_one(latents: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.c_[np.ones(len(latents)), latents]


def _second_moments(
    latents: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of (1, z), per row: (n_time, 1 + rank, 1 + rank)."""
    z = _with_one(latents)
    moments: NDArray[np.float64] = z[:, :, None] * z[:, None, :]
    moments[:, 1:, 1:] += covariance
    return moments
