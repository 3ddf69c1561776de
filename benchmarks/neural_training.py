"""Training a neural ODE: time to a held-out rollout error, time per step, resuming after a kill.

`python benchmarks/neural_training.py [--small] [--budget SECONDS] [--part NAME ...]`. The peers
run in Pythons of their own, whose paths stand in the environment: TORCHDIFFEQ_PYTHON (torch,
torchdiffeq) and DIFFRAX_PYTHON (diffrax, equinox, optax); one that is missing is left out, and
said so. Everybody has one core.

A chain of four damped pendulums, coupled by springs: 200 trajectories of 50 times and 8
coordinates, from random states; the same perceptron 8-64-64-8 with tanh units for all, on states
standardised alike. Peers minimise the error of full runs by Adam in single precision (adaptive
steps with tolerances 1e-4 and 1e-5; rk4: one step per sample). Their learning rate is the best of
three on 40 trajectories for validation, after an eighth of the budget each, which is not counted.
Ours is `NeuralODE(hidden=(64, 64))` with more iterations allowed, in double precision. Everybody
leaves weights behind as training goes, and those are rolled out, off the clock, from 40 further
trajectories' first states by the same integrator: the error is the mean over trajectories of the
relative distance. Time counts from the data to the first record at or below an error, with all
compiling.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

HERE = Path(__file__).resolve()
TARGETS = (0.10, 0.05, 0.02)
RATES = (1e-3, 3e-3, 1e-2)
BUDGET = 240.0  # seconds of each peer's training
PEERS = {
    "torchdiffeq, dopri5": ("dopri5", "TORCHDIFFEQ_PYTHON"),
    "torchdiffeq, rk4": ("rk4", "TORCHDIFFEQ_PYTHON"),
    "torchdiffeq, dopri5, adjoint": ("adjoint", "TORCHDIFFEQ_PYTHON"),
    "diffrax, Tsit5, and equinox": ("diffrax", "DIFFRAX_PYTHON"),
}
# Widths, batches and horizons at which one step is timed.
CASES = [
    (64, 200, 49), (32, 200, 49), (128, 200, 49), (256, 200, 49),
    (64, 50, 49), (64, 800, 49), (64, 200, 12), (64, 200, 196),
]  # fmt: skip


def pendulums(n: int, seed: int, n_times: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Times, and trajectories (n, n_times, 8): four angles, four rates."""
    t = np.linspace(0, 5, n_times)
    start = np.random.default_rng(seed).uniform(-1.5, 1.5, size=(8, n))

    def rhs(_: float, y: np.ndarray) -> np.ndarray:
        q, p = y.reshape(2, 4, -1)
        ends = np.zeros_like(q[:1])
        stretch = np.diff(np.vstack([ends, q, ends]), axis=0)
        return np.concatenate([p, stretch[1:] - stretch[:-1] - np.sin(q) - 0.1 * p]).ravel()

    path = solve_ivp(rhs, (0, 5), start.ravel(), t_eval=t, rtol=1e-9, atol=1e-9).y
    return t, path.reshape(8, n, n_times).transpose(1, 2, 0)


def error(weights: list[np.ndarray], gain: np.ndarray, t: np.ndarray, z: np.ndarray) -> float:
    """Mean relative error of rollouts from the first states of standardised trajectories `z`."""
    from rom.dynamics.networks import forward

    def field(x: np.ndarray) -> np.ndarray:
        return gain * forward(weights[::2], weights[1::2], x)

    x, total, h = z[:, 0], 0.0, (t[1] - t[0]) / 2
    for k in range(1, len(t)):
        for _ in range(2):
            k1 = field(x)
            k2 = field(x + h / 2 * k1)
            k3 = field(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * (k2 + k3) + field(x + h * k3))
        total = total + ((x - z[:, k]) ** 2).sum(axis=1)
    size = (z[:, 1:] ** 2).sum(axis=(1, 2))
    return float(np.nan_to_num(np.sqrt(total / size).mean(), nan=np.inf))


def unpacked(flat: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        layers += [flat[at : at + n_in * n_out].reshape(n_in, n_out)]
        layers += [flat[at + n_in * n_out : at + (n_in + 1) * n_out]]
        at += (n_in + 1) * n_out
    return layers


class Problem:
    """Trajectories to train on, to choose by, and to score, standardised as `NeuralODE` does."""

    def __init__(self, n: int, width: int) -> None:
        from rom.data.derivative import derivative

        self.t, self.Z = pendulums(n, seed=0)
        n_times = len(self.t)
        self.label = np.repeat(np.arange(n), n_times)
        pieces = [slice(i * n_times, (i + 1) * n_times) for i in range(n)]
        rows = self.Z.reshape(-1, 8)
        slopes = derivative(rows, np.tile(self.t, n), pieces)[1]
        self.mean, self.scale = rows.mean(axis=0), rows.std(axis=0).max()
        self.gain = np.sqrt((slopes**2).mean(axis=0)) / self.scale
        self.sizes = [8, width, width, 8]
        self.train, self.validation, self.test = (
            (z - self.mean) / self.scale
            for z in (self.Z, pendulums(40, seed=1)[1], pendulums(40, seed=2)[1])
        )


def ours(problem: Problem, max_iter: int, **options: object) -> tuple[list, list, str]:
    """Seconds and weights at each check of a fit, and its report."""
    import torch._dynamo  # noqa: F401  # loaded before the clock starts, as the peers' libraries are

    import rom.dynamics.training as training
    from rom.dynamics import NeuralODE

    seconds, kept, note, apart = [], [], training._note, [0.0]

    def record(state: dict, now: float, held: float, current: list) -> None:
        note(state, now, held, current)
        stop = time.perf_counter()
        seconds.append(stop - began - apart[0])
        kept.append([value.numpy().copy() for value in state["kept"]])
        apart[0] += time.perf_counter() - stop

    training._note = record
    hidden = tuple(problem.sizes[1:-1])
    model = NeuralODE(hidden, max_iter=max_iter, random_state=0, device="cpu", **options)
    began = time.perf_counter()
    model.fit(
        problem.Z.reshape(-1, 8), t=np.tile(problem.t, len(problem.Z)), trajectory=problem.label
    )
    training._note = note
    return seconds, kept, model.report_


def peer(name: str, python: str, folder: Path, **job: object) -> dict:
    out, path = folder / "out.npz", folder / "job.npz"
    np.savez(path, out=str(out), **job)
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    script = HERE.with_name("neural_training_peers.py")
    subprocess.run([python, str(script), name, str(path)], check=True, env={**os.environ, **single})
    with np.load(out) as found:
        return {key: found[key] for key in found.files}


def trained_peer(
    name: str, python: str, problem: Problem, budget: float, folder: Path, rates: tuple
) -> dict:
    """The run with the learning rate that is best on the validation trajectories."""
    job = {
        "sizes": problem.sizes, "z": problem.train, "t": problem.t, "gain": problem.gain,
        "double": False,
    }  # fmt: skip

    def validation(found: dict) -> float:
        weights = [unpacked(w, problem.sizes) for w in found["weights"][-5:]]
        return min(error(w, problem.gain, problem.t, problem.validation) for w in weights)

    tried = {
        rate: validation(peer(name, python, folder, **job, rate=rate, budget=budget / 8))
        for rate in rates
    }
    best = min(tried, key=lambda rate: tried[rate])
    found = peer(name, python, folder, **job, rate=best, budget=budget)
    return {
        **found,
        "rate": best,
        "weights": [unpacked(w, problem.sizes) for w in found["weights"]],
    }


def reached(seconds: list, weights: list, problem: Problem) -> tuple[list[float], float]:
    """Seconds to each target, infinite where it was not met; and the least error."""
    errors: list[float] = []
    for w in weights:  # once the last target is met, the rest is not needed
        errors.append(error(w, problem.gain, problem.t, problem.test))
        if errors[-1] <= TARGETS[-1]:
            break
    met = list(zip(seconds, errors, strict=False))
    first = [next((s for s, e in met if e <= goal), np.inf) for goal in TARGETS]
    return first, min(errors)


def show(name: str, times: list[float], least: float, budget: float, note: str) -> None:
    cells = [f"{s:.1f}" if np.isfinite(s) else f"> {budget:.0f}" for s in times]
    print(f"| {name} | {' | '.join(cells)} | {least:.3f} | {note} |", flush=True)


def time_to_error(small: bool, folder: Path, budget: float) -> None:
    problem = Problem(10 if small else 200, 16 if small else 64)
    heads = " | ".join(f"s to {goal:.0%}" for goal in TARGETS)
    print(f"\n{len(problem.Z)} trajectories, network {'-'.join(map(str, problem.sizes))}\n")
    print(f"| | {heads} | least error met | |\n|---|" + "---|" * (len(TARGETS) + 2))
    own = {}
    for name, options in (
        ("NeuralODE", {}),
        ("NeuralODE, slopes only", {"window": None}),
        ("NeuralODE, shooting only", {"matching": None}),
    ):
        seconds, weights, report = ours(problem, 20 if small else 600, **options)
        own[name], least = reached(seconds, weights, problem)
        show(name, own[name], least, seconds[-1], report.replace("\n", "; "))
    for name, (solver, variable) in PEERS.items():
        python = os.environ.get(variable)
        if python is None:
            print(f"| {name} | | | | | {variable} is not set |")
            continue
        rates = RATES[:1] if small else RATES
        found = trained_peer(solver, python, problem, budget, folder, rates)
        times, least = reached(found["seconds"], found["weights"], problem)
        note = (
            f"rate {found['rate']:g}, first step {float(found['first']):.1f} s, then "
            f"{1e3 * float(found['per_step']):.1f} ms per step; times ours: "
        )
        ratios = [
            f"{theirs / mine:.0f}" if np.isfinite(theirs) else f"> {budget / mine:.0f}"
            for theirs, mine in zip(times, own["NeuralODE"], strict=True)
        ]
        show(name, times, least, budget, note + ", ".join(ratios))


def our_steps(cases: list, window: int | None, adjoint: bool, budget: float) -> list[float]:
    """Seconds for a loss and its gradient, one Runge–Kutta step per sample."""
    from functools import partial

    import torch

    from rom.dynamics import adjoint as exact
    from rom.dynamics.shooting import run_loss

    torch.set_num_threads(1)
    times = []
    for width, batch, horizon in cases:
        random, sizes = np.random.default_rng(0), [8, width, width, 8]
        parameters = []
        for n_in, n_out in pairwise(sizes):
            weight = random.normal(size=(n_in, n_out)) / n_in**0.5
            parameters += [torch.tensor(w, requires_grad=True) for w in (weight, np.zeros(n_out))]
        length = horizon if window is None else window
        n = batch * max(1, horizon // length)
        z = torch.tensor(random.normal(size=(n, length + 1, 8)))
        u, h = torch.zeros(n, length + 1, 0).double(), torch.full((n, length), 0.1).double()
        shooter = partial(exact.shoot, substeps=1) if adjoint else None
        loss, taken = run_loss(np.ones(8), 1, shooter=shooter), []
        while len(taken) < 3 or (sum(taken) < budget and len(taken) < 30):
            began = time.perf_counter()
            torch.autograd.grad(loss(parameters, z, u, h), parameters)
            taken.append(time.perf_counter() - began)
        times.append(min(taken))
    return times


def time_per_step(small: bool, folder: Path) -> None:
    cases, budget = (CASES[:1], 0.1) if small else (CASES, 3.0)
    print("\nMilliseconds per loss and gradient, double precision, one step per sample (four")
    print("network evaluations; Tsit5: six), at width / batch / horizon\n")
    print("| | " + " | ".join("/".join(map(str, case)) for case in cases) + " |")
    print("|---|" + "---|" * len(cases))
    rows = {
        "rom, rk4": our_steps(cases, None, False, budget),
        "rom, rk4, windows of 7 in one batch": our_steps(cases, 7, False, budget),
        "rom, rk4, exact adjoint": our_steps(cases, None, True, budget),
    }
    for name, (solver, variable) in {
        "torchdiffeq, rk4": ("rk4", "TORCHDIFFEQ_PYTHON"),
        "torchdiffeq, rk4, adjoint": ("adjoint", "TORCHDIFFEQ_PYTHON"),
        "diffrax, Tsit5, fixed steps": ("diffrax", "DIFFRAX_PYTHON"),
        "JAX, rk4 by hand": ("jax", "DIFFRAX_PYTHON"),
    }.items():
        python = os.environ.get(variable)
        if python is not None:
            rows[name] = peer(solver, python, folder, cases=cases, budget=budget)["seconds"]
    for name, times in rows.items():
        print(f"| {name} | " + " | ".join(f"{1e3 * s:.1f}" for s in times) + " |", flush=True)


def exact_adjoint(small: bool) -> None:
    """Difference to automatic differentiation, and what each keeps in memory."""
    import torch

    from rom.dynamics import adjoint
    from rom.dynamics.shooting import network, shoot

    print("\n| steps | relative difference of the gradient | graph, autograd [MB] | adjoint [MB] |")
    print("|---|---|---|---|")
    for n_steps in (10, 100) if small else (10, 100, 1000):
        random = torch.Generator().manual_seed(0)
        parameters = [
            (torch.randn(*shape, generator=random).double() / shape[0] ** 0.5).requires_grad_()
            for shape in ((8, 64), (64,), (64, 64), (64,), (64, 8), (8,))
        ]
        z = torch.randn(200, 8, generator=random).double()
        u, h = torch.zeros(200, 2, 0).double(), torch.full((200, 1), 5.0).double()
        field = lambda z, u, p=parameters: network(p, z)  # noqa: E731
        found = []
        for run in (
            lambda: shoot(field, z, u, h, n_steps),  # noqa: B023
            lambda: adjoint.shoot(field, parameters, z, u, h, n_steps),  # noqa: B023
        ):
            now, most, states = [0], [0], [0]

            class Kept:
                def __init__(self, tensor: object, now: list = now, most: list = most) -> None:
                    self.tensor, self.now = tensor.detach(), now
                    now[0] += tensor.nbytes
                    most[0] = max(most[0], now[0])

                def __del__(self) -> None:
                    self.now[0] -= self.tensor.nbytes

            with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
                end = run()
                if found:  # the states between steps, which the adjoint starts again from
                    states[0] = n_steps * z.nbytes
                slopes = torch.autograd.grad((end**2).sum(), parameters)
            flat = torch.cat([s.ravel() for s in slopes])
            found.append((flat, (most[0] - states[0]) / 1e6))
        off = torch.linalg.norm(found[1][0] - found[0][0]) / torch.linalg.norm(found[0][0])
        print(f"| {n_steps} | {off:.1e} | {found[0][1]:.1f} | {found[1][1]:.2f} |", flush=True)


def fit_and_die(folder: str, adam: bool, die_at: int, max_iter: int) -> None:
    """In a process of its own: fit, and be killed at an evaluation of the network, if it comes."""
    import signal

    from rom.dynamics import NeuralODE, shooting

    network, calls = shooting.network, [0]

    def mortal(parameters: list, x: object) -> object:
        calls[0] += 1
        if calls[0] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return network(parameters, x)

    shooting.network = mortal
    t, Z = pendulums(6, seed=0)
    model = NeuralODE(
        (16,), unroll=(12, 16), max_iter=max_iter, batch_size=16 if adam else None,
        random_state=0, device="cpu", checkpoint=folder or None,
    )  # fmt: skip
    model.fit(Z.reshape(-1, 8), t=np.tile(t, 6), trajectory=np.repeat(np.arange(6), 50))
    fitted = b"".join(w.tobytes() for w in [*model.weights_, *model.biases_, *model.histories_])
    print(calls[0], hashlib.sha256(fitted).hexdigest())


def killed_and_resumed(small: bool, folder: Path) -> None:
    """Kill a fit at random evaluations of the network, each time go on, and compare the bits."""
    n_kills, random = (2 if small else 10), np.random.default_rng(0)
    print("\n| fit killed at random steps | kills | same weights and history, bit for bit |")
    print("|---|---|---|")
    for name, adam in (("three stages, L-BFGS", False), ("three stages, Adam", True)):

        def attempt(where: str, die_at: int, adam: bool = adam) -> str:
            max_iter = (5 if adam else 1) * (20 if small else 100)
            numbers = map(str, (int(adam), die_at, max_iter))
            command = [sys.executable, str(HERE), "--attempt", where, *numbers]
            return subprocess.run(command, capture_output=True, text=True).stdout

        calls, whole = attempt("", 0).split()
        kills, here = 0, str(folder / name.replace(" ", "-"))
        while kills < n_kills:
            # Lives so short that the fit cannot end before it was killed often enough.
            survived = attempt(here, int(random.integers(1, int(calls) // n_kills)))
            assert not survived
            kills += 1
        found = attempt(here, 0).split()[1]
        print(f"| {name} | {kills} | {'yes' if found == whole else 'NO'} |", flush=True)


PARTS = ("error", "steps", "adjoint", "kills")


def run(
    small: bool,
    data: Path | None = None,
    *,
    budget: float = BUDGET,
    parts: Sequence[str] = PARTS,
) -> None:
    """Print the tables; `data` is not needed."""
    if not small and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children inherit it
    with tempfile.TemporaryDirectory() as name:
        if "error" in parts:
            time_to_error(small, Path(name), 2.0 if small else budget)
        if "steps" in parts:
            time_per_step(small, Path(name))
        if "adjoint" in parts:
            exact_adjoint(small)
        if "kills" in parts:
            killed_and_resumed(small, Path(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a trial run of seconds")
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--attempt", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attempt:
        where, adam, die_at, max_iter = options.attempt
        fit_and_die(where, adam == "1", int(die_at), int(max_iter))
    else:
        run(options.small, budget=options.budget, parts=options.part)


if __name__ == "__main__":
    main()
