"""The figures of a check that are read rather than seen: tiles, tables and a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rom.report.words import known, number, readable
from rom.rollout.cost import times_less
from rom.rollout.words import time_in_words, with_error

if TYPE_CHECKING:
    import xarray as xr

    from rom.rollout import StabilityReport

# Most rows of a table of exponents.
MOST_EXPONENTS = 6

NOT_KNOWN = "not known"


class Tile(NamedTuple):
    """A figure worth knowing first."""

    label: str
    value: str
    note: str = ""


class Table(NamedTuple):
    """Cells of text. The first of a row is its name."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: str = ""
    """If given, what stands on the handle of a table that is folded away."""


def tiles(data: xr.Dataset) -> list[Tile]:
    """What is most worth knowing of a check; `data` as that of a report."""
    return [
        tile
        for make in (_reliable, _valid, _bound, _band, _statistics, _lyapunov, _range, _speed)
        if (tile := make(data)) is not None
    ]


def _reliable(data: xr.Dataset) -> Tile | None:
    to, held = (data.attrs.get(name, np.nan) for name in ("reliable_time", "held_time"))
    if np.isnan(held):
        return None
    level, first = f"{100 * data.attrs['level']:g} %", float(data["lead"][0])
    if to > first or held <= first:
        words = time_in_words(to, data) if held > first else "no time"
        return Tile("Reliable to", words, f"at level {level}")
    starts = f"{data.sizes['start']} starts, {data.attrs['held_apart']} independent"
    return Tile("Held to", time_in_words(held, data), f"in {level} of {starts}")


def _valid(data: xr.Dataset) -> Tile:
    valid = data["valid_time"]
    more = "" if bool(data["exceeded"].mean() > 0.5) else "≥ "
    note = f"of {data.sizes['start']} rollouts"
    unit = float(data.get("lyapunov_time", np.nan))
    if np.isfinite(unit):
        note = f"{float(valid.median()) / unit:.3g} Lyapunov times"
    return Tile("Median valid time", more + time_in_words(float(valid.median()), data), note)


def _bound(data: xr.Dataset) -> Tile | None:
    if "useful_horizon" not in data or not known(data["useful_horizon"]):
        return None
    kind = str(data["error_bound"].attrs.get("kind", ""))
    horizon = float(data["useful_horizon"].median())
    return Tile("Bound below tolerance", f"to {time_in_words(horizon, data)}", f"{kind}; median")


def _band(data: xr.Dataset) -> Tile | None:
    if "band_radius" not in data or "coverage" not in data["band_radius"].attrs:
        return None
    a = data["band_radius"].attrs
    between = f"{100 * a['coverage_low']:.0f} to {100 * a['coverage_high']:.0f} %"
    return Tile(f"{100 * a['level']:g} % bands held", f"{100 * a['coverage']:.1f} %", between)


def _statistics(data: xr.Dataset) -> Tile | None:
    if "statistics_kept" not in data:
        return None
    kept = [words == "kept" for words in _kept(data)]
    most = data["statistics_kept"].attrs["tolerance"]
    return Tile("Statistics kept", f"{sum(kept)} of {len(kept)}", f"to {most:g} or sampling error")


def _lyapunov(data: xr.Dataset) -> Tile | None:
    pair = [data.get(f"lyapunov_{name}") for name in ("model", "truth")]
    if pair[0] is None or not pair[0].size:
        return None
    if not np.isfinite(pair[0][0]):
        return None
    note = "" if pair[1] is None else f"full model {_exponent(data, 'truth', 0)}"
    return Tile("Largest exponent", _exponent(data, "model", 0), note)


def _range(data: xr.Dataset) -> Tile | None:
    if "left_range" not in data:
        return None
    stayed = np.isnan(data["left_range"].values)
    return Tile(
        "Stayed in training range",
        f"{int(stayed.sum())} of {stayed.size}",
        f"its {data.attrs.get('range_kind', 'range')}",
    )


def _speed(data: xr.Dataset) -> Tile | None:
    ratio = times_less(data)
    if not np.isfinite(ratio):
        return None
    return Tile("Time of a run", f"{ratio:.3g} × less" if ratio > 1 else f"{1 / ratio:.3g} × more")


# -- tables -----------------------------------------------------------------------------------


def statistics_table(data: xr.Dataset) -> Table | None:
    """Distances to the full model's long-run statistics, beside their sampling errors."""
    if "distance" not in data:
        return None
    columns = (data[name].values for name in ("statistic", "distance", "sampling_error"))
    rows = [
        (readable(name), number(distance), number(error), words)
        for name, distance, error, words in zip(*columns, _kept(data), strict=True)
    ]
    return Table(("statistic", "distance", "by chance", ""), rows)


def _kept(data: xr.Dataset) -> list[str]:
    kept = data["statistics_kept"].values
    sure = data["statistics_known"].values if "statistics_known" in data else np.ones_like(kept)
    words = np.where(kept, np.where(sure, "kept", "not known"), "not kept")
    return [str(word) for word in words]


def exponents_table(data: xr.Dataset) -> Table | None:
    """Lyapunov exponents and dimension of the model beside the full model's."""
    names = [
        n for n in ("model", "truth") if f"lyapunov_{n}" in data and known(data[f"lyapunov_{n}"])
    ]
    if not names:
        return None
    sizes = [data[f"lyapunov_{n}"].size for n in names]
    rows = [
        (
            f"exponent {k + 1}",
            *(
                _exponent(data, n, k) if k < size else ""
                for n, size in zip(names, sizes, strict=True)
            ),
        )
        for k in range(min(MOST_EXPONENTS, max(sizes)))
    ]
    dimension = [float(data.get(f"kaplan_yorke_{n}", np.nan)) for n in names]
    rows.append(("Kaplan–Yorke dimension", *(number(d, 4) for d in dimension)))
    heads = {"model": "reduced model", "truth": "full model"}
    return Table(("± 2 standard errors", *(heads[n] for n in names)), rows)


def _exponent(data: xr.Dataset, name: str, k: int) -> str:
    value = data[f"lyapunov_{name}"].values[k]
    if not np.isfinite(value):
        return number(value)
    error = data.get(f"lyapunov_{name}_error")
    return with_error(value, np.nan if error is None else error[k])


def cost_table(data: xr.Dataset) -> Table | None:
    """What a run takes, of the full and of the reduced model."""
    attrs = data.attrs
    full, reduced = (float(data[f"{name}_seconds"].median()) for name in ("full", "reduced"))
    rows = [
        ("time of a run", _seconds(full), _seconds(reduced)),
        (
            "operations",
            _number(attrs.get("full_flops")) or NOT_KNOWN,
            _number(attrs.get("reduced_flops")),
        ),
        (
            "memory",
            _bytes(attrs.get("full_bytes")) or NOT_KNOWN,
            _bytes(attrs.get("reduced_bytes")),
        ),
        ("time of the fit", "", _seconds(attrs.get("fit_seconds"))),
        ("runs that pay for it", "", _number(attrs.get("break_even_runs"))),
    ]
    rows = [row for row in rows if any(cell and cell != NOT_KNOWN for cell in row[1:])]
    return Table(("", "full model", "reduced model"), rows) if rows else None


def starts_table(data: xr.Dataset) -> Table:
    """How each rollout went."""
    columns = ("valid_time", "exceeded", "status", "end_lead")
    times = data["start_time"].values
    names = [f"{time:.6g}" for time in times]
    if np.ptp(times) == 0:  # a full model, run from many states at the same time
        names = [str(number) for number in range(len(times))]
    elif "start_date" in data:
        names = data["start_date"].values.tolist()
    rows = [
        (
            start,
            ("" if exceeded else "≥ ") + f"{valid:.4g}",
            f"{str(status).lower().replace('_', ' ')}, lead time {end:.4g}",
        )
        for start, valid, exceeded, status, end in zip(
            names, *(data[name].values for name in columns), strict=True
        )
    ]
    return Table(("start", "valid time", "rollout"), rows, f"All {len(rows)} rollouts")


def stability(report: StabilityReport) -> str:
    """The verdict in a word or two: "stable", "unstable", or that it is not known."""
    if report.stable:
        return "stable"
    return NOT_KNOWN if report.verdict.startswith(NOT_KNOWN) else "unstable"


def comparison_table(reports: Mapping[str, StabilityReport]) -> Table:
    """Several models, one a row, by the same figures.

    Parameters
    ----------
    reports : mapping of str to StabilityReport
        By the models' names.

    Returns
    -------
    Table
        Columns that no report fills are left out. The verdict is that of :func:`stability`.
    """
    found: dict[str, dict[str, str]] = {}
    for name, report in reports.items():
        data = report.to_dataset()
        last = np.nan_to_num(data["rms_error"].values[-1], nan=np.inf)
        found[name] = {"verdict": stability(report), "rms error at the end": number(last)}
        found[name] |= {tile.label.lower(): tile.value for tile in tiles(data)}
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    rows = [(name, *(row.get(column, "") for column in columns)) for name, row in found.items()]
    return Table(("model", *columns), rows)


def as_text(table: Table, width: int) -> str:
    """A table for a terminal, its columns aligned; those that do not fit stand in parts below."""
    names, *columns = [
        [cell.ljust(max(map(len, column))) for cell in column]
        for column in zip(table.head, *table.rows, strict=True)
    ]
    parts = [[names]]
    for column in columns:
        if len(parts[-1]) > 1 and sum(len(c[0]) + 2 for c in parts[-1]) + len(column[0]) > width:
            parts.append([names])
        parts[-1].append(column)
    texts = ("\n".join("  ".join(line).rstrip() for line in zip(*p, strict=True)) for p in parts)
    return "\n\n".join(texts)


def _seconds(value: Any) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.3g} s"


def _number(value: Any) -> str:
    if value is None or np.isnan(value):
        return ""
    return f"{value:.3g}" if np.isfinite(value) else "never"


def _bytes(value: Any) -> str:
    if value is None or not np.isfinite(value):
        return ""
    return next(
        f"{value / size:.3g} {unit}"
        for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))
        if value >= size or size == 1
    )
