"""Operator inference where the operators depend on parameters: affinely, or by interpolation.

Parameters are inputs that stay constant along a trajectory: the last columns of `u`. So several
trajectories of one parameter, and other inputs beside parameters, need nothing special.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RBFInterpolator, make_interp_spline
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.dynamics.equations import variable_names
from rom.dynamics.library import monomials, powers
from rom.dynamics.normal import Normal, sum_normals
from rom.dynamics.operators import (
    PolynomialInference,
    Ridge,
    joined,
    monomial_normals,
    operator_blocks,
)
from rom.dynamics.opinf import DiscreteOperatorInference, OperatorInference
from rom.dynamics.regression import fit_ridge
from rom.dynamics.rows import KeptSums, RowDynamics

Degrees = Sequence[int] | Mapping[str, Sequence[int]]

# How far, as a share of the range of the training parameters, one may lie outside by rounding.
OUTSIDE = 1e-9
# A mode that grows by more than this power of e in a step is an artefact of its derivative.
FASTEST = 1.0


class AffineOperatorInference(PolynomialInference):
    """Operators that are sums of constant matrices times functions of parameters.

    A(μ) = Σ_i θ_i(μ) A_i, and so for every operator, with θ_i the monomials of the parameters of
    the given degrees. That is linear in the matrices A_i: one regression on all trajectories of
    all parameters. For other functions θ, give their values as the parameters.

    Parameters
    ----------
    operators : str, optional
        As for :class:`OperatorInference`.
    parameters : int, optional
        How many of the last columns of `u` are parameters; by default all.
    degrees : sequence of int or mapping, optional
        Degrees of the monomials θ_i. ``(0, 1)``: a constant part and one for each parameter;
        ``(1,)``: proportional to the parameters. A mapping such as ``{"A": (0, 1)}`` names them
        for each operator; those left out do not depend on the parameters.
    ridge, names : optional
        As for :class:`OperatorInference`.

    Attributes
    ----------
    c_, A_, H_, G_, B_, N_ : ndarray, shape (n_targets, n_theta * n_columns), or None
        The matrices for each θ_i side by side, their columns as in :class:`OperatorInference`.
    normal_ : list of ndarray
        All that the training rows say, for :meth:`partial_fit` and :meth:`refit`.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `u` has fewer columns than `parameters`,
        `degrees` or `ridge` name an operator that is not there, or as
        :class:`OperatorInference` does.

    References
    ----------
    McQuarrie, Khodabakhshi & Willcox (2023), SIAM J. Sci. Comput. 45, A1917.

    Examples
    --------
    Decay at a rate that is the parameter, learned at 1 and 2, known at 1.5:

    >>> t = np.linspace(0, 1, 50)
    >>> Z = np.concatenate([np.exp(-t), np.exp(-2 * t)])[:, None]
    >>> u = np.repeat([[1.0], [2.0]], 50, axis=0)
    >>> model = AffineOperatorInference("A", degrees=(1,))
    >>> model.fit(Z, t=np.tile(t, 2), u=u, trajectory=u[:, 0]).equations()
    ['dz0/dt = -1 z0 u0']
    >>> model.at([1.5]).equations()
    ['dz0/dt = -1.5 z0']
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PolynomialInference._parameter_constraints,
        "parameters": [Interval(Integral, 1, None, closed="left"), None],
        "degrees": ["array-like", Mapping],
    }

    def __init__(
        self,
        operators: str = "cAH",
        *,
        parameters: int | None = None,
        degrees: Degrees = (0, 1),
        ridge: Ridge = 0.0,
        names: Sequence[str] | None = None,
    ) -> None:
        self.operators = operators
        self.parameters = parameters
        self.degrees = degrees
        self.ridge = ridge
        self.names = names

    def _blocks(self, rank: int, n_inputs: int) -> dict[str, NDArray[np.int64]]:
        n_params = parameter_count(self.parameters, n_inputs)
        blocks = operator_blocks(self.operators, rank, n_inputs - n_params)
        degrees = self.degrees if isinstance(self.degrees, Mapping) else {}
        if unknown := [letter for letter in degrees if letter not in blocks]:
            raise ValueError(f"degrees names {unknown}, but the operators are {list(blocks)}.")
        usual = (0,) if isinstance(self.degrees, Mapping) else self.degrees
        thetas = {name: theta_exponents(n_params, degrees.get(name, usual)) for name in blocks}
        return {
            name: np.concatenate(
                [
                    np.repeat(thetas[name], len(block), axis=0),
                    np.tile(block, (len(thetas[name]), 1)),
                ],
                axis=1,
            )[:, np.roll(np.arange(rank + n_inputs), -n_params)]
            for name, block in blocks.items()
        }

    def at(self, parameters: ArrayLike) -> OperatorInference:
        """The model at fixed `parameters` (n_params,): its inputs are those that remain."""
        check_is_fitted(self)
        n_params = parameter_count(self.parameters, self.n_inputs_)
        mu = check_point(parameters, n_params)
        parts = np.split(
            self._coef(), np.cumsum([len(b) for b in self._all_blocks().values()])[:-1], axis=1
        )
        n_variables = self.n_features_in_ + self.n_inputs_ - n_params
        found = {}
        for (name, exponents), coef in zip(self._all_blocks().items(), parts, strict=True):
            theta = monomials(mu[None], exponents[:, n_variables:])[0]
            alike = len(np.unique(exponents[:, n_variables:], axis=0))
            found[name] = (coef * theta).reshape(len(coef), alike, -1).sum(axis=1)
        return fixed_model(self, found, n_params)

    def _all_blocks(self) -> dict[str, NDArray[np.int64]]:
        return self._blocks(self.n_features_in_, self.n_inputs_)


class InterpolatedOperatorInference(KeptSums, RowDynamics):
    """Operators fitted at each parameter of the training data, interpolated entry by entry.

    For operators that depend on the parameters in an unknown way. It needs enough rows at each
    parameter, and latent coordinates that mean the same at all of them.

    Parameters
    ----------
    operators : str, optional
        As for :class:`OperatorInference`.
    parameters : int, optional
        How many of the last columns of `u` are parameters; by default all.
    ridge : float, optional
        Ridge parameter of each fit, a pure number.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for the models :meth:`at` gives.

    Attributes
    ----------
    points_ : ndarray, shape (n_points, n_params)
        The parameters of the training data.
    coef_ : ndarray, shape (n_points, n_targets, n_terms)
        Operators at each, side by side in the order of :class:`OperatorInference`.
    normal_ : list of ndarray
        What the training rows at each say, for :meth:`refit` and :meth:`merge`.

    Raises
    ------
    ValueError
        By a fit: as :class:`OperatorInference` does, or if `u` has fewer columns than
        `parameters`, or several parameters have too few points, or points on one line or plane.
        By a prediction: outside the range of the training parameters.

    Warns
    -----
    UserWarning
        If a linear part grows so fast that the samples cannot have shown it, as happens where a
        mode decays within a step.

    Notes
    -----
    One parameter is interpolated by a cubic spline, several by a thin-plate spline. A rollout is
    compiled, and much faster, for the model :meth:`at` gives.

    References
    ----------
    Peherstorfer & Willcox (2016), Comput. Methods Appl. Mech. Eng. 306, 196.

    Examples
    --------
    >>> t = np.linspace(0, 1, 50)
    >>> rates = np.array([1.0, 1.5, 2.0, 2.5])
    >>> Z = np.concatenate([np.exp(-(rate**3) * t) for rate in rates])[:, None]
    >>> u = np.repeat(rates[:, None], 50, axis=0)
    >>> model = InterpolatedOperatorInference("A").fit(Z, t=np.tile(t, 4), u=u, trajectory=u[:, 0])
    >>> model.at([2.2]).A_.round(3)  # -2.2**3
    array([[-10.648]])
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    points_: NDArray[np.float64]
    coef_: NDArray[np.float64]

    _after_sums: ClassVar[frozenset[str]] = frozenset({"ridge", "names"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "operators": PolynomialInference._parameter_constraints["operators"],
        "parameters": [Interval(Integral, 1, None, closed="left"), None],
        "ridge": PolynomialInference._parameter_constraints["ridge"][:1],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        operators: str = "cAH",
        *,
        parameters: int | None = None,
        ridge: float = 0.0,
        names: Sequence[str] | None = None,
    ) -> None:
        self.operators = operators
        self.parameters = parameters
        self.ridge = ridge
        self.names = names

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        X, mu = self._split(Z, u)
        exponents = self._exponents()
        self.points_, which = np.unique(mu, axis=0, return_inverse=True)
        rows = [which.ravel() == i for i in range(len(self.points_))]
        self._fit_sums(
            [
                sum_normals(monomial_normals(exponents, X[some], y[some], exact=True))
                for some in rows
            ]
        )

    def _fit_sums(self, blocks: list[Normal]) -> None:
        """Fit the operators of each point; those of a point that comes twice to all its rows."""
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        self.points_, which = np.unique(self.points_, axis=0, return_inverse=True)
        found = [
            sum_normals(blocks[k] for k in np.flatnonzero(which.ravel() == i))
            for i in range(len(self.points_))
        ]
        self.normal_ = [array for each in found for array in each.arrays()]
        self.coef_ = np.stack([fit_ridge(each, self.ridge) for each in found])
        self._interpolate(self.points_[:1])  # refuses points that cannot be interpolated
        square = self.coef_.shape[1] == self.n_features_in_
        if self.time == "continuous" and "A" in self.operators and square:
            self._warn_of_unresolved()

    def _kept(self) -> list[Normal]:
        arrays = self._arrays()
        each = len(arrays) // len(self.points_)
        return [Normal.of(arrays[k : k + each]) for k in range(0, len(arrays), each)]

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        self.points_ = np.concatenate([model.points_ for model in models])

    def _warn_of_unresolved(self) -> None:
        start, rank = int("c" in self.operators), self.n_features_in_
        values = np.linalg.eigvals(self.coef_[:, :, start : start + rank])
        fast = np.flatnonzero(values.real.max(axis=1) * self.dt_ > FASTEST)
        if fast.size:
            warnings.warn(
                f"At {fast.size} of {len(self.points_)} parameters, the first of them "
                f"{self.points_[fast[0]]}, a mode of the fit grows by more than a factor of e in a "
                f"step of {self.dt_:g}: the samples do not resolve its derivative, and rollouts "
                "will run away. Sample more finely, take fewer coordinates, or learn the map from "
                "state to state: DiscreteInterpolatedOperatorInference.",
                stacklevel=5,
            )

    def _split(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The variables of the monomials, and the parameters."""
        X = joined(Z, u)
        edge = X.shape[1] - parameter_count(self.parameters, self.n_inputs_)
        return X[:, :edge], X[:, edge:]

    def _exponents(self) -> NDArray[np.int64]:
        return np.concatenate(list(self._blocks().values()))

    def _blocks(self) -> dict[str, NDArray[np.int64]]:
        n_inputs = self.n_inputs_ - parameter_count(self.parameters, self.n_inputs_)
        return operator_blocks(self.operators, self.n_features_in_, n_inputs)

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        X, mu = self._split(Z, u)
        points, which = np.unique(mu, axis=0, return_inverse=True)
        coef = self._interpolate(points)[which.ravel()]
        return np.einsum("nk,nik->ni", monomials(X, self._exponents()), coef)

    def _interpolate(self, mu: NDArray[np.float64]) -> NDArray[np.float64]:
        """Operators (n, n_targets, n_terms) at parameters (n, n_params)."""
        low, high = self.points_.min(axis=0), self.points_.max(axis=0)
        width = np.where(high > low, high - low, 1.0)
        if np.any(mu < low - OUTSIDE * width) or np.any(mu > high + OUTSIDE * width):
            raise ValueError(
                f"Parameters must lie within those of the training data, {low} to {high}, but "
                f"they reach from {mu.min(axis=0)} to {mu.max(axis=0)}: operators are not "
                "extrapolated."
            )
        n, n_params = self.points_.shape
        if n == 1:
            return np.repeat(self.coef_, len(mu), axis=0)
        x, at = (self.points_ - low) / width, (mu - low) / width
        if n_params == 1:
            return np.asarray(make_interp_spline(x[:, 0], self.coef_, k=_degree(n))(at[:, 0]))
        try:
            entries = RBFInterpolator(x, self.coef_.reshape(n, -1))(at)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise ValueError(
                f"{n_params} parameters need at least {n_params + 1} points in the training data, "
                f"not all on one line or plane, but the points are {self.points_.tolist()}."
            ) from error
        return np.asarray(entries.reshape(len(mu), *self.coef_.shape[1:]))

    def at(self, parameters: ArrayLike) -> OperatorInference:
        """The model at fixed `parameters` (n_params,): its inputs are those that remain."""
        check_is_fitted(self)
        mu = check_point(parameters, self.points_.shape[1])
        blocks = self._blocks()
        edges = np.cumsum([len(exponents) for exponents in blocks.values()])[:-1]
        parts = np.split(self._interpolate(mu[None])[0], edges, axis=1)
        return fixed_model(self, dict(zip(blocks, parts, strict=True)), len(mu))


class DiscreteInterpolatedOperatorInference(InterpolatedOperatorInference):
    """Maps from each state to the next, interpolated: where modes decay within a step.

    Parameters, attributes and methods are those of :class:`InterpolatedOperatorInference`; the
    targets are next states. For inputs that change in a step see
    :class:`rom.dynamics.opinf.DiscreteOperatorInference`.

    Examples
    --------
    >>> rates = np.array([0.2, 1.0, 5.0, 20.0])
    >>> Z = np.concatenate([np.exp(-rate * np.arange(5)) for rate in rates])[:, None]
    >>> u = np.repeat(rates[:, None], 5, axis=0)
    >>> model = DiscreteInterpolatedOperatorInference("A").fit(Z, u=u, trajectory=u[:, 0])
    >>> model.at([5.0]).A_.round(4)  # e^-5
    array([[0.0067]])
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"


def _degree(n_points: int) -> int:
    """Of the spline through so many points: cubic, or linear where they are too few for that."""
    return 3 if n_points > 3 else 1


def theta_exponents(n_params: int, degrees: Sequence[int]) -> NDArray[np.int64]:
    """Exponents (n_theta, n_params) of the monomials of these degrees in the parameters.

    Examples
    --------
    >>> theta_exponents(2, (0, 1)).tolist()
    [[0, 0], [1, 0], [0, 1]]
    """
    chosen = list(degrees)
    proper = all(isinstance(d, Integral) and d >= 0 for d in chosen)
    if not (chosen and proper and len(set(chosen)) == len(chosen)):
        raise ValueError(f"degrees must be different integers >= 0, but they are {degrees!r}.")
    if not n_params:
        return np.zeros((1, 0), dtype=np.int64)
    return np.concatenate([powers(n_params, degree) for degree in chosen])


def parameter_count(parameters: int | None, n_inputs: int) -> int:
    """How many of the inputs are parameters."""
    if parameters is not None and parameters > n_inputs:
        raise ValueError(
            f"parameters={parameters} are the last columns of u, but u has {n_inputs} columns."
        )
    return n_inputs if parameters is None else parameters


def check_point(parameters: ArrayLike, n_params: int) -> NDArray[np.float64]:
    """One set of parameters."""
    mu = np.atleast_1d(np.asarray(parameters, dtype=np.float64))
    if mu.shape != (n_params,) or not np.isfinite(mu).all():
        raise ValueError(f"Expected {n_params} finite parameters, but got {parameters!r}.")
    return mu


def fixed_model(
    model: Any, operators: Mapping[str, NDArray[np.float64]], n_params: int
) -> OperatorInference:
    """The model with these operators, without the parameters among its inputs."""
    names = model.names
    if names is not None and len(names) > model.n_features_in_:
        names = names[: len(names) - n_params]
    c = {"c": operators["c"][:, 0]} if "c" in operators else {}
    kind = OperatorInference if model.time == "continuous" else DiscreteOperatorInference
    fixed = kind.from_operators(**{**operators, **c}, names=names, bound=model.bound_)
    fixed.dt_ = model.dt_
    return fixed
