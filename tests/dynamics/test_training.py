from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from rom.dynamics import training
from rom.dynamics.checkpoint import Checkpoint
from rom.dynamics.training import (
    MAX_ITER,
    NOT_FINITE,
    STALLED,
    Stage,
    _Batches,
    descend,
    minimise,
    train,
)

METHODS = {"minimise": minimise, "descend": descend}


def regression(n=60, seed=0):
    """Rows and targets of a noisy linear map, and its least-squares solution."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = X @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(n, 2))
    return X, y, np.linalg.lstsq(X, y)[0]


def squares(parameters, X, y):
    return ((X @ parameters[0] - y) ** 2).mean()


def curved(parameters, X, y):
    """A loss whose minimum takes many iterations."""
    return ((torch.tanh(X @ parameters[0]) @ parameters[1] - y) ** 2).mean()


def start():
    rng = np.random.default_rng(1)
    return [rng.normal(size=(3, 8)), rng.normal(size=(8, 2))]


def common(**options):
    return {"patience": 100, "device": "cpu", "label": "test", **options}


def test_both_find_the_least_squares_solution():
    X, y, exact = regression()
    zero = [np.zeros((3, 2))]
    found = minimise(zero, squares, (X, y), (X, y), **common(max_iter=40)).parameters[0]
    assert np.allclose(found, exact, atol=1e-9)
    outcome = descend(zero, squares, (X, y), (X, y), **common(max_iter=800), learning_rate=0.05)
    assert np.allclose(outcome.parameters[0], exact, atol=1e-4)
    assert outcome.reason == MAX_ITER
    assert outcome.best == outcome.history[:, 2].min() < outcome.before


@pytest.mark.parametrize(("fewest", "few"), [(1, 8), (40, 40), (101, None)])
def test_the_first_of_many_samples_are_trained_on_before_all(monkeypatch, fewest, few):
    """Twice as many equations as the 8 numbers of the network, and two equations per sample."""
    monkeypatch.setattr(training, "FEWEST", fewest)
    X, y, _ = regression(n=200)
    exact = np.linalg.lstsq(np.hstack([X, np.ones((200, 1))]), y)[0]
    sizes = []

    def loss(parameters, X, y):
        sizes.append(len(X))
        return ((X @ parameters[0] + parameters[1] - y) ** 2).mean()

    stage = Stage("rows", loss, (X, y), (X, y))
    outcomes = train(
        [stage] * 2, [np.zeros((3, 2)), np.zeros(2)], name="test", max_iter=40, patience=9,
        device="cpu", batch_size=None, learning_rate=0.01, seed=0,
    )  # fmt: skip
    names = [outcome.summary.split(":")[0] for outcome in outcomes]
    assert names == ["rows", "rows"] if few is None else [f"rows, {few} of 200", "rows", "rows"]
    assert set(sizes) == {few or 200, 200}
    for one, other in pairwise(outcomes):
        assert other.before == one.best
    assert np.allclose(np.vstack(outcomes[-1].parameters), exact, atol=1e-9)


def test_plain_gradient_steps_are_the_textbooks():
    """On p²/2 with a rate r, each step multiplies p by 1 - r (1 + cos π k / n) / 2."""
    loss = lambda p, x: (p[0] ** 2 * x).sum() / 2  # noqa: E731
    data = (np.ones(1),)
    outcome = descend(
        [np.array([2.0])], loss, data, data, **common(max_iter=20), learning_rate=0.3,
        rates=[0.5], sgd=True,
    )  # fmt: skip
    factors = 1 - 0.15 * 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20))
    assert outcome.parameters[0] == pytest.approx(2.0 * factors.prod(), rel=1e-12)


@pytest.mark.parametrize(("n_rows", "size"), [(12, 3), (13, 3), (5, 5), (4, 1)])
def test_every_row_comes_once_before_any_comes_again(n_rows, size):
    batches = _Batches([torch.arange(n_rows)], size, 0, None)
    per_pass = max(1, n_rows // size)
    passes = [torch.cat([batches(p * per_pass + i)[0] for i in range(per_pass)]) for p in (0, 1)]
    for rows in passes:
        assert sorted(rows.tolist()) == list(range(n_rows))
    assert size == n_rows or not torch.equal(*passes)


def test_a_batch_is_a_function_of_seed_and_step():
    noise = lambda random, batch: (batch[0] + random.normal(),)  # noqa: E731
    one, two = (_Batches([torch.arange(20.0)], 4, 3, noise) for _ in range(2))
    assert torch.equal(one(17)[0], [two(k)[0] for k in range(18)][17])
    assert not torch.equal(one(17)[0], _Batches([torch.arange(20.0)], 4, 4, noise)(17)[0])


class Killed(BaseException):
    """As a kill would, it passes every `except Exception`."""


@pytest.mark.parametrize("method", METHODS)
def test_goes_on_after_ten_kills_to_the_same_bits(method, tmp_path):
    X, y, _ = regression()
    options = common(max_iter=330)
    if method == "descend":
        options |= {"batch_size": 7, "seed": 5, "perturb": lambda r, b: (b[0] + r.normal(), b[1])}
    left = [np.inf]

    def mortal(parameters, X, y):
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return curved(parameters, X, y)

    def fit(checkpoint=None):
        return METHODS[method](
            start(), mortal, (X, y), (X[:9], y[:9]), checkpoint=checkpoint, **options
        )

    whole, rng, kills = fit(), np.random.default_rng(0), 0
    while kills < 10:
        left[0] = int(rng.integers(1, 33 * 1.2))
        with pytest.raises(Killed):
            fit(Checkpoint(tmp_path, method))
        kills += 1
    left[0] = np.inf
    resumed = fit(Checkpoint(tmp_path, method))
    assert np.array_equal(resumed.history, whole.history)
    assert resumed.n_iter == whole.n_iter == 330
    for a, b in zip(resumed.parameters, whole.parameters, strict=True):
        assert np.array_equal(a, b)
    # What has ended is not done again.
    left[0] = 1
    again = fit(Checkpoint(tmp_path, method))
    assert np.array_equal(again.parameters[0], whole.parameters[0])


def test_checkpoints_of_other_fits_are_not_taken_up(tmp_path):
    X, y, _ = regression()
    names = {
        Checkpoint(tmp_path, *identity).path.name
        for identity in [(X, y), (y, X), (X, 2 * y), (X[:-1], y), (X, y, "width", 3)]
    }
    assert len(names) == 5
    assert Checkpoint(tmp_path, X, y).path == Checkpoint(tmp_path, X.copy(), y.copy()).path


def test_a_write_that_fails_leaves_the_checkpoint_as_it_was(tmp_path):
    Checkpoint(tmp_path, 1).save("a", {"n_iter": 20})
    broken = Checkpoint(tmp_path, 1)
    with pytest.raises(Exception, match="pickle"):
        broken.save("a", {"n_iter": lambda: None})
    assert [path.name for path in tmp_path.iterdir()] == [broken.path.name]
    assert Checkpoint(tmp_path, 1).load("a") == {"n_iter": 20}
    broken.remove()
    broken.remove()
    assert not list(tmp_path.iterdir())


def test_rolls_back_and_lowers_the_rate_where_the_loss_is_nan():
    """From 0 a gradient step of rate 1 on (p - 1)² overshoots to 2, of rate ½ it ends at 1."""
    loss = lambda p, x: ((p[0] - x) ** 2).sum() + torch.where(p[0] > 1.5, torch.nan, 0.0).sum()  # noqa: E731
    data = (np.ones(1),)
    with pytest.warns(ConvergenceWarning, match="not finite 1 times"):
        outcome = descend(
            [np.zeros(1)], loss, data, data, **common(max_iter=50), learning_rate=1.0, sgd=True
        )
    assert outcome.n_rollbacks == 1
    assert outcome.reason == MAX_ITER
    assert outcome.parameters[0] == pytest.approx(1.0)


def test_gives_up_in_the_end_and_keeps_the_start():
    data = (np.ones(1),)
    for method in METHODS.values():
        with pytest.warns(ConvergenceWarning, match="not finite 6 times"):
            outcome = method(
                [np.array([3.0])], lambda p, x: (p[0] * torch.nan).sum(), data, data,
                **common(max_iter=50),
            )  # fmt: skip
        assert outcome.reason == NOT_FINITE
        assert outcome.parameters[0] == 3.0


@pytest.mark.parametrize("method", METHODS)
def test_a_start_that_was_better_is_kept(method):
    """Trained towards 1, judged by the distance to 0."""
    loss = lambda p, x: ((p[0] - x) ** 2).sum()  # noqa: E731
    outcome = METHODS[method](
        [np.array([0.1])], loss, (np.ones(1),), (np.zeros(1),),
        **common(max_iter=2000, patience=3),
    )  # fmt: skip
    assert outcome.parameters[0] == 0.1
    assert outcome.reason == STALLED
    assert len(outcome.history) == 3
