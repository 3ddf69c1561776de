"""What takes longer to know of a model: its long run beside the truth's, and how it diverges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import FullModel
from rom.data.trajectory import even_step
from rom.rollout.bands import with_drift
from rom.rollout.changes import with_changes
from rom.rollout.compare import LONG_RUN, Comparison
from rom.rollout.divergence import (
    with_bounds,
    with_certificate,
    with_growth,
    with_scores,
    with_starts_around,
)
from rom.rollout.evidence import with_intervals
from rom.rollout.exponents import with_exponents
from rom.rollout.free_runs import FreeRun, free_runs, with_free_runs
from rom.rollout.invariants import Invariants, with_invariants
from rom.rollout.statistics import TOLERANCE, Statistics, compare_statistics
from rom.rollout.truths import Truth, full_run

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# The long run of the full model is left out where it would take longer than this, in seconds.
PATIENCE = 10.0


def examine(
    data: xr.Dataset,
    model: Any,
    reference: Any,
    comparisons: Sequence[Comparison],
    stretches: Iterable[Truth],
    invariants: Invariants,
) -> xr.Dataset:
    """Add all of this to the dataset of a check."""
    data = with_intervals(data.assign_attrs(thorough=1), comparisons)
    data = with_drift(data, comparisons)
    runs = free_runs(model, comparisons, stretches)
    data = with_changes(data, model.dynamics_, runs)
    longer = _long_truth(model, reference, comparisons)
    long_run = [] if longer is None else [free_runs(model, comparisons, [longer])]
    data = with_free_runs(data, model, comparisons, [*runs, *(run for [run] in long_run)])
    data = with_statistics(data, [runs, *long_run])
    data = with_certificate(data, model)
    if data["bounded"].all():  # what ends early needs no subtle evidence, and may take long
        data = with_exponents(data, model, comparisons, reference)
        data = with_bounds(data, model, reference, comparisons)
        data = with_growth(data, model, comparisons)
        data = with_starts_around(data, model, comparisons)
        data = with_scores(data, model, comparisons)
    if invariants:
        data = with_invariants(data, model, comparisons, invariants)
    return data


def _long_truth(model: Any, reference: Any, comparisons: Sequence[Comparison]) -> Truth | None:
    """The full model over ten horizons, if affordable: one may not show what becomes of a run."""
    first = comparisons[0]
    seconds = LONG_RUN * max(c.full_seconds for c in comparisons)
    if not isinstance(reference, FullModel) or first.u is not None or seconds > PATIENCE:
        return None
    decoded = model.decode(first.truth[:1])
    state, plain = np.asarray(decoded)[0], isinstance(decoded, np.ndarray)
    try:
        truth = full_run(model, reference, None, state, first.onward[0], None, plain)
    except (FloatingPointError, ValueError):  # it blew up, though its shorter runs did not
        return None
    return truth if np.isfinite(np.linalg.norm(truth.rows)) else None


def with_statistics(data: xr.Dataset, kinds: Sequence[Sequence[FreeRun]]) -> xr.Dataset:
    """Add the distances of the long-run statistics, and the curves that show them.

    Among many short runs a long one would count little, and what they do not share would pass for
    chance: the kinds are compared apart, and the one that tells more is added. Each calls those of
    a right model lost in 5 % of cases, so that two do in up to 10 %.
    """
    compared, refused = [], []
    for runs in kinds:
        try:
            compared.append((_compared(runs), _length(runs)))
        except ValueError as error:  # too short, or not evenly sampled
            refused.append(str(error))
    if not compared:
        return data.assign_attrs(statistics=refused[0])
    compared.sort(key=lambda each: _tells(each[0]), reverse=True)
    found = compared[0][0]
    lengths = {name: each[1] for name, each in zip(("run", "other_run"), compared, strict=False)}
    return data.assign(
        distance=("statistic", found.distance, lengths),
        sampling_error=("statistic", found.sampling_error),
        statistics_kept=("statistic", found.kept, {"tolerance": TOLERANCE}),
        statistics_known=("statistic", found.known),
        spectrum_frequency=("frequency", found.frequency),
        spectrum_model=(("coordinate", "frequency"), found.spectrum_model),
        spectrum_truth=(("coordinate", "frequency"), found.spectrum_truth),
        histogram_edges=(("coordinate", "edge"), found.edges),
        histogram_model=(("coordinate", "bin"), found.histogram_model),
        histogram_truth=(("coordinate", "bin"), found.histogram_truth),
        joint_coordinates=(("pair", "of_pair"), found.pairs),
        joint_histogram_model=(("pair", "first_bin", "second_bin"), found.joint_model),
        joint_histogram_truth=(("pair", "first_bin", "second_bin"), found.joint_truth),
        lag=("lags", found.lag),
        autocorrelation_model=(("coordinate", "lags"), found.autocorrelation_model),
        autocorrelation_truth=(("coordinate", "lags"), found.autocorrelation_truth),
    ).assign_coords(statistic=list(found.names))


def _compared(runs: Sequence[FreeRun]) -> Statistics:
    return compare_statistics(
        [run.model for run in runs], [run.truth for run in runs], _step([run.t for run in runs])
    )


def _length(runs: Sequence[FreeRun]) -> float:
    return float(np.median([run.t[-1] - run.t[0] for run in runs]))


def _tells(found: Statistics) -> tuple[int, int]:
    """How many statistics are lost, and how many known."""
    return int((~found.kept).sum()), int(found.known.sum())


def _step(times: Sequence[Array]) -> float:
    edges = np.cumsum([0, *(len(t) for t in times)])
    pieces = [slice(int(a), int(b)) for a, b in pairwise(edges)]
    name = "A comparison of statistics"
    return even_step(np.concatenate(times), pieces, needed_by=name, otherwise="")
