import numpy as np
import pytest
from numpy.testing import assert_allclose
from other_targets import EXPECTED_FAILURES
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.opinf import OperatorInference
from rom.dynamics.stable_opinf import StableOperatorInference

LORENZ_A = np.array([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, -8 / 3]])
LORENZ_H = np.zeros((3, 6))
LORENZ_H[1, 2], LORENZ_H[2, 1] = -1.0, 1.0


@parametrize_with_checks(
    [StableOperatorInference("cA")],
    expected_failed_checks=lambda _: (
        EXPECTED_FAILURES | {"check_estimators_partial_fit_n_features": "other targets"}
    ),
)
def test_sklearn(estimator, check):
    check(estimator)


def rates_of(model):
    """The least rate at which the energy decays about the centre, from the definition."""
    polynomial = model.polynomial()
    step = 1e-6 * np.eye(model.n_features_in_)

    def field(z):
        variables = np.r_[z, np.zeros(model.n_inputs_)]
        return polynomial.coef @ np.prod(variables**polynomial.exponents, axis=1)

    m = model.center_
    J = np.stack([(field(m + e) - field(m - e)) / 2e-6 for e in step], axis=1)
    root = np.linalg.cholesky(model.Q_).T
    J = root @ J @ np.linalg.inv(root)
    return np.linalg.eigvalsh(-(J + J.T) / 2)


def noisy(operators, seed, rank=3, **options):
    """A model of pure noise: nothing in the data makes it stable."""
    rng = np.random.default_rng(seed)
    Z, y, u = (rng.normal(size=(80, n)) for n in (rank, rank, 1))
    return StableOperatorInference(operators, max_iter=15, **options).fit(Z, y, u=u), Z


def test_lorenz_is_recovered_with_its_trapping_region():
    Z = np.random.default_rng(0).normal(size=(100, 3)) * 10 + [0, 0, 25]
    truth = OperatorInference.from_operators(A=LORENZ_A, H=LORENZ_H)
    model = StableOperatorInference("AH").fit(Z, truth.predict(Z))
    assert_allclose(model.A_, LORENZ_A, atol=1e-9)
    assert_allclose(model.H_, LORENZ_H, atol=1e-10)
    assert_allclose(model.Q_, np.eye(3))
    assert 0 < model.rate_ <= 1 + 1e-9
    # About (0, 0, 38), where all decays at least at rate 1, the ball has radius 8/3 * 38.
    assert model.certified_bound([0.0, 0.0, 0.0]) <= 38 * (1 + 8 / 3) * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_learned_energy_gives_every_stable_linear_model(seed):
    """Also one whose Euclidean energy grows at first: then equal to the free fit."""
    rng = np.random.default_rng(seed)
    A = np.triu(rng.normal(size=(3, 3)) * 5, 1) - np.diag([0.5, 1.0, 2.0])
    assert np.linalg.eigvalsh(A + A.T)[-1] > 0
    Z = rng.normal(size=(60, 3))
    model = StableOperatorInference("A", energy="learned").fit(Z, Z @ A.T)
    assert_allclose(model.A_, A, atol=1e-6)
    assert model.rate_ > 0


def test_the_best_dissipative_matrix_is_found():
    """For white states it is the projection: the symmetric part with eigenvalues clipped."""
    Z = np.vstack([np.eye(3), -np.eye(3)])
    A = np.random.default_rng(0).normal(size=(3, 3))
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    expected = (A - A.T) / 2 + (vectors * np.minimum(values, -0.3)) @ vectors.T
    model = StableOperatorInference("A", decay=0.3, max_iter=200).fit(Z, Z @ A.T)
    assert_allclose(model.A_, expected, atol=1e-4)


@pytest.mark.parametrize("energy", ["euclidean", "learned"])
@pytest.mark.parametrize("operators", ["A", "cA", "AH", "cAH"])
def test_energy_is_never_produced(operators, energy):
    model, Z = noisy(operators, 1, decay=0.1, energy=energy)
    assert rates_of(model)[0] >= 0.1 - 1e-6
    assert_allclose(rates_of(model)[0], model.rate_, atol=1e-6)
    if model.H_ is None:
        return
    i, j = np.triu_indices(3)
    produced = ((Z[:, i] * Z[:, j]) @ model.H_.T * (Z @ model.Q_)).sum(axis=1)
    assert_allclose(produced, 0, atol=1e-10 * max(1.0, np.abs(model.H_).max()))


@pytest.mark.parametrize("seed", range(3))
def test_no_trajectory_leaves_the_certified_bound(seed):
    model, Z = noisy("cAH", seed, decay=0.2)
    rng, t = np.random.default_rng(seed), np.linspace(0, 20, 101)
    for z0 in 10 * Z[:10]:
        u = rng.normal(size=(101, 1))
        bound = model.certified_bound(z0, u)
        run = rom.rollout(model, z0, t, u=u, bound=np.inf)
        assert np.linalg.norm(run.z, axis=1).max() <= bound * (1 + 1e-6)


def test_without_drive_the_energy_falls_all_the_time():
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(2, 80, 3))
    model = StableOperatorInference("A", decay=0.2, max_iter=15).fit(Z, y)
    t = np.linspace(0, 5, 51)
    energy = model.energy_of(rom.rollout(model, Z[0], t).z)
    assert (energy <= energy[0] * np.exp(-2 * model.rate_ * t) * (1 + 1e-6)).all()
    assert model.certified_bound(Z[0]) == pytest.approx(np.linalg.norm(Z[0]))


def test_units_do_not_matter():
    rng = np.random.default_rng(0)
    truth = OperatorInference.from_operators(A=LORENZ_A, H=LORENZ_H)
    Z = rng.normal(size=(100, 3)) * 10
    y = truth.predict(Z) + rng.normal(size=Z.shape)
    model = StableOperatorInference("AH").fit(Z, y)
    scaled = StableOperatorInference("AH").fit(1e-3 * Z, 1e2 * y)
    assert_allclose(scaled.A_, 1e5 * model.A_, rtol=1e-5, atol=1)
    assert_allclose(scaled.rate_, 1e5 * model.rate_, rtol=1e-2)


def test_it_drops_into_a_rom():
    t = np.linspace(0, 5, 60)
    X = (np.exp(-0.1 * t) * np.stack([np.cos(t), np.sin(t)])).T @ np.eye(2, 9)
    scale = rom.Scale(center=False, scale=False)
    model = rom.ROM(rom.POD(2, center=False), StableOperatorInference("A"), preprocess=scale)
    model.fit(X, t=t)
    assert model.dynamics_.equations()[0].startswith("dz0/dt = ")
    assert model.dynamics_.rate_ == pytest.approx(0.1, abs=1e-3)


def test_targets_must_be_as_many_as_coordinates():
    with pytest.raises(ValueError, match="there are 2 targets for 3 coordinates"):
        StableOperatorInference("A").fit(np.eye(3), np.eye(3)[:, :2])
