"""The load report in a real browser, under its own security policy and without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import require
from ratchet.reports import loads

from .load_samples import sweeps, two_arms

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("load")
    loads.write(two_arms(), place / "result.html")
    loads.write(sweeps(), place / "sweep.html")
    return place


def opened(browser: Browser, path: Path, *, width: int, scheme: str) -> tuple[Page, list[str]]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "request", lambda asked: troubles.append(asked.url) if not asked.url.startswith("file:") else None
    )
    page.goto(path.as_uri())
    return page, troubles


@pytest.mark.parametrize("name", ["result.html", "sweep.html"])
@pytest.mark.parametrize("width", [1440, 360])
def test_the_page_fits_asks_for_nothing_and_has_nothing_to_complain_of(
    browser: Browser, folder: Path, name: str, width: int
) -> None:
    page, troubles = opened(browser, folder / name, width=width, scheme="light")
    assert page.locator("svg.chart").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.locator("svg.chart polyline, svg.chart .c-bin").first
    assert drawn.bounding_box() is not None
    assert [text for text in troubles if not text.startswith("data:")] == []
    page.close()


def test_dark_and_light_turn_by_button_and_key(browser: Browser, folder: Path) -> None:
    page, _ = opened(browser, folder / "result.html", width=1440, scheme="dark")

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = background()
    page.click("[data-do=theme]")
    light = background()
    assert light != dark
    page.keyboard.press("t")
    assert background() == dark
    page.close()
