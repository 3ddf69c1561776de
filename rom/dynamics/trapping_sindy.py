"""Polynomial dynamics fitted under the condition that a ball traps every trajectory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial, ends_of
from rom.dynamics.energy import energy_squares, production
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.library import PolynomialLibrary, monomials
from rom.dynamics.normal import Normal, row_normals, sum_normals
from rom.dynamics.regression import fit_ridge, relative_weights
from rom.dynamics.rows import SummedDynamics
from rom.dynamics.trapped import energy_preserving, least_squares, trapped
from rom.dynamics.trapping import _check_norm, trapping_region

Array = NDArray[np.float64]

# How often the centre of a quadratic model is chosen anew, for the model found with the last one.
ROUNDS = 3


class States(NamedTuple):
    """What a fit needs of the states themselves; that of further states adds with ``+``."""

    ends: Array
    """(2, rank): the least and the largest of each coordinate."""
    sums: Array
    """(rank,): of each coordinate."""
    squares: Array
    """As :func:`rom.dynamics.energy.energy_squares` gives them."""

    def __add__(self, other: States) -> States:  # type: ignore[override]
        """Of both."""
        ends = ends_of(np.concatenate([self.ends, other.ends]))
        return States(ends, self.sums + other.sums, self.squares + other.squares)

    def reach(self, centre: Array, norm: Array) -> float:
        """The farthest that a state in the box of all may be; exact for a diagonal norm."""
        far = np.abs(self.ends - centre).max(axis=0)
        return float(np.sqrt(far @ np.abs(norm) @ far))


class TrappingSINDy(PolynomialEquations, SummedDynamics):
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
        The ball may reach this many times as far from its centre as the box that the training
        states lie in, from the least to the largest of each coordinate; > 1. The smaller, the
        more is asked of the model.
    centre : array_like, shape (rank,), optional
        m; by default the mean of the training states. In a quadratic model, the point about which
        the linear terms damp most: of the best model that keeps the energy, if that has a ball, and
        then of the models found.
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
    normal_, states_ : list of ndarray
        The normal equations of the rows seen, and the ends and sums of the states:
        :meth:`partial_fit` and :meth:`merge` add to them, :meth:`refit` asks them anew.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `centre`, `norm` or `names` do not fit the
        coordinates, there are inputs, or the data are refused (see :meth:`fit`). By
        :meth:`partial_fit` and :meth:`merge`: with `relative_error`.

    Warns
    -----
    UserWarning
        If no certified model was found: then the radius is infinite.

    Notes
    -----
    The certificate has 1e-6 to spare, in units of the farthest corner of the box from zero and of
    the derivatives' root mean square. In a norm that is not diagonal, how far the box reaches is
    bounded from above. With other than one target per coordinate there are no trajectories,
    nothing is asked of the model, and the radius is infinite.

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
    states_: list[Array]

    _after_sums: ClassVar[frozenset[str]] = frozenset(
        {"radius", "centre", "norm", "energy", "alpha", "names"}
    )
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
        weights = relative_weights(y) if self.relative_error else None
        found, states = self._seen(Z, y, u, weights)
        self.states_ = list(states)
        self._fit_sums([found])

    def _sums(self, Z: Array, y: Array, u: Array | None) -> list[Normal]:
        found, states = self._seen(Z, y, u)
        if getattr(self, "normal_", None) is not None:
            states = States(*self.states_) + states
        self.states_ = list(states)
        return [found]

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        first, *others = (States(*model.states_) for model in models)
        for other in others:
            first += other
        self.states_ = list(first)

    def _check_parts(self) -> None:
        if self.relative_error:
            raise ValueError(
                "partial_fit and merge cannot be used with relative_error, whose weights need the "
                "largest derivative of all rows: call fit."
            )

    def _seen(
        self, Z: Array, y: Array, u: Array | None, weights: Array | None = None
    ) -> tuple[Normal, States]:
        """The sums over rows and over states."""
        if u is not None:
            raise ValueError("TrappingSINDy has no inputs, but u was given.")
        self._given()  # checks them before anything is kept
        exponents = self._exponents()
        blocks = row_normals(
            lambda rows: monomials(rows, exponents), exponents, Z, y, weights=weights, exact=True
        )
        # The rows count as rows, whatever their weights.
        found = sum_normals(blocks)._replace(n_rows=float(len(Z)))
        return found, States(ends_of(Z), Z.sum(axis=0), energy_squares(exponents, Z))

    def _given(self) -> tuple[Array, Array | None]:
        """The norm and, if it was given, the centre."""
        rank = self.n_features_in_
        variable_names(self.names, rank, 0)  # checks them
        m = None if self.centre is None else np.array(self.centre, dtype=np.float64)
        if m is not None and m.shape != (rank,):
            raise ValueError(f"centre must have shape ({rank},), but its shape is {m.shape}.")
        return _check_norm(self.norm, rank), m

    def _fit_sums(self, blocks: list[Normal]) -> None:
        self.norm_, centre = self._given()
        found, states = sum_normals(blocks), States(*self.states_)
        self.normal_, self.coef_ = found.arrays(), fit_ridge(found, self.alpha)
        self.centre_ = states.sums / found.n_rows if centre is None else centre
        self.radius_, self.margin_ = float("inf"), 0.0
        if len(self.coef_) == self.n_features_in_:
            self._fit_trapped(found, states)

    def _fit_trapped(self, found: Normal, states: States) -> None:
        exponents, P = self._exponents(), self.norm_
        # Units in which the box reaches 1 and the derivatives are 1 in root mean square.
        size = states.reach(np.zeros(len(P)), np.eye(len(P))) or 1.0
        rate = float(np.sqrt(np.mean(found.squares) / found.n_rows)) / size or 1.0
        units = rate * size ** (1.0 - exponents.sum(axis=1))
        loss = self._loss(found, states, units, size * rate)
        chosen = self.centre is None and self.degree == 2
        if chosen:  # the best model that keeps the energy may have a ball by itself
            free = Polynomial(exponents, energy_preserving(exponents, *loss, P) * units)
            region = trapping_region(free, norm=P)
            self.centre_ = region.centre if region.certified else self.centre_
        for _ in range(ROUNDS if chosen else 1):
            reach = self.radius * states.reach(self.centre_, P) / size
            solution = trapped(exponents, *loss, self.centre_ / size, P, reach)
            if solution is None:
                break
            coef, radius, margin = solution
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
                stacklevel=6,
            )

    def _loss(
        self, found: Normal, states: States, units: Array, speed: float
    ) -> tuple[Array, Array]:
        """H and b for coefficients in `units`, with the penalty on energy."""
        rank = self.n_features_in_
        H, b = least_squares(found, self.alpha)
        if self.energy:
            G = production(self._exponents(), rank, states.squares / found.n_rows)
            H += self.energy * G.T @ G
        scale = np.tile(units, rank) / speed
        return scale[:, None] * H * scale, scale * b / speed

    def _predict(self, Z: Array, u: Array | None) -> Array:
        return monomials(Z, self._exponents()) @ self.coef_.T

    def _exponents(self) -> NDArray[np.int64]:
        library = PolynomialLibrary(self.degree, include_bias=self.include_bias)
        return library.exponents(self.n_features_in_)

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        check_is_fitted(self)
        return Polynomial(self._exponents(), self.coef_)
