"""Run many members of a latent model: side by side, on all cores, or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from rom import checks
from rom.base import Dynamics, HasNoise, HasPolynomial
from rom.rollout import kicks, run
from rom.rollout.grid import grid_of
from rom.rollout.members import Job, Part, merged, run_members
from rom.rollout.reduce import Reduction
from rom.rollout.result import Status
from rom.rollout.run import Stepper

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ensemble:
    """Runs of a latent model from several states.

    The arrays are dask arrays, not yet computed, where the starts were a dask array and no
    reduction was asked for; compute them together (:func:`dask.compute`), or members run twice.
    """

    t: Any
    """Output times (n_time,), or the description of them that was given."""
    z: Any
    """States (n_members, n_time, rank), NaN after the end of a member; (n_members, 2, rank), the
    first and the last, where the others are reduced."""
    status: Any
    """How each member ended (n_members,): a :class:`~rom.rollout.result.Status` each."""
    t_end: Any
    """Time of the last state of each member, or the first outside the bound (n_members,)."""
    n_steps: Any
    """Steps that each member tried (n_members,)."""
    bound: float
    """Norm past which a member is ended."""
    reduced: tuple[Any, ...] = ()
    """The reductions, of all members and times, and of what they held before."""


def ensemble(
    dynamics: Dynamics,
    z0: Any,
    t: Any,
    *,
    u: ArrayLike | None = None,
    stepper: Stepper | Literal["noisy_map"] = "auto",
    substeps: int = 1,
    bound: float | None = None,
    reduce: Sequence[Reduction] = (),
    random_state: int | np.random.RandomState | None = None,
) -> Ensemble:
    """Run a fitted latent model from many states over the same times.

    Each member ends by itself, as in :func:`rom.rollout`. Members are shared out among all cores.
    By "map", "rk4", "euler_maruyama" and "dopri5" they run side by side, polynomials compiled and
    other models as one batch; by other methods one after the other on each core.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    z0 : array_like or dask array, shape (n_members, rank)
        States at the first time. A dask array is run chunk by chunk on the scheduler or the
        cluster in use.
    t : array_like, shape (n_time,), or range
        Output times, increasing. So many even times that they do not fit into memory can be
        described by what has a start, a step and a length: a :class:`range`, a
        :class:`pandas.RangeIndex` or a :class:`xarray.indexes.RangeIndex`.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs at the output times, the same for all members.
    stepper : str, default "auto"
        As in :func:`rom.rollout`, but "auto" takes "dopri5" where a rollout takes "dop853"; or
        "noisy_map", for discrete models with noise, such as a :class:`rom.SeasonalModel`, which
        "map" leaves out.
    substeps : int, default 1
        As in :func:`rom.rollout`.
    bound : float, optional
        Euclidean norm past which a member is ended; by default ``dynamics.bound_``.
    reduce : sequence of Reduction, optional
        Such as :class:`rom.rollout.reduce.Moments`. Then no states are kept but the first and the
        last, and the memory needed does not depend on the number of times. Those that hold states
        of earlier runs go on: what comes back is the sum of both.
    random_state : int, RandomState or None, optional
        Seed of the noise of "euler_maruyama" and "noisy_map".

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError, TypeError
        If the model is not fitted, or the starts, times, inputs or reductions do not fit it.

    Notes
    -----
    Where noise is drawn, a member's does not depend on the number of cores, nor on the chunks of
    a dask array if they hold multiples of 32 members. With a reduction the adaptive methods end
    steps where a stretch that fits into memory does.

    Examples
    --------
    >>> import rom
    >>> from rom.rollout.reduce import Moments
    >>> decay = rom.OperatorInference("A").fit([[1.0], [2.0]], [[-1.0], [-2.0]])
    >>> runs = ensemble(decay, [[1.0], [3.0]], [0.0, 1.0, 2.0])
    >>> runs.z[:, :, 0].round(3)
    array([[1.   , 0.368, 0.135],
           [3.   , 1.104, 0.406]])
    >>> [status.name for status in runs.status]
    ['COMPLETED', 'COMPLETED']

    A long run that leaves its moments only:

    >>> runs = ensemble(decay, [[1.0]], range(1000), reduce=[Moments()])
    >>> runs.reduced[0].n, runs.reduced[0].mean.round(6)
    (1000, array([0.001582]))
    """
    if not isinstance(dynamics, Dynamics):
        raise TypeError(
            "ensemble runs a latent model (a rom.base.Dynamics), but got a "
            f"{type(dynamics).__name__}."
        )
    check_is_fitted(dynamics)
    job = _job(dynamics, t, u, stepper, substeps, bound, reduce, random_state)
    if checks.is_lazy(z0):
        return _on_dask(job, z0)
    z0 = _check_starts(dynamics, z0)
    return _together(job, [run_members(job, z0)])


def _job(
    dynamics: Dynamics,
    t: Any,
    u: ArrayLike | None,
    stepper: str,
    substeps: int,
    bound: float | None,
    reduce: Sequence[Reduction],
    random_state: Any,
) -> Job:
    grid = grid_of(dynamics, t)
    inputs = checks.check_inputs(u, len(grid), n_inputs=dynamics.n_inputs_)
    bound = run._check_bound(dynamics, bound)
    u = np.zeros((len(grid), 0)) if inputs is None else np.ascontiguousarray(inputs)
    run._check_targets(dynamics, np.zeros(dynamics.n_features_in_), u[0])
    polynomial = dynamics.polynomial() if isinstance(dynamics, HasPolynomial) else None
    noisy_map = stepper == "noisy_map" and dynamics.time == "discrete"
    named = "map" if noisy_map else stepper
    method = run._check_stepper(dynamics, named, polynomial, grid.ends, len(grid))
    run._check_substeps(method, substeps)
    noise = None
    if noisy_map or method == "euler_maruyama":
        if not isinstance(dynamics, HasNoise):
            raise ValueError(
                f"stepper={stepper!r} needs a model with noise, such as a LinearInverseModel or a "
                f"SeasonalModel, but {type(dynamics).__name__} has none."
            )
        noise = dynamics
    _check_reductions(reduce, dynamics.n_features_in_, grid.step)
    terms = None
    if polynomial is not None:
        from rom.rollout.terms import SIDE_BY_SIDE, terms_of  # numba takes half a second to import

        terms = terms_of(polynomial, SIDE_BY_SIDE)
    return Job(
        dynamics, polynomial, terms, method, int(substeps), grid.described, grid, u, bound,
        tuple(reduce), kicks.seed_of(random_state), noise,
    )  # fmt: skip


def _check_reductions(reduce: Sequence[Reduction], rank: int, dt: float) -> None:
    if not isinstance(reduce, Sequence) or not all(
        isinstance(one, Reduction) and not isinstance(one, type) for one in reduce
    ):
        raise TypeError(
            "reduce must be a sequence of reductions, such as [Moments()], each with begin, update "
            f"and merge, but it is {reduce!r}."
        )
    for one in reduce:
        one.begin(rank, dt)


def _check_starts(dynamics: Dynamics, z0: ArrayLike, first: int = 0) -> Array:
    """The states of members, of which the `first` has this place in the whole ensemble."""
    starts = np.array(checks.real_array(z0, "z0"))
    rank = dynamics.n_features_in_
    if starts.ndim != 2 or starts.shape[1] != rank or not len(starts):
        raise ValueError(
            f"z0 must be states of shape (n_members, {rank}), as {type(dynamics).__name__} was "
            f"fitted, but its shape is {starts.shape}."
        )
    bad = np.argwhere(~np.isfinite(starts))
    if len(bad):
        i, j = bad[0]
        raise ValueError(f"z0 must be finite, but z0[{first + i}, {j}] is {starts[i, j]}.")
    return starts


def _together(job: Job, parts: Sequence[Part]) -> Ensemble:
    statuses = np.array(list(Status), dtype=object)
    code, t_end, n_steps = (np.concatenate([p[i] for p in parts]) for i in (1, 2, 3))
    return Ensemble(
        t=job.t,
        z=np.concatenate([part.z for part in parts]) if job.reduce else parts[0].z,
        status=statuses[code],
        t_end=t_end,
        n_steps=n_steps,
        bound=job.bound,
        reduced=merged([job.reduce, *(part.reduced for part in parts)]),
    )


def _on_dask(job: Job, z0: Any) -> Ensemble:
    """One task for each chunk of members."""
    import dask
    import dask.array as da

    rank = job.dynamics.n_features_in_
    if z0.ndim != 2 or z0.shape[1] != rank or not z0.shape[0] > 0:  # NaN if dask does not know
        raise ValueError(
            f"z0 must be states of shape (n_members, {rank}), as {type(job.dynamics).__name__} "
            f"was fitted, but its shape is {z0.shape}."
        )
    z0 = z0.rechunk({0: tuple(filter(None, z0.chunks[0])), 1: -1})
    sizes = z0.chunks[0]
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    shared = dask.delayed(job, traverse=False)
    chunks = z0.to_delayed().ravel()
    parts = [
        dask.delayed(_run_chunk, pure=False)(shared, chunk, first)
        for chunk, first in zip(chunks, firsts, strict=True)
    ]
    if job.reduce:
        return _together(job, dask.compute(*parts))

    def gathered(i: int, dtype: Any, *rest: int) -> Any:
        pieces = [
            da.from_delayed(part[i], (size, *rest), dtype)
            for part, size in zip(parts, sizes, strict=True)
        ]
        return da.concatenate(pieces, axis=0)

    statuses = np.array(list(Status), dtype=object)
    return Ensemble(
        t=job.t,
        z=gathered(0, float, len(job.grid), rank),
        status=gathered(1, np.int64).map_blocks(lambda code: statuses[code], dtype=object),
        t_end=gathered(2, float),
        n_steps=gathered(3, np.int64),
        bound=job.bound,
    )


def _run_chunk(job: Job, z0: Array, first: int) -> Part:
    """A task: it runs on one thread, as the scheduler shares out the cores."""
    return run_members(job, _check_starts(job.dynamics, z0, first), first, n_threads=1)
