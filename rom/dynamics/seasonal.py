"""Maps from one state to the next whose coefficients follow the season."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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
from rom.dynamics.cycle import NOISELESS, Cycle, by_season, noise_variance, part_of, waves_of
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.least_squares import scales
from rom.dynamics.library import PolynomialLibrary, monomials, powers
from rom.dynamics.normal import Normal, library_normals, normal
from rom.dynamics.operators import joined
from rom.dynamics.rows import SummedDynamics

Array = NDArray[np.float64]


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


class SeasonalModel(PolynomialEquations, SummedDynamics):
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
    normal_ : list of ndarray
        The normal equations of the rows seen, and the triangular factors of those of each part of
        the cycle: :meth:`partial_fit` and :meth:`merge` add to them, :meth:`refit` solves them
        anew.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the inputs are not two columns where the
        coefficients have harmonics, a nonlinear term names a coordinate that is not there,
        `names` do not fit, the times within trajectories are not even, or the data are refused
        (see :meth:`fit`).

    Notes
    -----
    The rows are read once, and summed by season, in 64 parts of the cycle: penalties, thresholds,
    errors and noise come from these sums. The noise is taken to be alike within a part. That
    loses nothing where a cycle has few phases, as months have: each is a part of its own.

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

    _after_sums: ClassVar[frozenset[str]] = frozenset(
        {"threshold", "ridge", "seasonal_ridge", "seasonal_noise", "names"}
    )
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
        self._fit_sums(self._sums(Z, y, u))

    def _sums(self, Z: Array, y: Array, u: Array | None) -> list[Normal]:
        """Sums of 1, cos ωt, sin ωt, of the terms times the waves and of the step, by season."""
        if self.harmonics and self.n_inputs_ != 2:
            raise ValueError(
                "The season enters as two inputs, u = season(t, period), but u has "
                f"{self.n_inputs_} columns. For constant coefficients set harmonics=0."
            )
        exponents, rank = self._candidates(y.shape[1])[0], Z.shape[1]
        step = y - Z if y.shape[1] == rank else y

        def terms(rows: Array) -> Array:
            seasons = rows[:, rank:] if self.n_inputs_ == 2 else None
            waves = waves_of(seasons, self.harmonics, len(rows))
            modulated = _modulated(monomials(rows[:, :rank], exponents), waves)
            return np.concatenate([waves_of(seasons, 1, len(rows)), modulated], axis=1)

        part = part_of(waves_of(u if self.n_inputs_ == 2 else None, 1, len(Z)))
        order = np.argsort(part, kind="stable")
        edges = np.flatnonzero(np.diff(part[order])) + 1
        parts = [slice(a, b) for a, b in pairwise([0, *edges.tolist(), len(Z)])]
        return library_normals(terms, joined(Z, u)[order], step[order], parts, exact=True)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        rank, n_targets = self.n_features_in_, len(blocks[0].squares)
        self.exponents_, allowed = self._candidates(n_targets)
        cycle = self._add_up(blocks)
        self._regress(cycle, np.ones((len(cycle.n_rows), n_targets)), allowed)
        if self.seasonal_noise:
            weights = 1 / noise_variance(self._left(cycle), cycle)[1]
            self._regress(cycle, weights / cycle.mean(weights), allowed)
        left = self._left(cycle)
        log_variance, variance = noise_variance(left, cycle)
        self.noise_season_ = np.zeros((n_targets, 3))
        self.noise_season_[:, : log_variance.shape[1]] = log_variance
        scaled = (left / np.sqrt(variance)[:, None]).reshape(-1, n_targets)
        self.noise_ = scaled.T @ scaled / cycle.n_rows.sum()
        if n_targets == rank:
            self.coef_[:, :rank, 0] += np.eye(rank)

    def _add_up(self, blocks: list[Normal]) -> Cycle:
        """The sums of each part of the cycle, which are kept."""
        n_waves, n_targets = 3 if self.n_inputs_ == 2 else 1, len(blocks[0].squares)
        roots = by_season(blocks, n_waves)
        every = roots.reshape(-1, roots.shape[2])
        n_rows = sum(block.n_rows for block in blocks)
        found = normal(every[:, :-n_targets], every[:, -n_targets:])._replace(n_rows=n_rows)
        self.normal_ = found._replace(root=roots).arrays()
        sums = np.einsum("ij,ijk->ik", roots[:, :, 0], roots[:, :, :n_waves])
        terms, step = roots[:, :, n_waves:-n_targets], roots[:, :, -n_targets:]
        scale = scales(found)[n_waves:]
        return Cycle(sums[:, 0], sums / sums[:, :1], terms / scale, step, scale)

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

    def _regress(self, cycle: Cycle, weights: Array, allowed: NDArray[np.bool_]) -> None:
        """Coefficients of the step and their errors, one equation at a time.

        Rows count by the `weights` (n_parts, n_targets) of their season.
        """
        n_waves, n_rows = 1 + 2 * self.harmonics, cycle.n_rows.sum()
        ridges = np.full((allowed.shape[1], n_waves), n_rows * self.seasonal_ridge)
        ridges[:, 0] = n_rows * self.ridge
        smallest = self.threshold * cycle.rms(cycle.step)
        grams, crosses = cycle.products()
        inverses: dict[bytes, tuple[Array, float]] = {}  # many equations share one
        self.coef_, self.stderr_ = np.zeros((2, *allowed.shape, n_waves))
        for i, kept in enumerate(allowed):
            w, step = weights[:, i], cycle.step[:, :, i]
            while True:
                columns = np.repeat(kept, n_waves)
                key = columns.tobytes() + w.tobytes()
                if key not in inverses:
                    gram = np.tensordot(w, grams, 1)[np.ix_(columns, columns)]
                    inverses[key] = _inverse(gram, ridges.ravel()[columns], n_rows)
                inverse, free = inverses[key]
                coef, A = inverse @ (w @ crosses[:, columns, i]), cycle.terms[:, :, columns]
                sizes = cycle.rms((A * coef).reshape(*step.shape, -1, n_waves).sum(axis=3))
                small = np.zeros_like(kept)
                small[kept] = sizes < smallest[i]
                small[: self.n_features_in_] = False
                if not small.any():
                    break
                kept = kept & ~small
            variance = w @ np.sum((step - A @ coef) ** 2, axis=1) / free
            error = np.sqrt(variance * np.maximum(np.diag(inverse), 0))
            self.coef_[i, kept] = (coef / cycle.scale[columns]).reshape(-1, n_waves)
            self.stderr_[i, kept] = (error / cycle.scale[columns]).reshape(-1, n_waves)

    def _left(self, cycle: Cycle) -> Array:
        return cycle.step - cycle.terms @ (self.coef_.reshape(len(self.coef_), -1) * cycle.scale).T

    def _predict(self, Z: Array, u: Array | None) -> Array:
        terms = _modulated(monomials(Z, self.exponents_), waves_of(u, self.harmonics, len(Z)))
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
        waves = waves_of(seasons if self.n_inputs_ == 2 else None, 1, n_time)
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


def _inverse(gram: Array, ridges: Array, n_rows: float) -> tuple[Array, float]:
    """Inverse of the penalised `gram`, and the rows that are left over for the noise."""
    inverse = np.asarray(pinvh(gram + np.diag(ridges)))
    return inverse, max(n_rows - float(np.sum(inverse * gram)), 1.0)
