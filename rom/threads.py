"""Work shared among the cores of one machine, as many of them as BLAS is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    with ThreadPoolExecutor(n) as pool:  # a lasting one would hang in a forked process
        if not limit_blas:
            return list(pool.map(work, parts))
        with threadpool_limits(1, "blas"):
            return list(pool.map(work, parts))
