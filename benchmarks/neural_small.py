"""Networks of few weights beside the network of width 256: `python benchmarks/neural_small.py`.

Two pendula in a row, tied to each other and to walls by springs, weakly damped: four coordinates,
40 runs of 41 times for training, 20 others, from starts of the same kind, for the score. Training
looks at nothing of those. All models have the defaults of their class, but for the widths, and all
may take equally many iterations. Nothing is chosen by hand: the ranks and the growth of the weights
follow from the training data.

weights    numbers in the fitted model, biases included, over those of the network of width 256
error      root mean square error of the rollouts of the 20 runs, over that of their mean
more       error beyond that of the network of width 256, in percent; below 0 is better
seconds    of processor time

A narrow network with all its weights, as many as the low-rank one has, stands beside them: where it
does as well, width 256 was not needed in the first place. The medians are over the seeds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy.integrate import solve_ivp
from sklearn.base import clone

import rom
from rom.base import Dynamics
from rom.dynamics.low_rank import LowRankODE
from rom.dynamics.neural_ode import NeuralODE
from rom.dynamics.sparse_ode import SparseODE

N_TRAIN, N_TEST, T = 40, 20, np.linspace(0, 6, 41)


def pendula(_: float, z: np.ndarray) -> np.ndarray:
    q, p = z[:2], z[2:]
    return np.r_[p, -np.sin(q) + 0.5 * (q[::-1] - 2 * q) - 0.05 * p]


def runs(n: int, seed: int) -> np.ndarray:
    """Runs (n, n_time, 4) from random starts."""
    starts = np.random.default_rng(seed).uniform(-1, 1, size=(n, 4))
    return np.array(
        [solve_ivp(pendula, (0, 6), z0, t_eval=T, rtol=1e-9, atol=1e-10).y.T for z0 in starts]
    )


def error(model: Dynamics, truth: np.ndarray) -> float:
    reached = [rom.rollout(model, run[0], T, throw=False).z for run in truth]
    if not np.isfinite(reached).all():
        return np.inf
    return float(np.linalg.norm(reached - truth) / np.linalg.norm(truth - truth.mean(axis=(0, 1))))


def n_weights(model: Dynamics) -> int:
    if isinstance(model, NeuralODE):
        return sum(value.size for value in [*model.weights_, *model.biases_])
    return int(model.n_weights_)


def models(width: int, options: dict[str, int]) -> dict[str, Dynamics]:
    wide, narrow = (width,) * 3, (round(width / 256 * 60),) * 3
    return {
        f"NeuralODE, width {width}": NeuralODE(wide, **options),
        f"NeuralODE, width {narrow[0]}": NeuralODE(narrow, **options),
        "LowRankODE": LowRankODE(wide, **options),
        "LowRankODE, condition 1e-4": LowRankODE(wide, condition=1e-4, **options),
        "SparseODE": SparseODE(wide, **options),
    }


def run(small: bool = False, data: Path | None = None) -> None:
    """Print the table."""
    width, n_train, seeds, n_iter = (32, 4, 1, 3) if small else (256, N_TRAIN, 3, 400)
    train, test = runs(n_train, 0), runs(4 if small else N_TEST, 1)
    rows = {
        "t": np.tile(T, n_train),
        "trajectory": np.repeat(np.arange(n_train), len(T)),
    }
    print("| model | weights | fewer | error, median (least to most) | more | seconds |")
    print("|---|---|---|---|---|---|")

    def trial(model: Dynamics, seed: int) -> tuple[float, float, float]:
        start = time.process_time()
        fitted = clone(model).set_params(random_state=seed).fit(train.reshape(-1, 4), **rows)
        return error(fitted, test), n_weights(fitted), time.process_time() - start

    candidates = models(width, {"max_iter": n_iter})
    trials = Parallel(n_jobs=-1)(
        delayed(trial)(model, seed) for model in candidates.values() for seed in range(seeds)
    )
    whole, plain = 0.0, 0.0
    for k, name in enumerate(candidates):
        errors, counts, seconds = zip(*trials[k * seeds : (k + 1) * seeds], strict=True)
        median, count = float(np.median(errors)), float(np.median(counts))
        whole, plain = whole or count, plain or median
        print(
            f"| {name} | {count:.0f} | {100 * (1 - count / whole):.1f} % | {median:.4f} "
            f"({min(errors):.4f} to {max(errors):.4f}) | {100 * (median / plain - 1):+.1f} % | "
            f"{np.median(seconds):.0f} |",
            flush=True,
        )
    print("\nAsked: at least 94 % fewer weights, at most 5 % more error.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--small", action="store_true", help="a few iterations, to see that it runs"
    )
    run(parser.parse_args().small)
