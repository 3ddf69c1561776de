"""Time loops over many members side by side: each operation is done for all of them at once.

A member is a *lane*: a column of the states ``z`` (rank, n_lanes), so that neighbours in memory
are members, and one instruction of the machine serves several. The loops are written once. They
run as plain NumPy where the model is a function of rows, such as a network, which then sees all
members as one batch; and compiled where it is the :class:`~rom.rollout.terms.Terms` of a
polynomial (see :mod:`rom.rollout.lanes_compiled`). Members do not wait for each other: with
adaptive steps each has its own step and its own time. A member that has ended is NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.rollout.steppers import (
    COMPLETED,
    DOPRI_DENSE,
    DOPRI_ERROR,
    DOPRI_PLACES,
    DOPRI_STAGES,
    DOPRI_STEP,
    EULER_STEP,
    LEFT_BOUND,
    NOT_FINITE,
    RK4_PLACES,
    RK4_STEP,
    STEP_TOO_SMALL,
    TOO_MANY_STEPS,
    norm,
)

Array = NDArray[np.float64]

# Norms up to this one can be squared.
LARGE = 1e150
# States are put in their places so many numbers of a member at a time: at each step, every member
# would touch memory of its own. With more, the steps would wait until all is written.
HELD = 48
# Methods whose stages follow from the slope before alone: how far into the step that slope leads,
# and the weights of the slopes in the step.
Chain = tuple[Array, Array]
EULER: Chain = (np.zeros(1), EULER_STEP)
RK4: Chain = (RK4_PLACES, RK4_STEP)
# Dormand and Prince's tableau: the weights of the slopes that lead to each stage, and its place in
# the step. The last stage is the step itself.
STAGES = np.vstack([np.pad(DOPRI_STAGES, ((0, 0), (0, 1))), DOPRI_STEP])
PLACES = np.append(DOPRI_PLACES, 1.0)


class Ends(NamedTuple):
    """How the member of each lane ended; members that have not are ``COMPLETED``."""

    code: NDArray[np.int64]
    """Place of the status in :class:`~rom.rollout.result.Status` (n_lanes,)."""
    time: Array
    """Of the last state, or the first outside the bound (n_lanes,)."""
    n_steps: NDArray[np.int64]
    """Steps tried (n_lanes,)."""


def empty(shape: tuple[int, ...]) -> Array:
    """Room for numbers, where the machine reads and writes them fastest."""
    return np.empty(shape)


def values_of(model: Any, n_variables: int, n_lanes: int) -> Array:
    """Room for state and inputs, and what is formed of them."""
    return np.zeros((n_variables, n_lanes))


def slope(model: Any, values: Array, slopes: Array, s: int) -> None:
    """Set ``slopes[s]`` to the right-hand side at the states and inputs in `values`.

    A function is given the lanes that are finite, as rows; the others become NaN.
    """
    rank = slopes.shape[1]
    fine = np.flatnonzero(np.isfinite(values).all(axis=0))
    slopes[s] = np.nan
    if len(fine):
        rows = np.ascontiguousarray(values[:, fine].T)
        slopes[s][:, fine] = model(rows[:, :rank], rows[:, rank:]).T


def combine(out: Array, z: Array, h: Array, weights: Array, slopes: Array) -> None:
    """Set the first rows of `out` to `z` plus `h` (n_lanes,) times the weighted sum of slopes."""
    out[: len(z)] = z + h * np.tensordot(weights, slopes[: len(weights)], axes=1)


def advance(
    model: Any, values: Array, then: Array, z: Array, later: Array, h: Array, part: float, w: float
) -> None:
    """Take the slope at the states and inputs in `values` into account, but the last of a step.

    The first rows of `then` become the states `z` plus a `part` of `h` (n_lanes,) times it, where
    the next slope is due. Its share of the step, of weight `w`, is added to `later`.
    """
    slopes = np.empty((1, *z.shape))
    slope(model, values, slopes, 0)
    then[: len(z)] = z + part * h * slopes[0]
    later += w * h * slopes[0]


def finish(model: Any, values: Array, z: Array, later: Array, h: Array, w: float) -> None:
    """Set `z` to `later` and the share of the last slope, that at `values`, of weight `w`."""
    slopes = np.empty((1, *z.shape))
    slope(model, values, slopes, 0)
    z[:] = later + w * h * slopes[0]


def size_of(z: Array) -> Array:
    """Euclidean norm of each column, finite where it is."""
    largest = np.abs(z).max(axis=0)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1.0)
    return np.asarray(scale * np.sqrt(np.sum((z / scale) ** 2, axis=0)))


def within(z: Array, limit: float, squares: Array, code: NDArray[np.int64]) -> bool:
    """Whether the members that run are at most `limit` long; sets the `squares` of lengths."""
    squares[:] = np.sum(z * z, axis=0)
    return bool(np.all((squares <= limit**2) | (code != COMPLETED)))


def begin(values: Array, later: Array, z: Array) -> None:
    """Set the first rows of `values`, and `later`, to the states `z`."""
    values[: len(z)] = later[:] = z


def hold(out: Array, z: Array) -> None:
    """Set `out` to the states `z`."""
    out[:] = z


def save(out: Array, i: int, held: Array, n: int) -> None:
    """Set ``out[:, i : i + n]`` to the first `n` states held."""
    out[:, i : i + n] = held[:n].transpose(2, 0, 1)


def choose(z: Array, where: NDArray[np.bool_], later: Array) -> None:
    """Replace some columns of `z` by those of `later`."""
    z[:, where] = later[: len(z), where]


def interpolate(
    out: Array, lanes: Any, row: Any, place: Array, z: Array, h: Array, slopes: Array
) -> None:
    """Set ``out[lane, row[lane]]`` to the state at a `place` (n_lanes,) in the step `h`."""
    weights = DOPRI_DENSE @ place[lanes] ** np.arange(1, 5)[:, None]
    change = np.einsum("sk,sjk->kj", weights, slopes[:, :, lanes])
    out[lanes, row[lanes]] = z[:, lanes].T + h[lanes, None] * change


def march(
    model: Any,
    is_map: bool,
    method: Chain,
    z: Array,
    t: Array,
    substeps: int,
    u: Array,
    kicks: Array,
    bound: float,
    out: Array,
    ends: Ends,
) -> None:
    """Steps of equal length in each output interval: of an explicit Runge-Kutta method, or a map.

    Parameters
    ----------
    model : Terms, or function of rows (states, inputs)
    is_map : bool
        Whether the model gives the next state, and not a slope.
    method : tuple of ndarray
        Places of the stages, weights of the slopes in the step.
    z : ndarray, shape (rank, n_lanes)
        The states at ``t[0]``, replaced by those at ``t[-1]``; NaN for members that have ended.
    t, u : ndarray, shapes (n_time,), (n_time, n_inputs)
        Inputs are linear in between; a map holds them.
    substeps : int
        Steps in each output interval; 1 for a map.
    kicks : ndarray, shape (substeps * (n_time - 1), rank, n_lanes), or empty
        What noise adds in each step.
    bound : float
    out : ndarray, shape (n_lanes, n_time, rank)
        Filled with the states at `t`.
    ends : Ends
        Brought up to date.
    """
    places, weights = method
    (rank, n_lanes), n_inputs = z.shape, u.shape[1]
    values = values_of(model, rank + n_inputs, n_lanes)
    then = values_of(model, rank + n_inputs, n_lanes)
    slopes, later = empty((1, rank, n_lanes)), empty((rank, n_lanes))
    h, squares = empty((n_lanes,)), empty((n_lanes,))
    limit = min(bound, LARGE)
    held, n_held = empty((min(len(t), -(-HELD // rank)), rank, n_lanes)), 1
    hold(held[0], z)
    for i in range(len(t) - 1):
        h[:] = (t[i + 1] - t[i]) / substeps
        for part in range(substeps):
            begin(values, later, z)
            for s in range(len(weights)):
                for k in range(n_inputs):
                    place = (part + places[s]) / substeps
                    values[rank + k] = u[i, k] + place * (u[i + 1, k] - u[i, k])
                if is_map:
                    slope(model, values, slopes, 0)
                    hold(z, slopes[0])
                elif s + 1 == len(weights):
                    finish(model, values, z, later, h, weights[s])
                else:
                    advance(model, values, then, z, later, h, places[s + 1], weights[s])
                    values, then = then, values
            step, last = i * substeps + part, z
            if len(kicks):
                z += kicks[step]
            if part + 1 == substeps:
                if n_held == len(held):
                    save(out, i + 1 - n_held, held, n_held)
                    n_held = 0
                last = held[n_held]
                hold(last, z)
                n_held += 1
            if not within(z, limit, squares, ends.code):
                for lane in np.flatnonzero(~(squares <= limit**2) & (ends.code == COMPLETED)):
                    end_lane(int(lane), step, substeps, t, bound, z, last, ends)
    save(out, len(t) - n_held, held, n_held)
    for lane in np.flatnonzero(ends.code == COMPLETED):
        ends.n_steps[lane] += substeps * (len(t) - 1)


def end_lane(
    lane: int, step: int, substeps: int, t: Array, bound: float, z: Array, last: Array, ends: Ends
) -> None:
    """End a member whose state after a `step` is not finite or leaves `bound`."""
    largest = np.abs(z[:, lane]).max()
    finite = largest < np.inf
    if finite and largest * np.sqrt(np.sum((z[:, lane] / largest) ** 2)) <= bound:
        return  # only its square is too large
    i, place = divmod(step + 1 if finite else step, substeps)
    between = place / substeps * (t[i + 1] - t[i]) if place > 0 else 0.0
    ends.code[lane] = LEFT_BOUND if finite else NOT_FINITE
    ends.time[lane] = t[i] + between
    ends.n_steps[lane] += step + 1
    z[:, lane] = np.nan
    if not finite:
        last[:, lane] = np.nan


def adapt(
    model: Any,
    z: Array,
    step: Array,
    t: Array,
    u: Array,
    bound: float,
    rtol: float,
    atol: float,
    max_steps: int,
    out: Array,
    ends: Ends,
) -> None:
    """Dormand and Prince's pair of orders 5(4) with its dense output [1]_, a step for each member.

    The parameters are those of :func:`march`; `step` (n_lanes,) is the step that each member
    would take next. The error per step is held in the Euclidean norm. Without inputs a step may
    pass over several output times; inputs have kinks there, where steps then end.

    References
    ----------
    .. [1] E. Hairer, S. P. Nørsett, G. Wanner, "Solving Ordinary Differential Equations I",
       2nd ed., Springer 1993, table II.5.2 and sections II.4, II.6.
    """
    (rank, n_lanes), n_inputs, end = z.shape, u.shape[1], len(t) - 1
    values = values_of(model, rank + n_inputs, n_lanes)
    slopes = empty((7, rank, n_lanes))
    error, zero = np.empty((rank, n_lanes)), np.zeros((rank, n_lanes))
    smallest = 16 * np.finfo(np.float64).eps * max(abs(t[0]), abs(t[-1]))
    now, row = np.full(n_lanes, t[0]), np.ones(n_lanes, np.int64)
    alive = (ends.code == COMPLETED) & (end > 0)
    size = size_of(z)
    out[:] = np.nan
    save(out, 0, z.reshape((1, rank, n_lanes)), 1)
    combine(values, z, size, STAGES[0, :0], slopes)
    for k in range(n_inputs):
        values[rank + k] = u[0, k]
    slope(model, values, slopes, 0)
    while alive.any():
        kink = np.minimum(row, end)
        limit = t[kink] if n_inputs else np.full(n_lanes, t[-1])
        n_left = np.maximum(1.0, np.ceil((limit - now) / step))
        h = np.where(alive, (limit - now) / n_left, 0.0)
        for s in range(1, 7):
            combine(values, z, h, STAGES[s, :s], slopes)
            for k in range(n_inputs):
                before, after = u[:, k][kink - 1], u[:, k][kink]
                place = (now + PLACES[s] * h - t[kink - 1]) / (t[kink] - t[kink - 1])
                values[rank + k] = before + place * (after - before)
            slope(model, values, slopes, s)
        combine(error, zero, h, DOPRI_ERROR, slopes)
        later_size = size_of(values[:rank])
        ratio = size_of(error) / (atol + rtol * np.maximum(size, later_size))
        finite = np.isfinite(ratio)
        growth = 0.9 * np.maximum(np.where(finite, ratio, 1.0), 1e-10) ** -0.2
        growth = np.where(finite, np.minimum(5.0, np.maximum(0.2, growth)), 0.2)
        accepted = alive & (ratio <= 1)
        then = np.where(n_left == 1, limit, now + h)
        due = accepted & (row <= end) & (t[kink] <= then)
        while due.any():
            place, which = (t[kink] - now) / np.where(due, h, 1.0), np.flatnonzero(due)
            interpolate(out, which, row, place, z, h, slopes)
            for lane in which:
                if norm(out[lane, row[lane]], rank) > bound:
                    ends.code[lane], ends.time[lane] = LEFT_BOUND, t[row[lane]]
            row += due
            kink = np.minimum(row, end)
            due = due & (ends.code == COMPLETED) & (row <= end) & (t[kink] <= then)
        for lane in np.flatnonzero(alive):
            step[lane] = h[lane] * growth[lane]
            ends.n_steps[lane] += 1
            if accepted[lane]:
                now[lane], size[lane] = then[lane], later_size[lane]
            alive[lane] = False
            if ends.code[lane] != COMPLETED:
                continue
            if accepted[lane] and size[lane] > bound:
                ends.code[lane] = LEFT_BOUND
            elif now[lane] >= t[-1]:
                continue
            elif step[lane] <= smallest:
                ends.code[lane] = STEP_TOO_SMALL if finite[lane] else NOT_FINITE
            elif ends.n_steps[lane] >= max_steps:
                ends.code[lane] = TOO_MANY_STEPS
            else:
                alive[lane] = True
                continue
            ends.time[lane] = now[lane]
        choose(z, accepted, values)
        choose(slopes[0], accepted, slopes[6])
    z[:, ends.code != COMPLETED] = np.nan
