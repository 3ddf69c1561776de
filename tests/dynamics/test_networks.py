from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics.networks import (
    REFERENCE,
    check_hidden,
    effective,
    forward,
    initial,
    multipliers,
)
from rom.dynamics.shooting import network


def tensors(values, **options):
    return [torch.tensor(value, **options) for value in values]


def doubled(parameters):
    """Parameters of the network in which every hidden unit stands twice."""
    twice = [np.tile(value, 2) for value in parameters]
    for k in range(2, len(twice), 2):
        twice[k] = np.tile(twice[k], (2, 1))
    twice[-2], twice[-1] = np.tile(parameters[-2], (2, 1)), parameters[-1]
    return twice


def trained(start, parameters, x, y, *, sgd, rate, n_steps=3):
    """The network's weights after some steps of plain descent, or of Adam without its epsilon."""
    moving = tensors(parameters, requires_grad=True)
    groups = [
        {"params": [value], "lr": rate * by} for value, by in zip(moving, start.rates, strict=True)
    ]
    optimiser = torch.optim.SGD(groups) if sgd else torch.optim.Adam(groups, eps=1e-30)
    for _ in range(n_steps):
        optimiser.zero_grad()
        ((network(effective(moving, start.multipliers), x) - y) ** 2).mean().backward()
        optimiser.step()
    return [value.detach().numpy() for value in effective(moving, start.multipliers)]


@pytest.mark.parametrize("sgd", [True, False])
@pytest.mark.parametrize("widths", [(70,), (64, 80), (66, 65, 72)])
def test_twice_the_units_train_to_the_same_function(widths, sgd):
    """At γ = 1, N units twice over are N units: the same output before, and after training."""
    rng = np.random.default_rng(1)
    x, y = tensors([rng.normal(size=(20, 2)), rng.normal(size=(20, 3))])
    narrow = initial([2, *widths, 3], rng, sgd=sgd)
    wide = initial([2, *(2 * width for width in widths), 3], rng, sgd=sgd)
    rate = 3.0 if sgd else 0.02
    start = forward(*halves(effective(narrow.parameters, narrow.multipliers)), x.numpy())
    values = [
        forward(*halves(trained(which, parameters, x, y, sgd=sgd, rate=rate)), x.numpy())
        for which, parameters in ((narrow, narrow.parameters), (wide, doubled(narrow.parameters)))
    ]
    assert_allclose(*values, rtol=1e-9, atol=1e-11)
    assert np.abs(values[0] - start).max() > 1e-2  # so that something was learned


def halves(layers):
    return layers[::2], layers[1::2]


@pytest.mark.parametrize("width", [REFERENCE // 4, REFERENCE])
def test_up_to_the_reference_width_it_is_the_standard_network(width):
    start = initial([3, width, width, 40], np.random.default_rng(0))
    for sgd in (True, False):
        same = initial([3, width, width, 40], np.random.default_rng(0), sgd=sgd)
        assert same.multipliers == same.rates == [1.0] * 6
    assert_allclose(start.parameters[2].std(), width**-0.5, rtol=0.1)
    assert_allclose(start.parameters[4].std(), width**-0.5, rtol=0.1)
    assert_array_equal(start.parameters[-1], 0)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_sums_start_of_order_one_in_hidden_layers_and_smaller_outside(gamma):
    sizes = [9, 400, 900, 50]
    start = initial(sizes, np.random.default_rng(0), gamma=gamma)
    spreads = [weight.std() for weight in effective(start.parameters, start.multipliers)[::2]]
    outer = REFERENCE**-0.5 * (REFERENCE / 900) ** gamma
    assert_allclose(spreads, [1 / 3, 1 / 20, outer], rtol=0.05)


@pytest.mark.parametrize("gamma", [0.5, 0.75, 1.0])
def test_rates_of_descent_are_those_of_the_theory(gamma):
    """Yu & Spiliopoulos (2023), three layers, times N₃: a number of steps that does not grow."""
    sizes = [2, 32, 128, 256, 1]
    n1, n2, n3 = (max(width / REFERENCE, 1.0) for width in sizes[1:-1])
    rates = initial(sizes, np.random.default_rng(0), gamma=gamma, sgd=True).rates
    one, two = 2 * gamma - 1, 2 * gamma - 2
    expected = [
        n1**one * n2**two * n3**two,
        n1**one * n2**one * n3**two,
        n2**one * n3**one,
        n3**one,
    ]
    assert_allclose(rates[::2], expected)
    assert_allclose(rates[1::2], [expected[0], n2**one * n3**two, n3**one, 1.0])


def test_adam_needs_no_rates_of_its_own_in_the_mean_field():
    assert initial([4, 17, 300, 2], np.random.default_rng(0)).rates == [1.0] * 6


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(0, 5),
    st.floats(0.5, 1.0),
)
def test_numpy_and_torch_agree_for_any_sizes(sizes, n_rows, gamma):
    start = initial(sizes, np.random.RandomState(0), gamma=gamma)
    assert [p.shape for p in start.parameters[::2]] == list(pairwise(sizes))
    assert [p.shape for p in start.parameters[1::2]] == [(n,) for n in sizes[1:]]
    assert start.multipliers == multipliers(sizes, gamma=gamma)
    layers = effective(start.parameters, start.multipliers)
    x = np.random.default_rng(0).normal(size=(n_rows, sizes[0]))
    expected = network(tensors(layers), torch.tensor(x)).numpy()
    assert_allclose(forward(*halves(layers), x), expected, rtol=1e-12, atol=1e-14)


def test_units_apply_the_activation_asked_for():
    weights, biases = [np.eye(2), np.array([[1.0], [10.0]])], [np.zeros(2), np.ones(1)]
    x = np.array([[-1.0, 2.0]])
    for name, unit in (
        ("tanh", np.tanh),
        ("relu", lambda v: v * (v > 0)),
        ("softplus", lambda v: np.log(1 + np.exp(v))),
    ):
        expected = unit(-1.0) + 10 * unit(2.0) + 1
        assert_allclose(forward(weights, biases, x, name), [[expected]])


def test_softplus_does_not_overflow():
    x = np.array([[800.0], [-800.0]])
    values = forward([np.eye(1), np.eye(1)], [np.zeros(1)] * 2, x, "softplus")
    assert_array_equal(values, [[800.0], [0.0]])


def test_gradients_pass_through_effective():
    (value,) = tensors([np.array([2.0, 3.0])], requires_grad=True)
    effective([value], [0.25])[0].sum().backward()
    assert_array_equal(value.grad.numpy(), [0.25, 0.25])


def test_one_seed_one_network():
    draws = [initial([2, 5, 1], np.random.RandomState(seed)).parameters for seed in (3, 3, 4)]
    for a, b, c in zip(*draws[:2], draws[2], strict=True):
        assert_array_equal(a, b)
        assert a.shape == c.shape
    assert not np.array_equal(draws[0][0], draws[2][0])


def test_refuses_with_reasons():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"at least two positive numbers, but is \[3\]"):
        initial([3], rng)
    with pytest.raises(ValueError, match="positive numbers, but is"):
        initial([3, 0, 1], rng)
    with pytest.raises(ValueError, match=r"between 0.5 and 1, but is 0.4"):
        initial([3, 1], rng, gamma=0.4)
    with pytest.raises(ValueError, match=r"one per layer, but is \(8, 0\)"):
        check_hidden((8, 0))
    with pytest.raises(ValueError, match="whole numbers"):
        check_hidden((2.5,))
    check_hidden(())
