"""The screens of runs in a real Chromium: geometry, keys, progress of a real run, hostile text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsing import until
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
    """The page with its rows and figures, once it no longer changes by itself."""
    page.goto(address)
    page.wait_for_selector("virtual-rows tr[data-index]")
    page.wait_for_selector(".chart.times")
    page.wait_for_selector("live-part", state="detached")
    return page


_IN_PLACE = """([height, last]) => {
  const s = document.querySelector('virtual-rows .scroll'), head = s.querySelector('thead').offsetHeight;
  const top = s.getBoundingClientRect().top + head - s.scrollTop;
  const rows = [...s.querySelectorAll('tr[data-index]')].map(r => [+r.dataset.index, r.getBoundingClientRect()]);
  const fits = ([index, box]) => Math.abs(box.height - height) < 0.05 && Math.abs((box.top - top) / height - index) < 0.1;
  const seen = s.getBoundingClientRect();
  const ends = rows.length && rows[0][1].top <= seen.top + head + 0.5
    && (rows.at(-1)[1].bottom >= seen.bottom - 0.5 || rows.at(-1)[0] === last);
  return ends && rows.every(fits) && rows.map(([index]) => index);
}"""


def in_place(page: Page) -> list[int]:
    """The places of the drawn rows, once each stands where its number says, all are equally high, and none in sight lacks."""
    return until(page, _IN_PLACE, [ROW, total(page) - 1])


def total(page: Page) -> int:
    return int(page.inner_text("[data-rows-total]").split()[0].replace(",", ""))


def wait_for_total(page: Page, count: int) -> None:
    """Wait until the table holds so many rows."""
    shown = "document.querySelector('[data-rows-total]')?.textContent.replaceAll(',', '')"
    until(page, f"count => parseInt({shown}) === count", count)


def wait_for_address(page: Page, part: str, *, there: bool = True) -> None:
    """Wait until the address holds this, or no longer does."""
    until(page, "([part, there]) => location.href.includes(part) === there", [part, there])


def soft(page: Page, act: Callable[[], object]) -> None:
    """Do this, and wait until the table has been replaced."""
    page.evaluate("document.querySelector('virtual-rows').dataset.old = '1'")
    act()
    page.wait_for_selector("virtual-rows:not([data-old])")


@THEMES
def test_rows_stand_at_their_places_after_scrolling_filtering_and_sorting(
    address: str, browser_page: Page
) -> None:
    page = opened(browser_page, address)
    in_place(page)
    page.evaluate("document.querySelector('virtual-rows .scroll').scrollTop = 150 * 36")
    page.wait_for_selector("tr[data-index='152']")
    assert 140 in in_place(page)
    soft(page, lambda: page.select_option("#filter-arm", "champion"))
    assert total(page) == 2 * COUNT
    assert in_place(page)[0] == 0
    soft(page, lambda: page.click("th.time-cell a"))
    assert page.get_attribute("th.time-cell", "aria-sort") == "descending"
    assert total(page) == 2 * COUNT
    in_place(page)
    page.evaluate("document.querySelector('virtual-rows .scroll').scrollTop = 1e6")
    page.wait_for_selector(f"tr[data-index='{2 * COUNT - 1}']")
    assert in_place(page)[-1] == 2 * COUNT - 1


def test_the_address_holds_the_view_and_another_browser_opens_the_same(
    address: str, open_page: OpenPage
) -> None:
    page = opened(open_page(), address)
    soft(page, lambda: page.fill("#find-answers", "ticket-00"))
    soft(page, lambda: page.click("th.cost-cell a"))
    page.locator("tr[data-index='3']").click()
    page.wait_for_selector("#answer .body")
    assert page.evaluate("document.activeElement?.id") != "find-answers"
    other = opened(open_page(), page.evaluate("location.href"))
    for one in (page, other):
        wait_for_total(one, 40)
        assert one.get_attribute("th.cost-cell", "aria-sort") == "descending"
        assert one.input_value("#find-answers") == "ticket-00"
    assert page.inner_text("#answer h2") == other.inner_text("#answer h2")
    other.wait_for_selector("tr.open")
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
    wait_for_address(page, "row=")
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.wait_for_selector("tr.open[data-index='0']")
    until(page, "first => document.querySelector('#answer h2')?.innerText === first", first)
    page.keyboard.press("Escape")
    page.wait_for_selector("#answer", state="hidden")
    wait_for_address(page, "row=", there=False)
    page.keyboard.press("/")
    until(page, "document.activeElement.id === 'find-answers'")
    page.keyboard.type("ticket-01")
    wait_for_total(page, 40)
    assert page.evaluate("document.activeElement.id") == "find-answers"
    assert page.input_value("#find-answers") == "ticket-01"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "filter-arm"


def test_a_row_opens_beside_the_table_and_one_clicks_through_to_the_others(
    address: str, browser_page: Page
) -> None:
    page = opened(browser_page, address)
    page.locator("tr[data-index='1']").click()
    page.wait_for_selector("#answer .body")
    until(
        page,
        """() => { const [left, right] = ['#answers', '#answer'].map(e => document.querySelector(e).getBoundingClientRect());
        return left.right <= right.left + 1 && Math.abs(left.top - right.top) < 1 }""",
    )
    other = page.locator("#answer [data-open-row]:not([aria-current])").first
    key = other.get_attribute("data-open-row")
    other.click()
    page.wait_for_selector(f"tr.open[data-key='{key}']")
    wait_for_address(page, f"row={key}")
    page.wait_for_selector(f"#answer a[href='/traces/{key}']")
    page.click("#answer [data-close-row]")
    page.wait_for_selector("#answer", state="hidden")


def test_filters_keep_the_open_row(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    page.locator("tr[data-index='0']").click()
    page.wait_for_selector("#answer .body")
    key = page.locator("tr.open").get_attribute("data-key")
    soft(page, lambda: page.select_option("#filter-error", "ok"))
    wait_for_address(page, "error=ok")
    wait_for_address(page, f"row={key}")
    page.wait_for_selector("#answer .body")


_HELD = """
const real = window.fetch;
window.held = [];
window.fetch = async (...args) => {
  const answer = await real(...args);
  if (!window.holding || !String(args[0]).includes(window.holding)) return answer;
  const text = await answer.text();
  await new Promise((go) => window.held.push(go));
  args[1]?.signal?.throwIfAborted();
  return new Response(text, { headers: answer.headers });
};
"""
"""Answers to requests whose address holds `window.holding` come when the test calls for them."""


def test_the_end_of_a_run_takes_no_filter_back_that_was_just_chosen(address: str, browser_page: Page) -> None:
    browser_page.add_init_script(_HELD)
    page = opened(browser_page, address)
    page.evaluate("window.holding = 'arm=champion'")
    page.select_option("#filter-arm", "champion")
    until(page, "window.held.length === 1")
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('live-done')); window.holding = ''; window.held[0]()"
    )
    wait_for_total(page, 2 * COUNT)
    wait_for_address(page, "arm=champion")


def test_a_row_opened_while_the_page_loads_again_stays_open(address: str, browser_page: Page) -> None:
    browser_page.add_init_script(_HELD)
    page = opened(browser_page, address)
    page.evaluate("window.holding = '/runs/'; document.dispatchEvent(new CustomEvent('live-done'))")
    until(page, "window.held.length === 1")
    page.evaluate(
        "window.holding = ''; document.querySelector(\"tr[data-index='2']\").click(); window.held[0]()"
    )
    page.wait_for_selector("tr.open[data-index='2']")
    until(
        page,
        "document.querySelector('.run-panes').matches('.filled') && document.querySelector('#answer .body') !== null",
    )


def test_what_is_typed_while_rows_arrive_is_asked_for(address: str, browser_page: Page) -> None:
    browser_page.add_init_script(_HELD)
    page = opened(browser_page, address)
    page.evaluate("window.holding = 'text='")
    page.focus("#find-answers")
    page.keyboard.type("ticket")
    until(page, "window.held.length > 0 && location.search === ''")
    page.evaluate(
        """() => { const field = document.querySelector('#find-answers');
        field.value = 'ticket-01';
        field.dispatchEvent(new Event('input', {bubbles: true}));
        window.holding = '';
        window.held.at(-1)() }"""
    )
    wait_for_address(page, "text=ticket-01")
    wait_for_total(page, 40)
    assert page.input_value("#find-answers") == "ticket-01"


@THEMES
def test_more_figures_open_and_lead_to_the_rows_behind_them(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    page.click("#more > summary")
    assert page.locator(".chart.distribution").first.is_visible()
    link = page.locator("section[aria-label='Errors by kind'] tbody a.link").first
    soft(page, link.click)
    wait_for_address(page, "error=server")
    assert 0 < total(page) < 4 * COUNT
    assert page.locator("#more").get_attribute("open") is not None


@THEMES
@pytest.mark.parametrize("path", ["", "?row=open", "/traces", "/runs"])
def test_nothing_is_wider_than_a_small_screen(
    address: str, open_page: OpenPage, theme: str, path: str
) -> None:
    page = open_page(width=360, height=780, theme=theme)
    if path.startswith("/"):
        page.goto(address.rsplit("/runs/")[0] + path)
        page.wait_for_load_state("networkidle")
    else:
        opened(page, address)
    if path == "?row=open":
        page.locator("tr[data-index='0'] a").click()
        page.wait_for_selector("#answer .body")
        until(
            page,
            "(y => 0 <= y && y < 780)(document.querySelector('#answer .bar').getBoundingClientRect().top)",
        )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_first_view_fits_a_desk_screen(address: str, browser_page: Page) -> None:
    page = opened(browser_page, address)
    in_place(page)
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
        paced = False
        while process.poll() is None and len(set(counts)) < 3:
            said = page.inner_text(".under-way")
            found = re.search(r"([\d,]+) of 100", said)
            if found:
                counts.append(int(found[1]))
            paced = paced or bool(re.search(r"answers/(s|min).*left.*so far", said))
            page.wait_for_timeout(200)
        assert counts == sorted(counts)
        assert len(set(counts)) >= 3, "the page did not follow the run"
        assert paced, "the page said no pace"
        process.wait(60)
        page.wait_for_selector(".under-way", state="detached", timeout=30_000)
        page.wait_for_selector(".chart.times")
        page.wait_for_selector("virtual-rows tr[data-index]")
        wait_for_total(page, 100)
        listed.wait_for_selector(".state.finished", timeout=15_000)


def test_a_hostile_search_and_every_hostile_row_stay_inert(
    hostile_site: str, hostile_project: hostile.Hostile, open_page: OpenPage
) -> None:
    page = hostile.arm(open_page())
    page.goto(f"{hostile_site}/runs/{hostile_project.run.id}")
    page.wait_for_selector("virtual-rows tr[data-index]")
    page.wait_for_selector("live-part", state="detached")
    soft(page, lambda: page.fill("#find-answers", hostile.NAME))
    hostile.assert_inert(page)
    soft(page, lambda: page.fill("#find-answers", ""))
    soft(page, lambda: page.select_option("#filter-arm", index=1))
    wait_for_total(page, len(hostile.SAMPLES))
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
        assert in_place(page)[-1] == count - 1
        assert "answer 1" in page.inner_text(f"tr[data-index='{count - 1}']")
        assert page.locator("tr[data-index]").count() < 80
