"""A network that turns states, damps them, and drives them with a bounded force."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.dynamics.networks import check_hidden, effective, initial, multipliers
from rom.dynamics.structured import StructuredODE

Array = NDArray[np.float64]

# The least rate of the linear damping, in units of the fastest rate of the data. What the data
# damp less, the drive makes up for where they are.
LEAST_DAMPING = 0.1


class DissipativeODE(StructuredODE):
    """A neural ODE that is bounded by construction: it preserves energy, damps it, and drives.

    With w = z - m, about a centre m, and inputs u,

        dw/dt = A(w, u) w - R w + g(w, u),

    A skew, R symmetric and positive definite. A and g are outputs of one tanh network, so that the
    drive g is bounded, whatever the state and the inputs: |g| <= G. The first term turns the
    state, as advection does, and leaves the energy |w|²/2 alone; with any parameters,
    d|w|/dt <= G - ρ |w|, ρ the least eigenvalue of R. All trajectories, under any inputs, end in
    the ball of ``radius_`` G/ρ around ``center_`` and never leave it again, and |w| never exceeds
    the larger of its start and that radius.

    Any smooth field can be had on the ball this way, limit cycles and chaos too: where the data
    gain energy, g supplies it. What is not guaranteed is that the attractor is that of the
    data, or how much smaller it is than the ball.

    Parameters
    ----------
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
    center_ : ndarray, shape (rank,)
        m.
    radius_ : float
        G/ρ, in the unit of the states: of a ball that all trajectories end in.
    damping_ : ndarray, shape (rank, rank)
        R, per unit of time.
    weights_, biases_ : list of ndarray, shapes (n_in, n_out) and (n_out,)
        Layers of the network, whose outputs are the entries of A above its diagonal, row by row,
        and g, in units of ``speed_`` and of ``speed_ * scale_``.
    mean_ : ndarray, shape (rank,)
        Mean of the training states.
    scale_ : float
        Their largest standard deviation of a coordinate.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is not one target for each coordinate,
        no two rows follow each other without a gap, or the data are refused (see :meth:`fit`).

    Notes
    -----
    The energy is the squared distance in latent coordinates: for orthonormal modes of a flow, its
    kinetic energy. The bound holds along exact solutions; the adaptive steps of a rollout keep it
    to their tolerance.

    References
    ----------
    Trapping regions: Schlegel & Noack (2015), "On long-term boundedness of Galerkin models",
    J. Fluid Mech. 765, 325. Fields as a skew and a dissipative part: McLachlan, Quispel &
    Robidoux (1999), Phil. Trans. R. Soc. A 357, 1021.

    Examples
    --------
    >>> t = np.linspace(0, 8, 120)
    >>> Z = np.column_stack([np.cos(t), -np.sin(t)])
    >>> model = DissipativeODE(hidden=(16,), max_iter=60, random_state=0).fit(Z, t=t)
    >>> far = 5 * model.radius_ * np.eye(2) + model.center_
    >>> bool((np.diag(model.predict(far)) < 0).all())
    True
    """

    center_: Array
    weights_: list[Array]
    biases_: list[Array]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "hidden": [tuple, list],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (32, 32),
        *,
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def energy_budget(self, Z: ArrayLike, *, u: ArrayLike | None = None) -> Array:
        """Rates at which the terms change the energy |z - m|²/2.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            States.
        u : array_like, shape (n_time, n_inputs), optional
            Inputs, where the model was fitted with some.

        Returns
        -------
        ndarray, shape (n_time, 2)
            By the damping, never positive, and by the drive. The turning makes no difference.
        """
        check_is_fitted(self)
        states: Array = checks.check_rows(self, Z, reset=False)
        w = states - self.center_
        inputs = checks.check_inputs(u, len(states), n_inputs=self.n_inputs_)
        drive = self._predict(states, inputs) + w @ self.damping_  # and what is at right angles
        return np.stack([-((w @ self.damping_) * w).sum(axis=1), (w * drive).sum(axis=1)], axis=1)

    def _sizes(self) -> tuple[int, ...]:
        rank = self.n_features_in_
        return rank + self.n_inputs_, *self.hidden, rank * (rank - 1) // 2 + rank

    def _initial(self, rng: np.random.RandomState) -> list[Array]:
        check_hidden(self.hidden)
        if not len(self.hidden):
            raise ValueError("hidden must hold the width of one layer at least, but is empty.")
        rank = self.n_features_in_
        network = initial(self._sizes(), rng).parameters
        return [*network, LEAST_DAMPING**0.5 * np.eye(rank), np.zeros(rank)]

    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]:
        """The layers W₁, b₁, W₂, …, R, m, and what makes A w of its entries."""
        *network, L, m = parameters
        eye = xp.eye(len(m), dtype=m.dtype)
        layers = effective(network, multipliers(self._sizes()))
        i, j = np.triu_indices(len(m), 1)
        return [layers, L @ L.T + LEAST_DAMPING * eye, m, eye[i], eye[j]]

    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any:
        layers, R, m, first, second = parts
        out = xp.concatenate([x, u], -1) if self.n_inputs_ else x
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            out = xp.tanh(out @ weight + bias)
        out = out @ layers[-2] + layers[-1]
        w, entries = x - m, out[:, : len(first)]
        turned = (entries * (w @ second.T)) @ first - (entries * (w @ first.T)) @ second
        return turned - w @ R + out[:, len(first) :]

    def _keep(self, parameters: list[Array], x: Array) -> None:
        layers, R, m, *_ = self._parts(np, parameters)
        self.weights_, self.biases_ = layers[::2], layers[1::2]
        self.center_ = self.mean_ + self.scale_ * m
        self.damping_ = self.speed_ * R
        rank = len(m)
        largest = np.abs(layers[-1][-rank:]) + np.abs(layers[-2][:, -rank:]).sum(axis=0)
        self.radius_ = float(self.scale_ * np.linalg.norm(largest) / np.linalg.eigvalsh(R)[0])

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x, inputs = self._standardised(Z, u)
        layers = [v for pair in zip(self.weights_, self.biases_, strict=True) for v in pair]
        m = (self.center_ - self.mean_) / self.scale_
        eye, (i, j) = np.eye(len(m)), np.triu_indices(len(m), 1)
        parts = [layers, self.damping_ / self.speed_, m, eye[i], eye[j]]
        return np.asarray(self.scale_ * self.speed_ * self._field(np, parts, x, inputs))
