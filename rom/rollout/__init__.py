"""Run latent models and check them. Called, it is :func:`rom.rollout.run.rollout`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from rom.rollout.check import check
from rom.rollout.ensemble import Ensemble, ensemble
from rom.rollout.result import Rollout, RolloutError, Status
from rom.rollout.run import rollout as _rollout
from rom.rollout.stability import StabilityReport

__all__ = [
    "Ensemble",
    "Rollout",
    "RolloutError",
    "StabilityReport",
    "Status",
    "check",
    "ensemble",
]


class _CallableModule(ModuleType):
    """The public function ``rom.rollout`` and its package share one name, so both are one object.

    Python looks up ``__call__`` on an object's class; a module's class may be replaced by a
    subclass.
    """

    __call__ = staticmethod(_rollout)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        """As cloudpickle does modules: by name, so that joblib and dask can send what uses it."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallableModule
__doc__ = _rollout.__doc__ or __doc__
__signature__ = inspect.signature(_rollout)
