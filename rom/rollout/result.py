"""What comes back from a rollout: the states, and how and when it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Status(Enum):
    """How a rollout ended. The value is the message; the order is the steppers' return code.

    Examples
    --------
    >>> import rom
    >>> growth = rom.OperatorInference("A").fit([[1.0], [2.0]], [[1.0], [2.0]])
    >>> run = rom.rollout(growth, [1.0], [0.0, 10.0], throw=False)
    >>> run.status is Status.LEFT_BOUND, run.status.value
    (True, 'The state left the bound...')
    """

    COMPLETED = "The rollout reached the last time."
    LEFT_BOUND = (
        "The state left the bound, so the model is unstable from here: fit with more ridge, a "
        "higher threshold or a smaller rank, or give a larger bound if such states are meant."
    )
    NOT_FINITE = (
        "The next state is not finite: the model is not defined here or overflows. Give a finite "
        "bound to see where it goes wrong, or fit with more ridge or a smaller rank."
    )
    STEP_TOO_SMALL = (
        "No step above rounding error meets the tolerance: the solution blows up in finite time "
        "or the right-hand side jumps, or an implicit step has no solution. Give a finite bound or "
        "closer output times, fit with more ridge or a smaller rank, or use stepper='rk4'."
    )
    TOO_MANY_STEPS = (
        "The step budget is spent: it grows with the output times, and the model is far faster "
        "than they are. Give closer output times or a shorter time; if the model is stiff, fit "
        "with more ridge or a smaller rank, or use stepper='exponential' (stiff linear terms) or "
        "'midpoint'."
    )


@dataclass(frozen=True)
class Rollout:
    """A trajectory of a latent model.

    ``z[i]`` is finite exactly where ``t[i] <= t_end``, and NaN after it.

    Examples
    --------
    >>> import rom
    >>> growth = rom.OperatorInference("A").fit([[1.0], [2.0]], [[1.0], [2.0]])
    >>> run = rom.rollout(growth, [1.0], [0.0, 1.0, 10.0], throw=False)
    >>> run.status.name, run.z[:, 0].round(3)
    ('LEFT_BOUND', array([1.   , 2.718,   nan]))
    >>> print(run)
    Rollout ended at t = 5... of 10 after ... steps (bound 200). The state left the bound...
    """

    t: NDArray[np.float64]
    """Output times (n_time,); the first and the last alone where the states were reduced."""
    z: NDArray[np.float64]
    """States (n_time, rank) at these times."""
    status: Status
    """How it ended; ``status.value`` says what to try."""
    t_end: float
    """Time of the last state reached; of the first outside the bound for ``LEFT_BOUND``."""
    bound: float
    """Norm past which the rollout is ended."""
    n_steps: int
    """Steps tried, those rejected by the error control included."""
    reduced: tuple[Any, ...] = ()
    """The reductions that were asked for, of all states."""

    def __str__(self) -> str:
        """One line: where it ended and why."""
        return (
            f"Rollout ended at t = {self.t_end:.6g} of {self.t[-1]:.6g} "
            f"after {self.n_steps} steps (bound {self.bound:.6g}). {self.status.value}"
        )


class RolloutError(RuntimeError):
    """A rollout ended early.

    Attributes
    ----------
    rollout : Rollout
        What was reached, with the status and the time it ended.
    """

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(str(rollout))
        self.rollout = rollout
