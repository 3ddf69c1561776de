from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

import rom
from rom.report.html import to_html

T = np.arange(0, 20, 0.1)
X = np.c_[np.cos(T), np.sin(T)] @ np.random.default_rng(0).normal(size=(2, 30))


@pytest.fixture(scope="module")
def model():
    return rom.ROM(rom.POD(2), rom.OperatorInference("A")).fit(X[:100], t=T[:100])


@pytest.fixture(scope="module")
def report(model):
    return rom.check(model, X[100:], t=T[100:], n_starts=3)


class Page(HTMLParser):
    """Collects tags and text, and fails on a tag that is not closed."""

    void = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.text.append(data.strip())


def test_page_is_whole_and_needs_nothing_else(report, model):
    page = Page(to_html(report, model=model))
    links = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href")]
    assert len(links) == 1
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert base64.b64decode(links[0].partition(",")[2])[:4] == b"\x89PNG"
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert ("name", "viewport") in {item for _, attrs in page.tags for item in attrs.items()}


def test_verdict_stands_first_then_every_reason(report):
    text = Page(to_html(report)).text
    title = "Check of a reduced-order model"
    assert text[:3] == [title, title, report.verdict]
    assert text[3 : 3 + len(report.reasons)] == list(report.reasons)


def test_light_and_dark(report):
    page = to_html(report)
    assert "prefers-color-scheme: dark" in page
    light, dark = (
        set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root \{(.*?)\}", page)
    )
    assert light == dark


def test_model_is_described_and_may_be_described_by_the_caller(report, model):
    text = Page(to_html(report, model=model)).text
    assert "OperatorInference, continuous in time" in text
    assert "\n".join(model.dynamics_.equations()) in text
    text = Page(to_html(report, model=model, equations=["z0' = 1"], model_info={"rank": 2})).text
    assert "z0' = 1" in text
    assert text[text.index("rank") + 1] == "2"
    assert "compressor" not in text


def test_what_others_wrote_cannot_become_markup(report):
    page = to_html(report, equations=["<script>alert(1)</script>"], title="a & <b>")
    assert "<script>" not in page
    assert "<h1>a &amp; &lt;b&gt;</h1>" in page


def test_figures_are_shown_with_their_captions(report):
    tags = Page(to_html(report, figures={"An empty one": Figure()})).tags
    assert [attrs["alt"] for tag, attrs in tags if tag == "img"][1:] == ["An empty one"]


def test_one_row_a_start_and_failures_marked(report):
    data = report.data.assign(
        bounded=("start", [True, True, False]), exceeded=("start", [False, True, True])
    )
    page = to_html(type(report)(data, "unstable", ("why",)))
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", page)
    assert len(rows) == 3
    assert [valid.startswith("≥") for _, valid in rows] == [True, False, False]
    assert page.count('class="bad"') == 1
    assert 'class="verdict bad"' in page


def test_written_whole_or_not_at_all(report, tmp_path):
    path = tmp_path / "report.html"
    page = to_html(report, path)
    assert path.read_text(encoding="utf-8") == page
    with pytest.raises(AttributeError):
        to_html(report, path, figures={"no figure": None})
    assert path.read_text(encoding="utf-8") == page
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError):
        to_html(report, tmp_path / "nowhere" / "report.html")
