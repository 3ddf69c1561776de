"""What a check's figures are called, and whether there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr


def readable(name: str) -> str:
    """A variable's name as words."""
    return str(name).replace("_", " ")


def with_unit(label: str, data: xr.Dataset, form: str = "{}") -> str:
    """A label with a unit made of that of time, where it has one."""
    unit = data.attrs.get("time_unit")
    return f"{label} [{form.format(unit)}]" if unit not in (None, "", "1") else label


def time_in_words(value: Any, data: xr.Dataset) -> str:
    """A time with its unit, where it has one."""
    unit = data.attrs.get("time_unit")
    return f"{float(value):.4g}" if unit in (None, "", "1") else f"{float(value):.4g} {unit}"


def number(value: Any, digits: int = 3) -> str:
    """A number to some significant digits; a dash for none."""
    value = float(value)
    return "–" if np.isnan(value) else f"{value:.{digits}g}".replace("inf", "∞")


def known(variable: xr.DataArray) -> bool:
    """Whether there is anything but NaN to show."""
    values = variable.values
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).any())
