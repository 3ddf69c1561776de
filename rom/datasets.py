"""Named data sets: those that come with the project, and public ones, fetched once.

Each is an entry of ``catalogue.toml``, with its variables, units, source, licence and SHA-256.
Public ones are downloaded by pooch (``pip install 'rom-sysid[datasets]'``) into its cache, unless
they already stand in the folder named by the environment variable ``ROM_DATA``.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr

__all__ = ["catalogue", "is_local", "load", "names", "path"]


def names() -> list[str]:
    """Names of all data sets.

    Examples
    --------
    >>> names()
    ['cylinder_wake', 'ersst_v5', 'enso_indices']
    """
    return list(catalogue())


def catalogue() -> dict[str, dict[str, Any]]:
    """What is known of each data set, by name.

    Examples
    --------
    >>> catalogue()["cylinder_wake"]["variables"]
    {'vorticity': 'U/D'}
    """
    return tomllib.loads((_folder() / "catalogue.toml").read_text(encoding="utf-8"))


def load(name: str) -> xr.Dataset:
    """The data set `name`, in memory; see :func:`path` for where it comes from and the errors.

    Examples
    --------
    >>> load("cylinder_wake")["vorticity"].dims
    ('time', 'r', 'theta')
    """
    return xr.load_dataset(path(name), engine="netcdf4")


def is_local(name: str) -> bool:
    """Whether the data set `name` stands on this machine, so that :func:`load` needs no network.

    Examples
    --------
    >>> is_local("cylinder_wake")
    True
    """
    entry = _entry(name)
    return (
        "url" not in entry
        or _in_rom_data(entry["names"]) is not None
        or (find_spec("pooch") is not None and (_cache() / entry["names"][0]).is_file())
    )


def path(name: str) -> Path:
    """The file of the data set `name`, its SHA-256 verified.

    Raises
    ------
    KeyError
        There is no such data set.
    FileNotFoundError
        ``ROM_DATA`` names no folder, or a file of the project is missing.
    ModuleNotFoundError
        The file must be downloaded, and pooch is not installed.
    ValueError
        The file found or downloaded is not the one in the catalogue.
    """
    entry = _entry(name)
    if "url" not in entry:
        return _verified(_folder() / entry["file"], entry["sha256"])
    at_hand = _in_rom_data(entry["names"])
    return _verified(at_hand, entry["sha256"]) if at_hand else _downloaded(name, entry)


def _entry(name: str) -> dict[str, Any]:
    entries = catalogue()
    if name not in entries:
        raise KeyError(f"There is no data set {name!r}; there are {', '.join(entries)}.")
    return entries[name]


def _folder() -> Path:
    """Where the catalogue and the project's files stand: in a wheel, or in a checkout."""
    here = Path(__file__).parent
    wheel = here / "_datasets"
    return wheel if wheel.is_dir() else here.parent / "datasets"


def _in_rom_data(names: list[str]) -> Path | None:
    """The file of ``ROM_DATA`` that has one of the `names`."""
    if not (setting := os.environ.get("ROM_DATA")):
        return None
    folder = Path(setting)
    if not folder.is_dir():
        raise FileNotFoundError(f"ROM_DATA must name a folder, but {setting!r} is none.")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _verified(file: Path, sha256: str) -> Path:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{file} should have SHA-256 {sha256}, but it has {found}.")
    return file


def _downloaded(name: str, entry: dict[str, Any]) -> Path:
    if find_spec("pooch") is None:
        raise ModuleNotFoundError(
            f"To download {name!r}, install pooch: pip install 'rom-sysid[datasets]'. "
            f"Or put {entry['names'][0]} in a folder and name that folder in ROM_DATA."
        )
    import pooch

    return Path(
        pooch.retrieve(
            url=entry["url"],
            known_hash=f"sha256:{entry['sha256']}",
            fname=entry["names"][0],
            path=_cache(),
        )
    )


def _cache() -> Path:
    """Where pooch keeps what it downloaded."""
    import pooch

    return Path(pooch.os_cache("rom-sysid"))
