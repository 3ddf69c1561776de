import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rom.dynamics import SINDy
from rom.dynamics.equations import equations, variable_names

printable = st.text(string.printable[:95], min_size=1).filter(str.strip)


@pytest.mark.parametrize(
    ("names", "n_inputs", "message"),
    [
        (["x", "x"], 0, r"must differ, but 'x' comes 2 times in \['x', 'x'\]"),
        (["x", "u0"], 1, r"must differ, but 'u0' comes 2 times in \['x', 'u0', 'u0'\]"),
        (["x", ""], 0, r"names\[1\] is ''"),
        ([" ", "x"], 0, r"names\[0\] is ' '"),
        (["x", "y\n"], 0, r"names\[1\] is 'y\\n'"),
        (["x", 1], 0, r"names\[1\] is 1"),
        (["x"], 0, "names has 1 names, but there are 2 latent coordinates"),
    ],
)
def test_names_that_would_mislead_are_refused(names, n_inputs, message):
    with pytest.raises(ValueError, match=message):
        variable_names(names, 2, n_inputs)


def test_a_fit_refuses_them():
    with pytest.raises(ValueError, match="'a' comes 2 times"):
        SINDy(names=["a", "a"]).fit(np.eye(2), np.eye(2))


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("a1", "a_{1}"),
        ("a_12", "a_{12}"),
        ("shift", "shift"),
        ("a_", r"\mathrm{a\_}"),
        ("sea_level", r"\mathrm{sea\_level}"),
        ("50 % of $x", r"\mathrm{50\ \%\ of\ \$x}"),
        ("{a}\\b", r"\mathrm{\{a\}{\backslash}b}"),
        ("a^b~c", r"\mathrm{a{\wedge}b{\sim}c}"),
        ("R&D #1", r"\mathrm{R\&D\ \#1}"),
    ],
)
def test_latex_of_names(name, latex):
    assert variable_names([name], 1, 0, latex=True) == [latex]
    assert variable_names([name], 1, 0) == [name]


@given(printable)
def test_latex_of_any_name_has_no_bare_special_and_balanced_braces(name):
    latex = variable_names([name], 1, 0, latex=True)[0]
    bare = re.sub(r"\\([A-Za-z]+|.)", "", latex)
    assert not re.search(r'[$%&#^~\\"`]', bare)
    assert re.fullmatch(r"[A-Za-z]+_\{[0-9]+\}|[^_]*", bare)
    depth = np.cumsum([(c == "{") - (c == "}") for c in bare])
    assert depth[-1] == 0
    assert (depth >= 0).all()


@settings(deadline=None)
@given(printable)
def test_latex_of_any_name_is_read_by_matplotlib(name):
    mathtext = pytest.importorskip("matplotlib.mathtext")
    name = re.sub("[&#]", "+", name)  # of LaTeX's \& and \# matplotlib knows neither
    left = variable_names([name], 1, 0, latex=True)
    terms = [f"{left[0]}^{{2}}"]
    text = equations(np.array([[-0.5]]), terms, left, time="continuous", format="latex")[0]
    mathtext.MathTextParser("path").parse(f"${text}$")
