"""What polynomial models of named operators share: their terms, and ridge regression for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import combinations
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from rom.base import Polynomial
from rom.dynamics.equations import Format, polynomial_equations, variable_names
from rom.dynamics.library import monomials, powers
from rom.dynamics.normal import Normal, row_normals, sum_normals
from rom.dynamics.regression import fit_ridge
from rom.dynamics.rows import SummedDynamics

LETTERS = "cAHGBN"
CHOICES = {"".join(some) for n in range(1, 6) for some in combinations("cAHGN", n)}

Ridge = float | Mapping[str, float]


class PolynomialInference(SummedDynamics):
    """Dynamics that are sums of operators on monomials, found by ridge regression.

    A model writes ``_blocks(rank, n_inputs)``: the exponents of the monomials that each of its
    operators acts on. What the data say is kept in ``normal_``, from which :meth:`refit` makes
    models of other ridge parameters and of smaller rank.
    """

    c_: NDArray[np.float64] | None
    A_: NDArray[np.float64] | None
    H_: NDArray[np.float64] | None
    G_: NDArray[np.float64] | None
    B_: NDArray[np.float64] | None
    N_: NDArray[np.float64] | None

    time: ClassVar[Literal["continuous", "discrete"]] = "continuous"

    operators: str
    ridge: Ridge
    names: Sequence[str] | None

    _after_sums: ClassVar[frozenset[str]] = frozenset({"ridge", "names"})
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "operators": [StrOptions(CHOICES)],
        "ridge": [Interval(Real, 0, None, closed="left"), Mapping],
        "names": ["array-like", None],
    }

    @abstractmethod
    def _blocks(self, rank: int, n_inputs: int) -> dict[str, NDArray[np.int64]]: ...

    def _fit(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> None:
        blocks = self._sums(Z, y, u)
        self._set_bound(blocks)
        self._fit_sums(blocks)

    def _only_sums(self) -> bool:
        return True

    def _sums(
        self, Z: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> list[Normal]:
        self._penalties()  # checks the ridge before the rows are summed
        return monomial_normals(self._exponents(), joined(Z, u), y)

    def _fit_sums(self, blocks: list[Normal]) -> None:
        variable_names(self.names, self.n_features_in_, self.n_inputs_)  # checks them
        found = sum_normals(blocks)
        self.normal_ = found.arrays()
        self._set_coef(fit_ridge(found, self._penalties()))

    def refit(self, *, rank: int | None = None, **parameters: Any) -> Self:
        """A model of the same data with another ridge, or of its first coordinates only.

        The data are not read again. Coordinates ordered by importance, as those of a POD are,
        give a nested family of models from one fit.

        Parameters
        ----------
        rank : int, optional
            How many latent coordinates; all where not given.
        **parameters
            Another `ridge`, or `names`.

        Returns
        -------
        PolynomialInference
            A new fitted model, which :meth:`fit` on the first `rank` columns of the states and
            targets would give too (to rounding, and but for ``bound_``, which it takes over).

        Raises
        ------
        ValueError
            If `rank` is not in 1 … rank of this model, the ridge does not fit, the model was
            fitted to other targets than one per coordinate, or it was not fitted to data.

        Examples
        --------
        >>> import numpy as np, rom
        >>> t = np.linspace(0, 5, 200)
        >>> Z = np.stack([np.cos(t), np.sin(t), 0.01 * np.cos(3 * t)], axis=1)
        >>> model = rom.OperatorInference("A").fit(Z, t=t)
        >>> model.refit(rank=2).A_.round(4) + 0.0
        array([[ 0., -1.],
               [ 1.,  0.]])
        """
        if rank is None:
            return super().refit(**parameters)
        (found,) = self._kept()
        full, n_targets = self.n_features_in_, len(found.squares)
        if not (rank == full or (0 < rank < full and n_targets == full)):
            raise ValueError(
                f"rank must be in 1 … {full} and below it needs one target per coordinate, but it "
                f"is {rank}, with {n_targets} targets."
            )
        if self.names is not None:
            parameters = {"names": [*self.names[:rank], *self.names[full:]]} | parameters
        new = self._like_this(**parameters)
        new.n_features_in_ = rank
        if rank < full:
            if hasattr(self, "feature_names_in_"):
                new.feature_names_in_ = self.feature_names_in_[:rank]
            without = np.all(self._exponents()[:, rank:full] == 0, axis=1)
            found = found.part(without, slice(rank))
        new._fit_sums([found])
        return new

    def _penalties(self) -> NDArray[np.float64]:
        """The ridge parameter of each term."""
        blocks = self._blocks(self.n_features_in_, self.n_inputs_)
        ridge = self.ridge if isinstance(self.ridge, Mapping) else dict.fromkeys(blocks, self.ridge)
        unknown = [letter for letter in ridge if letter not in blocks]
        if unknown or not all(np.isfinite(v) and v >= 0 for v in ridge.values()):
            raise ValueError(
                f"ridge must be a number >= 0 or name such numbers for the operators "
                f"{list(blocks)}, but it is {self.ridge!r}."
            )
        sizes = [len(exponents) for exponents in blocks.values()]
        return np.repeat([ridge.get(letter, 0.0) for letter in blocks], sizes)

    def _set_coef(self, coef: NDArray[np.float64]) -> None:
        blocks = self._blocks(self.n_features_in_, self.n_inputs_)
        edges = np.cumsum([len(exponents) for exponents in blocks.values()])[:-1]
        found = dict(zip(blocks, np.split(coef, edges, axis=1), strict=True))
        for letter in LETTERS:
            operator = found.get(letter)
            setattr(self, f"{letter}_", None if operator is None else operator.copy())

    def _coef(self) -> NDArray[np.float64]:
        given = [getattr(self, f"{letter}_") for letter in LETTERS]
        return np.concatenate([C.reshape(len(C), -1) for C in given if C is not None], axis=1)

    def _exponents(self) -> NDArray[np.int64]:
        return np.concatenate(list(self._blocks(self.n_features_in_, self.n_inputs_).values()))

    def _predict(
        self, Z: NDArray[np.float64], u: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        return monomials(joined(Z, u), self._exponents()) @ self._coef().T

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


def operator_blocks(operators: str, rank: int, n_inputs: int) -> dict[str, NDArray[np.int64]]:
    """Exponents (n_terms, rank + n_inputs) of the monomials each operator acts on, by letter.

    Raises
    ------
    ValueError
        If "N" is among the operators but there are no inputs.
    """
    if "N" in operators and not n_inputs:
        raise ValueError(
            f'operators={operators!r} has an "N", which needs inputs u: there are none.'
        )
    blocks = {
        letter: np.pad(powers(rank, degree), ((0, 0), (0, n_inputs)))
        for degree, letter in enumerate("cAHG")
        if letter in operators
    }
    states, inputs = np.eye(rank, dtype=np.int64), np.eye(n_inputs, dtype=np.int64)
    if n_inputs:
        blocks["B"] = np.pad(inputs, ((0, 0), (rank, 0)))
    if "N" in operators:
        pairs = np.tile(states, (n_inputs, 1)), np.repeat(inputs, rank, axis=0)
        blocks["N"] = np.concatenate(pairs, axis=1)
    return blocks


def monomial_normals(
    exponents: NDArray[np.int64],
    X: NDArray[np.float64],
    Y: NDArray[np.float64],
    *,
    exact: bool = False,
) -> list[Normal]:
    """:func:`~rom.dynamics.normal.row_normals` of monomials of the variables `X`."""
    return row_normals(lambda rows: monomials(rows, exponents), exponents, X, Y, exact=exact)


def joined(Z: NDArray[np.float64], u: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """States and inputs side by side: the variables of the monomials."""
    return Z if u is None else np.concatenate([Z, u], axis=1)
