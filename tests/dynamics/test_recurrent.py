import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import Identity
from rom.data.trajectory import segments
from rom.dynamics import delays
from rom.dynamics.recurrent import RecurrentModel, _hold_out

CELLS = ["gru", "lstm"]
OMEGA = 0.3  # radians a row


def wave(n):
    angle = OMEGA * np.arange(n)
    return np.column_stack([np.cos(angle), np.sin(angle)])


@parametrize_with_checks([RecurrentModel(4, cell=cell, max_iter=2, window=2) for cell in CELLS])
def test_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("cell", CELLS)
def test_the_units_are_those_of_torch(cell):
    import torch

    rng = np.random.default_rng(0)
    Z = delays(rng.normal(size=(40, 2)), 5).Z
    model = RecurrentModel(6, 5, cell=cell, max_iter=3, window=1, random_state=0).fit(Z)
    W, U, R = model.weights_
    b, c = model.biases_
    peer = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](2, 6, batch_first=True).double()
    with torch.no_grad():
        peer.weight_ih_l0[:], peer.weight_hh_l0[:] = torch.tensor(W.T), torch.tensor(U.T)
        peer.bias_ih_l0[:], peer.bias_hh_l0[:] = torch.tensor(b), 0.0
        oldest_first = (Z.reshape(-1, 5, 2)[:, ::-1] - model.mean_) / model.scale_
        h = peer(torch.tensor(oldest_first))[0][:, -1].numpy()
    after = model.predict(Z)
    assert_allclose(after[:, :2], Z[:, :2] + model.change_scale_ * (h @ R + c), rtol=1e-10)
    assert_array_equal(after[:, 2:], Z[:, :-2])


@pytest.mark.parametrize("cell", CELLS)
def test_a_wave_is_forecast(cell):
    Z = wave(160)
    model = RecurrentModel(8, cell=cell, window=4, max_iter=60, random_state=0).fit(Z[:120])
    run = rom.rollout(model, Z[119], np.arange(41.0)).z
    assert np.abs(run - Z[119:]).max() < 0.1


def test_memory_makes_up_for_what_is_not_seen():
    """The cosine alone does not say whether it rises or falls."""
    error = {}
    for n_delays in (1, 3):
        Z = delays(wave(120)[:, :1], n_delays).Z
        model = RecurrentModel(8, n_delays, window=1, max_iter=60, random_state=0).fit(Z)
        error[n_delays] = np.sqrt(np.mean((model.predict(Z[:-1]) - Z[1:])[:, 0] ** 2))
    assert error[1] > 0.15
    assert error[3] < 0.02


def test_the_second_training_lowers_the_error_of_runs():
    rng = np.random.default_rng(0)
    Z = wave(80) + 0.05 * rng.normal(size=(80, 2))

    def error_of_runs(window):
        model = RecurrentModel(
            6, window=window, max_iter=30, validation_fraction=0.0, random_state=0
        ).fit(Z)
        state, starts = Z[0 : 80 - 6 : 3], np.arange(0, 80 - 6, 3)
        total = 0.0
        for k in range(1, 7):
            state = model.predict(state)
            total += np.mean((state - Z[starts + k]) ** 2)
        return total

    assert error_of_runs(6) < error_of_runs(1)


@pytest.mark.parametrize("cell", CELLS)
def test_every_rollout_is_bounded(cell):
    """From anywhere, and with weights of any size: units lie in [-1, 1]."""
    Z = wave(40)
    model = RecurrentModel(6, cell=cell, max_iter=2, random_state=0).fit(Z)
    model.weights_ = [30 * weight for weight in model.weights_]
    push = np.abs(model.weights_[2]).sum(axis=0) + np.abs(model.biases_[1])
    farthest = model.radius_ * model.scale_ + model.change_scale_ * push
    for start in (Z[0], 1e6 * Z[0]):
        run = rom.rollout(model, start, np.arange(100.0), bound=np.inf).z[1:]
        assert np.all(np.abs(run - model.mean_) <= farthest)


def test_seeds_and_data_are_respected():
    import torch

    Z = wave(40)
    before, state = Z.copy(), torch.get_rng_state()
    first, again, other = (RecurrentModel(6, max_iter=5, random_state=s).fit(Z) for s in (0, 0, 1))
    for a, b in zip(first.weights_ + first.biases_, again.weights_ + again.biases_, strict=True):
        assert_array_equal(a, b)
    assert not np.array_equal(first.weights_[0], other.weights_[0])
    assert_array_equal(Z, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_trajectories_do_not_mix():
    """A step from one to the other would be a change of 4 to 6."""
    series = np.concatenate([np.full(30, 5.0), np.tile([1.0, -1.0], 20)])[:, None]
    label = np.repeat([0, 1], [30, 40])
    rows, Z = delays(series, 2, trajectory=label)
    model = RecurrentModel(8, 2, max_iter=100, random_state=0).fit(Z, trajectory=label[rows])
    assert_allclose(rom.rollout(model, [5.0, 5.0], range(5)).z, 5.0, atol=0.05)
    assert_allclose(rom.rollout(model, [1.0, -1.0], range(4)).z[:, 0], [1, -1, 1, -1], atol=0.05)


def test_inputs_drive_the_next_state():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (300, 1))
    z = np.zeros((300, 1))
    for n in range(299):
        z[n + 1] = 0.5 * z[n] + np.tanh(u[n])
    model = RecurrentModel(8, max_iter=60, window=2, random_state=0).fit(z[:200], u=u[:200])
    assert_allclose(model.predict(z[200:-1], u=u[200:-1]), z[201:], atol=0.05)


@pytest.mark.parametrize("fraction", [0.0, 0.15, 0.5])
def test_held_out_stretches_and_training_rows_make_up_all_rows(fraction):
    pieces = segments(None, np.repeat([0, 1, 2], [100, 5, 60]))
    train, held = _hold_out(pieces, fraction, 10)
    rows = lambda part: np.concatenate([np.r_[piece] for piece in part])  # noqa: E731
    assert all(any(p.start <= s.start < s.stop <= p.stop for p in pieces) for s in train + held)
    if fraction == 0.0:
        assert held == train == pieces
        return
    assert_array_equal(np.sort(np.r_[rows(train), rows(held)]), np.arange(165))
    assert 0.5 * fraction < len(rows(held)) / 165 < 1.2 * fraction


@pytest.mark.parametrize("n", [2, 3, 9])
def test_few_rows(n):
    model = RecurrentModel(3, max_iter=2, random_state=0).fit(wave(n))
    assert np.isfinite(model.predict([[1.0, 0.0]])).all()


def test_given_next_rows_may_be_targets_of_another_number():
    Z = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    model = RecurrentModel(8, max_iter=60, random_state=0).fit(Z, Z[:, :1] * Z[:, 1:])
    assert model.radius_ == 0
    assert np.abs(model.predict(Z) - Z[:, :1] * Z[:, 1:]).max() < 0.1


def test_saved_and_loaded_to_the_bit(tmp_path):
    Z, t = wave(40), np.arange(40.0)
    model = rom.ROM(Identity(), RecurrentModel(4, max_iter=2, random_state=0)).fit(Z, t=t)
    model.save(tmp_path / "model.nc")
    again = rom.load(tmp_path / "model.nc")
    assert_array_equal(again.dynamics_.predict(Z), model.dynamics_.predict(Z))


def test_a_constant_coordinate_is_kept():
    Z = np.column_stack([wave(60), np.full(60, 3.0)])
    model = RecurrentModel(6, window=1, max_iter=60, random_state=0).fit(Z)
    assert_allclose(model.predict(Z)[:, 2], 3.0, atol=0.02)


def test_refusals():
    with pytest.raises(ValueError, match=r"RecurrentModel needs rows of 2 states, as delays\(Z, 2"):
        RecurrentModel(n_delays=2).fit(np.eye(3))
    with pytest.raises(ValueError, match="stands alone"):
        RecurrentModel().fit(np.eye(3), trajectory=[0, 1, 2])
    with pytest.raises(ValueError, match="evenly sampled"):
        RecurrentModel().fit(np.eye(3), t=[0.0, 1.0, 2.4])
    with pytest.raises(ValueError, match="'cell' parameter"):
        RecurrentModel(cell="rnn").fit(np.eye(3))
