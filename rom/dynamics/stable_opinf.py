"""Operator inference of models that are stable by construction: no trajectory can run away."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Polynomial
from rom.dynamics.dissipative import fit_dissipative
from rom.dynamics.equations import PolynomialEquations, variable_names
from rom.dynamics.library import monomials
from rom.dynamics.normal import Normal, sum_normals
from rom.dynamics.operators import joined, monomial_normals, operator_blocks
from rom.dynamics.rows import SummedDynamics

# A rate of decay this much smaller than the operator counts as none: rounding.
ROUNDING = 1e-12


class StableOperatorInference(PolynomialEquations, SummedDynamics):
    """Operator inference among the models whose every trajectory is bounded.

    dz/dt = c + A z + H (z ⊗ z) + B u, where about a centre m, with w = z - m, the linear part is
    (J - R) Q with J skew and R, Q positive (semi)definite, and the quadratic part produces none
    of the energy E = wᵀQw / 2. Then dE/dt <= -2 λ E + √(2 E) times a constant, so that states end
    up, and stay, in a ball around m: :meth:`certified_bound`. J, R, Q, the quadratic part and m
    are found by nonlinear least squares on the misfit of :class:`OperatorInference`.

    Parameters
    ----------
    operators : {"A", "cA", "AH", "cAH"}, optional
        Which of constant, linear and quadratic terms there are. Inputs always enter, linearly.
    decay : float, optional
        λ is at least this: a rate, per unit of time. With constant terms or inputs, bounds are
        finite only for λ > 0.
    energy : {"euclidean", "learned"}, optional
        Whether Q is the identity, as for orthonormal modes of an incompressible flow, or found
        too: more models, but a bound that may be much wider.
    ridge : float, optional
        Ridge parameter, a pure number: the penalty on terms of unit root mean square.
    max_iter : int, optional
        The most evaluations of the misfit.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    c_, A_, H_, B_ : ndarray, or None
        As for :class:`OperatorInference`.
    Q_ : ndarray, shape (rank, rank)
        Matrix of the energy, its largest eigenvalue 1.
    center_ : ndarray, shape (rank,)
        m.
    rate_ : float
        λ, computed from the operators as they are.
    n_iter_ : int
        Evaluations of the misfit made.
    normal_ : list of ndarray
        All that the training rows say: :meth:`partial_fit` and :meth:`merge` add to it,
        :meth:`refit` finds another model from it.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is not one target for each latent
        coordinate, `names` do not fit, or the data are refused (see :meth:`fit`).

    Notes
    -----
    An iteration costs of the order of rank⁹: made for some ten coordinates. The misfit is that of
    the triangle of the rows (see :mod:`rom.dynamics.normal`), however many there are.

    References
    ----------
    Goyal, Pontes Duff & Benner (2025), Physica D 483, 134893. Trapping regions: Schlegel & Noack
    (2015), J. Fluid Mech. 765, 325.

    Examples
    --------
    >>> t = np.linspace(0, 4, 200)
    >>> Z = np.exp(-0.5 * t)[:, None] * np.stack([np.cos(2 * t), np.sin(2 * t)], axis=1)
    >>> model = StableOperatorInference("A").fit(Z, t=t)
    >>> model.A_.round(4), round(model.rate_, 4)
    (array([[-0.5, -2. ],
           [ 2. , -0.5]]), 0.5)
    >>> round(model.certified_bound([3.0, 4.0]), 4)
    5.0
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    c_: NDArray[np.float64] | None
    A_: NDArray[np.float64]
    H_: NDArray[np.float64] | None
    B_: NDArray[np.float64] | None
    Q_: NDArray[np.float64]
    center_: NDArray[np.float64]

    _after_sums: ClassVar[frozenset[str]] = frozenset(
        {"decay", "energy", "ridge", "max_iter", "names"}
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "operators": [StrOptions({"A", "cA", "AH", "cAH"})],
        "decay": [Interval(Real, 0, None, closed="left")],
        "energy": [StrOptions({"euclidean", "learned"})],
        "ridge": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "names": ["array-like", None],
    }

    def __init__(
        self,
        operators: str = "cAH",
        *,
        decay: float = 0.0,
        energy: Literal["euclidean", "learned"] = "euclidean",
        ridge: float = 0.0,
        max_iter: int = 50,
        names: Sequence[str] | None = None,
    ) -> None:
        self.operators = operators
        self.decay = decay
        self.energy = energy
        self.ridge = ridge
        self.max_iter = max_iter
        self.names = names

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        self._fit_sums(self._sums(Z, y, u))

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        rank = self.n_features_in_
        if y.shape[1] != rank:
            raise ValueError(
                f"A stable model needs one target per latent coordinate, but there are "
                f"{y.shape[1]} targets for {rank} coordinates."
            )
        exponents = np.concatenate(list(self._blocks().values()))
        return monomial_normals(exponents, joined(Z, u), y, exact=True)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        sums = sum_normals(blocks)
        assert sums.root is not None  # as it was asked for
        self.normal_ = sums.arrays()
        found = fit_dissipative(
            sums.root / np.sqrt(sums.n_rows),
            self._blocks(),
            decay=self.decay,
            learned=self.energy == "learned",
            ridge=self.ridge,
            max_iter=self.max_iter,
        )
        operators = found.operators
        self.c_ = operators["c"][:, 0] if "c" in operators else None
        self.A_, self.H_, self.B_ = operators["A"], operators.get("H"), operators.get("B")
        self.Q_, self.center_, self.n_iter_ = found.Q, found.center, found.n_iter
        if "H" in operators:
            self.center_ = self._tightest_center()
        self.rate_ = self._rate(self.center_)

    def _blocks(self) -> dict[str, NDArray[np.int64]]:
        return operator_blocks(self.operators, self.n_features_in_, self.n_inputs_)

    def _about(self, m: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """dw/dt at w = z - m = 0 without inputs, and the matrix of the linear part in w."""
        rank = self.n_features_in_
        constant = self.A_ @ m + (0.0 if self.c_ is None else self.c_)
        if self.H_ is None:
            return constant, self.A_
        squares = operator_blocks("H", rank, 0)["H"]
        constant = constant + self.H_ @ monomials(m[None], squares)[0]
        lower = squares[:, None] - np.eye(rank, dtype=np.int64)  # each z_j taken out once
        slopes = [monomials(m[None], np.maximum(lower[:, j], 0))[0] for j in range(rank)]
        return constant, self.A_ + self.H_ @ (squares * np.stack(slopes, axis=1))

    def _rate(self, m: NDArray[np.float64]) -> float:
        """The largest λ about `m`."""
        QA = self.Q_ @ self._about(m)[1]
        rate = float(eigh(-(QA + QA.T) / 2, self.Q_, eigvals_only=True)[0])
        off = rate - self.decay
        return self.decay if abs(off) <= ROUNDING * np.linalg.norm(QA) else rate

    def _drive(self, constant: NDArray[np.float64]) -> NDArray[np.float64]:
        """``|Q^½ x|`` of each row x."""
        return np.asarray(np.sqrt(((constant @ self.Q_) * constant).sum(axis=-1)))

    def _tightest_center(self) -> NDArray[np.float64]:
        """The centre of the smallest ball about 0 that holds the trapping ball about the centre.

        The model does not depend on it: where the data leave the centre open, that of the fit
        may be far away.
        """
        smallest = np.linalg.eigvalsh(self.Q_)[0]

        def reach(m: NDArray[np.float64]) -> float:
            rate = self._rate(m)
            if rate <= 0 or rate < self.decay:
                return np.inf
            ball = self._drive(self._about(m)[0]) / rate
            return float(np.linalg.norm(m) + ball / np.sqrt(smallest))

        if not np.isfinite(reach(self.center_)):
            return self.center_
        return np.asarray(minimize(reach, self.center_, method="Nelder-Mead").x)

    def energy_of(self, Z: ArrayLike) -> NDArray[np.float64]:
        """E = (z - m)ᵀ Q (z - m) / 2 of each row of `Z` (n_time, rank)."""
        check_is_fitted(self)
        W = checks.check_rows(self, Z, reset=False) - self.center_
        return np.asarray(((W @ self.Q_) * W).sum(axis=1) / 2)

    def certified_bound(self, z0: ArrayLike, u: ArrayLike | None = None) -> float:
        """A norm that no state of the trajectory from `z0` ever exceeds.

        With v = Q^½ w, d|v|/dt <= -λ |v| + β, where β is the largest ``|Q^½ (f(m) + B u)|``. So
        |v| stays below the larger of its start and β / λ.

        Parameters
        ----------
        z0 : array_like, shape (rank,)
            Where the trajectory starts.
        u : array_like, shape (n_time, n_inputs), optional
            Inputs at all times, or any whose convex hull has all inputs in it.

        Returns
        -------
        float
            Infinite if something drives the model but λ = 0.

        Raises
        ------
        ValueError
            If `z0` or `u` do not fit the model.
        """
        check_is_fitted(self)
        start = float(np.sqrt(2 * self.energy_of(np.asarray(z0, dtype=np.float64)[None])[0]))
        n_rows = 0 if u is None else len(np.asarray(u))
        inputs = checks.check_inputs(u, n_rows, n_inputs=self.n_inputs_)
        drive = self._about(self.center_)[0][None]
        if inputs is not None and self.B_ is not None:
            drive = drive + inputs @ self.B_.T
        beta = float(self._drive(drive).max())
        if beta <= ROUNDING * np.linalg.norm(self.A_) * np.linalg.norm(self.center_):
            reach = start
        else:
            reach = max(start, beta / self.rate_ if self.rate_ > 0 else np.inf)
        smallest = float(np.linalg.eigvalsh(self.Q_)[0])
        return float(np.linalg.norm(self.center_) + reach / np.sqrt(smallest))

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        polynomial = self.polynomial()
        return monomials(joined(Z, u), polynomial.exponents) @ polynomial.coef.T

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        check_is_fitted(self)
        c = None if self.c_ is None else self.c_[:, None]
        coef = [C for C in (c, self.A_, self.H_, self.B_) if C is not None]
        return Polynomial(np.concatenate(list(self._blocks().values())), np.hstack(coef))
