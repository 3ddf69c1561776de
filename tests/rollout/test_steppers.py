"""The time loops against exact solutions, orders of convergence, and their compiled twins."""

import numpy as np
import pytest
from scipy.linalg import expm

from rom.base import Polynomial
from rom.rollout import steppers

BOUND, SCALE = 1e6, 1e-14


def oscillator(z, u):
    return np.array([z[1], -z[0]])


def exact_oscillation(t):
    return np.stack([np.cos(t), -np.sin(t)], axis=1)


def no_inputs(t):
    return np.zeros((len(t), 0))


def observed_order(errors):
    return np.log2(np.array(errors[:-1]) / errors[1:])


def test_tableaus_meet_the_order_conditions():
    for stages, places, step in [
        (steppers.RK4_STAGES, steppers.RK4_PLACES, steppers.RK4_STEP),
        (steppers.DOPRI_STAGES, steppers.DOPRI_PLACES, steppers.DOPRI_STEP),
    ]:
        np.testing.assert_allclose(stages.sum(axis=1), places, atol=1e-15)
        for power in range(4):  # quadrature conditions up to order 4
            assert step @ places**power == pytest.approx(1 / (power + 1), abs=1e-14)
    fifth = steppers.DOPRI_STEP @ steppers.DOPRI_PLACES**4
    assert fifth == pytest.approx(1 / 5, abs=1e-14)
    places = np.append(steppers.DOPRI_PLACES, 1.0)
    for power in range(4):  # both members of the pair are exact up to order 4
        assert steppers.DOPRI_ERROR @ places**power == pytest.approx(0, abs=1e-15)
    assert abs(steppers.DOPRI_ERROR @ places**4) > 1e-4


def test_rk4_converges_with_order_four():
    errors = []
    for n in (20, 40, 80, 160):
        t = np.linspace(0, 5, n + 1)
        z, *_ = steppers.rk4(oscillator, np.array([1.0, 0.0]), t, no_inputs(t), BOUND)
        errors.append(np.abs(z[-1] - exact_oscillation(t)[-1]).max())
    np.testing.assert_allclose(observed_order(errors), 4, atol=0.1)


def test_dopri5_converges_with_order_five_in_fixed_steps():
    errors = []
    for n in (20, 40, 80):
        t = np.linspace(0, 5, n + 1)  # so loose a tolerance lets it step from output to output
        z, _, _, n_steps = steppers.dopri5(
            oscillator, np.array([1.0, 0.0]), t, no_inputs(t), BOUND, 1.0, SCALE, 1000
        )
        assert n_steps == n
        errors.append(np.abs(z[-1] - exact_oscillation(t)[-1]).max())
    np.testing.assert_allclose(observed_order(errors), 5, atol=0.15)


def test_dopri5_error_is_proportional_to_the_tolerance():
    t = np.array([0.0, 5.0, 10.0])
    tolerances, errors = 10.0 ** -np.arange(4, 11), []
    for rtol in tolerances:
        z, status, *_ = steppers.dopri5(
            oscillator, np.array([1.0, 0.0]), t, no_inputs(t), BOUND, rtol, SCALE, 10_000
        )
        assert status == steppers.COMPLETED
        errors.append(np.abs(z - exact_oscillation(t)).max())
    assert np.all(errors < 50 * tolerances)
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_piecewise_linear_inputs_are_integrated_exactly(method):
    """dz/dt = u is the trapezoidal rule, whatever the steps."""
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.1, 1, size=12))
    u = rng.normal(size=(12, 2))
    options = (1e-6, SCALE, 1000) if method == "dopri5" else ()
    z, status, *_ = steppers.PLAIN[method](lambda z, u: u, np.zeros(2), t, u, BOUND, *options)
    trapezoids = np.diff(t)[:, None] * (u[1:] + u[:-1]) / 2
    assert status == steppers.COMPLETED
    np.testing.assert_allclose(z[1:], np.cumsum(trapezoids, axis=0), atol=1e-13)


def test_inputs_are_held_by_a_map():
    t, u = np.arange(4.0), np.array([[1.0], [2.0], [3.0], [9.0]])
    z, *_ = steppers.iterate(lambda z, u: z + u, np.zeros(1), t, u, BOUND)
    np.testing.assert_array_equal(z[:, 0], [0, 1, 3, 6])


def random_polynomial(rng, rank, n_inputs):
    """Degree up to 5 with gaps, an unused term, and a decay that keeps it tame."""
    exponents = np.r_[
        np.eye(rank, rank + n_inputs, dtype=np.int64),
        rng.integers(0, 3, size=(6, rank + n_inputs)),
        np.zeros((1, rank + n_inputs), np.int64),
        [[5] + [0] * (rank + n_inputs - 1)],
    ]
    coef = 0.05 * rng.normal(size=(rank, len(exponents)))
    coef[:, :rank] -= np.eye(rank)
    coef[:, rank + 1] = 0
    return Polynomial(exponents, coef)


def evaluate(polynomial, z, u):
    monomials = np.prod(np.concatenate([z, u]) ** polynomial.exponents, axis=1)
    return polynomial.coef @ monomials


@pytest.mark.parametrize("method", ["map", "rk4", "dopri5"])
@pytest.mark.parametrize("n_inputs", [0, 2])
def test_compiled_and_plain_loops_agree(method, n_inputs):
    rng = np.random.default_rng(n_inputs)
    polynomial = random_polynomial(rng, 3, n_inputs)
    t = np.cumsum(rng.uniform(0.05, 0.4, size=30))
    u = rng.uniform(-1, 1, size=(30, n_inputs))
    options = (1e-8, SCALE, 10_000) if method == "dopri5" else ()
    arguments = (0.5 * rng.normal(size=3), t, u, BOUND, *options)
    compiled = steppers.COMPILED[method](steppers.terms_of(polynomial), *arguments)
    plain = steppers.PLAIN[method](lambda z, u: evaluate(polynomial, z, u), *arguments)
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-9, atol=1e-11)
    assert compiled[1:] == plain[1:]


def test_each_compiled_loop_has_one_specialisation():
    for loop in steppers.COMPILED.values():
        assert len(loop.signatures) <= 1


def test_a_loop_compiles_where_no_cache_can_be_written(monkeypatch):
    def njit(loop=None, *, cache=False):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return loop

    monkeypatch.setattr(steppers, "njit", njit)
    assert steppers.compiled(steppers.rk4) is steppers.rk4


def test_the_zero_polynomial_stands_still():
    terms = steppers.terms_of(Polynomial(np.zeros((1, 2), np.int64), np.zeros((2, 1))))
    t = np.array([0.0, 1.0, 3.0])
    z, status, *_ = steppers.COMPILED["dopri5"](
        terms, np.ones(2), t, no_inputs(t), BOUND, 1e-8, SCALE, 100
    )
    assert status == steppers.COMPLETED
    np.testing.assert_array_equal(z, np.ones((3, 2)))


def test_linear_system_is_its_matrix_exponential():
    A = np.array([[-0.1, 2.0, 0.0], [-2.0, -0.1, 0.3], [0.0, 0.0, -0.5]])
    terms = steppers.terms_of(Polynomial(np.eye(3, dtype=np.int64), A))
    t, z0 = np.array([-1.0, 0.0, 0.7, 4.0]), np.array([1.0, -2.0, 3.0])
    z, *_ = steppers.COMPILED["dopri5"](terms, z0, t, no_inputs(t), BOUND, 1e-10, SCALE, 10_000)
    exact = np.stack([expm(A * (s - t[0])) @ z0 for s in t])
    np.testing.assert_allclose(z, exact, atol=1e-8)
