"""Calendar times <-> numbers: the time dimension, its unit, and the phase of the year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr

DATETIME64 = "datetime64"
EPOCH = "microseconds since 1970-01-01"
DAY = 86_400_000_000
MICROSECONDS = {"days": DAY, "hours": 3_600_000_000, "minutes": 60_000_000, "seconds": 1_000_000}
# Monthly means are often stamped only roughly at mid-month; a day and a half either way is the same
# month's stamp.
MONTH_SLACK = 0.05
SHORTEST_MONTH = 25 * DAY
# Days before each month in a leap year, so that 1 March has one number in every year.
DAYS_BEFORE = np.array([0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335])


def time_dim(X: xr.DataArray | xr.Dataset) -> str:
    """Name of the time dimension: the one called ``time``, or whose coordinate says it is.

    A coordinate says so by holding dates, or by the CF attributes ``axis="T"`` or
    ``standard_name="time"``.

    Raises
    ------
    ValueError
        If there is none, or more than one.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time_dim(xr.DataArray(np.zeros((2, 3)), dims=("x", "time")))
    'time'
    """
    dims = [str(dim) for dim in X.dims]
    if "time" in dims:
        return "time"
    found = [dim for dim in dims if dim in X.coords and _says_time(X.coords[dim])]
    if len(found) != 1:
        raise ValueError(
            f"Expected one time dimension (called 'time', holding dates, or with axis='T'), but "
            f"found {found or 'none'} among the dimensions {dims}."
        )
    return found[0]


def _says_time(coord: xr.DataArray) -> bool:
    attrs = coord.attrs
    return (
        _calendar(coord.values) is not None
        or attrs.get("axis") == "T"
        or attrs.get("standard_name") == "time"
    )


def trajectory_labels(X: xr.DataArray | xr.Dataset) -> NDArray[Any] | None:
    """The coordinate ``trajectory`` along time, one label per row; None where there is none."""
    if "trajectory" not in X.coords or X.coords["trajectory"].dims != (time_dim(X),):
        return None
    return np.asarray(X.coords["trajectory"].values)


def check_increasing(X: xr.DataArray | xr.Dataset) -> None:
    """Refuse times that are missing, repeat or run backwards inside a trajectory."""
    dim = time_dim(X)
    if dim not in X.coords:
        return
    times = X.coords[dim].values
    missing = np.flatnonzero(times != times)
    if missing.size:
        raise ValueError(
            f"{dim} holds {missing.size} missing values, the first at position {missing[0]}."
        )
    bad = np.flatnonzero((times[1:] <= times[:-1]) & _inside(X))
    if bad.size:
        before, after = times[bad[0]], times[bad[0] + 1]
        kind = "repeats" if before == after else "runs backwards"
        raise ValueError(
            f"{dim} must increase within a trajectory, but it {kind} at position {bad[0] + 1} "
            f"({shown(before)} then {shown(after)}); {bad.size} such steps in all."
        )


def shown(time: Any) -> str:
    """A time as messages show it: without the zeros of a date that has no clock time."""
    return str(time).removesuffix(".000000000").removesuffix("T00:00:00")


def _inside(X: xr.DataArray | xr.Dataset) -> NDArray[np.bool_]:
    """Whether each step from row to row stays in one trajectory."""
    labels = trajectory_labels(X)
    if labels is None:
        return np.ones(max(X.sizes[time_dim(X)] - 1, 0), bool)
    return np.asarray(labels[1:] == labels[:-1])


def phase(times: Any, cycle: Literal["month", "day"]) -> NDArray[np.intp]:
    """Phase of the year of each time, for climatologies.

    Parameters
    ----------
    times : DataArray or array_like of datetime64 or cftime, shape (n_time,)
        Calendar times.
    cycle : {"month", "day"}
        Month of the year, 0 to 11, or day of the year, 0 to 365. Days are counted as in a leap
        year: 29 February is 59 and 1 March 60 in every year (in the ``360_day`` calendar, with
        its 30 February, days are 0 to 359).

    Returns
    -------
    ndarray of int, shape (n_time,)

    Examples
    --------
    >>> import numpy as np
    >>> phase(np.array(["2001-02-28", "2001-03-01", "2004-03-01"], "datetime64[D]"), "day")
    array([58, 60, 60])
    """
    values, calendar = _dates_and_calendar(times)
    if calendar is None:
        raise TypeError(
            f"A climatology needs calendar times (datetime64 or cftime), but came {values.dtype}."
        )
    micros = _to_micros(values, calendar)
    month = _month_of(micros, calendar)
    if cycle == "month":
        return (month % 12).astype(np.intp)
    day = (micros - _month_start(month, calendar)) // DAY
    before = 30 * (month % 12) if calendar == "360_day" else DAYS_BEFORE[month % 12]
    return (before + day).astype(np.intp)


@dataclass(frozen=True)
class TimeAxis:
    """How one time coordinate turns into numbers and back.

    Monthly stamps count whole calendar months, so that monthly data is evenly spaced; other dates
    count days, hours, minutes or seconds from `origin`; numbers stay as they are.

    Parameters
    ----------
    dim : str
        The time dimension.
    unit : str
        "months", "days", "hours", "minutes" or "seconds" for dates; the coordinate's own units
        ("" without) for numbers; "steps" where the dimension has no coordinate.
    origin : str or None
        ISO date of number 0; None for numbers and steps.
    calendar : str or None
        "datetime64", or the name of a cftime calendar; None for numbers and steps.
    anchor : {"start", "middle", "end"} or None
        Where in its month a monthly stamp stands: as many days from the start or the end of the
        month as `origin`, or in the middle.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> stamps = np.array(["2000-01-01", "2000-02-01", "2000-03-01"], "datetime64[ns]")
    >>> axis = TimeAxis.of(xr.DataArray(np.zeros(3), coords={"time": stamps}))
    >>> axis.unit, axis.to_numbers(stamps)
    ('months', array([0., 1., 2.]))
    >>> print(axis.to_times(np.array([12.0])))
    ['2001-01-01T00:00:00.000000000']
    """

    dim: str
    unit: str
    origin: str | None = None
    calendar: str | None = None
    anchor: str | None = None

    @classmethod
    def of(cls, X: xr.DataArray | xr.Dataset) -> Self:
        """The axis of `X`; steps are looked at inside trajectories only.

        Raises
        ------
        ValueError, TypeError
            If `X` has no time dimension, or its coordinate holds neither dates nor numbers.
        """
        dim = time_dim(X)
        if dim not in X.coords:
            return cls(dim, "steps")
        values, calendar = _dates_and_calendar(X.coords[dim])
        if calendar is None:
            if values.dtype.kind not in "fiu":
                raise TypeError(
                    f"{dim} must hold dates or numbers, but its dtype is {values.dtype}."
                )
            return cls(dim, str(X.coords[dim].attrs.get("units", "")))
        micros = _to_micros(values, calendar)
        origin, inside = _to_text(micros[0], calendar), _inside(X)
        step = np.diff(micros)[inside]
        if (anchor := cls._monthly_anchor(origin, calendar, micros, inside)) is not None:
            return cls(dim, "months", origin, calendar, anchor)
        median = np.median(step) if step.size else DAY
        unit = next((unit for unit, size in MICROSECONDS.items() if size <= median), "seconds")
        return cls(dim, unit, origin, calendar)

    @classmethod
    def _monthly_anchor(
        cls, origin: str, calendar: str, micros: NDArray[np.int64], inside: NDArray[np.bool_]
    ) -> str | None:
        """The anchor under which the stamps are monthly, None where they are not."""
        step = np.diff(micros)[inside]
        if not step.size or step.min() < SHORTEST_MONTH:
            return None
        best, smallest = None, MONTH_SLACK
        for anchor in ("start", "end", "middle"):
            months = cls("", "months", origin, calendar, anchor)._months(micros)
            whole = np.rint(months)
            off = np.abs(months - whole).max()
            if off < smallest and (np.diff(whole)[inside] > 0).all():
                best, smallest = anchor, off
        # Stamps 30 days apart, say, are even as they are.
        return None if smallest > 1e-6 and np.ptp(step) == 0 else best

    def to_numbers(self, times: Any) -> NDArray[np.float64]:
        """Numbers (n_time,) of times (n_time,), in `unit` from `origin`.

        Months are linear in time between stamps; where all times lie within a day and a half of
        the stamps, they count as on them.

        Raises
        ------
        TypeError
            If the times are not of the axis' calendar.
        ValueError
            If numeric times carry other units.
        """
        values, calendar = _dates_and_calendar(times)
        if calendar != self.calendar or (calendar is None and values.dtype.kind not in "fiu"):
            expected = "numbers" if self.calendar is None else f"{self.calendar} times"
            raise TypeError(
                f"Expected {expected} along {self.dim!r}, but came {calendar or values.dtype}."
            )
        if calendar is None:
            units = getattr(times, "attrs", {}).get("units")
            if units is not None and self.unit not in ("", "steps", units):
                raise ValueError(f"{self.dim} has units {units!r}, expected {self.unit!r}.")
            return values.astype(np.float64)
        micros = _to_micros(values, calendar)
        if self.unit != "months":
            return (micros - self._zero()) / MICROSECONDS[self.unit]
        months = self._months(micros)
        whole = np.rint(months)
        return whole if (np.abs(months - whole) < MONTH_SLACK).all() else months

    def to_times(self, t: Any) -> NDArray[Any]:
        """Times (n_time,) of numbers (n_time,): datetime64, cftime dates, or the numbers.

        The inverse of :meth:`to_numbers`, to a microsecond for whole steps.
        """
        t = np.asarray(t, dtype=np.float64)
        if self.calendar is None:
            return t
        whole = np.floor(t).astype(np.int64)
        if self.unit == "months":
            month = whole + _month_of(self._zero(), self.calendar)
            start, length = self._stamp(month), self._stamp(month + 1) - self._stamp(month)
        else:
            length = np.int64(MICROSECONDS[self.unit])
            start = self._zero() + whole * length
        return _from_micros(start + np.rint((t - whole) * length).astype(np.int64), self.calendar)

    def _zero(self) -> Any:
        """Microseconds of `origin`."""
        assert self.origin is not None  # only dates have one
        if self.calendar == DATETIME64:
            return np.datetime64(self.origin, "us").astype(np.int64)
        import cftime

        date = cftime.num2date(0, f"microseconds since {self.origin}", calendar=self.calendar)
        return _to_micros(np.asarray(date), self.calendar)

    def _stamp(self, month: Any) -> Any:
        """Microseconds at which the stamp of each month stands."""
        start, end = _month_start(month, self.calendar), _month_start(month + 1, self.calendar)
        if self.anchor == "middle":
            return (start + end) // 2
        zero = self._zero()
        first = _month_of(zero, self.calendar)
        if self.anchor == "end":
            return end - (_month_start(first + 1, self.calendar) - zero)
        day, clock = np.divmod(zero - _month_start(first, self.calendar), DAY)
        return start + np.minimum(day, (end - start) // DAY - 1) * DAY + clock

    def _months(self, micros: Any) -> Any:
        """Months from the origin's stamp, linear between stamps."""
        month: Any = _month_of(micros, self.calendar)
        month = month - (micros < self._stamp(month))
        before, after = self._stamp(month), self._stamp(month + 1)
        return month - _month_of(self._zero(), self.calendar) + (micros - before) / (after - before)


def _calendar(values: NDArray[Any]) -> str | None:
    """`DATETIME64`, the name of a cftime calendar, or None for anything else."""
    if values.dtype.kind == "M":
        return DATETIME64
    if values.dtype == object and values.size:
        return getattr(values.flat[0], "calendar", None)
    return None


def _dates_and_calendar(times: Any) -> tuple[NDArray[Any], str | None]:
    values = np.asarray(getattr(times, "values", times))
    if values.dtype == object and values.size and isinstance(values.flat[0], datetime):
        values = values.astype("datetime64[us]")
    return values, _calendar(values)


def _to_micros(values: NDArray[Any], calendar: str | None) -> Any:
    """Microseconds since 1970 in the calendar."""
    if calendar == DATETIME64:
        return values.astype("datetime64[us]").astype(np.int64)
    import cftime

    return np.asarray(cftime.date2num(values, EPOCH, calendar=calendar), dtype=np.int64)


def _from_micros(micros: Any, calendar: str | None) -> NDArray[Any]:
    if calendar == DATETIME64:
        # Nanoseconds, xarray's default, reach from 1677 to 2262 only.
        fits = np.abs(micros).max(initial=0) < np.iinfo(np.int64).max // 1000
        return micros.astype("datetime64[us]").astype(
            "datetime64[ns]" if fits else "datetime64[us]"
        )
    import cftime

    return np.asarray(cftime.num2date(micros, EPOCH, calendar=calendar))


def _to_text(micros: np.int64, calendar: str) -> str:
    date = _from_micros(np.asarray(micros), calendar)
    text = str(date.astype("datetime64[us]")) if calendar == DATETIME64 else date.item().isoformat()
    return text.removesuffix(".000000")


def _month_of(micros: Any, calendar: str | None) -> Any:
    """Calendar months since January 1970."""
    if calendar == DATETIME64:
        return micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    dates = _from_micros(micros, calendar)
    months = [12 * (date.year - 1970) + date.month - 1 for date in dates.flat]
    return np.array(months, dtype=np.int64).reshape(dates.shape)


def _month_start(month: Any, calendar: str | None) -> Any:
    if calendar == DATETIME64:
        return month.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    import cftime

    month = np.asarray(month)
    dates = [cftime.datetime(1970 + m // 12, m % 12 + 1, 1, calendar=calendar) for m in month.flat]
    return _to_micros(np.array(dates, dtype=object).reshape(month.shape), calendar)
