import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp

from rom.base import HasPolynomial
from rom.dynamics import FourierLibrary, PolynomialLibrary, SINDy


def lorenz(_, z):
    x, y, w = z
    return np.array([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w])


def run(rhs, z0, t):
    return solve_ivp(rhs, (t[0], t[-1]), z0, t_eval=t, rtol=1e-11, atol=1e-11).y.T


@pytest.fixture(scope="module")
def lorenz_run():
    t = np.arange(0, 10, 0.002)
    return run(lorenz, [-8.0, 7.0, 27.0], t), t


LORENZ = np.zeros((3, 10))
LORENZ[0, [1, 2]] = -10, 10
LORENZ[1, [1, 2, 6]] = 28, -1, -1
LORENZ[2, [3, 5]] = -8 / 3, 1


@pytest.mark.parametrize("degree", [2, 3])
def test_lorenz_is_found_from_its_states(lorenz_run, degree):
    Z, t = lorenz_run
    model = SINDy(PolynomialLibrary(degree), threshold=0.1).fit(Z, t=t)
    assert_array_equal(model.coef_[:, :10] != 0, LORENZ != 0)
    assert not model.coef_[:, 10:].any()
    assert_allclose(model.coef_[:, :10], LORENZ, atol=1e-4)
    assert model.equations() == [
        "dz0/dt = -10 z0 + 10 z1",
        "dz1/dt = 28 z0 - 1 z1 - 1 z0 z2",
        "dz2/dt = -2.67 z2 + 1 z0 z1",
    ]


def test_given_derivatives_need_no_times(lorenz_run):
    Z, _ = lorenz_run
    y = lorenz(None, Z.T).T
    assert_allclose(SINDy(alpha=0.0).fit(Z, y).coef_, LORENZ, atol=1e-9)


def test_trajectories_of_unequal_length_at_uneven_times_do_not_mix():
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 2, n)) for n in (400, 250)]
    runs = [run(lorenz, z0, t) for z0, t in zip(([1.0, 1, 20], [-5.0, 5, 30]), times, strict=True)]
    label = np.repeat(["a", "b"], [400, 250])
    model = SINDy(threshold=0.2).fit(
        np.concatenate(runs), t=np.concatenate(times), trajectory=label
    )
    assert_allclose(model.coef_, LORENZ, atol=0.05)


def test_inputs_are_further_variables():
    t = np.linspace(0, 20, 2000)
    u = np.sin(0.7 * t)[:, None]
    Z = run(lambda s, z: -0.5 * z + 2 * z * np.sin(0.7 * s) + np.sin(0.7 * s), [1.0], t)
    model = SINDy(threshold=0.05, names=["a", "force"]).fit(Z, t=t, u=u)
    assert model.equations() == ["da/dt = -0.5 a + 1 force + 2 a force"]
    polynomial = model.polynomial()
    value = np.prod(np.hstack([Z, u])[:, None] ** polynomial.exponents, axis=2) @ polynomial.coef.T
    assert_allclose(value, model.predict(Z, u=u), rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="1 inputs, but u was not given"):
        model.predict(Z)


def test_pendulum_needs_a_sine():
    t = np.linspace(0, 20, 1000)
    Z = run(lambda _, z: np.array([z[1], -np.sin(z[0])]), [2.0, 0.0], t)
    library = PolynomialLibrary(1) + FourierLibrary()
    model = SINDy(library, threshold=0.05, names=["angle", "speed"]).fit(Z, t=t)
    assert model.equations() == ["dangle/dt = 1 speed", "dspeed/dt = -1 sin(angle)"]
    assert model.equations(format="latex")[1] == (
        r"\frac{\mathrm{d}}{\mathrm{d}t} speed = -1 \sin(angle)"
    )
    assert isinstance(model, HasPolynomial)
    assert model.polynomial() is None


def test_relative_threshold_ignores_units(lorenz_run):
    Z, t = lorenz_run
    found = []
    for unit in (1e-3, 1.0, 1e3):
        model = SINDy(threshold=0.02, relative_threshold=True).fit(Z * unit, t=t)
        degree = model.polynomial().exponents.sum(axis=1)
        found.append(model.coef_ * unit ** (degree - 1.0))
    assert_allclose(found[0], found[1], rtol=1e-6)
    assert_allclose(found[2], found[1], rtol=1e-6)
    assert_allclose(found[1], LORENZ, atol=1e-3)


def test_relative_error_finds_the_rate_of_small_growth():
    """A limit cycle reached from its unstable fixed point, with what a cubic library lacks."""

    def rhs(_, z):
        r2 = z @ z
        return (0.1 - 0.2 * r2 + 0.15 * r2**2 - 0.05 * r2**3) * z + np.array([-z[1], z[0]])

    t = np.arange(0, 150, 0.1)
    Z = run(rhs, [1e-4, 0.0], t)
    rate = {}
    for relative in (False, True):
        model = SINDy(PolynomialLibrary(3), threshold=0.0, relative_error=relative).fit(Z, t=t)
        rate[relative] = 0.5 * (model.coef_[0, 1] + model.coef_[1, 2])
    assert abs(rate[True] - 0.1) < 0.2 * abs(rate[False] - 0.1)


def test_the_equation_that_thresholding_emptied_is_named(lorenz_run):
    Z, _ = lorenz_run
    y = lorenz(None, Z.T).T * [1.0, 1.0, 1e-3]
    with pytest.warns(UserWarning, match=r"threshold=0.5 dropped every term of 1 of 3 .* number 2"):
        model = SINDy(threshold=0.5).fit(Z, y)
    assert model.equations()[2] == "dz2/dt = 0"


def test_an_equilibrium_needs_no_terms_and_no_warning():
    model = SINDy().fit(np.ones((10, 2)), np.zeros((10, 2)))
    assert not model.coef_.any()


@pytest.mark.parametrize("relative_error", [False, True])
def test_energy_needs_a_polynomial(relative_error):
    Z = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ValueError, match="energy=1 needs a polynomial library"):
        SINDy(FourierLibrary(), energy=1.0, relative_error=relative_error).fit(Z, Z)


def test_wrong_names_are_counted():
    with pytest.raises(ValueError, match="names has 1 names, but there are 2 latent coordinates"):
        SINDy(names=["a"]).fit(np.eye(2), np.eye(2))


def test_continuous_model_without_times_or_derivatives_is_refused():
    with pytest.raises(ValueError, match="Unit spacing is never assumed"):
        SINDy().fit(np.eye(3))
