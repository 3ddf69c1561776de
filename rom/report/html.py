"""A check as one HTML page that needs no other file: verdict first, then what it rests on."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rom.data.write import atomic_path
from rom.report import tables
from rom.report.cite import bibtex, methods_used
from rom.report.film import Film, film_of
from rom.report.panels import panels_of
from rom.report.plots import panel_svg
from rom.report.typeset import equation_html
from rom.report.words import training_times, with_dates

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

    from rom.model import ROM
    from rom.rollout import StabilityReport

DPI = 150
SECTIONS = ("Horizon", "Fields", "Bounds", "Long run", "Model", "Bands", "Skill", "Cost")
# All that the page ever runs: it shows another frame of a film, and says which.
SLIDE = (
    "const film = this.closest('.film'), time = film.dataset.times.split('|')[this.value];"
    "film.style.setProperty('--frame', this.value);"
    "film.querySelector('output').value = time;"
    "this.setAttribute('aria-valuetext', time)"
)
# Equations of more characters are folded away, or left out.
LONG, LONGEST = 5_000, 500_000
TITLE = "Check of a reduced-order model"


class Picture(NamedTuple):
    """Markup of a figure, and what stands below it."""

    markup: str
    title: str
    caption: str


class Section(NamedTuple):
    """What stands under one heading."""

    title: str
    pictures: Sequence[Picture] = ()
    film: Film | None = None
    tables: Sequence[tables.Table] = ()
    equations: Sequence[str] = ()
    folded: str = ""
    """If given, what stands on the handle of equations that are folded away."""
    bibtex: str = ""


def to_html(
    report: StabilityReport,
    path: str | PathLike[str] | None = None,
    *,
    model: ROM | None = None,
    figures: Mapping[str, Figure] | None = None,
    equations: Sequence[str] | None = None,
    model_info: Mapping[str, object] | None = None,
    title: str = TITLE,
) -> str:
    """Write a check as one HTML page that needs no other file and no network.

    Parameters
    ----------
    report : StabilityReport
        From :func:`rom.check`. Parts for which it has no figures are left out.
    path : path, optional
        Also written there, under a temporary name first and then renamed.
    model : ROM, optional
        The model checked: its equations and description are shown where not given below, and what
        to cite for it.
    figures : mapping of str to Figure, optional
        Pictures by caption, shown among the fields.
    equations : sequence of str, optional
        The model's equations, one per latent coordinate.
    model_info : mapping, optional
        What to say of the model, name to value.
    title : str, optional
        Heading of the page.

    Returns
    -------
    str
        The page. Readable on a phone and on paper, and in the reader's light or dark scheme.

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
    part = _parts(report, model, figures or {}, equations, model_info)
    return _write(_render("page.html.j2", title=title, reports=[("", part)]), path)


def compare_to_html(
    checks: Mapping[str, tuple[StabilityReport, ROM | None]],
    path: str | PathLike[str] | None = None,
    *,
    title: str = "Reduced-order models compared",
) -> str:
    """Write the checks of several models as one HTML page: one table, then each of them.

    Parameters
    ----------
    checks : mapping of str to (StabilityReport, ROM or None)
        By the models' names.
    path : path, optional
        Also written there, as :func:`to_html` does.
    title : str, optional
        Heading of the page.

    Returns
    -------
    str
        The page.

    Examples
    --------
    >>> import numpy as np, rom
    >>> from rom.report.html import compare_to_html
    >>> t = np.arange(0, 20, 0.1)
    >>> X = np.c_[np.cos(t), np.sin(t)] @ np.random.default_rng(0).normal(size=(2, 50))
    >>> checks = {}
    >>> for name, dynamics in (("linear", rom.DMD()), ("operators", rom.OperatorInference("A"))):
    ...     model = rom.ROM(rom.POD(2), dynamics).fit(X[:100], t=t[:100])
    ...     checks[name] = rom.check(model, X[100:], t=t[100:], n_starts=5), model
    >>> "<b>operators</b>" in compare_to_html(checks)
    True
    """
    reports = {name: report for name, (report, _) in checks.items()}
    parts = [
        (name, _parts(report, model, {}, None, None, salt=name))
        for name, (report, model) in checks.items()
    ]
    comparison = tables.comparison_table(reports)
    page = _render("page.html.j2", title=title, reports=parts, comparison=comparison)
    return _write(page, path)


def fragment(report: StabilityReport, *, model: ROM | None = None) -> str:
    """The same parts for a notebook: an element with a style of its own.

    Parameters
    ----------
    report : StabilityReport
        From :func:`rom.check`.
    model : ROM, optional
        The model checked.

    Returns
    -------
    str
        An ``<article>`` and its ``<style>``.
    """
    part = _parts(report, model, {}, None, None)
    style = f"<style>\n{_template('style.css').render()}</style>\n"
    return style + _render("report.html.j2", title=TITLE, reports=[("", part)])


def _parts(
    report: StabilityReport,
    model: ROM | None,
    figures: Mapping[str, Figure],
    equations: Sequence[str] | None,
    model_info: Mapping[str, object] | None,
    salt: str = "",
) -> dict[str, Any]:
    """What the template of a report shows."""
    data = with_dates(report.to_dataset(), report.model if model is None else model)
    if model is not None:
        equations = _equations(model) if equations is None else equations
        model_info = _describe(model) if model_info is None else model_info
    pictures: dict[str, list[Picture]] = {name: [] for name in SECTIONS}
    for panel in panels_of(data):
        svg = panel_svg(panel, data, salt)
        pictures[panel.section].append(Picture(svg, panel.title, panel.says(data)))
    pictures["Fields"] += [Picture(_img(f, words), "", words) for words, f in figures.items()]
    about = [(str(name), str(value)) for name, value in (model_info or {}).items()]
    found: dict[str, list[tables.Table | None]] = {
        "Long run": [tables.statistics_table(data), tables.exponents_table(data)],
        "Model": [tables.Table((), about)] if about else [],
        "Cost": [tables.cost_table(data)],
    }
    sections = [
        Section(
            name,
            pictures[name],
            film_of(data) if name == "Fields" else None,
            [table for table in found.get(name, ()) if table is not None],
            *(_typeset(equations or ()) if name == "Model" else ()),
        )
        for name in SECTIONS
    ]
    sections.append(Section("Starts", tables=[tables.starts_table(data)]))
    methods = methods_used(model, data)
    cited = tables.Table((), [(name, ", ".join(keys)) for name, keys in methods.items()])
    keys = [key for keys in methods.values() for key in keys]
    sections.append(Section("How to cite", tables=[cited], bibtex=bibtex(keys)))
    return {
        "verdict": report.verdict,
        "reasons": report.reasons,
        "tone": _tone(report),
        "tiles": tables.tiles(data),
        "sections": [section for section in sections if any(section[1:])],
    }


def _typeset(equations: Sequence[str]) -> tuple[list[str], str]:
    """Equations as HTML, and what stands on their handle if they are many."""
    length = sum(map(len, equations))
    if length > LONGEST:
        return [], f"{len(equations)} equations, too long to show"
    shown = [equation_html(e) for e in equations]
    return shown, f"All {len(shown)} equations" if length > LONG else ""


def _tone(report: StabilityReport) -> str:
    if report.stable:
        return "fair" if bool(report.data["exceeded"].any()) else "good"
    return "fair" if tables.stability(report) == tables.NOT_KNOWN else "bad"


def _equations(model: ROM) -> list[str]:
    equations = getattr(model.dynamics_, "equations", None)
    return [] if equations is None else equations()


def _describe(model: ROM) -> dict[str, object]:
    """What is most worth knowing of a fitted model, in words."""
    n, memory = len(model.latent_), model.states_per_row
    training = f"{n}" if memory == 1 else f"{n} histories of {memory}"
    info: dict[str, object] = {
        "variables": ", ".join(model.flatten_.variables_),
        "values per state": model.n_features_in_,
        "compressor": f"{type(model.compressor_).__name__}, {model.compressor_.rank_} modes",
        "dynamics": f"{type(model.dynamics_).__name__}, {model.dynamics_.time} in time",
        "training snapshots": training,
    }
    if model.input_names_ is not None:
        info["inputs"] = ", ".join(f"u{i} = {n}" for i, n in enumerate(model.input_names_))
    energy = getattr(model.compressor_, "explained_variance_ratio_", None)
    if energy is not None:
        info["energy kept"] = f"{100 * float(np.sum(energy)):.4g} %"
    if times := training_times(model):
        info["training times"] = times
    return info


# -- from parts to a page ---------------------------------------------------------------------


def _render(template: str, **parts: Any) -> str:
    slide_hash = base64.b64encode(hashlib.sha256(SLIDE.encode()).digest()).decode()
    known = {"slide": SLIDE, "slide_hash": f"sha256-{slide_hash}", "comparison": None}
    return _template(template).render(known | parts)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _write(page: str, path: str | PathLike[str] | None) -> str:
    if path is not None:
        with atomic_path(path) as part:
            part.write_text(page, encoding="utf-8")
    return page


def _img(figure: Figure, words: str) -> str:
    from markupsafe import Markup

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img src="{}" alt="{}">').format(uri, words)
