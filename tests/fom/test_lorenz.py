import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rom.fom import Lorenz63, Lorenz96

T = np.linspace(0, 2, 5)


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_lorenz63_rests_at_its_fixed_points(sign):
    side = sign * np.sqrt(72.0)  # sqrt(β (ρ − 1))
    point = np.array([side, side, 27.0 if sign else 0.0])
    np.testing.assert_allclose(Lorenz63().simulate(point, T) - point, 0, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_lorenz63_is_symmetric_about_the_z_axis(seed):
    x0 = np.random.default_rng(seed).normal(size=3) * 10
    turn = np.array([-1, -1, 1])
    np.testing.assert_allclose(
        Lorenz63().simulate(turn * x0, T), turn * Lorenz63().simulate(x0, T), atol=1e-9
    )


def test_lorenz63_on_the_z_axis_decays_exactly():
    states = Lorenz63(beta=2.0).simulate([0.0, 0.0, 5.0], T)
    exact = np.multiply.outer(np.exp(-2 * T), [0, 0, 5])
    np.testing.assert_allclose(states, exact, atol=1e-9)


def test_lorenz63_volume_shrinks_at_the_divergence():
    """A small tetrahedron of states loses volume as exp(−(σ + 1 + β) t)."""
    model, t, size = Lorenz63(), [0.0, 0.5], 1e-4
    x0 = model.initial_state().to_numpy()
    corners = [model.simulate(x0 + size * e, t)[1] - model.simulate(x0, t)[1] for e in np.eye(3)]
    volume = np.linalg.det(np.array(corners) / size)
    np.testing.assert_allclose(volume, np.exp(-(10 + 1 + 8 / 3) * 0.5), rtol=0.01)


def test_lorenz63_params_replace_for_one_run():
    model = Lorenz63()
    low = model.simulate([1.0, 1.0, 1.0], [0.0, 50.0], params={"rho": 0.5})
    assert abs(low[1]).max() < 1e-8  # below ρ = 1 all comes to rest
    assert model.rho == 28.0


def test_lorenz96_rests_where_all_sites_equal_the_forcing():
    model = Lorenz96(n=8)
    rest = np.full(8, 8.0)
    np.testing.assert_allclose(model.simulate(rest, T), np.tile(rest, (5, 1)), atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(shift=st.integers(0, 11))
def test_lorenz96_knows_no_first_site(shift):
    x0 = np.random.default_rng(0).normal(size=12) + 8
    model = Lorenz96(n=12)
    np.testing.assert_allclose(
        np.roll(model.simulate(x0, T), shift, axis=1),
        model.simulate(np.roll(x0, shift), T),
        atol=1e-8,
    )


def test_lorenz96_advection_keeps_energy():
    """d/dt ½ Σ x² = −Σ x² + F Σ x: by the linear terms alone."""
    model = Lorenz96(n=9, forcing=3.0)
    h = 1e-3
    x = model.simulate(np.random.default_rng(1).normal(size=9), np.arange(5) * h).to_numpy()
    energy = (x**2).sum(axis=1) / 2
    rate = (energy[0] - 8 * energy[1] + 8 * energy[3] - energy[4]) / (12 * h)
    np.testing.assert_allclose(rate, -2 * energy[2] + 3.0 * x[2].sum(), rtol=1e-7)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (Lorenz63, {"sigma": -10.0}, r"sigma must be positive and finite, but it is -10\.0"),
        (Lorenz63, {"beta": 0.0}, r"beta must be positive and finite, but it is 0\.0"),
        (Lorenz63, {"rho": np.nan}, "rho must be a finite number, but it is nan"),
        (Lorenz96, {"forcing": np.inf}, "forcing must be a finite number, but it is inf"),
        (Lorenz96, {"n": 3}, "n must be a whole number of at least 4, but it is 3"),
        (Lorenz96, {"n": 40.0}, r"n must be a whole number of at least 4, but it is 40\.0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(kind, parameters, message):
    with pytest.raises(ValueError, match=message):
        kind(**parameters)
