"""Single rollouts beside pysindy, opinf, SciPy and diffrax: `python benchmarks/rollout.py`.

Lorenz 63 (d = 3), Lorenz 96 (d = 20, quadratic) and a ring of oscillators (d = 50, cubic, 225 of
1,171,300 coefficients present), run over 1000, 500 and 500 units of time with ten outputs each, by
`rom.rollout` with all its checks, by the faster of its two pairs, and by each peer as its users
would call it. Equal accuracy: of a peer's methods, each at its loosest tolerance whose error, at
the time when chaos has not yet made rounding large, is no larger than rom's, the fastest; see
`rollout_peers.py`. pysindy, of milliseconds a right-hand side, runs Lorenz 63 only. opinf's model
has full matrices, which are what it has. diffrax gets the right-hand side written by hand for the
system at hand, and its compilation is not counted.

The second table: what a process waits for, from its start to the end of its first rollout, when
nothing is compiled yet, and in the second process; and the first rollout of another model. Then
the same of a process that runs an ensemble alone, and of one that runs an ensemble and a rollout
by each stepper, where nothing of theirs is compiled yet.
Third, what a step costs, and a stiff model.

Peers that are not installed are left out. They may stand in other interpreters, whose paths the
environment variable ROLLOUT_PEERS lists, separated by colons.

    pip install pysindy opinf diffrax
    python benchmarks/rollout.py [--small] [--ensembles]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rollout_ensemble
from numpy.typing import NDArray
from rollout_peers import CONTENDERS, RUNS, System, system
from scipy.integrate import solve_ivp

from rom.base import Polynomial
from rom.rollout import exponential, methods, terms

Array = NDArray[np.float64]

PEERS = Path(__file__).with_name("rollout_peers.py")
UNTIL = {"lorenz63": 1000.0, "lorenz96": 500.0, "oscillators": 500.0}
SMALL_UNTIL, SMALL = 5.0, ("rom dopri5", "rom dop853", "SciPy compiled DOP853")
MODULES = {"pysindy": "pysindy", "opinf": "opinf", "diffrax": "diffrax"}
# How many times faster rom is asked to be.
ASKED = {
    ("pysindy", "lorenz63"): 10_000,
    ("opinf", "lorenz63"): 50,
    ("SciPy compiled", "lorenz63"): 20,
    ("diffrax", "lorenz63"): 5,
    ("diffrax", "lorenz96"): 1,
    ("diffrax", "oscillators"): 1,
}
FIRST = """
import numpy as np, rom
model = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
rom.rollout(model, [1.0, 0.0], [0.0, 1.0])
"""
ENSEMBLE = """
import numpy as np, rom
from rom.rollout.ensemble import ensemble
model = rom.OperatorInference.from_operators(A=[[0.0, 1.0], [-1.0, 0.0]])
ensemble(model, np.eye(2)[[0, 1] * 4], [0.0, 1.0])
"""
STEPPERS = f"""{ENSEMBLE}
for stepper in ("dopri5", "dop853", "rk4", "midpoint", "exponential"):
    rom.rollout(model, [1.0, 0.0], [0.0, 1.0], stepper=stepper)
rows = np.random.default_rng(0).normal(size=(50, 2))
noisy = rom.LinearInverseModel().fit(rows, t=np.arange(50.0))
rom.rollout(noisy, [1.0, 0.0], [0.0, 0.1], stepper="euler_maruyama")
rom.rollout(rom.DMD().fit(rows, t=np.arange(50.0)), [1.0, 0.0], [0.0, 1.0], stepper="map")
"""
ANOTHER = """
import time
model = rom.OperatorInference.from_operators(A=-np.eye(5), H=np.ones((5, 15)))
start = time.perf_counter()
rom.rollout(model, np.full(5, 0.01), [0.0, 1.0])
print(time.perf_counter() - start)
"""


def run(small: bool, data: Path | None) -> None:
    """Print the tables; `data` is not needed."""
    compare(small)
    compilation()
    steps(small)
    stiff()


def compare(small: bool) -> None:
    interpreters = [sys.executable, *filter(None, os.environ.get("ROLLOUT_PEERS", "").split(":"))]
    print("| system | contender | setting | error | seconds | rom is faster by | asked |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, until in UNTIL.items():
        ours: dict[str, Any] = {"error": np.inf}
        for family, members in groupby(SMALL if small else CONTENDERS, family_of):
            if family == "pysindy" and name != "lorenz63":
                continue
            span = SMALL_UNTIL if small else until
            found = [worker(interpreters, c, name, span, ours["error"]) for c in members]
            rows = [row for row in found if row]
            if not rows:
                continue
            row = min(rows, key=lambda row: (row["error"] > ours["error"], row["seconds"]))
            ours = row if family == "rom" else ours
            ratio, asked = row["seconds"] / ours["seconds"], ASKED.get((family, name))
            print(
                f"| {name} | {row['name']} | rtol {row['tolerance']:.0e} | {row['error']:.1e} | "
                f"{row['seconds']:.3g} | {ratio:,.3g} | {f'{asked:,}' if asked else ''} |",
                flush=True,
            )


def family_of(contender: str) -> str:
    """A peer, whatever its method."""
    return contender.rsplit(" ", 1)[0] if contender[-1] in "5638A" else contender


def worker(
    interpreters: list[str], contender: str, name: str, until: float, allowed: float
) -> dict[str, Any] | None:
    """What the first interpreter that has the contender measures."""
    command = ["-P", str(PEERS), contender, name, str(until), str(allowed)]
    for interpreter in interpreters:
        module = MODULES.get(contender.split(" ")[0])
        # -P: a peer's module may be called as a script that stands in this folder.
        probe = [interpreter, "-P", "-c", f"import {module or 'numpy'}"]
        if subprocess.run(probe, capture_output=True).returncode == 0:
            done = subprocess.run([interpreter, *command], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{contender} on {name}:\n{done.stderr}")
            return {"name": contender, **json.loads(done.stdout.splitlines()[-1])}
    return None


def compilation() -> None:
    """Seconds of processes with first runs: the machine's first, and its second."""
    print("\n| | seconds |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:

        def process(code: str, cache: str = "rollout") -> tuple[float, str]:
            environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/{cache}"}
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            return time.perf_counter() - start, done.stdout

        print(f"| import rom alone | {process('import rom')[0]:.2f} |", flush=True)
        print(f"| import numba alone | {process('import numba')[0]:.2f} |", flush=True)
        print(f"| first process on a machine | {process(FIRST)[0]:.2f} |", flush=True)
        print(f"| second process | {process(FIRST)[0]:.2f} |", flush=True)
        another = float(process(FIRST + ANOTHER)[1])
        print(f"| the first rollout of another model, in a process | {another:.4f} |", flush=True)
        for name, code in {
            "an ensemble": ENSEMBLE,
            "all steppers and an ensemble": STEPPERS,
        }.items():
            for turn in ("first", "second"):
                print(f"| {name}, {turn} process | {process(code, name)[0]:.2f} |", flush=True)


def steps(small: bool) -> None:
    """Nanoseconds a step, CPU time: least of some runs, where the time for outputs is included."""
    print("\n| system | RK4 | Dormand-Prince | order 8 | Euler-Maruyama | implicit midpoint |")
    print("|---|---|---|---|---|---|", flush=True)
    n = 2_001 if small else 20_001
    for name in UNTIL:
        chosen = system(name)
        cells = []
        for method in ("rk4", "dopri5", "dop853", "euler_maruyama", "midpoint"):
            t = (0.01 if method != "euler_maruyama" else 1e-4) * np.arange(n)
            options: tuple[Any, ...] = (1,)  # substep in each output interval
            if method in ("dopri5", "dop853"):
                options = (1e-8, 1e-14, 10**9)
            elif method == "euler_maruyama":
                options = (np.zeros((n - 1, len(chosen.z0))), 1)
            cells.append(nanoseconds(method, chosen, t, options))
        print(f"| {name} | " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |", flush=True)


def nanoseconds(method: str, chosen: System, t: Array, options: tuple[Any, ...]) -> float:
    model = terms.terms_of(Polynomial(*chosen.polynomial()))
    arguments = (model, chosen.z0, t, np.zeros((len(t), 0)), 1e9, *options)
    methods.COMPILED[method](*arguments)
    best = np.inf
    for _ in range(RUNS):
        start = time.process_time()
        _, code, _, n_steps = methods.COMPILED[method](*arguments)
        best = min(best, (time.process_time() - start) / n_steps)
        assert code == 0
    return 1e9 * best


def stiff() -> None:
    """Eight modes with rates of decay from 1 to 1e6 and all quadratic terms."""
    rng, rank = np.random.default_rng(0), 8
    pairs = np.array([(i, j) for i in range(rank) for j in range(i, rank)])
    eye = np.eye(rank, dtype=np.int64)
    exponents = np.concatenate([eye, eye[pairs[:, 0]] + eye[pairs[:, 1]], 0 * eye[:1]])
    rates = -np.diag(10.0 ** np.linspace(0, 6, rank))
    coef = np.concatenate([rates, rng.normal(size=(rank, len(pairs) + 1))], axis=1)
    z0, t = 0.3 * rng.normal(size=rank), np.linspace(0, 5, 51)

    def field(_: float, z: Array) -> Array:
        return coef @ np.prod(z**exponents, axis=1)

    truth = solve_ivp(field, (0, 5), z0, "Radau", t_eval=t, rtol=1e-12, atol=1e-14).y.T
    split = exponential.split(Polynomial(exponents, coef))
    options = (np.zeros((len(t), 0)), 1e9, 1e-8, 1e-14, 10**8)
    runs: dict[str, Any] = {
        "rom exponential": lambda: methods.COMPILED["exponential"](
            terms.terms_of(split.rest), z0, t, *options, split.linear
        )[0],
        "rom dopri5": lambda: methods.COMPILED["dopri5"](
            terms.terms_of(Polynomial(exponents, coef)), z0, t, *options
        )[0],
    }
    for method in ("Radau", "BDF", "LSODA"):
        runs[f"SciPy {method}"] = lambda method=method: (
            solve_ivp(field, (0, 5), z0, method, t_eval=t, rtol=1e-8, atol=1e-12).y.T
        )
    print("\n| stiff model, rtol 1e-8 | error | seconds |\n|---|---|---|")
    for name, solve in runs.items():
        solve()
        start = time.perf_counter()
        error = np.abs(solve() - truth).max()
        print(f"| {name} | {error:.1e} | {time.perf_counter() - start:.3g} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--ensembles", action="store_true", help="then rollout_ensemble.py, too")
    given = parser.parse_args()
    run(given.small, None)
    if given.ensembles:
        rollout_ensemble.run(given.small, None)
