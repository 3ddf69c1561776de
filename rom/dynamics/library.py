"""Candidate terms: functions of latent state and inputs that a right-hand side may consist of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from itertools import combinations_with_replacement

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
    values = np.ones((len(exponents), len(Z)))
    terms, variables = np.nonzero(exponents)
    power = exponents[terms, variables]
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
    """A list of candidate terms of ``n`` variables; ``a + b`` has the terms of both.

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
