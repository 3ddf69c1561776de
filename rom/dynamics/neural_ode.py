"""Neural ODE: a small network as the right-hand side of the latent dynamics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from rom.base import Dynamics, Series
from rom.data.trajectory import segments
from rom.dynamics.invariants import QuadraticInvariants, quadratic_invariants
from rom.dynamics.networks import check_hidden, effective, forward, initial
from rom.dynamics.stages import (
    NEGLIGIBLE,
    Matching,
    fastest_rate,
    hold_out,
    input_scale,
    longest,
    runs,
    slope_matching,
    weak_matching,
)

if TYPE_CHECKING:
    from rom.dynamics.checkpoint import Checkpoint
    from rom.dynamics.shooting import Model, Shooter
    from rom.dynamics.training import Stage

# Runge–Kutta steps in training are so short that the fastest coordinate turns by at most this angle
# in each (radians): their error is then about 0.3⁵ / 120 = 2e-5 of the state.
MAX_ANGLE = 0.3
# The network is trusted to this many times the largest training state.
TRUSTED = 1.5


class NeuralODE(Dynamics):
    """A neural network as the right-hand side: ``dz/dt = f(z, u)``.

    The network is a multilayer perceptron with tanh units on standardised states and inputs. All
    coordinates are divided by one scale, as suits those of one basis: small ones then weigh
    little (scale states of unlike units beforehand). It is trained in up to three stages, each of
    which starts where the one before ended:

    1. `matching`: on time derivatives, or on the equation integrated against test functions (the
       weak form, for noisy states). No run is made, which is cheap and brings the network near.
       Where there are many derivatives, it is trained on a random part of them first: twice as
       many numbers as the network has, or 1000 rows.
    2. `window`: on short runs from the samples themselves (multiple shooting, all in one batch),
       whose error is what counts, through differentiable Runge–Kutta steps that end at the
       sampling times, evenly spaced or not.
    3. `unroll`: on longer runs, one length after the other, from states with noise.

    No run crosses the end of a trajectory or a gap in time. A few windows are held out, to stop
    early and to choose the weights kept.

    A network says nothing where it saw no data. Past one and a half times the largest training
    state, measured from the mean, a pull back to the mean is added that
    grows with the distance. A tanh network is bounded, so the pull wins: every rollout stays
    bounded for all time. Where there are data, the pull is exactly zero.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers.
    matching : {"slopes", "weak"} or None, optional
        The first stage; None leaves it out. Given `y`, it is always on slopes.
    window : int or None, optional
        Sampling steps per run of the second stage; None leaves it out. Stretches with fewer rows
        take part by their derivatives only. Where all are shorter, runs are as long as the
        longest.
    unroll : tuple of int, optional
        Sampling steps per run of the third stage, such as ``(3, 4, 5)`` or, after a second stage,
        ``(16, 32)``; with none it is left out.
    noise : float, optional
        Of the states that runs of the third stage start from: uniform noise up to this size, in
        standardised states. The model learns to come back from its own errors.
    invariants : array_like, shape (n_invariants, rank, rank), optional
        Symmetric matrices Q of quadratic invariants ``½ zᵀ Q z``, of states `z` with their mean.
        Slopes are projected onto what keeps them all, in training and ever after: then
        ``zᵀ Q dz/dt = 0`` to rounding, and a rollout drifts by the error of its steps only. A
        pull that is projected bounds a rollout only together with its invariants: one of them,
        or a sum, is to be positive definite.
    max_iter : int, optional
        The most optimiser iterations in each training: L-BFGS iterations, or steps of Adam.
    batch_size : int, optional
        Rows or runs per step of Adam. By default all the data at once, with L-BFGS: no learning
        rate to choose, and more accurate at equal time as long as the data are few.
    learning_rate : float, optional
        Of Adam, where `batch_size` is given; the layers are scaled so that the best one does not
        move with the width (:mod:`rom.dynamics.networks`).
    validation_fraction : float, optional
        Part of the rows held out, in windows spread evenly over all of them: where a transient
        settles, its end alone would say little about the rest. With 0, or too few rows to spare a
        window, the training loss takes the place of the held-out one.
    patience : int, optional
        Checks in a row, 20 iterations (Adam: 50 steps) apart, without a better held-out loss
        before training ends.
    solver : {"rk4", "dopri5"}, optional
        Runs of training by fixed steps, short enough for the fastest coordinate, or by adaptive
        ones, which need torchdiffeq: ``pip install rom-sysid[adaptive]``.
    adjoint : bool, optional
        Differentiate fixed steps by their exact adjoint (:mod:`rom.dynamics.adjoint`): the same
        gradient in the memory of one network evaluation, whatever the number of steps, for about
        1.6 times the arithmetic.
    compile : bool, optional
        Let ``torch.compile`` translate the network first, which takes a compiler and half a
        minute: worth it for wide networks or many data.
    checkpoint : str, optional
        A folder. A fit keeps a file there of how far it has come, and starts from it if it is
        called again, with the same data and parameters, after a kill: the fitted model is the
        same to the bit as without one. The file is deleted at the end.
    device : str, optional
        ``"cpu"``, ``"cuda"``, another PyTorch device, or ``"auto"``: CUDA where there is one.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights, of batches and noise. With an int, fits on one machine and
        device agree to the bit.

    Attributes
    ----------
    weights_ : list of ndarray, shapes (n_in, n_out)
        Layer weights.
    biases_ : list of ndarray, shapes (n_out,)
        Layer biases.
    mean_, scale_ : ndarray, shape (rank + n_inputs,)
        Mean of training states and inputs; what they are divided by: the largest standard
        deviation of a coordinate for states, its own for each input.
    slope_scale_ : ndarray, shape (n_targets,)
        Root mean square of the training slopes, which the network's output is in units of; of a
        coordinate that hardly changes, a millionth of the largest.
    radius_ : float
        Where the pull begins, in standardised distance; infinite where the targets given are not
        slopes of all coordinates.
    pull_ : float
        Its rate, per unit of time: that of the fastest coordinate.
    invariants_ : ndarray, shape (n_invariants, rank, rank)
        The matrices of `invariants`.
    history_ : ndarray, shape (n_checks, 3)
        Iterations so far, training loss and held-out loss, of the last training.
    histories_ : list of ndarray
        The same, of each training.
    report_ : str
        One line for each training: what it was on, iterations, held-out loss at its first check
        and at best, why it ended.
    n_iter_ : int
        Iterations until training ended, all trainings together, counted from check to check: a
        line search that can do no better ends its 20 early.
    n_rollbacks_ : int
        How often the loss was not finite: training then went on from the best weights before, at
        half the rate.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `device` cannot be used here, no stage is
        asked for, no two rows follow each other without a gap, or the data are refused (see
        :meth:`fit`).
    ImportError
        By a fit with ``solver="dopri5"``, if torchdiffeq is not installed.

    Warns
    -----
    ConvergenceWarning
        If the loss was not finite at some iteration.

    Notes
    -----
    Given `y` (dz/dt), only the first stage takes place. A fit loads PyTorch; a fitted model
    runs on NumPy alone. With L-BFGS all windows are in memory at once, about
    ``2 n_time × 4 × sum(hidden)`` numbers.

    References
    ----------
    Chen, Rubanova, Bettencourt & Duvenaud (2018), "Neural ordinary differential equations",
    NeurIPS 31. Bock & Plitt (1984), "A multiple shooting algorithm for direct solution of optimal
    control problems", IFAC Proc. 17, 1603. Celledoni, Leone, Murari & Owren (2023), "Learning
    Hamiltonians of constrained mechanical systems", J. Comput. Appl. Math. 417, 114608 (unrolled
    runs, noise and projection).

    Examples
    --------
    >>> import numpy as np
    >>> t = np.linspace(0, 8, 120)
    >>> Z = np.column_stack([np.cos(t), -np.sin(t)])
    >>> model = NeuralODE(hidden=(16,), max_iter=100, random_state=0).fit(Z, t=t)
    >>> error = np.abs(model.predict(Z) - np.column_stack([Z[:, 1], -Z[:, 0]])).max()
    >>> bool(error < 0.01)
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": [tuple, list],
        "matching": [StrOptions({"slopes", "weak"}), None],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "unroll": [tuple, list],
        "noise": [Interval(Real, 0, None, closed="left")],
        "invariants": ["array-like", None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions({"rk4", "dopri5"})],
        "adjoint": ["boolean"],
        "compile": ["boolean"],
        "checkpoint": [str, None],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (32, 32),
        *,
        matching: Literal["slopes", "weak"] | None = "slopes",
        window: int | None = 8,
        unroll: tuple[int, ...] = (),
        noise: float = 0.01,
        invariants: ArrayLike | None = None,
        max_iter: int = 200,
        batch_size: int | None = None,
        learning_rate: float = 0.01,
        validation_fraction: float = 0.15,
        patience: int = 5,
        solver: Literal["rk4", "dopri5"] = "rk4",
        adjoint: bool = False,
        compile: bool = False,
        checkpoint: str | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.matching = matching
        self.window = window
        self.unroll = unroll
        self.noise = noise
        self.invariants = invariants
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.solver = solver
        self.adjoint = adjoint
        self.compile = compile
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state

    def _fit_series(self, series: Series) -> None:
        from rom.dynamics.training import train

        check_hidden(self.hidden)
        self._check_stages(series)
        pieces = segments(series.t, series.trajectory)
        matching = self._matching(series, pieces)
        x = series.Z if series.u is None else np.hstack([series.Z, series.u])
        rate = self._set_scales(series.Z, x, matching.slopes)
        x = (x - self.mean_) / self.scale_
        self._set_pull(x, rate)
        random, checkpoint = check_random_state(self.random_state), self._checkpoint(series)
        start = initial([x.shape[1], *self.hidden, len(self.slope_scale_)], random)
        outcomes = train(
            self._stages(series, pieces, matching, x, rate, start.multipliers),
            start.parameters,
            name=type(self).__name__, max_iter=self.max_iter, patience=self.patience,
            device=_device(self.device), batch_size=self.batch_size, checkpoint=checkpoint,
            learning_rate=self.learning_rate, seed=int(random.randint(2**31 - 1)),
        )  # fmt: skip
        parameters = effective(outcomes[-1].parameters, start.multipliers)
        self.weights_, self.biases_ = parameters[::2], parameters[1::2]
        self.histories_ = [outcome.history for outcome in outcomes]
        self.report_ = "\n".join(outcome.summary for outcome in outcomes)
        self.n_iter_ = sum(outcome.n_iter for outcome in outcomes)
        self.n_rollbacks_ = sum(outcome.n_rollbacks for outcome in outcomes)
        self.history_, self.stop_reason_ = outcomes[-1].history, outcomes[-1].reason
        if checkpoint is not None:
            checkpoint.remove()

    def _check_stages(self, series: Series) -> None:
        if not all(isinstance(length, Integral) and length > 0 for length in self.unroll):
            raise ValueError(f"unroll must hold positive whole numbers, but is {self.unroll!r}.")
        if series.y is None and self.matching is None and self.window is None and not self.unroll:
            raise ValueError(
                "No stage of training is asked for: set matching, window or unroll (or give y)."
            )
        if self.adjoint and self.solver != "rk4":
            raise ValueError("adjoint=True is for fixed steps: it needs solver='rk4'.")
        self.invariants_ = None
        if self.invariants is None:
            return
        self.invariants_ = quadratic_invariants(self.n_features_in_, self.invariants).quadratic
        if series.y is not None and series.y.shape[1] != self.n_features_in_:
            raise ValueError(
                "invariants need the slopes of all coordinates, but there are "
                f"{series.y.shape[1]} targets for {self.n_features_in_} coordinates."
            )

    def _matching(self, series: Series, pieces: list[slice]) -> Matching:
        """The first stage's data, which also say how fast the states change."""
        if self.matching == "weak" and series.y is None and longest(pieces) > 0:
            return weak_matching(series, pieces, self.validation_fraction)
        window = min(self._longest_run(), max(1, longest(pieces)))
        return slope_matching(series, pieces, self.validation_fraction, window, type(self).__name__)

    def _longest_run(self) -> int:
        return max(self.window or 1, *self.unroll, 1)

    def _stages(
        self,
        series: Series,
        pieces: list[slice],
        matching: Matching,
        x: NDArray[np.float64],
        rate: float,
        multipliers: list[float],
    ) -> Iterator[Stage]:
        """What to train on, one stage after the other."""
        from functools import partial

        from rom.dynamics import shooting
        from rom.dynamics.training import Stage

        model = self._model(multipliers)
        if series.y is not None or self.matching is not None:
            loss = shooting.weak_loss if matching.is_weak else shooting.slope_loss
            train, held = matching.data(x, self.slope_scale_)
            loss = partial(loss, model=model)
            yield Stage(matching.name, loss, train, held, whole=matching.is_weak)
        if series.y is not None:
            return
        assert series.t is not None  # Dynamics.fit has checked
        rank, perturb = self.n_features_in_, partial(shooting.shake, self.noise)
        parts = hold_out(
            pieces, self.validation_fraction, min(self._longest_run(), max(1, longest(pieces)))
        )
        gain = self.slope_scale_ / self.scale_[:rank]
        lengths = [(n, None) for n in (self.window,) if n] + [(n, perturb) for n in self.unroll]
        for length, noise in lengths:
            train, held = (runs(x, series.t, part, rank, length) for part in parts)
            substeps = max(1, math.ceil(rate * train[2].max() / MAX_ANGLE))
            loss = shooting.run_loss(gain, substeps, model=model, shooter=self._shooter(substeps))
            name = f"runs of {length} steps" + (" from noisy states" if noise else "")
            yield Stage(name, loss, train, held, perturb=noise)

    def _model(self, multipliers: list[float]) -> Model:
        """The network as training sees it."""
        import torch

        from rom.dynamics import shooting

        model: Model = shooting.network
        if any(by != 1 for by in multipliers):
            model = shooting.scaled(model, multipliers)
        if self.invariants_ is not None:
            rank = self.n_features_in_
            mean, scale = self.mean_[:rank], self.scale_[:rank]
            model = shooting.on_tangent(
                model, self._invariants(), mean, scale, self.slope_scale_ / scale
            )
        return torch.compile(model) if self.compile else model

    def _shooter(self, substeps: int) -> Shooter | None:
        from functools import partial

        from rom.dynamics import adjoint, shooting

        if self.solver == "dopri5":
            return shooting.shoot_adaptively
        return partial(adjoint.shoot, substeps=substeps) if self.adjoint else None

    def _invariants(self) -> QuadraticInvariants:
        assert self.invariants_ is not None
        return QuadraticInvariants(self.invariants_, np.zeros(self.invariants_.shape[:2]))

    def _checkpoint(self, series: Series) -> Checkpoint | None:
        from rom.dynamics.checkpoint import Checkpoint

        if self.checkpoint is None:
            return None
        options = {**self.get_params(), "checkpoint": None, "invariants": None}
        if isinstance(self.random_state, np.random.RandomState):
            options["random_state"] = self.random_state.get_state(legacy=False)
        return Checkpoint(
            self.checkpoint, type(self).__name__, *options.items(), self.invariants_, *series
        )

    def _set_scales(
        self, Z: NDArray[np.float64], x: NDArray[np.float64], slopes: NDArray[np.float64]
    ) -> float:
        """Set what states, inputs and slopes are divided by; return the fastest rate of a state."""
        rank, size = Z.shape[1], np.sqrt((slopes**2).mean(axis=0))
        self.mean_ = x.mean(axis=0)
        self.scale_ = np.append(np.full(rank, Z.std(axis=0).max() or 1.0), input_scale(x[:, rank:]))
        if len(size) != rank:  # each target has a unit of its own
            self.slope_scale_ = np.where(size > 0, size, 1.0)
            return 0.0
        self.slope_scale_ = np.maximum(size, NEGLIGIBLE * size.max() or 1.0)
        return fastest_rate(Z, slopes)

    def _set_pull(self, x: NDArray[np.float64], rate: float) -> None:
        largest = float(np.linalg.norm(x[:, : self.n_features_in_], axis=1).max())
        self.radius_ = TRUSTED * largest if rate > 0 and largest > 0 else math.inf
        self.pull_ = rate

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        x = Z if u is None else np.hstack([Z, u])
        x = (x - self.mean_) / self.scale_
        distance = np.linalg.norm(x[:, : Z.shape[1]], axis=1, keepdims=True)
        slopes = self.slope_scale_ * forward(self.weights_, self.biases_, x)
        if not math.isinf(self.radius_):
            excess = np.maximum(distance / self.radius_ - 1, 0)
            slopes = slopes - self.pull_ * excess * (Z - self.mean_[: Z.shape[1]])
        if self.invariants_ is not None:
            slopes = self._invariants().tangent(slopes, Z)
        return slopes


def _device(name: str) -> str:
    import torch

    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "auto":
        return "cuda" if cuda else "cpu"
    try:
        torch.zeros(1, dtype=torch.float64, device=name).item()
    except (AssertionError, ImportError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={name!r} was asked for, but PyTorch cannot compute in double precision on "
            f"it. Available here: {', '.join(['auto', 'cpu', *cuda])}."
        ) from error
    return name
