from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from rom.base import Series
from rom.data.trajectory import segments
from rom.dynamics import shooting
from rom.dynamics.invariants import quadratic_invariants
from rom.dynamics.stages import (
    fastest_rate,
    hold_out,
    input_scale,
    row_numbers,
    weak_matching,
)

SPIRAL = np.array([[-0.1, 1.5], [-1.5, -0.1]])


def series(n=200, uneven=False):
    """Two trajectories of a linear spiral."""
    t = np.linspace(0, 12, n)
    if uneven:
        t = t + 0.2 * (t[1] - t[0]) * np.sin(37 * t)
    Z = np.concatenate(
        [np.stack([expm(SPIRAL * s) @ z0 for s in t]) for z0 in ([1.0, 0.0], [0.0, -2.0])]
    )
    return Series(Z, None, np.r_[t, t], None, np.repeat([0, 1], n))


@pytest.mark.parametrize(("uneven", "tolerance"), [(False, 1e-9), (True, 1e-4)])
def test_the_weak_loss_of_the_exact_slopes_is_zero(uneven, tolerance):
    """One linear layer without hidden units can be the exact right-hand side."""
    data = series(uneven=uneven)
    pieces = segments(data.t, data.trajectory)
    matching = weak_matching(data, pieces, 0.15)
    scale = np.array([1.7, 0.4])
    for part in matching.data(data.Z, scale):
        tensors = [torch.tensor(values) for values in part]
        exact = [torch.tensor(SPIRAL.T / scale), torch.zeros(2).double()]
        assert float(shooting.weak_loss(exact, *tensors)) < tolerance**2
        wrong = [1.1 * exact[0], exact[1]]
        assert float(shooting.weak_loss(wrong, *tensors)) == pytest.approx(0.01, rel=0.02)


def test_held_out_test_functions_see_other_rows():
    data = series()
    pieces = segments(data.t, data.trajectory)
    matching = weak_matching(data, pieces, 0.15)
    seen = [set(part[1][1].tolist()) for part in (matching.train, matching.held_out)]
    assert len(seen[1]) > 20
    # A held-out block begins with a row of training.
    assert len(seen[0] & seen[1]) <= len(data.Z) // 20


def test_slopes_of_a_weak_matching_have_the_size_of_the_derivatives():
    data = series()
    matching = weak_matching(data, segments(data.t, data.trajectory), 0.15)
    true = np.sqrt(((data.Z @ SPIRAL.T) ** 2).mean(axis=0))
    assert np.sqrt((matching.slopes**2).mean(axis=0)) == pytest.approx(true, rel=0.3)


def test_trajectories_too_short_to_spare_a_block_serve_twice():
    data = series(n=8)
    matching = weak_matching(data, segments(data.t, data.trajectory), 0.15)
    assert all(np.array_equal(a, b) for a, b in zip(matching.train, matching.held_out, strict=True))


def test_all_rows_are_trained_on_or_held_out():
    data = series()
    pieces = segments(data.t, data.trajectory)
    train, held = hold_out(pieces, 0.2, 10)
    assert set(row_numbers(train)) | set(row_numbers(held)) == set(range(400))


def test_a_model_on_the_tangent_keeps_the_invariants():
    """In units of their own, and about a mean that is not zero."""
    rng = np.random.default_rng(0)
    invariants = quadratic_invariants(4, [np.eye(4), np.diag([1.0, 2.0, 3.0, 4.0])])
    mean, scale, gain = rng.normal(size=4), np.full(4, 1.7), rng.uniform(0.5, 2, size=4)
    slopes = rng.normal(size=(30, 4))
    x = rng.normal(size=(30, 5))
    model = shooting.on_tangent(lambda p, x: torch.tensor(slopes), invariants, mean, scale, gain)
    found = scale * gain * model([], torch.tensor(x)).numpy()
    for Q in invariants.quadratic:
        assert np.abs(np.einsum("ni,ni->n", (mean + scale * x[:, :4]) @ Q, found)).max() < 1e-12
    # What is taken away is at right angles to what stays.
    taken = scale * gain * slopes - found
    assert np.abs((taken * found).sum(axis=1)).max() < 1e-12


def test_noise_is_on_the_first_states_only_and_the_batch_is_not_written_to():
    z, u = torch.zeros(50, 4, 2).double(), torch.ones(50, 4, 1)
    shaken, same = shooting.shake(0.3, np.random.default_rng(0), (z, u))
    assert torch.equal(z, torch.zeros_like(z))
    assert same is u
    assert torch.equal(shaken[:, 1:], z[:, 1:])
    assert 0.25 < shaken[:, 0].abs().max() <= 0.3


def test_scales_know_rounding_from_what_varies():
    """A rate is that of a sine; an input is as wide as its deviation however large its mean is."""
    t = np.linspace(0, 2 * np.pi, 1001)[:-1]
    sines, slopes = np.stack([np.sin(t), np.sin(9 * t)]).T, np.stack([np.cos(t), 9 * np.cos(9 * t)])
    shaken = np.column_stack([sines, 3 + 1e-12 * np.cos(400 * t)])
    changes = np.column_stack([slopes.T, 4e-10 * np.sin(400 * t)])
    assert fastest_rate(shaken, changes) == pytest.approx(9, rel=1e-9)
    assert fastest_rate(0 * sines + 0.1, 0 * sines) == 0
    u = np.column_stack([1e6 + 1e-3 * sines[:, 0], np.full(1000, 0.1), np.zeros(1000)])
    assert input_scale(u) == pytest.approx([1e-3 / np.sqrt(2), 1, 1], rel=1e-5)
    assert input_scale(u[:, :0]).shape == (0,)
