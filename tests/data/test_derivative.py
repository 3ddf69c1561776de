import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rom.data.derivative import derivative

seeds = st.integers(0, 2**32 - 1)


def uneven(rng, n):
    return np.cumsum(rng.uniform(0.5, 1.5, n))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 9), st.integers(2, 30))
def test_exact_for_polynomials_of_degree_below_the_rows(seed, width, n):
    rng = np.random.default_rng(seed)
    t = uneven(rng, n)
    x = (t - t.mean()) / np.ptp(t)
    p = np.polynomial.Polynomial(rng.normal(size=min(width, n)))
    rows, dZ = derivative(p(x)[:, None], t, width=width)
    assert_array_equal(rows, np.arange(n))
    assert_allclose(dZ[:, 0], p.deriv()(x) / np.ptp(t), atol=1e-9)


@pytest.mark.parametrize("width", [3, 5, 7])
def test_order_of_convergence_is_width_minus_one_even_at_the_ends(width):
    def error(n):
        s = np.linspace(0, 1, n)
        t = s + 0.2 * s**2  # smoothly uneven
        return np.abs(
            derivative(np.sin(5 * t)[:, None], t, width=width)[1][:, 0] - 5 * np.cos(5 * t)
        ).max()

    order = np.log2(error(80) / error(159))
    assert order > width - 1.3


def test_pieces_do_not_touch_each_other():
    rng = np.random.default_rng(0)
    t, Z = uneven(rng, 20), rng.normal(size=(20, 2))
    rows, dZ = derivative(Z, t, [slice(0, 8), slice(8, 9), slice(9, 11), slice(11, 20)])
    assert_array_equal(rows, np.delete(np.arange(20), 8))
    assert_array_equal(dZ[:8], derivative(Z[:8], t[:8])[1])
    assert_allclose(dZ[8:10], np.tile((Z[10] - Z[9]) / (t[10] - t[9]), (2, 1)))
    assert_array_equal(dZ[10:], derivative(Z[11:], t[11:])[1])


def test_single_rows_have_no_derivative():
    rows, dZ = derivative(np.ones((2, 3)), np.arange(2.0), [slice(0, 1), slice(1, 2)])
    assert rows.shape == (0,)
    assert dZ.shape == (0, 3)


def test_low_degree_reduces_noise_as_the_savitzky_golay_filter_does():
    from scipy.signal import savgol_filter

    t = np.linspace(0, 5, 200)
    noisy = np.sin(t) + 0.01 * np.random.default_rng(1).normal(size=t.size)
    smooth = derivative(noisy[:, None], t, width=25, degree=3)[1][:, 0]
    rough = derivative(noisy[:, None], t)[1][:, 0]
    filtered = savgol_filter(noisy, 25, 3, deriv=1, delta=t[1], mode="interp")
    assert_allclose(smooth, filtered, atol=1e-10)
    assert np.std(smooth - np.cos(t)) < 0.1 * np.std(rough - np.cos(t))


@pytest.mark.parametrize(("width", "degree"), [(5, 5), (5, 0), (1, None)])
def test_degree_must_fit_the_width(width, degree):
    with pytest.raises(ValueError, match=r"degree must be in 1 … width - 1"):
        derivative(np.zeros((9, 1)), np.arange(9.0), width=width, degree=degree)
