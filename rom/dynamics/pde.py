"""Partial differential equations found in gridded fields, in weak form."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.dynamics.equations import equations
from rom.dynamics.field_rows import default_widths, field_sums
from rom.dynamics.normal import Normal, sum_normals
from rom.dynamics.sparse import CRITERIA, SOLVERS, Criterion, Solver, fit_sparse
from rom.dynamics.windows import DEGREE

Array = NDArray[np.float64]

EVEN_RTOL = 1e-3
# Parameters that the sums do not depend on.
AFTER_SUMS = {"solver", "threshold"}


class WeakPDE(BaseEstimator):
    """The equation of motion of a scalar field: ``∂u/∂t`` as a sum of few terms of a library.

    The terms are 1, powers ``u^p``, and derivatives ``∂ᵏ(u^p)/∂xᵏ`` along each axis of space; of
    first derivatives the names and coefficients are those of ``u^(p-1) ∂u/∂x``. All these are
    integrated, with ``∂u/∂t``, against smooth test functions of compact support, onto which every
    derivative is moved by parts: no derivative is taken of the data, which may be noisy.

    Parameters
    ----------
    degree : int, optional
        Highest power p.
    order : int, optional
        Highest derivative k.
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}, optional
        How terms are chosen: see :func:`rom.dynamics.sparse.fit_sparse`.
    threshold : float or {"aic", "aicc", "bic"}, optional
        Terms whose root mean square over the windows is less than this share of that of ``∂u/∂t``
        are dropped; or the criterion that chooses how many stay.
    widths : sequence of float, optional
        Widths of the test functions along time and each axis of space, in their units. By default
        so wide that at the corner of the spectrum, where noise begins, their transform has fallen
        to a sixteenth; at least 24 steps, and at most half of the axis.

    Attributes
    ----------
    coef_ : ndarray, shape (n_terms,)
    terms_ : list of str
        Names of the terms, "" for the constant 1.
    widths_ : ndarray, shape (1 + n_axes,)
    normal_ : list of ndarray
        Sums over the windows, which :meth:`merge` and :meth:`partial_fit` add to, and
        :meth:`refit` asks.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the field is not finite, has no axis of
        space or another shape than its coordinates, or an axis is uneven or narrower than a test
        function.

    Notes
    -----
    Terms such as ``u ∂²u/∂x²``, which are no derivatives of a function of u, are not offered:
    they cannot be moved onto test functions. Boundaries play no part: test functions vanish there.
    Few times of the field are held at once: of about two widths of the test functions, or whole
    chunks of a dask array.

    References
    ----------
    Messenger & Bortz (2021), J. Comput. Phys. 443, 110525; Gurevich, Reinbold & Grigoriev (2019),
    Chaos 29, 103113.

    Examples
    --------
    >>> from rom.fom import Burgers
    >>> model = Burgers(viscosity=0.02, n=128)
    >>> u = model.simulate(model.initial_state(), np.linspace(0, 1, 201))
    >>> found = WeakPDE(order=2).fit(u)
    >>> found.equation()
    'du/dt = 0.02 u_xx - 1 u u_x'

    A second run, and another threshold, without reading the first run again:

    >>> other = model.simulate(0.5 * model.initial_state(), np.linspace(0, 1, 201))
    >>> found.partial_fit(other).refit(threshold=0.3).equation()
    'du/dt = 0.02 u_xx - 1 u u_x'
    """

    coef_: Array
    terms_: list[str]
    widths_: Array
    normal_: list[Array]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "degree": [Interval(Integral, 1, None, closed="left")],
        "order": [Interval(Integral, 1, DEGREE // 2, closed="both")],
        "solver": [StrOptions(set(SOLVERS))],
        "threshold": [Interval(Real, 0, None, closed="left"), StrOptions(set(CRITERIA))],
        "widths": ["array-like", None],
    }

    def __init__(
        self,
        degree: int = 2,
        order: int = 4,
        *,
        solver: Solver = "stlsq",
        threshold: float | Criterion = 0.05,
        widths: Sequence[float] | None = None,
    ) -> None:
        self.degree = degree
        self.order = order
        self.solver = solver
        self.threshold = threshold
        self.widths = widths

    def fit(
        self, u: Any, y: None = None, *, t: ArrayLike | None = None, x: Sequence[ArrayLike] = ()
    ) -> Self:
        """Find the equation.

        Parameters
        ----------
        u : DataArray or array_like, shape (n_time, *space)
            The field on a regular grid, time first. A DataArray brings its coordinates. A dask
            array is read some chunks of times at a time: once, and once more for default widths.
        y : None
            Ignored.
        t : array_like, shape (n_time,), optional
            Times; required for an array.
        x : sequence of array_like, optional
            Coordinates of each axis of space; required for an array.

        Returns
        -------
        Self
        """
        return self._learn(u, t, x, further=False)

    def partial_fit(
        self, u: Any, y: None = None, *, t: ArrayLike | None = None, x: Sequence[ArrayLike] = ()
    ) -> Self:
        """Learn from a further field of the same equation, such as another run.

        Parameters
        ----------
        u, y, t, x
            As for :meth:`fit`; the grid may be another. The widths are those of the first field.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            As by :meth:`fit`; and if the terms are not those of the fields before.
        """
        return self._learn(u, t, x, further=hasattr(self, "normal_"))

    def _learn(self, u: Any, t: ArrayLike | None, x: Sequence[ArrayLike], *, further: bool) -> Self:
        self._validate_params()
        field, steps, axes = _gridded(u, t, x)
        terms, given = self._terms(axes), self.widths_ if further else self.widths
        if further and terms != self.terms_:
            raise ValueError(
                "partial_fit needs the terms of the fields before, "
                f"{self.terms_}, but they are {terms}."
            )
        spans = [(n - 1) * step for n, step in zip(field.shape, steps, strict=True)]
        widths = default_widths(field, steps) if given is None else _checked_widths(given, spans)
        sums = field_sums(field, steps, widths.tolist(), self.degree, self.order)
        self.widths_, self.terms_ = widths, terms
        self._fit_sums([*([Normal.of(self.normal_)] if further else []), sums])
        return self

    def _fit_sums(self, fields: list[Normal]) -> None:
        found = sum_normals(fields)
        self.normal_ = found.arrays()
        self.coef_ = fit_sparse(found, self.solver, self.threshold, relative=True)[0]

    def refit(self, **parameters: Any) -> Self:
        """A model of the same fields with another solver or threshold: they are not read again.

        Parameters
        ----------
        **parameters
            `solver`, `threshold` or both.

        Returns
        -------
        Self
            A new fitted model.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or changes what has to be integrated.
        """
        if other := sorted(set(parameters) - AFTER_SUMS):
            raise ValueError(
                f"refit changes {', '.join(sorted(AFTER_SUMS))}; for other {', '.join(other)} the "
                "field has to be integrated again: call fit."
            )
        return self._of([self], parameters)

    def merge(self, *others: Self) -> Self:
        """A model of the fields of this one and of others, which are not read again.

        Parameters
        ----------
        *others : WeakPDE
            Fitted to other runs, on whatever grid, with the same terms and widths.

        Returns
        -------
        Self
            A new fitted model, with the parameters of this one: what :meth:`partial_fit` would
            give.

        Raises
        ------
        ValueError
            If the terms or the widths differ.
        """
        for model in (self, *others):
            check_is_fitted(model)
            if model.terms_ != self.terms_ or not np.allclose(model.widths_, self.widths_):
                raise ValueError(
                    "merge needs models with the same terms and widths, but they are "
                    f"{self.terms_}, {self.widths_.tolist()} and "
                    f"{model.terms_}, {model.widths_.tolist()}. Set widths."
                )
        return self._of([self, *others], {})

    def _of(self, models: Sequence[Self], parameters: dict[str, Any]) -> Self:
        """A copy of this model, fitted to the fields of some, with other parameters."""
        check_is_fitted(self)
        new = clone(self).set_params(**parameters)
        new._validate_params()
        new.widths_, new.terms_ = self.widths_, self.terms_
        new._fit_sums([Normal.of(model.normal_) for model in models])
        return new

    def _terms(self, axes: list[str]) -> list[str]:
        """Names of the terms, in the order of their integrals."""
        terms = [""]
        for p in range(1, self.degree + 1):
            terms.append(_power(p))
            terms += [_derivative(p, k, name) for name in axes for k in range(1, self.order + 1)]
        return terms

    def equation(self, *, precision: int = 3) -> str:
        """The equation found, such as ``du/dt = 0.01 u_xx - 1 u u_x``, to so many digits."""
        check_is_fitted(self)
        return equations(
            self.coef_[None], self.terms_, ["u"], time="continuous", precision=precision
        )[0]


def _power(p: int) -> str:
    return "u" if p == 1 else f"u^{p}"


def _derivative(p: int, k: int, name: str) -> str:
    index = name * k if len(name) == 1 else "_".join([name] * k)
    if k == 1:
        return f"u_{index}" if p == 1 else f"{_power(p - 1)} u_{index}"
    return f"u_{index}" if p == 1 else f"({_power(p)})_{index}"


def _gridded(
    u: Any, t: ArrayLike | None, x: Sequence[ArrayLike]
) -> tuple[Any, list[float], list[str]]:
    """The field, NumPy's or dask's; the step of each axis; and the names of those of space."""
    axes = ["x", "y", "z"]
    if isinstance(u, xr.DataArray):
        axes = [str(dim) for dim in u.dims[1:]]
        t, x, u = u[u.dims[0]].to_numpy(), [u[dim].to_numpy() for dim in u.dims[1:]], u.data
    field = u if checks.is_lazy(u) else np.asarray(u)
    if field.ndim < 2:
        raise ValueError(f"u must be (n_time, *space), but its shape is {field.shape}.")
    if len(axes) < field.ndim - 1:
        axes = [f"x{i}" for i in range(1, field.ndim)]
    return field, _steps(field.shape, [t, *x]), axes[: field.ndim - 1]


def _checked_widths(widths: ArrayLike, spans: list[float]) -> Array:
    found = np.asarray(widths, np.float64)
    if found.shape != (len(spans),) or not np.all((found > 0) & (found <= spans)):
        raise ValueError(
            f"widths must be {len(spans)} positive numbers of at most {spans}, one for time and "
            f"each axis of space, but they are {widths!r}."
        )
    return found


def _steps(shape: tuple[int, ...], coordinates: Sequence[Any]) -> list[float]:
    """The step of each axis."""
    found = [np.asarray([] if c is None else c) for c in coordinates]
    if [len(c) for c in found] != list(shape):
        raise ValueError(
            f"t and x must hold the {len(shape)} coordinates of a field of shape {shape}, "
            f"but their lengths are {[len(c) for c in found]}."
        )
    steps = []
    for axis, coordinate in enumerate(found):
        if coordinate.dtype.kind not in "iuf":
            raise ValueError(
                f"Coordinates must be numbers, but those of axis {axis} are {coordinate.dtype}."
            )
        step = np.diff(coordinate.astype(np.float64))
        median = float(np.median(step)) if step.size else 0.0
        if median <= 0 or np.abs(step - median).max() > EVEN_RTOL * median:
            raise ValueError(
                f"The grid must be regular, but the steps of axis {axis} range from "
                f"{step.min(initial=np.inf):g} to {step.max(initial=-np.inf):g}."
            )
        steps.append(median)
    return steps
