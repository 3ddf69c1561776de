import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import gram
from rom.compress.pod import POD
from rom.compress.shifted_pod import ShiftedPOD

N = 96


def pulse(position, width, n=N):
    """Periodic Gaussian pulses, one a row, so wide that rounding hides what is not resolved."""
    position = np.asarray(position, dtype=float) % n
    x = np.arange(n) - position[:, None]
    width = np.broadcast_to(width, len(x))[:, None]
    return sum(np.exp(-0.5 * ((x + turn * n) / width) ** 2) for turn in range(-9, 10))


def travelling(n_time=40, speed=2.7, width=4.0, **shape):
    return pulse(20 + speed * np.arange(n_time), width, **shape)


def crossing(n_time=60, widths=(3.0, 5.0), heights=(1.0, 0.7)):
    t = np.arange(n_time)
    return heights[0] * pulse(20 + 2.3 * t, widths[0]) + heights[1] * pulse(70 - 1.1 * t, widths[1])


def error(model, X):
    back = model.inverse_transform(model.transform(X))
    return np.linalg.norm(back - X) / np.linalg.norm(X)


def reduced(compressor, dynamics, X, t):
    preprocess = rom.Scale(center=False, scale=False)
    return rom.ROM(compressor, dynamics, preprocess=preprocess).fit(X, t=t)


def rollout_fields(model, x0, t):
    fields = model.rollout(x0, t).drop_vars("latent")
    return fields[next(iter(fields))].values


def expected_failures(estimator):
    order = "displacements are unwrapped along the rows of a call, so rows depend on their order"
    one = "it sets n_components=1, but a frame needs an amplitude and a displacement"
    return {
        "check_methods_sample_order_invariance": order,
        "check_methods_subset_invariance": order,
        "check_dont_overwrite_parameters": one,
        "check_fit2d_predict1d": one,
    }


@parametrize_with_checks(
    [ShiftedPOD(), ShiftedPOD(n_components=2)], expected_failed_checks=expected_failures
)
def test_sklearn_contract(estimator, check):
    check(estimator)


def test_last_row_lies_on_the_branch_nearest_to_the_end_of_training():
    X = travelling(n_time=90)
    fitted = ShiftedPOD(3).fit(X[:60])
    Z = fitted.transform(X[:60])
    np.testing.assert_array_equal(ShiftedPOD(3).fit_transform(X[:60]), Z)
    np.testing.assert_allclose(Z[:, -1] / fitted.scale_[0], 2.7 * np.arange(60), atol=1e-9)
    # The series has been around; a part of it that ends early starts a turn later.
    early = fitted.transform(X[:20])
    np.testing.assert_allclose(early[:, :-1], Z[:20, :-1], atol=1e-10)
    turns = (early[:, -1] - Z[:20, -1]) / fitted.scale_[0] / N
    np.testing.assert_allclose(turns, 1, atol=1e-10)
    alone = np.concatenate([fitted.transform(row[None]) for row in X])
    apart = alone[:, -1] / fitted.scale_[0] - fitted.displacement_[0, -1]
    assert np.all(np.abs(apart) <= N / 2 + 1e-9)
    next_rows = np.arange(60, 77)  # 17 rows are less than half a turn
    np.testing.assert_allclose(alone[next_rows, -1] / fitted.scale_[0], 2.7 * next_rows, atol=1e-9)
    np.testing.assert_allclose(fitted.inverse_transform(alone), X, atol=1e-10)


@pytest.mark.parametrize("start", [59, 60])
@pytest.mark.parametrize("dynamics", [rom.DMD(), rom.OperatorInference("cA")])
def test_a_forecast_past_the_training_window_is_nearly_as_good_as_the_modes(dynamics, start):
    t = np.arange(80.0)
    X = pulse(20 + 2.7 * t, 3 + 0.02 * t)
    model = reduced(ShiftedPOD(5), dynamics, X[:60], t[:60])
    forecast = rollout_fields(model, X[start], t[start:])
    best = error(model.compressor_, X[start:])
    assert best < 1e-3
    assert np.linalg.norm(forecast - X[start:]) < 4 * best * np.linalg.norm(X[start:])


@pytest.mark.parametrize("widths", [(3.0, 5.0), (4.0, 4.0)])
def test_a_forecast_of_two_pulses_starts_on_the_right_branch_and_frame(widths):
    X, t = crossing(widths=widths, n_time=90), np.arange(90.0)
    model = reduced(ShiftedPOD(4, n_frames=2), rom.DMD(), X[:60], t[:60])
    np.testing.assert_array_equal(model.encode(X[:60]), model.latent_)
    for start in (59, 60):
        forecast = rollout_fields(model, X[start], t[start:])
        np.testing.assert_allclose(forecast, X[start:], atol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 2])
def test_a_loaded_model_gives_the_same_bits(n_frames, tmp_path):
    t = np.arange(60.0)
    X = crossing() if n_frames == 2 else travelling(n_time=60)
    model = reduced(ShiftedPOD(4, n_frames=n_frames), rom.DMD(), X[:50], t[:50])
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    np.testing.assert_array_equal(loaded.encode(X), model.encode(X))
    np.testing.assert_array_equal(
        rollout_fields(loaded, X[50], t[50:]), rollout_fields(model, X[50], t[50:])
    )


@pytest.mark.parametrize("n", [96, 97])
def test_pure_translation_is_exact_with_one_mode(n):
    X = travelling(speed=np.sqrt(7), n=n)
    fitted = ShiftedPOD(2).fit(X)
    assert fitted.components_.shape == (fitted.rank_ - 1, n) == (1, n)
    assert error(fitted, X) < 1e-13
    np.testing.assert_allclose(fitted.displacement_[0], np.sqrt(7) * np.arange(40), atol=1e-6)
    np.testing.assert_allclose(
        fitted.transform(X)[:, -1] / fitted.scale_[0], fitted.displacement_[0], atol=1e-9
    )
    np.testing.assert_allclose(fitted.speed_, np.sqrt(7), atol=1e-9)


def test_more_modes_than_a_translation_has_are_not_made_up():
    X = travelling(speed=3.0)
    assert ShiftedPOD(10).fit(X).rank_ < 10
    assert error(ShiftedPOD(10).fit(X), X) < 1e-13


@given(shift=st.floats(-N / 2 + 1, N / 2 - 1), speed=st.floats(-5, 5))
@settings(max_examples=10, deadline=None)
def test_moving_the_input_moves_the_displacement_and_nothing_else(shift, speed):
    t = np.arange(30)
    width = 4 + 0.05 * t
    fitted = ShiftedPOD(4).fit(pulse(20 + speed * t, width))
    Z = fitted.transform(pulse(20 + speed * t, width))
    moved = fitted.transform(pulse(20 + shift + speed * t, width))
    np.testing.assert_allclose(moved[:, :-1], Z[:, :-1], atol=1e-8)
    by = (moved[:, -1] - Z[:, -1]) / fitted.scale_[0]
    np.testing.assert_allclose(by, by[0], atol=1e-6)
    np.testing.assert_allclose((by[0] - shift + N / 2) % N - N / 2, 0, atol=1e-6)


def test_rolling_noise_by_whole_cells_rolls_the_displacement():
    X = np.random.default_rng(0).normal(size=(20, 12))
    fitted = ShiftedPOD(4).fit(X)
    Z, rolled = fitted.transform(X), fitted.transform(np.roll(X, 5, axis=1))
    np.testing.assert_allclose(rolled[:, :-1], Z[:, :-1], atol=1e-9)
    turns = ((rolled - Z)[:, -1] / fitted.scale_[0] - 5) / 12
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-9)


def test_encode_is_the_left_inverse_of_decode():
    t = np.arange(40)
    fitted = ShiftedPOD(4).fit(pulse(20 + 2.7 * t, 3 + 0.05 * t))
    Z = fitted.transform(pulse(20 + 2.7 * t, 3 + 0.05 * t))
    again = fitted.transform(fitted.inverse_transform(Z))
    np.testing.assert_allclose(again, Z, atol=1e-8 * np.abs(Z).max())


def test_modes_are_orthonormal_and_across_the_motion():
    t = np.arange(40)
    fitted = ShiftedPOD(5).fit(pulse(20 + 2.7 * t, 3 + 0.05 * t))
    C = fitted.components_
    np.testing.assert_allclose(C @ C.T, np.eye(4), atol=1e-12)
    slope = np.fft.irfft(np.fft.rfft(fitted.template_[0]) * np.arange(N // 2 + 1) * 1j, N)
    strong = fitted.singular_values_ > 1e-6 * fitted.singular_values_[0]
    np.testing.assert_allclose(C[strong] @ slope / np.linalg.norm(slope), 0, atol=1e-6)


def test_a_pulse_that_spreads_on_its_way_needs_far_fewer_coordinates_than_pod():
    t = np.arange(75)
    X = pulse(20 + 2.7 * t, 2.5 + 0.02 * t)
    train, held = X[:50], X[50:]
    for rank in (3, 5, 10):
        moving, fixed = ShiftedPOD(rank).fit(train), POD(rank).fit(train)
        for rows in (train, held):
            assert error(moving, rows) < 0.2 * error(fixed, rows)


def test_a_wave_train_is_followed_within_its_wavelength():
    t, k = np.arange(50), 6
    X = np.cos(2 * np.pi * k * (np.arange(N) - 3.3 * t[:, None]) / N)
    fitted = ShiftedPOD(2).fit(X)
    assert fitted.period_[0] == N / k
    np.testing.assert_allclose(fitted.displacement_[0], 3.3 * t, atol=1e-9)
    assert error(fitted, X) < 1e-13


def test_last_axis_of_a_field_is_the_one_along_which_it_travels():
    bands = np.array([1.0, -0.5, 2.0])
    X = (travelling()[:, None, :] * bands[:, None]).reshape(40, -1)
    fitted = ShiftedPOD(2, shape=(3, N)).fit(X)
    assert error(fitted, X) < 1e-13
    np.testing.assert_allclose(fitted.displacement_[0], 2.7 * np.arange(40), atol=1e-9)


def test_given_shifts_are_taken():
    X, d = travelling(), 5.0 + 2.7 * np.arange(40)
    fitted = ShiftedPOD(2, shifts=d[None]).fit(X)
    np.testing.assert_array_equal(fitted.displacement_[0], d)
    assert error(fitted, X) < 1e-13
    np.testing.assert_allclose(fitted.transform(X)[:, -1] / fitted.scale_[0], d, atol=1e-9)
    # Template at cell 20 - 5, since the pulse begins at 20 and five cells are given.
    assert np.argmax(fitted.template_[0]) == 15


def test_one_frame_latent_coordinates_are_of_one_size():
    fitted = ShiftedPOD(2).fit(travelling())
    wave = fitted.template_[0] - fitted.template_[0].mean()
    assert fitted.scale_[0] * N == pytest.approx(np.linalg.norm(wave))


def test_two_crossing_pulses_are_separated():
    X = crossing()
    fitted = ShiftedPOD(4, n_frames=2).fit(X[:45])
    assert sorted(fitted.frame_) == [0, 1]
    order = np.argsort(fitted.speed_)
    np.testing.assert_allclose(fitted.speed_[order], [-1.1, 2.3], atol=1e-6)
    t = np.arange(45)
    np.testing.assert_allclose(fitted.displacement_[order], np.outer([-1.1, 2.3], t), atol=1e-4)
    for rows in (X[:45], X[45:]):
        assert error(fitted, rows) < 1e-6
        assert error(POD(4).fit(X[:45]), rows) > 0.1
    # The two means share their sum between them; up to a constant each is one of the pulses.
    for f, (start, width, height) in zip(order, [(70, 5.0, 0.7), (20, 3.0, 1.0)], strict=True):
        alone = height * pulse([start], width)[0]
        got = fitted.template_[f]
        np.testing.assert_allclose(got - got.mean(), alone - alone.mean(), atol=1e-5)


def test_two_crossing_pulses_of_one_shape_are_followed_through_the_crossing():
    X = crossing(widths=(4.0, 4.0), heights=(1.0, 1.0))
    fitted = ShiftedPOD(4, n_frames=2).fit(X)
    d = fitted.transform(X)[:, 2:] / fitted.scale_
    away = np.abs((20 + 2.3 * np.arange(60) - (70 - 1.1 * np.arange(60)) + 48) % 96 - 48) > 12
    turns = (d - np.outer(np.arange(60), fitted.speed_)) / N
    np.testing.assert_allclose(turns[away] - np.rint(turns[0]), 0, atol=1e-3)
    assert error(fitted, X) < 1e-3


def test_two_crossing_pulses_that_change_shape():
    t = np.arange(60)
    X = pulse(20 + 2.3 * t, 2.5 + 0.02 * t) + 0.7 * pulse(70 - 1.1 * t, 4 + 0.02 * t)
    for rank in (4, 6):
        moving, fixed = ShiftedPOD(rank, n_frames=2).fit(X[:45]), POD(rank).fit(X[:45])
        assert error(moving, X[:45]) < 0.2 * error(fixed, X[:45])
        assert error(moving, X[45:]) < 0.2 * error(fixed, X[45:])


def test_given_shifts_of_two_frames_need_no_steady_speed():
    t = np.arange(40)
    d = np.stack([2.3 * t + 8 * np.sin(t / 5), -0.04 * t**2])
    X = pulse(20 + d[0], 3.0) + 0.7 * pulse(70 + d[1], 5.0)
    fitted = ShiftedPOD(4, n_frames=2, shifts=d).fit(X)
    np.testing.assert_array_equal(fitted.displacement_, d)
    assert error(fitted, X) < 1e-6


@pytest.mark.parametrize("n_frames", [1, 2])
def test_lazy_snapshots_give_the_same(n_frames, monkeypatch):
    X = (
        crossing(n_time=30)
        if n_frames == 2
        else pulse(20 + 2.7 * np.arange(30), np.linspace(3, 4, 30))
    )
    whole = ShiftedPOD(4, n_frames=n_frames).fit(X)
    monkeypatch.setattr(gram, "BLOCK_BYTES", 8 * N * 20)  # several uneven blocks
    lazy = da.from_array(X, chunks=(13, 48))
    blocked = ShiftedPOD(4, n_frames=n_frames).fit(lazy)
    np.testing.assert_allclose(blocked.components_, whole.components_, atol=1e-6)
    np.testing.assert_allclose(blocked.displacement_, whole.displacement_, atol=1e-6)
    Z = blocked.transform(lazy)
    assert isinstance(Z, np.ndarray)
    np.testing.assert_allclose(Z, blocked.transform(X), atol=1e-9)


def test_float32_stays_float32():
    X = travelling().astype(np.float32)
    fitted = ShiftedPOD(3).fit(X)
    Z = fitted.transform(X)
    back = fitted.inverse_transform(Z)
    assert fitted.components_.dtype == Z.dtype == back.dtype == np.float32
    np.testing.assert_allclose(back, X, atol=1e-5)
    np.testing.assert_allclose(fitted.displacement_[0], 2.7 * np.arange(40), atol=1e-4)


def test_input_is_not_written_to_and_refits_are_equal():
    X = crossing()
    before = X.copy()
    first, second = (ShiftedPOD(4, n_frames=2).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.components_, second.components_)
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("X", "parameters", "message"),
    [
        (np.zeros((5, 8)), {}, "All snapshots are zero"),
        (np.outer(np.arange(5.0), np.ones(8)), {}, "constant along the travelling axis"),
        (np.eye(8), {"shape": (3, 3)}, r"shape=\(3, 3\) has 9 cells, but X has n_features = 8"),
        (np.eye(8), {"shape": (8, 1)}, "at least 2 cells"),
        (np.eye(8), {"n_components": 1}, "n_components=1 must be at least 2"),
        (np.eye(8), {"n_components": 3, "n_frames": 2}, "n_components=3 must be at least 4"),
        (np.eye(8), {"n_frames": 2}, "n_frames=2 it must be an int"),
        (np.eye(8), {"shifts": np.ones((1, 7))}, r"\(1, 8\), but the shape is \(1, 7\)"),
        (np.eye(8), {"shifts": np.full((1, 8), np.nan)}, "some are not finite"),
        (np.eye(8), {"n_frames": 0}, "n_frames"),
        (np.eye(2), {"n_components": 4, "n_frames": 2}, "constant along the travelling axis"),
        (da.from_array(np.where(np.eye(8) > 0, np.nan, 1.0)), {}, "NaN"),
    ],
)
def test_bad_input_is_named(X, parameters, message):
    with pytest.raises(ValueError, match=message):
        ShiftedPOD(**parameters).fit(X)


def test_snapshots_that_stand_still_have_no_displacement():
    X = np.repeat(pulse([20.0], 4.0), 10, axis=0)
    fitted = ShiftedPOD(2).fit(X)
    np.testing.assert_allclose(fitted.displacement_, 0, atol=1e-9)
    assert error(fitted, X) < 1e-13
