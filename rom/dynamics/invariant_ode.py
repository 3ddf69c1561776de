"""A network that keeps given quadratic invariants."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.dynamics.invariants import QuadraticInvariants, quadratic_invariants
from rom.dynamics.networks import check_hidden, effective, forward, initial, multipliers
from rom.dynamics.structured import TRUSTED, StructuredODE

Array = NDArray[np.float64]


class InvariantODE(StructuredODE):
    """A neural ODE that keeps given quadratic and linear functions of the state exactly constant.

    The invariants ``I_k(z) = ½ zᵀ Q_k z + b_k · z`` are known: an energy, an enstrophy, a mass. A
    tanh network is projected, at every state, onto the tangents of their level sets, in training
    too. With any parameters, and under any inputs, ∇I_k(z) · dz/dt is zero to rounding.

    A trajectory stays on the level set of its start: if one invariant is definite, that is an
    ellipsoid, and every rollout is bounded. If none is, a pull to the mean, projected too, acts
    past one and a half times the largest training state; that it keeps every rollout bounded is
    not proved.

    Parameters
    ----------
    quadratic : array_like, shape (n_invariants, rank, rank) or (rank, rank), optional
        Q; only the symmetric parts matter.
    linear : array_like, shape (n_invariants, rank) or (rank,), optional
        b. If neither is given, the invariant is |z|²/2.
    hidden : tuple of int, optional
        Widths of the hidden layers.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS), in each of the two trainings: on time derivatives,
        then on runs.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread over all of them, to stop early and to choose
        the weights kept.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    quadratic_, linear_ : ndarray, shapes (n_invariants, rank, rank) and (n_invariants, rank)
        Q and b.
    weights_, biases_ : list of ndarray, shapes (n_in, n_out) and (n_out,)
        Layers of the network, whose output is in units of ``speed_ * scale_``.
    mean_ : ndarray, shape (rank,)
        Mean of the training states.
    scale_ : float
        Their largest standard deviation of a coordinate.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time.
    radius_ : float
        Where the pull begins, in standardised distance; infinite if an invariant is definite.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the invariants do not fit the coordinates,
        there is not one target for each of these, no two rows follow each other without a gap, or
        the data are refused (see :meth:`fit`).

    Notes
    -----
    ``rollout(..., stepper="midpoint")`` keeps the invariants to rounding at every step: the
    implicit midpoint rule evaluates the field in the middle of a step, where the gradient of a
    quadratic function is that of the chord. The default, adaptive steps keep them to their
    tolerance; :meth:`onto` returns states to a level set.

    References
    ----------
    Celledoni, Leone, Murari & Owren (2023), "Learning Hamiltonians of constrained mechanical
    systems", J. Comput. Appl. Math. 417, 114608. Midpoint: Cooper (1987), "Stability of
    Runge-Kutta methods for trajectory problems", IMA J. Numer. Anal. 7, 1.

    Examples
    --------
    >>> import rom
    >>> t = np.linspace(0, 8, 120)
    >>> Z = np.column_stack([np.cos(t), -np.sin(t)])
    >>> model = InvariantODE(hidden=(8,), max_iter=40, random_state=0).fit(Z, t=t)
    >>> run = rom.rollout(model, [0.6, 0.8], np.arange(1000.0), stepper="midpoint")
    >>> bool(abs(model.invariants(run.z) - 0.5).max() < 1e-12)
    True
    """

    quadratic_: Array
    linear_: Array
    weights_: list[Array]
    biases_: list[Array]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "quadratic": ["array-like", None],
        "linear": ["array-like", None],
        "hidden": [tuple, list],
    }

    def __init__(
        self,
        quadratic: ArrayLike | None = None,
        linear: ArrayLike | None = None,
        *,
        hidden: tuple[int, ...] = (32, 32),
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.quadratic = quadratic
        self.linear = linear
        self.hidden = hidden
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def invariants(self, Z: ArrayLike) -> Array:
        """The invariants (n_time, n_invariants) of states `Z` (n_time, rank)."""
        check_is_fitted(self)
        return self._invariants().values(checks.check_rows(self, Z, reset=False))

    def onto(self, Z: ArrayLike, levels: ArrayLike) -> Array:
        """The states near `Z` (n_time, rank) at which the invariants have these `levels`.

        `levels` are (n_invariants,), or (n_time, n_invariants).

        Raises
        ------
        ValueError
            If there are no such states near one of the rows.
        """
        check_is_fitted(self)
        return self._invariants().onto(checks.check_rows(self, Z, reset=False), levels)

    def _invariants(self) -> QuadraticInvariants:
        return QuadraticInvariants(self.quadratic_, self.linear_)

    def _initial(self, rng: np.random.RandomState) -> list[Array]:
        check_hidden(self.hidden)
        rank = self.n_features_in_
        given = self.quadratic is not None or self.linear is not None
        found = quadratic_invariants(rank, self.quadratic if given else np.eye(rank), self.linear)
        self.quadratic_, self.linear_ = found
        return initial(self._sizes(), rng).parameters

    def _sizes(self) -> tuple[int, ...]:
        rank = self.n_features_in_
        return rank + self.n_inputs_, *self.hidden, rank

    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]:
        """The layers W₁, b₁, W₂, …, and the invariants as functions of x."""
        layers = effective(parameters, multipliers(self._sizes()))
        Q = self.scale_ * self.quadratic_
        b = self.linear_ + self.quadratic_ @ self.mean_
        return [layers, QuadraticInvariants(xp.asarray(Q), xp.asarray(b))]

    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any:
        layers, invariants = parts
        out = xp.concatenate([x, u], -1) if self.n_inputs_ else x
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            out = xp.tanh(out @ weight + bias)
        return invariants.tangent(out @ layers[-2] + layers[-1], x)

    def _keep(self, parameters: list[Array], x: Array) -> None:
        layers = self._parts(np, parameters)[0]
        self.weights_, self.biases_ = layers[::2], layers[1::2]
        values = np.linalg.eigvalsh(self.quadratic_)
        definite = (values[:, 0] > 0) | (values[:, -1] < 0)
        largest = float(np.linalg.norm(x, axis=1).max())
        self.radius_ = np.inf if definite.any() else TRUSTED * largest or 1.0

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x, inputs = self._standardised(Z, u)
        slope = forward(self.weights_, self.biases_, np.hstack([x, inputs]))
        if np.isfinite(self.radius_):
            distance2 = (x**2).sum(axis=1, keepdims=True)
            slope = slope - np.maximum(distance2 / self.radius_**2 - 1, 0) * x
        return np.asarray(self.scale_ * self.speed_ * self._invariants().tangent(slope, Z))
