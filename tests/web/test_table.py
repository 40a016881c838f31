"""The virtual table: every row at its own height, whatever was filtered, scrolled or typed; and the soft parts around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from browsing import Cut, until
from ratchet.web import pages, serving
from ratchet.web.app import create_app
from ratchet.web.settings import Settings

from .conftest import OpenPage, Watch
from .samples import Sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
COUNT = 50_000
HUGE = 1_000_000
PAGE = """
{% extends "base.html" %}{% block title %}Rows{% endblock %}{% block main %}
<form id="filters" data-soft="#table" class="bar"><label class="find"><span class="sr">Filter</span><input type="search" name="q" id="q" value="{{ q }}"></label>
<a href="?show=even" data-soft="#table">Even</a> <a href="?" data-soft>All</a> <a href="?show=none" data-soft>None</a> <a href="?show=broken" data-soft>Broken</a></form>
<div id="table"><p id="shown">{{ show }} {{ q }}</p>
<virtual-rows src="/rows?show={{ show }}&q={{ q }}" total="{{ total }}" {% if pane %}pane="pane"{% endif %}{% if at %} open-index="{{ at }}"{% endif %}>
<div class="scroll" tabindex="0" role="region" aria-label="Rows"><table class="rows"><thead><tr><th scope="col">Row</th><th scope="col">Text</th></tr></thead>
<tbody>{{ rows|safe }}</tbody></table></div><p data-rows-total></p></virtual-rows>
</div>
{% if pane %}<section id="pane" aria-label="One row"></section>{% endif %}
{% endblock %}
"""


def fitting(request: Request) -> range:
    """The rows that the query asks for: numbers of the whole table."""
    total = HUGE if request.query_params.get("show") == "huge" else COUNT
    show, q = request.query_params.get("show"), request.query_params.get("q", "")
    if show == "none":
        return range(0)
    if q:
        return range(int(q), total, 1000) if q.isdigit() else range(0)
    return range(0, total, 2) if show == "even" else range(total)


def rows_of(numbers: range) -> str:
    return "".join(f'<tr data-key="k{n}" data-href="/one/{n}"><td><a href="/one/{n}">{n}</a></td><td>text of row {n}</td></tr>' for n in numbers)  # fmt: skip


def table(request: Request) -> Response:
    found = fitting(request)
    context: dict[str, Any] = {
        "show": request.query_params.get("show", ""),
        "q": request.query_params.get("q", ""),
        "pane": "alone" not in request.query_params,
        "at": request.query_params.get("at", ""),
        "total": len(found),
        "rows": rows_of(found[:60]),
    }
    if context["show"] == "broken":
        return pages.problem(request, 422, "This filter can't be read.", "Clear it.")
    template = pages.environment().from_string(PAGE)
    is_fragment = request.headers.get("x-fragment") == "1"
    return HTMLResponse(template.render(pages._context(request, context, is_fragment=is_fragment)))


def rows(request: Request) -> Response:
    found = fitting(request)
    offset, limit = int(request.query_params["offset"]), int(request.query_params["limit"])
    return HTMLResponse(rows_of(found[offset : offset + limit]), headers={"X-Total": str(len(found))})


def one(request: Request) -> Response:
    return HTMLResponse(
        f'<link rel="icon" href="data:,"><h2>Row {request.path_params["n"]}</h2><button type="button">Act</button>'
    )


def live(request: Request) -> Response:
    """A page whose live part counts to three."""
    if request.headers.get("x-fragment") != "1":
        template = pages.environment().from_string(
            '{% extends "base.html" %}{% block main %}<live-part src="/live" every="0.1">'
            '<p id="count">0</p><button id="stop" type="button">Stop</button></live-part>{% endblock %}'
        )
        return HTMLResponse(template.render(pages._context(request, {}, is_fragment=False)))
    request.app.state.counted = getattr(request.app.state, "counted", 0) + 1
    count = request.app.state.counted
    headers = {"X-Live": "done"} if count == 3 else {}
    body = f'<p id="count">{count}</p><button id="stop" type="button">Stop</button>'
    return HTMLResponse(body, headers=headers)


@pytest.fixture(scope="module")
def demo(page_template: Sample) -> Iterator[str]:
    """The application with a screen of its own, served from a thread."""
    import uvicorn

    app = create_app(Settings(store=page_template.store, root=page_template.root, person="ann"))
    app.router.routes += [
        Route("/demo", table),
        Route("/rows", rows),
        Route("/one/{n}", one),
        Route("/live", live),
    ]
    with serving.listen("127.0.0.1", 0) as taken:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/demo"
        server.should_exit = True
        thread.join(10)


def settle(page: Page) -> None:
    """Wait until no row in sight is missing."""
    until(
        page,
        """() => {
            const box = document.querySelector(".scroll").getBoundingClientRect();
            const head = document.querySelector("thead").offsetHeight;
            return [...document.querySelectorAll("tr.gap")].every((gap) => {
                const { top, bottom } = gap.getBoundingClientRect();
                return bottom <= box.top + head + 1 || top >= box.bottom - 1;
            });
        }""",
    )


def misplaced(page: Page) -> list[Any]:
    """Rows that stand elsewhere than their number says, in pixels; empty where all is well."""
    return page.evaluate(
        """() => {
            const scroll = document.querySelector(".scroll");
            const head = document.querySelector("thead").offsetHeight;
            const start = scroll.getBoundingClientRect().top + head - scroll.scrollTop;
            const height = document.querySelector("tr[data-index]").getBoundingClientRect().height;
            return [...document.querySelectorAll("tr[data-index]")]
                .map((row) => [Number(row.dataset.index), row.getBoundingClientRect().top - start - row.dataset.index * height])
                .filter(([, off]) => Math.abs(off) > 1);
        }"""
    )


def scroll_to(page: Page, row: int) -> None:
    page.evaluate(
        "row => { const height = document.querySelector('tr[data-index]').getBoundingClientRect().height;"
        "document.querySelector('.scroll').scrollTop = row * height; }",
        row,
    )
    settle(page)


def first_in_sight(page: Page) -> str:
    return page.evaluate(
        """() => {
            const top = document.querySelector(".scroll").getBoundingClientRect().top + document.querySelector("thead").offsetHeight;
            return [...document.querySelectorAll("tr[data-index]")].find((row) => row.getBoundingClientRect().bottom > top + 2).dataset.key;
        }"""
    )


def test_only_rows_in_sight_are_in_the_document_and_all_are_counted(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    settle(browser_page)
    assert browser_page.locator("tr[data-index]").count() < 80
    assert browser_page.locator("table").get_attribute("aria-rowcount") == str(COUNT + 1)
    assert browser_page.locator("[data-rows-total]").inner_text() == "50,000 rows"
    height = browser_page.evaluate("document.querySelector('.scroll').scrollHeight")
    assert (
        abs(height - (36 * COUNT + browser_page.evaluate("document.querySelector('thead').offsetHeight"))) < 3
    )


@pytest.mark.parametrize("row", [0, 1, 59, 60, 99, 100, 12_345, 49_990])
def test_rows_stand_where_they_belong_wherever_one_scrolls(demo: str, browser_page: Page, row: int) -> None:
    browser_page.goto(demo)
    scroll_to(browser_page, row)
    assert misplaced(browser_page) == []
    if row < 49_000:
        assert first_in_sight(browser_page) == f"k{row}"
    assert browser_page.locator("tr[data-index]").first.get_attribute("aria-rowindex") is not None


def test_the_last_row_is_the_last(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    scroll_to(browser_page, COUNT)
    last = browser_page.locator("tr[data-index]").last
    assert last.get_attribute("data-key") == f"k{COUNT - 1}"
    assert last.get_attribute("aria-rowindex") == str(COUNT + 1)
    scroll = browser_page.locator(".scroll").bounding_box()
    box = last.bounding_box()
    assert scroll is not None
    assert box is not None
    assert abs(box["y"] + box["height"] - scroll["y"] - scroll["height"]) < 3


def test_after_a_filter_the_first_row_stands_right_below_the_head(demo: str, browser_page: Page) -> None:
    """Once drawn at the offset of the rows before."""
    browser_page.goto(demo)
    scroll_to(browser_page, 30_000)
    browser_page.get_by_role("link", name="Even").click()
    until(browser_page, "document.getElementById('shown').textContent.trim() === 'even'")
    settle(browser_page)
    assert misplaced(browser_page) == []
    assert first_in_sight(browser_page) == "k0"
    assert browser_page.locator("[data-rows-total]").inner_text() == "25,000 rows"
    scroll_to(browser_page, 10_000)
    assert first_in_sight(browser_page) == "k20000"
    assert misplaced(browser_page) == []


def test_a_new_source_shows_its_first_rows(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    scroll_to(browser_page, 30_000)
    browser_page.evaluate("document.querySelector('virtual-rows').setAttribute('src', '/rows?show=even')")
    until(browser_page, "document.querySelector('virtual-rows').getAttribute('total') === '25000'")
    settle(browser_page)
    assert misplaced(browser_page) == []
    assert first_in_sight(browser_page) == "k0"


def test_a_million_rows_open_and_the_last_can_be_reached(demo: str, browser_page: Page) -> None:
    browser_page.goto(f"{demo}?show=huge")
    settle(browser_page)
    browser_page.evaluate("document.querySelector('.scroll').scrollTop = 1e9")
    settle(browser_page)
    assert browser_page.locator("tr[data-index]").last.get_attribute("data-key") == f"k{HUGE - 1}"
    browser_page.evaluate("const s = document.querySelector('.scroll'); s.scrollTop = s.scrollHeight / 2")
    settle(browser_page)
    assert abs(int(first_in_sight(browser_page)[1:]) - HUGE / 2) < 1000
    at = int(first_in_sight(browser_page)[1:])
    browser_page.evaluate(f"document.querySelector('virtual-rows').opener.goTo({at + 500})")
    browser_page.wait_for_selector(f"tr.at[data-key=k{at + 500}]")
    settle(browser_page)
    box, scroll = browser_page.locator("tr.at").bounding_box(), browser_page.locator(".scroll").bounding_box()
    assert box is not None
    assert scroll is not None
    assert scroll["y"] <= box["y"] <= scroll["y"] + scroll["height"] - box["height"] + 2


def test_j_and_k_move_open_beside_the_table_and_escape_closes(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    pane = browser_page.locator("#pane")
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        browser_page.keyboard.press(key)
        pane.get_by_role("heading", name=f"Row {row}", exact=True).wait_for()
        assert browser_page.locator("tr.open").get_attribute("data-key") == f"k{row}"
        assert f"row=k{row}" in browser_page.url
        assert browser_page.evaluate("document.activeElement.dataset.key") == f"k{row}"
    browser_page.keyboard.press("Escape")
    until(browser_page, "!document.querySelector('tr.open')")
    assert "row=" not in browser_page.url
    browser_page.keyboard.press("Enter")
    pane.get_by_role("heading", name="Row 1", exact=True).wait_for()


def test_the_keys_go_to_the_ends_and_stay_in_sight(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.keyboard.press("j")
    browser_page.wait_for_selector("tr.at")
    for key, row in (
        ("End", COUNT - 1),
        ("ArrowUp", COUNT - 2),
        ("Home", 0),
        ("ArrowDown", 1),
        ("ArrowUp", 0),
    ):
        browser_page.keyboard.press(key)
        browser_page.wait_for_selector(f"tr.at[data-key=k{row}]")
        until(browser_page, f"document.activeElement.dataset.key === 'k{row}'")
        box, scroll = (
            browser_page.locator("tr.at").bounding_box(),
            browser_page.locator(".scroll").bounding_box(),
        )
        assert box is not None
        assert scroll is not None
        assert scroll["y"] + 20 < box["y"] <= scroll["y"] + scroll["height"] - box["height"] + 2
        assert misplaced(browser_page) == []
        assert browser_page.locator("tr.at").get_attribute("aria-current") == "true"


def test_holding_j_down_ends_at_the_row_it_says(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    for _ in range(40):
        browser_page.keyboard.press("j")
    browser_page.wait_for_selector("tr.open[data-key=k39]")
    browser_page.locator("#pane").get_by_role("heading", name="Row 39", exact=True).wait_for()
    assert misplaced(browser_page) == []


def test_a_click_opens_a_row_and_its_link_works_without_a_pane(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.get_by_text("text of row 3", exact=True).click()
    browser_page.locator("#pane").get_by_role("heading", name="Row 3", exact=True).wait_for()
    browser_page.get_by_role("link", name="5", exact=True).click()
    browser_page.locator("#pane").get_by_role("heading", name="Row 5", exact=True).wait_for()
    browser_page.goto(f"{demo}?alone=1")
    browser_page.get_by_text("text of row 3", exact=True).click()
    browser_page.wait_for_url("**/one/3")


def test_a_link_opens_its_row_in_sight(demo: str, browser_page: Page) -> None:
    browser_page.goto(f"{demo}?row=k30000&at=30000")
    browser_page.wait_for_selector("tr.open[data-key=k30000]")
    settle(browser_page)
    assert misplaced(browser_page) == []
    box, scroll = (
        browser_page.locator("tr.open").bounding_box(),
        browser_page.locator(".scroll").bounding_box(),
    )
    assert box is not None
    assert scroll is not None
    assert scroll["y"] < box["y"] < scroll["y"] + scroll["height"]


def test_what_one_types_filters_and_is_never_lost(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.keyboard.press("/")
    browser_page.keyboard.type("77", delay=60)
    until(browser_page, "document.querySelector('[data-rows-total]')?.textContent === '50 rows'")
    field = browser_page.locator("#q")
    assert field.evaluate("field => field === document.activeElement")
    assert "q=77" in browser_page.url
    browser_page.keyboard.type("7", delay=60)
    assert field.input_value() == "777"
    until(browser_page, "document.querySelector('tr[data-key]').dataset.key === 'k777'")
    browser_page.go_back()
    until(browser_page, "!location.search.includes('777')")


def test_back_returns_to_what_was_shown(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.get_by_role("link", name="Even").click()
    until(browser_page, "document.querySelector('[data-rows-total]').textContent === '25,000 rows'")
    browser_page.go_back()
    until(browser_page, "document.querySelector('[data-rows-total]').textContent === '50,000 rows'")
    assert browser_page.url == demo


def test_an_empty_table_says_so(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.get_by_role("link", name="None").click()
    browser_page.get_by_text("No row fits").wait_for()
    assert browser_page.locator("[data-rows-total]").inner_text() == "0 rows"
    browser_page.keyboard.press("j")
    browser_page.keyboard.press("Enter")


def test_a_refused_filter_shows_the_page_that_says_why(demo: str, browser_page: Page, watch: Watch) -> None:
    watch.expected.append("422 (Unprocessable")
    browser_page.goto(demo)
    browser_page.get_by_role("link", name="Broken").click()
    browser_page.get_by_text("This filter can't be read.").wait_for()
    assert "show=broken" in browser_page.url


def test_a_server_that_is_gone_is_said_once_and_rows_stay(
    demo: str, browser_page: Page, watch: Watch
) -> None:
    watch.expected.append("net::ERR_")
    cut = Cut(browser_page, "**/rows*")
    browser_page.goto(demo)
    settle(browser_page)
    cut.on = True
    browser_page.evaluate("document.querySelector('.scroll').scrollTop = 36 * 20000")
    browser_page.get_by_role("alert").get_by_text("does not answer").wait_for()
    browser_page.evaluate("document.querySelector('.scroll').scrollTop = 0")
    until(browser_page, "document.querySelector('tr[data-key=k0]')")
    assert misplaced(browser_page) == []


def test_rows_are_asked_for_in_pages_and_not_twice(demo: str, browser_page: Page, watch: Watch) -> None:
    browser_page.goto(demo)
    settle(browser_page)
    scroll_to(browser_page, 1000)
    scroll_to(browser_page, 0)
    scroll_to(browser_page, 1000)
    asked = [url for url in watch.requests if "/rows" in url]
    assert len(asked) == len(set(asked))
    assert all("limit=100" in url for url in asked)
    assert len(asked) <= 4


@pytest.mark.parametrize("width", [360, 768])
def test_in_a_narrow_window_the_table_scrolls_in_itself(demo: str, open_page: OpenPage, width: int) -> None:
    page = open_page(width=width)
    page.goto(demo)
    scroll_to(page, 5000)
    assert misplaced(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator(".scroll").bounding_box()
    assert box is not None
    assert box["height"] <= 0.75 * 900


def test_at_another_zoom_rows_still_stand_where_they_belong(demo: str, open_page: OpenPage) -> None:
    page = open_page(device_scale_factor=1.25)
    page.goto(demo)
    scroll_to(page, 20_000)
    assert misplaced(page) == []


def test_a_live_part_follows_until_it_is_done_and_keeps_the_focus(
    demo: str, browser_page: Page, watch: Watch
) -> None:
    browser_page.goto(demo.replace("/demo", "/live"))
    browser_page.locator("#stop").focus()
    browser_page.evaluate("addEventListener('live-done', () => (window.ended = true))")
    until(browser_page, "window.ended")
    assert browser_page.locator("#count").inner_text() == "3"
    assert browser_page.evaluate("document.activeElement.id") == "stop"
    asked = len([url for url in watch.requests if url.endswith("/live")])
    browser_page.wait_for_timeout(200)
    assert len([url for url in watch.requests if url.endswith("/live")]) == asked == 4


def test_the_list_of_keys_names_those_of_the_table(demo: str, browser_page: Page) -> None:
    browser_page.goto(demo)
    browser_page.keyboard.press("?")
    text = browser_page.get_by_role("dialog", name="Keys").inner_text()
    assert all(label in text for label in ("Next row", "Previous row", "Open the row", "Close the row"))
