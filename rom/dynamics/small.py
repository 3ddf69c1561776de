"""What neural right-hand sides of few weights share: their bound, and how weights are counted."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.networks import check_hidden, effective, initial
from rom.dynamics.structured import TRUSTED, StructuredODE

Array = NDArray[np.float64]


class SmallODE(StructuredODE):
    """A multilayer perceptron with tanh units as the right-hand side, most of it left out.

    A model writes ``_network(xp, parts, x)``, what it gives for rows of states and inputs, and
    ``_fitted()``, besides the ``_keep`` of :class:`StructuredODE`, which calls :meth:`_set_rest`.
    Its ``_train`` leaves out what it can before the two trainings.
    """

    hidden: tuple[int, ...]

    def _sizes(self) -> list[int]:
        check_hidden(self.hidden)
        return [self.n_features_in_ + self.n_inputs_, *self.hidden, self.n_features_in_]

    def _initial(self, rng: np.random.RandomState) -> list[Array]:
        """Weights and biases ``W₁, b₁, W₂, b₂, …`` of the whole network, from which all starts."""
        start = initial(self._sizes(), rng)
        return effective(start.parameters, start.multipliers)

    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]:
        return parameters

    @abstractmethod
    def _network(self, xp: Any, parts: list[Any], x: Any) -> Any: ...

    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any:
        return self._network(xp, parts, xp.concatenate([x, u], 1) if self.n_inputs_ else x)

    @abstractmethod
    def _fitted(self) -> list[Array]:
        """The parts that a fit kept."""

    def _set_rest(self, x: Array) -> None:
        """What follows from the sizes and the training states `x` alone."""
        self.n_dense_ = sum((n_in + 1) * n_out for n_in, n_out in pairwise(self._sizes()))
        self.radius_ = TRUSTED * float(np.linalg.norm(x, axis=1).max()) or 1.0

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x, inputs = self._standardised(Z, u)
        excess = np.maximum(np.linalg.norm(x, axis=1, keepdims=True) / self.radius_ - 1, 0)
        slopes = self._field(np, self._fitted(), x, inputs) - excess * x
        return self.scale_ * self.speed_ * slopes
