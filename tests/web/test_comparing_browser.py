"""The compare screen in a real browser: keyboard, geometry, colours, and three questions answered in the first view."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from browsing import until
from ratchet.stores.sqlite import SQLiteStore
from ratchet.verdicts import keeping
from ratchet.web import labels_seen

from . import hostile
from .samples import COUNT, Sample

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])
BUDGET_BYTES = 120 * 1024


@pytest.fixture
def address(site: str, page_store: Sample) -> str:
    with SQLiteStore(page_store.store, read_only=True) as store:
        return f"{site}/compare/{keeping.kept(store)[0].id}"


@pytest.fixture
def page(browser_page: Page, address: str) -> Page:
    """The screen with its first example open."""
    browser_page.goto(address)
    ready(browser_page)
    return browser_page


def ready(page: Page) -> None:
    page.wait_for_selector("tr.gap", state="attached")
    page.wait_for_selector(".detail .side-b")
    page.wait_for_selector("tr.open")


def in_first_view(page: Page, part: Locator) -> str:
    """The text of this part, which must be seen without scrolling, at least its first lines."""
    box = part.bounding_box()
    assert box is not None
    height = page.viewport_size["height"] if page.viewport_size else 0
    assert box["y"] >= 0
    assert box["y"] + min(box["height"], 60) <= height
    return part.inner_text()


@THEMES
def test_three_questions_are_answered_in_the_first_view_within_two_clicks(
    browser_page: Page, site: str
) -> None:
    page = browser_page
    page.goto(site)
    page.locator("main a.answer, main a[href^='/compare/']").first.click()
    ready(page)
    answer = in_first_view(page, page.locator(".verdict"))
    assert re.search(r"(Ship|Hold|Inconclusive)\n.*challenger.*champion.*\[.*\]", answer, re.DOTALL)
    assert re.search(r"How sure: .*\d+ %", answer)
    shared = in_first_view(page, page.locator(".common"))
    assert "What the worst have in common" in shared
    assert re.search(r"\d+ of \d+ \(\d+ %\), elsewhere \d+ of \d+|Nothing stands out", shared)
    spent = in_first_view(page, page.locator(".spent"))
    assert re.search(
        r"\$[\d.]+ for \d+ tokens in and \d+ out\. [\d.]+ ms: [\d.]+ ms \(\d+ %\) to the first token", spent
    )


@THEMES
def test_the_strip_the_table_and_the_example_stand_beside_one_another(page: Page) -> None:
    boxes = {
        name: page.locator(name).first.bounding_box()
        for name in (".verdict", ".checks", ".forest", ".common", ".list", ".detail")
    }
    found = {name: box for name, box in boxes.items() if box is not None}
    assert len(found) == len(boxes)
    assert found[".verdict"]["x"] + found[".verdict"]["width"] <= found[".checks"]["x"]
    assert found[".checks"]["x"] + found[".checks"]["width"] <= found[".forest"]["x"]
    assert found[".common"]["y"] + found[".common"]["height"] <= found[".list"]["y"] + 1
    assert abs(found[".list"]["y"] - found[".detail"]["y"]) <= 1
    assert found[".list"]["x"] + found[".list"]["width"] <= found[".detail"]["x"] + 1
    rows = page.locator("tr[data-row]")
    whole = [box for k in range(rows.count()) if (box := rows.nth(k).bounding_box()) and box["y"] + 36 <= 900]
    assert len(whole) >= 10


@pytest.mark.parametrize("width", [360, 768, 1000, 1200, 1440, 1900])
def test_nothing_is_wider_than_the_window_and_no_text_lies_on_another(
    open_page: Callable[..., Page], address: str, width: int
) -> None:
    page = open_page(width=width)
    page.goto(address)
    page.wait_for_selector("tr.gap", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_OVERFLOWING) == []


_OVERFLOWING = """() => [...document.querySelectorAll('.panel, .common, .bar, .top, .side')]
  .filter(e => e.getClientRects().length && e.scrollWidth > e.clientWidth + 1)
  .map(e => e.className + ' ' + e.scrollWidth + ' > ' + e.clientWidth)"""


def test_rows_stand_where_they_belong_after_a_filter_and_a_scroll(page: Page) -> None:
    top = page.evaluate("document.querySelector('.scroll').getBoundingClientRect().top + 30")
    page.evaluate("document.querySelector('.scroll').scrollTop = 36 * 30")
    until(page, "document.querySelector('tr.gap td').offsetHeight > 36 * 10")
    tops = page.evaluate(
        "[...document.querySelectorAll('tr[data-row]')].map(r => Math.round(r.getBoundingClientRect().top))"
    )
    assert any(abs(y - top) <= 2 for y in tops)
    page.get_by_role("button", name=re.compile("^Worse")).click()
    until(page, "document.querySelector('tr.gap td').offsetHeight === 0")
    first = page.locator("tr[data-row]").first.bounding_box()
    assert first is not None
    assert abs(first["y"] - top) <= 2


def test_the_keyboard_moves_opens_filters_and_closes_and_the_address_follows(page: Page) -> None:
    first = page.locator("tr.open").get_attribute("data-row")
    page.keyboard.press("j")
    until(page, f"document.querySelector('tr.open')?.dataset.row !== '{first}'")
    second = page.locator("tr.open").get_attribute("data-row")
    assert f"row={second}" in page.url
    page.keyboard.press("k")
    until(page, f"document.querySelector('tr.open')?.dataset.row === '{first}'")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.matches('.detail')")
    page.keyboard.press("d")
    assert "diff=off" in page.url
    assert page.locator(".detail [data-do=diff]").get_attribute("aria-pressed") == "false"
    page.keyboard.press("Escape")
    until(page, "!document.querySelector('tr.open')")
    assert "row=" not in page.url
    assert page.evaluate("document.activeElement.closest('tr')?.dataset.row") == first
    page.keyboard.press("/")
    page.keyboard.type("ticket-007")
    until(page, "document.querySelectorAll('tr[data-row]').length === 1")
    assert "text=ticket-007" in page.url
    assert page.locator("output").first.inner_text() == "1 row"


def test_a_link_is_the_same_view_in_another_browser(
    page: Page, open_page: Callable[..., Page], address: str
) -> None:
    page.get_by_role("button", name=re.compile("^Worse")).click()
    page.locator("select[data-filter=slice]").select_option("topic:account")
    page.get_by_role("button", name="Change").click()
    page.keyboard.press("j")
    until(page, "new URLSearchParams(location.search).has('row')")
    page.wait_for_selector(".side-b")
    other = open_page()
    other.goto(page.url)
    ready(other)
    for part in ("output", ".detail h2"):
        assert other.locator(part).first.inner_text() == page.locator(part).first.inner_text()
    assert other.locator("tr[data-row]").count() == page.locator("tr[data-row]").count()
    assert other.locator("select[data-filter=slice]").input_value() == "topic:account"


def test_g_and_b_label_and_go_on(page: Page, page_store: Sample) -> None:
    first = page.locator("tr.open").get_attribute("data-row")
    page.keyboard.press("b")
    until(page, f"document.querySelector('tr.open')?.dataset.row !== '{first}'")
    second = page.locator("tr.open").get_attribute("data-row")
    page.keyboard.press("g")
    until(page, f"document.querySelector('tr.open')?.dataset.row !== '{second}'")
    with SQLiteStore(page_store.store, read_only=True) as store:
        given = [value for labels in labels_seen.of_people(store).values() for value in labels.values()]
    assert set(given) == {False, True}
    page.wait_for_selector(f"tr[data-row='{first}'] .label-mark")
    page.get_by_role("button", name="Unlabelled").click()
    until(page, f"document.querySelector('output').textContent === '{COUNT - 2} rows'")


@THEMES
def test_text_and_marks_have_enough_contrast(page: Page) -> None:
    assert page.evaluate(_CONTRAST) == []


_CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const lum = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return [255, 255, 255, 1]; };
  const bad = [];
  for (const e of document.querySelectorAll('main *, header *')) {
    if (!e.getClientRects().length || e.closest('svg, .sr, option, optgroup') || !e.checkVisibility()) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e);
    if (!style.color.startsWith('rgb')) continue;
    const [a, b] = [lum(parse(style.color)), lum(ground(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) bad.push(`${e.tagName}.${e.className} "${e.textContent.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
  }
  return [...new Set(bad)].slice(0, 10);
}"""


def test_every_control_has_a_name_and_shows_the_focus(page: Page) -> None:
    unnamed = page.evaluate(
        "[...document.querySelectorAll('main button, main a[href], main input, main select, header a, header button')]"
        ".filter(e => e.getClientRects().length && !(e.innerText.trim() || e.ariaLabel || e.labels?.length || e.title)).map(e => e.outerHTML.slice(0, 120))"
    )
    assert unnamed == []
    page.keyboard.press("Tab")
    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 160)")


def test_the_page_weighs_little_and_stays_as_light_with_the_next_rows(
    open_page: Callable[..., Page], address: str
) -> None:
    page = open_page()
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    weights: list[float] = []
    client.on("Network.loadingFinished", lambda event: weights.append(event["encodedDataLength"]))
    page.goto(address)
    ready(page)
    page.wait_for_load_state("networkidle")
    assert 10_000 < sum(weights) < BUDGET_BYTES


def test_one_column_shows_the_example_below_and_comes_to_it(
    open_page: Callable[..., Page], address: str
) -> None:
    page = open_page(width=360)
    page.goto(address)
    page.wait_for_selector("tr.gap", state="attached")
    page.locator("tr[data-row] a").first.click()
    page.wait_for_selector(".detail .side-b")
    until(page, "Math.abs(document.querySelector('.detail').getBoundingClientRect().top) < 120")


def test_without_scripts_the_answer_the_first_rows_and_an_asked_for_example_read(
    open_page: Callable[..., Page], address: str
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{address}?show=worse&row=4")
    assert page.locator(".word").inner_text() in ("Ship", "Hold", "Inconclusive")
    assert page.locator("tr[data-row]").count() > 5


def test_reduced_motion_is_kept(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(reduced_motion="reduce")
    page.goto(address)
    page.wait_for_selector("tr[data-row]")
    style = page.evaluate("getComputedStyle(document.querySelector('tr[data-row]')).transition")
    assert style.startswith("none") or " 0s" in f" {style}"


def test_hostile_answers_stay_inert_on_every_row(
    open_page: Callable[..., Page], hostile_site: str, hostile_project: hostile.Hostile
) -> None:
    page = hostile.arm(open_page())
    page.goto(f"{hostile_site}/compare/{hostile_project.verdict_id}")
    ready(page)
    total = int((page.locator("output").first.inner_text()).split()[0])
    for _ in range(total - 1):
        before = page.locator("tr.open").get_attribute("data-row")
        page.keyboard.press("j")
        until(page, f"document.querySelector('tr.open')?.dataset.row !== '{before}'")
    hostile.assert_inert(page)
    page.goto(f"{hostile_site}/compare")
    hostile.assert_inert(page)
