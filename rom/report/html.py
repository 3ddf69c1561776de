"""One self-contained page on a check: verdict first, then pictures, equations and figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rom.data.write import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rom.model import ROM
    from rom.rollout import StabilityReport

TEMPLATE = Path(__file__).with_name("report.html.j2")
DPI = 150


def to_html(
    report: StabilityReport,
    path: str | PathLike[str] | None = None,
    *,
    model: ROM | None = None,
    figures: Mapping[str, Figure] | None = None,
    equations: Sequence[str] | None = None,
    model_info: Mapping[str, object] | None = None,
    title: str = "Check of a reduced-order model",
) -> str:
    """Write a check as one HTML page that needs no other file and no network.

    Parameters
    ----------
    report : StabilityReport
        From :func:`rom.check`.
    path : path, optional
        Also written there, under a temporary name first and then renamed.
    model : ROM, optional
        The model checked: its equations and description are shown where not given below.
    figures : mapping of str to Figure, optional
        Pictures by caption, shown in addition to that of the report.
    equations : sequence of str, optional
        The model's equations, one per latent coordinate.
    model_info : mapping, optional
        What to say of the model, name to value.
    title : str, optional
        Heading of the page.

    Returns
    -------
    str
        The page. Readable on a phone, and in the reader's light or dark scheme.

    Examples
    --------
    >>> import numpy as np, rom
    >>> from rom.report.html import to_html
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> model = rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=t[:100])
    >>> page = to_html(rom.check(model, X[100:], t=t[100:], n_starts=5), model=model)
    >>> "<title>Check of a reduced-order model</title>" in page
    True
    """
    from jinja2 import Environment, StrictUndefined

    from rom.report.plots import plot_report

    if model is not None:
        equations = _equations(model) if equations is None else equations
        model_info = _describe(model) if model_info is None else model_info
    pictures = {"Error growth, skill and valid time": plot_report(report), **(figures or {})}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        report=report,
        tone="good" if report.stable else "bad",
        pictures={caption: _data_uri(figure) for caption, figure in pictures.items()},
        equations=equations or (),
        model_info=model_info or {},
        starts=_starts(report),
    )
    if path is not None:
        with atomic_path(path) as part:
            part.write_text(page, encoding="utf-8")
    return page


def _equations(model: ROM) -> list[str]:
    equations = getattr(model.dynamics_, "equations", None)
    return [] if equations is None else equations()


def _describe(model: ROM) -> dict[str, object]:
    """What is most worth knowing of a fitted model, in words."""
    unit = "" if model.time_axis_ is None else model.time_axis_.unit
    info: dict[str, object] = {
        "variables": ", ".join(model.flatten_.variables_),
        "values per state": model.n_features_in_,
        "compressor": f"{type(model.compressor_).__name__}, {model.latent_.shape[1]} modes",
        "dynamics": f"{type(model.dynamics_).__name__}, {model.dynamics_.time} in time",
        "training snapshots": len(model.latent_),
    }
    energy = getattr(model.compressor_, "explained_variance_ratio_", None)
    if energy is not None:
        info["energy kept"] = f"{100 * float(np.sum(energy)):.4g} %"
    if model.latent_t_ is not None:
        first, last = (f"{t:.6g}" for t in (model.latent_t_.min(), model.latent_t_.max()))
        info["training times"] = f"{first} to {last} {unit}".rstrip()
    return info


def _starts(report: StabilityReport) -> list[dict[str, object]]:
    """Rows of the table of starts."""
    data = report.to_dataset()
    columns = ("start_time", "valid_time", "exceeded", "bounded", "status", "end_lead")
    return [
        {
            "start": f"{start:.6g}",
            "valid": ("" if exceeded else "≥ ") + f"{valid:.4g}",
            "bounded": bool(bounded),
            "status": f"{status}, lead time {end:.4g}",
        }
        for start, valid, exceeded, bounded, status, end in zip(
            *(data[name].values for name in columns), strict=True
        )
    ]


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
