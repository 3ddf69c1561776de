"""What takes longer to know of a model: its long run beside the truth's, and how it diverges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import FullModel
from rom.data.trajectory import EVEN_RTOL, even_step
from rom.rollout.changes import with_changes
from rom.rollout.compare import LONG_RUN, Comparison
from rom.rollout.divergence import (
    with_bounds,
    with_certificate,
    with_growth,
    with_scores,
    with_starts_around,
)
from rom.rollout.evidence import with_drift, with_intervals
from rom.rollout.free_runs import FreeRun, free_runs
from rom.rollout.full_equation import full_equation
from rom.rollout.result import Status
from rom.rollout.statistics import TOLERANCE, Statistics, compare_statistics, invariant_drift
from rom.rollout.truths import Truth, full_run

if TYPE_CHECKING:
    import xarray as xr

    from rom.rollout.lyapunov import Lyapunov

Array = NDArray[np.float64]
Invariants = Mapping[str, Callable[[Any], Any]]

# Lyapunov exponents: at most so many, along so many horizons, each in so many output times.
MOST_EXPONENTS, LYAPUNOV_HORIZONS, PER_HORIZON = 40, 20, 20
# Those of the full model are left out where they would take longer than this, in seconds, along
# the fewest output times, and its long run where that would. From one output time to the next the
# perturbations must stay apart: the fastest and the slowest may part by this, as a logarithm.
PATIENCE, FEWEST_TIMES, MOST_TIMES, APART = 10.0, 200, 500, 10.0


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


def with_exponents(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison], reference: Any
) -> xr.Dataset:
    """Add Lyapunov exponents of a model, and of a full one if that is affordable."""
    from rom.rollout.lyapunov import lyapunov  # numba takes half a second to import

    first = comparisons[0]
    dynamics, run, z0 = model.dynamics_, first.run, first.truth[0]
    horizon, n = run.t[-1] - run.t[0], min(MOST_EXPONENTS, len(z0))
    step = horizon / (PER_HORIZON if dynamics.time == "continuous" else len(run.t) - 1)
    t, u = step * np.arange(round(LYAPUNOV_HORIZONS * horizon / step) + 1), None
    if dynamics.n_inputs_:
        t, u = first.onward
        if t[-1] - t[0] < LONG_RUN * horizon * (1 - EVEN_RTOL):
            return data.assign_attrs(
                exponents="they are means over a long run, for which inputs are not known."
            )
    found = lyapunov(dynamics, z0, t, u=u, n_exponents=n, bound=run.bound)
    data = data.assign(
        lyapunov_model=("exponent", found.exponents),
        lyapunov_model_error=("exponent", found.standard_error),
        kaplan_yorke_model=found.kaplan_yorke,
        lyapunov_time=found.time,
    )
    if not isinstance(reference, FullModel):
        return data
    state = np.asarray(model.decode(z0[None]))[0]
    true = _of_full_model(reference, state, t, u, n, float(np.ptp(found.exponents)))
    if true is None:
        return data
    return data.assign(
        lyapunov_truth=("exponent", true.exponents),
        lyapunov_truth_error=("exponent", true.standard_error),
        kaplan_yorke_truth=true.kaplan_yorke,
        lyapunov_time=true.time if np.isfinite(true.time) else found.time,
    )


def _of_full_model(
    reference: FullModel, state: Array, t: Array, u: Array | None, n: int, spread: float
) -> Lyapunov | None:
    """From its equation, if that is known, small and free, else from its runs, if affordable."""
    from rom.rollout.lyapunov import flow_lyapunov, lyapunov

    equation = full_equation(reference, state.size) if u is None else None
    if equation is not None:
        y0 = equation.basis @ state.ravel()
        n = min(n, len(y0))
        found = lyapunov(equation.dynamics, y0, t - t[0], n_exponents=n, bound=np.inf)
        if found.status is Status.COMPLETED:
            return found
    if not 0 < spread < np.inf:
        return None
    interval = min(APART / spread, float(t[-1] - t[0]))
    if u is None:
        t = np.linspace(0.0, interval * (MOST_TIMES - 1), MOST_TIMES)
    elif t[1] - t[0] > interval:  # perturbations would not stay apart until the next input
        return None
    try:
        few = slice(_affordable(reference, state, t[:2], None if u is None else u[:2], n))
        if len(t[few]) < FEWEST_TIMES:
            return None
        u = None if u is None else u[few]
        return flow_lyapunov(reference, state, t[few], u=u, n_exponents=n)
    except FloatingPointError:  # it blew up, though its shorter runs did not
        return None


def _affordable(
    reference: FullModel, state: Array, interval: Array, u: Array | None, n: int
) -> int:
    """Over how many intervals `n` exponents of a full model can be followed."""
    begin = perf_counter()
    reference.simulate(state, interval, u=u)
    seconds = (2 * n + 1) * (perf_counter() - begin)
    return int(PATIENCE // seconds)


def with_invariants(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison], invariants: Invariants
) -> xr.Dataset:
    """Add how far functions of the state, which should stay, drift along rollouts and truth."""
    found = list(invariants.items())

    def drift(states: Sequence[Array]) -> tuple[tuple[str, str], Array]:
        values = [
            [
                _values(name, function, physical(model, z, c.run.t), len(z))
                for name, function in found
            ]
            for z, c in zip(states, comparisons, strict=True)
        ]
        return ("invariant", "lead"), invariant_drift(np.moveaxis(np.array(values), 1, 2))

    return data.assign(
        invariant_drift=drift([c.run.z for c in comparisons]),
        invariant_drift_truth=drift([c.truth for c in comparisons]),
    ).assign_coords(invariant=list(invariants))


def _values(name: str, function: Callable[[Any], Any], states: Any, n_time: int) -> Array:
    values = np.asarray(function(states), dtype=np.float64)
    if values.shape != (n_time,):
        raise ValueError(
            f"The invariant {name!r} must give one number per state, ({n_time},), but its shape "
            f"is {values.shape}."
        )
    return values


def physical(model: Any, z: Array, t: Array) -> Any:
    """States of latent coordinates in the units of the data, as :meth:`rom.ROM.decode`."""
    axis = model.time_axis_
    if axis is None or axis.unit == "steps":
        return model.decode(z)
    import xarray as xr

    latent = xr.DataArray(z, {axis.dim: axis.to_times(t)}, (axis.dim, "mode"))
    return model.decode(latent)
