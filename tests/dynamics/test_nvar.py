import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import Identity
from rom.dynamics.hankel import delays
from rom.dynamics.nvar import NVAR
from rom.fom import Lorenz63


@parametrize_with_checks([NVAR(), NVAR(degree=1, ridge=0.0)])
def test_sklearn(estimator, check):
    check(estimator)


def henon(n, a=1.4, b=0.3):
    """The Hénon map as a map of one variable with memory: x(n+1) = 1 - a x(n)² + b x(n-1)."""
    x = [0.1, 0.2]
    while len(x) < n:
        x.append(1 - a * x[-1] ** 2 + b * x[-2])
    return np.array(x)[:, None]


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    rank=st.integers(1, 3),
    n_delays=st.integers(1, 4),
    stride=st.integers(1, 3),
)
def test_every_block_is_the_row_that_many_steps_before(lengths, rank, n_delays, stride):
    label = np.repeat(np.arange(len(lengths)), lengths)
    Z = np.random.default_rng(0).normal(size=(len(label), rank))
    past = (n_delays - 1) * stride
    if max(lengths) <= past:
        with pytest.raises(ValueError, match="the longest stretch has"):
            delays(Z, n_delays, stride=stride, trajectory=label)
        return
    rows, embedded = delays(Z, n_delays, stride=stride, trajectory=label)
    assert len(rows) == sum(max(0, n - past) for n in lengths)
    for block in range(n_delays):
        assert_array_equal(embedded[:, block * rank :][:, :rank], Z[rows - block * stride])
    assert_array_equal(label[rows - past], label[rows])


def test_delays_stop_at_gaps_and_need_even_times():
    Z = np.arange(6.0)[:, None]
    rows, _ = delays(Z, 2, t=[0, 1, 2, 9, 10, 11])
    assert rows.tolist() == [1, 2, 4, 5]
    with pytest.raises(ValueError, match="embedding needs evenly sampled times"):
        delays(Z, 2, t=[0, 1, 2.2, 3, 4, 5])
    assert len(delays(Z, 1, t=[0, 1, 2.2, 3, 4, 5])[0]) == 6


@pytest.mark.parametrize(("n_delays", "stride"), [(0, 1), (1, 0)])
def test_delays_refuses_no_delay(n_delays, stride):
    with pytest.raises(ValueError, match="must be a whole number, 1 or more"):
        delays(np.ones((3, 1)), n_delays, stride=stride)


def test_delays_refuses_a_vector():
    with pytest.raises(ValueError, match="Z must be 2-D"):
        delays(np.ones(3), 1)


def test_the_henon_map_is_found_exactly():
    _, embedded = delays(henon(200), 2)
    model = NVAR(n_delays=2, ridge=0.0).fit(embedded)
    # 1, x, x', x², x x', x'²
    assert_allclose(model.coef_, [[1, 0, 0.3, -1.4, 0, 0]], atol=1e-12)


def test_trajectories_do_not_mix():
    label = np.repeat([0, 1, 2], [50, 3, 80])
    series = np.concatenate([henon(200)[5:55], henon(200)[100:103], henon(200)[20:100]])
    rows, embedded = delays(series, 2, trajectory=label)
    model = NVAR(n_delays=2, ridge=0.0).fit(embedded, trajectory=label[rows])
    assert_allclose(model.coef_, [[1, 0, 0.3, -1.4, 0, 0]], atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize(("n_delays", "stride"), [(1, 1), (2, 1), (3, 2)])
def test_the_polynomial_is_the_map(degree, n_delays, stride):
    rng = np.random.default_rng(0)
    span, n = (n_delays - 1) * stride + 1, 60
    u = rng.normal(size=(n, 1))
    rows, embedded = delays(rng.normal(size=(n, 2)), span)
    u = u[rows]
    model = NVAR(n_delays, stride=stride, degree=degree).fit(embedded, u=u)
    exponents, coef = model.polynomial()
    value = np.prod(np.hstack([embedded, u])[:, None] ** exponents, axis=2) @ coef.T
    after = model.predict(embedded, u=u)
    assert_allclose(value, after, rtol=1e-9, atol=1e-9)
    assert_array_equal(after[:, 2:], embedded[:, :-2])


def test_a_stride_sees_every_other_state():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 1)).tolist()
    while len(x) < 200:
        x.append([0.8 * x[-3][0] - 0.5 * x[-1][0] + 0.1 * np.sin(len(x))])
    t = np.arange(200.0)
    rows, embedded = delays(np.array(x), 3, t=t)
    forcing = 0.1 * np.sin(rows + 1.0)[:, None]
    model = NVAR(n_delays=2, stride=2, degree=1, ridge=0.0).fit(embedded, t=t[rows], u=forcing)
    assert_allclose(model.coef_, [[0, -0.5, 0.8, 1]], atol=1e-10)
    run = rom.rollout(model, embedded[0], t[rows], u=forcing)
    assert_allclose(run.z, embedded, atol=1e-9)


def test_lorenz_from_400_rows():
    """dt = 0.025, two delays, degree 2, as published: good for four Lyapunov times."""
    t = np.arange(1000) * 0.025
    Z = Lorenz63().simulate([-8.0, 8.0, 27.0], t).values[200:]
    t = t[200:]
    rows, embedded = delays(Z, 2, t=t)
    train = slice(0, 400)
    model = NVAR(n_delays=2).fit(embedded[train], t=t[rows][train])
    run = rom.rollout(model, embedded[399], t[rows][399:])
    error = np.linalg.norm(run.z[:, :3] - Z[rows][399:], axis=1) / np.sqrt(np.mean(Z**2))
    valid = t[rows][399:][np.argmax(error > 0.4 * np.sqrt(3))] - t[rows][399]
    assert valid > 4 / 0.906  # Lyapunov times


def test_ridge_shrinks_to_persistence():
    Z = np.random.default_rng(0).normal(size=(50, 2))
    model = NVAR(ridge=1e12).fit(Z)
    assert_allclose(model.predict(Z), Z, atol=1e-9)


def test_units_change_no_model():
    rng = np.random.default_rng(0)
    Z = np.cumsum(rng.normal(size=(80, 2)), axis=0)
    small = NVAR(ridge=1e-3).fit(Z * 1e-3).predict(Z * 1e-3)
    assert_allclose(small, 1e-3 * NVAR(ridge=1e-3).fit(Z).predict(Z), rtol=1e-8)


def test_one_state_per_row_works_in_a_rom():
    Z = henon(150)
    states = np.hstack([Z[1:], Z[:-1]])
    model = rom.ROM(Identity(), NVAR(ridge=0.0), preprocess=rom.Scale(center=False)).fit(states)
    run = model.rollout(states[0], np.arange(10.0))
    assert_allclose(run["latent"].values, model.encode(states)[:10], atol=1e-8)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"rows of 2 states, as delays\(Z, 2\) makes them"):
        NVAR(n_delays=2).fit(np.eye(3))
    with pytest.raises(ValueError, match="next rows, with 4 columns, but y has 2"):
        NVAR(n_delays=2).fit(np.eye(4), np.eye(4)[:, :2])


def test_uneven_times_are_refused():
    with pytest.raises(ValueError, match="NVAR needs evenly sampled times"):
        NVAR().fit(np.eye(4), t=[0, 1, 2.3, 3])
