"""Sparse identification of nonlinear dynamics (SINDy)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.energy import energy_production
from rom.dynamics.equations import Format, equations, variable_names
from rom.dynamics.library import Library, PolynomialLibrary
from rom.dynamics.regression import stlsq
from rom.dynamics.rows import RowDynamics

# With relative errors, derivatives smaller than this fraction of the largest count as that large:
# below it there is little but rounding and noise.
SMALLEST = 1e-3


class SINDy(RowDynamics):
    """Derivatives as a sum of few terms from a library.

    The coefficients come from sequentially thresholded least squares with ridge.

    Parameters
    ----------
    library : Library, optional
        Candidate terms; polynomials up to degree 2 by default. Inputs are further variables.
    threshold : float, optional
        Terms whose coefficient is smaller in modulus are dropped. The coefficients are in units
        of the latent states and of time: what is small depends on both, unless the threshold is
        relative.
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
        Ridge parameter, a pure number: the penalty on terms of unit root mean square.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    coef_ : ndarray, shape (n_targets, n_terms)
        Coefficients, in the library's order of terms.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, the library has no terms, `names` do not
        fit the coordinates and inputs or are not all different, `energy` comes with other terms
        than monomials or with too few targets, or the data are refused (see :meth:`fit`).

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

    Examples
    --------
    >>> t = np.linspace(0, 10, 500)
    >>> Z = np.stack([np.cos(2 * t), -np.sin(2 * t)], axis=1)
    >>> SINDy(PolynomialLibrary(degree=1), names=["x", "y"]).fit(Z, t=t).equations()
    ['dx/dt = 2 y', 'dy/dt = -2 x']
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    coef_: NDArray[np.float64]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "library": [Library, None],
        "threshold": [Interval(Real, 0, None, closed="left")],
        "relative_threshold": ["boolean"],
        "relative_error": ["boolean"],
        "energy": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        library: Library | None = None,
        *,
        threshold: float = 0.1,
        relative_threshold: bool = False,
        relative_error: bool = False,
        energy: float = 0.0,
        alpha: float = 1e-9,
        names: Sequence[str] | None = None,
    ) -> None:
        self.library = library
        self.threshold = threshold
        self.relative_threshold = relative_threshold
        self.relative_error = relative_error
        self.energy = energy
        self.alpha = alpha
        self.names = names

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        weights = _relative_weights(y) if self.relative_error else np.ones((len(y), 1))
        self.coef_ = stlsq(
            weights * self._terms(Z, u),
            weights * y,
            self.threshold,
            alpha=self.alpha,
            relative=self.relative_threshold,
            penalty=self._energy_penalty(Z, y),
        )
        empty = np.flatnonzero(~self.coef_.any(axis=1) & y.any(axis=0))
        if empty.size:
            warnings.warn(
                f"threshold={self.threshold:g} dropped every term of {empty.size} of "
                f"{len(self.coef_)} equations, the first of them number {empty[0]}: these "
                "coordinates stay constant. Lower the threshold, or set relative_threshold=True.",
                stacklevel=4,
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

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        return self._terms(Z, u) @ self.coef_.T

    def _terms(self, Z: NDArray[np.float64], u: NDArray[np.float64] | None) -> NDArray[np.float64]:
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


def _relative_weights(y: NDArray[np.float64]) -> NDArray[np.float64]:
    size = np.sqrt((y**2).sum(axis=1, keepdims=True))
    largest = size.max()
    return largest / np.maximum(size, SMALLEST * largest) if largest > 0 else np.ones_like(size)
