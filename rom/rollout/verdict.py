"""The verdict on a check and its reasons, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rom.rollout import changes, coordinates, course, reasons
from rom.rollout.horizon import skilful_span
from rom.rollout.judgements import (
    GROWN,
    inputs_out_of_range,
    largest_size,
    late_variability,
    other_units,
    out_of_range,
    statistics_kept,
)
from rom.rollout.result import Status
from rom.rollout.words import horizon_in_words, level_of, span_in_words, time_in_words

if TYPE_CHECKING:
    import xarray as xr


def verdict_of(data: xr.Dataset) -> str:
    """The verdict on a check, in a few words; `data` as in :class:`StabilityReport`."""
    words = [_stability(data)]
    if data.attrs.get("thorough"):
        words += [_reliability(data), *coordinates.in_verdict(data), _statistics(data)]
        words += [*changes.in_verdict(data), *_fragility(data)]
    if other_units(data):
        ratio = f"{data.attrs['size_ratio']:.2g} times as large as the training states"
        words.append(f"the reference is {ratio}: other units?")
    elif out_of_range(data):
        words.append("its starts are outside of the training range")
    if inputs_out_of_range(data):
        words.append("its inputs leave the training range")
    if data.attrs.get("n_seen", 0) > data.sizes["start"] / 2:
        words.append("checked on data that the model was fitted to")
    return "; ".join(words)


def _reliability(data: xr.Dataset) -> str:
    time, held = (data.attrs[name] for name in ("reliable_time", "held_time"))
    level = level_of(data)
    if np.isnan(held):
        return f"too few starts to say how long it is reliable at level {level}"
    n, apart = data.sizes["start"], data.attrs["held_apart"]
    far = f"held to lead time {time_in_words(held, data)} in {level} of {n} starts"
    if held <= float(data["lead"][0]):
        return f"reliable at no lead time at level {level}"
    if time <= float(data["lead"][0]):
        return f"{far}, {apart} of them independent: too few to state a level"
    sure = f"reliable to lead time {time_in_words(time, data)} at level {level}"
    return f"{sure} ({far}, {apart} independent)" if time < held else sure


def _statistics(data: xr.Dataset) -> str:
    kept = statistics_kept(data)
    if kept is None:
        return "statistics not known"
    known = data["statistics_known"].values
    if not kept or known.all():
        return "statistics kept" if kept else "statistics not kept"
    return f"statistics kept as far as known ({known.sum()} of {known.size})"


def _fragility(data: xr.Dataset) -> list[str]:
    """That rollouts which stayed are near to ones that do not."""
    if not data["bounded"].all():
        return []
    words = []
    if "perturbation_growth" in data and np.isinf(data["perturbation_growth"]).any():
        words.append("a change of a start by 1 % can end it")
    n, stayed = (data.attrs.get(name, 0) for name in ("n_around", "n_around_bounded"))
    if stayed < n:
        words.append(f"{n - stayed} of {n} starts around the training states leave the bound")
    return words


def _stability(data: xr.Dataset) -> str:
    ended = set(data["status"].values[~data["bounded"].values].tolist())
    if ended == {Status.TOO_MANY_STEPS.name}:
        return "not known: the rollouts are too stiff to be finished"
    if ended:
        return "unstable"
    late = late_variability(data)
    if late > GROWN:
        return f"bounded, but its variability grew to {late:.3g} times the reference's"
    if largest_size(data) > GROWN:
        return f"bounded to lead time {horizon_in_words(data)}, but unstable in the long run"
    stable = "stable to ten horizons" if data.attrs.get("growth_rate", 0.0) > 0 else "stable"
    if not data["exceeded"].any():
        return f"{stable} and accurate to the horizon, lead time {horizon_in_words(data)}"
    skill = data["skill_low"].fillna(data["skill"]) if "skill_low" in data else data["skill"]
    span = skilful_span(skill, data["lead"])
    if span is None:
        return f"{stable} but no better than its baselines"
    return f"{stable}, better than its baselines {span_in_words(span, data)}"


def reasons_of(data: xr.Dataset) -> tuple[str, ...]:
    """The reasons of the verdict, in sentences; `data` as in :class:`StabilityReport`."""
    return (
        *course.endings(data),
        *course.carried_on(data),
        *course.run_freely(data),
        *course.untested(data),
        *course.unequal(data),
        course.validity(data),
        *reasons.reliability(data),
        *coordinates.in_reasons(data),
        *reasons.training_range(data),
        course.split(data),
        course.skill(data),
        course.variability(data),
        *reasons.statistics(data),
        *changes.in_reasons(data),
        *reasons.chaos(data),
        *reasons.invariants(data),
        *reasons.bands(data),
        *reasons.drift(data),
        *reasons.ensembles(data),
        *reasons.error_bounds(data),
        *reasons.robustness(data),
        course.cost(data),
    )
