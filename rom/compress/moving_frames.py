"""Snapshots as a sum over several moving frames: how they are separated, and encoded anew."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.compress import gram
from rom.compress.pod import POD
from rom.compress.shift import (
    angles,
    decisive,
    find,
    place,
    power,
    shift,
    spectrum,
    strongest_speed,
    superpose,
    weights,
    wrap,
)

# Rounds of alternating least squares, and the gain at which they end.
ROUNDS = 30
CONVERGED = 1e-2
# Starts of the search for displacements count as equally good within this of the snapshot's
# energy; time tells them apart.
EQUALLY_GOOD = 1e-8
# Wavenumbers with less than this part of the largest's energy are left out.
INVISIBLE = 1e-24
# A Gauss-Newton step below this many cells ends the search, as does this many steps.
STILL = 1e-8
MOST_STEPS = 20
# Eigenvalues of the normal equations of modes below this part of the largest are rounding.
UNDETERMINED = 1e-10
# Modes weaker than this part of the snapshots are rounding.
RESOLVED = 1e-7


class Separated(NamedTuple):
    """Snapshots as a sum over moving frames: see :class:`rom.ShiftedPOD`."""

    components: NDArray[np.float64]
    frame: NDArray[np.intp]
    singular_values: NDArray[np.float64]
    template: NDArray[np.float64]
    d: NDArray[np.float64]


class Frames:
    """Modes of several frames, and the sums over wavenumbers that their overlaps need.

    Of even `n` the highest wavenumber is left out: displaced by a fraction of a cell it loses
    energy.
    """

    def __init__(self, components: NDArray, frame: NDArray, n: int) -> None:
        self.frame, self.n, self.n_frames = frame, n, int(frame.max()) + 1
        modes = spectrum(components, n)[..., : (n + 1) // 2]
        energy = np.sum(np.abs(modes) ** 2, axis=(0, 1))
        self.k = np.flatnonzero(energy > INVISIBLE * energy.max())
        self.conjugate = np.conj(modes[..., self.k])
        self.angle, self.weight = angles(n)[self.k], weights(n)[self.k]
        self.pairs = np.einsum(
            "pk,ilk,jlk->pkij",
            self.weight * self.angle ** np.arange(3)[:, None],
            self.conjugate,
            modes[..., self.k],
            optimize=True,
        )
        rms = np.sqrt((self.angle**2 @ energy[self.k]) / energy[self.k].sum())
        self.longest_step = 0.5 / rms if rms > 0 else 0.5

    def encode(self, X: Any, d: NDArray, n_steps: int) -> tuple[NDArray, NDArray, float]:
        """Amplitudes (n_time, n_modes), displacements near `d`, and the energy not explained."""
        a, d, left = np.empty((X.shape[0], len(self.frame))), d.copy(), 0.0
        for rows, block in small_blocks(X, 4 * len(self.frame) * len(self.k)):
            a[rows], near, explained = self.refine(block, d[:, rows].T, n_steps)
            d[:, rows] = near.T
            left += float(np.sum(np.sum(block**2, axis=1) - explained))
        return a, d, left

    def refine(self, block: NDArray, d: NDArray, n_steps: int) -> tuple[NDArray, NDArray, NDArray]:
        """Amplitudes, displacements and explained energy at a minimum of the misfit near `d`."""
        rows, d = spectrum(block, self.n)[..., self.k] * self.weight, d.copy()
        cross = np.einsum("jlk,tlk->tjk", self.conjugate, rows, optimize=True)
        a, explained, move = self._step(cross, d)
        for _ in range(n_steps):
            go = np.flatnonzero(np.any(np.abs(move) > STILL, axis=1))
            if not go.size:
                break
            tried, energy, further = self._step(cross[go], d[go] + move[go])
            better = energy >= explained[go] * (1 - 1e-14)
            gone, stay = go[better], go[~better]
            d[gone] += move[gone]
            a[gone], explained[gone], move[gone] = tried[better], energy[better], further[better]
            move[stay] /= 4
        return a, d, explained

    def _step(self, cross: NDArray, d: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """Best amplitudes at displacements `d`, the energy they explain, and a Gauss-Newton step.

        `cross` (n_rows, n_modes, n_wavenumbers) are the cross-spectra of snapshots and modes, `d`
        is (n_rows, n_frames). The step minimises the misfit over amplitudes and displacements
        together, linearised in the latter.
        """
        turn = np.exp(1j * d[..., None] * self.angle)
        turned = cross * turn[:, self.frame]
        b, slope = turned.real.sum(axis=-1), -(turned.imag @ self.angle)
        G, G1, G2 = self._overlaps(turn)
        a = _solve(G, b)
        A = a[..., None] * (self.frame[:, None] == np.arange(self.n_frames))
        At = A.transpose(0, 2, 1)
        mixed = G1 @ A
        normal = np.block([[G, mixed], [mixed.transpose(0, 2, 1), At @ G2 @ A]])
        right = np.concatenate([b, (At @ slope[..., None])[..., 0]], axis=1)
        move = _solve(normal, right)[:, a.shape[1] :]
        return a, np.sum(b * a, axis=1), np.clip(move, -self.longest_step, self.longest_step)

    def _overlaps(self, turn: NDArray) -> NDArray[np.float64]:
        """Inner products of displaced modes: with each other, with derivatives, among these."""
        size = len(self.frame)
        out = np.empty((3, len(turn), size, size))
        for f in range(self.n_frames):
            for g in range(self.n_frames):
                pair = np.ix_(self.frame == f, self.frame == g)
                sums = np.tensordot(
                    turn[:, f] * np.conj(turn[:, g]), self.pairs[:, :, *pair], axes=(1, 1)
                )
                for p, part in enumerate((sums[:, 0].real, sums[:, 1].imag, sums[:, 2].real)):
                    out[p][:, *pair] = part
        return out


def _solve(normal: NDArray, right: NDArray) -> NDArray[np.float64]:
    """Solve scaled normal equations; directions that rounding leaves undetermined stay small."""
    size = np.sqrt(np.maximum(np.diagonal(normal, axis1=-2, axis2=-1), 0.0))
    size = np.where(size > 1e-12 * size.max(axis=-1, keepdims=True), size, 1.0)
    scaled = normal / size[:, :, None] / size[:, None, :]
    scaled = scaled + 1e-11 * np.eye(normal.shape[-1])
    solved: NDArray[np.float64] = np.linalg.solve(scaled, (right / size)[..., None])[..., 0] / size
    return solved


def small_blocks(X: Any, per_row: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows of `X`, few enough that arrays of `per_row` complex numbers a row stay small."""
    few = max(1, gram.BLOCK_BYTES // (16 * per_row))
    for rows, block in gram.row_blocks(X):
        for start in range(0, len(block), few):
            part = block[start : start + few]
            yield slice(rows.start + start, rows.start + start + len(part)), part


# -- separation -------------------------------------------------------------------------------


def separate(
    X: Any, n: int, sample: NDArray, given: NDArray | None, n_frames: int, wanted: int
) -> Separated:
    """Modes, amplitudes and displacements of several frames by alternating least squares."""
    n_time, stride, moves = X.shape[0], math.ceil(X.shape[0] / len(sample)), given is None
    energy = power(sample, n).sum(axis=0)[: (n + 1) // 2]
    k = np.flatnonzero(energy > INVISIBLE * energy.max())
    if given is None:
        d = np.outer(_speeds(sample, n, k, n_frames) / stride, np.arange(n_time))
    else:
        d = given.copy()
    frame, ones = np.arange(n_frames), np.ones((n_time, n_frames))
    components = _across(_update(X, ones, d, frame, n, k), frame, ones[0], n)
    while True:  # a mode for each frame at a time: later ones see less leak
        components, d = _alternate(X, components, frame, d, n, k, moves)
        goal = min(wanted - len(frame), n_frames)
        components, more = _enrich(sample, components, frame, d[:, ::stride], n, goal)
        if not len(more):
            return _tidy(X, components, frame, d, n, moves)
        frame = np.concatenate([frame, more])


def _speeds(sample: NDArray, n: int, k: NDArray, n_frames: int) -> NDArray[np.float64]:
    """Speeds, in cells per row, of the strongest structures that move steadily.

    One after the other: the speed whose moving frame holds the mean field of most energy, once
    the mean fields in the frames found before are taken away.
    """
    leading, rest, speeds = decisive(sample, n), sample, list[float]()
    for f in range(n_frames):
        speeds.append(strongest_speed(rest, n, leading, speeds))
        d, frame = np.outer(speeds, np.arange(len(sample))), np.arange(f + 1)
        ones = np.ones((len(sample), f + 1))
        rest = sample - superpose(ones, d, _update(sample, ones, d, frame, n, k), frame, n)
    return np.array(speeds)


def _alternate(
    X: Any, components: NDArray, frame: NDArray, d: NDArray, n: int, k: NDArray, moves: bool
) -> tuple[NDArray, NDArray]:
    """Improve modes and displacements in turn until the misfit hardly falls."""
    misfit = np.inf
    for _ in range(ROUNDS):
        a, d, left = Frames(components, frame, n).encode(X, d, 3 if moves else 0)
        if left <= 0 or left > misfit * (1 - CONVERGED):
            break
        misfit = left
        components = _update(X, a, d, frame, n, k)
        components = _across(components, frame, a.mean(axis=0), n)
    return components, d


def _update(
    X: Any, a: NDArray, d: NDArray, frame: NDArray, n: int, k: NDArray
) -> NDArray[np.float64]:
    """Modes that fit the snapshots best for given amplitudes and displacements.

    They are independent from wavenumber to wavenumber; those not in `k` are zero.
    """
    r, angle = len(frame), angles(n)[k]
    normal = np.zeros((len(k), r, r), dtype=complex)
    right = np.zeros((len(k), r, X.shape[1] // n), dtype=complex)
    for rows, block in small_blocks(X, 3 * r * len(k)):
        turn = np.exp(-1j * d[:, rows] * angle[:, None, None])  # (k, frame, time)
        W = turn[:, frame] * a[rows].T
        Wh = np.conj(W)
        normal += Wh @ W.transpose(0, 2, 1)
        right += Wh @ spectrum(block, n)[..., k].transpose(2, 0, 1)
    modes = np.zeros((r, X.shape[1] // n, n // 2 + 1), dtype=complex)
    # What frames cannot be told apart by, such as a constant, they share evenly.
    inverse = np.linalg.pinv(normal, rcond=UNDETERMINED, hermitian=True)
    modes[..., k] = (inverse @ right).transpose(1, 2, 0)
    fields: NDArray[np.float64] = np.fft.irfft(modes, n, axis=-1).reshape(r, -1)
    return fields


def _across(components: NDArray, frame: NDArray, mean: NDArray, n: int) -> NDArray[np.float64]:
    """Modes orthonormal within each frame, and orthogonal to a displacement of its mean field.

    A mode along that derivative would do what the displacement does, and leave it undetermined.
    """
    out = np.empty_like(components)
    for f in range(int(frame.max()) + 1):
        mine = frame == f
        slide = spectrum(mean[mine] @ components[mine][None], n) * (1j * angles(n))
        along = np.fft.irfft(slide, n, axis=-1).ravel()
        along /= np.linalg.norm(along) or 1.0
        across = components[mine] - np.outer(components[mine] @ along, along)
        out[mine] = np.linalg.qr(across.T)[0].T
    return out


def _enrich(
    sample: NDArray, components: NDArray, frame: NDArray, d: NDArray, n: int, more: int
) -> tuple[NDArray, NDArray]:
    """Add the strongest modes that the rest of the snapshots has in any of the frames.

    The frames of those added, at most `more`, come with them.
    """
    a, _, _ = Frames(components, frame, n).encode(sample, d, 0)
    rest = sample - superpose(a, d, components, frame, n)
    if more == 0 or np.linalg.norm(rest) < RESOLVED * np.linalg.norm(sample):
        return components, frame[:0]
    pods = [strongest_modes(shift(rest, -by, n), more) for by in d]
    values = np.concatenate([pod.singular_values_ for pod in pods])
    best = np.argsort(-values, kind="stable")[:more]
    best = best[values[best] > RESOLVED * np.linalg.norm(sample)]
    of = np.repeat(np.arange(len(d)), [pod.rank_ for pod in pods])[best]
    rows = np.concatenate([components, np.concatenate([pod.components_ for pod in pods])[best]])
    mean = np.concatenate([a.mean(axis=0), np.zeros(len(best))])
    return _across(rows, np.concatenate([frame, of]), mean, n), of


def strongest_modes(aligned: Any, wanted: int | float | None) -> POD:
    """POD of aligned snapshots; of a lower rank where alignment left fewer modes than wanted."""
    if not isinstance(wanted, int):
        return POD(wanted, center=False).fit(aligned)
    try:
        return POD(min(wanted, *aligned.shape), center=False).fit(aligned)
    except ValueError:
        return POD(center=False).fit(aligned)


def _tidy(
    X: Any, components: NDArray, frame: NDArray, d: NDArray, n: int, moves: bool
) -> Separated:
    """Modes by frame and by energy; displacements that start from zero unless they were given."""
    a, d, _ = Frames(components, frame, n).encode(X, d, 10 if moves else 0)
    start = d[:, :1] if moves else np.zeros((len(d), 1))
    modes, values = [], []
    for f in range(len(d)):
        _, s, V = np.linalg.svd(a[:, frame == f], full_matrices=False)
        rows = shift(V @ components[frame == f], np.repeat(start[f], len(V)), n)
        modes.append(rows * gram.fix_signs(rows)[:, None])
        values.append(s)
    frame, components, d = np.sort(frame), np.concatenate(modes), d - start
    mean = Frames(components, frame, n).encode(X, d, 0)[0].mean(axis=0)
    template = np.stack([mean[frame == f] @ components[frame == f] for f in range(len(d))])
    return Separated(components, frame, np.concatenate(values), template, d)


# -- new snapshots ----------------------------------------------------------------------------


def search(
    X: Any, frames: Frames, template: NDArray, speed: NDArray, last: NDArray
) -> tuple[NDArray, NDArray]:
    """Amplitudes (n_time, n_modes) and displacements (n_frames, n_time) of new snapshots."""
    n_time, r, n_frames = X.shape[0], len(frames.frame), frames.n_frames
    n_starts = 2 * math.factorial(n_frames)
    a, d = np.zeros((n_starts, n_time, r)), np.zeros((n_starts, n_time, n_frames))
    misfit = np.full((n_starts, n_time), np.inf)
    for rows, block in small_blocks(X, 4 * max(r * len(frames.k), n_frames * frames.n)):
        energy = np.maximum(np.sum(block**2, axis=1), np.finfo(np.float64).tiny)
        starts = _starts(block, template, frames)
        for i, start in enumerate(starts):
            near = np.abs(wrap(start - starts[:i], frames.n)).max(axis=-1, initial=0.0) < 1
            new = np.flatnonzero(~near.any(axis=0))
            at = rows.start + new
            a[i, at], d[i, at], explained = frames.refine(block[new], start[new], MOST_STEPS)
            misfit[i, at] = np.maximum(1 - explained / energy[new], 0.0)
    allowed = misfit <= 2 * misfit.min(axis=0) + EQUALLY_GOOD
    chosen, row = _path(d, allowed, speed, last, frames.n), np.arange(n_time)
    return a[chosen, row], d[chosen, row].T


def _starts(block: NDArray, template: NDArray, frames: Frames) -> NDArray[np.float64]:
    """Displacements to refine, (n_starts, n_rows, n_frames).

    What a greedy search finds, and the same with every frame in the place of another; a little
    apart, since frames of one shape in one place are a saddle of the misfit.
    """
    n, order = frames.n, tuple(range(frames.n_frames))
    found = [place(block, template, order, n), place(block, template, order[::-1], n)]
    # What brings the first frame's mean field onto the second's.
    instead = np.stack([find(template, mean, n) for mean in template])
    apart = frames.longest_step * (np.arange(frames.n_frames) / frames.n_frames)
    starts = [
        d[:, labels] + instead[order, labels] + apart[list(labels)]
        for labels in permutations(order)
        for d in found
    ]
    return np.stack(starts)


def _path(d: NDArray, allowed: NDArray, speed: NDArray, last: NDArray, n: int) -> NDArray[np.intp]:
    """Which of the candidates `d` (n_candidates, n_time, n_frames) to take in each row.

    The allowed ones whose movement from row to row departs least from `speed`; among equals the
    one that ends nearest to `last`.
    """
    move = d[None, :, 1:] - d[:, None, :-1] - speed  # (before, after, row, frame)
    jump = np.sum(wrap(move, n) ** 2, axis=-1)
    forbidden = np.where(allowed, 0.0, np.inf)
    cost = forbidden[:, 0]
    came_from = np.zeros(allowed.shape, dtype=np.intp)
    for i in range(1, d.shape[1]):
        through = cost[:, None] + jump[..., i - 1]
        came_from[:, i] = np.argmin(through, axis=0)
        cost = through.min(axis=0) + forbidden[:, i]
    chosen = np.empty(d.shape[1], dtype=np.intp)
    chosen[-1] = np.argmin(cost + 1e-6 * np.sum(wrap(d[:, -1] - last, n) ** 2, axis=-1))
    for i in range(d.shape[1] - 1, 0, -1):
        chosen[i - 1] = came_from[chosen[i], i]
    return chosen
