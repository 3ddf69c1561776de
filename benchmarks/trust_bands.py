"""Simultaneous conformal bands of held-out rollouts: `python benchmarks/trust_bands.py --data DIR`.

Nominal 90 %: a rollout counts as covered if its error is inside the band at all lead times and in
all coordinates. Models are fitted once, on training times, with settings that were not looked at
again; all rollouts start and end in times after them (SST: in months left out of the fit;
Galerkin system: in other runs).

- Lorenz 96: 40 sites, made here; SINDy of degree 2, from 60 time units seen every 0.01 with noise
  of 1 % of the standard deviation; 2 time units, a start every half a unit, in blocks of 5 units.
- Cylinder wake: the first two amplitudes and the shift mode of the direct simulation at Re 100,
  trained on t < 100, the default TrappingSINDy; 10 time units. All starts lie on one cycle and
  never become independent. "By phases" each is a block; with blocks as long as a rollout there
  are only 19, and the bands take their largest errors.
- Wake, Galerkin system: the same flow as an intrusive model of 9 modes, so that there can be
  independent runs, from small random states seen after random times, in the growth or on the
  cycle; the same coordinates, model and lead time, from 30 runs. Each held-out run is a block.
- SST: tropical monthly anomalies, 20 modes, a seasonal linear model; 6 months, in blocks of 6. Four
  records, each with models and bands of its own: the Pacific from 1970 to 2003, and Pacific,
  Atlantic and Indian Ocean from 2010 to 2020 (as departures from the mean of each calendar month
  of the training). They are too short to set months apart: each eighth is forecast by a model of
  the other seven. The last row is of all four; the same months of several oceans are one block.
- SLP: North Atlantic daily anomalies, 20 modes, a linear map of three days, trained on 2001 to
  2004; 10 days, in blocks of 15 days.

No rollout is tested twice. Those of one record overlap in time, or follow each other, and so are
not independent: the interval of the coverage (95 %) is that of Korn and Graubard, by blocks.
"dealt": the blocks are dealt at random into ten parts, and each part is tested with the band of the
other nine. "later": the band of the first half of the rollouts, in time, is tested on the second.
"adaptive": the same, but the band follows the errors of the second half as they become known
(Gibbs and Candès, at the rate that a check takes). Width is the mean half-width in standard
deviations of the coordinate; the adaptive one's is its median over the starts.

Coverage does not depend on the power in `rom.rollout.intervals`; widths do, and it was chosen with
the widths on Lorenz 96, cylinder wake and SLP in view.

The Gaussian ensemble beside them gets noise after each sampling step, normal with the covariance
of the one-step errors in training. 50 members give mean and spread; the factor on the spread is the
90 % quantile, over starts, of the largest standardised departure of 50 further members: what a user
would take for a simultaneous band of 90 %. It is tested on up to 100 starts of each second half.

Drift: the forcing of Lorenz 96 grows from 8 to 10 over the rollouts that the same model forecasts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.io import loadmat

import rom
from rom.data.times import phase
from rom.dynamics import NVAR, PolynomialLibrary, SINDy, TrappingSINDy, delays, season
from rom.dynamics.library import monomials
from rom.fom import Lorenz96
from rom.rollout.adaptive import adaptive_thresholds, delay_of
from rom.rollout.bands import RATE
from rom.rollout.coverage import coverage
from rom.rollout.intervals import conformal_band, in_band, simultaneous_score
from rom.rollout.seasonal import SeasonalLinear, seasonal_forecast, seasonal_linear

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Step = Callable[[Array], Array]

LEVEL, LOW, HIGH, N_TESTS = 0.9, 0.88, 0.94, 500
PARTS, MEMBERS, GAUSSIAN_STARTS, CHUNK = 10, 50, 100, 20
# Longitudes of the oceans between 30° S and 30° N; from 300° on across the meridian of Greenwich.
OCEANS = {"Pacific": (124, 290), "Atlantic": (300, 20), "Indian Ocean": (40, 100)}


class Case(NamedTuple):
    """Held-out rollouts of one model, in the order of their starts."""

    start: Array
    """(n_start, n_state): the coordinates, then what else the step needs."""
    truth: Array
    """(n_start, n_lead, n_coordinates), from lead 0 on."""
    step: Step
    """States (n, n_state) one sampling step later."""
    noise: Array
    """(n_coordinates, n_coordinates) root of the covariance of the one-step errors in training."""
    first: Rows
    """(n_start,) rows of the record that the rollouts start from."""
    block: Rows
    unit: Array
    """(n_coordinates,) standard deviations in training."""


class Tested(NamedTuple):
    """Some rollouts beside their bands."""

    inside: NDArray[np.bool_]
    block: Rows
    width: float
    """Mean half-width of the bands."""

    def __str__(self) -> str:
        found = coverage(self.inside, block=self.block)
        return f"{found.share:.1%} ({found.low:.1%} to {found.high:.1%}), {found.n}"


def make_case(
    states: Array, train: Rows, first: Rows, n_lead: int, step: Step, rank: int, block: Rows
) -> Case:
    """Of states (n_time, n_state) whose first `rank` columns are forecast from rows `first`.

    The rows of `train` that have a successor in training give the noise.
    """
    now = train[np.isin(train + 1, train)]
    error = states[now + 1, :rank] - step(states[now])[:, :rank]
    noise = np.asarray(np.linalg.cholesky(error.T @ error / len(error)), np.float64)
    truth = states[first[:, None] + np.arange(n_lead + 1), :rank]
    return Case(states[first], truth, step, noise, first, block, states[train, :rank].std(axis=0))


def forecasts(case: Case, rows: Rows, members: int = 1, seed: int | None = None) -> Array:
    """Rollouts (n, members, n_lead, n_coordinates) from some starts, noisy if seeded."""
    rng = None if seed is None else np.random.default_rng(seed)
    _, n_lead, rank = case.truth.shape
    z = np.repeat(case.start[rows], members, axis=0)
    out = np.empty((n_lead, len(z), rank))
    for lead in range(n_lead):
        out[lead] = z[:, :rank]
        z = case.step(z)
        if rng is not None:
            z[:, :rank] += rng.standard_normal((len(z), rank)) @ case.noise.T
    return out.transpose(1, 0, 2).reshape(len(rows), members, n_lead, rank)


def errors(case: Case) -> Array:
    """Of the forecasts without noise, in units of the standard deviation, without lead 0."""
    parts = np.array_split(np.arange(len(case.start)), max(1, len(case.start) // 500))
    runs = np.concatenate([forecasts(case, rows)[:, 0] for rows in parts])
    return np.asarray((case.truth - runs)[:, 1:] / case.unit)


def gaussian(case: Case, rows: Rows) -> Tested:
    """Starts beside the bands of the ensemble."""
    largest, score, width = [], [], []
    for i in range(0, len(rows), CHUNK):
        runs = forecasts(case, rows[i : i + CHUNK], 2 * MEMBERS, seed=i)[:, :, 1:]
        known, more = runs[:, :MEMBERS], runs[:, MEMBERS:]
        mean, spread = known.mean(axis=1), known.std(axis=1, ddof=1)
        largest.append((np.abs(more - mean[:, None]) / spread[:, None]).max(axis=(2, 3)).ravel())
        truth = case.truth[rows[i : i + CHUNK], 1:]
        score.append((np.abs(truth - mean) / spread).max(axis=(1, 2)))
        width.append((spread / case.unit).mean(axis=(1, 2)))
    factor = float(np.quantile(np.concatenate(largest), LEVEL))
    inside = np.concatenate(score) <= factor
    return Tested(inside, case.block[rows], factor * float(np.concatenate(width).mean()))


def lorenz(small: bool) -> tuple[Case, Case]:
    """Held-out rollouts with the forcing of the training, and with one that grows."""
    fom, rng = Lorenz96(10 if small else 40), np.random.default_rng(0)
    settled = fom.simulate(fom.initial_state(), [0.0, 20.0]).values[-1]
    t = 0.01 * np.arange(2000 if small else 6000)
    run = fom.simulate(settled, t).values
    seen = run + 0.01 * run.std(axis=0) * rng.standard_normal(run.shape)
    step = runge_kutta(SINDy(PolynomialLibrary(2), threshold=0.3).fit(seen, t=t), 0.05)
    train, n_pieces = seen[::5], 40 if small else 100
    cases = []
    for last_forcing in (8.0, 10.0):
        held = [run[-1:]]
        for forcing in np.linspace(8.0, last_forcing, n_pieces):
            piece = fom.simulate(held[-1][-1], 0.05 * np.arange(201), params={"forcing": forcing})
            held.append(piece.values[1:])
        states = np.concatenate([train, *held])
        first = np.arange(len(train), len(states) - 40, 10)
        block = (first - len(train)) // 100
        cases.append(make_case(states, np.arange(len(train)), first, 40, step, fom.n, block))
    return cases[0], cases[1]


def runge_kutta(model: SINDy, dt: float) -> Step:
    """The classical step of a polynomial model, for all states at a time."""
    polynomial = model.polynomial()
    assert polynomial is not None
    exponents, coef = polynomial
    used = coef.any(axis=0)

    def slope(z: Array) -> Array:
        return monomials(z, exponents[used]) @ coef[:, used].T

    def step(z: Array) -> Array:
        k1 = slope(z)
        k2 = slope(z + dt / 2 * k1)
        k3 = slope(z + dt / 2 * k2)
        return z + dt / 6 * (k1 + 2 * (k2 + k3) + slope(z + dt * k3))

    return step


def wake_folder(folder: Path) -> Path:
    return folder / "cylinder_re100" if (folder / "cylinder_re100").is_dir() else folder


def cylinder(folder: Path) -> dict[str, Case]:
    """The same rollouts in two kinds of blocks."""
    record = np.loadtxt(wake_folder(folder) / "vonKarman_a.dat")
    t, Z, n_lead = record[:, 0], record[:, [1, 2, 9]], 100
    train = np.flatnonzero(t < 100)
    model = TrappingSINDy(3, include_bias=False).fit(Z[train], t=t[train])
    first = np.arange(len(train), len(Z) - n_lead)
    step = runge_kutta(model, float(np.median(np.diff(t))))
    case = make_case(Z, train, first, n_lead, step, 3, block=first)
    pieces = case._replace(block=(first - first[0]) // n_lead)
    return {"cylinder wake, by phases": case, "cylinder wake, blocks of a rollout": pieces}


def galerkin(folder: Path, n_train: int = 30, n_held: int = 600) -> Case:
    """Independent runs of the wake's Galerkin system."""
    found, n_lead, dt = loadmat(wake_folder(folder) / "galerkin9.mat"), 100, 0.1
    i, j = np.triu_indices(9)
    Q = found["Q"] + found["Q"].transpose(0, 2, 1)
    H = np.where(i == j, 0.5, 1.0) * Q[:, i, j]
    system = rom.OperatorInference.from_operators(A=found["L"], H=H)
    rng, n = np.random.default_rng(0), n_train + n_held
    z0 = 0.1 * rng.standard_normal((n, 9))
    # Most reach the cycle after some 75 time units.
    Z = rom.ensemble(system, z0, dt * np.arange(1500 + n_lead), bound=100.0).z[:, :, [0, 1, 8]]
    since = rng.integers(1500, size=(n, 1)) + np.arange(n_lead + 1)
    runs = Z[np.arange(n)[:, None], since]
    model = TrappingSINDy(3, include_bias=False).fit(
        np.concatenate(runs[:n_train]),
        t=np.tile(dt * np.arange(n_lead + 1), n_train),
        trajectory=np.repeat(np.arange(n_train), n_lead + 1),
    )
    # A row of NaN after each run, so that no run goes on in the next.
    states = np.pad(runs, ((0, 0), (0, 1), (0, 0)), constant_values=np.nan).reshape(-1, 3)
    row = np.arange(len(states)).reshape(n, -1)
    train, first = row[:n_train, :-1].ravel(), row[n_train:, 0]
    return make_case(states, train, first, n_lead, runge_kutta(model, dt), 3, block=first)


def sst(folder: Path) -> dict[str, list[Case]]:
    """Eight cases for each record, each of one eighth of its months."""
    early = rom.open_snapshots(folder / "pacific_sst_anomaly_monthly.nc", "ssta").load()
    found = {"SST, Pacific, 1970 to 2003": hindcasts(early, rom.Scale(area_weights=True))}
    earth = rom.open_snapshots(folder / "ersst_v5_2010_2020.nc", "sst").load()
    tropics = earth.sel(lat=slice(30, -30))
    for ocean, (west, east) in OCEANS.items():
        inside = (tropics.lon - west) % 360 <= (east - west) % 360
        scale = rom.Scale(area_weights=True, climatology="month")
        name = f"SST, {ocean}, 2010 to 2020"
        found[name] = hindcasts(tropics.isel(lon=np.flatnonzero(inside)), scale)
    return found


def hindcasts(field: xr.DataArray, scale: rom.Scale) -> list[Case]:
    """Each eighth of the months, forecast by a model of the other seven."""
    u = season(phase(field.time, "month"), 12)
    since = int((field.time.dt.year[0] - 1970) * 12)  # to name months of several records alike
    n_lead, rank, months, cases = 6, 20, np.arange(len(u)), []
    for a, b in pairwise(np.linspace(0, len(u), 9).astype(int)):
        train = months[(months < a) | (months >= b)]
        model = rom.ROM(rom.POD(rank), rom.DMD(), preprocess=scale)
        Z = model.fit(field[train]).encode(field).values
        fitted = seasonal_linear(Z[train], u[train], trajectory=train >= b)
        first = np.arange(a, b - n_lead)
        states = np.hstack([Z, u])
        step = seasonal_step(fitted)
        block = (since + first) // n_lead
        cases.append(make_case(states, train, first, n_lead, step, rank, block))
    return cases


def seasonal_step(fitted: SeasonalLinear) -> Step:
    """A month's step of states that end in their season."""
    turn = 2 * np.pi / 12
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def step(z: Array) -> Array:
        u = np.stack([z[:, -2:], z[:, -2:] @ rotation], axis=1)
        return np.hstack([seasonal_forecast(fitted, z[:, :-2], u)[:, 1], u[:, 1]])

    return step


def slp(folder: Path) -> Case:
    field = xr.open_dataset(folder / "north_atlantic_slp_daily.nc").slp.load()
    early = field.time.dt.year.values <= 2004
    day, n_lead, rank, n_days = np.arange(len(early)), 10, 20, 3
    X = field.values.reshape(len(day), -1).astype(np.float64)
    area = np.cos(np.deg2rad(np.repeat(field.lat.values, field.sizes["lon"])))
    waves = [np.ones((len(day), 1)), *(season(k * day, 365.25) for k in (1, 2))]
    A = np.hstack(waves)
    X = np.sqrt(area) * (X - A @ np.linalg.lstsq(A[early], X[early], rcond=None)[0])
    Z = X @ rom.POD(rank).fit(X[early]).components_.T
    _, states = delays(Z, n_days)
    train = np.flatnonzero(early)[: -n_days + 1]
    model = NVAR(n_days, degree=1, ridge=1e-3).fit(states[train], t=train.astype(float))
    first = np.arange(len(train) + n_days, len(states) - n_lead)
    return make_case(states, train, first, n_lead, model.predict, rank, first // 15)


def dealt(error: Array, block: Rows) -> Tested:
    """Blocks dealt into parts, each beside the band of the other parts."""
    labels = np.unique(block)
    part = np.empty(len(labels), int)
    part[np.random.default_rng(0).permutation(len(labels))] = np.arange(len(labels)) % PARTS
    of_row = part[np.searchsorted(labels, block)]
    inside, width = np.zeros(len(error), bool), []
    for k in range(PARTS):
        own = of_row == k
        band = conformal_band(error[~own], level=LEVEL, block=block[~own])
        inside[own] = in_band(error[own], band.radius)
        width.append(band.radius.mean())
    return Tested(inside, block, float(np.mean(width)))


def later(error: Array, block: Rows, first: Rows) -> tuple[Tested, Tested]:
    """The second half beside the band of the first, and beside one that follows the errors."""
    labels = np.unique(block)
    early = np.isin(block, labels[: len(labels) // 2])
    band = conformal_band(error[early], level=LEVEL, block=block[early])
    fixed = in_band(error[~early], band.radius)
    score = simultaneous_score(error[~early], band.scale)
    delay = delay_of(first[~early], error.shape[1])
    found = adaptive_thresholds(score, band.score, level=LEVEL, rate=RATE, delay=delay)
    followed = float(np.median(np.maximum(found.threshold, 0))) * float(band.scale.mean())
    own = block[~early]
    return Tested(fixed, own, float(band.radius.mean())), Tested(found.covered, own, followed)


def measure(cases: Sequence[Case]) -> dict[str, Tested]:
    """All rollouts of one record beside all kinds of bands."""
    error = np.concatenate([errors(case) for case in cases])
    block, first = (
        np.concatenate([getattr(c, name) for c in cases]) for name in ("block", "first")
    )
    fixed, adaptive = later(error, block, first)
    chosen = np.flatnonzero(np.isin(block, fixed.block))
    chosen = chosen[:: -(-len(chosen) // GAUSSIAN_STARTS)]
    edges = np.cumsum([0, *(len(case.start) for case in cases)])
    parts = [
        gaussian(case, chosen[(chosen >= a) & (chosen < b)] - a)
        for case, (a, b) in zip(cases, pairwise(edges), strict=True)
        if np.any((chosen >= a) & (chosen < b))
    ]
    beside = joined(parts)
    return {"dealt": dealt(error, block), "later": fixed, "adaptive": adaptive, "gaussian": beside}


def joined(parts: Sequence[Tested]) -> Tested:
    inside, block = (
        np.concatenate([getattr(p, name) for p in parts]) for name in Tested._fields[:2]
    )
    width = np.average([p.width for p in parts], weights=[len(p.inside) for p in parts])
    return Tested(inside, block, float(width))


def show(name: str, size: str, found: dict[str, Tested]) -> None:
    all_of = found["dealt"]
    reached = "yes" if LOW <= all_of.inside.mean() <= HIGH else "missed"
    enough = reached if len(all_of.inside) >= N_TESTS else "too few"
    widths = " | ".join(f"{tested.width:.2f}" for tested in found.values())
    print(
        f"| {name} | {size} | {len(np.unique(all_of.block))} | {all_of} | {enough} | "
        f"{found['later']} | {found['adaptive']} | {found['gaussian']} | {widths} |",
        flush=True,
    )


def report(name: str, cases: Sequence[Case]) -> dict[str, Tested]:
    found = measure(cases)
    show(name, f"{cases[0].truth.shape[1] - 1} x {cases[0].truth.shape[2]}", found)
    return found


def show_drift(plain: Case, drifting: Case) -> None:
    """What is left of the coverage where the errors grow, of a fixed band and of adaptive ones."""
    band = conformal_band(errors(plain), level=LEVEL, block=plain.block)
    score = simultaneous_score(errors(drifting), band.scale)
    delay = delay_of(drifting.first, plain.truth.shape[1] - 1)
    print(
        "\n| Lorenz 96, forcing 8 to 10 | covered | in the last third | asked |\n|---|---|---|---|"
    )
    fixed = in_band(errors(drifting), band.radius)
    followed = {"fixed band": fixed}
    for rate in (0.01, 0.05):
        found = adaptive_thresholds(score, band.score, level=LEVEL, rate=rate, delay=delay)
        followed[f"adaptive, rate {rate}"] = found.covered
    for name, inside in followed.items():
        last = inside[-len(inside) // 3 :]
        print(f"| {name}, {len(inside)} starts | {inside.mean():.1%} | {last.mean():.1%} | 90 % |")


def run(small: bool, data: Path | None) -> None:
    """Print the tables; without `data` those of Lorenz 96 alone."""
    plain, drifting = lorenz(small)
    print(
        f"Asked: simultaneous coverage {LOW:.0%} to {HIGH:.0%} over {N_TESTS} rollouts or more.\n"
    )
    print(
        "| | lead times x coordinates | blocks | covered, dealt, rollouts | as asked | covered, "
        "later | covered, later, adaptive | covered, Gaussian | width, dealt | later | adaptive | "
        "Gaussian |\n" + "|---" * 12 + "|"
    )
    report(f"Lorenz 96, {plain.truth.shape[2]} sites", [plain])
    if data is not None and not small:
        for name, case in cylinder(data).items():
            report(name, [case])
        report("wake, Galerkin system of 9 modes", [galerkin(data)])
        oceans = [report(name, cases) for name, cases in sst(data).items()]
        together = {key: joined([found[key] for found in oceans]) for key in oceans[0]}
        show("SST, all four", "6 x 20", together)
        report("SLP", [slp(data)])
    show_drift(plain, drifting)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    run(arguments.small, arguments.data)


if __name__ == "__main__":
    main()
