import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rom.dynamics import DMD


def iterate(A, z0, n, B=None, u=None):
    Z = [np.asarray(z0, float)]
    for k in range(n - 1):
        Z.append(A @ Z[-1] + (0 if B is None else B @ u[k]))
    return np.array(Z)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_linear_map_and_its_spectrum_are_recovered_from_several_trajectories(seed, rank):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.normal(size=(rank, rank)))[0] * 0.97
    runs = [
        iterate(A, z0, n) for z0, n in zip(rng.normal(size=(5, rank)), (3, 9, 2, 5, 4), strict=True)
    ]
    label = np.repeat(np.arange(5), [3, 9, 2, 5, 4])
    model = DMD().fit(np.concatenate(runs), trajectory=label)
    assert_allclose(model.A_, A, atol=1e-8)
    assert_allclose(np.abs(model.eigenvalues_), 0.97, rtol=1e-8)


def test_inputs():
    rng = np.random.default_rng(0)
    A, B, u = (
        np.array([[0.9, 0.1], [-0.2, 0.8]]),
        np.array([[1.0], [0.5]]),
        rng.normal(size=(50, 1)),
    )
    Z = iterate(A, [1, 0], 50, B, u)
    model = DMD().fit(Z, t=np.arange(50.0), u=u)
    assert_allclose(model.A_, A, atol=1e-10)
    assert_allclose(model.B_, B, atol=1e-10)
    assert_allclose(model.predict(Z[:-1], u=u[:-1]), Z[1:], atol=1e-10)
    exponents, coef = model.polynomial()
    value = np.prod(np.hstack([Z, u])[:, None] ** exponents, axis=2) @ coef.T
    assert_allclose(value, model.predict(Z, u=u), rtol=1e-10)


def test_pairs_do_not_cross_a_gap_in_time():
    A = np.array([[0.5]])
    Z = np.concatenate([iterate(A, [1.0], 5), iterate(A, [7.0], 5)])
    t = np.r_[np.arange(5.0), 20 + np.arange(5.0)]
    assert_allclose(DMD().fit(Z, t=t).A_, A)


def test_uneven_times_are_refused():
    with pytest.raises(ValueError, match="DMD needs evenly sampled times"):
        DMD().fit(np.ones((4, 1)), t=[0.0, 1.0, 2.2, 3.0])


def test_rates_are_per_unit_of_time_and_slowest_first():
    dt, rates = 0.05, np.array([-0.1, -0.4 + 2j, -0.4 - 2j])
    t = dt * np.arange(60)
    Z = np.exp(np.outer(t, rates)) @ np.array([[1, 0, 0], [0, 0.5, -0.5j], [0, 0.5, 0.5j]])
    model = DMD().fit(Z.real, t=t)
    assert_allclose(model.rates_, rates, atol=1e-9)
    assert model.dt_ == pytest.approx(dt)


def test_equations_are_of_the_next_state():
    model = DMD(names=["a"]).fit([[1.0], [0.5], [0.25]])
    assert model.equations() == ["a[n+1] = 0.5 a"]
    assert model.equations(format="latex") == [r"\left(a\right)^{+} = 0.5 a"]
