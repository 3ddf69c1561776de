"""Sums of rows by where in a cycle they are, and the noise that depends on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.dynamics.normal import Normal

Array = NDArray[np.float64]

# The cycle is cut into so many parts, and the rows of each are summed.
N_PARTS = 64
# Of a target's mean square: what counts as no noise at all.
NOISELESS = 1e-12
# Scoring steps for the noise variance; it converges in about ten.
MAX_SCORING = 50


def waves_of(u: Array | None, harmonics: int, n_rows: int) -> Array:
    """1, cos ωt, sin ωt, cos 2ωt, … (n_time, 1 + 2 harmonics) of inputs (cos ωt, sin ωt)."""
    waves = [np.ones(n_rows)]
    if harmonics and u is not None:
        turn = u[:, 0] + 1j * u[:, 1]
        power = np.ones_like(turn)
        for _ in range(harmonics):
            power = power * turn
            waves += [power.real, power.imag]
    return np.stack(waves, axis=1)


class Cycle(NamedTuple):
    """Fewer rows, with the same sums, for each part of the cycle that has some."""

    n_rows: Array
    """(n_parts,): how many they stand for."""
    waves: Array
    """(n_parts, n_waves): means of 1, and, where there are seasons, of cos ωt and sin ωt."""
    terms: Array
    """(n_parts, any, n_columns): terms times waves, of unit root mean square."""
    step: Array
    """(n_parts, any, n_targets)."""
    scale: Array
    """(n_columns,): by how much the terms were divided."""

    def mean(self, values: Array) -> Array:
        """Mean over all rows of what has a value (n_parts, …) for each part."""
        return np.asarray(np.tensordot(self.n_rows / self.n_rows.sum(), values, 1))

    def rms(self, rows: Array) -> Array:
        """Root mean square of each column (n_parts, any, n)."""
        return np.asarray(np.sqrt(np.sum(rows**2, axis=(0, 1)) / self.n_rows.sum()))

    def products(self) -> tuple[Array, Array]:
        """Of the terms of each part with each other, and with the step."""
        turned = self.terms.transpose(0, 2, 1)
        return turned @ self.terms, turned @ self.step


def part_of(waves: Array) -> NDArray[np.intp]:
    """In which part of the cycle 1, cos ωt, sin ωt (n_time, 3) are; in the only one without."""
    if waves.shape[1] == 1:
        return np.zeros(len(waves), np.intp)
    turns = np.arctan2(waves[:, 2], waves[:, 1]) / (2 * np.pi)
    return np.asarray(np.rint(N_PARTS * turns) % N_PARTS, dtype=np.intp)


def by_season(blocks: list[Normal], n_waves: int) -> Array:
    """Triangles (n_parts, any, n_columns) of the rows of each part, of the roots of all blocks.

    What 1, cos ωt and sin ωt sum up to in the rows of a root says which part these are of.
    """
    roots: dict[int, list[Array]] = {}
    for block in blocks:
        assert block.root is not None
        for root in block.root.reshape(-1, *block.root.shape[-2:]):  # one, or one for each part
            (part,) = part_of(root[None, :, 0] @ root[:, :n_waves])
            roots.setdefault(int(part), []).append(root)
    found = [np.concatenate(roots[part]) for part in sorted(roots)]
    height = max(min(rows.shape) for rows in found)
    stack = np.zeros((len(found), height, found[0].shape[1]))
    for place, rows in zip(stack, found, strict=True):
        low = np.linalg.qr(rows, mode="r") if len(rows) > rows.shape[1] else rows
        place[: len(low)] = low
    return stack


def noise_variance(left: Array, cycle: Cycle) -> tuple[Array, Array]:
    """Log variance by season of each column, its waves (n_targets, n_waves), and its values.

    Maximum likelihood for Gaussian noise, by Fisher scoring: regressions of r²/v - 1.
    """
    squares = np.sum(left**2, axis=1) / cycle.n_rows[:, None]
    mean = cycle.mean(squares)
    least = NOISELESS * np.maximum(mean, np.finfo(float).tiny / NOISELESS)
    log = np.zeros((cycle.waves.shape[1], left.shape[2]))
    log[0] = np.log(mean + least)
    root = np.sqrt(cycle.n_rows)
    project = np.linalg.pinv(root[:, None] * cycle.waves) * root
    for _ in range(MAX_SCORING):
        change = project @ ((squares + least) / np.exp(cycle.waves @ log) - 1)
        log += np.clip(change, -1, 1)
        if np.abs(change).max() < 1e-10:
            break
    return log.T, np.exp(cycle.waves @ log)
