"""Lazy snapshots read once, in the order they are stored, here or on a dask.distributed cluster.

On a cluster each worker factors the rows it reads itself; what moves are the small factors. Tasks
are pure, so that those of a worker that is lost are done again by another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.compress.incremental import Factor, Keep, empty, factor_rows, merge
from rom.compress.progress import byte_bar
from rom.threads import N_THREADS, in_threads, slices

READ_BYTES = 128 * 2**20  # chunks that are read side by side, if more than one fits in
GROUPS_PER_WORKER = 2  # so that a lost worker costs half of what it had read


class Plan(NamedTuple):
    """What is done with the rows while they are read."""

    shift: NDArray[Any]
    """Subtracted (n_space,): near the mean, so that sums lose no digits."""
    factor: NDArray[Any] | None
    """Then multiplied (n_space,)."""
    keep: Keep
    room: int
    """Rows gathered before a truncation."""
    n_phases: int
    """Means are taken out of each phase; 0: none."""
    spread: bool
    """Whether the spread of each column is wanted."""


class Sealed:
    """A dask array that a task computes itself, instead of being handed its chunks."""

    def __init__(self, array: Any) -> None:
        self.array = array


def _sealed(X: Any, axis: int) -> Any:
    """`X` for a task: as it is computed, or, if that began on the cluster, its chunks."""
    if _client() is not None:
        import dask
        from distributed.client import futures_of

        if futures_of(X):
            return dask.delayed(_of_chunks)(X.to_delayed().ravel().tolist(), axis)
    return Sealed(X)


def _of_chunks(chunks: list[NDArray[Any]], axis: int) -> Sealed:
    import dask.array as da

    return Sealed(da.concatenate([da.from_array(c, chunks=c.shape) for c in chunks], axis=axis))


def read_once(
    X: Any, phase: NDArray[np.intp], prepare: Callable[[NDArray[Any]], Plan]
) -> tuple[Factor, Plan]:
    """The factor of all rows of `X`, in one pass, and the plan it followed.

    Parameters
    ----------
    X : dask array, shape (n_time, n_space)
        Rows in chunks.
    phase : ndarray of int, shape (n_time,)
        Of each row.
    prepare : callable
        Makes the plan from the first chunk of rows, which is read for it.
    """
    X = X.rechunk({1: -1})
    edges = np.cumsum([0, *X.chunks[0]])
    head = _sealed(X[: edges[1]], 0)
    client = _client()
    if client is None:
        plan = _prepare(head, prepare, None)
        with byte_bar(X, "reading snapshots") as bar:
            return _read(Sealed(X), phase, plan, 0, None, bar.update), plan
    import dask

    plan = dask.delayed(_prepare)(head, prepare, "synchronous")
    parts = [
        dask.delayed(_read)(_sealed(X[a:b], 0), phase[a:b], plan, i << 20, "synchronous")
        for i, (a, b) in enumerate(pairwise(_cuts(edges, client)))
    ]
    whole = _tree(parts, partial(dask.delayed(_merge), plan=plan))
    factor, plan = client.gather(client.compute([whole, plan]))
    return factor, plan


def reduce_columns(
    X: Any, work: Callable[[NDArray[Any], slice], Any], combine: Callable[[Any, Any], Any]
) -> Any:
    """``work(chunk, columns)`` of all chunks of columns, combined in their order; one pass.

    Parameters
    ----------
    X : dask array, shape (n_time, n_space)
        Its chunks hold all times.
    work, combine : callable
        Pure functions.
    """
    edges = np.cumsum([0, *X.chunks[1]])
    client = _client()
    if client is None:
        with byte_bar(X, "reading snapshots") as bar:
            return _fold(Sealed(X), 0, work, combine, None, bar.update)
    import dask

    parts = [
        dask.delayed(_fold)(_sealed(X[:, a:b], 1), int(a), work, combine, "synchronous")
        for a, b in pairwise(_cuts(edges, client))
    ]
    return client.compute(_tree(parts, dask.delayed(combine))).result()


def _cuts(edges: NDArray[np.intp], client: Any) -> NDArray[np.intp]:
    """Edges of groups of neighbouring chunks, some for each worker."""
    n_groups = min(len(edges) - 1, GROUPS_PER_WORKER * len(client.scheduler_info()["workers"]))
    return np.unique(edges[np.linspace(0, len(edges) - 1, n_groups + 1).astype(int)])


def _tree(parts: list[Any], combine: Callable[..., Any]) -> Any:
    """Neighbours combined until one is left."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [combine(*p) if len(p) == 2 else p[0] for p in pairs]
    return parts[0]


def _fold(
    sealed: Sealed,
    start: int,
    work: Callable[[NDArray[Any], slice], Any],
    combine: Callable[[Any, Any], Any],
    scheduler: Any,
    count: Callable[[int], Any] = lambda n_bytes: None,
) -> Any:
    X, result = sealed.array, None
    for i, width in enumerate(X.chunks[1]):
        chunk = X.blocks[0, i].compute(scheduler=scheduler)
        if not width:  # a band of cells that are all masked
            continue
        _check_finite(chunk, 0)
        new = work(chunk, slice(start, start + width))
        result = new if result is None else combine(result, new)
        start += width
        count(chunk.nbytes)
    return result


def _client() -> Any:
    """The client of a cluster, where the user has one."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def _prepare(head: Sealed, prepare: Callable[[NDArray[Any]], Plan], scheduler: Any) -> Plan:
    rows = head.array.compute(scheduler=scheduler)
    _check_finite(rows, 0)
    return prepare(rows)


def _read(
    sealed: Sealed,
    phase: NDArray[np.intp],
    plan: Plan,
    seed: int,
    scheduler: Any,
    count: Callable[[int], Any] = lambda n_bytes: None,
) -> Factor:
    """The factor of some of the rows."""
    X = sealed.array

    def write(raw: NDArray[Any], out: NDArray[Any]) -> None:
        in_threads(partial(_scale, raw, plan, out), slices(len(raw)))
        count(raw.nbytes)

    factor = empty(X.shape[1], plan.shift.dtype, plan.n_phases, seed, spread=plan.spread)
    factor_rows(factor, _chunks(X, phase, scheduler), write, plan.keep, plan.room)
    return factor


def _scale(raw: NDArray[Any], plan: Plan, out: NDArray[Any], rows: slice) -> None:
    np.subtract(raw[rows], plan.shift, out=out[rows])
    if plan.factor is not None:
        out[rows] *= plan.factor


def _merge(a: Factor, b: Factor, plan: Plan) -> Factor:
    return merge(a, b, plan.keep)


def _chunks(
    X: Any, phase: NDArray[np.intp], scheduler: Any
) -> Iterator[tuple[NDArray[Any], NDArray[np.intp]]]:
    """The chunks of rows in order with their phases, some of them read side by side."""
    import dask

    largest = max(X.chunks[0]) * X.shape[1] * X.dtype.itemsize
    together = max(N_THREADS, READ_BYTES // max(1, largest))
    row = 0
    for first in range(0, X.numblocks[0], together):
        last = min(first + together, X.numblocks[0])
        blocks = [X.blocks[i] for i in range(first, last)]
        for rows in dask.compute(*blocks, scheduler=scheduler):
            _check_finite(rows, row)
            yield rows, phase[row : row + len(rows)]
            row += len(rows)


def _check_finite(rows: NDArray[Any], start: int) -> None:
    if not all(in_threads(partial(_is_finite, rows), slices(len(rows)))):
        bad = start + int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise ValueError(f"X holds values that are not finite, the first in row {bad}.")


def _is_finite(rows: NDArray[Any], some: slice) -> bool:
    # A sum is not finite where a number is not: no mask of all numbers is made to find none.
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(rows[some].sum()) or np.isfinite(rows[some]).all())
