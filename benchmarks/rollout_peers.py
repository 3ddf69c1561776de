"""One contender of benchmarks/rollout.py, run by an interpreter that has it; prints JSON.

    python benchmarks/rollout_peers.py CONTENDER SYSTEM UNTIL ERROR

The systems are written three times: as terms, as their authors would write them, and compiled.
Each run is judged at a time when chaos has not yet made rounding large, by its distance from a run
of SciPy's DOP853 at its tightest tolerance, over the size of the state. Of the tolerances of a
contender, loosest first, the first whose error is at most ERROR counts, else the last. Times are
processor time, the least of some runs, after one that compiles. Contenders that are slow run for a
part of the time, and the rest is scaled, which favours nobody: their cost per step is the same
throughout.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Array = NDArray[np.float64]

OUTPUTS = 10  # per unit of time
JUDGED = {"lorenz63": 10.0, "lorenz96": 6.0, "oscillators": 10.0}
RANK = {"lorenz63": 3, "lorenz96": 20, "oscillators": 50}
# In half decades, so that no contender is far more accurate than asked.
TOLERANCES = (10.0 ** -np.arange(6, 12.25, 0.5)).tolist()
RUNS, PATIENCE = 5, 5.0  # runs of a time; seconds after which one is enough


class System(NamedTuple):
    """``dz_i/dt = Σ value * product of z_j``; terms are (i, (j, ...), value)."""

    name: str
    terms: list[tuple[int, tuple[int, ...], float]]
    z0: Array

    def polynomial(self) -> tuple[NDArray[np.int64], Array]:
        """Exponents (n_terms, rank) of the terms there are, and coefficients (rank, n_terms)."""
        monomials = sorted({factors for _, factors, _ in self.terms}, key=lambda f: (len(f), f))
        place = {factors: k for k, factors in enumerate(monomials)}
        coef = np.zeros((len(self.z0), len(monomials)))
        for i, factors, value in self.terms:
            coef[i, place[factors]] += value
        exponents = [
            np.bincount(f, minlength=len(self.z0)) if f else 0 * self.z0 for f in monomials
        ]
        return np.array(exponents, dtype=np.int64), coef


def lorenz63(z: Any, xp: Any = np) -> Any:
    return xp.stack([10 * (z[1] - z[0]), z[0] * (28 - z[2]) - z[1], z[0] * z[1] - 8 / 3 * z[2]])


def lorenz96(z: Any, xp: Any = np) -> Any:
    return (xp.roll(z, -1) - xp.roll(z, 2)) * xp.roll(z, 1) - z + 8


def oscillators(z: Any, xp: Any = np) -> Any:
    """A ring of oscillators with cubic damping, as amplitudes of modes have it."""
    a, b = z[0::2], z[1::2]
    size, rate = a * a + b * b, 1 + 0.07 * xp.arange(25)
    da = a - a * size - rate * b + 0.3 * xp.roll(a, 1)
    return xp.stack([da, b - b * size + rate * a], axis=1).reshape(-1)


FIELDS: dict[str, Callable[..., Any]] = {
    "lorenz63": lorenz63,
    "lorenz96": lorenz96,
    "oscillators": oscillators,
}


def terms(name: str) -> Iterator[tuple[int, tuple[int, ...], float]]:
    if name == "lorenz63":
        yield from [(0, (0,), -10.0), (0, (1,), 10.0), (1, (0,), 28.0), (1, (1,), -1.0)]
        yield from [(1, (0, 2), -1.0), (2, (0, 1), 1.0), (2, (2,), -8 / 3)]
    elif name == "lorenz96":
        for i in range(20):
            ahead, behind, second = (i + 1) % 20, (i - 1) % 20, (i - 2) % 20
            yield from [(i, (), 8.0), (i, (i,), -1.0)]
            yield i, tuple(sorted((ahead, behind))), 1.0
            yield i, tuple(sorted((second, behind))), -1.0
    else:
        for a in range(0, 50, 2):
            b, rate = a + 1, 1 + 0.07 * (a // 2)
            yield from [(a, (a,), 1.0), (a, (a, a, a), -1.0), (a, (a, b, b), -1.0)]
            yield from [(a, (b,), -rate), (a, ((a - 2) % 50,), 0.3)]
            yield from [(b, (b,), 1.0), (b, (b, b, b), -1.0), (b, (a, a, b), -1.0), (b, (a,), rate)]


def system(name: str) -> System:
    field, z = FIELDS[name], np.random.default_rng(0).normal(size=RANK[name])
    for _ in range(20_000):  # to the attractor
        z = z + 0.002 * field(z + 0.001 * field(z))
    return System(name, list(terms(name)), z)


class Run(NamedTuple):
    """A contender: `run` gives the states at some times, at a tolerance, where it has one."""

    run: Callable[[Array, float], Any]
    tolerances: list[float]
    part: float = 1.0
    """Of the time, that it is run for."""


def measure(contender: Run, name: str, until: float, allowed: float) -> dict[str, float]:
    """Error and seconds at the loosest tolerance whose error is `allowed`, or at the tightest."""
    chosen = system(name)
    times = np.linspace(0, JUDGED[name], int(OUTPUTS * JUDGED[name]) + 1)
    truth = solve_ivp(
        lambda t, z: FIELDS[name](z), (0, times[-1]), chosen.z0, "DOP853", rtol=2.3e-14, atol=1e-14
    ).y[:, -1]
    for tolerance in contender.tolerances:
        end = np.asarray(contender.run(times, tolerance))[-1]
        error = float(np.linalg.norm(end - truth) / np.linalg.norm(truth))
        if error <= allowed:
            break
    span = until * contender.part
    grid = np.linspace(0, span, max(2, round(OUTPUTS * span) + 1))
    seconds: list[float] = []
    while len(seconds) <= RUNS and sum(seconds) < PATIENCE:
        start = time.process_time()
        np.asarray(contender.run(grid, tolerance))
        seconds.append(time.process_time() - start)
    least = min(seconds[1:] or seconds) / contender.part
    return {"tolerance": tolerance, "error": error, "seconds": least}


def with_rom(chosen: System, stepper: str) -> Run:
    import rom
    from rom.base import Dynamics, Polynomial

    polynomial = Polynomial(*chosen.polynomial())

    class Equations(Dynamics):
        time = "continuous"

        def polynomial(self) -> Polynomial:
            return polynomial

        def _fit_series(self, series: Any) -> None:
            pass

        def _predict(self, Z: Array, u: Any) -> Array:
            return np.array([FIELDS[chosen.name](z) for z in Z])

    model = Equations().fit(np.stack([chosen.z0, -chosen.z0]), t=[0.0, 1.0])
    return Run(lambda t, _: rom.rollout(model, chosen.z0, t, stepper=stepper).z, [1e-8])


def scipy_run(chosen: System, field: Callable[[float, Array], Array], method: str) -> Run:
    def run(t: Array, rtol: float) -> Array:
        span, start = (t[0], t[-1]), chosen.z0
        return solve_ivp(field, span, start, method, t_eval=t, rtol=rtol, atol=rtol * 1e-3).y.T

    return Run(run, TOLERANCES, part=0.1)


def with_scipy_compiled(chosen: System, method: str) -> Run:
    """Sparse terms, compiled for this system alone."""
    from numba import njit

    first = np.searchsorted([i for i, _, _ in sorted(chosen.terms)], np.arange(len(chosen.z0) + 1))
    value = np.array([value for _, _, value in sorted(chosen.terms)])
    one = len(chosen.z0)
    factors = np.array([(*f, one, one, one)[:3] for _, f, _ in sorted(chosen.terms)])

    @njit(fastmath=True)
    def field(t: float, z: Array) -> Array:
        out, full = np.empty(len(z)), np.append(z, 1.0)
        for i in range(len(z)):
            total = 0.0
            for k in range(first[i], first[i + 1]):
                total += value[k] * full[factors[k, 0]] * full[factors[k, 1]] * full[factors[k, 2]]
            out[i] = total
        return out

    return scipy_run(chosen, field, method)


def with_scipy_numpy(chosen: System) -> Run:
    """All monomials up to the degree, as a library has them, and a full matrix."""
    degree, rank = max(len(f) for _, f, _ in chosen.terms), len(chosen.z0)
    library = [c for d in range(degree + 1) for c in combinations_with_replacement(range(rank), d)]
    place = {factors: k for k, factors in enumerate(library)}
    coef = np.zeros((rank, len(library)))
    for i, factors, value in chosen.terms:
        coef[i, place[factors]] += value
    columns = np.array([(*c, *[rank] * (degree - len(c))) for c in library]).T

    def field(t: float, z: Array) -> Array:
        return coef @ np.prod(np.append(z, 1.0)[columns], axis=0)

    return scipy_run(chosen, field, "DOP853")._replace(part=0.01)


def with_pysindy(chosen: System) -> Run:
    """Its model, with exact coefficients, and the method it has by default."""
    import pysindy as ps

    degree = max(len(f) for _, f, _ in chosen.terms)
    rng = np.random.default_rng(0)
    model = ps.SINDy(optimizer=ps.STLSQ(), feature_library=ps.PolynomialLibrary(degree))
    few = rng.normal(size=(20, len(chosen.z0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(few, t=0.01, x_dot=few)
    powers = np.asarray(model.feature_library.powers_)
    exponents, coef = chosen.polynomial()
    place = {tuple(row): k for k, row in enumerate(powers.tolist())}
    full = np.zeros((len(chosen.z0), len(powers)))
    full[:, [place[tuple(row)] for row in exponents.tolist()]] = coef
    model.optimizer.coef_ = full

    def run(t: Array, rtol: float) -> Array:
        options = {"method": "LSODA", "rtol": rtol, "atol": rtol * 1e-3}
        return np.asarray(model.simulate(chosen.z0, t, integrator_kws=options))

    return Run(run, TOLERANCES[1:], part=0.002)


def with_opinf(chosen: System, method: str) -> Run:
    import opinf

    rank = len(chosen.z0)
    blocks = [np.zeros((rank, rank**d)) for d in range(4)]
    for i, factors, value in chosen.terms:
        column = int(np.ravel_multi_index(factors, (rank,) * len(factors))) if factors else 0
        blocks[len(factors)][i, column] += value
    ops = opinf.operators
    kinds = [ops.ConstantOperator, ops.LinearOperator, ops.QuadraticOperator, ops.CubicOperator]
    operators = []
    for kind, block in zip(kinds, blocks, strict=True):
        if block.any():
            entries = kind.compress_entries(block) if block.shape[1] > rank else block
            operators.append(kind(entries[:, 0] if kind is ops.ConstantOperator else entries))
    model = opinf.models.ContinuousModel(operators)

    def run(t: Array, rtol: float) -> Array:
        options = {"method": method, "rtol": rtol, "atol": rtol * 1e-3}
        return np.asarray(model.predict(chosen.z0, t, **options)).T

    return Run(run, TOLERANCES, part=0.01)


def with_diffrax(chosen: System, solver: str) -> Run:
    import jax

    jax.config.update("jax_enable_x64", True)
    import diffrax
    import jax.numpy as jnp

    field = FIELDS[chosen.name]
    term = diffrax.ODETerm(lambda t, z, args: field(z, jnp))
    z0 = jnp.asarray(chosen.z0)

    @jax.jit
    def solve(t: Any, rtol: Any) -> Any:
        return diffrax.diffeqsolve(
            term,
            getattr(diffrax, solver)(),
            t0=t[0],
            t1=t[-1],
            dt0=None,
            y0=z0,
            saveat=diffrax.SaveAt(ts=t),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * 1e-3),
            max_steps=10_000_000,
        ).ys

    return Run(lambda t, rtol: solve(jnp.asarray(t), rtol), TOLERANCES)


CONTENDERS: dict[str, Callable[[System], Run]] = {
    **{f"rom {m}": lambda s, m=m: with_rom(s, m) for m in ("dopri5", "dop853")},
    "pysindy": with_pysindy,
    **{f"opinf {m}": lambda s, m=m: with_opinf(s, m) for m in ("RK45", "DOP853")},
    **{
        f"SciPy compiled {m}": lambda s, m=m: with_scipy_compiled(s, m)
        for m in ("RK45", "DOP853", "LSODA")
    },
    "SciPy NumPy": with_scipy_numpy,
    **{f"diffrax {m}": lambda s, m=m: with_diffrax(s, m) for m in ("Dopri5", "Tsit5", "Dopri8")},
}

if __name__ == "__main__":
    del sys.path[0]  # this folder, where a file is called opinf.py
    contender, name, until, allowed = sys.argv[1:]
    run = CONTENDERS[contender](system(name))
    print(json.dumps(measure(run, name, float(until), float(allowed))))
