"""The comparisons of all starts, put together as one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rom.rollout.compare import Comparison
from rom.rollout.horizon import (
    blocks,
    fewest_apart,
    holding_time,
    longest_apart,
    reliable_time,
    valid_time,
)
from rom.rollout.result import Status
from rom.rollout.skill import skill_score

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]
BASELINES = ("persistence", "climatology", "damped_persistence", "seasonal", "coarse")


def summarise(
    comparisons: Sequence[Comparison], *, tolerance: float, level: float, unit: str
) -> xr.Dataset:
    """Normalise the errors of all starts, and score them against the baselines.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One per start, equally many lead times each.
    tolerance : float
        The normalised error up to which a forecast counts as valid.
    level : float
        Of the reliable time.
    unit : str
        Of time.

    Returns
    -------
    Dataset
        As in :meth:`StabilityReport.to_dataset`.
    """
    import xarray as xr

    square = {
        name: np.stack([c.squares[name] for c in comparisons]) for name in comparisons[0].squares
    }
    baselines = [name for name in BASELINES if name in square]
    scale = float(np.sqrt(square["climatology"].mean()))
    if scale == 0:
        raise ValueError("The reference never departs from the training mean: nothing to check.")
    mean = {name: values.mean(axis=0) for name, values in square.items()}
    lead = np.stack([c.lead for c in comparisons])
    error = np.sqrt(square["error"]) / scale
    time, exceeded = valid_time(error, lead, tolerance)
    holding = {
        name: holding_time(np.sqrt(square[name]) / scale, lead, tolerance)
        for name in ("error", *baselines)
    }
    correlation = np.stack([c.anomaly_correlation for c in comparisons])
    variability = skill_score(mean["variability"], mean["climatology"])
    runs = [c.run for c in comparisons]
    largest = max(c.long_run.known_size for c in comparisons)
    data = xr.Dataset(
        {
            "error": (("start", "lead"), error),
            "error_floor": (("start", "lead"), np.sqrt(square["error_floor"]) / scale),
            "error_dynamics": (("start", "lead"), np.sqrt(square["error_dynamics"]) / scale),
            "rms_error": ("lead", np.sqrt(mean["error"]) / scale),
            "baseline_error": (
                ("baseline", "lead"),
                np.stack([np.sqrt(mean[name]) / scale for name in baselines]),
            ),
            "skill": (
                ("baseline", "lead"),
                np.stack([skill_score(mean["error"], mean[name]) for name in baselines]),
            ),
            "baseline_reliable_time": (
                "baseline",
                [reliable_time(holding[name], level) for name in baselines],
                {"units": unit},
            ),
            "anomaly_correlation": ("lead", correlation.mean(axis=0)),
            "variability_ratio": ("lead", np.sqrt(1 - variability)),
            "valid_time": ("start", time, {"units": unit}),
            "exceeded": ("start", exceeded),
            "horizon": ("start", lead[:, -1], {"units": unit}),
            "status": ("start", [run.status.name for run in runs]),
            "bounded": ("start", [run.status is Status.COMPLETED for run in runs]),
            "end_lead": ("start", [run.t_end - run.t[0] for run in runs], {"units": unit}),
            "long_run_size": ("start", [c.long_run.size / largest for c in comparisons]),
            "long_run_lead": (
                "start",
                [c.long_run.t[-1] - c.run.t[0] for c in comparisons],
                {"units": unit},
            ),
            "full_seconds": ("start", [c.full_seconds for c in comparisons]),
            "reduced_seconds": ("start", [c.reduced_seconds for c in comparisons]),
        },
        coords={
            # On uneven times, those of the starts differ: these are their means.
            "lead": ("lead", lead.mean(axis=0), {"units": unit, "long_name": "lead time"}),
            "baseline": baselines,
            "start_time": ("start", [c.start for c in comparisons], {"units": unit}),
        },
    )
    return data.assign_attrs(
        tolerance=float(tolerance),
        level=float(level),
        **_reliability(comparisons, holding["error"], lead, level),
        scale=scale,
        bound=runs[0].bound,
        inputs=_kind_of_inputs(comparisons),
        time_unit=unit,
    )


def _reliability(
    comparisons: Sequence[Comparison], holding: Array, lead: Array, level: float
) -> dict[str, float]:
    """To which time forecasts held, of how many independent starts, and to which they will.

    That level is stated only as far as enough of the rollouts are independent.
    """
    starts, stretches = ([getattr(c, name) for c in comparisons] for name in ("start", "stretch"))

    def apart(span: float) -> int:
        return int(blocks(starts, stretches, span)[-1]) + 1

    held = reliable_time(holding, level)
    longest = longest_apart(starts, stretches, fewest_apart(level))
    farthest = lead.max(where=lead <= longest * (1 + 1e-9), initial=0.0)
    n_apart = apart(min(held, longest)) if longest >= 0 else 0
    reliable = reliable_time(holding, level, n_apart)
    return {
        "held_time": held,
        "held_apart": apart(held),
        "reliable_time": float(np.minimum(reliable, farthest)),
    }


def _kind_of_inputs(comparisons: Sequence[Comparison]) -> str:
    """How rollouts were carried on past the reference, as far as inputs are concerned."""
    if comparisons[0].u is None:
        return "none"
    if not all(c.long_run.repeated for c in comparisons):
        return "known"
    inputs = [c.onward[1] for c in comparisons]
    return "constant" if all(np.all(u == u[0]) for u in inputs if u is not None) else "periodic"
