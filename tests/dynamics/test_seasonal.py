import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
from rom.dynamics.seasonal import SeasonalModel, season

PLAIN = {"ridge": 0.0, "seasonal_ridge": 0.0}


@parametrize_with_checks([SeasonalModel(harmonics=0)])
def test_sklearn(estimator, check):
    check(estimator)


def made(n, *, noise=0.0, noise_season=0.0, nonlinear=0.1, seed=0):
    """A seasonal, weakly nonlinear map with two harmonics, and its true coefficients."""
    rng = np.random.default_rng(seed)
    A = np.zeros((2, 2, 5))
    A[:, :, 0] = [[0.8, 0.3], [-0.3, 0.7]]
    A[0, 0, 1], A[0, 1, 2], A[1, 1, 3], A[1, 0, 4] = 0.15, -0.1, 0.1, 0.05
    t = np.arange(float(n))
    u = season(t, 12)
    angle = 2 * np.pi * t / 12
    waves = np.stack([np.ones(n), *(f(k * angle) for k in (1, 2) for f in (np.cos, np.sin))])
    z = np.empty((n, 2))
    z[0] = 1.0, 0.5
    for i in range(n - 1):
        kick = noise * np.exp(noise_season * np.cos(angle[i])) * rng.normal(size=2)
        z[i + 1] = A @ waves[:, i] @ z[i] + [-nonlinear * z[i, 0] * z[i, 1], 0] + kick
    return z, t, u, A


def test_season_is_a_point_on_the_circle():
    u = season(np.arange(24), 12)
    assert_allclose((u**2).sum(axis=1), 1)
    assert_allclose(u[:12], u[12:], atol=1e-14)
    assert_allclose(u[3], [0, 1], atol=1e-15)


def test_seasonal_and_nonlinear_coefficients_are_found_exactly():
    rng = np.random.default_rng(1)
    Z, u = rng.normal(size=(200, 2)), season(np.arange(200), 12)
    A = made(8)[3]
    angle = np.arctan2(u[:, 1], u[:, 0])
    waves = np.stack([np.ones(200), *(f(k * angle) for k in (1, 2) for f in (np.cos, np.sin))])
    y = np.einsum("ijw,wt,tj->ti", A, waves, Z)
    y[:, 0] -= 0.1 * Z[:, 0] * Z[:, 1]
    model = SeasonalModel(2, nonlinear=[(0, (1, 0))], **PLAIN).fit(Z, y, u=u)
    assert_array_equal(model.exponents_, [[1, 0], [0, 1], [1, 1]])
    assert_allclose(model.coef_[:, :2], A, atol=1e-12)
    assert_allclose(model.coef_[:, 2], [[-0.1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], atol=1e-12)
    assert_allclose(model.predict(Z, u=u), y, atol=1e-12)


def test_rollout_is_the_series_it_came_from_and_runs_compiled():
    z, t, u, _ = made(60, noise=0.1)
    model = SeasonalModel(2, nonlinear=[(0, (0, 1))], **PLAIN).fit(z, t=t, u=u)
    want = [z[0]]
    for i in range(59):
        want.append(model.predict(want[-1][None], u=u[i : i + 1])[0])
    assert_allclose(rom.rollout(model, z[0], t, u=u).z, want, rtol=1e-9)


@pytest.mark.parametrize("harmonics", [0, 1, 2, 3])
def test_the_polynomial_is_the_model(harmonics):
    rng = np.random.default_rng(2)
    Z, u = rng.normal(size=(150, 2)), season(rng.uniform(0, 12, 150), 12)
    model = SeasonalModel(harmonics, nonlinear=3).fit(Z, rng.normal(size=(150, 2)), u=u)
    polynomial = model.polynomial()
    terms = np.prod(np.hstack([Z, u])[:, None] ** polynomial.exponents, axis=2)
    assert_allclose(terms @ polynomial.coef.T, model.predict(Z, u=u), rtol=1e-9, atol=1e-12)


def test_harmonics_are_the_fourier_coefficients_of_monthly_regressions():
    """With six harmonics of monthly data there is one free coefficient for each month."""
    rng = np.random.default_rng(4)
    month = np.arange(600) % 12
    Z, by_month = rng.normal(size=(600, 1)), rng.normal(size=12)
    y = by_month[month][:, None] * Z + 0.1 * rng.normal(size=(600, 1))
    model = SeasonalModel(6, **PLAIN).fit(Z, y, u=season(month, 12))
    slope = np.array(
        [(Z[month == m] * y[month == m]).sum() / (Z[month == m] ** 2).sum() for m in range(12)]
    )
    one = np.ones((12, 1))
    assert_allclose(model.predict(one, u=season(np.arange(12), 12))[:, 0], slope, atol=1e-10)


def test_penalties_lead_to_persistence_and_to_constant_coefficients():
    z, t, u, _ = made(240, noise=0.3)
    stiff = SeasonalModel(2, ridge=1e9, seasonal_ridge=1e9).fit(z, t=t, u=u)
    assert_allclose(stiff.coef_[:, :, 0], np.eye(2), atol=1e-8)
    assert_allclose(stiff.coef_[:, :, 1:], 0, atol=1e-8)
    even = SeasonalModel(2, ridge=0.01, seasonal_ridge=1e9).fit(z, t=t, u=u)
    constant = SeasonalModel(0, ridge=0.01).fit(z, t=t)
    assert_allclose(even.coef_[:, :, 0], constant.coef_[:, :, 0], rtol=1e-5)


def test_without_harmonics_the_inputs_are_not_looked_at():
    z, t, u, _ = made(100, noise=0.3)
    model = SeasonalModel(0).fit(z, t=t, u=u)
    assert_array_equal(model.predict(z, u=u), model.predict(z, u=0 * u))


def test_units_do_not_matter():
    z, t, u, _ = made(240, noise=0.3)
    scale = np.array([1e-3, 1e2])
    options = {"nonlinear": 2, "threshold": 0.05, "seasonal_noise": True}
    one = SeasonalModel(1, **options).fit(z, t=t, u=u)
    other = SeasonalModel(1, **options).fit(z * scale, t=t, u=u)
    assert_allclose(other.predict(z * scale, u=u), one.predict(z, u=u) * scale, rtol=1e-6)


def test_threshold_keeps_only_the_true_product():
    z, t, u, _ = made(1200, noise=0.5, nonlinear=0.2)
    model = SeasonalModel(2, nonlinear=3, threshold=0.15).fit(z, t=t, u=u)
    kept = [tuple(model.exponents_[j]) for j in np.flatnonzero(model.coef_[0].any(axis=1))]
    assert kept == [(1, 0), (0, 1), (1, 1)]
    assert not model.coef_[1, 2:].any()


def test_noise_and_its_season_are_found():
    z, t, u, _ = made(6000, noise=0.3, noise_season=0.5)
    model = SeasonalModel(2, nonlinear=[(0, (0, 1))], seasonal_noise=True, **PLAIN)
    model.fit(z, t=t, u=u)
    log_variance = [np.log(0.3**2), 2 * 0.5, 0.0]
    assert_allclose(model.noise_season_, [log_variance, log_variance], atol=0.12)
    assert_allclose(model.noise_, np.eye(2), atol=0.06)


def test_weights_by_noise_bring_coefficients_nearer():
    errors = {False: [], True: []}
    for seed in range(10):
        z, t, u, A = made(240, noise=0.3, noise_season=1.0, nonlinear=0.0, seed=seed)
        for weighted in errors:
            model = SeasonalModel(2, seasonal_noise=weighted, **PLAIN).fit(z, t=t, u=u)
            errors[weighted].append(np.square(model.coef_ - A).mean())
    assert np.mean(errors[True]) < 0.8 * np.mean(errors[False])


def test_standard_errors_cover_the_truth():
    inside = []
    for seed in range(30):
        z, t, u, A = made(360, noise=0.3, nonlinear=0.0, seed=seed)
        model = SeasonalModel(2, **PLAIN).fit(z, t=t, u=u)
        inside.append(np.abs(model.coef_ - A) < 1.96 * model.stderr_)
    assert 0.92 < np.mean(inside) < 0.975


def test_ensemble_spreads_as_the_noise_of_the_season_does():
    z, t, u, _ = made(2400, noise=0.3, noise_season=0.5)
    model = SeasonalModel(1, seasonal_noise=True).fit(z, t=t, u=u)
    runs = model.ensemble(z[0], u[:8], n_members=4000, random_state=0)
    assert runs.shape == (4000, 8, 2)
    assert_allclose(runs[:, 1].mean(axis=0), model.predict(z[:1], u=u[:1])[0], atol=0.05)
    for start in (0, 6):
        first = model.ensemble(z[0], u[start : start + 2], n_members=4000, random_state=1)[:, 1]
        sd = 0.3 * np.exp(0.5 * np.cos(np.pi * start / 6))
        assert_allclose(first.std(axis=0), sd, rtol=0.1)


def test_the_root_is_that_of_the_noise_of_the_season():
    z, t, u, _ = made(600, noise=0.3, noise_season=0.5)
    model = SeasonalModel(1, seasonal_noise=True).fit(z, t=t, u=u)
    size = np.exp(model.noise_season_ @ [1.0, *u[3]] / 2)
    R = model.noise_root(u)[3]
    assert_allclose(R @ R.T, size[:, None] * model.noise_ * size, rtol=1e-9)
    plain = SeasonalModel(0).fit(z, t=t)
    runs = plain.ensemble(z[0], t[:3], n_members=4000, random_state=0)
    R = plain.noise_root()[0]
    assert_allclose(np.cov(runs[:, 1].T), R @ R.T, atol=0.1 * np.max(R @ R.T))


def test_pairs_do_not_reach_across_trajectories():
    z, t, u, _ = made(60, noise=0.2)
    twice = SeasonalModel(1).fit(
        np.r_[z, z], t=np.r_[t, t], u=np.r_[u, u], trajectory=np.repeat([0, 1], 60)
    )
    assert_allclose(twice.coef_, SeasonalModel(1).fit(z, t=t, u=u).coef_, rtol=1e-10)


def test_equations_name_the_season():
    z, t, u, _ = made(60, noise=0.2)
    model = SeasonalModel(1, names=["T", "h", "cos", "sin"]).fit(z, t=t, u=u)
    assert model.equations()[0].startswith("T[n+1] = ")
    assert " T cos " in model.equations()[0]


def test_bad_terms_and_missing_seasons_are_refused():
    z, t, u, _ = made(30)
    with pytest.raises(ValueError, match=r"u = season\(t, period\), but u has 0 columns"):
        SeasonalModel().fit(z, t=t)
    with pytest.raises(ValueError, match=r"coordinates 0 … 1, but one has the factors \(0, 2\)"):
        SeasonalModel(nonlinear=[(0, (0, 2))]).fit(z, t=t, u=u)
    with pytest.raises(ValueError, match="of equation 2 of 2"):
        SeasonalModel(nonlinear=[(2, (0, 1))]).fit(z, t=t, u=u)


def test_save_and_load_give_the_same_bits(tmp_path):
    z, t, u, _ = made(60, noise=0.2)
    dynamics = SeasonalModel(2, nonlinear=[(0, (0, 1))], seasonal_noise=True)
    model = rom.ROM(rom.Identity(), dynamics).fit(z, t=t, u=u)
    model.save(tmp_path / "seasonal.nc")
    run = model.rollout(z[0], t[:13], u=u[:13])
    again = rom.load(tmp_path / "seasonal.nc").rollout(z[0], t[:13], u=u[:13])
    assert_array_equal(run.latent, again.latent)


FITTED = ("coef_", "stderr_", "noise_", "noise_season_")


def same(one, other, *, rtol=1e-9):
    for name in FITTED:
        assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, atol=1e-11)


def two_records(inputs):
    """Two noisy records, one longer than the other, and both."""
    records = []
    for seed, n in ((0, 240), (1, 250)):
        z, t, u, _ = made(n, noise=0.3, noise_season=0.5, seed=seed)
        records.append({"Z": z, "t": t} | ({"u": u} if inputs else {}))
    both = {name: np.concatenate([record[name] for record in records]) for name in records[0]}
    return records, both | {"trajectory": np.repeat([0, 1], [240, 250])}


@pytest.mark.parametrize(
    "other",
    [
        {"ridge": 0.3, "seasonal_ridge": 2.0},
        {"threshold": 0.2},
        {"seasonal_noise": True, "names": ["a", "b", "cos", "sin"]},
        {},
    ],
)
def test_other_parameters_need_no_other_fit(other):
    _, both = two_records(inputs=True)
    model = SeasonalModel(2, nonlinear=3).fit(**both)
    again = model.refit(**other)
    same(again, clone(model).set_params(**other).fit(**both))
    assert again.equations() != model.equations() or not other
    for name, value in {"harmonics": 1, "nonlinear": 2}.items():
        with pytest.raises(ValueError, match=f"for other {name} the rows have to be summed again"):
            model.refit(**{name: value})


@pytest.mark.parametrize(("harmonics", "inputs"), [(0, False), (0, True), (2, True)])
def test_merged_models_are_the_model_of_all_trajectories(harmonics, inputs):
    records, both = two_records(inputs)
    model = SeasonalModel(harmonics, nonlinear=2, threshold=0.1, seasonal_noise=True)
    one, two = (clone(model).fit(**record) for record in records)
    whole = clone(model).fit(**both)
    for merged in (one.merge(two), two.merge(one)):
        same(merged, whole)
        assert (merged.dt_, merged.bound_) == (whole.dt_, whole.bound_)
    with pytest.raises(ValueError, match="merge needs models of one kind"):
        one.merge(SeasonalModel(harmonics, nonlinear=3).fit(**records[1]))


@pytest.mark.parametrize("period", [12, 365.25])
def test_parts_add_to_the_whole(period):
    """Whether the rows of a season come at once or one by one."""
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(900, 2)), season(np.arange(900), period)
    y = (1 + 0.5 * u[:, :1]) * Z[:, :1] + np.exp(u[:, 1:]) * rng.normal(size=(900, 3))
    model = SeasonalModel(1, nonlinear=2, seasonal_noise=True)
    whole, parts = clone(model).fit(Z, y, u=u), clone(model)
    for rows in (slice(0, 1), slice(1, 30), slice(30, 700), slice(700, None)):
        parts.partial_fit(Z[rows], y[rows], u=u[rows])
    same(parts, whole)


def test_what_is_kept_does_not_grow_with_the_rows():
    rng = np.random.default_rng(0)
    Z, u = rng.normal(size=(20_000, 2)), season(rng.uniform(0, 1, 20_000), 1)
    first = SeasonalModel(1).partial_fit(Z[:10_000], Z[:10_000], u=u[:10_000])
    before = sum(kept.size for kept in first.normal_)
    first.partial_fit(Z[10_000:], Z[10_000:], u=u[10_000:])
    assert sum(kept.size for kept in first.normal_) == before < 10_000


def weighted_by_hand(Z, y, u, variance):
    """Least squares with one coefficient for each wave, rows weighted by 1 / variance."""
    A = (Z[:, :, None] * np.column_stack([np.ones(len(u)), u])[:, None]).reshape(len(Z), -1)
    return np.stack(
        [
            np.linalg.lstsq(A / s[:, None], v / s, rcond=None)[0].reshape(-1, 3)
            for v, s in zip(y.T, np.sqrt(variance).T, strict=True)
        ]
    )


@pytest.mark.parametrize(("period", "atol"), [(12, 1e-8), (365.25, 0.005)])
def test_weights_are_those_of_each_row(period, atol):
    """Of months to rounding; of days as nearly as a 64th of the cycle has one variance."""
    rng = np.random.default_rng(3)
    Z, u = rng.normal(size=(4000, 2)), season(np.arange(4000), period)
    y = (1 + 0.5 * u[:, :1]) * Z + np.exp(0.5 * u[:, 1:]) * rng.normal(size=(4000, 2))
    waves = np.column_stack([np.ones(4000), u])
    first = SeasonalModel(1, **PLAIN).fit(Z, y, u=u)
    variance = np.exp(waves @ first.noise_season_.T)
    squares = (y - first.predict(Z, u=u)) ** 2
    assert_allclose(waves.T @ (squares / variance - 1) / 4000, 0, atol=atol)  # it is most likely
    model = first.refit(seasonal_noise=True)
    assert_allclose(model.coef_, weighted_by_hand(Z, y, u, variance), atol=atol)


def test_a_loaded_model_learns_on(tmp_path):
    records, both = two_records(inputs=True)
    dynamics = SeasonalModel(2, nonlinear=[(0, (0, 1))], seasonal_noise=True)
    z, t, u = records[0].values()
    saved = rom.ROM(rom.Identity(), dynamics).fit(z, t=t, u=u)
    saved.save(tmp_path / "seasonal.nc")
    loaded, kept = rom.load(tmp_path / "seasonal.nc").dynamics_, saved.dynamics_
    assert_array_equal(loaded.refit(ridge=1.0).coef_, kept.refit(ridge=1.0).coef_)
    both["Z"] = np.concatenate([saved.latent_, records[1]["Z"]])
    same(loaded.merge(clone(dynamics).fit(**records[1])), clone(dynamics).fit(**both))
    del loaded.normal_  # which older files do not have
    assert_array_equal(loaded.predict(z, u=u), kept.predict(z, u=u))
    with pytest.raises(ValueError, match="keeps no sums"):
        loaded.refit(ridge=1.0)
