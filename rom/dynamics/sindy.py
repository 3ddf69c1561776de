"""Sparse identification of nonlinear dynamics (SINDy)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval

from rom.dynamics.energy import energy_squares, production
from rom.dynamics.library import Library
from rom.dynamics.normal import Normal
from rom.dynamics.regression import relative_weights
from rom.dynamics.rows import SummedDynamics
from rom.dynamics.sparse import Criterion, Solver
from rom.dynamics.terms import SparseDynamics


class SINDy(SparseDynamics, SummedDynamics):
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
        Models of an ensemble; each sees rows drawn again, in 50 blocks. Their sums are kept.
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
        The normal equations of the rows seen: :meth:`partial_fit` and :meth:`merge` add to them,
        :meth:`refit` and :meth:`path` ask them anew. Of an ensemble, those of each block.
    energy_squares_ : ndarray
        Sums of squares over the rows seen that `energy` is measured by; NaN for a fit without.

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

    An ensemble keeps ``8 n_terms (n_terms + n_targets)`` bytes of each of its blocks, and about
    twice that where terms almost depend on each other: 50 kB for 10 terms, 34 MB for 286. Further
    rows come in further blocks, at most 100: where there are more, neighbours are summed, the
    smallest first.

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

    energy_squares_: float | NDArray[np.float64]

    _after_sums: ClassVar[frozenset[str]] = SparseDynamics._after_sums | {"energy"}
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseDynamics._parameter_constraints,
        "relative_error": ["boolean"],
        "energy": [Interval(Real, 0, None, closed="left")],
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
        self.energy_squares_ = 0.0
        blocks = self._sums(Z, y, u)
        self._set_bound(blocks)
        self._fit_sums(blocks)

    def _only_sums(self) -> bool:
        monomials = self._library().exponents(self.n_features_in_) is not None
        return monomials and not self.relative_error and not self.energy

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        more = energy_squares(self._exponents(y.shape[1]), Z) if self.energy else np.nan
        blocks = self._library_sums(Z, y, u, relative_weights(y) if self.relative_error else None)
        self.energy_squares_ = getattr(self, "energy_squares_", 0.0) + more
        return blocks

    def _gather(self, models: Sequence[Self]) -> None:
        super()._gather(models)
        self.energy_squares_ = sum(getattr(model, "energy_squares_", np.nan) for model in models)

    def _check_parts(self) -> None:
        if self.relative_error:
            raise ValueError(
                "partial_fit and merge cannot be used with relative_error, whose weights need the "
                "largest derivative of all rows: call fit."
            )

    def _exponents(self, n_targets: int) -> NDArray[np.int64]:
        """Powers of the terms, whose nonlinear ones are to produce little energy."""
        rank = self.n_features_in_
        exponents = self._library().exponents(rank + self.n_inputs_)
        if exponents is None or n_targets != rank:
            raise ValueError(
                f"energy={self.energy:g} needs a polynomial library and one target per latent "
                f"coordinate, but the library is {self._library()} and there are {n_targets} "
                f"targets for {rank} coordinates."
            )
        return exponents

    def _penalty(self, found: Normal) -> NDArray[np.float64] | None:
        if not self.energy:
            return None
        squares = np.asarray(getattr(self, "energy_squares_", np.nan))  # not in older files
        if np.isnan(squares).any():
            raise ValueError(
                f"energy={self.energy:g} needs sums over the rows that only a fit with energy > 0 "
                "makes: call fit."
            )
        exponents, rank = self._exponents(len(found.squares)), self.n_features_in_
        return np.sqrt(self.energy) * production(exponents, rank, squares / found.n_rows)


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
