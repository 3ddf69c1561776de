import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import rom
from rom.dynamics.contractive import ContractiveODE

SPIRAL = np.array([[-0.1, 1.5], [-1.5, -0.1]])
SPRING = np.array([[0.0, 1.0], [-9.0, -0.4]])


def linear(A, t, z0=(1.0, 0.0)):
    return np.stack([expm(A * time) @ z0 for time in t])


def quick(width=12, **options):
    return ContractiveODE(width, **{"max_iter": 40, "random_state": 0, **options})


def anything(seed, **options):
    """A model of noise, with parameters that no training gave."""
    rng = np.random.default_rng(seed)
    Z, y, u = (rng.normal(size=(30, n)) * [5.0] for n in (3, 3, 2))
    model = quick(max_iter=1, **options).fit(Z + 7, y, u=u)
    parameters = model._start(*(rng.normal(size=(30, n)) for n in (3, 2, 3)))
    drawn = [rng.normal(size=value.shape) * 2 for value in parameters]
    model._keep(drawn, (Z + 7 - model.mean_) / model.scale_)
    return model


@pytest.mark.parametrize("options", [{}, {"decay": 0.7}, {"metric": "learned", "decay": 0.1}])
@pytest.mark.parametrize("seed", range(3))
def test_with_any_parameters_no_two_states_move_apart(seed, options):
    """At 10 000 pairs, near and far: (K d)·(K d') <= -λ |K d|², d the difference of two states."""
    model = anything(seed, **options)
    rng = np.random.default_rng(seed)
    one = 7 + rng.normal(size=(10_000, 3)) * 10 ** rng.uniform(-1, 3, size=(10_000, 1))
    other = one + rng.normal(size=one.shape) * 10 ** rng.uniform(-3, 3, size=(10_000, 1))
    u = rng.normal(size=(10_000, 2)) * 10
    d = (one - other) @ model.root_.T
    rate = (model.predict(one, u=u) - model.predict(other, u=u)) @ model.root_.T
    size = np.linalg.norm(model.predict(one, u=u) @ model.root_.T, axis=1)
    assert np.all((d * rate).sum(axis=1) <= -model.decay * (d * d).sum(axis=1) + 1e-10 * size)


@pytest.mark.parametrize("metric", ["euclidean", "learned"])
def test_midpoint_keeps_it_over_steps_of_any_length(metric):
    model = anything(1, metric=metric)
    model.bound_ = np.inf
    rng = np.random.default_rng(0)
    u = rng.normal(size=(30, 2))
    t = np.cumsum(10 ** rng.uniform(-2, 0, size=30)) / model.speed_
    for _ in range(10):
        start = 7 + 5 * rng.normal(size=(2, 3))
        one, other = (rom.rollout(model, z, t, u=u, stepper="midpoint").z for z in start)
        distance = np.linalg.norm((one - other) @ model.root_.T, axis=1)
        assert np.all(np.diff(distance) <= 1e-12 * distance[0])


def test_trajectories_meet_at_least_at_the_rate_asked_for():
    t = np.linspace(0, 8, 100)
    model = quick(decay=0.5).fit(linear(SPIRAL, t), t=t)
    runs = [rom.rollout(model, z, t).z for z in ([1.0, 0.0], [-0.4, 2.0])]
    distance = np.linalg.norm(runs[0] - runs[1], axis=1)
    assert np.all(distance <= distance[0] * np.exp(-0.5 * t) * (1 + 1e-6))


@pytest.mark.parametrize("seed", range(3))
def test_every_rollout_is_bounded_though_the_model_drifts(seed):
    """Far from the mean the pull is larger than all that is bounded, and points back."""
    model = anything(seed)
    far = 100 * model.radius_ * np.random.default_rng(seed).normal(size=(100, 3))
    slope = model.predict(model.mean_ + model.scale_ * far, u=np.ones((100, 2)))
    assert np.all((far * slope).sum(axis=1) < 0)
    t = np.linspace(0, 3, 40)
    model = quick(max_iter=20).fit(t[:, None], t=t)  # z' = 1: no rest anywhere
    assert model.predict([[2.0]])[0, 0] == pytest.approx(1, abs=0.05)
    end = rom.rollout(model, [0.0], [0.0, 100.0, 200.0]).z[1:, 0]
    assert end[0] == pytest.approx(end[1], rel=1e-6)


def test_linear_spiral_far_past_training():
    t, later = np.linspace(0, 12, 100), np.linspace(0, 60, 100)
    model = quick().fit(linear(SPIRAL, t), t=t)
    assert np.abs(rom.rollout(model, [1.0, 0.0], later).z - linear(SPIRAL, later)).max() < 0.01


def test_nonlinear_damping_of_a_state_not_seen():
    """z' = S z - z³ is skew plus a gradient, and so inside the class of models."""
    S = np.array([[-0.1, 2.0], [-2.0, -0.1]])

    def run(z0, t):
        rhs = lambda _, z: S @ z - z**3  # noqa: E731
        return solve_ivp(rhs, (0, t[-1]), z0, t_eval=t, rtol=1e-9, atol=1e-11).y.T

    t = np.linspace(0, 5, 60)
    starts = [(1.2, 0.0), (0.0, -1.0), (-0.6, 0.6), (0.9, 0.9)]
    Z = np.vstack([run(z0, t) for z0 in starts])
    model = quick(max_iter=100).fit(Z, t=np.tile(t, 4), trajectory=np.repeat(range(4), 60))
    truth = run((-0.9, -0.4), t)
    error = np.abs(rom.rollout(model, truth[0], t).z - truth).max()
    assert error < 0.05
    linear_alone = np.abs(np.stack([expm(S * s) @ truth[0] for s in t]) - truth).max()
    assert error < 0.2 * linear_alone


def test_a_spring_needs_a_metric_of_its_own():
    t = np.linspace(0, 8, 160)
    Z = linear(SPRING, t)
    runs = [
        rom.rollout(quick(8, window=4, metric=m).fit(Z, t=t), Z[0], t)
        for m in ("euclidean", "learned")
    ]
    error = [np.abs(run.z - Z).max() for run in runs]
    assert np.linalg.norm(Z, axis=1).max() > 1.5 * np.linalg.norm(Z[0])  # of two states, 0 is one
    assert error[0] > 0.5
    assert error[1] < 0.03


def test_refuses_with_reasons():
    t = np.arange(6.0)
    with pytest.raises(ValueError, match="'metric' parameter"):
        quick(metric="riemannian").fit(linear(SPIRAL, t), t=t)
    with pytest.raises(ValueError, match="'decay' parameter"):
        quick(decay=-1.0).fit(linear(SPIRAL, t), t=t)
