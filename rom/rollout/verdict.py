"""The verdict on a check and its reasons, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from rom.rollout import changes, coordinates, reasons
from rom.rollout.cost import times_less
from rom.rollout.horizon import skilful_span
from rom.rollout.reasons import (
    all_of,
    inputs_out_of_range,
    other_units,
    out_of_range,
    statistics_kept,
    time_in_words,
)
from rom.rollout.result import Status

if TYPE_CHECKING:
    import xarray as xr

# Past this many times the reference's variability, or the largest state of training and reference
# in the long run, a rollout counts as grown, even within the bound.
GROWN = 2.0
# Starts that were compared to lead times further apart than this part of them are told of.
UNEQUAL = 0.1
_IN_WORDS = {
    "persistence": "persistence",
    "climatology": "climatology",
    "damped_persistence": "damped persistence",
    "seasonal": "a seasonal linear model",
    "coarse": "a coarse full model",
}


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
    level = f"{100 * data.attrs['level']:.3g} %"
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
    late = _late_variability(data)
    if late > GROWN:
        return f"bounded, but its variability grew to {late:.3g} times the reference's"
    if _largest(data) > GROWN:
        return f"bounded to lead time {_last(data)}, but unstable in the long run"
    stable = "stable to ten horizons" if data.attrs.get("growth_rate", 0.0) > 0 else "stable"
    if not data["exceeded"].any():
        return f"{stable} and accurate to the horizon, lead time {_last(data)}"
    skill = data["skill_low"].fillna(data["skill"]) if "skill_low" in data else data["skill"]
    span = skilful_span(skill, data["lead"])
    if span is None:
        return f"{stable} but no better than its baselines"
    return f"{stable}, better than its baselines {_from_to(span, data)}"


def is_stable(data: xr.Dataset) -> bool:
    """Whether every rollout stayed bounded, and did not grow, as long as they were run."""
    grown = _late_variability(data) > GROWN or _largest(data) > GROWN
    return bool(data["bounded"].all()) and not grown


def reasons_of(data: xr.Dataset) -> tuple[str, ...]:
    """The reasons of the verdict, in sentences; `data` as in :class:`StabilityReport`."""
    return (
        *_endings(data),
        *_carried_on(data),
        *_run_freely(data),
        *_untested(data),
        *_unequal(data),
        _validity(data),
        *reasons.reliability(data),
        *coordinates.in_reasons(data),
        *reasons.training_range(data),
        _split(data),
        _skill(data),
        _variability(data),
        *reasons.statistics(data),
        *changes.in_reasons(data),
        *reasons.chaos(data),
        *reasons.invariants(data),
        *reasons.bands(data),
        *reasons.drift(data),
        *reasons.ensembles(data),
        *reasons.error_bounds(data),
        *reasons.robustness(data),
        _cost(data),
    )


def _endings(data: xr.Dataset) -> list[str]:
    n, horizon = data.sizes["start"], _last(data)
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


def _carried_on(data: xr.Dataset) -> list[str]:
    size = _long_run(data)
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


def _long_run(data: xr.Dataset) -> float:
    """The largest of the long runs' sizes; NaN where none could be made."""
    return float(data["long_run_size"].max())


def _run_freely(data: xr.Dataset) -> list[str]:
    """That the model grew or ended where it was run beside the whole truth."""
    size = _free_run(data)
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


def _free_run(data: xr.Dataset) -> float:
    return float(data["free_run_size"].max()) if "free_run_size" in data else np.nan


def _largest(data: xr.Dataset) -> float:
    """Of the long runs and the free ones; NaN where there were none."""
    return float(np.fmax(_long_run(data), _free_run(data)))


def _untested(data: xr.Dataset) -> list[str]:
    n = data.attrs["n_untested"]
    if not n:
        return []
    return [f"Stretches of the reference shorter than the horizon, and so not tested: {n}."]


def _unequal(data: xr.Dataset) -> list[str]:
    """That the starts were not compared to the same lead time."""
    longest, shortest = float(data["horizon"].max()), float(data["horizon"].min())
    if longest - shortest <= UNEQUAL * longest:
        return []
    return [
        f"The times are uneven: starts were compared to lead times from {shortest:.4g} to "
        f"{time_in_words(longest, data)}, and curves stand at the means of their lead times."
    ]


def _validity(data: xr.Dataset) -> str:
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


def _split(data: xr.Dataset) -> str:
    floor = float(np.sqrt((data["error_floor"] ** 2).mean()))
    dynamics = float(np.sqrt((data["error_dynamics"] ** 2).mean()))
    wanted = "a larger rank" if floor > dynamics else "better dynamics"
    # Where rollouts end, or in other units, there is other advice.
    told = data["bounded"].all() and not other_units(data)
    return (
        f"Root mean square error from the projection: {floor:.3g}; from the dynamics, while the "
        f"rollouts ran: {dynamics:.3g}." + (f" The larger part calls for {wanted}." if told else "")
    )


def _skill(data: xr.Dataset) -> str:
    span = skilful_span(data["skill"], data["lead"])
    names = all_of([_IN_WORDS[str(name)] for name in data["baseline"].values])
    if span is None:
        return f"At no lead time does it beat {names}."
    return f"It beats {names} {_from_to(span, data)}{_beyond_chance(data)}."


def _from_to(span: tuple[float, float], data: xr.Dataset) -> str:
    first, last = (time_in_words(lead, data) for lead in span)
    return f"at lead time {first} only" if first == last else f"from lead time {first} to {last}"


def _beyond_chance(data: xr.Dataset) -> str:
    if "skill_low" not in data:
        return ""
    span = skilful_span(data["skill_low"], data["lead"])
    if span is None:
        return ", but at no lead time beyond sampling error (90 %, block bootstrap)"
    return f", to {time_in_words(span[1], data)} beyond sampling error (90 %, block bootstrap)"


def _variability(data: xr.Dataset) -> str:
    late = _late_variability(data)
    if np.isnan(late):
        return "The rollouts' variability at late lead times is unknown: some ended early."
    return f"In the later half the rollouts' variability is {late:.3g} times the reference's."


def _late_variability(data: xr.Dataset) -> float:
    return float(data["variability_ratio"][data.sizes["lead"] // 2 :].mean(skipna=False))


def _cost(data: xr.Dataset) -> str:
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


def _last(data: xr.Dataset) -> str:
    """To which lead time all starts were compared."""
    return time_in_words(float(data["horizon"].min()), data)
