"""What every page has, in a real browser: keys, palette, colours, focus, narrow windows, signing in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from browsing import until
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import access

from .conftest import OpenPage, Watch, serving
from .samples import Sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("theme", ["light", "dark"])


@pytest.fixture
def site(shared_site: str) -> str:
    """No test here changes the store."""
    return shared_site


@BOTH
def test_the_page_asks_for_nothing_elsewhere_and_says_nothing_in_the_console(
    site: str, browser_page: Page, watch: Watch
) -> None:
    browser_page.goto(site)
    for key in ("?", "Escape", "t", "t", "Control+k", "Escape", "j", "Enter", "/"):
        browser_page.keyboard.press(key)
    browser_page.goto(f"{site}/person")
    browser_page.wait_for_load_state("networkidle")
    watch.check()
    assert all(url.startswith(site) for url in watch.requests)


def test_the_policy_is_on_and_stops_what_is_injected(site: str, browser_page: Page, watch: Watch) -> None:
    watch.expected += ["Content Security Policy", "Refused to", "violates"]
    browser_page.goto(site)
    browser_page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.injected = 1";
            document.body.append(script);
            const holder = document.createElement("div");
            holder.innerHTML = '<b style="color: rgb(1, 2, 3)" onclick="window.injected = 2">x</b>'
                + '<img src="https://example.org/a.png" onerror="window.injected = 3">';
            document.body.append(holder);
            holder.querySelector("b").click();
        }"""
    )
    browser_page.wait_for_timeout(100)
    assert browser_page.evaluate("window.injected") is None
    assert browser_page.evaluate("getComputedStyle(document.querySelector('div b')).color") != "rgb(1, 2, 3)"
    assert not any("example.org" in url for url in watch.requests)


def test_home_leads_to_the_verdict_in_the_first_view(
    site: str, browser_page: Page, page_template: Sample
) -> None:
    browser_page.goto(site)
    answer = browser_page.locator("a.answer")
    box = answer.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 400
    assert page_template.verdict.outcome.capitalize() in answer.inner_text()
    assert answer.get_attribute("href") == f"/compare/{page_template.verdict_id}"


def test_the_list_of_keys_opens_and_closes_by_keyboard(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("?")
    dialog = browser_page.get_by_role("dialog", name="Keys")
    assert "Dark or light" in dialog.inner_text()
    browser_page.keyboard.press("t")  # keys rest while a dialog is open
    assert browser_page.locator("html").get_attribute("data-theme") is None
    browser_page.keyboard.press("Escape")
    assert dialog.count() == 0


def test_single_keys_can_be_turned_off_and_stay_off(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("?")
    browser_page.get_by_label("Single keys on").uncheck()
    browser_page.keyboard.press("Escape")
    for _ in range(2):
        browser_page.keyboard.press("t")
        browser_page.keyboard.press("?")
        assert browser_page.locator("html").get_attribute("data-theme") is None
        assert browser_page.locator("dialog").count() == 0
        browser_page.reload()
    browser_page.keyboard.press("Control+k")
    assert browser_page.get_by_role("combobox").count() == 1
    browser_page.keyboard.press("Escape")
    browser_page.get_by_role("button", name="Keys").click()
    browser_page.get_by_label("Single keys on").check()
    browser_page.keyboard.press("Escape")
    browser_page.keyboard.press("t")
    assert browser_page.locator("html").get_attribute("data-theme") == "dark"


def test_keys_do_nothing_while_one_types(site: str, browser_page: Page) -> None:
    browser_page.goto(f"{site}/person")
    browser_page.get_by_label("Name").fill("")
    browser_page.keyboard.type("t?/j")
    assert browser_page.get_by_label("Name").input_value() == "t?/j"
    assert browser_page.locator("dialog").count() == 0
    assert browser_page.locator("html").get_attribute("data-theme") is None


def test_the_palette_is_a_combobox_that_finds_screens_runs_and_verdicts(
    site: str, browser_page: Page, page_template: Sample
) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("Control+k")
    box = browser_page.get_by_role("combobox", name="Go to")
    assert box.evaluate("box => box === document.activeElement")
    browser_page.keyboard.type("first")
    option = browser_page.get_by_role("option", name="first")
    option.wait_for()
    while box.get_attribute("aria-activedescendant") != option.get_attribute("id"):
        browser_page.keyboard.press("ArrowDown")
    assert option.get_attribute("aria-selected") == "true"
    assert browser_page.locator("[role=option][aria-selected=true]").count() == 1
    browser_page.keyboard.press("Enter")
    browser_page.wait_for_url(f"**/runs/{page_template.run.id}")


def test_the_palette_fits_letters_in_order_and_goes_round(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("Control+k")
    browser_page.keyboard.type("dts")
    selected = browser_page.locator("[role=option][aria-selected=true]")
    assert selected.inner_text().startswith("Datasets")
    browser_page.get_by_role("combobox").fill("")
    last = browser_page.get_by_role("option").last
    browser_page.get_by_role("option", name="first").wait_for()  # what the server finds comes last
    browser_page.keyboard.press("ArrowUp")
    assert last.get_attribute("aria-selected") == "true"
    browser_page.keyboard.press("ArrowDown")
    assert selected.inner_text().startswith("Ratchet")
    browser_page.get_by_role("combobox").fill("zzzz")
    assert "Nothing of that name" in browser_page.get_by_role("listbox").inner_text()
    browser_page.keyboard.press("Enter")
    browser_page.keyboard.press("Escape")
    until(browser_page, "() => !document.querySelector('dialog')")


@BOTH
def test_the_colours_follow_the_system_until_one_chooses(
    site: str, browser_page: Page, theme: str, open_page: OpenPage
) -> None:
    def dark() -> bool:
        colour = browser_page.evaluate("getComputedStyle(document.body).backgroundColor")
        return int(re.findall(r"\d+", colour)[0]) < 60

    browser_page.goto(site)
    assert dark() == (theme == "dark")
    browser_page.get_by_role("button", name="Dark or light").click()
    assert dark() != (theme == "dark")
    browser_page.goto(f"{site}/person")
    assert dark() != (theme == "dark")
    assert all(cookie.get("httpOnly") for cookie in browser_page.context.cookies())


def test_the_chosen_colours_are_there_before_the_first_paint(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("t")
    browser_page.add_init_script(
        """new MutationObserver(() => {
            if (document.body && !("early" in window)) window.early = document.documentElement.dataset.theme;
        }).observe(document, { childList: true, subtree: true })"""
    )
    browser_page.reload()
    assert browser_page.evaluate("window.early") == "dark"


@BOTH
def test_whatever_has_the_focus_shows_it(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    seen: list[str] = []
    for _ in range(30):
        browser_page.keyboard.press("Tab")
        width, style, name = browser_page.evaluate(
            """() => {
                const at = document.activeElement;
                const { outlineWidth, outlineStyle } = getComputedStyle(at);
                return [parseFloat(outlineWidth), outlineStyle, at.textContent.trim().slice(0, 30)];
            }"""
        )
        if name.startswith("Skip to the content\n"):  # the body: the round is over
            break
        assert width >= 2, name
        assert style != "none", name
        seen.append(name)
    assert seen[0] == "Skip to the content"
    assert "Runs" in seen


def test_the_skip_link_leads_past_the_nav(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.keyboard.press("Tab")
    box = browser_page.get_by_text("Skip to the content").bounding_box()
    assert box is not None
    assert box["y"] >= 0
    browser_page.keyboard.press("Enter")
    assert browser_page.evaluate("document.activeElement.id") == "main"
    browser_page.keyboard.press("Tab")
    assert browser_page.evaluate("document.getElementById('main').contains(document.activeElement)")


@pytest.mark.parametrize("width", [360, 400, 768, 861, 1000, 1440])
@pytest.mark.parametrize("path", ["/", "/person", "/nope", "/login"])
def test_nothing_is_wider_than_the_window(
    site: str, open_page: OpenPage, watch: Watch, width: int, path: str
) -> None:
    watch.expected.append("404 (Not Found)")
    page = open_page(width=width)
    page.goto(f"{site}{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_in_a_narrow_window_the_nav_is_a_bar_with_names_for_screen_readers(
    site: str, open_page: OpenPage
) -> None:
    page = open_page(width=360)
    page.goto(site)
    nav = page.get_by_role("navigation", name="Screens")
    box = nav.bounding_box()
    assert box is not None
    assert box["height"] < 60
    for name in ("Runs", "Compare", "Traces", "Label", "Judge", "Datasets"):
        link = nav.get_by_role("link", name=name)
        target = link.bounding_box()
        assert target is not None
        assert min(target["width"], target["height"]) >= 24
        assert target["x"] + target["width"] <= 360


def test_reduced_motion_stops_all_motion(site: str, open_page: OpenPage) -> None:
    page = open_page(reduced_motion="reduce")
    page.goto(site)
    moving = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration !== '0s').length"
    assert page.evaluate(moving) == 0


def test_on_paper_there_is_no_nav(site: str, browser_page: Page) -> None:
    browser_page.goto(site)
    browser_page.emulate_media(media="print")
    assert not browser_page.get_by_role("navigation").is_visible()
    assert browser_page.locator(".word").is_visible()


def test_without_scripts_the_page_reads_and_leads_on(
    site: str, open_page: OpenPage, page_template: Sample
) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(site)
    assert not page.get_by_role("button", name="Dark or light").is_visible()
    page.get_by_role("link", name="first").click()
    assert page.url.endswith(f"/runs/{page_template.run.id}")


def test_one_says_who_one_is_and_the_next_person_too(site: str, open_page: OpenPage) -> None:
    first, second = open_page(), open_page()
    first.goto(site)
    first.get_by_role("link", name="ann").click()
    first.get_by_label("Name").fill("Zoë")
    first.keyboard.press("Enter")
    first.wait_for_url(f"{site}/")
    assert first.get_by_role("link", name="Zoë").count() == 1
    second.goto(site)
    assert second.get_by_role("link", name="ann").count() == 1


def test_a_token_lets_one_in_and_out_again(page_store: Sample, browser_page: Page, watch: Watch) -> None:
    watch.expected.append("401 (Unauthorized)")
    with SQLiteStore(page_store.store) as store:
        token = access.add_token(store, "ann", "label")
    with serving(page_store.root, "--allow-host", "ratchet.example") as site:
        browser_page.goto(f"{site.url}/runs")
        assert "/login?next=%2Fruns" in browser_page.url
        browser_page.get_by_label("Token").fill("rtk_wrong")
        browser_page.keyboard.press("Enter")
        assert "not known" in browser_page.get_by_role("alert").first.inner_text()
        assert browser_page.locator("#token").input_value() == ""
        browser_page.get_by_label("Token").fill(token)
        browser_page.keyboard.press("Enter")
        browser_page.wait_for_url(f"{site.url}/runs")
        browser_page.get_by_role("link", name="ann").click()
        assert "look at everything and label" in browser_page.locator("main").inner_text()
        browser_page.get_by_role("button", name="Sign out").click()
        browser_page.goto(f"{site.url}/runs")
        assert "/login" in browser_page.url


def test_a_form_of_another_site_changes_nothing(site: str, open_page: OpenPage, watch: Watch) -> None:
    """A page of another origin posts here, as a web site would; only the address bar's own pages may."""
    watch.expected.append("403 (Forbidden)")
    page = open_page()
    page.goto(site)
    page.route("http://other.localhost/**", lambda route: route.fulfill(
        content_type="text/html",
        body=f'<form method="post" action="{site}/person"><input name="name" value="eve"></form>'))  # fmt: skip
    page.goto("http://other.localhost/")
    page.evaluate("document.forms[0].submit()")
    page.wait_for_url(f"{site}/person")
    assert "another site" in page.locator("main").inner_text()
    page.goto(site)
    assert page.get_by_role("link", name="ann").count() == 1
    watch.requests[:] = [url for url in watch.requests if "other.localhost" not in url]


def test_a_name_that_leads_here_by_a_trick_of_its_name_server_is_refused(
    site: str, open_page: OpenPage, watch: Watch
) -> None:
    """Every name below localhost resolves to this machine, as a rebound name would; it is not one of ours."""
    watch.expected.append("403 (Forbidden)")
    page = open_page()
    answer = page.goto(site.replace("127.0.0.1", "rebound.localhost"))
    assert answer is not None
    assert answer.status == 403
    assert "not known as rebound.localhost" in page.locator("body").inner_text()
    watch.requests.clear()
