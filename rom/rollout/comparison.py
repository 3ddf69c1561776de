"""What bounds the solutions of a differential inequality: the largest of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The quadratic terms need a guess of the largest error, made for this many steps at a time: how
# often it is improved, and how much room it is given.
WINDOW, GUESSES, SPARE = 16, 20, 1e-3
# Terms of the exponential's power series, for norms up to 1/8.
SERIES = 10


def comparison(
    growth: Array, residual: Array, quadratic: Array, start: Array, steps: Array, largest: float
) -> Array:
    """What bounds all solutions of ``dE/dt <= growth E + residual + quadratic |E|²``.

    Parameters
    ----------
    growth : ndarray, shape (n_steps, n, n)
        Off the diagonal not negative: then the larger of two states stays the larger.
    residual : ndarray, shape (n_steps, n)
        Not negative.
    quadratic : ndarray, shape (n,)
        Not negative.
    start : ndarray, shape (n,)
        E at the first time.
    steps : ndarray, shape (n_steps,)
        Lengths of the steps.
    largest : float
        A bound past this counts as none.

    Returns
    -------
    ndarray, shape (n_steps + 1, n)
        Infinite from where no bound was found.

    Notes
    -----
    With a guess G of the largest |E| in a step, ``quadratic G`` may be added to the growth in the
    place of the last term. If |E| then stays below G, the guess was right, and what |E| stays
    below is a better one.

    Examples
    --------
    >>> rates, zero = np.full((100, 1, 1), -1.0), np.zeros((100, 1))
    >>> path = comparison(rates, zero, np.array([0.5]), np.ones(1), np.full(100, 0.01), 9.0)
    >>> bool(1 < path[-1, 0] / (2 / (1 + np.e)) < 1.01)  # dE/dt = E²/2 - E from 1
    True
    """
    path = np.full((len(steps) + 1, len(start)), np.inf)
    path[0] = start
    for first in range(0, len(steps), WINDOW):
        now = slice(first, first + WINDOW)
        guess = np.full(len(steps[now]), (1 + SPARE) * np.linalg.norm(path[first]))
        proven = not quadratic.any()
        for _ in range(GUESSES):
            rates = growth[now] + quadratic[:, None] * guess[:, None, None]
            states = _solve(rates, residual[now], path[first], steps[now])
            most = np.linalg.norm(_solve_up(rates, residual[now], states, steps[now]), axis=1)
            if not np.all(most < largest):
                return path
            if proven:
                path[first + 1 : first + 1 + len(guess)] = states[1:]
                break
            proven = bool(np.all(most <= guess))
            guess = most if proven else np.maximum(guess, (1 + SPARE) * most)
        else:
            return path
    return path


def _solve(rates: Array, residual: Array, start: Array, steps: Array) -> Array:
    """Solutions (n_steps + 1, n) of dE/dt = rates E + residual, constant in each step."""
    over = _propagators(rates, residual, steps)
    path = np.empty((len(steps) + 1, len(start)))
    path[0] = start
    for i, P in enumerate(over):
        path[i + 1] = P[:-1, :-1] @ path[i] + P[:-1, -1]
    return path


def _solve_up(rates: Array, residual: Array, path: Array, steps: Array) -> Array:
    """No less than the solution anywhere inside of each step: nothing is let fall."""
    over = _propagators(np.maximum(rates, 0.0), residual, steps)
    return np.einsum("sij,sj->si", over[:, :-1, :-1], path[:-1]) + over[:, :-1, -1]


def _propagators(rates: Array, residual: Array, steps: Array) -> Array:
    """(n_steps, n + 1, n + 1), on (E, 1)."""
    n = rates.shape[-1]
    generator = np.zeros((len(steps), n + 1, n + 1))
    generator[:, :n, :n], generator[:, :n, n] = rates, residual
    return exponentials(generator * steps[:, None, None])


def exponentials(M: Array) -> Array:
    """Of a stack of small matrices, by a power series of M / 2ˢ, squared s times.

    SciPy's takes them one by one, at fifty times the cost. The series ends below rounding.
    """
    size = float(np.abs(M).sum(axis=2).max(initial=0.0))
    if not np.isfinite(size):
        return np.full_like(M, np.inf)
    halvings = max(0, int(np.ceil(np.log2(8 * size)))) if size > 0 else 0
    part, one = M / 2.0**halvings, np.eye(M.shape[-1])
    out = np.broadcast_to(one, M.shape)
    for k in range(SERIES, 0, -1):
        out = one + part @ out / k
    for _ in range(halvings):
        out = out @ out
    return out
