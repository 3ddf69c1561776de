"""Closures: a known or identified base model plus a learned term, trained through the solver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.learned_term import Base, LearnedTerm
from rom.dynamics.networks import Initial, check_hidden, forward, initial

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


class Closure(LearnedTerm):
    """A polynomial base model closed by a network: ``dz/dt = f(z, u) + g(z, u)``.

    A reduced model leaves out what the truncated modes do to the kept ones. The network g learns
    that: first a priori, from the residual of the base model in the training slopes; then through
    the solver, where the closed model is run over random short windows and the error of the runs,
    and of their mean and covariance, is what descends. The second does not always win: of the base
    alone, the a-priori term and the term trained through the solver, the one is kept whose
    runs are best on stretches held out, by the same measure.

    Nothing guarantees that a rollout stays bounded: g is bounded, as tanh is, but the base model
    may not be. One that leaves ``bound_`` ends with that reason. See :class:`ConvexClosure` for a
    term that cannot add energy.

    Parameters
    ----------
    base : Dynamics or Polynomial, optional
        A continuous model with a polynomial right-hand side, cloned and identified from the data
        (by default ``OperatorInference()``); or, where it is known, that polynomial itself, such
        as ``OperatorInference.from_operators(…).polynomial()`` of a Galerkin projection.
    hidden : tuple of int, optional
        Widths of the hidden layers.
    window : int, optional
        Sampling steps per run in training.
    n_steps : int, optional
        Optimiser steps through the solver; with 0, the term stays as it was fitted a priori.
    batch : int, optional
        Windows per step.
    learning_rate : float, optional
        Adam's, at the start; it falls to zero.
    statistics : float, optional
        Weight of the errors of mean and covariance beside that of the runs.
    max_iter : int, optional
        The most iterations of the a-priori fit (L-BFGS).
    validation_fraction : float, optional
        Part of each stretch of continuous sampling held out, at its end.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights and of the windows drawn.

    Attributes
    ----------
    weights_ : list of ndarray, shapes (n_in, n_out)
        Layer weights; zero where the base alone did best.
    biases_ : list of ndarray, shapes (n_out,)
        Layer biases.
    base_exponents_ : ndarray of int, shape (n_terms, rank + n_inputs)
        Exponents of the base model.
    base_coef_ : ndarray, shape (n_targets, n_terms)
        Its coefficients.
    mean_, scale_ : ndarray, shape (rank + n_inputs,)
        What is subtracted from states and inputs, and what they are then divided by, in g.
    term_scale_ : ndarray, shape (n_targets,)
        What g is in units of: the root mean square of the base model's residual, or a tenth of
        that of the slopes where it is less.
    n_iter_ : int
        Iterations of the a-priori fit.
    stage_ : str
        What was kept: "none" (the base alone), "a priori" or "through the solver".
    scores_ : ndarray, shape (3,)
        Held-out loss of each of these; NaN where there were no runs.
    history_ : ndarray, shape (n_checks, 3)
        Steps through the solver so far, training loss and held-out loss.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the base model is not a polynomial of the
        states and inputs, no two rows follow each other without a gap, or the data are refused
        (see :meth:`fit`).

    References
    ----------
    Sirignano, MacArt & Freund (2020), "DPM: a deep learning PDE augmentation method with
    application to large-eddy simulation", J. Comput. Phys. 423, 109811. Sirignano, MacArt &
    Spiliopoulos (2023), "PDE-constrained models with neural network terms: optimization and global
    convergence", J. Comput. Phys. 481, 112016.

    Examples
    --------
    A pendulum whose base model is the small-angle one:

    >>> import numpy as np, rom
    >>> from scipy.integrate import solve_ivp
    >>> t = np.linspace(0, 12, 240)
    >>> Z = solve_ivp(lambda _, z: [z[1], -np.sin(z[0])], (0, 12), [2, 0], t_eval=t, rtol=1e-9).y.T
    >>> small = rom.OperatorInference.from_operators(A=[[0, 1], [-1, 0]]).polynomial()
    >>> model = Closure(small, (16,), n_steps=0, random_state=0).fit(Z, t=t)
    >>> run = rom.rollout(model, Z[0], t).z
    >>> bool(np.abs(run - Z).max() < 0.05), model.stage_
    (True, 'a priori')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LearnedTerm._parameter_constraints,
        "hidden": [tuple, list],
    }

    def __init__(
        self,
        base: Base = None,
        hidden: tuple[int, ...] = (32, 32),
        *,
        window: int = 16,
        n_steps: int = 200,
        batch: int = 32,
        learning_rate: float = 3e-3,
        statistics: float = 1.0,
        max_iter: int = 200,
        validation_fraction: float = 0.2,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.base = base
        self.hidden = hidden
        self.window = window
        self.n_steps = n_steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.statistics = statistics
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _start(self, rng: np.random.RandomState, n_targets: int) -> Initial:
        check_hidden(self.hidden)
        return initial([self.n_features_in_ + self.n_inputs_, *self.hidden, n_targets], rng)

    def _torch_term(self, layers: list[Tensor], x: Tensor) -> Tensor:
        from rom.dynamics.shooting import network

        return network(layers, x)

    def _keep(self, layers: list[Array]) -> None:
        self.weights_, self.biases_ = layers[::2], layers[1::2]

    def _term(self, x: Array) -> Array:
        return forward(self.weights_, self.biases_, x)
