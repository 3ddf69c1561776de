"""The contracts: Compressor, Dynamics, FullModel. Nothing numerical."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    runtime_checkable,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from rom import checks

if TYPE_CHECKING:
    import xarray as xr


class Compressor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Maps states ``X`` (n_time, n_space) to latent states ``Z`` (n_time, rank_) and back.

    A compressor writes ``_fit(X)``, which sets ``rank_``, ``_transform(X)`` and
    ``_inverse_transform(Z)``; arrays reach them checked. ``X`` may be a dask array: read it block
    by block. Linear compressors also set ``components_`` (rank_, n_space), ``mean_`` (n_space,)
    and ``singular_values_`` (rank_,). One that knows the run or the parameters of each row writes
    ``_fit_rows(X, y)`` too; one that gets the latent states of its training data while it fits,
    ``_fit_transform(X, y)``. One whose tags say ``allow_nan`` is given rows with gaps.
    """

    rank_: int

    # Fitted arrays whose last axis runs over the cells, with the name of their other axis, if any.
    _over_cells: ClassVar[dict[str, str | None]] = {"components_": "mode", "mean_": None}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Learn the latent coordinates.

        Parameters
        ----------
        X : ndarray or dask array, shape (n_time, n_space)
            Snapshots, one row per time.
        y : array_like, shape (n_time,) or (n_time, n_params), optional
            The run or the parameters of each row, for compressors of families of runs and
            those with memory; ignored by the others.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or `X` is not 2-D numbers, is not finite, has
            fewer than two rows, or cannot be compressed as asked.
        TypeError
            If `X` is of a kind that holds no rows of numbers, such as a sparse matrix.
        """
        self._fit_rows(self._check(X, reset=True), y)
        _to_c_order(self)
        return self

    def transform(self, X: Any) -> NDArray:
        """Latent states ``Z`` (n_time, rank_) of states ``X`` (n_time, n_space)."""
        check_is_fitted(self)
        return self._transform(self._check(X, reset=False))

    def fit_transform(self, X: Any, y: ArrayLike | None = None) -> NDArray:
        """Fit; give the latent states of `X`: those of :meth:`transform` if the fit is exact."""
        Z = self._fit_transform(self._check(X, reset=True), y)
        _to_c_order(self)
        return Z

    def inverse_transform(self, Z: ArrayLike) -> NDArray:
        """States ``X`` (n_time, n_space) of latent states ``Z`` (n_time, rank_)."""
        check_is_fitted(self)
        Z = np.asarray(Z)
        if Z.ndim != 2 or Z.shape[1] != self.rank_:
            raise ValueError(f"Z must be (n_time, {self.rank_}), but its shape is {Z.shape}.")
        return self._inverse_transform(Z)

    def _check(self, X: Any, *, reset: bool, min_rows: int | None = None) -> Any:
        if reset:
            self._validate_params()
        return checks.check_rows(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            min_rows=min_rows or (2 if reset else 1),
            allow_nan=get_tags(self).input_tags.allow_nan,
        )

    def _fit_rows(self, X: Any, y: ArrayLike | None) -> None:
        self._fit(X)

    def _fit_transform(self, X: Any, y: ArrayLike | None) -> NDArray:
        self._fit_rows(X, y)
        return self._transform(X)

    @abstractmethod
    def _fit(self, X: Any) -> None: ...

    @abstractmethod
    def _transform(self, X: Any) -> NDArray: ...

    @abstractmethod
    def _inverse_transform(self, Z: NDArray) -> NDArray: ...

    @property
    def _n_features_out(self) -> int:
        return self.rank_


class Series(NamedTuple):
    """Checked rows of one or several trajectories; row i of every field is the same time."""

    Z: NDArray[np.float64]
    """States (n_time, rank)."""
    y: NDArray[np.float64] | None
    """Targets (n_time, n_targets): dz/dt or the next state, where given."""
    t: NDArray[np.float64] | None
    """Times (n_time,), increasing inside each trajectory."""
    u: NDArray[np.float64] | None
    """Inputs (n_time, n_inputs)."""
    trajectory: NDArray[np.intp]
    """Trajectory codes 0, 1, … (n_time,)."""


class Polynomial(NamedTuple):
    """A polynomial in (z, u): ``f_i = Σ_k coef[i, k] Π_j (z, u)_j^exponents[k, j]``."""

    exponents: NDArray[np.int64]
    """(n_terms, rank + n_inputs)."""
    coef: NDArray[np.float64]
    """(rank, n_terms)."""


@runtime_checkable
class HasPolynomial(Protocol):
    """Dynamics whose right-hand side may be a polynomial, and so can run compiled."""

    def polynomial(self) -> Polynomial | None:
        """The right-hand side, or None where this fit is not a polynomial."""


@runtime_checkable
class HasNoise(Protocol):
    """Dynamics that white noise may drive, beside what ``predict`` gives."""

    def noise_root(self, u: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Matrices R for inputs `u` (n_time, n_inputs), broadcasting to (n_time, rank, rank).

        ``R Rᵀ`` is the covariance that the noise adds per unit of time, or, in a discrete model,
        with each step.
        """

    def ensemble(
        self,
        z0: ArrayLike,
        t: ArrayLike,
        /,
        *,
        n_members: int = 50,
        random_state: int | np.random.RandomState | None = None,
    ) -> NDArray[np.float64]:
        """Runs with noise (n_members, n_time, rank) from one state, exact in their distribution.

        Over times `t`; of a model with inputs, over these at the times, (n_time, n_inputs).
        """


class Dynamics(RegressorMixin, BaseEstimator, ABC):
    """A model of latent states: their time derivative, or the state one step later.

    `fit` and `predict` check, and never need overriding. A model writes ``_fit_series(series)``
    and ``_predict(Z, u)``. One that is a regression on rows derives from
    :class:`rom.dynamics.rows.RowDynamics` instead and writes ``_fit(Z, y, u)``: its rows come
    aligned, and never across the end of a trajectory or a gap in time.

    Attributes
    ----------
    n_features_in_ : int
        The rank, length of the latent state.
    n_inputs_ : int
        Number of inputs ``u``; 0 without.
    input_range_ : ndarray, shape (2, n_inputs)
        The smallest and the largest of each input in training; infinite where it is not known.
    dt_ : float
        Median sampling step of the training times, NaN where no times were given.
    bound_ : float
        Norm past which a rollout is ended by default: 100 times the largest in training, or
        infinite where all training states are zero.
    """

    time: ClassVar[Literal["continuous", "discrete"]]
    n_inputs_: int
    input_range_: NDArray[np.float64]
    dt_: float
    bound_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first: one, but for models with memory."""
        return 1

    def fit(
        self,
        Z: ArrayLike,
        y: ArrayLike | None = None,
        *,
        t: ArrayLike | None = None,
        u: ArrayLike | None = None,
        trajectory: ArrayLike | None = None,
    ) -> Self:
        """Learn the dynamics.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            Latent states, one row per time. A dask array is read into memory.
        y : array_like, shape (n_time, n_targets), optional
            What to predict from each row: dz/dt (continuous models) or the next state (discrete
            ones). Derived from `Z` and `t` where not given.
        t : array_like, shape (n_time,), optional
            Sample times, increasing inside each trajectory. A continuous model needs `y` or `t`.
        u : array_like, shape (n_time, n_inputs), optional
            Inputs at the times of the rows.
        trajectory : array_like, shape (n_time,), optional
            Label of the trajectory each row belongs to; one trajectory where not given.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If a parameter is out of its range; if an array is not finite or of another length
            than `Z`, which needs two rows; if `t` does not increase inside a trajectory or the
            rows of one stand apart; if a continuous model gets neither `y` nor `t`; or if no
            rows are left to learn from.
        TypeError
            If `t` does not hold numbers, or `Z` is of a kind that holds no rows of numbers.
        """
        self._validate_params()
        Z = np.asarray(Z) if checks.is_lazy(Z) else Z
        states: NDArray[np.float64] = checks.check_rows(
            self, Z, reset=True, min_rows=2, check_values=False
        )
        n_rows = len(states)
        trajectory = checks.check_trajectory(trajectory, n_rows)
        series = Series(
            Z=states,
            y=None if y is None else checks.check_targets(y, n_rows, check_values=False),
            t=None if t is None else checks.check_times(t, n_rows, trajectory),
            u=checks.check_inputs(u, n_rows),
            trajectory=trajectory,
        )
        if self.time == "continuous" and series.y is None and series.t is None:
            raise ValueError(
                f"{type(self).__name__} is a continuous-time model and requires y to be passed, "
                "but the target y is None: give y (dz/dt, one row per row of Z) or the sample "
                "times t. Unit spacing is never assumed."
            )
        self.n_inputs_ = 0 if series.u is None else series.u.shape[1]
        self.input_range_ = ends_of(np.zeros((1, 0)) if series.u is None else series.u)
        steps = np.empty(0) if series.t is None else np.diff(series.t)[np.diff(trajectory) == 0]
        self.dt_ = float(np.median(steps)) if steps.size else float("nan")
        self._look_through(series)
        self._fit_series(series)
        _to_c_order(self)
        return self

    def _look_through(self, series: Series) -> None:
        """Refuse what is not finite, and set ``bound_``."""
        self.bound_ = 100.0 * checks.largest_norm(series.Z) or float("inf")
        if series.y is not None:
            checks.check_finite(series.y, "y")

    def predict(self, Z: ArrayLike, *, u: ArrayLike | None = None) -> NDArray[np.float64]:
        """One evaluation per row: dz/dt, or the state one step later.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            Latent states.
        u : array_like, shape (n_time, n_inputs), optional
            Inputs; required where the model was fitted with some.

        Returns
        -------
        ndarray, shape (n_time, n_targets)
        """
        check_is_fitted(self)
        states: NDArray[np.float64] = checks.check_rows(self, Z, reset=False)
        inputs = checks.check_inputs(u, len(states), n_inputs=self.n_inputs_)
        return self._predict(states, inputs)

    def score(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: Any = None) -> float:
        """Coefficient of determination R² of :meth:`predict` on targets `y`.

        Raises
        ------
        ValueError
            Without `y`: a latent model is judged by its rollouts in a :class:`rom.ROM`, whose
            score is their skill.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__}.score needs the targets y (dz/dt, or the next states). To "
                "choose a model by its rollouts, search over a rom.ROM: its score is their skill."
            )
        return float(super().score(X, y, sample_weight))

    @abstractmethod
    def _fit_series(self, series: Series) -> None: ...

    @abstractmethod
    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]: ...

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        tags.target_tags.required = False
        tags.regressor_tags.poor_score = True
        return tags


def ends_of(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The smallest and the largest of each column, (2, n_columns)."""
    return np.stack([u.min(axis=0), u.max(axis=0)])


def _to_c_order(estimator: BaseEstimator) -> None:
    """Lay fitted arrays out row by row.

    The rounding of matrix products depends on the layout, which a file does not keep: this way a
    loaded model gives the same bits.
    """
    for name, value in vars(estimator).items():
        if not name.endswith("_"):
            continue
        if isinstance(value, np.ndarray) and value.ndim:
            setattr(estimator, name, np.ascontiguousarray(value))
        elif isinstance(value, list):
            items = [np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for v in value]
            setattr(estimator, name, items)


@runtime_checkable
class FullModel(Protocol):
    """A full-order model: what a reduced model is checked against."""

    def simulate(
        self,
        x0: ArrayLike,
        t: ArrayLike,
        *,
        u: ArrayLike | None = None,
        params: Mapping[str, float] | None = None,
    ) -> xr.DataArray:
        """Run from state `x0` (*space) and return the states at times `t`, dims (time, *space)."""


@runtime_checkable
class HasCoarser(Protocol):
    """A full model that can make itself cheaper: the rival of a reduced one at equal cost [1]_.

    References
    ----------
    .. [1] T. G. Grossmann, U. J. Komorowska, J. Latz and C.-B. Schönlieb (2024), Can
       physics-informed neural networks beat the finite element method?, IMA J. Appl. Math. 89,
       143-174: why surrogates are to be compared with a solver of their own cost.
    """

    def coarser(self, factor: int) -> FullModel:
        """The same system on a grid `factor` times coarser; states come and go on the own one.

        Raises
        ------
        ValueError
            If too few points would be left.
        """
