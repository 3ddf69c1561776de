"""Ensembles beside JAX and batched NumPy: `python benchmarks/rollout_ensemble.py [--small]`.

1,000 members of Lorenz 63 (d = 3), Lorenz 96 (d = 20), a full quadratic model (d = 20, all 231
terms in each equation, as operator inference fits them) and a ring of oscillators (d = 50, cubic,
sparse), by `rom.rollout.ensemble.ensemble` with all its checks, by a jitted vmap over scan, and by
NumPy on all members at once. Equal accuracy: all take the same classical Runge-Kutta steps and keep
every state; how far their states are from each other after 50 steps is printed. JAX gets the
right-hand side that was the fastest of some ways to write it; its compilation is not counted. Each
contender runs in its own process, on one thread and on two; the least of five times counts.

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
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rollout_peers import FIELDS, system

Array = NDArray[np.float64]

H, MEMBERS, RUNS = 0.001, 1000, 5
STEPS = {"lorenz63": 1000, "lorenz96": 200, "quadratic": 100, "oscillators": 100}
CONTENDERS = ("rom", "jax", "numpy")
ASKED_JAX, ASKED_CORES = 3.0, 1.8
SINGLE, MANY = 10**7, 10**5


def run(small: bool, data: Path | None) -> None:
    """Print the tables; `data` is not needed."""
    side_by_side(small)
    streams(small)
    neural(small)
    cluster(small)


def operators() -> tuple[Array, Array]:
    """Of a full quadratic model: damping and a turning, and terms that keep the energy."""
    rng = np.random.default_rng(0)
    A, H3 = rng.normal(size=(20, 20)), rng.normal(size=(20, 20, 20))
    H3 = H3 - np.transpose(H3, (1, 0, 2))  # z_i H_ijk z_j z_k = 0
    i, j = np.triu_indices(20)
    full = H3 + np.transpose(H3, (0, 2, 1))
    return A - A.T - 0.1 * np.eye(20), np.where(i == j, 0.5, 1.0) * full[:, i, j] * 0.02


def starts(name: str) -> Array:
    center = np.zeros(20) if name == "quadratic" else system(name).z0
    return center + 0.1 * np.random.default_rng(1).normal(size=(MEMBERS, len(center)))


def field_of(name: str, xp: Any) -> Callable[[Any], Any]:
    """The right-hand side of one state."""
    if name != "quadratic":
        return lambda z: FIELDS[name](z, xp)
    A, full = (xp.asarray(a) for a in operators())
    i, j = np.triu_indices(20)
    return lambda z: A @ z + full @ (z[i] * z[j])


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

    if name == "quadratic":
        A, full = operators()
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


def with_rom(name: str, n: int) -> Callable[[], Array]:
    from rom.rollout.ensemble import ensemble

    model, z0, t = model_of(name), starts(name), np.arange(n + 1) * H
    return lambda: ensemble(model, z0, t, stepper="rk4", bound=np.inf).z


def with_jax(name: str, n: int) -> Callable[[], Any]:
    import jax

    jax.config.update("jax_enable_x64", True)
    field = field_of(name, jax.numpy)

    def step(z: Any, _: Any) -> Any:
        later = rk4(field, z)
        return later, later

    many = jax.jit(jax.vmap(lambda z: jax.lax.scan(step, z, None, length=n)[1]))
    z0 = jax.numpy.asarray(starts(name))
    return lambda: jax.block_until_ready(many(z0))


def with_numpy(name: str, n: int) -> Callable[[], Array]:
    field, z0 = rows_field_of(name), np.ascontiguousarray(starts(name).T)

    def many() -> Array:
        z, out = z0, np.empty((n, *z0.shape))
        for i in range(n):
            out[i] = z = rk4(field, z)
        return out.transpose(2, 0, 1)

    return many


def worker(contender: str, name: str, n: int) -> None:
    """Nanoseconds per member and step, and the states after 50 steps."""
    go = {"rom": with_rom, "jax": with_jax, "numpy": with_numpy}[contender](name, n)
    states = np.asarray(go())[:3, 50 if contender == "rom" else 49]
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        go()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"ns": 1e9 * min(seconds) / n / MEMBERS, "states": states.tolist()}))


def in_process(contender: str, name: str, n: int, threads: int) -> dict[str, Any] | None:
    flags = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | {key: str(threads) for key in names} | {"XLA_FLAGS": flags}
    cores = sorted(os.sched_getaffinity(0))[:threads]
    interpreters = [sys.executable, *filter(None, os.environ.get("ROLLOUT_PEERS", "").split(":"))]
    for python in interpreters:
        done = subprocess.run(
            [python, __file__, "--worker", contender, name, str(n)],
            env=environment, capture_output=True, text=True, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )  # fmt: skip
        if not done.returncode:
            return dict(json.loads(done.stdout.splitlines()[-1]))
        if "No module named" not in done.stderr:
            raise RuntimeError(done.stderr)
    return None


def side_by_side(small: bool) -> None:
    print(
        f"| {MEMBERS} members, ns per member and step | rom, 1 core | 2 cores | ratio "
        f"(asked {ASKED_CORES}) | JAX vmap, 1 core | 2 cores | rom over JAX, 1 core (asked "
        f"{ASKED_JAX:g}) | 2 cores | NumPy | apart |\n" + "|---" * 10 + "|"
    )
    for name, n in STEPS.items():
        n = 60 if small else n
        found = {(c, k): in_process(c, name, n, k) for c in CONTENDERS for k in (1, 2)}
        ns = {key: value["ns"] if value else np.nan for key, value in found.items()}
        states = [np.array(value["states"]) for value in found.values() if value]
        apart = max(float(np.abs(s / states[0] - 1).max()) for s in states)
        one, two = ns["rom", 1], ns["rom", 2]
        print(
            f"| {name} (d = {starts(name).shape[1]}) | {one:.1f} | {two:.1f} | {one / two:.2f} | "
            f"{ns['jax', 1]:.1f} | {ns['jax', 2]:.1f} | {ns['jax', 1] / one:.2f} | "
            f"{ns['jax', 2] / two:.2f} | {ns['numpy', 1]:.0f} | {apart:.0e} |",
            flush=True,
        )


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
    for members, steps in ((1, SINGLE), (MEMBERS, MANY)):
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
