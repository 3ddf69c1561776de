"""Every array check and its message.

Rows are times throughout: a state array is ``(n_time, n_features)``, and everything that goes
with it (times, inputs, trajectory labels) has one row per row of it. Messages say what was
expected and what came.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_array, validate_data

# From so many rows and columns on the threads of BLAS pay.
WIDE = 64
# Rows of latent states that are worked on at a time.
PART_ROWS = 4096


def is_lazy(X: object) -> bool:
    """Whether `X` is a dask array, which only a compressor may read, block by block."""
    return hasattr(X, "dask") and hasattr(X, "chunks")


def check_rows(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    dtype: Any = np.float64,
    min_rows: int = 1,
    allow_nan: bool = False,
    check_values: bool = True,
) -> Any:
    """Check a state array and the number of its columns against what `estimator` was fitted on.

    Parameters
    ----------
    estimator : estimator
        Stores ``n_features_in_`` when `reset`; is compared with it otherwise.
    X : array_like or dask array, shape (n_time, n_features)
        A dask array stays lazy: its values are checked when a compressor reads them.
    reset : bool
        True in ``fit``, False afterwards.
    dtype : dtype or list of dtypes, optional
        As in :func:`sklearn.utils.check_array`.
    min_rows : int, optional
        The fewest rows accepted.
    allow_nan : bool, optional
        Accept NaN (gaps), but no infinity.
    check_values : bool, optional
        False where the caller looks at all values anyway.

    Returns
    -------
    ndarray or dask array, shape (n_time, n_features)
    """
    if is_lazy(X):
        _check_lazy_rows(estimator, X, reset=reset, min_rows=min_rows)
        return X
    if getattr(getattr(X, "dtype", None), "kind", "f") in "USMm":
        raise ValueError(f"X must hold real numbers, but its dtype is {X.dtype}.")
    if isinstance(X, np.ma.MaskedArray):  # its mask would be lost
        X = np.ma.filled(X.astype(np.result_type(X, np.float32)), np.nan)
    rows = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=dtype,
        ensure_min_samples=min_rows,
        ensure_all_finite=False,
    )
    if check_values:
        check_finite(rows, "X", allow_nan=allow_nan)
    return rows


def check_finite(values: NDArray, name: str, *, allow_nan: bool = False) -> None:
    """Refuse NaN and infinity in a 2-D array, naming the first place and the count."""
    with np.errstate(invalid="ignore", over="ignore"):
        # A sum is not finite where a number is not; a mask would take memory. BLAS has threads.
        if min(values.shape) >= WIDE or not values.flags.forc:
            total = values @ np.ones(values.shape[1], values.dtype)
        else:
            total = np.dot(values.ravel("K"), values.ravel("K"))
        if np.isfinite(total).all():
            return
    finite = np.isfinite(values)
    if allow_nan:
        finite |= np.isnan(values)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0].tolist()
    what = "infinity" if allow_nan else "NaN or infinity"
    raise ValueError(
        f"{name} contains {what}: {(~finite).sum()} values, the first "
        f"({values[row, column]}) in row {row}, column {column}."
    )


def real_array(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Real numbers as an array, NaN where they are masked.

    Raises
    ------
    ValueError
        If they are complex numbers, dates, text, or no array of numbers at all.
    """
    try:
        array = np.asanyarray(values)  # a mask is kept
        if array.dtype.kind in "biufO":
            return _unmasked(array)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be an array of real numbers, but got a {type(values).__name__}: {error}"
        ) from None
    raise ValueError(f"{name} must hold real numbers, but its dtype is {array.dtype}.")


def _unmasked(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.ma.filled(array.astype(np.float64, copy=False), np.nan))


def largest_norm(rows: NDArray[np.float64]) -> float:
    """The largest Euclidean norm of a row, found in parts that stay in a core's cache.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    ones = np.ones(rows.shape[1])
    parts = (rows[i : i + PART_ROWS] for i in range(0, len(rows), PART_ROWS))
    with np.errstate(over="ignore", invalid="ignore"):
        largest = float(np.sqrt(np.max([(part * part @ ones).max() for part in parts])))
    if not np.isfinite(largest):  # or the square of a value is not
        check_finite(rows, "X")
    return largest


def _check_lazy_rows(estimator: Any, X: Any, *, reset: bool, min_rows: int) -> None:
    name = type(estimator).__name__
    if X.ndim != 2:
        raise ValueError(f"X must be 2-D (n_time, n_features), but it has shape {X.shape}.")
    if X.shape[0] < min_rows:
        raise ValueError(f"{name} needs at least {min_rows} rows (times), but X has {X.shape[0]}.")
    if reset:
        estimator.n_features_in_ = X.shape[1]
    elif X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {name} is expecting "
            f"{estimator.n_features_in_} features as input."
        )


def check_targets(y: ArrayLike, n_rows: int, *, check_values: bool = True) -> NDArray[np.float64]:
    """Check targets `y`, one row per state; a 1-D `y` becomes one column."""
    targets = _as_columns(y, "y", check_values=check_values)
    _check_same_length("y", len(targets), n_rows)
    return targets


def check_inputs(
    u: ArrayLike | None, n_rows: int, *, n_inputs: int | None = None
) -> NDArray[np.float64] | None:
    """Check inputs `u` ``(n_time, n_inputs)``; `n_inputs` is what the model was fitted with."""
    if u is None:
        if n_inputs:
            raise ValueError(f"The model was fitted with {n_inputs} inputs, but u was not given.")
        return None
    inputs = _as_columns(u, "u")
    _check_same_length("u", len(inputs), n_rows)
    if n_inputs is not None and inputs.shape[1] != n_inputs:
        raise ValueError(
            f"u has {inputs.shape[1]} inputs, but the model was fitted with {n_inputs}."
        )
    return inputs


def _as_columns(values: ArrayLike, name: str, *, check_values: bool = True) -> NDArray[np.float64]:
    array = real_array(values, name)
    array = np.asarray(check_array(array, ensure_2d=False, ensure_all_finite=False))
    columns = array.reshape(-1, 1) if array.ndim == 1 else array
    if check_values:
        check_finite(columns, name)
    return columns


def check_trajectory(trajectory: ArrayLike | None, n_rows: int) -> NDArray[np.intp]:
    """Check trajectory labels and return them as codes 0, 1, …, one per row.

    Rows of one trajectory must stand together: a label that comes back would silently become
    a second trajectory.
    """
    if trajectory is None:
        return np.zeros(n_rows, dtype=np.intp)
    labels = np.asarray(trajectory)
    if labels.ndim != 1:
        raise ValueError(
            f"trajectory must be 1-D, one label per row, but its shape is {labels.shape}."
        )
    _check_same_length("trajectory", len(labels), n_rows)
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    unique, counts = np.unique(labels[starts], return_counts=True)
    if np.any(counts > 1):
        raise ValueError(
            f"The rows of a trajectory must stand together, but label {unique[counts > 1][0]!r} "
            f"comes in {counts.max()} separate runs of rows."
        )
    codes = np.zeros(n_rows, dtype=np.intp)
    codes[starts[1:]] = 1
    return np.cumsum(codes)


def check_times(
    t: ArrayLike, n_rows: int, trajectory: NDArray[np.intp] | None = None
) -> NDArray[np.float64]:
    """Check sample times: numbers, finite, strictly increasing inside each trajectory."""
    times = np.asanyarray(t)  # a mask is kept
    if times.ndim != 1:
        raise ValueError(f"t must be 1-D, one time per row, but its shape is {times.shape}.")
    if times.dtype.kind not in "fiu":
        raise TypeError(
            f"t must hold numbers, but its dtype is {times.dtype}: give times in a fixed unit, "
            "or fit a rom.ROM on xarray data, which brings its own time."
        )
    _check_same_length("t", len(times), n_rows)
    times = np.array(_unmasked(times))
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise ValueError(
            f"t holds {bad.size} values that are not finite, the first in row {bad[0]}."
        )
    low, high = float(times.min(initial=np.inf)), float(times.max(initial=-np.inf))
    if high - low == np.inf:
        raise ValueError(f"t spans more than a number can hold, from {low:g} to {high:g}.")
    step = np.diff(times)
    inside = np.ones(len(step), bool) if trajectory is None else trajectory[1:] == trajectory[:-1]
    bad = np.flatnonzero(inside & (step <= 0))
    if bad.size:
        row = bad[0] + 1
        kind = "repeats" if step[row - 1] == 0 else "runs backwards"
        raise ValueError(
            f"t must increase within a trajectory, but it {kind} at row {row} "
            f"({times[row - 1]:.10g} then {times[row]:.10g}); {bad.size} such rows in all."
        )
    return times


def _check_same_length(name: str, n: int, n_rows: int) -> None:
    if n != n_rows:
        raise ValueError(f"{name} has {n} rows, but the state has {n_rows}: one row per time each.")
