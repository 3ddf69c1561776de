from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_targets import EXPECTED_FAILURES
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.bregman import (
    THRESHOLD,
    gather,
    grow,
    refit,
    scatter,
    scattered,
    start_sparse,
    without_idle_units,
)
from rom.dynamics.networks import forward
from rom.dynamics.sparse_ode import GROWTH, ROUNDS, SparseODE

SPIRAL = np.array([[-0.05, 1.5], [-1.5, -0.05]])


def linear(A, t, z0=(1.0, 0.0)):
    return np.stack([expm(A * time) @ z0 for time in t])


def quick(**options):
    return SparseODE(
        **{
            "hidden": (16, 16),
            "density": 0.3,
            "window": 4,
            "max_iter": 60,
            "random_state": 0,
            **options,
        }
    )


def random_network(sizes, density, seed=0):
    rng = np.random.default_rng(seed)
    network = []
    for n_in, n_out in pairwise(sizes):
        weight = rng.normal(size=(n_in, n_out))
        network += [weight * (rng.random(weight.shape) < density), rng.normal(size=n_out)]
    return network


@pytest.fixture(scope="module")
def spiral():
    t = np.linspace(0, 10, 80)
    Z = linear(SPIRAL, t)
    return t, Z, quick().fit(Z, t=t)


@parametrize_with_checks(
    [SparseODE(hidden=(4,), density=0.5, max_iter=2, random_state=0)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_sklearn(estimator, check):
    check(estimator)


def test_weights_come_to_life_in_the_order_of_their_gradients():
    """On a loss with the constant gradient c, v is -k c / max|c| after k iterations."""
    import torch

    c = np.array([[1.0, -0.9, 0.5], [0.05, 0.3, -0.7]])
    loss = lambda p, x: (p[0] * torch.tensor(c)).sum() + 0 * p[1].sum()  # noqa: E731
    orders = []
    for most in range(1, 6):
        (weight, _), (v,) = grow(
            [np.zeros((2, 3)), np.zeros(3)], [np.zeros((2, 3))], (loss, (np.ones(1),), None), most
        )
        assert np.count_nonzero(weight) == most
        k = -v[0, 0]
        np.testing.assert_allclose(v, -k * c, atol=1e-12)
        assert k == pytest.approx(round(k))
        assert (k - 1) * np.sort(np.abs(c), axis=None)[-most] <= THRESHOLD
        assert np.all(weight * c <= 0)
        orders.append(set(np.flatnonzero(weight)))
    by_size = np.argsort(-np.abs(c), axis=None).tolist()
    assert orders == [set(by_size[:most]) for most in range(1, 6)]


def test_memory_of_gradients_goes_on_where_growth_stopped():
    import torch

    c = np.array([[1.0, -0.35]])
    loss = lambda p, x: (p[0] * torch.tensor(c)).sum() + 0 * p[1].sum()  # noqa: E731
    stage = (loss, (np.ones(1),), None)
    network, v = grow([np.zeros((1, 2)), np.zeros(2)], [np.zeros((1, 2))], stage, 1)
    waited = -v[0][0, 0]
    _, v = grow(network, v, stage, 2)
    assert abs(v[0][0, 1]) > THRESHOLD
    assert -v[0][0, 0] >= waited


@given(
    hidden=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    density=st.floats(0.0, 1.0), seed=st.integers(0, 99),
)  # fmt: skip
def test_without_idle_units_the_function_is_the_same(hidden, density, seed):
    network = random_network([3, *hidden, 2], density, seed)
    copies = [value.copy() for value in network]
    small = without_idle_units(network)
    x = np.random.default_rng(seed).normal(size=(5, 3))
    np.testing.assert_allclose(
        forward(small[::2], small[1::2], x), forward(network[::2], network[1::2], x), atol=1e-12
    )
    assert all(np.array_equal(a, b) for a, b in zip(network, copies, strict=True))
    for before, after in zip(small[:-2:2], small[2::2], strict=True):
        busy = before.any(axis=0) & after.any(axis=1)
        assert busy.all() or before.shape[1] == 1


@given(density=st.floats(0.001, 1.0), seed=st.integers(0, 9))
def test_the_start_has_the_largest_weights_at_the_size_of_a_unit(density, seed):
    network = random_network([4, 10, 3], 1.0, seed)
    start = start_sparse(network, density)
    for weight, sparse in zip(network[::2], start[::2], strict=True):
        alive = sparse != 0
        assert alive.sum() == max(1, int(density * weight.size))
        assert np.abs(weight[alive]).min() >= np.abs(weight[~alive]).max(initial=0.0)
        assert np.linalg.norm(sparse) == pytest.approx(weight.shape[1] ** 0.5)


def test_gather_and_scatter_are_inverse_and_the_loss_is_the_same():
    import torch

    network = random_network([3, 6, 2], 0.4)
    masks = [weight != 0 for weight in network[::2]]
    values = gather(network, masks)
    assert sum(v.size for v in values) == sum(map(np.count_nonzero, network[::2])) + 8
    for a, b in zip(scatter(values, masks), network, strict=True):
        assert np.array_equal(a, b)
    loss = lambda p: sum((w**2).sum() for w in p)  # noqa: E731
    tensors = [torch.tensor(value) for value in values]
    expected = sum((value**2).sum() for value in network)
    assert float(scattered(loss, masks)(tensors)) == pytest.approx(expected)


def test_a_fit_of_the_living_weights_leaves_the_others_at_zero():
    import torch

    network = random_network([3, 6, 2], 0.4)
    x, y = np.random.default_rng(1).normal(size=(2, 30, 3))

    def loss(p, x, y):
        return ((torch.tanh(x @ p[0] + p[1]) @ p[2] + p[3] - y[:, :2]) ** 2).mean()

    fitted, held = refit(network, loss, (x, y), (x, y))
    assert held < float(loss([torch.tensor(v) for v in network], *map(torch.tensor, (x, y))))
    for before, after in zip(network[::2], fitted[::2], strict=True):
        assert np.array_equal(before != 0, after != 0)


def test_spiral_flow_far_past_training(spiral):
    _, _, model = spiral
    t = np.linspace(0, 20, 50)
    run = rom.rollout(model, [1.0, 0.0], t).z
    assert np.abs(run - linear(SPIRAL, t)).max() < 0.1


@pytest.mark.parametrize("density", [0.02, 0.1, 1.0])
def test_never_more_weights_than_asked_for(spiral, density):
    _, Z, _ = spiral
    model = quick(density=density, max_iter=1).fit(Z, Z @ SPIRAL.T)
    sizes = [(2, 16), (16, 16), (16, 2)]
    assert model.n_dense_ == sum(n * m + m for n, m in sizes)
    n_weights = density * sum(n * m for n, m in sizes)
    budgets = n_weights * GROWTH ** (np.arange(ROUNDS) / ROUNDS - 1)
    assert np.all(model.growth_[:, 0] <= budgets + len(sizes))
    alive = sum(np.count_nonzero(weight) for weight in model.weights_)
    assert alive <= n_weights + len(sizes)
    assert model.n_weights_ == alive + sum(bias.size for bias in model.biases_)


def test_inputs_drive_the_state():
    """z' = -z + u: the model knows the response to an input it never saw."""
    t = np.linspace(0, 20, 120)

    def respond(u):
        return solve_ivp(lambda s, z: -z + u(s), (0, 20), [0.0], t_eval=t, rtol=1e-9).y.T

    seen = lambda s: np.sin(s) + 0.5 * np.sin(3.1 * s)  # noqa: E731
    model = quick(hidden=(8,), density=1.0).fit(respond(seen), t=t, u=seen(t))
    unseen = lambda s: 0.8 * np.cos(1.7 * s)  # noqa: E731
    run = rom.rollout(model, [0.0], t, u=unseen(t)[:, None]).z
    assert np.abs(run - respond(unseen)).max() < 0.05


def test_never_across_the_end_of_a_trajectory_nor_a_gap():
    t = np.r_[np.linspace(0, 6, 40), np.linspace(40, 46, 40)]
    other = linear(SPIRAL, t[:40], (0.0, -2.0))
    both, labels = np.vstack([linear(SPIRAL, t), other]), np.repeat([0, 1], [80, 40])
    model = quick().fit(both, t=np.r_[t, t[:40]], trajectory=labels)
    assert np.abs(model.predict(both) - both @ SPIRAL.T).max() < 0.1


def test_every_rollout_is_bounded(spiral):
    """Where the pull, excess · |x|, exceeds the largest output, the distance shrinks."""
    _, _, model = spiral
    largest = np.linalg.norm(np.abs(model.weights_[-1]).sum(axis=0) + np.abs(model.biases_[-1]))
    trap = model.radius_ + largest
    direction = np.random.default_rng(0).normal(size=(200, 2))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    for far in (1.001 * trap, 10 * trap, 1e6 * trap):
        slopes = model.predict(model.mean_ + model.scale_ * far * direction)
        assert np.all((slopes * direction).sum(axis=1) < 0)


def test_same_seed_same_bits_and_untouched_data(spiral):
    _, Z, _ = spiral
    before = Z.copy()
    a, b = (quick(max_iter=3).fit(Z, Z @ SPIRAL.T) for _ in range(2))
    assert np.array_equal(Z, before)
    for name in ("weights_", "biases_"):
        pairs = zip(getattr(a, name), getattr(b, name), strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)
    other = quick(max_iter=3, random_state=1).fit(Z, Z @ SPIRAL.T)
    assert not np.array_equal(a.growth_, other.growth_)


def test_a_file_holds_the_whole_model(spiral, tmp_path):
    t, Z, _ = spiral
    X = Z @ np.random.default_rng(0).normal(size=(2, 7))
    model = rom.ROM(rom.POD(2), quick(max_iter=2)).fit(X, t=t)
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    runs = [each.rollout(X[0], t[:30]).to_array() for each in (model, loaded)]
    assert np.array_equal(*runs)


def test_refuses_with_reasons(spiral):
    t, Z, _ = spiral
    with pytest.raises(ValueError, match="positive whole numbers"):
        quick(hidden=(0,)).fit(Z, t=t)
    with pytest.raises(ValueError, match="one target per latent coordinate"):
        quick().fit(Z, Z[:, :1])
    with pytest.raises(ValueError, match="stands alone"):
        quick().fit(Z, t=t, trajectory=np.arange(len(Z)))
    with pytest.raises(ValueError, match="density"):
        quick(density=0.0).fit(Z, t=t)
