"""The rival of a reduced model: the full one on a grid so coarse that it costs as much."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import FullModel, HasCoarser
from rom.rollout.cost import least

FACTORS = (64, 32, 16, 8, 4, 2)
# Past so many times the budget no finer grid is tried. Up to there one may still be cheaper: it
# may hold a better number of points for a Fourier transform.
DEAR = 2


class Rival(NamedTuple):
    """A coarse full model."""

    model: FullModel
    factor: int
    """By which its grid is coarser."""
    seconds: float
    """What one run took, the least of several."""
    budget: float
    """What it may; with less than it took, none that was tried is as cheap."""


def at_equal_cost(
    full: FullModel,
    x0: NDArray[np.float64],
    t: NDArray[np.float64],
    u: NDArray[np.float64] | None,
    budget: float,
) -> Rival | None:
    """The finest coarsening of a full model whose run takes no longer than `budget`.

    Where all take longer, the cheapest: the comparison then favours the full model.

    Parameters
    ----------
    full : FullModel
        One that says how to make itself coarser, see :class:`rom.base.HasCoarser`.
    x0, t, u
        A run to measure by, as in ``full.simulate``.
    budget : float
        Seconds.

    Returns
    -------
    Rival or None
        None if the model cannot be made coarser, or no coarse run stays finite.

    Examples
    --------
    >>> from rom.fom import Burgers, Lorenz63
    >>> full = Burgers(n=256, viscosity=0.02)
    >>> t = np.linspace(0, 0.1, 3)
    >>> at_equal_cost(full, full.initial_state().values, t, None, budget=0.0).factor
    64
    >>> at_equal_cost(full, full.initial_state().values, t, None, budget=60.0).factor
    2
    >>> at_equal_cost(Lorenz63(), [1.0, 1.0, 1.0], t, None, budget=1.0) is None
    True
    """
    best: Rival | None = None
    if not isinstance(full, HasCoarser):
        return best
    for factor in FACTORS:
        try:
            model = full.coarser(factor)
            model.simulate(x0, t[:2], u=None if u is None else u[:2])  # compiles, where it must
            seconds = least(partial(_seconds, model, x0, t, u))
        except (ValueError, FloatingPointError):  # too few points, or so few that it blows up
            continue
        if best is None or seconds <= budget:
            best = Rival(model, factor, seconds, budget)
        elif seconds > DEAR * budget:
            break
    return best


def _seconds(
    model: FullModel, x0: NDArray[np.float64], t: NDArray[np.float64], u: NDArray[np.float64] | None
) -> float:
    begin = perf_counter()
    model.simulate(x0, t, u=u)
    return perf_counter() - begin
