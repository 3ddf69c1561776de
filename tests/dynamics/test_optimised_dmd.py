import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics import DMD
from rom.dynamics import variable_projection as vp
from rom.dynamics.optimised_dmd import OptimisedDMD


@parametrize_with_checks([OptimisedDMD(), OptimisedDMD(constant=True, n_bags=2)])
def test_sklearn(estimator, check):
    check(estimator)


def exponentials(rates, t, seed, n_runs=1):
    """Runs (n_runs, n_time, rank) of one real linear model with these rates, and its modes."""
    rng, rates = np.random.default_rng(seed), np.asarray(rates, complex)
    rank = len(rates)
    partner = np.abs(rates[:, None] - rates.conj()).argmin(axis=1)
    V = rng.normal(size=(rank, rank)) + 1j * rng.normal(size=(rank, rank))
    V = (V + V[partner].conj()) / 2
    b = rng.uniform(0.5, 1.5, size=(n_runs, rank))
    b = (b + b[:, partner]) / 2
    return np.real(np.exp(np.outer(t, rates)) * b[:, None] @ V), V


def apart(found, expected):
    return max(np.abs(found - x).min() for x in expected)


RATES = np.array([-0.05 + 3j, -0.05 - 3j, -0.2 + 1j, -0.2 - 1j, -0.1])


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_rates_modes_and_equilibrium_are_recovered_at_uneven_times(seed, constant):
    t = np.sort(np.random.default_rng(seed).uniform(0, 12, 90))
    Z, V = exponentials(RATES, t, seed)
    shift = np.arange(5.0) * constant
    model = OptimisedDMD(constant=constant).fit(Z[0] + shift, t=t)
    assert_allclose(model.rates_, RATES[[0, 1, 4, 2, 3]], atol=1e-6)
    assert_allclose(np.abs(np.sum(model.modes_[0].conj() * V[0])), np.linalg.norm(V[0]), rtol=1e-6)
    assert_allclose(model.predict(shift[None]), 0, atol=1e-5)
    run = rom.rollout(model, Z[0, 0] + shift, t)
    assert_allclose(run.z, Z[0] + shift, atol=1e-4 * np.abs(Z).max())


def test_modes_are_eigenvectors_of_norm_one_with_a_fixed_phase():
    t = np.arange(60) * 0.2
    model = OptimisedDMD().fit(exponentials(RATES, t, 1)[0][0], t=t)
    assert_allclose(model.A_ @ model.modes_.T, model.modes_.T * model.rates_, atol=1e-10)
    assert_allclose(np.linalg.norm(model.modes_, axis=1), 1)
    largest = model.modes_[np.arange(5), np.abs(model.modes_).argmax(axis=1)]
    assert_allclose(largest.imag, 0, atol=1e-14)
    assert (largest.real > 0).all()


def test_runs_share_rates_and_modes_and_a_gap_is_bridged():
    t = np.r_[np.arange(12), 40 + np.arange(12)] * 0.2
    Z, _ = exponentials(RATES, t, 2, n_runs=3)
    model = OptimisedDMD().fit(
        Z.reshape(-1, 5), t=np.tile(t, 3), trajectory=np.repeat([0, 1, 2], len(t))
    )
    assert apart(model.rates_, RATES) < 1e-6
    assert_allclose(rom.rollout(model, Z[2, 0], t).z, Z[2], atol=1e-5)


@pytest.mark.parametrize("d", [-4.0, -1e-3, 1e-9, 0.3])
def test_gradient_and_gauss_newton_matrix(d):
    rng = np.random.default_rng(0)
    run = vp.Run(np.sort(rng.uniform(0, 3, 40)), rng.normal(size=(40, 4)))
    rates = vp.Rates(np.array([-0.2, 0.1, d, -9.0, -0.7]), 2)

    def half_squares(theta):
        return vp._evaluate([run], rates._replace(theta=theta), True)[1] / 2

    parts, _ = vp._evaluate([run], rates, True)
    gradient, matrix = vp._normal_equations([run], parts, rates)
    steps = 1e-4 * np.eye(5)
    expected = [
        (half_squares(rates.theta + h) - half_squares(rates.theta - h)) / 2e-4 for h in steps
    ]
    assert_allclose(gradient, expected, rtol=1e-4, atol=1e-8)
    # Kaufman's Jacobian, column by column: the projection of dF/dθ B.
    Q, B = parts[0].Q, parts[0].B / parts[0].size[:, None]

    def column(h):
        dF = vp._functions(run.t, rates._replace(theta=rates.theta + h), True)
        dF = dF - vp._functions(run.t, rates._replace(theta=rates.theta - h), True)
        return (dF @ B - Q @ (Q.T @ dF @ B)).ravel() / 2e-4

    J = np.stack([column(h) for h in steps])
    assert_allclose(matrix, J @ J.T, rtol=1e-4, atol=1e-8)


def test_two_real_rates_may_become_a_pair():
    t = np.linspace(0, 6, 80)
    Z, _ = exponentials([-0.3 + 1j, -0.3 - 1j], t, 0)
    fit = vp.fit_exponentials(
        [vp.Run(t, Z[0])], vp.as_rates(np.array([-0.1, -0.6 + 0j]), pair_real=True)
    )
    assert fit.converged
    assert_allclose(fit.rates.values(), [-0.3 + 1j, -0.3 - 1j], atol=1e-8)


def test_noise_brings_less_bias_than_to_one_step_regression():
    t = np.arange(400) * 0.05
    Z, _ = exponentials(RATES, t, 3)
    Z = Z[0] + 0.05 * np.random.default_rng(0).normal(size=Z[0].shape)
    assert apart(OptimisedDMD().fit(Z, t=t).rates_, RATES) < 0.03
    assert apart(DMD().fit(Z, t=t).rates_, RATES) > 0.3


def test_the_optimum_is_one():
    t = np.arange(100) * 0.1
    rng = np.random.default_rng(0)
    Z = exponentials(RATES, t, 4)[0][0] + 0.1 * rng.normal(size=(100, 5))
    run = vp.Run(t, Z)
    fit = vp.fit_exponentials([run], vp.as_rates(RATES, pair_real=True))
    gradient, _ = vp._normal_equations([run], vp._evaluate([run], fit.rates, False)[0], fit.rates)
    assert_allclose(gradient, 0, atol=1e-5)
    assert OptimisedDMD().fit(Z, t=t).residual_ <= fit.residual * (1 + 1e-9)


@pytest.mark.parametrize("growth", [(-np.inf, 0.0), (0.0, 0.0), (-0.3, -0.1)])
def test_growth_rates_are_kept_in_their_band(growth):
    t = np.arange(60) * 0.1
    rates = np.array([0.1 + 2j, 0.1 - 2j, -0.2 + 5j, -0.2 - 5j, -1.0])
    Z = exponentials(rates, t, 0)[0][0]
    Z = Z + 0.01 * np.random.default_rng(1).normal(size=Z.shape)
    model = OptimisedDMD(growth=growth).fit(Z, t=t)
    assert model.rates_.real.min() >= growth[0] - 1e-9
    assert model.rates_.real.max() <= growth[1] + 1e-9
    # No worse than the free model with its rates moved.
    free = vp.as_rates(OptimisedDMD().fit(Z, t=t).rates_, pair_real=False)
    moved = vp.fit_exponentials([vp.Run(t, Z)], free, growth=growth, max_iter=0)
    assert model.residual_ <= moved.residual * (1 + 1e-9)


def test_standard_errors_are_those_of_the_errors():
    t, rates = np.arange(120) * 0.1, np.array([-0.1 + 2j, -0.1 - 2j])
    clean = exponentials(rates, t, 0)[0][0]
    scores = []
    for seed in range(16):
        Z = clean + 0.2 * np.random.default_rng(seed).normal(size=clean.shape)
        model = OptimisedDMD(n_bags=12, random_state=0).fit(Z, t=t)
        off = model.rates_[0] - rates[0]
        scores += [off.real / model.growth_std_[0], off.imag / model.frequency_std_[0]]
    # Standard scores have variance one; 32 of them tell its root to 13 %, the bags to 20 %.
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.6


def test_bags_agree_without_noise_and_follow_the_seed():
    t = np.sort(np.random.default_rng(0).uniform(0, 12, 80))
    Z = exponentials(RATES, t, 0)[0][0]
    model = OptimisedDMD(n_bags=4, random_state=0).fit(Z, t=t)
    assert_allclose(model.growth_std_, 0, atol=1e-7)
    assert_allclose(model.modes_std_, 0, atol=1e-6)
    assert apart(model.rates_, RATES) < 1e-7
    Z = Z + 0.01 * np.random.default_rng(1).normal(size=Z.shape)
    first, again, other = (
        OptimisedDMD(n_bags=3, random_state=seed).fit(Z, t=t).A_ for seed in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert (first != other).any()


def test_targets_make_it_least_squares():
    rng = np.random.default_rng(0)
    A, Z = rng.normal(size=(3, 3)), rng.normal(size=(20, 3))
    model = OptimisedDMD(constant=True).fit(Z, Z @ A.T + 1)
    assert_allclose(model.A_, A, atol=1e-12)
    assert_allclose(model.c_, 1)
    assert np.isnan(model.residual_)
    assert model.growth_std_ is None


def test_zero_states_stay_zero():
    model = OptimisedDMD().fit(np.zeros((9, 2)), t=np.arange(9.0))
    assert_array_equal(model.predict(np.zeros((1, 2))), 0)
    assert model.residual_ == 0


def test_steps_that_do_not_suffice_are_told():
    t = np.arange(60) * 0.1
    Z = exponentials(RATES, t, 0)[0][0]
    Z = Z + 0.1 * np.random.default_rng(1).normal(size=Z.shape)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 steps"):
        OptimisedDMD(max_iter=1).fit(Z, t=t)


@pytest.mark.parametrize(
    ("parameters", "fit", "message"),
    [
        ({}, dict(u=np.ones(6)), "takes no inputs"),
        ({}, dict(t=None), "sample times"),
        (dict(growth=(2, 1)), {}, "growth must be"),
        (dict(growth=(1e4, 1e5)), {}, "overflow"),
        (dict(n_bags=2, bag_size=0.3), {}, "2 of them in a bag"),
        (dict(names=["a"]), {}, "names has 1"),
        ({}, dict(trajectory=[0, 0, 1, 1, 2, 2]), "at least 3 rows of one trajectory"),
    ],
)
def test_what_cannot_be_fitted_is_refused(parameters, fit, message):
    Z = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match=message):
        OptimisedDMD(**parameters).fit(Z, **(dict(t=np.arange(6.0)) | fit))


def test_input_is_untouched_and_saved_with_all_it_needs(tmp_path):
    t = np.arange(60) * 0.1
    Z = exponentials(RATES, t, 0)[0][0]
    before = Z.copy()
    dynamics = OptimisedDMD(constant=True, n_bags=2, random_state=0, names=list("abcde"))
    model = rom.ROM(rom.Identity(), dynamics).fit(Z, t=t)
    assert_array_equal(Z, before)
    assert model.dynamics_.equations()[0].startswith("da/dt = ")
    model.save(tmp_path / "m.nc")
    loaded = rom.load(tmp_path / "m.nc")
    assert (loaded.predict(Z) == model.predict(Z)).all()
    assert_array_equal(loaded.dynamics_.modes_std_, model.dynamics_.modes_std_)
