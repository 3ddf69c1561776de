"""A fitted right-hand side in words: text or LaTeX, one equation per latent coordinate."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rom.base import Polynomial
from rom.dynamics.library import monomial_names

Format = Literal["text", "latex"]

# What may not stand as it is inside \mathrm{...}.
ESCAPES = str.maketrans(
    {c: f"\\{c}" for c in " _{}$%&#"}
    | {"\\": r"{\backslash}", "^": r"{\wedge}", "~": r"{\sim}", '"': "''", "`": "'"}
)


def variable_names(
    names: Sequence[str] | None, rank: int, n_inputs: int, *, latex: bool = False
) -> list[str]:
    r"""Names of latent coordinates and inputs: `names`, or z0, z1, … and u0, u1, …

    `names` may end before the inputs. In LaTeX the number that ends a word becomes a subscript;
    names of other kinds stand upright, their special characters escaped.

    Raises
    ------
    ValueError
        If the names are not as many as the variables, not all different, or not all printable
        text.

    Examples
    --------
    >>> variable_names(["a1", "shift"], 2, 1, latex=True)
    ['a_{1}', 'shift', 'u_{0}']
    >>> print(*variable_names(["50 % line"], 1, 0, latex=True))
    \mathrm{50\ \%\ line}
    """
    given = [f"z{i}" for i in range(rank)] if names is None else list(names)
    if len(given) not in (rank, rank + n_inputs):
        raise ValueError(
            f"names has {len(given)} names, but there are {rank} latent coordinates"
            + (f" and {n_inputs} inputs." if n_inputs else ".")
        )
    given += [f"u{i}" for i in range(n_inputs)][len(given) - rank :]
    for i, name in enumerate(given):
        if not (isinstance(name, str) and name.strip() and name.isprintable()):
            raise ValueError(f"names must be printable text, but names[{i}] is {name!r}.")
        if name in given[:i]:
            raise ValueError(
                f"The names of latent coordinates and inputs must differ, but {name!r} comes "
                f"{given.count(name)} times in {given}."
            )
    return [_latex(name) for name in given] if latex else given


def _latex(name: str) -> str:
    simple = re.fullmatch(r"([A-Za-z]+)(?:_?([0-9]+))?", name)
    if simple is None:
        return rf"\mathrm{{{name.translate(ESCAPES)}}}"
    word, number = simple.groups()
    return word if number is None else f"{word}_{{{number}}}"


def equations(
    coef: NDArray[np.float64],
    terms: Sequence[str],
    targets: Sequence[str],
    *,
    time: Literal["continuous", "discrete"],
    format: Format = "text",
    precision: int = 3,
) -> list[str]:
    """One equation per target, without the terms whose coefficient is zero.

    Parameters
    ----------
    coef : ndarray, shape (n_targets, n_terms)
    terms : sequence of str
        Names of the terms, "" for the constant 1.
    targets : sequence of str
        Names of the targets.
    time : {"continuous", "discrete"}
        Whether the left-hand sides are derivatives or the next state.
    format : {"text", "latex"}, optional
    precision : int, optional
        Significant digits.

    Returns
    -------
    list of str

    Examples
    --------
    >>> equations(np.array([[0.5, 0.0, -2.0]]), ["", "x", "x^2"], ["x"], time="continuous")
    ['dx/dt = 0.5 - 2 x^2']
    """
    if format not in ("text", "latex"):
        raise ValueError(f'format must be "text" or "latex", but it is {format!r}.')
    left = {
        ("continuous", "text"): "d{}/dt",
        ("discrete", "text"): "{}[n+1]",
        ("continuous", "latex"): r"\frac{{\mathrm{{d}}}}{{\mathrm{{d}}t}} {}",
        ("discrete", "latex"): r"\left({}\right)^{{+}}",
    }[time, format]
    return [
        f"{left.format(name)} = {_sum(row, terms, format, precision)}"
        for name, row in zip(targets, coef, strict=True)
    ]


def polynomial_equations(
    polynomial: Polynomial,
    names: Sequence[str] | None,
    *,
    time: Literal["continuous", "discrete"],
    format: Format = "text",
    precision: int = 3,
) -> list[str]:
    """Equations of a polynomial right-hand side; see :func:`equations`."""
    rank, n = len(polynomial.coef), polynomial.exponents.shape[1]
    latex = format == "latex"
    variables = variable_names(names, rank, n - rank, latex=latex)
    terms = monomial_names(variables, polynomial.exponents, latex=latex)
    return equations(
        polynomial.coef, terms, variables[:rank], time=time, format=format, precision=precision
    )


def _sum(row: NDArray[np.float64], terms: Sequence[str], format: Format, precision: int) -> str:
    text = ""
    for c, term in zip(row.tolist(), terms, strict=True):
        if c:
            sign = (" - " if c < 0 else " + ") if text else ("-" if c < 0 else "")
            text += f"{sign}{_number(abs(c), format, precision)} {term}".rstrip()
    return text or "0"


def _number(value: float, format: Format, precision: int) -> str:
    text = f"{value:.{precision}g}"
    if format == "latex" and "e" in text:
        mantissa, exponent = text.split("e")
        return rf"{mantissa} \times 10^{{{int(exponent)}}}"
    return text


class PolynomialEquations(ABC):
    """What a model writes out whose right-hand side is a polynomial."""

    names: Sequence[str] | None
    time: ClassVar[Literal["continuous", "discrete"]]

    @abstractmethod
    def polynomial(self) -> Polynomial:
        """The right-hand side."""

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
