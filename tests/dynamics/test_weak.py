import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import chebval
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad, solve_ivp
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.base import HasPolynomial
from rom.dynamics import PolynomialLibrary, weak
from rom.dynamics.library import monomials
from rom.dynamics.regression import ridge
from rom.dynamics.weak import WeakSINDy, quadrature, spectrum_corner, support_width, weak_rows
from rom.rollout.run import rollout

LORENZ = np.zeros((3, 10))
LORENZ[0, [1, 2]] = -10, 10
LORENZ[1, [1, 2, 6]] = 28, -1, -1
LORENZ[2, [3, 5]] = -8 / 3, 1


def lorenz(_, z):
    x, y, w = z
    return np.array([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w])


def run(rhs, z0, t):
    return solve_ivp(rhs, (t[0], t[-1]), z0, "DOP853", t_eval=t, rtol=1e-12, atol=1e-12).y.T


@pytest.fixture(scope="module")
def lorenz_run():
    t = np.linspace(0, 10, 2001)
    return run(lorenz, [-8.0, 7.0, 27.0], t), t


@parametrize_with_checks([WeakSINDy(threshold=0.0)])
def test_sklearn(estimator, check):
    check(estimator)


def test_matrices_integrate_against_a_function_and_its_derivative():
    """Both integrals of a wave, by a general quadrature, up to the common scale of a row."""
    t, centre, width = np.linspace(0, 3, 301), 1.234, 1.1
    value, slope = weak.test_functions(t, np.array([centre]), width)

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


@given(rank=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_parts_hold_for_even_samples_of_waves(rank, seed):
    """The rows of θ = dz/dt and of z are the same numbers: no derivative was estimated."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1, 2, 151)
    frequency, phase = rng.uniform(0.5, 6, rank), rng.uniform(0, 6, rank)
    Z = np.sin(frequency * t[:, None] + phase)
    dZ = frequency * np.cos(frequency * t[:, None] + phase)
    A, Y = weak_rows(dZ.__getitem__, Z, t, [slice(0, 151)], width=0.9)
    assert_allclose(A, Y, atol=1e-9 * np.abs(Y).max())


def test_gathered_points_have_the_moments_of_their_samples():
    """With any polynomial of degree 15, in whole blocks of samples and in the rest after them."""
    samples = np.random.default_rng(0).normal(size=(1010, 2))
    (points,) = weak.gather(100, samples)
    place = (100 * (np.arange(12)[:, None] + (1 + weak.CHEBYSHEV) / 2) - 0.5).ravel()
    for degree in range(16):
        factor = chebval(np.arange(1010) / 505 - 1, np.eye(16)[degree])
        at_points = chebval(place / 505 - 1, np.eye(16)[degree])
        assert_allclose(at_points @ points, factor @ samples, atol=1e-11)


def test_long_windows_that_overlap_are_integrated_to_rounding():
    """Of noise as of waves: gathered samples and all of them give the same integrals."""
    t = np.linspace(0, 20, 20001)
    Z = np.sin(t)[:, None] + np.random.default_rng(0).normal(size=(20001, 2))
    A, Y = weak_rows(Z.__getitem__, Z, t, [slice(0, 20001)], width=6.0, n_windows=60)
    first = np.rint(np.linspace(0, 20001 - 6001, 60)).astype(int)
    value, slope = weak.test_functions(t, t[first] + 3.0, 6.0)
    assert_allclose(A, value @ Z, atol=1e-12 * np.abs(A).max())
    assert_allclose(Y, slope @ Z, atol=1e-12 * np.abs(Y).max())


@pytest.mark.parametrize("n", [100, 200, 400])
def test_uneven_quadrature_is_exact_for_cubics(n):
    t = np.sort(np.random.default_rng(n).uniform(0, 1, n))
    weights = quadrature(t)
    for power in range(4):
        exact = (t[-1] ** (power + 1) - t[0] ** (power + 1)) / (power + 1)
        assert_allclose(weights @ t**power, exact, rtol=1e-10)


def test_uneven_times_converge_with_fourth_order():
    errors = []
    for n in (200, 400, 800):
        base = np.linspace(0, 3, n)
        t = base + 0.3 * (base[1] - base[0]) * np.sin(40 * base)
        A, Y = weak_rows(
            np.cos(t)[:, None].__getitem__, np.sin(t)[:, None], t, [slice(0, n)], width=1.0
        )
        size = np.sqrt(np.mean(Y**2))
        errors.append(np.sqrt(np.mean((A - Y) ** 2)) / size)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders.min() > 3.5
    assert errors[-1] < 1e-5


def test_white_noise_has_unit_variance_in_every_row():
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 10, 500))
    noise = rng.normal(size=(500, 4000))
    Y = weak_rows(noise[:, :1].__getitem__, noise, t, [slice(0, 500)], width=2.0, n_windows=40)[1]
    assert_allclose(Y.std(axis=1), 1.0, atol=0.05)


def test_clean_lorenz_is_found_to_many_digits(lorenz_run):
    Z, t = lorenz_run
    model = WeakSINDy().fit(Z, t=t)
    assert_allclose(model.coef_, LORENZ, atol=1e-8)
    assert isinstance(model, HasPolynomial)
    forecast = rollout(model, Z[0], t[:201])
    assert_allclose(forecast.z, Z[:201], atol=1e-4)


def test_noise_is_averaged(lorenz_run):
    """With 2 % noise the right terms come out, and coefficients within 5 %."""
    Z, t = lorenz_run
    noisy = Z + 0.02 * Z.std() * np.random.default_rng(0).normal(size=Z.shape)
    model = WeakSINDy(threshold=0.5).fit(noisy, t=t)
    assert_array_equal(model.coef_ != 0, LORENZ != 0)
    assert_allclose(model.coef_, LORENZ, rtol=0.05)


def test_error_is_linear_in_small_noise(lorenz_run):
    Z, t = lorenz_run
    noise = np.random.default_rng(0).normal(size=Z.shape)
    true, exponents = LORENZ, PolynomialLibrary(2).exponents(3)
    errors = []
    for size in (1e-4, 1e-3, 1e-2):
        noisy = Z + size * noise
        A, Y = weak_rows(
            monomials(noisy, exponents).__getitem__, noisy, t, [slice(0, len(t))], width=0.3
        )
        errors.append(np.abs(ridge(A, Y) - true).max())
    assert_allclose(np.log10(np.array(errors[1:]) / errors[:-1]), 1.0, atol=0.1)


def test_trajectories_at_uneven_times_do_not_mix():
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 4, n)) for n in (1600, 1200)]
    runs = [run(lorenz, z0, t) for z0, t in zip(([1.0, 1, 20], [-5.0, 5, 30]), times, strict=True)]
    label = np.repeat(["a", "b"], [1600, 1200])
    model = WeakSINDy(threshold=0.2, width=0.4).fit(
        np.concatenate(runs), t=np.concatenate(times), trajectory=label
    )
    assert_allclose(model.coef_, LORENZ, atol=0.05)


def test_inputs_are_further_variables():
    t = np.linspace(0, 20, 2000)
    u = np.sin(0.7 * t)[:, None]
    Z = run(lambda s, z: -0.5 * z + 2 * z * np.sin(0.7 * s) + np.sin(0.7 * s), [1.0], t)
    model = WeakSINDy(threshold=0.05, names=["a", "force"]).fit(Z, t=t, u=u)
    assert model.equations() == ["da/dt = -0.5 a + 1 force + 2 a force"]


def test_units_of_time_and_state_do_not_matter(lorenz_run):
    Z, t = lorenz_run
    noisy = Z + np.random.default_rng(0).normal(size=Z.shape)
    model = WeakSINDy(threshold="aicc", solver="forward").fit(noisy, t=t)
    scaled = WeakSINDy(threshold="aicc", solver="forward").fit(noisy * 1e-3, t=t * 1e4)
    degree = model.polynomial().exponents.sum(axis=1)
    assert_allclose(scaled.width_, 1e4 * model.width_)
    assert_allclose(scaled.coef_ * 1e4 * 1e-3 ** (degree - 1.0), model.coef_, rtol=1e-6, atol=1e-9)


def test_corner_is_where_the_noise_begins():
    t = np.arange(0, 50, 0.01)
    waves = np.stack([np.sin(2 * np.pi * f * t) for f in (0.5, 2.0, 8.0)]).sum(axis=0)
    noise = np.random.default_rng(0).normal(size=len(t))
    assert_allclose(spectrum_corner((waves + 0.1 * noise)[:, None], t), 8.0, atol=0.1)
    assert spectrum_corner(np.ones((100, 1)), t[:100]) == 0.0


def test_noisier_states_get_wider_test_functions(lorenz_run):
    Z, t = lorenz_run
    noise = np.random.default_rng(0).normal(size=Z.shape)
    widths = [support_width(Z + s * noise, t, [slice(0, len(t))]) for s in (1e-3, 0.1, 3.0)]
    assert widths[0] < widths[1] < widths[2]


def test_many_rows_have_the_width_of_their_whole_spectrum_or_the_narrowest():
    t = 0.01 * np.arange(3 * weak.GLIMPSE)
    wave = np.sin(2 * np.pi * 0.5 * t)[:, None]
    noise = np.random.default_rng(0).normal(size=wave.shape)
    whole = [slice(0, len(t))]
    assert support_width(wave + noise, t, whole) == weak.PASS / spectrum_corner(wave + noise, t)
    assert_allclose(support_width(np.sin(1e3 * wave), t, whole), 0.32)


def test_short_stretches_are_left_out_and_said():
    t = np.concatenate([np.linspace(0, 5, 501), np.linspace(9, 9.2, 21)])
    Z = np.exp(-t)[:, None]
    with pytest.warns(UserWarning, match="21 of 522 rows are in stretches shorter"):
        model = WeakSINDy(PolynomialLibrary(1), width=1.0).fit(Z, t=t)
    assert_allclose(model.coef_, [[0, -1]], atol=1e-9)


def test_a_width_that_nothing_holds_is_refused():
    t = np.linspace(0, 1, 50)
    with pytest.raises(ValueError, match=r"3 wide, but the longest of the 1 stretches .* lasts 1"):
        WeakSINDy(width=3.0).fit(np.sin(t)[:, None], t=t)
    with pytest.raises(ValueError, match="Set a smaller width"):
        WeakSINDy().fit(np.eye(3), t=[0.0, 0.0, 0.0], trajectory=[0, 1, 2])


def test_number_of_windows():
    t = np.linspace(0, 10, 1001)
    pieces = [slice(0, 601), slice(601, 1001)]
    A, Y = weak_rows(np.ones((1001, 1)).__getitem__, t[:, None], t, pieces, width=1.0, n_windows=80)
    assert abs(len(A) - 80) <= 1
    assert_allclose(A, Y)  # dt/dt = 1


def test_given_derivatives_are_taken_as_they_are(lorenz_run):
    Z, _ = lorenz_run
    assert_allclose(WeakSINDy().fit(Z, lorenz(None, Z.T).T).coef_, LORENZ, atol=1e-9)


def test_input_is_unchanged(lorenz_run):
    Z, t = lorenz_run
    before = Z.copy(), t.copy()
    WeakSINDy().fit(Z, t=t)
    assert_array_equal(Z, before[0])
    assert_array_equal(t, before[1])
