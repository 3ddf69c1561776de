from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import PolynomialFeatures

from rom.dynamics.library import FourierLibrary, PolynomialLibrary, monomial_names, powers

Z = np.random.default_rng(0).normal(size=(20, 3))


@given(st.integers(1, 4), st.integers(0, 4))
def test_order_and_powers_are_those_of_scikit_learn(n, degree):
    features = PolynomialFeatures(degree).fit(np.zeros((1, n)))
    assert_array_equal(PolynomialLibrary(degree).exponents(n), features.powers_)


@given(st.integers(1, 5), st.integers(0, 5))
def test_number_of_monomials(n, degree):
    assert len(powers(n, degree)) == comb(n + degree - 1, degree)


@pytest.mark.parametrize("include_bias", [True, False])
def test_terms_are_the_monomials_of_the_exponents(include_bias):
    library = PolynomialLibrary(3, include_bias=include_bias)
    expected = np.prod(Z[:, None] ** library.exponents(3), axis=2)
    assert_allclose(library.terms(Z), expected, rtol=1e-13)


def test_names_say_what_the_terms_are():
    for library in (
        PolynomialLibrary(3),
        FourierLibrary(2),
        PolynomialLibrary(1) + FourierLibrary(),
    ):
        x, y = Z[:, 0], Z[:, 1]
        names = [
            name.replace("^", "**").replace(" ", "*") or "x**0"
            for name in library.names(["x", "y"])
        ]
        values = [eval(name, {"x": x, "y": y, "sin": np.sin, "cos": np.cos}) for name in names]
        assert_allclose(library.terms(Z[:, :2]), np.stack(values, axis=1), rtol=1e-12)


def test_latex_names():
    assert monomial_names(["a_1", "b"], np.array([[2, 1]]), latex=True) == ["a_1^{2} b"]
    assert FourierLibrary(2).names(["b"], latex=True)[2:] == [r"\sin(2 b)", r"\cos(2 b)"]


def test_a_sum_has_the_terms_of_both_and_is_polynomial_only_if_both_are():
    first, second = PolynomialLibrary(1), PolynomialLibrary(2, include_bias=False)
    both = first + second
    assert_array_equal(both.terms(Z), np.hstack([first.terms(Z), second.terms(Z)]))
    assert_array_equal(both.exponents(3), np.vstack([first.exponents(3), second.exponents(3)]))
    assert (first + FourierLibrary()).exponents(3) is None


@pytest.mark.parametrize(
    "library",
    [PolynomialLibrary(-1), PolynomialLibrary(0, include_bias=False), FourierLibrary(0)],
)
def test_libraries_without_terms_are_refused(library):
    with pytest.raises(ValueError, match="must be >="):
        library.terms(Z)
