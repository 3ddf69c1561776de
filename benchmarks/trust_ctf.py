"""The Common Task Framework's protocol on Lorenz: `python benchmarks/trust_ctf.py --data DIR`.

DIR holds the folders `train` and `test` of the framework's data set ODE_Lorenz (or is the parent
of such a folder, called ctf_lorenz).

1. The protocol. Four forecasts that need no model are scored in all twelve tasks by functions of
   `rom.rollout.scores`, beside what the framework's own evaluator (version of 19 June 2026) gives
   for them on these files, to six decimals: zeros; the average of the training rows; the last row;
   the record itself (for a reconstruction the noisy rows, for a forecast the last rows once more,
   over again where they are too few). The framework prints scores of its own for other files, the
   tests of which it keeps to itself. Only this table stands beside the framework's digits.
2. A regression test: the identified models of `ctf_lorenz.py`, scored by the same functions, beside
   what that script of ours printed; all digits are to agree. Long forecasts (E2, E4, E6) are
   chaotic: another rounding, as another integrator has it, is another draw. So beside their means
   stand the spread of single rollouts from the uncertain end of the record and the score of the
   truth itself: other stretches of 500 rows of the same system.
3. The valid time of the three forecasts from clean records: the first time at which the error
   exceeds 0.4 of the natural variability, also in Lyapunov times of the identified model.
4. Long-run statistics (`rom.rollout.statistics`) of 20 runs of 10,000 rows beside those of the
   record, which is as long: of the identified model, of its equations with r a tenth lower, and of
   the record in random order. Median distance (sampling error), and in how many runs it was kept;
   of a model that is as the truth all should be, in 95 % of the runs.

`--small` leaves out the identified models, which take a minute: 2 and 3, and in 4 the equations
are Lorenz's with the r of the data, 28.7.

Scores: N. Wyder et al., Common Task Framework for Dynamical Systems, arXiv:2510.23166 (2025).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ctf_lorenz import (
    DT,
    LONG,
    Model,
    R,
    discover,
    forecast,
    learn,
    long,
    members,
    read,
    short,
    whole,
)

from rom.dynamics import OperatorInference
from rom.rollout.horizon import valid_time
from rom.rollout.lyapunov import lyapunov
from rom.rollout.statistics import compare_statistics

TOLERANCE = 0.4
DIFFERS = "**differs**"
N_RUNS, RUN, SPIN_UP = 20, 10_000, 1_000  # rows of the long runs
SEEDS = 20  # of 30 rollouts each


class Task(NamedTuple):
    """Training files, the file a forecast starts from, and the test file."""

    train: tuple[str, ...]
    start: str
    test: str
    score: Callable[[np.ndarray, np.ndarray], float]


FAMILY = ("X6train", "X7train", "X8train")
TASKS = {
    "E1": Task(("X1train",), "X1train", "X1test", short),
    "E2": Task(("X1train",), "X1train", "X1test", long),
    "E3": Task(("X2train",), "X2train", "X2test", whole),
    "E4": Task(("X2train",), "X2train", "X3test", long),
    "E5": Task(("X3train",), "X3train", "X4test", whole),
    "E6": Task(("X3train",), "X3train", "X5test", long),
    "E7": Task(("X4train",), "X4train", "X6test", short),
    "E8": Task(("X4train",), "X4train", "X6test", long),
    "E9": Task(("X5train",), "X5train", "X7test", short),
    "E10": Task(("X5train",), "X5train", "X7test", long),
    "E11": Task(FAMILY, "X9train", "X8test", short),
    "E12": Task(FAMILY, "X10train", "X9test", short),
}
# What the framework's own evaluator gives, E1 to E12.
PRINTED = {
    "zeros": "0.000000 -92.400000 0.000000 -93.466667 0.000000 -92.800000 0.000000 -92.800000 "
    "0.000000 -92.800000 0.000000 0.000000",
    "average": "58.332417 -91.200000 54.911065 -92.800000 56.422066 -89.466667 47.969479 "
    "-90.133333 43.356392 -90.266667 53.120576 63.656887",
    "last row": "62.244121 -92.800000 32.561586 -94.533333 43.103960 -94.266667 43.157855 "
    "-92.133333 -8.056985 -94.666667 42.334257 55.356266",
    "record": "65.328215 51.200000 96.230966 45.466667 93.014519 50.933333 29.566641 43.733333 "
    "38.162090 44.266667 36.432811 76.620950",
}
# What ctf_lorenz.py printed, with the mean of single rollouts for the long forecasts.
PRINTED_MODELS = {
    "E1": "100.000", "E2": "65.4", "E3": "99.427", "E4": "61.7", "E5": "98.960", "E6": "59.8",
    "E11": "99.999", "E12": "100.000",
}  # fmt: skip


def naive(folder: Path) -> dict[str, Callable[[Task], np.ndarray]]:
    """The forecasts that need no model."""

    def of(rows: Callable[[Task], np.ndarray]) -> Callable[[Task], np.ndarray]:
        return lambda task: np.resize(rows(task), read(folder, task.test).shape)

    def average(task: Task) -> np.ndarray:
        return np.concatenate([read(folder, name) for name in task.train]).mean(axis=0)

    def record(task: Task) -> np.ndarray:
        return read(folder, task.start)[-len(read(folder, task.test)) :]

    return {
        "zeros": of(lambda task: np.zeros(1)),
        "average": of(average),
        "last row": of(lambda task: read(folder, task.start)[-1]),
        "record": of(record),
    }


def print_protocol(folder: Path) -> None:
    print(f"| forecast | {' | '.join(TASKS)} | digits as the framework's |")
    print("|---" * (len(TASKS) + 2) + "|")
    for name, make in naive(folder).items():
        scores = [task.score(read(folder, task.test), make(task)) for task in TASKS.values()]
        same = sum(
            f"{score + 0.0:.6f}" == printed
            for score, printed in zip(scores, PRINTED[name].split(), strict=True)
        )
        cells = " | ".join(f"{score:.2f}" for score in scores)
        print(f"| {name} | {cells} | {same} of {len(TASKS)} |")


def identify(folder: Path) -> dict[str, Model]:
    """Models by the file that their forecasts start from."""
    models = {name: learn(read(folder, name)) for name in ("X1train", "X2train", "X3train")}
    coefs = np.array([discover(read(folder, name))[0] for name in FAMILY])
    varies = np.ptp(coefs, axis=0) > 1e-2 * np.abs(coefs).max(axis=0)
    for name in ("X9train", "X10train"):
        models[name] = learn(read(folder, name), coefs.mean(axis=0), varies)
    return models


def singles(model: Model, truth: np.ndarray) -> np.ndarray:
    """Scores of long rollouts from the uncertain end of a record."""
    return np.array(
        [
            long(truth, made)
            for seed in range(SEEDS)
            for made in members(model, len(truth), np.random.default_rng(seed))
        ]
    )


def print_models(folder: Path, models: dict[str, Model]) -> None:
    heads = ("task", "printed by ctf_lorenz.py", "reached", "90 % of single rollouts")
    print("\n| " + " | ".join(heads) + " | of the truth itself | |")
    print("|---|---|---|---|---|---|")
    clean = {"E2": "X1train", "E4": "X2test", "E6": "X4test"}
    for name, printed in PRINTED_MODELS.items():
        task = TASKS[name]
        model, truth = models[task.start], read(folder, task.test)
        if name not in clean:
            made = model.states if task.score is whole else run_on(model, len(truth))
            reached = f"{task.score(truth, made):.3f}"
            print(f"| {name} | {printed} | {reached} | | | {verdict(reached, printed)} |")
            continue
        scores, record = singles(model, truth), read(folder, clean[name])
        itself = [long(truth, record[i : i + LONG]) for i in range(0, len(record) - LONG, LONG)]
        low, high = np.quantile(scores, [0.05, 0.95])
        reached = f"{scores.mean():.1f}"
        print(
            f"| {name} | {printed} | {reached} | {low:.1f} to {high:.1f} | "
            f"{np.mean(itself):.1f} ± {np.std(itself):.1f} | {verdict(reached, printed)} |",
            flush=True,
        )


def verdict(reached: str, printed: str) -> str:
    return "as printed" if reached == printed else DIFFERS


def run_on(model: Model, n: int) -> np.ndarray:
    return forecast(model, model.states[-1], n)


def print_valid_times(folder: Path, models: dict[str, Model]) -> None:
    print("\n| forecast | r | λ₁ | valid time | in Lyapunov times |\n|---|---|---|---|---|")
    for name in ("E1", "E11", "E12"):
        model, truth = models[TASKS[name].start], read(folder, TASKS[name].test)
        made = run_on(model, len(truth))
        spread = np.sqrt(np.mean(np.sum((truth - truth.mean(axis=0)) ** 2, axis=1)))
        error = np.linalg.norm(made - truth, axis=1) / spread
        time, exceeded = valid_time(error, DT * np.arange(1, len(truth) + 1), TOLERANCE)
        rate = lyapunov(equations(model.coef), truth[0], DT * np.arange(40_000)).exponents[0]
        sign = "" if exceeded else "> "
        print(
            f"| {name} | {model.coef[R]:.3f} | {rate:.3f} | {sign}{time:.2f} | "
            f"{sign}{time * rate:.1f} |",
            flush=True,
        )


def equations(coef: np.ndarray) -> OperatorInference:
    c, A, H = np.split(coef, [1, 4], axis=1)
    return OperatorInference.from_operators(c[:, 0], A, H, bound=1e4)


def lorenz(r: float) -> np.ndarray:
    """Lorenz's coefficients of 1, x, y, z, x², xy, xz, y², yz, z²."""
    coef = np.zeros((3, 10))
    coef[0, [1, 2]] = -10, 10
    coef[1, [1, 2, 6]] = r, -1, -1
    coef[2, [3, 5]] = -8 / 3, 1
    return coef


def print_statistics(truth: np.ndarray, name: str, coef: np.ndarray) -> None:
    lower = coef.copy()
    lower[R] *= 0.9
    rng = np.random.default_rng(0)
    starts = truth[np.linspace(0, len(truth) - 1, N_RUNS).astype(int)]
    rows: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        name: lambda z0: long_run(coef, z0),
        "r a tenth lower": lambda z0: long_run(lower, z0),
        "record in random order": lambda _: rng.permutation(truth),
    }
    for i, (label, make) in enumerate(rows.items()):
        found = [compare_statistics([make(z0)], [truth], DT) for z0 in starts]
        if i == 0:
            names = " | ".join(found[0].names)
            print(
                f"\n| {N_RUNS} runs | {names} | all |\n" + "|---" * (len(found[0].names) + 2) + "|"
            )
        distance = np.median([each.distance for each in found], axis=0)
        kept = np.array([each.kept for each in found])
        cells = " | ".join(
            f"{d:.3f} ({error:.3f}) {n}"
            for d, error, n in zip(distance, found[0].sampling_error, kept.sum(axis=0), strict=True)
        )
        print(f"| {label} | {cells} | {kept.all(axis=1).sum()} |", flush=True)


def long_run(coef: np.ndarray, z0: np.ndarray) -> np.ndarray:
    """Rows on the attractor, after those that still know the start."""
    model = Model(coef, z0[None], np.zeros((3, 3)))
    return forecast(model, z0, SPIN_UP + RUN)[SPIN_UP:]


def run(small: bool, data: Path | None) -> None:
    """Print the tables."""
    if data is None:
        print("Needs the framework's data: --data DIR.")
        return
    folder = data / "ctf_lorenz" if (data / "ctf_lorenz").is_dir() else data
    print_protocol(folder)
    truth = read(folder, "X1train")
    if small:
        print_statistics(truth, "Lorenz's equations, r = 28.7", lorenz(28.7))
        return
    models = identify(folder)
    print_models(folder, models)
    print_valid_times(folder, models)
    print_statistics(truth, "identified", models["X1train"].coef)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    run(options.small, options.data)


if __name__ == "__main__":
    main()
