"""What the compared rollouts did, in sentences: how they ended, how well, at what cost.

`data` is the dataset of a check, as in :meth:`StabilityReport.to_dataset`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from rom.rollout.cost import times_less
from rom.rollout.horizon import skilful_span
from rom.rollout.judgements import (
    GROWN,
    free_run_size,
    late_variability,
    long_run_size,
    other_units,
)
from rom.rollout.result import Status
from rom.rollout.words import all_of, horizon_in_words, span_in_words, time_in_words

if TYPE_CHECKING:
    import xarray as xr

# Starts that were compared to lead times further apart than this part of them are told of.
UNEQUAL = 0.1
_IN_WORDS = {
    "persistence": "persistence",
    "climatology": "climatology",
    "damped_persistence": "damped persistence",
    "seasonal": "a seasonal linear model",
    "coarse": "a coarse full model",
}


def endings(data: xr.Dataset) -> list[str]:
    """How many rollouts ended early, when and why."""
    n, horizon = data.sizes["start"], horizon_in_words(data)
    ended = data.isel(start=np.flatnonzero(~data["bounded"].values))
    if not ended.sizes["start"]:
        return [
            f"All {n} rollouts stayed within the bound {data.attrs['bound']:.3g} to lead time "
            f"{horizon}."
        ]
    lines = []
    for name, count in Counter(ended["status"].values.tolist()).most_common():
        first = float(ended["end_lead"].values[ended["status"].values == name].min())
        lines.append(
            f"{count} of {n} rollouts ended before lead time {horizon}, the first at "
            f"{time_in_words(first, data)} (bound {data.attrs['bound']:.3g})."
            + ("" if other_units(data) else f" {Status[name].value}")
        )
    return lines


def carried_on(data: xr.Dataset) -> list[str]:
    """How large rollouts became past the horizon."""
    size = long_run_size(data)
    if not data["bounded"].all():
        return []
    if np.isnan(size):
        return [
            "They were not carried on past that lead time, as the inputs then are not known: they "
            "are not periodic. What the model does later was not seen."
        ]
    to = {
        "none": "to ten times that lead time",
        "constant": "to ten times that lead time, with their inputs held as they are",
        "periodic": "to ten times that lead time by repeating their inputs, which are periodic",
        "known": "as far as their inputs are known, at most to lead time "
        + time_in_words(float(data["long_run_lead"].max()), data),
    }[data.attrs["inputs"]]
    if np.isinf(size):
        n = int(np.isinf(data["long_run_size"]).sum())
        return [f"Carried on {to}, {n} of them left the bound or ended."]
    return [
        f"Carried on {to}, the largest state was {size:.3g} times the largest in training and "
        "reference."
    ]


def run_freely(data: xr.Dataset) -> list[str]:
    """That the model grew or ended where it was run beside the whole truth."""
    size = free_run_size(data)
    if not size > GROWN:
        return []
    lead, sizes = data["free_run_lead"].values, data["free_run_size"].values
    ended = np.isinf(sizes)
    if ended.any():
        return [
            f"Run freely beside the whole reference, it left the bound or ended in {ended.sum()} "
            f"of {len(sizes)} runs, the first at lead time "
            f"{time_in_words(float(lead[ended].min()), data)}."
        ]
    return [
        "Run freely beside the whole reference, to lead time "
        f"{time_in_words(float(lead[sizes.argmax()]), data)}, its largest state was {size:.3g} "
        "times the largest in training and reference."
    ]


def untested(data: xr.Dataset) -> list[str]:
    """How many stretches were too short."""
    n = data.attrs["n_untested"]
    if not n:
        return []
    return [
        "Stretches of the reference shorter than the horizon, or with too few times in it, and so "
        f"not tested: {n}."
    ]


def unequal(data: xr.Dataset) -> list[str]:
    """That the starts were not compared to the same lead time."""
    longest, shortest = float(data["horizon"].max()), float(data["horizon"].min())
    if longest - shortest <= UNEQUAL * longest:
        return []
    return [
        f"The times are uneven: starts were compared to lead times from {shortest:.4g} to "
        f"{time_in_words(longest, data)}, and curves stand at the means of their lead times."
    ]


def validity(data: xr.Dataset) -> str:
    """To which time rollouts were valid."""
    times, n = data["valid_time"].values, data.sizes["start"]
    median = float(np.median(times))
    chaotic = ""
    if "lyapunov_time" in data and np.isfinite(data["lyapunov_time"]):
        chaotic = f", {median / float(data['lyapunov_time']):.3g} Lyapunov times"
    return (
        f"The error exceeded {data.attrs['tolerance']:g} of the natural variability in "
        f"{int(data['exceeded'].sum())} of {n} rollouts; the median valid time is "
        f"{time_in_words(median, data)}{chaotic} (from {times.min():.4g} to {times.max():.4g})."
    )


def split(data: xr.Dataset) -> str:
    """Which part of the error the projection makes, and which the dynamics."""
    floor = float(np.sqrt((data["error_floor"] ** 2).mean()))
    dynamics = float(np.sqrt((data["error_dynamics"] ** 2).mean()))
    wanted = "a larger rank" if floor > dynamics else "better dynamics"
    # Where rollouts end, or in other units, there is other advice.
    told = data["bounded"].all() and not other_units(data)
    return (
        f"Root mean square error from the projection: {floor:.3g}; from the dynamics, while the "
        f"rollouts ran: {dynamics:.3g}." + (f" The larger part calls for {wanted}." if told else "")
    )


def skill(data: xr.Dataset) -> str:
    """At which lead times the model beats its baselines."""
    span = skilful_span(data["skill"], data["lead"])
    names = all_of([_IN_WORDS[str(name)] for name in data["baseline"].values])
    if span is None:
        return f"At no lead time does it beat {names}."
    return f"It beats {names} {span_in_words(span, data)}{_beyond_chance(data)}."


def _beyond_chance(data: xr.Dataset) -> str:
    if "skill_low" not in data:
        return ""
    span = skilful_span(data["skill_low"], data["lead"])
    if span is None:
        return ", but at no lead time beyond sampling error (90 %, block bootstrap)"
    return f", to {time_in_words(span[1], data)} beyond sampling error (90 %, block bootstrap)"


def variability(data: xr.Dataset) -> str:
    """Whether rollouts vary as the reference does, in the later half."""
    late = late_variability(data)
    if np.isnan(late):
        return "The rollouts' variability at late lead times is unknown: some ended early."
    return f"In the later half the rollouts' variability is {late:.3g} times the reference's."


def cost(data: xr.Dataset) -> str:
    """How long the model takes beside the full one, and when it has paid."""
    full, reduced = float(data["full_seconds"].median()), float(data["reduced_seconds"].median())
    if np.isnan(full):
        return (
            f"The reduced model took {reduced:.3g} s a run without decoding. The reference is "
            "data: what the full model takes is not known."
        )
    ratio = times_less(data)
    change = f"{ratio:.3g} times less" if ratio > 1 else f"{1 / ratio:.3g} times more"
    return (
        f"The full model took {full:.3g} s a run, the reduced one {reduced:.3g} s with decoding: "
        f"{change}.{_rival(data)}{_break_even(data)}"
    )


def _rival(data: xr.Dataset) -> str:
    if "coarse_factor" not in data.attrs:
        return ""
    seconds, budget = data.attrs["coarse_seconds"], data.attrs["coarse_budget"]
    dearer = f", the reduced one then {budget:.3g} s: none that was tried is as cheap"
    return (
        f" The full model on a grid {data.attrs['coarse_factor']} times coarser took {seconds:.3g} "
        f"s{dearer if seconds > budget else ''}."
    )


def _break_even(data: xr.Dataset) -> str:
    runs = data.attrs.get("break_even_runs", np.nan)
    if not np.isfinite(runs):
        return ""
    return f" Training runs and fit are paid for after {runs:.0f} runs."
