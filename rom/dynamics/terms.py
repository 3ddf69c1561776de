"""Latent models whose right-hand side is a sparse sum of library terms."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.base import Dynamics, Polynomial, Series
from rom.dynamics.equations import Format, equations, variable_names
from rom.dynamics.library import Library, PolynomialLibrary
from rom.dynamics.normal import normal
from rom.dynamics.sparse import CRITERIA, SOLVERS, Criterion, Solver, fit_sparse

Array = NDArray[np.float64]


class LibraryDynamics(Dynamics):
    """A right-hand side ``coef_`` times the terms of a library; a model writes how it is fitted."""

    library: Library | None
    names: Sequence[str] | None
    coef_: Array

    def _predict(self, Z: Array, u: Array | None) -> Array:
        return self._terms(Z, u) @ self.coef_.T

    def _terms(self, Z: Array, u: Array | None) -> Array:
        return self._library().terms(Z if u is None else np.concatenate([Z, u], axis=1))

    def _library(self) -> Library:
        return PolynomialLibrary() if self.library is None else self.library

    def polynomial(self) -> Polynomial | None:
        """The right-hand side, or None where the library holds other terms than monomials."""
        check_is_fitted(self)
        exponents = self._library().exponents(self.n_features_in_ + self.n_inputs_)
        return None if exponents is None else Polynomial(exponents, self.coef_)

    def equations(self, *, format: Format = "text", precision: int = 3) -> list[str]:
        """The equations found, one per latent coordinate.

        Parameters
        ----------
        format : {"text", "latex"}, optional
        precision : int, optional
            Significant digits.

        Returns
        -------
        list of str
        """
        check_is_fitted(self)
        latex = format == "latex"
        names = variable_names(self.names, self.n_features_in_, self.n_inputs_, latex=latex)
        return equations(
            self.coef_,
            self._library().names(names, latex=latex),
            names[: len(self.coef_)],
            time=self.time,
            format=format,
            precision=precision,
        )


class TermDynamics(LibraryDynamics):
    """dz/dt as a sum of few library terms, regressed on rows that need no derivatives.

    A model writes ``_rows(series)``: from trajectories, rows ``(A, Y)`` for which the coefficients
    solve ``A Cᵀ = Y``. Its constructor has the parameters below. Where the caller gives
    derivatives, they are regressed on as they are.
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    solver: Solver
    threshold: float | Criterion
    relative_threshold: bool
    alpha: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "library": [Library, None],
        "solver": [StrOptions(set(SOLVERS))],
        "threshold": [Interval(Real, 0, None, closed="left"), StrOptions(set(CRITERIA))],
        "relative_threshold": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "names": ["array-like", None],
    }

    @abstractmethod
    def _rows(self, series: Series) -> tuple[Array, Array]: ...

    def _fit_series(self, series: Series) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        A, Y = (
            self._rows(series) if series.y is None else (self._terms(series.Z, series.u), series.y)
        )
        self.coef_ = fit_sparse(
            normal(A, Y, exact=True),
            self.solver,
            self.threshold,
            alpha=self.alpha,
            relative=self.relative_threshold,
        )
        empty = np.flatnonzero(~self.coef_.any(axis=1) & Y.any(axis=0))
        if empty.size:
            warnings.warn(
                f"threshold={self.threshold} dropped every term of {empty.size} of "
                f"{len(self.coef_)} equations, the first of them number {empty[0]}: these "
                "coordinates stay constant. Lower the threshold, or set relative_threshold=True.",
                stacklevel=3,
            )
