import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.compress import gappy_pod
from rom.compress.gappy_pod import GappyPOD
from rom.compress.pod import POD


def field(n_time=80, n_space=150, rank=3, noise=0.3, seed=0):
    """Snapshots of known rank and noise, with isolated gaps and a band that moves."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_time, rank)) @ rng.normal(size=(rank, n_space)) + 5.0
    X = signal + noise * rng.normal(size=signal.shape)
    hidden = rng.random(X.shape) < 0.2
    hidden |= (np.arange(n_space) - 7 * np.arange(n_time)[:, None]) % n_space < n_space // 4
    return X, signal, hidden


def with_gaps(X, hidden):
    return np.where(hidden, np.nan, X)


def rms(values):
    return np.sqrt(np.mean(values**2))


@parametrize_with_checks([GappyPOD()])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("shape", [(60, 100), (150, 40)])
def test_snapshots_of_exact_rank_are_recovered_from_half_of_them(shape):
    X, _, hidden = field(*shape, noise=0.0)
    fitted = GappyPOD(random_state=0).fit(with_gaps(X, hidden))
    assert fitted.rank_ == 3
    np.testing.assert_allclose(fitted.reconstruct(with_gaps(X, hidden)), X, atol=1e-6)
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(fitted.mean_, X.mean(axis=0), atol=1e-6)
    outside = centred - centred @ fitted.components_.T @ fitted.components_
    assert np.abs(outside).max() < 1e-6
    s = np.linalg.svd(centred, compute_uv=False)[:3]
    np.testing.assert_allclose(fitted.singular_values_, s, rtol=1e-5)


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_rank_and_noise_are_found_and_gaps_are_filled_below_the_noise(noise):
    X, signal, hidden = field(noise=noise)
    fitted = GappyPOD(random_state=0).fit(with_gaps(X, hidden))
    assert fitted.rank_ == 3
    assert fitted.noise_variance_ == pytest.approx(noise**2, rel=0.05)
    error = fitted.reconstruct(with_gaps(X, hidden)) - signal
    # A cell is seen in n_time * 60 % of the rows, and has a mean and three loadings.
    assert rms(error[hidden]) < 1.5 * noise * np.sqrt(4 / (0.6 * 80))


@pytest.mark.parametrize(("n_components", "seed"), [(None, 0), (None, 1), (2, 2)])
def test_95_percent_bands_cover_the_hidden_cells(seed, n_components):
    X, _, hidden = field(seed=seed, noise=0.5)
    gappy = with_gaps(X, hidden)
    fitted = GappyPOD(n_components, random_state=seed).fit(gappy)
    error = np.abs(fitted.reconstruct(gappy) - X)
    covered = (error < 1.96 * np.sqrt(fitted.variance(gappy)))[hidden].mean()
    assert 0.90 < covered < 0.98


def test_bands_cover_where_what_no_mode_holds_is_correlated_between_neighbours():
    X, _, hidden = field(n_time=60, n_space=300, noise=0.0)
    rng = np.random.default_rng(0)
    local = np.repeat(rng.normal(size=(60, 30)), 10, axis=1)  # more of it than rows can resolve
    X += 0.7 * local + 0.3 * rng.normal(size=X.shape)
    gappy = with_gaps(X, hidden)
    fitted = GappyPOD(random_state=0).fit(gappy)
    error = np.abs(fitted.reconstruct(gappy) - X)[hidden]
    assert 0.90 < np.mean(error < 1.96 * np.sqrt(fitted.variance(gappy))[hidden]) < 0.98
    assert fitted.correlated_cells_ > 1
    fitted.correlated_cells_ = 1
    assert np.mean(error < 1.96 * np.sqrt(fitted.variance(gappy))[hidden]) < 0.90


def test_few_modes_beat_filling_with_the_mean_and_are_near_the_complete_projection():
    X, _, hidden = field(rank=6, noise=0.3)
    gappy = with_gaps(X, hidden)
    fitted, complete = GappyPOD(4, random_state=0).fit(gappy), POD(4).fit(X)
    assert len(fitted.fill_components_) == 6
    error = rms((fitted.inverse_transform(fitted.transform(gappy)) - X)[hidden])
    best = rms((complete.inverse_transform(complete.transform(X)) - X)[hidden])
    assert error < 1.2 * best < 0.8 * rms((X - X.mean(axis=0))[hidden])
    assert rms((fitted.reconstruct(gappy) - X)[hidden]) < error


def slow_field(memory=0.9, seed=0):
    """Local patterns that change slowly, and a wide band that hides now these and now those."""
    rng = np.random.default_rng(seed)
    n_time, n_space, rank = 150, 120, 4
    z = rng.normal(size=(n_time, rank))
    for t in range(1, n_time):
        z[t] = memory * z[t - 1] + np.sqrt(1 - memory**2) * z[t]
    centres = np.arange(n_space) - 30 * np.arange(rank)[:, None]
    patterns = np.exp(-0.5 * ((centres % n_space - n_space / 2) / 10) ** 2)
    X = 3 * z @ patterns + 0.3 * rng.normal(size=(n_time, n_space)) + 2.0
    hidden = (np.arange(n_space) - 37 * np.arange(n_time)[:, None]) % n_space < 48
    return X, hidden


def row_by_row(fitted, gappy):
    """Filled with what each row says alone."""
    return np.concatenate([fitted.reconstruct(row[None]) for row in gappy])


def test_rows_before_and_after_fill_a_gap_that_no_row_can_and_bands_still_cover():
    X, hidden = slow_field()
    gappy = with_gaps(X, hidden)
    fitted = GappyPOD(4, random_state=0).fit(gappy)
    np.testing.assert_allclose(fitted.memory_, 0.9, atol=0.15)
    error = (fitted.reconstruct(gappy) - X)[hidden]
    assert rms(error) < 0.7 * rms((row_by_row(fitted, gappy) - X)[hidden])
    assert 0.90 < np.mean(np.abs(error) < 1.96 * np.sqrt(fitted.variance(gappy)[hidden])) < 0.98


def test_rows_in_no_order_have_no_memory_and_lose_nothing_by_it():
    X, hidden = slow_field()
    order = np.random.default_rng(1).permutation(len(X))
    gappy = with_gaps(X, hidden)[order]
    fitted = GappyPOD(4, random_state=0).fit(gappy)
    assert fitted.memory_.max() < 3 / np.sqrt(len(X))
    error = rms((fitted.reconstruct(gappy) - X[order])[hidden[order]])
    assert error < 1.02 * rms((row_by_row(fitted, gappy) - X[order])[hidden[order]])


def test_no_memory_reaches_into_another_run():
    X, hidden = slow_field()
    gappy = with_gaps(X, hidden)
    fitted = GappyPOD(4, random_state=0).fit(gappy)
    runs = np.repeat(["a", "b"], 75)
    for method in (fitted.reconstruct, fitted.variance):
        apart = np.concatenate([method(gappy[:75]), method(gappy[75:])])
        np.testing.assert_allclose(method(gappy, trajectory=runs), apart, atol=1e-12)
        assert np.abs(method(gappy) - apart).max() > 1e-3
    alone = GappyPOD(4, random_state=0).fit(gappy, np.arange(len(gappy)))
    np.testing.assert_array_equal(alone.memory_, 0.0)
    np.testing.assert_allclose(alone.reconstruct(gappy), row_by_row(alone, gappy), atol=1e-9)
    with pytest.raises(ValueError, match="trajectory"):
        fitted.reconstruct(gappy, trajectory=runs[:-1])


def test_a_missing_time_lies_between_its_neighbours():
    X, hidden = slow_field()
    fitted = GappyPOD(4, random_state=0).fit(with_gaps(X, hidden))
    around = X[9:12].copy()
    around[1] = np.nan
    error = rms(fitted.reconstruct(around)[1] - X[10])
    assert error < 0.5 * rms(fitted.mean_ - X[10])
    spread = np.mean(fitted.variance(around), axis=1)
    assert spread[[0, 2]].max() < spread[1] < fitted.variance(around[1:2]).mean()


def test_modes_are_orthonormal_and_of_fixed_sign():
    X, _, hidden = field()
    C = GappyPOD(random_state=0).fit(with_gaps(X, hidden)).fill_components_
    np.testing.assert_allclose(C @ C.T, np.eye(len(C)), atol=1e-12)
    assert (C[np.arange(len(C)), np.abs(C).argmax(axis=1)] > 0).all()


def test_complete_rows_give_the_projection_shrunk_as_documented():
    X, _, hidden = field()
    fitted = GappyPOD(2, random_state=0).fit(with_gaps(X, hidden))
    noise = fitted.correlated_cells_ * fitted.noise_variance_
    shrunk = fitted.latent_variance_ / (fitted.latent_variance_ + noise)
    projection = (X - fitted.mean_) @ fitted.components_.T
    np.testing.assert_allclose(fitted.transform(X), projection * shrunk, atol=1e-9)
    assert shrunk.min() > 0.95


def test_a_row_without_any_observed_cell_gives_the_prior():
    X, _, hidden = field()
    fitted = GappyPOD(random_state=0).fit(with_gaps(X, hidden))
    nothing = np.full((1, X.shape[1]), np.nan)
    np.testing.assert_array_equal(fitted.transform(nothing), np.zeros((1, fitted.rank_)))
    np.testing.assert_array_equal(fitted.reconstruct(nothing)[0], fitted.mean_)
    C, v = fitted.fill_components_, fitted.fill_variance_
    expected = v @ (C**2 + fitted.fill_uncertainty_)
    expected += fitted.noise_variance_ + fitted.mean_uncertainty_
    np.testing.assert_allclose(fitted.variance(nothing)[0], expected, rtol=1e-9)


def test_latents_maximise_the_posterior():
    X, _, hidden = field()
    fitted = GappyPOD(random_state=0).fit(with_gaps(X, hidden))
    noise = fitted.correlated_cells_ * fitted.noise_variance_
    seen = ~hidden[0]
    z = fitted.transform(with_gaps(X, hidden)[:1])[0]
    misfit = (X[0] - fitted.mean_ - z @ fitted.components_)[seen]
    slope = fitted.components_[:, seen] @ misfit / noise - z / fitted.latent_variance_
    np.testing.assert_allclose(slope, 0.0, atol=1e-8)


def test_observed_cells_are_kept():
    X, _, hidden = field()
    gappy = with_gaps(X, hidden)
    filled = GappyPOD(random_state=0).fit(gappy).reconstruct(gappy)
    np.testing.assert_array_equal(filled[~hidden], X[~hidden])


def test_dask_gives_the_same_and_input_is_not_written_to(monkeypatch):
    X, _, hidden = field()
    gappy = with_gaps(X, hidden)
    before = gappy.copy()
    fitted = GappyPOD(random_state=0).fit(gappy)
    lazy = GappyPOD(random_state=0).fit(da.from_array(gappy, chunks=(17, 31)))
    np.testing.assert_array_equal(lazy.components_, fitted.components_)
    np.testing.assert_array_equal(gappy, before)
    monkeypatch.setattr(gappy_pod.gram, "BLOCK_BYTES", 8 * 150 * 7)
    np.testing.assert_allclose(
        lazy.transform(da.from_array(gappy, chunks=(17, 31))), fitted.transform(gappy), atol=1e-9
    )
    monkeypatch.setattr(gappy_pod, "LARGEST_LAZY_BYTES", 1000)
    with pytest.raises(ValueError, match="loads a dask array of at most"):
        GappyPOD().fit(da.from_array(gappy))


def test_float32_stays_float32_and_a_seeded_refit_gives_the_same_bits():
    X, _, hidden = field()
    gappy = with_gaps(X, hidden).astype(np.float32)
    fitted, again = (GappyPOD(random_state=3).fit(gappy) for _ in range(2))
    Z = fitted.transform(gappy)
    assert Z.dtype == fitted.components_.dtype == fitted.reconstruct(gappy).dtype == np.float32
    np.testing.assert_array_equal(fitted.fill_components_, again.fill_components_)
    assert fitted.held_out_error_ == again.held_out_error_
    double = GappyPOD(random_state=3).fit(gappy.astype(float)).transform(gappy.astype(float))
    np.testing.assert_allclose(Z, double, rtol=1e-3, atol=1e-3)


def test_columns_may_have_names():
    X, _, hidden = field(n_space=20)
    frame = pd.DataFrame(with_gaps(X, hidden), columns=[f"cell {i}" for i in range(20)])
    named, plain = GappyPOD(2, random_state=0), GappyPOD(2, random_state=0)
    np.testing.assert_array_equal(
        named.fit(frame).reconstruct(frame),
        plain.fit(frame.to_numpy()).reconstruct(frame.to_numpy()),
    )


def missing_columns():
    X, _, _ = field()
    X[:, [4, 9]] = np.nan
    return X


@pytest.mark.parametrize(
    ("X", "n", "message"),
    [
        (missing_columns(), None, "2 of 150 are NaN at all times, the first of them column 4"),
        (np.array([[1.0, np.nan], [np.nan, 2.0]]), None, "none has two"),
        (np.array([[1.0, np.nan, 2.0], [1.0, 3.0, 2.0]]), None, "constant"),
        (field()[0], 80, r"n_components=80 must be at most min\(n_time, n_space\) - 1 = 79"),
        (np.array([[1.0, np.inf], [2.0, np.nan]]), None, "infinity"),
        (da.from_array(np.array([[1.0, np.inf], [2.0, np.nan]])), None, "infinity"),
        (field()[0], 0, "n_components"),
        (field(noise=0.0)[0], 5, "n_components=5, but the snapshots hold only 3 modes"),
    ],
)
def test_bad_input_is_named(X, n, message):
    with pytest.raises(ValueError, match=message):
        GappyPOD(n).fit(X)
