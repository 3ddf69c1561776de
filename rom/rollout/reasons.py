"""The reasons to trust a rollout, or not to, in sentences: one function for each kind of evidence.

`data` is the dataset of a check, as in :meth:`StabilityReport.to_dataset`. A function gives no
sentence where its evidence was not gathered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rom.rollout.horizon import fewest_apart
from rom.rollout.judgements import errors_explained, other_units, out_of_range, simple_times
from rom.rollout.words import all_of, level_of, time_in_words, with_error

if TYPE_CHECKING:
    import xarray as xr


def reliability(data: xr.Dataset) -> list[str]:
    """To which time a new forecast is valid, at which level."""
    time, held, apart = (data.attrs[name] for name in ("reliable_time", "held_time", "held_apart"))
    n, level = data.sizes["start"], level_of(data)
    if np.isnan(held):
        return [f"Starts are too few, {n}, to say at level {level} how long a new forecast holds."]
    if held <= float(data["lead"][0]):
        lines = [f"A new forecast is within the tolerance at no lead time, at level {level}."]
    else:
        far = f"to lead time {time_in_words(held, data)} in {level} of the {n} starts"
        simple = (
            f"in the best simple forecast, {time_in_words(float(simple_times(data).max()), data)}"
        )
        lines = [f"The error stayed within the tolerance {far}; {simple}."]
    if time > float(data["lead"][0]):
        lines.append(
            f"A new forecast stays within it to lead time {time_in_words(time, data)} with "
            f"probability {level} or more, if its start is like these (split conformal)."
        )
    needed = fewest_apart(data.attrs["level"])
    if apart < needed:
        lines.append(
            f"Rollouts of the longest time overlap: {apart} of the starts "
            f"{'is' if apart == 1 else 'are'} independent, and {needed} are needed to state that "
            "level so far (a longer record, or a shorter horizon)."
        )
    return lines


def training_range(data: xr.Dataset) -> list[str]:
    """Whether rollouts left the range of the training states, or their inputs that of training."""
    if "left_range" not in data:
        return []
    left, kind = data["left_range"].values, data.attrs["range_kind"]
    lines = []
    if other_units(data):
        lines.append(
            f"The starts are {data.attrs['size_ratio']:.2g} times as large as the training states, "
            "from zero in the units of the data: other units?"
        )
    elif out_of_range(data):
        lines.append(
            f"The starts stand {float(data['start_size'].median()):.3g} times as far out as the "
            f"{kind} of the training states: another regime, or other units?"
        )
    if np.isfinite(left).any():
        lines.append(
            f"{np.isfinite(left).sum()} of {len(left)} rollouts left the {kind} of the training "
            f"states, the first at lead time {time_in_words(float(np.nanmin(left)), data)}."
        )
    if "left_inputs" in data and np.isfinite(data["left_inputs"]).any():
        left = data["left_inputs"].values
        lines.append(
            f"In {np.isfinite(left).sum()} of {len(left)} rollouts the inputs left the range that "
            f"they had in training, the first at lead time "
            f"{time_in_words(float(np.nanmin(left)), data)}."
        )
    return lines


def bands(data: xr.Dataset) -> list[str]:
    """How wide the band is, and how often it held."""
    if "band_radius" not in data:
        return [
            f"No band at level {level_of(data)}: that takes {data.attrs['n_apart_asked']} rollouts "
            f"that do not overlap in time, but there are {data.attrs['n_apart']}: ask for more "
            "starts, or a shorter horizon."
        ]
    lines = [
        f"A band for all lead times and coordinates together, made of "
        f"{data['band_radius'].attrs['n_calibration']} rollouts at level {level_of(data)}, held "
        f"{_held(data['band_radius'])}"
    ]
    if "cell_band_radius" in data:
        n = data.sizes["cell"]
        cells = f"{n} cells of the field" if n > 1 else "one cell of the field"
        lines.append(
            f"One for all lead times and {cells} together, in the units of the data, held "
            f"{_held(data['cell_band_radius'])}"
        )
    return lines


def _held(band: xr.DataArray) -> str:
    attrs = band.attrs
    late = " Do not rely on it: errors are not alike in earlier and later rollouts."
    return (
        f"{100 * attrs['coverage']:.3g} % of {attrs['n_test']} others (95 % interval: "
        f"{100 * attrs['coverage_low']:.3g} to {100 * attrs['coverage_high']:.3g} %)."
        + (late if attrs["coverage_high"] < attrs["level"] else "")
    )


def drift(data: xr.Dataset) -> list[str]:
    """How often a band that follows the errors held, beside the fixed one."""
    if "running_coverage" not in data:
        return []
    fixed, adaptive = 100 * data["running_coverage"].values[:, -1]
    width = data["adaptive_width"].values
    endless = int(np.isinf(width).sum())
    free = f", {endless} times as it had no finite width" if endless else ""
    median = np.median(width)
    wide = f"{median:.3g} times as wide in the median" if np.isfinite(median) else "mostly endless"
    return [
        f"Start by start through these {data.sizes['tested']}, a band that adapts to drift (Gibbs "
        f"and Candès) held {adaptive:.3g} %{free}, and was {wide}; the fixed one held "
        f"{fixed:.3g} %."
    ]


def statistics(data: xr.Dataset) -> list[str]:
    """Which long-run statistics are kept."""
    if "statistics" in data.attrs:
        return [f"Long-run statistics were not compared: {data.attrs['statistics']}"]
    if "distance" not in data:
        return []
    kept, known = data["statistics_kept"].values, data["statistics_known"].values
    most = data["statistics_kept"].attrs["tolerance"]
    lines = [_compared_over(data)]
    for chosen, words in (
        (~kept, "not kept"),
        (kept & known, "kept"),
        (kept & ~known, "not known, as the truth is too short to tell"),
    ):
        found = data.isel(statistic=np.flatnonzero(chosen))
        if found.sizes["statistic"]:
            parts = [
                f"{str(name).replace('_', ' ')} ({distance:.2g}; by chance {error:.2g})"
                for name, distance, error in zip(
                    found["statistic"].values,
                    found["distance"].values,
                    found["sampling_error"].values,
                    strict=True,
                )
            ]
            lines.append(
                f"Long-run statistics {words}, by their distance (kept to {most:g}, or to what "
                f"comes by chance): {all_of(parts)}."
            )
    return lines


def _compared_over(data: xr.Dataset) -> str:
    attrs = data["distance"].attrs
    shown = time_in_words(attrs["run"], data)
    if "other_run" not in attrs:
        return f"Long-run statistics were compared over runs of {shown}."
    return (
        f"Long-run statistics were compared over runs of {shown} and, apart from these, of "
        f"{time_in_words(attrs['other_run'], data)}, which show no more."
    )


def chaos(data: xr.Dataset) -> list[str]:
    """The largest Lyapunov exponent and the dimension, beside the truth's."""
    if "exponents" in data.attrs:
        return [f"Lyapunov exponents were not computed: {data.attrs['exponents']}"]
    if "lyapunov_model" not in data:
        return []
    parts = []
    for name, words in (("model", "the model's"), ("truth", "the full model's")):
        if f"lyapunov_{name}" in data:
            parts.append(f"{words} {_largest(data, name)} ({_dimension(data, name)})")
    lines = [f"Largest Lyapunov exponent (± 2 standard errors): {all_of(parts)}."]
    if "exponents_truth" in data.attrs:
        lines.append(f"The full model's were not computed: {data.attrs['exponents_truth']}")
    return lines


def _dimension(data: xr.Dataset, name: str) -> str:
    exponents, dimension = data[f"lyapunov_{name}"], float(data[f"kaplan_yorke_{name}"])
    if not exponents.attrs.get("settled", 1):
        return "not settled: it differs from one half of its run to the other by more than chance"
    exact = "" if float(data[f"lyapunov_{name}_error"][0]) else "exact; "
    if exact and exponents[0] > 0:  # of a linear model
        return f"{exact}it grows for ever, and so has no attractor"
    if np.isnan(dimension):  # the sum of those known is not negative
        return f"{exact}Kaplan-Yorke dimension at least {int(exponents.notnull().sum())}"
    return f"{exact}Kaplan-Yorke dimension {dimension:.4g}"


def _largest(data: xr.Dataset, name: str) -> str:
    return with_error(data[f"lyapunov_{name}"][0], data[f"lyapunov_{name}_error"][0])


def error_bounds(data: xr.Dataset) -> list[str]:
    """How tight the bound on the error is, and how long it is of use."""
    if "error_bound" not in data:
        return []
    attrs = data["error_bound"].attrs
    if attrs["kind"] == "none":
        return [f"The error is not bounded: {attrs['reason']}"]
    useful = time_in_words(float(data["useful_horizon"].median()), data)
    return [
        f"{str(attrs['kind']).capitalize()} bound on the error: within the tolerance to lead time "
        f"{useful} in the median. {attrs['reason']}".strip()
    ]


def robustness(data: xr.Dataset) -> list[str]:
    """What a change of the start may lead to, and whether states are kept in a ball."""
    lines = []
    if "perturbation_growth" in data:
        worst = float(data["perturbation_growth"][-1])
        bound = float(data["growth_bound"][-1])
        sure = data["growth_bound"].attrs.get("kind") == "certified"
        words = "bounded by" if sure else "to first order at most"
        beside = f"; {words} {bound:.3g}" if np.isfinite(bound) else ""
        if worst > bound:
            beside += ", which does not hold for one so large"
        grown = f"grown {worst:.3g} times" if np.isfinite(worst) else "ended the rollout"
        lines.append(
            f"The worst perturbation of a start found, 1 % large, had {grown} by "
            f"lead time {time_in_words(float(data['lead'][-1]), data)}{beside}."
        )
    if not errors_explained(data):
        lines.append(
            "Errors of the start alone, of 1 % or of what the projection loses, would stay within "
            "the tolerance even at the worst growth found, to lead time "
            f"{time_in_words(data.attrs['explained_time'], data)}: it is the equations that limit "
            "the forecasts."
        )
    if "n_around" in data.attrs:
        lines.append(
            f"Of {data.attrs['n_around']} starts drawn inside and around the training states, up "
            f"to {data.attrs['around']:.3g} times as far from their mean, "
            f"{data.attrs['n_around_bounded']} stayed within the bound to lead time "
            f"{time_in_words(data.attrs['around_lead'], data)}{_as_far(data)}."
        )
    if "certificate" in data.attrs:
        lines.append(f"Boundedness: {data.attrs['certificate']}.".replace("..", "."))
    return lines


def _as_far(data: xr.Dataset) -> str:
    """With which inputs rollouts went on past the reference."""
    return {
        "none": "",
        "constant": ", with inputs held as they are",
        "periodic": ", with inputs that repeat those known, which are periodic",
        "known": ", as far as inputs are known",
    }[data.attrs["inputs"]]


def ensembles(data: xr.Dataset) -> list[str]:
    """How the model's ensemble scores beside the climatology."""
    if "crps" not in data:
        return []
    better = (data["crps"] < data["crps_climatology"]).values[1:]
    surely = (data["crps_skill_low"] > 0).values[1:]
    share, sure = (100 * float(np.mean(found)) if found.size else 0.0 for found in (better, surely))
    return [
        "The ranked probability score of its ensemble is better than that of the climatology at "
        f"{share:.3g} % of the lead times, beyond sampling error (90 %, block bootstrap) at "
        f"{sure:.3g} %."
    ]


def invariants(data: xr.Dataset) -> list[str]:
    """How far what should stay has drifted."""
    if "invariant_drift" not in data:
        return []
    ours, theirs = (data[f"invariant_drift{of}"].max("lead").values for of in ("", "_truth"))
    parts = [
        f"{name} {drift:.3g} (the truth's: {true:.3g})"
        for name, drift, true in zip(data["invariant"].values, ours, theirs, strict=True)
    ]
    return [f"Largest drift of invariants, relative to their size: {all_of(parts)}."]
