import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rom.fom import KuramotoSivashinsky
from rom.fom.etdrk4 import ETDRK4

MODEL = KuramotoSivashinsky(n=32)


def developed():
    return MODEL.simulate(MODEL.initial_state(), [0.0, 60.0])[1]


@settings(max_examples=10, deadline=None)
@given(shift=st.integers(0, 31))
def test_translated_states_run_to_translated_states(shift):
    x0 = MODEL.initial_state().to_numpy()
    end, moved = (MODEL.simulate(x, [0.0, 5.0])[1] for x in (x0, np.roll(x0, shift)))
    np.testing.assert_allclose(np.roll(end, shift), moved, atol=1e-10)


def test_mirrored_states_run_to_mirrored_states():
    x0 = MODEL.initial_state().to_numpy()
    end, mirrored = (MODEL.simulate(x, [0.0, 5.0])[1] for x in (x0, -x0[::-1]))
    np.testing.assert_allclose(-end.to_numpy()[::-1], mirrored, atol=1e-10)


def test_small_waves_grow_at_the_linear_rate():
    k = 2 * np.pi / MODEL.length * 2
    wave = 1e-8 * np.cos(k * MODEL.initial_state().x)
    end = MODEL.simulate(wave, [0.0, 3.0])[1]
    np.testing.assert_allclose(end, np.exp((k**2 - k**4) * 3) * wave, atol=1e-13)


def test_energy_obeys_its_balance():
    """d/dt ½⟨u²⟩ = ⟨u_x²⟩ − ⟨u_xx²⟩: the nonlinear term moves energy, and makes none."""
    t = np.arange(5) * 0.01
    u = KuramotoSivashinsky(n=32, dt=0.01).simulate(developed(), t)
    k = 2 * np.pi / MODEL.length * np.arange(17)
    power = abs(np.fft.rfft(u, axis=1)) ** 2 / 32**2 * np.where(np.arange(17) > 0, 2, 1)
    energy, gain = power.sum(axis=1) / 2, power @ (k**2 - k**4)
    rate = (energy[0] - 8 * energy[1] + 8 * energy[3] - energy[4]) / (12 * 0.01)
    np.testing.assert_allclose(rate, gain[2], rtol=1e-6)


def test_the_mean_is_kept_and_the_state_stays_on_a_bounded_attractor():
    u = MODEL.simulate(MODEL.initial_state(), np.arange(0, 400.0, 5))
    assert abs(u.mean("x")).max() < 1e-12
    late = abs(u[20:])
    assert 1 < late.max() < 4
    assert u[20:].std("time").min() > 0.1  # it does not settle


def test_time_steps_have_fourth_order():
    x0 = developed()
    steps = (0.05, 0.025, 0.0125)
    end = [KuramotoSivashinsky(n=32, dt=dt).simulate(x0, [0.0, 2.0])[1] for dt in steps]
    order = np.log2(abs(end[0] - end[1]).max() / abs(end[1] - end[2]).max())
    assert 3.6 < order < 4.6


def test_etdrk4_is_exact_for_a_constant_source_near_and_at_zero():
    linear = np.array([0.0, 1e-9, -0.3, -1e4])
    v0 = np.array([1.0, 2.0, 3.0, 4.0], dtype=complex)
    end = ETDRK4.of(linear, 0.5).step(v0, 0.0, lambda t, v: np.ones_like(v))
    growth = np.array([0.5, 0.5, np.expm1(-0.15) / -0.3, 1e-4])
    np.testing.assert_allclose(end, np.exp(0.5 * linear) * v0 + growth, rtol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"dt": 0.0}, r"dt must be positive and finite, but it is 0\.0"),
        ({"dt": -0.05}, r"dt must be positive and finite, but it is -0\.05"),
        ({"length": np.nan}, "length must be positive and finite, but it is nan"),
        ({"n": 65}, "n must be an even number of at least 4, but it is 65"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        KuramotoSivashinsky(**parameters)
