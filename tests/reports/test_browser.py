"""The HTML report in a real browser, with scripts, under its own security policy and without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import until
from conftest import require
from ratchet.reports import html
from ratchet.reports.examples import Detail

from .samples import HOSTILE, evidence, verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request

pytestmark = pytest.mark.slow
N = 400


@dataclass
class Seen:
    """What a page asked for and complained about."""

    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])

    def request(self, request: Request) -> None:
        self.requests.append(request.url)

    def console(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)

    def error(self, error: Error) -> None:
        self.complaints.append(str(error))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require("Chromium (apt-get install chromium)", chromium is not None)
    require("playwright (pip install playwright)", find_spec("playwright") is not None)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def details(index: int) -> Detail:
        return Detail(
            input=f"question {index} {HOSTILE}",
            expected="yes",
            outputs={"champion": [f"answer {HOSTILE} one"], "challenger": [f"answer {HOSTILE} two"]},
        )

    path = tmp_path_factory.mktemp("report") / "verdict.html"
    page = html.render(verdict(text=HOSTILE), evidence(N, text=HOSTILE), details=details)
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _open(
    browser: Browser, path: Path, seen: Seen, *, width: int = 1440, dark: bool = False, at: str = ""
) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
    )
    page = context.new_page()
    page.on("request", seen.request)
    page.on("console", seen.console)
    page.on("pageerror", seen.error)
    page.goto(f"file://{path}{at}")
    page.wait_for_selector("tr.gap", state="attached")  # the rows are drawn
    return page


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_asks_for_nothing_and_says_nothing_in_the_console(
    browser: Browser, report: Path, dark: bool
) -> None:
    seen = Seen()
    page = _open(browser, report, seen, dark=dark)
    for key in ("j", "j", "d", "t", "?", "Escape", "Escape"):
        page.keyboard.press(key)
    assert seen.complaints == []
    assert [url.split("/")[-1] for url in seen.requests] == ["verdict.html"]


def test_the_verdict_checks_and_rows_are_in_the_first_view(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    for selector in (".word", ".checks tbody tr:last-child", ".forest", "tr[data-row] >> nth=5", ".side-b"):
        box = page.locator(selector).first.bounding_box()
        assert box is not None
        assert box["y"] + min(box["height"], 40) <= 900


@pytest.mark.parametrize("width", [360, 768, 1000, 1101, 1440])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    page = _open(browser, report, Seen(), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_filters_show_only_their_rows_and_the_address_remembers(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    page.get_by_role("button", name="Errored").click()
    until(page, "document.querySelectorAll('tr[data-row]').length === 1")
    assert "show=errored" in page.url
    again = _open(browser, report, Seen(), at="#show=errored")
    assert again.locator("tr[data-row]").count() == 1


def test_text_filters_by_id(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    page.keyboard.press("/")
    page.keyboard.type("ticket-123")
    until(page, "document.querySelectorAll('tr[data-row]').length === 1")
    assert page.locator("output").inner_text() == "1 row"


def test_rows_stand_where_they_belong_after_scrolling_and_filtering(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    top = page.evaluate("document.querySelector('.scroll').getBoundingClientRect().top + 30")
    page.evaluate("document.querySelector('.scroll').scrollTop = 36 * 200")
    until(page, "document.querySelector('tr.gap td').offsetHeight > 36 * 100")
    rows = page.evaluate(
        "[...document.querySelectorAll('tr[data-row]')].map(r => Math.round(r.getBoundingClientRect().top))"
    )
    assert any(abs(y - top) <= 2 for y in rows)
    page.get_by_role("button", name="Worse").click()
    until(page, "document.querySelector('tr.gap td').offsetHeight === 0")
    first = page.locator("tr[data-row]").first.bounding_box()
    assert first is not None
    assert abs(first["y"] - top) <= 2


def test_j_moves_down_and_escape_closes(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    first = page.locator("tr.open").get_attribute("data-row")
    page.keyboard.press("j")
    until(page, f"document.querySelector('tr.open')?.dataset.row !== '{first}'")
    assert f"row={page.locator('tr.open').get_attribute('data-row')}" in page.url
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('tr.open')")
    assert "row=" not in page.url


def test_a_link_opens_its_example_and_hostile_text_is_only_text(browser: Browser, report: Path) -> None:
    seen = Seen()
    page = _open(browser, report, seen, at="#row=250")
    page.wait_for_selector(".detail .side-b .text")
    assert "question 250" in page.locator(".detail .input").inner_text()
    assert "<script>alert(1)</script>" in page.locator(".detail .side-b .text").inner_text()
    assert page.locator("body img, body iframe, .detail script").count() == 0
    assert page.locator("tr.open").get_attribute("data-row") == "250"
    assert seen.complaints == []


def test_sorting_turns_round_at_the_second_click(browser: Browser, report: Path) -> None:
    page = _open(browser, report, Seen())
    heading = page.get_by_role("button", name="Change", exact=True)
    heading.click()
    page.wait_for_selector("th[aria-sort=descending]")
    assert page.locator("tr[data-row] .move").first.inner_text() == "+1.00"


def test_without_scripts_the_page_still_reads(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(f"file://{report}")
    assert page.locator("tr[data-row]").count() == html.FIRST_ROWS
    assert not page.locator(".tabs").is_visible()
    assert page.locator(".word").inner_text() == "Hold"


def test_a_click_on_what_regressions_share_shows_those_examples(browser: Browser, tmp_path: Path) -> None:
    found = evidence(N)
    before, after = (found.arms[name].columns["exact_match"].values for name in ("champion", "challenger"))
    level = tuple("hard" if b > a else "easy" for b, a in zip(before, after, strict=True))
    path = tmp_path / "shared.html"
    path.write_text(html.render(verdict(), replace(found, slices={"level": level})), encoding="utf-8")
    seen = Seen()
    page = _open(browser, path, seen)
    finding = page.locator(".common button", has_text="level: hard")
    assert "elsewhere 0 of" in page.locator(".common").inner_text()
    finding.click()
    until(page, f"document.querySelector('output').textContent.startsWith('{level.count('hard')} ')")
    assert "show=worse" in page.url
    assert "slice=level%3Ahard" in page.url
    assert page.locator("select").input_value() == "level:hard"
    assert seen.complaints == []
