"""Exponents that are known: eigenvalues, traces, Floquet multipliers, published attractors."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import solve_ivp

import rom
from rom.base import Dynamics
from rom.dynamics import DiscreteSINDy, PolynomialLibrary, SINDy
from rom.rollout.growth_rates import kaplan_yorke
from rom.rollout.linear_lyapunov import linear_lyapunov
from rom.rollout.lyapunov import flow_lyapunov, lyapunov
from rom.rollout.result import Status
from rom.rollout.trapping import certified_region

RNG = np.random.default_rng(0)
finite = st.floats(-10, 10)


class Plain(Dynamics):
    """A fitted model without its polynomial, and so run as Python."""

    def __init__(self, model=None):
        self.model = model

    @property
    def time(self):
        return self.model.time

    def _fit_series(self, series):
        pass

    def _predict(self, Z, u):
        return self.model._predict(Z, u)


def polynomial_model(field, rank, degree, *, scale=10.0, kind=SINDy):
    """A model with exactly that polynomial as its right-hand side."""
    Z = scale * RNG.uniform(-1, 1, size=(200, rank))
    model = kind(PolynomialLibrary(degree), threshold=1e-8, alpha=0.0)
    return model.fit(Z, np.stack(field(*Z.T), axis=1))


def lorenz(x, y, z, rho=28.0):
    return 10 * (y - x), x * (rho - z) - y, x * y - 8 / 3 * z


def rossler(x, y, z):
    return -y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)


def henon(x, y):
    return 1 - 1.4 * x**2 + y, 0.3 * x


def van_der_pol(x, y):
    return y, (1 - x**2) * y - x


def linear(A, kind="continuous"):
    Z = RNG.normal(size=(20, len(A)))
    if kind == "continuous":
        return rom.OperatorInference("A").fit(Z, Z @ A.T)
    return DiscreteSINDy(PolynomialLibrary(1), threshold=0.0, alpha=0.0).fit(Z, Z @ A.T)


RATES = np.array([0.5, -1.0, -2.5, -4.0])


def mixed(values):
    """A matrix with these eigenvalues and eigenvectors that are not orthogonal."""
    S = np.random.default_rng(1).normal(size=(len(values), len(values)))
    return S @ np.diag(values) @ np.linalg.inv(S)


@pytest.mark.parametrize("plain", [False, True])
def test_exponents_of_a_linear_flow_are_its_eigenvalues(plain):
    model, t = linear(mixed(RATES)), np.linspace(0, 50, 51)
    if plain:
        model = Plain(model).fit(np.ones((2, 4)), np.ones((2, 4)))
    found = lyapunov(model, np.ones(4), t, bound=np.inf)
    np.testing.assert_allclose(found.exponents, RATES, atol=1e-4)
    assert np.all(found.standard_error < 1e-4)
    assert found.kaplan_yorke == pytest.approx(1.5, abs=1e-3)
    assert found.time == pytest.approx(2, rel=1e-3)
    leading = lyapunov(model, np.ones(4), t, bound=np.inf, n_exponents=2)
    np.testing.assert_allclose(leading.exponents, RATES[:2], atol=1e-4)
    assert leading.kaplan_yorke == pytest.approx(1.5, abs=1e-3)
    first = lyapunov(model, np.ones(4), t, bound=np.inf, n_exponents=1)
    assert np.isnan([first.kaplan_yorke, first.kaplan_yorke_error]).all()


@pytest.mark.parametrize("plain", [False, True])
def test_exponents_of_a_linear_map_are_the_logarithms_of_its_eigenvalues_per_time(plain):
    factors, dt = np.array([1.1, -0.7, 0.2]), 0.5
    model = linear(mixed(factors), "discrete")
    if plain:
        model = Plain(model).fit(np.ones((2, 3)), np.ones((2, 3)))
    model.dt_ = dt
    found = lyapunov(model, np.ones(3), dt * np.arange(301), bound=np.inf)
    np.testing.assert_allclose(found.exponents, np.log(np.abs(factors)) / dt, atol=1e-4)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_exponents_of_a_linear_model_are_exact_and_need_no_run(kind):
    A = mixed(RATES) if kind == "continuous" else mixed(np.exp(0.5 * RATES))
    model = linear(A, kind)
    model.dt_ = 0.5
    found = lyapunov(model, np.ones(4), 0.5 * np.arange(2000), bound=10.0)  # which it soon leaves
    np.testing.assert_allclose(found.exponents, RATES, atol=1e-10)
    assert not found.standard_error.any()
    assert found.settled
    assert found.kaplan_yorke == pytest.approx(1.5)
    np.testing.assert_array_equal(found.exponents, linear_lyapunov(model).exponents)
    assert linear_lyapunov(polynomial_model(van_der_pol, 2, 3)) is None


def test_inputs_leave_the_exponents_of_a_linear_model_but_not_those_they_multiply():
    A, N = [[-0.5, 1.0], [-1.0, -0.5]], 0.2 * np.eye(2)
    driven = rom.OperatorInference.from_operators(A=A, B=[[1.0], [2.0]])
    np.testing.assert_allclose(linear_lyapunov(driven).exponents, [-0.5, -0.5])
    assert linear_lyapunov(rom.OperatorInference.from_operators(A=A, B=[[1.0], [2.0]], N=N)) is None


@pytest.mark.parametrize(("decay", "dimension"), [(1e-3, 0), (1e-9, 0), (0.0, 2), (1e-18, 2)])
def test_a_direction_of_a_linear_model_is_neutral_only_if_rounding_hides_its_decay(
    decay, dimension
):
    flow = rom.OperatorInference.from_operators(A=[[-decay, 3.0], [-3.0, -decay]])
    c, s = np.exp(-decay) * np.array([np.cos(3), np.sin(3)])
    turn = linear(np.array([[c, s], [-s, c]]), "discrete")
    turn.dt_ = 1.0
    assert linear_lyapunov(flow).kaplan_yorke == dimension
    if decay in (1e-3, 1e-9):
        assert linear_lyapunov(turn).kaplan_yorke == dimension
    assert certified_region(flow).certified == (dimension == 0)  # "every rollout ends at ..."


def test_a_run_whose_halves_differ_is_not_settled_and_its_error_says_so():
    """Of z' = (z - z²) / 2 from near 0, where changes grow, to 1, where they decay as fast."""
    model = rom.OperatorInference.from_operators(A=[[0.5]], H=[[-0.5]])
    for end in (40, 55, 70):
        found = lyapunov(model, [1e-6], np.linspace(0, end, 401))
        assert not found.settled
        assert abs(found.exponents[0] + 0.5) < 2 * found.standard_error[0]
        assert np.isnan(found.time)
    assert lyapunov(model, [1.1], np.linspace(0, 70, 401)).settled


@pytest.mark.parametrize(("drop", "settled"), [(0.02, True), (1.0, False)])
def test_halves_whose_dimensions_differ_by_little_are_settled(drop, settled):
    """At rest at zero, where the decay is faster by `drop` in the second half of the run."""
    model = rom.OperatorInference.from_operators(
        A=np.diag([0.5, -1.0]), B=np.zeros((2, 1)), N=np.diag([0.0, -drop])
    )
    t = np.linspace(0, 111, 445)
    found = lyapunov(model, np.zeros(2), t, u=np.float64(t > 61)[:, None])
    low = 1 + 0.5 / (1 + drop)
    assert low < found.kaplan_yorke < 1.5
    assert found.settled == settled
    assert (found.kaplan_yorke_error > 0.4 * (1.5 - low)) != settled


@pytest.mark.parametrize(("late", "n_steps"), [([100.0], 0), ([100.0, 101.0], 1)])
def test_times_too_few_after_the_transient_are_refused(late, n_steps):
    model = rom.OperatorInference.from_operators(A=[[0.5]], H=[[-0.5]])
    t = np.append(0.01 * np.arange(10), late)
    with pytest.raises(ValueError, match=f"at least 2 steps there, but there (is|are) {n_steps}"):
        lyapunov(model, [0.1], t)
    with pytest.raises(ValueError, match="at least 2 steps there"):
        flow_lyapunov(rom.fom.Heat(n=3), np.ones(3), t)
    found = lyapunov(model, [0.1], np.append(t, t[-1] + np.arange(1, 3)))
    assert np.isfinite([found.exponents[0], found.standard_error[0]]).all()


def test_a_direction_that_a_map_loses_has_the_exponent_minus_infinity():
    model = linear(np.diag([0.5, 0.0]), "discrete")
    model.dt_ = 1.0
    found = lyapunov(model, [1.0, 1.0], np.arange(50.0))
    np.testing.assert_allclose(found.exponents, [np.log(0.5), -np.inf])
    assert found.kaplan_yorke == 0
    assert np.isnan(found.time)


def cubic(x, y, z):
    return (
        0.4 * y**2 * z - 0.3 * x + 0.1 * x**3,
        0.3 * x * z - 0.5 * y + 0.2,
        0.2 * x * y * z + 0.6 * z - 0.1 * z**3,
    )


def cubic_jacobian(x, y, z):
    return [
        [0.3 * x**2 - 0.3, 0.8 * y * z, 0.4 * y**2],
        [0.3 * z, -0.5, 0.3 * x],
        [0.2 * y * z, 0.2 * x * z, 0.2 * x * y + 0.6 - 0.3 * z**2],
    ]


def test_exponents_of_a_map_add_up_to_the_logarithm_of_its_determinant():
    model, t = polynomial_model(cubic, 3, 3, scale=1.0, kind=DiscreteSINDy), np.arange(51.0)
    model.dt_ = 1.0
    found = lyapunov(model, [0.9, -0.8, 0.7], t)
    states = rom.rollout(model, [0.9, -0.8, 0.7], t).z[5:-1]  # from the end of the first tenth
    determinants = [np.linalg.det(cubic_jacobian(*z)) for z in states]
    expected = np.mean(np.log(np.abs(determinants)))
    assert found.exponents.sum() == pytest.approx(expected, rel=1e-9)


def test_constant_inputs_are_held():
    Z, u = RNG.normal(size=(50, 1)), RNG.normal(size=(50, 1))
    model = SINDy(PolynomialLibrary(2), threshold=1e-8, alpha=0.0).fit(Z, (u - 1) * Z, u=u)
    t = np.linspace(0, 10, 21)
    found = lyapunov(model, [1.0], t, u=np.full((21, 1), 0.75))
    assert found.exponents[0] == pytest.approx(-0.25, abs=1e-6)
    ramp = lyapunov(model, [1.0], t, u=t[:, None] / 5)  # from the second unit of time on
    assert ramp.exponents[0] == pytest.approx(0.1, abs=1e-6)


def test_lorenz_attractor_has_the_published_exponents():
    model = polynomial_model(lorenz, 3, 2, scale=30.0)
    found = lyapunov(model, [1.0, 1.0, 20.0], np.arange(0, 2000, 0.5))
    published = np.array([0.9056, 0, -14.5723])  # Sprott, Chaos and Time-Series Analysis, 2003
    assert np.all(np.abs(found.exponents - published) < 3 * found.standard_error + 1e-3)
    assert found.standard_error[0] < 0.02
    assert found.exponents.sum() == pytest.approx(-41 / 3, abs=1e-4)  # the divergence
    assert abs(found.kaplan_yorke - 2.06215) < 3 * found.kaplan_yorke_error + 1e-4
    assert found.kaplan_yorke_error < 2e-3
    assert found.time == 1 / found.exponents[0]


def test_rossler_attractor_has_the_published_exponents():
    model = polynomial_model(rossler, 3, 2, scale=20.0)
    found = lyapunov(model, [1.0, 1.0, 0.0], np.arange(0, 10_000, 5.0))
    assert abs(found.exponents[0] - 0.0714) < 3 * found.standard_error[0] + 1e-4
    assert found.standard_error[0] < 3e-3
    assert abs(found.kaplan_yorke - 2.0132) < 3 * found.kaplan_yorke_error + 1e-4


def test_henon_map_has_the_published_exponent_as_often_as_its_errors_say():
    model = polynomial_model(henon, 2, 2, scale=1.0, kind=DiscreteSINDy)
    model.dt_ = 1.0
    starts, inside = 0.1 * RNG.uniform(-1, 1, size=(100, 2)), 0
    for start in starts:
        found = lyapunov(model, start, np.arange(10_001.0))
        assert found.exponents.sum() == pytest.approx(np.log(0.3), abs=1e-10)
        inside += abs(found.exponents[0] - 0.41922) < 2 * found.standard_error[0]
    assert 88 <= inside <= 99  # 95 expected: within three standard deviations


def test_a_limit_cycle_has_dimension_one_and_no_lyapunov_time():
    model, t = polynomial_model(van_der_pol, 2, 3, scale=3.0), np.arange(0, 500, 0.05)
    found = lyapunov(model, [2.0, 0.0], t)
    x = rom.rollout(model, [2.0, 0.0], t).z[len(t) // 10 :, 0]
    assert abs(found.exponents[0]) < 3 / 450
    assert found.exponents.sum() == pytest.approx(np.mean(1 - x**2), abs=0.01)  # the divergence
    assert found.kaplan_yorke == pytest.approx(1, abs=0.01)
    assert np.isnan(found.time)


def test_exact_derivatives_and_differences_agree():
    model = polynomial_model(lambda *z: lorenz(*z, rho=15.0), 3, 2)
    plain = Plain(model).fit(np.ones((2, 3)), np.ones((2, 3)))
    t = np.linspace(0, 10, 41)
    exact, rough = (lyapunov(m, [5.0, 5.0, 12.0], t, bound=1e3) for m in (model, plain))
    np.testing.assert_allclose(rough.exponents, exact.exponents, atol=1e-5)


def test_exponents_of_a_full_model():
    heat, t = rom.fom.Heat(n=4, length=1.0), np.linspace(0, 2, 41)
    wave = np.pi * np.arange(1, 5) / 5
    rates = -2 * (1 - np.cos(wave)) * 25  # second differences, of step 1/5
    found = flow_lyapunov(heat, np.ones(4), t)
    np.testing.assert_allclose(found.exponents, rates, rtol=1e-3)
    assert found.kaplan_yorke == 0
    lorenz63 = rom.fom.Lorenz63()
    t = np.linspace(0, 3, 13)
    found = flow_lyapunov(lorenz63, [1.0, 1.0, 20.0], t)
    assert found.exponents.sum() == pytest.approx(-41 / 3, abs=1e-3)
    model = polynomial_model(lorenz, 3, 2, scale=30.0)
    same = lyapunov(model, [1.0, 1.0, 20.0], t)
    np.testing.assert_allclose(found.exponents, same.exponents, atol=0.02)


class Riccati:
    """dx/dt = u(t) - x², integrated finely."""

    def simulate(self, x0, t, *, u=None, params=None):
        def slope(s, x):
            return np.interp(s, t, np.ravel(u)) - x**2

        run = solve_ivp(slope, (t[0], t[-1]), x0, t_eval=t, rtol=1e-9, atol=1e-12)
        return xr.DataArray(run.y.T, dims=("time", "x"))


def test_exponents_of_a_driven_full_model():
    heat, t = rom.fom.Heat(n=4, length=1.0), np.linspace(0, 2, 41)
    drive = np.sin(3 * t)[:, None]
    driven, free = (flow_lyapunov(heat, np.ones(4), t, u=u) for u in (drive, None))
    np.testing.assert_allclose(driven.exponents, free.exponents, rtol=1e-6)  # it is linear
    riccati, t = Riccati(), np.linspace(0, 20, 201)
    drive = 1.5 + np.sin(t)[:, None]
    found = flow_lyapunov(riccati, [1.0], t, u=drive)
    x = riccati.simulate([1.0], t, u=drive).to_numpy()[:, 0]
    late = t >= 2
    rate = -2 * np.trapezoid(x[late], t[late]) / 18
    assert found.exponents[0] == pytest.approx(rate, rel=1e-3)
    with pytest.raises(ValueError, match="u has 2 rows"):
        flow_lyapunov(riccati, [1.0], t, u=drive[:2])


@given(arrays(np.float64, st.integers(1, 6), elements=finite))
def test_kaplan_yorke_dimension(exponents):
    dimension = kaplan_yorke(exponents)
    ordered = np.sort(exponents)[::-1]
    assert 0 <= dimension <= len(exponents)
    assert dimension == kaplan_yorke(ordered)
    assert (dimension == 0) == (ordered[0] < 0)
    if 0 < dimension < len(exponents):  # where the sum, run straight between integers, is zero
        sums = np.concatenate([[0], np.cumsum(ordered)])
        assert np.interp(dimension, np.arange(len(sums)), sums) == pytest.approx(0, abs=1e-9)
    assert np.isnan(kaplan_yorke([*exponents, np.nan]))


def test_kaplan_yorke_dimension_of_known_kinds():
    assert kaplan_yorke([-0.1, -1]) == 0
    assert kaplan_yorke([0, -1]) == 1
    assert kaplan_yorke([0.5, 0, -1]) == 2.5
    assert kaplan_yorke([0.5, 0, -0.5]) == 3
    assert kaplan_yorke([0.5, -np.inf]) == 1
    assert kaplan_yorke([-1e-3, -1]) == 0
    assert kaplan_yorke([-1e-3, -1], resolution=1e-2) == 1


def test_runs_that_end_early_say_so():
    model = rom.OperatorInference("H").fit([[1.0], [2.0]], [[1.0], [4.0]])  # 1 / (1 - t)
    found = lyapunov(model, [1.0], np.linspace(0, 2, 21))
    assert found.status is Status.LEFT_BOUND
    assert np.all(np.isnan([*found.exponents, *found.standard_error, *found[2:5]]))


def test_bad_input_is_named_and_good_input_unchanged():
    model = linear(mixed(RATES))
    with pytest.raises(ValueError, match="at least 11 times t, but there are 10"):
        lyapunov(model, np.ones(4), np.arange(10.0))
    with pytest.raises(ValueError, match=r"n_exponents must be from 1 to 4.* but it is 5"):
        lyapunov(model, np.ones(4), np.arange(20.0), n_exponents=5)
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        lyapunov(model, np.ones(3), np.arange(20.0))
    with pytest.raises(TypeError, match=r"a rom\.base\.Dynamics"):
        lyapunov(rom.fom.Heat(n=3), np.ones(3), np.arange(20.0))
    with pytest.raises(ValueError, match="n_exponents must be from 1 to 3"):
        flow_lyapunov(rom.fom.Heat(n=3), np.ones(3), np.arange(20.0), n_exponents=0)
    z0, t = np.ones(4), np.arange(20.0)
    z0.flags.writeable = t.flags.writeable = False
    lyapunov(model, z0, t, bound=np.inf)
