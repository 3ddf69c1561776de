from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_targets import EXPECTED_FAILURES
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.low_rank import Layer, LowRankODE, _descent, _halves, truncated, widened

SPIRAL = np.array([[-0.05, 1.5], [-1.5, -0.05]])


def linear(A, t, z0=(1.0, 0.0)):
    return np.stack([expm(A * time) @ z0 for time in t])


def quick(**options):
    return LowRankODE(
        **{
            "hidden": (16, 16),
            "max_rank": 6,
            "window": 4,
            "max_iter": 40,
            "random_state": 0,
            **options,
        }
    )


def random_layer(n_in=12, n_out=9, rank=4, seed=0):
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in (n_in, n_out))
    return Layer(U, rng.normal(size=(rank, rank)), V, rng.normal(size=n_out))


def weight(layer):
    return layer.left @ layer.core @ layer.right.T


def orthonormal(basis):
    return np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)


@pytest.fixture(scope="module")
def spiral():
    t = np.linspace(0, 10, 80)
    Z = linear(SPIRAL, t)
    return t, Z, quick().fit(Z, t=t)


@parametrize_with_checks(
    [LowRankODE(hidden=(4,), max_iter=2, random_state=0)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_sklearn(estimator, check):
    check(estimator)


@given(
    n_in=st.integers(1, 12), n_out=st.integers(1, 12), rank=st.integers(1, 12),
    tolerance=st.floats(0, 0.9), max_rank=st.integers(1, 12),
)  # fmt: skip
def test_truncation_is_the_best_of_its_rank_and_keeps_its_promise(
    n_in, n_out, rank, tolerance, max_rank
):
    rank = min(n_in, n_out, rank)
    layer = random_layer(n_in, n_out, rank)
    cut = truncated(layer, tolerance, max_rank)
    kept = len(cut.core)
    sigma = np.linalg.svd(weight(layer), compute_uv=False)[:rank]
    assert orthonormal(cut.left)
    assert orthonormal(cut.right)
    assert 1 <= kept <= min(rank, max_rank)
    lost = np.linalg.norm(weight(layer) - weight(cut))
    assert lost == pytest.approx(np.linalg.norm(sigma[kept:]), abs=1e-12)
    if kept < max_rank:  # the least rank whose tail is within the tolerance
        assert lost <= tolerance * np.linalg.norm(sigma) + 1e-12
        if kept > 1:
            assert np.linalg.norm(sigma[kept - 1 :]) > tolerance * np.linalg.norm(sigma) - 1e-12


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_wider_bases_hold_the_same_matrix_and_the_new_directions(rank):
    layer = random_layer(rank=rank)
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(12, rank)), rng.normal(size=(9, rank))
    wide = widened(layer, left, right)
    np.testing.assert_allclose(weight(wide), weight(layer), atol=1e-12)
    for basis, directions, n in ((wide.left, left, 12), (wide.right, right, 9)):
        assert orthonormal(basis)
        assert basis.shape[1] == min(2 * rank, n)
        np.testing.assert_allclose(basis @ (basis.T @ directions), directions, atol=1e-12)


def test_directions_already_held_do_not_widen_a_basis():
    layer = random_layer()
    wide = widened(layer, np.zeros((12, 4)), layer.right @ np.ones((4, 4)))
    assert wide.core.shape == (4, 4)


def test_gradients_of_both_factors_are_those_of_the_whole_matrix():
    """The layers' G V and Gᵀ U, with G from automatic differentiation of dense matrices."""
    import torch

    layers = [random_layer(3, 10, 2), random_layer(10, 3, 2, seed=1)]
    x, y = np.random.default_rng(2).normal(size=(2, 20, 3))

    def loss(parts, x, y):
        (a, b, c), (d, e, f) = parts[:3], parts[3:]
        return ((torch.tanh(x @ a @ b.T + c) @ d @ e.T + f - y) ** 2).mean()

    left, right = _descent(layers, (loss, (x, y), None))
    dense = [torch.tensor(weight(layer), requires_grad=True) for layer in layers]
    biases = [torch.tensor(layer.bias) for layer in layers]
    out = torch.tanh(torch.tensor(x) @ dense[0] + biases[0]) @ dense[1] + biases[1]
    gradients = torch.autograd.grad(((out - torch.tensor(y)) ** 2).mean(), dense)
    for layer, G, K, L in zip(layers, gradients, left, right, strict=True):
        np.testing.assert_allclose(K, G.numpy() @ layer.right, atol=1e-14)
        np.testing.assert_allclose(L, G.numpy().T @ layer.left, atol=1e-14)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_spread_of_singular_values_does_not_depend_on_the_factors(rank):
    import torch

    from rom.dynamics.low_rank import spread

    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(9, rank)), rng.normal(size=(7, rank))
    squares = np.linalg.svd(left @ right.T, compute_uv=False)[:rank] ** 2
    expected = np.linalg.norm(squares - squares.mean())
    size = squares.sum()
    assert abs(float(spread(torch.tensor(left), torch.tensor(right))) - expected) < 1e-7 * size
    alike = [torch.tensor(np.linalg.qr(a)[0], requires_grad=True) for a in (left, right)]
    value = spread(*alike)
    value.backward()
    assert float(value.detach()) < 1e-6
    assert all(torch.isfinite(basis.grad).all() for basis in alike)


def test_halves_give_the_matrix_back():
    layer = truncated(random_layer(), 0.0, 4)
    left, right, _ = _halves(layer)
    np.testing.assert_allclose(left @ right.T, weight(layer), atol=1e-12)
    np.testing.assert_allclose(left.T @ left, right.T @ right, atol=1e-12)


def test_spiral_flow_far_past_training(spiral):
    _, _, model = spiral
    """The slopes are off by less than what truncation may take, the run by what that can do.

    With d|e|/dt <= off - |e| / 20, as all states of the spiral draw near at that rate (Grönwall).
    """
    t = np.linspace(0, 20, 50)
    run = rom.rollout(model, [1.0, 0.0], t).z
    off = np.linalg.norm(model.predict(run) - run @ SPIRAL.T, axis=1).max()
    assert off < model.tolerance * np.linalg.norm(SPIRAL, 2)
    distance = np.linalg.norm(run - linear(SPIRAL, t), axis=1)
    assert np.all(distance <= 20 * off * (1 - np.exp(-t / 20)) + 1e-5)


def test_weights_are_counted_as_they_are_kept(spiral):
    _, _, model = spiral
    sizes = [(2, 16), (16, 16), (16, 2)]
    ranks = [left.shape[1] for left in model.left_]
    assert model.ranks_.tolist() == ranks == model.rank_history_[-1].tolist()
    assert max(ranks) <= 6
    assert model.n_weights_ == sum(r * (n + m) + m for r, (n, m) in zip(ranks, sizes, strict=True))
    assert model.n_dense_ == sum(n * m + m for n, m in sizes)
    for left, right, (n, m) in zip(model.left_, model.right_, sizes, strict=True):
        assert (len(left), len(right)) == (n, m)


def test_a_larger_tolerance_keeps_fewer_ranks(spiral):
    _, Z, _ = spiral
    fits = [
        quick(tolerance=value, max_iter=20).fit(Z, Z @ SPIRAL.T).ranks_ for value in (0.0, 0.1, 0.5)
    ]
    assert np.all(fits[0] >= fits[1])
    assert np.all(fits[1] >= fits[2])
    assert fits[0].sum() > fits[2].sum()


def test_the_condition_penalty_makes_singular_values_alike(spiral):
    _, Z, _ = spiral

    def spreads(penalty):
        model = quick(condition=penalty, tolerance=0.02).fit(Z, Z @ SPIRAL.T)
        layers = zip(model.left_, model.right_, model.ranks_, strict=True)
        squares = [np.linalg.svd(a @ b.T, compute_uv=False)[:r] ** 2 for a, b, r in layers]
        return sum(np.linalg.norm(s - s.mean()) for s in squares)

    assert spreads(0.1) < 0.2 * spreads(0.0)


def test_inputs_drive_the_state():
    """z' = -z + u: the model knows the response to an input it never saw."""
    t = np.linspace(0, 20, 120)

    def respond(u):
        return solve_ivp(lambda s, z: -z + u(s), (0, 20), [0.0], t_eval=t, rtol=1e-9).y.T

    seen = lambda s: np.sin(s) + 0.5 * np.sin(3.1 * s)  # noqa: E731
    model = quick(hidden=(8,)).fit(respond(seen), t=t, u=seen(t))
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
    last = np.abs(model.left_[-1] @ model.right_[-1].T).sum(axis=0)
    trap = model.radius_ + np.linalg.norm(last + np.abs(model.biases_[-1]))
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
    for name in ("left_", "right_", "biases_"):
        pairs = zip(getattr(a, name), getattr(b, name), strict=True)
        assert all(np.array_equal(x, y) for x, y in pairs)
    other = quick(max_iter=3, random_state=1).fit(Z, Z @ SPIRAL.T)
    assert not np.array_equal(a.biases_[0], other.biases_[0])


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
    with pytest.raises(ValueError, match="tolerance"):
        quick(tolerance=1.0).fit(Z, t=t)
