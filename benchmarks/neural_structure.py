"""Latent networks that keep an energy, beside plain ones: `python benchmarks/neural_structure.py`.

Nothing is tuned: every network has one hidden layer of 32 units and the defaults of its class, and
sees the training window only.

1. Conservation. The wave equation of `wave.py` (periodic, speed 0.1, n = 256, trained on t <= 10,
   run to 50) on the symplectic basis of CotangentLift; and a chain of four masses between walls,
   with springs of force e + e²/2 + e³/2, whose energy is no quadratic form (ten runs of 10 time
   units, an unseen one of 50). HamiltonianODE(()) has a quadratic energy. Asked of the wave:
   energy drift below 1e-6, error below 5 %.
2. Dissipation. Such a chain, springs e + e³/2, every mass damped at a rate of 0.05 and the first
   pushed by sums of sines: 16 forced runs of 20 time units, then five unseen starts left alone for
   100. Asked: H non-increasing at every step, error no worse than the plain network's.

error    of the states over time: its maximum over that of the true norm (1), its root mean square
         over that of the truth, median over the starts, and of that the median over five seeds
         of the network, with the least and the largest (2)
floor    the same of the states projected on the modes: no model on them can do better
drift    largest change of the energy of the full model, over the energy at the start
own      the same for the learned energy
rises    steps at which the learned energy, or for the plain network the true one, grows; and the
         largest rise over the energy at the start
fit      seconds of processor time, median over the seeds

Structured models run by the implicit midpoint rule, in steps of 0.005 (wave) and 0.01 (chains),
plain ones by the adaptive method.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import rom
from rom.dynamics.hamiltonian import HamiltonianODE
from rom.dynamics.neural_ode import NeuralODE
from rom.dynamics.port_hamiltonian import PortHamiltonianODE
from rom.fom import Wave

Array = NDArray[np.float64]
Force = Callable[[Array], Array]

HIDDEN = (32,)
MASSES = 4
SAMPLING, FINE = 0.1, 10  # of the chains: the sampling step, and midpoint steps in it


def fitted(model: Any, Z: Array, **data: Any) -> tuple[Any, float]:
    start = time.process_time()
    return model.fit(Z, **data), time.process_time() - start


def drift(energy: Array, rest: float) -> float:
    return float(np.abs(energy - energy[0]).max() / (energy[0] - rest))


def own_drift(model: Any, z: Array) -> str:
    if not hasattr(model, "energy") or np.isnan(z).any():
        return "-"
    return f"{drift(model.energy(z), model.energy(np.zeros((1, z.shape[1])))[0]):.1e}"


def largest_error(reached: Array, truth: Array) -> float:
    """NaN where a rollout ended early."""
    error = np.linalg.norm(reached - truth, axis=1).max()
    return float(error / np.linalg.norm(truth, axis=1).max())


def conserving(case: str, size: int, model: Any, error: float, floor: str, *ends: Any) -> None:
    drifted, own, seconds = ends
    name = f"{type(model).__name__}({model.hidden})"
    print(
        f"| {case} | {size} | {name} | {error:.2e} | {floor} | {drifted:.1e} | "
        f"{own} | {seconds:.0f} |"
    )


def wave(size: int, n: int, dt: float, options: dict[str, int]) -> None:
    full, t = Wave(speed=0.1, n=n), np.linspace(0, 50, round(50 / dt) + 1)
    snapshots = full.simulate(full.initial_state(), t)
    X = rom.Flatten().fit(snapshots).transform(snapshots)
    seen = slice(0, round(10 / dt) + 1)
    lift = rom.CotangentLift(size).fit(X[seen])
    Z = lift.transform(X)
    floor = f"{largest_error(lift.inverse_transform(Z), X):.2e}"
    for model, stepper in (
        (HamiltonianODE((), **options), "midpoint"),
        (HamiltonianODE(HIDDEN, **options), "midpoint"),
        (NeuralODE(HIDDEN, **options), "dopri5"),
    ):
        model, seconds = fitted(model, Z[seen], t=t[seen])
        z = rom.rollout(model, Z[0], t, stepper=stepper, throw=False).z
        reached = lift.inverse_transform(z)
        drifted = drift(full.energy(reached.reshape(len(t), 2, n)), 0.0)
        own = own_drift(model, z)
        conserving("wave", size, model, largest_error(reached, X), floor, drifted, own, seconds)


class Chain:
    """Masses between walls, ``q'' = T(e_right) - T(e_left) - c q'``, the first pushed by u."""

    def __init__(self, quadratic: float, damping: float) -> None:
        self.quadratic, self.damping = quadratic, damping

    def run(self, z0: Array, t: Array, force: Force | None = None) -> Array:
        """States (n_time, 8) from `z0`."""

        def slope(s: float, z: Array) -> Array:
            q, p = np.split(z, 2)
            e = np.diff(q, prepend=0.0, append=0.0)
            change = np.diff(e + self.quadratic * e**2 + 0.5 * e**3) - self.damping * p
            change[0] += 0.0 if force is None else force(np.array([s]))[0]
            return np.concatenate([p, change])

        return solve_ivp(slope, (0, t[-1]), z0, t_eval=t, rtol=1e-9, atol=1e-11).y.T

    def energy(self, z: Array) -> Array:
        """Kinetic and stored energy of states."""
        q, p = np.split(z, 2, axis=-1)
        e = np.diff(q, prepend=0.0, append=0.0, axis=-1)
        stored = e**2 / 2 + self.quadratic * e**3 / 3 + e**4 / 8
        return (p**2).sum(axis=-1) / 2 + stored.sum(axis=-1)


def times(end: float, fine: int = 1) -> Array:
    return np.linspace(0, end, round(end / SAMPLING) * fine + 1)


def free_chain(n_runs: int, options: dict[str, int]) -> None:
    rng, chain, t = np.random.default_rng(0), Chain(0.5, 0.0), times(10)
    runs = [chain.run(z0, t) for z0 in rng.uniform(-0.7, 0.7, (n_runs, 2 * MASSES))]
    rows = {"t": np.tile(t, n_runs), "trajectory": np.repeat(np.arange(n_runs), len(t))}
    truth = chain.run(rng.uniform(-0.7, 0.7, 2 * MASSES), times(50))
    for model, stepper in ((HamiltonianODE, "midpoint"), (NeuralODE, "dopri5")):
        model, seconds = fitted(model(HIDDEN, **options), np.vstack(runs), **rows)
        z = rom.rollout(model, truth[0], times(50, FINE), stepper=stepper, throw=False).z
        error, own = largest_error(z[::FINE], truth), own_drift(model, z)
        drifted = drift(chain.energy(z), 0.0)
        conserving("chain", 2 * MASSES, model, error, "0", drifted, own, seconds)


def sines(rng: np.random.Generator) -> Force:
    rates, sizes, phases = rng.uniform(0.2, 2.2, 5), rng.normal(0, 0.3, 5), rng.uniform(0, 6.3, 5)
    return lambda t: np.asarray((sizes * np.sin(rates * t[..., None] + phases)).sum(axis=-1))


def damped_chain(n_runs: int, n_starts: int, n_seeds: int, options: dict[str, int]) -> None:
    rng, chain, t = np.random.default_rng(1), Chain(0.0, 0.05), times(20)
    forces = [sines(rng) for _ in range(n_runs)]
    runs = [chain.run(rng.normal(0, 0.3, 2 * MASSES), t, force) for force in forces]
    rows = {
        "t": np.tile(t, n_runs), "trajectory": np.repeat(np.arange(n_runs), len(t)),
        "u": np.concatenate([force(t) for force in forces]),
    }  # fmt: skip
    starts = rng.normal(0, 0.4, (n_starts, 2 * MASSES))
    truths = [chain.run(z0, times(100)) for z0 in starts]
    for name, model in (
        ("PortHamiltonianODE, S canonical", PortHamiltonianODE(HIDDEN, structure="canonical")),
        ("PortHamiltonianODE, S learned", PortHamiltonianODE(HIDDEN)),
        ("NeuralODE", NeuralODE(HIDDEN)),
    ):
        medians, changes, spent = [], [], []
        for seed in range(n_seeds):
            model = model.set_params(**options, random_state=seed)
            model, seconds = fitted(model, np.vstack(runs), **rows)
            error, change = judged(model, chain, truths, len(t))
            medians, changes, spent = [*medians, error], [*changes, change], [*spent, seconds]
        shown = " | ".join(
            f"{np.median(e):.3f} ({min(e):.3f} to {max(e):.3f})" for e in np.transpose(medians)
        )
        change = np.concatenate(changes)
        print(
            f"| {name} | {shown} | {(change > 0).sum()} of {len(change)} | {change.max():.1e} | "
            f"{np.median(spent):.0f} |",
            flush=True,
        )


def judged(model: Any, chain: Chain, truths: list[Array], n_short: int) -> tuple[Array, Array]:
    """Errors without forcing over the first rows and over all; changes of the energy by step."""
    judge, errors, changes = model if hasattr(model, "energy") else chain, [], []
    rest = judge.energy(np.zeros((1, 2 * MASSES)))[0]
    for truth in truths:
        z = left_alone(model, truth[0], times(100, FINE))
        energy = judge.energy(z)
        changes.append(np.diff(energy) / (energy[0] - rest))
        errors.append([rms_error(z[::FINE][:k], truth[:k]) for k in (n_short, len(truth))])
    return np.median(errors, axis=0), np.concatenate(changes)


def left_alone(model: Any, z0: Array, t: Array) -> Array:
    if isinstance(model, PortHamiltonianODE):
        return rom.rollout(model.unforced(), z0, t, stepper="midpoint", throw=False).z
    return rom.rollout(model, z0, t, u=np.zeros(len(t)), throw=False).z


def rms_error(reached: Array, truth: Array) -> float:
    return float(np.linalg.norm(reached - truth) / np.linalg.norm(truth))


def run(small: bool, data: Path | None) -> None:
    """Print both tables; no data are read."""
    options = {"max_iter": 20} if small else {}
    print("| case | size | model | error at 5 x the window | floor | drift | own | fit, s |")
    print("|---|---|---|---|---|---|---|---|")
    for size in [16] if small else [20, 40]:
        wave(size, 64 if small else 256, 0.01 if small else 0.005, {**options, "random_state": 0})
    free_chain(3 if small else 10, {**options, "random_state": 0})
    print()
    print("| model | error, 1 x | error, 5 x | rises | largest rise | fit, s |")
    print("|---|---|---|---|---|---|")
    damped_chain(3 if small else 16, 1 if small else 5, 2 if small else 5, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds, not minutes")
    run(parser.parse_args().small, None)
