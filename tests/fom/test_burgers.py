import numpy as np
import pytest

from rom.fom import Burgers


def cole_hopf(model, t, a=1.2):
    """Exact solution u = −2 ν φ_x / φ, with φ = a + exp(−ν k² t) cos(k x)."""
    nu, k = model.viscosity, 2 * np.pi / model.length
    x = model.initial_state().x.to_numpy()
    wave = np.exp(-nu * k**2 * t)
    return 2 * nu * k * wave * np.sin(k * x) / (a + wave * np.cos(k * x))


@pytest.mark.parametrize("length", [1.0, 3.0])
def test_agrees_with_the_cole_hopf_solution(length):
    model = Burgers(viscosity=0.02 * length, n=128, length=length)
    u = model.simulate(cole_hopf(model, 0.0), [0.0, 0.3, 0.7])
    for state, t in zip(u, [0.0, 0.3, 0.7], strict=True):
        np.testing.assert_allclose(state, cole_hopf(model, t), atol=1e-10)


def test_time_steps_have_fourth_order():
    errors = []
    for dt in (0.04, 0.02, 0.01):
        model = Burgers(viscosity=0.05, n=64, dt=dt)
        end = model.simulate(cole_hopf(model, 0.0), [0.0, 0.4])[1]
        errors.append(abs(end - cole_hopf(model, 0.4)).max())
    order = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all((order > 3.6) & (order < 4.6))


def test_mass_is_kept_and_energy_lost():
    model = Burgers()
    u = model.simulate(0.5 + model.initial_state(), np.linspace(0, 0.5, 6))
    np.testing.assert_allclose(u.mean("x"), 0.5, rtol=1e-12)
    assert (np.diff((u**2).mean("x")) < 0).all()


def test_a_force_on_a_wave_balances_its_diffusion():
    """A tiny forced wave settles as the linear equation says: v̇ = −ν k² v + f."""
    model = Burgers(viscosity=0.1, n=32, dt=0.01)
    t = np.linspace(0, 2, 41)
    force = 1e-6 * np.c_[np.zeros_like(t), 1 + t]  # on the second wave, linear in time
    u = model.simulate(np.zeros(32), t, u=force)
    rate = 0.1 * (4 * np.pi) ** 2
    exact = 1e-6 * ((1 - np.exp(-rate * t)) * (1 / rate - 1 / rate**2) + t / rate)
    sine = np.sin(4 * np.pi * u.x)
    wave = 2 * (u * sine).mean("x")
    np.testing.assert_allclose(wave, exact, atol=1e-4 * exact.max())
    assert abs(u - wave * sine).max() < 1e-9


def test_inputs_need_one_row_for_each_time():
    model = Burgers(n=32)
    with pytest.raises(ValueError, match="u has 2 rows, but the state has 3"):
        model.simulate(model.initial_state(), [0.0, 0.1, 0.2], u=[1.0, 1.0])


def test_inputs_beyond_what_the_grid_resolves_are_refused():
    model = Burgers(n=8)
    assert model.simulate(np.zeros(8), [0.0, 0.1], u=np.ones((2, 3))).sizes["x"] == 8
    with pytest.raises(ValueError, match="8 points has 3 sines, but u has 4 inputs"):
        model.simulate(np.zeros(8), [0.0, 0.1], u=np.ones((2, 4)))


def test_a_run_that_blows_up_says_when():
    with pytest.raises(FloatingPointError, match=r"left the finite numbers by t = 0\.5"):
        Burgers(dt=0.1).simulate(1e6 * Burgers().initial_state(), [0.0, 0.5, 1.0])


@pytest.mark.parametrize("n", [33, 2, 0, -4, 64.0])
def test_grids_that_cannot_be_are_refused(n):
    with pytest.raises(ValueError, match=rf"n must be an even number of at least 4.* it is {n}\."):
        Burgers(n=n)


@pytest.mark.parametrize("name", ["viscosity", "length", "dt"])
@pytest.mark.parametrize("value", [0.0, -0.01, np.nan, np.inf, "0.1", None])
def test_parameters_that_cannot_be_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, .* {value!r}"):
        Burgers(**{name: value})


def test_parameters_for_one_run_are_checked_too():
    model = Burgers(n=32)
    with pytest.raises(ValueError, match=r"viscosity must be positive and finite, .* -0\.1"):
        model.simulate(model.initial_state(), [0.0, 0.1], params={"viscosity": -0.1})
