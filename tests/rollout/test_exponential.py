"""The exponential method: matrix functions, order, exactness, and a stiff model."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import rom
from rom.base import Polynomial
from rom.rollout import exponential as method
from rom.rollout import steppers, terms
from rom.rollout.methods import COMPILED

LOOSE, TIGHT = 1e-6, 1e-9


def phi_functions(A, h):
    out = np.empty((3, *A.shape))
    method.set_phi_functions(out, A, h)
    return out


@pytest.mark.parametrize("h", [0.0, 1e-3, 0.4, 30.0])
def test_phi_functions_are_blocks_of_an_exponential(h):
    """exp([[A, I, 0, 0], [0, 0, I, 0], [0, 0, 0, I], [0, 0, 0, 0]]) has φ_k in its first row."""
    A, n = np.random.default_rng(0).normal(size=(4, 4)), 4
    block = np.kron(np.eye(4, k=1), np.eye(n))
    block[:n, :n] = h * A
    exact = expm(block)[:n]
    for k, phi in enumerate(phi_functions(A, h), start=1):
        expected = exact[:, k * n : (k + 1) * n]
        np.testing.assert_allclose(phi, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("rate", [1e3, 1e9])
def test_phi_functions_of_stiff_matrices_do_not_blow_up(rate):
    """A slow mode feeds a fast one: the functions of a triangular matrix are known."""
    A = np.array([[-rate, rate / 2], [0.0, 0.0]])
    one, two, three = phi_functions(A, 1.0)
    np.testing.assert_allclose(np.diag(one), [1 / rate, 1], rtol=1e-6)
    np.testing.assert_allclose(np.diag(two), [(1 - 1 / rate) / rate, 1 / 2], rtol=1e-6)
    np.testing.assert_allclose(three[1, 1], 1 / 6, rtol=1e-6)
    np.testing.assert_allclose(one[0, 1], 0.5 * (1 - one[0, 0]), rtol=1e-6)


def run(polynomial, z0, t, rtol, u=None, max_steps=100_000, bound=1e6):
    linear, rest = method.split(polynomial)
    u = np.zeros((len(t), 0)) if u is None else u
    arguments = (z0, t, u, bound, rtol, 1e-14, max_steps, linear)
    return COMPILED["exponential"](terms.terms_of(rest), *arguments)


def linear(A):
    return Polynomial(np.eye(len(A), dtype=np.int64), np.asarray(A, dtype=float))


@pytest.mark.parametrize("even", [True, False])
def test_linear_models_are_solved_exactly(even):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(4, 4)) - 100 * np.diag([0, 0, 1, 1])
    t = np.linspace(0, 3, 31) if even else np.cumsum(rng.uniform(0.01, 0.3, 31))
    z, status, *_ = run(linear(A), np.ones(4), t, LOOSE)
    assert status == steppers.COMPLETED
    exact = [expm(A * (s - t[0])) @ np.ones(4) for s in t]
    np.testing.assert_allclose(z, exact, rtol=1e-9, atol=1e-10)


def test_split_gives_back_the_polynomial():
    exponents = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]])
    coef = np.random.default_rng(0).normal(size=(2, 5))
    A, rest = method.split(Polynomial(exponents, coef))
    np.testing.assert_array_equal(A, coef[:, [0, 2]])
    np.testing.assert_array_equal(rest.coef, coef[:, [1, 3, 4]])  # the input's term stays


def fisher():
    """z' = A z - z³ with rates from 1 to 1e5, and one that grows."""
    rank, rng = 6, np.random.default_rng(2)
    Q = np.linalg.qr(rng.normal(size=(rank, rank)))[0]
    A = Q @ np.diag([1.0, -1.0, -10.0, -1e3, -1e4, -1e5]) @ Q.T
    eye = np.eye(rank, dtype=np.int64)
    cubic = Polynomial(np.concatenate([eye, 3 * eye]), np.concatenate([A, -eye], axis=1))
    return cubic, rng.normal(size=rank)


def test_a_stiff_model_is_solved_to_its_tolerance_in_few_steps():
    cubic, z0 = fisher()
    A, t = cubic.coef[:, :6], np.linspace(0, 4, 21)
    truth = solve_ivp(
        lambda _, z: A @ z - z**3, (0, 4), z0, "Radau", t_eval=t, rtol=1e-11, atol=1e-13
    ).y.T
    for rtol, error in [(LOOSE, 1e-4), (TIGHT, 1e-6)]:
        z, status, _, n_steps = run(cubic, z0, t, rtol)
        assert status == steppers.COMPLETED
        assert n_steps < 2_000  # the fastest rate alone would make an explicit method take 1e5
        np.testing.assert_allclose(z, truth, atol=error)


def test_compiled_and_plain_runs_agree():
    cubic, z0 = fisher()
    A, rest = method.split(cubic)
    t, u = np.linspace(0, 1, 6), np.zeros((6, 0))
    options = (t, u, 1e6, LOOSE, 1e-14, 100_000, A)
    plain = method.exponential(lambda z, u: -(z**3), z0, *options)
    compiled = COMPILED["exponential"](terms.terms_of(rest), z0, *options)
    np.testing.assert_allclose(compiled[0], plain[0], atol=1e-9)
    assert compiled[1:] == plain[1:]


def test_inputs_that_are_linear_in_time_are_followed():
    """z' = -k z + u with u = t is z = (t - 1 / k) / k, from there on."""
    k, t = 1e4, np.linspace(0, 5, 11)
    polynomial = Polynomial(np.eye(2, dtype=np.int64), np.array([[-k, 1.0]]))
    z, *_ = run(polynomial, np.array([-1 / k**2]), t, TIGHT, u=t[:, None])
    np.testing.assert_allclose(z[:, 0], (t - 1 / k) / k, rtol=1e-9, atol=1e-14)


def test_a_run_ends_at_the_bound_at_a_pole_and_by_its_budget():
    square = Polynomial(np.array([[2]]), np.ones((1, 1)))
    t = np.linspace(0, 2, 41)
    z, status, t_end, _ = run(square, np.ones(1), t, TIGHT, bound=100.0)
    assert (status, t_end) == (steppers.LEFT_BOUND, pytest.approx(0.99, abs=1e-2))
    np.testing.assert_array_equal(np.isfinite(z[:, 0]), t <= t_end)
    z, status, t_end, _ = run(square, np.ones(1), t, TIGHT, bound=np.inf)
    assert status in (steppers.STEP_TOO_SMALL, steppers.NOT_FINITE)
    assert t_end == pytest.approx(1, abs=1e-6)
    z, status, t_end, n_steps = run(square, np.ones(1), t, TIGHT, max_steps=30)
    assert (status, n_steps) == (steppers.TOO_MANY_STEPS, 30)
    np.testing.assert_array_equal(np.isfinite(z[:, 0]), t <= t_end)


@pytest.mark.parametrize("square", [0.0, 1e-300])
def test_overflow_is_not_completed(square):
    """The linear part carries the state beyond all numbers, alone without any error."""
    H = [[0, 0, 0], [0, 0, square]]
    model = rom.OperatorInference.from_operators(A=[[-1e7, 0], [0, 2.0]], H=H)
    t = np.linspace(0, 500, 11)
    run = rom.rollout(model, [1.0, 1.0], t, stepper="exponential", bound=np.inf, throw=False)
    assert run.status.name == "NOT_FINITE"
    np.testing.assert_array_equal(np.isfinite(run.z).all(axis=1), t <= run.t_end)
    largest = 1 + 2 / square if square else np.finfo(float).max  # z' = 2 z + square z²
    np.testing.assert_allclose(run.t_end, np.log(largest) / 2, rtol=1e-3)
