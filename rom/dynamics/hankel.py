"""Delay embedding: states stacked with earlier ones, for records of too few coordinates."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks
from rom.data.trajectory import even_step, segments, windows


class Delayed(NamedTuple):
    """Rows that hold a state and those before it."""

    rows: NDArray[np.intp]
    """(n_rows,): row of the original that "now" is, for ``t[rows]``, ``u[rows]`` and so on."""
    Z: NDArray[np.float64]
    """(n_rows, rank n_delays): the state now, `stride` steps ago, twice that ago …"""


def delays(
    Z: ArrayLike,
    n_delays: int,
    *,
    stride: int = 1,
    t: ArrayLike | None = None,
    trajectory: ArrayLike | None = None,
) -> Delayed:
    """Stack each state with those before it, the newest first (Hankel matrix, delay embedding).

    A linear model of the stacked rows can hold more rates than there are coordinates: a signal of
    k exponentials needs ``rank n_delays >= k``. Its state is a short history, so a rollout
    starts from one, such as ``delayed.Z[-1]``; the first ``rank`` columns of what comes back are
    the states. Rows without a whole history, after the start of a trajectory or a gap in time,
    are left out. Stacked rows that depend on each other are best compressed, as in the example.

    Parameters
    ----------
    Z : array_like, shape (n_time, rank)
        States, one row per time.
    n_delays : int
        States in a row; 1 changes nothing.
    stride : int, optional
        Steps from one to the next.
    t : array_like, shape (n_time,), optional
        Sample times, increasing and evenly spaced inside each trajectory, but for gaps. Without
        them no gap is seen.
    trajectory : array_like, shape (n_time,), optional
        Label of the trajectory each row belongs to; one trajectory where not given.

    Returns
    -------
    Delayed

    Raises
    ------
    ValueError
        If `n_delays` or `stride` is not positive, the times are uneven, no stretch of continuous
        sampling is long enough, or an array does not fit the others.

    References
    ----------
    Le Clainche & Vega (2017), SIAM J. Appl. Dyn. Syst. 16, 882 (higher-order DMD); Brunton,
    Brunton, Proctor, Kaiser & Kutz (2017), Nat. Commun. 8, 19. Takens (1981), Lecture Notes in
    Mathematics 898, 366.

    Examples
    --------
    One signal, two frequencies, and so four rates. POD takes the mean over a part of a period
    off, hence the constant.

    >>> import numpy as np, rom
    >>> t = np.arange(200) * 0.1
    >>> Z = (np.cos(t) + np.cos(2.5 * t))[:, None]
    >>> delayed = delays(Z, 21, t=t)
    >>> model = rom.ROM(rom.POD(4), rom.DMD(constant=True)).fit(delayed.Z, t=t[delayed.rows])
    >>> np.sort(model.dynamics_.rates_.imag).round(6)
    array([-2.5, -1. ,  1. ,  2.5])
    >>> later = t[-1] + np.arange(50) * 0.1
    >>> forecast = model.rollout(delayed.Z[-1], t=later)["x"].values[:, 0]
    >>> bool(np.allclose(forecast, np.cos(later) + np.cos(2.5 * later), atol=1e-6))
    True
    """
    states = np.array(Z, dtype=np.float64)
    if states.ndim != 2:
        raise ValueError(f"Z must be 2-D (n_time, rank), but its shape is {states.shape}.")
    checks.check_finite(states, "Z")
    for name, value in (("n_delays", n_delays), ("stride", stride)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, but it is {value!r}.")
    codes = checks.check_trajectory(trajectory, len(states))
    times = None if t is None else checks.check_times(t, len(states), codes)
    pieces = segments(times, codes)
    length = (n_delays - 1) * stride + 1
    longest = max(piece.stop - piece.start for piece in pieces)
    if longest < length:
        raise ValueError(
            f"n_delays={n_delays} with stride={stride} needs {length} rows of one trajectory "
            f"without a gap, but the longest stretch has {longest}."
        )
    if times is not None and n_delays > 1:
        even_step(times, pieces, needed_by="A delay embedding")
    history = windows(pieces, length)[:, ::-stride]
    return Delayed(history[:, 0], states[history].reshape(len(history), -1))
