import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from sklearn.base import clone

from rom.base import HasPolynomial
from rom.dynamics import FourierLibrary, PolynomialLibrary, SINDy
from rom.dynamics.sindy import DiscreteSINDy


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


@pytest.mark.parametrize("solver", ["stlsq", "sr3", "forward", "subset", "linbreg"])
@pytest.mark.parametrize("threshold", [0.1, "bic"])
def test_every_solver_finds_lorenz(lorenz_run, solver, threshold):
    Z, _ = lorenz_run
    Z = Z[::5]
    y = lorenz(None, Z.T).T
    y = y + 1e-3 * np.random.default_rng(0).normal(size=y.shape)
    model = SINDy(solver=solver, threshold=threshold).fit(Z, y)
    if threshold == 0.1:
        assert_array_equal(model.coef_ != 0, LORENZ != 0)
    assert_allclose(model.coef_, LORENZ, atol=2e-3)


def test_rows_may_come_in_parts(lorenz_run):
    Z, _ = lorenz_run
    y, u = lorenz(None, Z.T).T, np.sin(Z[:, :1])
    whole = SINDy().fit(Z, y, u=u)
    parts = SINDy()
    for rows in (slice(0, 500), slice(500, 900), slice(900, None)):
        parts.partial_fit(Z[rows], y[rows], u=u[rows])
    assert_allclose(parts.coef_, whole.coef_, atol=1e-8)
    assert parts.bound_ == whole.bound_
    resumed = SINDy().fit(Z[:900], y[:900]).partial_fit(Z[900:], y[900:])
    assert_allclose(resumed.coef_, SINDy().fit(Z, y).coef_, atol=1e-8)
    again = parts.fit(Z[:600], y[:600])  # a fit starts anew
    assert_array_equal(again.coef_, SINDy().fit(Z[:600], y[:600]).coef_)


def test_what_needs_all_rows_is_refused_in_parts():
    with pytest.raises(ValueError, match=r"relative_error, whose weights .* of all rows: call fit"):
        SINDy(relative_error=True).partial_fit(np.eye(2), np.eye(2))


def test_the_energy_is_that_of_all_parts(lorenz_run):
    Z, _ = lorenz_run
    y = lorenz(None, Z.T).T + 0.5 * np.random.default_rng(0).normal(size=Z.shape)
    model = SINDy(threshold=0.0, energy=10.0)
    whole, parts = clone(model).fit(Z, y), clone(model)
    for rows in (slice(0, 700), slice(700, None)):
        parts.partial_fit(Z[rows], y[rows])
    assert_allclose(parts.coef_, whole.coef_, rtol=1e-8, atol=1e-9)
    assert np.abs(parts.coef_ - SINDy(threshold=0.0).fit(Z, y).coef_).max() > 1e-3
    again = parts.fit(Z[:600], y[:600])  # a fit starts anew
    assert_array_equal(again.coef_, clone(model).fit(Z[:600], y[:600]).coef_)


def test_an_ensemble_of_a_stream_is_as_sure_as_one_of_all_rows():
    """Whose blocks stay few, and of like size: none of them has the say."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(6000, 2))
    y = Z @ [[1.0, 0.0], [2.0, -1.0]] + rng.normal(size=Z.shape)
    model = SINDy(PolynomialLibrary(1), threshold=0.0, n_models=200, random_state=0)
    first = slice(0, 300)
    stream = clone(model).partial_fit(Z[first], y[first])
    assert_array_equal(stream.coef_std_, clone(model).fit(Z[first], y[first]).coef_std_)
    for start in range(300, 6000, 300):
        stream.partial_fit(Z[start : start + 300], y[start : start + 300])
    rows = stream.normal_[3]
    assert len(rows) == 100
    assert rows.sum() == 6000
    assert rows.max() <= 5 * np.median(rows)
    whole = clone(model).fit(Z, y)
    assert_allclose(stream.refit(n_models=1).coef_, whole.refit(n_models=1).coef_, rtol=1e-10)
    assert_allclose(stream.coef_std_, whole.coef_std_, rtol=0.4)


def test_an_ensemble_tells_true_terms_from_others(lorenz_run):
    Z, _ = lorenz_run
    y = lorenz(None, Z.T).T
    y = y + 2.0 * np.random.default_rng(0).normal(size=y.shape)
    library = PolynomialLibrary(3)
    fit = SINDy(library, threshold="bic", n_models=20, n_dropped=1, random_state=0).fit
    model = fit(Z, y)
    share = model.inclusion_probability_
    assert share[:, :10][LORENZ != 0].min() > 0.9
    assert_array_equal(model.coef_[:, :10] != 0, LORENZ != 0)
    assert not model.coef_[:, 10:].any()
    low, high = model.coef_interval_
    assert np.all(low <= model.coef_)
    assert np.all(model.coef_ <= high)
    assert np.all(model.coef_std_[share == 0] == 0)
    assert_array_equal(fit(Z, y).coef_interval_, model.coef_interval_)


def test_one_model_has_no_spread(lorenz_run):
    Z, t = lorenz_run
    model = SINDy().fit(Z, t=t)
    assert model.inclusion_probability_ is model.coef_std_ is model.coef_interval_ is None


def test_equations_meet_linear_constraints(lorenz_run):
    """The two quadratic terms of Lorenz 63 exchange energy: x z in one equation, x y in another."""
    Z, _ = lorenz_run
    y = lorenz(None, Z.T).T + 0.5 * np.random.default_rng(0).normal(size=Z.shape)
    matrix = np.zeros((1, 30))
    matrix[0, [16, 25]] = 1.0
    free = SINDy().fit(Z, y).coef_
    coef = SINDy(constraint=(matrix, [0.0])).fit(Z, y).coef_
    assert abs(free[1, 6] + free[2, 5]) > 1e-6
    assert abs(coef[1, 6] + coef[2, 5]) < 1e-12
    assert_array_equal(coef != 0, LORENZ != 0)


def test_constraints_that_do_not_fit_are_refused():
    Z = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match=r"n_terms = 12\) and values .* \(1, 3\) and \(1,\)"):
        SINDy(constraint=(np.ones((1, 3)), [0.0])).fit(Z, Z)
    with pytest.raises(ValueError, match="need solver='stlsq', a number as threshold"):
        SINDy(constraint=(np.ones((1, 12)), [0.0]), solver="forward").fit(Z, Z)


def test_parameters_are_inputs():
    """Growth at rates of unseen parameters: dz/dt = μ z - z³."""
    t = np.arange(0, 5, 0.02)
    values = [0.5, 1.0, 2.0]
    runs = [run(lambda _, z, m=m: m * z - z**3, [0.05], t) for m in values]
    model = SINDy(PolynomialLibrary(3), names=["z", "mu"], threshold=0.05).fit(
        np.concatenate(runs),
        t=np.tile(t, 3),
        u=np.repeat(values, len(t))[:, None],
        trajectory=np.repeat([0, 1, 2], len(t)),
    )
    assert model.equations() == ["dz/dt = 1 z mu - 1 z^3"]
    assert_allclose(model.predict([[0.3]], u=[[1.5]]), [[1.5 * 0.3 - 0.3**3]], rtol=1e-3)


def test_maps_are_found_from_their_states():
    """The Hénon map, which has no derivative; runs are not paired across their ends."""
    runs = []
    for start in ([0.1, 0.1], [-0.3, 0.2]):
        states = [np.array(start)]
        for _ in range(100):
            x, y = states[-1]
            states.append(np.array([1 - 1.4 * x**2 + y, 0.3 * x]))
        runs.append(states)
    model = DiscreteSINDy(names=["x", "y"]).fit(
        np.concatenate(runs), trajectory=np.repeat([0, 1], 101)
    )
    assert model.equations() == ["x[n+1] = 1 + 1 y - 1.4 x^2", "y[n+1] = 0.3 x"]


def test_almost_dependent_terms_lose_no_digits():
    """Powers of a state close to 1 are nearly alike: their sums of squares hold too little."""
    Z = 1 + 1e-3 * np.random.default_rng(0).uniform(-1, 1, size=(500, 1))
    y = 2 - 3 * Z + Z**3
    coef = SINDy(PolynomialLibrary(3), threshold=0.0, alpha=0.0).fit(Z, y).coef_
    assert_allclose(coef, [[2, -3, 0, 1]], atol=1e-4)
