import numpy as np
import pytest
from scipy import linalg

from rom.compress import ar1

STARTS = np.isin(np.arange(9), [0, 5])


def prior_covariance(memory, starts):
    """Of all latents at all times, one latent after the other."""
    n_time = len(starts)
    lag = np.abs(np.subtract.outer(np.arange(n_time), np.arange(n_time)))
    run = np.cumsum(starts)
    same = run[:, None] == run
    return linalg.block_diag(*(np.where(same, m**lag, 0.0) for m in memory))


def random_rows(n_time, rank, seed=0):
    """Precision and right-hand side of rows that see little of the latents, or nothing."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(n_time, rank - 1, rank))
    seen[rng.random(n_time) < 0.3] = 0.0
    precision = seen.transpose(0, 2, 1) @ seen
    return precision, np.einsum("tij,tj->ti", precision, rng.normal(size=(n_time, rank)))


def test_posterior_is_that_of_the_joint_covariance():
    memory = np.array([0.95, 0.4, 0.0])
    precision, right = random_rows(9, 3)
    found = ar1.posterior(precision, right, memory, STARTS)
    information = np.zeros((3, 9, 3, 9))
    for t in range(9):
        information[:, t, :, t] = precision[t]
    joint = np.linalg.inv(
        information.reshape(27, 27) + np.linalg.inv(prior_covariance(memory, STARTS))
    )
    mean = (joint @ right.T.ravel()).reshape(3, 9)
    joint = joint.reshape(3, 9, 3, 9)
    np.testing.assert_allclose(found.mean, mean.T, atol=1e-12)
    for t in range(9):
        np.testing.assert_allclose(found.covariance[t], joint[:, t, :, t], atol=1e-12)
        lagged = mean[:, t] * mean[:, t - 1] + joint[:, t, :, t - 1].diagonal()
        np.testing.assert_allclose(found.lagged[t], 0.0 if STARTS[t] else lagged, atol=1e-12)


def test_without_memory_rows_stand_alone():
    precision, right = random_rows(9, 3)
    found = ar1.posterior(precision, right, np.zeros(3), STARTS)
    alone = np.linalg.inv(precision + np.eye(3))
    np.testing.assert_allclose(found.covariance, alone, atol=1e-12)
    np.testing.assert_allclose(found.mean, np.einsum("tij,tj->ti", alone, right), atol=1e-12)


def test_latents_without_data_have_their_prior():
    found = ar1.posterior(np.zeros((9, 2, 2)), np.zeros((9, 2)), np.array([0.9, 0.1]), STARTS)
    np.testing.assert_array_equal(found.mean, 0.0)
    np.testing.assert_allclose(found.covariance, np.broadcast_to(np.eye(2), (9, 2, 2)), atol=1e-12)
    np.testing.assert_allclose(found.lagged[~STARTS], [[0.9, 0.1]] * 7, atol=1e-12)


def remembered(z, noise, starts, steps=8):
    memory = np.zeros(z.shape[1])
    precision = np.broadcast_to(np.eye(z.shape[1]) / noise, (len(z), z.shape[1], z.shape[1]))
    for _ in range(steps):
        found = ar1.posterior(precision.copy(), z / noise, memory, starts)
        memory = ar1.likelier_memory(found, starts)
    return memory


def test_memory_is_found_behind_noise_and_not_in_shuffled_rows():
    rng = np.random.default_rng(0)
    true, n_time = np.array([0.9, 0.5, 0.0]), 1000
    z = rng.normal(size=(n_time, 3))
    for t in range(1, n_time):
        z[t] = true * z[t - 1] + np.sqrt(1 - true**2) * z[t]
    observed = z + np.sqrt(0.5) * rng.normal(size=z.shape)
    starts = np.arange(n_time) == 0
    # The variance of an estimate from noisy moments one row apart.
    off = 4 * (1 + 0.5) / np.sqrt(n_time)
    np.testing.assert_allclose(remembered(observed, 0.5, starts), true, atol=off)
    np.testing.assert_array_less(remembered(rng.permutation(observed), 0.5, starts), off)


@pytest.mark.parametrize("n_time", [1, 4])
def test_runs_of_one_row_have_no_memory(n_time):
    found = ar1.posterior(
        np.ones((n_time, 1, 1)), np.ones((n_time, 1)), np.array([0.9]), np.ones(n_time, bool)
    )
    np.testing.assert_allclose(found.mean, 0.5)
    np.testing.assert_array_equal(ar1.likelier_memory(found, np.ones(n_time, bool)), 0.0)
