"""Sparse neural ODE: a network that grows from few weights, the most needed first."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from rom.dynamics.bregman import (
    REFIT,
    gather,
    grow,
    refit,
    scatter,
    scattered,
    start_sparse,
    without_idle_units,
)
from rom.dynamics.small import Array, SmallODE
from rom.dynamics.structured import StructuredODE

# Rounds of growth. The most weights allowed grows by one factor from round to round, and by this
# from the start to the end.
ROUNDS, GROWTH = 8, 8.0


class SparseODE(SmallODE):
    """A neural network with few weights as the right-hand side: ``dz/dt = f(z, u)``.

    A multilayer perceptron with tanh units, nearly all of whose weights are zero from the first
    step of the training to the last. It starts from a few. Linearised Bregman iterations gather
    the gradient of the loss for every weight, and one comes to life when what it has
    gathered passes a threshold: those that matter most come first, and some die again. Between
    rounds of growth, the living weights and the biases are fitted. Growth ends after eight rounds,
    often below the share of weights allowed; units with nothing coming in or going out are then
    removed. What is left is trained first on time derivatives, then on short runs, as a
    :class:`~rom.dynamics.NeuralODE` is, without the bias of a penalty towards small weights.

    Two things hold by construction: no more than the part `density` of the weights is there, and
    every rollout is bounded. Past one and a half times the largest training state, measured from
    the mean, a pull back to the mean is added that grows with the distance; tanh networks are
    bounded, so the pull wins. That the network is as good as one with all its weights is
    not guaranteed: compare rollouts.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers to choose from.
    density : float, optional
        The largest part of the weights kept. Biases are not among them.
    window : int, optional
        Sampling steps per training run.
    max_iter : int, optional
        The most iterations (L-BFGS, all data at once), in each of the two trainings after
        growth; in the fits between two rounds of growth, 40 at most.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread evenly over all of them.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, two fits agree to the bit.

    Attributes
    ----------
    weights_ : list of ndarray, shapes (n_in, n_out)
        Layer weights, most of them zero, between the units that are left.
    biases_ : list of ndarray, shapes (n_out,)
        Layer biases.
    n_weights_ : int
        Weights that are not zero, and biases.
    n_dense_ : int
        Weights and biases of the network with all units and weights.
    growth_ : ndarray, shape (n_rounds, 2)
        Before each round of growth: living weights, held-out loss of their fit.
    mean_ : ndarray, shape (rank,)
        Mean of the training states.
    scale_ : float
        The largest standard deviation of a coordinate, which states are divided by.
    input_mean_, input_scale_ : ndarray, shape (n_inputs,)
        Mean and standard deviation of the training inputs.
    speed_ : float
        The fastest rate of a coordinate, per unit of time.
    radius_ : float
        Where the pull begins, in units of ``|z - mean_| / scale_``.
    history_ : ndarray, shape (n_checks, 3)
        Iterations, training loss and held-out loss of the last training.
    n_iter_ : int
        Iterations of the two trainings after growth together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is not one target for each coordinate,
        no two rows follow each other without a gap, or the data are refused (see :meth:`fit`).

    References
    ----------
    Bungert, Roith, Tenbrinck & Burger (2022), "A Bregman learning framework for sparse neural
    networks", J. Mach. Learn. Res. 23, 192.

    Examples
    --------
    >>> t = np.linspace(0, 8, 120)
    >>> Z = np.column_stack([np.cos(t), -np.sin(t)])
    >>> model = SparseODE(hidden=(32, 32), density=0.1, max_iter=60, random_state=0).fit(Z, t=t)
    >>> bool(np.abs(model.predict(Z) - np.column_stack([Z[:, 1], -Z[:, 0]])).max() < 0.05)
    True
    >>> bool(sum(np.count_nonzero(w) for w in model.weights_) <= 0.1 * (64 + 1024 + 64))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **StructuredODE._parameter_constraints,
        "hidden": [tuple, list],
        "density": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (256, 256, 256),
        *,
        density: float = 0.05,
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.density = density
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def _train(self, start: list[Array], stages: list[Any]) -> list[Array]:
        n_weights = self.density * sum(weight.size for weight in start[::2])
        parameters = start_sparse(start, self.density / GROWTH)
        gathered = [np.zeros_like(weight) for weight in start[::2]]
        growth = []
        for i in range(1, ROUNDS + 1):
            most = int(n_weights * GROWTH ** (i / ROUNDS - 1))
            parameters, held = refit(parameters, *stages[0], max_iter=min(REFIT, self.max_iter))
            growth.append([sum(np.count_nonzero(w) for w in parameters[::2]), held])
            parameters, gathered = grow(parameters, gathered, stages[0], most)
        self.growth_ = np.array(growth)
        parameters = without_idle_units(parameters)
        masks = [weight != 0 for weight in parameters[::2]]
        stages = [(scattered(loss, masks), *data) for loss, *data in stages]
        return scatter(super()._train(gather(parameters, masks), stages), masks)

    def _network(self, xp: Any, parts: list[Any], x: Any) -> Any:
        for weight, bias in zip(parts[:-2:2], parts[1:-2:2], strict=True):
            x = xp.tanh(x @ weight + bias)
        return x @ parts[-2] + parts[-1]

    def _keep(self, parameters: list[Array], x: Array) -> None:
        self.weights_, self.biases_ = parameters[::2], parameters[1::2]
        alive = sum(int(np.count_nonzero(weight)) for weight in self.weights_)
        self.n_weights_ = alive + sum(bias.size for bias in self.biases_)
        self._set_rest(x)

    def _fitted(self) -> list[Array]:
        return [v for layer in zip(self.weights_, self.biases_, strict=True) for v in layer]
