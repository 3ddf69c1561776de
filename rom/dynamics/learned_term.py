"""What closures share: a polynomial base model, and the training of the term that joins it."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from rom.base import Dynamics, HasPolynomial, Polynomial, Series
from rom.data.derivative import derivative
from rom.data.trajectory import segments, windows
from rom.dynamics.library import monomials
from rom.dynamics.networks import Initial
from rom.dynamics.opinf import OperatorInference

if TYPE_CHECKING:
    from torch import Tensor

    from rom.dynamics.closure_fit import Runs, Schedule, Trained

# Runge–Kutta steps in training are so short that the fastest coordinate turns by at most this angle
# in each (radians): their error is then about 0.5⁵ / 120 = 3e-4 of the state.
MAX_ANGLE = 0.5
# Residuals smaller than this part of the slopes, in root mean square, weigh less in the a-priori
# fit: the base model is nearly right there, and what is left mostly the error of the slopes.
NEGLIGIBLE = 0.1

Array = NDArray[np.float64]
Base = Dynamics | Polynomial | tuple[ArrayLike, ArrayLike] | None


class LearnedTerm(Dynamics):
    """A polynomial base model plus a learned term: what closures share.

    A closure writes ``_start(rng, n_targets)``, the initial layers; ``_torch_term(layers, x)``,
    the term of standardised rows; ``_keep(layers)``, which sets the fitted attributes; and
    ``_term(x)``, the term in NumPy.
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    base: Base
    window: int
    n_steps: int
    batch: int
    learning_rate: float
    statistics: float
    max_iter: int
    validation_fraction: float
    random_state: int | np.random.RandomState | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "base": [Dynamics, tuple, None],
        "window": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "batch": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "statistics": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "random_state": ["random_state"],
    }

    # Whether the term knows of the energy |z|²/2: its states are then measured from zero, and all
    # its coordinates in one unit.
    _energetic: ClassVar[bool] = False

    @abstractmethod
    def _start(self, rng: np.random.RandomState, n_targets: int) -> Initial: ...

    @abstractmethod
    def _torch_term(self, layers: list[Tensor], x: Tensor) -> Tensor: ...

    @abstractmethod
    def _keep(self, layers: list[Array]) -> None: ...

    @abstractmethod
    def _term(self, x: Array) -> Array: ...

    def _fit_series(self, series: Series) -> None:
        pieces = segments(series.t, series.trajectory)
        rows, slopes = self._slopes(series, pieces)
        self._set_base(series)
        x = series.Z if series.u is None else np.hstack([series.Z, series.u])
        if self.base_coef_.shape[0] != slopes.shape[1]:
            raise ValueError(
                f"The base model has {self.base_coef_.shape[0]} targets, but the data have "
                f"{slopes.shape[1]}."
            )
        rng = check_random_state(self.random_state)
        start = self._start(rng, slopes.shape[1])
        parts = _split(pieces, self.validation_fraction)
        parameters = self._a_priori(x, rows, slopes, parts, start)
        trained = self._through_solver(series, parts, start, parameters, slopes, rng)
        self._keep(trained.layers)
        self.stage_, self.scores_ = trained.stage, trained.scores
        self.history_ = trained.history

    def _a_priori(
        self,
        x: Array,
        rows: NDArray[np.intp],
        slopes: Array,
        parts: tuple[list[slice], list[slice]],
        start: Initial,
    ) -> list[Array]:
        """Set the scales; return the parameters that fit the base model's residual."""
        from rom.dynamics.closure_fit import fit_residual

        residual = slopes - self._base(x[rows])
        own = np.maximum(_size(residual), NEGLIGIBLE * _size(slopes))
        own[own == 0] = 1.0
        self._set_scales(x, own)
        data = [np.isin(rows, np.concatenate([np.r_[piece] for piece in part])) for part in parts]
        scaled = (x[rows] - self.mean_) / self.scale_
        train, held_out = ((scaled[part], residual[part] / own) for part in data)
        outcome = fit_residual(
            start, self._torch_term, train, held_out, self.term_scale_ / own,
            max_iter=self.max_iter, label=f"{type(self).__name__} 1/2",
        )  # fmt: skip
        self.n_iter_ = outcome.n_iter
        return outcome.parameters

    def _through_solver(
        self,
        series: Series,
        parts: tuple[list[slice], list[slice]],
        start: Initial,
        parameters: list[Array],
        slopes: Array,
        rng: np.random.RandomState,
    ) -> Trained:
        from rom.dynamics import closure_fit as fits
        from rom.dynamics.networks import effective

        train, held = ([piece.stop - piece.start - 1 for piece in part] for part in parts)
        if series.t is None or slopes.shape[1] != series.Z.shape[1] or not max(train):
            nothing = np.full(3, np.nan), np.empty((0, 3))
            return fits.Trained(effective(parameters, start.multipliers), fits.A_PRIORI, *nothing)
        runs = _runs(series, parts[0], min(self.window, max(train)), stride=1)
        # Held-out runs are as long as can be, without leaving out most of the stretches.
        long = max(1, int(np.median(held)))
        held_out = _runs(series, parts[1], long, stride=long)
        base = fits.polynomial_field(Polynomial(self.base_exponents_, self.base_coef_))
        scales = fits.Scales(self.mean_, self.scale_, self.term_scale_)
        return fits.fit_through_solver(
            parameters, start, fits.closed(base, self._torch_term, scales), runs, held_out,
            fits.Yardstick(series.Z, self.statistics),
            self._schedule(series.Z, slopes, runs, rng), label=f"{type(self).__name__} 2/2",
        )  # fmt: skip

    def _schedule(
        self, Z: Array, slopes: Array, runs: Runs, rng: np.random.RandomState
    ) -> Schedule:
        from rom.dynamics.closure_fit import Schedule

        rate = (_size(slopes) / _nonzero(Z.std(axis=0))).max()
        substeps = max(1, math.ceil(rate * runs.h.max() / MAX_ANGLE))
        seed = int(rng.randint(2**31 - 1))
        return Schedule(self.n_steps, self.batch, self.learning_rate, substeps, seed)

    def _slopes(self, series: Series, pieces: list[slice]) -> tuple[NDArray[np.intp], Array]:
        """The rows that have a time derivative, and their derivatives."""
        if series.y is not None:
            return np.arange(len(series.Z)), series.y
        assert series.t is not None  # Dynamics.fit has checked
        rows, slopes = derivative(series.Z, series.t, pieces)
        if not len(rows):
            raise ValueError(
                f"{type(self).__name__} needs two rows of one trajectory without a gap in time "
                f"between them, but each of the {len(series.Z)} rows stands alone."
            )
        return rows, slopes

    def _set_base(self, series: Series) -> None:
        """Set the base model's polynomial: as given, or identified from the data."""
        if isinstance(self.base, tuple):
            exponents, coef = self.base
        else:
            model = OperatorInference() if self.base is None else clone(self.base)
            model.fit(series.Z, series.y, t=series.t, u=series.u, trajectory=series.trajectory)
            found = model.polynomial() if isinstance(model, HasPolynomial) else None
            if model.time != "continuous" or found is None:
                raise ValueError(
                    "base must be a continuous-time model whose right-hand side is a polynomial, "
                    f"such as OperatorInference, but it is {self.base!r}."
                )
            exponents, coef = found
        self.base_exponents_ = np.array(exponents, dtype=np.int64)
        self.base_coef_ = np.array(coef, dtype=np.float64)
        n = self.n_features_in_ + self.n_inputs_
        if self.base_exponents_.ndim != 2 or self.base_exponents_.shape[1] != n:
            raise ValueError(
                f"With {self.n_features_in_} latent coordinates and {self.n_inputs_} inputs, the "
                f"exponents of base must have shape (n_terms, {n}), but their shape is "
                f"{self.base_exponents_.shape}."
            )
        if self.base_coef_.shape[1:] != self.base_exponents_.shape[:1]:
            raise ValueError(
                f"The coefficients of base must have one column for each of its "
                f"{len(self.base_exponents_)} terms, but their shape is {self.base_coef_.shape}."
            )

    def _set_scales(self, x: Array, residual_scale: Array) -> None:
        rank = self.n_features_in_
        self.mean_, self.scale_ = x.mean(axis=0), _nonzero(x.std(axis=0))
        self.scale_[:rank] = self.scale_[:rank].max()
        self.term_scale_ = residual_scale.copy()
        if self._energetic:
            self.mean_[:rank] = 0.0
            self.term_scale_[:] = self.term_scale_.max()

    def _base(self, x: Array) -> Array:
        values: Array = monomials(x, self.base_exponents_) @ self.base_coef_.T
        return values

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x = Z if u is None else np.hstack([Z, u])
        return self._base(x) + self.term_scale_ * self._term((x - self.mean_) / self.scale_)


def _split(pieces: list[slice], fraction: float) -> tuple[list[slice], list[slice]]:
    """What is trained on, and what is held out: the end of each piece, from a training row on.

    Pieces too short to share are trained on; where nothing is left to hold out, the training rows
    stand in.
    """
    train, held = [], []
    for piece in pieces:
        n = int(fraction * (piece.stop - piece.start))
        cut = piece.stop - n
        train.append(slice(piece.start, cut))
        if n:
            held.append(slice(cut - 1, piece.stop))
    train = [piece for piece in train if piece.stop > piece.start + 1]
    return train or pieces, held or train or pieces


def _runs(series: Series, pieces: list[slice], length: int, stride: int) -> Runs:
    from rom.dynamics.closure_fit import Runs

    assert series.t is not None
    rows = windows(pieces, length + 1, stride=stride)
    u = np.empty((*rows.shape, 0)) if series.u is None else series.u[rows]
    return Runs(series.Z[rows], u, np.diff(series.t[rows], axis=1))


def _size(rows: Array) -> Array:
    """Root mean square of each column."""
    return np.asarray(np.sqrt((rows**2).mean(axis=0)))


def _nonzero(scale: Array) -> Array:
    """Scales to divide by: 1 where a column does not vary."""
    return np.where(scale > 0, scale, 1.0)
