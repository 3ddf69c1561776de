"""Sums of exponentials through sampled states, by variable projection.

States are fitted by ``z(t) = Σ_j φ_j exp(λ_j t)``, λ shared by all runs. At given rates the modes
are a linear least-squares problem; put into the residual, it leaves a nonlinear one in the rates
alone (Golub & Pereyra 1973), solved by Levenberg–Marquardt steps with Kaufman's (1975) Jacobian.

All is real. Rates are held as pairs ``a ± √d``: complex where d < 0, real where d > 0, with
everything smooth in (a, d) on the way from one to the other; and as single real rates. The
functions of a pair are ``exp(a t) cosh(√d t)`` and ``exp(a t) sinh(√d t) / √d``.

Column k of the Jacobian of the residual is ``P Σ_e E_e B_β(e)``, P the projection off the
functions, E_e a derivative of one of them, B_β its row of coefficients. So the matrix of the
normal equations sums entries of the elementwise product of two small ones, ``(PE)ᵀ(PE)`` and
``BBᵀ``, and an iteration costs no more than a few QR decompositions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# A step that betters the sum of squares by less than this part of it moves no rate by more than
# 1e-7 / sqrt(number of samples) standard errors.
TOLERANCE = 1e-14
# Norm past which a function of time counts as infinite.
OVERFLOW = 1e100
EPS = float(np.finfo(np.float64).eps)
# Below this |d t²| the functions of a pair are summed from their series in it.
SERIES_BELOW = 0.05
# Levenberg–Marquardt damping, relative to the diagonal, at the start and where it is given up.
DAMPING, MOST_DAMPING = 1e-3, 1e16


class Run(NamedTuple):
    """One run: times (n_time,), from 0, and states (n_time, rank)."""

    t: Array
    Z: Array


class Rates(NamedTuple):
    """Rates as real parameters: a of each pair, d of each pair, single rates."""

    theta: Array
    """(2 n_pairs + n_single,)."""
    n_pairs: int

    def values(self) -> ComplexArray:
        """All rates: a + √d of each pair, a - √d of each pair, the single ones."""
        a, d, single = np.split(self.theta, [self.n_pairs, 2 * self.n_pairs])
        root = np.sqrt(d + 0j)
        return np.concatenate([a + root, a - root, single])


class Fit(NamedTuple):
    """What was found."""

    rates: Rates
    modes: ComplexArray
    """(rank, rank): mode j of rate j is row j, of unit norm."""
    equilibrium: Array
    """(rank,): constant term of the states, zero where none was asked for."""
    residual: float
    """Root of the sum of squares left, relative to that of the states."""
    n_iter: int
    converged: bool


class Projection(NamedTuple):
    """One run projected on the functions of given rates."""

    Q: Array
    """Orthonormal basis of the functions (n_time, n)."""
    size: Array
    """Norms of the functions (n_functions,)."""
    B: Array
    """Coefficients of the functions, scaled to norm 1 (n_functions, rank)."""
    R: Array
    """Residual (n_time, rank)."""


def as_rates(values: ComplexArray, *, pair_real: bool) -> Rates:
    """Parameters of rates that are real or come in conjugate pairs.

    Parameters
    ----------
    values : ndarray of complex, shape (n,)
    pair_real : bool
        Whether real rates are paired with their neighbours, so that they may become complex.
    """
    upper, real = values[values.imag > 0], np.sort(values.real[values.imag == 0])
    n_paired = len(real) // 2 if pair_real else 0
    low, high = real[: 2 * n_paired : 2], real[1 : 2 * n_paired : 2]
    a = np.concatenate([upper.real, (low + high) / 2])
    d = np.concatenate([-(upper.imag**2), ((high - low) / 2) ** 2])
    return Rates(np.concatenate([a, d, real[2 * n_paired :]]), len(a))


def fit_exponentials(
    runs: list[Run],
    start: Rates,
    *,
    constant: bool = False,
    growth: tuple[float, float] | None = None,
    max_iter: int = 100,
) -> Fit:
    """Rates and modes whose sums of exponentials come nearest to the states.

    Parameters
    ----------
    runs : list of Run
    start : Rates
        First guess.
    constant : bool, optional
        Whether there is a constant, too.
    growth : (float, float), optional
        Band that the real parts are kept in. Pairs then stay complex.
    max_iter : int, optional
        The most steps; with 0 the modes are fitted to the rates given.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If the exponentials of the first guess overflow.
    """
    low, high = _bounds(start, growth)
    total = float(sum(np.sum(run.Z**2) for run in runs))
    theta = np.clip(start.theta, low, high)
    parts, cost = _evaluate(runs, start._replace(theta=theta), constant)
    if not np.isfinite(cost):
        raise ValueError(f"Exponentials with growth rates in {growth} overflow over these times.")
    damping, factor, n_iter, converged = DAMPING, 2.0, 0, False
    while n_iter < max_iter and not converged and damping < MOST_DAMPING:
        gradient, hessian = _normal_equations(runs, parts, start._replace(theta=theta))
        # Where the sum of squares cannot be told from rounding, there is nothing left to do.
        negligible = TOLERANCE * cost + 4 * EPS * np.sqrt(cost * total) + EPS**2 * total
        while n_iter < max_iter and damping < MOST_DAMPING:
            n_iter += 1
            step = _bounded_step(theta, gradient, hessian, damping, low, high)
            expected = -(gradient @ step) - 0.5 * step @ hessian @ step
            if converged := bool(expected <= negligible):
                break
            tried, left = _evaluate(runs, start._replace(theta=theta + step), constant)
            gain = float(0.5 * (cost - left) / expected)
            if gain > 0:
                theta, parts, cost = theta + step, tried, left
                damping, factor = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
                break
            damping, factor = damping * factor, 2 * factor
    rates = start._replace(theta=theta)
    modes, equilibrium = _modes(runs, parts, rates)
    residual = float(np.sqrt(cost / total)) if total > 0 else 0.0
    return Fit(rates, modes, equilibrium, residual, n_iter, converged or cost == 0)


def _bounds(rates: Rates, growth: tuple[float, float] | None) -> tuple[Array, Array]:
    if growth is None:
        return np.full(len(rates.theta), -np.inf), np.full(len(rates.theta), np.inf)
    low, high = (np.full(len(rates.theta), edge) for edge in growth)
    of_d = slice(rates.n_pairs, 2 * rates.n_pairs)
    low[of_d], high[of_d] = -np.inf, 0.0
    return low, high


def _bounded_step(
    theta: Array, gradient: Array, hessian: Array, damping: float, low: Array, high: Array
) -> Array:
    """A damped Gauss–Newton step inside the bounds, along which bounds that are met hold still."""
    pushed = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
    free = np.flatnonzero(~pushed)
    scale = np.sqrt(np.diag(hessian)[free])
    scale[scale == 0] = 1.0
    scaled = hessian[np.ix_(free, free)] / np.outer(scale, scale)
    damped = scaled + damping * np.eye(len(free))
    step = np.zeros(len(theta))
    step[free] = -np.linalg.solve(damped, gradient[free] / scale) / scale
    return np.clip(theta + step, low, high) - theta


def _pair_functions(t: Array, a: Array, d: Array) -> tuple[Array, Array, Array]:
    """exp(at) cosh(√d t), exp(at) sinh(√d t)/√d and the derivative of the latter by d."""
    t = t[:, None]
    root = np.sqrt(d + 0j)
    plus, minus = np.exp((a + root) * t), np.exp((a - root) * t)
    C = 0.5 * (plus + minus).real
    x = d * t**2
    near = np.abs(x) < SERIES_BELOW
    with np.errstate(divide="ignore", invalid="ignore"):
        S = (0.5 * (plus - minus) / root).real
        S_d = (t * C - S) / (2 * d)
    small, envelope = np.where(near, x, 0.0), np.exp(a * t)
    series = 1 + small / 6 * (1 + small / 20 * (1 + small / 42 * (1 + small / 72)))
    slope = 1 / 6 + small * (1 / 60 + small * (1 / 1680 + small * (1 / 90720 + small / 7983360)))
    S = np.where(near, envelope * t * series, S)
    return C, S, np.where(near, envelope * t**3 * slope, S_d)


def _functions(t: Array, rates: Rates, constant: bool) -> Array:
    """The functions of time (n_time, n_functions)."""
    a, d, single = np.split(rates.theta, [rates.n_pairs, 2 * rates.n_pairs])
    C, S, _ = _pair_functions(t, a, d)
    columns = [C, S, np.exp(t[:, None] * single)]
    return np.concatenate([*columns, np.ones((len(t), 1))] if constant else columns, axis=1)


def _derivatives(t: Array, rates: Rates) -> tuple[Array, NDArray[np.intp], NDArray[np.intp]]:
    """Derivatives E of functions by parameters, and of which function and by which each is."""
    m = rates.n_pairs
    a, d, single = np.split(rates.theta, [m, 2 * m])
    C, S, S_d = _pair_functions(t, a, d)
    t = t[:, None]
    E = np.concatenate([t * C, t * S, 0.5 * t * S, S_d, t * np.exp(t * single)], axis=1)
    first, second, rest = np.split(np.arange(len(rates.theta)), [m, 2 * m])
    function = np.concatenate([first, second, first, second, rest])
    parameter = np.concatenate([first, first, second, second, rest])
    return E, function, parameter


def _evaluate(runs: list[Run], rates: Rates, constant: bool) -> tuple[list[Projection], float]:
    """Project all runs; the sum of squares left is infinite where functions overflow."""
    parts = []
    with np.errstate(all="ignore"):
        for run in runs:
            F = _functions(run.t, rates, constant)
            size = np.sqrt(np.sum(F**2, axis=0))
            if not (size < OVERFLOW).all():
                return [], np.inf
            size[size == 0] = 1.0
            parts.append(_project(F / size, size, run.Z))
    return parts, float(sum(np.sum(part.R**2) for part in parts))


def _project(F: Array, size: Array, Z: Array) -> Projection:
    """Project `Z` off the columns of `F`, which may depend on each other."""
    Q, triangle = np.linalg.qr(F)
    U, s, Vt = np.linalg.svd(triangle)
    kept = s > EPS * max(F.shape) * s[0]
    Q, s, Vt = Q @ U[:, : len(s)][:, kept], s[kept], Vt[: len(s)][kept]
    inside = Q.T @ Z
    return Projection(Q, size, (Vt.T / s) @ inside, Z - Q @ inside)


def _normal_equations(
    runs: list[Run], parts: list[Projection], rates: Rates
) -> tuple[Array, Array]:
    """Gradient and Gauss–Newton matrix of half the sum of squares."""
    n = len(rates.theta)
    gradient, hessian = np.zeros(n), np.zeros((n, n))
    for run, part in zip(runs, parts, strict=True):
        E, function, parameter = _derivatives(run.t, rates)
        E /= part.size[function]
        E -= part.Q @ (part.Q.T @ E)
        B = part.B[function]
        slope = -np.sum((E.T @ part.R) * B, axis=1)
        np.add.at(gradient, parameter, slope)
        np.add.at(hessian, (parameter[:, None], parameter), (E.T @ E) * (B @ B.T))
    return gradient, hessian


def _modes(runs: list[Run], parts: list[Projection], rates: Rates) -> tuple[ComplexArray, Array]:
    """Modes that the runs share, of unit norm, and the equilibrium."""
    m, n = rates.n_pairs, len(rates.theta)
    root = np.sqrt(rates.theta[m : 2 * m, None] + 0j)
    root = np.where(root == 0, EPS, root)
    of_runs = []
    for part in parts:
        C, S, single = np.split((part.B / part.size[:, None])[:n], [m, 2 * m])
        of_runs.append(np.concatenate([(C + S / root) / 2, (C - S / root) / 2, single]))
    vectors = np.linalg.svd(np.stack(of_runs, axis=1), full_matrices=False)[2]
    rows = [len(run.t) for run in runs]
    constants = [
        part.B[n] / part.size[n] if len(part.B) > n else np.zeros(run.Z.shape[1])
        for run, part in zip(runs, parts, strict=True)
    ]
    return vectors[:, 0], np.average(constants, axis=0, weights=rows)
