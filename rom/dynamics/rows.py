"""Latent models that are regressions on rows: state and input in, derivative or next state out."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.base import Dynamics, Series, ends_of
from rom.data.derivative import derivative
from rom.data.trajectory import even_step, pairs, segments
from rom.dynamics.normal import Normal


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


class SummedDynamics(RowDynamics):
    """A linear regression: of its rows it needs their sums only, and those of further rows add.

    A model writes ``_sums(Z, y, u)`` and ``_fit_sums(blocks)``, which keeps their sum in
    ``normal_``; and ``_check_parts()`` if some of its parameters need all rows at once.
    """

    normal_: list[NDArray[np.float64]] | None

    def partial_fit(self, Z: ArrayLike, y: ArrayLike, *, u: ArrayLike | None = None) -> Self:
        """Learn from further rows, with what was seen before; for rows that memory cannot hold.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            Latent states.
        y : array_like, shape (n_time, n_targets)
            Their dz/dt, or the next state of each for a model in discrete time.
        u : array_like, shape (n_time, n_inputs), optional
            Inputs.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            As by :meth:`fit`; and if a parameter needs all rows at once.

        Notes
        -----
        Only sums of products are kept. Where terms almost depend on each other on the first rows,
        so is their triangular factor, and no digits are lost; what comes to that later loses some.
        """
        self._check_parts()
        seen = getattr(self, "normal_", None)
        self._validate_params()
        first = seen is None
        states: NDArray[np.float64] = checks.check_rows(self, Z, reset=first)
        targets = checks.check_targets(y, len(states))
        inputs = checks.check_inputs(u, len(states), n_inputs=None if first else self.n_inputs_)
        largest = 100.0 * checks.largest_norm(states) or float("inf")
        if first:
            self.n_inputs_ = 0 if inputs is None else inputs.shape[1]
            self.dt_, self.bound_ = float("nan"), largest
        elif not np.isinf(largest):
            self.bound_ = largest if np.isinf(self.bound_) else max(self.bound_, largest)
        more = ends_of(np.zeros((1, 0)) if inputs is None else inputs)
        known = more if first else getattr(self, "input_range_", more)  # not in older files
        self.input_range_ = ends_of(np.vstack([known, more]))
        blocks = self._sums(states, targets, inputs)
        self._fit_sums(blocks if seen is None else [*blocks, Normal.of(seen)])
        return self

    def _look_through(self, series: Series) -> None:
        """Leave it to the sums, where they are all that is made of the rows: one pass is enough."""
        if series.y is None or series.u is not None or not self._only_sums():
            super()._look_through(series)
        else:
            self.bound_ = float("nan")

    def _only_sums(self) -> bool:
        """Whether a fit to given targets does nothing with its rows but sum their monomials."""
        return False

    def _set_bound(self, blocks: list[Normal]) -> None:
        """Set ``bound_`` if that was left to the sums."""
        if np.isnan(self.bound_):
            self.bound_ = 100.0 * max(block.largest for block in blocks) or float("inf")

    def _check_parts(self) -> None:
        """Refuse parameters that need all rows at once."""
        return

    @abstractmethod
    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        """Normal equations of blocks of rows."""

    @abstractmethod
    def _fit_sums(self, blocks: list[Normal]) -> None:
        """Find the coefficients from normal equations of blocks of rows."""
