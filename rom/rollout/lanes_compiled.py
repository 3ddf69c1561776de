"""The time loops of :mod:`rom.rollout.lanes`, compiled for polynomials.

numba takes the second meaning, given here, of the functions that the loops call. Inner loops run
over the lanes, which the compiler turns into instructions that serve several at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload, register_jitable
from numpy.typing import NDArray

from rom.rollout import lanes
from rom.rollout.steppers import DOPRI_DENSE, compiled, norm
from rom.rollout.terms import INLINE, JIT, Terms
from rom.rollout.vectors import (
    BLOCK,
    WIDTH,
    all_at_most,
    load,
    plus_product,
    product,
    spread,
    store,
    transpose,
)

Array = NDArray[np.float64]

# Numbers in a line of the caches; a vector that begins inside one is read at half the speed.
LINE = 8
# Values that the full matrix multiplies at a time: so many stay in the fastest cache.
CHUNK = 64


@overload(lanes.empty)
def _empty(shape: Any) -> Callable[..., Array]:
    def aligned(shape: Any) -> Array:
        size = 1
        for n in shape:
            size *= n
        room = np.empty(size + LINE)
        start = -(room.ctypes.data // 8) % LINE
        return room[start : start + size].reshape(shape)

    return aligned


@overload(lanes.values_of)
def _values_of(model: Any, n_variables: Any, n_lanes: Any) -> Callable[..., Array]:
    def room(model: Any, n_variables: Any, n_lanes: Any) -> Array:
        values = lanes.empty((n_variables + 1 + len(model.left), n_lanes))
        values[n_variables] = 1.0
        return values

    return room


@overload(lanes.slope, jit_options=INLINE)
def _slope(model: Any, values: Any, slopes: Any, s: Any) -> Callable[..., None]:
    def evaluate(model: Any, values: Any, slopes: Any, s: Any) -> None:
        rank = slopes.shape[1]
        prepare(model, values, slopes, s * rank, rank)
        for i in range(rank if len(model.coef) or not model.full.shape[1] else 0):
            store(slopes, s * rank + i, target(model, values, slopes, s * rank, i))

    return evaluate


@overload(lanes.advance, jit_options=INLINE)
def _advance(
    model: Any, values: Any, then: Any, z: Any, later: Any, h: Any, part: Any, w: Any
) -> Callable[..., None]:
    def stage(
        model: Any, values: Any, then: Any, z: Any, later: Any, h: Any, part: Any, w: Any
    ) -> None:
        rank, way, share = len(z), product(load(h, 0), part), product(load(h, 0), w)
        prepare(model, values, then, 0, rank)
        for i in range(rank):
            slope = target(model, values, then, 0, i)
            store(then, i, plus_product(load(z, i), way, slope))
            store(later, i, plus_product(load(later, i), share, slope))

    return stage


@overload(lanes.finish, jit_options=INLINE)
def _finish(model: Any, values: Any, z: Any, later: Any, h: Any, w: Any) -> Callable[..., None]:
    def stage(model: Any, values: Any, z: Any, later: Any, h: Any, w: Any) -> None:
        rank, share = len(z), product(load(h, 0), w)
        prepare(model, values, z, 0, rank)
        for i in range(rank):
            store(z, i, plus_product(load(later, i), share, target(model, values, z, 0, i)))

    return stage


@register_jitable(**INLINE)
def prepare(model: Terms, values: Array, sums: Array, row: int, rank: int) -> None:
    """Form the products; from `row` on, set the `sums` of the full matrix, if there is one."""
    left, right, full = model.left, model.right, model.full
    n_full, formed, n_blocked = full.shape[1], len(values) - len(left), rank - rank % 4
    for begin in range(0, n_full, CHUNK):
        end = min(begin + CHUNK, n_full)
        for i in range(0, n_blocked, 4):  # four targets at a time: a fourth of the reading
            p, q, v, w = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
            if begin > 0:
                p, q = load(sums, row + i), load(sums, row + i + 1)
                v, w = load(sums, row + i + 2), load(sums, row + i + 3)
            for k in range(begin, end):
                if i == 0 and k >= formed:
                    form(values, k, left[k - formed], right[k - formed])
                x = load(values, k)
                p, q = plus_product(p, x, full[i, k]), plus_product(q, x, full[i + 1, k])
                v, w = plus_product(v, x, full[i + 2, k]), plus_product(w, x, full[i + 3, k])
            store(sums, row + i, p)
            store(sums, row + i + 1, q)
            store(sums, row + i + 2, v)
            store(sums, row + i + 3, w)
        for i in range(n_blocked, rank):
            total = load(sums, row + i) if begin > 0 else spread(0.0)
            for k in range(begin, end):
                if i == 0 and k >= formed:
                    form(values, k, left[k - formed], right[k - formed])
                total = plus_product(total, load(values, k), full[i, k])
            store(sums, row + i, total)
    for k in range(max(n_full, formed), len(values)):
        form(values, k, left[k - formed], right[k - formed])


@register_jitable(**INLINE)
def target(model: Terms, values: Array, sums: Array, row: int, i: int) -> Any:
    """Target `i`: its sum of the full matrix, if there is one, and its listed terms."""
    first, place, last, coef = model.first, model.place, model.last, model.coef
    one, end = len(values) - len(model.left) - 1, first[i + 1]
    total = load(sums, row + i) if model.full.shape[1] else spread(0.0)
    part = spread(0.0)
    for k in range(first[i], end):
        if place[k] == one:
            part = plus_product(part, coef[k], 1.0)
        else:
            part = plus_product(part, load(values, place[k]), coef[k])
        if k + 1 == end or last[k + 1] != last[k]:
            if last[k] == one:
                total = plus_product(part, total, 1.0)
            else:
                total = plus_product(total, part, load(values, last[k]))
            part = spread(0.0)
    return total


@register_jitable(**INLINE)
def form(values: Array, k: int, left: int, right: int) -> None:
    """Set row `k` of the values to the product of two others."""
    store(values, k, product(load(values, left), load(values, right)))


@overload(lanes.combine, jit_options=INLINE)
def _combine(out: Any, z: Any, h: Any, weights: Any, slopes: Any) -> Callable[..., None]:
    def add(out: Any, z: Any, h: Any, weights: Any, slopes: Any) -> None:
        rank, step = len(z), load(h, 0)
        for j in range(rank):
            total = spread(0.0)
            for s in range(len(weights)):
                total = plus_product(total, load(slopes, s * rank + j), weights[s])
            store(out, j, plus_product(load(z, j), step, total))

    return add


@overload(lanes.size_of, jit_options=INLINE)
def _size_of(z: Any) -> Callable[..., Array]:
    def size(z: Any) -> Array:
        out, total = np.empty(WIDTH), spread(0.0)
        for j in range(len(z)):
            total = plus_product(total, load(z, j), load(z, j))
        store(out, 0, total)
        for lane in range(WIDTH):
            if 1e-250 < out[lane] < 1e250:
                out[lane] = np.sqrt(out[lane])
            else:
                out[lane] = norm(z[:, lane], len(z))
        return out

    return size


@overload(lanes.within, jit_options=INLINE)
def _within(z: Any, limit: Any, squares: Any, code: Any) -> Callable[..., bool]:
    def check(z: Any, limit: Any, squares: Any, code: Any) -> bool:
        total, n_beyond = spread(0.0), 0
        for j in range(len(z)):
            total = plus_product(total, load(z, j), load(z, j))
        if all_at_most(total, limit**2):
            return True
        store(squares, 0, total)
        for lane in range(WIDTH):
            if not squares[lane] <= limit**2 and code[lane] == lanes.COMPLETED:
                n_beyond += 1
        return n_beyond == 0

    return check


@overload(lanes.begin, jit_options=INLINE)
def _begin(values: Any, later: Any, z: Any) -> Callable[..., None]:
    def copy(values: Any, later: Any, z: Any) -> None:
        for j in range(len(z)):
            state = load(z, j)
            store(values, j, state)
            store(later, j, state)

    return copy


@overload(lanes.hold, jit_options=INLINE)
def _hold(out: Any, z: Any) -> Callable[..., None]:
    def copy(out: Any, z: Any) -> None:
        for j in range(len(z)):
            store(out, j, load(z, j))

    return copy


@overload(lanes.save, jit_options=INLINE)
def _save(out: Any, i: Any, held: Any, n: Any) -> Callable[..., None]:
    def copy(out: Any, i: Any, held: Any, n: Any) -> None:
        rank, done = held.shape[1], 0
        rows, columns = out.reshape((len(out), -1)), held.reshape((-1, WIDTH))
        if len(out) == WIDTH:
            done = n * rank - n * rank % BLOCK
            for k in range(0, done, BLOCK):
                transpose(columns, k, rows, i * rank + k)
        for lane in range(len(rows)):
            for k in range(done, n * rank):
                rows[lane, i * rank + k] = columns[k, lane]

    return copy


@overload(lanes.choose)
def _choose(z: Any, where: Any, later: Any) -> Callable[..., None]:
    def copy(z: Any, where: Any, later: Any) -> None:
        for j in range(len(z)):
            for lane in range(len(where)):
                if where[lane]:
                    z[j, lane] = later[j, lane]

    return copy


@overload(lanes.interpolate)
def _interpolate(
    out: Any, lanes: Any, row: Any, place: Any, z: Any, h: Any, slopes: Any
) -> Callable[..., None]:
    def each(out: Any, lanes: Any, row: Any, place: Any, z: Any, h: Any, slopes: Any) -> None:
        for lane in lanes:
            x, i = place[lane], row[lane]
            for j in range(len(z)):
                out[lane, i, j] = z[j, lane]
            for s in range(7):
                p = DOPRI_DENSE[s]
                w = h[lane] * x * (p[0] + x * (p[1] + x * (p[2] + x * p[3])))
                for j in range(len(z)):
                    out[lane, i, j] += w * slopes[s, j, lane]

    return each


register_jitable(lanes.end_lane)
_march, _adapt = register_jitable(**JIT)(lanes.march), register_jitable(**JIT)(lanes.adapt)


def march(
    model: Any,
    is_map: bool,
    method: lanes.Chain,
    z: Array,
    t: Array,
    substeps: int,
    u: Array,
    kicks: Array,
    bound: float,
    out: Array,
    ends: lanes.Ends,
) -> None:
    """:func:`rom.rollout.lanes.march`, so many members at a time as stay in the fastest cache."""
    for first in range(0, z.shape[1], WIDTH):
        some = slice(first, min(first + WIDTH, z.shape[1]))
        state, part = _taken(z, ends, some)
        noise = np.zeros((len(kicks), len(z), WIDTH))
        for i in range(len(kicks)):
            for j in range(len(z)):
                for k in range(some.stop - first):
                    noise[i, j, k] = kicks[i, j, first + k]
        _march(model, is_map, method, state, t, substeps, u, noise, bound, out[some], part)
        _put_back(z, ends, some, state, part)


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
    ends: lanes.Ends,
) -> None:
    """:func:`rom.rollout.lanes.adapt`, so many members at a time as stay in the fastest cache."""
    for first in range(0, z.shape[1], WIDTH):
        some = slice(first, min(first + WIDTH, z.shape[1]))
        state, part = _taken(z, ends, some)
        steps = np.ones(WIDTH)
        for k in range(some.stop - first):
            steps[k] = step[first + k]
        _adapt(model, state, steps, t, u, bound, rtol, atol, max_steps, out[some], part)
        for k in range(some.stop - first):
            step[first + k] = steps[k]
        _put_back(z, ends, some, state, part)


@register_jitable
def _taken(z: Array, ends: lanes.Ends, some: slice) -> tuple[Array, lanes.Ends]:
    """Some members; in the lanes that are left over, members that have ended."""
    state = lanes.empty((len(z), WIDTH))
    state[:] = np.nan
    code, time = np.full(WIDTH, lanes.NOT_FINITE), np.zeros(WIDTH)
    n_steps = np.zeros(WIDTH, np.int64)
    for k in range(some.stop - some.start):
        member = some.start + k
        for j in range(len(z)):
            state[j, k] = z[j, member]
        code[k], time[k], n_steps[k] = ends.code[member], ends.time[member], ends.n_steps[member]
    return state, lanes.Ends(code, time, n_steps)


@register_jitable
def _put_back(z: Array, ends: lanes.Ends, some: slice, state: Array, part: lanes.Ends) -> None:
    for k in range(some.stop - some.start):
        member = some.start + k
        for j in range(len(z)):
            z[j, member] = state[j, k]
        ends.code[member], ends.time[member] = part.code[k], part.time[k]
        ends.n_steps[member] = part.n_steps[k]


march, adapt = compiled(march), compiled(adapt)
