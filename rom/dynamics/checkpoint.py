"""One file that holds how far a fit has come, so that it goes on after a kill.

Imported only by a fit: it is PyTorch that writes and reads the file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Checkpoint:
    """The progress of one fit, in a file of its own.

    The file is named after what makes the fit what it is, so that fits of other data or other
    parameters never meet in one folder. It is written beside its place and moved there in one
    step: a reader finds the old one or the new one, never half of one.

    Parameters
    ----------
    folder : str or path-like
        Where the file is; made if missing.
    *identity : object
        What the name is made from. Of arrays every number counts; of other things, their `repr`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Checkpoint(folder, "fit", 1).save("first stage", {"n_iter": 20})
    ...     print(Checkpoint(folder, "fit", 1).load("first stage"))
    ...     print(Checkpoint(folder, "fit", 2).load("first stage"))
    {'n_iter': 20}
    None
    """

    def __init__(self, folder: str | os.PathLike[str], *identity: object) -> None:
        digest = hashlib.sha256()
        for part in identity:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.shape} {part.dtype}".encode())
                digest.update(np.ascontiguousarray(part).data)
            else:
                digest.update(repr(part).encode())
        self.path = Path(folder) / f"{digest.hexdigest()[:20]}.pt"
        # Data only: loading runs no code from the file.
        self._stages = torch.load(self.path, weights_only=True) if self.path.exists() else {}

    def load(self, stage: str) -> dict[str, Any] | None:
        """What was saved of a stage last; None where nothing was."""
        found: dict[str, Any] | None = self._stages.get(stage)
        return found

    def save(self, stage: str, state: dict[str, Any]) -> None:
        """Write the state of a stage: numbers, strings, tensors, lists and dictionaries of them."""
        self._stages[stage] = state
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".part", delete=False) as out:
            try:
                torch.save(self._stages, out)
                out.flush()
                os.fsync(out.fileno())
                os.replace(out.name, self.path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise

    def remove(self) -> None:
        """Delete the file, as at the end of a fit."""
        self.path.unlink(missing_ok=True)
