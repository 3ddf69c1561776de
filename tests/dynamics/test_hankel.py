import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import rom
from rom.dynamics import DMD
from rom.dynamics.hankel import delays


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 6), st.integers(1, 3))
def test_rows_hold_their_own_history_and_nothing_of_other_trajectories(lengths, n_delays, rank):
    n_time = sum(lengths)
    Z = np.arange(n_time * rank, dtype=float).reshape(n_time, rank)
    label = np.repeat(np.arange(len(lengths)), lengths)
    expected = [i for i in range(n_time) if i >= n_delays and label[i] == label[i - n_delays]]
    if not expected:
        with pytest.raises(ValueError, match=f"n_delays={n_delays + 1} with"):
            delays(Z, n_delays + 1, trajectory=label)
        return
    delayed = delays(Z, n_delays + 1, trajectory=label)
    assert_array_equal(delayed.rows, expected)
    for k in range(n_delays + 1):
        assert_array_equal(delayed.Z[:, k * rank : (k + 1) * rank], Z[delayed.rows - k])


def test_histories_do_not_cross_a_gap():
    t = np.r_[np.arange(5.0), 20 + np.arange(4.0)]
    delayed = delays(t[:, None], 3, t=t)
    assert_array_equal(delayed.rows, [2, 3, 4, 7, 8])
    assert_array_equal(delayed.Z, t[delayed.rows][:, None] - np.arange(3.0))


def test_input_is_not_changed_and_not_shared():
    Z = np.ones((4, 1))
    delays(Z, 1).Z[:] = 7
    assert_array_equal(Z, 1)


def test_one_signal_gives_as_many_rates_as_it_has_exponentials():
    rates = np.array([-0.05 + 3j, -0.05 - 3j, -0.2 + 1j, -0.2 - 1j, -0.4])
    t = 0.1 * np.arange(80)
    signal = np.exp(np.outer(t, rates)).sum(axis=1).real[:, None]
    train = slice(0, 50)
    delayed = delays(signal[train], 5, t=t[train])
    model = DMD().fit(delayed.Z, t=t[delayed.rows])
    assert_allclose(model.rates_, rates, atol=1e-7)
    forecast = rom.rollout(model, delayed.Z[-1], t[49:])
    assert_allclose(forecast.z[:, 0], signal[49:, 0], atol=1e-7)


def test_a_history_of_inputs_makes_a_hidden_state_predictable():
    rng = np.random.default_rng(0)
    A, B = np.array([[0.8, 0.4], [-0.3, 0.9]]), np.array([0.3, 1.0])
    u, z = rng.normal(size=(60, 1)), np.zeros((60, 2))
    for k in range(59):
        z[k + 1] = A @ z[k] + B * u[k]
    seen, forces = delays(z[:40, :1], 2), delays(u[:40], 2)
    model = DMD().fit(seen.Z, u=forces.Z)
    forecast = rom.rollout(
        model, delays(z[40:42, :1], 2).Z[0], np.arange(19.0) + 1, u=delays(u[40:], 2).Z
    )
    assert_allclose(forecast.z[:, 0], z[41:, 0], atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(Z=np.ones(3), n_delays=1), "Z must be 2-D"),
        (dict(Z=np.full((3, 1), np.nan), n_delays=1), "Z contains NaN"),
        (dict(Z=np.ones((3, 1)), n_delays=0), "1 or more, but it is 0"),
        (dict(Z=np.ones((3, 1)), n_delays=1.5), "1 or more, but it is 1.5"),
        (dict(Z=np.ones((3, 1)), n_delays=4), "needs 4 rows"),
        (dict(Z=np.ones((4, 1)), n_delays=2, t=[0, 1, 2.2, 3]), "evenly sampled"),
    ],
)
def test_what_cannot_be_embedded_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        delays(**arguments)
