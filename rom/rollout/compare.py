"""One rollout beside the truth and the simple forecasts: sums of squares by lead time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.rollout.baselines import Climate
from rom.rollout.cost import timed_rollout
from rom.rollout.inputs import onward
from rom.rollout.result import Rollout, Status
from rom.rollout.run import rollout
from rom.rollout.skill import anomaly_correlation
from rom.rollout.truths import Truth

Array = NDArray[np.float64]

# How many horizons a rollout is carried on for, past the end of the reference, to see it stay.
LONG_RUN = 10
# States are compared this many bytes at a time.
BLOCK_BYTES = 64 * 2**20


class LongRun(NamedTuple):
    """The rollout carried on: to ten horizons, or as far as its inputs are known."""

    t: Array
    """Times from the end of the reference on."""
    u: Array | None
    """Inputs then."""
    repeated: bool
    """Whether these are periodic, and were repeated."""
    size: float
    """Of the largest state, from the training mean; infinite where it ended early, NaN where it
    could not be carried on."""
    known_size: float
    """The same of the training and of the reference, as far as it was compared."""


class Comparison(NamedTuple):
    """One start: the rollout against the truth."""

    lead: Array
    run: Rollout
    truth: Array
    """Latent states (n_lead, rank) of the truth, projected."""
    row: Array
    """Its first state (n_space,), as the compressor sees it."""
    squares: dict[str, Array]
    """Sums over space by lead time: of ``error``, ``error_floor``, ``error_dynamics``,
    ``variability``, and of the error of each baseline."""
    anomaly_correlation: Array
    full_seconds: float
    reduced_seconds: float
    long_run: LongRun
    start: float
    """Time of the start in the record that it is taken from."""
    stretch: int
    """In which stretch of the record it lies."""
    u: Array | None
    """Inputs at the times of the run."""

    @property
    def onward(self) -> tuple[Array, Array | None]:
        """Times and inputs of the run and of the long one after it."""
        longer = self.long_run
        t = np.concatenate([self.run.t, longer.t[1:]])
        if self.u is None or longer.u is None:
            return t, None
        return t, np.concatenate([self.u, longer.u[1:]])


def compare(model: Any, climate: Climate, truth: Truth, bound: float | None) -> Comparison:
    """Roll out from the truth's first state, and measure."""
    rows, Z = truth.rows, truth.latent(model)
    decode_too = bool(np.isfinite(truth.seconds))  # as the full model's run gives fields
    run, seconds = timed_rollout(model, Z[0], truth.t, truth.u, bound, decode=decode_too)
    lead = truth.t - truth.t[0]
    latent = climate.forecasts(Z[0], truth.t)
    width = max(1, BLOCK_BYTES // (8 * rows.shape[1]))
    blocks = [
        _by_lead(model, climate, truth, Z, run.z, latent, slice(i, i + width))
        for i in range(0, len(rows), width)
    ]
    found = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Comparison(
        lead=lead,
        run=run,
        truth=Z,
        row=rows[0],
        anomaly_correlation=found.pop("anomaly_correlation"),
        squares=found,
        full_seconds=truth.seconds,
        reduced_seconds=seconds,
        long_run=_long_run(model, climate, truth, Z, run),
        start=float(truth.t[0] if truth.start is None else truth.start),
        stretch=truth.stretch,
        u=truth.u,
    )


def _by_lead(
    model: Any,
    climate: Climate,
    truth: Truth,
    Z: Array,
    z: Array,
    latent: dict[str, Array],
    part: slice,
) -> dict[str, Array]:
    """Sums over space at the lead times `part`; `latent` holds forecasts by baselines."""
    rows = truth.rows[part]
    forecast, projected = decode(model, z[part]), model.from_latent(Z[part])
    anomaly, forecast_anomaly = rows - climate.mean_row, forecast - climate.mean_row
    squares = {
        "error": _squares(forecast - rows),
        "error_floor": _squares(projected - rows),
        "error_dynamics": _squares(forecast - projected),
        "variability": _squares(forecast_anomaly),
        "persistence": _squares(truth.rows[0] - rows),
        "climatology": _squares(anomaly),
        "anomaly_correlation": anomaly_correlation(forecast_anomaly, anomaly),
    }
    for name, states in latent.items():
        squares[name] = _squares(model.from_latent(states[part]) - rows)
    if truth.coarse is not None:
        squares["coarse"] = _squares(truth.coarse[part] - rows)
    return squares


def _long_run(model: Any, climate: Climate, truth: Truth, Z: Array, run: Rollout) -> LongRun:
    """Carry a rollout on, and see how large its states become."""
    n = len(run.t) - 1

    def size_of(states: Array) -> float:
        return float(np.linalg.norm(states - climate.mean, axis=1).max())

    known_size = max(size_of(model.latent_), size_of(Z))
    if truth.known is None:
        t = run.t[-1] + np.arange((LONG_RUN - 1) * n + 1) * (run.t[-1] - run.t[0]) / n
        u, repeated = None, False
    else:
        t, u, repeated = onward(*truth.known, (LONG_RUN - 1) * n)
    if run.status is not Status.COMPLETED:
        return LongRun(t, u, repeated, np.inf, known_size)
    if len(t) < 2:
        return LongRun(t, u, repeated, np.nan, known_size)
    longer = rollout(model.dynamics_, run.z[-1], t, u=u, bound=run.bound, throw=False)
    if longer.status is not Status.COMPLETED:
        return LongRun(t, u, repeated, np.inf, known_size)
    return LongRun(t, u, repeated, size_of(np.concatenate([run.z, longer.z])), known_size)


def decode(model: Any, z: Array) -> Array:
    """States of a rollout, NaN after its end without showing the compressor any NaN."""
    reached = np.isfinite(z).all(axis=1)
    states = model.from_latent(z[reached])
    out = np.full((len(z), states.shape[1]), np.nan)
    out[reached] = states
    return out


def _squares(rows: Array) -> Array:
    return np.sum(rows.astype(np.float64) ** 2, axis=1)
