"""Sparse regression beside PySINDy and a plain Gram matrix: `python benchmarks/discovery_speed.py`.

Needs pysindy. Every contender gets the same states and exact derivatives, the same library and
threshold, and runs in a process of its own; a time is the median over some runs, memory what the
process holds at most beyond what it held with library and data in place. The plain Gram version is
what everybody writes by hand: all terms of all rows, one product, and thresholding on it.
The coefficients of all contenders are asserted equal; of ensembles, whose bags differ, to be near.

`--weak` times the weak form on 100,000 exact states of one run, and prints its error beside that
of PySINDy, whose windows stand at random: with windows of the width that rom finds, narrow ones,
and those of PySINDy. What PySINDy needs to build its library is printed apart: its own time is
that of the fit alone.

`--noise` instead counts how often the seven terms of Lorenz 63 are found in noisy states.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import savgol_filter

from rom.dynamics import PolynomialLibrary, SINDy, WeakSINDy
from rom.dynamics.library import monomials

RUNS, SLOW = 7, 8.0  # runs of a median; seconds after which one is enough
THRESHOLD, ALPHA = 0.1, 1e-10
WIDTH, DEGREE = 15, 6  # rows and degree of the polynomials that smooth noisy states


class Case(NamedTuple):
    """One row of the table; `target` is how many times faster than PySINDy is asked."""

    name: str
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    degree: int
    n_models: int
    target: float


def lorenz63(x: np.ndarray) -> np.ndarray:
    a, b, c = x
    return np.array([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c])


def lorenz96(x: np.ndarray) -> np.ndarray:
    return (np.roll(x, -1, 0) - np.roll(x, 2, 0)) * np.roll(x, 1, 0) - x + 8


def cubic(x: np.ndarray) -> np.ndarray:
    """Ten coupled oscillators with cubic damping, as amplitudes of modes have it."""
    a, b = x[0::2], x[1::2]
    size, rate = a**2 + b**2, (1 + 0.37 * np.arange(5)).reshape(-1, *[1] * (x.ndim - 1))
    out = np.empty_like(x)
    out[0::2] = a - a * size - rate * b + 0.3 * np.roll(a, 1, 0)
    out[1::2] = b - b * size + rate * a
    return out


def trajectories(
    rhs: Callable[[np.ndarray], np.ndarray], d: int, n_rows: int, dt: float, n_runs: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `n_runs` runs by Runge-Kutta 4, side by side, after a start that is left out."""
    x = 2 * np.random.default_rng(0).normal(size=(d, n_runs))
    n_steps, n_start = -(-n_rows // n_runs), int(10 / dt)
    Z = np.empty((n_runs, n_steps, d))
    for k in range(-n_start, n_steps):
        if k >= 0:
            Z[:, k] = x.T
        k1 = rhs(x)
        k2 = rhs(x + dt / 2 * k1)
        k3 = rhs(x + dt / 2 * k2)
        x = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rhs(x + dt * k3))
    Z = np.ascontiguousarray(Z.reshape(-1, d)[:n_rows])
    return Z, np.ascontiguousarray(rhs(Z.T).T)


def l63(n_rows: int) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    return lambda: trajectories(lorenz63, 3, n_rows, 0.005)


def l96(n_rows: int) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    return lambda: trajectories(lorenz96, 20, n_rows, 0.02)


CASES = {
    "l63": Case("Lorenz 63, 1,000,000 rows, 10 terms", l63(1_000_000), 2, 1, 75),
    "l96": Case("Lorenz 96, d = 20, 100,000 rows, 231 terms", l96(100_000), 2, 1, 80),
    "modes": Case(
        "10 modes, 100,000 rows, 286 cubic terms",
        lambda: trajectories(cubic, 10, 100_000, 0.02),
        3,
        1,
        60,
    ),
    "l63x20": Case("ensemble of 20, Lorenz 63, 100,000 rows", l63(100_000), 2, 20, 100),
    "l96x20": Case("ensemble of 20, Lorenz 96, 20,000 rows", l96(20_000), 2, 20, 50),
}


def with_rom(case: Case, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    library = PolynomialLibrary(case.degree)
    model = SINDy(library, threshold=THRESHOLD, alpha=ALPHA, n_models=case.n_models, random_state=0)
    return model.fit(Z, y).coef_


def with_pysindy(case: Case, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    import pysindy as ps

    optimizer = ps.STLSQ(threshold=THRESHOLD, alpha=ALPHA)
    if case.n_models > 1:
        optimizer = ps.EnsembleOptimizer(optimizer, bagging=True, n_models=case.n_models)
    model = ps.SINDy(optimizer=optimizer, feature_library=ps.PolynomialLibrary(case.degree))
    return model.fit(Z, t=0.01, x_dot=y).coefficients()


def with_gram(case: Case, Z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All terms, one Gram matrix, thresholding on it; an ensemble draws its rows again."""
    A = monomials(Z, PolynomialLibrary(case.degree).exponents(Z.shape[1]))
    rng, coefs = np.random.default_rng(0), []
    for _ in range(case.n_models):
        rows = rng.integers(len(A), size=len(A)) if case.n_models > 1 else slice(None)
        B = A[rows]
        gram, cross = B.T @ B + ALPHA * np.eye(A.shape[1]), B.T @ y[rows]
        coef = np.linalg.solve(gram, cross).T
        for i, row in enumerate(coef):
            kept = np.ones(len(row), bool)
            while (small := kept & (np.abs(row) < THRESHOLD)).any():
                kept &= ~small
                row[~kept] = 0
                row[kept] = np.linalg.solve(gram[np.ix_(kept, kept)], cross[kept, i])
        coefs.append(coef)
    return np.median(coefs, axis=0)


CONTENDERS = {"pysindy": with_pysindy, "plain Gram": with_gram, "rom": with_rom}


def resident(key: str) -> int:
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(key))


def peak(run: Callable[[], Any]) -> int:
    """The most memory held while it runs, beyond that at the start."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    start = most = resident("VmRSS")
    try:  # the kernel keeps the high-water mark and takes 5 for an order to start anew
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        done = threading.Event()

        def sample() -> None:
            nonlocal most
            while not done.wait(0.001):
                most = max(most, resident("VmRSS"))

        sampler = threading.Thread(target=sample)
        sampler.start()
        run()
        done.set()
        sampler.join()
        return most - start
    run()
    return resident("VmHWM") - start


def work(case: Case, contender: str, out: str) -> None:
    """One measurement; its coefficients go to a file."""
    Z, y = case.data()
    run = CONTENDERS[contender]
    few = case._replace(data=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(few, Z[:2000].copy(), y[:2000].copy())  # loads libraries, compiles
        times: list[float] = []
        coefs = []

        def once() -> None:
            start = time.perf_counter()
            coefs[:] = [run(few, Z, y)]
            times.append(time.perf_counter() - start)

        memory = peak(once)
        while len(times) < RUNS and sum(times) < SLOW:
            once()
    np.save(out, coefs[0])
    print(json.dumps({"time": median(times), "memory": memory}))


def measure(key: str, contender: str, folder: str) -> tuple[dict[str, float], np.ndarray]:
    out = str(Path(folder) / "coef.npy")
    command = [sys.executable, __file__, "--worker", key, contender, out]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1]), np.load(out)


def order_of(case: Case, d: int) -> np.ndarray:
    """PySINDy's terms, in the order of rom's."""
    import pysindy as ps

    theirs = ps.PolynomialLibrary(case.degree).fit(np.zeros((2, d))).powers_
    place = {tuple(row): i for i, row in enumerate(theirs.tolist())}
    return np.array([place[tuple(r)] for r in PolynomialLibrary(case.degree).exponents(d).tolist()])


def table(keys: list[str]) -> None:
    print("| case | contender | seconds | memory, MB | times faster | part of the memory | asked |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for key, case in ((key, CASES[key]) for key in keys):
            results = {name: measure(key, name, folder) for name in CONTENDERS}
            first, theirs = results["pysindy"]
            mine = results["rom"][1]
            theirs = theirs[:, order_of(case, len(theirs))]
            close = 1e-6 if case.n_models == 1 else 1e-4
            for other in (theirs, results["plain Gram"][1]):
                np.testing.assert_array_equal(mine != 0, other != 0)
                np.testing.assert_allclose(mine, other, rtol=close, atol=close)
            for name, (result, _) in results.items():
                asked = f"{case.target:g} x" if name == "rom" else ""
                print(
                    f"| {case.name} | {name} | {result['time']:.4f} | {result['memory'] / 1e6:.1f} "
                    f"| {first['time'] / result['time']:.1f} "
                    f"| {result['memory'] / first['memory']:.3f} | {asked} |",
                    flush=True,
                )


def weak(n_rows: int = 100_000, n_windows: int = 500) -> None:
    """The weak form: seconds and largest error of a coefficient, as a part of the largest."""
    import pysindy as ps

    t = 0.001 * np.arange(n_rows)
    run = solve_ivp(
        lambda _, x: lorenz63(x), (0, t[-1]), [-8, 7, 27], "DOP853", t, rtol=1e-12, atol=1e-12
    )
    Z, library = np.ascontiguousarray(run.y.T), PolynomialLibrary(2)
    true = np.zeros((3, 10))
    true[0, [1, 2]], true[1, [1, 2, 6]], true[2, [3, 5]] = [-10, 10], [28, -1, -1], [-8 / 3, 1]

    def timed(fit: Callable[[], np.ndarray]) -> tuple[float, float]:
        times = []
        while len(times) < RUNS:
            start = time.perf_counter()
            coef = fit()
            times.append(time.perf_counter() - start)
        return median(times), float(np.abs(coef - true).max() / np.abs(true).max())

    def mine(**options: Any) -> Callable[[], np.ndarray]:
        model = WeakSINDy(library, threshold=THRESHOLD, n_windows=n_windows, **options)
        return lambda: model.fit(Z, t=t).coef_

    start = time.perf_counter()
    terms = ps.WeakPDELibrary(
        ps.PolynomialLibrary(2), spatiotemporal_grid=t, K=n_windows, is_uniform=True
    )
    built = time.perf_counter() - start
    optimizer = ps.STLSQ(threshold=THRESHOLD, alpha=0)
    order = order_of(CASES["l63"], 3)

    def theirs() -> np.ndarray:
        model = ps.SINDy(optimizer=optimizer, feature_library=terms).fit(Z, t=t)
        return model.coefficients()[:, order]

    first, error = timed(theirs)
    print(f"\n| weak form, {n_windows} windows, {n_rows:,} rows | seconds | error | times faster |")
    print("|---|---|---|---|")
    print(f"| pysindy (its library: {built:.1f} s more) | {first:.4f} | {error:.1e} | 1 |")
    width = 2 * float(terms.H_xt[0])
    for name, fit in {
        "rom, its own width": mine(),
        "rom, windows of 1": mine(width=1.0),
        f"rom, windows of {width:.3g} as pysindy's": mine(width=width),
    }.items():
        seconds, error = timed(fit)
        print(f"| {name} (asked: 50 x) | {seconds:.4f} | {error:.1e} | {first / seconds:.1f} |")


def lorenz_noise(n_seeds: int = 20) -> None:
    """How often exactly the seven terms of Lorenz 63 are found among cubic ones, at 1 % noise.

    The recipe knows neither the noise nor a threshold: states and slopes of local polynomials
    (width and degree were set on other seeds), models bagged over blocks of rows, the terms of
    each chosen by BIC on the rows that it did not see, and the median of their coefficients.
    """
    t = np.arange(0, 50, 0.01)
    run = solve_ivp(
        lambda _, x: lorenz63(x), (0, 50), [-8, 7, 27], t_eval=t, rtol=1e-10, atol=1e-10
    )
    library = PolynomialLibrary(3)
    names = library.names(["x", "y", "z"])
    true = np.array(
        [
            [n in equation for n in names]
            for equation in (["x", "y"], ["x", "y", "x z"], ["z", "x y"])
        ]
    )
    recipes = {
        "bagged, BIC on unseen rows": {"threshold": "bic", "n_models": 20, "random_state": 0},
        "threshold 0.1": {"threshold": 0.1},
        "BIC on the rows of the fit": {"threshold": "bic"},
        "best subset, BIC": {"solver": "subset", "threshold": "bic"},
    }
    found: dict[str, list[bool]] = {name: [] for name in recipes}
    errors: dict[str, list[float]] = {name: [] for name in recipes}
    exact = SINDy(library).fit(run.y.T, lorenz63(run.y).T).coef_
    for seed in range(100, 100 + n_seeds):
        noise = np.random.default_rng(seed).normal(size=run.y.T.shape)
        noisy = run.y.T + 0.01 * np.sqrt(np.mean(run.y**2)) * noise
        Z = savgol_filter(noisy, WIDTH, DEGREE, axis=0)[WIDTH:-WIDTH]
        y = savgol_filter(noisy, WIDTH, DEGREE, deriv=1, delta=0.01, axis=0)[WIDTH:-WIDTH]
        for name, options in recipes.items():
            coef = SINDy(library, **options).fit(Z, y).coef_
            found[name].append(bool(np.array_equal(coef != 0, true)))
            errors[name].append(float(np.linalg.norm(coef - exact) / np.linalg.norm(exact)))
    print(f"| Lorenz 63, 1 % noise, cubic library | exactly the 7 terms, of {n_seeds} | error |")
    print("|---|---|---|")
    for name, hits in found.items():
        asked = " (asked: 18)" if name == next(iter(found)) else ""
        print(f"| {name} | {sum(hits)}{asked} | {median(errors[name]):.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", action="store_true", help="count the terms found in noise")
    parser.add_argument("--weak", action="store_true", help="time the weak form")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        key, contender, out = arguments.worker
        work(CASES[key], contender, out)
    elif arguments.noise:
        lorenz_noise()
    elif arguments.weak:
        weak()
    else:
        table(arguments.cases)


if __name__ == "__main__":
    main()
