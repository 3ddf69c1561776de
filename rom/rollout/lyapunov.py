"""Lyapunov exponents: the rates at which small perturbations of a trajectory grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.base import Dynamics, FullModel, HasPolynomial
from rom.rollout.growth_rates import FEWEST_BATCHES, Lyapunov, check_number, summary, unknown
from rom.rollout.linear_lyapunov import linear_lyapunov
from rom.rollout.result import Status
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# The share of the time left out first: the state comes to its attractor meanwhile, and the
# perturbations to their directions.
TRANSIENT, FEWEST_TIMES = 0.1, 11
# More times than these make no better means. The perturbations may take this many times the steps
# of the state alone.
ENOUGH_TIMES, MORE_STEPS = 1001, 10


def lyapunov(
    dynamics: Dynamics,
    z0: ArrayLike,
    t: ArrayLike,
    *,
    u: ArrayLike | None = None,
    n_exponents: int | None = None,
    bound: float | None = None,
) -> Lyapunov:
    """Lyapunov exponents of a latent model along the trajectory from `z0` over the times `t`.

    Perturbations follow the linearised model and are made orthonormal after every step [1]_:
    with exact derivatives and compiled where the model is a polynomial, otherwise with central
    differences. The first tenth of the time is left out. Those of a linear model are exact, see
    :func:`rom.rollout.linear_lyapunov.linear_lyapunov`, even where its states leave the bound.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model, continuous or discrete; of one with noise, the part without.
    z0 : array_like, shape (rank,)
        State at ``t[0]``.
    t : array_like, shape (n_time,)
        Times as for :func:`rom.rollout`, at least 11 of them. The sampling error falls with the
        square root of ``t[-1] - t[0]``: some hundred Lyapunov times give a few per cent.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs at those times, for models with inputs.
    n_exponents : int, optional
        How many exponents, the largest first; by default all.
    bound : float, optional
        Norm of the state past which the run is ended; by default ``dynamics.bound_``.

    Returns
    -------
    Lyapunov

    Raises
    ------
    ValueError, TypeError
        If there are too few times, in all or after the first tenth of the time, `n_exponents` is
        not within 1 and the rank, or the rest does not fit the model, as for :func:`rom.rollout`.

    See Also
    --------
    flow_lyapunov : The same of a full model.
    rom.rollout.linear_lyapunov.linear_lyapunov : Of a linear model, which needs no run.

    References
    ----------
    .. [1] G. Benettin, L. Galgani, A. Giorgilli, J.-M. Strelcyn, "Lyapunov characteristic
       exponents for smooth dynamical systems and for Hamiltonian systems; a method for computing
       all of them", Meccanica 15 (1980) 9-30.

    Examples
    --------
    Logistic growth comes to rest where small perturbations decay as fast as they first grew.

    >>> import numpy as np, rom
    >>> from rom.rollout.lyapunov import lyapunov
    >>> model = rom.OperatorInference.from_operators(A=[[0.5]], H=[[-0.5]])
    >>> lyapunov(model, [0.1], np.linspace(0, 200, 101)).exponents.round(3)
    array([-0.5])
    """
    # numba takes about half a second to import: only those who ask for exponents wait for it.
    from rom.rollout import tangent

    times = _check_times(t)
    run = rollout(dynamics, z0, times, u=u, bound=bound, throw=False)
    rank = run.z.shape[1]
    n_exponents = check_number(n_exponents, rank)
    exact = linear_lyapunov(dynamics, n_exponents=n_exponents)
    if exact is not None:
        return exact
    if run.status is not Status.COMPLETED:
        return unknown(n_exponents, run.status)
    if u is None and dynamics.time == "continuous":
        times = times[np.unique(np.linspace(0, len(times) - 1, ENOUGH_TIMES).astype(int))]
    first = _after_transient(times)
    inputs = np.zeros((len(times), 0)) if u is None else np.ascontiguousarray(u, dtype=np.float64)
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    loops = tangent.PLAIN if polynomial is None else tangent.COMPILED
    model = _rows_of(dynamics) if polynomial is None else tangent.linearised(polynomial)
    size = dynamics.bound_ / 100
    scale = float(size if 0 < size < np.inf else 1.0)
    max_steps = MORE_STEPS * (run.n_steps + len(times))
    Y = _start(run.z[0], n_exponents)
    with np.errstate(all="ignore"):
        growth, code, *_ = loops[dynamics.time](
            model, Y, times, inputs, run.bound, scale, max_steps
        )
    return summary(growth, times, first, code, rank)


def flow_lyapunov(
    model: FullModel,
    x0: ArrayLike,
    t: ArrayLike,
    *,
    u: ArrayLike | None = None,
    n_exponents: int | None = None,
) -> Lyapunov:
    """Lyapunov exponents of a full model, along its run from `x0` over the times `t`.

    From each time to the next, the state and its perturbations are run by ``model.simulate``:
    central differences of the flow, twice as many runs as exponents and one more. The first tenth
    of the time is left out.

    Parameters
    ----------
    model : FullModel
    x0 : array_like, shape (*space)
        State at ``t[0]``.
    t : array_like, shape (n_time,)
        Times, at least 11. Between two of them the perturbations must stay apart: they lie less
        than ``20 / (largest - smallest exponent)`` from each other.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs at those times, for models with inputs.
    n_exponents : int, optional
        How many exponents, the largest first; by default all, as many as the state has cells.

    Returns
    -------
    Lyapunov

    Raises
    ------
    ValueError
        If there are too few times, in all or after the first tenth of the time, `n_exponents` is
        not within 1 and the number of cells, or the model refuses `x0`.
    FloatingPointError
        If the model's run leaves the finite numbers.

    Examples
    --------
    Heat flow damps a sine wave of wavenumber k at the rate of its diffusivity times k².

    >>> import numpy as np, rom
    >>> from rom.rollout.lyapunov import flow_lyapunov
    >>> heat = rom.fom.Heat(n=3, length=np.pi)
    >>> flow_lyapunov(heat, [1.0, 1.0, 1.0], np.linspace(0, 20, 41)).exponents.round(2)
    array([-0.95, -3.24, -5.53])
    """
    from rom.rollout.tangent import follow_map

    times = _check_times(t)
    first = _after_transient(times)
    state = np.array(x0, dtype=np.float64)
    n_exponents = check_number(n_exponents, state.size)

    given = checks.check_inputs(u, len(times))
    inputs = np.zeros((len(times), 0)) if given is None else given

    def flow(rows: Array, interval: Array) -> Array:
        """The states at its end; its two times come first, then the inputs at both."""
        u = interval[2:].reshape(2, -1) if inputs.shape[1] else None
        ends = [model.simulate(x.reshape(state.shape), interval[:2], u=u)[-1] for x in rows]
        return np.array([np.ravel(end) for end in ends], dtype=np.float64)

    later = np.append(np.arange(1, len(times)), len(times) - 1)
    intervals = np.column_stack([times, times[later], inputs, inputs[later]])
    Y = _start(state.ravel(), n_exponents)
    with np.errstate(divide="ignore"):
        growth, code, *_ = follow_map(flow, Y, times, intervals, np.inf, 1.0, len(times))
    return summary(growth, times, first, code, state.size)


def _rows_of(dynamics: Dynamics) -> Callable[[Array, Array], Array]:
    def evaluate(rows: Array, u: Array) -> Array:
        if not np.isfinite(rows).all():
            return np.full_like(rows, np.nan)
        return dynamics._predict(rows, np.tile(u, (len(rows), 1)) if len(u) else None)

    return evaluate


def _start(z0: Array, n_exponents: int) -> Array:
    """A state and orthonormal perturbations of it, none of them special."""
    directions = np.random.default_rng(0).normal(size=(len(z0), n_exponents))
    return np.column_stack([z0, np.linalg.qr(directions)[0]])


def _check_times(t: ArrayLike) -> Array:
    t = np.ascontiguousarray(checks.check_times(t, np.size(t)))
    if len(t) < FEWEST_TIMES:
        raise ValueError(
            f"Lyapunov exponents are means over time and need at least {FEWEST_TIMES} times t, "
            f"but there are {len(t)}."
        )
    return t


def _after_transient(t: Array) -> int:
    """The place of the first time after the transient, behind which there must be steps enough."""
    first = int(np.searchsorted(t[:-1], t[0] + TRANSIENT * (t[-1] - t[0])))
    n_steps = len(t) - 1 - first
    if n_steps < FEWEST_BATCHES:
        raise ValueError(
            f"Lyapunov exponents are means over the time t but its first {TRANSIENT:.0%}, and need "
            f"at least {FEWEST_BATCHES} steps there, but there {'is' if n_steps == 1 else 'are'} "
            f"{n_steps}: give times that are more even."
        )
    return first
