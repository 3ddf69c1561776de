from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from rom.data.trajectory import segments
from rom.dynamics.neural_ode import NeuralODE
from rom.dynamics.stages import hold_out

OSCILLATOR = np.array([[0.0, 1.0], [-1.0, 0.0]])
SPIRAL = np.array([[-0.1, 1.5], [-1.5, -0.1]])


def linear(A, t, z0=(1.0, 0.0)):
    return np.stack([expm(A * time) @ z0 for time in t])


def flow(model, z0, t):
    """The model's own flow, far more accurate than the model is."""
    rhs = lambda _, z: model.predict(z[None])[0]  # noqa: E731
    return solve_ivp(rhs, (t[0], t[-1]), z0, t_eval=t, method="DOP853", rtol=1e-8, atol=1e-9).y.T


def error(model, truth, t):
    difference = np.linalg.norm(flow(model, truth[0], t) - truth, axis=1)
    return difference.max() / np.sqrt((truth**2).sum(axis=1).mean())


def quick(**options):
    return NeuralODE(**{"hidden": (16,), "window": 4, "max_iter": 60, "random_state": 0, **options})


@pytest.fixture(scope="module")
def oscillator():
    t = np.linspace(0, 12, 150)
    Z = linear(OSCILLATOR, t)
    return t, Z, quick().fit(Z, t=t)


def test_oscillator_flow_far_past_training(oscillator):
    _, _, model = oscillator
    t = np.linspace(0, 60, 200)
    assert error(model, linear(OSCILLATOR, t), t) < 0.02


def test_lotka_volterra_flow():
    rhs = lambda _, z: [z[0] * (1 - z[1]), z[1] * (z[0] - 1)]  # noqa: E731
    t = np.linspace(0, 20, 200)
    solve = lambda t: solve_ivp(rhs, (0, t[-1]), (2, 1), t_eval=t, rtol=1e-9, atol=1e-11).y.T  # noqa: E731
    model = quick(hidden=(24, 24), max_iter=240).fit(solve(t), t=t)
    t = np.linspace(0, 40, 200)
    assert error(model, solve(t), t) < 0.02


def test_spiral_on_uneven_times_of_any_units():
    t = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.18, size=150))
    size, offset = 1e-3, np.array([5.0, 0.0])
    model = quick().fit(linear(SPIRAL, t) * size + offset, t=t)
    even = np.linspace(0, 15, 100)
    unscaled = (flow(model, size * np.array([1.0, 0.0]) + offset, even) - offset) / size
    assert np.abs(unscaled - linear(SPIRAL, even)).max() < 0.03


def test_shooting_beats_slopes_where_states_are_noisy():
    t = np.linspace(0, 20, 300)
    truth = linear(OSCILLATOR, t)
    noisy = truth + 0.01 * np.random.default_rng(1).normal(size=truth.shape)
    from rom.data.derivative import derivative

    shot = quick(window=8, max_iter=120).fit(noisy, t=t)
    matched = quick(max_iter=120).fit(noisy, derivative(noisy, t)[1])
    assert error(shot, truth, t) < 0.1
    assert error(shot, truth, t) < 0.5 * error(matched, truth, t)


def test_inputs_drive_the_state():
    """z' = -z + u: the model knows the response to an input it never saw."""
    t = np.linspace(0, 20, 300)

    def respond(u):
        return solve_ivp(lambda s, z: -z + u(s), (0, 20), [0.0], t_eval=t, rtol=1e-9).y.T

    seen = lambda s: np.sin(s) + 0.5 * np.sin(3.1 * s)  # noqa: E731
    model = quick().fit(respond(seen), t=t, u=seen(t))
    unseen = lambda s: 0.8 * np.cos(1.7 * s)  # noqa: E731
    run = solve_ivp(
        lambda s, z: model.predict(z[None], u=[[unseen(s)]])[0], (0, 20), [0.0], t_eval=t
    ).y.T
    assert np.abs(run - respond(unseen)).max() < 0.05
    with pytest.raises(ValueError, match="fitted with 1 inputs"):
        model.predict([[0.0]])


def test_same_seed_same_bits_other_seed_other_weights(oscillator):
    t, Z, model = oscillator
    again = quick().fit(Z, t=t)
    for a, b in zip(model.weights_ + model.biases_, again.weights_ + again.biases_, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(model.history_, again.history_)
    other = quick(max_iter=5, random_state=1).fit(Z, t=t)
    assert not np.array_equal(model.weights_[0], other.weights_[0])


def test_weights_are_the_whole_model(oscillator):
    t, Z, model = oscillator
    copy = quick(max_iter=1, random_state=7).fit(Z, t=t)
    for name in ("weights_", "biases_"):
        setattr(copy, name, [value.copy() for value in getattr(model, name)])
    assert np.array_equal(flow(copy, Z[0], t), flow(model, Z[0], t))


def test_fit_leaves_its_data_and_the_process_as_they_were():
    import torch

    t = np.linspace(0, 3, 40)
    Z = linear(SPIRAL, t)
    before = Z.copy()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    quick(max_iter=3).fit(Z, t=t)
    assert np.array_equal(Z, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_never_across_the_end_of_a_trajectory():
    """Two pieces of orbit far apart: a step between them would be a slope of hundreds."""
    t = np.linspace(0, 6, 80)
    Z = np.vstack([linear(OSCILLATOR, t), linear(OSCILLATOR, t, (0.0, -2.0))])
    label = np.repeat(["a", "b"], 80)
    model = quick().fit(Z, t=np.r_[t, t], trajectory=label)
    assert np.abs(model.predict(Z) - Z @ OSCILLATOR.T).max() < 0.05


def test_never_across_a_gap():
    t = np.r_[np.linspace(0, 5, 70), np.linspace(40, 45, 70)]
    Z = linear(OSCILLATOR, t)
    model = quick().fit(Z, t=t)
    assert np.abs(model.predict(Z) - Z @ OSCILLATOR.T).max() < 0.05


@pytest.mark.parametrize("fraction", [0.0, 0.15, 0.5])
def test_held_out_windows_share_only_their_first_row_with_training(fraction):
    pieces = segments(None, np.repeat([0, 1, 2], [100, 5, 60]))
    train, held = hold_out(pieces, fraction, window=8)
    rows = [np.arange(piece.start, piece.stop) for piece in train]
    assert all(any(p.start <= s.start < s.stop <= p.stop for p in pieces) for s in train + held)
    if fraction == 0.0:
        assert held == train == pieces
        return
    firsts = [piece.start for piece in held]
    assert set(np.concatenate(rows)) & {r for s in held for r in range(s.start, s.stop)} == set(
        firsts
    )
    assert {piece.stop - piece.start for piece in held} == {9}
    assert 0.5 * fraction < 8 * len(held) / 165 < 1.1 * fraction


def test_stops_when_the_held_out_loss_no_longer_falls_and_keeps_the_best():
    rng = np.random.default_rng(1)
    t = np.linspace(0, 10, 120)
    Z = linear(SPIRAL, t) + 0.05 * rng.normal(size=(120, 2))
    model = quick(max_iter=2000, patience=2).fit(Z, t=t)
    assert model.stop_reason_ == "the held-out loss stopped falling"
    assert model.n_iter_ < 4000
    assert model.history_[:, 2].argmin() == len(model.history_) - 1 - 2


def test_every_rollout_is_bounded(oscillator):
    """Past the radius where the pull exceeds the network's largest slope, the distance shrinks."""
    _, Z, model = oscillator
    largest = np.abs(model.weights_[-1]).sum(axis=0) + np.abs(model.biases_[-1])
    slope = np.linalg.norm(model.slope_scale_ / model.scale_ * largest)
    trap = model.radius_ + slope / model.pull_
    direction = np.random.default_rng(0).normal(size=(200, 2))
    for far in (1.001 * trap, 10 * trap, 1e6 * trap):
        x = far * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        dx = model.predict(model.mean_ + model.scale_ * x) / model.scale_
        assert np.all((x * dx).sum(axis=1) < 0)
    assert np.linalg.norm((Z - model.mean_) / model.scale_, axis=1).max() < model.radius_


def test_given_slopes_need_no_times_and_may_be_of_another_number():
    rng = np.random.default_rng(0)
    Z = rng.uniform(-1, 1, size=(200, 2))
    model = quick(max_iter=120).fit(Z, Z[:, :1] * Z[:, 1:])
    assert model.predict(Z).shape == (200, 1)
    assert np.abs(model.predict(Z) - Z[:, :1] * Z[:, 1:]).max() < 0.02


@pytest.mark.parametrize("n", [2, 3, 9])
def test_few_rows(n):
    t = np.linspace(0, 1, n)
    model = quick(max_iter=5).fit(linear(SPIRAL, t), t=t)
    assert np.isfinite(model.predict([[1.0, 0.0]])).all()


def test_constant_column_is_no_trouble():
    t = np.linspace(0, 6, 60)
    Z = np.column_stack([linear(OSCILLATOR, t), np.full(60, 3.0)])
    model = quick().fit(Z, t=t)
    assert np.abs(model.predict(Z)[:, 2]).max() < 1e-2


def test_a_column_of_rounding_is_neither_fast_nor_fitted():
    """Nor is an input that only rounding moves; times and targets of rounding come of rounding."""
    t, rng = np.linspace(0, 6, 60), np.random.default_rng(0)
    constant, u = np.full((2, 60, 1), 0.1)
    Z = np.hstack([linear(OSCILLATOR, t), constant])
    exact, shaken = (
        quick(max_iter=40).fit(Z + 1e-13 * noise, t=t, u=u + 1e-16 * noise[:, :1])
        for noise in ([0, 0, 0] * np.ones((60, 1)), [0, 0, 1] * rng.normal(size=(60, 3)))
    )
    assert shaken.pull_ == pytest.approx(exact.pull_, rel=1e-9)
    assert shaken.slope_scale_ == pytest.approx(exact.slope_scale_, rel=1e-9)
    assert shaken.scale_ == pytest.approx(exact.scale_, rel=1e-9)
    assert np.abs(shaken.predict(Z, u=u)[:, 2]).max() < 1e-5


def test_a_loss_that_is_not_finite_ends_the_fit_with_the_last_good_weights():
    from rom.dynamics.training import NOT_FINITE, minimise

    start = [np.array([3.0])]
    loss = lambda p, x: (p[0] * x).sum().log()  # noqa: E731
    with pytest.warns(ConvergenceWarning, match="not finite 6 times"):
        outcome = minimise(
            start, loss, (np.ones(1),), (-np.ones(1),),
            max_iter=5, patience=3, device="cpu", label="",
        )  # fmt: skip
    assert outcome.reason == NOT_FINITE
    assert outcome.n_rollbacks == 6
    assert np.array_equal(outcome.parameters[0], start[0])


@pytest.mark.parametrize(("max_iter", "checks"), [(5, [5]), (39, [20, 39]), (40, [20, 40])])
def test_every_iteration_allowed_is_made(oscillator, max_iter, checks):
    t, Z, _ = oscillator
    model = quick(max_iter=max_iter, patience=10).fit(Z, Z @ OSCILLATOR.T, t=t)
    assert model.history_[:, 0].tolist() == checks
    assert model.n_iter_ == max_iter
    assert model.stop_reason_ == "max_iter was reached"


def test_a_short_last_round_lowers_the_loss_further(oscillator):
    t, Z, _ = oscillator
    losses = [
        quick(max_iter=n).fit(Z, Z @ OSCILLATOR.T, t=t).history_[:, 2].min() for n in (20, 39)
    ]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", ""])
def test_a_device_that_cannot_compute_is_refused(device):
    t = np.arange(6.0)
    message = rf"device='{device}' was asked for.* Available here: auto, cpu"
    with pytest.raises(ValueError, match=message):
        quick(device=device).fit(linear(SPIRAL, t), t=t)


def test_runge_kutta_converges_at_fourth_order():
    import torch

    from rom.dynamics.shooting import shoot

    A = torch.tensor(SPIRAL)
    z, u, h = torch.tensor([[1.0, 0.0]]).double(), torch.zeros(1, 2, 0), torch.ones(1, 1).double()
    exact = linear(SPIRAL, [1.0])[0]
    errors = [
        np.abs(shoot(lambda z, u: z @ A.T, z, u, h, n)[0, 0].numpy() - exact).max() for n in (8, 16)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_what_is_not_finite(value):
    Z = linear(SPIRAL, np.arange(5.0))
    Z[3, 1] = value
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        quick().fit(Z, t=np.arange(5.0))


def test_refuses_with_reasons():
    t = np.arange(6.0)
    Z = linear(SPIRAL, t)
    with pytest.raises(ValueError, match="Unit spacing is never assumed"):
        quick().fit(Z)
    with pytest.raises(ValueError, match="positive whole numbers"):
        quick(hidden=(0,)).fit(Z, t=t)
    with pytest.raises(ValueError, match="stands alone"):
        quick().fit(Z, t=t, trajectory=np.arange(6))


def test_each_stage_can_be_left_out_and_is_reported(oscillator):
    t, Z, _ = oscillator
    few = {"max_iter": 5, "hidden": (4,)}
    expected = {
        "slopes; runs of 4 steps": {},
        "slopes": {"window": None},
        "test functions; runs of 4 steps": {"matching": "weak"},
        "runs of 3 steps from noisy states; runs of 5 steps from noisy states": {
            "matching": None, "window": None, "unroll": (3, 5),
        },
    }  # fmt: skip
    for names, options in expected.items():
        model = quick(**few, **options).fit(Z, t=t)
        lines = model.report_.split("\n")
        assert len(lines) == len(model.histories_) == len(names.split("; "))
        for line, name, history in zip(lines, names.split("; "), model.histories_, strict=True):
            assert line.startswith(name)
            assert line.endswith("max_iter was reached")
            assert history[-1, 0] == 5
        assert np.array_equal(model.histories_[-1], model.history_)
    with pytest.raises(ValueError, match="No stage of training"):
        quick(matching=None, window=None).fit(Z, t=t)
    with pytest.raises(ValueError, match="unroll must hold positive"):
        quick(unroll=(0,)).fit(Z, t=t)


def test_weak_matching_beats_slopes_where_states_are_noisy():
    t = np.linspace(0, 20, 400)
    truth = linear(SPIRAL, t)
    noisy = truth + 0.02 * np.random.default_rng(1).normal(size=truth.shape)
    errors = {
        matching: np.abs(
            quick(matching=matching, window=None, max_iter=60).fit(noisy, t=t).predict(truth)
            - truth @ SPIRAL.T
        ).mean()
        for matching in ("weak", "slopes")
    }
    assert errors["weak"] < 0.5 * errors["slopes"]


def test_unrolled_runs_lower_the_error_of_long_runs():
    """Slopes of samples so far apart are off; runs through them are not."""
    t = np.linspace(0, 12, 30)
    Z = linear(OSCILLATOR, t)
    options = {"window": None, "max_iter": 40}
    near = quick(**options).fit(Z, t=t)
    long = quick(**options, unroll=(3, 6), noise=0.0).fit(Z, t=t)
    assert error(long, Z, t) < 0.5 * error(near, Z, t)


@pytest.mark.parametrize("unroll", [(), (4,)])
def test_quadratic_invariants_are_kept_to_rounding(unroll):
    """Two turns of unlike speed: each has a radius, and both are kept, about a mean not zero."""
    t = np.linspace(0, 6, 60)
    Z = np.column_stack([np.cos(t), -np.sin(t), 0.5 * np.cos(2 * t + 1), -0.5 * np.sin(2 * t + 1)])
    forms = [np.diag([1.0, 1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0, 1.0])]
    model = quick(invariants=forms, max_iter=8, unroll=unroll).fit(Z, t=t)
    anywhere = 3 * np.random.default_rng(0).normal(size=(50, 4))
    for Q in forms:
        change = np.einsum("ni,ni->n", anywhere @ Q, model.predict(anywhere))
        assert np.abs(change).max() < 1e-12
    path = flow(model, Z[0], 2 * t)
    for Q in forms:
        assert np.einsum("ni,ij,nj->n", path, Q, path) == pytest.approx(Z[0] @ Q @ Z[0], rel=1e-5)
    assert np.array_equal(model.predict(np.zeros((1, 4))), quick_predict_at_zero(model))
    with pytest.raises(ValueError, match="invariants need the slopes of all coordinates"):
        quick(invariants=forms).fit(Z, Z[:, :1])


def quick_predict_at_zero(model):
    """Where the gradients vanish nothing is taken away."""
    free = clone(model)
    free.__dict__.update({**vars(model), "invariants_": None})
    return free.predict(np.zeros((1, 4)))


def test_the_exact_adjoint_trains_the_same_model():
    t = np.linspace(0, 5, 60)
    Z, u = linear(SPIRAL, t), np.sin(3 * t)
    options = {"max_iter": 10, "unroll": (4,), "hidden": (6,)}
    plain = quick(**options).fit(Z, t=t, u=u)
    exact = quick(**options, adjoint=True).fit(Z, t=t, u=u)
    for a, b in zip(plain.weights_, exact.weights_, strict=True):
        assert np.allclose(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("width", [8, 64])
def test_mini_batches_learn_the_oscillator_at_any_width(oscillator, width):
    t, Z, _ = oscillator
    model = quick(hidden=(width,), batch_size=50, max_iter=300, window=None).fit(Z, t=t)
    assert np.abs(model.predict(Z) - Z @ OSCILLATOR.T).max() < 0.1
    again = quick(hidden=(width,), batch_size=50, max_iter=300, window=None).fit(Z, t=t)
    assert np.array_equal(model.weights_[0], again.weights_[0])


class Killed(BaseException):
    """As a kill would, it passes every `except Exception`."""


@pytest.mark.parametrize(("batch_size", "n"), [(None, 36), (16, 36), (None, 72)])
def test_a_killed_fit_goes_on_to_the_same_bits(batch_size, n, tmp_path, monkeypatch):
    from rom.dynamics import shooting, training

    monkeypatch.setattr(training, "FEWEST", 0)
    t = np.linspace(0, 3, n)
    Z, network, left = linear(SPIRAL, t), shooting.network, [np.inf]

    def mortal(parameters, x):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return network(parameters, x)

    def fit(Z=Z, **options):
        max_iter = 110 if batch_size else 45
        options = {"unroll": (4,), "max_iter": max_iter, "batch_size": batch_size, **options}
        return quick(hidden=(4,), **options).fit(Z, t=t)

    monkeypatch.setattr(shooting, "network", mortal)
    random, left[0] = np.random.default_rng(0), 10**9
    whole = fit()
    calls = 10**9 - left[0]
    for _ in range(10):
        left[0] = int(random.integers(1, calls // 10))
        with pytest.raises(Killed):
            fit(checkpoint=str(tmp_path))
    left[0] = np.inf
    fit(
        Z=2 * Z, checkpoint=str(tmp_path), max_iter=1
    )  # of other data and parameters: a file of its own
    resumed = fit(checkpoint=str(tmp_path))
    for name in ("weights_", "biases_", "histories_"):
        for a, b in zip(getattr(resumed, name), getattr(whole, name), strict=True):
            assert np.array_equal(a, b)
    assert resumed.report_ == whole.report_
    assert ("22 of" in str(whole.report_)) == (
        n > 36
    )  # starts on some samples where there are many
    assert not list(tmp_path.iterdir())


def test_adaptive_steps():
    t = np.linspace(0, 5, 40)
    Z, u = linear(SPIRAL, t), np.sin(3 * t)
    with pytest.raises(ValueError, match="needs solver='rk4'"):
        quick(solver="dopri5", adjoint=True).fit(Z, t=t)
    if importlib.util.find_spec("torchdiffeq") is None:
        with pytest.raises(ImportError, match="pip install"):
            quick(solver="dopri5", max_iter=2).fit(Z, t=t)
        return
    options = {"max_iter": 10, "hidden": (6,), "window": 3}
    fixed, adaptive = (quick(**options, solver=s).fit(Z, t=t, u=u) for s in ("rk4", "dopri5"))
    assert fixed.predict(Z, u=u) == pytest.approx(adaptive.predict(Z, u=u), abs=1e-2)


def test_compiling_changes_nothing_but_speed(oscillator, monkeypatch):
    """What is handed to the compiler is the whole network; what comes back is used."""
    import torch

    t, Z, _ = oscillator
    handed = []
    monkeypatch.setattr(torch, "compile", lambda model: handed.append(model) or model)
    plain, compiled = (quick(max_iter=5, compile=c).fit(Z, t=t) for c in (False, True))
    assert len(handed) == 1
    assert np.array_equal(plain.weights_[0], compiled.weights_[0])
