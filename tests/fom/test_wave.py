import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

import rom
from rom.base import FullModel
from rom.fom import Wave


def random_state(model, seed=0):
    return np.random.default_rng(seed).normal(size=(2, model.n))


@pytest.mark.parametrize("n", [3, 4, 11, 12])
def test_runs_are_the_exponential_of_the_operator(n):
    model = Wave(speed=0.7, n=n, length=2.0)
    x0, t = random_state(model), np.array([1.0, 1.3, 9.0])
    x = model.simulate(x0, t).to_numpy().reshape(3, -1)
    A = model.operator().toarray()
    exact = [expm((s - 1.0) * A) @ x0.ravel() for s in t]
    np.testing.assert_allclose(x, exact, atol=1e-11)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(3, 40), t=st.floats(1e-3, 1e3), seed=st.integers(0, 100))
def test_energy_is_kept(n, t, seed):
    model = Wave(speed=0.3, n=n, length=1.7)
    x = model.simulate(random_state(model, seed), [0.0, t])
    energy = model.energy(x)
    assert energy[1] == pytest.approx(energy[0], rel=1e-11)


def test_operator_is_hamiltonian_with_that_energy():
    """A = J L with L symmetric, and the energy is Δx/2 xᵀ L x."""
    model = Wave(speed=0.4, n=9, length=1.5)
    J = np.kron([[0, 1], [-1, 0]], np.eye(9))
    L = J.T @ model.operator().toarray()
    np.testing.assert_array_equal(L, L.T)
    assert np.linalg.eigvalsh(L).min() > -1e-12
    x = random_state(model)
    exact = model.length / model.n / 2 * x.ravel() @ L @ x.ravel()
    assert model.energy(x) == pytest.approx(exact, rel=1e-13)


def test_frequencies_are_the_eigenvalues():
    model = Wave(n=12)
    imaginary = np.linalg.eigvals(model.operator().toarray()).imag
    omega = model.frequencies()
    both = np.concatenate([omega, -omega, omega[1:-1], -omega[1:-1]])  # waves run both ways
    np.testing.assert_allclose(np.sort(imaginary), np.sort(both), atol=1e-7)


def test_grids_converge_with_second_order_to_two_bumps_running_apart():
    """d'Alembert: u(x, t) = (u₀(x − c t) + u₀(x + c t)) / 2, here a smooth periodic u₀."""
    t, c, errors = 0.7, 0.5, []
    for n in (32, 64, 128):
        model = Wave(speed=c, n=n)
        x = model.initial_state().x.to_numpy()
        shape = lambda x: np.exp(np.cos(2 * np.pi * x))  # noqa: E731
        q = model.simulate([shape(x), np.zeros(n)], [0.0, t])[1].sel(variable="q")
        errors.append(abs(q - (shape(x - c * t) + shape(x + c * t)) / 2).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.1)


def test_a_moving_mean_moves_on():
    model = Wave(n=5)
    x = model.simulate([np.ones(5), 2 * np.ones(5)], [0.0, 3.0])[1]
    np.testing.assert_allclose(x, [np.full(5, 7.0), np.full(5, 2.0)], atol=1e-13)


def test_the_start_is_the_spline_bump():
    q, p = Wave(n=40, length=4.0).initial_state().to_numpy()
    assert not p.any()
    half = [1, 1 - 1.5 / 4 + 0.75 / 8, 0.25, 0.25 / 8]  # at the distances 0, 1/2, 1, 3/2
    np.testing.assert_allclose(q[[20, 22, 24, 26]], half, rtol=1e-14)
    np.testing.assert_allclose(q[21:28], q[19:12:-1], atol=1e-14)
    assert not q[:12].any()
    assert not q[29:].any()


def test_states_flatten_to_q_and_then_p():
    model = Wave(n=6)
    x = model.simulate(random_state(model), [0.0, 0.5])
    rows = rom.Flatten().fit(x).transform(x)
    np.testing.assert_array_equal(rows, np.hstack([x.sel(variable="q"), x.sel(variable="p")]))
    as_dataset = x.to_dataset("variable")
    np.testing.assert_array_equal(rom.Flatten().fit(as_dataset).transform(as_dataset), rows)


def test_the_contract_of_full_models_is_kept():
    model = Wave(n=8)
    x0 = model.initial_state()
    before, t = x0.copy(deep=True), np.array([1.0, 1.1, 1.3])
    x = model.simulate(x0, t)
    assert isinstance(model, FullModel)
    assert isinstance(x, xr.DataArray)
    assert x.dims == ("time", "variable", "x")
    assert x.attrs == x0.attrs
    assert x.time.to_numpy().tolist() == t.tolist()
    np.testing.assert_allclose(x[0], x0, atol=1e-14)
    assert x0.identical(before)
    np.testing.assert_allclose(model.simulate(x[1], t[1:]), x[1:], atol=1e-13)
    assert x.isel(time=[0]).identical(model.simulate(x0.to_numpy(), [1.0]))
    faster = model.simulate(x0, t, params={"speed": 0.2})
    np.testing.assert_array_equal(faster, Wave(speed=0.2, n=8).simulate(x0, t))


def test_bad_runs_are_named():
    model = Wave(n=8)
    x0 = model.initial_state()
    with pytest.raises(ValueError, match=r"A state of Wave has shape \(2, 8\), but x0 has shape"):
        model.simulate(x0[0], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"x0\[1, 0\] is nan"):
        model.simulate(x0.where(x0["variable"] == "q"), [0.0, 1.0])
    with pytest.raises(ValueError, match="takes no inputs"):
        model.simulate(x0, [0.0, 1.0], u=[0.0, 0.0])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"speed": 0.0}, r"speed must be positive and finite, but it is 0\.0"),
        ({"length": -1.0}, r"length must be positive and finite, but it is -1\.0"),
        ({"n": 2}, "n must be a whole number of at least 3, but it is 2"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Wave(**parameters)
