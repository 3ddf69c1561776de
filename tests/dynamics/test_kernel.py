import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import Identity
from rom.dynamics import delays
from rom.dynamics.kernel import MARGIN, KernelModel
from rom.fom import Lorenz63


@parametrize_with_checks([KernelModel()])
def test_sklearn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def lorenz():
    t = np.arange(1000) * 0.05
    return t[200:], Lorenz63().simulate([-8.0, 8.0, 27.0], t).values[200:]


def test_it_is_the_mean_of_a_gaussian_process(lorenz):
    _, Z = lorenz
    model = KernelModel(length=0.4, ridge=1e-3).fit(Z[:200])
    scale = Z[:200].std(axis=0).max()
    pairs = Z[:199, None] - Z[None, :199]
    length = 0.4 * np.sqrt(np.mean(np.sum(pairs**2, axis=2)))
    process = GaussianProcessRegressor(Matern(length / scale, nu=2.5), alpha=1e-3, optimizer=None)
    process.fit(Z[:199] / scale, Z[1:200] - Z[:199])
    seen = Z[300:340]
    expected = np.clip(seen + process.predict(seen / scale), model.low_, model.high_)
    assert_allclose(model.predict(seen), expected, rtol=1e-8)


def test_without_noise_the_training_rows_are_met(lorenz):
    _, Z = lorenz
    model = KernelModel(ridge=1e-12).fit(Z[:300])
    assert_allclose(model.predict(Z[:299]), Z[1:300], atol=1e-6)


def test_more_ridge_comes_to_persistence(lorenz):
    _, Z = lorenz
    assert_allclose(KernelModel(ridge=1e12).fit(Z).predict(Z), Z, atol=1e-6)


def test_error_falls_with_the_order_of_the_kernel():
    """A kernel of smoothness 5/2 interpolates a smooth function to order 5/2 at least."""
    f = lambda z: np.sin(3 * z) + 0.2 * z  # noqa: E731
    inside = np.linspace(-0.8, 0.8, 301)[:, None]
    errors = []
    for n in (20, 40, 80):
        z = np.linspace(-1, 1, n)[:, None]
        model = KernelModel(length=0.5, ridge=1e-12).fit(z, f(z))
        errors.append(np.abs(model.predict(inside) - f(inside)).max())
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) > 2.5)


def test_units_and_origin_of_the_states_change_no_model(lorenz):
    _, Z = lorenz
    moved = KernelModel().fit(Z[:300] * 1e-3 + 5.0).predict(Z * 1e-3 + 5.0)
    assert_allclose(moved, KernelModel().fit(Z[:300]).predict(Z) * 1e-3 + 5.0, atol=1e-8)


def test_every_rollout_stays_in_the_box(lorenz):
    """From anywhere, and with coefficients of any size."""
    _, Z = lorenz
    model = KernelModel().fit(Z[:200])
    model.coef_ = -1e6 * model.coef_
    newest = Z[1:200]
    margin = MARGIN * np.ptp(newest, axis=0) + 1e-9
    for start in (Z[0], 1e6 * Z[0]):
        run = rom.rollout(model, start, np.arange(50.0), bound=np.inf).z[1:]
        assert np.all((run >= newest.min(0) - margin) & (run <= newest.max(0) + margin))


def test_one_coordinate_with_delays_forecasts_lorenz(lorenz):
    t, Z = lorenz
    rows, embedded = delays(Z[:, :1], 7, t=t)
    size = np.sqrt(np.mean((Z[:, 0] - Z[:, 0].mean()) ** 2))
    worst = {}
    for n_delays, stride in ((1, 1), (4, 2)):
        Zs = embedded if n_delays > 1 else embedded[:, :1]
        model = KernelModel(n_delays, stride=stride).fit(Zs[:700], t=t[rows[:700]])
        run = rom.rollout(model, Zs[699], t[rows[699:740]], throw=False)
        worst[n_delays] = np.abs(run.z[:, 0] - embedded[699:740, 0]).max() / size
    assert worst[4] < 0.1  # for 1.8 Lyapunov times
    assert worst[1] > 1


def test_the_columns_between_the_strides_do_not_count(lorenz):
    _, Z = lorenz
    embedded = delays(Z, 5).Z
    model = KernelModel(3, stride=2).fit(embedded[:100])
    changed = embedded.reshape(-1, 5, 3).copy()
    changed[:, 1::2] = 7.0
    after = model.predict(changed.reshape(len(embedded), -1))
    assert_array_equal(after[:, :3], model.predict(embedded)[:, :3])
    assert_array_equal(after[:, 3:], changed.reshape(len(embedded), -1)[:, :-3])


def test_trajectories_do_not_mix():
    series = np.concatenate([np.full(30, 5.0), np.tile([1.0, -1.0], 20)])[:, None]
    label = np.repeat([0, 1], [30, 40])
    rows, embedded = delays(series, 2, trajectory=label)
    model = KernelModel(2).fit(embedded, trajectory=label[rows])
    assert_allclose(rom.rollout(model, [5.0, 5.0], range(6)).z, 5.0, atol=1e-6)
    assert_allclose(rom.rollout(model, [1.0, -1.0], range(4)).z[:, 0], [1, -1, 1, -1], atol=1e-6)


def test_inputs_drive_the_next_state():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (500, 1))
    z = np.zeros((500, 1))
    for n in range(499):
        z[n + 1] = 0.5 * z[n] + np.tanh(u[n])
    model = KernelModel().fit(z[:400], u=u[:400])
    assert_allclose(model.predict(z[400:-1], u=u[400:-1]), z[401:], atol=0.01)


def test_targets_may_be_of_another_number():
    Z = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    model = KernelModel().fit(Z, Z[:, :1] * Z[:, 1:])
    assert_allclose(model.predict(Z[:50] * 0.9), 0.81 * Z[:50, :1] * Z[:50, 1:], atol=3e-3)


def test_saved_and_loaded_to_the_bit(lorenz, tmp_path):
    t, Z = lorenz
    model = rom.ROM(Identity(), KernelModel()).fit(Z[:300], t=t[:300])
    model.save(tmp_path / "model.nc")
    again = rom.load(tmp_path / "model.nc")
    assert_array_equal(again.dynamics_.predict(Z), model.dynamics_.predict(Z))


def test_a_constant_coordinate_is_kept():
    Z = np.column_stack([np.sin(np.arange(60.0)), np.full(60, 3.0)])
    assert_allclose(KernelModel().fit(Z).predict(Z)[:, 1], 3.0)
    assert_allclose(KernelModel().fit(np.full((5, 1), 3.0)).predict([[3.0]]), 3.0)


def test_refusals():
    with pytest.raises(ValueError, match=r"KernelModel needs rows of 3 states, as delays\(Z, 3\)"):
        KernelModel(2, stride=2).fit(np.eye(4))
    with pytest.raises(ValueError, match="evenly sampled"):
        KernelModel().fit(np.arange(4.0)[:, None], t=[0.0, 1.0, 2.0, 3.2])
    with pytest.raises(ValueError, match="'ridge' parameter"):
        KernelModel(ridge=0.0).fit(np.eye(3))
