"""The page in a real browser. Skipped where there is none."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from made_reports import bare, complete, with_fields

from rom.report.html import compare_to_html, fragment, to_html
from rom.rollout import StabilityReport

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: a browser's driver")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PHONE, DESKTOP = {"width": 360, "height": 780}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser():
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@cache
def made(kind):
    """Pages of every make."""
    if kind == "compared":
        return compare_to_html({"a": (complete(), None), "b": (bare(), None)})
    if kind == "curves":
        data = with_fields(bare().data, shape=(24,))
        return to_html(StabilityReport(data, "curves", ()))
    equations = ["dz0/dt = -0.5 z0^2 + 1e-05", "dz1/dt = z0 z1"]
    return to_html(complete() if kind == "complete" else bare(), equations=equations)


def made_report():
    return StabilityReport(with_fields(bare().data), "two of them", ())


@contextmanager
def opened(browser, text, folder, *, viewport=DESKTOP, scheme="light"):
    """The page opened from a file, and all that it said and asked for."""
    path = Path(folder) / "report.html"
    path.write_text(text, encoding="utf-8")
    with browser.new_context(viewport=viewport, color_scheme=scheme) as context:
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        yield page


@pytest.mark.parametrize("kind", ["bare", "complete", "curves", "compared"])
def test_nothing_is_said_and_nothing_but_the_file_is_asked_for(kind, browser, tmp_path):
    with opened(browser, made(kind), tmp_path) as page:
        page.wait_for_load_state("networkidle")
        assert page.said == []
        assert [url for url in page.asked if not url.startswith("data:")] == [page.url]
        broken = "[...document.images].filter(image => !image.naturalWidth).length"
        assert page.evaluate(broken) == 0


def test_no_request_can_leave_the_page(browser, tmp_path):
    with opened(browser, made("bare"), tmp_path) as page:
        tried = "fetch('https://example.org').then(() => 'left', () => 'kept')"
        assert page.evaluate(tried) == "kept"
        assert "Content Security Policy" in " ".join(page.said)
        page.evaluate(
            """() => {
            const script = document.createElement('script');
            script.textContent = 'document.title = "run"';
            document.body.append(script);
            document.body.setAttribute('onclick', 'document.title = "run"');
            document.body.click();
            }"""
        )
        assert page.title() == "Check of a reduced-order model"


@pytest.mark.parametrize("kind", ["complete", "curves"])
def test_slider_shows_other_frames(kind, browser, tmp_path):
    with opened(browser, made(kind), tmp_path) as page:
        slider, said = page.get_by_role("slider", name="lead time"), page.locator("output")
        windows = page.locator(".window, .film > svg")
        assert windows.count() == {"complete": 3, "curves": 1}[kind]
        assert said.inner_text() == "5.8 days"  # the last one that the model reached
        pictures = {}
        for key in ("Home", "ArrowRight", "End"):
            slider.press(key)
            assert slider.get_attribute("aria-valuetext") == said.inner_text()
            pictures[said.inner_text()] = [
                windows.nth(i).screenshot() for i in range(windows.count())
            ]
        assert list(pictures) == ["0 days", "0.8286 days", "5.8 days"]
        first, second, last = pictures.values()
        assert all(a != b != c for a, b, c in zip(first, second, last, strict=True))
        slider.press("Home")
        assert [windows.nth(i).screenshot() for i in range(windows.count())] == first


def test_frames_fill_their_windows(browser, tmp_path):
    with opened(browser, made("complete"), tmp_path) as page:
        gaps = page.evaluate(
            """[...document.querySelectorAll('.window')].map(window => {
            const strip = window.firstElementChild, box = window.getBoundingClientRect();
            const frame = strip.getBoundingClientRect().height / 8;
            return Math.max(Math.abs(frame - box.height),
                            Math.abs(strip.getBoundingClientRect().top + 7 * frame - box.top));
            })"""
        )
        assert max(gaps) < 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_land_is_none_of_the_colours_around_it(scheme, browser, tmp_path):
    with opened(browser, made("complete"), tmp_path, scheme=scheme) as page:
        colour = "getComputedStyle(document.querySelector('.window')).backgroundColor"
        for media in ("screen", "print"):
            page.emulate_media(media=media, color_scheme=scheme)
            assert 0.1 < luminance(page.evaluate(colour)) < 0.5


def test_everything_has_an_accessible_name(browser, tmp_path):
    with opened(browser, made("complete"), tmp_path) as page:
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        seen = {}
        for node in tree:
            if not node["ignored"]:
                role = node["role"]["value"]
                seen.setdefault(role, []).append(node.get("name", {}).get("value", ""))
        for role in ("image", "slider", "heading", "DisclosureTriangle", "RootWebArea"):
            assert seen[role], role
            assert all(seen[role]), role
        assert "Error growth" in seen["image"]
        assert seen["heading"][:2] == ["Check of a reduced-order model", "Horizon"]
        assert len(seen["heading"]) == len(set(seen["heading"]))


@pytest.mark.parametrize("kind", ["complete", "compared"])
def test_phone_needs_no_sideways_scrolling_and_type_is_legible(kind, browser, tmp_path):
    with opened(browser, made(kind), tmp_path, viewport=PHONE) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        heights = page.evaluate(
            """[...document.querySelectorAll('figure text')]
            .map(text => text.getBoundingClientRect().height)"""
        )
        hidden = """[...document.querySelectorAll('.compare .wide')]
            .filter(part => part.scrollWidth > part.clientWidth).length"""
        assert page.evaluate(hidden) == 0
        # A line of type is as high as its size, or higher; exponents in axis labels are smaller.
        assert min(heights) >= 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme, browser, tmp_path):
    with opened(browser, made("complete"), tmp_path, scheme=scheme) as page:
        colours = page.evaluate(
            """['.verdict', 'li', 'dt', 'dd', 'figcaption', 'th', 'td', 'figure text', 'summary',
            '.slider output', '.bar', '.equation'].map(name => {
            const element = document.querySelector(name), style = getComputedStyle(element);
            let under = element;
            while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)')
              under = under.parentElement;
            const ink = element instanceof SVGElement ? style.fill : style.color;
            return [name, ink, getComputedStyle(under).backgroundColor];
            })"""
        )
        paper = {name: luminance(under) for name, _, under in colours}
        assert all((value > 0.5) == (scheme == "light") for value in paper.values())
        for name, ink, under in colours:
            low, high = sorted((luminance(ink), luminance(under)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name


def luminance(colour):
    """Relative luminance as in the Web Content Accessibility Guidelines, of `rgb(r, g, b)`."""
    values = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_paper_is_white_shows_what_was_folded_and_has_no_slider(browser, tmp_path):
    with opened(browser, made("complete"), tmp_path, scheme="dark") as page:
        assert not page.locator("pre").is_visible()
        page.emulate_media(media="print", color_scheme="dark")
        assert page.locator("pre").is_visible()
        assert not page.get_by_role("slider").is_visible()
        paper = page.evaluate("getComputedStyle(document.querySelector('.rom')).backgroundColor")
        assert luminance(paper) == 1
        assert page.pdf(format="A4")[:4] == b"%PDF"


def test_the_comparison_fits_the_width_of_paper(browser, tmp_path):
    paper = {"width": 690, "height": 1000}  # A4 less its margins
    with opened(browser, made("compared"), tmp_path, viewport=paper) as page:
        page.emulate_media(media="print")
        right = "document.querySelector('.compare table').getBoundingClientRect().right"
        assert page.evaluate(right) <= paper["width"]


def test_two_reports_in_one_notebook_have_sliders_of_their_own(browser):
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(2 * f"<div>{fragment(made_report())}</div>")
        sliders, said = page.get_by_role("slider"), page.locator("output")
        sliders.nth(1).press("Home")
        assert said.all_inner_texts() == ["5.8 days", "0 days"]
