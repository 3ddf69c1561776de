from itertools import pairwise

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from rom.dynamics.networks import initial
from rom.theory import coordinate_check, width_exponent

X = torch.linspace(-1, 1, 24, dtype=torch.float64)[:, None] * torch.tensor([[1.0, -0.5]]).double()
# So large that the initial output, which is larger in narrow networks, hardly counts.
Y = 10 * torch.sin(3 * X[:, :1])
WIDTHS = [64, 192, 512]


class Scaled(nn.Module):
    """An affine layer whose weights are multiples of its parameters."""

    def __init__(self, weight, bias, by):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.bias = nn.Parameter(torch.tensor(bias))
        self.by = by

    def forward(self, x):
        return x @ (self.by * self.weight) + self.bias


def perceptron(width, seed, *, depth=2, **options):
    """A network of the toolkit, and the rates of its parameters."""
    sizes = [2, *[width] * depth, 1]
    start = initial(sizes, np.random.default_rng(seed), **options)
    layers = []
    for k in range(0, len(start.parameters), 2):
        layers += [Scaled(*start.parameters[k : k + 2], start.multipliers[k]), nn.Tanh()]
    return nn.Sequential(*layers[:-1]), start.rates


def standard(width, seed):
    """A network with the usual weights, and one rate for all."""
    sizes, rng = [2, width, width, 1], np.random.default_rng(seed)
    layers = []
    for n_in, n_out in pairwise(sizes):
        weight = rng.normal(scale=n_in**-0.5, size=(n_in, n_out))
        layers += [Scaled(weight, np.zeros(n_out), 1.0), nn.Tanh()]
    return nn.Sequential(*layers[:-1]), [1.0] * 6


def trainable(make, method, rate):
    def build(width, seed):
        net, rates = make(width, seed)
        groups = [
            {"params": [value], "lr": rate * by}
            for value, by in zip(net.parameters(), rates, strict=True)
        ]
        optimiser = method(groups)

        def step():
            optimiser.zero_grad()
            ((net(X) - Y) ** 2).mean().backward()
            optimiser.step()

        return net, step

    return build


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("sgd", "rate"), [(True, 0.003), (False, 0.01)])
def test_every_layer_of_the_toolkits_networks_learns_alike_at_every_width(depth, sgd, rate):
    method = torch.optim.SGD if sgd else torch.optim.Adam
    build = trainable(lambda *at: perceptron(*at, depth=depth, sgd=sgd), method, rate)
    table = coordinate_check(build, WIDTHS, X, n_steps=2, n_seeds=3)
    growth = width_exponent(table.change.sel(step=[1, 2]))
    assert np.abs(growth).max() < 0.2


def test_the_standard_network_learns_more_per_step_of_adam_the_wider_it_is():
    table = coordinate_check(
        trainable(standard, torch.optim.Adam, 1e-4), WIDTHS, X, n_steps=1, n_seeds=2
    )
    growth = width_exponent(table.change.sel(step=1))
    assert float(growth.sel(layer="4")) > 0.7
    assert abs(float(growth.sel(layer="0"))) < 0.2


@pytest.mark.parametrize(("gamma", "exponent"), [(1.0, -0.5), (0.75, -0.25), (0.5, 0.0)])
def test_the_spread_of_the_initial_output_is_that_of_the_theory(gamma, exponent):
    build = lambda *at: (perceptron(*at, depth=1, gamma=gamma)[0], lambda: None)  # noqa: E731
    table = coordinate_check(build, [64, 128, 256, 1024], X[::4], n_steps=0, n_seeds=60)
    assert float(width_exponent(table.spread.sel(step=0))) == pytest.approx(exponent, abs=0.08)


def test_wide_networks_train_to_the_same_function():
    build = trainable(lambda *at: perceptron(*at, depth=1), torch.optim.Adam, 0.02)
    table = coordinate_check(build, [16, 64, 256], X, n_steps=10, n_seeds=4)
    distance = table.distance.sel(step=[0, 10])
    assert np.isnan(distance[-1]).all()
    assert width_exponent(distance[:-1]).max() < -0.3


class Constant(nn.Module):
    """A network whose numbers are known: gives ``value`` times the mean of what comes."""

    def __init__(self, value):
        super().__init__()
        self.first, self.second = nn.Identity(), nn.Identity()
        self.value = value

    def forward(self, x):
        return self.second(self.value * self.first(x).mean(dim=1, keepdim=True))


def test_what_is_recorded():
    def build(width, seed):
        net = Constant(width * (seed + 1.0))

        def step():
            net.value += width**2

        return net, step

    x = torch.ones(5, 2)
    table = coordinate_check(build, [2, 4, 8], x, n_steps=2, n_seeds=2)
    assert table.layer.values.tolist() == ["first", "second"]
    assert_array_equal(table.activation.sel(layer="first"), 1)
    assert_array_equal(table.change.sel(layer="first"), 0)
    widths = np.array([2.0, 4.0, 8.0])
    steps = widths[:, None] ** 2 * np.arange(3)
    assert_allclose(table.change.sel(layer="second"), steps)
    values = widths[:, None, None] * [[1.0], [2.0]] + steps[:, None]
    assert_allclose(table.activation.sel(layer="second"), np.sqrt((values**2).mean(axis=1)))
    assert_allclose(table.spread, np.repeat(widths[:, None] / 2**0.5, 3, axis=1))
    away = values[:2] - values[2].mean(axis=0)
    assert_allclose(table.distance[:2], np.sqrt((away**2).mean(axis=1)))
    assert_array_equal(x, np.ones((5, 2)))


def test_layers_used_twice_and_layers_that_overwrite_are_recorded_as_they_gave():
    def build(width, seed):
        unit = nn.ReLU(inplace=True)
        first = nn.Linear(2, 2, bias=False)
        nn.init.eye_(first.weight)
        return nn.Sequential(first, unit, nn.Sequential(nn.Identity()), unit), lambda: None

    table = coordinate_check(build, [1, 2], torch.tensor([[-3.0, 4.0]]), n_steps=0, n_seeds=2)
    found = {name: float(table.activation.sel(layer=name)[0, 0]) for name in table.layer.values}
    assert found == {
        "0": pytest.approx(12.5**0.5), "1": pytest.approx(8**0.5), "2.0": pytest.approx(8**0.5),
    }  # fmt: skip


def test_leaves_the_module_and_the_random_numbers_as_they_were():
    net = nn.Linear(2, 1)
    state = torch.get_rng_state()
    before = [value.clone() for value in net.parameters()]
    table = coordinate_check(lambda *_: (net, lambda: None), [1, 2], torch.ones(3, 2), n_seeds=2)
    assert not net._forward_hooks
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert table.sizes == {"width": 2, "step": 11, "layer": 1}
    assert table.layer.values.tolist() == ["Linear"]


def test_exponents():
    widths = np.array([8, 32, 100, 256])
    values = xr.DataArray(
        [3 * widths**-0.5, widths**2.0, np.r_[7.0, 0, 0, 0], np.r_[8.0, 0, 100, np.nan]],
        {"width": widths}, ["case", "width"],
    )  # fmt: skip
    assert_allclose(width_exponent(values), [-0.5, 2.0, np.nan, 1.0])
    with pytest.raises(ValueError, match=r"dimension 'width', but theirs are \('size',\)"):
        width_exponent(values[0].rename(width="size"))


def test_refuses_with_reasons():
    build = lambda width, seed: (nn.Linear(2, 1), lambda: None)  # noqa: E731
    for widths, n_seeds in (([4], 2), ([4, 4], 2), ([8, 4], 2), ([4, 8], 1)):
        with pytest.raises(ValueError, match="two ascending widths, but n_seeds="):
            coordinate_check(build, widths, torch.ones(3, 2), n_seeds=n_seeds)
    other = lambda width, seed: (nn.Linear(2, width), lambda: None)  # noqa: E731
    with pytest.raises(ValueError, match=r"widths 2 and 3 .*shapes \(3, 2\) and \(3, 3\)"):
        coordinate_check(other, [2, 3], torch.ones(3, 2))
