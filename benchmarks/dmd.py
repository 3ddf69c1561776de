"""Linear models beside PyDMD: `python benchmarks/dmd.py [--small] [--repeats N]`.

Needs `pip install pydmd`. Snapshots of `--cells` cells at 1000 times are sums of damped waves in
space with white noise, whose singular values are `--noise` of the smallest of the waves: small
enough for the eigenvalues that both find to be comparable. Both are given the rank of the waves and
the whole matrix, and the whole chain counts: for rom.ROM's parts, POD without centring and the
linear model of the latent coordinates; for PyDMD its `fit`. Exact: DMD and `DMD(exact)`. Optimised:
OptimisedDMD and `BOPDMD`. Bagged: 10 bags of 60 % of the rows each. Times are the least of the
repeats, wall and CPU, in one process, the contenders taking turns. "apart" is the largest distance
between the eigenvalues of the two, as multipliers over a step, "off" that from those put in.

`--rates` instead fits noisy records of a few coordinates, where starts matter: how often the rates
are found to within 0.1, of 20 systems each. A fit of PyDMD that raises counts as a miss.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

import rom
from rom.dynamics.optimised_dmd import OptimisedDMD

STEP = 0.05


def waves(n_space: int, n_time: int, rank: int, noise: float) -> tuple[Any, ...]:
    """Snapshots (n_time, n_space), times, and the rates put in."""
    rng = np.random.default_rng(0)
    t = STEP * np.arange(n_time)
    upper = -rng.uniform(0.0, 0.05, rank // 2) + 1j * np.linspace(0.5, 12, rank // 2)
    shape = (rank // 2, n_space)
    modes = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    basis = np.exp(np.outer(t, upper))
    left = np.concatenate([basis.real, -basis.imag], axis=1)
    right = np.concatenate([modes.real, modes.imag])
    triangles = np.linalg.qr(left, mode="r") @ np.linalg.qr(right.T, mode="r").T
    smallest = np.linalg.svd(triangles, compute_uv=False)[-1]
    rows = rng.normal(size=(n_time, n_space))
    rows *= noise * smallest / (np.sqrt(n_space) + np.sqrt(n_time))
    rows += left @ right
    return rows, t, np.concatenate([upper, upper.conj()])


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest distance between eigenvalues matched to each other."""
    distance = np.abs(found[:, None] - expected)
    return float(distance[linear_sum_assignment(distance)].max())


def of_rom(dynamics: Callable[[], Any], rank: int) -> Callable[..., np.ndarray]:
    def fit(X: np.ndarray, t: np.ndarray) -> np.ndarray:
        Z = rom.POD(rank, center=False).fit_transform(X)
        return np.asarray(dynamics().fit(Z, t=t).rates_ * STEP)

    return fit


def of_pydmd(name: str, rank: int, **options: Any) -> Callable[..., np.ndarray]:
    def fit(X: np.ndarray, t: np.ndarray) -> np.ndarray:
        import pydmd

        model = getattr(pydmd, name)(svd_rank=rank, **options)
        if name == "DMD":
            return np.asarray(np.log(model.fit(X.T).eigs))
        return np.asarray(model.fit(X.T, t).eigs * STEP)

    return fit


def contenders(rank: int) -> dict[str, tuple[Callable[..., Any], Callable[..., Any]]]:
    bagged = OptimisedDMD(n_bags=10, random_state=0)
    return {
        "exact": (of_rom(rom.DMD, rank), of_pydmd("DMD", rank, exact=True)),
        "optimised": (of_rom(OptimisedDMD, rank), of_pydmd("BOPDMD", rank)),
        "bagged 10": (
            of_rom(lambda: bagged, rank),
            of_pydmd("BOPDMD", rank, num_trials=10, trial_size=0.6),
        ),
    }


def timed(fit: Callable[..., Any], *data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wall and CPU time, and what was found."""
    start = time.perf_counter(), time.process_time()
    found = fit(*data)
    return np.subtract((time.perf_counter(), time.process_time()), start), found


def speed(
    n_space: int, n_time: int, rank: int, noise: float, repeats: int, cases: list[str]
) -> None:
    X, t, rates = waves(n_space, n_time, rank, noise)
    truth = np.exp(rates * STEP)
    print(f"\n## {n_space:,} x {n_time}, rank {rank}, noise {noise:g}\n")
    print(
        "| case | PyDMD wall [s] | rom wall [s] | times faster | PyDMD CPU [s] | rom CPU [s] "
        "| times | apart | rom off | PyDMD off |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for case in cases:
        taken, eigenvalues = [], [truth, truth]
        for _ in range(repeats):
            runs = [timed(fit, X, t) for fit in contenders(rank)[case]]
            taken.append([seconds for seconds, _ in runs])
            eigenvalues = [np.exp(found) for _, found in runs]
        (wall, cpu), (wall_peer, cpu_peer) = np.min(taken, axis=0)
        found, peer = eigenvalues
        print(
            f"| {case} | {wall_peer:.2f} | {wall:.2f} | {wall_peer / wall:.1f} | {cpu_peer:.2f} "
            f"| {cpu:.2f} | {cpu_peer / cpu:.1f} | {apart(found, peer):.0e} "
            f"| {apart(found, truth):.0e} | {apart(peer, truth):.0e} |",
            flush=True,
        )


def noisy(rank: int, n_time: int, noise: float, seed: int) -> tuple[Any, ...]:
    """A short uneven record (n_time, rank) of `rank` waves, its times and rates."""
    rng = np.random.default_rng(seed)
    upper = -rng.uniform(0, 0.15, rank // 2) + 1j * rng.uniform(0.5, 6, rank // 2)
    t = np.sort(rng.uniform(0, 20, n_time))
    modes = rng.normal(size=(rank // 2, rank)) + 1j * rng.normal(size=(rank // 2, rank))
    Z = (np.exp(np.outer(t, upper)) @ modes).real
    Z += noise * Z.std() * rng.normal(size=Z.shape)
    return Z, t, np.concatenate([upper, upper.conj()])


def robustness(n_systems: int) -> None:
    print(f"\n## Rates found to within 0.1, of {n_systems} noisy uneven records\n")
    print("| rank | rows | noise | rom | PyDMD | median error of rom | of PyDMD |")
    print("|---|---|---|---|---|---|---|")
    for rank, n_time, noise in ((4, 200, 0.1), (10, 400, 0.01), (10, 400, 0.1)):
        errors: dict[str, list[float]] = {"rom": [], "peer": []}
        for seed in range(n_systems):
            Z, t, rates = noisy(rank, n_time, noise, seed)
            errors["rom"].append(apart(OptimisedDMD().fit(Z, t=t).rates_, rates))
            try:
                peer = apart(of_pydmd("BOPDMD", rank)(Z, t) / STEP, rates)
            except np.linalg.LinAlgError:  # overflow in its first guess
                peer = np.inf
            errors["peer"].append(peer)
        hits = [sum(e < 0.1 for e in errors[who]) for who in ("rom", "peer")]
        medians = [np.median(errors[who]) for who in ("rom", "peer")]
        print(
            f"| {rank} | {n_time} | {noise:.0%} | {hits[0]} | {hits[1]} | {medians[0]:.1e} "
            f"| {medians[1]:.1e} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="4,000 x 300 cells, rank 10")
    parser.add_argument("--cells", type=int, default=65_160)
    parser.add_argument("--rank", type=int, default=20)
    parser.add_argument("--noise", type=float, default=1e-4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--cases", nargs="*", default=list(contenders(2)))
    parser.add_argument("--rates", action="store_true", help="count the rates found in noise")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # PyDMD warns of what it is given
    size = (4000, 300, 10) if options.small else (options.cells, 1000, options.rank)
    for fit in [pair for both in contenders(4).values() for pair in both]:
        fit(*waves(50, 60, 4, options.noise)[:2])  # loads the libraries
    if options.rates:
        robustness(5 if options.small else 20)
    else:
        speed(*size, options.noise, options.repeats, options.cases)


if __name__ == "__main__":
    main()
