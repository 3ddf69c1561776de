"""Does a check tell good models from bad ones? 100 models that are one or the other by making.

Of each of five systems ten good models, fitted to runs from ten different starts (of the cylinder
wake, of which there is one run: to its part from a time drawn at random up to 120), and ten bad
ones made of the first ten in four ways:

- wrong term: one term of the equations that carries at least three tenths of a derivative, drawn
  at random, has its sign turned;
- wrong damping: the symmetric part of the linear terms, growth and damping, has its sign turned;
- truncated: fitted to too few modes for the attractor, or for nine tenths of the energy;
- noise-fitted: fitted to snapshots with noise as large as they are, with cubic terms and nothing
  to keep coefficients small.

Every model is checked against a record that it was not fitted to, all with the same settings:
``rom.check(model, record, thorough=True, n_starts=40, horizon=...)``. It counts as called good if
``report.trusted``: stable, valid in 90 % of the starts for longer than the simple forecasts, as a
whole and in every latent coordinate at the scale of its own variability, and, if not chaotic, for
as long as errors of the start alone would let it, no long-run statistics lost, and no equation that
along the truth is surely worse than none. What a model was is known only to the table. Of every bad
model called good the last lines say how it compares with the good one that it was made of.

`--first 1001` makes 100 other models, which led to none of the verdict's rules.

    python benchmarks/trust_discrimination.py [--small] [--system NAME ...] [--first SEED]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import rom

Array = NDArray[np.float64]
N_MODELS = 10
# Of sparse regression, relative to each equation's own terms: far below all true ones.
GOOD_THRESHOLD = 1e-3
NAMES = ("Lorenz 63", "Lorenz 96", "cylinder wake", "Burgers", "Kuramoto-Sivashinsky")
SMALL = ("Lorenz 63", "Burgers")
HOW = ("wrong term", "wrong damping", "truncated", "noise-fitted")


class System(NamedTuple):
    """What a system's models are fitted to and checked against."""

    name: str
    train: Callable[[int], xr.DataArray]
    """Training snapshots from the i-th start."""
    record: Callable[[], xr.DataArray]
    """Snapshots that no model was fitted to."""
    rank: int | None
    """Modes of a good model; None for the state itself."""
    truncated: int
    """Modes that are too few."""
    degree: int
    horizon: float


def chaos(
    name: str, model: Any, dt: float, span: float, truncated: int, horizon: float, first: int
) -> System:
    def run(seed: int, length: float) -> xr.DataArray:
        rng = np.random.default_rng(seed)
        start = model.initial_state()
        start = start + rng.normal(size=start.shape)
        settled = model.simulate(start, [0.0, 20.0])[-1]
        return model.simulate(settled.values, np.arange(0, length, dt))

    return System(
        name,
        lambda i: run(first + i, span),
        lambda: run(0, 8 * span),
        None,
        truncated,
        2,
        horizon,
    )


def wake(first: int) -> System:
    field = rom.datasets.load("cylinder_wake")["vorticity"]

    def window(i: int) -> xr.DataArray:
        """The growth of the vortex street, from a time drawn at random, and the street itself."""
        start = np.random.default_rng(first + i).uniform(0, 30)
        return field.sel(time=slice(start, 120.0))

    return System(
        "cylinder wake",
        window,
        lambda: field.sel(time=slice(120.1, None)),  # no snapshot of the training
        3,
        1,
        3,
        20.0,
    )


def burgers(first: int) -> System:
    model = rom.fom.Burgers(viscosity=0.05, n=64, dt=0.005)
    x = 2 * np.pi * model.initial_state().x

    def runs(seed: int, n: int) -> xr.DataArray:
        rng = np.random.default_rng(seed)
        t, found = np.linspace(0, 1, 101), []
        for i in range(n):
            a, b = rng.uniform(-0.5, 0.5, size=2)
            state = model.simulate(np.sin(x) + a * np.cos(x) + b * np.sin(2 * x), t)
            found.append(state.assign_coords(trajectory=("time", np.full(len(t), i))))
        return xr.concat(found, "time")

    return System("Burgers", lambda i: runs(first + i, 20), lambda: runs(0, 40), 8, 1, 2, 1.0)


def fronts(first: int) -> System:
    model = rom.fom.KuramotoSivashinsky()

    def run(seed: int, length: float) -> xr.DataArray:
        settled = model.simulate(model.initial_state(seed), [0.0, 200.0])[-1]
        return model.simulate(settled.values, np.arange(0, length, 0.1))

    # 16 modes hold all but 0.003 % of the energy.
    return System(
        "Kuramoto-Sivashinsky",
        lambda i: run(first + i, 1000.0),
        lambda: run(0, 2000.0),
        16,
        6,
        2,
        50.0,
    )


def systems(first: int) -> Iterator[System]:
    """With training runs from starts drawn by seeds from `first` on.

    Seed 0 draws the record; the wake's is the rest of its run.
    """
    yield chaos("Lorenz 63", rom.fom.Lorenz63(), 0.01, 50.0, 2, 5.0, first)
    yield chaos("Lorenz 96", rom.fom.Lorenz96(n=8), 0.01, 50.0, 6, 4.0, first)
    yield wake(first)
    yield burgers(first)
    yield fronts(first)


def fit(X: xr.DataArray, *, rank: int | None, degree: int, threshold: float) -> rom.ROM:
    dynamics = rom.SINDy(
        rom.PolynomialLibrary(degree), threshold=threshold, relative_threshold=True
    )
    compressor = rom.Identity() if rank is None else rom.POD(rank)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the bad models are warned of, too
        return rom.ROM(compressor, dynamics).fit(X)


def good(system: System, i: int) -> rom.ROM:
    return fit(system.train(i), rank=system.rank, degree=system.degree, threshold=GOOD_THRESHOLD)


def bad(system: System, i: int, how: str, seed: int) -> rom.ROM:
    rng, X = np.random.default_rng(seed + i), system.train(i)
    if how == "truncated":
        return fit(X, rank=system.truncated, degree=system.degree, threshold=GOOD_THRESHOLD)
    if how == "noise-fitted":
        noisy = X + float(X.std()) * rng.normal(size=X.shape)
        return fit(noisy, rank=system.rank, degree=3, threshold=0.0)
    model = good(system, i)
    coef, exponents = model.dynamics_.coef_, model.dynamics_.polynomial().exponents
    linear = np.flatnonzero(exponents.sum(axis=1) == 1)
    order = linear[np.argsort(exponents[linear].argmax(axis=1))]
    if how == "wrong damping":
        A = coef[:, order]
        coef[:, order] = -A.T  # the part of rotation stays
        return model
    terms = np.prod(model.latent_[:, None] ** exponents, axis=2)
    slope = model.dynamics_.predict(model.latent_)
    share = np.abs(coef) * np.sqrt(np.mean(terms**2, axis=0)) / slope.std(axis=0)[:, None]
    heavy = np.argwhere(share >= 0.3)
    row, column = heavy[rng.integers(len(heavy))]
    coef[row, column] *= -1
    return model


def beside(report: rom.rollout.StabilityReport, sound: rom.rollout.StabilityReport) -> str:
    """How a bad model compares with the good one that it was made of."""
    figures = []
    for each in (report, sound):
        d = each.data
        chance = float((d["distance"] / d["sampling_error"]).max())
        shortest = float(d["coordinate_reliable_time"].min())
        figures.append(
            f"reliable to {each.reliable_time:.3g}, every coordinate by itself to {shortest:.3g} "
            f"or longer, distances of statistics up to {chance:.2g} times what comes by chance"
        )
    return "; the good one ".join(figures)


def run(
    small: bool, data: Path | None = None, names: Sequence[str] = NAMES, first: int = 1
) -> None:
    n = 4 if small else N_MODELS
    called = {label: [0, 0] for label in ("good", *HOW)}
    missed = []
    print("| system | model | called | reliable to | statistics kept | verdict | s |")
    print("|---|---|---|---|---|---|---|")
    for system in systems(first):
        if system.name not in (SMALL if small else names):
            continue
        record, sound = system.record(), {}
        for label, i in [("good", i) for i in range(n)] + [(HOW[i % 4], i) for i in range(n)]:
            model = good(system, i) if label == "good" else bad(system, i, label, 999 + first)
            begin = perf_counter()
            report = rom.check(model, record, thorough=True, n_starts=40, horizon=system.horizon)
            seconds = perf_counter() - begin
            called[label][int(report.trusted)] += 1
            if label == "good":
                sound[i] = report
            elif report.trusted:
                missed.append(f"- {system.name}, {label} {i}: {beside(report, sound[i])}")
            word = "good" if report.trusted else "bad"
            wrong = " **wrong**" if (word == "good") != (label == "good") else ""
            print(
                f"| {system.name} | {label} {i} | {word}{wrong} | {report.reliable_time:.3g} | "
                f"{report.statistics_kept} | {report.verdict} | {seconds:.1f} |",
                flush=True,
            )
    print("\n| by making | called bad | called good |\n|---|---|---|")
    for label, (no, yes) in called.items():
        print(f"| {label} | {no} | {yes} |")
    total = sum(no + yes for no, yes in called.values())
    right = called["good"][1] + sum(called[how][0] for how in HOW)
    print("\n".join(["", "Bad models called good:", *(missed or ["- none"])]))
    print(f"\nAsked: the verdict separates all. Reached: {right} of {total} called right.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--system", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--first", type=int, default=1, help="seed of the first training run")
    arguments = parser.parse_args()
    run(arguments.small, names=arguments.system, first=arguments.first)
