import numpy as np
import pytest

from rom.fom import (
    Burgers,
    CylinderWake,
    Heat,
    KuramotoSivashinsky,
    Lorenz63,
    Lorenz96,
    Wave,
)
from rom.fom.tendency import tendency_of

MODELS = [
    Heat(n=9),
    Burgers(n=32, viscosity=0.1),
    KuramotoSivashinsky(n=32),
    Lorenz63(),
    Lorenz96(n=6),
    CylinderWake(n_r=17, n_theta=16, r_max=20.0, r_sponge=8.0),
]


def a_state(model):
    if isinstance(model, CylinderWake):
        return model.simulate(model.at_rest(), [0.0, 1.0]).values[-1]
    return model.initial_state().values


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_rate_is_the_derivative_of_the_simulation(model):
    start = a_state(model)
    rate, basis, _ = tendency_of(model)
    flat = start.reshape(1, -1)
    found = rate(flat) if basis is None else rate(flat @ basis.T) @ basis

    def quotient(h):
        run = model.simulate(start, [0.0, h]).values
        return ((run[1] - run[0]) / h).ravel()

    h = 2e-4
    exact = (quotient(h) - 6 * quotient(h / 2) + 8 * quotient(h / 4)) / 3  # error of order h³
    np.testing.assert_allclose(found[0], exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("n_inputs", [1, 2])
@pytest.mark.parametrize("model", MODELS[:2], ids=lambda model: type(model).__name__)
def test_force_is_what_inputs_add_to_the_derivative(model, n_inputs):
    force, u = tendency_of(model, n_inputs).force, np.array([0.7, -2.0])[:n_inputs]

    def quotient(h):
        return model.simulate(0 * a_state(model), [0.0, h], u=[u, u]).values[1] / h

    h = 1e-5
    slope = (quotient(h) - 6 * quotient(h / 2) + 8 * quotient(h / 4)) / 3  # error of order h³
    np.testing.assert_allclose(slope, u @ force, atol=1e-5 * np.abs(force).max())


@pytest.mark.parametrize(
    "model",
    [*MODELS[1:3], Burgers(n=36)],
    ids=["Burgers", "KuramotoSivashinsky", "a grid of three times as many points"],
)
def test_on_a_periodic_interval_advection_keeps_the_energy(model):
    rate, basis, _ = tendency_of(model)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-12)
    y = np.random.default_rng(0).normal(size=(5, len(basis)))
    quadratic = (rate(y) + rate(-y)) / 2
    assert np.abs(np.sum(y * quadratic, axis=1)).max() < 1e-9 * np.abs(y * quadratic).sum()


def test_of_a_model_whose_equation_is_not_written_down_there_is_none():
    assert tendency_of(Wave(n=16)) is None
