"""Counts of operations against those of numbers that count themselves, and memory measured."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy import fft as scipy_fft

from rom.fom import (
    Burgers,
    CylinderWake,
    Heat,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Wave,
    cylinder_wake,
    heat,
    log_polar,
    periodic,
)
from rom.fom.cost import cost_of, real_fft
from rom.fom.states import substeps


class Number:
    """A real or complex number that counts what is done with it."""

    count = 0.0

    def __init__(self, value):
        self.value = value

    def _with(self, other, result, both, one):
        left, right = (isinstance(x, complex) for x in (self.value, plain(other)))
        Number.count += both if left and right else one if left or right else 1
        return Number(result)

    def __add__(self, other):
        return self._with(other, self.value + plain(other), 2, 1)

    def __sub__(self, other):
        return self._with(other, self.value - plain(other), 2, 1)

    def __rsub__(self, other):
        return self._with(other, plain(other) - self.value, 2, 1)

    def __mul__(self, other):
        return self._with(other, self.value * plain(other), 6, 2)

    def __truediv__(self, other):
        return self._with(other, self.value / plain(other), 6, 2)

    def __pow__(self, power):
        return self._with(0.0, self.value**power, 1, 1)

    def __neg__(self):
        return Number(-self.value)

    def _function(self, name):
        Number.count += 1
        return Number(float(getattr(np, name)(self.value)))

    def exp(self):
        return self._function("exp")

    def expm1(self):
        return self._function("expm1")

    def __float__(self):
        return float(self.value)

    __radd__, __rmul__ = __add__, __mul__


def plain(x):
    x = x.value if isinstance(x, Number) else x
    return complex(x) if isinstance(x, complex | np.complexfloating) else float(x)


def counting(values):
    return np.frompyfunc(lambda x: Number(plain(x)), 1, 1)(values)


class Transforms:
    """SciPy's, of numbers that count."""

    def __getattr__(self, name):
        def transform(x, *args, **options):
            values = np.array(np.frompyfunc(plain, 1, 1)(x).tolist())
            out = getattr(scipy_fft, name)(values, *args, **options)
            real = values if name == "rfft" else out
            n = real.shape[-1]
            Number.count += out.size / out.shape[-1] * real_fft(2 * (n + 1) if "dst" in name else n)
            return counting(out)

        return transform


@pytest.fixture
def count(monkeypatch):
    """The operations that a call takes."""
    for module in (periodic, heat, cylinder_wake):
        monkeypatch.setattr(module, "fft", Transforms())
    for name in ("_solve", "_slip", "_solve_mean", "stream_function", "slope", "laplacian"):
        as_python = getattr(log_polar, name).py_func
        monkeypatch.setattr(log_polar, name, as_python)
        if hasattr(cylinder_wake, name):
            monkeypatch.setattr(cylinder_wake, name, as_python)
    monkeypatch.setattr(heat, "label", lambda states, *_: states)

    def of(call):
        Number.count = 0.0
        call()
        return Number.count

    return of


T = np.array([0.0, 0.02, 0.03, 0.06])


@pytest.mark.parametrize("n_inputs", [0, 2])
def test_steps_on_a_periodic_interval_take_what_is_said(count, n_inputs):
    model = Burgers(n=32, dt=0.01)
    forcing = counting(np.ones((len(T), 32))) if n_inputs else None
    linear = -model.viscosity * periodic.wavenumbers(32, 1.0) ** 2
    start = counting(model.initial_state().values)
    taken = count(lambda: periodic.run(start, T, 1.0, linear, model.dt, forcing))
    u = np.ones((len(T), n_inputs)) if n_inputs else None
    said = cost_of(model, start, T, u).flops - 2 * n_inputs * 32 * len(T)  # which made the forcing
    assert said == pytest.approx(taken, rel=0.03)


@pytest.mark.parametrize("u", [None, np.ones((len(T), 1))])
def test_runs_of_heat_take_what_is_said(count, u, monkeypatch):
    model, exact = Heat(n=40), Heat.eigenvalues
    monkeypatch.setattr(Heat, "eigenvalues", lambda self: counting(exact(self)))
    taken = count(lambda: model.simulate(model.initial_state(), T, u=u))
    said = cost_of(model, model.initial_state(), T, u).flops
    assert said == pytest.approx(taken - real_fft(82) * (1 if u is None else 2), rel=0.12)


def test_steps_of_the_wake_take_what_is_said(count):
    model = CylinderWake(n_r=24, n_theta=24, r_max=20.0, r_sponge=8.0)
    flow = cylinder_wake._Flow(model)
    flow._psi, flow._diffusion, flow._slopes = (
        np.full(part.shape, Number(0j)) for part in (flow._psi, flow._diffusion, flow._slopes)
    )
    modes = counting(np.zeros((24, 12), dtype=complex))
    taken = count(lambda: flow.step(modes, 1e-3))
    t = np.array([0.0, flow.longest_step])
    output = cost_of(model, 0, t[:1]).flops
    assert cost_of(model, 0, t).flops - 2 * output == pytest.approx(taken, rel=0.05)


@pytest.mark.parametrize("model", [Lorenz63(), Lorenz96(n=8)], ids=["Lorenz63", "Lorenz96"])
def test_evaluations_of_adaptive_steps_grow_with_the_time(model):
    x0 = model.initial_state()
    short, long = (cost_of(model, x0, np.linspace(0, end, 50)).flops for end in (2.0, 8.0))
    assert 3 < long / short < 5


@pytest.mark.parametrize(
    "model",
    [
        Burgers(n=512, dt=0.01),
        KuramotoSivashinsky(n=512),
        Heat(n=511),
        Lorenz96(n=400),
        CylinderWake(n_r=33, n_theta=32, r_max=20.0, r_sponge=8.0),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("driven", [False, True])
def test_memory_is_what_is_held(model, driven):
    t = np.linspace(0, 0.5, 300)
    start = model.at_rest() if isinstance(model, CylinderWake) else model.initial_state()
    u = np.ones((300, 1)) if driven and hasattr(model, "input_shapes") else None
    run = partial(model.simulate, start.values, t, u=u)
    run()  # compiles
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.6 < cost_of(model, start, t, u).bytes / peak < 1.5


def test_twice_the_steps_are_twice_the_operations():
    model, t = KuramotoSivashinsky(), np.linspace(0, 10, 5)
    fine = KuramotoSivashinsky(dt=model.dt / 2)
    once, twice = (cost_of(m, np.zeros(64), t).flops for m in (model, fine))
    n = sum(n for n, _ in substeps(t, model.dt))
    assert twice - once == pytest.approx(once, rel=5 / n)


def test_of_a_model_that_is_not_written_here_it_is_not_known():
    assert cost_of(Wave(n=16), np.zeros((2, 16)), [0.0, 1.0]) is None
