"""The runs of some members: shared out among threads, block by block, stretch by stretch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics, HasNoise, Polynomial
from rom.rollout import kicks, run
from rom.rollout.grid import Grid
from rom.rollout.result import Status
from rom.threads import N_THREADS, in_threads

if TYPE_CHECKING:
    from rom.rollout.lanes import Ends
    from rom.rollout.terms import Terms

Array = NDArray[np.float64]

# Members at most in one call, which costs 0.1 ms of Python on one core at a time: compiled, and as
# Python, where each operation is dear.
COMPILED_LANES, PYTHON_LANES = 128, 512
# Fewer members of a polynomial than this run one after the other, without the cost of lanes.
FEW = 4
# States that are held at a time on the way to a reduction, in bytes.
BUFFER = 4 * 2**20


class Job(NamedTuple):
    """What all members share."""

    dynamics: Dynamics
    polynomial: Polynomial | None
    terms: Terms | None
    """Of the polynomial."""
    method: str
    substeps: int
    t: Any
    grid: Grid
    u: Array
    bound: float
    reduce: tuple[Any, ...]
    seed: int
    noise: HasNoise | None
    """The model, if its noise is drawn."""


class Part(NamedTuple):
    """The runs of some members."""

    z: Array
    """States (n_members, n_time, rank); the first and the last alone where they are reduced."""
    code: NDArray[np.int64]
    t_end: Array
    n_steps: NDArray[np.int64]
    reduced: tuple[Any, ...]


def run_members(job: Job, z0: Array, first: int = 0, n_threads: int = N_THREADS) -> Part:
    """Run members from states `z0` (n_members, rank).

    `first` is the place of the first of them in the whole ensemble, by which noise is drawn.
    """
    z = np.empty((len(z0), 2 if job.reduce else len(job.grid), z0.shape[1]))
    blocks = _blocks(len(z0), n_threads, compiled=job.polynomial is not None)

    def work(block: slice) -> tuple[Ends, tuple[Any, ...]]:
        members = range(first + block.start, first + block.stop)
        with np.errstate(all="ignore"):
            return _run_block(job, z0[block], members, z[block])

    if n_threads > 1:
        uses_blas = job.terms is None or job.method not in ("map", "rk4", "dopri5")
        done = in_threads(work, blocks, limit_blas=uses_blas)
    else:
        done = [work(block) for block in blocks]
    code, time, n_steps = (np.concatenate(part) for part in zip(*(d[0] for d in done), strict=True))
    return Part(z, code, time, n_steps, merged([reduced for _, reduced in done]))


def _blocks(n_members: int, n_threads: int, *, compiled: bool) -> list[slice]:
    """The members that run together.

    On several threads, compiled, they are fewer towards the end, so that none waits long for
    another; else there are as many for each thread.
    """
    widest = COMPILED_LANES if compiled else PYTHON_LANES
    n_blocks = n_threads * -(-n_members // (n_threads * widest))
    width = kicks.STREAM * -(-n_members // (kicks.STREAM * n_blocks))
    blocks, start = [], 0
    while start < n_members:
        if compiled and n_threads > 1:
            share = -(-(n_members - start) // (2 * n_threads * kicks.STREAM))
            width = min(widest, kicks.STREAM * share)
        blocks.append(slice(start, min(start + width, n_members)))
        start += width
    return blocks


def merged(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The reductions of several groups of members, put together."""
    total = deepcopy(parts[0])
    for part in parts[1:]:
        for one, other in zip(total, part, strict=True):
            with np.errstate(all="ignore"):
                one.merge(other)
    return total


def _run_block(job: Job, z0: Array, members: range, z: Array) -> tuple[Ends, tuple[Any, ...]]:
    """Run some members side by side, stretch by stretch; write to `z` and to reductions."""
    from rom.rollout import lanes

    n_members, rank = z0.shape
    state = np.array(z0.T, order="C")
    ends = lanes.Ends(
        np.zeros(n_members, np.int64),
        np.full(n_members, job.grid.ends[1]),
        np.zeros(n_members, np.int64),
    )
    outside = np.flatnonzero(lanes.size_of(z0.T) > job.bound)
    ends.code[outside], ends.time[outside] = lanes.LEFT_BOUND, job.grid.ends[0]
    state[:, outside] = np.nan
    reductions = tuple(r.begin(rank, job.grid.step) for r in job.reduce)
    advance = _advancing(job, n_members, members)
    out = np.empty((n_members, 0, rank)) if job.reduce else z
    for rows in _stretches(job, n_members, rank):
        begin, t = job.grid.stretch(rows)
        if out.shape[1] != len(rows):  # memory is slow to get: all stretches but the last share it
            out = np.empty((n_members, len(rows), rank))
        running = ends.code == lanes.COMPLETED
        advance(state, t, job.u[rows.start : rows.stop], out, ends)
        ends.time[running & (ends.code != lanes.COMPLETED)] += begin
        if rows.start == 0:
            out[outside, 0] = z0[outside]
        if not job.reduce and out is not z:
            z[:, rows.start : rows.stop] = out
        for reduction in reductions:
            reduction.update(out[:, 1:] if rows.start else out)
    if job.reduce:
        z[:, 0], z[:, 1] = z0, out[:, -1]
    return ends, reductions


def _stretches(job: Job, n_members: int, rank: int) -> Iterator[range]:
    """Rows of the times that are run at once; each stretch begins with the last of the one before.

    Without a reduction all at once, unless there is noise, which takes as much room as its steps.
    """
    n_time = len(job.grid)
    most = n_time
    if job.reduce or job.noise is not None:
        most = max(2, BUFFER // (8 * n_members * rank * (1 if job.noise is None else job.substeps)))
    for start in range(0, max(1, n_time - 1), max(1, most - 1)):
        yield range(start, min(start + most, n_time))


Advance = Callable[[Array, Array, Array, Array, "Ends"], None]


def _advancing(job: Job, n_members: int, members: range) -> Advance:
    """The function that runs the states of a block on over the times of a stretch."""
    in_lanes = job.method in ("map", "rk4", "euler_maruyama", "dopri5")
    few = job.polynomial is not None and job.noise is None and n_members < FEW
    if few or not in_lanes:
        return _one_by_one(job)
    from rom.rollout import lanes

    if job.terms is None:
        loops: Any = lanes
        model: Any = lambda Z, U: job.dynamics._predict(Z, U if U.shape[1] else None)  # noqa: E731
    else:
        from rom.rollout import lanes_compiled as loops

        model = job.terms
    if job.method == "dopri5":
        return _adaptive(job, loops, model, n_members)
    method = lanes.RK4 if job.method == "rk4" else lanes.EULER
    generators = [] if job.noise is None else kicks.streams(job.seed, members)

    def march(z: Array, t: Array, u: Array, out: Array, ends: Ends) -> None:
        noise, is_map = np.zeros((0, *z.shape)), job.method == "map"
        if job.noise is not None and len(t) > 1:
            _, inputs = run.with_substeps(t, u, job.substeps)
            root = job.noise.noise_root(inputs[:-1] if u.shape[1] else None)
            steps = np.ones(len(t) - 1) if is_map else np.diff(t) / job.substeps
            noise = kicks.draw(generators, root, np.repeat(steps, job.substeps))
        loops.march(model, is_map, method, z, t, job.substeps, u, noise, job.bound, out, ends)

    return march


def _adaptive(job: Job, loops: Any, model: Any, n_members: int) -> Advance:
    size = job.dynamics.bound_ / 100
    atol = run.RTOL * run.NEGLIGIBLE * (size if 0 < size < np.inf else 1.0)
    step = np.full(n_members, np.inf)

    def adapt(z: Array, t: Array, u: Array, out: Array, ends: Ends) -> None:
        budget = run._budget(job.polynomial, len(t)) + int(ends.n_steps.max())
        loops.adapt(model, z, step, t, u, job.bound, run.RTOL, atol, budget, out, ends)

    return adapt


def _one_by_one(job: Job) -> Advance:
    """Members one after the other, by the methods that have no lanes."""
    codes = list(Status)

    def advance(z: Array, t: Array, u: Array, out: Array, ends: Ends) -> None:
        out[:] = np.nan
        inputs = u if u.shape[1] else None
        for lane in np.flatnonzero(ends.code == 0):
            one = run.rollout(
                job.dynamics, z[:, lane], t, u=inputs, stepper=job.method,  # type: ignore[arg-type]
                substeps=job.substeps, bound=job.bound, throw=False,
            )  # fmt: skip
            out[lane], z[:, lane] = one.z, one.z[-1]
            ends.code[lane] = codes.index(one.status)
            ends.n_steps[lane] += one.n_steps
            if ends.code[lane]:
                ends.time[lane] = one.t_end

    return advance
