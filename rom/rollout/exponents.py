"""Lyapunov exponents of a model, and of a full one beside it, for a check."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics, FullModel
from rom.data.trajectory import EVEN_RTOL
from rom.rollout.compare import LONG_RUN, Comparison
from rom.rollout.full_equation import full_equation
from rom.rollout.growth_rates import Lyapunov
from rom.rollout.linear_lyapunov import linear_lyapunov, linear_part
from rom.rollout.lyapunov import FEWEST_TIMES as LEAST
from rom.rollout.lyapunov import flow_lyapunov, lyapunov
from rom.rollout.result import Status
from rom.rollout.run import rollout

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# At most so many exponents, along so many horizons, each in so many output times, after as many to
# come to the attractor. Where that did not settle them, once more so many times longer.
MOST_EXPONENTS, LYAPUNOV_HORIZONS, PER_HORIZON, LONGER = 40, 20, 20, 4
# States this many times as large as any in training are on no attractor.
FAR = 10
# Those of the full model are left out where they would take longer than this, in seconds, along
# the fewest output times. From one output time to the next the perturbations must stay apart: the
# fastest and the slowest may part by this, as a logarithm.
PATIENCE, FEWEST_TIMES, MOST_TIMES, APART = 10.0, 200, 500, 10.0


def with_exponents(
    data: xr.Dataset, model: Any, comparisons: Sequence[Comparison], reference: Any
) -> xr.Dataset:
    """Add Lyapunov exponents of a model, and of a full one if that is affordable."""
    first = comparisons[0]
    dynamics, z0, n = model.dynamics_, first.truth[0], min(MOST_EXPONENTS, first.truth.shape[1])
    horizon = first.run.t[-1] - first.run.t[0]
    t, u = first.onward
    if not dynamics.n_inputs_:
        step = horizon / (PER_HORIZON if dynamics.time == "continuous" else len(first.run.t) - 1)
        t = step * np.arange(round(LYAPUNOV_HORIZONS * horizon / step) + 1)
    linear, short = linear_part(dynamics) is not None, LONG_RUN * horizon * (1 - EVEN_RTOL)
    if dynamics.n_inputs_ and not linear and t[-1] - t[0] < short:
        return data.assign_attrs(
            exponents="they are means over a long run, for which inputs are not known."
        )
    bound = min(first.run.bound, FAR * dynamics.bound_ / 100)
    found = _of_attractor(dynamics, z0, t, u, n, bound)
    if isinstance(found, str):
        return data.assign_attrs(exponents=found)
    # A linear model is not chaotic: perturbations grow as its states do.
    data = data.assign(_exponents("model", found, n))
    data = data.assign(lyapunov_time=np.nan if linear else found.time)
    if not isinstance(reference, FullModel):
        return data
    state = np.asarray(model.decode(z0[None]))[0]
    true = _of_full_model(reference, state, t, u, n, found.exponents)
    if isinstance(true, str):
        return data.assign_attrs(exponents_truth=true)
    data = data.assign(_exponents("truth", true, n))
    return data.assign(lyapunov_time=true.time) if np.isfinite(true.time) else data


def _exponents(name: str, found: Lyapunov, n: int) -> dict[str, Any]:
    """As variables of the dataset, `n` exponents with NaN for those that there are none of."""
    missing = (0, n - len(found.exponents))
    exponents = np.pad(found.exponents, missing, constant_values=np.nan)
    error = np.pad(found.standard_error, missing, constant_values=np.nan)
    return {
        f"lyapunov_{name}": ("exponent", exponents, {"settled": int(found.settled)}),
        f"lyapunov_{name}_error": ("exponent", error),
        f"kaplan_yorke_{name}": found.kaplan_yorke if found.settled else np.nan,
    }


def _of_attractor(
    dynamics: Dynamics, z0: Array, t: Array, u: Array | None, n: int, bound: float
) -> Lyapunov | str:
    """Along the times `t` from where a run as long has come to; with inputs, from half of `t` on.

    Those of a linear model need no run. Or why there are none.
    """
    exact = linear_lyapunov(dynamics, n_exponents=n)
    if exact is not None:  # one that grows has no attractor
        return exact._replace(kaplan_yorke=np.nan) if exact.exponents[0] > 0 else exact
    step, n_steps = t[1] - t[0], len(t) - 1
    for longer in (1, LONGER) if u is None else (1,):
        if u is None:
            t = step * np.arange(2 * longer * n_steps + 1)
        half = min(len(t) // 2, len(t) - LEAST)
        run = rollout(dynamics, z0, t, u=u, bound=bound, throw=False)
        if run.status is not Status.COMPLETED:
            far = f"it was {FAR} times as large as any state in training"
            why = f"{far}." if run.status is Status.LEFT_BOUND else run.status.value
            return f"carried on, the rollout ended at lead time {run.t_end - t[0]:.4g}: {why}"
        z0 = run.z[half]
        later = None if u is None else u[half:]
        try:
            found = lyapunov(dynamics, z0, t[half:], u=later, n_exponents=n, bound=bound)
        except ValueError as error:  # the times of the inputs are too few, or too uneven
            return str(error)
        if found.status is not Status.COMPLETED:
            return found.status.value
        if found.settled:
            break
    return found


def _of_full_model(
    reference: FullModel, state: Array, t: Array, u: Array | None, n: int, exponents: Array
) -> Lyapunov | str:
    """From its equation, if that is known, small and free, else from its runs, if affordable.

    Or why there are none. The model's `exponents` say how fast perturbations part.
    """
    n = min(n, state.size)
    equation = full_equation(reference, state.size) if u is None else None
    if equation is not None:
        y0 = equation.basis @ state.ravel()
        n = min(n, len(y0))
        found = _of_attractor(equation.dynamics, y0, t, None, n, np.inf)
        if not isinstance(found, str):
            return found
    finite = exponents[np.isfinite(exponents)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    interval = float(t[-1] - t[0]) / LYAPUNOV_HORIZONS
    if spread > 0:
        interval = min(interval, APART / spread)
    if u is None:
        t = np.linspace(0.0, interval * (MOST_TIMES - 1), MOST_TIMES)
    elif t[1] - t[0] > interval:
        return "its perturbations would not stay apart from one input to the next."
    if len(t) < FEWEST_TIMES:
        return f"it takes {FEWEST_TIMES} output times, but inputs are known at {len(t)}."
    try:
        few = slice(_affordable(reference, state, t[:2], None if u is None else u[:2], n))
        if len(t[few]) < FEWEST_TIMES:
            return f"{n} of them would take longer than {PATIENCE:g} s."
        u = None if u is None else u[few]
        return flow_lyapunov(reference, state, t[few], u=u, n_exponents=n)
    except FloatingPointError:  # its shorter runs did not
        return "its run blew up."
    except ValueError as error:  # the times of the inputs are too uneven
        return str(error)


def _affordable(
    reference: FullModel, state: Array, interval: Array, u: Array | None, n: int
) -> int:
    """Over how many intervals `n` exponents of a full model can be followed."""
    begin = perf_counter()
    reference.simulate(state, interval, u=u)
    seconds = (2 * n + 1) * (perf_counter() - begin)
    return int(PATIENCE // seconds)
