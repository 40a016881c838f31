from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from browsing import until

from .conftest import OpenPage, Watch
from .hostile import assert_inert

if TYPE_CHECKING:
    from playwright.sync_api import Page

HOSTILE = "<img src=https://evil.example/x onerror=alert(1)> **bold** ![x](https://evil.example/y.png) \u202e"


def asked(page: Page, column: int, model: str, text: str) -> None:
    one = page.locator(".play-column").nth(column)
    one.locator(".play-model").fill(model)
    one.locator("textarea").last.fill(text)


def ended(page: Page, answers: int) -> None:
    until(page, "n => document.querySelectorAll('.play-facts a').length === n", answers)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_two_models_answer_side_by_side_with_their_times_tokens_and_dollars(
    site: str, browser_page: Page
) -> None:
    browser_page.goto(f"{site}/playground")
    browser_page.keyboard.press("+")
    assert browser_page.locator(".play-column").count() == 2
    asked(browser_page, 0, "simulated/instant", "Say {input}")
    asked(browser_page, 1, "simulated/instant", "Repeat {input}")
    browser_page.fill("#play-text", "hello")
    browser_page.keyboard.press("Control+Enter")
    ended(browser_page, 2)
    for facts in browser_page.locator(".play-facts").all_inner_texts():
        assert "TTFT" in facts
        assert "in," in facts
    boxes = [box for each in browser_page.locator(".play-column").all() if (box := each.bounding_box())]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
    browser_page.locator(".play-facts a").first.click()
    browser_page.wait_for_url("**/traces/*")


def test_a_link_opens_the_same_columns_in_another_browser(site: str, open_page: OpenPage) -> None:
    first, second = open_page(), open_page()
    first.goto(f"{site}/playground?variant=champion")
    first.locator(".play-temperature").fill("0.7")
    first.locator("textarea").last.fill("Another prompt about {question}")
    until(first, "() => location.search.includes('Another')")
    second.goto(first.url)
    assert second.locator(".play-temperature").input_value() == "0.7"
    assert second.locator(".play-column textarea").last.input_value() == "Another prompt about {question}"


def test_a_long_state_is_kept_by_the_server_under_a_short_link(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/playground")
    browser_page.locator(".play-column textarea").last.fill("long " * 3000)
    until(browser_page, "() => location.search.startsWith('?saved=')")
    browser_page.reload()
    assert browser_page.locator(".play-column textarea").last.input_value() == "long " * 3000


def test_examples_of_a_dataset_are_answered_one_below_the_other(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/playground")
    asked(browser_page, 0, "simulated/instant", "{question}")
    browser_page.select_option("#play-dataset", index=1)
    browser_page.fill("#play-k", "3")
    browser_page.click("[data-play=run]")
    ended(browser_page, 3)
    names = browser_page.locator(".play-example").all_inner_texts()
    assert len({name.split(":")[0] for name in names}) == 3


def test_stop_ends_an_answer_that_is_being_written(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/playground")
    asked(browser_page, 0, "simulated/slow", "Tell a long story about {input}")
    browser_page.fill("#play-text", "rain")
    browser_page.click("[data-play=run]")
    browser_page.locator("h1").click()
    browser_page.keyboard.press("Escape")
    until(browser_page, "() => document.querySelector('.play-facts').textContent.includes('stopped')")
    assert browser_page.locator("[data-play=run]").is_enabled()
    assert browser_page.locator(".play-facts a").count() == 0


def test_what_goes_wrong_stands_in_its_column(site: str, browser_page: Page, watch: Watch) -> None:
    watch.expected.append("400 (Bad Request)")
    browser_page.goto(f"{site}/playground")
    asked(browser_page, 0, "opnai/gpt", "x")
    browser_page.click("[data-play=run]")
    until(
        browser_page,
        "() => document.querySelector('.play-error')?.textContent.includes(\"Did you mean 'openai'\")",
    )


def test_hostile_text_is_inert_while_it_comes_and_when_it_is_rendered(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/playground")
    asked(browser_page, 0, "simulated/instant", "{input}")
    browser_page.fill("#play-text", HOSTILE)
    browser_page.click("[data-play=run]")
    ended(browser_page, 1)
    assert_inert(browser_page)


def test_a_column_is_saved_as_a_variant_and_can_be_started_from(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/playground")
    asked(browser_page, 0, "simulated/instant", "Say {input}")
    browser_page.fill(".play-name", "shorter")
    browser_page.click(".play-save")
    until(
        browser_page,
        "() => document.getElementById('said').textContent.includes('shorter stands in ratchet.yaml')",
    )
    browser_page.goto(f"{site}/playground?variant=shorter")
    assert browser_page.locator(".play-column textarea").last.input_value() == "Say {input}"


def test_it_is_readable_on_a_phone(site: str, open_page: OpenPage) -> None:
    page = open_page(width=360)
    page.goto(f"{site}/playground?variant=champion")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
