from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import PolynomialFeatures

import rom
from rom.dynamics.library import (
    FourierLibrary,
    FunctionLibrary,
    PolynomialLibrary,
    monomial_names,
    powers,
)

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
        PolynomialLibrary(2) * FourierLibrary(2).of(1),
        FunctionLibrary({"exp({})": np.exp}) * PolynomialLibrary(1),
    ):
        x, y = Z[:, 0], Z[:, 1]
        names = [
            name.replace("^", "**").replace(" ", "*") or "x**0"
            for name in library.names(["x", "y"])
        ]
        values = [
            eval(name, {"x": x, "y": y, "sin": np.sin, "cos": np.cos, "exp": np.exp})
            for name in names
        ]
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


@given(st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
def test_a_product_of_polynomials_has_each_monomial_once(n, first, second):
    both = PolynomialLibrary(first) * PolynomialLibrary(second)
    found = set(map(tuple, both.exponents(n)))
    assert len(found) == len(both.exponents(n)) == comb(n + first + second, n)
    assert found == set(map(tuple, PolynomialLibrary(first + second).exponents(n)))


def test_a_product_of_waves_has_each_pair_once():
    both = FourierLibrary() * FourierLibrary()
    assert both.names(["x"]) == ["sin(x) sin(x)", "sin(x) cos(x)", "cos(x) cos(x)"]


def test_a_tensor_product_finds_an_oscillator_whose_stiffness_follows_an_input(tmp_path):
    """x'' = -(1 + cos(a)/2) x: a library of states times one of the input, nothing else."""
    rng = np.random.default_rng(0)
    Z, a = rng.normal(size=(300, 2)), rng.uniform(0, 2 * np.pi, (300, 1))
    y = np.stack([Z[:, 1], -(1 + np.cos(a[:, 0]) / 2) * Z[:, 0]], axis=1)
    angle = PolynomialLibrary(0).of(2) + FourierLibrary().of(2)
    library = PolynomialLibrary(1, include_bias=False).of(0, 1) * angle
    model = rom.SINDy(library, threshold=0.1, names=["x", "v", "a"]).fit(Z, y, u=a)
    assert_allclose(model.coef_, [[0, 0, 0, 1, 0, 0], [-1, 0, -0.5, 0, 0, 0]], atol=1e-12)
    states = np.cumsum(Z, axis=0)
    t = np.arange(300.0)
    saved = rom.ROM(rom.Identity(), rom.SINDy(library, threshold=1e-3)).fit(states, t=t, u=a)
    saved.save(tmp_path / "m.nc")
    loaded = rom.load(tmp_path / "m.nc").dynamics_
    assert_array_equal(loaded.predict(Z, u=a), saved.dynamics_.predict(Z, u=a))


def test_functions_of_ones_own_are_fitted_and_those_of_numpy_saved(tmp_path):
    z = np.linspace(-1, 1, 50)[:, None]
    library = FunctionLibrary({"exp({})": np.exp, "tanh({})": np.tanh})
    model = rom.SINDy(library, threshold=0.1).fit(z, 2 * np.exp(z) - np.tanh(z))
    assert_allclose(model.coef_, [[2, -1]], rtol=1e-7)  # the ridge's
    fitted = rom.ROM(rom.Identity(), model).fit(z, t=np.arange(50.0) / 100)
    fitted.save(tmp_path / "m.nc")
    assert rom.load(tmp_path / "m.nc").dynamics_.library.functions == library.functions
    own = rom.SINDy(FunctionLibrary({"2 {}": lambda x: 2 * x}), threshold=0.0)
    with pytest.raises(TypeError, match="cannot be saved"):
        rom.ROM(rom.Identity(), own).fit(z, t=np.arange(50.0) / 100).save(tmp_path / "own.nc")


@pytest.mark.parametrize("places", [(), (0, 0), (3,), (-1,)])
def test_variables_that_are_not_there_are_refused(places):
    with pytest.raises(ValueError, match="different places from 0 to 2"):
        PolynomialLibrary(1).of(*places).terms(Z)


def test_no_functions_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        FunctionLibrary({}).terms(Z)
