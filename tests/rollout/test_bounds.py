"""Bounds that bound: against exact solutions, and at their own edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import rom
from rom.base import Compressor
from rom.compress import QuadraticManifold
from rom.dynamics import DMD
from rom.fom import Burgers, CylinderWake, Heat, Lorenz96, Wave
from rom.rollout.bounds import bernstein, certified_bound, sizes_of
from rom.rollout.certificate import Split, certificate, certify
from rom.rollout.comparison import comparison, exponentials
from rom.rollout.error_estimate import (
    error_bound,
    estimated_bound,
    growth_bound,
    jacobians,
    propagator_norms,
)

Operators = rom.OperatorInference.from_operators


def quadratic_system(rng, m, *, keeps_energy):
    """c + A y + H(y, y) as a function of rows; H keeps |y|² if asked to."""
    A = rng.normal(size=(m, m)) / np.sqrt(m) - 0.5 * np.eye(m)
    H = rng.normal(size=(m, m, m)) / m
    if keeps_energy:
        H = H - H.transpose(1, 0, 2)
    c = 0.3 * rng.normal(size=m)
    return lambda y: c + y @ A.T + np.einsum("ijk,nj,nk->ni", H, y, y)


def galerkin(rate, modes):
    """The projection of a quadratic equation on some modes, about zero."""
    rank = len(modes)
    zero = rate(0 * modes[:1])[0]
    plus, minus = rate(modes), rate(-modes)
    H = [
        (rate((modes[j] + modes[k])[None])[0] - plus[j] - plus[k] + zero)
        if j < k
        else (plus[j] + minus[j]) / 2 - zero
        for j in range(rank)
        for k in range(j, rank)
    ]
    return Operators(modes @ zero, modes @ ((plus - minus) / 2).T, modes @ np.transpose(H))


def solution(rate, y0, t):
    found = solve_ivp(
        lambda s, y: rate(y[None])[0], (t[0], t[-1]), y0, "DOP853", t, rtol=1e-11, atol=1e-12
    )
    return found.y.T


@pytest.mark.parametrize("keeps_energy", [True, False])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_solution_of_a_quadratic_equation_is_farther_than_the_bound(keeps_energy, seed):
    rng = np.random.default_rng(seed)
    m, rank = 4, 2
    rate = quadratic_system(rng, m, keeps_energy=keeps_energy)
    modes = np.linalg.qr(rng.normal(size=(m, rank)))[0].T
    model, known = galerkin(rate, modes), certificate(rate, np.zeros(m), modes)
    assert (known.splits[0].quadratic[0] < 1e-12) == keeps_energy
    t = np.linspace(0, 1, 11)
    start = 0.5 * rng.normal(size=rank) @ modes + 0.02 * rng.normal(size=m)
    run = rom.rollout(model, modes @ start, t, bound=np.inf)
    bound = certified_bound(known, model, run, start)
    error = np.linalg.norm(run.z @ modes - solution(rate, start, t), axis=1)
    assert bound.kind == "certified"
    assert np.all(error <= bound.error)
    assert bound.error[0] == pytest.approx(error[0], rel=1e-6)


def test_the_bound_of_a_scalar_equation_is_the_error():
    known = certificate(lambda y: -2.0 * y, np.zeros(1), np.eye(1))
    reduced, t = Operators(A=[[-1.9]]), np.linspace(0, 3, 31)
    bound = certified_bound(known, reduced, rom.rollout(reduced, [1.0], t), np.ones(1)).error
    error = np.exp(-1.9 * t) - np.exp(-2.0 * t)
    assert np.all(bound >= error)
    np.testing.assert_allclose(bound[1:], error[1:], rtol=0.02)


def test_parts_that_decay_at_their_own_rates_are_bounded_at_their_own_rates():
    A = np.diag([-1.0, -50.0])
    known = certificate(lambda y: y @ A.T, np.zeros(2), np.eye(2)[:1])
    reduced, t = Operators(A=[[-1.0]]), np.linspace(0, 1, 21)
    run = rom.rollout(reduced, [1.0], t)
    bound = certified_bound(known, reduced, run, np.array([1.0, 0.1])).error
    np.testing.assert_allclose(bound, 0.1 * np.exp(-50 * t), rtol=1e-6, atol=1e-7)


def test_a_disturbance_and_an_unsure_start_are_in_the_bound():
    known = certificate(lambda y: -y, np.zeros(1), np.eye(1))
    reduced, t = Operators(A=[[-1.0]]), np.linspace(0, 2, 21)
    run = rom.rollout(reduced, [1.0], t)
    bound = certified_bound(known, reduced, run, np.ones(1), start_error=0.1, disturbance=0.3)
    exact = 0.1 * np.exp(-t) + 0.3 * (1 - np.exp(-t))
    np.testing.assert_allclose(bound.error, exact, rtol=1e-5)
    assert "leave out" in bound.reason


def test_the_bound_holds_for_maps_whose_steps_are_joined_by_a_spline():
    heat, t = Heat(n=31), np.linspace(0, 0.1, 41)
    x = np.linspace(0, 1, 33)[1:-1]
    train = np.concatenate([heat.simulate(np.sin(np.pi * k * x), t).values for k in (1, 2, 3)])
    model = rom.ROM(rom.POD(2), DMD()).fit(
        train, t=np.tile(t, 3), trajectory=np.repeat([0, 1, 2], len(t))
    )
    known = certify(model, heat)
    truth = model.to_rows(heat.simulate(x * (1 - x) * (1 + x), t).values, t=t).rows
    run = rom.rollout(model.dynamics_, model.compressor_.transform(truth[:1])[0], t)
    bound = error_bound(model, known, run, truth[0])
    error = np.linalg.norm(model.compressor_.inverse_transform(run.z) - truth, axis=1)
    assert bound.kind == "certified"
    assert np.all(error <= bound.error)


def test_burgers_is_certified_through_the_whole_model():
    burgers, t = Burgers(viscosity=0.1, n=32), np.linspace(0, 0.3, 31)
    train = [burgers.simulate(burgers.initial_state(a), t).values for a in (0.6, 0.8, 1.0)]
    model = rom.ROM(rom.POD(4), rom.OperatorInference("cAH", ridge=1e-6)).fit(
        np.concatenate(train), t=np.tile(t, 3), trajectory=np.repeat([0, 1, 2], len(t))
    )
    known = certify(model, burgers)
    assert known.splits[0].quadratic[0] < 1e-9  # advection keeps the energy
    rows = model.to_rows(burgers.simulate(burgers.initial_state(0.9), t).values, t=t).rows
    run = rom.rollout(model.dynamics_, model.compressor_.transform(rows[:1])[0], t)
    bound = error_bound(model, known, run, rows[0])
    error = np.linalg.norm(model.compressor_.inverse_transform(run.z) - rows, axis=1)
    assert bound.kind == "certified"
    assert np.all(error <= bound.error)
    assert np.isfinite(bound.error).all()
    rough = rows[0] + np.cos(np.pi * np.arange(32))  # the shortest wave of the grid
    off = certified_bound(known, model.dynamics_, run, rough - model.compressor_.mean_)
    assert (off.kind, np.isinf(off.error).all()) == ("none", True)


@pytest.mark.parametrize(
    ("full", "n_inputs"),
    [
        (Heat(n=15, diffusivity=0.1), 1),
        (Heat(n=15, diffusivity=0.1), 2),
        (Burgers(n=32, viscosity=0.1), 2),
    ],
    ids=["both ends", "each end", "body force"],
)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_with_random_inputs_no_error_is_above_the_bound(full, n_inputs, seed):
    rng, t = np.random.default_rng(seed), np.linspace(0, 0.2, 21)
    wave, inputs = full.initial_state().values, rng.normal(size=(4, len(t), n_inputs))
    starts = rng.uniform(-1, 1, size=(4, 1)) * wave
    runs = [full.simulate(x, t, u=u).values for x, u in zip(starts, inputs, strict=True)]
    model = rom.ROM(rom.POD(4), rom.OperatorInference("cA", ridge=1e-3)).fit(
        np.concatenate(runs[:3]),
        t=np.tile(t, 3),
        u=np.concatenate(inputs[:3]),
        trajectory=np.repeat([0, 1, 2], len(t)),
    )
    rows, u = model.to_rows(runs[3], t=t).rows, inputs[3]
    run = rom.rollout(model.dynamics_, model.compressor_.transform(rows[:1])[0], t, u=u)
    bound = error_bound(model, certify(model, full), run, rows[0], u=u)
    error = np.linalg.norm(model.compressor_.inverse_transform(run.z) - rows, axis=1)
    assert bound.kind == "certified"
    assert np.all(error <= bound.error)
    known = np.isfinite(bound.error)  # until it passes ten times the states, and then no more
    assert known.all() or bound.error[known][-1] > 5 * np.linalg.norm(rows, axis=1).max()


def test_an_input_that_the_model_feels_wrongly_is_the_residual():
    """dy/dt = -y + u against dz/dt = -z + 0.9 u: the error is driven by 0.1 u, u = t."""
    known = certificate(lambda y: -y, np.zeros(1), np.eye(1), np.eye(1))
    reduced, t = Operators(A=[[-1.0]], B=[[0.9]]), np.linspace(0, 2, 21)
    run = rom.rollout(reduced, [1.0], t, u=t)
    bound = certified_bound(known, reduced, run, np.ones(1), u=t[:, None]).error
    exact = 0.1 * (t - 1 + np.exp(-t))
    assert np.all(bound >= exact)
    np.testing.assert_allclose(bound[1:], exact[1:], rtol=0.07)
    with pytest.raises(ValueError, match="1 inputs, but u was not given"):
        certified_bound(known, reduced, run, np.ones(1))


def test_after_the_end_of_a_rollout_there_is_no_bound():
    known = certificate(lambda y: y + y**2, np.zeros(1), np.eye(1))
    reduced, t = Operators(A=[[1.0]], H=[[1.0]], bound=10.0), np.linspace(0, 2, 21)
    run = rom.rollout(reduced, [1.0], t, throw=False)
    bound = certified_bound(known, reduced, run, np.ones(1)).error
    np.testing.assert_array_equal(np.isinf(bound), np.isnan(run.z[:, 0]))
    at_once = rom.rollout(reduced, [1.0], [0.0])
    assert certified_bound(known, reduced, at_once, np.ones(1)).error < 1e-9


def test_comparison_ends_where_the_exact_solution_does():
    steps = np.full(2000, 1e-3)
    path = comparison(
        np.zeros((2000, 1, 1)), np.zeros((2000, 1)), np.ones(1), np.ones(1), steps, 1e3
    )
    t = np.arange(2001) * 1e-3
    assert np.isinf(path[t >= 1]).all()  # dE/dt = E² from 1 is 1 / (1 - t)
    early = t < 0.8
    assert np.all(path[early, 0] >= (1 - 1e-12) / (1 - t[early]))
    np.testing.assert_allclose(path[early, 0], 1 / (1 - t[early]), rtol=0.01)


def test_comparison_of_a_linear_system_is_its_solution():
    M, r, E = np.array([[-1.0, 0.5], [2.0, -3.0]]), np.array([0.1, 0.2]), np.array([1.0, 0.0])
    n, h = 40, 0.05
    path = comparison(
        np.broadcast_to(M, (n, 2, 2)), np.broadcast_to(r, (n, 2)), np.zeros(2), E, np.full(n, h), 9
    )
    rest = -np.linalg.solve(M, r)
    np.testing.assert_allclose(path[-1], rest + expm(M * n * h) @ (E - rest), rtol=1e-10)


@given(seed=st.integers(0, 1000), size=st.floats(1e-6, 50.0))
def test_exponentials_are_those_of_scipy(seed, size):
    M = np.random.default_rng(seed).normal(size=(5, 3, 3))
    M *= size / np.linalg.norm(M, 2, axis=(1, 2))[:, None, None]
    exact = expm(M)
    scale = np.abs(exact).max(axis=(1, 2))[:, None, None]
    assert np.abs((exponentials(M) - exact) / scale).max() < 1e-11
    assert exponentials(np.zeros((0, 2, 2))).shape == (0, 2, 2)


@given(degree=st.integers(1, 7), seed=st.integers(0, 1000))
def test_control_points_enclose_a_polynomial(degree, seed):
    control = np.random.default_rng(seed).normal(size=(degree + 1, 3))
    places = np.linspace(0, 1, 50)
    basis = bernstein(degree, places)
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    assert np.all(basis >= 0)
    norms = np.linalg.norm(basis @ control, axis=1)
    assert norms.max() <= np.linalg.norm(control, axis=1).max() * (1 + 1e-12)


@given(seed=st.integers(0, 1000), part=st.floats(0, 1))
def test_growth_is_convex(seed, part):
    J, K = np.random.default_rng(seed).normal(size=(2, 5, 5))
    split = Split((slice(0, 2), slice(2, 5)), np.zeros(2))
    between = sizes_of(part * J + (1 - part) * K, split)
    assert np.all(between <= part * sizes_of(J, split) + (1 - part) * sizes_of(K, split) + 1e-12)


def test_why_there_is_no_certificate():
    heat, t = Heat(n=15), np.linspace(0, 0.1, 20)
    runs = heat.simulate(heat.initial_state(), t)
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(runs)
    assert "Wave is not known" in certify(model, Wave(n=15))
    assert "16 values" in certify(model, Burgers(n=16))
    forced = rom.ROM(rom.POD(2), rom.OperatorInference("A", ridge=1e-6)).fit(
        runs.values, t=t, u=np.sin(t)
    )
    assert "Lorenz96 takes no inputs" in certify(forced, Lorenz96(n=15))
    curved = rom.ROM(QuadraticManifold(1), rom.OperatorInference("A")).fit(runs)
    assert "does not lift states linearly" in certify(curved, heat)
    whole = rom.ROM(rom.Identity(), rom.OperatorInference("A", ridge=1e-6)).fit(runs)
    assert certify(whole, heat).modes.shape == (15, 15)
    assert "dimension 3001" in certificate(lambda y: -y, np.zeros(3001), np.eye(1, 3001))
    assert "degree 1 or 2" in certificate(lambda y: y**3, np.zeros(2), np.eye(2))


def test_a_large_full_model_is_estimated_and_says_why():
    wake = CylinderWake()
    rows = np.random.default_rng(0).normal(size=(12, wake.n_r * wake.n_theta))
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(rows, t=np.arange(12.0))
    why = certify(model, wake)
    run = rom.rollout(model.dynamics_, model.latent_[0], np.arange(3.0), throw=False)
    bound = error_bound(model, why, run, model.to_rows(rows[:1]).rows[0])
    assert bound.kind == "estimated"
    assert "dimension 9312" in bound.reason


def test_an_estimate_holds_where_training_shows_all_there_is():
    rng = np.random.default_rng(0)
    t = np.arange(0, 20, 0.1)
    Z = np.stack([np.cos(t), np.sin(t)], axis=1) @ np.linalg.qr(rng.normal(size=(2, 2)))[0]
    noisy = Z + 0.01 * rng.normal(size=Z.shape)
    for dynamics in (rom.OperatorInference("A"), DMD()):
        model = rom.ROM(rom.Identity(), dynamics).fit(noisy, t=t)
        truth = model.to_rows(Z).rows
        run = rom.rollout(model.dynamics_, truth[0], t[:100])
        bound = estimated_bound(model, run)
        assert bound.kind == "estimated"
        assert np.all(np.linalg.norm(run.z - truth[:100], axis=1) <= bound.error)


def test_the_estimate_of_one_step_is_too_small_as_often_as_it_says():
    """z' = 0.8 z + u + noise, fitted 60 times: one step in n + 1 exceeds the largest of n."""
    rng, n, exceeded = np.random.default_rng(0), 100, []
    for _ in range(60):
        u, noise = rng.normal(size=(2, n + 300, 1))
        z = np.zeros_like(u)
        for i in range(len(z) - 1):
            z[i + 1] = 0.8 * z[i] + u[i] + noise[i]
        model = rom.ROM(rom.Identity(), DMD()).fit(z[: n + 1], u=u[: n + 1])
        rows = model.to_rows(z).rows[n + 1 :]
        u = u[n + 1 :]
        run = rom.rollout(model.dynamics_, rows[0], [0.0, 1.0], u=u[:2])
        bound = estimated_bound(model, run, u=u[:2])
        steps = model.dynamics_.predict(rows[:-1], u=u[:-1])
        exceeded.append(np.mean(np.abs(steps - rows[1:]) > bound.error[1]))
    assert f"of {n} (about one in {n + 1} is larger)" in bound.reason
    assert 0.5 / (n + 1) < np.mean(exceeded) < 2 / (n + 1)


@pytest.fixture(scope="module")
def driven():
    """A linear model of a quadratic system under random inputs, and runs held out from it."""
    true = Operators(
        A=[[-0.5, 1.0], [-1.0, -0.5]], H=[[0.2, 0.0, 0.0], [0.0, 0.2, 0.0]], B=[[0.0], [1.0]]
    )
    rng, t = np.random.default_rng(0), np.arange(0, 6, 0.1)
    tones = np.sin(np.multiply.outer(t, [0.7, 1.9]) + rng.uniform(0, 6, size=(60, 1, 2)))
    inputs = 0.5 * tones.sum(axis=2, keepdims=True)
    starts = rng.normal(size=(60, 2))
    runs = [rom.rollout(true, z, t, u=u).z for z, u in zip(starts, inputs, strict=True)]
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA")).fit(
        np.concatenate(runs[:20]),
        t=np.tile(t, 20),
        u=np.concatenate(inputs[:20]),
        trajectory=np.repeat(np.arange(20), len(t)),
    )
    return model, t, runs[20:], inputs[20:]


def test_estimates_with_inputs_hold_on_runs_held_out_as_often_as_they_say(driven):
    """Of 200 steps: one of the m of a run is larger at most m times in 201."""
    model, t, runs, inputs = driven
    held, tight = [], []
    for truth, u in zip(runs, inputs, strict=True):
        rows = model.to_rows(truth, t=t).rows
        run = rom.rollout(model.dynamics_, rows[0], t, u=u)
        bound = error_bound(model, "no equation.", run, rows[0], u=u)
        assert bound.kind == "estimated"
        assert "of 200 (about one in 201 is larger)" in bound.reason
        assert bound.reason.endswith("Not certified: no equation.")
        error = np.linalg.norm(run.z - rows, axis=1)
        held.append(np.all(error <= bound.error))
        tight.append(bound.error[error.argmax()] / error.max())
    assert np.mean(held) >= 1 - len(t) / 201
    assert np.median(tight) < 10  # and are of use


def test_an_estimate_with_inputs_says_where_these_are_new(driven):
    model, t, _, inputs = driven
    start = model.latent_[0]
    for u, new in ((0 * inputs[0], False), (10 * inputs[0], True)):
        run = rom.rollout(model.dynamics_, start, t, u=u)
        assert ("outside those of training" in estimated_bound(model, run, u=u).reason) == new
    with pytest.raises(ValueError, match="1 inputs, but u was not given"):
        estimated_bound(model, run)


def test_a_saved_model_with_inputs_gives_the_same_estimate(driven, tmp_path):
    model, t, _, inputs = driven
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    run = rom.rollout(model.dynamics_, model.latent_[0], t, u=inputs[0])
    bounds = [estimated_bound(m, run, u=inputs[0]) for m in (model, loaded)]
    np.testing.assert_array_equal(bounds[0].error, bounds[1].error)
    loaded.latent_u_ = None  # as of an older file
    old = estimated_bound(loaded, run, u=inputs[0])
    assert (old.kind, np.isinf(old.error).all()) == ("none", True)
    assert "older" in old.reason


def test_an_estimate_needs_training_states_that_follow_each_other():
    t = np.arange(9.0)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(np.c_[np.cos(t)], t=t)
    run = rom.rollout(model.dynamics_, [0.1], t, throw=False)
    model.latent_trajectory_ = np.arange(9)
    bound = estimated_bound(model, run)
    assert (bound.kind, np.isinf(bound.error).all()) == ("none", True)


def test_the_bound_holds_what_the_projection_loses_of_its_own_start():
    """Known at the start, and more than the floor that comes from elsewhere."""
    t = np.arange(0, 10, 0.1)
    X = np.c_[np.cos(t), np.sin(t), 0.1 * np.cos(3 * t)]
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X, t=t)
    rows = model.to_rows(X, t=t).rows
    for i in range(0, 100, 9):
        run = rom.rollout(model.dynamics_, model.latent_[i], t[:5])
        lost = np.linalg.norm(rows[i] - model.from_latent(run.z[:1])[0])
        for floor in (None, 0.0, 2 * lost):
            bound = error_bound(model, "no equation.", run, rows[i], floor=floor)
            assert bound.error[0] >= lost
            assert bound.error[0] == pytest.approx(max(lost, floor or 0.0))


class Shrunk(Compressor):
    """Latent coordinates in another unit: a hundredth of the states."""

    def _fit(self, X):
        self.rank_ = X.shape[1]

    def _transform(self, X):
        return X / 100

    def _inverse_transform(self, Z):
        return 100 * Z


def test_an_estimate_is_of_states_in_whatever_unit_the_latent_ones_are():
    rng, t = np.random.default_rng(0), np.arange(0, 10, 0.1)
    noisy = np.c_[np.cos(t), np.sin(t)] + 0.01 * rng.normal(size=(100, 2))
    bounds = []
    for compressor in (rom.Identity(), Shrunk()):
        model = rom.ROM(compressor, rom.OperatorInference("A")).fit(noisy, t=t)
        run = rom.rollout(model.dynamics_, model.latent_[0], t)
        bounds.append(estimated_bound(model, run, 0.1).error)
    np.testing.assert_allclose(*bounds, rtol=1e-6)


@pytest.mark.parametrize(
    ("compressor", "power"), [(rom.POD(2), 2), (rom.HyperReduction(2), 1), (rom.Identity(), 1)]
)
def test_losses_add_up_in_squares_only_if_the_projection_is_orthogonal(compressor, power):
    rng, t = np.random.default_rng(0), np.arange(0, 10, 0.1)
    X = np.c_[np.cos(t), np.sin(t), 0.1 * np.cos(3 * t)] @ rng.normal(size=(3, 8))
    model = rom.ROM(compressor, rom.OperatorInference("A", ridge=1e-3)).fit(X, t=t)
    run = rom.rollout(model.dynamics_, model.latent_[0], t[:9])
    without, with_loss = (estimated_bound(model, run, floor).error for floor in (0.0, 0.5))
    np.testing.assert_allclose(with_loss**power, without**power + 0.5**power, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_small_changes_grow_no_more_than_the_bound_on_growth(seed):
    """Exact for a linear model; else its logarithmic norm, if that is the same everywhere."""
    A = np.random.default_rng(seed).normal(size=(3, 3))
    t = np.array([0.0, *np.linspace(0.3, 2, 21), 3.0])
    model, padded = Operators(A=A), Operators(A=A, H=np.zeros((3, 6)))
    run = rom.rollout(model, np.ones(3), t, bound=np.inf)
    exact = np.array([np.linalg.norm(expm(A * s), 2) for s in t])
    for same in (model, padded):
        np.testing.assert_allclose(growth_bound(same, run), exact, rtol=1e-9)
    rate = np.linalg.eigvalsh((A + A.T) / 2)[-1]
    curved = Operators(A=A, H=np.full((3, 6), 1e-12))
    bound = growth_bound(curved, rom.rollout(curved, np.ones(3), t, bound=np.inf))
    np.testing.assert_allclose(bound, np.exp(rate * t), rtol=1e-6)


def test_the_growth_in_a_linear_map_is_the_norm_of_its_powers():
    A = np.array([[0.5, 4.0], [0.0, -0.25]])
    norms = propagator_norms(A, "discrete", np.arange(5.0))
    exact = [np.linalg.norm(np.linalg.matrix_power(A, k), 2) for k in range(5)]
    np.testing.assert_allclose(norms, exact)
    endless = propagator_norms(np.array([[1e200]]), "discrete", np.arange(4.0))
    np.testing.assert_array_equal(endless, [1, 1e200, np.inf, np.inf])


def test_jacobians_of_a_quadratic_model():
    model = Operators(A=[[1.0, 2.0], [3.0, 4.0]], H=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    z = np.array([[0.5, -2.0], [1.0, 1.0]])
    exact = [[[1 + 2 * a, 2.0], [3.0 + b, 4.0 + a]] for a, b in z]
    np.testing.assert_allclose(jacobians(model, z), exact, rtol=1e-8)
