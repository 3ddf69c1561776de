from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from other_targets import OTHER_TARGETS
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.gradient_ode import Energy, clearly_better, symmetric_solution
from rom.dynamics.hamiltonian import HamiltonianODE, canonical
from rom.fom import Wave

EXPECTED_FAILURES = {
    **dict.fromkeys(OTHER_TARGETS, "other targets than coordinates"),
    "check_fit2d_1feature": "one column holds no pair (q, p)",
}


def quick(hidden=(8,), **options):
    return HamiltonianODE(hidden, **{"max_iter": 20, "random_state": 0, **options})


@parametrize_with_checks([quick()], expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_sklearn(estimator, check):
    check(estimator)


def with_any_energy(model, seed, widths=(5, 4), definite=False):
    """A fitted model whose energy is replaced by a random one."""
    rng = np.random.default_rng(seed)
    rank = model.n_features_in_
    K = rng.normal(size=(rank, rank))
    model.quadratic_, model.linear_ = K @ K.T if definite else K + K.T, rng.normal(size=rank)
    sizes = (rank, *widths, 1)
    model.weights_ = [rng.normal(size=shape) for shape in pairwise(sizes)]
    model.biases_ = [rng.normal(size=n) for n in sizes[1:]]
    model.radius_ = np.inf if definite else 1.5
    return model


def slopes_of(function, Z, step=1e-5):
    """Central differences of a function of rows by each coordinate, last axis."""
    shifts = step * np.eye(Z.shape[1])
    return np.stack([function(Z + e) - function(Z - e) for e in shifts], axis=-1) / (2 * step)


@pytest.fixture(scope="module")
def fitted():
    t = np.linspace(0, 6, 60)
    z = np.exp(-1j * t[:, None] * [1.0, 2.0]) * [1.0, 0.3]
    Z = 2.0 * np.hstack([z.real, z.imag]) + [1.0, 0.0, -2.0, 0.0]
    return quick(max_iter=1).fit(Z, t=t)


def pendulum(t, angle=2.0):
    return solve_ivp(
        lambda s, z: [z[1], -np.sin(z[0])], (0, t[-1]), [angle, 0], t_eval=t, rtol=1e-10, atol=1e-12
    ).y.T


@given(
    widths=st.lists(st.integers(1, 6), min_size=0, max_size=3),
    rank=st.integers(1, 5),
    n_rows=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
@settings(max_examples=20, deadline=None)
def test_gradient_of_the_energy_is_its_derivative_and_the_same_in_torch(widths, rank, n_rows, seed):
    rng = np.random.default_rng(seed)
    K, sizes = rng.normal(size=(rank, rank)), (rank, *widths, 1)
    shapes = list(pairwise(sizes)) if widths else []
    parts = K + K.T, rng.normal(size=rank), [rng.normal(size=shape) for shape in shapes]
    energy = Energy(*parts, [rng.normal(size=shape[1]) for shape in shapes])
    x = rng.normal(size=(n_rows, rank))
    assert_allclose(energy.gradient(x), slopes_of(energy.value, x), rtol=1e-6, atol=1e-6)
    as_tensors = [
        [torch.tensor(v) for v in part] if isinstance(part, list) else torch.tensor(part)
        for part in energy
    ]
    in_torch = Energy(*as_tensors).gradient(torch.tensor(x), torch.tanh)
    assert_allclose(in_torch.numpy(), energy.gradient(x), atol=1e-13)


def test_symmetric_solution_is_the_best_symmetric_matrix():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 4))
    K, g = symmetric_solution(x, y)
    assert_allclose(K, K.T, atol=1e-14)
    residual = x @ K + g - y
    gradient = residual.T @ x  # of the misfit by K, whose symmetric part must vanish
    assert_allclose(gradient + gradient.T, 0, atol=1e-12)
    assert_allclose(residual.sum(axis=0), 0, atol=1e-12)


def test_symmetric_solution_is_zero_where_states_do_not_vary():
    x = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 1.0, 1e-9] + [0.0, 0.0, 5.0]
    y = x @ np.diag([2.0, 3.0, 0.0]) + 1e-9 * np.random.default_rng(1).normal(size=(30, 3))
    K, g = symmetric_solution(x, y)
    assert_allclose(K, np.diag([2.0, 3.0, 0.0]), atol=1e-7)
    assert_allclose(g, 0, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_any_energy_is_conserved_by_a_symplectic_flow(fitted, seed):
    """Inside the wall and beyond: f ⟂ ∇H, and J times the Jacobian is symmetric."""
    model = with_any_energy(fitted, seed, definite=seed % 2 == 0)
    Z = model.mean_ + np.random.default_rng(seed).normal(scale=3, size=(20, 4)) * model.scale_
    gradient = slopes_of(model.energy, Z)
    size = np.linalg.norm(gradient, axis=1) * np.linalg.norm(model.predict(Z), axis=1)
    assert np.all(np.abs((gradient * model.predict(Z)).sum(axis=1)) < 1e-6 * size)
    assert_allclose(model.predict(Z), gradient @ canonical(4).T, rtol=1e-5, atol=1e-5)
    hessian = canonical(4).T @ slopes_of(model.predict, Z)
    assert_allclose(hessian, hessian.transpose(0, 2, 1), atol=1e-4)


def test_midpoint_steps_are_symplectic_maps(fitted):
    model = with_any_energy(fitted, seed=0, definite=True)
    start = np.array([[0.3, -0.2, 0.1, 0.4]])

    def step(Z):
        return np.array([rom.rollout(model, z, [0.0, 0.2], stepper="midpoint").z[1] for z in Z])

    D = slopes_of(step, start)[0]
    assert_allclose(D.T @ canonical(4) @ D, canonical(4), atol=1e-7)
    assert np.abs(D - np.eye(4)).max() > 0.1


def test_an_energy_that_is_not_definite_gets_a_wall_that_holds_everything_in(fitted):
    model = with_any_energy(fitted, seed=1)
    assert np.linalg.eigvalsh(model.quadratic_)[0] < 0
    rays = np.random.default_rng(0).normal(size=(50, 4))
    rays *= model.scale_ / np.linalg.norm(rays, axis=1, keepdims=True)
    heights = [model.energy(model.mean_ + far * rays).min() for far in (10, 100, 1000, 1e4)]
    assert np.all(np.diff(heights) > 0)
    assert heights[-1] > 100 * heights[-2]


def test_a_network_stays_only_if_better_by_a_standard_error():
    """Of means of 100 windows that are 2 ± 1, so 0.1; in every window better is not enough."""
    errors = np.tile([1.0, 3.0], 50)
    assert not clearly_better(errors, errors + 0.099)
    assert clearly_better(errors, errors + 0.101)
    assert not clearly_better(errors, errors)
    assert clearly_better(errors, np.where(errors > 1, np.nan, errors))
    assert not clearly_better(np.where(errors > 1, np.nan, errors), errors)


def test_pendulum_far_past_training():
    t = np.linspace(0, 15, 151)
    Z = np.vstack([pendulum(t, angle) for angle in (1.0, 2.0)])
    label = np.repeat([0, 1], len(t))
    model = quick((16,), max_iter=60, window=4).fit(Z, t=np.r_[t, t], trajectory=label)
    t = np.linspace(0, 60, 1201)
    truth = pendulum(t, 1.5)
    run = rom.rollout(model, truth[0], t, stepper="midpoint")
    assert np.abs(run.z - truth).max() < 0.15
    energy = run.z[:, 1] ** 2 / 2 - np.cos(run.z[:, 0])
    assert np.abs(energy - energy[0]).max() < 0.01
    assert len(model.weights_) == 2


def test_wave_equation_on_a_symplectic_basis():
    full, t = Wave(speed=0.1, n=64), np.linspace(0, 30, 3001)
    x = full.simulate(full.initial_state(), t)
    t0 = x.isel(time=slice(0, 1001))
    model = rom.ROM(
        rom.CotangentLift(16), quick(max_iter=5), preprocess=rom.Scale(center=False, scale=False)
    ).fit(t0)
    run = model.rollout(x[0], t, stepper="midpoint").state
    energy = full.energy(run)
    assert np.abs(energy / energy[0] - 1).max() < 1e-5
    floor = model.decode(model.encode(x))
    error, best = (np.sqrt(((r - x) ** 2).sum()) for r in (run, floor))
    assert error < 1.1 * best
    assert model.dynamics_.weights_ == []


@pytest.mark.parametrize("hidden", [(), (8,)])
def test_linear_motion_is_found_exactly_and_needs_no_network(hidden):
    """Uneven times, two trajectories far apart, coordinates about a centre."""
    K = np.array([[3.0, 0.5, 0, 0], [0.5, 2.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    A = canonical(4) @ K
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.01, 0.04, size=200))
    centre = np.array([5.0, 0.0, 1.0, -1.0])
    runs = [np.stack([expm(A * s) @ z for s in t]) for z in rng.normal(size=(2, 4))]
    Z = np.vstack(runs) + centre
    model = quick(hidden, max_iter=3).fit(Z, t=np.r_[t, t], trajectory=np.repeat([0, 1], 200))
    assert_allclose(model.predict(Z), (Z - centre) @ A.T, atol=1e-6)
    assert model.weights_ == []
    polynomial = model.polynomial()
    assert_allclose(polynomial.coef[:, 1:], A, atol=1e-6)
    assert_allclose(polynomial.coef[:, 0] + polynomial.coef[:, 1:] @ Z[7], model.predict(Z[7:8])[0])
    far = rom.rollout(model, Z[0], np.linspace(0, 100, 2001), stepper="midpoint")
    assert np.ptp(model.energy(far.z)) < 1e-10 * np.ptp(model.energy(Z))


def test_same_seed_same_bits_and_the_fitted_attributes_are_the_whole_model():
    t = np.linspace(0, 10, 101)
    Z = pendulum(t)
    first, again = (quick(max_iter=10).fit(Z, t=t) for _ in range(2))
    assert len(first.weights_) == 2
    for a, b in zip(first.weights_, again.weights_, strict=True):
        assert np.array_equal(a, b)
    fitted = {name: value for name, value in vars(first).items() if name.endswith("_")}
    copy = quick()
    for name, value in fitted.items():
        kinds = (np.ndarray, int, float, str)
        assert isinstance(value, kinds) or all(isinstance(v, np.ndarray) for v in value), name
        setattr(copy, name, value)
    assert np.array_equal(copy.predict(Z), first.predict(Z))
    assert np.array_equal(copy.energy(Z), first.energy(Z))


def test_refuses_with_reasons():
    t = np.linspace(0, 1, 10)
    Z = np.column_stack([np.cos(t), -np.sin(t)])
    with pytest.raises(ValueError, match=r"even number of coordinates.* but Z has 3"):
        quick().fit(np.hstack([Z, Z[:, :1]]), t=t)
    with pytest.raises(ValueError, match="takes no inputs u"):
        quick().fit(Z, t=t, u=t)
    with pytest.raises(ValueError, match="1 targets for 2 coordinates"):
        quick().fit(Z, Z[:, 0])
    with pytest.raises(ValueError, match="positive whole numbers"):
        quick((0,)).fit(Z, t=t)
    with pytest.raises(ValueError, match="stands alone"):
        quick().fit(Z, t=t, trajectory=np.arange(10))
