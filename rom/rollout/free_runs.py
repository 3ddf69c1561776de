"""The model run freely beside whole stretches of the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import HasNoise
from rom.rollout.compare import Comparison
from rom.rollout.run import rollout
from rom.rollout.truths import Truth

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]


class FreeRun(NamedTuple):
    """A stretch of the truth, and the model from its first state."""

    model: Array
    """Latent states (n_time, rank); NaN after the end of a run."""
    truth: Array
    """The same, projected."""
    t: Array
    u: Array | None


def free_runs(
    model: Any, comparisons: Sequence[Comparison], stretches: Iterable[Truth]
) -> list[FreeRun]:
    """One for each stretch; those of a full model are whole as they were compared."""
    dynamics, runs = model.dynamics_, []
    for truth in stretches:
        Z, bound = truth.latent(model), comparisons[0].run.bound
        run = rollout(dynamics, Z[0], truth.t, u=truth.u, bound=bound, throw=False)
        runs.append(FreeRun(run.z, Z, truth.t, truth.u))
    if not runs:
        runs = [FreeRun(c.run.z, c.truth, c.run.t, c.u) for c in comparisons]
    if not isinstance(dynamics, HasNoise):
        return runs
    # Without its noise it dies away.
    return [
        run._replace(
            model=dynamics.ensemble(
                run.truth[0], run.t if run.u is None else run.u, n_members=1, random_state=i
            )[0]
        )
        for i, run in enumerate(runs)
    ]


def with_free_runs(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison], runs: Sequence[FreeRun]
) -> xr.Dataset:
    """Add how large the states of each became, over the largest known, and how far it went."""
    mean = model.latent_.mean(axis=0)

    def size_of(states: Array) -> float:
        return float(np.linalg.norm(states - mean, axis=1).max())

    known = [c.long_run.known_size for c in comparisons] + [size_of(run.truth) for run in runs]
    whole = [bool(np.isfinite(run.model).all()) for run in runs]
    sizes = [
        size_of(run.model) / max(known) if w else np.inf for run, w in zip(runs, whole, strict=True)
    ]
    last = [int(np.isfinite(run.model).all(axis=1).sum()) - 1 for run in runs]
    lead = [float(run.t[i] - run.t[0]) for run, i in zip(runs, last, strict=True)]
    return data.assign(
        free_run_size=("free_run", sizes),
        free_run_lead=("free_run", lead, {"units": data.attrs["time_unit"]}),
    )
