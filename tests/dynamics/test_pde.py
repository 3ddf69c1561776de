import numpy as np
import pytest
import xarray as xr
from numpy.polynomial import Polynomial
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from rom.dynamics.pde import WeakPDE, along, bump_derivative, window_matrices
from rom.fom import Burgers, KuramotoSivashinsky


@pytest.fixture(scope="module")
def burgers():
    model = Burgers(viscosity=0.02, n=128)
    return model.simulate(model.initial_state(), np.linspace(0, 1, 201))


@pytest.fixture(scope="module")
def kuramoto():
    model = KuramotoSivashinsky(length=64.0, n=192)
    start = model.simulate(model.initial_state(), np.array([0.0, 100.0]))[-1]
    return model.simulate(start, np.arange(0, 40, 0.1))


def found(model):
    return {name: c for name, c in zip(model.terms_, model.coef_.tolist(), strict=True) if c}


def noisy(u, share):
    noise = np.random.default_rng(0).normal(size=u.shape)
    return u + share * float(u.std()) * noise


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_the_bump(order):
    s = np.linspace(-0.7, 0.7, 11)
    expected = (
        (Polynomial([1, 0, -1]) ** 16).deriv(order) if order else Polynomial([1, 0, -1]) ** 16
    )
    assert_allclose(bump_derivative(s, order), expected(s), rtol=1e-7, atol=1e-7)
    assert_array_equal(bump_derivative(np.array([-1.0, 1.0]), order), 0.0)


def test_integration_by_parts_is_exact():
    """∫ φ dᵏf = (-1)ᵏ ∫ φ⁽ᵏ⁾ f, for k to 4, on samples."""
    x = np.linspace(0, 4, 201)
    matrices = window_matrices(201, x[1] - x[0], 1.6, range(5))
    size = np.abs(matrices[0] @ np.sin(2 * x)).max()
    for k, matrix in enumerate(matrices):
        derivative = 2.0**k * np.sin(2 * x + k * np.pi / 2)
        assert_allclose(matrix @ np.sin(2 * x), matrices[0] @ derivative, atol=1e-9 * 2**k * size)


def test_products_along_an_axis():
    field = np.random.default_rng(0).normal(size=(40, 30, 20))
    matrix = window_matrices(30, 0.1, 1.0, [0])[0]
    assert_allclose(along(matrix, field, 1), np.einsum("wn,tnx->twx", matrix.toarray(), field))


def test_clean_burgers(burgers):
    model = WeakPDE().fit(burgers)
    assert found(model).keys() == {"u u_x", "u_xx"}
    assert_allclose([found(model)["u u_x"], found(model)["u_xx"]], [-1, 0.02], rtol=1e-5)


def test_burgers_with_noise(burgers):
    model = WeakPDE(order=2).fit(noisy(burgers, 0.1))
    assert found(model).keys() == {"u u_x", "u_xx"}
    assert_allclose([found(model)["u u_x"], found(model)["u_xx"]], [-1, 0.02], rtol=0.02)


@pytest.mark.parametrize(("share", "error"), [(0.0, 1e-5), (0.01, 2e-3), (0.1, 1e-2)])
def test_kuramoto_sivashinsky(kuramoto, share, error):
    model = WeakPDE().fit(noisy(kuramoto, share))
    assert found(model).keys() == {"u u_x", "u_xx", "u_xxxx"}
    assert_allclose(list(found(model).values()), -1.0, rtol=error)


def test_units_rescale_the_coefficients(burgers):
    scaled = (5.0 * burgers).assign_coords(time=10.0 * burgers.time, x=0.1 * burgers.x)
    model = WeakPDE(order=2).fit(scaled)
    assert_allclose(found(model)["u u_x"], -1 / 5 * 0.1 / 10, rtol=1e-5)
    assert_allclose(found(model)["u_xx"], 0.02 * 0.1**2 / 10, rtol=1e-5)


def test_two_axes_of_space_and_plain_arrays():
    """A drifting, spreading Gaussian: ∂u/∂t = -0.4 u_x + 0.3 u_y + 0.05 (u_xx + u_yy)."""
    t, x, y = np.linspace(0, 1, 41), np.linspace(-3, 3, 61), np.linspace(-3, 3, 65)
    T, X, Y = np.meshgrid(t, x, y, indexing="ij")
    spread = 0.2 + 4 * 0.05 * T
    u = np.exp(-((X - 0.4 * T) ** 2 + (Y + 0.3 * T) ** 2) / spread) / spread
    before = u.copy()
    model = WeakPDE(order=2).fit(u, t=t, x=[x, y])
    assert_array_equal(u, before)
    assert found(model).keys() == {"u_x", "u_y", "u_xx", "u_yy"}
    values = [found(model)[name] for name in ("u_x", "u_y", "u_xx", "u_yy")]
    assert_allclose(values, [-0.4, 0.3, 0.05, 0.05], rtol=1e-4)


def test_labels_name_the_terms(burgers):
    model = WeakPDE(order=2).fit(burgers.rename(x="depth"))
    assert model.equation(precision=2) == "du/dt = 0.02 u_depth_depth - 1 u u_depth"


def test_widths_can_be_set_and_are_checked(burgers):
    model = WeakPDE(order=2, widths=(0.4, 0.3)).fit(burgers)
    assert_array_equal(model.widths_, [0.4, 0.3])
    with pytest.raises(ValueError, match="widths must be 2 positive numbers"):
        WeakPDE(widths=(0.4, 30.0)).fit(burgers)


def test_bad_fields_are_refused(burgers):
    with pytest.raises(ValueError, match="lengths are \\[0\\]"):
        WeakPDE().fit(burgers.to_numpy())
    with pytest.raises(ValueError, match="1 values are not finite"):
        WeakPDE().fit(xr.where(burgers == burgers[3, 4], np.nan, burgers))
    with pytest.raises(ValueError, match="The grid must be regular"):
        WeakPDE().fit(burgers.isel(time=np.r_[0:50, 60:120]))
    with pytest.raises(ValueError, match="'degree' parameter"):
        WeakPDE(degree=0).fit(burgers)


def test_clone_keeps_parameters():
    model = WeakPDE(3, 2, threshold="aicc", solver="forward", widths=(1.0, 2.0))
    assert clone(model).get_params() == model.get_params()
