"""Networks with a guarantee, beside a plain one: `python benchmarks/neural_contractive.py`.

All data are made here; all models have their default settings and one hidden layer of 32 units;
nothing is tuned.

1. ContractiveODE. A field carried around a ring, diffused, and damped by its cube,
   q_t = -q_x + 0.02 q_xx - q³ + 0.5 u cos(x), u = sin(t + phase), 64 points: differences of two
   solutions shrink in the 2-norm. Six POD modes of 16 runs of random start and phase with 1 %
   noise; 8 unseen runs, 5 x as long.
   Asked: of 10 000 random pairs of states, no distance grows by more than 1e-6 of itself.
2. DissipativeODE. Lorenz (1963): valid time of 20 forecasts (error 40 % of the state), and starts
   1000 times as far away as the training data. Asked: all of them come to the ball of `radius_`.
3. InvariantODE. The free rigid body, 20 runs over 30 time units, 5 unseen ones over 300. Asked: the
   energy and the squared angular momentum stay where they are.

`--small` takes fewer iterations and pairs: it shows that the script runs, and its figures mean
nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

import rom
from rom.base import Dynamics
from rom.dynamics.contractive import ContractiveODE
from rom.dynamics.dissipative_ode import DissipativeODE
from rom.dynamics.invariant_ode import InvariantODE

UNITS = (32,)


def solve(rhs: Callable, z0: np.ndarray, t: np.ndarray) -> np.ndarray:
    return solve_ivp(rhs, (t[0], t[-1]), z0, "DOP853", t_eval=t, rtol=1e-9, atol=1e-11).y.T


# -- 1. contraction ---------------------------------------------------------------------------


def ring() -> tuple[np.ndarray, Callable[[np.ndarray, float, np.ndarray], np.ndarray]]:
    """The grid, and runs from states ``q`` with a phase of the drive at times ``t``."""
    n = 64
    x = 2 * np.pi * np.arange(n) / n
    shift = np.roll(np.eye(n), 1, axis=1)
    slope = (shift - shift.T) * n / (4 * np.pi)
    curvature = (shift - 2 * np.eye(n) + shift.T) * (n / (2 * np.pi)) ** 2
    A, drive = -slope + 0.02 * curvature, 0.5 * np.cos(x)
    return x, lambda q, phase, t: solve(
        lambda now, q: A @ q - q**3 + np.sin(now + phase) * drive, q, t
    )


def starts(x: np.ndarray, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    waves = np.stack([f(k * x) for k in (1, 2) for f in (np.cos, np.sin)])
    return [0.6 * rng.normal(size=4) @ waves for _ in range(n)]


def pairs(Z: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random states of the size of the data; half of the others far from them, half near."""
    one, other = rng.normal(size=(2, n, Z.shape[1])) * Z.std(axis=0) + Z.mean(axis=0)
    other[::2] = one[::2] + 1e-3 * (other[::2] - one[::2])
    return one, other


def runge_kutta(model: Dynamics, Z: np.ndarray, t: np.ndarray, substeps: int) -> np.ndarray:
    """All rows of `Z` at once, with the input sin(t); (n_time, n_rows, rank)."""
    states, h = [Z], (t[1] - t[0]) / substeps

    def slope(Z: np.ndarray, time: float) -> np.ndarray:
        return model.predict(Z, u=np.full((len(Z), 1), np.sin(time)))

    for now in t[:-1]:
        for time in now + h * np.arange(substeps):
            a = slope(Z, time)
            b = slope(Z + h / 2 * a, time + h / 2)
            c = slope(Z + h / 2 * b, time + h / 2)
            Z = Z + h / 6 * (a + 2 * (b + c) + slope(Z + h * c, time + h))
        states.append(Z)
    return np.stack(states)


def growth(one: np.ndarray, other: np.ndarray) -> float:
    """The largest distance of a pair at any time over that at the start."""
    distance = np.linalg.norm(one - other, axis=-1)
    return float((distance / distance[0]).max())


def expansion(model: Dynamics, Z: np.ndarray, small: bool) -> list[str]:
    rng, t = np.random.default_rng(1), np.linspace(0, 2 if small else 4, 11 if small else 41)
    one, other = pairs(Z, 200 if small else 10_000, rng)
    ratios = [growth(runge_kutta(model, one, t, 4), runge_kutta(model, other, t, 4))]
    some = range(0, len(one), len(one) // (5 if small else 100))
    for stepper in ("auto", "midpoint"):
        ratio = 0.0
        for i in some:
            runs = [
                rom.rollout(model, z, t, u=np.sin(t)[:, None], stepper=stepper, throw=False).z
                for z in (one[i], other[i])
            ]
            ratio = max(ratio, growth(runs[0][:, None], runs[1][:, None]))
        ratios.append(ratio)
    return [f"{ratio - 1:+.1e}" for ratio in ratios]


def contractive(small: bool) -> None:
    (x, simulate), rng = ring(), np.random.default_rng(0)
    t, later = np.linspace(0, 4, 61), np.linspace(0, 20, 301)
    phases = 2 * np.pi * rng.uniform(size=24)
    first = starts(x, 24, rng)
    X = np.vstack([simulate(q, phase, t) for q, phase in zip(first[:16], phases, strict=False)])
    u = np.concatenate([np.sin(t + phase) for phase in phases[:16]])
    pod = rom.POD(6).fit(X)
    noisy = X + 0.01 * X.std() * rng.normal(size=X.shape)
    Z, label = pod.transform(noisy), np.repeat(np.arange(16), 61)
    tests = [
        (pod.transform(simulate(q, phase, later)), np.sin(later + phase)[:, None])
        for q, phase in zip(first[16:], phases[16:], strict=True)
    ]
    print("\n### 1. Pairs of trajectories, and the error at 5 x the training time\n")
    print(
        "| model | error, median | worst | 10 000 pairs, largest distance / first - 1 "
        "| 100 of them by rom.rollout | by its midpoint rule |\n|---|---|---|---|---|---|"
    )
    iterations = 10 if small else 200
    models = {
        "ContractiveODE": ContractiveODE(*UNITS, max_iter=iterations, random_state=0),
        "NeuralODE": rom.NeuralODE(UNITS, max_iter=iterations, random_state=0),
    }
    for name, model in models.items():
        model.fit(Z, t=np.tile(t, 16), u=u, trajectory=label)
        errors = []
        for truth, drive in tests:
            run = rom.rollout(model, truth[0], later, u=drive, throw=False)
            errors.append(np.linalg.norm(run.z - truth) / np.linalg.norm(truth))
        columns = " | ".join(expansion(model, Z, small))
        print(f"| {name} | {np.median(errors):.2%} | {max(errors):.2%} | {columns} |", flush=True)


# -- 2. boundedness ---------------------------------------------------------------------------


def dissipative(small: bool) -> None:
    def rhs(_: float, z: np.ndarray) -> list[float]:
        return [10 * (z[1] - z[0]), z[0] * (28 - z[2]) - z[1], z[0] * z[1] - 8 / 3 * z[2]]

    t = np.arange(0, 45 if small else 100, 0.02)
    Z = solve(rhs, np.array([1.0, 1, 25]), t)[500:]
    t = t[: len(Z)]
    size = np.sqrt((Z**2).sum(axis=1).mean())
    print("\n### 2. Lorenz: trained over 20 time units\n")
    print("| model | valid time, mean | starts at 1000 x: in the ball | radius | data |")
    print("|---|---|---|---|---|")
    iterations = 10 if small else 200
    for model in (
        DissipativeODE(UNITS, max_iter=iterations, random_state=0),
        rom.NeuralODE(UNITS, max_iter=iterations, random_state=0),
    ):
        model.fit(Z[:1000], t=t[:1000])
        valid = []
        for i in np.linspace(1000, len(Z) - 502, 3 if small else 20).astype(int):
            run = rom.rollout(model, Z[i], t[:501], throw=False).z
            off = ~(np.linalg.norm(run - Z[i : i + 501], axis=1) < 0.4 * size)
            valid.append(t[off.argmax()] if off.any() else t[500])
        row = f"| {type(model).__name__} | {np.mean(valid):.2f} |"
        if isinstance(model, DissipativeODE):
            row += f" {trapped(model, Z)} of 10 | {model.radius_:.0f} |"
        else:
            row += " | |"
        print(row, f"{np.linalg.norm(Z - Z.mean(axis=0), axis=1).max():.0f} |", flush=True)


def trapped(model: DissipativeODE, Z: np.ndarray) -> int:
    """How many of ten starts far away come to the ball within the time that the bound gives."""
    far = 1000 * Z.std() * np.random.default_rng(0).normal(size=(10, 3))
    rate, count = float(np.linalg.eigvalsh(model.damping_)[0]), 0
    for z0 in far:
        distance = np.linalg.norm(z0 - model.center_)
        end = np.log(1 + distance / (1e-2 * model.radius_)) / rate
        run = rom.rollout(model, z0, np.linspace(0, end, 200), bound=np.inf, throw=False)
        count += bool(np.linalg.norm(run.z[-1] - model.center_) <= 1.01 * model.radius_)
    return count


# -- 3. invariants ----------------------------------------------------------------------------


def invariant(small: bool) -> None:
    inertia = np.array([1.0, 2.0, 3.0])
    factor = 1 / np.roll(inertia, 1) - 1 / np.roll(inertia, -1)

    def rhs(_: float, z: np.ndarray) -> np.ndarray:
        return factor * np.roll(z, 1) * np.roll(z, -1)

    rng = np.random.default_rng(0)
    t, later = np.linspace(0, 30, 151), np.linspace(0, 40 if small else 300, 201 if small else 1501)
    first = rng.normal(size=(25, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    Z = np.vstack([solve(rhs, z, t) for z in first[:20]])
    tests = [solve(rhs, z, later) for z in first[20:]]
    quadratic = [np.eye(3), np.diag(1 / inertia)]
    print("\n### 3. Rigid body: 5 unseen starts\n")
    print(
        "| model | error to 30 | to 300 | drift of the invariants to 300, by rom.rollout "
        "| by its midpoint rule |\n|---|---|---|---|---|"
    )
    iterations = 5 if small else 200
    for model in (
        InvariantODE(quadratic, hidden=UNITS, max_iter=iterations, random_state=0),
        rom.NeuralODE(UNITS, max_iter=iterations, random_state=0),
    ):
        model.fit(Z, t=np.tile(t, 20), trajectory=np.repeat(np.arange(20), 151))
        runs = [rom.rollout(model, truth[0], later, throw=False).z for truth in tests]
        error = [
            np.median([np.linalg.norm(r[:n] - z[:n]) / np.linalg.norm(z[:n])
            for r, z in zip(runs, tests, strict=True)]) for n in (151, None)
        ]  # fmt: skip
        half = [
            rom.rollout(model, truth[0], later, stepper="midpoint", throw=False).z
            for truth in tests
        ]
        drifts = [max(drift(run, quadratic) for run in group) for group in (runs, half)]
        print(
            f"| {type(model).__name__} | {error[0]:.2%} | {error[1]:.2%} "
            f"| {drifts[0]:.1e} | {drifts[1]:.1e} |", flush=True,
        )  # fmt: skip


def drift(Z: np.ndarray, quadratic: list[np.ndarray]) -> float:
    """The largest relative change of an invariant."""
    values = np.stack([np.einsum("ni,ij,nj->n", Z, Q, Z) for Q in quadratic])
    return float(np.abs(values / values[:, :1] - 1).max())


def run(small: bool, data: Path | None = None) -> None:
    contractive(small)
    dissipative(small)
    invariant(small)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a run of seconds")
    run(parser.parse_args().small)
