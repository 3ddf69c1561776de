"""Estimates of a rollout's error from how well the model makes one step on its training data.

For models whose full equation is not known. What is a supremum in a certificate is a sample here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from rom import checks
from rom.base import Dynamics
from rom.data.trajectory import pairs, segments
from rom.rollout.bounds import ROUNDING, Bound, certified_bound
from rom.rollout.certificate import Certificate, lift_of
from rom.rollout.evidence import inputs_leave
from rom.rollout.linear_lyapunov import linear_part
from rom.rollout.result import Rollout
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# Steps of the training data that are made again.
STEPS = 200
# Relative step of the differences that give Jacobians.
DIFFERENCE = 1e-6
# Decimals to which the lengths of steps, over their mean, are the same.
SAME_STEP = 10
# Training states about which it is seen by how much decoding stretches a difference.
DECODED = 10


class StepError(NamedTuple):
    """How well a model makes the steps between training states again."""

    size: float
    """The largest error of one step."""
    length: float
    """Of a step, in time; 1 for maps."""
    n: int
    """Steps tried."""
    stretch: float = 1.0
    """The most by which decoding stretches a difference of latent states."""
    upright: bool = True
    """Whether what the compressor loses stands at right angles to what it keeps."""


def error_bound(
    model: Any,
    certificate: Certificate | str,
    run: Rollout,
    row: Array,
    *,
    floor: float | None = None,
    u: Array | None = None,
    step: StepError | str | None = None,
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
    floor : float, optional
        As for :func:`estimated_bound`; that of this state, which is known, where it is more.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at the times of the run.
    step : StepError or str, optional
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
    own = float(np.linalg.norm(row - model.from_latent(run.z[:1])[0]))
    bound = estimated_bound(model, run, max(own, floor or 0.0), u=u, step=step)
    return bound._replace(reason=f"{bound.reason} Not certified: {certificate}")


def estimated_bound(
    model: Any,
    run: Rollout,
    floor: float = 0.0,
    *,
    u: Array | None = None,
    step: StepError | str | None = None,
) -> Bound:
    """Estimate an upper bound on the error of a rollout.

    The error E of the latent state grows over an output interval by the factor of the model
    linearised about the rollout, and by the largest error that one step made from a training
    state to the next, for each such step in the interval. What the compressor loses is added.
    Of n steps tried and one more like them, that one is the worst once in n + 1 times.

    Parameters
    ----------
    model : ROM
        Fitted.
    run : Rollout
        Of ``model.dynamics_``.
    floor : float, optional
        What the compressor loses of a state, as a norm in its numbers: the most of several starts,
        for example.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at the times of the run.
    step : StepError or str, optional
        What :func:`step_error` gives of the model, where it is known from another rollout.

    Returns
    -------
    Bound
        "estimated", and its reason says if inputs lie outside those of training; or "none" where
        no two training states follow each other.

    Raises
    ------
    ValueError
        If the inputs do not fit the model and the run.

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
    u = checks.check_inputs(u, len(run.t), n_inputs=dynamics.n_inputs_)
    error = np.full(len(run.t), np.inf)
    step = step_error(model) if step is None else step
    if isinstance(step, str):
        return Bound(error, "none", step)
    n = int(np.isfinite(run.z).all(axis=1).sum())
    intervals = np.diff(run.t[:n])
    n_steps = intervals / step.length if dynamics.time == "continuous" else np.ones(n - 1)
    grows = growth(dynamics, run.z[:n], intervals, None if u is None else u[:n])
    latent = np.zeros(n)
    for i, (by, steps) in enumerate(zip(grows, n_steps, strict=True)):
        latent[i + 1] = by * latent[i] + max(by, 1.0) * steps * step.size
    size = np.linalg.norm(run.z[:n], axis=1).max()
    latent *= step.stretch
    whole = np.hypot(latent, floor) if step.upright else latent + floor
    error[:n] = whole * (1 + ROUNDING) + ROUNDING * size
    reason = (
        f"It follows from the largest error of one step between training states, of {step.n} "
        f"(about one in {step.n + 1} is larger), and the most that the compressor lost of a start."
    )
    left = inputs_leave(dynamics, u, run.t)
    if left is not None and np.isfinite(left):
        reason += " Some inputs lie outside those of training, where errors may be larger."
    return Bound(error, "estimated", reason)


def step_error(model: Any) -> StepError | str:
    """The largest error of one step from a training state to the next; or why it is not known."""
    t, Z, dynamics = model.latent_t_, model.latent_, model.dynamics_
    now, later = pairs(segments(t, model.latent_trajectory_))
    if not len(now):
        return "No two training states follow each other."
    chosen = np.unique(np.linspace(0, len(now) - 1, STEPS).round().astype(int))
    now, later = now[chosen], later[chosen]
    u = model.latent_u_ if dynamics.n_inputs_ else None
    if dynamics.n_inputs_ and u is None:
        return "The file of the model, of an older version, does not hold its training inputs."
    if dynamics.time == "discrete":
        ends = dynamics.predict(Z[now], u=None if u is None else u[now])
        largest = float(np.linalg.norm(ends - Z[later], axis=1).max())
        return StepError(largest, 1.0, len(now), *_decoding(model))
    steps = t[later] - t[now]
    ends = [
        rollout(
            dynamics, Z[i], [0.0, h], u=None if u is None else u[[i, j]], bound=np.inf, throw=False
        ).z[-1]
        for i, j, h in zip(now, later, steps, strict=True)
    ]
    rates = np.linalg.norm(ends - Z[later], axis=1) / steps
    step = float(np.median(steps))
    largest = float(rates.max()) * step
    largest = largest if np.isfinite(largest) else np.inf
    return StepError(largest, step, len(now), *_decoding(model))


def _decoding(model: Any) -> tuple[float, bool]:
    """By how much decoding stretches differences, and whether encoding projects orthogonally."""
    compressor, latent = model.compressor_, model.latent_[:, : model.compressor_.rank_]
    rng, size = np.random.default_rng(0), float(np.abs(latent).max()) or 1.0
    mean = compressor.inverse_transform(np.zeros_like(latent[:1]))
    modes = getattr(compressor, "components_", np.zeros((0, 0)))
    if modes.shape == (latent.shape[1], mean.shape[1]):
        z, x = size * rng.normal(size=(1, len(modes))), size * rng.normal(size=mean.shape)
        if _alike(compressor.inverse_transform(z) - mean, z @ modes):
            stretch = float(np.sqrt(np.linalg.norm(modes @ modes.T, 2)))
            return stretch, _alike(compressor.transform(mean + x), x @ modes.T)
    step = size * (DIFFERENCE if mean.dtype == np.float64 else np.sqrt(DIFFERENCE))
    moves, squares = step * np.eye(latent.shape[1]), []
    for z in latent[np.linspace(0, len(latent) - 1, DECODED).astype(int)]:
        ahead, behind = (compressor.inverse_transform(z + sign * moves) for sign in (1, -1))
        J = (ahead - behind).astype(np.float64) / (2 * step)
        squares.append(np.linalg.norm(J @ J.T, 2))
    return float(np.sqrt(max(squares))), False


def _alike(a: Array, b: Array) -> bool:
    return bool(np.linalg.norm(a - b) <= np.sqrt(DIFFERENCE) * np.linalg.norm(b))


def growth(dynamics: Dynamics, z: Array, steps: Array, u: Array | None = None) -> Array:
    """By how much errors may grow from each state to the next (n - 1,), to first order."""
    J = jacobians(dynamics, z, u)
    if dynamics.time == "discrete":
        return np.asarray(np.linalg.norm(J[:-1], 2, axis=(1, 2)))
    rate = np.linalg.eigvalsh((J + J.transpose(0, 2, 1)) / 2)[:, -1]
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.maximum(rate[:-1], rate[1:]) * steps))


def growth_bound(dynamics: Dynamics, run: Rollout, u: Array | None = None) -> Array:
    """By how much a small change of the start may have grown at each time (n_time,) of a rollout.

    Of a linear model the norm of what carries any change to that time, which is exact. Of others
    the product of what :func:`growth` gives, so to first order, and sampled at the output times:
    an estimate. Infinite after the end of the rollout.

    Examples
    --------
    >>> import rom
    >>> shear = rom.OperatorInference.from_operators(A=[[0.0, 2.0], [0.0, 0.0]])
    >>> growth_bound(shear, rom.rollout(shear, [0.0, 0.0], [0.0, 1.0, 2.0])).round(4)
    array([1.    , 2.4142, 4.2361])
    """
    n = int(np.isfinite(run.z).all(axis=1).sum())
    bound = np.full(len(run.t), np.inf)
    A = linear_part(dynamics)
    if A is not None:
        bound[:n] = propagator_norms(A, dynamics.time, run.t[:n])
        return bound
    with np.errstate(over="ignore"):
        by = growth(dynamics, run.z[:n], np.diff(run.t[:n]), None if u is None else u[:n])
        bound[:n] = np.cumprod(np.append(1.0, by))
    return bound


def propagator_norms(A: Array, time: str, t: Array) -> Array:
    """Norms (n_time,) of ``exp(A (t - t[0]))``, or, of a map, of the powers of A.

    Examples
    --------
    >>> propagator_norms(np.array([[0.5, 0.0], [0.0, -0.25]]), "discrete", np.arange(4.0))
    array([1.   , 0.5  , 0.25 , 0.125])
    """
    norms, reached = np.full(len(t), np.inf), np.eye(len(A))
    norms[0], steps = 1.0, np.diff(t)
    if time == "continuous" and steps.size:
        lengths, which = np.unique((steps / steps.mean()).round(SAME_STEP), return_inverse=True)
        ones = [expm(length * steps.mean() * A) for length in lengths]
    else:
        ones, which = [A], np.zeros(len(steps), dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, kind in enumerate(which):
            reached = ones[kind] @ reached
            if not np.isfinite(reached).all():
                break
            norms[i + 1] = np.linalg.norm(reached, 2)
    return norms


def jacobians(dynamics: Dynamics, z: Array, u: Array | None = None) -> Array:
    """Derivatives (n, rank, rank) of one evaluation of the model, by central differences."""
    n, rank = z.shape
    step = DIFFERENCE * max(float(np.abs(z).max()), 1e-300)
    moved = (z[:, None] + step * np.eye(rank)).reshape(-1, rank)
    back = (z[:, None] - step * np.eye(rank)).reshape(-1, rank)
    u = None if u is None else u.repeat(rank, axis=0)
    change = (dynamics.predict(moved, u=u) - dynamics.predict(back, u=u)) / (2 * step)
    return change.reshape(n, rank, rank).transpose(0, 2, 1)
