"""Gated recurrent units: one step of each kind, for NumPy arrays and PyTorch tensors alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A kind of unit."""

    n_blocks: int
    """Blocks of what units read and of what they tell each other: the gates, and the new value."""
    step: Callable[..., tuple[Any, Any]]
    """``step(xp, drive, echo, h, c)`` gives the next units and memories (n_rows, n_units).

    `xp` is numpy or torch. `drive` is what is read, with the bias, and `echo` what the units say
    to each other, both (n_rows, n_blocks n_units).
    """


def _gru(xp: Any, drive: Any, echo: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """Cho et al. (2014), with the reset gate behind the units' sum; it has no memory but `h`."""
    n = h.shape[1]
    gates = _sigmoid(xp, drive[:, : 2 * n] + echo[:, : 2 * n])
    reset, update = gates[:, :n], gates[:, n:]
    new = xp.tanh(drive[:, 2 * n :] + reset * echo[:, 2 * n :])
    return new + update * (h - new), c


def _lstm(xp: Any, drive: Any, echo: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """Hochreiter & Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""
    n = h.shape[1]
    total = drive + echo
    let_in, keep = _sigmoid(xp, total[:, :n]), _sigmoid(xp, total[:, n : 2 * n])
    c = keep * c + let_in * xp.tanh(total[:, 2 * n : 3 * n])
    return _sigmoid(xp, total[:, 3 * n :]) * xp.tanh(c), c


def _sigmoid(xp: Any, x: Any) -> Any:
    return 0.5 + 0.5 * xp.tanh(0.5 * x)


CELLS = {"gru": Cell(3, _gru), "lstm": Cell(4, _lstm)}
