"""Run a latent model forward in time: the one way in, for every kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Dynamics, HasPolynomial, Polynomial
from rom.data.trajectory import EVEN_RTOL, even_step
from rom.rollout.noise import draw_kicks, noise_root
from rom.rollout.result import Rollout, RolloutError, Status

if TYPE_CHECKING:
    from rom.rollout.reduce import Reduction

Stepper = Literal[
    "auto", "dopri5", "dop853", "rk4", "midpoint", "exponential", "euler_maruyama", "map"
]

# Error per step of the adaptive method, relative to the norm of the state.
RTOL = 1e-8
# Methods of steps of fixed length.
FIXED = ("rk4", "midpoint", "euler_maruyama")
# A state this much smaller than the training states counts as zero in that ratio.
NEGLIGIBLE = 1e-6
# Dormand-Prince steps are stable up to this length times the rate of decay.
STABLE = 3.3
# Steps the adaptive methods may try, compiled and as Python, and how many more per output time.
# Compiled steps are fewer where each takes more multiplications than this buys in a few seconds.
STEPS_COMPILED, PER_OUTPUT_COMPILED, MULTIPLICATIONS = 100_000, 100, 3e9
STEPS_PYTHON, PER_OUTPUT_PYTHON = 10_000, 10
# Steps between two output times: seconds to minutes of compiled steps, which nobody can interrupt.
MOST_SUBSTEPS = 10**9


def rollout(
    dynamics: Dynamics,
    z0: ArrayLike,
    t: Any,
    *,
    u: ArrayLike | None = None,
    stepper: Stepper = "auto",
    substeps: int = 1,
    bound: float | None = None,
    reduce: Sequence[Reduction] = (),
    throw: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> Rollout:
    """Run a fitted latent model from state `z0` over the times `t`.

    It ends at ``t[-1]``, or at the first state that is not finite or leaves `bound`, and never
    hangs: every method has a budget of steps. Models with a polynomial right-hand side run
    compiled.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model, of time derivatives (continuous) or of next states (discrete).
    z0 : array_like, shape (rank,)
        State at ``t[0]``.
    t : array_like, shape (n_time,)
        Output times, increasing, in the unit of the training times. A discrete model takes one
        step from each to the next, so they must be as far apart as its training rows.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs at the output times: linear in between (continuous) or held (discrete).
    stepper : str, default "auto"
        "dopri5" [1]_, "dop853" [2]_ and "exponential" are adaptive, to a relative error of 1e-8
        per step; the others take steps of fixed length. "dop853", of order 8, takes some
        half of the evaluations of "dopri5", of order 5, where the model is smooth and steps need
        not end on kinks of the inputs. "rk4" is the classical Runge-Kutta method. "midpoint",
        the implicit midpoint rule [3]_, has order 2 and keeps quadratic invariants, such as the
        energy of a linear Hamiltonian model, to rounding. "exponential" [4]_ solves the linear
        part of a polynomial exactly, however stiff. "euler_maruyama" [5]_ adds the noise of a
        :class:`rom.LinearInverseModel`, which the others leave out. "map" is for discrete models.
        "auto" is "map", or "exponential" where the linear part alone would take "dopri5" more
        steps than its budget, or "dop853" for polynomials without inputs, or "dopri5".
    substeps : int, default 1
        Steps of "rk4", "midpoint" and "euler_maruyama" from each output time to the next.
    bound : float, optional
        Euclidean norm past which the rollout is ended; ``numpy.inf`` for none. By default
        ``dynamics.bound_``, 100 times the largest state in training.
    reduce : sequence of Reduction, optional
        As in :func:`rom.ensemble`: no states are kept but the first and the last, the memory
        needed does not depend on the number of times, and even times may be described.
    throw : bool, default True
        Raise if the rollout ends early; otherwise only its status says so.
    random_state : int, RandomState or None, optional
        Seed of the noise of "euler_maruyama".

    Returns
    -------
    Rollout
        Its ``z`` (n_time, rank) is NaN after ``t_end``.

    Raises
    ------
    RolloutError
        If `throw` and the rollout ends early. The error carries the ``rollout``.
    ValueError, TypeError
        If the model is not fitted, or the start, times or inputs do not fit it.

    References
    ----------
    .. [1] J. R. Dormand, P. J. Prince, "A family of embedded Runge-Kutta formulae", Journal of
       Computational and Applied Mathematics 6 (1980) 19-26.
    .. [2] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I",
       2nd ed., Springer 1993, section II.10.
    .. [3] E. Hairer, C. Lubich, G. Wanner, "Geometric Numerical Integration", 2nd ed., Springer
       2006, section IV.2.1.
    .. [4] S. Krogstad, "Generalized integrating factor methods for stiff PDEs", Journal of
       Computational Physics 203 (2005) 72-88.
    .. [5] P. E. Kloeden, E. Platen, "Numerical Solution of Stochastic Differential Equations",
       Springer 1992, section 10.2.

    Examples
    --------
    The solution of dz/dt = z² is 1 / (1 / z0 - t), which no rollout can follow past t = 1 / z0.

    >>> import rom
    >>> model = rom.OperatorInference("H").fit([[1.0], [2.0]], [[1.0], [4.0]])
    >>> rom.rollout(model, [1.0], [0.0, 0.5]).z.round(6)
    array([[1.],
           [2.]])
    >>> early = rom.rollout(model, [1.0], [0.0, 0.5, 2.0], throw=False)
    >>> early.status.name, round(early.t_end, 2), early.z[:, 0].round(6)
    ('LEFT_BOUND', 1.0, array([ 1.,  2., nan]))

    A long run that leaves its moments only:

    >>> from rom.rollout.reduce import Moments
    >>> decay = rom.OperatorInference.from_operators(A=[[-1.0]])
    >>> run = rom.rollout(decay, [1.0], range(1000), reduce=[Moments()])
    >>> run.reduced[0].n, run.t
    (1000, array([  0., 999.]))
    """
    if not isinstance(dynamics, Dynamics):
        raise TypeError(
            f"rollout runs a latent model (a rom.base.Dynamics), but got a "
            f"{type(dynamics).__name__}. To run a ROM, call its own rollout method."
        )
    check_is_fitted(dynamics)
    z0 = _check_start(dynamics, z0)
    if reduce:
        result = _reduced(
            dynamics, z0, t, stepper, u=u, substeps=substeps, bound=bound, reduce=reduce,
            random_state=random_state,
        )  # fmt: skip
        return _thrown(result) if throw else result
    t = _check_output_times(dynamics, t)
    u = checks.check_inputs(u, len(t), n_inputs=dynamics.n_inputs_)
    u = np.zeros((len(t), 0)) if u is None else np.ascontiguousarray(u)
    bound = _check_bound(dynamics, bound)
    _check_targets(dynamics, z0, u[0])
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    method = _check_stepper(dynamics, stepper, polynomial, t[[0, -1]], len(t))
    if stepper == "auto":
        method = _alone(method, polynomial, u.shape[1])
    _check_substeps(method, substeps)
    with np.errstate(all="ignore"):
        z, code, t_end, n_steps = _run(
            dynamics, polynomial, method, z0, t, u, int(substeps), bound, random_state
        )
    result = Rollout(
        t=t, z=z, status=list(Status)[code], t_end=float(t_end), bound=bound, n_steps=int(n_steps)
    )
    return _thrown(result) if throw else result


def _thrown(result: Rollout) -> Rollout:
    if result.status is not Status.COMPLETED:
        raise RolloutError(result)
    return result


def _reduced(
    dynamics: Dynamics, z0: NDArray[np.float64], t: Any, stepper: Stepper, **options: Any
) -> Rollout:
    """A rollout of which reductions are left: an ensemble of one, by the method of a rollout."""
    from rom.rollout.ensemble import ensemble  # its members run by this module
    from rom.rollout.grid import grid_of

    grid = grid_of(dynamics, t)
    if stepper == "auto" and dynamics.time == "continuous":
        stepper = method_of(dynamics, grid.ends, len(grid))
    runs = ensemble(dynamics, z0[None], t, stepper=stepper, **options)
    return Rollout(
        t=grid.ends, z=runs.z[0], status=runs.status[0], t_end=float(runs.t_end[0]),
        bound=runs.bound, n_steps=int(runs.n_steps[0]), reduced=runs.reduced,
    )  # fmt: skip


def with_substeps(
    t: NDArray[np.float64], u: NDArray[np.float64], substeps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and inputs, and those of equal steps between them.

    Examples
    --------
    >>> times, inputs = with_substeps(np.array([0.0, 1.0, 3.0]), np.zeros((3, 0)), 2)
    >>> times, inputs.shape
    (array([0. , 0.5, 1. , 2. , 3. ]), (5, 0))
    """
    if substeps == 1:
        return t, u
    whole, part = np.divmod(np.arange(substeps * (len(t) - 1) + 1), substeps)
    place, later = part / substeps, np.minimum(whole + 1, len(t) - 1)
    return (
        t[whole] + place * (t[later] - t[whole]),
        u[whole] + place[:, None] * (u[later] - u[whole]),
    )


def method_of(dynamics: Dynamics, ends: NDArray[np.float64], n_times: int) -> Stepper:
    """The method that "auto" stands for in a rollout over `n_times` between two times.

    Examples
    --------
    >>> import rom
    >>> decay = rom.OperatorInference.from_operators(A=[[-1.0]])
    >>> method_of(decay, np.array([0.0, 2.0]), 3)
    'dop853'
    """
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    method = _check_stepper(dynamics, "auto", polynomial, ends, n_times)
    return _alone(method, polynomial, dynamics.n_inputs_)


def _alone(method: Stepper, polynomial: Polynomial | None, n_inputs: int) -> Stepper:
    """Order 8 where a model is smooth and without kinks; members of ensembles run faster by 5."""
    return "dop853" if method == "dopri5" and polynomial is not None and not n_inputs else method


def _run(
    dynamics: Dynamics,
    polynomial: Polynomial | None,
    method: str,
    z0: NDArray[np.float64],
    t: NDArray[np.float64],
    u: NDArray[np.float64],
    substeps: int,
    bound: float,
    random_state: Any,
) -> tuple[NDArray[np.float64], int, float, int]:
    # numba takes about half a second to import: only those who roll out wait for it.
    from rom.rollout import exponential, methods, steppers, terms

    if steppers.norm(z0, len(z0)) > bound:
        z = np.full((len(t), len(z0)), np.nan)
        z[0] = z0
        return z, steppers.LEFT_BOUND, t[0], 0
    options: tuple[Any, ...] = (z0, t, u, bound)
    if method in ("dopri5", "dop853", "exponential"):
        size = dynamics.bound_ / 100
        atol = RTOL * NEGLIGIBLE * (size if 0 < size < np.inf else 1.0)
        options += (RTOL, float(atol), _budget(polynomial, len(t)))
    if method == "euler_maruyama":
        times, _ = with_substeps(t, u, substeps)
        options += (_kicks(dynamics, times, random_state),)
    if method in FIXED:
        options += (substeps,)
    if polynomial is None:
        return methods.PLAIN[method](lambda z, u: _predict_one(dynamics, z, u), *options)
    if method == "exponential":
        linear, polynomial = exponential.split(polynomial)
        options += (linear,)
    return methods.COMPILED[method](terms.terms_of(polynomial), *options)


def _kicks(dynamics: Dynamics, t: NDArray[np.float64], random_state: Any) -> NDArray[np.float64]:
    root = noise_root(dynamics)
    if root is None:
        raise ValueError(
            "stepper='euler_maruyama' needs a model with noise, such as a LinearInverseModel, but "
            f"{type(dynamics).__name__} has none."
        )
    return draw_kicks(root, t, random_state)


def _budget(polynomial: Polynomial | None, n_outputs: int) -> int:
    """The most steps to try: enough for a hard problem, and over within seconds."""
    if polynomial is None:
        return STEPS_PYTHON + PER_OUTPUT_PYTHON * n_outputs
    affordable = int(MULTIPLICATIONS / (7 * max(1, int(np.count_nonzero(polynomial.coef)))))
    return min(affordable, STEPS_COMPILED + PER_OUTPUT_COMPILED * n_outputs) + 10 * n_outputs


def _predict_one(
    dynamics: Dynamics, z: NDArray[np.float64], u: NDArray[np.float64]
) -> NDArray[np.float64]:
    if not np.isfinite(z).all():
        return np.full(len(z), np.nan)
    return dynamics._predict(z[None], u[None] if len(u) else None)[0]


def _check_start(dynamics: Dynamics, z0: ArrayLike) -> NDArray[np.float64]:
    z0 = np.array(checks.real_array(z0, "z0"))
    rank = dynamics.n_features_in_
    if z0.shape != (rank,):
        raise ValueError(
            f"z0 must be one state of shape ({rank},), as {type(dynamics).__name__} was fitted, "
            f"but its shape is {z0.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(z0))
    if bad.size:
        raise ValueError(f"z0 must be finite, but z0[{bad[0]}] is {z0[bad[0]]}.")
    return z0


def _check_output_times(dynamics: Dynamics, t: ArrayLike) -> NDArray[np.float64]:
    try:
        t = np.ascontiguousarray(checks.check_times(t, np.size(t)))
    except MemoryError:
        raise MemoryError(
            f"The output times do not fit into memory: t={shortened(t)}. With reduce, which keeps "
            "no states, a range is not written out."
        ) from None
    if not t.size:
        raise ValueError("t must hold at least one time, that of z0, but it is empty.")
    if dynamics.time == "discrete" and len(t) > 1:
        name = type(dynamics).__name__
        step = even_step(t, [slice(0, len(t))], needed_by=f"A rollout of {name} (discrete)")
        if abs(step - dynamics.dt_) > EVEN_RTOL * dynamics.dt_:
            raise ValueError(
                f"{name} is a discrete model of step {dynamics.dt_:g}, as its training times, but "
                f"the step of t is {step:g}."
            )
    return t


def _check_stepper(
    dynamics: Dynamics,
    stepper: Any,
    polynomial: Polynomial | None,
    ends: NDArray[np.float64],
    n_outputs: int,
) -> Stepper:
    methods: dict[str, list[Stepper]] = {
        "continuous": ["dopri5", "dop853", "rk4", "midpoint", "exponential", "euler_maruyama"],
        "discrete": ["map"],
    }
    allowed = methods[dynamics.time]
    if stepper not in ["auto", *allowed]:
        raise ValueError(
            f"stepper must be one of {['auto', *allowed]} for a {dynamics.time} model, "
            f"but it is {stepper!r}."
        )
    if stepper == "exponential" and polynomial is None:
        raise ValueError(
            "stepper='exponential' needs a model whose right-hand side is a polynomial, but that "
            f"of this {type(dynamics).__name__} is not."
        )
    if stepper == "auto" and polynomial is not None and dynamics.time == "continuous":
        return "exponential" if _is_stiff(polynomial, ends, n_outputs) else "dopri5"
    return allowed[0] if stepper == "auto" else stepper


def _check_bound(dynamics: Dynamics, bound: Any) -> float:
    number = np.asarray(dynamics.bound_ if bound is None else bound)
    if number.ndim or number.dtype.kind not in "biuf" or not number > 0:
        raise ValueError(f"bound must be a positive number, but it is {bound!r}.")
    return float(number)


def _check_substeps(method: str, substeps: int) -> None:
    if not isinstance(substeps, Integral) or substeps < 1:
        raise ValueError(f"substeps must be a positive integer, but it is {substeps!r}.")
    if substeps > MOST_SUBSTEPS:
        raise ValueError(f"substeps can be {MOST_SUBSTEPS:.0e} at most, but it is {substeps}.")
    if substeps > 1 and method not in FIXED:
        raise ValueError(
            f"substeps are for methods of fixed steps, {', '.join(FIXED)}, but the method is "
            f"{method!r} and substeps={substeps}."
        )


def _is_stiff(polynomial: Polynomial, ends: NDArray[np.float64], n_outputs: int) -> bool:
    """Whether the decay of the linear part alone would use up the budget of Dormand-Prince."""
    from rom.rollout import exponential, steppers

    linear, span = exponential.split(polynomial).linear, float(ends[1] - ends[0])
    most, size = STABLE * _budget(polynomial, n_outputs), steppers.norm(linear.ravel(), linear.size)
    if not (most < size * span and size < np.inf):  # no eigenvalue is larger than the norm
        return False
    return -float(np.linalg.eigvals(linear).real.min()) * span > most


def _check_targets(dynamics: Dynamics, z0: NDArray[np.float64], u: NDArray[np.float64]) -> None:
    with np.errstate(all="ignore"):
        n_targets = _predict_one(dynamics, z0, u).size
    if n_targets != len(z0):
        raise ValueError(
            f"A rollout needs one target per latent coordinate, but {type(dynamics).__name__} was "
            f"fitted with {n_targets} targets for {len(z0)} coordinates."
        )
