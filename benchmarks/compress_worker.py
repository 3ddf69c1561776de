"""One measurement of `compress.py`, in a process of its own: `compress_worker.py JOB`.

JOB is JSON; so is the last line printed. Memory is what the process holds beyond what it held with
the library loaded and the snapshots in place.
"""

from __future__ import annotations

import ctypes
import gc
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import dask
import numpy as np
from compress_data import CHUNK, Case, load
from compress_peers import CONTENDERS

SLOW = 8.0  # seconds; a run that takes longer is not repeated


def memory(key: str) -> int:
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(key))


class Peak:
    """Largest resident memory inside a with-block, beyond that at its start."""

    def __enter__(self) -> Peak:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self.start = self.most = memory("VmRSS")
        self.done = threading.Event()
        try:  # the kernel keeps the high-water mark and takes 5 for an order to start anew
            Path("/proc/self/clear_refs").write_text("5")
            self.sampler = None
        except OSError:
            self.sampler = threading.Thread(target=self._sample)
            self.sampler.start()
        return self

    def _sample(self) -> None:
        while not self.done.wait(0.01):
            self.most = max(self.most, memory("VmRSS"))

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if self.sampler is None:
            self.most = memory("VmHWM")
        else:
            self.sampler.join()
        self.beyond = self.most - self.start


def timed(run: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def accuracy(found: tuple, X: Any, case: Case, reference: Any) -> dict:
    """Errors of singular values, excess of the projection error, departure from orthogonality."""
    exact = reference["singular_values"]
    s, modes = (np.asarray(a, dtype=np.float64) for a in found)
    error = np.abs(s / exact[: case.rank] - 1)
    G = modes @ modes.T
    coordinates = np.vstack(
        [
            (np.asarray(X[i : i + CHUNK]) - reference["mean"]) @ modes.T
            for i in range(0, case.n_time, CHUNK)
        ]
    )
    captured = np.trace(np.linalg.solve(G, coordinates.T @ coordinates))
    energy, best = np.sum(exact**2), np.sum(exact[: case.rank] ** 2)
    return {
        "error": error.max(),
        "error_last": error[-1],
        "excess": abs(np.sqrt((energy - captured) / (energy - best)) - 1),
        "skew": np.abs(G - np.eye(case.rank)).max(),
    }


def fit(job: dict) -> dict:
    case, cache = Case(**job["case"]), Path(job["cache"])
    make = CONTENDERS[job["contender"]]
    dask.config.set(scheduler="threads", num_workers=job["threads"])
    tiny: Any = np.random.default_rng(1).standard_normal((200, 400)).astype(case.dtype)
    if case.lazy:
        import dask.array as da

        tiny = da.from_array(tiny, chunks=(20, 400))
    run, read = make(tiny, 5)
    read(run())
    X = load(case, cache)
    run, read = make(X, case.rank)
    with Peak() as peak:
        wall, cpu, result = timed(run)
    found = read(result)
    answer = {"peak": peak.beyond}
    if job["contender"].startswith("rom"):
        estimate = np.max(result.singular_value_error_ / result.singular_values_)
        answer |= {"solver": result.solver_, "passes": result.n_passes_, "estimate": estimate}
    times = [(wall, cpu)]
    while wall < SLOW and len(times) < job["repeat"]:
        del result
        wall, cpu, result = timed(run)
        times.append((wall, cpu))
    answer["wall"], answer["cpu"] = (median(t) for t in zip(*times, strict=True))
    if found and job.get("check", True):
        with np.load(cache / f"{case.name}.npz") as reference:
            answer |= accuracy(found, X, case, reference)
    return answer


def cluster(job: dict) -> dict:
    """The lazy fit on `n_workers` processes of one thread each, and the bytes they sent."""
    from distributed import Client, LocalCluster

    case = Case(**job["case"])
    with (
        LocalCluster(job["n_workers"], threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        run, _ = CONTENDERS["rom.POD"](load(case, Path(job["cache"])), case.rank)
        run()
        before = sent(client)
        wall, _, result = timed(run)
        return {"wall": wall, "solver": result.solver_, "sent": sent(client) - before}


def sent(client: Any) -> int:
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


def rates(job: dict) -> dict:
    """GEMM rates (flop/s), and bandwidths (byte/s) of reading and copying, of all threads."""
    rng, answer = np.random.default_rng(0), {}
    for dtype in (np.float64, np.float32):
        A = rng.standard_normal((2000, 8000), dtype=dtype)
        B = A.copy()  # the product of an array with itself would be a SYRK, half the work
        wall = min(timed(lambda A=A, B=B: A @ B.T)[0] for _ in range(5))
        answer[np.dtype(dtype).name] = 2 * A.size * len(A) / wall
    x = rng.standard_normal(60_000_000)
    parts = np.array_split(x, job["threads"])
    copies = [np.empty_like(part) for part in parts]
    with ThreadPoolExecutor(job["threads"]) as pool:
        for name, work in (
            ("read", lambda: list(pool.map(np.max, parts))),
            ("copy", lambda: list(pool.map(np.copyto, copies, parts))),
        ):
            wall = min(timed(work)[0] for _ in range(5))
            answer[name] = x.nbytes * (1 + (name == "copy")) / wall
    return answer


def main() -> None:
    job = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (int(job["memory"]),) * 2)
    answer = {"fit": fit, "cluster": cluster, "rates": rates}[job["task"]](job)
    print("\n" + json.dumps({k: v.item() if hasattr(v, "item") else v for k, v in answer.items()}))


if __name__ == "__main__":
    main()
