"""Latent models whose right-hand side is a sparse sum of library terms."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.base import Dynamics, Polynomial, Series
from rom.dynamics.ensemble import fewer, fit_ensemble, stack, unstack
from rom.dynamics.equations import Format, equations, variable_names
from rom.dynamics.least_squares import as_constraint, mean_squares, scaled
from rom.dynamics.library import Library, PolynomialLibrary
from rom.dynamics.normal import Normal, row_normals, sum_normals
from rom.dynamics.regression import fit_stlsq
from rom.dynamics.rows import KeptSums
from rom.dynamics.sparse import CRITERIA, SOLVERS, Criterion, Solver, fit_sparse, sparse_path
from rom.threads import N_THREADS

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# An ensemble draws its rows in so many blocks; of further rows in up to twice as many.
N_BLOCKS = 50


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


class SparseDynamics(LibraryDynamics, KeptSums):
    """A sparse sum of library terms, chosen from the sums of rows by one of the solvers.

    Its constructor has the parameters below.
    """

    solver: Solver
    threshold: float | Criterion
    relative_threshold: bool
    alpha: float
    constraint: tuple[ArrayLike, ArrayLike] | None
    n_models: int
    n_dropped: int
    random_state: int | np.random.RandomState | None

    inclusion_probability_: Array | None
    coef_std_: Array | None
    coef_interval_: Array | None

    _after_sums: ClassVar[frozenset[str]] = frozenset(
        {"solver", "threshold", "relative_threshold", "alpha", "constraint", "names"}
        | {"n_models", "n_dropped", "random_state"}
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "library": [Library, None],
        "solver": [StrOptions(set(SOLVERS))],
        "threshold": [Interval(Real, 0, None, closed="left"), StrOptions(set(CRITERIA))],
        "relative_threshold": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "constraint": [tuple, None],
        "n_models": [Interval(Integral, 1, None, closed="left")],
        "n_dropped": [Interval(Integral, 0, None, closed="left")],
        "names": ["array-like", None],
        "random_state": ["random_state"],
    }

    def _library_sums(
        self, Z: Array, y: Array, u: Array | None, weights: Array | None = None
    ) -> list[Normal]:
        """Sums over blocks of rows, enough of them for an ensemble."""
        library, V = self._library(), Z if u is None else np.concatenate([Z, u], axis=1)
        n_blocks = N_THREADS if self.n_models == 1 else N_BLOCKS
        exponents = library.exponents(V.shape[1])
        blocks = row_normals(library.terms, exponents, V, y, n_blocks, weights)
        if weights is None:
            return blocks
        each = len(y) / weights.sum()  # the rows count as rows, whatever their weights
        return [block._replace(n_rows=each * block.n_rows) for block in blocks]

    def _fit_sums(self, blocks: list[Normal]) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        found = sum_normals(blocks)
        spread: Sequence[Array | None] = (None, None, None)
        if self.n_models == 1:
            kept, coef = found.arrays(), self._sparse(found)
        else:
            kept = stack(fewer(blocks, 2 * N_BLOCKS))
            coef, *spread = fit_ensemble(
                kept,
                self._sparse,
                self.n_models,
                n_dropped=self.n_dropped,
                judged=isinstance(self.threshold, str),
                seed=check_random_state(self.random_state).randint(2**31 - 1),
            )
        self.normal_, self.coef_ = kept, coef
        self.inclusion_probability_, self.coef_std_, self.coef_interval_ = spread
        self._warn_of_emptied(found)

    def _warn_of_emptied(self, found: Normal) -> None:
        coef = self.coef_
        empty = np.flatnonzero(~coef.any(axis=1) & (found.squares > 0))
        if empty.size:
            warnings.warn(
                f"threshold={self.threshold} dropped every term of {empty.size} of {len(coef)} "
                f"equations, the first of them number {empty[0]}: these coordinates stay constant. "
                "Lower the threshold, or set relative_threshold=True.",
                stacklevel=6,
            )

    def _kept(self) -> list[Normal]:
        arrays = self._arrays()
        if self.n_models > 1 and arrays[0].ndim == 2:
            raise ValueError(
                f"n_models={self.n_models} needs the sums of blocks of rows, but this "
                f"{type(self).__name__} keeps that of all rows: call fit."
            )
        return unstack(arrays)

    def _sparse(
        self, found: Normal, offered: Mask | None = None, judge: Normal | None = None
    ) -> Array:
        penalty = self._penalty(found)
        if penalty is not None or self.constraint is not None:
            return self._coupled(found, penalty)
        return fit_sparse(
            found,
            self.solver,
            self.threshold,
            alpha=self.alpha,
            relative=self.relative_threshold,
            offered=offered,
            judge=judge,
        )

    def _penalty(self, found: Normal) -> Array | None:
        """A matrix whose product with the coefficients of all equations is to be small."""
        return None

    def _coupled(self, found: Normal, penalty: Array | None) -> Array:
        """Coefficients of all equations at once, which a penalty or the constraint couples."""
        # The medians of an ensemble would not meet the constraint that each of its models meets.
        if self.solver != "stlsq" or isinstance(self.threshold, str) or self.n_models > 1:
            raise ValueError(
                "energy and constraint need solver='stlsq', a number as threshold and n_models=1, "
                f"but they are {self.solver!r}, {self.threshold!r} and {self.n_models}."
            )
        given = self.constraint
        return fit_stlsq(
            found,
            self.threshold,
            alpha=self.alpha,
            relative=self.relative_threshold,
            penalty=penalty,
            constraint=None if given is None else as_constraint(given, found.cross.size),
        )

    def path(self, *, precision: int = 3) -> pd.DataFrame:
        """The models that the solver passes on its way, of which the threshold takes one.

        The data are not read again. With ``solver="linbreg"`` it is the order in which terms grow
        from zero. An `energy` or a `constraint` plays no part in it.

        Parameters
        ----------
        precision : int, optional
            Significant digits of the equations.

        Returns
        -------
        DataFrame
            One row for each set of terms that comes up for an equation: its `target`, the number
            of terms `n_terms`, the `error`, the root mean square of what least squares on them
            leaves of the target, relative to that of the target; and the `equation`.

        Raises
        ------
        ValueError
            If the model was not fitted to data.

        Examples
        --------
        >>> import numpy as np, rom
        >>> x = np.random.default_rng(0).normal(size=(500, 1))
        >>> model = rom.SINDy(solver="linbreg", names=["x"]).fit(x, x - 0.1 * x**2 + 0.01)
        >>> model.path()[["error", "equation"]].round(3).values.tolist()[:3]
        [[1.0, 'dx/dt = 0'], [0.175, 'dx/dt = 1.02 x'], [0.008, 'dx/dt = 1 x - 0.0972 x^2']]
        """
        import pandas as pd  # slow to import: only those who look at a path wait for it

        found = sum_normals(unstack(self._arrays()))
        coefs = sparse_path(found, self.solver, alpha=self.alpha, relative=self.relative_threshold)
        problem = scaled(found)
        size = np.where(problem.squares > 0, problem.squares, 1.0)
        errors = np.sqrt(mean_squares(problem, coefs * problem.scale) / size)
        rows, names = [], variable_names(self.names, self.n_features_in_, self.n_inputs_)
        terms = self._library().names(names)
        for i, target in enumerate(names[: coefs.shape[1]]):
            seen = np.unique(coefs[:, i] != 0, axis=0, return_index=True)[1]
            for step in np.sort(seen):
                text = equations(
                    coefs[step, [i]], terms, [target], time=self.time, precision=precision
                )
                rows.append((target, np.count_nonzero(coefs[step, i]), errors[step, i], text[0]))
        return pd.DataFrame(rows, columns=["target", "n_terms", "error", "equation"])


class TermDynamics(SparseDynamics):
    """dz/dt as a sum of few library terms, regressed on rows that need no derivatives.

    A model writes ``_fit_trajectories(series)``, which hands sums of such rows to ``_fit_sums``.
    Where the caller gives derivatives, they are regressed on as they are.
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    @abstractmethod
    def _fit_trajectories(self, series: Series) -> None: ...

    def _fit_series(self, series: Series) -> None:
        if series.y is None:
            self._fit_trajectories(series)
        else:
            self._fit_sums(self._library_sums(series.Z, series.y, series.u))
