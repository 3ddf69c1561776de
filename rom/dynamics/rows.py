"""Latent models that are regressions on rows: state and input in, derivative or next state out."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from pickle import PicklingError
from typing import Any, ClassVar, Self

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Dynamics, Series, ends_of
from rom.data.derivative import derivative
from rom.data.trajectory import EVEN_RTOL, even_step, pairs, segments
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


class KeptSums(Dynamics):
    """A linear regression that keeps what its rows say: their sums, which those of others add to.

    A model writes ``_fit_sums(blocks)``, which finds the coefficients from normal equations of
    blocks of rows and keeps their sum in ``normal_``; and ``_check_parts()`` if some of its
    parameters need all rows at once, so that the sums of parts do not add.
    """

    normal_: list[NDArray[np.float64]] | None

    # Parameters that the sums do not depend on.
    _after_sums: ClassVar[frozenset[str]] = frozenset()

    def refit(self, **parameters: Any) -> Self:
        """A model of the same data with other parameters, such as thresholds or ridges.

        The data are not read again: what it costs does not depend on how many there were.

        Parameters
        ----------
        **parameters
            Those that have to do with the regression, not with its terms.

        Returns
        -------
        Self
            A new fitted model.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or changes what has to be summed; or if the model
            was not fitted to data.

        Examples
        --------
        >>> import numpy as np, rom
        >>> t = np.linspace(0, 5, 200)
        >>> model = rom.SINDy(threshold=0.5).fit(np.stack([np.cos(t), np.sin(t)], axis=1), t=t)
        >>> [int(np.sum(model.refit(threshold=value).coef_ != 0)) for value in (0.5, 0.0)]
        [2, 12]
        """
        if other := sorted(set(parameters) - self._after_sums):
            raise ValueError(
                f"refit changes {', '.join(sorted(self._after_sums))}; for other {', '.join(other)}"
                " the rows have to be summed again: call fit."
            )
        new = self._like_this(**parameters)
        new._fit_sums(new._kept())
        return new

    def merge(self, *others: Self) -> Self:
        """A model of the data of this one and of others, which are not read again.

        For rows that are not all in one place, in files or on the workers of a cluster; and for
        the folds of a cross-validation.

        Parameters
        ----------
        *others : models of the same kind
            Fitted with the same parameters, but for those that :meth:`refit` may change.

        Returns
        -------
        Self
            A new fitted model, with the parameters of this one: to rounding, what a fit to the
            trajectories of all would give; but for ensembles, which draw other blocks of rows.

        Raises
        ------
        ValueError
            If the models are not of one kind, or not of the same coordinates, inputs, terms and,
            in discrete time, sampling step; if a parameter needs all rows at once; or if one was
            not fitted to data.

        Examples
        --------
        >>> import numpy as np, rom
        >>> halves = [rom.DMD().fit(0.5 ** np.arange(n)[:, None]) for n in (4, 9)]
        >>> halves[0].merge(halves[1]).A_
        array([[0.5]])
        """
        self._check_parts()
        new, models = self._like_this(), [self, *others]
        if len({model._what_is_summed() for model in models}) > 1:
            raise ValueError(
                "merge needs models of one kind, with the same coordinates, inputs and terms, but "
                f"they are {', '.join(map(str, models))}."
            )
        steps = [model.dt_ for model in models if np.isfinite(model.dt_)]
        if self.time == "discrete" and steps and not np.allclose(steps, steps[0], rtol=EVEN_RTOL):
            raise ValueError(f"merge needs maps over one step, but the steps are {steps}.")
        new._gather(models)
        new._fit_sums([block for model in models for block in model._kept()])
        return new

    def _like_this(self, **parameters: Any) -> Self:
        """A copy, fitted as this model is, with other parameters."""
        new = clone(self).set_params(**parameters)
        new._validate_params()
        self._kept()
        for name, value in vars(self).items():
            if name.endswith("_"):
                setattr(new, name, value)
        return new

    def _kept(self) -> list[Normal]:
        return [Normal.of(self._arrays())]

    def _arrays(self) -> list[NDArray[np.float64]]:
        check_is_fitted(self)
        arrays = getattr(self, "normal_", None)  # not in older files
        if arrays is None:
            raise ValueError(
                f"This {type(self).__name__} keeps no sums of data: it was given operators, or "
                "saved before it kept them. Call fit."
            )
        return list(arrays)

    def _what_is_summed(self) -> str:
        parameters = self.get_params(deep=False).items()
        before = {name: value for name, value in parameters if name not in self._after_sums}
        shape = self._kept()[0].cross.shape, self._arrays()[0].ndim  # of a sum, or of blocks
        what = type(self), before, self.n_features_in_, self.n_inputs_, shape
        try:
            return str(joblib.hash(what))
        except PicklingError:  # a library with functions of this session
            return repr(what)

    def _gather(self, models: Sequence[Self]) -> None:
        """Take over what the training data of all models reach."""
        bounds = np.array([model.bound_ for model in models])
        self.bound_ = float(bounds.max(where=np.isfinite(bounds), initial=0.0)) or float("inf")
        self.input_range_ = ends_of(np.vstack([model.input_range_ for model in models]))

    def _check_parts(self) -> None:
        """Refuse parameters that need all rows at once."""
        return

    @abstractmethod
    def _fit_sums(self, blocks: list[Normal]) -> None:
        """Find the coefficients from normal equations of blocks of rows."""


class SummedDynamics(KeptSums, RowDynamics):
    """A linear regression on aligned rows: of these it needs their sums only.

    A model writes ``_sums(Z, y, u)`` too, the normal equations of blocks of rows.
    """

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
        self._validate_params()
        first = getattr(self, "normal_", None) is None
        kept = [] if first else self._kept()
        if checks.is_lazy(Z):
            Z = np.asarray(Z)
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
        self._fit_sums([*kept, *blocks])
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

    @abstractmethod
    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        """Normal equations of blocks of rows."""
