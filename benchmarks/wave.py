"""Symplectic compression of the wave equation: `python benchmarks/wave.py`.

The setting of Peng and Mohseni (2016): a bump on a periodic interval of length 1, speed c = 0.1,
n = 256 points, so 512 numbers per state, t in [0, 50]; trained on the first 20 % of the times. The
snapshots are exact in time. The operator is projected on the modes of POD and of CotangentLift, of
equal size, and both reduced models run by the implicit midpoint rule.

error       largest ‖x - x_rom‖ over time, over the largest ‖x‖
projection  the same of the states projected on the modes: no reduced model can do better
drift       largest |H - H(0)| / H(0) over time, H the energy of the reduced state
growth      largest real part of an eigenvalue of the reduced operator; exactly, 0 for CotangentLift

The errors of the symplectic models beyond the projection are those of the time step. How fast POD
models grow depends, without a pattern, on the size and on how densely the snapshots are spaced.
"""

from __future__ import annotations

import numpy as np

import rom
from rom.compress.cotangent_lift import CotangentLift
from rom.fom import Wave

SIZES = [20, 40, 80]
T, DT, TRAINED = 50.0, 0.005, 0.2


def relative_error(reached: np.ndarray, X: np.ndarray) -> float:
    return float(np.linalg.norm(reached - X, axis=1).max() / np.linalg.norm(X, axis=1).max())


def measure(full: Wave, compressor: rom.POD | CotangentLift, X: np.ndarray, t: np.ndarray) -> str:
    compressor.fit(X[: int(TRAINED * len(X)) + 1])
    Z, V = compressor.transform(X), compressor.components_.T
    A = V.T @ (full.operator() @ V)
    galerkin = rom.OperatorInference.from_operators(A=A)
    run = rom.rollout(galerkin, Z[0], t, stepper="midpoint", throw=False)
    reached = compressor.inverse_transform(run.z)
    error = relative_error(reached, X)
    floor = relative_error(compressor.inverse_transform(Z), X)
    energy = full.energy(reached.reshape(len(t), 2, full.n))
    drift = np.abs(energy / energy[0] - 1).max()
    growth = np.linalg.eigvals(A).real.max()
    return f"{error:10.1e} {floor:10.1e} {drift:10.1e} {growth:10.1e}"


def main() -> None:
    full, t = Wave(speed=0.1, n=256), np.linspace(0, T, int(T / DT) + 1)
    snapshots = full.simulate(full.initial_state(), t)
    X = rom.Flatten().fit(snapshots).transform(snapshots)
    print(f"periodic wave, n = {full.n}, dt = {DT}, trained on t <= {TRAINED * T:g}, run to {T:g}")
    print(f"{'size':>4} {'basis':13} {'error':>10} {'projection':>10} {'drift':>10} {'growth':>10}")
    for size in SIZES:
        for compressor in (rom.POD(size, center=False), CotangentLift(size)):
            name = type(compressor).__name__
            print(f"{size:4} {name:13} {measure(full, compressor, X, t)}")


if __name__ == "__main__":
    main()
