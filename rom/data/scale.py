"""Scale: centring, one physical scale per variable, and area weights, as one affine map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.checks import check_rows, is_lazy

PHASES = {None: 1, "month": 12, "day": 366}
LEAP_DAY = 59  # 29 February, in days counted as in a leap year
# A pole has no area, but its column has to invert: it gets that of a cell 0.06 degrees away.
SMALLEST_COS = 1e-3
BLOCK = 2**22  # numbers read at a time for the statistics of an array in memory


class Scale(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Centres rows, gives each variable unit variance, and weights cells by area.

    ``rows = (X - offset_[phase]) * factor_``, inverted exactly by `inverse_transform`. float32
    stays float32, and dask arrays stay lazy: one pass reads them in `fit`. NaN are gaps: left out
    of the statistics, and kept.

    Parameters
    ----------
    center : bool
        Subtract the mean of each column, or the climatology.
    scale : bool
        Divide each variable by one number: its standard deviation about the mean (or the
        climatology), over all its columns and times. Ratios within a variable stay physical.
    area_weights : bool
        Multiply by the square root of cos(latitude), so that sums of squares are area means.
    climatology : {None, "month", "day"}
        Subtract the mean of the same calendar month or day instead of the mean of all times. A
        29 February that training lacks gets the mean of the days beside it.

    Attributes
    ----------
    offset_ : ndarray, shape (n_phase, n_space)
        What is subtracted in each phase of the year, NaN for phases not in training; one row
        without a climatology.
    factor_ : ndarray, shape (n_space,)
        What is multiplied with.
    scale_ : ndarray, shape (n_variables,)
        Standard deviation of each variable, in its own units; 1 without `scale`.
    n_features_in_ : int
        Number of columns, n_space.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 10.0, 0.1], [3.0, 30.0, 0.3]])
    >>> scale = Scale().fit(X, variable=["u", "u", "p"])
    >>> rows = scale.transform(X)
    >>> rows.round(2)
    array([[-0.14, -1.41, -1.  ],
           [ 0.14,  1.41,  1.  ]])
    >>> np.allclose(scale.inverse_transform(rows), X)
    True
    """

    # Fitted arrays over the cells, with the name of their other axis, if any.
    _over_cells: ClassVar[dict[str, str | None]] = {"offset_": "offset_phase", "factor_": None}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "center": ["boolean"],
        "scale": ["boolean"],
        "area_weights": ["boolean"],
        "climatology": [StrOptions({"month", "day"}), None],
    }

    def __init__(
        self,
        center: bool = True,
        scale: bool = True,
        area_weights: bool = False,
        climatology: Literal["month", "day"] | None = None,
    ) -> None:
        self.center = center
        self.scale = scale
        self.area_weights = area_weights
        self.climatology = climatology

    def fit(
        self,
        X: Any,
        y: None = None,
        *,
        variable: ArrayLike | None = None,
        latitude: ArrayLike | None = None,
        phase: ArrayLike | None = None,
    ) -> Self:
        """Learn offsets and factors.

        Parameters
        ----------
        X : ndarray or dask array, shape (n_time, n_space)
            Rows of numbers, one per time.
        y : None
            Ignored; there for scikit-learn.
        variable : array_like, shape (n_space,), optional
            Label of the variable each column belongs to; one variable where not given.
        latitude : array_like, shape (n_space,), optional
            Degrees north; needed for `area_weights`.
        phase : array_like of int, shape (n_time,), optional
            Phase of the year of each row (see :func:`rom.data.phase`); needed for a climatology.

        Raises
        ------
        ValueError
            A variable is constant, or `latitude` or `phase` is missing where needed.
        """
        self._validate_params()
        if self.climatology is not None and not self.center:
            raise ValueError("A climatology is subtracted, so it needs center=True.")
        X = check_rows(
            self, X, reset=True, dtype=[np.float64, np.float32], min_rows=2, allow_nan=True
        )
        moments = moments_of(X, self._check_phase(phase, len(X)))
        return self.fit_moments(moments, X.dtype, variable=variable, latitude=latitude)

    def fit_moments(
        self,
        moments: Moments,
        dtype: Any,
        *,
        variable: ArrayLike | None = None,
        latitude: ArrayLike | None = None,
    ) -> Self:
        """Learn offsets and factors from moments of rows that are not at hand any more.

        Parameters
        ----------
        moments : Moments
            Of all rows, about the phases that this scaling distinguishes.
        dtype : dtype
            Of the rows.
        variable, latitude
            As in :meth:`fit`.
        """
        n_space = len(moments.spread)
        self.n_features_in_ = n_space
        labels, code = _codes(variable, n_space)
        self.offset_ = np.zeros((PHASES[self.climatology], n_space), dtype=dtype)
        if self.center:
            self.offset_[:] = np.nan
            for p, (_, mean) in moments.phases.items():
                self.offset_[p] = mean
            if self.climatology == "day" and np.isnan(self.offset_[LEAP_DAY, 0]):
                # Training without a leap year: NaN stays where a neighbour is unknown, too.
                around = self.offset_[[LEAP_DAY - 1, LEAP_DAY + 1]]
                self.offset_[LEAP_DAY] = around.mean(axis=0)
        self.scale_ = np.ones(len(labels))
        if self.scale:
            self.scale_ = _deviations(moments, labels, code, dtype)
        self.factor_ = (self.weights(latitude, n_space) / self.scale_[code]).astype(dtype)
        return self

    def transform(self, X: Any, *, phase: ArrayLike | None = None) -> Any:
        """Scaled rows (n_time, n_space); `phase` (n_time,) as in `fit`."""
        return self._apply(_forward, X, phase)

    def inverse_transform(self, X: Any, *, phase: ArrayLike | None = None) -> Any:
        """Physical rows (n_time, n_space) of scaled ones; `phase` (n_time,) as in `fit`."""
        return self._apply(_backward, X, phase)

    def _apply(self, function: Any, X: Any, phase: ArrayLike | None) -> Any:
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, dtype=[np.float64, np.float32], allow_nan=True)
        phase = self._check_phase(phase, len(X))
        unseen = np.unique(phase[np.isnan(self.offset_[phase, 0])])
        if unseen.size:
            raise ValueError(
                f"No training data in {_phase_name(unseen[0], self.climatology)}, so it has no "
                f"climatology; {unseen.size} such {self.climatology}s in all."
            )
        offset, factor = self.offset_.astype(X.dtype), self.factor_.astype(X.dtype)
        if not is_lazy(X):
            return function(X, phase[:, None], offset, factor)
        import dask.array as da

        if not _cut_along_cells(X):
            X = X.rechunk({1: -1})
        phases = da.from_array(phase[:, None], chunks=(X.chunks[0], 1))
        offset = da.from_array(offset, chunks=(-1, X.chunks[1]))
        factor = da.from_array(factor[None], chunks=(1, X.chunks[1]))
        return da.blockwise(
            function,
            "tx",
            X,
            "tx",
            phases,
            "ty",
            offset,
            "px",
            factor,
            "zx",
            concatenate=True,
            align_arrays=False,
            dtype=X.dtype,
            meta=X._meta,
        )

    def _check_phase(self, phase: ArrayLike | None, n_rows: int) -> NDArray[np.intp]:
        if self.climatology is None:
            return np.zeros(n_rows, dtype=np.intp)
        if phase is None:
            raise ValueError(f"climatology={self.climatology!r} needs the phase of each row.")
        phase = np.asarray(phase, dtype=np.intp)
        n_phase = PHASES[self.climatology]
        if phase.shape != (n_rows,) or phase.min() < 0 or phase.max() >= n_phase:
            raise ValueError(
                f"phase must hold {n_rows} numbers from 0 to {n_phase - 1}, but has shape "
                f"{phase.shape} and runs from {phase.min()} to {phase.max()}."
            )
        return phase

    def weights(self, latitude: ArrayLike | None, n_space: int) -> NDArray[np.float64]:
        """Square root of the area of each cell (n_space,), or ones."""
        if not self.area_weights:
            return np.ones(n_space)
        if latitude is None:
            raise ValueError(
                "area_weights=True needs the latitude of every column: a coordinate with "
                "standard_name 'latitude', units 'degrees_north', or the name lat or latitude."
            )
        latitude = np.asarray(latitude, dtype=np.float64)
        if latitude.shape != (n_space,) or not (np.abs(latitude) <= 90.01).all():
            raise ValueError(f"latitude must hold {n_space} numbers from -90 to 90 degrees.")
        return np.sqrt(np.maximum(np.cos(np.deg2rad(latitude)), SMALLEST_COS))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _phase_name(phase: int, climatology: str | None) -> str:
    """The month or day of a phase, as people say it."""
    first = np.datetime64("2000-01" if climatology == "month" else "2000-01-01")
    return f"{climatology} {str(first + int(phase))[5:]}"


def _forward(X: Any, phase: Any, offset: NDArray[Any], factor: NDArray[Any]) -> NDArray[Any]:
    rows = offset[phase[:, 0]]  # the one new array
    np.subtract(X, rows, out=rows)
    rows *= factor
    return rows


def _backward(X: Any, phase: Any, offset: NDArray[Any], factor: NDArray[Any]) -> NDArray[Any]:
    rows = X / factor
    rows += offset if len(offset) == 1 else offset[phase[:, 0]]
    return rows


class Moments(NamedTuple):
    """Moments of some rows, in float64."""

    phases: dict[int, tuple[int, NDArray[np.float64]]]
    """For each phase that occurs: the number of its rows, and their mean (n_space,)."""
    spread: NDArray[np.float64]
    """Sum of squared deviations of all rows from the mean of their phase (n_space,)."""


def moments_of(X: Any, phase: NDArray[np.intp]) -> Moments:
    """Moments of all rows, read once, block by block."""
    if not is_lazy(X):
        if np.isnan(X).any():
            return _moments_of_gappy(X, phase)
        step = max(1, BLOCK // X.shape[1])
        starts = range(0, len(X), step)
        return reduce(
            merge_moments, (block_moments(X[i : i + step], phase[i : i + step]) for i in starts)
        )
    import dask

    if _cut_along_cells(X):
        parts = [dask.delayed(block_moments)(block, phase) for block in X.to_delayed()[0]]
        return side_by_side(dask.compute(*parts))
    X = X.rechunk({1: -1})
    edges = np.cumsum([0, *X.chunks[0]])
    parts = [
        dask.delayed(block_moments)(block, phase[i:j])
        for block, (i, j) in zip(X.to_delayed()[:, 0], pairwise(edges), strict=True)
    ]
    return reduce(dask.delayed(merge_moments), parts).compute()


def _cut_along_cells(X: Any) -> bool:
    """Whether each chunk holds all times, of some cells."""
    return X.numblocks[0] == 1 and X.numblocks[1] > 1


def side_by_side(parts: Sequence[Moments]) -> Moments:
    """Moments of all columns, from those of some each."""
    return Moments(
        {
            p: (n, np.concatenate([part.phases[p][1] for part in parts]))
            for p, (n, _) in parts[0].phases.items()
        },
        np.concatenate([part.spread for part in parts]),
    )


def _moments_of_gappy(X: NDArray[Any], phase: NDArray[np.intp]) -> Moments:
    """Moments of rows with gaps: each column as if its gaps held more of what it has."""
    phases, spread = {}, np.zeros(X.shape[1])
    overall = np.nanmean(X, axis=0, dtype=np.float64)
    for p in np.unique(phase):
        rows = X[phase == p]
        seen = np.maximum((~np.isnan(rows)).sum(axis=0), 1)
        mean = np.nansum(rows - overall, axis=0, dtype=np.float64) / seen + overall
        spread += np.nansum((rows - mean) ** 2, axis=0) * (len(rows) / seen)
        phases[int(p)] = (len(rows), mean)
    return Moments(phases, spread)


def block_moments(X: NDArray[Any], phase: NDArray[np.intp]) -> Moments:
    """Moments of rows in memory."""
    phases, spread = {}, np.zeros(X.shape[1])
    for p in np.unique(phase):
        rows = X[phase == p]
        mean = rows.mean(axis=0, dtype=np.float64)
        spread += ((rows - mean) ** 2).sum(axis=0)
        phases[int(p)] = (len(rows), mean)
    return Moments(phases, spread)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of the rows of both: the pairwise update of Chan, Golub and LeVeque (1979)."""
    phases, spread = dict(a.phases), a.spread + b.spread
    for p, (n_b, mean_b) in b.phases.items():
        if p not in phases:
            phases[p] = (n_b, mean_b)
            continue
        n_a, mean_a = phases[p]
        delta = mean_b - mean_a
        phases[p] = (n_a + n_b, mean_a + delta * n_b / (n_a + n_b))
        spread = spread + delta**2 * (n_a * n_b / (n_a + n_b))
    return Moments(phases, spread)


def _codes(variable: ArrayLike | None, n_space: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Labels of the variables in the order they come, and the position of each column's."""
    if variable is None:
        return np.array(["x"]), np.zeros(n_space, dtype=np.intp)
    variable = np.asarray(variable)
    if variable.shape != (n_space,):
        raise ValueError(f"variable must hold {n_space} labels, but its shape is {variable.shape}.")
    labels, first, code = np.unique(variable, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return labels[order], np.argsort(order)[code]


def _deviations(
    moments: Moments, labels: NDArray[Any], code: NDArray[np.intp], dtype: Any
) -> NDArray[np.float64]:
    """Standard deviation of each variable, refused where it is rounding error."""
    n_rows = sum(n for n, _ in moments.phases.values())
    size = np.bincount(code) * n_rows
    deviation = np.sqrt(np.bincount(code, weights=moments.spread) / size)
    largest = np.zeros(len(labels))
    for _, mean in moments.phases.values():
        np.maximum.at(largest, code, np.abs(mean))
    constant = np.flatnonzero(~(deviation > 10 * np.finfo(dtype).eps * largest))
    if constant.size:
        raise ValueError(
            f"Variable {labels[constant[0]]} does not vary about its mean or climatology (standard "
            f"deviation {deviation[constant[0]]:g}), so it cannot be scaled to unit variance: "
            "leave it out, or, if the climatology has one year only, give more years."
        )
    return deviation
