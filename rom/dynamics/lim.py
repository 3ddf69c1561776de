"""Linear inverse model: a linear stochastic equation from lagged covariances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvals, expm, logm, pinvh
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Polynomial, Series
from rom.data.trajectory import EVEN_RTOL, even_step, segments
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.normal import BLOCK_BYTES, Normal, normal, sum_normals
from rom.dynamics.rows import KeptSums
from rom.threads import slices

Array = NDArray[np.float64]

# An eigenvalue of the propagator whose angle is this close to pi has no real logarithm.
HALF_TURN = 1e-6


class Gaussian(NamedTuple):
    """Mean and covariance of a forecast."""

    mean: Array
    """(rank,)."""
    covariance: Array
    """(rank, rank)."""


class LinearInverseModel(PolynomialEquations, KeptSums):
    """A stable linear system driven by white noise: dz/dt = L z + ξ.

    The covariance C_τ between states τ apart decays as the noise-free system does,
    ``C_τ = exp(L τ) C_0``: so L = log(C_τ C_0⁻¹) / τ, and the noise that keeps the variance at C_0
    has covariance Q = -(L C_0 + C_0 Lᵀ). States are deviations from an equilibrium, as those of a
    POD are from the mean.

    Parameters
    ----------
    lag : int, optional
        The lag τ, in rows, from which L is read.
    names : sequence of str, optional
        Names of the latent coordinates, for :meth:`equations`.

    Attributes
    ----------
    L_ : ndarray, shape (n_targets, rank)
        Per unit of time.
    Q_ : ndarray, shape (rank, rank), or None
        Covariance of the noise, per unit of time; None where `L_` is not square. Sampling errors
        can make it indefinite: negative eigenvalues are set to zero and the positive ones scaled
        so that the trace, the total variance supplied, stays.
    tau_ : float
        The lag in units of time; NaN where `y` was given.
    negative_noise_ : float
        Sum of the negative eigenvalues over that of the positive ones before, in modulus: how far
        the data are from a linear system with white noise.
    C0_ : ndarray, shape (rank, rank)
        Covariance of the training states, about zero.
    normal_ : list of ndarray
        The sums behind the covariances, to which :meth:`merge` adds those of other records.

    Raises
    ------
    ValueError
        By a fit: if there are inputs; if the times are uneven; if no rows are `lag` apart; if an
        eigenvalue of ``C_τ C_0⁻¹`` is zero or negative, so that no real L has led to it; or if the
        data are refused (see :meth:`fit`).

    Notes
    -----
    Where the targets `y` are given, they are dz/dt, and L is their regression on the states.

    References
    ----------
    Penland & Sardeshmukh (1995), J. Climate 8, 1999. Negative eigenvalues: Penland & Matrosova
    (1994), J. Climate 7, 1352.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> z = np.zeros((20000, 1))
    >>> for i in range(1, len(z)):
    ...     z[i] = 0.9 * z[i - 1] + rng.normal()
    >>> model = LinearInverseModel().fit(z, t=np.arange(20000.0))
    >>> bool(abs(model.L_[0, 0] - np.log(0.9)) < 0.01)
    True
    >>> mean, covariance = model.forecast([5.0], 1.0)
    >>> bool(abs(covariance[0, 0] - 1) < 0.05)
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    L_: Array
    Q_: Array | None
    C0_: Array
    tau_: float
    negative_noise_: float

    _after_sums: ClassVar[frozenset[str]] = frozenset({"names"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "lag": [Interval(Integral, 1, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(self, lag: int = 1, *, names: Sequence[str] | None = None) -> None:
        self.lag = lag
        self.names = names

    def _fit_series(self, series: Series) -> None:
        if series.u is not None:
            raise ValueError(
                f"LinearInverseModel takes no inputs, but u has {series.u.shape[1]} columns: for "
                "inputs take rom.DMD, for the season SeasonalModel."
            )
        Z, rows = series.Z, np.arange(len(series.Z))
        every = _sums(Z, Z, rows)
        if series.y is not None:
            self.tau_, pairs = float("nan"), _sums(Z, series.y, rows)
        else:
            assert series.t is not None  # Dynamics.fit has checked
            first, self.tau_ = _lagged(series.t, series.trajectory, self.lag)
            self.dt_, pairs = self.tau_ / self.lag, _sums(Z, Z, first, self.lag)
        self._fit_sums([pairs, every])

    def _kept(self) -> list[Normal]:
        arrays = self._arrays()
        return [Normal.of(arrays[:4]), Normal.of(arrays[4:])]

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        lags = [model.tau_ for model in models]
        if not np.allclose(lags, lags[0], rtol=EVEN_RTOL, equal_nan=True):
            raise ValueError(f"merge needs covariances over one lag, but the lags are {lags}.")

    def _fit_sums(self, blocks: list[Normal]) -> None:
        """From the sums over pairs of states, and over all states, in turn."""
        variable_names(self.names, self.n_features_in_, 0)  # checks them
        pairs, every = sum_normals(blocks[::2]), sum_normals(blocks[1::2])
        self.normal_ = [*pairs.arrays(), *every.arrays()]
        self.C0_ = every.gram / every.n_rows
        self.L_ = pairs.cross.T @ pinvh(pairs.gram)
        if np.isfinite(self.tau_):
            self.L_ = _generator(self.L_, self.tau_)
        square = self.L_.shape[0] == self.L_.shape[1]
        self.Q_, self.negative_noise_ = _noise(self.L_, self.C0_) if square else (None, 0.0)

    def _predict(self, Z: Array, u: Array | None) -> Array:
        return Z @ self.L_.T

    def polynomial(self) -> Polynomial:
        """The right-hand side, without the noise."""
        check_is_fitted(self)
        return Polynomial(np.eye(self.L_.shape[1], dtype=np.int64), self.L_)

    def noise_root(self, u: Array | None = None) -> Array:
        """R (rank, rank) with ``R Rᵀ = Q_``; there are no inputs `u`."""
        return _root(self._covariance())

    def forecast(self, z0: ArrayLike, lead: float) -> Gaussian:
        """Mean and covariance of the state a time `lead` after it was `z0`, both exact.

        Parameters
        ----------
        z0 : array_like, shape (rank,)
        lead : float
            In the unit of the training times, at least 0.

        Returns
        -------
        Gaussian
        """
        propagator, covariance = self._transition(lead)
        return Gaussian(propagator @ self._check_start(z0), covariance)

    def ensemble(
        self,
        z0: ArrayLike,
        t: ArrayLike,
        *,
        n_members: int = 50,
        random_state: int | np.random.RandomState | None = None,
    ) -> Array:
        """Runs with noise from one state; their mean and covariance are those of `forecast`.

        Parameters
        ----------
        z0 : array_like, shape (rank,)
            State at ``t[0]``.
        t : array_like, shape (n_time,)
            Increasing times, even or not: the transition from each to the next is sampled from
            its exact distribution, so there is no error of a time step.
        n_members : int, optional
        random_state : int, RandomState or None, optional
            Seed of the noise.

        Returns
        -------
        ndarray, shape (n_members, n_time, rank)
        """
        times = checks.check_times(t, np.size(t))
        rng = check_random_state(random_state)
        runs = np.empty((n_members, len(times), self.n_features_in_))
        runs[:, 0] = self._check_start(z0)
        factor, last = (np.empty(0), np.empty(0)), np.nan
        for i, step in enumerate(np.diff(times)):
            if not np.isclose(step, last, rtol=1e-9, atol=0):
                propagator, covariance = self._transition(step)
                factor, last = (propagator, _root(covariance)), step
            kick = rng.normal(size=runs[:, 0].shape) @ factor[1].T
            runs[:, i + 1] = runs[:, i] @ factor[0].T + kick
        return runs

    def tau_test(
        self,
        Z: ArrayLike,
        lags: Iterable[int],
        *,
        t: ArrayLike,
        trajectory: ArrayLike | None = None,
    ) -> Array:
        """How far lagged covariances are from what the model says: exp(L τ) C_0.

        A linear system with white noise has one L for all lags. Where the misfit grows past that
        of a few draws of :meth:`ensemble` of the same length, the data are no such system, or the
        lag is too long to see its fastest oscillation.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            States, usually those of the training.
        lags : iterable of int
            In rows.
        t : array_like, shape (n_time,)
        trajectory : array_like, shape (n_time,), optional

        Returns
        -------
        ndarray, shape (n_lags,)
            ``|C_τ - exp(L τ) C_0| / |C_0|``, Frobenius norms.

        Raises
        ------
        ValueError
            If the arrays do not fit the model, or no rows are so far apart.
        """
        check_is_fitted(self)
        states: Array = checks.check_rows(self, Z, reset=False)
        codes = checks.check_trajectory(trajectory, len(states))
        times = checks.check_times(t, len(states), codes)
        misfit = []
        for lag in lags:
            first, tau = _lagged(times, codes, int(lag))
            found = _sums(states, states, first, int(lag))
            C0, Ct = found.gram / found.n_rows, found.cross.T / found.n_rows
            misfit.append(np.linalg.norm(Ct - expm(self.L_ * tau) @ C0) / np.linalg.norm(C0))
        return np.array(misfit)

    def _check_start(self, z0: ArrayLike) -> Array:
        state = checks.real_array(z0, "z0")
        if state.shape != (self.n_features_in_,) or not np.isfinite(state).all():
            raise ValueError(
                f"z0 must be one finite state of shape ({self.n_features_in_},), but its shape is "
                f"{state.shape}."
            )
        return state

    def _covariance(self) -> Array:
        check_is_fitted(self)
        if self.Q_ is None:
            raise ValueError("A forecast needs as many targets as latent coordinates.")
        return self.Q_

    def _transition(self, lead: float) -> tuple[Array, Array]:
        """exp(L τ), and the covariance that the noise adds meanwhile (Van Loan 1978)."""
        Q = self._covariance()
        if not (np.isfinite(lead) and lead >= 0):
            raise ValueError(f"lead must be a time >= 0, but it is {lead}.")
        n = len(self.L_)
        block = np.block([[-self.L_, Q], [np.zeros((n, n)), self.L_.T]])
        # In steps of moderate size: exp(-L τ) of a damped system overflows at long leads.
        size = float(np.linalg.norm(self.L_)) * lead
        halvings = int(np.ceil(np.log2(size))) if size > 1 else 0
        F = expm(block * (lead / 2**halvings))
        propagator = F[n:, n:].T
        covariance = propagator @ F[:n, n:]
        for _ in range(halvings):
            covariance = covariance + propagator @ covariance @ propagator.T
            propagator = propagator @ propagator
        return propagator, (covariance + covariance.T) / 2


def _sums(Z: Array, Y: Array, first: NDArray[np.intp], lag: int = 0) -> Normal:
    """Sums over some rows of `Z` and those of `Y` that are `lag` later, some at a time."""
    parts = slices(len(first), 1 + 8 * len(first) * Z.shape[1] // BLOCK_BYTES)
    return sum_normals(normal(Z[first[part]], Y[first[part] + lag]) for part in parts)


def _lagged(t: Array, trajectory: NDArray[np.intp], lag: int) -> tuple[NDArray[np.intp], float]:
    """Rows that have another `lag` rows later, not across a gap, and the time between them."""
    pieces = segments(t, trajectory)
    step = even_step(t, pieces, needed_by="LinearInverseModel")
    rows = np.concatenate([np.arange(piece.start, piece.stop - lag) for piece in pieces])
    if not len(rows):
        longest = max(piece.stop - piece.start for piece in pieces)
        raise ValueError(
            f"No rows are lag={lag} apart: the longest stretch of continuous sampling has "
            f"{longest} rows."
        )
    return rows, lag * step


def _generator(propagator: Array, tau: float) -> Array:
    """L = log(C_τ C_0⁻¹) / τ."""
    values = eigvals(propagator)
    bad = (np.abs(values) == 0) | (np.pi - np.abs(np.angle(values)) < HALF_TURN)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} of {len(values)} eigenvalues of C_tau C_0^-1 are zero or negative, the "
            f"first of them {values[bad][0].real:.3g}: no real L has led to them. Take a shorter "
            "lag or fewer coordinates, or rom.DMD, which needs no logarithm."
        )
    logarithm: Any = logm(propagator)
    return np.asarray(np.real(logarithm), dtype=np.float64) / tau


def _noise(L: Array, C0: Array) -> tuple[Array, float]:
    """Q = -(L C_0 + C_0 Lᵀ) without its negative eigenvalues, and the share that these had."""
    flux = -(L @ C0)
    values, vectors = eigh(flux + flux.T)
    positive = np.maximum(values, 0)
    total, supplied = positive.sum(), max(values.sum(), 0.0)
    if total == 0:
        return np.zeros_like(C0), 0.0
    Q = (vectors * (positive * supplied / total)) @ vectors.T
    return (Q + Q.T) / 2, float(-np.minimum(values, 0).sum() / total)


def _root(covariance: Array) -> Array:
    """A matrix R with R Rᵀ = covariance, which may be singular."""
    values, vectors = eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0))
