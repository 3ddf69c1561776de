"""Check a reduced model against the full one: run both from the same states and compare.

Errors are measured where the compressor works, on flattened, scaled and weighted numbers, and
divided by the root mean square distance of the reference from the training mean: an error of 1
is that of forecasting the climatology.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from rom import checks
from rom.base import Compressor, FullModel
from rom.data.trajectory import segments
from rom.rollout.result import Rollout, Status
from rom.rollout.run import rollout
from rom.rollout.skill import anomaly_correlation, damped_persistence, lag_one_autocorrelation
from rom.rollout.stability import Comparison, StabilityReport, summarise

Array = NDArray[np.float64]

# Lazy snapshots up to this many bytes are read into memory once.
READ_ONCE = 512 * 2**20
# How many horizons a rollout is carried on for, past the end of the reference, to see it stay.
LONG_RUN = 10
# States are compared this many bytes at a time.
BLOCK_BYTES = 64 * 2**20


def check(
    model: Any,
    reference: Any,
    *,
    starts: Any = None,
    t: ArrayLike | None = None,
    u: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
    horizon: float | None = None,
    n_starts: int = 20,
    tolerance: float = 0.4,
    bound: float | None = None,
) -> StabilityReport:
    """Check the rollouts of a fitted model against the full model, or held-out snapshots.

    Each rollout is compared as far as the reference goes, and, unless the model takes inputs,
    carried on to ten times that, to see whether it stays.

    Parameters
    ----------
    model : ROM
        A fitted model.
    reference : FullModel, DataArray, Dataset or ndarray
        What the model stands for: a full model, run from the same states, or snapshots it was
        not fitted on.
    starts : array_like, shape (n_starts, *space), optional
        States a full model is run from; by default training states, as the compressor keeps them.
    t : array_like, shape (n_time,), optional
        For a full model the output times, ``t[0]`` that of the starts. For NumPy snapshots the
        times of the rows; labelled ones bring their own.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs at the times `t`, or of the snapshots.
    trajectory : array_like, shape (n_time,), optional
        Trajectory labels of NumPy snapshots.
    horizon : float, optional
        How far each rollout through snapshots runs, in time units; by default half of the median
        stretch of continuous sampling.
    n_starts : int, default 20
        The most starts to take, evenly spaced over the training states or the snapshots.
    tolerance : float, default 0.4
        The normalised error up to which a forecast counts as valid.
    bound : float, optional
        Norm of the latent state past which a rollout is ended; see :func:`rom.rollout`.

    Returns
    -------
    StabilityReport

    Raises
    ------
    ValueError
        If the snapshots have no stretch as long as `horizon`, or a full model got no times.

    Examples
    --------
    >>> import numpy as np, rom
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=t[:100])
    >>> report = rom.check(model, X[100:], t=t[100:], n_starts=5)
    >>> report.verdict
    'stable and accurate to the horizon, lead time 4.9'
    >>> report.to_dataset().sizes["start"]
    5
    """
    if not n_starts >= 1 or not tolerance > 0:
        raise ValueError(
            f"n_starts and tolerance must be positive, but they are {n_starts} and {tolerance}."
        )
    if isinstance(reference, type):
        raise TypeError(f"Give an instance of {reference.__name__}, not the class.")
    if not hasattr(model, "to_rows"):
        raise TypeError(
            f"check takes a fitted rom.ROM, but came a {type(model).__name__}; wrap a latent "
            "model as rom.ROM(rom.Identity(), dynamics)."
        )
    if isinstance(reference, FullModel):
        if horizon is not None or trajectory is not None:
            raise ValueError("horizon and trajectory go with snapshots; a full model runs over t.")
        truths, n_untested = _simulated(model, reference, starts, t, u, n_starts), 0
    else:
        if starts is not None:
            raise ValueError("starts goes with a full model; for snapshots give n_starts.")
        truths, n_untested = _held_out(model, reference, t, u, trajectory, horizon, n_starts)
    climate = _Climate.of(model)
    unit = "" if model.time_axis_ is None else model.time_axis_.unit
    with np.errstate(over="ignore", invalid="ignore"):  # without a bound errors may overflow
        progress = tqdm(truths, "checking", unit=" rollouts", leave=False, disable=None)
        comparisons = [_compare(model, climate, truth, bound) for truth in progress]
        return summarise(comparisons, tolerance=tolerance, unit=unit, n_untested=n_untested)


class _Truth(NamedTuple):
    """What the full system did from one start."""

    t: Array
    u: Array | None
    rows: Array
    seconds: float


def _simulated(
    model: Any, reference: FullModel, starts: Any, t: Any, u: Any, n_starts: int
) -> Iterator[_Truth]:
    if t is None or np.size(t) < 2:
        raise ValueError("A check against a full model needs its output times t, two or more.")
    t = checks.check_times(t, np.size(t))
    u = checks.check_inputs(u, len(t), n_inputs=model.dynamics_.n_inputs_)
    chosen = _evenly(np.arange(len(model.latent_)), n_starts)
    decoded = model.decode(model.latent_[chosen])
    if hasattr(decoded, "data_vars"):
        raise TypeError("A full model has one field, but the reduced one was fitted on a Dataset.")
    states = np.asarray(decoded if starts is None else starts)
    reference.simulate(states[0], t[:2], u=None if u is None else u[:2])  # compiles, where it must
    for state in states:
        begin = perf_counter()
        run = reference.simulate(state, t, u=u)
        seconds = perf_counter() - begin
        if isinstance(decoded, np.ndarray):
            rows = model.to_rows(run.values.reshape(len(t), -1), t=t).rows
        else:
            rows = model.to_rows(run).rows
        yield _Truth(t, u, np.asarray(rows), seconds)


def _held_out(
    model: Any,
    reference: Any,
    t: Any,
    u: Any,
    trajectory: Any,
    horizon: float | None,
    n_starts: int,
) -> tuple[Iterator[_Truth], int]:
    """What the snapshots did from each start, and how many stretches are too short to tell."""
    rows, times, codes = model.to_rows(reference, t=t, trajectory=trajectory)
    u = checks.check_inputs(u, len(rows), n_inputs=model.dynamics_.n_inputs_)
    if times is None:
        if model.dynamics_.time == "continuous":
            raise ValueError("A continuous-time model needs the times t of the snapshots.")
        dt = model.dynamics_.dt_
        times = np.arange(len(rows)) * (dt if np.isfinite(dt) else 1.0)
    if rows.nbytes <= READ_ONCE:
        rows = np.asarray(rows)  # lazy rows would be read again for every start
    pieces = segments(times, codes)
    spans = np.array([times[piece.stop - 1] - times[piece.start] for piece in pieces])
    horizon = float(np.median(spans) / 2 if horizon is None else horizon)
    if not 0 < horizon < np.inf:
        raise ValueError(f"horizon must be positive and finite, but it is {horizon:g}.")
    windows = _windows(times, pieces, horizon, n_starts)
    truths = (
        _Truth(times[w], None if u is None else u[w], np.asarray(rows[w]), np.nan) for w in windows
    )
    return truths, int(np.sum(spans < horizon * (1 - 1e-9)))


def _windows(t: Array, pieces: list[slice], horizon: float, n_starts: int) -> list[slice]:
    """Equally many rows from each of some evenly spaced starts, each inside one of `pieces`."""
    slack = 1e-9 * max(1.0, abs(horizon))
    ends = np.full(len(t), -1)
    for piece in pieces:
        inside = t[piece]
        reaches = inside + horizon <= inside[-1] + slack
        ends[piece][reaches] = piece.start + np.searchsorted(
            inside, inside[reaches] + horizon + slack, side="right"
        )
    rows = np.arange(len(t))
    candidates = rows[ends - rows >= 2]
    if not candidates.size:
        longest = max(t[piece.stop - 1] - t[piece.start] for piece in pieces)
        raise ValueError(
            f"No start has two rows or more within horizon = {horizon:g}: the longest of the "
            f"{len(pieces)} stretches of continuous sampling is {longest:g} long."
        )
    chosen = _evenly(candidates, n_starts)
    n_rows = int((ends[chosen] - chosen).min())
    return [slice(int(row), int(row) + n_rows) for row in chosen]


def _evenly(rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))]


class _Climate(NamedTuple):
    """What the baselines know: the training mean and the persistence of each coordinate."""

    mean: Array
    mean_row: Array
    autocorrelation: Array
    dt: float

    @classmethod
    def of(cls, model: Any) -> _Climate:
        t = model.latent_t_
        pieces = segments(t, model.latent_trajectory_)
        steps = np.concatenate([np.zeros(0) if t is None else np.diff(t[p]) for p in pieces])
        mean = model.latent_.mean(axis=0)
        return cls(
            mean=mean,
            mean_row=model.compressor_.inverse_transform(mean[None]),
            autocorrelation=lag_one_autocorrelation(model.latent_, pieces),
            dt=float(np.median(steps)) if len(steps) else 1.0,
        )


def _compare(model: Any, climate: _Climate, truth: _Truth, bound: float | None) -> Comparison:
    compressor, rows = model.compressor_, truth.rows
    Z = compressor.transform(rows)
    run, seconds = _timed_rollout(model, Z[0], truth, bound)
    lead = truth.t - truth.t[0]
    damped = damped_persistence(Z[0], lead / climate.dt, climate.mean, climate.autocorrelation)
    width = max(1, BLOCK_BYTES // (8 * rows.shape[1]))
    blocks = [
        _by_lead(compressor, climate, rows[0], rows[part], Z[part], run.z[part], damped[part])
        for part in (slice(i, i + width) for i in range(0, len(rows), width))
    ]
    return Comparison(
        start=float(truth.t[0]),
        lead=lead,
        run=run,
        full_seconds=truth.seconds,
        reduced_seconds=seconds,
        long_run_size=_long_run_size(model, climate, truth, run),
        **{name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]},
    )


def _by_lead(
    compressor: Compressor,
    climate: _Climate,
    first: Array,
    rows: Array,
    Z: Array,
    z: Array,
    damped: Array,
) -> dict[str, Array]:
    """Sums over space at some lead times: the fields of a Comparison that have one per lead."""
    forecast, projected = _decode(compressor, z), compressor.inverse_transform(Z)
    anomaly, forecast_anomaly = rows - climate.mean_row, forecast - climate.mean_row
    return {
        "error": _squares(forecast - rows),
        "error_floor": _squares(projected - rows),
        "error_dynamics": _squares(forecast - projected),
        "persistence": _squares(first - rows),
        "climatology": _squares(anomaly),
        "damped_persistence": _squares(compressor.inverse_transform(damped) - rows),
        "variability": _squares(forecast_anomaly),
        "anomaly_correlation": anomaly_correlation(forecast_anomaly, anomaly),
    }


def _timed_rollout(
    model: Any, z0: Array, truth: _Truth, bound: float | None
) -> tuple[Rollout, float]:
    """The rollout, and what it and its decoding took; only timed where the full model was."""
    options: dict[str, Any] = {"bound": bound, "throw": False}
    if np.isnan(truth.seconds):
        return rollout(model.dynamics_, z0, truth.t, u=truth.u, **options), np.nan
    first = None if truth.u is None else truth.u[:1]
    rollout(model.dynamics_, z0, truth.t[:1], u=first, **options)  # compiles, where it must
    begin = perf_counter()
    run = rollout(model.dynamics_, z0, truth.t, u=truth.u, **options)
    model.decode(run.z)
    return run, perf_counter() - begin


def _long_run_size(model: Any, climate: _Climate, truth: _Truth, run: Rollout) -> float:
    """Largest state, over that in training, of the rollout carried on to ten horizons.

    Infinite where it ends early, NaN where it cannot be carried on since the inputs are unknown.
    """
    if run.status is not Status.COMPLETED:
        return np.inf
    if truth.u is not None:
        return np.nan
    n = (LONG_RUN - 1) * (len(run.t) - 1)
    t = np.arange(n + 1) * (run.t[-1] - run.t[0]) / (len(run.t) - 1)
    longer = rollout(model.dynamics_, run.z[-1], t, bound=run.bound, throw=False)
    if longer.status is not Status.COMPLETED:
        return np.inf
    largest = np.linalg.norm(model.latent_ - climate.mean, axis=1).max()
    states = np.concatenate([run.z, longer.z]) - climate.mean
    return float(np.linalg.norm(states, axis=1).max() / largest)


def _decode(compressor: Compressor, z: Array) -> Array:
    """States of a rollout, NaN after its end without showing the compressor any NaN."""
    reached = np.isfinite(z).all(axis=1)
    states = compressor.inverse_transform(z[reached])
    out = np.full((len(z), states.shape[1]), np.nan)
    out[reached] = states
    return out


def _squares(rows: Array) -> Array:
    return np.sum(rows.astype(np.float64) ** 2, axis=1)
