"""What every full-order model does at its edges: check what comes in, label what goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from rom import checks

Model = TypeVar("Model")


def with_params(model: Model, params: Mapping[str, float] | None) -> Model:
    """The model (a dataclass) with the named parameters replaced."""
    known = [field.name for field in fields(model)]  # type: ignore[arg-type]
    unknown = sorted(set(params or {}) - set(known))
    if unknown:
        raise ValueError(
            f"{type(model).__name__} has no parameter {unknown[0]!r}; it has {', '.join(known)}."
        )
    return replace(model, **(params or {}))  # type: ignore[type-var]


def check_positive(model: object, *names: str) -> None:
    """Refuse parameters of `model` that are not positive numbers, naming the first."""
    for name in names:
        value = getattr(model, name)
        if not isinstance(value, Real) or not 0 < float(value) < inf:
            raise ValueError(f"{name} must be positive and finite, but it is {value!r}.")


def check_finite(model: object, *names: str) -> None:
    """Refuse parameters of `model` that are not finite numbers, naming the first."""
    for name in names:
        value = getattr(model, name)
        if not isinstance(value, Real) or not isfinite(value):
            raise ValueError(f"{name} must be a finite number, but it is {value!r}.")


def check_count(model: object, name: str, least: int, *, even: bool = False) -> None:
    """Refuse a number of points that is no whole number, too small or, if `even`, odd."""
    value = getattr(model, name)
    if not isinstance(value, Integral) or value < least or (even and value % 2):
        kind = "an even number" if even else "a whole number"
        raise ValueError(f"{name} must be {kind} of at least {least}, but it is {value!r}.")


def check_run(
    model: object, x0: ArrayLike, t: ArrayLike, shape: tuple[int, ...], u: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Check the start state and output times of a run; a `u` handed on here is refused.

    Returns
    -------
    x0 : ndarray, shape `shape`
        A copy.
    t : ndarray, shape (n_time,)
    """
    name = type(model).__name__
    if u is not None:
        raise ValueError(f"{name} takes no inputs, but u was given.")
    state = np.array(x0, dtype=np.float64)
    if state.shape != shape:
        raise ValueError(f"A state of {name} has shape {shape}, but x0 has shape {state.shape}.")
    if not np.isfinite(state).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(state))[0])
        raise ValueError(f"x0 must be finite, but x0{list(where)} is {state[where]}.")
    if np.size(t) == 0:
        raise ValueError("t must hold at least one time, the time of x0, but it is empty.")
    return state, checks.check_times(t, np.size(t))


def label(
    states: NDArray[np.float64], t: NDArray[np.float64], like: xr.DataArray, time_units: str = "1"
) -> xr.DataArray:
    """States (n_time, *space) at times `t`, labelled like the one state `like` (*space)."""
    finite = np.isfinite(states).reshape(len(t), -1).all(axis=1)
    if not finite.all():
        raise FloatingPointError(
            f"The simulation left the finite numbers by t = {t[np.argmin(finite)]:g}: "
            "start from a smaller state or use a finer grid."
        )
    time = xr.Variable("time", t, {"standard_name": "time", "units": time_units, "axis": "T"})
    return xr.DataArray(
        states,
        dims=("time", *like.dims),
        coords={"time": time, **like.coords},
        name=like.name,
        attrs=like.attrs,
    )


def substeps(t: NDArray[np.float64], longest: float) -> list[tuple[int, float]]:
    """For each interval of `t` the number and length of the even steps, none over `longest`."""
    spans = np.diff(t)
    numbers = np.ceil(spans / longest * (1 - 1e-12))
    return [(int(n), float(span / n)) for n, span in zip(numbers, spans, strict=True)]


def solve_tightly(
    rhs: Callable[[float, NDArray[np.float64]], Any],
    x0: NDArray[np.float64],
    t: NDArray[np.float64],
) -> NDArray[np.float64]:
    """States (n_time, n) of ``dx/dt = rhs(t, x)`` by DOP853 with relative tolerance 1e-11."""
    if len(t) == 1:
        return x0[np.newaxis]
    solution = solve_ivp(rhs, (t[0], t[-1]), x0, "DOP853", t_eval=t, rtol=1e-11, atol=1e-11)
    if not solution.success:
        raise FloatingPointError(f"The simulation stopped at t = {t[0]:g}: {solution.message}")
    return solution.y.T
