"""Lyapunov exponents: the rates at which small perturbations of a trajectory grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.base import Dynamics, FullModel, HasPolynomial
from rom.rollout.result import Status
from rom.rollout.run import rollout
from rom.rollout.trapping import ROUNDING

Array = NDArray[np.float64]

# The share of the time left out first: the state comes to its attractor meanwhile, and the
# perturbations to their directions.
TRANSIENT, FEWEST_TIMES = 0.1, 11
# More times than these make no better means. The perturbations may take this many times the steps
# of the state alone.
ENOUGH_TIMES, MORE_STEPS = 1001, 10
# Batches of the run that give the sampling errors. An exponent differs from zero if it does by more
# than three of these, and changes a perturbation by more than the factor e³ in the whole run. Two
# halves differ where each is further than that from their mean; their dimensions, where it is also
# further than the last number.
FEWEST_BATCHES, N_BATCHES, CERTAIN, SAME_DIMENSION = 2, 32, 3, 0.05


class Lyapunov(NamedTuple):
    """Lyapunov exponents of a model, with their sampling errors.

    All are NaN where the run ended early, which `status` tells.
    """

    exponents: Array
    """Growth rates of perturbations per unit of time (n_exponents,), the largest first."""
    standard_error: Array
    """Of each exponent (n_exponents,), from batches of the run, or half the difference of its two
    halves where that is more than chance; zero of a linear model, whose exponents are exact. At
    least half of an exponent that changes a perturbation by less than e³ in the whole run."""
    kaplan_yorke: float
    """Kaplan-Yorke dimension; NaN where it needs more exponents than were asked for."""
    kaplan_yorke_error: float
    """Its standard error."""
    time: float
    """Lyapunov time 1 / exponents[0]; NaN where that is not above zero beyond doubt."""
    status: Status
    """How the run ended."""
    settled: bool
    """Whether the largest exponent and the dimension are the same in both halves of the run, but
    for chance. If not, a longer run, or one from a later start, may tell more."""


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
    :func:`linear_lyapunov`, even where its states leave the bound.

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
    linear_lyapunov : Of a linear model, which needs no run.

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
    n_exponents = _check_number(n_exponents, rank)
    exact = linear_lyapunov(dynamics, n_exponents=n_exponents)
    if exact is not None:
        return exact
    if run.status is not Status.COMPLETED:
        return _unknown(n_exponents, run.status)
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
    return _summary(growth, times, first, code, rank)


def linear_part(dynamics: Dynamics) -> Array | None:
    """The matrix A of a linear model, continuous or discrete.

    Constants and inputs may be added to ``A z``: they change no perturbation.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.

    Returns
    -------
    ndarray, shape (rank, rank), or None
        None where the model is not linear.

    Examples
    --------
    >>> import rom
    >>> linear_part(rom.OperatorInference.from_operators(A=[[-2.0]], B=[[1.0]]))
    array([[-2.]])
    >>> linear_part(rom.OperatorInference.from_operators(A=[[-2.0]], H=[[1.0]])) is None
    True
    """
    from rom.rollout.exponential import split  # which imports numba

    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    if polynomial is None:
        return None
    linear, (exponents, coef) = split(polynomial)
    return None if exponents[coef.any(axis=0), : len(coef)].any() else linear


def linear_lyapunov(dynamics: Dynamics, *, n_exponents: int | None = None) -> Lyapunov | None:
    """Lyapunov exponents of a linear model, which are exact and the same everywhere.

    They are the real parts of the eigenvalues of its matrix; of a map, the logarithms of their
    absolute values, over its step. Those that rounding may have made are zero: such directions are
    neutral, and each adds one to the Kaplan-Yorke dimension. It is 0 where all decay.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    n_exponents : int, optional
        How many exponents, the largest first; by default all.

    Returns
    -------
    Lyapunov or None
        None where the model is not linear.

    Raises
    ------
    ValueError
        If `n_exponents` is not within 1 and the rank.

    Examples
    --------
    >>> import rom
    >>> turns = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
    >>> found = linear_lyapunov(turns)
    >>> found.exponents, found.kaplan_yorke
    (array([0., 0.]), 2.0)
    """
    A = linear_part(dynamics)
    if A is None:
        return None
    rank = len(A)
    n_exponents = _check_number(n_exponents, rank)
    eigenvalues, size = np.linalg.eigvals(A), float(np.linalg.norm(A, 2))
    if dynamics.time == "continuous":
        rates = eigenvalues.real
        rates[np.abs(rates) <= ROUNDING * rank * size] = 0.0
    else:
        moduli, rounding = np.abs(eigenvalues), ROUNDING * rank * max(1.0, size)
        moduli[np.abs(moduli - 1) <= rounding] = 1.0
        moduli[moduli <= rounding] = 0.0
        with np.errstate(divide="ignore"):  # a direction that the map loses
            rates = np.log(moduli) / dynamics.dt_
    largest = np.array(np.sort(rates)[::-1][:n_exponents], dtype=np.float64)
    dimension, error = _if_known(kaplan_yorke(largest), 0.0, n_exponents, rank)
    time = float(1 / largest[0]) if largest[0] > 0 else float("nan")
    return Lyapunov(largest, np.zeros(n_exponents), dimension, error, time, Status.COMPLETED, True)


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
    n_exponents = _check_number(n_exponents, state.size)

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
    return _summary(growth, times, first, code, state.size)


def kaplan_yorke(exponents: ArrayLike, *, resolution: float = 0.0) -> float:
    """Kaplan-Yorke dimension of an attractor, from its Lyapunov exponents.

    ``j + (λ_1 + … + λ_j) / |λ_{j+1}|``, with the largest j whose sum is not negative [1]_.

    Parameters
    ----------
    exponents : array_like, shape (n_exponents,)
        Lyapunov exponents, in any order.
    resolution : float, default 0
        A sum this little below zero counts as zero. The largest exponent of a limit cycle is
        zero, and comes out a little above or below.

    Returns
    -------
    float
        0 for an equilibrium; the number of exponents if even the sum of all is not negative; NaN
        if an exponent is.

    References
    ----------
    .. [1] P. Frederickson, J. L. Kaplan, E. D. Yorke, J. A. Yorke, "The Liapunov dimension of
       strange attractors", Journal of Differential Equations 49 (1983) 185-207.

    Examples
    --------
    Lorenz's attractor.

    >>> round(kaplan_yorke([0.9056, 0.0, -14.5723]), 3)
    2.062
    """
    exponents = np.sort(np.asarray(exponents, dtype=np.float64))[::-1]
    if np.isnan(exponents).any():
        return float("nan")
    sums = np.cumsum(exponents)
    whole = np.flatnonzero(sums >= -resolution)
    if not whole.size:
        return 0.0
    j = int(whole[-1]) + 1
    if j == len(exponents):
        return float(j)
    return float(j + max(0.0, sums[j - 1]) / abs(exponents[j]))


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


def _check_number(n_exponents: int | None, most: int) -> int:
    if n_exponents is None:
        return most
    if not 1 <= n_exponents <= most:
        raise ValueError(
            f"n_exponents must be from 1 to {most}, the length of the state, but it is "
            f"{n_exponents}."
        )
    return int(n_exponents)


def _unknown(n_exponents: int, status: Status) -> Lyapunov:
    nan, rates = float("nan"), np.full(n_exponents, np.nan)
    return Lyapunov(rates, rates.copy(), nan, nan, nan, status, False)


def _if_known(dimension: float, error: float, n_exponents: int, rank: int) -> tuple[float, float]:
    """A Kaplan-Yorke dimension and its error; NaN where it may need more exponents."""
    if dimension == n_exponents < rank:
        return float("nan"), float("nan")
    return dimension, error


def _summary(growth: Array, t: Array, first: int, code: int, rank: int) -> Lyapunov:
    """Rates from the first time on, with errors by a jackknife over batches and by the halves."""
    status = list(Status)[code]
    if status is not Status.COMPLETED:
        return _unknown(growth.shape[1], status)
    n = min(N_BATCHES, len(t) - 1 - first)
    cuts = np.linspace(first, len(t) - 1, n + 1).astype(int)
    batches, spans = np.add.reduceat(growth, cuts[:-1]), np.diff(t[cuts])[:, None]
    batches = batches[:, np.argsort(-batches.sum(axis=0), kind="stable")]
    rates = batches.sum(axis=0) / spans.sum()
    resolution = CERTAIN / spans.sum()

    def with_dimension(row: Array) -> Array:
        return np.append(row, kaplan_yorke(row, resolution=resolution))

    with np.errstate(invalid="ignore"):  # an exponent may be -inf: a direction that a map loses
        others = (batches.sum(axis=0) - batches) / (spans.sum() - spans)
        cut = [0, n // 2]
        halves = np.add.reduceat(batches, cut) / np.add.reduceat(spans, cut)
        others, halves = (
            np.array([with_dimension(row) for row in np.where(np.isinf(rates), rates, part)])
            for part in (others, halves)
        )
        errors, apart = _jackknife(others), np.abs(halves[0] - halves[1]) / 2
    least = np.append(np.full(len(rates), resolution), SAME_DIMENSION)
    changed = apart > np.maximum(CERTAIN * errors, least)
    errors = np.where(changed, apart, errors)
    unsure = np.abs(rates) < resolution  # whether they differ from zero
    errors[:-1][unsure] = np.maximum(errors[:-1], np.abs(rates) / 2)[unsure]
    found = with_dimension(rates)
    positive = rates[0] > max(resolution, CERTAIN * errors[0])
    time = float(1 / rates[0]) if positive else float("nan")
    dimension = _if_known(float(found[-1]), float(errors[-1]), len(rates), rank)
    settled = not (changed[0] or changed[-1])
    return Lyapunov(rates, errors[:-1], *dimension, time, status, settled)


def _jackknife(left_out: Array) -> Array:
    """Standard errors of quantities, from their values without each batch, one a row."""
    n = len(left_out)
    return np.sqrt((n - 1) * np.mean((left_out - left_out.mean(axis=0)) ** 2, axis=0))
