"""Sparse identification by the implicit midpoint rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.base import Series
from rom.data.trajectory import pairs, segments
from rom.dynamics.library import Library
from rom.dynamics.sparse import Criterion, Solver
from rom.dynamics.terms import TermDynamics

Array = NDArray[np.float64]


def midpoint_rows(
    Z: Array, t: Array, pieces: list[slice], u: Array | None = None
) -> tuple[Array, Array, Array | None, Array]:
    """Midpoints of neighbouring rows, the differences there, and the inputs.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
    t : ndarray, shape (n_time,)
        Times, increasing inside each piece.
    pieces : list of slice
        Stretches of continuous sampling.
    u : ndarray, shape (n_time, n_inputs), optional

    Returns
    -------
    middle : ndarray, shape (n_pairs, rank)
        ``(z_n + z_{n+1}) / 2``.
    slope : ndarray, shape (n_pairs, rank)
        ``(z_{n+1} - z_n) / h``, of steps ``h`` of any length.
    u : ndarray, shape (n_pairs, n_inputs), or None
        Means of the inputs.
    h : ndarray, shape (n_pairs,)
        The steps.

    Examples
    --------
    >>> Z, t = np.array([[0.0], [1.0], [4.0]]), np.array([0.0, 1.0, 3.0])
    >>> midpoint_rows(Z, t, [slice(0, 3)])[:2]
    (array([[0.5],
           [2.5]]), array([[1. ],
           [1.5]]))
    """
    now, later = pairs(pieces)
    h = t[later] - t[now]
    inputs = None if u is None else 0.5 * (u[now] + u[later])
    return 0.5 * (Z[now] + Z[later]), (Z[later] - Z[now]) / h[:, None], inputs, h


class MidpointSINDy(TermDynamics):
    """Sparse identification from steps of the implicit midpoint rule.

    The right-hand side f is such that ``f((z_n + z_{n+1}) / 2) = (z_{n+1} - z_n) / h`` holds as
    well as it can: explicit in the data, linear in the coefficients, and of second order in the
    step. The rule keeps quadratic invariants, so that weak damping or growth is found with its
    sign, from long steps too, where one-sided differences find it far off. It takes two rows, so
    that it also serves pairs of states, bursts and trajectories full of gaps.

    Parameters
    ----------
    library : Library, optional
        Candidate terms; polynomials up to degree 2 by default. Inputs are further variables, at
        their mean over a step.
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}, optional
        How terms are chosen: see :func:`rom.dynamics.sparse.fit_sparse`.
    threshold : float or {"aic", "aicc", "bic"}, optional
        Terms whose coefficient is smaller in modulus are dropped; or the criterion that chooses
        how many stay.
    relative_threshold : bool, optional
        Take `threshold` as a fraction of the target's root mean square; a pure number.
    alpha : float, optional
        Ridge parameter, a pure number, for STLSQ.
    constraint : tuple of array_like, optional
        Equations that the coefficients meet exactly, as for :class:`rom.SINDy`.
    n_models : int, optional
        Models of an ensemble; each sees rows drawn again, in blocks as for :class:`rom.SINDy`.
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
    inclusion_probability_, coef_std_, coef_interval_ : ndarray, or None
        Of an ensemble, as for :class:`rom.SINDy`.
    normal_ : list of ndarray
        Sums over the rows, which :meth:`merge` adds to, and :meth:`refit` and :meth:`path` ask;
        of an ensemble, those of each block, as for :class:`rom.SINDy`.

    Raises
    ------
    ValueError
        By a fit: as :class:`rom.SINDy`.

    Notes
    -----
    Rows are weighted by their step h, so that those of a short step, whose differences carry the
    most noise, count for less: for white noise the error of a row is as 1 / h.

    References
    ----------
    Noren, Eidnes & Celledoni (2025), Learning dynamical systems from noisy data with
    inverse-explicit integrators, Physica D.

    Examples
    --------
    >>> from rom.dynamics import PolynomialLibrary
    >>> t = np.arange(0.0, 40.0, 0.4)
    >>> z = np.exp((-0.05 + 1j) * t)
    >>> Z = np.stack([z.real, z.imag], axis=1)
    >>> model = MidpointSINDy(PolynomialLibrary(1), threshold=0.01).fit(Z, t=t)
    >>> float(0.5 * (model.coef_[0, 1] + model.coef_[1, 2]).round(3))
    -0.052
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = TermDynamics._parameter_constraints

    def __init__(
        self,
        library: Library | None = None,
        *,
        solver: Solver = "stlsq",
        threshold: float | Criterion = 0.1,
        relative_threshold: bool = False,
        alpha: float = 0.0,
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
        self.alpha = alpha
        self.constraint = constraint
        self.n_models = n_models
        self.n_dropped = n_dropped
        self.names = names
        self.random_state = random_state

    def _fit_trajectories(self, series: Series) -> None:
        assert series.t is not None  # Dynamics.fit has checked
        pieces = segments(series.t, series.trajectory)
        middle, slope, inputs, h = midpoint_rows(series.Z, series.t, pieces, series.u)
        if not len(h):
            raise ValueError(
                f"MidpointSINDy needs two rows one step apart, but each of the {len(series.Z)} "
                "rows stands alone."
            )
        self._fit_sums(self._library_sums(middle, slope, inputs, h**2))
