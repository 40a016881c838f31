"""The corpus of hostile texts, on every screen and in the exported report, in a real browser."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from . import hostile
from .conftest import OpenPage
from .hostile import NAME, SAMPLES, Hostile

pytestmark = pytest.mark.slow


def screens(found: Hostile, dataset_id: str) -> dict[str, str]:
    """Every screen by name, as a visitor of the hostile project would open it."""
    run, verdict, dataset = f"/runs/{found.run.id}", f"/compare/{found.verdict_id}", f"/datasets/{dataset_id}"
    name = quote(NAME, safe="")
    return {
        "home": "/",
        "runs": "/runs",
        "run": run,
        "run_filtered": f"{run}?q={name}",
        "comparisons": "/compare",
        "comparison": verdict,
        "comparison_row": f"{verdict}?row=3",
        "traces": "/traces",
        "traces_filtered": f"/traces?q={name}",
        "datasets": "/datasets",
        "dataset": f"{dataset}?row=1",
        "dataset_found": f"{dataset}?q={name}",
        "dataset_group": f"{dataset}?group={quote(f'group {NAME}', safe='')}",
        "dataset_versions": f"{dataset}?show=versions",
        "dataset_duplicates": f"{dataset}?show=duplicates",
        "dataset_leaks": f"{dataset}?show=leaks",
        "dataset_looks": f"{dataset}?show=looks",
        "dataset_row": f"{dataset}/rows/2",
        "label": "/label",
        "label_one": f"/label/{found.queue_ids['one']}",
        "label_pairs": f"/label/{found.queue_ids['pairs']}",
        "judge": "/judge",
        "playground": f"/playground?trace={found.trace_ids['polyglot']}",
        "person": "/person",
    }


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return hostile.arm(open_page())


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(SAMPLES) >= 60


@pytest.mark.parametrize(
    "html",
    [
        "<script>window.owned = 1</script>",
        "<p onclick='x'>x</p>",
        "<iframe srcdoc='x'></iframe>",
        "<a href='javascript:x'>x</a>",
        "<a href='https://evil.test/' rel='noopener'>x</a>",
        "<img src='https://evil.test/p.png'>",
        "<form action='https://evil.test/'></form>",
        "<svg><foreignObject></foreignObject></svg>",
        "<p style='background:url(x)'>x</p>",
        "<p id='hostile_id'>x</p>",
        "<p title='a\u202eb'>x</p>",
        "<p>a\u200bb</p>",
        "<p>a\u0301\u0301\u0301\u0301\u0301\u0301\u0301</p>",
        "<base href='https://evil.test/'>",
    ],
)
def test_the_check_notices_what_it_is_for(chromium: Browser, html: str) -> None:
    context = chromium.new_context()
    page = hostile.arm(context.new_page())
    pages = {
        "http://127.0.0.1:9/good": "<!doctype html><p>x</p>",
        "http://127.0.0.1:9/bad": f"<!doctype html>{html}",
    }
    page.route(
        "**/*",
        lambda route: route.fulfill(
            body=pages.get(route.request.url, ""), content_type="text/html; charset=utf-8"
        ),
    )
    page.goto("http://127.0.0.1:9/good")
    hostile.assert_inert(page)
    page.goto("http://127.0.0.1:9/bad")
    with pytest.raises(AssertionError):
        hostile.assert_inert(page)
    context.close()


@pytest.mark.parametrize("name", [
    "home", "runs", "run", "run_filtered", "comparisons", "comparison", "comparison_row", "traces", "traces_filtered",
    "datasets", "dataset", "dataset_found", "dataset_group", "dataset_versions", "dataset_duplicates", "dataset_leaks",
    "dataset_looks", "dataset_row", "label", "label_one", "label_pairs", "judge", "playground", "person",
])  # fmt: skip
def test_a_screen_keeps_hostile_text_inert(
    page: Page, hostile_site: str, hostile_project: Hostile, name: str
) -> None:
    path = screens(hostile_project, hostile_project.run.task.dataset.id)[name]
    answer = page.goto(f"{hostile_site}{path}")
    assert answer is not None
    assert answer.status == 200, page.inner_text("main")
    page.wait_for_load_state("networkidle")
    for key in ("j", "j", "Enter", "v"):
        page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    hostile.assert_inert(page)


@pytest.mark.parametrize("kind", ["one", "pairs"])
def test_a_queue_of_hostile_answers_stays_inert_item_by_item(
    page: Page, hostile_site: str, hostile_project: Hostile, kind: str
) -> None:
    page.goto(f"{hostile_site}/label/{hostile_project.queue_ids[kind]}")
    for _ in range(30):
        page.keyboard.press("s")
        page.wait_for_load_state("networkidle")
        hostile.assert_inert(page)


@pytest.mark.parametrize("names", [list(SAMPLES)[i::4] for i in range(4)])
def test_every_sample_is_inert_on_the_page_of_its_trace(
    page: Page, hostile_site: str, hostile_project: Hostile, names: list[str]
) -> None:
    for name in names:
        page.goto(f"{hostile_site}/traces/{hostile_project.trace_ids[name]}")
        for details in page.locator("details").all()[:3]:
            details.evaluate("element => { element.open = true }")
        hostile.assert_inert(page)


def test_changing_views_and_asking_for_more_keeps_it_inert(
    page: Page, hostile_site: str, hostile_project: Hostile
) -> None:
    for name in ("polyglot", "markdown_link", "json_with_html", "bidi", "ansi"):
        page.goto(f"{hostile_site}/traces/{hostile_project.trace_ids[name]}")
        links = page.locator("#block-output a[data-view]")
        for index in range(links.count()):
            links.nth(index).click()
            expect(links.nth(index)).to_have_attribute("aria-current", "true")
            hostile.assert_inert(page)


def test_five_megabytes_in_one_line_open_folded_and_page_on(
    page: Page, hostile_site: str, hostile_project: Hostile
) -> None:
    page.goto(f"{hostile_site}/traces/{hostile_project.trace_ids['long_line']}")
    block = page.locator("#block-output")
    assert "4,000 of 5,000,000 characters" in block.inner_text()
    assert len(page.content()) < 200_000
    block.locator("a[data-more]").click()
    expect(block.locator(".block-more")).to_contain_text("44,000 of 5,000,000")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    hostile.assert_inert(page)


def test_a_path_that_is_hostile_is_an_error_page(page: Page, hostile_site: str, watch: object) -> None:
    watch.expected.append("404")  # type: ignore[attr-defined]
    for path in (
        f"/traces/{quote(NAME, safe='')}",
        f"/datasets/{quote(NAME, safe='')}",
        "/datasets/..%2f..%2fetc%2fpasswd",
    ):
        answer = page.goto(f"{hostile_site}{path}")
        assert answer is not None
        assert answer.status == 404
        hostile.assert_inert(page)


def test_the_exported_report_is_inert(
    open_page: OpenPage, hostile_site: str, hostile_project: Hostile, tmp_path: Path
) -> None:
    page = hostile.arm(open_page())
    answer = page.request.get(f"{hostile_site}/compare/{hostile_project.verdict_id}/report.html")
    assert answer.status == 200
    file = tmp_path / "report.html"
    file.write_bytes(answer.body())
    assert b"\xe2\x80\xae" not in answer.body()
    seen: list[str] = []
    context = page.context.browser
    assert context is not None
    offline = context.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    opened = hostile.arm(offline.new_page())
    opened.on("request", lambda request: seen.append(request.url))
    opened.goto(f"file://{file}")
    for key in ("j", "j", "j", "d"):
        opened.keyboard.press(key)
    opened.wait_for_timeout(100)
    hostile.assert_inert(opened)
    assert [url for url in seen if not url.startswith(("file:", "data:", "blob:"))] == []
    offline.close()
