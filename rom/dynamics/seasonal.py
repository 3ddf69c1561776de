"""Maps from one state to the next whose coefficients follow the season."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import pinvh
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Polynomial
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.library import PolynomialLibrary, monomials, powers
from rom.dynamics.regression import rms
from rom.dynamics.rows import RowDynamics

Array = NDArray[np.float64]

# Of a target's mean square: what counts as no noise at all.
NOISELESS = 1e-12
# Scoring steps for the noise variance; it converges in about ten.
MAX_SCORING = 50


def season(t: ArrayLike, period: float) -> Array:
    """Where in the cycle each time is: the inputs of :class:`SeasonalModel`.

    Parameters
    ----------
    t : array_like, shape (n_time,)
        Times, or phases such as those of :func:`rom.data.times.phase`.
    period : float
        Length of the cycle in the unit of `t`, such as 12 for months.

    Returns
    -------
    ndarray, shape (n_time, 2)
        Columns cos(ω t) and sin(ω t), with ω = 2π / period.

    Examples
    --------
    >>> (season([0, 3], 12.0).round(6) + 0.0).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    angle = 2 * np.pi * np.asarray(t, dtype=np.float64) / period
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


class SeasonalModel(PolynomialEquations, RowDynamics):
    """A linear or polynomial map to the next state whose coefficients follow the season.

    z⁺ = Σ_j C_j(t) θ_j(z), where each coefficient is a truncated Fourier series,
    ``C(t) = C_0 + Σ_k (C_k^c cos kωt + C_k^s sin kωt)``, and the terms θ are the coordinates and,
    where asked for, products of them. With linear terms this is a cyclostationary linear inverse
    model. The season enters as two inputs, ``u = season(t, period)``, at fits, predictions and
    rollouts.

    Parameters
    ----------
    harmonics : int, optional
        How many waves a year the coefficients have. With 0 they are constant, and the inputs are
        not looked at.
    nonlinear : int or sequence of (int, sequence of int), optional
        Nonlinear terms: a number d puts all monomials of degree 2 to d into all equations; a list
        names single ones, ``(i, (j, k))`` for the product z_j z_k in the equation of z_i.
    threshold : float, optional
        Nonlinear terms are dropped, with all their harmonics, whose root mean square over the
        training rows is less than this fraction of that of the step z⁺ - z; the rest is fitted
        again until none is.
    ridge : float, optional
        Penalty on the constant part C_0 of terms of unit root mean square, a pure number. It
        draws the model to persistence, z⁺ = z.
    seasonal_ridge : float, optional
        The same for the harmonics, which it draws to constant coefficients.
    seasonal_noise : bool, optional
        Whether rows count by the inverse of the noise variance of their season, which is a
        wave of one harmonic in its logarithm: noise that differs between seasons blurs
        coefficients otherwise.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    coef_ : ndarray, shape (n_targets, n_terms, 1 + 2 * harmonics)
        Fourier coefficients of each term: constant, cos ωt, sin ωt, cos 2ωt, …
    stderr_ : ndarray, shape (n_targets, n_terms, 1 + 2 * harmonics)
        Standard errors of `coef_` under the penalties taken as a prior; 0 for terms not there.
    exponents_ : ndarray of int, shape (n_terms, rank)
        Powers of the coordinates in each term.
    noise_ : ndarray, shape (n_targets, n_targets)
        Covariance of what a step leaves unexplained, divided by its seasonal scale.
    noise_season_ : ndarray, shape (n_targets, 3)
        Logarithm of the noise variance of each target by season: constant, cos ωt, sin ωt. The
        constant is part of it, so that `noise_` has a diagonal near 1.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the inputs are not two columns where the
        coefficients have harmonics, a nonlinear term names a coordinate that is not there,
        `names` do not fit, the times within trajectories are not even, or the data are refused
        (see :meth:`fit`).

    Notes
    -----
    Made for records of some thousand rows: the terms of all of them are in memory, and read more
    than once, for the noise and for `threshold`.

    References
    ----------
    Cyclostationary models: OrtizBevia (1997), J. Geophys. Res. 102, 13473. Seasonal and nonlinear
    recharge oscillator: Zhao et al. (2024), Nature 630, 891.

    Examples
    --------
    >>> t = np.arange(240)
    >>> growth = 0.9 + 0.3 * np.cos(2 * np.pi * t / 12)
    >>> z = np.cumprod(np.r_[1.0, growth[:-1]])[:, None]
    >>> model = SeasonalModel(harmonics=1, ridge=0.0, seasonal_ridge=0.0)
    >>> model.fit(z, t=t, u=season(t, 12)).coef_.round(6) + 0.0
    array([[[0.9, 0.3, 0. ]]])
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    coef_: Array
    stderr_: Array
    exponents_: NDArray[np.int64]
    noise_: Array
    noise_season_: Array

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "harmonics": [Interval(Integral, 0, None, closed="left")],
        "nonlinear": [Interval(Integral, 2, None, closed="left"), "array-like", None],
        "threshold": [Interval(Real, 0, None, closed="left")],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "seasonal_ridge": [Interval(Real, 0, None, closed="left")],
        "seasonal_noise": ["boolean"],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        harmonics: int = 1,
        *,
        nonlinear: int | Sequence[tuple[int, Sequence[int]]] | None = None,
        threshold: float = 0.0,
        ridge: float = 0.01,
        seasonal_ridge: float = 0.1,
        seasonal_noise: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        self.harmonics = harmonics
        self.nonlinear = nonlinear
        self.threshold = threshold
        self.ridge = ridge
        self.seasonal_ridge = seasonal_ridge
        self.seasonal_noise = seasonal_noise
        self.names = names

    def _fit(self, Z: Array, y: Array, u: Array | None) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        if self.harmonics and self.n_inputs_ != 2:
            raise ValueError(
                "The season enters as two inputs, u = season(t, period), but u has "
                f"{self.n_inputs_} columns. For constant coefficients set harmonics=0."
            )
        self.exponents_, allowed = self._candidates(y.shape[1])
        waves, weights = _waves(u, self.harmonics, len(Z)), np.ones(y.shape)
        start = Z if y.shape[1] == Z.shape[1] else np.zeros_like(y)
        self._regress(Z, y - start, waves, weights, allowed)
        wave = np.ones((len(Z), 1)) if self.n_inputs_ != 2 else _waves(u, 1, len(Z))
        if self.seasonal_noise:
            weights = 1 / _noise_variance(self._left(Z, y - start, waves), wave)[1]
            self._regress(Z, y - start, waves, weights / weights.mean(axis=0), allowed)
        left = self._left(Z, y - start, waves)
        log_variance, variance = _noise_variance(left, wave)
        self.noise_season_ = np.zeros((y.shape[1], 3))
        self.noise_season_[:, : wave.shape[1]] = log_variance
        scaled = left / np.sqrt(variance)
        self.noise_ = scaled.T @ scaled / len(Z)
        if y.shape[1] == Z.shape[1]:
            self.coef_[:, : Z.shape[1], 0] += np.eye(Z.shape[1])

    def _candidates(self, n_targets: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Powers (n_terms, rank) of all terms, and which may stand in which equation."""
        rank = self.n_features_in_
        linear = powers(rank, 1)
        if self.nonlinear is None:
            return linear, np.ones((n_targets, rank), bool)
        if isinstance(self.nonlinear, int | np.integer):
            exponents = PolynomialLibrary(int(self.nonlinear), include_bias=False).exponents(rank)
            return exponents, np.ones((n_targets, len(exponents)), bool)
        for target, factors in self.nonlinear:
            if len(factors) < 2 or not all(0 <= i < rank for i in factors):
                raise ValueError(
                    f"A nonlinear term is a product of two or more of the coordinates 0 … "
                    f"{rank - 1}, but one has the factors {tuple(factors)}."
                )
            if not 0 <= target < n_targets:
                raise ValueError(f"A nonlinear term is of equation {target} of {n_targets}.")
        terms = sorted({tuple(sorted(factors)) for _, factors in self.nonlinear})
        counts = [np.bincount(np.array(f, int), minlength=rank) for f in terms]
        allowed = np.zeros((n_targets, rank + len(terms)), bool)
        allowed[:, :rank] = True
        for target, factors in self.nonlinear:
            allowed[target, rank + terms.index(tuple(sorted(factors)))] = True
        return np.concatenate([linear, *(c[None] for c in counts)]).astype(np.int64), allowed

    def _regress(
        self, Z: Array, step: Array, waves: Array, weights: Array, allowed: NDArray[np.bool_]
    ) -> None:
        """Coefficients of the step and their errors, one equation at a time."""
        A = _modulated(monomials(Z, self.exponents_), waves)
        n_terms, n_waves = len(self.exponents_), waves.shape[1]
        penalty = np.full((n_terms, n_waves), self.seasonal_ridge, dtype=np.float64)
        penalty[:, 0] = self.ridge
        shape = (step.shape[1], n_terms, n_waves)
        self.coef_, self.stderr_ = np.zeros(shape), np.zeros(shape)
        for i, kept in enumerate(allowed.copy()):
            while True:
                rows = np.flatnonzero(np.repeat(kept, n_waves))
                coef, error = _ridge(A[:, rows], step[:, i], weights[:, i], penalty.flat[rows])
                size = rms((A[:, rows] * coef).reshape(len(A), -1, n_waves).sum(axis=2))
                small = np.zeros_like(kept)
                small[kept] = size < self.threshold * rms(step[:, [i]])
                small[: Z.shape[1]] = False
                if not small.any():
                    break
                kept &= ~small
            self.coef_[i, kept] = coef.reshape(-1, n_waves)
            self.stderr_[i, kept] = error.reshape(-1, n_waves)

    def _left(self, Z: Array, step: Array, waves: Array) -> Array:
        terms = _modulated(monomials(Z, self.exponents_), waves)
        return step - terms @ self.coef_.reshape(len(self.coef_), -1).T

    def _predict(self, Z: Array, u: Array | None) -> Array:
        terms = _modulated(monomials(Z, self.exponents_), _waves(u, self.harmonics, len(Z)))
        return terms @ self.coef_.reshape(len(self.coef_), -1).T

    def ensemble(
        self,
        z0: ArrayLike,
        u: ArrayLike,
        *,
        n_members: int = 50,
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Runs from one state with noise as strong as the training left unexplained.

        Parameters
        ----------
        z0 : array_like, shape (rank,)
        u : array_like, shape (n_time, 2)
            The seasons, ``season(t, period)``, of the times of the runs, that of `z0` first. Of a
            model fitted without inputs, the times (n_time,).
        n_members : int, optional
        random_state : int, RandomState or None, optional
            Seed of the noise.

        Returns
        -------
        ndarray, shape (n_members, n_time, rank)
        """
        check_is_fitted(self)
        n_time, n_inputs = len(np.asarray(u)), self.n_inputs_
        seasons = checks.check_inputs(u, n_time, n_inputs=n_inputs) if n_inputs else None
        rng, root = check_random_state(random_state), self.noise_root(seasons)
        roots = np.broadcast_to(root, (n_time, *root.shape[1:]))
        runs = np.empty((n_members, n_time, self.n_features_in_))
        runs[:, 0] = np.asarray(z0, dtype=np.float64)
        for i in range(n_time - 1):
            here = None if seasons is None else np.repeat(seasons[i : i + 1], n_members, axis=0)
            kick = rng.normal(size=(n_members, root.shape[2])) @ roots[i].T
            runs[:, i + 1] = self._predict(runs[:, i], here) + kick
        return runs

    def noise_root(self, u: Array | None = None) -> Array:
        """R with ``R Rᵀ`` the covariance of the noise of a step in the season of each row of `u`.

        Parameters
        ----------
        u : ndarray, shape (n_time, 2)
            Seasons; not given where the model was fitted without.

        Returns
        -------
        ndarray, shape (n_time, n_targets, n_targets), or (1, n_targets, n_targets) without seasons
        """
        check_is_fitted(self)
        n_time = 1 if u is None else len(u)
        seasons = checks.check_inputs(u, n_time, n_inputs=self.n_inputs_)
        root = np.linalg.cholesky(self.noise_ + NOISELESS * np.eye(len(self.noise_)))
        waves = _waves(seasons if self.n_inputs_ == 2 else None, 1, n_time)
        scale = np.exp(0.5 * waves @ self.noise_season_[:, : waves.shape[1]].T)
        return np.asarray(scale[:, :, None] * root)

    def polynomial(self) -> Polynomial:
        """The map as a polynomial in the coordinates and the two inputs.

        Harmonics are polynomials in cos ωt and sin ωt: cos 2ωt = cos² - sin², and so on.
        """
        check_is_fitted(self)
        if self.n_inputs_ != 2:
            padded = np.zeros((len(self.exponents_), self.n_inputs_), np.int64)
            return Polynomial(np.hstack([self.exponents_, padded]), self.coef_[:, :, 0])
        wave_powers, wave_coef = _wave_polynomials(self.harmonics)
        n_terms, n_waves = len(self.exponents_), len(wave_powers)
        exponents = np.hstack(
            [np.repeat(self.exponents_, n_waves, axis=0), np.tile(wave_powers, (n_terms, 1))]
        )
        coef = np.einsum("ijw,wp->ijp", self.coef_, wave_coef).reshape(len(self.coef_), -1)
        used = np.flatnonzero(coef.any(axis=0))
        return Polynomial(exponents[used], np.ascontiguousarray(coef[:, used]))


def _waves(u: Array | None, harmonics: int, n_rows: int) -> Array:
    """1, cos ωt, sin ωt, cos 2ωt, … (n_time, 1 + 2 harmonics) of inputs (cos ωt, sin ωt)."""
    waves = [np.ones(n_rows)]
    if harmonics and u is not None:
        turn = u[:, 0] + 1j * u[:, 1]
        power = np.ones_like(turn)
        for _ in range(harmonics):
            power = power * turn
            waves += [power.real, power.imag]
    return np.stack(waves, axis=1)


def _wave_polynomials(harmonics: int) -> tuple[NDArray[np.int64], Array]:
    """Powers (n, 2) of cos and sin, and the coefficients (waves, n) of each wave in them."""
    monomial = [(0, 0)] + [(k - j, j) for k in range(1, harmonics + 1) for j in range(k + 1)]
    coef = np.zeros((1 + 2 * harmonics, len(monomial)))
    coef[0, 0] = 1.0
    for column, (a, b) in enumerate(monomial[1:], start=1):
        value = comb(a + b, b) * 1j**b  # of (cos + i sin)^k
        coef[2 * (a + b) - 1, column], coef[2 * (a + b), column] = value.real, value.imag
    return np.array(monomial, dtype=np.int64), coef


def _modulated(terms: Array, waves: Array) -> Array:
    """Each term times each wave, (n_time, n_terms * n_waves)."""
    return (terms[:, :, None] * waves[:, None, :]).reshape(len(terms), -1)


def _ridge(A: Array, y: Array, weights: Array, penalty: Array) -> tuple[Array, Array]:
    """Weighted ridge coefficients, a penalty for each column of unit size, and their errors."""
    size = rms(A)
    scaled = A / size
    inverse = pinvh((scaled.T * weights) @ scaled + np.diag(len(A) * penalty))
    coef = inverse @ (scaled.T @ (weights * y))
    free = max(len(A) - float(np.trace(inverse @ ((scaled.T * weights) @ scaled))), 1.0)
    variance = float(np.sum(weights * (y - scaled @ coef) ** 2)) / free
    return coef / size, np.sqrt(variance * np.maximum(np.diag(inverse), 0)) / size


def _noise_variance(left: Array, waves: Array) -> tuple[Array, Array]:
    """Log variance by season of each column, its waves (n_targets, n_waves), and its values.

    Maximum likelihood for Gaussian noise, by Fisher scoring: regressions of r²/v - 1.
    """
    least = NOISELESS * np.maximum(np.mean(left**2, axis=0), np.finfo(float).tiny / NOISELESS)
    squares = left**2 + least
    log = np.zeros((waves.shape[1], left.shape[1]))
    log[0] = np.log(squares.mean(axis=0))
    project = np.linalg.pinv(waves)
    for _ in range(MAX_SCORING):
        change = project @ (squares / np.exp(waves @ log) - 1)
        log += np.clip(change, -1, 1)
        if np.abs(change).max() < 1e-10:
            break
    return log.T, np.exp(waves @ log)
