import numpy as np
import pytest
from numpy.testing import assert_allclose
from other_targets import EXPECTED_FAILURES
from scipy.integrate import solve_ivp
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.hamiltonian import canonical
from rom.dynamics.port_hamiltonian import PortHamiltonianODE

# Two masses between two walls, springs of different strength, each mass damped.
STIFFNESS = np.array([[2.0, -1.0], [-1.0, 1.5]])
CHAIN = np.block([[np.zeros((2, 2)), np.eye(2)], [-STIFFNESS, -np.diag([0.1, 0.2])]])
PUSH = np.array([[0.0], [0.0], [1.0], [0.0]])


def quick(hidden=(8,), **options):
    return PortHamiltonianODE(hidden, **{"max_iter": 20, "random_state": 0, **options})


@parametrize_with_checks(
    [quick()],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_sklearn(estimator, check):
    check(estimator)


def driven_chain(t, z0=(1.0, 0.0, 0.0, 0.5)):
    """A run of the linear chain and its input, away from zero on average."""
    u = 0.3 + np.sin(1.3 * t) + 0.5 * np.sin(0.7 * t)
    truth = rom.OperatorInference.from_operators(A=CHAIN, B=PUSH)
    return rom.rollout(truth, z0, t, u=u).z, u


def with_any_parameters(model, seed):
    """The fitted model with random parameters in place of those found."""
    rng = np.random.default_rng(seed)
    rank, n_inputs = model.n_features_in_, model.n_inputs_
    shapes = [(rank, rank), (rank,), (rank, 5), (5,), (5, 1), (1,), (rank, rank), (rank, n_inputs)]
    if model.structure == "learned":
        shapes.append((rank, rank))
    model._keep([rng.normal(size=shape) for shape in shapes], rng.normal(size=(10, rank)))
    return model


@pytest.fixture(scope="module", params=["learned", "canonical"])
def fitted(request):
    t = np.linspace(0, 20, 201)
    Z, u = driven_chain(t)
    return quick((5,), structure=request.param, max_iter=1).fit(Z, t=t, u=u)


@pytest.mark.parametrize("seed", range(3))
def test_any_energy_only_decreases_but_for_the_work_of_the_inputs(fitted, seed):
    """dH/dt = -∇Hᵀ R ∇H + ∇Hᵀ B u, with the parts that the model shows, at any state."""
    model = with_any_parameters(fitted, seed)
    rng = np.random.default_rng(seed)
    Z, u = 3 * rng.normal(size=(30, 4)), rng.normal(size=(30, 1))
    shifts = 1e-5 * np.eye(4)
    gradient = np.stack([model.energy(Z + e) - model.energy(Z - e) for e in shifts], axis=1) / 2e-5
    power = (gradient * model.predict(Z, u=u)).sum(axis=1)
    lost = ((gradient @ model.R_) * gradient).sum(axis=1)
    work = (gradient @ model.B_ * u).sum(axis=1)
    assert_allclose(power, work - lost, rtol=1e-6, atol=1e-6 * np.abs(lost).max())
    assert np.all(lost > 0)
    assert_allclose(model.S_, -model.S_.T, atol=0)
    assert np.linalg.eigvalsh(model.R_)[0] > -1e-12
    assert_allclose(model.predict(Z, u=u), gradient @ (model.S_ - model.R_).T + u @ model.B_.T,
                    rtol=1e-5, atol=1e-5 * np.abs(power).max() ** 0.5)  # fmt: skip


def test_left_alone_it_runs_down_from_anywhere(fitted):
    model = with_any_parameters(fitted, 5).unforced()
    start = 1e3 * np.ones(4)
    run = rom.rollout(model, start, np.linspace(0, 3, 200), bound=np.inf)
    assert np.all(np.diff(model.energy(run.z)) <= 0)
    assert np.linalg.norm(run.z[-1]) < np.linalg.norm(start)


def test_without_forcing_is_with_none(fitted):
    free = fitted.unforced()
    Z = np.random.default_rng(0).normal(size=(10, 4))
    assert_allclose(free.predict(Z), fitted.predict(Z, u=np.zeros(10)), rtol=1e-12, atol=1e-12)
    assert_allclose(free.energy(Z), fitted.energy(Z), atol=0)
    assert fitted.n_inputs_ == 1
    assert fitted.B_ is not None
    with pytest.raises(ValueError, match="fitted with 1 inputs"):
        fitted.predict(Z)


@pytest.mark.parametrize("structure", ["learned", "canonical"])
def test_a_linear_chain_is_found_and_runs_down_at_every_step(structure):
    t = np.linspace(0, 20, 401)
    Z, u = driven_chain(t)
    model = quick((), structure=structure, max_iter=60).fit(Z, t=t, u=u)
    assert_allclose(model.predict(Z, u=u), Z @ CHAIN.T + u[:, None] * PUSH.T, atol=1e-3)
    assert_allclose(model.B_, PUSH, atol=1e-3)
    if structure == "canonical":
        assert np.array_equal(model.S_, canonical(4))
    polynomial = model.polynomial()
    variables = np.hstack([Z, u[:, None]])
    assert_allclose(polynomial.coef[:, 0] + variables @ polynomial.coef[:, 1:].T,
                    model.predict(Z, u=u), atol=1e-12)  # fmt: skip
    far = np.linspace(0, 100, 201)  # steps of half a time unit
    run = rom.rollout(model.unforced(), [1.0, 0.0, 0.0, 0.5], far, stepper="midpoint")
    assert np.all(np.diff(model.energy(run.z)) < 0)


def test_the_start_is_the_nearest_linear_model_when_that_is_stable():
    """Slopes of a damped linear system, given exactly: no training is needed."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(60, 4))
    model = quick((), max_iter=1).fit(Z, Z @ CHAIN.T)
    assert_allclose(model.predict(Z), Z @ CHAIN.T, atol=1e-3)


def test_growth_cannot_be_fitted():
    t = np.linspace(0, 3, 61)
    Z = np.exp(0.3 * t)[:, None] * np.column_stack([np.cos(2 * t), np.sin(2 * t)])
    model = quick(()).fit(Z, t=t)
    run = rom.rollout(model, Z[0], np.linspace(0, 50, 501), stepper="midpoint")
    assert np.all(np.diff(model.energy(run.z)) <= 1e-12 * np.ptp(model.energy(Z)))


def test_a_hardening_spring_seen_under_forcing_is_known_without_it():
    def run(t, z0, force):
        return solve_ivp(
            lambda s, z: [z[1], -z[0] - z[0] ** 3 - 0.1 * z[1] + force(s)], (0, t[-1]), z0,
            t_eval=t, rtol=1e-9, atol=1e-11,
        ).y.T  # fmt: skip

    t, force = np.linspace(0, 30, 201), lambda s: np.sin(0.9 * s) + 0.5 * np.sin(2.3 * s)
    model = quick((12,), structure="canonical", max_iter=60, window=4)
    model.fit(run(t, [0.5, 0], force), t=t, u=force(t))
    truth = run(t, [1.2, 0.0], lambda s: 0.0)
    free = rom.rollout(model.unforced(), truth[0], t)
    assert np.linalg.norm(free.z - truth) < 0.1 * np.linalg.norm(truth)
    assert np.all(np.diff(model.energy(free.z)) < 1e-6 * model.energy(truth).max())


def test_same_seed_same_bits():
    t = np.linspace(0, 10, 101)
    Z, u = driven_chain(t)
    first, again = (quick((4,), max_iter=5).fit(Z, t=t, u=u) for _ in range(2))
    for name in ("S_", "R_", "B_", "quadratic_", "linear_"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


def test_refuses_with_reasons():
    t = np.linspace(0, 1, 10)
    Z = np.column_stack([np.cos(t), -np.sin(t), t])
    with pytest.raises(ValueError, match=r"even number of coordinates.* but Z has 3"):
        quick(structure="canonical").fit(Z, t=t)
    with pytest.raises(ValueError, match="structure"):
        quick(structure="dissipative").fit(Z, t=t)
    with pytest.raises(ValueError, match="2 targets for 3 coordinates"):
        quick().fit(Z, Z[:, :2])
