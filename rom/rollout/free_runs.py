"""The model run freely beside whole stretches of the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import HasNoise
from rom.rollout.compare import Comparison
from rom.rollout.run import rollout
from rom.rollout.truths import Truth

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
