"""Does the best learning rate move with the width? `python benchmarks/neural_width.py [--small]`.

The task is the toolkit's own: Kuramoto–Sivashinsky on length 22, POD to eight coordinates, and a
network with two hidden layers as their right-hand side, trained through Runge–Kutta steps on short
windows (multiple shooting). A fixed number of steps on seeded batches, at rates that fall linearly
to zero, for every rate of a grid of factors of 2, every width and every seed. Standard: weights of
variance 1 / fan-in, biases of zero at the start, one rate for all parameters. Ours: what
`rom.dynamics.networks.initial` gives.

The best rate has the least loss on the training windows, median over the seeds; held-out windows,
from later times, only score. Losses are mean squares over that of persistence. "At the rate of
width 32" is the training loss at the rate that was best there. A second table is the coordinate
check: by what power of the width the change of each layer's output grows, over a few steps.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn

import rom
from rom.data.trajectory import windows
from rom.dynamics.networks import Initial, effective, initial
from rom.dynamics.shooting import run_loss, shoot
from rom.theory import coordinate_check, width_exponent

RANK, DEPTH, STEP, WINDOW, BATCH = 8, 2, 0.5, 2, 16
METHODS = {"Adam": [2.0**k for k in range(-9, -2)], "SGD": [2.0**k for k in range(-4, 3)]}
# Of a batch that is scored at once.
SCORED = 100


class Task(NamedTuple):
    """Windows (n_windows, length + 1, rank) of standardised states, to train on and to score."""

    train: Tensor
    held_out: Tensor
    gain: float  # standardised states per unit of time and of the network's output
    persistence: float  # mean square error of it on the training windows


class Trained(NamedTuple):
    """Losses (n_rates, n_seeds) at the end."""

    train: np.ndarray
    held_out: np.ndarray


def identify(n_time: int) -> Task:
    """The identification task, from a run of `n_time` samples of the full model."""
    model = rom.fom.KuramotoSivashinsky()
    t = STEP * np.arange(n_time + 400)
    Z = rom.POD(RANK).fit_transform(model.simulate(model.initial_state(), t).to_numpy()[400:])
    Z /= Z.std(axis=0).max()
    gain = float(np.sqrt((np.gradient(Z, STEP, axis=0) ** 2).mean()))
    cut = int(0.8 * n_time)
    train, held_out = (
        torch.tensor(Z[windows([piece], WINDOW + 1)])
        for piece in (slice(0, cut), slice(cut, n_time))
    )
    return Task(train, held_out, gain, float(((train[:, 1:] - train[:, :1]) ** 2).mean()))


def standard(sizes: Sequence[int], rng: np.random.Generator, *, sgd: bool) -> Initial:
    """The usual start, the same for both methods: one rate for all."""
    layers = [
        (rng.normal(scale=n_in**-0.5, size=(n_in, n_out)), np.zeros(n_out))
        for n_in, n_out in pairwise(sizes)
    ]
    parameters = [value for layer in layers for value in layer]
    return Initial(parameters, [1.0] * len(parameters), [1.0] * len(parameters))


STARTS: dict[str, Callable[..., Initial]] = {"standard": standard, "ours": initial}


def start(kind: str, width: int, seed: int, method: str) -> Initial:
    sizes = [RANK, *[width] * DEPTH, RANK]
    return STARTS[kind](sizes, np.random.default_rng(seed), sgd=method == "SGD")


# -- the table of rates ----------------------------------------------------------------------


def losses(layers: list[Tensor], batch: Tensor, task: Task) -> Tensor:
    """Loss (n_lanes,) of networks side by side, each on its windows (n_lanes, n_windows, …)."""
    lanes, n_windows = batch.shape[:2]
    flat = batch.reshape(lanes * n_windows, WINDOW + 1, RANK)

    def field(z: Tensor, u: Tensor) -> Tensor:
        x = z.reshape(lanes, n_windows, RANK)
        for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            x = torch.tanh(torch.baddbmm(bias, x, weight))
        return task.gain * torch.baddbmm(layers[-1], x, layers[-2]).reshape(-1, RANK)

    u, h = torch.zeros(len(flat), WINDOW + 1, 0), torch.full((len(flat), WINDOW), STEP)
    error = (shoot(field, flat[:, 0], u, h, 1) - flat[:, 1:]) ** 2
    return error.reshape(lanes, -1).mean(dim=1) / task.persistence


def train(task: Task, kind: str, method: str, width: int, n_seeds: int, n_steps: int) -> Trained:
    """Train one network for each rate and seed, all at once.

    A parameter is its start plus its rate times what the optimiser moves at a rate of one; for
    descent, whose gradients are multiplied too, times the root of the rate.
    """
    rates = METHODS[method]
    starts = [start(kind, width, seed, method) for _ in rates for seed in range(n_seeds)]
    common = torch.tensor(np.repeat(rates, n_seeds))[:, None, None]
    fixed = [
        torch.tensor(np.stack(values)).reshape(len(starts), -1, values[0].shape[-1])
        for values in zip(*(one.parameters for one in starts), strict=True)
    ]
    steps = [common * by for by in starts[0].rates]
    if method == "SGD":
        steps = [step.sqrt() for step in steps]
    moving = [torch.zeros_like(values, requires_grad=True) for values in fixed]

    def layers() -> list[Tensor]:
        moved = [a + by * b for a, by, b in zip(fixed, steps, moving, strict=True)]
        return effective(moved, starts[0].multipliers)

    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(moving, 1.0)
        if method == "SGD"
        else torch.optim.Adam(moving, 1.0, eps=1e-30)
    )
    fall = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: 1 - k / n_steps)
    draws = [np.random.default_rng([seed, 1]) for seed in range(n_seeds)]
    for _ in range(n_steps):
        rows = np.stack([draw.integers(len(task.train), size=BATCH) for draw in draws])
        optimiser.zero_grad()
        losses(layers(), task.train[np.tile(rows, (len(rates), 1))], task).sum().backward()
        optimiser.step()
        fall.step()
    return Trained(*(score(layers(), data, task, n_seeds) for data in (task.train, task.held_out)))


def score(layers: list[Tensor], data: Tensor, task: Task, n_seeds: int) -> np.ndarray:
    """Loss (n_rates, n_seeds) on all the windows; infinite where training blew up."""
    lanes = len(layers[0])
    with torch.no_grad():
        parts = [
            len(part) * losses(layers, part.expand(lanes, *part.shape), task)
            for part in data.split(SCORED)
        ]
    values = (sum(parts) / len(data)).numpy().reshape(-1, n_seeds)
    return np.where(np.isfinite(values), values, np.inf)


def table(task: Task, widths: Sequence[int], n_seeds: int, n_steps: int) -> None:
    print(
        f"Best rates of {n_steps} steps, {n_seeds} seeds: median (least, largest).\n\n"
        "| method | parametrisation | width | best rate | training loss | held-out loss "
        f"| at the rate of width {widths[0]} |\n|---|---|---|---|---|---|---|"
    )
    cells = [(method, kind, width) for method in METHODS for kind in STARTS for width in widths]
    trained = Parallel(n_jobs=-1)(
        delayed(train)(task, kind, method, width, n_seeds, n_steps)
        for method, kind, width in cells[::-1]  # the widest, which take longest, first
    )
    found = dict(zip(cells[::-1], trained, strict=True))
    moves = {}
    for method, rates in METHODS.items():
        for kind in STARTS:
            best = []
            for width in widths:
                cell = found[method, kind, width]
                medians = np.median(cell.train, axis=1)
                best.append(int(medians.argmin()))
                print(
                    f"| {method} | {kind} | {width} | {show(rates[best[-1]])} "
                    f"| {spread(cell.train[best[-1]])} | {spread(cell.held_out[best[-1]])} "
                    f"| {medians[best[0]]:.2g} |"
                )
            moves[method, kind] = 2 ** (max(best) - min(best))
    print("\nAsked: the best rate moves by at most 2 ×, and wider is never worse. Moves:")
    print(", ".join(f"{method} {kind} {move} ×" for (method, kind), move in moves.items()) + ".\n")


def show(rate: float) -> str:
    return f"2^{round(math.log2(rate))}"


def spread(values: np.ndarray) -> str:
    return f"{np.median(values):.2e} ({values.min():.2e}, {values.max():.2e})"


# -- the coordinate check --------------------------------------------------------------------


class Affine(nn.Module):
    """One layer, its weights being multiples of its parameters."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, multiplier: float) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.tensor(weight)),
            nn.Parameter(torch.tensor(bias)),
        )
        self.multiplier = multiplier

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives for rows `x`."""
        return torch.addmm(self.bias, x, self.multiplier * self.weight)


def build(
    task: Task, kind: str, method: str, rate: float
) -> Callable[..., tuple[nn.Module, Callable]]:
    """Networks of any width, and what trains them by a step on the first windows."""
    z = task.train[: 4 * BATCH]
    u, h = torch.zeros(len(z), WINDOW + 1, 0), torch.full((len(z), WINDOW), STEP)

    def make(width: int, seed: int) -> tuple[nn.Module, Callable[[], None]]:
        first = start(kind, width, seed, method)
        layers: list[nn.Module] = []
        for k in range(0, len(first.parameters), 2):
            layers += [Affine(*first.parameters[k : k + 2], first.multipliers[k]), nn.Tanh()]
        net = nn.Sequential(*layers[:-1])
        groups = [
            {"params": [value], "lr": rate * by}
            for value, by in zip(net.parameters(), first.rates, strict=True)
        ]
        optimiser = torch.optim.SGD(groups) if method == "SGD" else torch.optim.Adam(groups)
        loss = run_loss(np.full(RANK, task.gain), 1, model=lambda _, x: net(x))

        def step() -> None:
            optimiser.zero_grad()
            (loss([], z, u, h) / task.persistence).backward()
            optimiser.step()

        return net, step

    return make


def coordinates(task: Task, widths: Sequence[int], n_seeds: int, n_steps: int = 5) -> None:
    print(
        f"Powers of the width: change of the layers' output over {n_steps} steps, spread of the "
        "initial output, distance from the wide limit at the end.\n\n"
        "| method | parametrisation | 1st layer | 2nd layer | output | spread | distance |\n"
        "|---|---|---|---|---|---|---|"
    )
    for method, rate in (("Adam", 2.0**-9), ("SGD", 2.0**-4)):
        for kind in STARTS:
            found = coordinate_check(
                build(task, kind, method, rate), widths, task.train[:BATCH, 0],
                n_steps=n_steps, n_seeds=n_seeds,
            )  # fmt: skip
            change = width_exponent(found.change.isel(step=-1)).sel(layer=["0", "2", "4"])
            rest = [found.spread.isel(step=0), found.distance.isel(step=-1)]
            powers = [*change.to_numpy(), *(float(width_exponent(values)) for values in rest)]
            print(f"| {method} | {kind} | " + " | ".join(f"{p:+.2f}" for p in powers) + " |")


# -- the run ---------------------------------------------------------------------------------


def run(small: bool, data: Path | None) -> None:
    """Print both tables; the data are made here."""
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        task = identify(500 if small else 4000)
        widths = (8, 16, 32) if small else (32, 128, 512)
        table(task, widths, n_seeds=1 if small else 3, n_steps=20 if small else 400)
        coordinates(task, widths, n_seeds=2 if small else 5)
    finally:
        torch.set_default_dtype(kind)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="end in seconds")
    run(parser.parse_args().small, None)
