import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import rom
from rom.dynamics.dissipative_ode import LEAST_DAMPING, DissipativeODE


def quick(hidden=(12,), **options):
    return DissipativeODE(hidden, **{"max_iter": 60, "random_state": 0, **options})


def noise(seed):
    """A model of noise: nothing in the data makes it bounded."""
    rng = np.random.default_rng(seed)
    Z, y, u = (rng.normal(size=(30, n)) * 5 for n in (4, 4, 2))
    return quick((6, 6), max_iter=5).fit(Z + 7, y, u=u), Z


def anything(seed):
    """A model with parameters that no training gave."""
    model, Z = noise(seed)
    rng = np.random.default_rng(seed)
    drawn = [3 * rng.normal(size=v.shape) for v in model._initial(np.random.RandomState(seed))]
    model._keep(drawn, Z)
    return model


@pytest.mark.parametrize("seed", range(4))
def test_with_any_parameters_states_outside_the_ball_come_nearer(seed):
    """d|w|/dt <= ρ (radius - |w|), at states and inputs of all sizes."""
    model, rng = anything(seed), np.random.default_rng(seed)
    w = rng.normal(size=(10_000, 4)) * 10 ** rng.uniform(-2, 5, size=(10_000, 1))
    u = rng.normal(size=(10_000, 2)) * 10 ** rng.uniform(-2, 5, size=(10_000, 1))
    slope, size = model.predict(model.center_ + w, u=u), np.linalg.norm(w, axis=1)
    rate = np.linalg.eigvalsh(model.damping_)[0]
    rounding = 1e-12 * np.linalg.norm(slope, axis=1)
    assert np.all((w * slope).sum(axis=1) / size <= rate * (model.radius_ - size) + rounding)
    assert rate >= LEAST_DAMPING * model.speed_ * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_from_anywhere_to_the_ball_and_never_out_of_it_again(seed):
    (model, _), rng = noise(seed), np.random.default_rng(seed)
    t = np.linspace(0, 8, 60) / model.speed_
    u = 10 * rng.normal(size=(60, 2))
    for size in (0.1, 1.0, 10.0):
        direction = rng.normal(size=4)
        z0 = model.center_ + size * model.radius_ * direction / np.linalg.norm(direction)
        run = rom.rollout(model, z0, t, u=u, bound=np.inf)
        distance = np.linalg.norm(run.z - model.center_, axis=1)
        rate = np.linalg.eigvalsh(model.damping_)[0]
        decayed = (size - 1) * model.radius_ * np.exp(-rate * t)
        assert np.all(distance <= (model.radius_ + np.maximum(decayed, 0)) * (1 + 1e-6))


def test_budget_is_the_rate_of_change_of_energy():
    model = anything(0)
    rng = np.random.default_rng(1)
    Z, u = model.center_ + 3 * rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    budget = model.energy_budget(Z, u=u)
    rate = ((Z - model.center_) * model.predict(Z, u=u)).sum(axis=1)
    assert_allclose(budget.sum(axis=1), rate, rtol=1e-10, atol=1e-10)
    assert np.all(budget[:, 0] < 0)
    largest = model.radius_ * np.linalg.eigvalsh(model.damping_)[0]  # the drive's bound
    assert np.all(budget[:, 1] <= largest * np.linalg.norm(Z - model.center_, axis=1))


def test_limit_cycle_is_found_from_within():
    """Van der Pol: energy must be gained near rest, and lost far from it."""

    def rhs(_, z):
        return [z[1], (1 - z[0] ** 2) * z[1] - z[0]]

    t = np.linspace(0, 16, 120)
    Z = solve_ivp(rhs, (0, 16), [0.3, 0.0], t_eval=t, rtol=1e-9).y.T
    model = quick((12,), max_iter=60, window=4).fit(Z, t=t)
    end = rom.rollout(model, Z[0], np.linspace(0, 60, 601)).z[-200:]
    assert_allclose(np.abs(end).max(axis=0), [2.0086, 2.6731], rtol=0.1)


def test_refuses_a_network_without_a_hidden_layer():
    t = np.arange(6.0)
    with pytest.raises(ValueError, match="one layer at least"):
        quick(()).fit(np.stack([t, t], axis=1), t=t)
    with pytest.raises(ValueError, match="positive whole numbers"):
        quick((0,)).fit(np.stack([t, t], axis=1), t=t)
