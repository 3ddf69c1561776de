"""What a rollout costs beside the full model's run, and how many runs pay for the making."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Compressor, Dynamics, FullModel, HasPolynomial, Polynomial
from rom.fom.cost import Cost, cost_of
from rom.rollout.result import Rollout
from rom.rollout.run import method_of, rollout

if TYPE_CHECKING:
    import xarray as xr

Array = NDArray[np.float64]

# Evaluations of the right-hand side per step tried, and more per step with output within. A last
# stage that is the first of the next step counts once.
EVALUATIONS = {"map": (1, 0), "dopri5": (6, 0), "dop853": (12, 3), "exponential": (4, 0)}
# Products with matrices of a step of the exponential method, beside evaluations of what is not
# linear.
PRODUCTS = 9
# Seconds that a time is measured for, and that three measurements of it may take.
MEASURED_FOR, MOST_FOR_THREE = 0.03, 1.0


def timed_rollout(
    model: Any,
    z0: Array,
    t: Array,
    u: Array | None,
    bound: float | None = None,
    *,
    decode: bool = True,
) -> tuple[Rollout, float]:
    """A rollout of a fitted ROM, and the seconds that it and, if asked for, its decoding took."""
    options: dict[str, Any] = {"bound": bound, "throw": False}
    # Compiles, where it must.
    rollout(model.dynamics_, z0, t[:1], u=None if u is None else u[:1], **options)
    begin = perf_counter()
    run = rollout(model.dynamics_, z0, t, u=u, **options)
    if decode:
        model.decode(run.z)
    return run, perf_counter() - begin


def least(measure: Callable[[], float]) -> float:
    """The least of several measurements of seconds: what else a machine does only adds to them."""
    found = [measure()]
    while sum(found) < (MEASURED_FOR if len(found) >= 3 else MOST_FOR_THREE):
        found.append(measure())
    return min(found)


def times_less(data: xr.Dataset) -> float:
    """The full model's time of a run over the reduced one's, medians; NaN where not measured."""
    return float(data["full_seconds"].median() / data["reduced_seconds"].median())


def costs(
    model: Any, reference: Any, run: Rollout, n_steps: int, u: Array | None = None
) -> dict[str, float]:
    """Operations and memory of a rollout, and of the run of the full model from the same state.

    Parameters
    ----------
    model : ROM
        Fitted.
    reference : FullModel, or snapshots
        What the model stands for.
    run : Rollout
        Of ``model.dynamics_``, by the stepper "auto".
    n_steps : int
        Steps it took.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at its times.

    Returns
    -------
    dict of str to float
        ``full_flops``, ``full_bytes``, ``reduced_flops`` and ``reduced_bytes``. Those of the full
        model are NaN where it is only data, or its steps are not known here
        (:func:`rom.fom.cost.cost_of`).

    Examples
    --------
    >>> import rom
    >>> burgers, t = rom.fom.Burgers(n=128, viscosity=0.05), np.linspace(0, 0.5, 51)
    >>> states = burgers.simulate(burgers.initial_state(), t)
    >>> model = rom.ROM(rom.POD(3), rom.OperatorInference("cAH", ridge=1e-6)).fit(states)
    >>> run = rom.rollout(model.dynamics_, model.latent_[0], t)
    >>> found = costs(model, burgers, run, run.n_steps)
    >>> found["full_flops"] > 10 * found["reduced_flops"]
    True
    """
    full = Cost(np.nan, np.nan)
    if isinstance(reference, FullModel):
        state = np.asarray(model.decode(run.z[:1]))[0]
        full = cost_of(reference, state, run.t, u) or full
    dynamics, compressor = model.dynamics_, model.compressor_
    method = method_of(dynamics, run.t[[0, -1]], len(run.t))
    return {
        "full_flops": full.flops,
        "full_bytes": full.bytes,
        "reduced_flops": flops(dynamics, compressor, method, n_steps, len(run.t)),
        "reduced_bytes": 8.0 * (n_numbers(dynamics) + n_numbers(compressor) + run.z.size),
    }


def flops(
    dynamics: Dynamics, compressor: Compressor, method: str, n_steps: int, n_outputs: int
) -> float:
    """Floating-point operations of a rollout and its decoding, to leading order.

    Parameters
    ----------
    dynamics, compressor
        Fitted. A polynomial is evaluated term by term, only those present; any other model and
        any compressor is taken to multiply and add each number it holds once per state.
    method : {"map", "dopri5", "dop853", "exponential"}
        The stepper, as :func:`rom.rollout.run.method_of` names it. The matrix functions of the
        exponential one, made once for each length of step, are left out.
    n_steps, n_outputs : int
        Steps tried, and states decoded.

    Returns
    -------
    float

    Examples
    --------
    Three states of a growth ``dz/dt = z`` by two steps of Dormand and Prince, six evaluations, a
    product and a sum each, and what it takes to copy the one coordinate.

    >>> import rom
    >>> growth = rom.OperatorInference("A").fit([[1.0], [2.0]], [[1.0], [2.0]])
    >>> flops(growth, rom.Identity().fit([[1.0], [2.0]]), "dopri5", n_steps=2, n_outputs=3)
    24.0
    """
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    linear = 0
    if polynomial is None:
        evaluation = 2 * n_numbers(dynamics)
    else:
        if method == "exponential":
            from rom.rollout.exponential import split  # which imports numba

            matrix, polynomial = split(polynomial)
            linear = 2 * PRODUCTS * matrix.size
        evaluation = _operations(polynomial)
    each, more = EVALUATIONS[method]
    n_evaluations = each * n_steps + more * min(n_steps, n_outputs - 1)
    steps = n_evaluations * evaluation + n_steps * linear
    return float(steps + 2 * n_outputs * n_numbers(compressor))


def _operations(polynomial: Polynomial) -> int:
    """Of one evaluation."""
    present = polynomial.coef != 0
    products = np.maximum(polynomial.exponents.sum(axis=1) - 1, 0)[present.any(axis=0)]
    return int(products.sum()) + 2 * int(present.sum())


def n_numbers(fitted: Any) -> int:
    """How many numbers a fitted estimator holds in arrays."""
    return sum(
        array.size
        for name, value in vars(fitted).items()
        if name.endswith("_")
        for array in _arrays(value)
    )


def _arrays(value: Any) -> Iterable[NDArray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _arrays(item)


def break_even(offline: float, full: float, reduced: float) -> float:
    """Runs after which the making of a reduced model is paid for.

    Parameters
    ----------
    offline : float
        Seconds of the training runs and of the fit.
    full, reduced : float
        Seconds of one run of each.

    Returns
    -------
    float
        Infinite if the reduced model is no cheaper; NaN if something was not measured.

    Examples
    --------
    >>> break_even(100.0, full=2.0, reduced=0.1)
    53.0
    """
    if np.isnan(offline + full + reduced):
        return np.nan
    return float(np.ceil(offline / (full - reduced))) if full > reduced else np.inf
