"""Right-hand sides made of the gradient of a learned energy: dz/dt = M ∇H(z) + forcing."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Polynomial
from rom.dynamics.networks import check_hidden, effective, forward, initial, multipliers
from rom.dynamics.stages import NEGLIGIBLE
from rom.dynamics.structured import MAX_ANGLE, TRUSTED, StructuredODE

Array = NDArray[np.float64]

# An eigenvalue this much smaller than the largest is taken for rounding.
ROUNDING = 1e-12
# Runge-Kutta steps by which start and end are compared are so many times shorter than in training.
JUDGED = 4


class Energy(NamedTuple):
    """``H(x) = ½ xᵀ K x + gᵀ x + network(x)``, of arrays or of tensors."""

    quadratic: Any
    """K (rank, rank), symmetric."""
    linear: Any
    """g (rank,)."""
    weights: Sequence[Any]
    """Layer weights (n_in, n_out) of a tanh network with one output; empty for none."""
    biases: Sequence[Any]
    """Layer biases (n_out,)."""

    def value(self, x: Array) -> Array:
        """H (n_rows,) at rows `x` (n_rows, rank)."""
        value: Array = ((0.5 * x @ self.quadratic + self.linear) * x).sum(axis=1)
        if not len(self.weights):
            return value
        return value + forward(self.weights, self.biases, x)[:, 0]

    def gradient(self, x: Any, tanh: Callable[[Any], Any] = np.tanh) -> Any:
        """∇H (n_rows, rank) at rows `x`; `tanh` is that of their kind."""
        slope = x @ self.quadratic + self.linear
        if not len(self.weights):
            return slope
        units = []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = tanh(x @ weight + bias)
            units.append(x)
        back = self.weights[-1][:, 0]
        for weight, unit in zip(self.weights[-2::-1], units[::-1], strict=True):
            back = ((1 - unit * unit) * back) @ weight.T
        return slope + back


class GradientODE(StructuredODE):
    """``dz/dt = M ∇H(z) + f(u)``, with H a quadratic part, found first, and a network.

    A model writes ``_nearest(x, u, slopes)``, the parameters of the quadratic part of H, its linear
    part, and the parameters of M and f, all from least squares; ``_quadratic(K)``, the matrix of
    the quadratic part; ``_matrix(xp, structure)`` and ``_force(xp, structure, u)``; and
    ``_keep_structure(structure)``, which sets what ``_M()`` and ``_f(u)`` of the fitted model
    need. The network starts at zero, and goes unless training clearly brings down the error of
    short runs on the windows held out.
    """

    hidden: tuple[int, ...]
    quadratic_: Array
    linear_: Array
    weights_: list[Array]
    biases_: list[Array]
    radius_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "hidden": [tuple, list],
    }

    @abstractmethod
    def _nearest(self, x: Array, u: Array, slopes: Array) -> list[Array]: ...

    @abstractmethod
    def _quadratic(self, K: Any) -> Any: ...

    @abstractmethod
    def _matrix(self, xp: Any, structure: list[Any]) -> Any: ...

    @abstractmethod
    def _force(self, xp: Any, structure: list[Any], u: Any) -> Any: ...

    @abstractmethod
    def _keep_structure(self, structure: list[Array]) -> None: ...

    @abstractmethod
    def _M(self) -> Array: ...

    @abstractmethod
    def _f(self, u: Array) -> Array: ...

    def energy(self, Z: ArrayLike) -> Array:
        """The learned energy H of states, up to a constant.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            Latent states.

        Returns
        -------
        ndarray, shape (n_time,)
            In the unit of the states squared per unit of time.
        """
        check_is_fitted(self)
        states: Array = checks.check_rows(self, Z, reset=False)
        x = (states - self.mean_) / self.scale_
        wall = np.zeros(len(x))
        if not math.isinf(self.radius_):
            wall = self.radius_**2 / 3 * self._excess(x)[:, 0] ** 3
        return np.asarray(self.scale_**2 * self.speed_ * (self._energy().value(x) + wall))

    def polynomial(self) -> Polynomial | None:
        """The right-hand side as a polynomial of first degree; None with a network."""
        if self.weights_:
            return None
        rank, n_in = self.n_features_in_, self.n_features_in_ + self.n_inputs_
        exponents = np.vstack([np.zeros((1, n_in), np.int64), np.eye(n_in, dtype=np.int64)])
        values = self._predict(exponents[:, :rank].astype(np.float64), exponents[:, rank:])
        return Polynomial(exponents, np.vstack([values[:1], values[1:] - values[0]]).T)

    def _initial(self, rng: np.random.RandomState) -> list[Array]:
        """The network, which gives zero."""
        if not len(self.hidden):
            return []
        network = initial(self._sizes(), rng).parameters
        network[-2][:] = 0.0
        return network

    def _sizes(self) -> tuple[int, ...]:
        return (self.n_features_in_, *self.hidden, 1)

    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]:
        """The energy, M, and the parameters of M and f."""
        K, g, *rest = parameters
        n_network = 2 * len(self._sizes()) - 2 if len(self.hidden) else 0
        network, structure = rest[:n_network], rest[n_network:]
        if network:
            network = effective(network, multipliers(self._sizes()))
        energy = Energy(self._quadratic(K), g, network[::2], network[1::2])
        return [energy, self._matrix(xp, structure), structure]

    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any:
        energy, M, structure = parts
        return energy.gradient(x, xp.tanh) @ M.T + self._force(xp, structure, u)

    def _start(self, x: Array, u: Array, slopes: Array) -> list[Array]:
        check_hidden(self.hidden)
        K, g, *structure = self._nearest(x, u, slopes)
        return [K, g, *self._initial(check_random_state(self.random_state)), *structure]

    def _train(self, start: list[Array], stages: list[Any]) -> list[Array]:
        """The parameters trained if clearly better held out than the start, which is simpler.

        In shorter steps than trained with: an error of the steps that training has learned to make
        up for is no merit.
        """
        import torch

        trained = super()._train(start, stages)
        judge, _, held = stages[-1]
        if len(stages) > 1:
            angle = self.speed_ * float(held[2].max())
            judge = self._run_loss(math.ceil(JUDGED * angle / MAX_ANGLE))
        data = [torch.tensor(values).split(1) for values in held]
        before, after = (
            np.array([float(judge(tensors, *window)) for window in zip(*data, strict=True)])
            for tensors in ([torch.tensor(p) for p in found] for found in (start, trained))
        )
        return trained if clearly_better(after, before) else start

    def _keep(self, parameters: list[Array], x: Array) -> None:
        energy, _, structure = self._parts(np, parameters)
        self.quadratic_, self.linear_ = energy.quadratic, energy.linear
        helps = len(energy.weights) and np.any(energy.weights[-1])
        self.weights_ = list(energy.weights) if helps else []
        self.biases_ = list(energy.biases) if helps else []
        self._keep_structure(structure)
        values = np.linalg.eigvalsh(self.quadratic_)
        self.radius_ = math.inf
        if self.weights_ and values[0] <= ROUNDING * abs(values).max():
            self.radius_ = TRUSTED * float(np.linalg.norm(x, axis=1).max()) or 1.0

    def _energy(self) -> Energy:
        return Energy(self.quadratic_, self.linear_, self.weights_, self.biases_)

    def _excess(self, x: Array) -> Array:
        """How far past the radius the rows `x` are, relative to it, (n_rows, 1)."""
        return np.maximum(np.linalg.norm(x, axis=1, keepdims=True) / self.radius_ - 1, 0)

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x, inputs = self._standardised(Z, u)
        slope = self._energy().gradient(x)
        if not math.isinf(self.radius_):  # the gradient of the wall, see `energy`
            slope += self._excess(x) ** 2 / (1 + self._excess(x)) * x
        slope = slope @ self._M().T + self._f(inputs)
        return np.asarray(self.scale_ * self.speed_ * slope)


def clearly_better(errors: Array, simpler: Array) -> bool:
    """Whether a model's mean error is below a simpler one's by more than its own standard error.

    Parameters
    ----------
    errors, simpler : ndarray, shape (n_windows,)
        Errors of both models on the same windows; a NaN is worse than any number.

    References
    ----------
    Breiman, Friedman, Olshen & Stone (1984), "Classification and Regression Trees", sec. 3.4.3.

    Examples
    --------
    >>> errors = np.array([1.0, 2.0, 3.0, 2.0])
    >>> [clearly_better(errors, errors + gain) for gain in (0.3, 0.4)]
    [False, True]
    """
    most = errors.mean() + errors.std() / len(errors) ** 0.5
    return bool(np.nan_to_num(simpler, nan=np.inf).mean() > most)


def symmetric_solution(x: Array, y: Array) -> tuple[Array, Array]:
    """The symmetric K and the g that bring K x + g nearest to y over all rows.

    K is zero in directions in which, for want of spread, `x` says nothing about it.

    Parameters
    ----------
    x, y : ndarray, shape (n_rows, rank)

    Returns
    -------
    K : ndarray, shape (rank, rank)
    g : ndarray, shape (rank,)

    References
    ----------
    Higham (1988), "The symmetric Procrustes problem", BIT 28, 133.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 2))
    >>> K, g = symmetric_solution(x, x @ [[2.0, 1.0], [1.0, 3.0]] + [0.0, 5.0])
    >>> K.round(6), g.round(6) + 0.0
    (array([[2., 1.],
           [1., 3.]]), array([0., 5.]))
    """
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    U, spread, Vt = np.linalg.svd(x - x_mean, full_matrices=False)
    seen = spread > NEGLIGIBLE * spread[0]
    U, spread, Vt = U[:, seen], spread[seen], Vt[seen]
    C = (spread[:, None] * (U.T @ (y - y_mean))) @ Vt.T
    K = Vt.T @ ((C + C.T) / (spread**2 + spread[:, None] ** 2)) @ Vt
    return K, y_mean - K @ x_mean
