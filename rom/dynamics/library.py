"""Candidate terms: functions of latent state and inputs that a right-hand side may consist of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator


@cache
def powers(n: int, degree: int) -> NDArray[np.int64]:
    """Exponents (n_terms, n), read-only, of all monomials of exactly this degree in `n` variables.

    Examples
    --------
    >>> powers(2, 2).tolist()
    [[2, 0], [1, 1], [0, 2]]
    """
    factors = combinations_with_replacement(range(n), degree)
    exponents = np.array([np.bincount(np.array(f, int), minlength=n) for f in factors])
    exponents.setflags(write=False)
    return exponents


def monomials(Z: NDArray[np.float64], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values (n_time, n_terms) of the monomials with these exponents (n_terms, n)."""
    columns = np.ascontiguousarray(Z.T)  # one variable, and one term, at a stretch of memory
    lead = (exponents > 0).argmax(axis=1)
    values = columns[lead]
    values[~exponents.any(axis=1)] = 1.0
    rest = exponents.copy()
    rest[np.arange(len(rest)), lead] -= 1
    terms, variables = np.nonzero(rest > 0)
    power = rest[terms, variables]
    for i, j in zip(terms.repeat(power).tolist(), variables.repeat(power).tolist(), strict=True):
        values[i] *= columns[j]
    return values.T


def monomial_names(
    variables: list[str], exponents: NDArray[np.int64], *, latex: bool = False
) -> list[str]:
    """Names such as ``x y^2`` of the monomials with these exponents (n_terms, n)."""
    power = "{}^{{{}}}" if latex else "{}^{}"
    return [
        " ".join(
            name if p == 1 else power.format(name, p)
            for name, p in zip(variables, row, strict=True)
            if p
        )
        for row in exponents.tolist()
    ]


class Library(BaseEstimator, ABC):
    """A list of candidate terms of ``n`` variables.

    ``a + b`` has the terms of both, ``a * b`` each term of one times each of the other, and
    ``a.of(0, 2)`` the terms of some of the variables.

    A library holds no data. It writes ``terms``, ``names`` and ``exponents``, all three in the
    same order of terms. The variables are the latent coordinates and, after them, the inputs.
    """

    @abstractmethod
    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the terms (n_time, n_terms) where the variables are ``Z`` (n_time, n)."""

    @abstractmethod
    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names of the terms, given those of the variables; that of 1 is the empty string."""

    @abstractmethod
    def exponents(self, n: int) -> NDArray[np.int64] | None:
        """Powers (n_terms, n) of `n` variables in each term; None if one is not a monomial."""

    def __add__(self, other: Library) -> ConcatLibrary:
        return ConcatLibrary(self, other)

    def __mul__(self, other: Library) -> ProductLibrary:
        return ProductLibrary(self, other)

    def of(self, *variables: int) -> ChosenLibrary:
        """The terms of some of the variables only, given by their places."""
        return ChosenLibrary(self, variables)


class PolynomialLibrary(Library):
    """All monomials up to a degree, by degree: 1, x, y, x², x y, y², …

    Parameters
    ----------
    degree : int, optional
        Highest total degree.
    include_bias : bool, optional
        Whether the constant 1 is among the terms.

    Examples
    --------
    >>> PolynomialLibrary(degree=2).names(["x", "y"])
    ['', 'x', 'y', 'x^2', 'x y', 'y^2']
    >>> PolynomialLibrary(degree=2).terms(np.array([[2.0, 3.0]]))
    array([[1., 2., 3., 4., 6., 9.]])
    """

    def __init__(self, degree: int = 2, *, include_bias: bool = True) -> None:
        self.degree = degree
        self.include_bias = include_bias

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the monomials, (n_time, n_terms)."""
        return monomials(Z, self.exponents(Z.shape[1]))

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names such as ``x y^2``."""
        return monomial_names(variables, self.exponents(len(variables)), latex=latex)

    def exponents(self, n: int) -> NDArray[np.int64]:
        """Powers of the variables, (n_terms, n)."""
        lowest = 0 if self.include_bias else 1
        if self.degree < lowest:
            raise ValueError(f"degree must be >= {lowest}, but it is {self.degree!r}.")
        return np.concatenate([powers(n, d) for d in range(lowest, self.degree + 1)])


class FourierLibrary(Library):
    """Sines and cosines of each variable: sin x, cos x, sin y, cos y, sin 2x, …

    Parameters
    ----------
    n_frequencies : int, optional
        Highest wave number, in radians per unit of the variable.

    Examples
    --------
    >>> FourierLibrary(2).names(["x"])
    ['sin(x)', 'cos(x)', 'sin(2 x)', 'cos(2 x)']
    """

    def __init__(self, n_frequencies: int = 1) -> None:
        self.n_frequencies = n_frequencies

    def _wave_numbers(self) -> range:
        if self.n_frequencies < 1:
            raise ValueError(f"n_frequencies must be >= 1, but it is {self.n_frequencies!r}.")
        return range(1, self.n_frequencies + 1)

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the waves, (n_time, n_terms)."""
        waves = [np.stack([np.sin(k * Z), np.cos(k * Z)], axis=2) for k in self._wave_numbers()]
        return np.concatenate([wave.reshape(len(Z), -1) for wave in waves], axis=1)

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names such as ``sin(2 x)``."""
        slash = "\\" if latex else ""
        return [
            f"{slash}{wave}({name if k == 1 else f'{k} {name}'})"
            for k in self._wave_numbers()
            for name in variables
            for wave in ("sin", "cos")
        ]

    def exponents(self, n: int) -> None:
        """None: a wave is no monomial."""
        return None


class ConcatLibrary(Library):
    """The terms of one library and after them those of another; what ``first + second`` makes.

    Parameters
    ----------
    first, second : Library

    Examples
    --------
    >>> library = PolynomialLibrary(degree=1) + FourierLibrary()
    >>> library.names(["x"])
    ['', 'x', 'sin(x)', 'cos(x)']
    """

    def __init__(self, first: Library, second: Library) -> None:
        self.first = first
        self.second = second

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the terms, (n_time, n_terms)."""
        return np.concatenate([self.first.terms(Z), self.second.terms(Z)], axis=1)

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names of the terms."""
        return [
            *self.first.names(variables, latex=latex),
            *self.second.names(variables, latex=latex),
        ]

    def exponents(self, n: int) -> NDArray[np.int64] | None:
        """Powers of the variables, or None where one of the two is no polynomial."""
        first, second = self.first.exponents(n), self.second.exponents(n)
        return None if first is None or second is None else np.concatenate([first, second])


class ProductLibrary(Library):
    """Each term of one library times each of another; what ``first * second`` makes.

    A product that comes twice is kept once.

    Parameters
    ----------
    first, second : Library

    Examples
    --------
    A linear equation whose coefficients depend on a third variable, an angle.

    >>> library = PolynomialLibrary(1).of(0, 1) * (PolynomialLibrary(0) + FourierLibrary().of(2))
    >>> library.names(["x", "y", "a"])
    ['', 'sin(a)', 'cos(a)', 'x', 'x sin(a)', 'x cos(a)', 'y', 'y sin(a)', 'y cos(a)']
    """

    def __init__(self, first: Library, second: Library) -> None:
        self.first = first
        self.second = second

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the products, (n_time, n_terms)."""
        return self._products(Z)[:, self._kept(Z.shape[1])]

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names of the products."""
        exponents = self.exponents(len(variables))
        if exponents is not None:
            return monomial_names(variables, exponents, latex=latex)
        parts = (library.names(variables, latex=latex) for library in (self.first, self.second))
        names = [" ".join(filter(None, pair)) for pair in product(*parts)]
        return [names[k] for k in self._kept(len(variables))]

    def exponents(self, n: int) -> NDArray[np.int64] | None:
        """Powers of the variables, or None where one of the two is no polynomial."""
        first, second = self.first.exponents(n), self.second.exponents(n)
        if first is None or second is None:
            return None
        return (first[:, None] + second).reshape(-1, n)[self._kept(n)]

    def _products(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = self.first.terms(Z), self.second.terms(Z)
        return (first[:, :, None] * second[:, None]).reshape(len(Z), -1)

    def _kept(self, n: int) -> NDArray[np.intp]:
        """Places of the products that are not an earlier one: by their values at some points."""
        points = np.random.default_rng(0).uniform(0.5, 1.5, (4, n))
        _, first = np.unique(self._products(points).round(9), axis=1, return_index=True)
        return np.sort(first)


class ChosenLibrary(Library):
    """The terms of a library in some of the variables; what ``library.of(0, 2)`` makes.

    Parameters
    ----------
    library : Library
    variables : sequence of int
        Their places among the latent coordinates and, after them, the inputs.

    Examples
    --------
    >>> PolynomialLibrary(2, include_bias=False).of(1).names(["x", "y"])
    ['y', 'y^2']
    """

    def __init__(self, library: Library, variables: Sequence[int]) -> None:
        self.library = library
        self.variables = variables

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the terms, (n_time, n_terms)."""
        return self.library.terms(Z[:, self._places(Z.shape[1])])

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names of the terms."""
        chosen = [variables[i] for i in self._places(len(variables))]
        return self.library.names(chosen, latex=latex)

    def exponents(self, n: int) -> NDArray[np.int64] | None:
        """Powers of all `n` variables, or None where the library is no polynomial."""
        places = self._places(n)
        inner = self.library.exponents(len(places))
        if inner is None:
            return None
        exponents = np.zeros((len(inner), n), dtype=np.int64)
        exponents[:, places] = inner
        return exponents

    def _places(self, n: int) -> list[int]:
        places = list(self.variables)
        if not places or len(set(places)) < len(places) or not set(places) <= set(range(n)):
            raise ValueError(
                f"variables must be different places from 0 to {n - 1}, one or more, but they are "
                f"{places}."
            )
        return places


class FunctionLibrary(Library):
    """Functions of one variable, of each variable in turn.

    Parameters
    ----------
    functions : mapping of str to callable
        By their names, in which ``{}`` stands for the variable. Each maps an array of values of
        the variable to as many values of the term. NumPy's own functions can be saved.

    Examples
    --------
    >>> library = FunctionLibrary({"exp({})": np.exp, "|{}|": np.abs})
    >>> library.names(["x", "y"])
    ['exp(x)', 'exp(y)', '|x|', '|y|']
    >>> library.terms(np.array([[0.0, -2.0]])).round(3)
    array([[1.   , 0.135, 0.   , 2.   ]])
    """

    def __init__(self, functions: Mapping[str, Callable[..., NDArray[np.float64]]]) -> None:
        self.functions = functions

    def terms(self, Z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values of the functions, (n_time, n_terms)."""
        if not self.functions:
            raise ValueError("functions must hold at least one, but it is empty.")
        return np.concatenate([function(Z) for function in self.functions.values()], axis=1)

    def names(self, variables: list[str], *, latex: bool = False) -> list[str]:
        """Names such as ``exp(x)``."""
        return [name.format(variable) for name in self.functions for variable in variables]

    def exponents(self, n: int) -> None:
        """None: a function is no monomial."""
        return None
