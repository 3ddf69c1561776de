"""Lyapunov exponents of chaotic systems: `python benchmarks/trust_lyapunov.py [--small]`.

The systems are the first 20, in alphabetical order, of the polynomial ones of the package `dysts`
(those of chaotic_systems.py) whose largest exponent exceeds 0.2 a period, in 1000 periods from the
start that `dysts` gives: the weaker, the longer it takes to know it. HyperLu is left out, as its
chaos may end: after some 1000 periods the trajectory escapes, by DOP853 at a relative tolerance of
1e-11 as well. Compared are the largest exponent and the Kaplan-Yorke dimension by
:func:`rom.rollout.lyapunov.lyapunov`, along one trajectory from that start: of the equations,
and of models identified from data. The run is as long as brings the sampling error of the largest
exponent to a fifth of the deviation asked for, 0.6 % and of identified models 1 %, by that of a
pilot run of 2000 periods. The reference, stored below, has 0.6 %: see trust_lyapunov_reference.py.

The models are identified from 10 trajectories of 1000 samples, 100 a period: WeakSINDy, all
monomials up to degree 4, terms chosen by the corrected Akaike criterion; from clean samples, and
with white noise of 0.1 % of the root mean square. The settings are the same for all systems.

    pip install --no-deps dysts; pip install sympy
    python benchmarks/trust_lyapunov.py [--small]

Gilpin (2021), NeurIPS Datasets and Benchmarks.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from chaotic_systems import DEGREE, System, coefficients, read_systems, simulate
from numpy.typing import ArrayLike, NDArray

from rom.base import Dynamics, Polynomial, Series
from rom.dynamics import PolynomialLibrary, WeakSINDy
from rom.rollout.growth_rates import Lyapunov
from rom.rollout.lyapunov import lyapunov
from rom.rollout.result import Status

Array = NDArray[np.float64]

# Largest exponent and Kaplan-Yorke dimension, each with its standard error.
REFERENCE: dict[str, tuple[float, float, float, float]] = {
    "Aizawa": (0.094636, 0.00051402, 2.2844, 0.0010632),
    "BurkeShaw": (2.338, 0.010298, 2.2062, 0.00072995),
    "Chen": (2.0213, 0.0098332, 2.1681, 0.00068715),
    "ChenLee": (0.14244, 0.00077749, 2.0258, 0.00015279),
    "Dadras": (0.37246, 0.0020793, 2.0349, 0.000193),
    "Finance": (0.089936, 0.00053919, 2.1423, 0.00079304),
    "GenesioTesi": (0.10387, 0.00059092, 2.191, 0.00087838),
    "Hadley": (0.20724, 0.0012163, 2.5673, 0.004463),
    "Halvorsen": (0.67928, 0.0037708, 2.1392, 0.00068261),
    "HyperBao": (0.75415, 0.0043839, 3.0456, 0.00042163),
    "HyperCai": (1.6497, 0.0085331, 3.1361, 0.00056714),
    "HyperJha": (0.36243, 0.001762, 3.0441, 0.00013507),
    "HyperLorenz": (0.26005, 0.0013322, 3.0274, 0.00015028),
    "HyperPang": (1.4272, 0.0085367, 3.0757, 0.00041612),
    "HyperQi": (12.56, 0.067093, 3.2403, 0.0014186),
    "HyperWang": (1.1879, 0.0068302, 3.0923, 0.00047207),
    "HyperXu": (0.98975, 0.005748, 3.0812, 0.0003827),
    "HyperYan": (1.256, 0.0070277, 2.0821, 0.00041701),
    "HyperYangChen": (0.37275, 0.0019312, 3.0185, 3.1956e-05),
    "Laser": (0.57712, 0.0023898, 2.0371, 0.00016004),
}
SMALL = ["Chen", "Halvorsen", "HyperPang"]
PRECISION, PRECISION_SMALL = 0.006, 0.03  # of the largest exponent of equations: sampling error
PILOT, LONGEST = 2000, 400_000  # periods
NOISES = (0.0, 0.1)  # per cent of the root mean square
ASKED = {"equations": 3.0, "identified, clean": 5.0, "identified, 0.1 % noise": 5.0}  # per cent


class Equations(Dynamics):
    """The equations themselves, as a latent model."""

    time = "continuous"

    def __init__(self, exponents: ArrayLike = (), coef: ArrayLike = ()) -> None:
        self.exponents = exponents
        self.coef = coef

    def polynomial(self) -> Polynomial:
        """The right-hand side."""
        return Polynomial(np.asarray(self.exponents), np.asarray(self.coef))

    def _fit_series(self, series: Series) -> None:
        pass

    def _predict(self, Z: Array, u: Array | None) -> Array:
        exponents, coef = self.polynomial()
        return np.prod(Z[:, None, :] ** exponents, axis=2) @ coef.T


def equations(system: System) -> Dynamics:
    """The system's equations, term by term."""
    exponents = PolynomialLibrary(DEGREE).exponents(len(system.start))
    states = np.stack([system.start, system.start])
    return Equations(exponents, coefficients(system, exponents)).fit(states, states)


def identified(system: System, noise: float, seed: int) -> Dynamics:
    """A model from samples with that much noise, in per cent."""
    t, runs = simulate(system, seed)
    size = np.sqrt(np.mean(runs**2, axis=(1, 2), keepdims=True))
    Z = runs + noise / 100 * size * np.random.default_rng(seed).normal(size=runs.shape)
    trajectory = np.repeat(np.arange(len(runs)), len(t))
    model = WeakSINDy(PolynomialLibrary(DEGREE), threshold="aicc")
    return model.fit(np.concatenate(list(Z)), t=np.tile(t, len(runs)), trajectory=trajectory)


def measure(model: Dynamics, system: System, precision: float) -> tuple[Lyapunov, int]:
    """Exponents of a run long enough for that precision, and how many periods it took."""

    def along(periods: int) -> Lyapunov:
        # So many times as a rollout is given steps for: they grow in number with the times.
        t = system.period * np.linspace(0, periods, 40 * periods + 1)
        return lyapunov(model, system.start, t, bound=np.inf)

    pilot = along(PILOT)
    if not pilot.exponents[0] > 0:
        return pilot, PILOT
    error = pilot.standard_error[0] / pilot.exponents[0]
    periods = min(LONGEST, int(PILOT * (error / precision) ** 2))
    return (along(periods), periods) if periods > PILOT else (pilot, PILOT)


def deviations(found: Lyapunov, name: str) -> Array:
    """Of the largest exponent and the dimension from the reference, in per cent of it."""
    exponent, _, dimension, _ = REFERENCE[name]
    return 100 * np.array([found.exponents[0] / exponent - 1, found.kaplan_yorke / dimension - 1])


def row(system: System, small: bool) -> Array:
    """Print one line of the table; the deviations (3, 2) of the equations and the two models."""
    exponent, error, dimension, _ = REFERENCE[system.name]
    line = f"| {system.name} | {exponent:.4g} ± {100 * error / exponent:.1f} % | {dimension:.3f} |"
    models = [equations(system), *(identified(system, noise, seed=0) for noise in NOISES)]
    precision = (PRECISION_SMALL if small else PRECISION) / ASKED["equations"]
    found = [
        measure(model, system, precision * asked)
        for model, asked in zip(models, ASKED.values(), strict=True)
    ]
    off = np.array([deviations(one, system.name) for one, _ in found])
    for (one, _), (a, b) in zip(found, off, strict=True):
        done = one.status is Status.COMPLETED
        line += f" {a:+.2f} | {b:+.3f} |" if done else f" {one.status.name} | |"
    print(f"{line} {found[0][1]} |", flush=True)
    return off


def run(small: bool, data: Path | None) -> None:
    """Print the table; `small` takes three systems, and knows their exponents to 3 %."""
    if find_spec("dysts") is None:
        print("Lyapunov exponents: left out, the package dysts is not installed.")
        return
    print("Deviations from the reference, per cent.\n")
    print(
        "| system | largest exponent | dimension | equations | dimension | identified, clean "
        "| dimension | identified, 0.1 % noise | dimension | periods |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    systems = read_systems(SMALL if small else list(REFERENCE))
    off = np.abs([row(system, small) for system in systems])
    off[np.isnan(off)] = np.inf  # a model that ended early
    print("\n| of | asked | within, exponent | dimension | median, exponent | worst | dimension |")
    print("|---|---|---|---|---|---|---|")
    for k, (name, asked) in enumerate(ASKED.items()):
        within, (exponents, dimensions) = (off[:, k] <= asked).sum(axis=0), off[:, k].T
        print(
            f"| {name} | {asked:g} % | {within[0]} of {len(off)} | {within[1]} of {len(off)} "
            f"| {np.median(exponents):.2f} % | {exponents.max():.2f} % | {dimensions.max():.2f} % |"
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    run(parser.parse_args().small, None)


if __name__ == "__main__":
    main()
