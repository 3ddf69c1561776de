"""Latent Hamiltonian dynamics with a learned energy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.gradient_ode import GradientODE, symmetric_solution

Array = NDArray[np.float64]


def canonical(rank: int) -> Array:
    """``J = [[0, I], [-I, 0]]`` (rank, rank), for positions and then as many momenta."""
    return np.asarray(np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(rank // 2)), dtype=np.float64)


def check_pairs(model: GradientODE) -> None:
    """Raise a ValueError if the number of coordinates is odd."""
    if model.n_features_in_ % 2:
        raise ValueError(
            f"{type(model).__name__} needs an even number of coordinates, positions and then as "
            f"many momenta, as CotangentLift gives them, but Z has {model.n_features_in_}."
        )


class HamiltonianODE(GradientODE):
    """Hamiltonian motion of a learned energy: ``dz/dt = J ∇H(z)``, with ``J = [[0, I], [-I, 0]]``.

    The first half of the coordinates are positions q, the second half their momenta p, as
    :class:`rom.CotangentLift` gives them; the flow is symplectic and conserves H, whatever the
    parameters. H is a quadratic form, found first, by least squares on time derivatives, plus a
    tanh network that starts at zero, both then trained on slopes and on short runs. What training
    gave is kept if it is better on the runs held out by more than a standard error: where motion is
    linear, or nearly so, the network goes.

    Where H is not a positive definite form plus a (bounded) network, it gets a wall past one and a
    half times the largest training state, growing with the cube of the distance; where there are
    data, the wall is exactly zero. With a network every energy surface is then bounded, and so is
    every trajectory, for all time.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers of the network; ``()`` for a quadratic energy, so for a linear
        model, which runs compiled and has no wall.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS), in each of the two trainings.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread over all of them.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    quadratic_, linear_ : ndarray, shapes (rank, rank) and (rank,)
        Quadratic and linear part of the energy of standardised states.
    weights_, biases_ : list of ndarray, shapes (n_in, n_out) and (n_out,)
        Layers of its network; empty where it did not help.
    mean_, scale_ : ndarray, shape (rank,), and float
        Mean of the training states, and the largest standard deviation of one coordinate, by
        which all are divided: one number, so that pairs stay pairs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time, which slopes are in units of.
    radius_ : float
        Where the wall begins, in standardised distance; infinite without one.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the number of coordinates is odd, there are
        inputs, there is not one target for each coordinate, no two rows follow each other without
        a gap, or the data are refused (see :meth:`fit`).

    Notes
    -----
    Roll out with ``stepper="midpoint"``, the implicit midpoint rule: a symplectic method, which
    keeps a quadratic H to rounding, and any H, without drift, to second order in the step between
    output times. What is conserved is the learned energy; how well a known energy of the full
    model is kept tells how well it was learned.

    References
    ----------
    Greydanus, Dzamba & Yosinski (2019), "Hamiltonian neural networks", NeurIPS 32. Sharma, Wang &
    Kramer (2022), "Hamiltonian operator inference", Physica D 431, 133122. Hairer, Lubich &
    Wanner (2006), "Geometric Numerical Integration", 2nd ed., Springer, ch. VI and IX.

    Examples
    --------
    >>> import rom
    >>> t = np.linspace(0, 6, 61)
    >>> Z = np.column_stack([np.cos(2 * t), -2 * np.sin(2 * t)])
    >>> model = HamiltonianODE((8,), max_iter=5, random_state=0).fit(Z, t=t)
    >>> run = rom.rollout(model, Z[0], np.linspace(0, 600, 6001), stepper="midpoint")
    >>> bool(np.ptp(model.energy(run.z)) < 1e-10)
    True
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (32,),
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

    def _nearest(self, x: Array, u: Array, slopes: Array) -> list[Array]:
        check_pairs(self)
        if self.n_inputs_:
            raise ValueError(
                "HamiltonianODE takes no inputs u: a system that is driven is a PortHamiltonianODE."
            )
        return list(symmetric_solution(x, slopes @ self._M()))  # ∇H = Jᵀ dx/dt

    def _quadratic(self, K: Any) -> Any:
        return 0.5 * (K + K.T)

    def _matrix(self, xp: Any, structure: list[Any]) -> Any:
        return xp.asarray(self._M())

    def _force(self, xp: Any, structure: list[Any], u: Any) -> Any:
        return 0.0

    def _keep_structure(self, structure: list[Array]) -> None:
        """J is the whole structure."""

    def _M(self) -> Array:
        return canonical(self.n_features_in_)

    def _f(self, u: Array) -> Array:
        return np.zeros(self.n_features_in_)
