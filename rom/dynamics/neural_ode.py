"""Neural ODE: a small network as the right-hand side of the latent dynamics."""

from __future__ import annotations

import math
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from rom.base import Dynamics, Series
from rom.data.derivative import derivative
from rom.data.trajectory import segments, windows

# Runge–Kutta steps in training are so short that the fastest coordinate turns by at most this angle
# in each (radians): their error is then about 0.3⁵ / 120 = 2e-5 of the state.
MAX_ANGLE = 0.3
# The network is trusted to this many times the largest training state.
TRUSTED = 1.5


class NeuralODE(Dynamics):
    """A neural network as the right-hand side: ``dz/dt = f(z, u)``.

    The network is a multilayer perceptron with tanh units on standardised states and inputs. All
    coordinates are divided by one scale, as suits those of one basis: small ones then weigh
    little (scale states of unlike units beforehand). It is trained twice: first on time
    derivatives estimated from the samples, which is cheap and brings it near; then on short runs
    (multiple shooting from the samples themselves), whose error is what counts, through
    differentiable Runge–Kutta steps that end at the sampling times, evenly spaced or not. No run
    crosses the end of a trajectory or a gap in time. A few windows are held out, to stop early
    and to choose the weights kept.

    A network says nothing where it saw no data. Past one and a half times the largest training
    state, measured from the mean, a pull back to the mean is added that
    grows with the distance. A tanh network is bounded, so the pull wins: every rollout stays
    bounded for all time. Where there are data, the pull is exactly zero.

    Parameters
    ----------
    hidden : tuple of int, optional
        Widths of the hidden layers.
    window : int, optional
        Sampling steps per training run. Stretches with fewer rows take part by their derivatives
        only. Where all are shorter, runs are as long as the longest.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS, all data at once), in each of the two trainings.
    validation_fraction : float, optional
        Part of the rows held out, in windows spread evenly over all of them: where a transient
        settles, its end alone would say little about the rest. With 0, or too few rows to spare a
        window, the training loss takes the place of the held-out one.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    device : str, optional
        ``"cpu"``, ``"cuda"``, another PyTorch device, or ``"auto"``: CUDA where there is one.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, fits on one machine and device agree to the bit.

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
        Root mean square of the training slopes, which the network's output is in units of.
    radius_ : float
        Where the pull begins, in standardised distance; infinite where the targets given are not
        slopes of all coordinates.
    pull_ : float
        Its rate, per unit of time: that of the fastest coordinate.
    history_ : ndarray, shape (n_checks, 3)
        Iterations so far, training loss and held-out loss, of the last training.
    n_iter_ : int
        Iterations until training ended, both trainings together, counted from check to check: a
        line search that can do no better ends its 20 early.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `device` cannot be used here, no two rows
        follow each other without a gap, or the data are refused (see :meth:`fit`).

    Notes
    -----
    Given `y` (dz/dt), only the first training takes place. A fit loads PyTorch; a fitted model
    runs on NumPy alone. All windows are in memory at once, about ``2 n_time × 4 × sum(hidden)``
    numbers.

    References
    ----------
    Chen, Rubanova, Bettencourt & Duvenaud (2018), "Neural ordinary differential equations",
    NeurIPS 31. Bock & Plitt (1984), "A multiple shooting algorithm for direct solution of optimal
    control problems", IFAC Proc. 17, 1603.

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
        "window": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden: tuple[int, ...] = (32, 32),
        *,
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.device = device
        self.random_state = random_state

    def _fit_series(self, series: Series) -> None:
        from rom.dynamics.shooting import minimise, run_loss, slope_loss

        self._check_hidden()
        pieces = segments(series.t, series.trajectory)
        rows, slopes = _slopes(series, pieces)
        x = series.Z if series.u is None else np.hstack([series.Z, series.u])
        rate = self._set_scales(series.Z, x, slopes)
        x, slopes = (x - self.mean_) / self.scale_, slopes / self.slope_scale_
        self._set_pull(x, rate)
        window = min(self.window, max(1, *(piece.stop - piece.start - 1 for piece in pieces)))
        parts = _hold_out(pieces, self.validation_fraction, window)
        options: dict[str, Any] = {
            "max_iter": self.max_iter, "patience": self.patience, "device": _device(self.device),
        }  # fmt: skip

        near = [np.isin(rows, _row_numbers(part)) for part in parts]
        outcome = minimise(
            self._initial_parameters(x.shape[1], slopes.shape[1]), slope_loss,
            *((x[rows[here]], slopes[here]) for here in near), label="NeuralODE 1/2", **options,
        )  # fmt: skip
        self.n_iter_ = outcome.n_iter
        if series.y is None:
            assert series.t is not None  # Dynamics.fit has checked
            gain = self.slope_scale_ / self.scale_[: self.n_features_in_]
            data = [_runs(x, series.t, part, self.n_features_in_, self.window) for part in parts]
            substeps = max(1, math.ceil(rate * data[0][2].max() / MAX_ANGLE))
            outcome = minimise(
                outcome.parameters, run_loss(gain, substeps), *data,
                label="NeuralODE 2/2", **options,
            )  # fmt: skip
            self.n_iter_ += outcome.n_iter
        self.weights_, self.biases_ = outcome.parameters[::2], outcome.parameters[1::2]
        self.history_, self.stop_reason_ = outcome.history, outcome.reason

    def _set_scales(
        self, Z: NDArray[np.float64], x: NDArray[np.float64], slopes: NDArray[np.float64]
    ) -> float:
        """Set what states, inputs and slopes are divided by; return the fastest rate of a state."""
        rank = Z.shape[1]
        deviation, slope = x.std(axis=0), np.sqrt((slopes**2).mean(axis=0))
        self.mean_, self.scale_ = x.mean(axis=0), _nonzero(deviation)
        self.slope_scale_ = _nonzero(slope)
        self.scale_[:rank] = deviation[:rank].max() or 1.0
        if len(slope) != rank:
            return 0.0
        return float((slope / _nonzero(deviation[:rank])).max())

    def _set_pull(self, x: NDArray[np.float64], rate: float) -> None:
        largest = float(np.linalg.norm(x[:, : self.n_features_in_], axis=1).max())
        self.radius_ = TRUSTED * largest if rate > 0 and largest > 0 else math.inf
        self.pull_ = rate

    def _check_hidden(self) -> None:
        if not all(isinstance(width, Integral) and width > 0 for width in self.hidden):
            raise ValueError(
                f"hidden must hold positive whole numbers, one per layer, but is {self.hidden!r}."
            )

    def _initial_parameters(self, n_in: int, n_out: int) -> list[NDArray[np.float64]]:
        random = check_random_state(self.random_state)
        sizes = [n_in, *self.hidden, n_out]
        parameters = []
        for fan_in, fan_out in pairwise(sizes):
            weight = random.normal(scale=fan_in**-0.5, size=(fan_in, fan_out))
            parameters += [weight, np.zeros(fan_out)]
        return parameters

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        x = Z if u is None else np.hstack([Z, u])
        x = (x - self.mean_) / self.scale_
        distance = np.linalg.norm(x[:, : Z.shape[1]], axis=1, keepdims=True)
        for weight, bias in zip(self.weights_[:-1], self.biases_[:-1], strict=True):
            x = np.tanh(x @ weight + bias)
        slopes = self.slope_scale_ * (x @ self.weights_[-1] + self.biases_[-1])
        if math.isinf(self.radius_):
            return slopes
        excess = np.maximum(distance / self.radius_ - 1, 0)
        return slopes - self.pull_ * excess * (Z - self.mean_[: Z.shape[1]])


def _slopes(series: Series, pieces: list[slice]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The rows that have a time derivative, and their derivatives."""
    if series.y is not None:
        return np.arange(len(series.Z)), series.y
    assert series.t is not None  # Dynamics.fit has checked
    rows, slopes = derivative(series.Z, series.t, pieces)
    if not len(rows):
        raise ValueError(
            "NeuralODE needs two rows of one trajectory without a gap in time between them, "
            f"but each of the {len(series.Z)} rows stands alone."
        )
    return rows, slopes


def _hold_out(pieces: list[slice], fraction: float, window: int) -> tuple[list[slice], list[slice]]:
    """Split `pieces` into what is trained on and windows, evenly spread over them, held out.

    A held-out window starts with a row of training, from which its run starts. Where there are
    too few windows to spare one, the training rows stand in for them.
    """
    starts = windows(pieces, window + 1, stride=window)[:, 0]
    every = round(1 / fraction) if fraction else 2 * len(starts) + 2
    held = [slice(start, start + window + 1) for start in starts[every // 2 :: every].tolist()]
    train = []
    for piece in pieces:
        begin = piece.start
        for block in held:
            if piece.start <= block.start < piece.stop:
                train.append(slice(begin, block.start + 1))
                begin = block.stop
        train.append(slice(begin, piece.stop))
    return [piece for piece in train if piece.start < piece.stop], held or train


def _row_numbers(pieces: list[slice]) -> NDArray[np.intp]:
    return np.concatenate([np.arange(piece.start, piece.stop) for piece in pieces])


def _runs(
    x: NDArray[np.float64], t: NDArray[np.float64], pieces: list[slice], rank: int, window: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """States, inputs and steps of runs over `window` sampling steps, each half over the last."""
    steps = min(window, max(piece.stop - piece.start for piece in pieces) - 1)
    rows = windows(pieces, steps + 1, stride=max(1, steps // 2))
    return x[rows, :rank], x[rows, rank:], np.diff(t[rows], axis=1)


def _nonzero(scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales to divide by: 1 where a column does not vary."""
    return np.where(scale > 0, scale, 1.0)


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
