import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.base import HasPolynomial
from rom.dynamics import PolynomialLibrary, WeakSINDy, weak_rows
from rom.dynamics.windows import support_width
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
    errors = []
    for size in (1e-4, 1e-3, 1e-2):
        noisy = Z + size * noise
        model = WeakSINDy(threshold=0.0, width=0.3).fit(noisy, t=t)
        errors.append(np.abs(model.coef_ - LORENZ).max())
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


def test_noisier_states_get_wider_test_functions(lorenz_run):
    Z, t = lorenz_run
    noise = np.random.default_rng(0).normal(size=Z.shape)
    widths = [support_width(Z + s * noise, t, [slice(0, len(t))]) for s in (1e-3, 0.1, 3.0)]
    assert widths[0] < widths[1] < widths[2]


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


def test_given_derivatives_are_taken_as_they_are(lorenz_run):
    Z, _ = lorenz_run
    assert_allclose(WeakSINDy().fit(Z, lorenz(None, Z.T).T).coef_, LORENZ, atol=1e-9)


def test_input_is_unchanged(lorenz_run):
    Z, t = lorenz_run
    before = Z.copy(), t.copy()
    WeakSINDy().fit(Z, t=t)
    assert_array_equal(Z, before[0])
    assert_array_equal(t, before[1])


def test_an_ensemble_does_not_depend_on_the_rows_held_at_a_time(lorenz_run, monkeypatch):
    Z, t = lorenz_run
    noisy = Z + 0.1 * np.random.default_rng(0).normal(size=Z.shape)
    model = WeakSINDy(threshold=0.5, n_models=10, random_state=0).fit(noisy, t=t)
    monkeypatch.setattr(weak_rows, "GROUP_BYTES", 1)
    fewer = clone(model).fit(noisy, t=t)
    assert_allclose(fewer.coef_, model.coef_, rtol=1e-7)
    assert_allclose(fewer.coef_std_, model.coef_std_, rtol=1e-6, atol=1e-9)
