"""Partial differential equations found in gridded fields, in weak form."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.special import eval_gegenbauer, factorial, poch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.dynamics.equations import equations
from rom.dynamics.normal import normal
from rom.dynamics.sparse import CRITERIA, SOLVERS, Criterion, Solver, fit_sparse
from rom.dynamics.weak import DEGREE, PASS, spectrum_corner

Array = NDArray[np.float64]

# Of a test function along each axis; and how many begin within its width.
FEWEST_STEPS, OVERLAP = 24, 8
# Terms with high derivatives carry the noise of short waves: the transform of a test function is
# to have fallen to a sixteenth at the corner of the spectrum.
WIDER = 2.0
# Lines of the field along an axis whose spectra are looked at.
N_LINES = 64
EVEN_RTOL = 1e-3


def bump_derivative(s: Array, order: int) -> Array:
    """The derivative of this order of ``(1 - s²)^16`` at `s` in -1 … 1, by Rodrigues' formula.

    Examples
    --------
    >>> bump_derivative(np.array([0.0, 0.5]), 0).tolist() == [1.0, 0.75**16]
    True
    >>> bump_derivative(np.array([0.0]), 2)
    array([-32.])
    """
    index = DEGREE - order + 0.5
    scale = (-2.0) ** order * factorial(order) * poch(index + 0.5, order) / poch(2 * index, order)
    return np.asarray(scale * (1 - s * s) ** (DEGREE - order) * eval_gegenbauer(order, index, s))


def window_matrices(n: int, step: float, width: float, orders: Sequence[int]) -> list[csr_array]:
    """For each order k a matrix (n_windows, n) that integrates even samples times (-1)^k dᵏφ/dxᵏ.

    That is what integration by parts leaves of the integral of φ times the k-th derivative of
    what was sampled.

    Parameters
    ----------
    n : int
        Number of samples.
    step : float
        Their distance.
    width : float
        Width of the test functions; at most ``(n - 1) step``.
    orders : sequence of int

    Returns
    -------
    list of csr_array
    """
    half = max(1, int(width / (2 * step) + 1e-9))
    first = np.arange(0, n - 2 * half, max(1, 2 * half // OVERLAP))
    s = np.arange(-half, half + 1) / half
    columns = (first[:, None] + np.arange(len(s))).ravel()
    ends = np.arange(len(first) + 1) * len(s)
    matrices = []
    for order in orders:
        weights = step * (-1.0 / (half * step)) ** order * bump_derivative(s, order)
        matrices.append(csr_array((np.tile(weights, len(first)), columns, ends), (len(first), n)))
    return matrices


def along(matrix: csr_array, field: Array, axis: int) -> Array:
    """The product of a matrix (m, n) with the lines of a field along an axis."""
    lines = np.moveaxis(field, axis, 0)
    product = matrix @ np.ascontiguousarray(lines.reshape(len(lines), -1))
    return np.moveaxis(product.reshape(-1, *lines.shape[1:]), 0, axis)


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
    One field of one run, in memory.

    References
    ----------
    Messenger & Bortz (2021), J. Comput. Phys. 443, 110525; Gurevich, Reinbold & Grigoriev (2019),
    Chaos 29, 103113.

    Examples
    --------
    >>> from rom.fom import Burgers
    >>> model = Burgers(viscosity=0.02, n=128)
    >>> u = model.simulate(model.initial_state(), np.linspace(0, 1, 201))
    >>> WeakPDE(order=2).fit(u).equation()
    'du/dt = 0.02 u_xx - 1 u u_x'
    """

    coef_: Array
    terms_: list[str]
    widths_: Array

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
            The field on a regular grid, time first. A DataArray brings its coordinates.
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
        self._validate_params()
        names = ["x", "y", "z"]
        if isinstance(u, xr.DataArray):
            names = [str(dim) for dim in u.dims[1:]]
            t, x = u[u.dims[0]].to_numpy(), [u[dim].to_numpy() for dim in u.dims[1:]]
        field = np.asarray(u, np.float64)
        if field.ndim < 2 or not np.isfinite(field).all():
            raise ValueError(
                f"u must be finite and (n_time, *space), but its shape is {field.shape} and "
                f"{int((~np.isfinite(field)).sum())} values are not finite."
            )
        names = names if len(names) >= field.ndim - 1 else [f"x{i}" for i in range(1, field.ndim)]
        steps = _steps(field, [t, *x])
        self.widths_ = self._choose_widths(field, steps)
        A, Y, self.terms_ = self._weak_terms(field, steps, names)
        self.coef_ = fit_sparse(
            normal(A, Y, exact=True), self.solver, self.threshold, relative=True
        )[0]
        return self

    def _choose_widths(self, field: Array, steps: list[float]) -> Array:
        spans = [(n - 1) * step for n, step in zip(field.shape, steps, strict=True)]
        if self.widths is not None:
            widths = np.asarray(self.widths, np.float64)
            if widths.shape != (field.ndim,) or not np.all((widths > 0) & (widths <= spans)):
                raise ValueError(
                    f"widths must be {field.ndim} positive numbers of at most {spans}, one for "
                    f"time and each axis of space, but they are {self.widths}."
                )
            return widths
        return np.array(
            [
                _default_width(np.moveaxis(field, axis, 0).reshape(n, -1), steps[axis])
                for axis, n in enumerate(field.shape)
            ]
        )

    def _weak_terms(
        self, field: Array, steps: list[float], names: list[str]
    ) -> tuple[Array, Array, list[str]]:
        """Rows of the terms and of ∂u/∂t, one for each window; and the names of the terms."""
        orders = range(self.order + 1)
        windows = [
            window_matrices(n, step, width, orders)
            for n, step, width in zip(field.shape, steps, self.widths_.tolist(), strict=True)
        ]

        def integral(values: Array, axis: int = 0, order: int = 0) -> Array:
            for i, matrices in enumerate(windows):
                values = along(matrices[order if i == axis else 0], values, i)
            return values.ravel()

        columns, terms = [integral(np.ones_like(field))], [""]
        for p in range(1, self.degree + 1):
            power = field**p
            columns.append(integral(power))
            terms.append(_power(p))
            for axis, name in enumerate(names[: field.ndim - 1], start=1):
                for k in range(1, self.order + 1):
                    columns.append(integral(power, axis, k) / (p if k == 1 else 1))
                    terms.append(_derivative(p, k, name))
        return np.stack(columns, axis=1), integral(field, 0, 1)[:, None], terms

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


def _steps(field: Array, coordinates: Sequence[Any]) -> list[float]:
    """The step of each axis."""
    found = [np.asarray([] if c is None else c) for c in coordinates]
    if [len(c) for c in found] != list(field.shape):
        raise ValueError(
            f"t and x must hold the {field.ndim} coordinates of a field of shape {field.shape}, "
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


def _default_width(lines: Array, step: float) -> float:
    """The width for lines of the field (n, n_lines) along one axis."""
    n, n_lines = lines.shape
    some = lines[:, np.linspace(0, n_lines - 1, min(n_lines, N_LINES)).astype(int)]
    corner = spectrum_corner(some, np.linspace(0.0, (n - 1) * step, n))
    width = WIDER * PASS / corner if corner > 0 else np.inf
    least = min(FEWEST_STEPS, n - 1) * step
    return float(max(least, min(width, 0.5 * (n - 1) * step)))
