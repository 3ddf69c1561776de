from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from made_reports import Dated, M, bare, complete, stiff, with_fields
from matplotlib.figure import Figure

import rom
from rom.report.html import LONGEST, SECTIONS, _describe, compare_to_html, fragment, to_html
from rom.report.panels import PANELS, panels_of
from rom.report.tables import cost_table, exponents_table, starts_table, statistics_table, tiles
from rom.rollout import StabilityReport

T = np.arange(0, 20, 0.1)
STATISTICS_OF = ["distance", "sampling_error", "statistics_kept", "statistics_known"]
X = np.c_[np.cos(T), np.sin(T)] @ np.random.default_rng(0).normal(size=(2, 30))


@pytest.fixture(scope="module")
def model():
    return rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=T[:100])


@pytest.fixture(scope="module")
def page():
    return to_html(complete())


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose words are read need no panels: matplotlib takes longer than all else."""
    monkeypatch.setattr("rom.report.html.panel_svg", lambda *args, **kwargs: "<svg></svg>")


class Page(HTMLParser):
    """Collects tags and text, and fails on a tag that is not closed."""

    void = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.drawn = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and not {"style", "svg"} & set(self.open):
            self.text.append(data.strip())
        elif "svg" in self.open:
            self.drawn.append(data.strip())

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_page_is_whole_and_needs_nothing_else(page):
    found = Page(page)
    links = [v for _, attrs in found.tags for k, v in attrs.items() if k in ("src", "href")]
    assert links
    assert all(link.startswith("data:image/webp;base64,") for link in links)
    assert base64.b64decode(links[0].partition(",")[2])[8:12] == b"WEBP"
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found.tags}
    assert "viewport" in {attrs.get("name") for attrs in found.named("meta")}
    assert "url(" not in page.replace("url(#", "")


def test_several_models_share_one_page_but_no_ids(page):
    several = compare_to_html({"good one": (complete(), None), "other": (bare(), None)})
    found = Page(several)
    names = [text for text in found.text if text in ("good one", "other")]
    assert names == ["good one", "other"] * 2
    assert len(found.named("svg")) == len(PANELS) + 4
    for text in (page, several):
        ids = [attrs["id"] for _, attrs in Page(text).tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', text))
        assert used
        assert used <= set(ids)


def test_the_page_is_the_same_each_time():
    assert to_html(bare()) == to_html(bare())


def test_verdict_stands_first_then_figures_then_every_reason(page):
    report, text = complete(), Page(page).text
    title = "Check of a reduced-order model"
    assert text[:4] == [title, title, report.verdict, "Reliable to"]
    first = text.index(report.reasons[0])
    assert text[first : first + 2] == list(report.reasons)
    assert first < text.index("Horizon")


def test_sections_and_panels_follow_one_order_and_absent_ones_are_left_out(page):
    headings = [*SECTIONS, "Starts", "How to cite"]
    heads = [text for text in Page(page).text if text in headings]
    assert heads == [name for name in headings if name != "Model"]  # no model was given
    shown = [attrs["aria-label"] for attrs in Page(page).named("svg")]
    assert sorted(shown) == sorted(panel.title for panel in PANELS)
    found = Page(to_html(bare()))
    assert [text for text in found.text if text in headings] == [
        "Horizon",
        "Skill",
        "Starts",
        "How to cite",
    ]
    assert len(found.named("svg")) == 4
    assert not found.named("input")


def test_every_variable_may_be_absent_by_itself():
    data = complete().data
    together = {
        "error_bound": ["useful_horizon"],
        "field_truth": ["field_model"],
        **dict.fromkeys(STATISTICS_OF, STATISTICS_OF),
    }
    for name in set(data.data_vars) - set(bare().data.data_vars):
        without = data.drop_vars({name, *together.get(name, ())})
        assert all(name not in panel.needs for panel in panels_of(without))
        for make in (tiles, statistics_table, exponents_table, cost_table, starts_table):
            make(without)


def test_model_is_described_and_may_be_described_by_the_caller(model, undrawn):
    report = rom.check(model, X[100:], t=T[100:], n_starts=3)
    found = Page(to_html(report, model=model)).text
    assert "OperatorInference, continuous in time" in found
    assert found[found.index("POD") + 1] == "lumley1967, sirovich1987"
    found = Page(to_html(report, model=model, equations=["q = 1"], model_info={"rank": 2})).text
    assert found[found.index("q") + 1] == "="
    assert found[found.index("rank") + 1] == "2"
    assert "compressor" not in found


def test_a_model_with_delays_has_the_modes_of_its_compressor():
    words = _describe(rom.ROM(rom.POD(2), rom.DMD(), n_delays=4).fit(X[:100], t=T[:100]))
    assert words["compressor"] == "POD, 2 modes"
    assert words["training snapshots"] == "97 histories of 4"
    words = _describe(rom.ROM(rom.POD(2), rom.DMD()).fit(X[:100], t=T[:100]))
    assert words["training snapshots"] == "100"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("certified", "certified bound, exact, as"), ("estimated", "estimated bound, to first order")],
)
def test_a_bound_on_growth_is_called_what_it_is(kind, words, undrawn):
    data = complete().data
    data["growth_bound"].attrs["kind"] = kind
    assert words in to_html(StabilityReport(data, "words", ()))


def test_starts_are_shown_as_dates_where_the_model_knows_them():
    page = Page(to_html(replace(bare(), model=Dated())))
    assert "1982-01-11T00:00:00" in page.text
    assert "10" not in page.text[page.text.index("Starts") :]
    assert "1982-01-11" in page.drawn
    plain = Page(to_html(bare()))
    assert "10" in plain.text[plain.text.index("Starts") :]


def test_long_equations_are_folded_and_longer_ones_left_out(undrawn):
    long = ["dz0/dt = " + " + ".join(["0.5 z0"] * 1000)]
    assert "All 1 equations" in to_html(bare(), equations=long)
    page = to_html(bare(), equations=["z0 = " + "1" * LONGEST])
    assert "1 equations, too long to show" in page
    assert len(page) < LONGEST


def test_what_others_wrote_cannot_become_markup():
    bad = "<script>alert(1)</script>"
    data = complete().data.assign_coords(invariant=[bad, "mass"], statistic=[bad] * 6)
    data["error_bound"].attrs["reason"] = bad
    data["field_truth"].attrs["long_name"] = bad
    report = StabilityReport(data.assign_attrs(time_unit=bad), bad, (bad,))
    page = to_html(report, equations=[bad], title=bad, model_info={bad: bad})
    assert "<script" not in page
    assert "script" not in {tag for tag, _ in Page(page).tags}
    assert Page(page).text[0] == bad


def test_figures_are_shown_with_their_captions():
    images = Page(to_html(bare(), figures={'An "empty" one': Figure()})).named("img")
    assert [attrs["alt"] for attrs in images] == ['An "empty" one']
    assert images[0]["src"].startswith("data:image/png;base64,")


def test_tone_of_the_verdict(undrawn):
    data = bare().data
    good = data.assign(exceeded=("start", np.zeros(data.sizes["start"], dtype=bool)))
    bad = data.assign(bounded=data["bounded"] & (data["start_time"] > 10.5))
    for case, tone in ((good, "good"), (data, "fair"), (bad, "bad")):
        assert f'class="verdict {tone}"' in to_html(StabilityReport(case, "words", ()))
    assert 'class="verdict fair">not known' in to_html(stiff())


def blank(data):
    """A check in which everything went wrong at once: nothing but NaN after the start."""
    worst = {
        name: xr.where(np.isfinite(v), np.nan, np.nan).astype(float)
        for name, v in data.data_vars.items()
        if v.dtype.kind == "f" and name not in ("valid_time", "end_lead", "snapshot_lead")
    }
    failed = {"bounded": data["bounded"] & False, "status": data["status"].copy()}
    return data.assign(worst | failed)


def test_a_check_of_nothing_but_failures_has_a_page():
    report = StabilityReport(blank(complete().data), "nothing", ())
    assert not re.search(r"\bnan\b", " ".join(Page(to_html(report)).text))


@pytest.mark.parametrize("unit", ["", "1"])
def test_numbers_without_a_unit_are_shown_as_such(unit):
    page = to_html(bare(unit=unit))
    assert not re.search(r"\[\s*(1|None)?\s*\]", page)
    assert "5.8 1" not in page


def test_few_starts_and_few_lead_times_have_a_page():
    data = with_fields(bare().data).isel(start=[0], lead=[0, M - 1], snapshot=[0])
    assert Page(to_html(StabilityReport(data, "few", ()))).named("svg")


def test_many_starts_and_lead_times_keep_the_page_small():
    data = bare().data
    many = data.isel(start=np.arange(1000) % 12, lead=np.arange(2000) % M)
    many = many.assign_coords(lead=np.linspace(0, 5.8, 2000), start_time=("start", np.arange(1000)))
    page = to_html(StabilityReport(many, "many", ()))
    assert len(page) < 1e6
    assert page.count("<tr>") > 1000


def test_fragment_is_styled_and_stands_alone():
    found = Page(fragment(bare()))
    assert [tag for tag, _ in found.tags[:2]] == ["style", "article"]
    assert not {"html", "head", "body", "title", "script"} & {tag for tag, _ in found.tags}


def test_written_whole_or_not_at_all(tmp_path, undrawn):
    path = tmp_path / "report.html"
    page = to_html(bare(), path)
    assert path.read_text(encoding="utf-8") == page
    with pytest.raises(AttributeError):
        to_html(bare(), path, figures={"no figure": None})
    assert path.read_text(encoding="utf-8") == page
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError):
        to_html(bare(), tmp_path / "nowhere" / "report.html")
