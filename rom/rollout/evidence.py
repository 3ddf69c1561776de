"""What the compared rollouts tell beside their errors: intervals, the training range, the cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics
from rom.data.trajectory import segments
from rom.rollout.bootstrap import mean_interval, skill_interval
from rom.rollout.compare import Comparison
from rom.rollout.cost import break_even, costs
from rom.rollout.extent import extent, first_outside
from rom.rollout.truths import Rival, evenly

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# The training range is drawn about at most so many states, evenly spaced: a hull of more takes
# seconds and is hardly larger.
MOST_STATES = 5000
# Of higher rank the range is a box: the axes of an ellipsoid would take long.
BOX_RANK = 200
# Sizes are compared with those of so many training states. They are unlike where ranges stand apart
# by this factor: the first start of a system that decays is about as large as the last training
# state, however small it becomes.
SIZES, APART = 20, 2.0
# States that differ by this part of the largest are the same, encoded twice.
SAME = 1e-5
# A full model is the one that was trained on if it goes there in so few times, but for this part of
# the way: between training times, states are interpolated.
FEW, ALIKE = 11, 0.1


def with_intervals(data: xr.Dataset, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add the 90 % intervals of skill and anomaly correlation, from blocks of starts."""
    squares = {
        name: np.stack([c.squares[name] for c in comparisons])
        for name in ("error", *data["baseline"].values)
    }
    intervals = [skill_interval(squares["error"], squares[str(n)]) for n in data["baseline"].values]
    alike = mean_interval([c.anomaly_correlation for c in comparisons])
    return data.assign(
        skill_low=(("baseline", "lead"), np.stack([i.low for i in intervals])),
        skill_high=(("baseline", "lead"), np.stack([i.high for i in intervals])),
        anomaly_correlation_low=("lead", np.maximum(alike.low, -1)),
        anomaly_correlation_high=("lead", np.minimum(alike.high, 1)),
    )


def with_range(data: xr.Dataset, model: Any, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add when each rollout first leaves the range of the training states, and of the inputs."""
    latent = model.latent_
    states = latent[:: -(-len(latent) // MOST_STATES)]
    within = extent(states, "box" if states.shape[1] > BOX_RANK else "auto")
    left = [first_outside(within.size(c.run.z), c.lead) for c in comparisons]
    begun = within.size(np.stack([c.truth[0] for c in comparisons]))
    unit = {"units": data.attrs["time_unit"]}
    data = data.assign(
        left_range=("start", left, unit),
        start_size=("start", begun, {"long_name": "how far out the start is, 1 at the edge"}),
    ).assign_attrs(
        range_kind=within.kind,
        size_ratio=_size_ratio(model, comparisons),
        n_seen=_n_seen(model, comparisons),
    )
    inputs = [inputs_leave(model.dynamics_, c.u, c.lead) for c in comparisons]
    return data if None in inputs else data.assign(left_inputs=("start", inputs, unit))


def _size_ratio(model: Any, comparisons: Sequence[Comparison]) -> float:
    """How many times as large as training states the starts are; 1 where their ranges meet.

    From zero in the units of the data, so that other units change it by their factor.
    """
    scale = model.preprocess_
    zero = np.nanmean(scale.offset_, axis=0) * scale.factor_
    latent = model.latent_[evenly(np.arange(len(model.latent_)), SIZES)]
    known = np.array([np.linalg.norm(model.from_latent(z[None]) + zero) for z in latent])
    starts = np.array([np.linalg.norm(c.row + zero) for c in comparisons])
    if known.min() <= APART * starts.max() and starts.min() <= APART * known.max():
        return 1.0
    with np.errstate(divide="ignore"):
        return float(np.sqrt(np.mean(starts**2) / np.mean(known**2)))


def _n_seen(model: Any, comparisons: Sequence[Comparison]) -> int:
    """How many of the stretches the model was fitted to: both of their ends are training states.

    A full model that made them does from each, if it has no inputs, what it did in training.
    """
    t, Z, labels = model.latent_t_, model.latent_, model.latent_trajectory_
    if t is None:
        return 0
    slack = SAME * np.linalg.norm(Z - Z.mean(axis=0), axis=1).max()

    def same(z: Array) -> NDArray[np.bool_]:
        return np.asarray(np.linalg.norm(Z - z, axis=1) <= slack)

    def done_again(c: Comparison) -> bool:
        begun = np.flatnonzero(same(c.truth[0]))[:1]
        if c.u is not None or not len(begun):
            return False
        own, now = labels == labels[begun[0]], t[begun[0]]
        truth, first = c.truth[1:FEW], now + c.lead[1:FEW]
        then = np.stack([np.interp(first, t[own], z) for z in Z[own].T], axis=1)
        alike = np.linalg.norm(truth - then) <= ALIKE * np.linalg.norm(truth - c.truth[0])
        return bool(alike and t[own].max() >= now + c.lead[-1])

    def seen(c: Comparison) -> bool:
        if not np.isnan(c.full_seconds):
            return done_again(c)
        ends = ((c.start, c.truth[0]), (c.start + c.lead[-1], c.truth[-1]))
        return all(((t == time) & same(z)).any() for time, z in ends)

    return sum(map(seen, comparisons))


def inputs_leave(dynamics: Dynamics, u: Array | None, lead: Array) -> float | None:
    """When inputs (n_lead, n_inputs) first leave their range in training; None if not known."""
    limits = getattr(dynamics, "input_range_", None)  # not in models of older files
    if u is None or limits is None or not np.isfinite(limits).all():
        return None
    return first_outside(extent(limits, "box").size(u), lead)


def with_cost(
    data: xr.Dataset,
    model: Any,
    reference: Any,
    comparisons: Sequence[Comparison],
    rival: Rival | None,
) -> xr.Dataset:
    """Add operations, memory, and after how many runs the making has paid."""
    full, reduced = (float(data[f"{name}_seconds"].median()) for name in ("full", "reduced"))
    fit = float(getattr(model, "fit_seconds_", np.nan))
    t, span = model.latent_t_, float(data["lead"][-1])
    n_runs = np.nan
    if t is not None and span:
        pieces = segments(t, model.latent_trajectory_)
        n_runs = sum(t[piece.stop - 1] - t[piece.start] for piece in pieces) / span
    steps = int(np.median([c.run.n_steps for c in comparisons]))
    attrs = {
        **costs(model, reference, comparisons[0].run, steps, comparisons[0].u),
        "fit_seconds": fit,
        "break_even_runs": break_even(fit + n_runs * full, full, reduced),
    }
    if rival is not None:
        attrs |= {
            "coarse_factor": rival.factor,
            "coarse_seconds": rival.seconds,
            "coarse_budget": rival.budget,
        }
    return data.assign_attrs(attrs)
