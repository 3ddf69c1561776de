import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import expm, solve_continuous_lyapunov
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.lim import LinearInverseModel

L = np.array([[-0.3, 1.0, 0.2], [-1.0, -0.3, 0.0], [0.0, 0.5, -0.6]])
Q = np.diag([1.0, 0.5, 0.2]) + 0.1
C0 = solve_continuous_lyapunov(L, -Q)


@parametrize_with_checks([LinearInverseModel()])
def test_sklearn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def run():
    """A long run of the process itself, sampled exactly every 0.2."""
    rng = np.random.default_rng(0)
    step = expm(0.2 * L)
    root = np.linalg.cholesky(C0 - step @ C0 @ step.T)
    kicks = rng.normal(size=(60_000, 3)) @ root.T
    z = np.empty((len(kicks), 3))
    z[0] = np.linalg.cholesky(C0) @ rng.normal(size=3)
    for i in range(1, len(z)):
        z[i] = step @ z[i - 1] + kicks[i]
    return z, 0.2 * np.arange(len(z))


@pytest.fixture(scope="module")
def known():
    """A model of known L and C0: its states have that covariance, and targets are L z."""
    Z = np.sqrt(3) * np.linalg.cholesky(C0).T
    return LinearInverseModel().fit(Z, Z @ L.T)


@pytest.mark.parametrize("lag", [1, 3])
def test_the_process_is_found_from_its_run(run, lag):
    model = LinearInverseModel(lag).fit(run[0], t=run[1])
    assert_allclose(model.L_, L, atol=0.06)
    assert_allclose(model.Q_, Q, atol=0.1)
    assert model.negative_noise_ == 0
    assert model.dt_ == pytest.approx(0.2)


def test_noise_is_what_keeps_the_variance(known):
    assert_allclose(known.L_, L, atol=1e-12)
    assert_allclose(known.Q_, Q, atol=1e-12)


def test_negative_noise_is_removed_and_the_trace_kept():
    """Strong non-normal growth with this covariance would take noise of negative variance."""
    shear = np.array([[-1.0, 4.0], [0.0, -1.0]])
    model = LinearInverseModel().fit(np.sqrt(2) * np.eye(2), np.sqrt(2) * shear.T)
    wanted = -(shear + shear.T)
    assert_allclose(np.linalg.eigvalsh(wanted), [-2.0, 6.0])
    assert_allclose(model.negative_noise_, 1 / 3)
    assert np.linalg.eigvalsh(model.Q_).min() > -1e-12
    assert_allclose(np.trace(model.Q_), np.trace(wanted))


def test_forecast_tends_to_the_climate_and_composes(known):
    z0 = np.array([1.0, -2.0, 0.5])
    assert_allclose(known.forecast(z0, 0.0).mean, z0)
    assert_allclose(known.forecast(z0, 0.0).covariance, 0, atol=1e-15)
    for lead in (0.3, 7.0):
        propagator = expm(lead * L)
        mean, covariance = known.forecast(z0, lead)
        assert_allclose(mean, propagator @ z0, atol=1e-12)
        assert_allclose(covariance, C0 - propagator @ C0 @ propagator.T, atol=1e-12)
    far = known.forecast(z0, 1e4)
    assert_allclose(far.mean, 0, atol=1e-12)
    assert_allclose(far.covariance, C0, rtol=1e-9)


def test_rollout_is_the_mean_forecast(known):
    z0 = np.array([1.0, -2.0, 0.5])
    t = np.array([0.0, 0.7, 3.0])
    means = [known.forecast(z0, lead).mean for lead in t]
    assert_allclose(rom.rollout(known, z0, t).z, means, atol=1e-6)


def test_ensemble_has_the_moments_of_the_forecast_on_uneven_times(known):
    z0, t = np.array([1.0, -2.0, 0.5]), np.array([0.0, 0.1, 0.5, 2.0])
    runs = known.ensemble(z0, t, n_members=20_000, random_state=1)
    assert runs.shape == (20_000, 4, 3)
    assert_array_equal(runs[:, 0], np.broadcast_to(z0, (20_000, 3)))
    for i, lead in enumerate(t[1:], start=1):
        mean, covariance = known.forecast(z0, lead)
        error = np.sqrt(np.diag(covariance) / 20_000)
        assert (np.abs(runs[:, i].mean(axis=0) - mean) < 5 * error).all()
        assert_allclose(np.cov(runs[:, i].T), covariance, atol=0.05 * np.trace(covariance))
    again = known.ensemble(z0, t, n_members=20_000, random_state=1)
    assert_array_equal(runs, again)


def test_tau_test_tells_a_linear_process_from_one_with_memory(run):
    z, t = run
    model = LinearInverseModel().fit(z, t=t)
    assert (model.tau_test(z, [1, 5, 10], t=t) < [1e-3, 0.04, 0.04]).all()
    # The sum of a fast and a slow process is no Markov process.
    mixed = z[:, :1] + np.cumsum(z[:, 1:2], axis=0) * 0.01
    alone = LinearInverseModel().fit(mixed, t=t)
    assert alone.tau_test(mixed, [10], t=t)[0] > 0.1


def test_no_pair_reaches_across_trajectories_or_gaps():
    half = np.exp(-0.5 * np.arange(6.0))[:, None]
    Z = np.concatenate([half, 100 * half, -half])
    t = np.r_[np.arange(6.0), np.arange(6.0), np.arange(9.0, 15.0)]
    model = LinearInverseModel(2).fit(Z, t=t, trajectory=np.repeat([0, 1, 1], 6))
    assert_allclose(model.L_, [[-0.5]])


@given(scale=st.floats(1e-3, 1e3), unit=st.floats(1e-2, 1e2))
@settings(max_examples=10, deadline=None)
def test_units_of_states_and_time_carry_through(scale, unit):
    rng = np.random.default_rng(3)
    Z = np.zeros((300, 2))
    for i in range(1, 300):
        Z[i] = [[0.8, 0.2], [-0.2, 0.7]] @ Z[i - 1] + rng.normal(size=2)
    t = np.arange(300.0)
    one = LinearInverseModel().fit(Z, t=t)
    other = LinearInverseModel().fit(scale * Z, t=unit * t)
    assert_allclose(other.L_ * unit, one.L_, rtol=1e-9)
    assert_allclose(other.Q_ * unit / scale**2, one.Q_, rtol=1e-9)


def test_what_has_no_real_logarithm_is_refused():
    flip = (-0.9) ** np.arange(20.0)[:, None]
    with pytest.raises(ValueError, match=r"1 of 1 eigenvalues .* -0.9: no real L"):
        LinearInverseModel().fit(flip, t=np.arange(20.0))


def test_uneven_times_long_lags_and_inputs_are_refused():
    Z = np.random.default_rng(0).normal(size=(5, 1))
    with pytest.raises(ValueError, match="needs evenly sampled times"):
        LinearInverseModel().fit(Z, t=[0, 1, 2.3, 3.1, 4])
    with pytest.raises(ValueError, match=r"No rows are lag=9 apart: .* has 5 rows"):
        LinearInverseModel(9).fit(Z, t=np.arange(5.0))
    with pytest.raises(ValueError, match="takes no inputs, but u has 1 columns"):
        LinearInverseModel().fit(Z, t=np.arange(5.0), u=Z)


def test_bad_starts_and_leads_are_refused(known):
    with pytest.raises(ValueError, match=r"shape \(3,\), but its shape is \(2,\)"):
        known.forecast([1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"lead must be a time >= 0, but it is -1"):
        known.forecast([1.0, 2.0, 3.0], -1.0)
    partial = LinearInverseModel().fit(np.eye(2), np.ones((2, 1)))
    assert partial.Q_ is None
    with pytest.raises(ValueError, match="as many targets as latent coordinates"):
        partial.forecast([1.0, 2.0], 1.0)


def test_equations_name_the_coordinates():
    model = LinearInverseModel(names=["T", "h"]).fit(np.eye(2), np.array([[-1.0, 2.0], [0.5, 0]]))
    assert model.equations() == ["dT/dt = -1 T + 0.5 h", "dh/dt = 2 T"]


def test_save_and_load_give_the_same_bits(run, tmp_path):
    z, t = run
    model = rom.ROM(rom.Identity(), LinearInverseModel()).fit(z[:200], t=t[:200])
    model.save(tmp_path / "lim.nc")
    loaded = rom.load(tmp_path / "lim.nc").dynamics_
    times = np.arange(4.0)
    assert_array_equal(
        loaded.ensemble(z[0], times, random_state=0),
        model.dynamics_.ensemble(z[0], times, random_state=0),
    )
