"""Runs with noise: their statistics, order and seeds."""

import numpy as np
import pytest
from scipy.linalg import expm

import rom
from rom.rollout import noise
from rom.rollout.steppers import euler_maruyama


def model(rank=2):
    rng = np.random.default_rng(0)
    z = np.zeros((5000, rank))
    for i in range(1, len(z)):
        z[i] = 0.8 * z[i - 1] + 0.2 * np.roll(z[i - 1], 1) * [1, -1] + rng.normal(size=rank)
    return rom.LinearInverseModel().fit(z, t=np.arange(5000.0))


def test_the_root_is_that_of_the_covariance():
    fitted = model()
    root = noise.noise_root(fitted)
    np.testing.assert_allclose(root @ root.T, fitted.Q_, atol=1e-12)


def test_what_the_drift_leaves_of_a_run_is_its_noise():
    """Of 100,000 steps, the sampling error of a covariance is 0.45 % of the largest variance."""
    fitted, t = model(), 0.05 * np.arange(100_001)
    run = rom.rollout(fitted, [0.0, 0.0], t, stepper="euler_maruyama", random_state=1)
    kicks = run.z[1:] - run.z[:-1] - 0.05 * run.z[:-1] @ fitted.L_.T
    drawn = noise.draw_kicks(noise.noise_root(fitted), t, 1)
    np.testing.assert_allclose(kicks, drawn, atol=1e-10)
    np.testing.assert_allclose(
        np.cov(kicks.T), 0.05 * fitted.Q_, atol=0.02 * 0.05 * fitted.Q_.max()
    )


def test_a_seed_gives_one_run():
    fitted, t = model(), 0.05 * np.arange(100)
    again = rom.rollout(fitted, [0.0, 0.0], t, stepper="euler_maruyama", random_state=1)
    other = rom.rollout(fitted, [0.0, 0.0], t, stepper="euler_maruyama", random_state=2)
    assert np.abs(again.z - other.z).max() > 0.01
    same = rom.rollout(fitted, [0.0, 0.0], t, stepper="euler_maruyama", random_state=1)
    np.testing.assert_array_equal(again.z, same.z)


def test_single_runs_converge_with_order_one_to_the_same_path():
    """The exact path of dz = a z dt + dW for given increments, by sums over fine ones."""
    a, n, rng = -1.3, 2**14, np.random.default_rng(3)
    errors = []
    for _ in range(40):
        fine = rng.normal(size=(n, 1)) / np.sqrt(n)
        ends = []
        for coarse in (2**5, 2**6, 2**7, n):
            kicks = fine.reshape(coarse, -1).sum(axis=1, keepdims=True)
            t = np.linspace(0, 1, coarse + 1)
            u = np.zeros((coarse + 1, 0))
            if coarse == n:
                steps = expm(np.array([[a]]))[0, 0] ** (1 - t[1:])
                ends.append(np.exp(a) + steps @ kicks[:, 0])
            else:
                z, *_ = euler_maruyama(lambda z, u: a * z, np.ones(1), t, u, 1e6, kicks)
                ends.append(z[-1, 0])
        errors.append(np.abs(np.array(ends[:3]) - ends[3]))
    orders = np.diff(-np.log2(np.mean(errors, axis=0)))
    np.testing.assert_allclose(orders, 1, atol=0.25)


def test_a_model_without_noise_is_named():
    plain = rom.OperatorInference("A").fit([[1.0], [2.0]], [[-1.0], [-2.0]])
    with pytest.raises(ValueError, match=r"needs a model with noise.*OperatorInference has none"):
        rom.rollout(plain, [1.0], [0.0, 1.0], stepper="euler_maruyama")
