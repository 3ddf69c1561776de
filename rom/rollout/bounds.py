"""Upper bounds on the error of a rollout that do not look at the truth.

The lifted rollout is joined to a curve x(t), cubic between the times where the rollout was
computed. Whatever the curve, the error obeys ``de/dt = DF(x) e + B(e, e) + residual``, where the
residual is how much dx/dt differs from the full equation at x, so that what is certified includes
the error of the integration in time. Inputs run straight between the output times. On each piece
the residual and DF are then polynomials in time; norms and largest eigenvalues are convex, and so
never exceed the largest at the control points in Bernstein's basis: suprema over the piece, and no
samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline
from scipy.special import comb

from rom import checks
from rom.base import Dynamics
from rom.rollout.certificate import OUTSIDE, Certificate, Split, features
from rom.rollout.comparison import comparison
from rom.rollout.result import Rollout
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# Pieces of the curve per output interval.
PIECES = 16
# Added to a bound, relative to it and to the states: rounding in computing it.
ROUNDING = 1e-10


class Bound(NamedTuple):
    """An upper bound on the error of a rollout, by output time."""

    error: Array
    """(n_time,), in the numbers of the compressor; infinite where there is none."""
    kind: str
    """"certified": never below the error, by mathematics; "estimated": likely; or "none"."""
    reason: str
    """What it rests on, or why there is none, in a sentence."""


def certified_bound(
    certificate: Certificate,
    dynamics: Dynamics,
    run: Rollout,
    start: Array,
    *,
    u: Array | None = None,
    start_error: float = 0.0,
    disturbance: float = 0.0,
) -> Bound:
    """Bound the error of a rollout against the exact solution of the full equation.

    Of a partial differential equation that is the one discrete in space, and exact in time: what
    a simulation of it errs in time is not in the bound.

    Errors e of a reduced state obey ``d|e|/dt <= μ |e| + b |e|² + δ`` on each short piece, where μ
    is the largest logarithmic norm of the full equation on it, and δ the largest residual. So over
    a piece of length h the bound E grows to ``exp(μ h) E + δ (exp(μ h) - 1) / μ``, with μ + b E in
    the place of μ. The same holds for the parts of e along the modes and in the rest, with
    matrices in the place of μ; the smaller of both bounds is given.

    Parameters
    ----------
    certificate : Certificate
        See :func:`rom.rollout.certificate.certify`.
    dynamics : Dynamics
        The latent model.
    run : Rollout
        Of that model.
    start : ndarray, shape (n_space,)
        The full state that the rollout starts from, in the numbers of the compressor, less its
        mean.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at the times of the run, of the full equation and of the model: linear in between.
    start_error : float, optional
        How far the true start may be from `start`, as a norm in the full equation's coordinates.
    disturbance : float, optional
        How much of the truth's rate of change the full equation may leave out, in that norm. The
        bound is then as certain as this is.

    Returns
    -------
    Bound

    References
    ----------
    G. Söderlind (2006), "The logarithmic norm. History and modern theory", BIT Numerical
    Mathematics 46, 631-652. T. Ström (1975), SIAM J. Numer. Anal. 12, 741 (for parts of e).

    Examples
    --------
    >>> import numpy as np, rom
    >>> from rom.rollout.certificate import certificate
    >>> A = np.array([[-1.0, 0.0], [0.1, -2.0]])
    >>> known = certificate(lambda y: y @ A.T, np.zeros(2), np.eye(2)[:1])
    >>> reduced = rom.OperatorInference.from_operators(A=[[-1.0]])
    >>> run = rom.rollout(reduced, [1.0], np.linspace(0, 2, 21))
    >>> bound = certified_bound(known, reduced, run, np.array([1.0, 0.0]))
    >>> bound.kind, float(bound.error[-1].round(4)), round(0.1 * (np.exp(-2) - np.exp(-4)), 4)
    ('certified', 0.0117, np.float64(0.0117))
    """
    full_start = start @ certificate.to_full
    first = certificate.frame @ (full_start - run.z[0] @ certificate.modes)
    missed = float(np.linalg.norm(start - full_start @ certificate.from_full))
    error = np.full(len(run.t), np.inf)
    if missed > OUTSIDE * max(1.0, float(np.linalg.norm(start))):
        why = "The start holds waves that the full equation does not resolve."
        return Bound(error, "none", why)
    inputs = checks.check_inputs(u, len(run.t), n_inputs=dynamics.n_inputs_)
    inputs = np.zeros((len(run.t), 0)) if inputs is None else inputs
    t, z, slope, inputs = _curve(dynamics, run, inputs)
    n = (len(t) - 1) // PIECES + 1
    size = float(np.linalg.norm(certificate.centre + z @ certificate.modes, axis=1).max())
    slack = ROUNDING * size + start_error
    bounds = []
    for split in certificate.splits:
        residual = _residuals(certificate, split, t, z, slope, inputs) + disturbance
        growth = _growth(certificate, split, t, z, slope)
        at_start = np.array([np.linalg.norm(first[part]) for part in split.parts]) + slack
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no bound
            path = comparison(growth, residual, split.quadratic, at_start, np.diff(t), 10 * size)
        bounds.append(np.linalg.norm(path[::PIECES], axis=1))
    apart = np.linalg.norm((run.z[:n] - z[::PIECES]) @ certificate.modes, axis=1)
    error[:n] = certificate.reach * ((1 + ROUNDING) * np.min(bounds, axis=0) + apart)
    why = "It follows from the full equation, its residual and its logarithmic norm"
    if disturbance:
        why += ", and from how much of the truth that equation is said to leave out"
    return Bound(error, "certified", f"{why}.")


def _curve(dynamics: Dynamics, run: Rollout, u: Array) -> tuple[Array, Array, Array, Array]:
    """Times, states, slopes and inputs, :data:`PIECES` to an output interval, as far as they go.

    States are those of the model run again, or, of a discrete one, of a spline.
    """
    n = int(np.isfinite(run.z).all(axis=1).sum())
    t, places = run.t[:n], np.arange(PIECES) / PIECES
    fine = np.append(_between(t[:, None], places), t[-1])
    u = np.concatenate([_between(u[:n], places), u[n - 1 : n]])
    if n == 1:
        return fine, run.z[:1], np.zeros_like(run.z[:1]), u
    if dynamics.time == "discrete":
        spline = CubicSpline(t, run.z[:n])
        return fine, spline(fine), spline(fine, 1), u
    given = u if u.shape[1] else None
    z = rollout(dynamics, run.z[0], fine, u=given, bound=np.inf, throw=False).z
    n = (int(np.isfinite(z).all(axis=1).sum()) - 1) // PIECES * PIECES + 1
    slope = dynamics.predict(z[:n], u=None if given is None else given[:n])
    return fine[:n], z[:n], slope, u[:n]


def _between(rows: Array, places: Array) -> Array:
    """Rows (n, k) at `places` from 0 to 1 of the way to the next: ((n - 1) * n_places, k)."""
    here, step = (part.repeat(len(places), axis=0) for part in (rows[:-1], np.diff(rows, axis=0)))
    return np.asarray(here + np.tile(places, len(rows) - 1)[:, None] * step)


def _residuals(
    certificate: Certificate, split: Split, t: Array, z: Array, slope: Array, u: Array
) -> Array:
    """The largest residual (n_pieces, n_parts) of each part on each piece of the curve."""
    if len(t) == 1:
        return np.zeros((0, len(split.parts)))
    degree = 3 * certificate.degree
    places = np.arange(degree + 1) / degree
    curve = CubicHermiteSpline(t, z, slope)
    times = _between(t[:, None], places)[:, 0]
    values = features(curve(times), curve(times, 1), _between(u, places))
    shape = (len(t) - 1, degree + 1, -1)
    to_control = np.linalg.inv(bernstein(degree, places))
    squares = [
        np.sum((to_control @ (values @ R.T).reshape(shape)) ** 2, axis=2).max(axis=1)
        for R in certificate.residual
    ]
    if len(split.parts) == 1:
        return np.sqrt(np.sum(squares, axis=0))[:, None]
    return np.sqrt(np.stack(squares, axis=1))


def _growth(certificate: Certificate, split: Split, t: Array, z: Array, slope: Array) -> Array:
    """The largest growth (n_pieces, n_parts, n_parts) on each piece.

    Growth is convex in z. At the control points of a piece it is at most that at the same place of
    the chord between two output times, plus the distance times its largest slope.
    """
    nodes, k = z[::PIECES], len(split.parts)
    rank, n = z.shape[1], len(nodes)
    if n == 1:
        return np.zeros((0, k, k))
    if certificate.degree == 1:
        constant = sizes_of(certificate.linear[0], split)
        return np.broadcast_to(constant, ((n - 1) * PIECES, k, k))
    at_nodes = np.array(
        [sizes_of(certificate.linear[0] + np.tensordot(p, certificate.linear[1:], 1), split)
         for p in nodes]
    )  # fmt: skip
    per_z = np.array([_norms_of(J, split) for J in certificate.linear[1:]])
    third = np.diff(t)[:, None] / 3
    control = np.stack(
        [z[:-1], z[:-1] + third * slope[:-1], z[1:] - third * slope[1:], z[1:]], axis=1
    ).reshape(n - 1, PIECES, 4, rank)
    part = (np.arange(PIECES)[:, None] + np.arange(4) / 3) / PIECES
    here, there = (1 - part)[..., None], part[..., None]
    chord = here * nodes[:-1, None, None] + there * nodes[1:, None, None]
    away = np.tensordot(np.abs(control - chord), per_z, 1)
    ends = at_nodes[:, None, None]
    growth = here[..., None] * ends[:-1] + there[..., None] * ends[1:] + away
    return np.asarray(growth.max(axis=2).reshape((n - 1) * PIECES, k, k))


def sizes_of(J: Array, split: Split) -> Array:
    """Logarithmic norms of the diagonal blocks of `J`, and norms of the others."""
    return np.array(
        [
            [
                np.linalg.eigvalsh((J[a, a] + J[a, a].T) / 2)[-1]
                if a == b
                else np.linalg.norm(J[a, b], 2)
                for b in split.parts
            ]
            for a in split.parts
        ]
    )


def _norms_of(J: Array, split: Split) -> Array:
    """By how much :func:`sizes_of` changes at most, if `J` is added."""
    return np.array(
        [
            [
                np.linalg.norm((J[a, a] + J[a, a].T) / 2 if a == b else J[a, b], 2)
                for b in split.parts
            ]
            for a in split.parts
        ]
    )


def bernstein(degree: int, places: Array) -> Array:
    """Bernstein's polynomials of a degree (columns) at places in [0, 1]."""
    k = np.arange(degree + 1)
    return np.asarray(
        comb(degree, k) * places[:, None] ** k * (1 - places[:, None]) ** (degree - k)
    )
