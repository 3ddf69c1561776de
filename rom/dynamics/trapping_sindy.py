"""Polynomial dynamics fitted under the condition that a ball traps every trajectory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, null_space
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.energy import energy_production
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.library import PolynomialLibrary, monomials
from rom.dynamics.lmi import ACCURACY, minimise
from rom.dynamics.regression import relative_weights, ridge, rms
from rom.dynamics.rows import RowDynamics
from rom.dynamics.trapping import Inequality, _check_norm, trapping_region

Array = NDArray[np.float64]

# How often the centre of a quadratic model is chosen anew, for the model found with the last one.
ROUNDS = 3
# What the certificate has to spare, so that the rounding of units and coefficients cannot undo it.
SPARE = 1e-6


class TrappingSINDy(PolynomialEquations, RowDynamics):
    """Derivatives as a quadratic or cubic polynomial, with a ball that every trajectory ends in.

    Least squares with ridge under a linear matrix inequality: that the energy |z - m|² falls
    outside a ball. Quadratic terms of a quadratic model preserve the energy exactly; of a cubic
    model the cubic terms dissipate more than the quadratic ones produce. For a given centre this
    is a convex problem, solved to a duality gap of 1e-8 of what the condition costs.

    Parameters
    ----------
    degree : {2, 3}, optional
    include_bias : bool, optional
        Whether the constant 1 is among the terms.
    radius : float, optional
        The ball may reach this many times as far from its centre as the training states; > 1.
        The smaller, the more is asked of the model.
    centre : array_like, shape (rank,), optional
        m; by default the mean of the training states and then, in a quadratic model, the point
        about which the linear terms found damp most.
    norm : array_like, shape (rank, rank), optional
        P, of the energy (z - m)·P (z - m): the identity by default.
    relative_error : bool, optional
        Divide the error of each row by its |dz/dt|, so that slow or small stretches, such as the
        growth from an unstable equilibrium, count as much as the large motion after it.
    energy : float, optional
        Penalty on the energy that the nonlinear terms produce about the origin, a pure number.
    alpha : float, optional
        Ridge parameter, a pure number: the penalty on terms of unit root mean square.
    names : sequence of str, optional
        Names of the latent coordinates for :meth:`equations`.

    Attributes
    ----------
    coef_ : ndarray, shape (rank, n_terms)
        Coefficients of the monomials, by degree.
    centre_ : ndarray, shape (rank,)
    radius_ : float
        Trajectories end where ``(z - centre_)·norm_ (z - centre_) <= radius_²``.
    margin_ : float
        A rate: the energy above that of the ball falls at least as ``exp(-2 margin_ t)``.
    norm_ : ndarray, shape (rank, rank)

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `centre`, `norm` or `names` do not fit the
        coordinates, there are inputs, or the data are refused (see :meth:`fit`).

    Warns
    -----
    UserWarning
        If no certified model was found: then the radius is infinite.

    Notes
    -----
    The certificate has 1e-6 to spare, in units of the largest state and of the derivatives' root
    mean square. With other than one target per coordinate there are no trajectories, nothing is
    asked of the model, and the radius is infinite.

    References
    ----------
    Schlegel & Noack (2015), J. Fluid Mech. 765, 325; Kaptanoglu et al. (2021), Phys. Rev. Fluids
    6, 094401; Peng, Kaptanoglu et al. (2024), arXiv:2405.03154; Boyd & Vandenberghe (2004).

    Examples
    --------
    The logistic equation escapes from z < 0; in x = √z it does not.

    >>> z = 1 / (1 + 30 * np.exp(-np.linspace(0, 10, 500)))
    >>> x = np.sqrt(z)[:, None]
    >>> model = TrappingSINDy(3, include_bias=False).fit(x, x / 2 - x**3 / 2)
    >>> model.coef_.round(3) + 0, bool(model.radius_ < np.inf)
    (array([[ 0.5,  0. , -0.5]]), True)
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    coef_: Array
    centre_: Array
    norm_: Array
    radius_: float
    margin_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "degree": [Interval(Integral, 2, 3, closed="both")],
        "include_bias": ["boolean"],
        "radius": [Interval(Real, 1, None, closed="neither")],
        "centre": ["array-like", None],
        "norm": ["array-like", None],
        "relative_error": ["boolean"],
        "energy": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        degree: int = 2,
        *,
        include_bias: bool = True,
        radius: float = 10.0,
        centre: ArrayLike | None = None,
        norm: ArrayLike | None = None,
        relative_error: bool = False,
        energy: float = 0.0,
        alpha: float = 1e-9,
        names: Sequence[str] | None = None,
    ) -> None:
        self.degree = degree
        self.include_bias = include_bias
        self.radius = radius
        self.centre = centre
        self.norm = norm
        self.relative_error = relative_error
        self.energy = energy
        self.alpha = alpha
        self.names = names

    def _fit(self, Z: Array, y: Array, u: Array | None) -> None:
        rank = self.n_features_in_
        variable_names(self.names, rank, 0)  # checks them
        if u is not None:
            raise ValueError("TrappingSINDy has no inputs, but u was given.")
        P = _check_norm(self.norm, rank)
        m = Z.mean(axis=0) if self.centre is None else np.array(self.centre, dtype=np.float64)
        if m.shape != (rank,):
            raise ValueError(f"centre must have shape ({rank},), but its shape is {m.shape}.")
        exponents = self._exponents()
        size = float(np.sqrt(np.max(np.sum(Z**2, axis=1)))) or 1.0
        weights = np.sqrt(relative_weights(y))[:, None] if self.relative_error else np.ones((1, 1))
        # In units in which the states reach 1 and their derivatives are 1 in root mean square.
        A, Y = weights * monomials(Z / size, exponents), weights * y
        rate = float(np.sqrt(np.mean(Y**2))) / size or 1.0
        units = rate * size ** (1.0 - exponents.sum(axis=1))
        Y = Y / (size * rate)
        self.norm_, self.centre_, self.radius_, self.margin_ = P, m, float("inf"), 0.0
        self.coef_ = ridge(A, Y, self.alpha) * units
        if y.shape[1] != rank:
            return
        H, b = least_squares(A, Y, self.alpha)
        penalty = energy_production(exponents, Z / size)
        H += self.energy * penalty.T @ penalty
        self._fit_trapped(Z, exponents, (H, b), size, rate)

    def _fit_trapped(
        self,
        Z: Array,
        exponents: NDArray[np.int64],
        loss: tuple[Array, Array],
        size: float,
        rate: float,
    ) -> None:
        units = rate * size ** (1.0 - exponents.sum(axis=1))
        P = self.norm_
        chosen = self.centre is None and self.degree == 2
        for _ in range(ROUNDS if chosen else 1):
            w = Z - self.centre_
            reach = self.radius * float(np.sqrt(np.max(np.sum(w @ P * w, axis=1)))) / size
            found = trapped(exponents, *loss, self.centre_ / size, P, reach)
            if found is None:
                break
            coef, radius, margin = found
            polynomial = Polynomial(exponents, coef * units)
            region = trapping_region(polynomial, centre=None if chosen else self.centre_, norm=P)
            if not region.certified or (region.radius > radius * size and not chosen):
                # The solver may fail to find the smallest ball, but the fit comes with one.
                region = region._replace(
                    centre=self.centre_, radius=radius * size, margin=margin * rate
                )
            self.coef_, self.centre_ = polynomial.coef, region.centre
            self.radius_, self.margin_ = region.radius, region.margin
        if not np.isfinite(self.radius_):
            warnings.warn(
                "No model with a trapping region was found: try another centre or a larger "
                "radius. The coefficients are those of the last try.",
                stacklevel=5,
            )

    def _predict(self, Z: Array, u: Array | None) -> Array:
        return monomials(Z, self._exponents()) @ self.coef_.T

    def _exponents(self) -> NDArray[np.int64]:
        library = PolynomialLibrary(self.degree, include_bias=self.include_bias)
        return library.exponents(self.n_features_in_)

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        check_is_fitted(self)
        return Polynomial(self._exponents(), self.coef_)


def least_squares(A: Array, Y: Array, alpha: float) -> tuple[Array, Array]:
    """H and b of ``c·H c / 2 - b·c``, half the error of :func:`rom.dynamics.regression.ridge`.

    `c` is ``coef.ravel()``, coef (n_targets, n_terms).
    """
    H = A.T @ A / len(A) + alpha * np.diag(rms(A) ** 2)
    full = np.kron(np.eye(Y.shape[1]), H)
    return np.asarray(full, np.float64), (Y.T @ A / len(A)).ravel()


def trapped(
    exponents: NDArray[np.int64], H: Array, b: Array, centre: Array, norm: Array, reach: float
) -> tuple[Array, float, float] | None:
    """Coefficients that minimise ``c·H c / 2 - b·c`` and have a trapping ball.

    That is, among those for which the matrix of :class:`Inequality` has no eigenvalue below 1e-6.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank)
        Powers of the terms, of degree 1 to 3, in units in which states and rates are of order one.
    H, b : ndarray, shape (rank * n_terms, rank * n_terms) and (rank * n_terms,)
        Of ``c = coef.ravel()``, as :func:`least_squares` gives them.
    centre : ndarray, shape (rank,)
    norm : ndarray, shape (rank, rank)
        P: the ball is ``w·P w <= R²``, w = z - centre.
    reach : float
        Largest R.

    Returns
    -------
    tuple of ndarray, shape (rank, n_terms), and two floats, or None where there are none
        The coefficients, and the radius and the margin of a ball, not the smallest.
    """
    inequality = Inequality(exponents, centre, norm)
    scale = np.diag(H).copy()
    scale = 1 / np.sqrt(np.where(scale > 0, scale, 1.0))
    # Coefficients that keep energy exactly where it cannot be outweighed, each of unit effect.
    odd = inequality.odd * scale
    basis = scale[:, None] * (null_space(odd) if len(odd) else np.eye(len(scale)))
    # Unknowns of which the loss is the square: steps from its minimum, in its principal axes.
    values, axes = np.linalg.eigh(basis.T @ H @ basis)
    basis = basis @ axes / np.sqrt(np.maximum(values, len(H) * np.finfo(float).eps))
    best, n, n_extra = b @ basis, basis.shape[1], len(inequality.of_extra)
    bounds = np.zeros((n_extra, 2))  # margin > 0 and margin (reach² - R²) > 0
    bounds[:2] = (1.0, reach**2), (0.0, -1.0)
    of_steps = np.tensordot(basis.T, inequality.of_coef, 1)
    F = np.array(
        [block_diag(M, 0.0, 0.0) for M in of_steps]
        + [
            block_diag(M, *bound)
            for M, bound in zip(inequality.of_extra, bounds.tolist(), strict=True)
        ]
    )
    none, constant = np.zeros(len(F)), np.tensordot(best, F[:n], 1)
    curvature = np.diag(np.repeat([1.0, 0.0], [n, n_extra]))
    x = minimise(curvature, none, F, constant=constant, margin=SPARE)
    if x is None:
        return None
    # What the condition costs may be far below one: once more, in units of it.
    cost = max(float(x[:n] @ x[:n]), ACCURACY)
    finer = minimise(curvature / cost, none, F, constant=constant, margin=SPARE)
    x = x if finer is None else finer
    coef = (basis @ (best + x[:n])).reshape(len(centre), -1)
    return coef, float(np.sqrt(x[n + 1] / x[n])), float(x[n])
