"""check() on models whose errors are known in closed form."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr

import rom
from rom.base import Compressor, Dynamics, Polynomial
from rom.rollout import Status, check
from rom.rollout.truths import windows

OMEGA, DT = 1.0, 0.05


class Linear(Dynamics):
    """dz/dt = A z with A given."""

    time = "continuous"
    _parameter_constraints = {"A": "no_validation"}  # noqa: RUF012

    def __init__(self, A):
        self.A = A

    def _fit_series(self, series):
        self.A_ = np.asarray(self.A)

    def _predict(self, Z, u):
        return Z @ self.A_.T

    def polynomial(self):
        return Polynomial(np.eye(len(self.A_), dtype=np.int64), self.A_)


class Basis(Compressor):
    """Projection on orthonormal modes, the mean being zero."""

    _parameter_constraints = {"modes": "no_validation"}  # noqa: RUF012

    def __init__(self, modes):
        self.modes = modes

    def _fit(self, X):
        self.rank_ = len(self.modes)

    def _transform(self, X):
        return X @ self.modes.T

    def _inverse_transform(self, Z):
        assert np.isfinite(Z).all()
        return Z @ self.modes


class Rows(NamedTuple):
    rows: np.ndarray
    t: np.ndarray | None
    trajectory: np.ndarray


class Model:
    """The part of ROM that check() uses, on plain rows."""

    def __init__(self, dynamics, modes, latent, t):
        self.dynamics_ = dynamics.fit(latent, t=t)
        self.compressor_ = Basis(modes).fit(latent @ modes)
        self.latent_, self.latent_t_ = latent, t
        self.latent_trajectory_ = np.zeros(len(t), int)
        self.time_axis_ = SimpleNamespace(unit="s", calendar=None)
        self.preprocess_ = SimpleNamespace(offset_=np.zeros((1, 1)), factor_=np.ones(1))

    states_per_row = 1

    def to_rows(self, X, *, t=None, trajectory=None):
        codes = np.zeros(len(X), int) if trajectory is None else np.asarray(trajectory)
        return Rows(np.asarray(X), t, codes)

    def inputs_at(self, u, t, n_rows):
        assert u is None

    def to_latent(self, rows):
        return self.compressor_.transform(rows)

    def from_latent(self, Z):
        return self.compressor_.inverse_transform(Z)

    def decode(self, Z):
        return Z @ self.modes if np.isnan(Z).any() else self.compressor_.inverse_transform(Z)

    @property
    def modes(self):
        return self.compressor_.modes


def rotation(omega, growth=0.0):
    return np.array([[growth, -omega], [omega, growth]])


def circle(t):
    return np.c_[np.cos(OMEGA * t), np.sin(OMEGA * t)]


@pytest.fixture
def modes():
    return np.linalg.qr(np.random.default_rng(0).normal(size=(7, 3)))[0].T


def oscillator(modes, *, omega=OMEGA, growth=0.0):
    t = np.arange(0, 4 * np.pi, DT)[:251]  # two periods: the mean is zero to the sampling
    return Model(Linear(rotation(omega, growth)), modes[:2], circle(t), t)


def held_out(modes, off=0.0, n=500):
    """Snapshots on the circle; `off` of them outside the model's two modes."""
    t = 100 + DT * np.arange(n)
    return t, circle(t) @ modes[:2] + off * np.sin(5 * t)[:, None] * modes[2]


def test_a_perfect_model_is_valid_to_the_horizon(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes), X, t=t, horizon=10.0)
    data = report.to_dataset()
    assert report.stable
    assert report.verdict == "stable and accurate to the horizon, lead time 10 s"
    assert data.sizes["start"] == 20
    assert report.valid_time == pytest.approx(10.0)
    np.testing.assert_allclose(data["lead"], DT * np.arange(201), atol=1e-9)
    np.testing.assert_allclose(data["error"], 0, atol=1e-6)
    np.testing.assert_allclose(data["anomaly_correlation"], 1, atol=1e-6)
    np.testing.assert_allclose(data["variability_ratio"], 1, atol=1e-6)
    np.testing.assert_allclose(data["skill"].sel(baseline="climatology"), 1, atol=1e-6)
    assert np.isnan(report.cost_ratio)
    assert (report.to_dataset()["reduced_seconds"] > 0).all()
    assert report.reasons[-1].startswith("The reduced model took ")
    assert "data" in report.reasons[-1]


def test_a_wrong_frequency_is_valid_until_its_phase_has_slipped(modes):
    """Two points on the unit circle a phase d apart are 2 sin(d / 2) apart."""
    slip = 0.1
    t, X = held_out(modes)
    report = check(oscillator(modes, omega=OMEGA + slip), X, t=t, horizon=10.0, tolerance=0.4)
    data = report.to_dataset()
    lead = data["lead"].values
    expected = 2 * np.sin(slip * lead / 2) * np.ones((20, 1))
    np.testing.assert_allclose(data["error"] * data.attrs["scale"], expected, atol=1e-6)
    exact = 2 / slip * np.arcsin(0.4 * data.attrs["scale"] / 2)
    assert exact <= report.valid_time < exact + DT
    assert data["exceeded"].all()
    persistence = 2 * np.abs(np.sin(OMEGA * lead / 2))
    np.testing.assert_allclose(
        data["baseline_error"].sel(baseline="persistence") * data.attrs["scale"],
        persistence,
        atol=1e-6,
    )
    early = lead[1:100]
    np.testing.assert_allclose(
        data["skill"].sel(baseline="persistence")[1:100],
        1 - (np.sin(slip * early / 2) / np.sin(OMEGA * early / 2)) ** 2,
        atol=1e-5,
    )
    assert np.isnan(data["skill"].sel(baseline="persistence")[0])
    np.testing.assert_allclose(data["anomaly_correlation"], np.cos(slip * lead), atol=2e-2)
    assert report.verdict.startswith("stable, better than its baselines from lead time 0.05 s")


def test_damped_persistence_relaxes_at_the_lag_one_autocorrelation(modes):
    t, X = held_out(modes)
    model = oscillator(modes)
    report = check(model, X, t=t, horizon=5.0, n_starts=3)
    latent = model.latent_ - model.latent_.mean(axis=0)
    rho = (latent[1:] * latent[:-1]).sum(axis=0) / (latent[:-1] ** 2).sum(axis=0)
    steps, Z = np.arange(101)[:, None], X @ modes[:2].T
    mean = model.latent_.mean(axis=0)
    errors = [
        np.sum((mean + rho**steps * (Z[i] - mean) - Z[i : i + 101]) ** 2, axis=1)
        for i in np.searchsorted(t, report.data["start_time"])
    ]
    np.testing.assert_allclose(
        report.data["baseline_error"].sel(baseline="damped_persistence"),
        np.sqrt(np.mean(errors, axis=0)) / report.data.attrs["scale"],
        atol=1e-9,
    )


def test_an_unstable_model_is_said_to_be(modes):
    t, X = held_out(modes)
    growth = 1.0
    report = check(oscillator(modes, growth=growth), X, t=t, horizon=10.0)
    data = report.to_dataset()
    assert not report.stable
    assert report.verdict == "unstable"
    assert set(data["status"].values) == {Status.LEFT_BOUND.name}
    np.testing.assert_allclose(data["end_lead"], np.log(100) / growth, atol=DT)
    assert "20 of 20" in report.reasons[0]
    assert Status.LEFT_BOUND.value in report.reasons[0]
    np.testing.assert_array_equal(
        np.isnan(data["error"]), data["lead"].values > data["end_lead"].values[:, None] + 1e-9
    )
    assert np.isnan(data["rms_error"][-1])
    inside = data["lead"] < 4
    expected = np.expm1(growth * data["lead"][inside]) / data.attrs["scale"]
    np.testing.assert_allclose(data["rms_error"][inside], expected, rtol=1e-5, atol=1e-6)


def test_errors_may_overflow_without_a_bound(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes, growth=60.0), X, t=t, horizon=10.0, bound=np.inf)
    assert np.isinf(report.data["error"][:, -1]).all()
    assert report.data["exceeded"].all()
    assert "null" in report.to_json()


def test_growth_within_the_bound_is_not_called_stable(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes, growth=0.3), X, t=t, horizon=10.0)
    assert not report.stable
    assert report.data["bounded"].all()
    assert report.verdict.startswith("bounded, but its variability grew")


def test_slow_growth_shows_in_the_long_run(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes, growth=0.02), X, t=t, horizon=10.0)
    assert not report.stable
    assert report.verdict == "bounded to lead time 10 s, but unstable in the long run"
    # It turns on a circle of the size of training, whose radius has grown by e^{0.02 t}.
    assert float(report.data["long_run_size"].max()) == pytest.approx(
        np.exp(2.0), rel=0.01
    )  # the mean is a sample
    steady = check(oscillator(modes), X, t=t, horizon=10.0)
    assert float(steady.data["long_run_size"].max()) == pytest.approx(1, abs=0.01)


def test_floor_and_dynamics_add_up_in_squares(modes):
    t, X = held_out(modes, off=0.3)
    data = check(oscillator(modes, omega=1.05), X, t=t, horizon=8.0).to_dataset()
    np.testing.assert_allclose(
        data["error"] ** 2, data["error_floor"] ** 2 + data["error_dynamics"] ** 2, atol=1e-12
    )
    starts = np.searchsorted(t, data["start_time"])
    rows = starts[:, None] + np.arange(data.sizes["lead"])
    np.testing.assert_allclose(
        data["error_floor"] * data.attrs["scale"], 0.3 * np.abs(np.sin(5 * t[rows])), atol=1e-9
    )
    np.testing.assert_allclose(data["error_dynamics"][:, 0], 0, atol=1e-12)


def test_blocks_of_any_size_give_the_same_figures(modes, monkeypatch):
    t, X = held_out(modes, off=0.3)
    whole = check(oscillator(modes, omega=1.05), X, t=t, horizon=8.0)
    monkeypatch.setattr(sys.modules["rom.rollout.compare"], "BLOCK_BYTES", 8 * X.shape[1] * 7)
    blocked = check(oscillator(modes, omega=1.05), X, t=t, horizon=8.0)
    np.testing.assert_allclose(blocked.data["error"], whole.data["error"], rtol=1e-12)
    np.testing.assert_allclose(blocked.data["skill"], whole.data["skill"], rtol=1e-9)


def test_no_skill_is_admitted(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes, omega=0.0, growth=0.05), X, t=t, horizon=1.0)
    assert report.verdict == "stable but no better than its baselines"


class Circle:
    """The full model, slow on purpose."""

    def __init__(self, modes):
        self.modes = modes
        self.calls = []

    def simulate(self, x0, t, *, u=None, params=None):
        self.calls.append((np.array(x0), np.array(t)))
        z = self.modes[:2] @ x0
        turn = OMEGA * (t - t[0])
        states = np.c_[
            np.cos(turn) * z[0] - np.sin(turn) * z[1], np.sin(turn) * z[0] + np.cos(turn) * z[1]
        ]
        for _ in range(200):
            np.linalg.svd(np.ones((40, 40)))
        return xr.DataArray(states @ self.modes[:2], dims=("time", "x"), coords={"time": t})


def test_a_full_model_is_run_from_the_same_states(modes):
    model, full = oscillator(modes), Circle(modes)
    t = np.arange(0, 30, 0.1)
    report = check(model, full, t=t, n_starts=4)
    data = report.to_dataset()
    rows = np.linspace(0, len(model.latent_) - 1, 4).round().astype(int)
    simulated = [x0 for x0, times in full.calls if len(times) == len(t)]
    np.testing.assert_allclose(simulated, model.latent_[rows] @ modes[:2])
    np.testing.assert_allclose(data["error"], 0, atol=1e-5)
    np.testing.assert_allclose(data["error_floor"], 0, atol=1e-12)
    assert (data["full_seconds"] > 0).all()
    assert (data["reduced_seconds"] > 0).all()
    ratio = np.median(data["full_seconds"]) / np.median(data["reduced_seconds"])
    assert report.cost_ratio == pytest.approx(ratio)
    assert "times less" in report.reasons[-1]


def test_a_full_model_takes_given_starts(modes):
    full = Circle(modes)
    starts = np.array([[1.0, 0.0], [0.0, 2.0]]) @ modes[:2]
    report = check(oscillator(modes), full, starts=starts, t=[0.0, 1.0, 2.0])
    assert report.data.sizes["start"] == 2
    np.testing.assert_array_equal([x0 for x0, t in full.calls if len(t) == 3], starts)


def test_windows_stay_inside_their_stretch():
    t = np.r_[0.0:10.0, 50.0:56.0, 100.0:120.0]
    pieces = [slice(0, 10), slice(10, 16), slice(16, 36)]
    found, n_sparse = windows(t, pieces, 7.0, 100)
    assert n_sparse == 0
    assert {w.stop - w.start for w in found} == {8}
    assert [w.start for w in found] == [0, 1, 2, *range(16, 29)]
    assert len(windows(t, pieces, 7.0, 5)[0]) == 5
    with pytest.raises(ValueError, match=r"horizon = 20.*3 stretches.*19 long"):
        windows(t, pieces, 20.0, 5)
    with pytest.raises(ValueError, match=r"horizon = 20 days: .* is 19 days long"):
        windows(t, pieces, 20.0, 5, "days")


def test_every_trajectory_that_reaches_the_horizon_is_tested_and_the_others_are_counted(modes):
    t = [np.arange(0, 30, 0.05), np.arange(0, 12, 0.05), np.arange(0, 3, 0.05)]
    X = [circle(t[0]) @ modes[:2], circle(3 * t[1]) @ modes[:2], circle(t[2]) @ modes[:2]]
    labels = np.repeat([0, 1, 2], [len(part) for part in t])
    report = check(
        oscillator(modes), np.concatenate(X), t=np.concatenate(t), trajectory=labels, horizon=5.0
    )
    assert report.data["exceeded"].any()  # the second turns three times as fast
    assert report.data.attrs["n_untested"] == 1
    assert "not tested: 1." in str(report)


def test_models_that_know_nothing_are_not_called_better(modes):
    t, X = held_out(modes)
    frozen, backwards = oscillator(modes, omega=0.0), oscillator(modes, omega=-1.0)
    assert check(frozen, X, t=t).verdict == "stable but no better than its baselines"
    assert "lead time 0" not in check(backwards, X, t=t).verdict


def test_uneven_times_are_compared_at_their_own(modes):
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.02, 0.08, size=600))
    report = check(oscillator(modes), circle(t) @ modes[:2], t=t, horizon=5.0)
    np.testing.assert_allclose(report.data["error"], 0, atol=1e-6)
    assert float(report.data["lead"][-1]) <= 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the times t"),
        (
            {"t": DT * np.arange(500), "horizon": -1.0},
            "horizon must be positive and finite, but it is -1",
        ),
        ({"t": DT * np.arange(500), "starts": np.ones((1, 7))}, "starts goes with a full model"),
        ({"t": DT * np.arange(500), "n_starts": 0}, "must be positive"),
        ({"t": DT * np.arange(500), "tolerance": 0.0}, "must be positive"),
        ({"t": DT * np.arange(500), "n_starts": 2.5}, "n_starts must be a whole number"),
        ({"t": DT * np.arange(500), "n_starts": True}, "n_starts must be a whole number"),
        ({"t": DT * np.arange(500), "tolerance": "x"}, "tolerance must be a number"),
        ({"t": DT * np.arange(500), "level": None}, "level must be a number"),
        ({"t": DT * np.arange(500), "invariants": [np.sum]}, "must map names to functions"),
        ({"t": DT * np.arange(500), "trajectory": np.arange(500) // 2}, "longest stretch .* has 2"),
    ],
)
def test_bad_arguments_are_named(modes, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check(oscillator(modes), held_out(modes)[1], **options)


@pytest.mark.parametrize("starts", [3.0, np.ones(7)])
def test_starts_that_are_no_states_are_refused(modes, starts):
    with pytest.raises(ValueError, match=r"starts must be .* \(n_starts, \*space\), 2-D"):
        check(oscillator(modes), Circle(modes), t=DT * np.arange(9), starts=starts)


def test_the_class_of_a_model_is_refused(modes):
    t, X = held_out(modes)
    with pytest.raises(TypeError, match=r"fitted rom\.ROM, but came <class"):
        check(Model, X, t=t)


def test_a_full_model_needs_times(modes):
    with pytest.raises(ValueError, match="output times t"):
        check(oscillator(modes), Circle(modes))
    with pytest.raises(ValueError, match="go with snapshots"):
        check(oscillator(modes), Circle(modes), t=[0.0, 1.0], horizon=1.0)


def test_json_is_strict_and_complete(modes, tmp_path):
    t, X = held_out(modes)
    report = check(oscillator(modes, growth=1.0), X, t=t, horizon=10.0, bound=np.inf)
    ended = check(oscillator(modes, growth=1.0), X, t=t, horizon=10.0)
    for each in (report, ended):
        text = each.to_json(tmp_path / "report.json")
        assert (tmp_path / "report.json").read_text() == text + "\n"

        def refuse(token):
            raise AssertionError(f"{token} is not JSON")

        found = json.loads(text, parse_constant=refuse)
        assert found["verdict"] == each.verdict
        assert found["stable"] is each.stable
        assert found["cost_ratio"] is None
        assert set(found["variables"]) == set(each.data.variables)
        values = np.array(found["variables"]["error"]["values"], dtype=float)
        np.testing.assert_allclose(values, each.data["error"])
    assert found["variables"]["error"]["values"][0][-1] is None


def test_the_dataset_goes_through_a_file(modes, tmp_path):
    t, X = held_out(modes)
    data = check(oscillator(modes), X, t=t).to_dataset()
    data.to_netcdf(tmp_path / "report.nc")
    with xr.open_dataset(tmp_path / "report.nc", decode_timedelta=False) as back:
        xr.testing.assert_equal(back.load(), data)
        assert back.attrs["verdict"] == data.attrs["verdict"]


def test_html_escapes_words_and_shows_the_figures(modes):
    t, X = held_out(modes)
    model = oscillator(modes)
    model.time_axis_ = SimpleNamespace(unit="<script>")
    html = replace(check(model, X, t=t), model=None)._repr_html_()  # this one has no preprocessing
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "stable and accurate" in html


def test_text_holds_the_verdict_and_all_reasons(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes), X, t=t)
    assert str(report).splitlines() == [
        f"StabilityReport: {report.verdict}", *(f"- {reason}" for reason in report.reasons)
    ]  # fmt: skip


def test_plot_draws_the_model_its_floor_and_the_baselines(modes):
    t, X = held_out(modes)
    report = check(oscillator(modes), X, t=t, horizon=10.0)
    drawn = [line.get_ydata() for line in report.plot().axes[0].get_lines()]
    for expected in (report.data["rms_error"][1:], *report.data["baseline_error"][:, 1:]):
        assert any(np.array_equal(y[1:], expected) for y in drawn)


def test_check_is_public():
    assert rom.check is check


@pytest.mark.parametrize("memory", [0.5, 0.95, 0.99])
def test_most_forecasts_are_within_the_tolerance_to_the_reliable_time(memory):
    rng, Z = np.random.default_rng(0), np.zeros((3000, 2))
    for i in range(1, len(Z)):
        Z[i] = memory * Z[i - 1] + np.sqrt(1 - memory**2) * rng.normal(size=2)
    t = np.arange(3000.0)
    model = rom.ROM(rom.Identity(), rom.DMD()).fit(Z[:1500], t=t[:1500])
    report = check(model, Z[1500:], t=t[1500:], horizon=5.0, n_starts=200)
    within = (report.data["error"] <= report.data.attrs["tolerance"]).mean("start")
    assert within.sel(lead=slice(None, report.reliable_time)).min() >= 0.9
    assert within.sel(lead=report.reliable_time + 1) < 0.91


def test_a_right_model_is_trusted_on_uneven_times():
    rng = np.random.default_rng(0)
    t = np.arange(0, 60, 0.05) + rng.uniform(-0.005, 0.005, 1200)
    X = np.c_[np.sin(t), np.cos(t)]
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA")).fit(X[:600], t=t[:600])
    report = check(model, X[600:], t=t[600:], horizon=3.0, n_starts=20, thorough=True)
    assert not report.data["exceeded"].any()
    assert report.trusted


def test_what_grows_as_the_reference_does_is_not_unstable():
    """A damped oscillator whose forcing is four times stronger after training."""
    A, h = np.array([[-0.2, 1.0], [-1.0, -0.2]]), 0.005
    t = np.arange(0, 100, 0.1)
    w = np.where(t < 50, 1.0, 4.0) * np.sin(0.3 * t)
    Z = np.zeros((len(t), 2))
    for i in range(len(t) - 1):
        Z[i + 1] = Z[i]
        for force in np.interp(h * (np.arange(20) + 0.5), [0, 0.1], w[i : i + 2]):
            Z[i + 1] += h * (A @ Z[i + 1] + [0, force])
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA"))
    model.fit(Z[:500], t=t[:500], u=w[:500, None])
    report = check(model, Z[500:], t=t[500:], u=w[500:, None], horizon=5.0, n_starts=50)
    assert report.stable
    assert "unstable" not in report.verdict


def test_a_model_of_what_never_changed_is_checked_against_what_does():
    t = np.arange(0, 20, 0.1)
    X = np.full((200, 2), 2.0)
    X[100:, 0] += np.sin(t[100:])
    plain = rom.Scale(scale=False)
    model = rom.ROM(rom.Identity(), rom.OperatorInference("cA"), preprocess=plain)
    report = check(model.fit(X[:100], t=t[:100]), X[100:], t=t[100:], n_starts=5)
    assert not report.trusted
    assert np.isfinite(report.data["long_run_size"]).all()
