"""The Kuramoto-Sivashinsky equation on L = 22 and L = 200: forecasts, and the long run.

The full model makes everything: 64 points for L = 22 and 512 for L = 200, sampled every 0.25, no
noise, the first 200 time units left out. The largest Lyapunov exponent is the mean growth of small
perturbations of several runs, by the linearised equation.

One run is for training, another one, from another state, for the scores. The settings of each kind
of model are those of a few candidates with the longest median valid time in the last fifth of the
training run, when fitted to the rest of it; the table shows all candidates. Then the model is
fitted to all of it. The valid time of a forecast ends where its error first exceeds 0.4 of the root
mean square of the state. The long run starts where the test run does; its spectrum is compared by
the mean of |log10 E(k) / E_true(k)| over the waves with more than a millionth of the energy of the
strongest. "another run" is the truth itself, the training run against the test run.

    python benchmarks/neural_chaos.py [--small]

Pathak, Hunt, Girvan, Lu & Ott (2018), Phys. Rev. Lett. 120, 024102, forecast L = 200 with 64
parallel reservoirs of 5000 units.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import fft

import rom
from rom.compress import Identity
from rom.dynamics import DiscreteSINDy, EchoState, PolynomialLibrary, WeakSINDy, delays
from rom.dynamics.local import LocalModel
from rom.fom import KuramotoSivashinsky
from rom.fom.etdrk4 import ETDRK4
from rom.fom.periodic import wavenumbers
from rom.rollout.horizon import valid_time

Array = NDArray[np.float64]

STEP, SPIN_UP, TOLERANCE, N_STARTS, N_TRIAL_STARTS = 0.25, 200.0, 0.4, 10, 5
SMALLEST_SHARE = 1e-6  # of the strongest wave's energy, from which waves are compared


class Case(NamedTuple):
    """A length, and how much of it to compute; times in time units."""

    model: KuramotoSivashinsky
    training: float
    test: float
    long_run: float
    horizon: float
    """Of a forecast, in Lyapunov times."""
    exponent_runs: int
    exponent_time: float


class Candidate(NamedTuple):
    """A model of latent rows and how to get these rows: the states, reduced or with delays."""

    name: str
    settings: str
    make: Callable[[], Any]
    compressor: Callable[[], Any] = Identity
    n_delays: int = 1


class Forecaster:
    """A candidate fitted to a run, as a map from a history of states to their future."""

    def __init__(self, candidate: Candidate, states: Array) -> None:
        self.candidate = candidate
        self.compressor = candidate.compressor().fit(states)
        rows = delays(self.compressor.transform(states), candidate.n_delays).Z
        self.model = candidate.make().fit(rows, t=STEP * np.arange(len(rows)))

    def run(self, history: Array, n_steps: int) -> Array:
        """States (n_steps + 1, n), the first the last of the history; NaN after an early end."""
        start = delays(self.compressor.transform(history), self.candidate.n_delays).Z[-1]
        z = rom.rollout(self.model, start, STEP * np.arange(n_steps + 1), throw=False).z
        rank, ended = self.compressor.rank_, np.isnan(z).any(axis=1)
        states = self.compressor.inverse_transform(np.where(ended[:, None], 0.0, z)[:, :rank])
        states[ended] = np.nan
        return states


def simulate(case: Case, duration: float, seed: int) -> Array:
    t = np.arange(0.0, SPIN_UP + duration + STEP / 2, STEP)
    states = case.model.simulate(case.model.initial_state(seed), t).to_numpy()
    return np.asarray(states[t >= SPIN_UP])


def lyapunov_exponent(case: Case, dt: float = 0.125, every: int = 10) -> tuple[float, float]:
    """The largest exponent and its standard error, over runs from random states."""
    model, n = case.model, case.model.n
    k = wavenumbers(n, model.length)
    step = ETDRK4.of(k**2 - k**4, dt).step
    flux = np.where(np.arange(len(k)) <= n // 3, -1j * k, 0)

    def nonlinear(_: float, v: NDArray[np.complex128]) -> NDArray[np.complex128]:
        u, w = fft.irfft(v, n, axis=-1)
        return np.asarray(flux * fft.rfft(np.stack([u * u / 2, u * w]), axis=-1))

    rng = np.random.default_rng(0)
    shape = (2, case.exponent_runs, 5)
    v = np.zeros((2, case.exponent_runs, len(k)), np.complex128)
    v[:, :, 1:6] = n / 20 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    growth = np.zeros(case.exponent_runs)
    for i in range(1, int((SPIN_UP + case.exponent_time) / dt) + 1):
        v = step(v, 0.0, nonlinear)
        if i % every == 0:
            size = np.linalg.norm(v[1], axis=1)
            v[1] /= size[:, None]
            growth += np.log(size) if i * dt > SPIN_UP else 0.0
    rates = growth / case.exponent_time
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))


def valid_times(forecaster: Forecaster, states: Array, n_steps: int, n_starts: int) -> Array:
    """Valid times (n_starts,) from starts spread evenly over the states."""
    size = np.sqrt(np.mean(states**2))
    found = []
    for start in np.linspace(50, len(states) - 1 - n_steps, n_starts).astype(int):
        truth = states[start : start + n_steps + 1]
        forecast = forecaster.run(states[start - 49 : start + 1], n_steps)
        error = np.sqrt(np.mean((forecast - truth) ** 2, axis=1)) / size
        found.append(float(valid_time(error, STEP * np.arange(len(error)), TOLERANCE)[0]))
    return np.array(found)


def spectrum(states: Array) -> Array:
    """Energy by wavenumber, the mean over time."""
    return np.asarray(np.mean(np.abs(fft.rfft(states, axis=1)) ** 2, axis=0))


def distance(found: Array, true: Array) -> float:
    """Mean difference of the logarithms of two spectra, where the true one is not negligible."""
    seen = true > SMALLEST_SHARE * true.max()
    return float(np.mean(np.abs(np.log10(found[seen] / true[seen]))))


def one_reservoir(small: bool) -> list[Candidate]:
    """A reservoir that the whole state drives."""
    n_units, n_delays = (200 if small else 1000), 6
    found = []
    for scale in (0.1, 0.3):

        def make(scale: float = scale) -> EchoState:
            return EchoState(
                n_units, n_delays, input_scale=scale, spectral_radius=0.4, random_state=0
            )

        settings = f"{n_units} units, {n_delays} delays, input {scale}"
        found.append(Candidate("echo-state network", settings, make, n_delays=n_delays))
    return found


def parallel_reservoirs(small: bool) -> list[Candidate]:
    """Reservoirs for eight cells each, which see as many on both sides and share their weights."""
    n_units, n_delays = (200 if small else 1000), 2
    found = []
    for noise in (3e-4, 1e-3, 3e-3):

        def make(noise: float = noise) -> LocalModel:
            network = EchoState(
                n_units, n_delays, input_scale=0.1, spectral_radius=0.4, random_state=0
            )
            return LocalModel(
                network,
                patch=8,
                halo=8,
                n_delays=n_delays,
                noise=noise,
                n_rows=5_000 if small else 20_000,
                random_state=0,
            )

        settings = f"{n_units} units, {n_delays} delays, noise {noise:g}"
        found.append(Candidate("parallel echo states", settings, make, n_delays=n_delays))
    return found


def reduced(small: bool) -> list[Candidate]:
    """POD and the quadratic equations of its amplitudes, from the weak form."""

    def make() -> WeakSINDy:
        return WeakSINDy(PolynomialLibrary(2), threshold=0.0)

    return [
        Candidate("POD, WeakSINDy", f"rank {r}", make, lambda r=r: rom.POD(r))
        for r in ((16, 20) if small else (16, 20, 22, 24, 26))
    ]


def local_polynomials(small: bool) -> list[Candidate]:
    """A polynomial in the principal components of a cell and those around it."""
    found = []
    for degree, halo, rank in [(3, 12, 9)] if small else [(3, 12, 9), (4, 12, 10), (4, 14, 12)]:

        def make(degree: int = degree, halo: int = halo, rank: int = rank) -> LocalModel:
            return LocalModel(
                DiscreteSINDy(PolynomialLibrary(degree), threshold=0.0),
                halo=halo,
                rank=rank,
                noise=3e-4,
                n_rows=20_000 if small else 60_000,
                random_state=0,
            )

        settings = f"degree {degree}, halo {halo}, rank {rank}"
        found.append(Candidate("local polynomial", settings, make))
    return found


def choose(
    families: list[list[Candidate]], training: Array, case: Case, exponent: float
) -> list[Candidate]:
    """Of each family that with the longest valid times in the last fifth of the training run."""
    n_fit = len(training) * 4 // 5
    held = training[n_fit:]
    n_steps = min(int(case.horizon / exponent / STEP), len(held) // 2)

    def trial(candidate: Candidate) -> tuple[float, float]:
        clock = time.perf_counter()
        forecaster = Forecaster(candidate, training[:n_fit])
        valid = exponent * valid_times(forecaster, held, n_steps, N_TRIAL_STARTS)
        return float(np.median(valid)), time.perf_counter() - clock

    everyone = [candidate for family in families for candidate in family]
    found = Parallel(n_jobs=-1)(delayed(trial)(candidate) for candidate in everyone)
    scores = {candidate: score for candidate, (score, _) in zip(everyone, found, strict=True)}
    for candidate, (score, seconds) in zip(everyone, found, strict=True):
        print(f"| {candidate.name} | {candidate.settings} | {score:.2f} | {seconds:.0f} |")
    return [max(family, key=scores.__getitem__) for family in families]


def score(
    candidate: Candidate, training: Array, test: Array, case: Case, exponent: float
) -> tuple[str, Array]:
    """The row of the table of results, and the spectrum of the long run."""
    clock = time.perf_counter()
    forecaster = Forecaster(candidate, training)
    fitted = time.perf_counter() - clock
    n_steps = int(case.horizon / exponent / STEP)
    valid = exponent * valid_times(forecaster, test, n_steps, N_STARTS)
    run = forecaster.run(test[:50], int(case.long_run / STEP))
    bounded = bool(np.isfinite(run).all())
    run = run[np.isfinite(run).all(axis=1)]
    found = spectrum(run)
    return (
        f"| {candidate.name} | {candidate.settings} | {np.median(valid):.2f} "
        f"| {valid.min():.2f} … {valid.max():.2f} | {'yes' if bounded else 'no'} "
        f"| {distance(found, spectrum(test)):.3f} "
        f"| {np.sqrt(np.mean(run**2) / np.mean(test**2)):.3f} | {fitted:.0f} |",
        found,
    )


def compare(case: Case, families: list[list[Candidate]]) -> None:
    exponent, spread = lyapunov_exponent(case)
    length, n = case.model.length, case.model.n
    print(f"\n### Kuramoto-Sivashinsky, L = {length:g}, {n} points\n")
    print(f"Largest Lyapunov exponent {exponent:.4f} ± {spread:.4f} per time unit: a Lyapunov time")
    print(f"is {1 / exponent:.1f}. Training {case.training:g}, test {case.test:g} time units.\n")
    training, test = simulate(case, case.training, 1), simulate(case, case.test, 2)
    print("| candidate | settings | valid, Lyapunov times, end of the training run | s |")
    print("|---|---|---|---|")
    chosen = choose(families, training, case, exponent)
    print(
        f"\n| model | settings | valid, Lyapunov times, median of {N_STARTS} starts | range ",
        end="",
    )
    print(f"| long run of {case.long_run:g} bounded | spectrum, off by decades | size | fit, s |")
    print("|---|---|---|---|---|---|---|---|")
    true, spectra = spectrum(test), {}
    scored = Parallel(n_jobs=-1)(
        delayed(score)(candidate, training, test, case, exponent) for candidate in chosen
    )
    for candidate, (row, found) in zip(chosen, scored, strict=True):
        spectra[candidate.name] = found
        print(row)
    other = distance(spectrum(training), true)
    size = np.sqrt(np.mean(training**2) / np.mean(test**2))
    print(f"| another run | | | | | {other:.3f} | {size:.3f} | |")
    print_spectra({"truth": true, **spectra}, wavenumbers(n, length))


def print_spectra(spectra: dict[str, Array], k: Array) -> None:
    """log10 of the energies over that of the strongest wave of the truth."""
    print("\n| log10 E at k = | " + " | ".join(f"{q:g}" for q in np.arange(0.5, 4.1, 0.5)) + " |")
    print("|" + "---|" * 9)
    places = [int(np.abs(k - q).argmin()) for q in np.arange(0.5, 4.1, 0.5)]
    for name, energy in spectra.items():
        with np.errstate(divide="ignore"):
            values = np.log10(energy[places] / spectra["truth"].max())
        print(f"| {name} | " + " | ".join(f"{v:.2f}" for v in values) + " |")


def run(small: bool, data: Path | None) -> None:
    """Print the tables; `data` is not needed."""
    if small:
        case = Case(KuramotoSivashinsky(22.0, 64, 0.125), 500.0, 300.0, 100.0, 4.0, 4, 100.0)
        compare(case, [f(True) for f in (reduced, parallel_reservoirs)])
        return
    short = Case(KuramotoSivashinsky(22.0, 64, 0.125), 6000.0, 3000.0, 2000.0, 14.0, 32, 2000.0)
    long = Case(KuramotoSivashinsky(200.0, 512, 0.125), 1500.0, 600.0, 500.0, 10.0, 8, 600.0)
    compare(short, [f(False) for f in (reduced, one_reservoir, parallel_reservoirs)])
    compare(long, [f(False) for f in (local_polynomials, parallel_reservoirs)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="ends in seconds, and shows nothing")
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(arguments.small, None)
