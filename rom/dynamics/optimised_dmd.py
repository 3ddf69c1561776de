"""Optimised dynamic mode decomposition: exponentials fitted to the samples, at any times."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eig, pinv
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Dynamics, Polynomial, Series
from rom.data.trajectory import UNEVEN_GAP
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.linear import (
    Affine,
    Band,
    affine_normals,
    affine_polynomial,
    check_growth,
    fit_affine,
    keep_growth,
    slowest_first,
)
from rom.dynamics.normal import sum_normals
from rom.dynamics.variable_projection import (
    ComplexArray,
    Fit,
    Rates,
    Run,
    as_rates,
    fit_exponentials,
)

Array = NDArray[np.float64]

# Exponent that a first guess reaches at most at the end of a run: short of overflow.
MOST_GROWTH = 100.0


class OptimisedDMD(PolynomialEquations, Dynamics):
    """The linear model dz/dt = A z + c whose solutions come nearest to the samples.

    Where :class:`~rom.DMD` looks at one step at a time, all samples of a trajectory are fitted
    by one sum of exponentials, whose rates are found by variable projection. So noise brings
    hardly any bias, and the times may be uneven, with gaps: an exponential bridges them. (Give
    the stretches to either side of a gap labels of their own where the state was disturbed in
    it.) Each trajectory has amplitudes of its own; trajectories no longer than the rank tell
    nothing.

    With bags, the model is fitted again to random parts of the rows. The rates are then the means
    over the bags, and their spread says how sure they are.

    Parameters
    ----------
    constant : bool, optional
        Fit a constant c, so that states may be measured from anywhere.
    growth : (float, float), optional
        Band that growth rates are kept in, per unit of time: ``(-inf, 0)`` lets no mode grow,
        ``(0, 0)`` lets none grow or decay.
    n_bags : int, optional
        Number of fits to random parts of the rows; 0 for none.
    bag_size : float, optional
        Part of the rows of each trajectory in a bag.
    max_iter : int, optional
        The most Levenberg–Marquardt steps of a fit.
    random_state : int, RandomState instance or None, optional
        Seed of the bags.
    names : sequence of str, optional
        Names of the latent coordinates, for :meth:`equations`.

    Attributes
    ----------
    A_ : ndarray, shape (n_targets, rank)
    c_ : ndarray, shape (n_targets,), or None
    rates_ : ndarray of complex, shape (rank,)
        Eigenvalues of `A_`: growth rate + i times angular frequency, the slowest to decay first.
    modes_ : ndarray of complex, shape (rank, rank)
        Their eigenvectors in latent coordinates, one a row, of norm 1, the largest entry of each
        positive. ``modes_ @ compressor.components_`` are fields.
    growth_std_, frequency_std_ : ndarray, shape (rank,), or None
        Standard errors of the real and imaginary parts of `rates_`; None without bags.
    modes_std_ : ndarray, shape (rank, rank), or None
        Standard errors of the entries of `modes_`, over both their parts.
    residual_ : float
        Root mean square of what the exponentials leave of the states, relative to that of the
        states; NaN where `y` was given.
    n_iter_ : int
        Steps of the fit to all rows; 1 where `y` was given.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `growth` is not a band, `names` do not fit
        or are not all different, there are inputs, no trajectory (or bag of its rows) is longer
        than the rank, or the data are refused (see :meth:`fit`).

    Warns
    -----
    ConvergenceWarning
        If `max_iter` steps did not suffice.

    Notes
    -----
    Exponentials are fitted to all samples at once, which have to be in memory. Given `y` (dz/dt),
    the fit is plain least squares, without bags. Standard errors are the
    spread over the bags times sqrt(f / (1 - f)), f the part of the rows in a bag, as parts of the
    rows differ less from all rows than all rows do from the truth (Shao & Wu 1989). They are
    those of white noise; where noise has a memory they are too small.

    References
    ----------
    Askham & Kutz (2018), SIAM J. Appl. Dyn. Syst. 17, 380; Sashidhar & Kutz (2022), Phil. Trans.
    R. Soc. A 380, 20210199 (bags); Golub & Pereyra (1973), SIAM J. Numer. Anal. 10, 413; Kaufman
    (1975), BIT 15, 49; Shao & Wu (1989), Ann. Statist. 17, 1176.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = np.sort(rng.uniform(0, 10, 80))
    >>> Z = np.exp(-0.2 * t)[:, None] * np.stack([np.cos(3 * t), np.sin(3 * t)], axis=1)
    >>> OptimisedDMD().fit(Z, t=t).rates_.round(6)
    array([-0.2+3.j, -0.2-3.j])
    >>> noisy = Z + 0.05 * rng.normal(size=Z.shape)
    >>> model = OptimisedDMD(n_bags=20, random_state=0).fit(noisy, t=t)
    >>> model.rates_.round(2), model.growth_std_.round(2)
    (array([-0.2+3.j, -0.2-3.j]), array([0.01, 0.01]))
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    A_: Array
    c_: Array | None
    growth_std_: Array | None
    frequency_std_: Array | None
    modes_std_: Array | None
    residual_: float
    n_iter_: int

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "constant": ["boolean"],
        "growth": [tuple, list, None],
        "n_bags": [Interval(Integral, 0, None, closed="left")],
        "bag_size": [Interval(Real, 0, 1, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        *,
        constant: bool = False,
        growth: tuple[float, float] | None = None,
        n_bags: int = 0,
        bag_size: float = 0.6,
        max_iter: int = 100,
        random_state: int | np.random.RandomState | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.constant = constant
        self.growth = growth
        self.n_bags = n_bags
        self.bag_size = bag_size
        self.max_iter = max_iter
        self.random_state = random_state
        self.names = names

    def _fit_series(self, series: Series) -> None:
        if series.u is not None:
            raise ValueError(
                f"OptimisedDMD takes no inputs, but u has {self.n_inputs_}: rom.DMD does."
            )
        variable_names(self.names, self.n_features_in_, 0)  # checks them
        growth = check_growth(self.growth)
        self.growth_std_ = self.frequency_std_ = self.modes_std_ = None
        if series.y is not None:
            band = None if growth is None else Band(*growth)
            found = sum_normals(affine_normals(series.Z, series.y, None, constant=self.constant))
            rank = self.n_features_in_
            affine = fit_affine(found, rank, constant=self.constant, band=band)
            self.A_, self.c_ = affine.A, affine.c
            self.residual_, self.n_iter_ = float("nan"), 1
            return
        runs = _runs(series)
        self._check_lengths(runs)
        fit = self._fit_from_all_starts(runs)
        if not fit.converged:
            warnings.warn(
                f"OptimisedDMD took all of its max_iter={self.max_iter} steps without settling: "
                "take more, fewer coordinates, or keep growth rates in a band.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.residual_, self.n_iter_ = fit.residual, fit.n_iter
        bags = self._fit_bags(runs, fit) if self.n_bags else []
        if bags:
            mean = _mean_rates([bag.rates for bag in bags])
            fit = fit_exponentials(runs, mean, constant=self.constant, growth=growth, max_iter=0)
        self._keep(fit, growth)
        if bags:
            self._keep_spread(fit, bags)

    def _check_lengths(self, runs: list[Run]) -> None:
        needed = self.n_features_in_ + 1 + self.constant
        rows = max(len(run.t) for run in runs)
        used = self._bag_rows(rows) if self.n_bags else rows
        if used < needed:
            bag = f", {used} of them in a bag" if self.n_bags else ""
            raise ValueError(
                f"OptimisedDMD needs at least {needed} rows of one trajectory for "
                f"{self.n_features_in_} latent coordinates"
                f"{' and a constant' if self.constant else ''}, but the longest has n_samples = "
                f"{rows}{bag}."
            )

    def _bag_rows(self, n_rows: int) -> int:
        return min(n_rows, max(1, round(self.bag_size * n_rows)))

    def _fit_from_all_starts(self, runs: list[Run]) -> Fit:
        """The best fit of those begun from changes over 1, 2, 4 … steps.

        Over short spans noise hides slow rates, over long ones fast rates alias: which span leads
        to the least sum of squares is known afterwards only.
        """
        pieces = _without_gaps(runs)
        longest = max(len(piece.t) for piece in pieces)
        spans = 2 ** np.arange(max(1, int(np.log2(longest)) - 1))
        starts = [
            as_rates(_first_rates(pieces, span, self.constant), pair_real=self.growth is None)
            for span in spans.tolist()
        ]
        return min((self._fit_runs(runs, start) for start in starts), key=lambda fit: fit.residual)

    def _fit_runs(self, runs: list[Run], start: Rates) -> Fit:
        growth, constant = check_growth(self.growth), self.constant
        return fit_exponentials(
            runs, start, constant=constant, growth=growth, max_iter=self.max_iter
        )

    def _fit_bags(self, runs: list[Run], fit: Fit) -> list[Fit]:
        random = check_random_state(self.random_state)
        bags = []
        for _ in range(self.n_bags):
            chosen = [
                np.sort(random.choice(len(t), self._bag_rows(len(t)), replace=False))
                for t, _ in runs
            ]
            parts = [Run(run.t[c], run.Z[c]) for run, c in zip(runs, chosen, strict=True)]
            bags.append(self._fit_runs(parts, fit.rates))
        return bags

    def _keep(self, fit: Fit, growth: tuple[float, float] | None) -> None:
        V = fit.modes.T
        A = np.real((V * fit.rates.values()) @ pinv(V))
        # Where exponentials coincide, modes are lost, whose rates A takes for zero.
        self.A_ = A if growth is None else keep_growth(A, Band(*growth))
        self.c_ = -self.A_ @ fit.equilibrium if self.constant else None

    def _keep_spread(self, fit: Fit, bags: list[Fit]) -> None:
        """Standard errors, in the order of `rates_`."""
        distance = np.abs(self.rates_[:, None] - fit.rates.values())
        order = linear_sum_assignment(distance)[1]
        rates = np.stack([bag.rates.values()[order] for bag in bags])
        modes = np.stack([_in_phase(bag.modes[order], fit.modes[order]) for bag in bags])
        whole = np.sqrt(self.bag_size / (1 - self.bag_size))
        self.growth_std_ = whole * rates.real.std(axis=0)
        self.frequency_std_ = whole * rates.imag.std(axis=0)
        self.modes_std_ = whole * modes.std(axis=0)

    def _predict(self, Z: Array, u: Array | None) -> Array:
        slope = Z @ self.A_.T
        return slope if self.c_ is None else slope + self.c_

    @property
    def rates_(self) -> ComplexArray:
        """Eigenvalues of `A_`, the slowest to decay first."""
        return self._eigen()[0]

    @property
    def modes_(self) -> ComplexArray:
        """Eigenvectors of `A_`, one a row, of norm 1."""
        return self._eigen()[1]

    def _eigen(self) -> tuple[ComplexArray, ComplexArray]:
        check_is_fitted(self)
        values, vectors = eig(self.A_)
        order = slowest_first(values)
        modes = vectors.T[order]
        largest = np.take_along_axis(modes, np.abs(modes).argmax(axis=1)[:, None], axis=1)
        return values[order], modes * (np.abs(largest) / largest)

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        check_is_fitted(self)
        return affine_polynomial(Affine(self.A_, None, self.c_))


def _runs(series: Series) -> list[Run]:
    """The trajectories, each in time from its start."""
    assert series.t is not None  # Dynamics.fit has checked
    edges = np.flatnonzero(np.diff(series.trajectory)) + 1
    parts = zip(np.split(series.t, edges), np.split(series.Z, edges), strict=True)
    return [Run(t - t[0], Z) for t, Z in parts]


def _without_gaps(runs: list[Run]) -> list[Run]:
    """The runs cut at gaps, over which no integral can be told from the samples around it."""
    pieces = []
    longest = UNEVEN_GAP * float(np.median(np.concatenate([np.diff(run.t) for run in runs])))
    for t, Z in runs:
        edges = np.flatnonzero(np.diff(t) > longest) + 1
        pieces += [Run(*part) for part in zip(np.split(t, edges), np.split(Z, edges), strict=True)]
    return pieces


def _first_rates(runs: list[Run], span: int, constant: bool) -> ComplexArray:
    """Rates from the change over `span` steps, the integral of dz/dt = A z.

    Exact for even times without noise, whatever the span: the trapezoidal rule turns a rate λ
    into (2/h) tanh(λh/2), which is undone with the median step h.
    """
    steps = [np.diff(run.t)[:, None] for run in runs]
    areas = [h * (run.Z[1:] + run.Z[:-1]) / 2 for h, run in zip(steps, runs, strict=True)]
    terms = np.concatenate([_sums(area, span) for area in areas])
    change = np.concatenate([run.Z[span:] - run.Z[:-span] for run in runs])
    if constant:
        terms = np.concatenate([terms, np.concatenate([_sums(h, span) for h in steps])], axis=1)
    slopes = np.linalg.lstsq(terms, change)[0][: change.shape[1]]
    half = float(np.median(np.concatenate(steps))) / 2
    x = np.linalg.eigvals(slopes.T).astype(complex) * half
    rates = np.arctanh(x * np.where(np.abs(np.abs(x) - 1) < 1e-12, 1 - 1e-9, 1.0)) / half
    rates = np.where(x.imag == 0, rates.real, rates)
    longest = max(float(run.t[-1]) for run in runs)
    return np.minimum(rates.real, MOST_GROWTH / longest) + 1j * rates.imag


def _sums(rows: Array, span: int) -> Array:
    """Sums of `span` rows in a row."""
    total = np.cumsum(np.concatenate([np.zeros((1, rows.shape[1])), rows]), axis=0)
    return total[span:] - total[:-span]


def _mean_rates(rates: list[Rates]) -> Rates:
    """Mean of each rate over fits that began alike; what is a pair stays one."""
    m = rates[0].n_pairs
    plus, minus, single = np.split(np.mean([r.values() for r in rates], axis=0), [m, 2 * m])
    # A mean over complex and real pairs is neither: take the mean of both halves as conjugates.
    a = np.real(plus + minus) / 2
    d = np.real(((plus - minus) / 2) ** 2)
    return Rates(np.concatenate([a, d, single.real]), m)


def _in_phase(modes: ComplexArray, reference: ComplexArray) -> ComplexArray:
    """Modes (rank, rank), each turned to come nearest to that of the reference."""
    overlap = np.sum(modes.conj() * reference, axis=1, keepdims=True)
    return modes * np.where(overlap == 0, 1, overlap / np.where(overlap == 0, 1, np.abs(overlap)))
