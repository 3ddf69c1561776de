"""What a check tells beside errors, on systems for which it is known."""

import json
import re
from copy import deepcopy

import numpy as np
import pytest
import xarray as xr

import rom
from rom.dynamics import season
from rom.rollout import exponents, thorough
from rom.rollout.cells import some_cells
from rom.rollout.full_equation import full_equation
from rom.rollout.horizon import blocks, fewest_apart, reliable_time
from rom.rollout.judgements import errors_explained
from rom.rollout.reasons import chaos
from rom.rollout.stability import StabilityReport
from rom.rollout.verdict import verdict_of
from rom.rollout.words import with_error


@pytest.fixture(scope="module")
def circle():
    """A rotation in a plane of eight cells, whose radius is kept."""
    t = np.arange(0, 120, 0.1)
    rows = (
        np.c_[np.cos(t), np.sin(t)]
        @ np.linalg.qr(np.random.default_rng(0).normal(size=(8, 2)))[0].T
    )
    field = xr.DataArray(
        rows.reshape(-1, 2, 4), {"time": t}, ("time", "y", "x"), name="q", attrs={"units": "K"}
    )
    model = rom.ROM(rom.POD(2), rom.OperatorInference("cA"), preprocess=rom.Scale(scale=False))
    return model.fit(field[:400]), field[400:]


@pytest.fixture(scope="module")
def report(circle):
    model, held = circle
    radius = {"radius": lambda q: np.sqrt((q**2).sum(("x", "y")))}
    return rom.check(model, held, horizon=5.0, n_starts=40, thorough=True, invariants=radius)


def test_the_verdict_says_how_long_and_whether_the_statistics_are_kept(report):
    assert report.verdict == (
        "stable and accurate to the horizon, lead time 5; reliable to lead time 5 at level 90 %; "
        "statistics kept"
    )
    assert report.trusted
    assert report.statistics_kept
    assert report.reliable_time == pytest.approx(5.0)


def test_a_kept_invariant_does_not_drift(report):
    np.testing.assert_allclose(report.data["invariant_drift"], 0, atol=1e-5)
    np.testing.assert_allclose(report.data["invariant_drift_truth"], 0, atol=1e-12)


def test_a_rotation_neither_grows_nor_shrinks_perturbations(report):
    np.testing.assert_allclose(report.data["lyapunov_model"], 0, atol=1e-4)  # of its eigenvalues
    np.testing.assert_array_equal(report.data["lyapunov_model_error"], 0)
    assert np.isnan(report.data["lyapunov_time"])
    np.testing.assert_allclose(report.data["perturbation_growth"], 1, atol=1e-4)
    np.testing.assert_allclose(report.data["growth_bound"], 1, atol=1e-4)
    assert report.data["growth_bound"].attrs["kind"] == "certified"
    assert "by lead time 5; bounded by 1." in str(report)


def test_the_verdict_says_that_a_small_change_ends_a_rollout_that_stayed(report):
    words = "; a change of a start by 1 % can end it"
    fragile = report.data.assign(perturbation_growth=np.inf * report.data["perturbation_growth"])
    assert verdict_of(fragile) == report.verdict + words
    assert words not in verdict_of(fragile.assign(bounded=~fragile["bounded"]))


def test_pictures_are_the_fields_of_the_first_start(circle, report):
    _, held = circle
    data = report.data
    assert data["field_truth"].dims == ("snapshot", "y", "x")
    assert data["field_truth"].attrs["units"] == "K"
    rows = np.rint(data["snapshot_lead"].values / 0.1).astype(int)
    np.testing.assert_allclose(data["field_truth"], held.values[rows], atol=1e-12)
    np.testing.assert_allclose(data["field_model"], held.values[rows], atol=1e-5)
    assert "field_truth" not in json.loads(report.to_json())["variables"]


@pytest.mark.parametrize("dim", [None, "cell", "lead", "x"])
def test_a_field_may_have_more_cells_than_bands_and_dimensions_of_any_name(dim):
    t = np.arange(0, 60, 0.1)
    X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 150))
    times = {"t": t}
    if dim is not None:
        X, times = xr.DataArray(X, {"time": t, dim: np.arange(150.0)}, ("time", dim), name="h"), {}
    model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X, **times)
    report = rom.check(model, X, **times, horizon=1.0, n_starts=30, thorough=True)
    assert report.data.sizes["cell"] < 150
    for name in ("field_truth", "field_model"):
        assert report.data[name].shape[1:] == (150,)
    assert "field" in report.to_html().lower()


def test_the_whole_report_goes_through_a_file(report, tmp_path):
    data = report.to_dataset()
    data.to_netcdf(tmp_path / "report.nc")
    with xr.open_dataset(tmp_path / "report.nc", decode_timedelta=False) as back:
        xr.testing.assert_equal(back.load(), data)


def test_intervals_of_skill_hold_the_skill(report):
    data = report.data.isel(lead=slice(1, None))
    skill, low, high = (data[name] for name in ("skill", "skill_low", "skill_high"))
    known = np.isfinite(low.values)
    assert known.any()
    assert np.all((low <= skill + 1e-9).values[known])
    assert np.all((skill <= high + 1e-9).values[known])


def test_intervals_of_the_anomaly_correlation_hold_it(report):
    mean, low, high = (report.data[f"anomaly_correlation{end}"] for end in ("", "_low", "_high"))
    assert np.all((low >= -1) & (low <= mean + 1e-12) & (mean <= high + 1e-12) & (high <= 1))


@pytest.mark.parametrize("kelvin", [1.0, 1000.0])
def test_the_band_on_cells_is_in_the_units_of_the_data(report, kelvin):
    t = np.arange(0, 60, 0.1)
    shape = np.array([[1.0, 0.5, np.nan, 0.1], [2.0, 1.0, 0.3, 0.7]])
    wave = kelvin * np.cos(t)[:, None, None] * shape
    field = xr.DataArray(wave, {"time": t, "x": [0, 10, 20, 30]}, ("time", "y", "x"), name="q")
    model = rom.ROM(rom.POD(1), rom.DMD()).fit(field.assign_attrs(units="K")[:300])
    data = rom.check(
        model, field.assign_attrs(units="K"), horizon=1.0, n_starts=40, thorough=True
    ).data
    radius = data["cell_band_radius"].isel(lead=slice(1, None))  # at the start both are rounding
    assert data["cell_variable"].values.tolist() == ["q [K]"] * 7
    assert radius["cell"].values[2] == "q [K] at y 0, x 30"
    # One mode cannot turn: what it is off by has the shape of the mode, in every unit.
    np.testing.assert_allclose(radius / radius[0], shape[np.isfinite(shape)][:, None] + 0 * radius)
    assert 0.05 * kelvin < radius.max() < 10 * kelvin
    assert radius.attrs["coverage_low"] < 0.9 < radius.attrs["coverage_high"]


def test_cells_of_several_variables_are_named_in_their_order():
    t = np.arange(5.0)
    cells = np.random.default_rng(0).normal(size=(5, 2))
    data = xr.Dataset({"T": (("time", "z"), cells, {"units": "K"}), "flux": ("time", t**2)})
    model = rom.ROM(rom.POD(1), rom.DMD()).fit(data.assign_coords(time=t))
    found = some_cells(model, n_lead=10)
    assert found.name == ("T [K] at z 0", "T [K] at z 1", "flux")
    assert found.variable == ("T [K]", "T [K]", "flux")
    assert some_cells(model, n_lead=10**6).column.tolist() == [0]


def test_errors_that_the_start_cannot_explain_speak_against_the_equations(circle, report):
    model, held = circle
    assert report.data.attrs["explained_time"] == pytest.approx(5.0)  # a rotation: nothing grows
    assert errors_explained(report.data)
    other = deepcopy(model)
    right = model.dynamics_
    other.dynamics_ = rom.OperatorInference.from_operators(
        c=1.2 * right.c_, A=1.2 * right.A_, bound=right.bound_
    )
    found = rom.check(other, held, horizon=5.0, n_starts=40, thorough=True)
    assert not errors_explained(found.data)
    assert found.stable
    assert not found.trusted
    assert any("it is the equations that limit" in reason for reason in found.reasons)


def test_inputs_beyond_those_of_training_are_flagged_when_they_come():
    t = np.arange(0, 40, 0.1)
    u = np.where(t < 30, np.sin(t), 2.0)[:, None]
    Z = np.zeros((len(t), 1))
    for i in range(1, len(t)):
        Z[i] = 0.9 * Z[i - 1] + 0.1 * u[i - 1]
    model = rom.ROM(rom.Identity(), rom.DMD()).fit(Z[:200], t=t[:200], u=u[:200])
    held = {"t": t[200:], "u": u[200:], "horizon": 5.0, "n_starts": 16}
    report = rom.check(model, Z[200:], **held, thorough=True)
    assert report.data["error_bound"].attrs["kind"] == "estimated"
    decay = model.dynamics_.A_.item() ** np.arange(51)
    np.testing.assert_allclose(report.data["perturbation_growth"], decay)
    start, left = report.data["start_time"].values, report.data["left_inputs"].values
    np.testing.assert_array_equal(np.isnan(left), start < 25 - 1e-9)
    known = np.isfinite(left)
    np.testing.assert_allclose(left[known], np.maximum(30 - start[known], 0), atol=1e-9)
    assert report.verdict.endswith("its inputs leave the training range")
    assert any("inputs left the range that they had in training" in r for r in report.reasons)
    before = rom.check(model, Z[200:290], **{**held, "t": t[200:290], "u": u[200:290]})
    assert "inputs left" not in str(before)
    assert "inputs leave" not in before.verdict


def test_a_model_that_turns_too_fast_keeps_neither_phase_nor_spectrum(circle):
    model, held = circle
    right, other = model.dynamics_, deepcopy(model)
    other.dynamics_ = rom.OperatorInference.from_operators(
        c=1.5 * right.c_, A=1.5 * right.A_, bound=right.bound_
    )
    report = rom.check(other, held, horizon=5.0, n_starts=40, thorough=True)
    assert not report.trusted
    kept = report.data["statistics_kept"].to_series()
    assert not kept["spectrum"]
    # |e^{iωt} - e^{1.5 iωt}| = 2 sin(t / 4) passes 0.4 soon after t = 0.8.
    assert 0.8 - 1e-9 <= report.reliable_time <= 0.9


def test_bounds_on_linear_diffusion_are_certified_and_bound(monkeypatch):
    monkeypatch.setattr(exponents, "PATIENCE", 0.0)  # none of the full model
    monkeypatch.setattr(thorough, "PATIENCE", 0.0)
    heat = rom.fom.Heat(n=63)
    t = np.linspace(0, 0.1, 41)
    x = np.linspace(0, 1, 65)[1:-1]
    starts = np.array([np.sin(np.pi * x) + a * np.sin(2 * np.pi * x) for a in (0.3, 0.6, -0.4)])
    runs = [heat.simulate(start, t).assign_coords(trajectory=("time", np.full(41, i)))
            for i, start in enumerate(starts)]  # fmt: skip
    model = rom.ROM(rom.POD(2), rom.OperatorInference("cA")).fit(xr.concat(runs, "time"))
    model.fit_seconds_ = 1.0
    new = 0.5 * starts[:2] + 0.1 * np.sin(3 * np.pi * x)
    report = rom.check(model, heat, starts=new, t=t, thorough=True)
    data = report.data
    assert data["error_bound"].attrs["kind"] == "certified"
    assert np.all(data["error_bound"] >= data["error"])
    assert np.all(data["effectivity"][1:] >= 1)  # at the start both are rounding
    told = re.findall(r"``(\w+)``", StabilityReport.to_dataset.__doc__)
    assert set(data.attrs) <= set(told)
    within = data["error_bound"].where(data["lead"] <= data["useful_horizon"]).max("lead")
    assert within.max() <= data.attrs["tolerance"]
    assert "coarse" in data["baseline"]
    assert data.attrs["coarse_factor"] >= 2
    assert data.attrs["break_even_runs"] > 0
    assert data.attrs["certificate"] == "every rollout ends at one steady state"


def test_an_estimated_bound_holds_where_the_projection_loses_more_than_at_the_start(circle):
    """Loss that comes and goes: the most of all starts is in the bound of each."""
    model, held = circle
    lost = np.linalg.svd(model.compressor_.components_)[2][2].reshape(2, 4)
    t = held["time"]
    data = rom.check(
        model,
        held + 0.1 * np.sin(0.7 * t) * xr.DataArray(lost, dims=("y", "x")),
        horizon=5.0,
        n_starts=40,
        thorough=True,
    ).data
    floor, bound = data["error_floor"], data["error_bound"]
    assert float(floor[:, 0].min()) < 0.1 * float(floor.max())
    assert bound.attrs["kind"] == "estimated"
    assert np.all(bound >= float(floor[:, 0].max()))
    assert np.all(bound >= 0.99 * data["error"])  # no start stands on the very crest


def test_a_model_with_noise_is_scored_as_an_ensemble():
    rng = np.random.default_rng(0)
    Z = np.zeros((3000, 2))
    for i in range(1, len(Z)):
        Z[i] = 0.9 * Z[i - 1] + rng.normal(size=2)
    t = np.arange(3000.0)
    model = rom.ROM(rom.Identity(), rom.LinearInverseModel()).fit(Z[:2000], t=t[:2000])
    report = rom.check(model, Z[2000:], t=t[2000:], horizon=20.0, n_starts=40, thorough=True)
    score, climate = report.data["crps"].values, report.data["crps_climatology"].values
    assert score[0] == pytest.approx(0, abs=1e-12)
    assert np.all(score[1:4] < climate[1:4])
    low, high = (report.data[f"crps_{end}"].values for end in ("low", "high"))
    assert np.all((low <= score + 1e-12) & (score <= high + 1e-12))
    assert np.all(report.data["crps_skill_low"][1:4] > 0)
    assert "explained_time" not in report.data.attrs  # its errors are the noise's, too
    assert report.data.attrs["certificate"].endswith("ends at one steady state (without its noise)")
    # The members forget their start, and are then as the climatology.
    np.testing.assert_allclose(score[-5:].mean(), climate[-5:].mean(), rtol=0.1)


def test_reliable_time_holds_for_new_starts_with_its_probability():
    rng = np.random.default_rng(0)
    held = [
        times[-1] >= reliable_time(times[:-1], 0.9) for times in rng.gamma(2.0, size=(2000, 20))
    ]  # of 19: the second smallest, which a new one falls below in 2 of 20 cases
    assert abs(np.mean(held) - 0.9) < 3 * np.sqrt(0.09 / 2000)
    assert np.isnan(reliable_time(np.ones(8), 0.9))
    assert reliable_time(np.arange(9.0), 0.9) == 0.0
    assert reliable_time(np.arange(99.0), 0.9) == 9.0


def test_reliable_time_holds_where_starts_are_alike_in_blocks():
    rng = np.random.default_rng(0)
    held = {None: [], 12: []}
    for times in rng.gamma(2.0, size=(2000, 13)):
        for n, found in held.items():
            found.append(times[-1] >= reliable_time(np.repeat(times[:-1], 5), 0.9, n))
    assert np.mean(held[12]) > 0.9
    assert np.mean(held[None]) < 0.88  # 60 starts, of which 12 are independent
    for n in (1, 8, 9, 19):
        assert np.isnan(reliable_time(np.ones(60), 0.9, n)) == (n < fewest_apart(0.9))
    assert reliable_time(np.arange(60.0), 0.9, 19) == 1.0


def test_a_level_is_stated_as_far_as_nine_rollouts_do_not_overlap(circle):
    """Of 20 starts over a time of ten, nine are 1 and more apart, and two 5."""
    model, held = circle
    report = rom.check(model, held[:150], horizon=5.0, n_starts=20, thorough=True)
    assert report.reliable_time == pytest.approx(1.0)
    assert report.data.attrs["held_time"] == pytest.approx(5.0)
    assert report.data.attrs["held_apart"] == 2
    assert (
        "reliable to lead time 1 at level 90 % (held to lead time 5 in 90 % of 20 starts, "
        "2 independent)" in report.verdict
    )
    assert "9 are needed to state that level so far (a longer record, or" in str(report)
    assert report.trusted


def test_no_level_is_stated_where_all_rollouts_overlap(circle):
    model, held = circle
    report = rom.check(model, held[:60], horizon=5.0, n_starts=9, thorough=True)
    assert report.reliable_time == pytest.approx(0.1)
    close = rom.check(model, held[:54], horizon=5.0, n_starts=5, thorough=True)
    assert np.isnan(close.reliable_time)
    assert "too few starts to say how long it is reliable" in close.verdict
    assert "with probability" not in str(close)
    assert "Reliable to" not in close.to_html()


@pytest.mark.parametrize(
    ("bound", "lead", "size", "words"),
    [
        (np.inf, 79.9, np.exp(0.799), "to lead time 79.9, its largest state was 2"),
        (1.5, 100 * np.log(1.5), np.inf, "left the bound or ended in 1 of 1 runs, the first at"),
    ],
)
def test_growth_along_the_whole_reference_is_not_stable(circle, bound, lead, size, words):
    model, held = circle
    other, growth = deepcopy(model), 0.01
    turn = model.dynamics_.A_
    A = growth * np.eye(2) + (turn - turn.T) / 2
    c = -A @ np.linalg.solve(turn, -model.dynamics_.c_)
    other.dynamics_ = rom.OperatorInference.from_operators(c=c, A=A, bound=bound)
    report = rom.check(other, held, horizon=1.0, bound=bound, thorough=True)
    assert report.data["long_run_size"].max() < 1.2
    assert "but unstable in the long run" in report.verdict
    assert not report.stable
    assert words in str(report)
    # From the training mean, which is not quite zero.
    assert report.data["free_run_size"].item() == pytest.approx(size, rel=0.15)
    assert report.data["free_run_lead"].item() == pytest.approx(lead, rel=0.15)
    assert report.data.attrs["growth_rate"] == pytest.approx(growth)


def test_starts_within_a_rollout_of_each_other_are_one_block():
    one, two = np.zeros(5), [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(blocks([0, 4, 9, 10, 25], one, 10.0), [0, 0, 0, 1, 2])
    np.testing.assert_array_equal(blocks([0, 4, 0, 4, 20], two, 10.0), [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(blocks([0, 4, 5, 6, 20], two, 10.0), [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(blocks([3, 3, 3], [0, 1, 2], 10.0), [0, 1, 2])
    np.testing.assert_array_equal(blocks([0, 1, 2], np.zeros(3), 0.0), [0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"held_time": 0.0}, "; reliable at no lead time at level 90 %;"),
        ({"held_time": np.nan}, "; too few starts to say how long it is reliable at level"),
        ({"reliable_time": 0.0}, "; held to lead time 5 in 90 % of 40 starts, 14 of them indepen"),
        ({"growth_rate": 0.1}, "stable to ten horizons and accurate to the horizon"),
        ({"size_ratio": 0.012}, "; the reference is 0.012 times as large as the training states:"),
        ({"kept": False}, "; statistics not kept"),
        ({"known": False}, "; statistics not known"),
        ({"some_known": True}, "; statistics kept as far as known (2 of 6)"),
        ({"start_size": 9.0}, "; its starts are outside of the training range"),
        ({"n_around_bounded": 188}, "; 12 of 200 starts around the training states leave"),
    ],
)
def test_each_finding_has_its_words(report, changes, words):
    data = report.data.copy(deep=True)
    if "some_known" in changes:
        data["statistics_known"][2:] = False
    for name in {*data.attrs} & set(changes):
        data.attrs[name] = changes[name]
    for name in {"kept", "known"} & set(changes):
        data[f"statistics_{name}"][:] = changes[name]
    if "start_size" in changes:
        data["start_size"][:] = changes["start_size"]
    assert words in verdict_of(data)


def noise_that_grows(last):
    """Rows of an autoregression whose noise grows to `last` times its size in training."""
    rng, n = np.random.default_rng(0), 3000
    size, Z = np.r_[np.ones(1000), np.linspace(1, last, n - 1000)], np.zeros((n, 1))
    for i in range(1, n):
        Z[i] = 0.9 * Z[i - 1] + size[i] * rng.normal()
    model = rom.ROM(rom.Identity(), rom.DMD()).fit(Z[:1000], t=np.arange(1000.0))
    return model, Z[1000:], 1000 + np.arange(n - 1000.0)


@pytest.mark.parametrize("last", [1, 4])
def test_a_band_that_adapts_keeps_its_level_where_errors_drift(last):
    model, Z, t = noise_that_grows(last)
    data = rom.check(model, Z, t=t, horizon=5.0, n_starts=300, thorough=True).data
    fixed, adaptive = data["running_coverage"].values[:, -1]
    assert data.sizes["tested"] == data["band_radius"].attrs["n_test"]
    assert fixed == pytest.approx(data["band_radius"].attrs["coverage"])
    assert abs(adaptive - 0.9) < 0.07
    assert (fixed < 0.6) == (last == 4)
    assert float(data["adaptive_width"][-1]) > 1.5 or last == 1


def test_starts_without_an_order_in_time_get_no_band_that_adapts(circle):
    model, held = circle
    data = rom.check(model, held, horizon=5.0, n_starts=40).data
    assert "running_coverage" not in data  # not thorough
    lorenz, t = rom.fom.Lorenz63(), np.arange(0, 4, 0.05)
    runs = lorenz.simulate([1.0, 1.0, 20.0], np.arange(0, 20, 0.05)).values
    found = rom.ROM(rom.Identity(), rom.OperatorInference("cAH", ridge=1e-6)).fit(
        runs, t=np.arange(0, 20, 0.05)
    )
    data = rom.check(found, lorenz, t=t[:8], thorough=True).data
    assert "band_radius" in data
    assert "running_coverage" not in data


def test_noise_of_the_season_is_in_the_statistics_and_the_ensemble_of_a_seasonal_model():
    rng, n = np.random.default_rng(0), 4000
    u, Z = season(np.arange(n), 12), np.zeros((n, 1))
    for i in range(1, n):
        Z[i] = (0.7 + 0.2 * u[i - 1, 0]) * Z[i - 1] + np.exp(0.3 * u[i - 1, 1]) * rng.normal()
    model = rom.ROM(rom.Identity(), rom.SeasonalModel(1)).fit(
        Z[:2000], t=np.arange(2000.0), u=u[:2000]
    )
    held = {"t": np.arange(2000.0, n), "u": u[2000:], "horizon": 12.0, "n_starts": 40}
    report = rom.check(model, Z[2000:], **held, thorough=True)
    assert report.statistics_kept
    assert report.data["crps"][1] < 0.8 * report.data["crps_climatology"][1]


def test_the_exponents_of_a_driven_full_model_come_from_its_runs():
    heat, t = rom.fom.Heat(n=3, length=np.pi), 0.1 * np.arange(60)
    u = np.sin(2 * np.pi * np.arange(60) / 20)[:, None]
    runs = heat.simulate(heat.initial_state(), t, u=u)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(runs, u=u)
    data = rom.check(model, heat, t=t, u=u, n_starts=2, thorough=True).data
    np.testing.assert_allclose(data["lyapunov_truth"], heat.eigenvalues(), rtol=1e-3)
    assert data["lyapunov_model"].shape == data["lyapunov_truth"].shape


def test_the_exponents_of_a_full_model_are_those_of_its_equation():
    lorenz, t = rom.fom.Lorenz63(), np.arange(0, 6, 0.02)
    runs = lorenz.simulate([1.0, 1.0, 20.0], np.arange(0, 30, 0.02))
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cAH", ridge=1e-8)).fit(runs)
    data = rom.check(model, lorenz, t=t, n_starts=2, thorough=True).data
    assert data["lyapunov_truth"].sum() == pytest.approx(-10 - 1 - 8 / 3, rel=1e-4)  # divergence
    assert float(data["lyapunov_truth"][0]) == pytest.approx(0.9056, rel=0.05)
    assert float(data["kaplan_yorke_truth"]) == pytest.approx(2.062, abs=0.01)
    assert data["growth_bound"].attrs["kind"] == "estimated"
    assert "explained_time" not in data.attrs  # three starts do not tell how fast others part
    assert data.attrs["n_around_bounded"] == data.attrs["n_around"]  # as a certificate says
    assert data.attrs["certificate"].startswith("trapping region")


def test_exponents_are_those_of_the_attractor_that_a_run_comes_to():
    """Of z' = (z - z²) / 2: from near 0 changes grow for long, and where it comes to rest decay."""
    model, t = rom.OperatorInference.from_operators(A=[[0.5]], H=[[-0.5]]), np.linspace(0, 20, 101)
    found = exponents._of_attractor(model, np.array([1e-6]), t, None, 1, np.inf)
    assert found.settled
    np.testing.assert_allclose(found.exponents, -0.5, atol=1e-3)


def test_times_of_inputs_that_are_too_uneven_leave_no_exponents():
    """One step is most of the time, so that none is left for a mean after the transient."""
    why = "need at least 2 steps there, but there"
    model = rom.OperatorInference.from_operators(A=[[0.5]], H=[[-0.5]], B=[[1.0]])
    t = np.append(0.01 * np.arange(40), 100.0)
    found = exponents._of_attractor(model, np.array([0.5]), t, np.zeros((41, 1)), 1, np.inf)
    assert why in found

    heat, t = rom.fom.Heat(n=3, length=np.pi), np.append(0.01 * np.arange(300), 100.0)
    even = 0.1 * np.arange(60)
    runs = heat.simulate(heat.initial_state(), even, u=np.sin(even)[:, None])
    fitted = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(runs, u=np.sin(even)[:, None])
    u = np.sin(t)[:, None]
    report = rom.check(fitted, heat, t=t, u=u, n_starts=2, thorough=True)
    assert why in report.data.attrs["exponents_truth"]
    assert any(why in line for line in report.reasons)


def test_a_run_that_comes_to_no_attractor_has_no_exponents():
    slow = rom.OperatorInference.from_operators(A=[[0.1]], H=[[1.0]])  # past t = 46 it is infinite
    found = exponents._of_attractor(slow, np.array([1e-3]), np.linspace(0, 30, 101), None, 1, 10.0)
    assert found.startswith("carried on, the rollout ended at lead time 46")
    data = xr.Dataset(attrs={"exponents": found})
    assert chaos(data) == [f"Lyapunov exponents were not computed: {found}"]


def test_exponents_that_are_not_known_leave_words_and_no_nan():
    zero = ("exponent", [0.2, 0.1, 0.0])
    data = xr.Dataset(
        {
            "lyapunov_model": (*zero, {"settled": 0}),
            "lyapunov_truth": (*zero, {"settled": 1}),
            "lyapunov_model_error": zero,
            "lyapunov_truth_error": zero,
            "kaplan_yorke_model": np.nan,
            "kaplan_yorke_truth": np.nan,
        }
    )
    (line,) = chaos(data)
    assert "the model's 0.2 ± 0.4 (not settled: " in line
    assert "the full model's 0.2 ± 0.4 (Kaplan-Yorke dimension at least 3)" in line
    sure = data.assign(lyapunov_truth_error=0 * data["lyapunov_truth_error"])
    assert "0.2 (exact; it grows for ever, and so has no attractor)" in chaos(sure)[0]
    data = data.drop_vars(["lyapunov_truth", "kaplan_yorke_truth"])
    lines = chaos(data.assign_attrs(exponents_truth="its run blew up."))
    assert lines[1] == "The full model's were not computed: its run blew up."


def test_exponents_of_a_full_model_or_why_there_are_none(monkeypatch):
    heat, state, t = rom.fom.Heat(n=3, length=np.pi), np.ones(3), 0.1 * np.arange(401)
    rates, u = heat.eigenvalues(), np.sin(t)[:, None]
    found = exponents._of_full_model(heat, state, t, u, 1, rates[:1])  # one does not part from none
    np.testing.assert_allclose(found.exponents, rates[:1], rtol=1e-3)
    few = exponents._of_full_model(heat, state, t[:50], u[:50], 1, rates[:1])
    assert few == "it takes 200 output times, but inputs are known at 50."
    apart = exponents._of_full_model(heat, state, t, u, 3, 100 * rates)
    assert apart == "its perturbations would not stay apart from one input to the next."
    monkeypatch.setattr(exponents, "PATIENCE", 1e-9)
    slow = exponents._of_full_model(heat, state, t, u, 3, rates)
    assert slow == "3 of them would take longer than 1e-09 s."


def test_a_linear_model_damps_perturbations_no_less_than_its_bound_says():
    t = np.linspace(0, 0.5, 101)
    heat = rom.fom.Heat(n=9)
    model = rom.ROM(rom.POD(3), rom.OperatorInference("A"))
    model = model.fit(heat.simulate(heat.initial_state(), t))
    report = rom.check(model, heat, t=np.linspace(0, 5, 101), n_starts=2, thorough=True)
    bound, found = (report.data[n].values for n in ("growth_bound", "perturbation_growth"))
    assert np.all(bound >= found)
    assert bound[-1] < 1e-3
    assert "every rollout ends at one steady state" in str(report)
    assert str(report).count("(exact; Kaplan-Yorke dimension 0)") == 2  # the heat equation's too


@pytest.mark.parametrize(
    "full", [rom.fom.Lorenz96(6), rom.fom.Burgers(n=24, viscosity=0.1), rom.fom.Heat(n=9)]
)
def test_the_equation_of_a_full_model_gives_its_runs(full):
    state, t = np.asarray(full.initial_state()), np.linspace(0, 0.2, 5)
    equation = full_equation(full, state.size)
    run = rom.rollout(equation.dynamics, equation.basis @ state, t)
    np.testing.assert_allclose(run.z @ equation.basis, full.simulate(state, t), atol=1e-5)
    assert full_equation(rom.fom.Burgers(n=512, viscosity=0.1), 512) is None
    assert full_equation(rom.fom.Wave(n=9), 18) is None


def test_starts_of_a_full_model_may_come_in_any_order():
    """Sorted by their errors, the first half of them would not be like the second."""
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 6)
    decay = rom.fom.Heat(n=3, diffusivity=0.1)
    runs = decay.simulate([1.0, 2.0, 1.0], np.linspace(0, 3, 40))
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A", ridge=1e-2)).fit(runs)
    starts = np.sort(rng.exponential(size=80))[:, None] * [1.0, 2.0, 1.0]
    band = rom.check(model, decay, starts=starts, t=t, n_starts=80).data["band_radius"]
    assert band.attrs["coverage_low"] < 0.9 < band.attrs["coverage_high"]


def test_an_invariant_that_is_no_number_per_state_is_refused():
    t = 0.1 * np.arange(200)
    X = np.c_[np.cos(t), np.sin(t)]
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(X, t=t)
    with pytest.raises(ValueError, match="'sum' must give one number per state"):
        rom.check(model, X, t=t, thorough=True, invariants={"sum": np.sum})


def learned(rho):
    """A model of Lorenz's equations, right on their attractor."""
    lorenz, t = rom.fom.Lorenz63(rho=rho), np.arange(0, 20, 0.02)
    settled = lorenz.simulate(lorenz.initial_state(), [0.0, 20.0])[-1]
    runs = lorenz.simulate(settled, t)
    dynamics = rom.SINDy(rom.PolynomialLibrary(2), threshold=1e-3)
    return rom.ROM(rom.Identity(), dynamics).fit(runs)


def test_statistics_of_a_full_model_are_those_of_its_long_run_too(monkeypatch):
    """Whose truth comes to rest, which runs as long as those compared do not show."""
    model, t = learned(26.0), np.linspace(0, 4, 81)
    report = rom.check(model, rom.fom.Lorenz63(rho=22.0), t=t, thorough=True)
    assert report.statistics_kept is False
    assert report.data["distance"].attrs["run"] == pytest.approx(40)
    assert report.data["distance"].sel(statistic="moments") > 100  # the truth hardly varies
    assert any("over runs of 40 and, apart from these, of 4," in each for each in report.reasons)
    monkeypatch.setattr(thorough, "PATIENCE", 0.0)
    short = rom.check(model, rom.fom.Lorenz63(rho=22.0), t=t, thorough=True)
    assert any("compared over runs of 4." in reason for reason in short.reasons)
    assert short.data["distance"].sel(statistic="moments") < 1


def test_a_right_model_keeps_the_statistics_of_the_long_run():
    report = rom.check(learned(28.0), rom.fom.Lorenz63(), t=np.linspace(0, 4, 81), thorough=True)
    assert report.data["distance"].attrs["run"] == pytest.approx(40)  # in 4 most are not known
    assert report.statistics_kept


class Blows:
    """A rotation that can be followed to a time only."""

    def __init__(self, last, error):
        self.last, self.error = last, error

    def simulate(self, x0, t, *, u=None, params=None):
        turn = np.exp(1j * np.asarray(t)) * complex(*x0)
        if t[-1] > self.last and self.error:
            raise FloatingPointError("It blew up.")
        rows = (
            np.c_[turn.real, turn.imag] * np.where(np.asarray(t) > self.last, 1e200, 1.0)[:, None]
        )
        return xr.DataArray(rows, {"time": t}, ("time", "x"))


@pytest.mark.parametrize("error", [True, False])
def test_a_full_model_that_blows_up_later_is_compared_as_far_as_it_went(error):
    t = 0.1 * np.arange(300)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("A")).fit(
        Blows(99.0, True).simulate([1, 0], t)
    )
    report = rom.check(model, Blows(20.0, error), t=t[:100], n_starts=5, thorough=True)
    assert "other_run" not in report.data["distance"].attrs
    assert report.data["distance"].attrs["run"] == pytest.approx(9.9)
    assert report.statistics_kept


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.905612, 0.0113, "0.906 ± 0.023"),
        (0.0004692, 0.00031, "0.00047 ± 0.00062"),
        (-0.1, 1e-13, "-0.1 ± 2e-13"),
        (1.508, 0.64, "1.5 ± 1.3"),
        (0.0, 0.01, "0 ± 0.02"),
        (-14.5678, 0.0, "-14.57"),
        (-14.5678, np.nan, "-14.57"),
    ],
)
def test_a_number_has_no_digits_that_its_error_hides(value, error, words):
    assert with_error(value, error) == words


def test_a_comparison_of_statistics_on_uneven_times_does_not_blame_a_continuous_model(circle):
    model, held = circle
    t = held["time"].values
    uneven = held.assign_coords(time=t + 0.02 * np.sin(7 * t))
    reason = next(r for r in rom.check(model, uneven, thorough=True).reasons if "not compared" in r)
    assert reason.endswith("Interpolate to an even step.")
