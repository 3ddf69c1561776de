"""What the full system did: runs of a full model, or windows of held-out snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom import checks
from rom.base import FullModel
from rom.data.trajectory import EVEN_RTOL, segments
from rom.rollout.coarse import Rival, at_equal_cost
from rom.rollout.cost import least, timed_rollout

Array = NDArray[np.float64]

# Lazy snapshots up to this many bytes are read into memory once.
READ_ONCE = 512 * 2**20


class Truth(NamedTuple):
    """What the full system did from one start."""

    t: Array
    u: Array | None
    rows: Array
    """States (n_time, n_space) as the compressor sees them."""
    seconds: float = np.nan
    """What the full model took; NaN for snapshots."""
    coarse: Array | None = None
    """The same by the rival at equal cost, where there is one; infinite where it failed."""
    known: tuple[Array, Array, int] | None = None
    """Times and inputs of the stretch that the start lies in, and how many of these rows come to
    the end of the rollout."""
    before: Array | None = None
    """Rows before the start, which the latent states of a model with delays hold."""
    start: float | None = None
    """Time of the start in the record that it is taken from, if that is not the first of `t`."""
    stretch: int = 0
    """Number of the record, or of the stretch of sampling, that the start lies in."""

    def latent(self, model: Any) -> Array:
        """Latent states (n_time, rank), projected."""
        rows = self.rows if self.before is None else np.concatenate([self.before, self.rows])
        return np.asarray(model.to_latent(rows))


class Truths(NamedTuple):
    """All there is to compare with."""

    starts: Iterator[Truth]
    """One at a time, equally many rows each."""
    stretches: Iterator[Truth]
    """Whole stretches of continuous sampling; none for a full model, whose runs are whole."""
    n_untested: int
    """Stretches that are too short, or have too few times, to be compared."""
    rival: Rival | None = None
    """The coarse full model."""


def simulated(
    model: Any, reference: FullModel, starts: Any, t: Any, u: Any, n_starts: int
) -> Truths:
    """Runs of a full model from `starts`, or from evenly spaced training states."""
    if t is None or np.size(t) < 2:
        raise ValueError("A check against a full model needs its output times t, two or more.")
    t = checks.check_times(t, np.size(t))
    u = model.inputs_at(u, t, len(t))
    if u is not None and model.states_per_row > 1:
        raise ValueError(
            "The inputs before a start, which gave its history, are not known: check a model with "
            "delays and inputs on snapshots."
        )
    chosen = evenly(np.arange(len(model.latent_)), n_starts)
    decoded = model.decode(model.latent_[chosen])
    if hasattr(decoded, "data_vars"):
        raise TypeError("A full model has one field, but the reduced one was fitted on a Dataset.")
    states = np.asarray(decoded if starts is None else starts)
    if states.ndim != np.ndim(decoded):
        raise ValueError(
            f"starts must be states of the full model (n_starts, *space), {np.ndim(decoded)}-D, "
            f"but its shape is {states.shape}."
        )
    if not len(states):
        raise ValueError("starts must hold at least one state, but it is empty.")
    reference.simulate(states[0], t[:2], u=None if u is None else u[:2])  # compiles, where it must
    budget = least(lambda: timed_rollout(model, model.latent_[chosen[0]], t, u)[1])
    rival = at_equal_cost(reference, states[0], t, u, budget)
    plain = isinstance(decoded, np.ndarray)
    times, labels = np.full(len(states), t[0]), np.arange(len(states))
    if starts is None:  # near each other in the training record, they are not independent
        times, labels = _training_times(model)[chosen], model.latent_trajectory_[chosen]
    runs = (
        full_run(model, reference, rival, state, t, u, plain)._replace(
            start=float(time), stretch=int(label)
        )
        for state, time, label in zip(states, times, labels, strict=True)
    )
    return Truths(runs, iter(()), 0, rival)


def _training_times(model: Any) -> Array:
    """Of the latent states that a model was fitted to."""
    if model.latent_t_ is None:
        return step_of(model) * np.arange(len(model.latent_), dtype=np.float64)
    return np.asarray(model.latent_t_, dtype=np.float64)


def full_run(
    model: Any,
    reference: FullModel,
    rival: Rival | None,
    state: Array,
    t: Array,
    u: Array | None,
    plain: bool,
) -> Truth:
    """The full model from a state, as rows."""

    def rows_of(run: Any, t: Array) -> Array:
        if plain:
            return np.asarray(model.to_rows(run.values.reshape(len(t), -1), t=t).rows)
        return np.asarray(model.to_rows(run).rows)

    before = None
    if model.states_per_row > 1:
        past = t[0] + step_of(model) * np.arange(1 - model.states_per_row, 1)
        history = reference.simulate(state, past)
        before, state = rows_of(history, past)[:-1], np.asarray(history.values)[-1]
    begin = perf_counter()
    run = reference.simulate(state, t, u=u)
    seconds = perf_counter() - begin
    rows, known = rows_of(run, t), None if u is None else (t, u, len(t))
    if rival is None:
        return Truth(t, u, rows, seconds, known=known, before=before)
    try:
        coarse = rows_of(rival.model.simulate(state, t, u=u), t)
    except FloatingPointError:
        coarse = np.full_like(rows, np.inf)
    return Truth(t, u, rows, seconds, coarse, known, before)


def held_out(
    model: Any,
    reference: Any,
    t: Any,
    u: Any,
    trajectory: Any,
    horizon: float | None,
    n_starts: int,
) -> Truths:
    """Windows of snapshots, each `horizon` long or half of the median stretch."""
    rows, times, codes = model.to_rows(reference, t=t, trajectory=trajectory)
    if rows.shape[0] < 2:
        raise ValueError(
            f"A check needs two snapshots or more of the reference, but it has {rows.shape[0]}."
        )
    u = model.inputs_at(u, times, rows.shape[0])
    if times is None:
        if model.dynamics_.time == "continuous":
            raise ValueError("A continuous-time model needs the times t of the snapshots.")
        times = np.arange(rows.shape[0]) * step_of(model)
    if rows.nbytes <= READ_ONCE:
        rows = np.asarray(rows)  # lazy rows would be read again for every start
    past = model.states_per_row - 1
    pieces, n_short = [], 0
    for piece in segments(times, codes):
        if piece.stop - piece.start > past:
            pieces.append(slice(piece.start + past, piece.stop))
        else:
            n_short += 1
    if not pieces:
        raise ValueError(
            f"A start needs {past} snapshots before it, but no stretch of the reference has more."
        )
    steps = np.concatenate([np.diff(times[p.start - past : p.stop]) for p in pieces])
    if past and not np.allclose(steps, step_of(model), rtol=EVEN_RTOL):
        raise ValueError(
            f"The model starts from {past + 1} snapshots {step_of(model):g} apart, as in training, "
            f"but those of the reference are {steps.min():g} to {steps.max():g} apart."
        )
    longest = max(piece.stop - piece.start for piece in pieces)
    if horizon is None and longest < 3:
        raise ValueError(
            "A check needs three snapshots or more that follow each other, but the longest "
            f"stretch of the reference has {longest}."
        )
    spans = np.array([times[piece.stop - 1] - times[piece.start] for piece in pieces])
    horizon = float(np.median(spans) / 2 if horizon is None else horizon)
    if not 0 < horizon < np.inf:
        raise ValueError(f"horizon must be positive and finite, but it is {horizon:g}.")
    axis = model.time_axis_
    unit = "" if axis is None or axis.unit == "1" else axis.unit
    # Inputs and histories are known at the record's own times, and maps go by their step.
    thin = u is None and not past and model.dynamics_.time == "continuous"
    chosen, n_sparse = windows(times, pieces, horizon, n_starts, unit, thin)
    parts = partial(_parts, rows, times, u, pieces, past)
    by_length = sorted(pieces, key=lambda piece: piece.start - piece.stop)
    return Truths(
        parts(chosen),
        parts([piece for piece in by_length[:n_starts] if piece.stop - piece.start > 1]),
        n_short + int(np.sum(spans < horizon * (1 - 1e-9))) + n_sparse,
    )


def _parts(
    rows: Any,
    times: Array,
    u: Array | None,
    pieces: list[slice],
    past: int,
    slices: list[slice],
) -> Iterator[Truth]:
    """What `slices` of the rows hold, each inside one of `pieces`, with so many `past` rows."""
    for s in slices:
        before = np.asarray(rows[s.start - past : s.start]) if past else None
        i, piece = next(
            (i, piece) for i, piece in enumerate(pieces) if piece.start <= s.start < piece.stop
        )
        inputs, known = None, None
        if u is not None:
            inputs, known = u[s], (times[piece], u[piece], s.stop - piece.start)
        states = np.asarray(rows[s])
        yield Truth(times[s], inputs, states, known=known, before=before, stretch=i)


def step_of(model: Any) -> float:
    """Time from one snapshot to the next in training; 1 where that is not known."""
    dt = float(model.dynamics_.dt_)
    return dt if np.isfinite(dt) else 1.0


def windows(
    t: Array, pieces: list[slice], horizon: float, n_starts: int, unit: str = "", thin: bool = True
) -> tuple[list[slice], int]:
    """Equally many rows from each of some evenly spaced starts, each inside one of `pieces`.

    On uneven times, starts with less than half of the usual number of rows within the horizon are
    passed over; second comes how many of the pieces are so altogether. Starts with twice as many
    rows as others, or more, give every second row and so on, if they may be made `thin`, so that
    all come near to the horizon.
    """
    slack = 1e-9 * max(1.0, abs(horizon))
    ends = np.full(len(t), -1)
    for piece in pieces:
        inside = t[piece]
        reaches = inside + horizon <= inside[-1] + slack
        ends[piece][reaches] = piece.start + np.searchsorted(
            inside, inside[reaches] + horizon + slack, side="right"
        )
    rows = np.arange(len(t))
    counts = ends - rows
    candidates = rows[counts >= 2]
    if not candidates.size:
        longest = max(t[piece.stop - 1] - t[piece.start] for piece in pieces)
        which = f"longest of the {len(pieces)} stretches" if len(pieces) > 1 else "only stretch"
        raise ValueError(
            f"No start has two rows or more within horizon = {f'{horizon:g} {unit}'.rstrip()}: the "
            f"{which} of continuous sampling is {f'{longest:g} {unit}'.rstrip()} long."
        )
    each = [found for piece in pieces if len(found := counts[piece][counts[piece] >= 2])]
    fewest = np.median([np.median(found) for found in each]) / 2
    chosen = evenly(candidates[counts[candidates] >= fewest], n_starts)
    n_steps = int(counts[chosen].min()) - 1
    steps = (counts[chosen] - 1) // n_steps if thin else np.ones_like(chosen)
    return [
        slice(int(row), int(row + n_steps * step) + 1, int(step))
        for row, step in zip(chosen, steps, strict=True)
    ], int(sum(found.max() < fewest for found in each))


def evenly(rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """At most `n` of `rows`, evenly spaced from the first to the last."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))]
