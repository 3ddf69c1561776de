"""Sparse identification of nonlinear dynamics (SINDy)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from rom.dynamics.energy import energy_production
from rom.dynamics.ensemble import fit_ensemble
from rom.dynamics.equations import variable_names
from rom.dynamics.least_squares import as_constraint
from rom.dynamics.library import Library
from rom.dynamics.normal import Normal, row_normals, sum_normals
from rom.dynamics.regression import fit_stlsq, relative_weights
from rom.dynamics.rows import SummedDynamics
from rom.dynamics.sparse import CRITERIA, SOLVERS, Criterion, Solver, fit_sparse
from rom.dynamics.terms import LibraryDynamics
from rom.threads import N_THREADS

# An ensemble draws its rows in so many blocks.
N_BLOCKS = 50


class SINDy(LibraryDynamics, SummedDynamics):
    """Derivatives as a sum of few terms from a library.

    The rows are summed in one pass; all that follows works on the sums, and costs little beside.

    Parameters
    ----------
    library : Library, optional
        Candidate terms; polynomials up to degree 2 by default. Inputs are further variables, and
        so are parameters: given as inputs that are constant along each trajectory, they enter
        the terms, and the equations found hold for other values.
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}, optional
        Sequentially thresholded least squares with ridge; sparse relaxed regularised regression;
        forward selection; the best subset of each size, for at most 35 terms; linearised Bregman
        iterations, which grow terms from zero. See :mod:`rom.dynamics.sparse`.
    threshold : float or {"aic", "aicc", "bic"}, optional
        Terms whose coefficient is smaller in modulus are dropped. The coefficients are in units
        of the latent states and of time: what is small depends on both, unless the threshold is
        relative. Or the information criterion by which, for each equation, one of the solver's
        sets of terms is chosen; in an ensemble, on the rows that a model did not see.
    relative_threshold : bool, optional
        Take `threshold` as a fraction: drop terms whose root mean square over the training rows
        is less than this share of the derivative's. A pure number, for latent coordinates of
        unequal or unknown size.
    relative_error : bool, optional
        Divide the error of each row by its |dz/dt|, so that slow or small stretches, such as the
        growth from an unstable equilibrium, count as much as the large motion after it.
    energy : float, optional
        Penalty on the energy that the nonlinear terms produce, a pure number; needs a polynomial
        library. The nonlinearity of an incompressible flow preserves the energy of orthonormal
        modes: a small penalty keeps what the data leave open from making a model unbounded.
    alpha : float, optional
        Ridge parameter, a pure number: the penalty on terms of unit root mean square. For STLSQ.
    constraint : tuple of array_like, optional
        A matrix (n_equations, n_targets * n_terms) and values (n_equations,):
        ``matrix @ coef_.ravel() = values`` holds exactly. For STLSQ with a number as threshold.
    n_models : int, optional
        Models of an ensemble; each sees rows drawn again, in 50 blocks.
    n_dropped : int, optional
        Terms of the library, drawn at random, that are left out of each model of an ensemble.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.
    random_state : int, RandomState or None, optional
        Seed of the ensemble.

    Attributes
    ----------
    coef_ : ndarray, shape (n_targets, n_terms)
        Coefficients, in the library's order of terms; the median of an ensemble's.
    inclusion_probability_ : ndarray, shape (n_targets, n_terms), or None
        The share of an ensemble's models in which a term is; of those that it was offered to.
    coef_std_ : ndarray, shape (n_targets, n_terms), or None
        Standard deviation over the ensemble.
    coef_interval_ : ndarray, shape (2, n_targets, n_terms), or None
        Quantiles 0.05 and 0.95 over the ensemble.
    normal_ : list of ndarray
        The normal equations of the rows seen, to which :meth:`partial_fit` adds.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the library has no terms, `names` do not
        fit the coordinates and inputs or are not all different, `energy` comes with other terms
        than monomials or with too few targets, `energy` or `constraint` come with another solver,
        with a criterion or an ensemble, no coefficients meet the constraint, or the data are
        refused (see :meth:`fit`).

    Warns
    -----
    UserWarning
        If `threshold` dropped every term of an equation.

    Notes
    -----
    Without given derivatives `y` they are differences along each trajectory, which amplify noise.
    For noisy states pass smoothed ones:
    ``SINDy().fit(Z, derivative(Z, t, width=25, degree=3)[1])``.

    References
    ----------
    Brunton, Proctor & Kutz (2016), PNAS 113, 3932. Energy and boundedness: Schlegel & Noack
    (2015), J. Fluid Mech. 765, 325; Kaptanoglu et al. (2021), Phys. Rev. Fluids 6, 094401.
    Constraints: Loiseau & Brunton (2018), J. Fluid Mech. 838, 42. Ensembles: Fasel, Kutz, Brunton
    & Brunton (2022), Proc. R. Soc. A 478, 20210904.

    Examples
    --------
    >>> from rom.dynamics import PolynomialLibrary
    >>> t = np.linspace(0, 10, 500)
    >>> Z = np.stack([np.cos(2 * t), -np.sin(2 * t)], axis=1)
    >>> SINDy(PolynomialLibrary(degree=1), names=["x", "y"]).fit(Z, t=t).equations()
    ['dx/dt = 2 y', 'dy/dt = -2 x']
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    coef_: NDArray[np.float64]
    inclusion_probability_: NDArray[np.float64] | None
    coef_std_: NDArray[np.float64] | None
    coef_interval_: NDArray[np.float64] | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "library": [Library, None],
        "solver": [StrOptions(set(SOLVERS))],
        "threshold": [Interval(Real, 0, None, closed="left"), StrOptions(set(CRITERIA))],
        "relative_threshold": ["boolean"],
        "relative_error": ["boolean"],
        "energy": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "constraint": [tuple, None],
        "n_models": [Interval(Integral, 1, None, closed="left")],
        "n_dropped": [Interval(Integral, 0, None, closed="left")],
        "names": ["array-like", None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        library: Library | None = None,
        *,
        solver: Solver = "stlsq",
        threshold: float | Criterion = 0.1,
        relative_threshold: bool = False,
        relative_error: bool = False,
        energy: float = 0.0,
        alpha: float = 1e-9,
        constraint: tuple[ArrayLike, ArrayLike] | None = None,
        n_models: int = 1,
        n_dropped: int = 0,
        names: Sequence[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.library = library
        self.solver = solver
        self.threshold = threshold
        self.relative_threshold = relative_threshold
        self.relative_error = relative_error
        self.energy = energy
        self.alpha = alpha
        self.constraint = constraint
        self.n_models = n_models
        self.n_dropped = n_dropped
        self.names = names
        self.random_state = random_state

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        weights = relative_weights(y) if self.relative_error else None
        penalty = self._energy_penalty(Z, y)
        n_blocks = N_THREADS if self.n_models == 1 else N_BLOCKS
        blocks = self._sums(Z, y, u, n_blocks, weights)
        self._set_bound(blocks)
        if weights is not None:
            blocks = [
                block._replace(n_rows=len(y) * block.n_rows / weights.sum()) for block in blocks
            ]
        self._fit_sums(blocks, penalty)

    def _only_sums(self) -> bool:
        monomials = self._library().exponents(self.n_features_in_) is not None
        return monomials and not self.relative_error and not self.energy

    def _sums(
        self,
        Z: NDArray[np.float64],
        y: NDArray[np.float64],
        u: NDArray[np.float64] | None,
        n_blocks: int = N_THREADS,
        weights: NDArray[np.float64] | None = None,
    ) -> list[Normal]:
        library, V = self._library(), Z if u is None else np.concatenate([Z, u], axis=1)
        exponents = library.exponents(V.shape[1])
        return row_normals(library.terms, exponents, V, y, n_blocks, weights)

    def _fit_sums(self, blocks: list[Normal], penalty: NDArray[np.float64] | None = None) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        found = sum_normals(blocks)
        self.inclusion_probability_ = self.coef_std_ = self.coef_interval_ = None
        if penalty is not None or self.constraint is not None:
            self.coef_ = self._fit_coupled(found, penalty)
        elif self.n_models == 1:
            self.coef_ = self._sparse(found)
        else:
            self.coef_, self.inclusion_probability_, self.coef_std_, self.coef_interval_ = (
                fit_ensemble(
                    blocks,
                    self._sparse,
                    self.n_models,
                    n_dropped=self.n_dropped,
                    judged=isinstance(self.threshold, str),
                    seed=check_random_state(self.random_state).randint(2**31 - 1),
                )
            )
        self.normal_ = found.arrays()
        self._warn_of_empty(found.squares > 0)

    def _fit_coupled(
        self, found: Normal, penalty: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """Coefficients of all equations at once, which the penalty or the constraint couples."""
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

    def _sparse(
        self,
        found: Normal,
        offered: NDArray[np.bool_] | None = None,
        judge: Normal | None = None,
    ) -> NDArray[np.float64]:
        return fit_sparse(
            found,
            self.solver,
            self.threshold,
            alpha=self.alpha,
            relative=self.relative_threshold,
            offered=offered,
            judge=judge,
        )

    def _check_parts(self) -> None:
        if self.n_models > 1 or self.energy or self.relative_error:
            raise ValueError(
                "partial_fit cannot be used with n_models > 1, energy or relative_error, which "
                "need all rows at once: call fit."
            )

    def _warn_of_empty(self, moves: NDArray[np.bool_]) -> None:
        empty = np.flatnonzero(~self.coef_.any(axis=1) & moves)
        if empty.size:
            warnings.warn(
                f"threshold={self.threshold} dropped every term of {empty.size} of "
                f"{len(self.coef_)} equations, the first of them number {empty[0]}: these "
                "coordinates stay constant. Lower the threshold, or set relative_threshold=True.",
                stacklevel=6,
            )

    def _energy_penalty(
        self, Z: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        if not self.energy:
            return None
        exponents = self._library().exponents(Z.shape[1] + self.n_inputs_)
        if exponents is None or y.shape[1] != Z.shape[1]:
            raise ValueError(
                f"energy={self.energy:g} needs a polynomial library and one target per latent "
                f"coordinate, but the library is {self._library()} and there are {y.shape[1]} "
                f"targets for {Z.shape[1]} coordinates."
            )
        return np.sqrt(self.energy) * energy_production(exponents, Z)


class DiscreteSINDy(SINDy):
    """The state one step later as a sum of few terms from a library.

    Parameters, attributes and methods are those of :class:`SINDy`; the targets are next states.

    References
    ----------
    Brunton, Proctor & Kutz (2016), PNAS 113, 3932, section 4 of its supporting information.

    Examples
    --------
    >>> z = [0.3]
    >>> for _ in range(50):
    ...     z.append(3.7 * z[-1] * (1 - z[-1]))
    >>> DiscreteSINDy().fit(np.array(z)[:, None]).equations()
    ['z0[n+1] = 3.7 z0 - 3.7 z0^2']
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"
