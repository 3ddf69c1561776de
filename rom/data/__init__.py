"""Files and labelled arrays <-> rows of numbers.

``open_snapshots`` reads and checks, ``Flatten`` and ``Scale`` turn labelled fields into rows and
back, ``TimeAxis`` does the same for times, ``trajectory`` and ``derivative`` work on rows.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "open_snapshots": "io",
    "join_trajectories": "io",
    "TimeAxis": "times",
    "phase": "times",
    "Flatten": "flatten",
    "Scale": "scale",
    "ForwardChaining": "split",
    "LeaveOneTrajectoryOut": "split",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Imported when first used: xarray and scikit-learn take seconds.
    if name not in _HOME:
        raise AttributeError(f"module 'rom.data' has no attribute {name!r}")
    return getattr(import_module(f"rom.data.{_HOME[name]}"), name)
