"""Sparse identification in weak form: the equation integrated against test functions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils._param_validation import Interval

from rom.base import Series
from rom.data.trajectory import segments
from rom.dynamics.library import Library
from rom.dynamics.sparse import Criterion, Solver
from rom.dynamics.terms import N_BLOCKS, TermDynamics
from rom.dynamics.weak_rows import weak_sums
from rom.dynamics.windows import support_width

Array = NDArray[np.float64]


class WeakSINDy(TermDynamics):
    """Sparse identification in weak form: for noisy states.

    No derivative is taken of the data. The equation is integrated against smooth test functions
    of compact support, and the derivative is moved onto them by parts.

    Parameters
    ----------
    library : Library, optional
        Candidate terms; polynomials up to degree 2 by default. Inputs are further variables.
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}, optional
        How terms are chosen: see :func:`rom.dynamics.sparse.fit_sparse`.
    threshold : float or {"aic", "aicc", "bic"}, optional
        Terms whose coefficient is smaller in modulus are dropped; or the criterion that chooses
        how many stay.
    relative_threshold : bool, optional
        Take `threshold` as a fraction: drop terms whose root mean square over the rows is less
        than this share of the target's. A pure number.
    width : float, optional
        Width of the test functions, in units of time. By default so wide that at the corner of
        the states' spectrum, where noise begins, their transform has fallen to half, and at least
        32 steps.
    n_windows : int, optional
        Number of test functions; by default 24 begin in each width.
    alpha : float, optional
        Ridge parameter, a pure number, for STLSQ.
    constraint : tuple of array_like, optional
        Equations that the coefficients meet exactly, as for :class:`rom.SINDy`.
    n_models : int, optional
        Models of an ensemble; each sees rows drawn again, in blocks as for :class:`rom.SINDy`,
        but no shorter than a test function.
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
    width_ : float
        Width of the test functions; absent where derivatives were given.

    Raises
    ------
    ValueError
        By a fit: as :class:`rom.SINDy`, or if no stretch of continuous sampling is as long as
        `width`.

    Warns
    -----
    UserWarning
        If some rows are in stretches shorter than `width` and cannot be used, or if `threshold`
        dropped every term of an equation.

    Notes
    -----
    Test functions are ``(1 - s²)^16``, whose full width at half maximum is a fifth of `width`.
    Integrals of even samples are exact to rounding; of uneven ones, of fourth order in the step.
    Rows are divided by the standard deviation that white noise brings into them. Terms are of
    noisy states still: the square of a state is biased by the variance of its noise. Inputs are
    taken to be as smooth as the states: where they jump, the error is of first order in the step.
    The terms are in memory for the rows of a few windows at a time. For trajectories that it cannot
    hold together fit each, with one `width`, and :meth:`merge`.

    References
    ----------
    Schaeffer & McCalla (2017), Phys. Rev. E 96, 023302; Messenger & Bortz (2021), Multiscale
    Model. Simul. 19, 1474.

    Examples
    --------
    >>> from rom.dynamics import PolynomialLibrary
    >>> t = np.arange(0, 20, 0.02)
    >>> Z = np.exp(-0.1 * t)[:, None] * np.stack([np.cos(2 * t), -np.sin(2 * t)], axis=1)
    >>> Z += 0.02 * np.random.default_rng(0).normal(size=Z.shape)
    >>> model = WeakSINDy(PolynomialLibrary(2), threshold=0.05, names=["x", "y"]).fit(Z, t=t)
    >>> model.equations(precision=1)
    ['dx/dt = -0.09 x + 2 y', 'dy/dt = -2 x - 0.1 y']
    """

    width_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TermDynamics._parameter_constraints,
        "width": [Interval(Real, 0, None, closed="neither"), None],
        "n_windows": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        library: Library | None = None,
        *,
        solver: Solver = "stlsq",
        threshold: float | Criterion = 0.1,
        relative_threshold: bool = False,
        width: float | None = None,
        n_windows: int | None = None,
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
        self.width = width
        self.n_windows = n_windows
        self.alpha = alpha
        self.constraint = constraint
        self.n_models = n_models
        self.n_dropped = n_dropped
        self.names = names
        self.random_state = random_state

    def _fit_trajectories(self, series: Series) -> None:
        Z, t = series.Z, series.t
        assert t is not None  # Dynamics.fit has checked
        pieces = [p for p in segments(t, series.trajectory) if p.stop - p.start > 1]
        spans = np.array([t[p.stop - 1] - t[p.start] for p in pieces])
        if self.width is None and pieces:
            self.width_ = support_width(Z, t, pieces)
        else:
            self.width_ = float(self.width or 0.0)
        usable = [p for p, s in zip(pieces, spans, strict=True) if s >= self.width_ * (1 - 1e-9)]
        if not usable:
            raise ValueError(
                f"The test functions are {self.width_:g} wide, but the longest of the "
                f"{len(pieces)} stretches of continuous sampling lasts "
                f"{spans.max(initial=0.0):g}. Set a smaller width."
            )
        left_out = len(Z) - sum(p.stop - p.start for p in usable)
        if left_out:
            warnings.warn(
                f"{left_out} of {len(Z)} rows are in stretches shorter than the test functions, "
                f"which are {self.width_:g} wide, and cannot be used.",
                stacklevel=4,
            )

        def terms(piece: slice) -> Array:
            return self._terms(Z[piece], None if series.u is None else series.u[piece])

        # Test functions that overlap bring the same errors: a block is as long as one of them.
        n_blocks = int(np.clip(spans.sum() / self.width_, 2, N_BLOCKS))
        self._fit_sums(
            weak_sums(
                terms,
                Z,
                t,
                usable,
                width=self.width_,
                n_windows=self.n_windows,
                n_blocks=1 if self.n_models == 1 else n_blocks,
            )
        )
