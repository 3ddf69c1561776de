"""Operations, memory, break-even, and the rival at equal cost."""

from itertools import cycle
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr

import rom
from rom.fom.cost import cost_of
from rom.rollout.coarse import at_equal_cost
from rom.rollout.cost import break_even, costs, flops, n_numbers


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
    assert flops(model, nothing, 1, 0) == 6 * 3
    assert flops(model, nothing, 10, 0) == 10 * flops(model, nothing, 1, 0)


def test_a_linear_map_costs_two_operations_for_each_of_its_numbers():
    Z = np.random.default_rng(0).normal(size=(20, 3))
    model, pod = rom.DMD().fit(Z, t=np.arange(20.0)), rom.POD(3).fit(Z @ np.eye(3, 40))
    decoding = flops(model, pod, 0, 5)
    assert decoding == 2 * 5 * n_numbers(pod)
    assert n_numbers(pod) >= 3 * 40 + 40
    assert flops(model, pod, 7, 5) - decoding <= 2 * 7 * (9 + 3)


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
    assert found["reduced_flops"] == flops(model.dynamics_, model.compressor_, 7, len(t))
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
