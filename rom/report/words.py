"""What a check's figures are called, and whether there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rom.rollout.words import quantity

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


def training_times(model: ROM) -> str:
    """First and last time of training, dates or numbers with their unit; "" where not known."""
    if model.latent_t_ is None:
        return ""
    # The first row of a model with delays has the time of its newest snapshot.
    past = (model.states_per_row - 1) * model.dynamics_.dt_ if model.states_per_row > 1 else 0.0
    axis, ends = model.time_axis_, np.array([model.latent_t_.min() - past, model.latent_t_.max()])
    if (dates := _dates(model, ends)) is not None:
        return " to ".join(dates)
    return quantity(f"{ends[0]:.6g} to {ends[1]:.6g}", None if axis is None else axis.unit)


def with_dates(data: xr.Dataset, model: ROM | None) -> xr.Dataset:
    """Add dates to the times of starts, "start_date" and "tested_date", if the model knows them."""
    for name, of in (("start_time", "start"), ("tested", "tested")):
        dates = _dates(model, data[name].values) if name in data.coords else None
        if dates is not None:
            data = data.assign_coords({f"{of}_date": (data[name].dims, dates)})
    return data


def _dates(model: ROM | None, t: ArrayLike) -> list[str] | None:
    """Dates of numbers, to the second, where NumPy writes nine more digits."""
    axis = None if model is None else model.time_axis_
    if axis is None or axis.calendar is None:
        return None
    return [str(date).partition(".")[0] for date in axis.to_times(t)]


def number(value: Any, digits: int = 3) -> str:
    """A number to some significant digits; a dash for none."""
    value = float(value)
    return "–" if np.isnan(value) else f"{value:.{digits}g}".replace("inf", "∞")


def known(variable: xr.DataArray) -> bool:
    """Whether there is anything but NaN to show."""
    values = variable.values
    return values.dtype.kind not in "fc" or bool(np.isfinite(values).any())
