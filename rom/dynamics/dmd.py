"""Dynamic mode decomposition: the linear map from each state to the next."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvals
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.linear import (
    Affine,
    Band,
    affine_normals,
    affine_polynomial,
    check_growth,
    fit_affine,
)
from rom.dynamics.normal import Normal, sum_normals
from rom.dynamics.rows import SummedDynamics


class DMD(PolynomialEquations, SummedDynamics):
    """The linear map z⁺ = A z + B u + c from each state to the one a sampling step later.

    Fitted to all pairs of neighbouring rows. On the latent coordinates of a POD this is exact
    DMD; for anomalies of a climate field it is a linear inverse model. By default there is no
    constant c: states are taken as deviations from an equilibrium, which those of a POD are,
    from the mean, where the record is long enough that its mean is one.

    Parameters
    ----------
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on coordinates of unit root mean square.
    total_least_squares : bool, optional
        Take both states of a pair as noisy, not only the later one, and equally so in all
        coordinates (as white noise in space is in those of a POD). Without it, noise makes every
        mode decay too fast, however long the record. Inputs count as exact.
    constant : bool, optional
        Fit the constant c, so that states may be measured from anywhere, such as the mean over a
        part of a period.
    growth : (float, float), optional
        Band that growth rates are kept in, per unit of time (per step where no times are given):
        ``(-inf, 0)`` lets no mode grow, ``(0, 0)`` lets none grow or decay. Eigenvalues outside
        are moved to its edge; frequencies and eigenvectors stay.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    A_ : ndarray, shape (n_targets, rank)
    B_ : ndarray, shape (n_targets, n_inputs), or None
    c_ : ndarray, shape (n_targets,), or None
    eigenvalues_ : ndarray of complex, shape (rank,)
        Eigenvalues of `A_`, the slowest to decay first.
    rates_ : ndarray of complex, shape (rank,)
        log(eigenvalues_) / dt_: growth rate + i times angular frequency, per unit of time.
    normal_ : list of ndarray
        The normal equations of the rows seen: :meth:`partial_fit` and :meth:`merge` add to them,
        :meth:`refit` solves them anew.

    Raises
    ------
    ValueError
        By a fit: if `ridge` is negative, or positive with `total_least_squares`; if `growth` is
        not a band; if `names` do not fit the coordinates and inputs or are not all different; if
        the times within trajectories are not even; or if the data are refused (see :meth:`fit`).

    References
    ----------
    Schmid (2010), J. Fluid Mech. 656, 5; Proctor, Brunton & Kutz (2016), SIAM J. Appl. Dyn.
    Syst. 15, 142 (inputs); Penland & Sardeshmukh (1995), J. Climate 8, 1999 (climate); Hemati,
    Rowley, Deem & Cattafesta (2017), Theor. Comput. Fluid Dyn. 31, 349, and Dawson, Hemati,
    Williams & Rowley (2016), Exp. Fluids 57, 42 (total least squares).

    Examples
    --------
    >>> t = np.arange(100) * 0.1
    >>> Z = np.exp(-0.2 * t)[:, None] * np.stack([np.cos(3 * t), np.sin(3 * t)], axis=1)
    >>> DMD().fit(Z, t=t).rates_.round(6)
    array([-0.2+3.j, -0.2-3.j])

    With noise, and around another equilibrium:

    >>> Z = 5 + Z + 0.01 * np.random.default_rng(0).normal(size=Z.shape)
    >>> model = DMD(total_least_squares=True, constant=True).fit(Z, t=t)
    >>> model.rates_.round(1)
    array([-0.2+3.j, -0.2-3.j])
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    A_: NDArray[np.float64]
    B_: NDArray[np.float64] | None
    c_: NDArray[np.float64] | None

    _after_sums: ClassVar[frozenset[str]] = frozenset(
        {"ridge", "total_least_squares", "growth", "names"}
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "ridge": [Interval(Real, 0, None, closed="left")],
        "total_least_squares": ["boolean"],
        "constant": ["boolean"],
        "growth": [tuple, list, None],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        *,
        ridge: float = 0.0,
        total_least_squares: bool = False,
        constant: bool = False,
        growth: tuple[float, float] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.ridge = ridge
        self.total_least_squares = total_least_squares
        self.constant = constant
        self.growth = growth
        self.names = names

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        self._fit_sums(self._sums(Z, y, u))

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        return affine_normals(Z, y, u, constant=self.constant)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        if self.ridge and self.total_least_squares:
            raise ValueError(
                f"ridge={self.ridge} does not go with total_least_squares=True: the one shrinks "
                "the map, the other undoes the shrinking that noise brings."
            )
        found, growth = sum_normals(blocks), check_growth(self.growth)
        self.normal_ = found.arrays()
        self.A_, self.B_, self.c_ = fit_affine(
            found,
            self.n_features_in_,
            alpha=self.ridge,
            constant=self.constant,
            total=self.total_least_squares,
            band=None if growth is None else Band(*growth, step=self._step()),
        )

    def _step(self) -> float:
        return self.dt_ if np.isfinite(self.dt_) else 1.0

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        after = Z @ self.A_.T
        if u is not None and self.B_ is not None:
            after = after + u @ self.B_.T
        return after if self.c_ is None else after + self.c_

    @property
    def eigenvalues_(self) -> NDArray[np.complex128]:
        """Eigenvalues of `A_`, the slowest to decay first."""
        check_is_fitted(self)
        values = np.asarray(eigvals(self.A_), dtype=np.complex128)
        return values[np.lexsort([-values.imag, -np.abs(values)])]

    @property
    def rates_(self) -> NDArray[np.complex128]:
        """Growth rates + i times angular frequencies, per unit of time; NaN without times."""
        return np.asarray(np.log(self.eigenvalues_) / self.dt_, dtype=np.complex128)

    def polynomial(self) -> Polynomial:
        """The map."""
        check_is_fitted(self)
        return affine_polynomial(Affine(self.A_, self.B_, self.c_))
