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
from rom.dynamics.equations import Format, polynomial_equations, variable_names
from rom.dynamics.regression import ridge
from rom.dynamics.rows import RowDynamics


class DMD(RowDynamics):
    """The linear map z⁺ = A z + B u from each state to the one a sampling step later.

    Fitted to all pairs of neighbouring rows. On the latent coordinates of a POD this is exact
    DMD; for anomalies of a climate field it is a linear inverse model. There is no constant:
    states are taken as deviations from an equilibrium, which those of a POD are, from the mean.

    Parameters
    ----------
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on coordinates of unit root mean square.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    A_ : ndarray, shape (n_targets, rank)
    B_ : ndarray, shape (n_targets, n_inputs), or None
    eigenvalues_ : ndarray of complex, shape (rank,)
        Eigenvalues of `A_`, the slowest to decay first.
    rates_ : ndarray of complex, shape (rank,)
        log(eigenvalues_) / dt_: growth rate + i times angular frequency, per unit of time.

    Raises
    ------
    ValueError
        By a fit: if `ridge` is negative, `names` do not fit the coordinates and inputs or are not
        all different, the times within trajectories are not even, or the data are refused (see
        :meth:`fit`).

    References
    ----------
    Schmid (2010), J. Fluid Mech. 656, 5; Proctor, Brunton & Kutz (2016), SIAM J. Appl. Dyn.
    Syst. 15, 142 (inputs); Penland & Sardeshmukh (1995), J. Climate 8, 1999 (climate).

    Examples
    --------
    >>> t = np.arange(100) * 0.1
    >>> Z = np.exp(-0.2 * t)[:, None] * np.stack([np.cos(3 * t), np.sin(3 * t)], axis=1)
    >>> DMD().fit(Z, t=t).rates_.round(6)
    array([-0.2+3.j, -0.2-3.j])
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"

    A_: NDArray[np.float64]
    B_: NDArray[np.float64] | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "ridge": [Interval(Real, 0, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(self, *, ridge: float = 0.0, names: Sequence[str] | None = None) -> None:
        self.ridge = ridge
        self.names = names

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        coef = ridge(Z if u is None else np.concatenate([Z, u], axis=1), y, self.ridge)
        self.A_ = coef[:, : Z.shape[1]]
        self.B_ = None if u is None else coef[:, Z.shape[1] :]

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        after = Z @ self.A_.T
        return after if u is None or self.B_ is None else after + u @ self.B_.T

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
        coef = self.A_ if self.B_ is None else np.concatenate([self.A_, self.B_], axis=1)
        return Polynomial(np.eye(coef.shape[1], dtype=np.int64), coef)

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
        return polynomial_equations(
            self.polynomial(), self.names, time=self.time, format=format, precision=precision
        )
