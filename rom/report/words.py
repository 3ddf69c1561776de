"""What a check's figures are called, and whether there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from rom.model import ROM

# What stands for the unit of a pure number.
NO_UNIT = (None, "", "1")


def readable(name: str) -> str:
    """A variable's name as words."""
    return str(name).replace("_", " ")


def labelled(name: str, unit: Any, form: str = "{}") -> str:
    """A name with its unit in brackets, where it has one."""
    return name if unit in NO_UNIT else f"{name} [{form.format(unit)}]".lstrip()


def with_unit(label: str, data: xr.Dataset, form: str = "{}") -> str:
    """A label with a unit made of that of time, where it has one."""
    return labelled(label, data.attrs.get("time_unit"), form)


def time_in_words(value: Any, data: xr.Dataset) -> str:
    """A time with its unit, where it has one."""
    return quantity(f"{float(value):.4g}", data.attrs.get("time_unit"))


def quantity(figure: str, unit: Any) -> str:
    """A figure with its unit after it, where it has one."""
    return figure if unit in NO_UNIT else f"{figure} {unit}"


def training_times(model: ROM) -> str:
    """First and last time of training, dates or numbers with their unit; "" where not known."""
    if model.latent_t_ is None:
        return ""
    axis, ends = model.time_axis_, np.array([model.latent_t_.min(), model.latent_t_.max()])
    if axis is not None and axis.calendar is not None:
        # Dates to the second: NumPy writes nine more digits.
        return " to ".join(str(date).partition(".")[0] for date in axis.to_times(ends))
    return quantity(f"{ends[0]:.6g} to {ends[1]:.6g}", None if axis is None else axis.unit)


def number(value: Any, digits: int = 3) -> str:
    """A number to some significant digits; a dash for none."""
    value = float(value)
    return "–" if np.isnan(value) else f"{value:.{digits}g}".replace("inf", "∞")


def known(variable: xr.DataArray) -> bool:
    """Whether there is anything but NaN to show."""
    values = variable.values
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).any())
