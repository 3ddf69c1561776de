"""Pictures of checks and rollouts, as Matplotlib figures without any pyplot state."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from rom.report.draw import FLOOR, INK, MODEL, STYLE, legend_above
from rom.report.panels import Panel, panels_of, thinned
from rom.report.places import curved_places, upright
from rom.report.words import labelled, with_dates

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from rom.rollout import StabilityReport

# Of a panel, in inches: as wide as a phone at a legible size of type. Letters in a line above two.
PANEL_SIZE = (3.6, 3.0)
TITLE_WIDTH = 75
# Where a field has no values, such as land: no colour of a scale, as its white would be.
MISSING = "#a6abb1"
# In a vector picture type stays text, in the reader's font, and ids do not depend on the time.
VECTOR: Any = {
    "svg.fonttype": "none",
    "font.size": 9.0,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
}


def plot_report(report: StabilityReport) -> Figure:
    """Draw a check: all panels for which it has the figures, two in a row.

    Parameters
    ----------
    report : StabilityReport
        From :func:`rom.check`.

    Returns
    -------
    Figure
        Its subfigures are the panels; save it with ``figure.savefig(path)``.

    Examples
    --------
    >>> import numpy as np, rom
    >>> from rom.report.plots import plot_report
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=t[:100])
    >>> figure = plot_report(rom.check(model, X[100:], t=t[100:], n_starts=5))
    >>> [ax.get_ylabel() for ax in figure.axes][:2]
    ['normalised error', 'rollouts [%]']
    """
    data = thinned(with_dates(report.to_dataset(), report.model))
    panels = panels_of(data)
    n_rows = -(-len(panels) // 2)
    width, height = PANEL_SIZE
    figure = Figure(figsize=(2 * width, n_rows * (height + 0.3) + 0.3), layout="constrained")
    figure.suptitle(
        fill(report_title(data), TITLE_WIDTH), x=0.01, ha="left", fontsize="medium", weight="bold"
    )
    parts = figure.subfigures(n_rows, 2, squeeze=False).ravel()
    for part, panel in zip(parts, panels, strict=False):
        panel.draw(part, data)
        part.suptitle(panel.title, x=0.02, ha="left", fontsize="medium")
    return figure


def report_title(data: xr.Dataset) -> str:
    """The verdict and on how many rollouts it rests; `data` as a report's dataset."""
    return f"{data.attrs['verdict']} ({data.sizes['start']} rollouts)"


def panel_svg(panel: Panel, data: xr.Dataset, salt: str = "") -> str:
    """A panel as an SVG element that takes its ink from the text around it.

    Parameters
    ----------
    panel : Panel
        What to draw.
    data : Dataset
        Of a report.
    salt : str, optional
        Goes into the ids, so that they differ between reports on one page.

    Returns
    -------
    str
        An ``<svg>`` named by the panel's title. Text in it is text.
    """
    buffer = io.StringIO()
    with rc_context(VECTOR | {"svg.hashsalt": salt + panel.title}):
        figure = Figure(figsize=PANEL_SIZE, layout="constrained")
        panel.draw(figure, thinned(data))
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue().partition("<svg ")[2]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r' id="image[^"]*"', "", svg)  # equal pictures have equal ones
    svg = re.sub(r'^[^>]*viewBox="([^"]*)"[^>]*', rf'viewBox="\1" role="img" {_label(panel)}', svg)
    return "<svg " + svg.replace(INK, "currentColor").rstrip()


def _label(panel: Panel) -> str:
    return f'aria-label="{escape(panel.title)}"'


def colour_bar(diverging: bool, n: int = 9) -> list[str]:
    """Colours of the scale of :func:`film_strip`, lowest first."""
    return [to_hex(c) for c in _colours(diverging)(np.linspace(0, 1, n))]


def film_strip(frames: NDArray, low: float, high: float, *, diverging: bool) -> bytes:
    """Frames (n, height, width), one below the other, as one WebP picture; NaN is transparent."""
    scaled = (frames.reshape(-1, frames.shape[-1]) - low) / (high - low)
    rgba = _colours(diverging)(np.ma.masked_invalid(scaled), bytes=True)
    buffer = io.BytesIO()
    imsave(buffer, rgba, format="webp", pil_kwargs={"quality": 80})
    return buffer.getvalue()


def _colours(diverging: bool) -> Any:
    return colormaps["RdBu_r" if diverging else "viridis"]


def plot_rollout(
    truth: xr.DataArray,
    forecast: xr.DataArray,
    *,
    latent: tuple[xr.DataArray, xr.DataArray] | None = None,
    training: tuple[Any, Any] | None = None,
    times: Sequence[Any] | None = None,
    extent: tuple[float, float, float, float] | None = None,
    limit: float | None = None,
    modes: int = 3,
) -> Figure:
    """Draw a rollout beside the truth: fields at a few times, latent amplitudes over all.

    Parameters
    ----------
    truth, forecast : DataArray, dims (time, *space) with one or two space dimensions
        The field as it was and as the model has it, at the same space points. Fields with
        two-dimensional coordinates x and y, as of a polar grid, or longitude and latitude, known
        by CF attributes or by name, are drawn as they lie.
    latent : pair of DataArray, dims (time, mode), optional
        Latent amplitudes of the truth (``model.encode(truth)``) and of the rollout (its
        ``latent``); drawn below the fields.
    training : pair, optional
        First and last time of training, shaded.
    times : sequence, optional
        When to show the fields; each is shown at the nearest time there is. By default the
        middle, three quarters and end of `forecast`.
    extent : (x0, x1, y0, y1), optional
        The part of a two-dimensional field to show.
    limit : float, optional
        Largest absolute value of the colour scale; by default what 98 % of the points shown
        stay below.
    modes : int, default 3
        How many latent amplitudes to draw.

    Returns
    -------
    Figure

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from rom.report.plots import plot_rollout
    >>> t, x = np.arange(0.0, 5.0, 0.1), np.linspace(0, 6, 40)
    >>> wave = xr.DataArray(np.cos(x - t[:, None]), coords={"time": t, "x": x}, name="h")
    >>> figure = plot_rollout(wave, wave, times=[2.0, 4.0])
    >>> len(figure.axes)
    4
    """
    dim = str(forecast.dims[0])
    n = forecast.sizes[dim]
    shown = list(forecast[dim].values[[n // 2, 3 * n // 4, n - 1]] if times is None else times)
    pairs = [field.sel({dim: shown}, method="nearest") for field in (truth, forecast)]
    n_latent = 0 if latent is None else min(modes, latent[0].shape[1])
    figure = Figure(figsize=(3.2 * len(shown) + 0.8, 3.6 + 1.2 * n_latent), layout="constrained")
    upper, *lower = figure.subfigures(
        1 + bool(n_latent), squeeze=False, height_ratios=(3.6, 1.2 * n_latent)[: 1 + bool(n_latent)]
    )[:, 0]
    _draw_fields(upper, pairs, extent, limit)
    if latent is not None:
        _draw_latent(lower[0], latent, n_latent, training, shown)
    return figure


def _draw_fields(figure: Any, pairs: list[xr.DataArray], extent: Any, limit: float | None) -> None:
    n = pairs[0].shape[0]
    axes = figure.subplots(2, n, sharex=True, sharey=True, squeeze=False)
    if limit is None:
        limit = float(np.nanquantile(np.abs(_seen(pairs[0], extent)), 0.98)) or 1.0
    for row, name, field in zip(axes, ("full model", "reduced model"), pairs, strict=True):
        for ax, snapshot in zip(row, field, strict=True):
            image = _draw_snapshot(ax, snapshot, limit)
        row[0].set_ylabel(name)
    dim = str(pairs[0].dims[0])
    for ax, time in zip(axes[0], pairs[1][dim].values, strict=True):
        ax.set_title(f"{dim} {_short(time)}", fontsize="medium")
    if extent is not None:
        axes[0, 0].axis(extent)
    if image is not None:
        figure.colorbar(image, ax=axes, label=_field_label(pairs[0]), shrink=0.8, extend="both")


def _draw_snapshot(ax: Axes, snapshot: xr.DataArray, limit: float) -> Any:
    """A line for a field along one dimension, else a mesh, which is returned."""
    if snapshot.ndim == 1:
        ax.plot(snapshot[snapshot.dims[0]].values, snapshot.values, color=MODEL)
        return None
    x, y, values = _mesh(upright(snapshot))
    ax.set_aspect("equal")
    ax.set_facecolor(MISSING)
    # Cells of a curved grid have no edges to guess: colour runs from point to point instead.
    shading: Literal["nearest", "gouraud"] = "nearest" if x.ndim == 1 else "gouraud"
    return ax.pcolormesh(
        x, y, values, shading=shading, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
    )


def _mesh(snapshot: xr.DataArray) -> tuple[NDArray, NDArray, NDArray]:
    """Coordinates and values of a field, closed where its last column lies beside its first."""
    places = curved_places(snapshot, snapshot.dims)
    if places is None:
        rows, columns = snapshot.dims
        return snapshot[columns].values, snapshot[rows].values, snapshot.values
    x, y = places
    gap = np.hypot(x[:, 0] - x[:, -1], y[:, 0] - y[:, -1])
    step = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)).max(axis=1)
    if (gap <= 1.5 * step).all():
        x, y, values = (np.c_[a, a[:, :1]] for a in (x, y, snapshot.values))
        return x, y, values
    return x, y, snapshot.values


def _seen(field: xr.DataArray, extent: Any) -> NDArray:
    """Values inside `extent`, where the field has two-dimensional coordinates."""
    places = curved_places(field, field.dims[1:])
    if extent is None or places is None:
        return field.values
    x, y = places
    inside = (x >= extent[0]) & (x <= extent[1]) & (y >= extent[2]) & (y <= extent[3])
    return field.values[:, inside]


def _draw_latent(
    figure: Any,
    latent: tuple[xr.DataArray, xr.DataArray],
    n_modes: int,
    training: tuple[Any, Any] | None,
    times: Sequence[Any],
) -> None:
    axes = figure.subplots(n_modes, sharex=True, squeeze=False)[:, 0]
    dim = str(latent[0].dims[0])
    for k, ax in enumerate(axes):
        for amplitude, style in zip(latent, STYLE.values(), strict=True):
            ax.plot(amplitude[dim].values, amplitude.values[:, k], **style)
        if training is not None:
            ax.axvspan(*training, color="#f0c36d", alpha=0.35, lw=0, label="training")
        for time in times:
            ax.axvline(time, color=FLOOR, lw=0.8, ls=":")
        ax.set_ylabel(f"mode {k + 1}")
        ax.margins(x=0)
    legend_above(axes[0], ncols=3)
    axes[-1].set_xlabel(dim)


def _field_label(field: xr.DataArray) -> str:
    name = str(field.attrs.get("long_name", field.name or ""))
    return labelled(name, field.attrs.get("units"))


def _short(time: Any) -> str:
    return f"{time:.4g}" if np.issubdtype(np.asarray(time).dtype, np.number) else str(time)[:10]


def plot_width(table: xr.Dataset) -> Figure:
    """Draw a coordinate check: what should be level against the width, and what should fall.

    Parameters
    ----------
    table : Dataset
        From :func:`rom.theory.coordinate_check`.

    Returns
    -------
    Figure
        Activations and their changes, a line for each layer, and the spread and the distance of
        the outputs; all after the last step, but the spread, which is before training.

    Examples
    --------
    >>> import torch
    >>> from rom.report.plots import plot_width
    >>> from rom.theory import coordinate_check
    >>> def build(width, seed):
    ...     net = torch.nn.Linear(2, 1)
    ...     return net, lambda: torch.nn.init.normal_(net.weight)
    >>> figure = plot_width(coordinate_check(build, [8, 16], torch.ones(3, 2), n_steps=1))
    >>> [ax.get_title() for ax in figure.axes]
    ['activation', 'change', 'output']
    """
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    last = table.isel(step=-1)
    left, middle, right = figure.subplots(1, 3)
    for ax, name in ((left, "activation"), (middle, "change")):
        for layer in table.layer.values:
            ax.loglog(table.width, last[name].sel(layer=layer), "o-", ms=4, label=str(layer))
        ax.set_title(name)
    left.legend(title="layer", fontsize="small", frameon=False)
    spread = table.spread.isel(step=0)
    right.loglog(table.width, spread, "o-", ms=4, color=MODEL, label="spread at the start")
    right.loglog(table.width, last.distance, "s-", ms=4, color=INK, label="from the wide limit")
    right.set_title("output")
    right.legend(fontsize="small", frameon=False)
    for ax in figure.axes:
        ax.set_xlabel("width")
        ax.set_xticks(table.width.values, labels=[str(width) for width in table.width.values])
        ax.set_xticks([], minor=True)
    return figure
