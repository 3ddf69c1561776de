"""Compression beside its peers: `python benchmarks/compress.py [--case NAME ...] [--small]`.

Needs `pip install -e .[zarr,reference]`. Every contender runs in a process of its own, with the
same number of BLAS threads, after a small problem has loaded its library. Printed are the median
of the wall and CPU times, and the peak of the first run's memory beyond the snapshots; the error
of the singular values against a float64 Gram matrix summed in blocks (NumPy's SVD, one of the
contenders, vouches for it); by how much the projection error of the modes exceeds the best
("excess"); and how far they are from orthonormal ("skew", the largest entry of V Vᵀ - I).

Snapshots are 80 random factors whose singular values fall as exp(-k/12), so that s_50/s_1 is
0.017, under a mean of ten standard deviations, plus white noise with singular values up to 0.002
of s_1. They are made once and kept in --cache. Cases: `grid` 2,000 x 65,160 and `tall`
400 x 1,000,000 in float64, the same in float32 (`grid32`, `tall32`), `outofcore` 2,000 x
1,036,800 float32 in a Zarr, read from the page cache by as many threads as BLAS has; `scaling`:
exponents, threads, processes. --accuracy --data DIR runs gappy.py, transport.py, wave.py instead.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from compress_data import Case, prepare
from compress_peers import EZYRB, IN_FLOAT32, IN_MEMORY, NUMPY, OUT_OF_CORE

HERE = Path(__file__).parent
LIBRARIES = ("numpy", "scipy", "scikit-learn", "xarray", "dask", "zarr", "xeofs", "pymor", "ezyrb")
MB, GB = 1e6, 1e9

CASES = {
    "grid": (Case(2000, 65_160), IN_MEMORY + NUMPY),
    "tall": (Case(400, 1_000_000), IN_MEMORY + EZYRB),
    "grid32": (Case(2000, 65_160, "float32"), IN_FLOAT32),
    "tall32": (Case(400, 1_000_000, "float32"), IN_FLOAT32),
    "outofcore": (Case(2000, 1_036_800, "float32", lazy=True), OUT_OF_CORE),
}
SCALING = Case(500, 40_000, rank=25)
CLUSTER = Case(2000, 103_680, "float32", rank=25, lazy=True)

# Additions and multiplications that a method needs at least, by p = min(n_time, n_space), q the
# other, k the rank and n the number of readings. svd: both sets of vectors by way of QR (Golub and
# Van Loan, 8.6). qr: the triangular factor, its SVD, the modes. gram: a symmetric product, the
# tridiagonal form, the modes. krylov: sums of columns, each further reading but the last A Aᵀ Q,
# about as many columns as modes in the last; Q has 1.36 k columns. incremental: of m = 1.4 k + 10
# old rows and m new ones the Gram matrix, and the new basis.
FLOPS: dict[str, Callable[[int, int, int, int], float]] = {
    "svd": lambda p, q, k, n: 6 * p**2 * q + 20 * p**3,
    "qr": lambda p, q, k, n: 2 * p**2 * q + 12 * p**3 + 2 * p * q * k,
    "gram": lambda p, q, k, n: p**2 * q + 4 / 3 * p**3 + 2 * p * q * k,
    "krylov": lambda p, q, k, n: 2 * p * q * (1.36 * k * 2 * (n - 2) + k),
    "incremental": lambda p, q, k, n: 8 * p * q * (1.4 * k + 10),
}
# Leading powers, n_time being the shorter side.
LEADING = {
    "gram": {"n_time": 2, "n_space": 1, "rank": 0},
    "krylov": {"n_time": 1, "n_space": 1, "rank": 1},
}


def work_of(run: dict, case: Case) -> tuple[float, float]:
    """Flops and bytes read of a run of rom.POD."""
    p, q = sorted((case.n_time, case.n_space))
    flops = FLOPS[run["solver"]](p, q, case.rank, run["passes"])
    return flops, run["passes"] * case.nbytes


class Bench:
    """Runs workers with the settings of the command line."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.machine: dict = {}

    def spawn(self, task: str, *, threads: int | None = None, **job: Any) -> dict:
        """What the worker found, or ``{"failed": why}``."""
        threads = threads or self.args.threads
        job |= {"task": task, "threads": threads, "cache": str(self.args.cache)}
        job |= {"repeat": self.args.repeat, "memory": self.args.memory * GB}
        names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
        environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in names}}
        command = [sys.executable, HERE / "compress_worker.py", json.dumps(job)]
        print(task, job.get("contender", ""), file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=self.args.timeout
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"took more than {self.args.timeout:.0f} s"}
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        return {"failed": said[-1][:160]}

    def sized(self, case: Case) -> Case:
        """The case at the size asked for, its snapshots written."""
        case = case.smaller() if self.args.small else case
        prepare(case, self.args.cache)
        return case

    def head(self) -> None:
        """The machine, its rates, the libraries."""
        self.machine = self.spawn("rates")
        with open("/proc/cpuinfo") as info:
            cpu = next(line.split(":")[1].strip() for line in info if "model name" in line)
        print(f"{cpu}, {self.args.threads} threads, Python {platform.python_version()}")
        print(", ".join(f"{name} {installed(name)}" for name in LIBRARIES) + "\n")
        table(
            ["threads", "GEMM float64 GF/s", "GEMM float32 GF/s", "read GB/s", "copy GB/s"],
            [
                [str(self.args.threads)]
                + [f"{self.machine[k] / GB:.1f}" for k in ("float64", "float32", "read", "copy")]
            ],
        )

    def compare(self, name: str) -> None:
        """All contenders of a case."""
        case, contenders = CASES[name]
        case = self.sized(case)
        print(f"\n## {name}: {case.n_time:,} x {case.n_space:,} {case.dtype}, ", end="")
        print(f"{case.nbytes / MB:,.0f} MB, rank {case.rank}\n")
        chosen = [c for c in contenders if c in (self.args.contender or contenders)]
        found = {c: self.spawn("fit", case=asdict(case), contender=c) for c in chosen}
        peers = ("reading once" if case.lazy else "plain Gram", "xeofs EOF")
        heads = [name, "wall s", "CPU s", *(f"/ {peer}" for peer in peers), "peak MB", "/ input"]
        heads += ["max err s", f"err s_{case.rank}", "excess", "skew", "solver"]
        rows = []
        for contender, run in found.items():
            if "failed" not in run:
                ratios = [ratio(run["wall"], found.get(peer, {}).get("wall")) for peer in peers]
                row = [contender, f"{run['wall']:.2f}", f"{run['cpu']:.2f}", *ratios]
                row += [f"{run['peak'] / MB:.0f}", f"{run['peak'] / case.nbytes:.2f}"]
                errors = ("error", "error_last", "excess", "skew")
                row += [f"{run[k]:.1e}" if k in run else "" for k in errors]
                rows.append([*row, run.get("solver", "")])
        table(heads, rows)
        self.fractions(name, case, {c: r for c, r in found.items() if r.get("solver")})
        complain(found)

    def fractions(self, name: str, case: Case, found: dict[str, dict]) -> None:
        """The work of runs of rom.POD, in parts of the machine's best, and their own estimates."""
        rows = []
        for contender, run in found.items():
            flops, moved = (work / run["wall"] for work in work_of(run, case))
            row = [contender, run["solver"], str(run["passes"]), f"{flops / GB:.1f}"]
            row += [f"{flops / self.machine[case.dtype]:.0%}", f"{moved / GB:.2f}"]
            row += [f"{moved / self.machine['read']:.0%}", f"{run['estimate']:.1e}"]
            rows.append([*row, f"{run['error']:.1e}"])
        if rows:
            heads = [name, "solver", "readings", "GF/s", "of GEMM", "GB/s", "of reading"]
            print()
            table([*heads, "estimated err s", "max err s"], rows)

    def scaling(self) -> None:
        """Time against each dimension, threads and processes."""
        base = self.sized(SCALING)
        doubled = {key: replace(base, **{key: 2 * getattr(base, key)}) for key in LEADING["gram"]}
        print(f"\n## scaling: {base.n_time:,} x {base.n_space:,} {base.dtype}, rank {base.rank}\n")
        rows, failed = [], {}
        for solver, leading in LEADING.items():
            job = {"contender": f"rom.POD, solver={solver}", "check": False}
            first = self.spawn("fit", case=asdict(base), **job)
            if "failed" in first:
                failed[job["contender"]] = first
                continue
            for key, case in doubled.items():
                prepare(case, self.args.cache)
                run = self.spawn("fit", case=asdict(case), **job)
                counted = work_of(run, case)[0] / work_of(first, base)[0]
                powers = (np.log2(run["wall"] / first["wall"]), np.log2(counted))
                row = [f"{solver}, 2 x {key}", f"{first['wall']:.3f}", f"{run['wall']:.3f}"]
                rows.append([*row, *(f"{power:.2f}" for power in powers), str(leading[key])])
            one = self.spawn("fit", threads=1, case=asdict(base), **job)
            row = [f"{solver}, 1 thread for {self.args.threads}", f"{first['wall']:.3f}"]
            rows.append([*row, f"{one['wall']:.3f}", "", "", ""])
        table(["change", "base s", "changed s", "exponent", "by flops", "leading"], rows)
        complain(failed)
        self.processes()

    def processes(self) -> None:
        """A lazy fit on one and two processes, and the bytes they send."""
        case = self.sized(CLUSTER)
        print(f"\nLazy fit of {case.nbytes / MB:,.0f} MB in dask.distributed\n")
        found = {
            str(n): self.spawn("cluster", threads=1, case=asdict(case), n_workers=n) for n in (1, 2)
        }
        rows = []
        for n, run in found.items():
            if "failed" not in run:
                row = [n, f"{run['wall']:.2f}", run["solver"], f"{run['sent'] / MB:.0f}"]
                rows.append([*row, f"{run['sent'] / case.nbytes:.2f}"])
        table(["processes", "wall s", "solver", "MB sent", "/ input"], rows)
        complain(found)


def complain(found: dict[str, dict]) -> None:
    for name, run in found.items():
        if "failed" in run:
            print(f"\n{name} failed: {run['failed']}", flush=True)


def ratio(wall: float, other: float | None) -> str:
    return f"{wall / other:.2f}" if other else ""


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def table(heads: list[str], rows: list[list[str]]) -> None:
    """A Markdown table whose columns line up: the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in [heads, *rows]) for i in range(len(heads))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    for first, *rest in [heads, rule, *rows]:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True)]
        print(f"| {' | '.join(cells)} |", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names, folder = [*CASES, "scaling"], Path(tempfile.gettempdir()) / "rom-benchmark"
    parser.add_argument("--case", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--contender", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--small", action="store_true", help="snapshots of a twentieth the size")
    parser.add_argument("--repeat", type=int, default=3, help="runs the median is taken of")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a contender may take")
    parser.add_argument(
        "--memory", type=float, help="GB a contender may take (default: what is free)"
    )
    parser.add_argument("--cache", type=Path, default=folder, help="folder of the snapshots")
    parser.add_argument("--prepare", action="store_true", help="only write the snapshots")
    parser.add_argument("--accuracy", action="store_true", help="run the accuracy cases instead")
    parser.add_argument("--data", type=Path, help="folder of the accuracy cases' data")
    args = parser.parse_args()
    if args.accuracy and args.data is None:
        parser.error("--accuracy needs --data")
    if args.memory is None:
        with open("/proc/meminfo") as info:
            free = next(line for line in info if line.startswith("MemAvailable"))
        args.memory = 0.95 * 1024 * int(free.split()[1]) / GB
    return args


def main() -> None:
    args = arguments()
    if args.accuracy:
        return accuracy_cases(args.data)
    bench = Bench(args)
    if args.prepare:
        for name in args.case:
            bench.sized(SCALING if name == "scaling" else CASES[name][0])
        return None
    bench.head()
    for name in args.case:
        bench.scaling() if name == "scaling" else bench.compare(name)
    return None


def accuracy_cases(data: Path) -> None:
    for name in ("gappy", "transport", "wave"):
        print(f"\n## {name}\n", flush=True)
        sys.argv = [name, "--data", str(data)]
        importlib.import_module(name).main()


if __name__ == "__main__":
    main()
