import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import rom
from rom.dynamics.invariant_ode import InvariantODE
from rom.dynamics.invariants import quadratic_invariants, tangent

INERTIA = np.array([1.0, 2.0, 3.0])
BODY = [np.eye(3), np.diag(1 / INERTIA)]


def rigid_body(_, z):
    factor = 1 / np.roll(INERTIA, 1) - 1 / np.roll(INERTIA, -1)
    return factor * np.roll(z, 1) * np.roll(z, -1)


def quick(*args, **options):
    return InvariantODE(*args, **{"hidden": (12,), "max_iter": 20, "random_state": 0, **options})


def some(seed, rank, n):
    rng = np.random.default_rng(seed)
    return quadratic_invariants(rank, rng.normal(size=(n, rank, rank)), rng.normal(size=(n, rank)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 3))
def test_projection_is_tangent_idempotent_and_nearest(seed, rank, n):
    n = min(n, rank - 1)
    kept, rng = some(seed, rank, n), np.random.default_rng(seed)
    Z, F = rng.normal(size=(2, 20, rank))
    P = kept.tangent(F, Z)
    G = np.stack(kept.gradients(Z), axis=1)
    condition = np.linalg.cond(G).max()
    assert_allclose(np.einsum("nkr,nr->nk", G, P), 0, atol=1e-12 * condition * np.abs(G).max())
    assert_allclose(kept.tangent(P, Z), P, atol=1e-10 * condition)
    other = kept.tangent(rng.normal(size=F.shape), Z)  # what was taken off is normal to all these
    assert_allclose(((F - P) * other).sum(axis=1), 0, atol=1e-10 * condition)


def test_gradient_is_the_derivative():
    kept, rng = some(0, 4, 2), np.random.default_rng(1)
    Z, d = rng.normal(size=(2, 9, 4))
    slope = (kept.values(Z + 1e-3 * d) - kept.values(Z - 1e-3 * d)) / 2e-3  # exact: quadratic
    expected = np.stack([(g * d).sum(axis=1) for g in kept.gradients(Z)], axis=1)
    assert_allclose(slope, expected, rtol=1e-10, atol=1e-10)


def test_gradients_that_vanish_or_repeat_take_nothing_more_away():
    rng = np.random.default_rng(0)
    F, g, h = rng.normal(size=(3, 10, 4))
    assert_allclose(tangent(F, [0 * g]), F)
    assert_allclose(tangent(F, [g, 2 * g]), tangent(F, [g]), atol=1e-12)
    assert_allclose(tangent(F, [g, h, g - h]), tangent(F, [g, h]), atol=1e-9)


def test_gradients_pass_through_the_projection():
    import torch

    rng = np.random.default_rng(0)
    F, g, h = (torch.tensor(rng.normal(size=(5, 4)), requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda *x: tangent(x[0], x[1:]), (F, g, h))
    zero = torch.zeros_like(g, requires_grad=True)
    tangent(F, [zero]).sum().backward()
    assert torch.isfinite(zero.grad).all()


def test_states_are_brought_back_to_their_level_sets():
    kept = quadratic_invariants(3, BODY)
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(50, 3))
    moved = kept.onto(Z + 0.02 * rng.normal(size=Z.shape), kept.values(Z))
    assert_allclose(kept.values(moved), kept.values(Z), rtol=1e-12)
    assert np.abs(moved - Z).max() < 0.5
    assert_allclose(kept.onto(Z, kept.values(Z)), Z, rtol=0)
    with pytest.raises(ValueError, match="No state near row 1"):
        kept.onto(Z[:2], [kept.values(Z[:1])[0], [-1.0, 1.0]])


def test_with_any_parameters_the_invariants_have_no_rate():
    rng = np.random.default_rng(0)
    Z, y, u = (rng.normal(size=(30, n)) for n in (4, 4, 2))
    kept = some(3, 4, 2)
    model = quick(kept.quadratic, kept.linear, max_iter=1).fit(Z + 50, y, u=u)
    model.weights_ = [5 * rng.normal(size=value.shape) for value in model.weights_]
    Z = 50 + 100 * rng.normal(size=(1000, 4))
    slope = model.predict(Z, u=rng.normal(size=(1000, 2)))
    for gradient in kept.gradients(Z):
        size = np.linalg.norm(gradient, axis=1) * np.linalg.norm(slope, axis=1)
        assert np.all(np.abs((gradient * slope).sum(axis=1)) <= 1e-12 * size)
    assert np.linalg.norm(slope, axis=1).min() > 0


def test_midpoint_keeps_them_at_any_step_and_the_other_methods_to_their_order():
    t = np.linspace(0, 20, 100)
    Z = solve_ivp(rigid_body, (0, 20), [0.5, 1.0, 0.4], t_eval=t, rtol=1e-10, atol=1e-12).y.T
    model = quick(BODY).fit(Z, t=t)

    def drift(step, stepper):
        z = rom.rollout(model, Z[0], np.arange(0, 30, step), stepper=stepper).z
        return np.abs(model.invariants(z) - model.invariants(Z[:1])).max()

    assert drift(1.0, "midpoint") < 1e-13
    assert drift(1.0, "auto") < 1e-6
    order = np.log2(drift(0.5, "rk4") / drift(0.25, "rk4"))
    assert order > 3.8


def test_energy_and_momentum_of_a_rigid_body_far_past_training():
    t = np.linspace(0, 20, 100)
    Z = solve_ivp(rigid_body, (0, 20), [0.5, 1.0, 0.4], t_eval=t, rtol=1e-10, atol=1e-12).y.T
    later = np.linspace(0, 100, 201)
    truth = solve_ivp(rigid_body, (0, 100), Z[0], t_eval=later, rtol=1e-10, atol=1e-12).y.T
    run = rom.rollout(quick(BODY, max_iter=60, window=4).fit(Z, t=t), Z[0], later)
    assert np.linalg.norm(run.z - truth) < 0.1 * np.linalg.norm(truth)


def test_without_a_definite_invariant_a_pull_holds_what_would_run_away():
    """z₁ - z₂ is kept; along (1, 1) the data grow without end."""
    t = np.linspace(0, 3, 40)
    Z = np.stack([t**2, t**2 - 1], axis=1)
    model = quick(linear=[1.0, -1.0]).fit(Z, t=t)
    assert model.radius_ < np.inf
    run = rom.rollout(model, Z[-1], np.linspace(0, 100, 200))
    assert_allclose(run.z[:, 0] - run.z[:, 1], 1, rtol=1e-6)
    assert quick(np.diag([1.0, -1.0])).fit(Z, t=t).radius_ < np.inf
    assert quick(np.diag([1.0, 2.0])).fit(Z, t=t).radius_ == np.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quadratic": np.eye(3)}, r"shapes \(1, 3, 3\)"),
        ({"quadratic": [np.eye(2)] * 2, "linear": [1.0, 0.0]}, r"\(2, 2, 2\) and \(1, 2\)"),
        ({"quadratic": [[0.0, 1.0], [-1.0, 0.0]]}, "Invariant 0 is zero"),
        ({"linear": [np.nan, 1.0]}, "NaN or infinite"),
    ],
)
def test_refuses_invariants_that_do_not_fit(options, message):
    t = np.arange(6.0)
    with pytest.raises(ValueError, match=message):
        quick(**options).fit(np.stack([t, t], axis=1), t=t)
