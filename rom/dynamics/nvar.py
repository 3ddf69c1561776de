"""Nonlinear vector autoregression: the next state as a polynomial in the last few.

A model with memory is a map on embedded rows: each row holds the states of a stretch of time, the
newest first. :func:`rom.dynamics.hankel.delays` embeds a series; a rollout starts from one
embedded row, and its first columns are the states.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.library import PolynomialLibrary, monomials
from rom.dynamics.normal import Normal, sum_normals
from rom.dynamics.operators import joined, monomial_normals
from rom.dynamics.regression import fit_ridge
from rom.dynamics.rows import SummedDynamics


class NVAR(SummedDynamics):
    """The next state as a polynomial in the present and past ones, by ridge regression.

    z(n+1) = z(n) + W φ(z(n), z(n-s), z(n-2s), …, u(n)) with φ all monomials up to `degree`: the
    "next generation" of reservoir computing, without a reservoir. What is penalised is the change
    from one row to the next.

    With ``n_delays=1`` the rows are states. With more they are states of a stretch of time, as
    ``delays(Z, (n_delays - 1) * stride + 1)`` makes them, and so are the rows it predicts: the
    learned state in front, and the others moved on by one.

    Parameters
    ----------
    n_delays : int, optional
        How many states the polynomial sees, k.
    stride : int, optional
        Rows from one of them to the next, s.
    degree : int, optional
        Highest degree of the monomials, 1 to 3.
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on monomials of unit root mean square.

    Attributes
    ----------
    coef_ : ndarray, shape (n_targets, n_terms)
        From the monomials, by degree, to the next state. The variables are the states seen, the
        newest first, and after them the inputs.
    normal_ : list of ndarray
        The normal equations of the rows seen: :meth:`partial_fit` and :meth:`merge` add to them,
        :meth:`refit` solves them anew.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the rows do not hold as many states as the
        delays span, the times within trajectories are not even, or the data are refused (see
        :meth:`fit`).

    References
    ----------
    Gauthier, Bollt, Griffith & Barbosa (2021), Nature Communications 12, 5564.

    Examples
    --------
    A wave seen through one of its two coordinates follows from its last two values.

    >>> import rom
    >>> t = np.arange(200) * 0.1
    >>> from rom.dynamics import delays
    >>> rows, embedded = delays(np.cos(3 * t)[:, None], 2, t=t)
    >>> model = NVAR(n_delays=2, degree=1, ridge=0.0).fit(embedded, t=t[rows])
    >>> run = rom.rollout(model, embedded[0], t[rows])
    >>> bool(np.allclose(run.z[:, 0], np.cos(3 * t[rows])))
    True
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    coef_: NDArray[np.float64]

    _after_sums: ClassVar[frozenset[str]] = frozenset({"ridge"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_delays": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left")],
        "degree": [Interval(Integral, 1, 3, closed="both")],
        "ridge": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, n_delays: int = 1, *, stride: int = 1, degree: int = 2, ridge: float = 1e-6
    ) -> None:
        self.n_delays = n_delays
        self.stride = stride
        self.degree = degree
        self.ridge = ridge

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        self._fit_sums(self._sums(Z, y, u))

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        newest = newest_targets(y, Z.shape[1], self.states_per_row, needed_by="NVAR")
        present = persistence(newest.shape[1], self._rank())
        change = newest - Z[:, : self._rank()] @ present.T
        return monomial_normals(self._exponents(), self._variables(Z, u), change, exact=True)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        found = sum_normals(blocks)
        self.normal_, self.coef_ = found.arrays(), fit_ridge(found, self.ridge)
        self.coef_[:, self._linear_terms()] += persistence(len(self.coef_), self._rank())

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        terms = monomials(self._variables(Z, u), self._exponents())
        return move_on(Z, terms @ self.coef_.T, self.states_per_row)

    def _variables(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        return joined(Z[:, self._seen()], u)

    @property
    def states_per_row(self) -> int:
        """States that a row holds, the newest first."""
        return (self.n_delays - 1) * self.stride + 1

    def _rank(self) -> int:
        return self.n_features_in_ // self.states_per_row

    def _seen(self) -> NDArray[np.intp]:
        """Columns of a row that the polynomial sees."""
        columns = np.arange(self.n_features_in_).reshape(self.states_per_row, -1)
        return columns[:: self.stride].ravel()

    def _exponents(self) -> NDArray[np.int64]:
        return PolynomialLibrary(self.degree).exponents(len(self._seen()) + self.n_inputs_)

    def _linear_terms(self) -> slice:
        """Where the monomials are the newest state itself."""
        return slice(1, 1 + self._rank())

    def polynomial(self) -> Polynomial:
        """The map of embedded rows: the polynomial, and below it the states moved on by one."""
        check_is_fitted(self)
        width, moved = self.n_features_in_, self.n_features_in_ - self._rank()
        among = np.concatenate([self._seen(), width + np.arange(self.n_inputs_, dtype=np.intp)])
        learned = self._exponents()
        exponents = np.zeros((len(learned) + moved, width + self.n_inputs_), dtype=np.int64)
        exponents[: len(learned), among] = learned
        exponents[len(learned) :, :moved] = np.eye(moved, dtype=np.int64)
        coef = np.zeros((len(self.coef_) + moved, len(exponents)))
        coef[: len(self.coef_), : len(learned)] = self.coef_
        coef[len(self.coef_) :, len(learned) :] = np.eye(moved)
        return Polynomial(exponents, coef)


def newest_targets(
    y: NDArray[np.float64], width: int, span: int, *, needed_by: str
) -> NDArray[np.float64]:
    """The newest states of target rows: all that a model of embedded rows has to learn.

    Parameters
    ----------
    y : ndarray, shape (n_time, n_targets)
        Next rows.
    width : int
        Columns of an embedded row.
    span : int
        States that it holds.
    needed_by : str
        Who asks, for the messages.

    Returns
    -------
    ndarray, shape (n_time, rank), or `y` where a row is one state

    Raises
    ------
    ValueError
        If `width` is not that of `span` states, or `y` is not made of such rows.
    """
    if width % span:
        raise ValueError(
            f"{needed_by} needs rows of {span} states, as delays(Z, {span}) makes them, but the "
            f"rows have {width} columns, no multiple of {span}."
        )
    if span > 1 and y.shape[1] != width:
        raise ValueError(
            f"The targets of embedded rows are the next rows, with {width} columns, but y has "
            f"{y.shape[1]}."
        )
    return y[:, : width // span] if span > 1 else y


def persistence(n_targets: int, rank: int) -> NDArray[np.float64]:
    """The map (n_targets, rank) that keeps the state; zero where the targets are no states."""
    return np.eye(rank) if n_targets == rank else np.zeros((n_targets, rank))


def move_on(Z: NDArray[np.float64], newest: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """The next rows: the `newest` states in front of those of `Z`, without the oldest."""
    if span == 1:
        return newest
    return np.concatenate([newest, Z[:, : -newest.shape[1]]], axis=1)
