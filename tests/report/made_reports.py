"""Reports made by hand: one with the least there is, one with all there can be."""

import numpy as np
import xarray as xr

from rom.data.times import TimeAxis
from rom.rollout import StabilityReport, Status
from rom.rollout.verdict import verdict_of

N, M = 12, 30
LEAD = np.linspace(0.0, 5.8, M)
STATISTICS = ["moments", "histogram", "joint_histogram", "spectrum", "autocorrelation", "energy"]


def bare(n=N, unit="days"):
    """What every check has."""
    rng = np.random.default_rng(0)
    error = 0.05 + 0.1 * LEAD * rng.uniform(0.5, 1.5, (n, 1))
    baselines = ["persistence", "climatology", "damped_persistence", "seasonal", "coarse"]
    exceeded = (error > 0.4).any(axis=1)
    first = np.where(exceeded, (error > 0.4).argmax(axis=1), M - 1)
    data = xr.Dataset(
        {
            "error": (("start", "lead"), error),
            "error_floor": (("start", "lead"), np.full((n, M), 0.05)),
            "error_dynamics": (("start", "lead"), error - 0.05),
            "rms_error": ("lead", np.sqrt((error**2).mean(axis=0))),
            "baseline_error": (("baseline", "lead"), np.tile(0.2 * LEAD, (5, 1))),
            "skill": (("baseline", "lead"), np.outer(np.arange(1, 6), 1 - LEAD / 6) / 6),
            "valid_time": ("start", LEAD[first]),
            "exceeded": ("start", exceeded),
            "horizon": ("start", np.full(n, LEAD[-1])),
            "status": ("start", ["COMPLETED"] * n),
            "bounded": ("start", [True] * n),
            "end_lead": ("start", np.full(n, LEAD[-1])),
            "long_run_size": ("start", np.ones(n)),
            "variability_ratio": ("lead", np.ones(M)),
            "full_seconds": ("start", np.full(n, np.nan)),
            "reduced_seconds": ("start", np.full(n, np.nan)),
        },
        coords={"lead": LEAD, "baseline": baselines, "start_time": ("start", 10.0 + np.arange(n))},
        attrs={
            "tolerance": 0.4,
            "level": 0.9,
            "reliable_time": 2.2,
            "held_time": 2.4,
            "held_apart": 5,
            "bound": 9.0,
        }
        | {"time_unit": unit, "scale": 1.0, "n_untested": 0},
    )
    return StabilityReport(data, "stable & better than its baselines", ("One reason.", "A < B."))


def complete():
    """Every variable there can be."""
    report = bare()
    return StabilityReport(_curves(_figures(report.data)), report.verdict, report.reasons)


class Dated:
    """As much of a model as says what day it is: its times are days since some date."""

    def __init__(self, unit="days", calendar="datetime64"):
        self.time_axis_ = TimeAxis("time", unit, "1982-01-01T00:00:00", calendar)


def stiff():
    """A check whose rollouts took too many steps."""
    data = bare().data
    ended = data.assign(
        status=("start", [Status.TOO_MANY_STEPS.name] * N), bounded=data["bounded"] & False
    )
    return StabilityReport(ended, verdict_of(ended), ("Too stiff.",))


def _figures(data):
    band = {"level": 0.9, "coverage": 0.904, "coverage_low": 0.881, "coverage_high": 0.923}
    n = data.sizes["start"]
    return data.assign(
        full_seconds=("start", np.full(n, 2.0)),
        reduced_seconds=("start", np.full(n, 0.01)),
        error_bound=(
            ("start", "lead"),
            3 * data["error_dynamics"].values,
            {"kind": "certified", "reason": "Suprema on a ball."},
        ),
        useful_horizon=("start", np.linspace(1, 5.8, n)),
        effectivity=("lead", np.full(M, 3.0)),
        perturbation_growth=("lead", np.exp(LEAD)),
        growth_bound=("lead", np.exp(1.5 * LEAD), {"kind": "estimated"}),
        band_radius=(
            ("coordinate", "lead"),
            np.outer([1.0, 0.6, 0.3, 0.1], 0.1 + LEAD),
            band | {"n_calibration": 300, "n_test": 500},
        ),
        cell_band_radius=(
            ("cell", "lead"),
            np.outer([2.0, 4.0, 3.0, 50.0], 0.1 + LEAD),
            band | {"n_calibration": 300, "n_test": 500},
        ),
        distance=("statistic", [0.02, 0.03, 0.1, 0.2, 0.05, 0.01]),
        sampling_error=("statistic", [0.03, 0.04, 0.08, 0.25, 0.06, 0.02]),
        statistics_kept=("statistic", [True, True, False, True, True, True], {"tolerance": 0.1}),
        statistics_known=("statistic", [True, True, True, True, True, False]),
        lyapunov_model=("exponent", [0.9, 0.01, -14.5]),
        lyapunov_truth=("exponent", [0.906, 0.0, -14.57]),
        lyapunov_model_error=("exponent", [0.021, 0.004, 0.03]),
        lyapunov_truth_error=("exponent", [0.0111, 0.002, 0.02]),
        kaplan_yorke_model=2.06,
        kaplan_yorke_truth=2.062,
        lyapunov_time=1.1,
        invariant_drift=(("invariant", "lead"), 1e-12 * np.outer([1, 5], 1 + LEAD)),
        invariant_drift_truth=(("invariant", "lead"), 1e-13 * np.outer([1, 5], 1 + LEAD)),
        anomaly_correlation=("lead", 1 - LEAD / 10),
        anomaly_correlation_low=("lead", 0.9 - LEAD / 10),
        anomaly_correlation_high=("lead", np.minimum(1.1 - LEAD / 10, 1)),
        skill_low=data["skill"] - 0.1,
        skill_high=data["skill"] + 0.1,
        crps=("lead", 0.1 + 0.05 * LEAD),
        crps_low=("lead", 0.08 + 0.04 * LEAD),
        crps_high=("lead", 0.12 + 0.06 * LEAD),
        crps_climatology=("lead", np.full(M, 0.5)),
        left_range=("start", np.where(np.arange(n) % 3 == 0, 2.5, np.nan)),
    ).assign_attrs(
        range_kind="hull",
        certificate="trapping region of radius 2.3",
        certificate_search="trapping region, basin",
        reduced_flops=1.2e6,
        reduced_bytes=3.2e4,
        full_bytes=4.1e8,
        fit_seconds=1.3,
        break_even_runs=3.0,
    )


def _curves(data):
    frequency = np.linspace(0.05, 2, 40)
    edges = np.linspace(-3, 3, 21)
    power = np.outer([1.0, 0.5, 0.2, 0.1], 1 / (0.1 + frequency**2))
    shares = np.tile(np.exp(-(edges[:-1] ** 2)), (4, 1))
    joint = np.tile(np.tri(12) / 78, (3, 1, 1))
    data = data.assign(
        spectrum_frequency=("frequency", frequency),
        spectrum_truth=(("coordinate", "frequency"), power),
        spectrum_model=(("coordinate", "frequency"), 1.1 * power),
        histogram_edges=(("coordinate", "edge"), np.tile(edges, (4, 1))),
        histogram_truth=(("coordinate", "bin"), shares),
        histogram_model=(("coordinate", "bin"), 0.9 * shares),
        joint_coordinates=(("pair", "of_pair"), [[0, 1], [0, 2], [1, 2]]),
        joint_histogram_truth=(("pair", "first_bin", "second_bin"), joint),
        joint_histogram_model=(("pair", "first_bin", "second_bin"), joint[:, ::-1]),
        lag=("lags", np.linspace(0, 5, 20)),
        autocorrelation_truth=(("coordinate", "lags"), np.tile(np.linspace(1, 0, 20), (4, 1))),
        autocorrelation_model=(("coordinate", "lags"), np.tile(np.linspace(1, 0.1, 20), (4, 1))),
        running_coverage=(
            ("band", "tested"),
            [[0.9, 0.8, 0.7, 0.6], [0.9, 0.85, 0.9, 0.9]],
            {"level": 0.9},
        ),
        adaptive_width=("tested", [1.0, 1.1, np.inf, 1.4]),
        latent_truth=(("coordinate", "lead"), np.cos(LEAD + np.arange(4)[:, None])),
        latent_model=(("coordinate", "lead"), np.cos(1.1 * LEAD + np.arange(4)[:, None])),
    )
    return with_fields(
        data.assign_coords(
            statistic=STATISTICS,
            invariant=["energy", "mass"],
            band=["fixed", "adaptive"],
            cell=["h [m] at x 0", "h [m] at x 1", "h [m] at x 2", "v [m/s] at x 0"],
            cell_variable=("cell", ["h [m]", "h [m]", "h [m]", "v [m/s]"]),
        )
    )


def with_fields(data, n_snapshots=8, shape=(10, 24)):
    """A wave on a map, some of it land, that the model has drift away."""
    lead = np.linspace(0, LEAD[-1], n_snapshots)
    x = np.linspace(0, 2 * np.pi, shape[-1])
    dims = ("snapshot", "lat", "lon") if len(shape) == 2 else ("snapshot", "x")
    attrs = {"long_name": "height", "units": "m"}

    def wave(speed):
        values = np.cos(x - speed * lead.reshape(-1, *[1] * len(shape))) * np.ones(shape)
        values[..., :2] = np.nan
        return xr.DataArray(values, dims=dims, attrs=attrs)

    fields = {"field_truth": wave(1.0), "field_model": wave(1.3)}
    return data.assign(fields).assign_coords(snapshot_lead=("snapshot", lead))
