"""Equations found from noisy samples of 70 chaotic systems (Kaptanoglu et al. 2023).

All are polynomials; equations and parameters are read from the source and the data of the package
`dysts`, which is not imported. Of each system there are five trajectories to fit and five to test,
from random points of the attractor: 1000 samples each, 100 a period, integrated to a relative
tolerance of 1e-12. Those to fit carry white noise, a given share of the root mean square of all
coordinates; those to test do not. The library holds all monomials up to degree 4. Ten models are
fitted, each to half of the rows, drawn at random. The threshold of STLSQ, be it of the coefficients
or of the terms' shares of the derivative, is for each equation that with the least AICc on the test
rows. The error is the mean over the ten of |C - C_true| / |C_true| (spectral norms), and what is
compared its median over the systems. All settings are the same for all systems and noises.

The other table: the damping of an oscillator with eigenvalues -0.05 ± i sampled every 0.4.

    pip install --no-deps dysts; pip install sympy
    python benchmarks/chaotic_systems.py [--systems N] [--cache DIR]

Kaptanoglu, Zhang, Nicolaou, Fasel & Brunton (2023), Nonlinear Dyn. 111, 13143; Gilpin (2021),
NeurIPS Datasets and Benchmarks.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from rom.data.trajectory import segments
from rom.dynamics import PolynomialLibrary
from rom.dynamics.library import monomials
from rom.dynamics.midpoint import MidpointSINDy
from rom.dynamics.normal import normal
from rom.dynamics.sparse import choose, stlsq_path
from rom.dynamics.weak_rows import weak_rows
from rom.dynamics.windows import support_width

Array = NDArray[np.float64]

# The paper's; of those in `dysts` it leaves out Arneodo, HindmarshRose and AtmosphericRegime.
# fmt: off
SYSTEMS = [
    "Aizawa", "Bouali2", "BurkeShaw", "Chen", "ChenLee", "Dadras", "DequanLi", "Finance",
    "GenesioTesi", "GuckenheimerHolmes", "Hadley", "Halvorsen", "HenonHeiles", "HyperBao",
    "HyperCai", "HyperJha", "HyperLorenz", "HyperLu", "HyperPang", "HyperQi", "HyperRossler",
    "HyperWang", "HyperXu", "HyperYan", "HyperYangChen", "KawczynskiStrizhak", "Laser",
    "Lorenz", "LorenzBounded", "LorenzStenflo", "LuChen", "LuChenCheng", "MooreSpiegel",
    "NewtonLiepnik", "NoseHoover", "NuclearQuadrupole", "PehlivanWei", "Qi", "QiChen",
    "RabinovichFabrikant", "RayleighBenard", "RikitakeDynamo", "Rossler", "Rucklidge",
    "Sakarya", "ShimizuMorioka", "SprottA", "SprottB", "SprottC", "SprottD", "SprottE",
    "SprottF", "SprottG", "SprottH", "SprottI", "SprottJ", "SprottJerk", "SprottK", "SprottL",
    "SprottM", "SprottN", "SprottO", "SprottP", "SprottQ", "SprottR", "SprottS", "SprottTorus",
    "VallisElNino", "WangSun", "ZhouChen",
]
# fmt: on
NOISES = {0.0: 2e-5, 0.1: 2e-4, 1.0: 4e-3}
PAPER = {0.0: 2.1e-5, 0.1: 1.8e-4, 1.0: 4.0e-3}
N_TRAJECTORIES, N_SAMPLES, PER_PERIOD, N_MODELS, DEGREE = 5, 1000, 100, 10, 4


class System(NamedTuple):
    """A system of ordinary differential equations, as `dysts` gives it."""

    name: str
    rhs: Callable[..., tuple]
    parameters: list[float]
    start: Array
    period: float


def read_systems(names: list[str]) -> list[System]:
    """Right-hand sides and parameters, from the source and the data of `dysts`."""
    spec = find_spec("dysts")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("This table needs the package dysts: pip install --no-deps dysts")
    home = Path(spec.submodule_search_locations[0])
    tree = ast.parse((home / "flows.py").read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    data = json.loads((home / "data" / "chaotic_attractors.json").read_text())
    found = []
    for name in names:
        body = [f for f in classes[name].body if getattr(f, "name", "") == "_rhs"]
        body[0].decorator_list = []
        scope: dict = {"np": np}
        exec(compile(ast.Module(body, []), name, "exec"), scope)
        entry = data[name]
        values = [entry["parameters"][key] for key in sorted(entry["parameters"])]
        start = np.array(entry["initial_conditions"], float).ravel()
        found.append(System(name, scope["_rhs"], values, start, entry["period"]))
    return found


def coefficients(system: System, exponents: NDArray) -> Array:
    """The true coefficients (rank, n_terms), by expanding the right-hand side in symbols."""
    import sympy

    z = sympy.symbols(f"z:{len(system.start)}")
    sides = system.rhs(*z, sympy.Symbol("t"), *system.parameters)
    polynomials = [sympy.Poly(sympy.expand(side), *z) for side in sides]
    assert all(p.total_degree() <= DEGREE for p in polynomials), system.name
    return np.array(
        [[float(p.coeff_monomial(tuple(e))) for e in exponents.tolist()] for p in polynomials]
    )


def simulate(system: System, seed: int) -> tuple[Array, Array]:
    """Times (n_time,) and trajectories (10, n_time, rank)."""
    rank = len(system.start)

    def run(starts: Array, t: Array, rtol: float) -> Array:
        """(n, n_time, rank) from `starts` (n, rank), all in one integration."""

        def field(s: float, z: Array) -> Array:
            sides = system.rhs(*z.reshape(rank, -1), s, *system.parameters)
            return np.concatenate([np.broadcast_to(side, len(starts)) for side in sides])

        atol = 1e-2 * rtol * np.abs(starts).max()
        found = solve_ivp(
            field, (0, t[-1]), starts.T.ravel(), "DOP853", t_eval=t, rtol=rtol, atol=atol
        )
        assert found.status == 0, (system.name, found.message)
        return found.y.reshape(rank, len(starts), -1).transpose(1, 2, 0)

    attractor = run(system.start[None], np.linspace(0, 1000 / 30 * system.period, 1000), 1e-9)[0]
    draw = np.random.default_rng(seed).choice(1000, 2 * N_TRAJECTORIES, replace=False)
    t = np.linspace(0, N_SAMPLES / PER_PERIOD * system.period, N_SAMPLES)
    return t, run(attractor[draw], t, 1e-12)


def rows(trajectories: Array, t: Array, exponents: NDArray) -> tuple[Array, Array]:
    Z = np.concatenate(list(trajectories))
    times = np.tile(t, len(trajectories))
    pieces = segments(times, np.repeat(np.arange(len(trajectories)), len(t)))
    width = support_width(Z, times, pieces)
    parts = weak_rows(monomials(Z, exponents).__getitem__, Z, times, pieces, width=width)
    A, Y = map(np.concatenate, zip(*parts, strict=True))
    return A, Y


def coefficient_error(
    t: Array, runs: Array, exponents: NDArray, true: Array, noise: float, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    train, test = runs[:N_TRAJECTORIES], runs[N_TRAJECTORIES:]
    size = np.sqrt(np.mean(train**2, axis=(1, 2), keepdims=True))
    A, Y = rows(train + noise / 100 * size * rng.normal(size=train.shape), t, exponents)
    judge = normal(*rows(test, t, exponents), exact=True)
    errors = []
    for _ in range(N_MODELS):
        half = rng.choice(len(A), len(A) // 2, replace=False)
        found = normal(A[half], Y[half], exact=True)
        paths = [stlsq_path(found, relative=relative) for relative in (False, True)]
        coef = choose(judge, np.concatenate(paths), "aicc")
        errors.append(np.linalg.norm(coef - true, 2) / np.linalg.norm(true, 2))
    return float(np.mean(errors))


def errors_of(seed: int, system: System, cache: Path | None) -> list[float]:
    """The errors of one system, for each noise."""
    exponents = PolynomialLibrary(DEGREE).exponents(len(system.start))
    path = cache / f"{system.name}.npz" if cache else None
    if path and path.exists():
        stored = np.load(path)
        t, runs = stored["t"], stored["X"]
    else:
        t, runs = simulate(system, seed)
        if path:
            np.savez(path, t=t, X=runs)
    true = coefficients(system, exponents)
    return [coefficient_error(t, runs, exponents, true, noise, seed) for noise in NOISES]


def chaotic_systems(n: int, cache: Path | None) -> None:
    systems, errors = read_systems(SYSTEMS[:n]), []
    jobs = (joblib.delayed(errors_of)(i, system, cache) for i, system in enumerate(systems))
    found = joblib.Parallel(joblib.cpu_count(), return_as="generator")(jobs)
    for system, row in zip(systems, found, strict=True):
        errors.append(row)
        print(f"{system.name:20}", *(f"{error:9.1e}" for error in row), flush=True)
    print(
        "\n| noise, % of RMS | systems | asked | best in the paper | median | quartiles | worst |"
    )
    print("|---|---|---|---|---|---|---|")
    for noise, column in zip(NOISES, np.transpose(errors), strict=True):
        low, median, high = np.percentile(column, [25, 50, 75])
        print(
            f"| {noise:g} | {len(column)} | {NOISES[noise]:.0e} | {PAPER[noise]:.1e} | {median:.1e}"
            f" | {low:.1e} … {high:.1e} | {max(column):.1e} |"
        )


def damped_oscillator() -> None:
    t = np.arange(0, 40, 0.4)
    z = np.exp((-0.05 + 1j) * t)
    Z = np.stack([z.real, z.imag], axis=1)

    def damping(A: Array, Y: Array) -> float:
        return float(np.trace(np.linalg.lstsq(A, Y)[0]) / 2)

    slope = np.diff(Z, axis=0) / 0.4
    model = MidpointSINDy(PolynomialLibrary(1), threshold=0.01).fit(Z, t=t)
    midpoint = 0.5 * (model.coef_[0, 1] + model.coef_[1, 2])
    print("\n| true damping | midpoint | forward difference | backward difference |")
    print("|---|---|---|---|")
    print(
        f"| -0.05 | {midpoint:.3f} | {damping(Z[:-1], slope):.3f} | {damping(Z[1:], slope):.3f} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=int, default=len(SYSTEMS), help="only the first so many")
    parser.add_argument("--cache", type=Path, help="folder that keeps the trajectories")
    arguments = parser.parse_args()
    damped_oscillator()
    chaotic_systems(arguments.systems, arguments.cache)
