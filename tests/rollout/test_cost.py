"""Operations, memory, break-even, and the rival at equal cost."""

from itertools import cycle
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

import rom
from rom.fom.cost import cost_of
from rom.rollout import exponential, methods
from rom.rollout.coarse import at_equal_cost
from rom.rollout.cost import break_even, costs, flops, least, n_numbers
from rom.rollout.run import method_of


class Slow:
    """A full model whose runs cost as many milliseconds as it has points, and fail on two.

    Two runs of three take longer, as on a machine that does other things, too.
    """

    costs: ClassVar = {}  # other than its points

    def __init__(self, n, clock):
        self.n, self.clock, self.noise = n, clock, cycle([5, 3, 1])

    def simulate(self, x0, t, *, u=None, params=None):
        if self.n == 2:
            raise FloatingPointError("The simulation left the finite numbers.")
        if len(t) > 2:
            self.clock[0] += 1e-3 * self.costs.get(self.n, self.n) * next(self.noise)
        return xr.DataArray(np.zeros((len(t), 64)), dims=("time", "x"))

    def coarser(self, factor):
        if factor > 32:
            raise ValueError("too few points")
        return type(self)(self.n // factor, self.clock)


class Uneven(Slow):
    """Of eight points dearer than of sixteen."""

    costs: ClassVar = {8: 9, 16: 7}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that full models have run for, and no others."""
    seconds = [0.0]
    monkeypatch.setattr("rom.rollout.coarse.perf_counter", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize(
    ("kind", "budget", "points"),
    [
        (Slow, 1e-9, 4),
        (Slow, 4.1, 4),
        (Slow, 7.9, 4),
        (Slow, 8.1, 8),
        (Slow, 17.0, 16),
        (Slow, 1e9, 32),
        (Uneven, 8.1, 16),
    ],
)
def test_the_rival_is_the_finest_that_costs_no_more(kind, budget, points, clock):
    """Whatever else the machine does: the least time of several runs counts."""
    rival = at_equal_cost(kind(64, clock), np.zeros(64), np.arange(3.0), None, 1e-3 * budget)
    assert (rival.model.n, rival.factor) == (points, 64 // points)
    assert rival.seconds == pytest.approx(1e-3 * kind.costs.get(points, points))


def test_short_times_are_measured_until_one_was_left_alone():
    """For 0.03 s in all; dear ones once."""
    seconds = [0.005] * 5 + [0.004] + [0.005] * 10
    assert least(iter(seconds).__next__) == 0.004
    assert least(iter([2.0, 1.0]).__next__) == 2.0


def test_dear_models_are_timed_once_and_none_finer_than_twice_the_budget(clock):
    dear = Slow(64_000, clock)
    assert at_equal_cost(dear, np.zeros(64), np.arange(3.0), None, 1e-3).model.n == 2000
    assert clock[0] == pytest.approx(5 * (2 + 4))  # seconds, of the two coarsest


def test_a_grid_too_coarse_for_the_inputs_is_no_rival():
    full, t = rom.fom.Burgers(n=64, viscosity=0.1), np.linspace(0, 0.1, 3)
    assert at_equal_cost(full, np.zeros(64), t, np.ones((3, 1)), budget=0.0).factor == 16
    assert at_equal_cost(full, np.zeros(64), t, np.ones((3, 2)), budget=0.0).factor == 8


def test_flops_count_only_terms_that_are_present():
    """dx/dt = a x y has one product of two and one with its coefficient, which is added."""
    H = np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    model = rom.OperatorInference.from_operators(H=H)
    nothing = rom.Identity().fit(np.ones((2, 2)))
    assert flops(model, nothing, "dopri5", 1, 1) - flops(model, nothing, "dopri5", 0, 1) == 6 * 3


@pytest.mark.parametrize("method", ["dopri5", "dop853", "exponential"])
@pytest.mark.parametrize("n_outputs", [2, 6, 2001])
def test_evaluations_are_those_that_the_method_takes(method, n_outputs):
    """Of z' = -z², three operations each, as the calls of a function say that counts them."""
    calls = []

    def counted(z, u):
        calls.append(1)
        return -(z**2)

    t = np.linspace(0.0, 20.0, n_outputs)
    options = (np.ones(1), t, np.zeros((n_outputs, 0)), np.inf, 1e-8, 1e-14, 10_000)
    if method == "exponential":
        options += (np.zeros((1, 1)),)
    *_, n_steps = methods.PLAIN[method](counted, *options)
    model, one = (
        rom.OperatorInference.from_operators(H=[[-1.0]]),
        rom.Identity().fit(np.ones((2, 1))),
    )
    found = flops(model, one, method, n_steps, n_outputs) - flops(model, one, method, 0, n_outputs)
    if method == "exponential":
        found -= 2 * 9 * n_steps  # products with the matrix
    assert found == 3 * (len(calls) - 1)  # and one before the first step


def test_products_with_the_matrix_of_the_exponential_method_are_counted(monkeypatch):
    calls, product = [], exponential.add_product

    def counted(*parts):
        calls.append(1)
        product(*parts)

    monkeypatch.setattr(exponential, "add_product", counted)
    A = np.array([[-1.0, 2.0], [-2.0, -1.0]])
    t, nothing = np.linspace(0, 5, 6), rom.Identity().fit(np.eye(2))
    *_, n_steps = exponential.exponential(
        lambda z, u: 0 * z, np.ones(2), t, np.zeros((6, 0)), np.inf, 1e-8, 1e-14, 1000, A
    )
    model = rom.OperatorInference.from_operators(A=A)
    found, decoding = (flops(model, nothing, "exponential", n, 6) for n in (n_steps, 0))
    assert found - decoding == 2 * A.size * (len(calls) - 1)  # and one before the first step


@pytest.mark.parametrize("decay", [1.0, 1e8])
def test_costs_are_of_the_method_that_a_rollout_takes(decay):
    t = np.linspace(0, 1, 9)
    X = np.exp(-t)[:, None] * [1.0, 2.0, 3.0]
    model = rom.ROM(rom.POD(1), rom.OperatorInference("A", ridge=1e-4)).fit(X, t=t)
    model.dynamics_ = rom.OperatorInference.from_operators(A=[[-decay]])
    run = rom.rollout(model.dynamics_, model.latent_[0], t)
    method = method_of(model.dynamics_, t[[0, -1]], len(t))
    assert method == ("dop853" if decay == 1 else "exponential")
    expected = flops(model.dynamics_, model.compressor_, method, 7, len(t))
    assert costs(model, X, run, 7)["reduced_flops"] == expected


def test_a_linear_map_costs_two_operations_for_each_of_its_numbers():
    Z = np.random.default_rng(0).normal(size=(20, 3))
    model, pod = rom.DMD().fit(Z, t=np.arange(20.0)), rom.POD(3).fit(Z @ np.eye(3, 40))
    decoding = flops(model, pod, "map", 0, 5)
    assert decoding == 2 * 5 * n_numbers(pod)
    assert n_numbers(pod) >= 3 * 40 + 40
    assert flops(model, pod, "map", 7, 5) - decoding <= 2 * 7 * (9 + 3)


@pytest.mark.parametrize("driven", [False, True])
def test_costs_stand_beside_each_other(driven):
    burgers, t = rom.fom.Burgers(n=64, viscosity=0.1), np.linspace(0, 0.2, 21)
    u = np.sin(9 * t)[:, None] if driven else None
    states = burgers.simulate(burgers.initial_state(), t, u=u)
    model = rom.ROM(rom.POD(3), rom.OperatorInference("cA", ridge=1e-6)).fit(states, u=u)
    run = rom.rollout(model.dynamics_, model.latent_[0], t, u=u)
    found = costs(model, burgers, run, 7, u)
    said = cost_of(burgers, burgers.initial_state(), t, u)
    assert (found["full_flops"], found["full_bytes"]) == said
    method = "dopri5" if driven else "dop853"
    assert found["reduced_flops"] == flops(model.dynamics_, model.compressor_, method, 7, len(t))
    assert 0 < found["reduced_bytes"] < found["full_bytes"]


def test_what_data_cost_is_not_known():
    t = np.linspace(0, 1, 9)
    X = np.exp(-t)[:, None] * [1.0, 2.0, 3.0]
    model = rom.ROM(rom.POD(1), rom.OperatorInference("A", ridge=1e-4)).fit(X, t=t)
    run = rom.rollout(model.dynamics_, model.latent_[0], t)
    for reference in (X, Slow(64, [0.0])):
        found = costs(model, reference, run, run.n_steps)
        assert np.isnan([found["full_flops"], found["full_bytes"]]).all()
        assert found["reduced_flops"] > 0


def test_break_even_pays_for_the_making():
    n = break_even(10.0, full=1.0, reduced=0.2)
    assert 10.0 + n * 0.2 <= n * 1.0
    assert 10.0 + (n - 1) * 0.2 > (n - 1) * 1.0
    assert break_even(10.0, full=1.0, reduced=1.0) == np.inf
    assert np.isnan(break_even(np.nan, full=1.0, reduced=0.5))
