"""Closures of a POD-Galerkin model of forced Burgers: `python benchmarks/neural_closure.py`.

`--small` ends in seconds and shows that it runs, not what is reached.

Set-up. Burgers with viscosity 0.0057 on 128 points of the unit interval, mean velocity 0.3 (so that
the shocks travel), forced in each of the first four sines by three incommensurate tones (rates 1.7,
2.9 and 4.7) whose phases are drawn anew for every run; an amplitude is the root mean square of each
input. Sampled every 0.02, after 5 units of time. Training: one run of 20 units at each of the
amplitudes 0.4, 0.6, 0.8, 1.0 and 1.2. Scored: two runs of 40 units at amplitude 0.9, with
phases of their own, from their first state to their end. POD of rank 10 of the deviations from the
mean velocity, and their exact Galerkin projection.

The set-up was chosen so that Galerkin and the projected truth do about as badly as in the case it
repeats (0.378, +16.7 % energy, and 0.172): some twenty variants were looked at, several at the
scored amplitude, and networks had been fitted to a sibling of it. It is a case of development, not
an untouched one. The closures have the default options but for the number of steps; what a fit
chooses, it chooses on the last fifth of each training run.

Error: norm of the difference of all fields over that of the deviations from the mean velocity.
Excess removed: the part of Galerkin's error above the floor, that of the projected truth, that is
gone. Energy: mean square of the deviations over that of the projected truth, less one; `of all`:
over that of the truth itself, of which the modes hold less. Kept: what did best on the rows held
out. Rollouts take one Runge-Kutta step per 0.02.

A second table is of the same runs sampled every 0.1: too seldom to tell slopes from samples.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import rom
from rom.base import Polynomial
from rom.data.derivative import derivative
from rom.dynamics.closure import Closure
from rom.dynamics.convex_closure import ConvexClosure
from rom.fom.burgers import Burgers

VISCOSITY, N, MEAN, RANK = 0.0057, 128, 0.3, 10
RATES = np.array([1.7, 2.9, 4.7])
SHARES = np.ones(4)
TRAINING, UNSEEN = (0.4, 0.6, 0.8, 1.0, 1.2), 0.9
STEP, SPIN_UP = 0.02, 5.0
ASKED = "≥ 60 % of the excess removed, energy within 3 %"


class Run(NamedTuple):
    """A run of the full model."""

    t: np.ndarray
    v: np.ndarray
    """Deviations from the mean velocity (n_time, n)."""
    u: np.ndarray


def simulate(amplitude: float, seed: int, duration: float) -> Run:
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (len(SHARES), len(RATES)))
    t = np.arange(0, SPIN_UP + duration + STEP / 2, STEP)
    tones = np.cos(t[:, None, None] * RATES + phase).sum(axis=2) * np.sqrt(2 / len(RATES))
    u = amplitude * tones * SHARES
    x0 = MEAN + 0.1 * np.sin(2 * np.pi * np.arange(N) / N)
    states = Burgers(VISCOSITY, N, dt=5e-3).simulate(x0, t, u=u).to_numpy()
    kept = slice(round(SPIN_UP / STEP), None)
    return Run(t[kept] - t[kept][0], states[kept] - MEAN, u[kept])


def galerkin(modes: np.ndarray) -> rom.OperatorInference:
    """The exact projection of ``v_t = ν v_xx − m v_x − (v²/2)_x + f`` on modes (rank, n)."""
    wave = 2j * np.pi * np.fft.rfftfreq(N, 1 / N)

    def apply(factor: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.fft.irfft(factor * np.fft.rfft(v), N)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        fine = [np.fft.irfft(np.fft.rfft(v), 2 * N) * 2 for v in (a, b)]
        return np.fft.irfft(np.fft.rfft(fine[0] * fine[1])[: N // 2 + 1], N) / 2

    A = modes @ apply(VISCOSITY * wave**2 - MEAN * wave, modes).T
    pairs = zip(*np.triu_indices(len(modes)), strict=True)
    H = [(i == j or 2) * -0.5 * modes @ apply(wave, product(modes[i], modes[j])) for i, j in pairs]
    waves = 1 + np.arange(len(SHARES))
    shapes = np.sin(2 * np.pi * np.outer(waves, np.arange(N) / N))
    return rom.OperatorInference.from_operators(
        A=A, H=np.transpose(H), B=modes @ shapes.T, bound=1e3
    )


class Task:
    """Training rows, the Galerkin model, and the scored runs."""

    def __init__(self, training: list[Run], scored: list[Run], every: int = 1) -> None:
        self.modes = rom.POD(RANK, center=False).fit(np.vstack([r.v for r in training])).components_
        self.galerkin = galerkin(self.modes)
        runs = [Run(*(rows[::every] for rows in run)) for run in training]
        self.rows: dict[str, Any] = {
            "t": np.concatenate([run.t for run in runs]),
            "u": np.vstack([run.u for run in runs]),
            "trajectory": np.repeat(np.arange(len(runs)), [len(run.t) for run in runs]),
        }
        self.Z = np.vstack([run.v for run in runs]) @ self.modes.T
        self.lengths = [len(run.t) for run in runs]
        self.scored = scored
        self.truth = np.vstack([run.v for run in scored])
        self.floor = self.error(self.truth @ self.modes.T)

    def error(self, z: np.ndarray) -> float:
        """Of latent states over all scored runs."""
        return float(np.linalg.norm(self.truth - z @ self.modes) / np.linalg.norm(self.truth))

    def run(self, model: Any) -> np.ndarray:
        """Rollouts over the scored runs; NaN after an early end."""
        parts = [
            rom.rollout(
                model, run.v[0] @ self.modes.T, run.t, u=run.u, throw=False, stepper="rk4"
            ).z
            for run in self.scored
        ]
        return np.vstack(parts)

    def least_squares(self, letters: str, *, inputs: bool = True) -> rom.OperatorInference:
        """Galerkin plus the operators, with or without inputs, that fit the residual best."""
        pieces = [slice(a, b) for a, b in pairwise(np.cumsum([0, *self.lengths]).tolist())]
        _, slopes = derivative(self.Z, self.rows["t"], pieces)
        u, known = self.rows["u"], self.galerkin
        residual = slopes - known.predict(self.Z, u=u)
        fit = rom.OperatorInference(letters).fit(self.Z, residual, u=u if inputs else None)
        H = known.H_ if fit.H_ is None else known.H_ + fit.H_
        B = known.B_ if fit.B_ is None else known.B_ + fit.B_
        return rom.OperatorInference.from_operators(fit.c_, known.A_ + fit.A_, H, B, bound=1e3)


def closures(base: Polynomial, small: bool) -> dict[str, Any]:
    n = {"n_steps": 3 if small else 100, "max_iter": 5 if small else 200}
    return {
        "Closure, a priori": Closure(base, random_state=0, **{**n, "n_steps": 0}),
        "Closure": Closure(base, random_state=0, **n),
        "ConvexClosure": ConvexClosure(base, random_state=0, **n),
        "ConvexClosure, backscatter": ConvexClosure(base, backscatter=True, random_state=0, **n),
    }


def table(task: Task, models: dict[str, Any]) -> None:
    print("| model | error | excess removed | energy | of all | kept | fit, CPU s |")
    print("|---|---|---|---|---|---|---|")
    projected = task.truth @ task.modes.T
    energy = [(projected**2).sum(), (task.truth**2).sum()]
    reference = task.error(task.run(task.galerkin)) - task.floor

    def line(name: str, z: np.ndarray, kept: str = "", seconds: float | None = None) -> None:
        error = task.error(z)
        removed = f"{1 - (error - task.floor) / reference:.0%}"
        bias = [f"{(z**2).sum() / e - 1:+.1%}" for e in energy]
        cpu = "" if seconds is None else f"{seconds:.0f}"
        print(f"| {name} | {error:.3f} | {removed} | {' | '.join(bias)} | {kept} | {cpu} |")

    line("projected truth (floor)", projected)
    line("Galerkin", task.run(task.galerkin))
    line("a-priori least squares, of states", task.run(task.least_squares("cA", inputs=False)))
    line("the same, and of inputs", task.run(task.least_squares("cA")))
    line("the same, and of products of states", task.run(task.least_squares("cAH")))
    for name, model in models.items():
        before = time.process_time()
        model.fit(task.Z, **task.rows)
        line(name, task.run(model), model.stage_, time.process_time() - before)


def run(small: bool, data: Path | None) -> None:
    """Print the tables."""
    long, longer = (1.0, 1.0) if small else (20.0, 40.0)
    training = [simulate(a, seed, long) for seed, a in enumerate(TRAINING)]
    scored = [simulate(UNSEEN, seed, longer) for seed in (98, 99)]
    task = Task(training, scored)
    print(f"Forced Burgers, rank {RANK}, unseen amplitude {UNSEEN}. Asked: {ASKED}.\n")
    table(task, closures(task.galerkin.polynomial(), small))
    print("\nThe same, sampled every 0.1:\n")
    seldom = Task(training, scored, every=5)
    two = ("Closure, a priori", "Closure")
    models = closures(seldom.galerkin.polynomial(), small)
    table(seldom, {name: models[name] for name in two})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    run(parser.parse_args().small, None)
