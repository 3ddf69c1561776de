"""Ensembles beside JAX and batched NumPy: `python benchmarks/rollout_ensemble.py [--small]`.

1,000 members of Lorenz 63 (d = 3), Lorenz 96 (d = 20), a full quadratic model (d = 20, all 231
terms in each equation, as operator inference fits them), one with a quarter of these terms, as
sparse regression finds them, and a ring of oscillators (d = 50, cubic, sparse), by
`rom.rollout.ensemble.ensemble` with all its checks, by a jitted vmap over scan, and by NumPy on all
members at once. Equal accuracy: all take the same classical Runge-Kutta steps; how far their last
states are from each other is printed. States are kept at every step or at the last alone: where
every one is kept, a contender mostly writes memory. rom keeps few by substeps, JAX by loops inside
its scan.

rom gets exponents and coefficients, as a fitted model has them. JAX gets the right-hand side in
three forms: the same, products of variables and one matrix product ("terms"); every term written
out, once more for each model ("unrolled": compiled for up to 9 s, and left out for the quadratic
models, whose up to 4,620 terms take minutes); and as somebody writes it who knows the equations
("formula"). Its compilation is not counted. Contenders take turns, as the speed of a machine
changes while it works. Each run keeps its states in new memory, and counts if it is the second of
two: after a pause a virtual machine gets its memory anew, slowly. One core is judged by processor
time, in medians; two over one by the clock, in runs of a third of a second and more, as what
starts and ends a run takes milliseconds on one core. The fastest round on one core over the
fastest on two leaves out what else ran on the machine. Beside it stand two copies of a loop in
registers alone.

Then runs that leave statistics only (moments, histograms, spectra): one member and 1,000 members
of Lorenz 63, with the largest memory of the process beside that of a run of a tenth of the length;
a neural model, members in one batch beside one by one; and the same call on a dask cluster of two
processes.

JAX may stand in another interpreter: the environment variable ROLLOUT_PEERS lists some, separated
by colons.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rollout_peers import FIELDS, system

Array = NDArray[np.float64]

H, MEMBERS, ROUNDS, SMALL_ROUNDS = 0.001, 1000, 9, 2
# Rounds on one core and on two.
PAIRS, SMALL_PAIRS = 24, 2
STEPS = {"lorenz63": 5000, "lorenz96": 200, "sparse": 200, "quadratic": 100, "oscillators": 100}
# For two cores, of a third of a second and more: what starts and ends a run takes milliseconds.
# Where every state is kept; where the last alone is, so many times as long.
LONG = {"lorenz63": 40000, "lorenz96": 5000, "sparse": 1200, "quadratic": 500, "oscillators": 1200}
LONGER = 2
# What --small runs instead, in about half a minute: most of it, processes that start.
SMALL_STEPS, SMALL = 60, ("lorenz63",)
KEPT = ("every", "last")
# Models of matrices, and the share of terms that the sparse one has.
FITTED, SHARE = ("sparse", "quadratic"), 0.25
FORMS = ("terms", "unrolled", "formula")
ASKED_JAX, ASKED_CORES = 3.0, 1.8
SINGLE, MANY = 10**7, 10**5


def run(small: bool, data: Path | None) -> None:
    """Print the tables; `data` is not needed."""
    side_by_side(small)
    two_cores(small)
    streams(small)
    neural(small)
    cluster(small)


def operators(name: str = "quadratic") -> tuple[Array, Array]:
    """Of a full quadratic model: damping and a turning, and terms that keep the energy.

    "sparse" keeps a quarter of the terms, drawn at random, and the damping.
    """
    rng = np.random.default_rng(0)
    A, H3 = rng.normal(size=(20, 20)), rng.normal(size=(20, 20, 20))
    H3 = H3 - np.transpose(H3, (1, 0, 2))  # z_i H_ijk z_j z_k = 0
    i, j = np.triu_indices(20)
    full = H3 + np.transpose(H3, (0, 2, 1))
    A, H2 = A - A.T, np.where(i == j, 0.5, 1.0) * full[:, i, j] * 0.02
    if name == "sparse":
        A, H2 = (np.where(rng.random(a.shape) < SHARE, a, 0.0) for a in (A, H2))
    return A - 0.1 * np.eye(20), H2


def starts(name: str) -> Array:
    center = np.zeros(20) if name in FITTED else system(name).z0
    return center + 0.1 * np.random.default_rng(1).normal(size=(MEMBERS, len(center)))


def field_of(name: str, xp: Any) -> Callable[[Any], Any]:
    """The right-hand side of one state."""
    if name not in FITTED:
        return lambda z: FIELDS[name](z, xp)
    A, full = (xp.asarray(a) for a in operators(name))
    i, j = np.triu_indices(20)
    return lambda z: A @ z + full @ (z[i] * z[j])


def factors_of(name: str) -> tuple[Array, Array]:
    """Of each term its variables (n_terms, degree), filled up with a last one, 1; coefficients."""
    exponents, coef = system(name).polynomial()
    rank, degree = exponents.shape[1], int(exponents.sum(axis=1).max())
    factors = np.full((len(exponents), degree), rank)
    for row, powers in zip(factors, exponents, strict=True):
        row[: powers.sum()] = np.repeat(np.arange(rank), powers)
    return factors, coef


def by_terms(name: str, xp: Any) -> Callable[[Any], Any]:
    """The right-hand side as a fitted model has it."""
    if name in FITTED:
        return field_of(name, xp)
    factors, coef = (xp.asarray(a) for a in factors_of(name))
    return lambda z: coef @ xp.prod(xp.append(z, 1.0)[factors], axis=1)


def unrolled(name: str, xp: Any) -> Callable[[Any], Any]:
    """Every term written out."""
    factors, coef = factors_of(name)

    def field(z: Any) -> Any:
        z1 = [*z, 1.0]
        terms = [math.prod(z1[j] for j in row) for row in factors]
        return xp.stack([sum(row[k] * terms[k] for k in np.flatnonzero(row)) for row in coef])

    return field


def rows_field_of(name: str) -> Callable[[Array], Array]:
    """The right-hand side of all members, columns of an array."""
    if name == "oscillators":
        rate = (1 + 0.07 * np.arange(25))[:, None]

        def ring(z: Array) -> Array:
            a, b = z[0::2], z[1::2]
            size, out = a * a + b * b, np.empty_like(z)
            out[0::2] = a - a * size - rate * b + 0.3 * np.roll(a, 1, axis=0)
            out[1::2] = b - b * size + rate * a
            return out

        return ring
    if name == "lorenz96":
        roll = np.roll
        return lambda z: (roll(z, -1, 0) - roll(z, 2, 0)) * roll(z, 1, 0) - z + 8
    return field_of(name, np)


def rk4(field: Callable[[Any], Any], z: Any) -> Any:
    a = field(z)
    b = field(z + H / 2 * a)
    c = field(z + H / 2 * b)
    d = field(z + H * c)
    return z + H / 6 * (a + 2 * b + 2 * c + d)


def model_of(name: str) -> Any:
    import rom
    from rom.base import Dynamics, Polynomial

    if name in FITTED:
        A, full = operators(name)
        return rom.OperatorInference.from_operators(A=A, H=full)
    polynomial, field = Polynomial(*system(name).polynomial()), FIELDS[name]

    class Equations(Dynamics):
        time = "continuous"

        def polynomial(self) -> Polynomial:
            return polynomial

        def _fit_series(self, series: Any) -> None:
            pass

        def _predict(self, Z: Array, u: Any) -> Array:
            return np.array([field(z) for z in Z])

    z0 = system(name).z0
    return Equations().fit(np.stack([z0, -z0]), t=[0.0, 1.0])


def with_rom(name: str, n: int, stride: int) -> Callable[[], Array]:
    from rom.rollout.ensemble import ensemble

    model, z0, t = model_of(name), starts(name), np.arange(0, n + 1, stride) * H
    return lambda: ensemble(model, z0, t, stepper="rk4", substeps=stride, bound=np.inf).z


def with_jax(name: str, n: int, stride: int, form: str = "formula") -> Callable[[], Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    if form == "unrolled" and name in FITTED:
        return lambda: np.full((3, 1, 1), np.nan)
    write = {"terms": by_terms, "unrolled": unrolled, "formula": field_of}[form]
    field = write(name, jax.numpy)

    def steps(z: Any, _: Any) -> Any:
        if stride == 1:
            later = rk4(field, z)
        else:
            later = jax.lax.fori_loop(0, stride, lambda _, z: rk4(field, z), z)
        return later, later

    many = jax.jit(jax.vmap(lambda z: jax.lax.scan(steps, z, None, length=n // stride)[1]))
    z0 = jax.numpy.asarray(starts(name))
    return lambda: jax.block_until_ready(many(z0))


def with_numpy(name: str, n: int, stride: int) -> Callable[[], Array]:
    field, z0 = rows_field_of(name), np.ascontiguousarray(starts(name).T)

    def many() -> Array:
        z, out = z0, np.empty((n // stride, *z0.shape))
        for i in range(n):
            z = rk4(field, z)
            if (i + 1) % stride == 0:
                out[i // stride] = z
        return out.transpose(2, 0, 1)

    return many


def busy(name: str, n: int, stride: int) -> Callable[[], Array]:
    """Two copies of a loop that touches no memory, on as many cores as there are."""
    from numba import njit

    from rom.threads import in_threads

    turns = 10**6 if n <= LONGER * SMALL_STEPS else 10**8

    @njit(nogil=True)
    def loop(x: float, turns: int) -> float:
        for _ in range(turns):
            x = 0.999 * x + 0.001
        return x

    loop(1.0, 1)
    return lambda: np.array(in_threads(lambda _: loop(1.0, turns), [slice(0), slice(0)]))


CONTENDERS = {"rom": with_rom, "numpy": with_numpy, "busy": busy} | {
    form: partial(with_jax, form=form) for form in FORMS
}


def worker(contender: str, name: str, n: int) -> None:
    """For each line of input: a run, its seconds by the clock and of the processor."""
    strides = dict(zip(KEPT, (1, n), strict=True))
    runs = {kept: CONTENDERS[contender](name, n, stride) for kept, stride in strides.items()}
    for line in sys.stdin:
        start = time.perf_counter(), time.process_time()
        z = runs[line.strip()]()
        seconds = time.perf_counter() - start[0], time.process_time() - start[1]
        last = np.asarray(z)[:3, -1].tolist() if contender != "busy" else []
        print(json.dumps([*seconds, last]), flush=True)
        del z


class Contender:
    """A process that runs when asked, on some cores."""

    def __init__(self, name: str, system: str, n: int, threads: int) -> None:
        flags = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        cores = sorted(os.sched_getaffinity(0))[:threads]
        python = with_a_jax() if name in FORMS else sys.executable
        self.process = subprocess.Popen(
            [python or "false", __file__, "--worker", name, system, str(n)],
            env=os.environ | {key: str(threads) for key in names} | {"XLA_FLAGS": flags},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
        self.there = python is not None

    def run(self, kept: str) -> tuple[float, float, Any]:
        """Of the second of two runs: seconds by the clock, of the processor, some last states."""
        if not self.there:
            return np.nan, np.nan, None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for _ in range(2):
            self.process.stdin.write(kept + "\n")
            self.process.stdin.flush()
            found = json.loads(self.process.stdout.readline())
        return tuple(found)

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


@cache
def with_a_jax() -> str | None:
    """An interpreter that has it."""
    there = [sys.executable, *filter(None, os.environ.get("ROLLOUT_PEERS", "").split(":"))]
    quiet = {"stderr": subprocess.DEVNULL}
    return next((p for p in there if not subprocess.call([p, "-c", "import jax"], **quiet)), None)


def in_turn(name: str, n: int, rounds: int) -> dict[str, Any]:
    """Processor seconds (n_rounds,) of each contender and choice of states kept, on one core."""
    contenders = {c: Contender(c, name, n, 1) for c in ("rom", *FORMS, "numpy")}
    seconds: dict[Any, list[float]] = {(c, kept): [] for c in contenders for kept in KEPT}
    states = []
    for turn in range(rounds + 1):
        for c, kept in seconds:
            _, processor, last = contenders[c].run(kept)
            if turn:  # the first compiles, or reads what was compiled
                seconds[c, kept].append(processor)
            elif last and np.isfinite(last).all():
                states.append(np.array(last))
    for contender in contenders.values():
        contender.end()
    apart = max(float(np.abs(s / states[0] - 1).max()) for s in states)
    return {key: np.array(value) for key, value in seconds.items()} | {"apart": apart}


def side_by_side(small: bool) -> None:
    rounds = SMALL_ROUNDS if small else ROUNDS
    steps = dict.fromkeys(SMALL, SMALL_STEPS) if small else STEPS
    found = {name: in_turn(name, n, rounds) for name, n in steps.items()}
    median = lambda x: float(np.median(x))  # noqa: E731
    print(
        f"| {MEMBERS} members, one core, ns per member and step | states kept | rom | JAX vmap: "
        f"{', '.join(FORMS)} | JAX over rom (asked {ASKED_JAX:g}) | NumPy | apart |\n"
        + "|---" * 7
        + "|"
    )
    for name, n in steps.items():
        scale = 1e9 / MEMBERS / n
        for kept in KEPT:
            ours, numpy = (found[name][c, kept] for c in ("rom", "numpy"))
            jax = [found[name][form, kept] for form in FORMS]
            if name in FITTED:
                jax[FORMS.index("unrolled")] = np.full(rounds, np.nan)
            print(
                f"| {name} (d = {starts(name).shape[1]}) | {kept} | {scale * median(ours):.1f} | "
                f"{', '.join(f'{scale * median(each):.1f}' for each in jax)} | "
                f"{', '.join(f'{median(each / ours):.2f}' for each in jax)} | "
                f"{scale * median(numpy):.0f} | {found[name]['apart']:.0e} |"
            )


def two_cores(small: bool) -> None:
    """How much faster than on one core: the fastest rounds, in which least else ran; medians."""
    who = [(c, k) for c in ("rom", "busy") for k in (1, 2)]
    pairs = SMALL_PAIRS if small else PAIRS
    print(
        f"\n| fastest of {pairs} rounds | states kept | ms on one core | on two | times faster "
        f"(asked {ASKED_CORES}) | median | two busy loops |\n" + "|---" * 7 + "|"
    )
    lengths = dict.fromkeys(SMALL, SMALL_STEPS) if small else LONG
    for name, kept in product(lengths, KEPT):
        n = lengths[name] * (1 if kept == "every" else LONGER)
        contenders = {(c, k): Contender(c, name, n, k) for c, k in who}
        runs = [[each.run(kept)[0] for each in contenders.values()] for _ in range(pairs + 1)]
        clock = np.array(runs[1:]).reshape(pairs, 2, 2)  # the first compiles
        fastest = clock.min(axis=0)
        gain, gain_busy = fastest[:, 0] / fastest[:, 1]
        one, two = 1e3 * fastest[0]
        median = np.median(clock[:, 0, 0] / clock[:, 0, 1])
        print(
            f"| {name} | {kept} | {one:.0f} | {two:.0f} | {gain:.2f} | {median:.2f} | "
            f"{gain_busy:.2f} |",
            flush=True,
        )
        for contender in contenders.values():
            contender.end()


class Even:
    """Even times, described."""

    def __init__(self, n: int, step: float) -> None:
        self.start, self.step, self.size = 0.0, step, n


def stream_worker(n_members: int, n: int) -> None:
    """Seconds and largest memory (MiB) of a run of `n` steps that leaves statistics only."""
    from rom.rollout.ensemble import ensemble
    from rom.rollout.reduce import Histogram, Moments, Spectrum

    low, high = [-25.0, -30.0, 0.0], [25.0, 30.0, 55.0]
    reduce = [Moments(), Histogram(low, high, 100), Spectrum(4096, 0.005)]
    model, z0 = model_of("lorenz63"), starts("lorenz63")[:n_members]
    ensemble(model, z0, Even(100, 0.005), stepper="rk4", reduce=reduce)  # compiles
    start = time.perf_counter()
    runs = ensemble(model, z0, Even(n, 0.005), stepper="rk4", reduce=reduce)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    mean = float(runs.reduced[0].mean[2])
    print(json.dumps({"seconds": seconds, "memory": memory, "mean": mean}))


def streams(small: bool) -> None:
    print(
        "\n| Lorenz 63, statistics only | steps | seconds | ns per step | mean of z | memory (MiB) "
        "| of a tenth of the steps |\n" + "|---" * 7 + "|"
    )
    for members, steps in ((1, SINGLE), (MEMBERS, MANY))[: 1 if small else 2]:
        steps = steps // 1000 if small else steps
        found = []
        for n in (steps, steps // 10):
            command = [sys.executable, __file__, "--stream", str(members), str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        one, tenth = found
        print(
            f"| {members} member{'s' if members > 1 else ''} | {steps * members:.0e} | "
            f"{one['seconds']:.1f} | {1e9 * one['seconds'] / steps / members:.0f} | "
            f"{one['mean']:.4f} | {one['memory']:.0f} | {tenth['memory']:.0f} |",
            flush=True,
        )


def neural(small: bool) -> None:
    import rom
    from rom.rollout.ensemble import ensemble

    t = np.linspace(0, 20, 401)
    Z = np.column_stack([np.cos(t), np.sin(2 * t), np.cos(t) ** 2])
    model = rom.NeuralODE(window=None, max_iter=20, random_state=0).fit(Z, t=t)
    n, times = (20 if small else MEMBERS), t[:101]
    z0 = Z[np.arange(n) % 200] + 0.001
    print("\n| neural model, members one by one | in one batch | ratio |\n|---|---|---|")
    seconds = []
    for go in (
        lambda: [rom.rollout(model, z, times, throw=False) for z in z0],
        lambda: ensemble(model, z0, times),
    ):
        start = time.perf_counter()
        go()
        seconds.append(time.perf_counter() - start)
    print(f"| {seconds[0]:.2f} s | {seconds[1]:.2f} s | {seconds[0] / seconds[1]:.0f} |")


def cluster(small: bool) -> None:
    import dask.array as da
    from distributed import Client, LocalCluster

    import rom
    from rom.rollout.ensemble import ensemble

    A, full = operators()
    model = rom.OperatorInference.from_operators(A=A, H=full)
    t, z0 = np.arange(50 if small else 1000) * H, starts("quadratic")
    options = {"stepper": "rk4", "bound": np.inf}
    ensemble(model, z0, t[:3], **options)  # compiles
    start = time.perf_counter()
    here = ensemble(model, z0, t, **options).z
    seconds = [time.perf_counter() - start]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers,
        Client(workers),
    ):
        lazy = da.from_array(z0, chunks=(125, 20))
        ensemble(model, lazy, t[:3], **options).z.compute()
        for go in (
            lambda: ensemble(model, lazy, t, **options).z.std(axis=0).compute(),
            lambda: ensemble(model, lazy, t, **options).z.compute(),
        ):
            start = time.perf_counter()
            there = go()
            seconds.append(time.perf_counter() - start)
    print(
        "\n| full quadratic model, here | on a cluster of two processes, spread of members only | "
        "all states brought back | apart |\n|---|---|---|---|\n"
        f"| {seconds[0]:.2f} s | {seconds[1]:.2f} s | {seconds[2]:.2f} s | "
        f"{np.abs(there - here).max():.0e} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--stream", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker[0], given.worker[1], int(given.worker[2]))
    elif given.stream:
        stream_worker(*map(int, given.stream))
    else:
        run(given.small, None)
