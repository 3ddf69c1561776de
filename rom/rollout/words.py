"""Numbers, times and lists as the sentences of a report say them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

# Units of time that are words in the plural.
CALENDAR_UNITS = ("months", "days", "hours", "minutes", "seconds")


def all_of(parts: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def with_error(value: Any, standard_error: Any) -> str:
    """A number ± 2 standard errors: four digits at most, none past the second of the error."""
    value, twice = float(value), 2 * float(standard_error)
    if not (np.isfinite(value) and 0 < twice < np.inf):
        return f"{value:.4g}"
    digits = np.floor(np.log10(max(abs(value), twice))) - np.floor(np.log10(twice)) + 2
    return f"{value:.{int(min(digits, 4))}g} ± {twice:.2g}"


def quantity(figure: str, unit: str | None) -> str:
    """A figure with its unit after it, where it has one."""
    if not unit or unit == "1":
        return figure
    return f"{figure} {unit[:-1] if figure == '1' and unit in CALENDAR_UNITS else unit}"


def time_in_words(value: float, data: xr.Dataset) -> str:
    """A time with its unit, where it has one."""
    return quantity(f"{value:.4g}", data.attrs["time_unit"])


def span_in_words(span: tuple[float, float], data: xr.Dataset) -> str:
    """From one lead time to another, or at the only one."""
    first, last = (time_in_words(lead, data) for lead in span)
    return f"at lead time {first} only" if first == last else f"from lead time {first} to {last}"


def horizon_in_words(data: xr.Dataset) -> str:
    """To which lead time all starts were compared."""
    return time_in_words(float(data["horizon"].min()), data)


def level_of(data: xr.Dataset) -> str:
    """The level that the check was asked for."""
    return f"{100 * data.attrs['level']:.3g} %"
