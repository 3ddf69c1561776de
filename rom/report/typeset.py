"""Equations as HTML that breaks between terms, so that long ones can be read on a phone."""

from __future__ import annotations

import re
from html import escape

# A number, perhaps with a power of ten; a name, perhaps with an index; an exponent; a minus sign.
TOKEN = re.compile(
    r"(?P<mantissa>\d+(?:\.\d+)?)(?:e(?P<ten>[+-]?\d+))?"
    r"|(?P<word>[^\W\d_]+)_?(?P<index>\d+)?"
    r"|\^(?P<power>\d+)"
    r"|(?P<minus>(?<!\w)-(?=[\d.]))"
)
FUNCTIONS = {"sin", "cos", "exp", "log", "tanh"}


def equation_html(equation: str) -> str:
    """An equation of a model, as text, with italic names, indices and powers.

    Parameters
    ----------
    equation : str
        As from ``dynamics.equations()``.

    Returns
    -------
    str
        HTML in which no term breaks in its middle.

    Examples
    --------
    >>> print(equation_html("dz0/dt = -0.5 z0^2 + 1e-05"))
    <span>d<i>z</i><sub>0</sub>/d<i>t</i> =</span>
    <span>−0.5 <i>z</i><sub>0</sub><sup>2</sup></span>
    <span>+ 1 × 10<sup>−5</sup></span>
    """
    left, equals, right = equation.partition(" = ")
    if not equals:
        return f"<span>{_terms(equation)}</span>"
    rate = re.fullmatch(r"d(.+)/dt", left)
    name = f"d{_terms(rate[1])}/d<i>t</i>" if rate else _terms(left)
    parts = [f"{name} =", *map(_terms, re.split(r" (?=[+-] )", right))]
    return "\n".join(f"<span>{part}</span>" for part in parts)


def _terms(text: str) -> str:
    pieces, last = [], 0
    for found in TOKEN.finditer(text):
        pieces += [escape(text[last : found.start()]), _token(found)]
        last = found.end()
    pieces.append(escape(text[last:]))
    return re.sub(r"^- ", "− ", "".join(pieces))


def _token(found: re.Match[str]) -> str:
    if found["minus"]:
        return "−"
    if found["power"]:
        return f"<sup>{found['power']}</sup>"
    if found["mantissa"]:
        if found["ten"] is None:
            return found["mantissa"]
        return f"{found['mantissa']} × 10<sup>{int(found['ten'])}</sup>".replace("-", "−")
    index = "" if found["index"] is None else f"<sub>{found['index']}</sub>"
    word = found["word"]
    # Words of more than three letters are names such as those of indices, which stand upright.
    return (word if word in FUNCTIONS or len(word) > 3 else f"<i>{word}</i>") + index
