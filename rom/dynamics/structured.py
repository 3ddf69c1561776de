"""Networks with a structure built in: their training, the same for every structure."""

from __future__ import annotations

import math
from abc import abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from rom.base import Dynamics, Series
from rom.data.derivative import derivative
from rom.data.trajectory import segments, windows
from rom.dynamics.stages import fastest_rate, hold_out, input_scale, row_numbers

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Data = tuple[Array, Array, Array]

# Runge–Kutta steps in training turn the fastest coordinate by at most this angle (radians).
MAX_ANGLE = 0.3
# A structure that is only bounded with a pull at large states is left alone up to this many times
# the largest training state.
TRUSTED = 1.5


class StructuredODE(Dynamics):
    """A continuous model whose right-hand side has a structure whatever its parameters are.

    A model writes ``_initial(rng)``, the parameters to start from; ``_parts(xp, parameters)``,
    what the right-hand side is made of, and ``_field(xp, parts, x, u)``, the right-hand side, both
    for arrays of the module `xp`, NumPy or PyTorch; and ``_keep(parameters, x)``, which sets what
    ``_predict`` needs. States `x` are standardised: less the training mean, divided by one scale
    for all coordinates, which leaves angles and ratios of distances as they are; inputs have a
    scale each; the right-hand side is in units of `x` times ``speed_``.

    The training is that of :class:`rom.dynamics.NeuralODE`: on time derivatives estimated from
    the samples, then on short runs from samples (multiple shooting).
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    window: int
    max_iter: int
    validation_fraction: float
    patience: int
    random_state: int | np.random.RandomState | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "window": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 0.5, closed="both")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _initial(self, rng: np.random.RandomState) -> list[Array]: ...

    @abstractmethod
    def _parts(self, xp: Any, parameters: list[Any]) -> list[Any]: ...

    @abstractmethod
    def _field(self, xp: Any, parts: list[Any], x: Any, u: Any) -> Any: ...

    @abstractmethod
    def _keep(self, parameters: list[Array], x: Array) -> None: ...

    def _start(self, x: Array, u: Array, slopes: Array) -> list[Array]:
        """The parameters to start from, where the training rows may say something about them."""
        return self._initial(check_random_state(self.random_state))

    def _fit_series(self, series: Series) -> None:
        pieces = segments(series.t, series.trajectory)
        rows, slopes = self._slopes(series, pieces)
        self._set_units(series, slopes)
        x, u = self._standardised(series.Z, series.u)
        slopes = slopes / (self.scale_ * self.speed_)
        window = min(self.window, max(1, *(piece.stop - piece.start - 1 for piece in pieces)))
        parts = hold_out(pieces, self.validation_fraction, window)
        near = [np.isin(rows, row_numbers(part)) for part in parts]
        train, held = ((x[rows[here]], u[rows[here]], slopes[here]) for here in near)
        start = self._start(*train)
        stages: list[Any] = [(self._slope_loss, train, held)]
        if series.y is None:
            assert series.t is not None  # Dynamics.fit has checked
            train, held = (_runs(x, u, series.t, part, self.window) for part in parts)
            substeps = max(1, math.ceil(self.speed_ * float(train[2].max()) / MAX_ANGLE))
            stages.append((self._run_loss(substeps), train, held))
        self._keep(self._train(start, stages), x)

    def _train(self, start: list[Array], stages: list[Any]) -> list[Array]:
        """Train stage by stage; of the start and what each gave, the best by the last loss."""
        import torch

        from rom.dynamics.training import minimise

        seen, self.n_iter_ = [start], 0
        for loss, train, held in stages:
            outcome = minimise(
                seen[-1], loss, train, held, max_iter=self.max_iter, patience=self.patience,
                device="cpu", label=type(self).__name__,
            )  # fmt: skip
            seen.append(outcome.parameters)
            self.n_iter_ += outcome.n_iter
            self.history_, self.stop_reason_ = outcome.history, outcome.reason
        loss, _, held = stages[-1]
        data = [torch.tensor(values) for values in held]
        errors = [float(loss([torch.tensor(p) for p in found], *data)) for found in seen]
        return seen[int(np.argmin(np.nan_to_num(errors, nan=np.inf)))]

    def _slopes(self, series: Series, pieces: list[slice]) -> tuple[NDArray[np.intp], Array]:
        """The rows that have a time derivative, and their derivatives."""
        rank = self.n_features_in_
        if series.y is not None:
            if series.y.shape[1] != rank:
                raise ValueError(
                    f"{type(self).__name__} needs one target per latent coordinate, but there are "
                    f"{series.y.shape[1]} targets for {rank} coordinates."
                )
            return np.arange(len(series.Z)), series.y
        assert series.t is not None  # Dynamics.fit has checked
        rows, slopes = derivative(series.Z, series.t, pieces)
        if not len(rows):
            raise ValueError(
                f"{type(self).__name__} needs two rows of one trajectory without a gap in time "
                f"between them, but each of the {len(series.Z)} rows stands alone."
            )
        return rows, slopes

    def _set_units(self, series: Series, slopes: Array) -> None:
        self.mean_ = series.Z.mean(axis=0)
        self.scale_ = float(series.Z.std(axis=0).max()) or 1.0
        self.speed_ = fastest_rate(series.Z, slopes) or 1.0
        inputs = np.zeros((1, 0)) if series.u is None else series.u
        self.input_mean_, self.input_scale_ = inputs.mean(axis=0), input_scale(inputs)

    def _standardised(self, Z: Array, u: Array | None) -> tuple[Array, Array]:
        inputs = np.zeros((len(Z), 0)) if u is None else u
        return (Z - self.mean_) / self.scale_, (inputs - self.input_mean_) / self.input_scale_

    def _slope_loss(self, parameters: list[Tensor], x: Tensor, u: Tensor, y: Tensor) -> Tensor:
        import torch

        return ((self._field(torch, self._parts(torch, parameters), x, u) - y) ** 2).mean()

    def _run_loss(self, substeps: int) -> Any:
        """Mean square error of short runs from the first sample of each window to its others."""
        import torch

        from rom.dynamics.shooting import shoot

        def loss(parameters: list[Tensor], x: Tensor, u: Tensor, h: Tensor) -> Tensor:
            parts = self._parts(torch, parameters)
            runs = shoot(
                lambda x, u: self._field(torch, parts, x, u),
                x[:, 0], u, self.speed_ * h, substeps,
            )  # fmt: skip
            return ((runs - x[:, 1:]) ** 2).mean()

        return loss


def _runs(x: Array, u: Array, t: Array, pieces: list[slice], window: int) -> Data:
    """States, inputs and steps of runs over `window` sampling steps, each half over the last."""
    steps = min(window, max(piece.stop - piece.start for piece in pieces) - 1)
    rows = windows(pieces, steps + 1, stride=max(1, steps // 2))
    return x[rows], u[rows], np.diff(t[rows], axis=1)
