import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.dynamics import PolynomialLibrary
from rom.dynamics.midpoint import MidpointSINDy, midpoint_rows

OSCILLATOR = np.array([[-0.05, -1.0], [1.0, -0.05]])


@parametrize_with_checks([MidpointSINDy(threshold=0.0)])
def test_sklearn(estimator, check):
    check(estimator)


def spiral(t):
    z = np.exp((-0.05 + 1j) * t)
    return np.stack([z.real, z.imag], axis=1)


def linear(Z, **options):
    model = MidpointSINDy(PolynomialLibrary(1, include_bias=False), threshold=0.0)
    return model.fit(Z, **options).coef_


def test_weak_damping_is_found_with_its_sign():
    """Noren, Eidnes & Celledoni: -0.052, where one-sided differences give -0.243 and +0.151."""
    t = np.arange(0, 40, 0.4)
    Z, slope = spiral(t), np.diff(spiral(t), axis=0) / 0.4
    damping = np.trace(linear(Z, t=t)) / 2
    forward, backward = (
        np.trace(np.linalg.lstsq(rows, slope, rcond=None)[0]) / 2 for rows in (Z[:-1], Z[1:])
    )
    assert_allclose([damping, forward, backward], [-0.052, -0.243, 0.151], atol=5e-4)
    assert abs(damping + 0.05) < 0.1 * 0.05


def test_linear_dynamics_give_the_cayley_transform():
    """From z_{n+1} = exp(h A) z_n comes (2/h) tanh(h A / 2), to rounding."""
    rng = np.random.default_rng(0)
    A, h = OSCILLATOR, 0.7
    Z = np.stack([expm(k * h * A) @ rng.normal(size=2) for k in range(1)])
    for _ in range(30):
        Z = np.vstack([Z, expm(h * A) @ Z[-1]])
    E = expm(h * A)
    expected = 2 / h * (E - np.eye(2)) @ np.linalg.inv(E + np.eye(2))
    assert_allclose(linear(Z, t=h * np.arange(len(Z))), expected, atol=1e-12)


def test_an_undamped_oscillator_is_found_undamped():
    """The rule keeps quadratic invariants, so it gives zero damping at any step."""
    for h in (0.1, 1.0, 2.5):
        t = h * np.arange(40)
        found = linear(np.stack([np.cos(t), np.sin(t)], axis=1), t=t)
        assert_allclose(np.trace(found), 0.0, atol=1e-12)
        assert_allclose(found + found.T, 0.0, atol=1e-12)


def test_second_order_in_the_step():
    errors = []
    for h in (0.4, 0.2, 0.1):
        t = np.arange(0, 40, h)
        errors.append(np.abs(linear(spiral(t), t=t) - OSCILLATOR).max())
    assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.05)


def test_steps_of_the_rule_are_undone_exactly():
    """States made by the rule itself, with uneven steps and an input, give back f to rounding."""
    rng = np.random.default_rng(1)
    steps = rng.uniform(0.05, 0.5, 60)
    t = np.concatenate([[0.0], np.cumsum(steps)])
    u = np.cos(t)[:, None]
    Z = [np.array([1.0, -0.5])]
    for n, h in enumerate(steps):
        force = np.array([0.5 * (u[n, 0] + u[n + 1, 0]), 0.0])
        left, right = np.eye(2) - h / 2 * OSCILLATOR, np.eye(2) + h / 2 * OSCILLATOR
        Z.append(np.linalg.solve(left, right @ Z[-1] + h * force))
    model = MidpointSINDy(PolynomialLibrary(1), threshold=1e-6, names=["p", "q", "f"])
    model.fit(np.array(Z), t=t, u=u)
    assert_allclose(model.coef_, [[0, -0.05, -1, 1], [0, 1, -0.05, 0]], atol=1e-10)
    assert model.equations() == [
        "dp/dt = -0.05 p - 1 q + 1 f",
        "dq/dt = 1 p - 0.05 q",
    ]


def test_nonlinear_terms_come_out():
    t = np.arange(0, 20, 0.02)
    rhs = lambda _, z: [z[1], -z[0] - 0.1 * z[1] - 0.5 * z[0] ** 3]  # noqa: E731
    Z = solve_ivp(rhs, (0, 20), [1.5, 0.0], t_eval=t, rtol=1e-10, atol=1e-10).y.T
    model = MidpointSINDy(PolynomialLibrary(3), threshold=0.05, names=["q", "p"]).fit(Z, t=t)
    assert model.equations(precision=2) == [
        "dq/dt = 1 p",
        "dp/dt = -1 q - 0.1 p - 0.5 q^3",
    ]


def test_pairs_stay_within_trajectories():
    t = np.array([0.0, 0.1, 0.3, 0.0, 0.2])
    Z = np.arange(5.0)[:, None]
    middle, slope, inputs, h = midpoint_rows(Z, t, [slice(0, 3), slice(3, 5)], 10 * Z)
    assert_array_equal(middle[:, 0], [0.5, 1.5, 3.5])
    assert_array_equal(inputs, 10 * middle)
    assert_allclose(slope[:, 0] * h, 1.0)


def test_runs_of_two_rows_are_enough():
    """Bursts of two samples each, from random states."""
    rng = np.random.default_rng(0)
    starts, h = rng.normal(size=(50, 2)), 0.01
    Z = np.stack([starts, starts @ expm(h * OSCILLATOR).T], axis=1).reshape(-1, 2)
    label = np.repeat(np.arange(50), 2)
    assert_allclose(linear(Z, t=np.tile([0, h], 50), trajectory=label), OSCILLATOR, atol=1e-4)


def test_rows_that_stand_alone_are_refused():
    with pytest.raises(ValueError, match="each of the 3 rows stands alone"):
        MidpointSINDy().fit(np.eye(3), t=[0.0, 0.0, 0.0], trajectory=[0, 1, 2])
