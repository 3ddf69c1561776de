from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from rom.dynamics import adjoint
from rom.dynamics.adjoint import DOPRI5, EULER, MIDPOINT, RK4
from rom.dynamics.shooting import network
from rom.dynamics.shooting import shoot as plain

TABLEAUX = {"euler": EULER, "midpoint": MIDPOINT, "rk4": RK4, "dopri5": DOPRI5}


def problem(n_windows=5, length=4, rank=3, n_inputs=2, width=8, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    sizes = [rank + n_inputs, width, width, rank]
    parameters = []
    for n_in, n_out in pairwise(sizes):
        parameters += [draw(n_in, n_out) / n_in**0.5, draw(n_out)]
    z, u = draw(n_windows, rank), draw(n_windows, length + 1, n_inputs)
    h = 0.05 + 0.1 * torch.rand(n_windows, length, generator=random, dtype=torch.float64)
    for tensor in [*parameters, z]:
        tensor.requires_grad_()
    return parameters, z, u, h


def field_of(parameters):
    return lambda z, u: network(parameters, torch.cat([z, u], dim=1))


def unrolled(field, z, u, h, substeps, tableau):
    """The same method step by step, all of it left to automatic differentiation."""
    states = []
    for k in range(h.shape[1]):
        for j in range(substeps):
            step, change = h[:, k, None] / substeps, (u[:, k + 1] - u[:, k]) / substeps
            slopes = []
            for row, c in zip(tableau.a, tableau.c, strict=True):
                at = z + step * sum((a * s for a, s in zip(row, slopes, strict=True)), 0.0 * z)
                slopes.append(field(at, u[:, k] + (j + c) * change))
            z = z + step * sum(b * s for b, s in zip(tableau.b, slopes, strict=True))
        states.append(z)
    return torch.stack(states, dim=1)


def gradients(states, wanted):
    weight = torch.linspace(-1, 2, states.numel(), dtype=torch.float64).reshape(states.shape)
    return torch.autograd.grad((weight * states**2).sum(), wanted)


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("name", TABLEAUX)
def test_gradients_are_those_of_automatic_differentiation(name, substeps):
    parameters, z, u, h = problem()
    field, tableau = field_of(parameters), TABLEAUX[name]
    ours = adjoint.shoot(field, parameters, z, u, h, substeps, tableau=tableau)
    theirs = unrolled(field, z, u, h, substeps, tableau)
    assert torch.allclose(ours, theirs, rtol=1e-13, atol=1e-14)
    wanted = [z, *parameters]
    for a, b in zip(gradients(ours, wanted), gradients(theirs, wanted), strict=True):
        assert torch.linalg.norm(a - b) <= 1e-12 * torch.linalg.norm(b)


def test_the_run_is_that_of_the_shooting():
    parameters, z, u, h = problem()
    field = field_of(parameters)
    ours = adjoint.shoot(field, parameters, z, u, h, 2)
    assert torch.allclose(ours, plain(field, z, u, h, 2), rtol=1e-14, atol=1e-15)


def test_gradients_agree_with_finite_differences():
    parameters, z, u, h = problem(n_windows=2, length=2, width=3)
    run = lambda z, *p: adjoint.shoot(field_of(p), list(p), z, u, h, 2)  # noqa: E731
    assert torch.autograd.gradcheck(run, (z, *parameters), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("dopri5", 5)]
)
def test_states_and_gradients_converge_at_the_order_of_the_method(name, order):
    """z' = a z over a time of 1: z(1) = exp(a), and so is its derivative in a."""
    a = torch.tensor(-1.3, dtype=torch.float64, requires_grad=True)
    z, u, h = (torch.tensor(x).double() for x in ([[1.0]], np.zeros((1, 2, 0)), [[1.0]]))
    errors = []
    for substeps in (8, 16):
        end = adjoint.shoot(lambda z, u: a * z, [a], z, u, h, substeps, tableau=TABLEAUX[name])
        (slope,) = torch.autograd.grad(end.sum(), [a])
        errors.append([abs(end.item() - np.exp(-1.3)), abs(slope.item() - np.exp(-1.3))])
    rate = np.log2(np.array(errors[0]) / errors[1])
    assert np.all(np.abs(rate - order) < 0.35)


class Graph:
    """Bytes of what automatic differentiation keeps: now, and at most."""

    def __init__(self):
        self.now = self.most = 0

    def pack(self, tensor):
        return Kept(self, tensor)

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda kept: kept.tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)


class Kept:
    def __init__(self, graph, tensor):
        self.graph, self.tensor, self.size = graph, tensor.detach(), tensor.nbytes
        graph.now += self.size
        graph.most = max(graph.most, graph.now)

    def __del__(self):
        self.graph.now -= self.size


def most_kept(shoot, length):
    """Most bytes kept by the graph, without the states between steps."""
    parameters, z, u, h = problem(length=length, width=32)
    with Graph() as graph:
        states = shoot(field_of(parameters), parameters, z, u, h)
        between = graph.now if shoot is little else 0
        gradients(states, parameters)
    return graph.most - between


def little(field, parameters, z, u, h):
    return adjoint.shoot(field, parameters, z, u, h, 1)


def whole(field, parameters, z, u, h):
    return plain(field, z, u, h, 1)


def test_the_graph_does_not_grow_with_the_number_of_steps():
    few, many = most_kept(little, 5), most_kept(little, 50)
    assert 0 < few == many
    assert most_kept(whole, 50) > 9 * most_kept(whole, 5) > 20 * few


def test_parameters_the_field_does_not_use_have_no_gradient():
    _, z, u, h = problem()
    idle = torch.ones(2, dtype=torch.float64, requires_grad=True)
    states = adjoint.shoot(lambda z, u: -z, [idle], z, u, h, 1)
    assert torch.equal(torch.autograd.grad(states.sum(), idle)[0], torch.zeros(2).double())
    constant = adjoint.shoot(lambda z, u: torch.ones_like(z), [idle], z, u, h, 1)
    assert torch.equal(torch.autograd.grad(constant[:, -1].sum(), z)[0], torch.ones_like(z))
