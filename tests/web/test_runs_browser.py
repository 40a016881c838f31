"""The screens of runs in a real Chromium: geometry, keys, progress of a real run, hostile text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ratchet.stores.sqlite import SQLiteStore

from . import hostile
from .conftest import OpenPage, Watch, serving
from .samples import COUNT, Sample
from .test_indexing import a_run, trace_id

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])
ROW = 36


@pytest.fixture
def address(site: str, page_store: Sample) -> str:
    return f"{site}/runs/{page_store.run.id}"


def opened(page: Page, address: str) -> Page:
    """The page with its rows and figures."""
    page.goto(address)
    page.wait_for_selector("virtual-rows tr[data-index]")
    page.wait_for_selector(".chart.times")
    page.wait_for_load_state("networkidle")
    return page


def shown_rows(page: Page) -> list[dict[str, Any]]:
    """Each drawn row: its place in the whole table, its top below the table's head in rows, its key."""
    return page.evaluate(
        """() => { const s = document.querySelector('virtual-rows .scroll'), h = s.querySelector('thead').offsetHeight;
        const top = s.getBoundingClientRect().top + h - s.scrollTop;
        return [...s.querySelectorAll('tr[data-index]')].map(r => ({index: +r.dataset.index, key: r.dataset.key,
            place: (r.getBoundingClientRect().top - top) / r.getBoundingClientRect().height, height: r.getBoundingClientRect().height})) }"""
    )


def assert_in_place(page: Page) -> list[dict[str, Any]]:
    """Every drawn row stands where its number says, and all are equally high."""
    rows = shown_rows(page)
    assert rows
    assert {round(row["height"], 1) for row in rows} == {float(ROW)}
    for row in rows:
        assert abs(row["place"] - row["index"]) < 0.1, row
    return rows


def total(page: Page) -> int:
    return int(page.inner_text("[data-rows-total]").split()[0].replace(",", ""))


def soft(page: Page, act: Callable[[], object]) -> None:
    """Do this, and wait until the table has been replaced."""
    page.evaluate("document.querySelector('virtual-rows').dataset.old = '1'")
    act()
    page.wait_for_selector("virtual-rows:not([data-old])")
    page.wait_for_load_state("networkidle")


@THEMES
def test_rows_stand_at_their_places_after_scrolling_filtering_and_sorting(
    address: str, browser_page: Page
) -> None:
    page = opened(browser_page, address)
    assert_in_place(page)
    page.evaluate("document.querySelector('virtual-rows .scroll').scrollTop = 150 * 36")
    page.wait_for_selector("tr[data-index='152']")
    assert 140 in [row["index"] for row in assert_in_place(page)]
    soft(page, lambda: page.select_option("#filter-arm", "champion"))
    assert total(page) == 2 * COUNT
    assert assert_in_place(page)[0]["index"] == 0
    soft(page, lambda: page.click("th.time-cell a"))
    assert page.get_attribute("th.time-cell", "aria-sort") == "descending"
    assert total(page) == 2 * COUNT
    assert_in_place(page)
    page.evaluate("document.querySelector('virtual-rows .scroll').scrollTop = 1e6")
    page.wait_for_selector(f"tr[data-index='{2 * COUNT - 1}']")
    last = assert_in_place(page)[-1]
    assert last["index"] == 2 * COUNT - 1


def test_the_address_holds_the_view_and_another_browser_opens_the_same(
    address: str, open_page: OpenPage
) -> None:
    page = opened(open_page(), address)
    soft(page, lambda: page.fill("#find-answers", "ticket-00"))
    soft(page, lambda: page.click("th.cost-cell a"))
    page.locator("tr[data-index='3']").click()
    page.wait_for_selector("#answer .body")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.activeElement?.id") != "find-answers"
    other = opened(open_page(), page.url)
    for one in (page, other):
        assert total(one) == 40
        assert one.get_attribute("th.cost-cell", "aria-sort") == "descending"
        assert one.input_value("#find-answers") == "ticket-00"
    assert page.inner_text("#answer h2") == other.inner_text("#answer h2")
    assert other.locator("tr.open").count() == 1
    assert page.locator("tr.open").get_attribute("data-key") == other.locator("tr.open").get_attribute(
        "data-key"
    )


def test_everything_goes_by_keyboard(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    page.keyboard.press("j")
    page.wait_for_selector("#answer .body")
    first = page.inner_text("#answer h2")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.wait_for_selector("tr.open[data-index='2']")
    assert "row=" in page.url
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.wait_for_selector("tr.open[data-index='0']")
    page.wait_for_load_state("networkidle")
    assert page.inner_text("#answer h2") == first
    page.keyboard.press("Escape")
    page.wait_for_selector("#answer", state="hidden")
    assert "row=" not in page.url
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find-answers"
    soft(page, lambda: page.keyboard.type("ticket-01"))
    assert page.evaluate("document.activeElement.id") == "find-answers"
    assert page.input_value("#find-answers") == "ticket-01"
    assert total(page) == 40
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "filter-arm"


def test_a_row_opens_beside_the_table_and_one_clicks_through_to_the_others(
    address: str, browser_page: Page
) -> None:
    page = opened(browser_page, address)
    page.locator("tr[data-index='1']").click()
    page.wait_for_selector("#answer .body")
    boxes = [page.locator(part).bounding_box() for part in ("#answers", "#answer")]
    left, right = (box for box in boxes if box)
    assert left["x"] + left["width"] <= right["x"] + 1
    assert abs(left["y"] - right["y"]) < 1
    other = page.locator("#answer [data-open-row]:not([aria-current])").first
    key = other.get_attribute("data-open-row")
    other.click()
    page.wait_for_selector(f"tr.open[data-key='{key}']")
    assert f"row={key}" in page.url
    page.click("#answer [data-close-row]")
    page.wait_for_selector("#answer", state="hidden")


def test_filters_keep_the_open_row(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    page.locator("tr[data-index='0']").click()
    page.wait_for_selector("#answer .body")
    key = page.locator("tr.open").get_attribute("data-key")
    soft(page, lambda: page.select_option("#filter-error", "ok"))
    assert f"row={key}" in page.url
    assert page.locator("#answer .body").is_visible()


@THEMES
def test_more_figures_open_and_lead_to_the_rows_behind_them(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    page.click("#more > summary")
    assert page.locator(".chart.distribution").first.is_visible()
    link = page.locator("section[aria-label='Errors by kind'] tbody a.link").first
    soft(page, link.click)
    assert "error=server" in page.url
    assert 0 < total(page) < 4 * COUNT
    assert page.locator("#more").get_attribute("open") is not None


@THEMES
@pytest.mark.parametrize("path", ["", "?row=open", "/traces", "/runs"])
def test_nothing_is_wider_than_a_small_screen(
    address: str, open_page: OpenPage, theme: str, path: str
) -> None:
    page = open_page(width=360, height=780, theme=theme)
    page.goto(address.rsplit("/runs/")[0] + path if path.startswith("/") else address)
    page.wait_for_load_state("networkidle")
    if path == "?row=open":
        page.locator("tr[data-index='0'] a").click()
        page.wait_for_selector("#answer .body")
        box = page.locator("#answer .bar").bounding_box()
        assert box is not None
        assert 0 <= box["y"] < 780
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_first_view_fits_a_desk_screen(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    assert page.evaluate("document.documentElement.scrollHeight") <= 900
    box = page.locator("virtual-rows .scroll").bounding_box()
    assert box is not None
    assert box["height"] >= 10 * ROW
    assert box["y"] + box["height"] <= 900.5


PROJECT = """\
project: slow
variants:
  champion:
    model: simulated/champion
    prompt: 'Which topic? {question}'
    options: {profile: {ttft_s: 0.3}}
    price: {input_usd_per_mtok: 200.0, output_usd_per_mtok: 800.0}
  challenger: {extends: champion, model: simulated/challenger}
baseline: champion
tasks:
  slow:
    dataset: {path: tickets.jsonl, id: id, expected: expected}
    scorers: [contains]
"""


@pytest.fixture
def slow_run(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes], str]]:
    """A real `ratchet run` that takes a few seconds: its folder, process and run id."""
    (tmp_path / "ratchet.yaml").write_text(PROJECT, "utf-8")
    rows = [{"id": f"t{i}", "question": f"Ticket {i}", "expected": "x"} for i in range(50)]
    (tmp_path / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    command = [sys.executable, "-m", "ratchet", "run", "-j", "3", "--name", "live one", "--force"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield tmp_path, process, _run_id(tmp_path / ".ratchet" / "ratchet.db", process)
    finally:
        process.kill()
        process.wait()


def _run_id(path: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            with SQLiteStore(path) as store:
                if rows := store.runs():
                    return rows[0].id
        time.sleep(0.05)
    raise AssertionError("the run did not start")


def test_a_run_under_way_is_followed_to_its_end(
    slow_run: tuple[Path, subprocess.Popen[bytes], str], open_page: OpenPage
) -> None:
    root, process, run_id = slow_run
    with serving(root) as site:
        page, listed = open_page(), open_page()
        page.goto(f"{site.url}/runs/{run_id}")
        listed.goto(f"{site.url}/runs")
        assert listed.inner_text("tbody th").startswith("live one")
        page.wait_for_selector(".under-way .state.running")
        counts: list[int] = []
        while process.poll() is None and len(set(counts)) < 3:
            found = re.search(r"([\d,]+) of 100", page.inner_text(".under-way"))
            if found:
                counts.append(int(found[1]))
            page.wait_for_timeout(200)
        assert counts == sorted(counts)
        assert len(set(counts)) >= 3, "the page did not follow the run"
        assert re.search(r"answers/(s|min).*left.*so far", page.inner_text(".under-way"))
        process.wait(60)
        page.wait_for_selector(".under-way", state="detached", timeout=30_000)
        page.wait_for_selector(".chart.times")
        page.wait_for_selector("virtual-rows tr[data-index]")
        assert total(page) == 100
        listed.wait_for_selector(".state.finished", timeout=15_000)


def test_a_hostile_search_and_every_hostile_row_stay_inert(
    hostile_site: str, hostile_project: hostile.Hostile, open_page: OpenPage
) -> None:
    page = hostile.arm(open_page())
    page.goto(f"{hostile_site}/runs/{hostile_project.run.id}")
    page.wait_for_selector("virtual-rows tr[data-index]")
    soft(page, lambda: page.fill("#find-answers", hostile.NAME))
    hostile.assert_inert(page)
    soft(page, lambda: page.fill("#find-answers", ""))
    soft(page, lambda: page.select_option("#filter-arm", index=1))
    assert total(page) == len(hostile.SAMPLES)
    soft(page, lambda: page.select_option("#filter-score", index=1))
    page.click("#more > summary")
    for _ in range(12):
        page.keyboard.press("j")
    page.wait_for_load_state("networkidle")
    hostile.assert_inert(page)


def test_a_run_of_very_many_rows_can_be_scrolled_to_its_end(
    tmp_path: Path, open_page: OpenPage, watch: Watch
) -> None:
    from ratchet.records import Trace
    from ratchet.web import run_columns

    path = tmp_path / ".ratchet" / "ratchet.db"
    path.parent.mkdir()
    count = 3_000
    with SQLiteStore(path) as store:
        run = a_run("many", count=count // 2)
        store.save_run(run)
        store.write(
            [
                Trace(
                    id=trace_id(i),
                    run_id="many",
                    arm="ab"[i % 2],
                    example_id=f"e{i // 2}",
                    latency_s=i / 10,
                    output=f"answer {i}",
                )
                for i in range(1, count + 1)
            ]
        )
        store.set_run_state("many", "finished")
    run_columns.build(path, "many", lambda step, done=0, total=0: None)
    with serving(tmp_path) as site:
        page = open_page()
        page.goto(f"{site.url}/runs/many?sort=-latency_s")
        page.wait_for_selector("tr[data-index]")
        page.evaluate("document.querySelector('virtual-rows .scroll').scrollTop = 1e9")
        page.wait_for_selector(f"tr[data-index='{count - 1}']")
        assert_in_place(page)
        assert "answer 1" in page.inner_text(f"tr[data-index='{count - 1}']")
        assert page.locator("tr[data-index]").count() < 80
