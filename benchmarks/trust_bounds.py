"""Certified bounds on the error of 500 held-out rollouts: `python benchmarks/trust_bounds.py`.

A reduced model is fitted on some runs of a full one, and rolled out from starts of others. The
bound knows the full equation, the reduced model and the start, and no truth. Counted are rollouts
whose error exceeds the bound at any output time; the effectivity is the bound over the error, its
median over rollouts and times after the start; "useful" is the median time up to which the bound
is within a tenth of the root mean square distance of the truth from the training mean.

- Linear diffusion: `rom.fom.Heat`, random sums of twelve sine waves, solved exactly in time.
  Driven: of four, and both ends at an input.
- Burgers: `rom.fom.Burgers`, random sums of six waves. The bound is on the distance from the exact
  solution of the equation discrete in space; the simulation's own error in time is printed, from
  half its step. Driven: with a force on the first two sines; and the same estimated, as for a
  record whose equation is not known, from the steps between training states.
- Inputs are sums of three tones, whose amplitudes and phases (but for the ends, which start at
  zero) are drawn anew for each run, linear between the output times. Both models take them.
- Cylinder wake: a direct simulation, `rom.fom.CylinderWake` at Re 100, as velocities. Its matrices
  are too large to be decomposed. Certified is the error against its Galerkin system, the
  projection on many modes of the first part of the run. In a last row stands the error against the
  direct simulation itself: there the modes left out, and what they do to the others, are as large
  as they are at most in training, or at the start, so that this bound is an estimate. The starts
  of both rows lie close together, along a few periods of one settled cycle.

`--small` takes a few rollouts of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import xarray as xr

import rom
from rom.base import Dynamics, FullModel
from rom.fom.tendency import tendency_of
from rom.rollout.bounds import certified_bound
from rom.rollout.certificate import Certificate, certificate, certify
from rom.rollout.error_estimate import error_bound, step_error
from rom.rollout.horizon import holding_time

TOLERANCE = 0.1
N_MODES, RANK = 24, 12


class Result(NamedTuple):
    """Of one rollout: its bound and error by time, and the size of the truth's anomaly."""

    bound: np.ndarray
    error: np.ndarray
    size: float


def waves(rng: np.random.Generator, n: int, k: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Random sums of sine waves whose amplitudes fall as 1 / k²."""
    return (rng.normal(size=(n, len(k))) / k**2) @ np.sin(np.outer(k, points))


def tones(rng: np.random.Generator, n: int, t: np.ndarray, rates: list[float]) -> np.ndarray:
    """Random sums (n, n_time, 2) of tones: the first column starts at zero."""
    size = rng.normal(size=(n, 1, 2, len(rates)))
    phase = rng.uniform(0, 2 * np.pi, size=(n, 1, 2, len(rates))) * [[0.0], [1.0]]
    return np.sum(size * np.sin(np.multiply.outer(t, rates)[:, None] + phase), axis=3)


def study(
    full: FullModel,
    starts: np.ndarray,
    n_train: int,
    t: np.ndarray,
    rank: int,
    letters: str,
    inputs: np.ndarray | None = None,
    *,
    certified: bool = True,
) -> Iterator[Result]:
    """Fit on the runs from the first starts, and bound the rollouts from the others."""
    us = [None] * len(starts) if inputs is None else list(inputs)
    runs = [full.simulate(start, t, u=u).values for start, u in zip(starts, us, strict=True)]
    model = rom.ROM(rom.POD(rank), rom.OperatorInference(letters, ridge=1e-8)).fit(
        np.concatenate(runs[:n_train]),
        t=np.tile(t, n_train),
        u=None if inputs is None else np.concatenate(inputs[:n_train]),
        trajectory=np.repeat(np.arange(n_train), len(t)),
    )
    known = certify(model, full) if certified else "the equation is not used."
    compressor, step = model.compressor_, step_error(model)
    first = np.concatenate([model.to_rows(run[:1], t=t[:1]).rows for run in runs[:n_train]])
    lost = first - compressor.inverse_transform(compressor.transform(first))
    floor = float(np.linalg.norm(lost, axis=1).max())
    for truth, u in zip(runs[n_train:], us[n_train:], strict=True):
        rows = model.to_rows(truth, t=t).rows
        z0 = compressor.transform(rows[:1])[0]
        run = rom.rollout(model.dynamics_, z0, t, u=u, bound=np.inf, throw=False)
        bound = error_bound(model, known, run, rows[0], floor=floor, u=u, step=step)
        assert bound.kind == ("certified" if certified else "estimated"), bound.reason
        error = np.linalg.norm(compressor.inverse_transform(run.z) - rows, axis=1)
        anomaly = rows - compressor.mean_
        yield Result(bound.error, error, float(np.sqrt(np.mean(np.sum(anomaly**2, axis=1)))))


def diffusion(n: int) -> Iterator[Result]:
    heat = rom.fom.Heat(n=255)
    points = np.pi * np.arange(1, 256) / 256
    starts = waves(np.random.default_rng(0), 20 + n, np.arange(1, 13), points)
    return study(heat, starts, 20, np.linspace(0, 0.1, 51), 6, "A")


def driven_diffusion(n: int) -> Iterator[Result]:
    points, t = np.pi * np.arange(1, 64) / 64, np.linspace(0, 0.1, 201)
    rng = np.random.default_rng(2)
    starts = waves(rng, 40 + n, np.arange(1, 5), points)
    inputs = tones(rng, 40 + n, t, [10.0, 20.0, 30.0])[:, :, :1]
    return study(rom.fom.Heat(n=63), starts, 40, t, 8, "cA", inputs)


def burgers(n: int, *, driven: bool = False, certified: bool = True) -> Iterator[Result]:
    full, t = rom.fom.Burgers(viscosity=0.05, n=128), np.linspace(0, 0.5, 51)
    points, k = 2 * np.pi * np.arange(128) / 128, np.arange(1, 7)
    rng = np.random.default_rng(1)
    starts = 0.5 * (waves(rng, 40 + n, k, points) + waves(rng, 40 + n, k, points + np.pi / 2))
    inputs = tones(rng, 40 + n, t, [3.0, 7.0, 20.0]) if driven else None
    return study(full, starts, 40, t, 10, "cAH", inputs, certified=certified)


def own_error() -> float:
    """Largest error in time of the simulations of Burgers, relative: half the step against it."""
    full = rom.fom.Burgers(viscosity=0.05, n=128)
    start, t = full.initial_state(), np.linspace(0, 0.5, 11)
    runs = [full.simulate(start, t, params={"dt": dt}).values for dt in (1e-3, 5e-4)]
    return float(np.abs(runs[0] - runs[1]).max() / np.abs(runs[0]).max())


class Wake(NamedTuple):
    """Velocities of a wake, and its equation on some of their modes."""

    t: np.ndarray
    rows: np.ndarray
    """(n_time, n_space), less the training mean: sums of squares are kinetic energies."""
    modes: np.ndarray
    system: Dynamics
    n_train: int
    disturbance: float
    """Largest rate of change, along the modes, that the system leaves out in training."""


def wake(*, small: bool) -> Wake:
    grid = {"n_r": 33, "n_theta": 32} if small else {"n_r": 49, "n_theta": 48}
    full = rom.fom.CylinderWake(**grid, r_max=20.0, r_sponge=8.0)
    start = full.simulate(full.at_rest(), [0.0, 20.0]).isel(time=-1)
    start = start + 0.1 * np.random.default_rng(0).normal(size=start.shape)
    start = full.simulate(start, [0.0, 600.0 if small else 200.0]).isel(time=-1)
    t, n_train = 0.05 * np.arange(1200), 400
    run = full.simulate(start, t)
    vorticity = run.values.reshape(len(t), -1)
    rate = tendency_of(full).rate  # type: ignore[union-attr]
    r = run["r"].values
    area = r**2 * np.log(r[1] / r[0]) * 2 * np.pi / run.sizes["theta"]

    def velocity(fields: np.ndarray) -> np.ndarray:
        template = xr.DataArray(
            fields.reshape(-1, *start.shape),
            dims=run.dims,
            coords=run.isel(time=0, drop=True).coords,
        )
        flow = full.velocity(template)
        weighted = [(flow[name].values * np.sqrt(area)[:, None]) for name in ("u", "v")]
        return np.concatenate([v.reshape(len(template), -1) for v in weighted], axis=1)

    still = velocity(np.zeros((1, vorticity.shape[1])))
    flows = velocity(vorticity)
    mean, mean_vorticity = flows[:n_train].mean(axis=0), vorticity[:n_train].mean(axis=0)
    U, s, Vt = np.linalg.svd(flows[:n_train] - mean, full_matrices=False)
    modes = Vt[:N_MODES]
    of_modes = (U / s)[:, :N_MODES].T @ (vorticity[:n_train] - mean_vorticity)

    def change(fields: np.ndarray) -> np.ndarray:
        return (velocity(rate(fields)) - still) @ modes.T

    system = quadratic(lambda y: change(mean_vorticity + y @ of_modes), N_MODES)
    shown = slice(0, n_train, 5)
    left_out = change(vorticity[shown]) - system.predict((flows[shown] - mean) @ modes.T)
    largest = float(np.linalg.norm(left_out, axis=1).max())
    return Wake(t, flows - mean, modes, system, n_train, largest)


def quadratic(rate: Callable[[np.ndarray], np.ndarray], m: int) -> Dynamics:
    """A quadratic right-hand side as a model that runs compiled."""
    zero, one = rate(np.zeros((1, m)))[0], np.eye(m)
    plus, minus = rate(one), rate(-one)
    j, k = np.triu_indices(m)
    mixed = rate(one[j] + one[k]) - plus[j] - plus[k] + zero
    mixed[j == k] = (plus + minus) / 2 - zero
    return rom.OperatorInference.from_operators(zero, ((plus - minus) / 2).T, mixed.T)


def wakes(flow: Wake, n: int, *, direct: bool) -> Iterator[Result]:
    """Rollouts of a reduced model against the Galerkin system, or the direct simulation."""
    Y = flow.rows @ flow.modes.T
    train, dt = slice(0, flow.n_train), flow.t[1]
    model = rom.OperatorInference("cAH", ridge=1e-6).fit(Y[train, :RANK], t=flow.t[train])
    known = certificate(flow.system.predict, np.zeros(N_MODES), np.eye(N_MODES)[:RANK])
    assert isinstance(known, Certificate), known
    lost = flow.rows - Y @ flow.modes
    tail = float(np.linalg.norm(lost[train], axis=1).max()) if direct else 0.0
    t = dt * np.arange(41)
    for i in np.linspace(flow.n_train, len(Y) - len(t), n).astype(int):
        run = rom.rollout(model, Y[i, :RANK], t, bound=np.inf, throw=False)
        disturbance = flow.disturbance if direct else 0.0
        bound = certified_bound(known, model, run, Y[i], disturbance=disturbance)
        now = slice(i, i + len(t))
        truth = Y[now] if direct else rom.rollout(flow.system, Y[i], t, bound=np.inf).z
        off = truth - np.pad(run.z, ((0, 0), (0, N_MODES - RANK)))
        beyond = np.sum(lost[now] ** 2, axis=1) if direct else 0.0
        error = np.sqrt(np.sum(off**2, axis=1) + beyond)
        size = float(np.sqrt(np.mean(np.sum(truth**2, axis=1))))
        left_out = (
            max(tail, float(np.linalg.norm(lost[i]))) if direct else 0.0
        )  # of the start: known
        yield Result(np.hypot(bound.error, left_out), error, size)


def show(name: str, asked: str, horizon: float, results: Iterator[Result]) -> None:
    begin = perf_counter()
    found = list(results)
    seconds = (perf_counter() - begin) / len(found)
    bound, error = (np.array([getattr(r, key) for r in found]) for key in ("bound", "error"))
    error[np.isnan(error)] = np.inf  # the rollout had ended
    below = int(np.any(~(bound >= error), axis=1).sum())
    known = np.isfinite(error[:, 1:])
    effectivity = np.median(bound[:, 1:][known] / error[:, 1:][known])
    lead = np.linspace(0, horizon, bound.shape[1])
    size = np.array([r.size for r in found])[:, None]
    useful = np.median(holding_time(bound / size, lead, TOLERANCE))
    print(
        f"| {name} | {len(found)} | {below} | {asked} | {effectivity:.3g} | "
        f"{100 * np.isfinite(bound).mean():.0f} % | {useful:.3g} of {horizon:g} | {seconds:.2g} |",
        flush=True,
    )


def run(small: bool, data: Path | None = None) -> None:
    """Print the table; `data` is not needed."""
    n = 5 if small else 500
    print(
        "| error against | rollouts | bound below error | effectivity asked | reached, median | "
        "bound finite | useful time | seconds each |\n|---|---|---|---|---|---|---|---|"
    )
    show("linear diffusion", "1 to 10", 0.1, diffusion(n))
    show("linear diffusion, ends driven", "-", 0.1, driven_diffusion(n))
    show("Burgers", "-", 0.5, burgers(n))
    show("Burgers, driven", "-", 0.5, burgers(n, driven=True))
    show("Burgers, driven (estimated)", "-", 0.5, burgers(n, driven=True, certified=False))
    flow = wake(small=small)
    show(
        f"cylinder wake, Galerkin system of {N_MODES} modes", "-", 2.0, wakes(flow, n, direct=False)
    )
    show("cylinder wake, direct simulation (estimated)", "-", 2.0, wakes(flow, n, direct=True))
    print(f"\nRelative error in time of the simulations of Burgers: {own_error():.1e}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    run(parser.parse_args().small)


if __name__ == "__main__":
    main()
