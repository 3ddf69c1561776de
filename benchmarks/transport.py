"""Compression of a travelling pulse: `python benchmarks/transport.py`.

The linear advection example of the code that Schwerdtner and Peherstorfer published with their
greedy quadratic manifolds (arXiv:2403.06732): a Gaussian exp(-(x - 0.1 - 10 t)² / 2e-4) at 4096
points of [0, 1] and 2000 times in [0, 0.1].

1. As there: the line is open, and the pulse leaves it in the last tenth of the time.
2. On a ring, once around.

Every other snapshot is fitted; those in between are held out. Errors are in the Frobenius norm,
relative to the snapshots; in brackets how many times lower than that of POD with as many latent
coordinates. All models have their default settings; the autoencoder takes a
minute or more for each rank.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rom.base import Compressor
from rom.compress.autoencoder import Autoencoder
from rom.compress.pod import POD
from rom.compress.quadratic_manifold import QuadraticManifold
from rom.compress.shifted_pod import ShiftedPOD

RANKS = (5, 10, 15, 20)
MODELS: dict[str, Callable[[int], Compressor]] = {
    "POD": POD,
    "QuadraticManifold": QuadraticManifold,
    "  leading modes": lambda rank: QuadraticManifold(rank, selection="leading"),
    "ShiftedPOD": ShiftedPOD,
    "Autoencoder": lambda rank: Autoencoder(rank, random_state=0),
}


def pulse(ring: bool) -> np.ndarray:
    """Snapshots (2000, 4096)."""
    x, t = np.linspace(0, 1, 4096, endpoint=not ring), np.linspace(0, 0.1, 2000)[:, None]
    distance = x - 0.1 - 10 * t
    if ring:
        distance = (distance + 0.5) % 1 - 0.5
    return np.exp(-(distance**2) / 2e-4) / np.sqrt(2e-4 * np.pi)


def relative_error(model: Compressor, X: np.ndarray) -> float:
    decoded = model.inverse_transform(model.transform(X))
    return float(np.linalg.norm(decoded - X) / np.linalg.norm(X))


def main() -> None:
    for title, ring in (("1. open line", False), ("2. ring", True)):
        X = pulse(ring)
        fitted, between = X[::2], X[1::2]
        print(f"{title}\n{'':22}{'rank':>4}  {'fitted snapshots':20}  snapshots in between")
        for rank in RANKS:
            pod = [relative_error(POD(rank).fit(fitted), part) for part in (fitted, between)]
            for name, build in MODELS.items():
                model = build(rank).fit(fitted)
                errors = [relative_error(model, part) for part in (fitted, between)]
                cells = [f"{e:.2e} ({p / e:.3g} x)" for e, p in zip(errors, pod, strict=True)]
                print(f"{name:22}{rank:4}  {cells[0]:20}  {cells[1]}", flush=True)


if __name__ == "__main__":
    main()
