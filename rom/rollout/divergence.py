"""How far rollouts may part from the truth, without looking at it: bounds, growth, ensembles."""

from __future__ import annotations

from collections.abc import Sequence
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import FullModel, HasNoise
from rom.rollout.bootstrap import mean_interval, skill_interval
from rom.rollout.certificate import certify
from rom.rollout.compare import Comparison
from rom.rollout.crps import crps, sample_crps
from rom.rollout.error_estimate import error_bound, growth_bound, step_error
from rom.rollout.horizon import holding_time, reliable_time
from rom.rollout.linear_lyapunov import linear_part
from rom.rollout.robustness import AIMS, AROUND, ROUNDS, stays_from_around, worst_growth
from rom.rollout.run import rollout
from rom.rollout.trapping import certified_region

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# Perturbations, as a part of the usual distance from the mean; how many starts they are searched
# for, and the seconds of processor time that the search may take.
PERTURBATION, SEARCHED, PATIENCE = 0.01, 3, 20.0
# Members of the ensemble of a model with noise; its seed.
MEMBERS, SEED = 50, 0


def with_bounds(
    data: xr.Dataset, model: Any, reference: Any, comparisons: Sequence[Comparison]
) -> xr.Dataset:
    """Add upper bounds on the errors, how long they are of use, and how tight they are."""
    certificate = (
        certify(model, reference)
        if isinstance(reference, FullModel)
        else "The full equation is not known."
    )
    step = step_error(model)
    floor = float(data["error_floor"][:, 0].max()) * data.attrs["scale"]
    bounds = [
        error_bound(model, certificate, c.run, c.row, floor=floor, u=c.u, step=step)
        for c in comparisons
    ]
    kind, reason = bounds[0].kind, bounds[0].reason
    if any(bound.kind != kind for bound in bounds):  # no more is claimed than holds for all
        kind, reason = next((b.kind, b.reason) for b in bounds if b.kind != "certified")
    error = np.stack([bound.error for bound in bounds]) / data.attrs["scale"]
    useful = holding_time(error, np.stack([c.lead for c in comparisons]), data.attrs["tolerance"])
    true = data["error"].values
    ratio = np.full_like(error, np.nan)
    later = data["lead"].values > 0  # at the start both may be rounding
    np.divide(error, true, out=ratio, where=(true > 0) & np.isfinite(error) & later)
    return data.assign(
        error_bound=(("start", "lead"), error, {"kind": kind, "reason": reason}),
        useful_horizon=("start", useful, {"units": data.attrs["time_unit"]}),
        effectivity=("lead", _median(ratio)),
    )


def _median(ratio: Array) -> Array:
    """Over the starts of which it is known; NaN where it is of none."""
    known = np.isfinite(ratio).any(axis=0)
    median = np.full(ratio.shape[1], np.nan)
    median[known] = np.nanmedian(ratio[:, known], axis=0)
    return median


def with_certificate(data: xr.Dataset, model: Any) -> xr.Dataset:
    """Add whether the model is proven to stay bounded."""
    region = certified_region(model.dynamics_)
    without = " (without its noise)" if isinstance(model.dynamics_, HasNoise) else ""
    return data.assign_attrs(
        certified_radius=region.radius,
        certificate=region.words.rstrip(".") + without,
        certificate_search=", ".join(region.search),
        growth_rate=region.growth,
    )


def with_growth(data: xr.Dataset, model: Any, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add the worst growth found of 1 % perturbations of some starts, unless it takes too long.

    Beside it stands what bounds it, exactly for a linear model and else to first order, and how
    long forecasts by the right equations would hold if errors grew so: from an error of 1 %, or of
    what the projection loses if that is more. The last not for a model with noise, nor for a
    chaotic one, where errors grow several times faster from one start than from another, nor for
    one with inputs, of which it may not be known whether it is chaotic.
    """
    dynamics, latent = model.dynamics_, model.latent_
    size = PERTURBATION * float(np.sqrt(np.mean(np.sum((latent - latent.mean(axis=0)) ** 2, 1))))
    first = comparisons[0].run
    if not size:
        return data
    begin = process_time()
    rollout(dynamics, first.z[0], first.t, u=comparisons[0].u, bound=first.bound, throw=False)
    rank = len(first.z[0])
    seconds = (process_time() - begin) * (2 * rank + 2 * AIMS * ROUNDS * (rank + 1))
    seconds = max(seconds, 1e-9)  # a clock that ticks seldom may have said none
    n = int(min(SEARCHED, len(comparisons), PATIENCE / seconds))
    if not n:
        return data
    chosen = np.linspace(0, len(comparisons) - 1, n).round().astype(int)
    runs = [(comparisons[i].run, comparisons[i].u) for i in chosen]
    found = [
        worst_growth(dynamics, r.z[0], r.t, size=size, u=u, bound=r.bound).growth for r, u in runs
    ]
    grown_most = np.max(found, axis=0)
    bounds = [growth_bound(dynamics, run, u) for run, u in runs]
    bound, kind = np.max(bounds, axis=0), "estimated"
    if linear_part(dynamics) is not None:  # what grew more did by an error of the time stepping
        bound, kind = np.maximum(bound, grown_most), "certified"
    data = data.assign(
        perturbation_growth=("lead", grown_most), growth_bound=("lead", bound, {"kind": kind})
    )
    unsure = dynamics.n_inputs_ or np.isfinite(data.get("lyapunov_time", np.nan))
    if isinstance(dynamics, HasNoise) or unsure:
        return data
    grown = max(PERTURBATION, float(data["error_floor"].max())) * grown_most
    lead = np.stack([c.lead for c in comparisons])  # as far as each start was compared
    held = holding_time(np.broadcast_to(grown, lead.shape), lead, data.attrs["tolerance"])
    return data.assign_attrs(explained_time=reliable_time(held, data.attrs["level"]))


def with_starts_around(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison]
) -> xr.Dataset:
    """Add how many rollouts from inside and around the training states stay bounded.

    With inputs, all have those of the start from which they are known for longest.
    """
    longest = max(comparisons, key=lambda c: c.long_run.t[-1] - c.run.t[0])
    t, u = longest.onward
    stays = stays_from_around(model.dynamics_, model.latent_, t, u=u, bound=longest.run.bound)
    return data.assign_attrs(
        n_around=len(stays),
        n_around_bounded=int(stays.sum()),
        around=AROUND,
        around_lead=float(t[-1] - t[0]),
    )


def with_scores(data: xr.Dataset, model: Any, comparisons: Sequence[Comparison]) -> xr.Dataset:
    """Add the ranked probability score of a model with noise, on latent coordinates."""
    dynamics = model.dynamics_
    if not isinstance(dynamics, HasNoise):
        return data
    scores = [
        crps(
            dynamics.ensemble(
                z[0], t if u is None else u, n_members=MEMBERS, random_state=SEED + i
            ),
            truth,
        ).mean(axis=1)
        for i, (z, t, u, truth) in enumerate((c.run.z, c.run.t, c.u, c.truth) for c in comparisons)
    ]
    truths = np.stack([c.truth for c in comparisons])
    climate = sample_crps(model.latent_, truths).mean(axis=2)
    mean, skill = mean_interval(scores), skill_interval(scores, climate)
    return data.assign(
        crps=("lead", np.mean(scores, axis=0)),
        crps_low=("lead", mean.low),
        crps_high=("lead", mean.high),
        crps_climatology=("lead", climate.mean(axis=0)),
        crps_skill_low=("lead", skill.low),
        crps_skill_high=("lead", skill.high),
    )
