"""Operator inference: constant, linear, quadratic and input operators by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.equations import Format, polynomial_equations, variable_names
from rom.dynamics.library import monomials, powers
from rom.dynamics.regression import ridge
from rom.dynamics.rows import RowDynamics


class OperatorInference(RowDynamics):
    """A polynomial reduced-order model learned from states and their derivatives.

    dz/dt = c + A z + H (z ⊗ z) + B u, with ``z ⊗ z`` the products z_i z_j, i ≤ j, each once:
    what projecting a full model with these terms on the modes would give, but found by regression.

    Parameters
    ----------
    operators : {"c", "A", "H", "cA", "cH", "AH", "cAH"}, optional
        Which of constant, linear and quadratic terms there are. Inputs always enter, linearly.
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on terms of unit root mean square.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    c_ : ndarray, shape (n_targets,), or None
    A_ : ndarray, shape (n_targets, rank), or None
    H_ : ndarray, shape (n_targets, rank (rank + 1) / 2), or None
        Columns in the order z0², z0 z1, …, z0 z_{r-1}, z1², …
    B_ : ndarray, shape (n_targets, n_inputs), or None

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, `names` do not fit the coordinates and
        inputs or are not all different, or the data are refused (see :meth:`fit`).

    References
    ----------
    Peherstorfer & Willcox (2016), Comput. Methods Appl. Mech. Eng. 306, 196. Ridge: McQuarrie,
    Huang & Willcox (2021), J. R. Soc. N. Z. 51, 194.

    Examples
    --------
    >>> t = np.linspace(0, 3, 300)
    >>> Z = np.exp(-t)[:, None] / (1 + np.exp(-t)[:, None])
    >>> model = OperatorInference("AH").fit(Z, t=t)
    >>> model.A_.round(4), model.H_.round(4)
    (array([[-1.]]), array([[1.]]))
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    c_: NDArray[np.float64] | None
    A_: NDArray[np.float64] | None
    H_: NDArray[np.float64] | None
    B_: NDArray[np.float64] | None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "operators": [StrOptions({"c", "A", "H", "cA", "cH", "AH", "cAH"})],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        operators: str = "cAH",
        *,
        ridge: float = 0.0,
        names: Sequence[str] | None = None,
    ) -> None:
        self.operators = operators
        self.ridge = ridge
        self.names = names

    @classmethod
    def from_operators(
        cls,
        c: ArrayLike | None = None,
        A: ArrayLike | None = None,
        H: ArrayLike | None = None,
        B: ArrayLike | None = None,
        *,
        names: Sequence[str] | None = None,
        bound: float = float("inf"),
    ) -> Self:
        """A model of known operators, such as those of a Galerkin projection, as if fitted.

        Parameters
        ----------
        c : array_like, shape (rank,), optional
        A : array_like, shape (rank, rank), optional
        H : array_like, shape (rank, rank (rank + 1) / 2), optional
            Columns in the order of ``H_``.
        B : array_like, shape (rank, n_inputs), optional
        names : sequence of str, optional
            As for the constructor.
        bound : float, optional
            Norm past which a rollout is ended by default.

        Returns
        -------
        OperatorInference
            A fit of this model to data would replace the operators.

        Raises
        ------
        ValueError
            If none of `c`, `A` and `H` is given, an operator has another shape or is not finite,
            `names` do not fit, or `bound` is not positive.

        Examples
        --------
        >>> import numpy as np, rom
        >>> spring = OperatorInference.from_operators(A=[[0, 1], [-1, 0]], names=["q", "p"])
        >>> spring.equations()
        ['dq/dt = 1 p', 'dp/dt = -1 q']
        >>> run = rom.rollout(spring, [1.0, 0.0], np.linspace(0, 100, 2001), stepper="midpoint")
        >>> bool(np.allclose(np.sum(run.z**2, axis=1), 1, rtol=1e-13))
        True
        """
        given = {
            name: np.array(operator, dtype=np.float64, ndmin=1 if name == "c" else 2)
            for name, operator in (("c", c), ("A", A), ("H", H), ("B", B))
            if operator is not None
        }
        letters = "".join(name for name in given if name in "cAH")
        if not letters:
            raise ValueError("from_operators needs at least one of c, A and H.")
        _check_operators(given)
        if not bound > 0:
            raise ValueError(f"bound must be a positive number, but it is {bound}.")
        model = cls(letters, names=names)
        model.n_features_in_ = len(given[letters[0]])
        model.n_inputs_ = given["B"].shape[1] if "B" in given else 0
        variable_names(names, model.n_features_in_, model.n_inputs_)  # checks them
        model.dt_, model.bound_ = float("nan"), float(bound)
        model.c_, model.A_, model.H_, model.B_ = (given.get(name) for name in "cAHB")
        return model

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        r = self.n_features_in_
        coef = ridge(self._terms(Z, u), y, self.ridge)
        all_sizes = zip("cAH", (1, r, r * (r + 1) // 2), strict=True)
        sizes = [n * (letter in self.operators) for letter, n in all_sizes]
        c, A, H, B = np.split(coef, np.cumsum(sizes), axis=1)
        self.c_ = c[:, 0] if c.size else None
        self.A_ = A if A.size else None
        self.H_ = H if H.size else None
        self.B_ = B if B.size else None

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        return self._terms(Z, u) @ self._coef().T

    def _terms(self, Z: NDArray[np.float64], u: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return monomials(Z if u is None else np.concatenate([Z, u], axis=1), self._exponents())

    def _exponents(self) -> NDArray[np.int64]:
        degrees = [degree for degree, letter in enumerate("cAH") if letter in self.operators]
        states = np.concatenate([powers(self.n_features_in_, degree) for degree in degrees])
        return block_diag(states, np.eye(self.n_inputs_, dtype=np.int64))

    def _coef(self) -> NDArray[np.float64]:
        c = None if self.c_ is None else self.c_[:, None]
        return np.concatenate([C for C in (c, self.A_, self.H_, self.B_) if C is not None], axis=1)

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        check_is_fitted(self)
        return Polynomial(self._exponents(), self._coef())

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


def _check_operators(given: dict[str, NDArray[np.float64]]) -> None:
    """Refuse operators that are not finite or not of shapes that go together."""
    rank = len(next(iter(given.values())))
    shapes = {"c": (rank,), "A": (rank, rank), "H": (rank, rank * (rank + 1) // 2)}
    for name, operator in given.items():
        expected = shapes.get(name, (rank, *operator.shape[1:2]))
        if operator.shape != expected:
            raise ValueError(
                f"With {rank} latent coordinates, {name} must have shape {expected}, but its "
                f"shape is {operator.shape}."
            )
        if not np.isfinite(operator).all():
            raise ValueError(f"{name} must be finite, but it holds NaN or infinity.")
