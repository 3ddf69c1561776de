"""Write files that appear only when complete, and attributes that NetCDF can hold."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def check_writable(path: Path) -> None:
    """Refuse a path that no file can be written to, for want of a folder or for being one."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot write {path}: there is no folder {path.parent}.")
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {path}: it is a folder.")


@contextmanager
def atomic_path(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on failure.

    Parameters
    ----------
    path : path
        The final name; an existing file is replaced in one step.

    Yields
    ------
    Path
        Where to write.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/a.txt") as path:
    ...         _ = path.write_text("whole")
    ...     pathlib.Path(folder, "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    check_writable(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    try:
        yield Path(name)
        # mkstemp lets only the owner read; a result is as readable as any new file.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def with_plain_attrs(X: xr.Dataset) -> xr.Dataset:
    """A shallow copy of `X` whose attributes NetCDF can hold: others become JSON text.

    Examples
    --------
    >>> import xarray as xr
    >>> with_plain_attrs(xr.Dataset(attrs={"ok": True, "n": 1, "grid": {"dx": 2.0}})).attrs
    {'ok': 1, 'n': 1, 'grid': '{"dx": 2.0}'}
    """
    plain = X.copy()
    owners: list[Any] = [plain, *plain.variables.values()]
    for owner in owners:
        owner.attrs = {str(key): _plain(value) for key, value in owner.attrs.items()}
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, str | int | float | np.number):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiuU":
        return value
    return json.dumps(value, default=str)
