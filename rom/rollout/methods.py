"""The time loops by name: as plain Python, and compiled."""

from __future__ import annotations

from collections.abc import Callable

from rom.rollout.dop853 import dop853
from rom.rollout.exponential import exponential
from rom.rollout.midpoint import midpoint
from rom.rollout.steppers import Outcome, compiled, dopri5, euler_maruyama, iterate, rk4

PLAIN: dict[str, Callable[..., Outcome]] = {
    "map": iterate,
    "rk4": rk4,
    "dopri5": dopri5,
    "dop853": dop853,
    "midpoint": midpoint,
    "exponential": exponential,
    "euler_maruyama": euler_maruyama,
}
COMPILED = {name: compiled(loop) for name, loop in PLAIN.items()}
