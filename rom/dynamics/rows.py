"""Latent models that are regressions on rows: state and input in, derivative or next state out."""

from __future__ import annotations

import warnings
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics, Series
from rom.data.derivative import derivative
from rom.data.trajectory import even_step, pairs, segments


class RowDynamics(Dynamics):
    """A :class:`~rom.base.Dynamics` that needs only aligned rows ``(Z, y, u)``.

    A model writes ``_fit(Z, y, u)`` and ``_predict(Z, u)``. Where the caller gave no targets,
    continuous models get time derivatives estimated within each stretch of continuous sampling,
    and discrete models get pairs of neighbouring rows.
    """

    def _fit_series(self, series: Series) -> None:
        if series.y is not None:
            self._fit(series.Z, series.y, series.u)
            return
        pieces = segments(series.t, series.trajectory)
        alone = sum(piece.stop - piece.start == 1 for piece in pieces)
        if 0 < alone < len(series.Z):
            warnings.warn(
                f"{alone} of {len(series.Z)} rows stand alone between gaps or ends of "
                "trajectories and cannot be used.",
                stacklevel=3,
            )
        if self.time == "discrete":
            if series.t is not None:
                self.dt_ = even_step(series.t, pieces, needed_by=type(self).__name__)
            now, later = pairs(pieces)
            rows, y = now, series.Z[later]
        else:
            assert series.t is not None  # Dynamics.fit has checked
            rows, y = derivative(series.Z, series.t, pieces)
        if not len(rows):
            raise ValueError(
                f"No usable rows: the {len(pieces)} stretches of continuous sampling hold "
                f"{max(piece.stop - piece.start for piece in pieces)} rows at most."
            )
        self._fit(series.Z[rows], y, None if series.u is None else series.u[rows])

    @abstractmethod
    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None: ...
