"""Recurrent networks as latent dynamics: gated units that read a stretch of states."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from rom.base import Dynamics, Series
from rom.data.trajectory import even_step, pairs, segments, windows
from rom.dynamics.cells import CELLS
from rom.dynamics.networks import effective
from rom.dynamics.nvar import move_on, newest_targets

Array = NDArray[np.float64]

# The network is trusted to this many times the largest training state.
TRUSTED = 1.5


class RecurrentModel(Dynamics):
    """The next state from a gated recurrent network that has read the last states.

    The units h of a GRU or an LSTM read a row's states, the oldest first, and the change to the
    next state is an affine function of the last h: z(n+1) = z(n) + R h + c. States enter about
    their mean, in units of the largest standard deviation of a coordinate.

    A row holds the last `n_delays` states, as ``delays(Z, n_delays)`` makes them. The network
    starts each from rest at its oldest state: the rows are their own warm-up, in training as in a
    rollout, and no trajectory's memory enters another. With ``n_delays=1`` rows are states, and
    the network has no memory.

    It is trained twice: on single steps from all rows, then on short runs in which it reads its
    own forecasts. Stretches of rows are held out, to stop early and to choose the weights kept.

    Every rollout is bounded by construction. The units lie between -1 and 1, and the present
    state is kept only within a ball of one and a half times the largest training state, measured
    from the mean: past it, its nearest point there is kept instead. Nothing else is guaranteed.

    Parameters
    ----------
    hidden : int, optional
        Number of units, N.
    n_delays : int, optional
        States per row.
    cell : {"gru", "lstm"}, optional
        Kind of units.
    window : int, optional
        Steps of the runs of the second training, as far as the stretches of rows reach; without
        it if 1.
    max_iter : int, optional
        The most optimiser iterations (L-BFGS, all data at once), in each of the two trainings.
    validation_fraction : float, optional
        Part of the rows held out, in stretches spread evenly over all of them. With 0, or too few
        rows to spare a stretch, the training loss takes the place of the held-out one.
    patience : int, optional
        Checks in a row, 20 iterations apart, without a better held-out loss before training ends.
    random_state : int, RandomState instance or None, optional
        Seed of the initial weights. With an int, fits on one machine agree to the bit.

    Attributes
    ----------
    weights_ : list of ndarray, shapes (rank + n_inputs, k N), (N, k N), (N, n_targets)
        Weights of what is read, of the units, and of the read-out. k is 3 for a GRU (reset,
        update, candidate) and 4 for an LSTM (input, forget, candidate, output).
    biases_ : list of ndarray, shapes (k N,), (n_targets,)
        Biases of the units and of the read-out.
    mean_, scale_ : ndarray, shape (rank + n_inputs,)
        Mean of training states and inputs; what they are divided by.
    change_scale_ : ndarray, shape (n_targets,)
        Root mean square of the training changes, which the read-out is in units of.
    radius_ : float
        Radius of the ball, in units of `scale_`; 0 where the targets given are no states, of
        which nothing is kept.
    history_ : ndarray, shape (n_checks, 3)
        Iterations so far, training loss and held-out loss, of the last training.
    n_iter_ : int
        Iterations until training ended, both trainings together.
    stop_reason_ : str
        Why the last training ended.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the rows do not hold `n_delays` states, the
        times within trajectories are not even, no two rows follow each other, or the data are
        refused (see :meth:`fit`).

    Notes
    -----
    An input drives the last step only: rows hold no inputs of the past. Given `y` (the next
    rows), only the first training takes place. A fit loads PyTorch; a fitted model runs on NumPy
    alone.

    References
    ----------
    Cho et al. (2014), "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", EMNLP, 1724. Hochreiter & Schmidhuber (1997), Neural Computation 9,
    1735; Gers, Schmidhuber & Cummins (2000), Neural Computation 12, 2451 (forget gate).

    Examples
    --------
    >>> import rom
    >>> from rom.dynamics.hankel import delays
    >>> t = np.arange(120) * 0.2
    >>> rows, embedded = delays(np.cos(t)[:, None], 4, t=t)
    >>> model = RecurrentModel(8, 4, max_iter=60, random_state=0).fit(embedded, t=t[rows])
    >>> run = rom.rollout(model, embedded[0], t[rows[:40]])
    >>> bool(np.abs(run.z[:, 0] - np.cos(t[rows[:40]])).max() < 0.1)
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "n_delays": [Interval(Integral, 1, None, closed="left")],
        "cell": [StrOptions(set(CELLS))],
        "window": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        hidden: int = 32,
        n_delays: int = 1,
        *,
        cell: Literal["gru", "lstm"] = "gru",
        window: int = 8,
        max_iter: int = 200,
        validation_fraction: float = 0.15,
        patience: int = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.n_delays = n_delays
        self.cell = cell
        self.window = window
        self.max_iter = max_iter
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first."""
        return self.n_delays

    def _fit_series(self, series: Series) -> None:
        pieces = segments(series.t, series.trajectory)
        now, newest = self._targets(series, pieces)
        self._set_scales(series, now, newest)
        x = self._standardised(series.Z, series.u)
        change = newest - self._kept(series.Z[now])
        steps = min(self.window, max(piece.stop - piece.start for piece in pieces) - 1)
        parts = _hold_out(pieces, self.validation_fraction, self.n_delays + steps)

        parameters, multipliers = self._initial(len(self.mean_), newest.shape[1])
        near = [np.isin(now, np.concatenate([np.r_[piece] for piece in part])) for part in parts]
        data: list[tuple[Array, ...]]
        data = [(x[now[here]], change[here] / self.change_scale_) for here in near]
        self.n_iter_ = 0
        parameters = self._minimise(parameters, multipliers, data, "1/2", steps=0)
        if series.y is None and steps > 1:
            runs = [windows(part, steps + 1, stride=max(1, steps // 2)) for part in parts]
            width, rank = series.Z.shape[1], self._rank()
            data = [(x[r[:, 0], :width], x[r[:, :-1], width:], x[r[:, 1:], :rank]) for r in runs]
            parameters = self._minimise(parameters, multipliers, data, "2/2", steps=steps)
        plain = effective(parameters, multipliers)
        self.weights_, self.biases_ = plain[:3], plain[3:]

    def _targets(self, series: Series, pieces: list[slice]) -> tuple[NDArray[np.intp], Array]:
        """Rows that have a next state, and those states, or the targets given."""
        now, later = pairs(pieces)
        y = series.Z[later]
        if series.y is not None:
            now, y = np.arange(len(series.Z)), series.y
        if not len(now):
            raise ValueError(
                "RecurrentModel needs two rows of one trajectory without a gap in time between "
                f"them, but each of the {len(series.Z)} rows stands alone."
            )
        if series.y is None and series.t is not None:
            self.dt_ = even_step(series.t, pieces, needed_by="RecurrentModel")
        width = series.Z.shape[1]
        return now, newest_targets(y, width, self.n_delays, needed_by="RecurrentModel")

    def _set_scales(self, series: Series, now: NDArray[np.intp], newest: Array) -> None:
        rank = self._rank()
        states = series.Z[:, :rank]
        x = states if series.u is None else np.hstack([states, series.u])
        self.mean_, self.scale_ = x.mean(axis=0), _nonzero(x.std(axis=0))
        self.scale_[:rank] = states.std(axis=0).max() or 1.0
        largest = np.linalg.norm((states - self.mean_[:rank]) / self.scale_[:rank], axis=1).max()
        self.radius_ = float(TRUSTED * largest or 1.0) if newest.shape[1] == rank else 0.0
        self.change_scale_ = _nonzero(np.sqrt(np.mean((newest - self._kept(states[now])) ** 2, 0)))

    def _initial(self, n_in: int, n_out: int) -> tuple[list[Array], list[float]]:
        """Parameters of order one, and what they are multiplied by."""
        rng, n = check_random_state(self.random_state), self.hidden
        width = CELLS[self.cell].n_blocks * n
        bias = rng.uniform(-1, 1, width)
        if self.cell == "lstm":
            bias[n : 2 * n] += 1.0  # at first, little is forgotten
        weights = [rng.normal(size=shape) for shape in ((n_in, width), (n, width), (n, n_out))]
        # γ = ½ of networks.initial: L-BFGS has no rate that would have to fit the width, and from
        # a start at γ = 1 it needs far more iterations.
        multipliers = [n_in**-0.5, n**-0.5, n**-0.5, 1.0, 1.0]
        return [*weights, bias, np.zeros(n_out)], multipliers

    def _minimise(
        self,
        parameters: list[Array],
        multipliers: list[float],
        data: Sequence[tuple[Array, ...]],
        label: str,
        *,
        steps: int,
    ) -> list[Array]:
        """Fit single steps, or runs of `steps`; data are those to train on and those held out."""
        import torch

        from rom.dynamics.training import minimise

        rank = self._rank()
        gain = torch.tensor(self.change_scale_ / self.scale_[:rank]) if steps else None

        def change(parameters: Any, x: Any) -> Any:
            *parts, readout, bias, offset = effective(parameters, multipliers)
            return self._units(torch, [*parts, bias], x) @ readout + offset

        def loss_of_steps(parameters: Any, x: Any, target: Any) -> Any:
            return ((change(parameters, x) - target) ** 2).mean()

        def loss_of_runs(parameters: Any, x: Any, u: Any, truth: Any) -> Any:
            error = 0.0
            for k in range(steps):
                after = change(parameters, torch.cat([x, u[:, k]], dim=1))
                newest = _in_ball(torch, x[:, :rank], self.radius_) + gain * after
                x = torch.cat([newest, x[:, : x.shape[1] - rank]], dim=1)
                error = error + ((newest - truth[:, k]) ** 2).mean() / steps
            return error

        outcome = minimise(
            parameters, loss_of_runs if steps else loss_of_steps, *data, max_iter=self.max_iter,
            patience=self.patience, device="cpu", label=f"RecurrentModel {label}",
        )  # fmt: skip
        self.n_iter_ += outcome.n_iter
        self.history_, self.stop_reason_ = outcome.history, outcome.reason
        return outcome.parameters

    def _units(self, xp: Any, parameters: list[Any], x: Any) -> Any:
        """Units (n_time, N) that standardised rows and inputs `x`, arrays or tensors, leave."""
        W, U, b = parameters
        step, rank = CELLS[self.cell].step, self._rank()
        h = c = xp.zeros((len(x), U.shape[0]), dtype=xp.float64)
        for block in range(self.n_delays - 1, -1, -1):
            drive = x[:, block * rank : (block + 1) * rank] @ W[:rank] + b
            if block == 0 and self.n_inputs_:
                drive = drive + x[:, self.n_delays * rank :] @ W[rank:]
            h, c = step(xp, drive, h @ U, h, c)
        return h

    def _predict(self, Z: Array, u: Array | None) -> Array:
        x = self._standardised(Z, u)
        units = self._units(np, [*self.weights_[:2], self.biases_[0]], x)
        change = units @ self.weights_[2] + self.biases_[1]
        return move_on(Z, self._kept(Z) + self.change_scale_ * change, self.n_delays)

    def _standardised(self, Z: Array, u: Array | None) -> Array:
        rank = self._rank()
        mean, scale = (np.tile(v[:rank], self.n_delays) for v in (self.mean_, self.scale_))
        x = (Z - mean) / scale
        return x if u is None else np.hstack([x, (u - self.mean_[rank:]) / self.scale_[rank:]])

    def _kept(self, Z: Array) -> Array | float:
        """What is kept of the present states of rows: those themselves, within the ball."""
        if not self.radius_:
            return 0.0
        mean, scale = self.mean_[: self._rank()], self.scale_[: self._rank()]
        return mean + scale * _in_ball(np, (Z[:, : len(mean)] - mean) / scale, self.radius_)

    def _rank(self) -> int:
        return self.n_features_in_ // self.n_delays


def _in_ball(xp: Any, x: Any, radius: float) -> Any:
    """Rows `x`, or the nearest points of the ball of that radius."""
    square = (x**2).sum(1)[:, None]
    return x * (radius / xp.sqrt(xp.clip(square, radius**2, None)))


def _hold_out(pieces: list[slice], fraction: float, length: int) -> tuple[list[slice], list[slice]]:
    """Split `pieces` into rows to train on and stretches of `length` held out, evenly spread.

    Where there are too few to spare one, the training rows stand in for them.
    """
    starts = windows(pieces, length, stride=length)[:, 0].tolist()
    every = round(1 / fraction) if fraction else 2 * len(starts) + 2
    held = [slice(start, start + length) for start in starts[every // 2 :: every]]
    train = []
    for piece in pieces:
        edges = [piece.start]
        for block in held:
            if piece.start <= block.start < piece.stop:
                edges += [block.start, block.stop]
        edges.append(piece.stop)
        train += [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    return train, held or train


def _nonzero(scale: Array) -> Array:
    """Scales to divide by: 1 where a column does not vary."""
    return np.where(scale > 0, scale, 1.0)
