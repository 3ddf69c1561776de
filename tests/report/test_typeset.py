from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rom.report.typeset import equation_html


def text(html):
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("−", "-")


@pytest.mark.parametrize(
    ("equation", "html"),
    [
        ("z0[n+1] = z1", "<i>z</i><sub>0</sub>[<i>n</i>+1] ="),
        ("dx/dt = -0.1 x^3", "−0.1 <i>x</i><sup>3</sup>"),
        ("dx/dt = 2 - 1.5e+10 x", "− 1.5 × 10<sup>10</sup> <i>x</i>"),
        ("dx/dt = 2 sin(3 x)", "2 sin(3 <i>x</i>)"),
        ("dx/dt = 2 Nino34", "2 Nino<sub>34</sub>"),
        ("da_1/dt = 0", "d<i>a</i><sub>1</sub>/d<i>t</i> ="),
    ],
)
def test_names_indices_and_powers(equation, html):
    assert f"<span>{html}</span>" in equation_html(equation)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5),
    st.lists(st.sampled_from(["z0", "z12 z3", "sin(2 u0)", "", "x^2 y"]), min_size=5, max_size=5),
)
def test_nothing_is_lost_and_terms_do_not_break(coefficients, names):
    terms = [f"{abs(c):.3g} {n}".rstrip() for c, n in zip(coefficients, names, strict=False)]
    equation = "dz0/dt = " + " - ".join(terms)
    html = equation_html(equation)
    plain = re.sub(r"e([+-]\d+)", lambda m: f" × 10{int(m[1])}", equation).replace("^", "")
    assert text(html).replace("\n", " ") == plain
    assert html.count("<span>") == 1 + len(terms)


@given(st.text())
def test_any_text_is_safe(words):
    html = equation_html(words)
    assert not set(re.findall(r"<(?!/)([^>]*)>", html)) - {"i", "sub", "sup", "span"}
    for tag in ("i", "sub", "sup", "span"):
        assert html.count(f"<{tag}>") == html.count(f"</{tag}>")
