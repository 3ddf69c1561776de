"""Operator inference: constant to cubic, input and bilinear operators by least squares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.dynamics.equations import variable_names
from rom.dynamics.operators import LETTERS, PolynomialInference, Ridge, operator_blocks


class OperatorInference(PolynomialInference):
    """A polynomial reduced-order model learned from states and their derivatives.

    dz/dt = c + A z + H (z ⊗ z) + G (z ⊗ z ⊗ z) + B u + N (u ⊗ z), with products such as z_i z_j
    each once: what projecting a full model with these terms on the modes would give, but found by
    regression.

    Parameters
    ----------
    operators : str, optional
        Letters of the terms there are, in the order "cAHGN": constant, linear, quadratic, cubic,
        and bilinear in input and state. Inputs always enter linearly too.
    ridge : float or mapping, optional
        Ridge parameter, a pure number: the penalty on terms of unit root mean square. A mapping
        such as ``{"A": 1e-6, "H": 1e-3}`` names one for each operator; 0 for those left out.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.

    Attributes
    ----------
    c_ : ndarray, shape (n_targets,), or None
    A_ : ndarray, shape (n_targets, rank), or None
    H_ : ndarray, shape (n_targets, rank (rank + 1) / 2), or None
        Columns in the order z0², z0 z1, …, z0 z_{r-1}, z1², …
    G_ : ndarray, shape (n_targets, rank (rank + 1) (rank + 2) / 6), or None
        Columns in the order z0³, z0² z1, …, z0² z_{r-1}, z0 z1², …
    B_ : ndarray, shape (n_targets, n_inputs), or None
    N_ : ndarray, shape (n_targets, n_inputs * rank), or None
        Columns in the order u0 z0, u0 z1, …, u1 z0, …
    normal_ : list of ndarray, or None
        All that the training rows say, their normal equations: :meth:`partial_fit` and
        :meth:`merge` add to them, and :meth:`refit` solves them anew.

    Raises
    ------
    ValueError
        By a fit: if a parameter is out of its range, there is an "N" but no inputs, `names` do
        not fit the coordinates and inputs or are not all different, or the data are refused (see
        :meth:`fit`).

    References
    ----------
    Peherstorfer & Willcox (2016), Comput. Methods Appl. Mech. Eng. 306, 196. Ridge by operator:
    McQuarrie, Huang & Willcox (2021), J. R. Soc. N. Z. 51, 194.

    See Also
    --------
    rom.search_ridge : chooses the ridge by rollouts.

    Examples
    --------
    >>> t = np.linspace(0, 3, 300)
    >>> Z = np.exp(-t)[:, None] / (1 + np.exp(-t)[:, None])
    >>> model = OperatorInference("AH").fit(Z, t=t)
    >>> model.A_.round(4), model.H_.round(4)
    (array([[-1.]]), array([[1.]]))
    """

    def __init__(
        self,
        operators: str = "cAH",
        *,
        ridge: Ridge = 0.0,
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
        G: ArrayLike | None = None,
        N: ArrayLike | None = None,
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
        G : array_like, shape (rank, rank (rank + 1) (rank + 2) / 6), optional
            Columns in the order of ``G_``.
        N : array_like, shape (rank, n_inputs * rank), optional
            Columns in the order of ``N_``; needs `B`.
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
            If none of `c`, `A`, `H`, `G` and `N` is given, an operator has another shape or is not
            finite, `names` do not fit, or `bound` is not positive.

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
            for name, operator in zip(LETTERS, (c, A, H, G, B, N), strict=True)
            if operator is not None
        }
        letters = "".join(name for name in given if name != "B")
        if not letters:
            raise ValueError("from_operators needs at least one of c, A, H, G and N.")
        _check_operators(given)
        if not bound > 0:
            raise ValueError(f"bound must be a positive number, but it is {bound}.")
        model = cls(letters, names=names)
        model.n_features_in_ = len(given[letters[0]])
        model.n_inputs_ = given["B"].shape[1] if "B" in given else 0
        variable_names(names, model.n_features_in_, model.n_inputs_)  # checks them
        model.input_range_ = np.outer([-np.inf, np.inf], np.ones(model.n_inputs_))
        model.dt_, model.bound_, model.normal_ = float("nan"), float(bound), None
        for letter in LETTERS:
            setattr(model, f"{letter}_", given.get(letter))
        return model

    def _set_coef(self, coef: NDArray[np.float64]) -> None:
        super()._set_coef(coef)
        self.c_ = None if self.c_ is None else self.c_[:, 0]

    def _blocks(self, rank: int, n_inputs: int) -> dict[str, NDArray[np.int64]]:
        return operator_blocks(self.operators, rank, n_inputs)


class DiscreteOperatorInference(OperatorInference):
    """The state one step later as a polynomial in the state: for steps too long for derivatives.

    Parameters, attributes and methods are those of :class:`OperatorInference`; the targets are
    next states. Modes that decay within a step have no derivative in the samples, but an
    eigenvalue near zero in this map.

    Notes
    -----
    Inputs that change in a step are given at both of its ends, as ``[u(n), u(n+1)]`` side by side:
    then the map of a linear model whose inputs are linear in each step is exact.

    References
    ----------
    Peherstorfer (2020), SIAM J. Sci. Comput. 42, A3489.

    Examples
    --------
    >>> import rom
    >>> Z = 0.5 ** np.arange(6)[:, None]
    >>> model = DiscreteOperatorInference("A").fit(Z)
    >>> model.equations(), rom.rollout(model, [4.0], np.arange(3)).z.ravel()
    (['z0[n+1] = 0.5 z0'], array([4., 2., 1.]))
    """

    time: ClassVar[Literal["continuous", "discrete"]] = "discrete"


def _check_operators(given: dict[str, NDArray[np.float64]]) -> None:
    """Refuse operators that are not finite or not of shapes that go together."""
    rank = len(next(iter(given.values())))
    n_inputs = given["B"].shape[-1] if "B" in given else 0
    shapes: dict[str, tuple[int, ...]] = {
        "c": (rank,),
        "A": (rank, rank),
        "H": (rank, rank * (rank + 1) // 2),
        "G": (rank, rank * (rank + 1) * (rank + 2) // 6),
        "N": (rank, n_inputs * rank),
    }
    for name, operator in given.items():
        expected = shapes.get(name, (rank, *operator.shape[1:2]))
        if operator.shape != expected:
            raise ValueError(
                f"With {rank} latent coordinates, {name} must have shape {expected}, but its "
                f"shape is {operator.shape}."
            )
        if not np.isfinite(operator).all():
            raise ValueError(f"{name} must be finite, but it holds NaN or infinity.")
