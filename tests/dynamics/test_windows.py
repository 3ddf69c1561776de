import numpy as np
import pytest
from numpy.polynomial import Polynomial
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad

from rom.dynamics import windows
from rom.dynamics.windows import bump_derivative, quadrature, spectrum_corner, support_width


def test_matrices_integrate_against_a_function_and_its_derivative():
    """Both integrals of a wave, by a general quadrature, up to the common scale of a row."""
    t, centre, width = np.linspace(0, 3, 301), 1.234, 1.1
    value, slope = windows.test_functions(t, np.array([centre]), width)

    def bump(x):
        return (1 - (2 * (x - centre) / width) ** 2) ** 16

    def bump_slope(x):
        s = 2 * (x - centre) / width
        return -32 * s * (1 - s**2) ** 15 * 2 / width

    def wave(x):
        return np.sin(3 * x)

    ends = centre - width / 2, centre + width / 2
    by_parts = -quad(lambda x: bump_slope(x) * wave(x), *ends, epsabs=1e-13)[0]
    plain = quad(lambda x: bump(x) * wave(x), *ends, epsabs=1e-13)[0]
    assert_allclose((slope @ wave(t)) / (value @ wave(t)), by_parts / plain, rtol=1e-9)
    assert_allclose(slope.multiply(slope).sum(), 1.0)


@pytest.mark.parametrize("n", [100, 200, 400])
def test_uneven_quadrature_is_exact_for_cubics(n):
    t = np.sort(np.random.default_rng(n).uniform(0, 1, n))
    weights = quadrature(t)
    for power in range(4):
        exact = (t[-1] ** (power + 1) - t[0] ** (power + 1)) / (power + 1)
        assert_allclose(weights @ t**power, exact, rtol=1e-10)


def test_corner_is_where_the_noise_begins():
    t = np.arange(0, 50, 0.01)
    waves = np.stack([np.sin(2 * np.pi * f * t) for f in (0.5, 2.0, 8.0)]).sum(axis=0)
    noise = np.random.default_rng(0).normal(size=len(t))
    assert_allclose(spectrum_corner((waves + 0.1 * noise)[:, None], t), 8.0, atol=0.1)
    assert spectrum_corner(np.ones((100, 1)), t[:100]) == 0.0


def test_the_corner_is_the_median_of_those_of_the_coordinates(monkeypatch):
    t, noise = np.arange(0, 50, 0.01), 1e-2 * np.random.default_rng(0).normal(size=(5000, 5))
    Z = np.stack([np.sin(2 * np.pi * f * t) for f in (1.0, 2.0, 4.0, 8.0, 16.0)], axis=1) + noise
    assert_allclose(spectrum_corner(Z, t), 4.0, atol=0.1)
    monkeypatch.setattr(windows, "SPECTRA_BYTES", 1)
    assert_allclose(spectrum_corner(Z, t), 4.0, atol=0.1)


def test_many_rows_have_the_width_of_their_whole_spectrum_or_the_narrowest():
    t = 0.01 * np.arange(3 * windows.GLIMPSE)
    wave = np.sin(2 * np.pi * 0.5 * t)[:, None]
    noise = np.random.default_rng(0).normal(size=wave.shape)
    whole = [slice(0, len(t))]
    assert support_width(wave + noise, t, whole) == windows.PASS / spectrum_corner(wave + noise, t)
    assert_allclose(support_width(np.sin(1e3 * wave), t, whole), 0.32)


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_the_bump(order):
    s = np.linspace(-0.7, 0.7, 11)
    expected = (
        (Polynomial([1, 0, -1]) ** 16).deriv(order) if order else Polynomial([1, 0, -1]) ** 16
    )
    assert_allclose(bump_derivative(s, order), expected(s), rtol=1e-7, atol=1e-7)
    assert_array_equal(bump_derivative(np.array([-1.0, 1.0]), order), 0.0)
