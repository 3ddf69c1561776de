"""Estimates of a rollout's error from how well the model makes one step on its training data.

For models whose full equation is not known. What is a supremum in a certificate is a sample here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics
from rom.data.trajectory import pairs, segments
from rom.rollout.bounds import Bound, certified_bound
from rom.rollout.certificate import Certificate, lift_of
from rom.rollout.result import Rollout
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# Steps of the training data that are made again.
STEPS = 200
# Relative step of the differences that give Jacobians.
DIFFERENCE = 1e-6


def error_bound(
    model: Any,
    certificate: Certificate | str,
    run: Rollout,
    row: Array,
    *,
    u: Array | None = None,
    step: tuple[float, float] | None = None,
) -> Bound:
    """Bound the error of a rollout: certified if it can be, else estimated.

    Parameters
    ----------
    model : ROM
        Fitted.
    certificate : Certificate or str
        Of the model and its full one (:func:`rom.rollout.certificate.certify`), or why there is
        none.
    run : Rollout
        Of ``model.dynamics_``.
    row : ndarray, shape (n_space,)
        The full state that it starts from, in the numbers of the compressor.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at the times of the run.
    step : tuple of float, optional
        As for :func:`estimated_bound`.

    Returns
    -------
    Bound
    """
    compressor, dynamics = model.compressor_, model.dynamics_
    if not isinstance(certificate, str):
        bound = certified_bound(certificate, dynamics, run, row - lift_of(compressor)[0], u=u)
        if bound.kind == "certified":
            return bound
        certificate = bound.reason
    floor = float(np.linalg.norm(row - model.from_latent(run.z[:1])[0]))
    bound = estimated_bound(model, run, floor, step=step)
    return bound._replace(reason=f"{bound.reason} Not certified: {certificate}")


def estimated_bound(
    model: Any, run: Rollout, floor: float = 0.0, *, step: tuple[float, float] | None = None
) -> Bound:
    """Estimate an upper bound on the error of a rollout.

    The error E of the latent state grows over an output interval by the factor of the model
    linearised about the rollout, and by the largest error that one step made from a training
    state to the next, for each such step in the interval. What the compressor loses is added.

    Parameters
    ----------
    model : ROM
        Fitted, without inputs.
    run : Rollout
        Of ``model.dynamics_``.
    floor : float, optional
        What the compressor loses of a state, as a norm in its numbers: of the start, for example.
    step : tuple of float, optional
        What :func:`step_error` gives of the model, where it is known from another rollout.

    Returns
    -------
    Bound
        "estimated"; or "none" for a model with inputs, or where no two training states follow
        each other.

    Examples
    --------
    >>> import rom
    >>> t = np.arange(0, 10, 0.1)
    >>> Z = np.exp(-t)[:, None] * [1.0, 0.5]
    >>> model = rom.ROM(rom.Identity(), rom.OperatorInference("A", ridge=1e-4)).fit(Z, t=t)
    >>> run = rom.rollout(model.dynamics_, model.latent_[0], t)
    >>> bound = estimated_bound(model, run)
    >>> bound.kind, bool(np.all(bound.error >= np.linalg.norm(run.z - model.latent_, axis=1)))
    ('estimated', True)
    """
    dynamics = model.dynamics_
    error = np.full(len(run.t), np.inf)
    if dynamics.n_inputs_:
        return Bound(error, "none", "The inputs of the training steps are not kept.")
    found = step_error(model) if step is None else step
    if found is None:
        return Bound(error, "none", "No two training states follow each other.")
    size, interval = found
    n = int(np.isfinite(run.z).all(axis=1).sum())
    intervals = np.diff(run.t[:n]) / interval if dynamics.time == "continuous" else np.ones(n - 1)
    grows = growth(dynamics, run.z[:n], np.diff(run.t[:n]))
    latent = np.zeros(n)
    for i, (by, steps) in enumerate(zip(grows, intervals, strict=True)):
        latent[i + 1] = by * latent[i] + max(by, 1.0) * steps * size
    error[:n] = np.hypot(latent, floor)
    return Bound(
        error, "estimated", "It follows from the largest error of one step among training states."
    )


def step_error(model: Any) -> tuple[float, float] | None:
    """The largest error of one step from a training state to the next, and the step's length."""
    t = model.latent_t_
    now, later = pairs(segments(t, model.latent_trajectory_))
    if not len(now):
        return None
    chosen = np.unique(np.linspace(0, len(now) - 1, STEPS).round().astype(int))
    now, later = now[chosen], later[chosen]
    Z, dynamics = model.latent_, model.dynamics_
    if dynamics.time == "discrete":
        return float(np.linalg.norm(dynamics.predict(Z[now]) - Z[later], axis=1).max()), 1.0
    steps = t[later] - t[now]
    ends = [
        rollout(dynamics, Z[i], [0.0, h], bound=np.inf, throw=False).z[-1]
        for i, h in zip(now, steps, strict=True)
    ]
    rates = np.linalg.norm(ends - Z[later], axis=1) / steps
    step = float(np.median(steps))
    largest = float(rates.max()) * step
    return (largest if np.isfinite(largest) else np.inf), step


def growth(dynamics: Dynamics, z: Array, steps: Array) -> Array:
    """By how much errors may grow from each state to the next (n - 1,), to first order."""
    J = jacobians(dynamics, z)
    if dynamics.time == "discrete":
        return np.asarray(np.linalg.norm(J[:-1], 2, axis=(1, 2)))
    rate = np.linalg.eigvalsh((J + J.transpose(0, 2, 1)) / 2)[:, -1]
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.maximum(rate[:-1], rate[1:]) * steps))


def jacobians(dynamics: Dynamics, z: Array) -> Array:
    """Derivatives (n, rank, rank) of one evaluation of the model, by central differences."""
    n, rank = z.shape
    step = DIFFERENCE * max(float(np.abs(z).max()), 1e-300)
    moved = (z[:, None] + step * np.eye(rank)).reshape(-1, rank)
    back = (z[:, None] - step * np.eye(rank)).reshape(-1, rank)
    change = (dynamics.predict(moved) - dynamics.predict(back)) / (2 * step)
    return change.reshape(n, rank, rank).transpose(0, 2, 1)
