import warnings

import numpy as np
import pytest
import sklearn
import xarray as xr
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import rom
import rom.data.labels
from rom.data.split import ForwardChaining, LeaveOneTrajectoryOut
from rom.rollout import RolloutError


@parametrize_with_checks([rom.ROM(), rom.ROM(rom.Identity(), rom.DMD(ridge=1e-6))])
def test_sklearn_contract(estimator, check):
    check(estimator)


def travelling_wave(n_time=200, n_space=48, start="2001-01-01"):
    """cos(kx − ωt): rank two, and exactly linear in its latent coordinates; period 40 days."""
    t = np.arange(n_time)
    x = np.linspace(0, 2 * np.pi, n_space, endpoint=False)
    values = 280 + 5 * np.cos(x - 2 * np.pi * t[:, None] / 40)
    time = np.datetime64(start, "ns") + t * np.timedelta64(1, "D")
    attrs = {"units": "K", "long_name": "a wave"}
    return xr.DataArray(
        values, dims=("time", "x"), coords={"time": time, "x": x}, name="wave", attrs=attrs
    )


@pytest.fixture(params=["DMD", "OperatorInference", "SINDy"])
def dynamics(request):
    return {
        "DMD": rom.DMD(),
        "OperatorInference": rom.OperatorInference("A"),
        "SINDy": rom.SINDy(rom.PolynomialLibrary(1), threshold=0.01),
    }[request.param]


def test_rollout_of_an_exact_model_is_the_truth_far_past_training(dynamics):
    truth = travelling_wave(2000)
    model = rom.ROM(rom.POD(2), dynamics).fit(truth[:120])
    forecast = model.rollout(truth[0], np.arange(2000.0))
    assert forecast.attrs["status"] == "COMPLETED"
    # Seventh-order differences leave 2e-8 of phase speed, over 2000 days.
    np.testing.assert_allclose(forecast["wave"], truth, atol=1e-3)
    assert forecast["wave"].dims == truth.dims
    assert forecast["wave"].attrs == truth.attrs
    np.testing.assert_array_equal(forecast.time, truth.time)
    np.testing.assert_array_equal(forecast.x, truth.x)


def test_predict_is_one_sampling_step_for_every_row(dynamics):
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2), dynamics).fit(truth)
    later = model.predict(truth[:-1])
    np.testing.assert_allclose(later, truth[1:], atol=1e-6)
    np.testing.assert_array_equal(later.time, truth.time[1:])


def test_decode_inverts_encode_within_the_subspace(dynamics):
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2), dynamics).fit(truth)
    latent = model.encode(truth)
    assert latent.dims == ("time", "mode")
    xr.testing.assert_allclose(model.decode(latent), truth, rtol=1e-12)


def test_numpy_in_numpy_out():
    truth = travelling_wave().values
    model = rom.ROM(rom.POD(2)).fit(truth)
    assert isinstance(model.encode(truth), np.ndarray)
    assert isinstance(model.decode(model.encode(truth)), np.ndarray)
    assert isinstance(model.predict(truth), np.ndarray)
    np.testing.assert_allclose(model.predict(truth[:-1]), truth[1:], atol=1e-9)
    forecast = model.rollout(truth[0], t=np.arange(50))
    np.testing.assert_allclose(forecast["x"], truth[:50], atol=1e-9)


def test_numpy_and_xarray_give_the_same_model():
    truth = travelling_wave()
    labelled, plain = rom.ROM(rom.POD(2)).fit(truth), rom.ROM(rom.POD(2)).fit(truth.values)
    np.testing.assert_array_equal(labelled.latent_, plain.latent_)


def test_lazy_data_give_the_same_model(monkeypatch):
    truth = travelling_wave()
    eager = rom.ROM(rom.POD(2)).fit(truth)
    monkeypatch.setattr(rom.data.labels, "LAZY_BYTES", 0)
    lazy = rom.ROM(rom.POD(2)).fit(truth.chunk({"time": 33}))
    # The two modes of a wave carry equal energy, so only what they span is determined.
    np.testing.assert_allclose(lazy.predict(truth), eager.predict(truth), atol=1e-6)
    assert (eager.compressor_.solver_, lazy.compressor_.solver_) == ("svd", "incremental")
    large = rom.ROM(rom.POD(2)).fit(truth.values)
    np.testing.assert_allclose(large.predict(truth.values), eager.predict(truth), atol=1e-6)


def test_labels_along_time_are_kept():
    wave = travelling_wave(60)
    runs = rom.open_snapshots([wave, wave[:40]], trajectories=True)
    model = rom.ROM(rom.POD(2)).fit(runs)
    for labelled in (model.encode(runs), model.decode(model.encode(runs)), model.predict(runs)):
        np.testing.assert_array_equal(labelled.trajectory, runs.trajectory)


def test_trajectories_of_unequal_length_are_not_joined():
    t = np.arange(0, 10, 0.1)
    rng = np.random.default_rng(0)
    lift = rng.normal(size=(2, 30))
    runs = [
        np.exp(-0.1 * s)[:, None] * np.c_[np.cos(s + p), np.sin(s + p)]
        for s, p in ((t, 0.0), (t[:60], 1.0), (t[:33], 4.0))
    ]
    labels = np.repeat([3, 1, 2], [len(r) for r in runs])
    times = np.concatenate([t, t[:60], t[:33]])
    model = rom.ROM(
        rom.POD(2, center=False), rom.OperatorInference("A"), preprocess=rom.Scale(center=False)
    ).fit(np.concatenate(runs) @ lift, t=times, trajectory=labels)
    eig = np.linalg.eigvals(model.dynamics_.A_)
    np.testing.assert_allclose(np.sort_complex(eig), [-0.1 - 1j, -0.1 + 1j], atol=1e-6)


def test_defaults_keep_a_tenth_of_the_times_as_modes_at_most():
    noise = np.random.default_rng(0).normal(size=(100, 80))
    assert rom.ROM().fit(noise).compressor_.rank_ == 10
    assert rom.ROM().fit(travelling_wave()).compressor_.rank_ == 2


def test_parts_given_are_cloned_and_data_left_alone():
    truth = travelling_wave()
    before = truth.copy(deep=True)
    parts = rom.POD(2), rom.DMD(), rom.Scale()
    rom.ROM(parts[0], parts[1], preprocess=parts[2]).fit(truth)
    assert not any(k.endswith("_") for part in parts for k in vars(part))
    xr.testing.assert_identical(truth, before)


def test_monthly_climatology_is_removed_and_added_back():
    time = xr.date_range("1980-01-01", periods=240, freq="MS", use_cftime=False)
    season = 10 * np.cos(2 * np.pi * (time.month.values - 1) / 12)
    wave = np.cos(np.arange(240)[:, None] * 0.5 - np.linspace(0, 6, 20))
    truth = xr.DataArray(
        season[:, None] + wave, dims=("time", "x"), coords={"time": time}, name="sst"
    )
    model = rom.ROM(rom.POD(2), preprocess=rom.Scale(climatology="month")).fit(truth[:180])
    forecast = model.rollout(truth[179], np.arange(25))
    np.testing.assert_array_equal(forecast.time, truth.time[179:204])
    np.testing.assert_allclose(forecast["sst"], truth[179:204], atol=0.5)
    with pytest.raises(ValueError, match="calendar times"):
        model.decode(np.zeros((3, 2)))


def test_time_of_the_start_is_where_the_forecast_begins():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2)).fit(truth)
    by_date = model.rollout(truth[10], truth.time.values[10:20])
    by_number = model.rollout(truth[10:11], np.arange(10))
    xr.testing.assert_identical(by_date, by_number)
    with pytest.raises(ValueError, match=r"t\[0\] must be the time of x0"):
        model.rollout(truth[10], truth.time.values[11:20])


def test_score_is_one_for_the_truth_and_very_low_for_a_model_that_blows_up():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2)).fit(truth[:120])
    assert model.score(truth[120:]) == pytest.approx(1.0, abs=1e-9)
    model.dynamics_.A_ = 10 * model.dynamics_.A_
    assert -1e4 <= model.score(truth[100:]) < -1e3


def test_inputs_go_through_fit_rollout_and_score():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(300, 1))
    z = np.zeros((300, 1))
    for i in range(299):
        z[i + 1] = 0.9 * z[i] + 0.5 * u[i]
    X = z @ rng.normal(size=(1, 7))
    model = rom.ROM(rom.POD(1, center=False), preprocess=rom.Scale(center=False, scale=False)).fit(
        X[:200], u=u[:200]
    )
    assert model.dynamics_.A_.item() == pytest.approx(0.9)
    np.testing.assert_allclose(
        model.rollout(X[200], np.arange(100), u=u[200:])["x"], X[200:], atol=1e-10
    )
    np.testing.assert_allclose(model.predict(X[200:-1], u=u[200:-1]), X[201:], atol=1e-10)
    assert model.score(X[200:], u=u[200:]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="fitted with 1 inputs, but u was not given"):
        model.rollout(X[0], np.arange(3))


def test_rollout_that_fails_says_so():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2)).fit(truth)
    model.dynamics_.A_ = 10 * model.dynamics_.A_
    with pytest.raises(RolloutError, match="left the bound"):
        model.rollout(truth[0], np.arange(50))
    partial = model.rollout(truth[0], np.arange(50), throw=False)
    assert partial.attrs["status"] == "LEFT_BOUND"
    assert partial.sizes["time"] == 50
    after = (partial.time > np.datetime64(partial.attrs["t_end"])).values
    assert 0 < after.sum() < 50
    assert np.isnan(partial["wave"].values[after]).all()
    assert np.isfinite(partial["wave"].values[~after]).all()


def test_grid_search_routes_times_and_picks_the_right_rank():
    truth = travelling_wave()
    t = np.arange(200.0)
    rng = np.random.default_rng(0)
    X = truth.values + 0.01 * rng.normal(size=truth.shape)
    with sklearn.config_context(enable_metadata_routing=True):
        model = rom.ROM(rom.POD(1), rom.OperatorInference("cA"))
        model.set_fit_request(t=True).set_score_request(t=True)
        search = GridSearchCV(
            model, {"compressor__n_components": [1, 2]}, cv=ForwardChaining(3), error_score="raise"
        ).fit(X, t=t)
    assert search.best_params_ == {"compressor__n_components": 2}
    assert search.best_score_ > 0.99


def test_cross_validation_takes_xarray():
    # Four stretches of one period each: the mean is the equilibrium, as DMD takes it to be.
    scores = cross_val_score(rom.ROM(rom.POD(2)), travelling_wave(160), cv=ForwardChaining(3))
    np.testing.assert_allclose(scores, 1, atol=1e-9)


def test_trajectories_reach_the_splitter_with_and_without_routing():
    t = np.tile(np.arange(50.0), 3)
    labels = np.repeat([0, 1, 2], 50)
    X = np.exp(-0.05 * t)[:, None] * np.array([1.0, 2.0, 3.0]) * (1 + labels)[:, None]
    model = rom.ROM(rom.Identity(), preprocess=rom.Scale(center=False))
    plain = cross_val_score(model, X, cv=LeaveOneTrajectoryOut(), groups=labels)
    assert (plain > 0.99).all()  # fit was not told, and paired across the ends
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(trajectory=True).set_score_request(trajectory=True)
        routed = cross_val_score(
            model, X, cv=LeaveOneTrajectoryOut(), params={"trajectory": labels}
        )
    np.testing.assert_allclose(routed, 1, atol=1e-9)


def test_parts_stand_in_a_pipeline():
    X = travelling_wave().values
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = Pipeline(
            [("pod", rom.POD(2)), ("dynamics", rom.OperatorInference("A").set_fit_request(t=True))]
        ).fit(X, t=np.arange(200.0))
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(pipeline[-1].A_).imag),
        [-2 * np.pi / 40, 2 * np.pi / 40],
        rtol=1e-6,
    )


def test_clone_and_set_params():
    model = rom.ROM(rom.POD(2), rom.DMD())
    assert clone(model).get_params()["compressor__n_components"] == 2
    assert clone(model).set_params(compressor__n_components=3).compressor.n_components == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da[:2], "at least 3 snapshots"),
        (lambda da: da * 0 + 1, "does not vary"),
        (lambda da: da.where((da.time != da.time[7]) | (da.x != da.x[5])), "wave.*2001-01-08"),
        (lambda da: da.isel(time=[0, 1, 1, 2, 3]), "2001-01-02"),
        (lambda da: da.isel(time=[0, 2, 1, 3, 4]), "2001-01-0"),
        (lambda da: da.isel(time=[0, 1, 3, 6, 10, 15, 21, 28, 36]), "even"),
    ],
)
def test_bad_snapshots_are_refused_by_place(change, message):
    with pytest.raises(ValueError, match=message):
        rom.ROM(rom.POD(1)).fit(change(travelling_wave()))


def test_uneven_times_suit_a_continuous_model():
    truth = travelling_wave(400)
    rng = np.random.default_rng(0)
    uneven = truth.isel(time=np.flatnonzero(rng.random(400) < 0.7))
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(uneven)
    speed = np.linalg.eigvals(model.dynamics_.A_).imag.max()
    assert speed == pytest.approx(2 * np.pi / 40, rel=1e-3)


def test_changed_grid_or_units_are_refused():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2)).fit(truth)
    with pytest.raises(ValueError, match="x"):
        model.encode(truth.assign_coords(x=truth.x + 1))
    with pytest.raises(ValueError, match="degC"):
        model.encode(truth.assign_attrs(units="degC"))
    with pytest.raises(TypeError, match="bring their own time"):
        model.to_rows(truth, t=np.arange(200))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda da: da.assign_coords(time=("time", 1e3 * T, {"units": "ms"})),
            "'ms', expected 's'",
        ),
        (lambda da: da.assign_coords(level=850.0), "level"),
        (lambda da: da.assign_coords(x=("x", da.x.values, {"units": "km"})), "'km', expected 'm'"),
    ],
)
def test_changed_time_units_level_or_space_units_are_refused(change, message):
    wave = numeric_wave().assign_coords(level=500.0)
    model = rom.ROM(rom.POD(2)).fit(wave)
    with pytest.raises(ValueError, match=message):
        model.encode(change(wave))


T = 0.1 * np.arange(200)


def numeric_wave():
    """The wave on numeric times in seconds and places in metres."""
    coords = {"time": ("time", T, {"units": "s"}), "x": ("x", np.arange(48.0), {"units": "m"})}
    return xr.DataArray(travelling_wave().values, coords, ("time", "x"), name="wave")


def test_decode_goes_by_the_names_of_dimensions():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2)).fit(truth)
    latent = model.encode(truth)
    xr.testing.assert_identical(model.decode(latent.transpose()), model.decode(latent))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda da: da.rename("latent"), "'latent' is taken"),
        (lambda da: da.rename(x="mode"), "'mode' is taken"),
        (lambda da: da.rename("x"), "named like its coordinate"),
        (lambda da: da.rename("a/b").to_dataset(), "'/'"),
        (lambda da: da.expand_dims(trajectory=2), "'trajectory' is a dimension"),
        (lambda da: with_bounds(da), "holds the bounds"),
    ],
)
def test_names_that_cannot_be_kept_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        rom.ROM().fit(change(travelling_wave()))


def with_bounds(da):
    edges = np.stack([np.arange(200.0), np.arange(1.0, 201)], axis=1)
    data = da.to_dataset().assign(time_bnds=(("time", "nv"), edges))
    data.time.attrs["bounds"] = "time_bnds"
    return data


def test_one_trajectory_selected_by_its_label_is_plain_data():
    wave = travelling_wave().assign_coords(trajectory=3)
    assert rom.ROM(rom.POD(2)).fit(wave).latent_trajectory_.max() == 0


def test_a_state_without_time_starts_at_the_first_time_asked_for():
    time = xr.date_range("1980-01-01", periods=240, freq="MS", use_cftime=False)
    waves = np.cos(np.arange(240)[:, None] * 0.5 - np.linspace(0, 6, 20))
    truth = xr.DataArray(waves, dims=("time", "x"), coords={"time": time}, name="sst")
    model = rom.ROM(rom.POD(2), preprocess=rom.Scale(climatology="month")).fit(truth)
    xr.testing.assert_identical(
        model.rollout(
            truth[-1].drop_vars("time"), time[-1:].append(time[-1:] + np.timedelta64(31, "D"))
        ),
        model.rollout(truth[-1], np.arange(2)),
    )


def test_parameters_set_after_the_fit_change_nothing_fitted():
    truth = travelling_wave()
    model = rom.ROM(rom.POD(2), preprocess=rom.Scale(climatology="month")).fit(truth)
    before = model.encode(truth)
    model.set_params(preprocess=None)
    xr.testing.assert_identical(model.encode(truth), before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_plain_arrays_are_refused_by_row_and_column(bad):
    X = travelling_wave().values
    X[7, 2] = bad
    with pytest.raises(ValueError, match=rf"1 values, the first \({bad}\) in row 7, column 2"):
        rom.ROM().fit(X)


def test_score_of_a_latent_model_says_where_rollouts_are_scored():
    Z = np.eye(5)
    with pytest.raises(ValueError, match=r"needs the targets y.*rom.ROM"):
        rom.DMD(ridge=1.0).fit(Z).score(Z)


def test_check_against_full_models():
    chaos = rom.fom.Lorenz63()
    t = np.arange(0, 40, 0.01)
    X = chaos.simulate(chaos.initial_state(), t)
    sindy = rom.SINDy(rom.PolynomialLibrary(2), threshold=0.05)
    model = rom.ROM(rom.Identity(), sindy, preprocess=rom.Scale(scale=False)).fit(X)
    report = rom.check(model, chaos, t=np.arange(0, 4, 0.01), n_starts=3)
    accurate = "stable and accurate to the horizon, lead time 3.99"
    seen = "checked on data that the model was fitted to"
    assert report.verdict == f"{accurate}; {seen}"
    assert report.cost_ratio > 1
    new = X.values[-1] * [[1.1, 0.9, 1.0], [0.9, 1.1, 1.0]]
    report = rom.check(model, chaos, starts=new, t=np.arange(0, 4, 0.01))
    assert report.verdict == accurate
    heat = rom.fom.Heat(n=127)
    t = np.linspace(0, 0.5, 101)
    X = heat.simulate(heat.initial_state(), t)
    model = rom.ROM(
        rom.POD(3, center=False), rom.OperatorInference("A"), preprocess=rom.Scale(center=False)
    )
    report = rom.check(model.fit(X), heat, starts=X[:1], t=t)
    assert float(report.data["error"].max()) < 0.01


def test_continuous_model_refuses_plain_arrays_without_times():
    X = travelling_wave().values
    with pytest.raises(ValueError, match="sample times t"):
        rom.ROM(rom.POD(2), rom.OperatorInference()).fit(X)


def test_fit_warns_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rom.ROM().fit(travelling_wave())


def standing_wave(n_time=400, dt=0.1):
    """cos(x) cos(t): one mode, whose amplitude obeys an equation of second order in time."""
    t, x = dt * np.arange(n_time), np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return xr.DataArray(
        np.cos(t)[:, None] * np.cos(x), dims=("time", "x"), coords={"time": t, "x": x}, name="wave"
    )


def test_with_two_delays_a_linear_model_of_one_mode_has_the_two_rates_of_a_standing_wave():
    truth = standing_wave()
    model = rom.ROM(rom.POD(1), rom.DMD(constant=True), n_delays=2).fit(truth[:200])
    np.testing.assert_allclose(np.sort(model.dynamics_.rates_.imag), [-1, 1], rtol=1e-9)
    forecast = model.rollout(truth[:2], truth.time[1:])
    np.testing.assert_allclose(forecast["wave"], truth[1:], atol=1e-8)
    assert model.score(truth[200:]) > 1 - 1e-12
    alone = rom.ROM(rom.POD(1), rom.DMD(constant=True)).fit(truth[:200])
    assert alone.score(truth[200:]) < 0.5


def test_starts_unlike_the_training_are_refused():
    truth = standing_wave(60)
    dated = truth.assign_coords(time=xr.date_range("2001-01-01", periods=60, freq="MS"))
    model, of_dates = (rom.ROM(rom.POD(1)).fit(X) for X in (truth, dated))
    for start in (truth.values[0], truth.values[:1], truth.values[0].tolist()):
        with pytest.raises(TypeError, match=r"must be a DataArray as in fit, but it is a (nd|li)"):
            model.rollout(start, truth.time[:3])
    plain = rom.ROM(rom.POD(1), rom.DMD(), n_delays=2).fit(truth.values)
    with pytest.raises(ValueError, match=r"the last 2 snapshots, but its shape is \(32,\)"):
        plain.rollout(truth.values[0], [0.0, 0.1])
    undated = dated[3].drop_vars("time")
    with pytest.raises(ValueError, match="x0 must carry its time along 'time', or t be dates"):
        of_dates.rollout(undated, [0.0, 1.0])
    known = of_dates.rollout(undated, dated.time.values[3:6])
    np.testing.assert_array_equal(known.time, dated.time[3:6])


def test_a_latent_state_of_a_model_with_memory_holds_the_snapshots_before_it():
    truth = standing_wave(60)
    gap = xr.concat([truth[:20], truth[30:]], "time")
    model = rom.ROM(rom.POD(1), rom.NVAR(3, degree=1)).fit(gap)
    assert model.states_per_row == 3
    amplitude = model.compressor_.transform(model.to_rows(truth).rows)
    Z = model.encode(truth)
    np.testing.assert_array_equal(Z, np.hstack([amplitude[2:], amplitude[1:-1], amplitude[:-2]]))
    np.testing.assert_array_equal(Z.time, truth.time[2:])
    np.testing.assert_allclose(model.decode(Z), truth[2:], atol=1e-12)
    # Parameters set after the fit are those of the next one.
    np.testing.assert_array_equal(model.set_params(dynamics=rom.DMD(), n_delays=2).encode(truth), Z)
    # Rows whose history reaches into the gap are left out.
    kept = np.r_[2:20, 32:60]
    np.testing.assert_array_equal(model.latent_t_, truth.time.values[kept])
    np.testing.assert_allclose(model.latent_, model.encode(gap), rtol=1e-13)
    later = model.predict(truth)
    np.testing.assert_allclose(later.time, truth.time[2:] + 0.1)
    np.testing.assert_allclose(later[:-1], truth[3:], atol=1e-4)


@pytest.mark.parametrize(
    ("dynamics", "n_delays"),
    [
        (rom.EchoState(30, n_delays=2, random_state=0), 1),
        (rom.KernelModel(n_delays=2), 1),
        (rom.RecurrentModel(4, 2, max_iter=2, random_state=0), 1),
        (rom.NVAR(2, degree=1), 1),
        (rom.OperatorInference("A"), 2),
        (None, 2),
    ],
)
def test_models_with_memory_are_saved_scored_and_checked(tmp_path, dynamics, n_delays):
    truth = standing_wave(300)
    model = rom.ROM(rom.POD(1), dynamics, n_delays=n_delays).fit(truth[:200])
    forecast = model.rollout(truth[200:202], 0.1 * np.arange(50))
    assert forecast.time.values[0] == truth.time.values[201]
    model.save(tmp_path / "m.nc")
    again = rom.load(tmp_path / "m.nc").rollout(truth[200:202], 0.1 * np.arange(50))
    xr.testing.assert_identical(again, forecast)
    report = rom.check(model, truth[200:], horizon=1.0, n_starts=2)
    # The first start that has a history is the second snapshot.
    np.testing.assert_allclose(report.data["start_time"].min(), truth.time[201])
    floor = report.data["error_floor"].sel(lead=0).max()
    assert floor < 1e-12
    np.testing.assert_allclose(report.data["error"].sel(lead=0), 0, atol=1e-12)


def test_a_model_with_delays_is_checked_against_a_full_model():
    heat = rom.fom.Heat(n=31)
    t = np.linspace(0, 0.1, 51)
    truth = heat.simulate(heat.initial_state(), t)
    model = rom.ROM(rom.POD(2), rom.DMD(), n_delays=2).fit(truth)
    report = rom.check(model, heat, t=t[:11], n_starts=3, thorough=True)
    assert float(report.data["error"].max()) < 1e-2
    assert "several states" in report.data["error_bound"].attrs["reason"]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda X: X[0], "the last 2 snapshots, but it has no time dimension"),
        (lambda X: X[:3], "the last 2 snapshots, but it has 3 times"),
        (lambda X: X[:4:2][:2], r"the last 2 snapshots, 0.1 .* apart, but they are 0.2"),
    ],
)
def test_a_start_without_its_history_is_refused(start, message):
    truth = standing_wave(60)
    model = rom.ROM(rom.POD(1), rom.DMD(), n_delays=2).fit(truth)
    with pytest.raises(ValueError, match=message):
        model.rollout(start(truth), [0.0, 0.1])


def test_delays_on_top_of_a_model_with_memory_are_refused():
    with pytest.raises(ValueError, match="NVAR takes rows of 2 states by itself"):
        rom.ROM(rom.POD(1), rom.NVAR(2), n_delays=3).fit(standing_wave(30))
