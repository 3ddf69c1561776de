import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.compress import Identity
from rom.dynamics import OperatorInference
from rom.dynamics.echo_state import EchoState
from rom.dynamics.hankel import delays
from rom.dynamics.kernel import KernelModel
from rom.dynamics.local import LocalModel
from rom.dynamics.nvar import NVAR

# Every cell needs its target; these checks give one target, or five, for other numbers of cells.
OTHER_TARGETS = [
    "check_fit_score_takes_y",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_readonly_memmap_input",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_estimators_dtypes",
    "check_dtype_object",
    "check_pipeline_consistency",
    "check_estimators_nan_inf",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_regressors_train",
    "check_regressor_data_not_an_array",
    "check_regressor_multioutput",
    "check_regressors_no_decision_function",
    "check_regressors_int",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
    "check_fit2d_predict1d",
]


@parametrize_with_checks(
    [LocalModel(), LocalModel(EchoState(5, random_state=0), rank=1, noise=0.1, random_state=0)],
    expected_failed_checks=lambda _: dict.fromkeys(OTHER_TARGETS, "other targets than cells"),
)
def test_sklearn(estimator, check):
    check(estimator)


def lattice(n_time=40, n_cells=12, seed=0, coupling=0.4, a=1.7, u=None):
    """Coupled quadratic maps on a ring, with an input that all cells feel."""
    u = np.zeros(n_time) if u is None else u
    Z = np.empty((n_time, n_cells))
    Z[0] = np.random.default_rng(seed).uniform(-1, 1, n_cells)
    for i in range(n_time - 1):
        f = 1 - a * Z[i] ** 2
        Z[i + 1] = (1 - coupling) * f + coupling / 2 * (np.roll(f, 1) + np.roll(f, -1)) + u[i]
    return Z


def test_the_coefficients_of_a_lattice_are_found():
    model = LocalModel(NVAR(ridge=0.0), halo=1).fit(lattice())
    # Of the change of y: 1; x, y, z; x², x y, x z, y², y z, z².
    expected = [1, 0, -1, 0, -1.7 * 0.2, 0, 0, -1.7 * 0.6, 0, -1.7 * 0.2]
    assert_allclose(model.model_coef_, [expected], atol=1e-10)
    run = rom.rollout(model, lattice(seed=1)[0], np.arange(1, 6))
    assert_allclose(run.z, lattice(seed=1)[:5], atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(
    patch=st.integers(1, 4),
    n_patches=st.integers(2, 5),
    halo=st.integers(0, 6),
    n_delays=st.integers(1, 2),
    by=st.integers(0, 4),
)
def test_a_translation_by_patches_translates_the_prediction(patch, n_patches, halo, n_delays, by):
    Z = np.random.default_rng(0).normal(size=(30, patch * n_patches))
    _, rows = delays(Z, n_delays)
    _, moved = delays(np.roll(Z, by * patch, axis=1), n_delays)
    model = LocalModel(NVAR(n_delays, degree=1), patch=patch, halo=halo, n_delays=n_delays)
    model.fit(rows)
    blocks = (len(rows), n_delays, -1)
    expected = np.roll(model.predict(rows).reshape(blocks), by * patch, axis=2)
    assert_allclose(model.predict(moved).reshape(blocks), expected, atol=1e-12)


@pytest.mark.parametrize(("patch", "halo"), [(1, 2), (3, 1), (4, 3)])
def test_nothing_is_felt_from_beyond_the_halo(patch, halo):
    Z = lattice()
    model = LocalModel(patch=patch, halo=halo).fit(Z)
    felt = np.zeros((12, 12), bool)  # (cell that is moved, cell predicted)
    before = model.predict(Z[:1])[0]
    for cell in range(12):
        moved = Z[:1].copy()
        moved[0, cell] += 0.1
        felt[cell] = model.predict(moved)[0] != before
    first = np.arange(12) // patch * patch
    after_start = (np.arange(12)[:, None] - (first - halo)) % 12
    assert_array_equal(felt, after_start < patch + 2 * halo)


def test_one_patch_is_the_model_itself():
    Z = lattice(n_cells=4)
    whole = LocalModel(NVAR(), patch=4).fit(Z)
    assert_array_equal(whole.predict(Z), NVAR().fit(Z).predict(Z))
    _, rows = delays(Z, 2)
    whole = LocalModel(NVAR(2), patch=4, n_delays=2).fit(rows)
    assert_array_equal(whole.predict(rows), NVAR(2).fit(rows).predict(rows))


def test_cells_are_never_seen_twice():
    Z = lattice(n_cells=4)
    model = LocalModel(NVAR(degree=1), patch=1, halo=9).fit(Z)
    assert model.model_n_features_in_ == 3
    assert_array_equal(model.predict(Z), LocalModel(NVAR(degree=1), halo=1).fit(Z).predict(Z))


def lorenz96(Z):
    return (np.roll(Z, -1, 1) - np.roll(Z, 2, 1)) * np.roll(Z, 1, 1) - Z + 8


def test_time_derivatives_of_lorenz_96_are_found():
    Z = np.random.default_rng(0).normal(size=(20, 10))
    model = LocalModel(OperatorInference("cAH", ridge=0.0), patch=2, halo=2)
    assert model.time == "continuous"
    model.fit(Z, lorenz96(Z))
    later = np.random.default_rng(1).normal(size=(20, 10))
    assert_allclose(model.predict(later), lorenz96(later), atol=1e-9)
    t = np.linspace(0, 0.2, 5)
    end = rom.rollout(model, later[0], t).z[-1]
    exact = rom.fom.Lorenz96(n=10).simulate(later[0], t).values[-1]
    assert_allclose(end, exact, atol=1e-5)


@pytest.mark.parametrize("rank", [None, 3])
def test_the_shared_model_is_refitted_without_the_rows(rank):
    Z, u = lattice(a=1.4, u=np.full(40, 0.02)), np.linspace(0, 1, 40)
    model = LocalModel(NVAR(), patch=2, halo=1, rank=rank).fit(Z, u=u)
    again, fresh = model.refit(ridge=0.3), clone(model).set_params(model=NVAR(ridge=0.3))
    assert_allclose(again.predict(Z, u=u), fresh.fit(Z, u=u).predict(Z, u=u), rtol=1e-10)
    assert again.bound_ == fresh.bound_
    with pytest.raises(ValueError, match="refit changes ridge; for other degree"):
        model.refit(degree=1)
    with pytest.raises(ValueError, match=r"need a model that keeps the sums .* KernelModel"):
        LocalModel(KernelModel(), halo=1).fit(Z).refit(ridge=0.3)


def test_models_of_two_fields_are_merged():
    fields = [lattice(seed=seed) for seed in (0, 1)]
    one, two = (LocalModel(halo=1).fit(Z) for Z in fields)
    merged, both = one.merge(two), np.concatenate(fields)
    whole = LocalModel(halo=1).fit(both, trajectory=np.repeat([0, 1], 40))
    assert_allclose(merged.model_coef_, whole.model_coef_, atol=1e-10)
    assert (merged.bound_, merged.model_bound_) == (whole.bound_, whole.model_bound_)
    assert_array_equal(one.model_coef_, LocalModel(halo=1).fit(fields[0]).model_coef_)
    for other in (LocalModel(halo=2), LocalModel(NVAR(degree=1), halo=1)):
        with pytest.raises(ValueError, match="merge needs models of one kind"):
            one.merge(other.fit(fields[1]))
    with pytest.raises(ValueError, match="rank=2, whose components are those of all rows"):
        LocalModel(halo=1, rank=2).fit(both).merge(whole)


def test_inputs_are_those_of_every_patch():
    u = 0.05 * np.random.default_rng(0).uniform(-1, 1, 60)
    Z = lattice(60, u=u, a=1.4)
    model = LocalModel(NVAR(ridge=0.0), halo=1).fit(Z[:40], u=u[:40, None])
    assert_allclose(model.predict(Z[40:-1], u=u[40:-1, None]), Z[41:], atol=1e-9)


def test_all_components_are_the_cells_turned():
    """Polynomials of a degree are the same functions in any coordinates."""
    Z = lattice()
    cells = LocalModel(NVAR(ridge=0.0), halo=1).fit(Z)
    turned = LocalModel(NVAR(ridge=0.0), halo=1, rank=3).fit(Z)
    assert_allclose(turned.components_ @ turned.components_.T, np.eye(3), atol=1e-12)
    assert_allclose(turned.predict(Z), cells.predict(Z), atol=1e-9)


def test_the_components_are_those_of_most_variance():
    x = np.arange(40)
    rng = np.random.default_rng(0)
    phase, size = rng.uniform(0, 6, (50, 1)), rng.normal(size=(50, 1))
    Z = 3 + size * np.cos(2 * np.pi / 40 * 3 * x + phase)
    model = LocalModel(NVAR(degree=1), halo=3, rank=2).fit(Z, Z)
    # A wave of one length has two components, and so nothing of it is lost.
    window = Z[:, 10:17] - model.mean_
    assert_allclose(window @ model.components_.T @ model.components_, window, atol=1e-10)
    assert_allclose(model.mean_, 3.0)


def test_what_the_components_leave_out_is_gone_after_a_step():
    x = 2 * np.pi / 40 * np.arange(40)
    n = np.arange(60)[:, None]
    Z = np.cos(3 * x + 0.3 * n) + np.cos(2 * x - 0.2 * n)
    model = LocalModel(NVAR(degree=1, ridge=0.0), halo=5, rank=4).fit(Z)
    short = (-1.0) ** np.arange(40)
    left = short[:11] - short[:11] @ model.components_.T @ model.components_
    assert np.linalg.norm(left) > 0.9 * np.linalg.norm(short[:11])
    after = model.predict(Z[:1] + 0.1 * short) - Z[1]
    assert np.abs(after).max() < 0.05


def test_noise_shrinks_what_the_states_do_not_show():
    """White noise adds its variance to the covariance of what a linear model sees."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(4000, 6)) + 2 * rng.normal(size=(4000, 1))
    Z -= Z.mean()
    weights = np.array([0.2, 0.5, -0.3])
    y = sum(w * np.roll(Z, s, axis=1) for w, s in zip(weights, (1, 0, -1), strict=True))
    model = LocalModel(NVAR(degree=1, ridge=0.0), halo=1, noise=0.5, random_state=0).fit(Z, y)
    neighbours = np.stack([np.roll(Z, s, axis=1).ravel() for s in (1, 0, -1)])
    covariance = neighbours @ neighbours.T / Z.size
    expected = np.linalg.solve(covariance + 0.25 * Z.var() * np.eye(3), covariance @ weights)
    assert_allclose(model.model_coef_[0, 1:] + [0, 1, 0], expected, atol=0.01)


def test_rows_are_drawn_by_seed():
    Z = lattice(100)
    first, again, other = (
        LocalModel(NVAR(degree=1), n_rows=50, random_state=s).fit(Z).predict(Z) for s in (0, 0, 1)
    )
    assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_reservoir_remembers_what_a_row_holds():
    """Every other row is hidden in the state: only its past says what comes next."""
    n = np.arange(300)
    x = 2 * np.pi / 8 * np.arange(8)
    Z = np.cos(x + 0.7 * n[:, None]) + np.cos(2 * x - 1.1 * n[:, None])
    error = {}
    for n_delays in (1, 4):
        _, rows = delays(Z, n_delays)
        base = EchoState(60, n_delays, random_state=0)
        model = LocalModel(base, patch=2, halo=0, n_delays=n_delays).fit(rows[:200])
        after = model.predict(rows[200:-1])
        assert_array_equal(after[:, 8:], rows[200:-1, :-8])
        error[n_delays] = np.abs(after[:, :8] - rows[201:, :8]).max()
    assert error[1] > 0.1
    assert error[4] < 0.01


def test_it_works_in_a_rom():
    Z = lattice()
    model = rom.ROM(
        Identity(), LocalModel(NVAR(ridge=0.0), halo=1), preprocess=rom.Scale(center=False)
    ).fit(Z)
    run = model.rollout(Z[0], np.arange(1, 8))
    assert_allclose(run["latent"].values, model.encode(Z)[:7], atol=1e-6)


def test_what_does_not_fit_is_refused():
    Z = lattice()
    with pytest.raises(ValueError, match="patch=5 does not divide the 12 cells"):
        LocalModel(patch=5).fit(Z)
    with pytest.raises(ValueError, match="one target per cell, but y has 3 columns for 12 cells"):
        LocalModel().fit(Z, Z[:, :3])
    with pytest.raises(ValueError, match="rank=4 is more than the 3 cells of a row"):
        LocalModel(halo=1, rank=4).fit(Z)
    with pytest.raises(ValueError, match="n_delays=2 needs a discrete model and no rank"):
        LocalModel(NVAR(2), n_delays=2, rank=2).fit(delays(Z, 2).Z)
    with pytest.raises(ValueError, match=r"LocalModel needs rows of 5 states"):
        LocalModel(n_delays=5).fit(Z)
