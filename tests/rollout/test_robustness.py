"""The search finds the worst perturbation where it is known, and never less than chance."""

import numpy as np
import pytest
from scipy.linalg import expm

import rom
from rom.rollout.robustness import worst_growth

Operators = rom.OperatorInference.from_operators
T = np.linspace(0, 2, 11)
AIMED = [2, 4, 6, 8, 10]


def test_of_a_linear_model_it_is_the_norm_of_the_propagator():
    A = np.array([[-0.1, 5.0, 0.0], [0.0, -0.2, 1.0], [0.0, 0.0, -0.3]])
    found = worst_growth(Operators(A=A), np.ones(3), T, size=0.01)
    exact = [np.linalg.norm(expm(A * t), 2) for t in T]
    np.testing.assert_allclose(found.growth[AIMED], np.array(exact)[AIMED], rtol=1e-5)
    assert np.all(found.growth <= np.array(exact) * (1 + 1e-5))
    assert np.linalg.norm(found.worst) == pytest.approx(0.01)


@pytest.mark.parametrize("seed", range(3))
def test_no_random_perturbation_grows_more(seed):
    rng = np.random.default_rng(seed)
    A, H = rng.normal(size=(3, 3)) - np.eye(3), 0.3 * rng.normal(size=(3, 6))
    model, z0 = Operators(A=A, H=H), 0.3 * rng.normal(size=3)
    base = rom.rollout(model, z0, T).z
    found = worst_growth(model, z0, T, size=0.05)
    changes = rng.normal(size=(300, 3))
    changes *= 0.05 / np.linalg.norm(changes, axis=1, keepdims=True)
    moved = np.array([rom.rollout(model, z0 + d, T).z for d in changes])
    chance = np.linalg.norm(moved - base, axis=2).max(axis=0) / 0.05
    assert np.all(found.growth[AIMED] >= chance[AIMED] * (1 - 1e-6))


def test_a_perturbation_that_escapes_grows_without_bound():
    model = Operators(A=[[-1.0]], H=[[1.0]], bound=100.0)
    found = worst_growth(model, [0.995], np.linspace(0, 10, 21), size=0.01)
    assert found.growth[0] == pytest.approx(1)
    assert np.isinf(found.growth[-1])
    assert found.worst[0] == pytest.approx(0.01)


def test_after_the_end_of_the_rollout_nothing_is_known():
    found = worst_growth(
        Operators(A=[[0.0]], H=[[1.0]], bound=10.0), [1.0], np.linspace(0, 2, 5), size=0.01
    )
    np.testing.assert_array_equal(np.isnan(found.growth), [False, False, True, True, True])


def test_maps_and_inputs():
    k = np.arange(20.0)
    x = np.exp(-0.1 * k)[:, None] * np.c_[np.cos(k), np.sin(k)]
    found = worst_growth(rom.DMD().fit(x, t=k), x[0], k[:6], size=0.1)
    np.testing.assert_allclose(found.growth, np.exp(-0.1 * k[:6]), rtol=1e-6)
    driven = Operators(A=[[-1.0]], B=[[1.0]])
    found = worst_growth(driven, [1.0], T, size=0.1, u=np.sin(T)[:, None])
    np.testing.assert_allclose(found.growth, np.exp(-T), rtol=1e-6)


def test_the_size_is_positive():
    with pytest.raises(ValueError, match="size must be a positive number, but it is 0"):
        worst_growth(Operators(A=[[1.0]]), [1.0], [0.0, 1.0], size=0.0)


def test_growth_past_the_first_order_is_said_so():
    """Ignition, dz/dt = z² - z³: a larger start takes off earlier, and grows by far more."""
    ignition = rom.OperatorInference.from_operators(H=[[1.0]], G=[[-1.0]])
    t = np.arange(0, 61.0)
    starts = [0.005, 0.007, 0.01, 0.012, 0.015, 0.02, 0.04, 0.05, 0.006, 0.03]
    Z = np.concatenate([rom.rollout(ignition, [z], t).z for z in starts])
    model = rom.ROM(rom.Identity(), rom.OperatorInference("HG", ridge=1e-14))
    model.set_params(preprocess=rom.Scale(center=False, scale=False))
    times, labels = np.tile(t, len(starts)), np.repeat(np.arange(len(starts)), len(t))
    model.fit(Z, t=times, trajectory=labels)
    report = rom.check(model, Z, t=times, trajectory=labels, horizon=60.0, thorough=True)
    found, bound = (report.data[n].values for n in ("perturbation_growth", "growth_bound"))
    assert found[-1] > bound[-1]
    words = f"to first order at most {bound[-1]:.3g}, which does not hold for one so large."
    assert any(words in reason for reason in report.reasons)
