"""The parts of a check that are drawn: one list for the page, the notebook and the figure.

A panel draws into the figure it is given, from the dataset of a report, and is left out where the
variables it needs are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rom.report import draw
from rom.report.draw import MOST_COORDINATES
from rom.report.words import known, number

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import FigureBase


# Curves are drawn through at most so many lead times.
MOST_LEADS = 400


Draw = Callable[["FigureBase", "xr.Dataset"], None]


class Panel(NamedTuple):
    """A picture of a check, under which heading it stands, and what it takes."""

    title: str
    section: str
    needs: tuple[str, ...]
    draw: Draw
    says: Callable[[xr.Dataset], str]


def panels_of(data: xr.Dataset) -> list[Panel]:
    """The panels for which a check has the figures."""
    return [p for p in PANELS if all(name in data and known(data[name]) for name in p.needs)]


def thinned(data: xr.Dataset) -> xr.Dataset:
    """At most :data:`MOST_LEADS` lead times, evenly spread, the last of all among them."""
    n = data.sizes["lead"]
    rows = np.unique(np.linspace(0, n - 1, min(n, MOST_LEADS)).round().astype(int))
    return data.isel(lead=rows)


def _some(variable: xr.DataArray, of: str = "coordinate") -> str:
    n = variable.sizes[of]
    return f" The first {MOST_COORDINATES} of {n} {of}s." if n > MOST_COORDINATES else ""


def _says_bound(data: xr.Dataset) -> str:
    attrs = data["error_bound"].attrs
    text = f"Bound on the error, {attrs.get('kind', '')}"
    if attrs.get("reason"):
        text += f" ({str(attrs['reason']).rstrip('.')})"
    if "effectivity" in data and known(data["effectivity"]):
        text += f"; at the median {float(data['effectivity'].median()):.3g} times the true error"
    return text + ". Shaded: 90 % of the rollouts."


def _says_growth(data: xr.Dataset) -> str:
    text = "The worst found, by search, for a change of the initial state by 1 %"
    if "growth_bound" not in data:
        return f"{text}."
    kind = data["growth_bound"].attrs["kind"]
    how = "exact, as the model is linear" if kind == "certified" else "to first order"
    return f"{text}, and its {kind} bound, {how}."


def _says_bands(data: xr.Dataset) -> str:
    text = "Half-width of bands about the forecast that hold over the whole rollout at once."
    return text + _held(data["band_radius"])


def _says_cell_bands(data: xr.Dataset) -> str:
    n = data.sizes["cell"]
    cells = f"{n} cells, spread evenly, at once; the median over these" if n > 1 else "one cell"
    return f"The same in the units of the data, for {cells}." + _held(data["cell_band_radius"])


def _held(band: xr.DataArray) -> str:
    a = band.attrs
    if "coverage" not in a:
        return ""
    return (
        f" Asked for {100 * a['level']:g} %, they held in {100 * a['coverage']:.1f} % of "
        f"{a['n_test']} rollouts not used to set them (95 % interval "
        f"{100 * a['coverage_low']:.1f} to {100 * a['coverage_high']:.1f} %)."
    )


def _shaded(curve: Draw, name: str) -> Draw:
    """A curve by lead time, with its interval where there is one."""

    def both(figure: FigureBase, data: xr.Dataset) -> None:
        curve(figure, data)
        if f"{name}_low" in data:
            low, high = (data[f"{name}_{end}"].values for end in ("low", "high"))
            figure.gca().fill_between(data["lead"], low, high, color=draw.MODEL, alpha=0.18, lw=0)

    return both


def _interval(data: xr.Dataset, name: str) -> str:
    return " Shaded: 90 % intervals of a block bootstrap." if f"{name}_low" in data else ""


def _cell_bands(figure: FigureBase, data: xr.Dataset) -> None:
    """Half-width by lead time, the median over the cells of each variable."""
    radius = data["cell_band_radius"].groupby("cell_variable").median()
    few = radius.rename(cell_variable="coordinate").isel(coordinate=slice(MOST_COORDINATES))
    draw.bands(figure, data[["lead"]].assign(band_radius=few))


PANELS = (
    Panel(
        "One rollout",
        "Horizon",
        ("latent_truth", "latent_model"),
        draw.rollout,
        lambda d: "Latent coordinates from the first start." + _some(d["latent_truth"]),
    ),
    Panel(
        "Error growth",
        "Horizon",
        ("error", "rms_error", "baseline_error", "error_floor"),
        draw.errors,
        lambda d: "Error 1 is that of forecasting the climatology. Shaded: 90 % of the rollouts.",
    ),
    Panel(
        "Rollouts that still hold",
        "Horizon",
        ("valid_time", "exceeded"),
        draw.holding,
        lambda d: f"Share of {d.sizes['start']} rollouts, by lead time.",
    ),
    Panel(
        "Valid time of each start",
        "Horizon",
        ("valid_time", "start_time"),
        draw.valid_times,
        lambda d: "How long the error stayed within the tolerance.",
    ),
    Panel("Error bound", "Bounds", ("error_bound", "error"), draw.bound, _says_bound),
    Panel(
        "Growth of a small error",
        "Bounds",
        ("perturbation_growth",),
        draw.growth,
        _says_growth,
    ),
    Panel(
        "Spectra",
        "Long run",
        ("spectrum_frequency", "spectrum_model", "spectrum_truth"),
        draw.spectra,
        lambda d: "Power by frequency, in the long run." + _some(d["spectrum_truth"]),
    ),
    Panel(
        "Histograms",
        "Long run",
        ("histogram_edges", "histogram_model", "histogram_truth"),
        draw.histograms,
        lambda d: "Values taken in the long run." + _some(d["histogram_truth"]),
    ),
    Panel(
        "Joint histograms",
        "Long run",
        ("joint_histogram_model", "joint_histogram_truth"),
        draw.joint_histograms,
        lambda d: (
            "How often two coordinates, one below, one above, take values together."
            + _some(d["joint_histogram_truth"], "pair")
        ),
    ),
    Panel(
        "Autocorrelations",
        "Long run",
        ("lag", "autocorrelation_model", "autocorrelation_truth"),
        draw.autocorrelations,
        lambda d: "How long states remember." + _some(d["autocorrelation_truth"]),
    ),
    Panel(
        "Drift of invariants",
        "Long run",
        ("invariant_drift", "invariant_drift_truth"),
        draw.invariants,
        lambda d: "What the full model keeps, and the model should.",
    ),
    Panel("Width of the bands", "Bands", ("band_radius",), draw.bands, _says_bands),
    Panel(
        "Width of the bands on cells",
        "Bands",
        ("cell_band_radius",),
        _cell_bands,
        _says_cell_bands,
    ),
    Panel(
        "Coverage so far",
        "Bands",
        ("running_coverage",),
        draw.coverage,
        lambda d: (
            "Share of the rollouts tested so far that the band held, and one that adapts to drift "
            f"held, at {number(d['adaptive_width'].median())} times its width in the median."
        ),
    ),
    Panel(
        "Skill over the baselines",
        "Skill",
        ("skill",),
        draw.skill,
        lambda d: "1 is perfect, 0 no better than the baseline." + _interval(d, "skill"),
    ),
    Panel(
        "Anomaly correlation",
        "Skill",
        ("anomaly_correlation",),
        _shaded(draw.anomaly_correlation, "anomaly_correlation"),
        lambda d: (
            "Of departures from the training mean, over space; 1 is perfect."
            + _interval(d, "anomaly_correlation")
        ),
    ),
    Panel(
        "Ensemble score",
        "Skill",
        ("crps",),
        _shaded(draw.crps, "crps"),
        lambda d: (
            "Continuous ranked probability score: the lower, the better." + _interval(d, "crps")
        ),
    ),
)
