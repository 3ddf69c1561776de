"""Work shared among the cores of one machine, as many of them as BLAS is given."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import joblib
from threadpoolctl import threadpool_limits

# The variable is how users and clusters say that not all cores are meant.
N_THREADS = int((os.environ.get("OMP_NUM_THREADS") or str(joblib.cpu_count())).split(",")[0])


def slices(length: int, n: int = N_THREADS) -> list[slice]:
    """``range(length)`` in at most `n` slices of about one size, at least one.

    Examples
    --------
    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    n = max(1, min(length, n))
    return [slice(a, b) for a, b in pairwise([length * k // n for k in range(n + 1)])]


def in_threads(
    work: Callable[[slice], Any], parts: Sequence[slice], *, limit_blas: bool = False
) -> list[Any]:
    """``work`` on each part, side by side; `limit_blas` where it is BLAS that works."""
    n = min(N_THREADS, len(parts))
    if n == 1:
        return [work(part) for part in parts]
    with threadpool_limits(1, "blas") if limit_blas else nullcontext():
        return _side_by_side(work, parts, n - 1)


def _side_by_side(
    work: Callable[[slice], Any], parts: Sequence[slice], n_helpers: int
) -> list[Any]:
    """The calling thread takes parts too: a thread that starts while it waits shares its core."""
    todo, done = deque(enumerate(parts)), [None] * len(parts)

    def take() -> None:
        while todo:
            try:
                i, part = todo.popleft()
            except IndexError:  # another was faster
                return
            try:
                done[i] = work(part)
            except BaseException:
                todo.clear()
                raise

    with ThreadPoolExecutor(n_helpers) as pool:  # a lasting one would hang in a forked process
        helpers = [pool.submit(take) for _ in range(n_helpers)]
        take()
        for helper in helpers:
            helper.result()
    return done
