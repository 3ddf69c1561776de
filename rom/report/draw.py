"""Drawings of a check, each into the figure it is given, from the dataset of a report."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rom.report.words import known, readable, with_unit

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

Array = NDArray[np.float64]

# Legible on white and on black; what is drawn as INK takes the colour of the reader's text.
MODEL, FLOOR, INK, BAD = "#2f7fd6", "#808080", "#222222", "#d0432f"
BASELINES = {
    "persistence": "#d98a00",
    "damped_persistence": "#9b59b6",
    "climatology": "#2a9d5c",
    "seasonal": "#12a0b0",
    "coarse": "#c2577e",
}
# A model that blows up would otherwise leave no room for anything else.
WORST_SHOWN = 30.0
# Dates that have room below a panel; points between axes and what stands over them.
MOST_DATES, TITLE_PAD = 3, 3.0
# Of latent coordinates only the first are drawn.
MOST_COORDINATES = 3
STYLE: dict[str, dict[str, Any]] = {
    "truth": {"color": INK, "lw": 2.0, "alpha": 0.55, "label": "full model"},
    "model": {"color": MODEL, "lw": 1.2, "label": "reduced model"},
}


# -- horizon ----------------------------------------------------------------------------------


def errors(figure: FigureBase, data: xr.Dataset) -> None:
    """Errors by lead time: of the model, its projection floor and the baselines."""
    ax, lead = figure.subplots(), data["lead"].values
    low, high = _quantiles(data["error"].values, 0.05, 0.95)
    floor = np.sqrt((data["error_floor"].values ** 2).mean(axis=0))
    ax.fill_between(lead, _positive(low), _positive(high), color=MODEL, alpha=0.2, lw=0)
    for name in data["baseline"].values:
        curve = data["baseline_error"].sel(baseline=name).values
        ax.plot(lead, _positive(curve), color=_color(name), lw=1.2, label=readable(name))
    ax.plot(lead, _positive(floor), color=FLOOR, ls="--", label="projection floor")
    ax.plot(lead, _positive(data["rms_error"].values), color=MODEL, lw=2.2, label="model (rms)")
    ax.axhline(data.attrs["tolerance"], color=INK, lw=0.8, ls=":", label="tolerance")
    ax.set(xlabel=with_unit("lead time", data), ylabel="normalised error", yscale="log")
    _log_range(ax)
    legend_above(ax)


def holding(figure: FigureBase, data: xr.Dataset) -> None:
    """Shares of the rollouts for which a first passage has not come yet."""
    ax, lead = figure.subplots(), data["lead"].values
    never = np.where(data["exceeded"], data["valid_time"], np.inf)
    curves = [(f"error below {data.attrs['tolerance']:g}", never, MODEL, "-")]
    if "useful_horizon" in data and known(data["useful_horizon"]):
        label = f"{data['error_bound'].attrs.get('kind', '')} bound below it".lstrip()
        curves.append((label, _beyond(data["useful_horizon"].values, lead), BAD, "--"))
    if "left_range" in data:
        left = data["left_range"].values
        curves.append(("in training range", np.where(np.isnan(left), np.inf, left), INK, ":"))
    for label, passage, color, style in curves:
        share = (passage > lead[:, None]).mean(axis=1)
        ax.step(lead, 100 * share, color=color, ls=style, where="post", label=label)
    ax.set(xlabel=with_unit("lead time", data), ylabel="rollouts [%]", ylim=(0, 103))
    ax.margins(x=0)
    unit = float(data.get("lyapunov_time", np.nan))
    if np.isfinite(unit):
        top = ax.secondary_xaxis(
            "top", functions=(partial(np.multiply, 1 / unit), partial(np.multiply, unit))
        )
        top.set_xlabel("Lyapunov times")
    ax.legend(loc="lower left", fontsize="small", framealpha=0.7)


def valid_times(figure: FigureBase, data: xr.Dataset) -> None:
    """Valid time of each start; those that failed are marked."""
    ax, time = figure.subplots(), data["valid_time"].values
    start, label_of_start = data["start_time"].values, with_unit("start", data)
    if np.ptp(start) == 0:  # a full model, run from many states at the same time
        start, label_of_start = np.arange(len(time)), "start, by number"
    exceeded, bounded = data["exceeded"].values, data["bounded"].values
    groups = [
        ("within the tolerance to the end", ~exceeded & bounded, MODEL, "o", MODEL),
        ("tolerance exceeded", exceeded & bounded, MODEL, "o", "none"),
        ("left the bound or failed", ~bounded, BAD, "X", BAD),
    ]
    for label, chosen, color, marker, face in groups:
        if chosen.any():
            ax.vlines(start[chosen], 0, time[chosen], color=color, alpha=0.35)
            ax.scatter(
                start[chosen],
                time[chosen],
                s=18,
                marker=marker,
                c=face,
                edgecolors=color,
                label=label,
            )
    ax.axhline(float(data["lead"][-1]), color=INK, lw=0.8, ls=":", label="horizon")
    ax.set(xlabel=label_of_start, ylabel=with_unit("valid time", data))
    if "start_date" in data and label_of_start == with_unit("start", data):
        _date_ticks(ax, start, data["start_date"].values)
    ax.set_ylim(0, 1.08 * float(data["lead"][-1]))
    legend_above(ax)


# -- bounds -----------------------------------------------------------------------------------


def bound(figure: FigureBase, data: xr.Dataset) -> None:
    """The bound on the error beside the error itself, by lead time."""
    ax, lead = figure.subplots(), data["lead"].values
    kind = data["error_bound"].attrs.get("kind", "")
    for name, color, label in (
        ("error_bound", BAD, f"{kind} bound"),
        ("error", MODEL, "true error"),
    ):
        low, middle, high = _quantiles(data[name].values, 0.05, 0.5, 0.95)
        ax.fill_between(lead, _positive(low), _positive(high), color=color, alpha=0.2, lw=0)
        ax.plot(lead, _positive(middle), color=color, lw=1.8, label=label)
    ax.axhline(data.attrs["tolerance"], color=INK, lw=0.8, ls=":", label="tolerance")
    ax.set(xlabel=with_unit("lead time", data), ylabel="normalised error", yscale="log")
    _log_range(ax)
    legend_above(ax)


def growth(figure: FigureBase, data: xr.Dataset) -> None:
    """Growth of a small change of the initial state, by lead time, and its bound."""
    ax = figure.subplots()
    growth = _positive(data["perturbation_growth"].values)
    ax.plot(data["lead"], growth, color=MODEL, label="worst found")
    ax.axhline(1, color=INK, lw=0.8, ls=":")
    scale = "log" if np.nanmax(growth) > 10 * np.nanmin(growth) else "linear"
    ax.set(xlabel=with_unit("lead time", data), ylabel="growth factor", yscale=scale)
    if "growth_bound" in data:
        low, high = ax.get_ylim()
        bound, kind = _positive(data["growth_bound"].values), data["growth_bound"].attrs["kind"]
        ax.plot(data["lead"], bound, color=BAD, ls="--", label=f"{kind} bound")
        most = 100 * high if scale == "log" else 2 * high - low
        ax.set_ylim(low, min(most, max(high, ax.get_ylim()[1])))  # the bound may be far larger
        legend_above(ax)
    ax.margins(x=0)


# -- the long run -----------------------------------------------------------------------------


def spectra(figure: FigureBase, data: xr.Dataset) -> None:
    """Power spectra of model and truth, one coordinate below the other."""
    frequency = data["spectrum_frequency"]
    axes = _by_coordinate(figure, data["spectrum_truth"])
    for k, ax in axes:
        f = (frequency.isel(coordinate=k) if "coordinate" in frequency.dims else frequency).values
        for name, style in STYLE.items():
            power = _positive(data[f"spectrum_{name}"].isel(coordinate=k).values)[f > 0]
            ax.plot(f[f > 0], power, **style)
            if np.isfinite(power).any():  # what stays has none
                ax.set_yscale("log")
        ax.set_xscale("log")
        ax.tick_params(which="minor", labelleft=False, labelbottom=False)
        ax.margins(x=0)
    simple = str(data.attrs.get("time_unit")).isalpha()
    ax.set_xlabel(with_unit("frequency", data, "1/{}" if simple else "1/({})"))
    figure.supylabel("power", fontsize="medium")
    legend_above(axes[0][1])


def histograms(figure: FigureBase, data: xr.Dataset) -> None:
    """Histograms of model and truth, one coordinate below the other."""
    axes = _by_coordinate(figure, data["histogram_truth"])
    for k, ax in axes:
        edges = data["histogram_edges"].isel(coordinate=k).values
        for name, style in STYLE.items():
            ax.stairs(data[f"histogram_{name}"].isel(coordinate=k).values, edges, **style)
        ax.set_yticks([])
        ax.margins(x=0)
    ax.set_xlabel("value")
    figure.supylabel("density", fontsize="medium")
    legend_above(axes[0][1])


def joint_histograms(figure: FigureBase, data: xr.Dataset) -> None:
    """Joint histograms of truth above and model below, one pair of coordinates beside the other."""
    pairs, edges = data["joint_coordinates"].values[:MOST_COORDINATES], data["histogram_edges"]
    rows = [np.ma.masked_equal(data[f"joint_histogram_{name}"].values, 0.0) for name in STYLE]
    axes = figure.subplots(len(rows), len(pairs), sharex="col", sharey="col", squeeze=False)
    for k, pair in enumerate(pairs):
        low, high = edges.isel(coordinate=pair, edge=[0, -1]).values.T
        scale = {"vmin": 0, "vmax": rows[0][k].max(), "extent": (low[0], high[0], low[1], high[1])}
        for ax, shares in zip(axes[:, k], rows, strict=True):
            ax.imshow(shares[k].T, origin="lower", aspect="auto", **scale)
            ax.tick_params(labelsize="x-small")
        axes[-1, k].set_xlabel(_name(edges, pair[0]), fontsize="small")
        axes[0, k].set_title(_name(edges, pair[1]), fontsize="small")
    for ax, style in zip(axes[:, 0], STYLE.values(), strict=True):
        ax.set_ylabel(style["label"], fontsize="small")


def autocorrelations(figure: FigureBase, data: xr.Dataset) -> None:
    """Autocorrelations of model and truth, one coordinate below the other."""
    axes = _by_coordinate(figure, data["autocorrelation_truth"])
    for k, ax in axes:
        for name, style in STYLE.items():
            curve = data[f"autocorrelation_{name}"].isel(coordinate=k)
            ax.plot(data["lag"], curve, **style)
        ax.axhline(0, color=INK, lw=0.8, ls=":")
        ax.margins(x=0)
    ax.set_xlabel(with_unit("lag", data))
    figure.supylabel("autocorrelation", fontsize="medium")
    legend_above(axes[0][1])


def invariants(figure: FigureBase, data: xr.Dataset) -> None:
    """Drift of each invariant, by lead time."""
    ax, drift = figure.subplots(), data["invariant_drift"]
    for name in drift["invariant"].values:
        values = np.abs(drift.sel(invariant=name).values)
        (line,) = ax.plot(data["lead"], _positive(values), label=readable(name))
        true = np.abs(data["invariant_drift_truth"].sel(invariant=name).values)
        label = f"{readable(name)}, full model"
        ax.plot(data["lead"], _positive(true), color=line.get_color(), ls=":", label=label)
    ax.set(xlabel=with_unit("lead time", data), ylabel="relative drift", yscale="log")
    ax.margins(x=0)
    legend_above(ax)


# -- bands and skill --------------------------------------------------------------------------


def rollout(figure: FigureBase, data: xr.Dataset) -> None:
    """Latent coordinates of one start, with the band about the forecast where there is one."""
    lead = data["lead"].values
    axes = _by_coordinate(figure, data["latent_truth"])
    for k, ax in axes:
        truth, model = (data[f"latent_{n}"].isel(coordinate=k).values for n in ("truth", "model"))
        if "band_radius" in data:
            radius, level = data["band_radius"].isel(coordinate=k).values, data.band_radius.level
            label = f"{100 * level:g} % band"
            ax.fill_between(lead, model - radius, model + radius, color=MODEL, alpha=0.2, lw=0)
            ax.fill([], [], color=MODEL, alpha=0.2, lw=0, label=label)
        ax.plot(lead, truth, **STYLE["truth"])
        ax.plot(lead, model, **STYLE["model"])
        low, high = np.nanmin(truth), np.nanmax(truth)
        if high > low:
            ax.set_ylim(low - (high - low) / 2, high + (high - low) / 2)  # a band may be far wider
        ax.margins(x=0)
    ax.set_xlabel(with_unit("lead time", data))
    legend_above(axes[0][1])


def bands(figure: FigureBase, data: xr.Dataset) -> None:
    """Half-width of the bands by lead time, one line a coordinate."""
    ax, radius = figure.subplots(), data["band_radius"]
    n = radius.sizes["coordinate"]
    for k in range(min(n, MOST_COORDINATES)):
        shade = 1 - 0.3 * k
        ax.plot(
            data["lead"],
            radius.isel(coordinate=k),
            color=MODEL,
            alpha=shade,
            label=_name(radius, k),
        )
    if n > MOST_COORDINATES:
        mean = np.sqrt((radius**2).mean("coordinate"))
        ax.plot(data["lead"], mean, color=INK, ls="--", label=f"rms of all {n}")
    ax.set(xlabel=with_unit("lead time", data), ylabel="half-width")
    ax.set_ylim(bottom=0)
    ax.margins(x=0)
    legend_above(ax)


def coverage(figure: FigureBase, data: xr.Dataset) -> None:
    """Share of the rollouts that each kind of band has held so far, by start."""
    ax, share = figure.subplots(), data["running_coverage"]
    for name, color in (("fixed", FLOOR), ("adaptive", MODEL)):
        ax.plot(share["tested"], 100 * share.sel(band=name), color=color, label=f"{name} band")
    ax.axhline(100 * share.attrs["level"], color=INK, lw=0.8, ls=":", label="level asked for")
    ax.set(xlabel=with_unit("start", data), ylabel="held so far [%]", ylim=(-3, 103))
    if "tested_date" in share.coords:
        _date_ticks(ax, share["tested"].values, share["tested_date"].values)
    ax.margins(x=0)
    legend_above(ax)


def skill(figure: FigureBase, data: xr.Dataset) -> None:
    """Skill over each baseline, by lead time, with its interval."""
    ax, lead = figure.subplots(), data["lead"].values
    for name in data["baseline"].values:
        at, color = {"baseline": name}, _color(name)
        if "skill_low" in data:
            low, high = (data[f"skill_{end}"].sel(at).values for end in ("low", "high"))
            ax.fill_between(lead, low, high, color=color, alpha=0.18, lw=0)
        ax.plot(lead, data["skill"].sel(at).values, color=color, label=readable(name))
    ax.axhline(0, color=INK, lw=0.8)
    ax.set(xlabel=with_unit("lead time", data), ylabel="skill", ylim=(-1, 1.05))
    ax.margins(x=0)
    legend_above(ax)


def anomaly_correlation(figure: FigureBase, data: xr.Dataset) -> None:
    """Anomaly correlation of the rollouts, by lead time."""
    ax = figure.subplots()
    ax.plot(data["lead"], data["anomaly_correlation"], color=MODEL)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set(xlabel=with_unit("lead time", data), ylabel="anomaly correlation", ylim=(-1, 1.05))
    ax.margins(x=0)


def crps(figure: FigureBase, data: xr.Dataset) -> None:
    """Score of the model's ensemble beside the climatology's, by lead time."""
    ax = figure.subplots()
    ax.plot(data["lead"], data["crps"], color=MODEL, label="model's ensemble")
    if "crps_climatology" in data:
        color = BASELINES["climatology"]
        ax.plot(data["lead"], data["crps_climatology"], color=color, label="climatology")
    ax.set(xlabel=with_unit("lead time", data), ylabel="CRPS")
    ax.set_ylim(bottom=0)
    ax.margins(x=0)
    legend_above(ax)


# -- helpers ----------------------------------------------------------------------------------


def _by_coordinate(figure: FigureBase, variable: xr.DataArray) -> list[tuple[int, Axes]]:
    n = min(variable.sizes["coordinate"], MOST_COORDINATES)
    axes = figure.subplots(n, squeeze=False)[:, 0]
    for k, ax in enumerate(axes):
        ax.set_title(_name(variable, k), loc="right", fontsize="small", pad=TITLE_PAD)
    return list(enumerate(axes))


def _date_ticks(ax: Axes, start: Array, dates: NDArray[np.str_]) -> None:
    """Dates of a few starts, spread over the axis, below it; with hours where days are alike."""
    apart = np.linspace(start.min(), start.max(), MOST_DATES)
    chosen = np.unique(np.abs(start[:, None] - apart).argmin(axis=0))
    days, hours = (
        [str(date)[part] for date in dates[chosen]] for part in (slice(10), slice(11, 16))
    )
    if len(set(days)) < len(days):
        days = [f"{day}\n{hour}" for day, hour in zip(days, hours, strict=True)]
    ax.set_xticks(start[chosen], labels=days)
    ax.set_xlabel("start")


def _name(variable: xr.DataArray, k: int) -> str:
    if "coordinate" not in variable.coords:
        return f"coordinate {k}"
    name = variable["coordinate"].values[k]
    return readable(name) if isinstance(name, str) else f"coordinate {name}"


def _color(baseline: Any) -> str:
    return BASELINES.get(str(baseline), FLOOR)


def _positive(values: Any) -> Array:
    """Values a logarithm can show: the error at the first lead time may be exactly zero."""
    values = np.asarray(values, dtype=np.float64)
    return np.where((values > 0) & np.isfinite(values), values, np.nan)


def _quantiles(rows: Array, *levels: float) -> Array:
    """Quantiles over the starts by lead time, where a rollout that has ended is worse than any."""
    worst = np.where(np.isnan(rows), np.inf, rows)
    return np.asarray(np.quantile(worst, levels, axis=0, method="inverted_cdf"))


def _log_range(ax: Axes) -> None:
    """Leave out what a logarithm shows of a first error near zero, and of a blow-up."""
    seen = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in ax.lines])
    low, high = ax.get_ylim()
    usual = np.nanquantile(seen, 0.02) / 2  # the tolerance, at least, is a number
    ax.set_ylim(max(low, usual), min(high, WORST_SHOWN))
    ax.margins(x=0)


def _beyond(passage: Array, lead: Array) -> Array:
    """First passages, infinite where the last lead time was reached without one."""
    return np.where(passage >= lead[-1], np.inf, passage)


def legend_above(ax: Axes, ncols: int = 2) -> None:
    """What the lines are, above the axes; in one column where it is wider than the figure.

    It ends where the axes end, so that it may begin above their labels, and not be cut off; it
    stands above a title on the right.
    """
    style: dict[str, Any] = {"fontsize": "small", "frameon": False, "columnspacing": 1.0}
    style["borderaxespad"] = 2.0 if ax.get_title(loc="right") else 0.2
    for n in (ncols, 1):
        legend = ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=n, **style)
        if legend.get_window_extent().width < 0.95 * ax.figure.bbox.width:
            break
