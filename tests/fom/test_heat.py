import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from rom.fom import Heat


def operator(model):
    """The matrix A of dq/dt = A q."""
    dx = model.length / (model.n + 1)
    ones = np.ones(model.n - 1)
    return model.diffusivity / dx**2 * (np.diag(ones, 1) + np.diag(ones, -1) - 2 * np.eye(model.n))


def test_eigenvalues_are_those_of_the_difference_matrix():
    model = Heat(diffusivity=0.3, n=20, length=2.0)
    exact = np.linalg.eigvalsh(operator(model))[::-1]
    np.testing.assert_allclose(model.eigenvalues(), exact, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(t=st.floats(1e-6, 1.0), seed=st.integers(0, 1000))
def test_runs_are_the_exponential_of_the_matrix(t, seed):
    model = Heat(n=11)
    values, vectors = np.linalg.eigh(operator(model))
    q0 = np.random.default_rng(seed).normal(size=model.n)
    exact = vectors @ (np.exp(values * t) * (vectors.T @ q0))
    np.testing.assert_allclose(model.simulate(q0, [0.0, t])[1], exact, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(h=st.floats(1e-7, 1.0), n_inputs=st.integers(1, 2), seed=st.integers(0, 1000))
def test_runs_with_driven_ends_are_exact_in_time(h, n_inputs, seed):
    """The state, the inputs and their slopes together obey a linear system: its exponential."""
    model, rng = Heat(n=11), np.random.default_rng(seed)
    t, u, q0 = np.array([0.0, h, 3 * h]), rng.normal(size=(3, n_inputs)), rng.normal(size=11)
    B, zero, one = model.input_shapes(n_inputs).T, np.zeros, np.eye(n_inputs)
    exact = [q0]
    for i, step in enumerate(np.diff(t)):
        M = np.block(
            [
                [operator(model), B, zero((11, n_inputs))],
                [zero((n_inputs, 11 + n_inputs)), one],
                [zero((n_inputs, 11 + 2 * n_inputs))],
            ]
        )
        slope = (u[i + 1] - u[i]) / step
        exact.append((expm(M * step) @ np.concatenate([exact[-1], u[i], slope]))[:11])
    np.testing.assert_allclose(model.simulate(q0, t, u=u), exact, atol=1e-11)


def test_one_input_is_both_ends_and_zero_is_none():
    model, t = Heat(n=15), [0.0, 0.02, 0.07]
    u, q0 = np.array([0.3, -1.0, 2.0]), Heat(n=15).initial_state()
    both = model.simulate(q0, t, u=np.c_[u, u])
    np.testing.assert_allclose(model.simulate(q0, t, u=u), both, atol=1e-13)
    still = model.simulate(q0, t, u=np.zeros(3))
    np.testing.assert_allclose(still, model.simulate(q0, t), atol=1e-13)
    with pytest.raises(ValueError, match="one for each, but it has 3"):
        model.simulate(q0, t, u=np.zeros((3, 3)))


def test_grids_converge_with_second_order_to_the_fourier_series():
    t, k = 0.05, np.arange(1, 60, 2)[:, np.newaxis]
    errors = []
    for n in (15, 31, 63):
        q = Heat(n=n).simulate(Heat(n=n).initial_state(), [0.0, t])[1]
        terms = 8 / (np.pi * k) ** 3 * np.exp(-((np.pi * k) ** 2) * t)
        errors.append(abs(q - (terms * np.sin(np.pi * k * q.x.to_numpy())).sum(axis=0)).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.05)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"diffusivity": -1.0}, r"diffusivity must be positive and finite, but it is -1\.0"),
        ({"length": 0.0}, r"length must be positive and finite, but it is 0\.0"),
        ({"n": 0}, "n must be a whole number of at least 1, but it is 0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Heat(**parameters)
