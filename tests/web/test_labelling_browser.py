"""Labelling as people do it: by keys in a real browser, while the server dies, beside others, and back again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from browsing import Cut, until
from labels.desk import a_desk
from ratchet.labels import queues, rubrics
from ratchet.labels.queues import Recipe
from ratchet.records import Score
from ratchet.stores.sqlite import SQLiteStore

from . import hostile
from .conftest import OpenPage, Watch, _wait_for, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
expect.set_options(timeout=20_000)
"""A busy machine is slow and not wrong."""


@dataclass
class Desk:
    """A project with a run to label, and a server on it that can be killed and started again on its port."""

    root: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def path(self) -> Path:
        return self.root / ".ratchet" / "ratchet.db"

    def store(self) -> SQLiteStore:
        return SQLiteStore(self.path)

    def queue(self, recipe: Recipe, rubric: rubrics.Rubric | None = None) -> str:
        with self.store() as store:
            run = store.run("run")
            assert run is not None
            return queues.build(run, store, recipe, by="ann", rubric=rubric).id

    def start(self) -> None:
        words = ["-m", "ratchet", "view", "--no-browser", "--port", str(self.port), "--as", "ann"]
        self.process = subprocess.Popen(
            [sys.executable, *words], cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={**os.environ},
        )  # fmt: skip
        _wait_for(self.url, self.process)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def labels(self) -> dict[str, Any]:
        """What people said, by trace; a label by two people is a list."""
        with self.store() as store:
            return {s.trace_id: s.value for s in store.scores() if s.source == "human"}

    def people(self) -> dict[str, list[str]]:
        with self.store() as store:
            found: dict[str, list[str]] = {}
            for score in store.scores():
                if score.source == "human" and score.value is not None:
                    found.setdefault(score.trace_id, []).append(score.by)
            return found


@contextmanager
def a_served_desk(root: Path, count: int) -> Generator[Desk]:
    root.mkdir(exist_ok=True)
    desk = Desk(root=root)
    desk.path.parent.mkdir()
    with desk.store() as store:
        a_desk(store, root, count=count)
    try:
        desk.start()
        yield desk
    finally:
        desk.kill(signal.SIGTERM)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with a_served_desk(tmp_path / "desk", 30) as found:
        yield found


def shown(page: Page) -> str:
    """The answer on the card; waits until there is one."""
    expect(page.locator("#label-card")).to_be_visible()
    return page.locator("#label-card .side").first.inner_text().strip()


def settled(page: Page, done: int) -> None:
    expect(page.locator("#label-done")).to_have_text(str(done))


def good(answer: str) -> bool:
    """The truth that the scripted person goes by: odd numbers are good."""
    return int(answer.split()[2]) % 2 == 1


def test_two_hundred_labels_by_keyboard_and_none_lost_when_the_server_is_killed_in_the_middle(
    tmp_path: Path, open_page: OpenPage, watch: Watch
) -> None:
    watch.expected += ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE"]
    with a_served_desk(tmp_path / "desk", 100) as desk:
        queue = desk.queue(Recipe(n=100, score="quality"))
        page = open_page()
        page.set_default_timeout(30_000)
        page.goto(f"{desk.url}/label/{queue}")
        said: dict[str, bool] = {}

        def label_one() -> None:
            answer = shown(page)
            said[answer] = good(answer)
            page.keyboard.press("g" if good(answer) else "b")
            until(
                page,
                "before => document.getElementById('label-card').hidden || document.querySelector('#label-card .side').innerText.trim() !== before",
                answer,
            )

        for _ in range(100):
            label_one()
        desk.kill()
        # what is here already can be labelled without a server
        while page.locator("#label-card").is_visible():
            label_one()
        assert len(said) >= 101
        expect(page.locator("#label-strip")).to_contain_text("not kept yet")
        desk.start()
        while len(said) < 200:
            label_one()
        expect(page.locator("#label-empty")).to_contain_text("Everything is labelled")
        settled(page, 200)
        with desk.store() as store:
            kept = {}
            for score in store.scores(name="quality"):
                if score.source == "human":
                    trace = store.trace(score.trace_id)
                    assert trace is not None
                    kept[str(trace.output)] = score.value
                    assert score.by == "ann"
                    assert 0 <= score.metadata["seconds"] < 60
            history = [s for s in store.scores(name="quality", history=True) if s.source == "human"]
    assert kept == said
    assert len(history) == 200, "none was written twice"


def test_two_people_at_once_never_get_the_same_item(desk: Desk, open_page: OpenPage) -> None:
    queue = desk.queue(Recipe(n=30, score="quality"))
    pages = {name: open_page() for name in ("ada", "ben")}
    for name, page in pages.items():
        page.goto(f"{desk.url}/person")
        page.fill("input[name=name]", name)
        page.keyboard.press("Enter")
        page.wait_for_load_state("networkidle")
        page.goto(f"{desk.url}/label/{queue}")
    seen: dict[str, list[str]] = {name: [] for name in pages}
    while any(page.locator("#label-card").is_visible() for page in pages.values()):
        for name, page in pages.items():
            if page.locator("#label-card").is_visible():
                answer = shown(page)
                seen[name].append(answer)
                page.keyboard.press("g")
                until(
                    page,
                    "before => document.getElementById('label-card').hidden || document.querySelector('#label-card .side').innerText.trim() !== before",
                    answer,
                )
    for page in pages.values():
        settled(page, 60)
    assert set(seen["ada"]) & set(seen["ben"]) == set()
    assert len(seen["ada"]) + len(seen["ben"]) == 60
    assert min(map(len, seen.values())) > 10
    assert all(len(by) == 1 for by in desk.people().values())
    assert len(desk.people()) == 60


def test_many_workers_and_people_share_one_queue_without_meeting(desk: Desk) -> None:
    """The same over HTTP at once: what a browser sends, from six people, against two processes on one store."""
    import httpx

    queue = desk.queue(Recipe(n=30, score="quality"))
    second = Desk(root=desk.root)
    second.start()
    got: list[tuple[str, str]] = []
    try:

        def work(name: str, base: str) -> None:
            with httpx.Client(base_url=base, headers={"Accept": "application/json"}) as client:
                client.headers["X-CSRF-Token"] = (
                    client.get("/person").text.split('<meta name="csrf" content="')[1].split('"')[0]
                )
                client.post("/person", data={"name": name})
                while items := client.get(f"/label/{queue}/next?most=3&have=").json()["items"]:
                    for item in items:
                        body = {**item, "html": "", "value": True, "token": f"{name}{item['position']}"}
                        assert client.post(f"/label/{queue}/label", json=body).status_code == 200
                        got.append((name, item["position"]))

        threads = [threading.Thread(target=work, args=(f"p{n}", (desk, second)[n % 2].url)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        second.kill(signal.SIGTERM)
    assert sorted(position for _, position in got) == list(range(60))
    assert all(len(by) == 1 for by in desk.people().values())


@pytest.mark.parametrize("reload", [False, True], ids=["page_open", "page_loaded_again"])
def test_undo_works_across_a_restart_of_the_server(
    desk: Desk, open_page: OpenPage, watch: Watch, reload: bool
) -> None:
    watch.expected += ["ERR_CONNECTION"]
    queue = desk.queue(Recipe(n=30, score="quality"))
    page = open_page()
    page.goto(f"{desk.url}/label/{queue}")
    answers: list[str] = []
    for number in range(5):
        answers.append(shown(page))
        page.keyboard.press("g")
        settled(page, number + 1)
    desk.kill()
    desk.start()
    if reload:
        page.reload()
    fourth = shown(page)
    for answer in reversed(answers[2:]):
        page.keyboard.press("u")
        expect(page.locator("#label-card .side").first).to_have_text(answer)
    settled(page, 2)
    expect(page.locator("#label-strip")).to_contain_text("Taken back: Good")
    for answer in answers[2:]:
        assert shown(page) == answer
        page.keyboard.press("b")
    assert shown(page) == fourth, "the queue goes on where it was"
    settled(page, 5)
    assert sorted(desk.labels().values()) == [False, False, False, True, True]


def test_a_reload_while_the_server_is_away_loses_nothing(
    desk: Desk, open_page: OpenPage, watch: Watch
) -> None:
    watch.expected += ["ERR_CONNECTION"]
    queue = desk.queue(Recipe(n=30, score="quality"))
    page = open_page()
    cut = Cut(page, f"**/label/{queue}/label")
    page.goto(f"{desk.url}/label/{queue}")
    first = shown(page)
    cut.on = True
    page.keyboard.press("g")
    expect(page.locator("#label-strip")).to_contain_text("1 not kept yet")
    page.once("dialog", lambda dialog: dialog.accept())
    cut.on = False
    page.reload()
    settled(page, 1)
    assert shown(page) != first
    assert list(desk.labels().values()) == [True]


def test_the_judge_s_answer_is_hidden_until_one_has_committed_then_a_key_disagrees(
    desk: Desk, open_page: OpenPage
) -> None:
    queue = desk.queue(Recipe(n=30, score="quality"))
    page = open_page()
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.text()) if "/label/" in answer.url and answer.request.method != "POST" else None)  # fmt: skip
    page.goto(f"{desk.url}/label/{queue}")
    shown(page)
    page.wait_for_load_state("networkidle")
    assert "so it seems" not in page.content()
    page.keyboard.press("g")
    expect(page.locator("#label-strip")).to_contain_text("quality says")
    expect(page.locator("#label-strip")).to_contain_text("so it seems")
    assert all("so it seems" not in text for text in asked), "nothing that came before the label told it"
    page.keyboard.press("x")
    expect(page.get_by_role("button", name="Disagree")).to_have_attribute("aria-pressed", "true")
    until(page, "sessionStorage.length === 0 || Object.values(sessionStorage).every(v => v === '[]')")
    with desk.store() as store:
        (flag,) = [e for e in store.label_events(queue) if e.kind == "disagree"]
    assert (flag.person, flag.position) == ("ann", 0)


def test_digits_toggle_labels_and_enter_keeps_them_with_a_note(desk: Desk, open_page: OpenPage) -> None:
    rubric = rubrics.of_labels("smells", ["DRY", "SRP", "KISS"], many=True)
    queue = desk.queue(Recipe(n=30, score="smells"), rubric)
    page = open_page()
    page.goto(f"{desk.url}/label/{queue}")
    first = shown(page)
    for key in "132":
        page.keyboard.press(key)
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="KISS")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="SRP")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("n")
    page.keyboard.type("gs 12 u")
    page.keyboard.press("Enter")
    assert shown(page) == first, "while one types, keys are letters"
    page.keyboard.press("Enter")
    settled(page, 1)
    assert shown(page) != first
    expect(page.locator("button[data-choice][aria-pressed=true]")).to_have_count(0)
    with desk.store() as store:
        (score,) = [s for s in store.scores(name="smells") if s.source == "human"]
    assert (score.value, score.reason) == (frozenset({"DRY", "KISS"}), "gs 12 u")
    page.keyboard.press("u")
    expect(page.get_by_role("button", name="KISS")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#label-note-text")).to_have_value("gs 12 u")


def test_a_number_is_typed_and_a_scale_has_its_digits(desk: Desk, open_page: OpenPage) -> None:
    long = desk.queue(Recipe(n=30, score="percent"), rubrics.of_scale("percent", 0, 100))
    page = open_page()
    page.goto(f"{desk.url}/label/{long}")
    shown(page)
    page.keyboard.type("101")
    page.keyboard.press("Enter")
    expect(page.locator("#label-done")).to_have_text("0")
    page.locator("#label-number").fill("62.5")
    page.keyboard.press("Enter")
    settled(page, 1)
    short = desk.queue(Recipe(n=30, score="grade5"), rubrics.of_scale("grade5", 1, 5))
    page.goto(f"{desk.url}/label/{short}")
    shown(page)
    page.keyboard.press("4")
    settled(page, 1)
    with desk.store() as store:
        said = {s.name: s.value for s in store.scores() if s.source == "human"}
    assert said == {"grade5": 4.0, "percent": 62.5}


def test_blind_pairs_tell_nothing_of_the_arms(desk: Desk, open_page: OpenPage) -> None:
    with desk.store() as store:
        for trace in list(store.traces("run")):
            store.write(
                [trace.replace(output=str(trace.output).partition(" by ")[0] + f" or {len(trace.arm or '')}")]
            )
    queue = desk.queue(Recipe(order="pairs", score="preference", n=30))
    page = open_page()
    page.goto(f"{desk.url}/label/{queue}")
    shown(page)
    page.wait_for_load_state("networkidle")
    assert "champion" not in page.content()
    assert "challenger" not in page.content()
    lefts: list[str] = []
    for number, key in enumerate(["1", "ArrowRight", "t", "1", "2", "ArrowLeft"]):
        lefts.append(shown(page))
        page.keyboard.press(key)
        settled(page, number + 1)
    with desk.store() as store:
        said = {s.trace_id: s for s in store.scores(name="preference")}
        items = [item for item in store.label_items(queue) if item.state == "done"]
    values = [said[item.trace_id].value for item in items]
    won = [item.details["left"] == "candidate" for item in items]
    expected = [float(won[0]), float(not won[1]), 0.5, float(won[3]), float(not won[4]), float(won[5])]
    assert values == expected
    assert all(said[item.trace_id].against == item.against for item in items)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1000, 360])
def test_the_screen_fits_and_its_controls_are_large_enough_to_touch(
    desk: Desk, open_page: OpenPage, theme: str, width: int
) -> None:
    queue = desk.queue(Recipe(order="worst", metric="grade", score="quality", n=10, blind=False))
    page = open_page(width=width, height=800, theme=theme)
    for path in (f"/label/{queue}", "/label?order=worst", "/judge"):
        page.goto(desk.url + path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{desk.url}/label/{queue}")
    shown(page)
    keys = page.locator(".label-keys button:visible")
    assert keys.count() == 7
    for box in [keys.nth(n).bounding_box() for n in range(keys.count())]:
        assert box is not None
        assert box["height"] >= 38
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= 800, "the keys are in view without scrolling"
    left, right = (page.locator(".label-sides .side").nth(n).bounding_box() for n in range(2))
    assert left is not None
    assert right is not None
    assert (left["y"] == right["y"]) == (width > 860), "side by side where there is room"
    page.get_by_role("button", name="Good").click()
    settled(page, 1)


def test_every_key_is_in_the_overlay_and_single_keys_can_be_turned_off(
    desk: Desk, open_page: OpenPage
) -> None:
    queue = desk.queue(Recipe(order="worst", metric="grade", score="quality", n=10))
    page = open_page()
    page.goto(f"{desk.url}/label/{queue}")
    shown(page)
    page.keyboard.press("?")
    overlay = page.locator("#keys-help")
    for label in (
        "Good",
        "Bad",
        "Skip",
        "Undo",
        "Write a note",
        "difference",
        "Rubric",
        "unclear",
        "judge was wrong",
        "Open the last",
    ):
        expect(overlay).to_contain_text(label)
    page.keyboard.press("g")
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.get_by_role("button", name="Good").focus()
    page.keyboard.press("Enter")
    settled(page, 1)
    assert len(desk.labels()) == 1, "neither under the overlay nor with single keys off did g label"


def test_what_is_shown_stands_in_the_address(desk: Desk, open_page: OpenPage) -> None:
    queue = desk.queue(Recipe(order="worst", metric="grade", score="quality", n=10))
    page = open_page()
    page.goto(f"{desk.url}/label/{queue}")
    shown(page)
    page.keyboard.press("d")
    page.keyboard.press("r")
    assert "diff=0" in page.url
    assert "rubric=0" in page.url
    assert "item=1" in page.url
    other = open_page()
    other.goto(page.url)
    shown(other)
    expect(other.locator("#label-rubric")).to_be_hidden()
    expect(other.get_by_role("button", name="Diff")).to_have_attribute("aria-pressed", "false")


def test_a_queue_is_made_skipped_through_and_its_rubric_edited_by_hand(
    desk: Desk, open_page: OpenPage
) -> None:
    page = open_page()
    page.goto(f"{desk.url}/label")
    expect(page.locator("main")).to_contain_text("ratchet label new")
    page.select_option("#order", "worst")
    page.fill("input[name=metric]", "grade")
    page.fill("input[name=n]", "2")
    page.fill("input[name=score]", "quality")
    page.get_by_role("button", name="Make the queue").click()
    first = shown(page)
    page.keyboard.press("s")
    assert shown(page) != first
    page.keyboard.press("s")
    expect(page.locator("#label-empty")).to_contain_text("Nothing is left for you")
    page.keyboard.press("u")
    shown(page)
    page.get_by_text("Edit", exact=True).click()
    page.fill("#rubric-text", "Good is what a customer can act on.")
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.locator("#label-rubric")).to_contain_text("version 2")
    expect(page.locator("#label-rubric")).to_contain_text("what a customer can act on")


def test_labels_go_out_and_come_in_on_the_page(
    desk: Desk, open_page: OpenPage, tmp_path: Path, watch: Watch
) -> None:
    watch.expected.append("400")
    with desk.store() as store:
        trace = next(store.rows("run")).id
        store.write([Score(trace_id=trace, name="quality", value=True, source="human", by="ben")])
    page = open_page()
    page.goto(f"{desk.url}/label")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").last.click()
    path = tmp_path / "labels.csv"
    download.value.save_as(path)
    text = path.read_text()
    path.write_text(text.replace(",true,", ",false,"))
    page.set_input_files("input[type=file]", path)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#import-said")).to_contain_text("1 label is kept")
    assert desk.labels() == {trace: False}
    path.write_text(text.replace(",true,", ",perhaps,"))
    page.set_input_files("input[type=file]", path)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#import-said")).to_contain_text("abels.csv:2, column 'value': 'perhaps'")


def test_hostile_answers_stay_inert_on_the_card_the_strip_and_the_judge_s_page(
    tmp_path: Path, open_page: OpenPage
) -> None:
    found = hostile.build(tmp_path / "project")
    desk = Desk(root=found.root)
    with desk.store() as store:
        run = store.run(found.run.id)
        assert run is not None
        judge = f"judge {hostile.NAME}"
        single = queues.build(
            run,
            store,
            Recipe(n=500, score=judge, name=hostile.NAME),
            rubric=rubrics.passing(judge, hostile.NAME),
        )
        pairs = queues.build(run, store, Recipe(order="pairs", score="preference", n=500))
        store.write(
            [
                Score(trace_id=t, name=judge, value=1.0, source="human", by=hostile.NAME, reason=hostile.NAME)
                for t in found.trace_ids.values()
            ]
        )
        count = store.label_progress(single.id, now=0.0).total
    desk.start()
    try:
        page = hostile.arm(open_page())
        page.goto(f"{desk.url}/label")
        hostile.assert_inert(page)
        page.goto(f"{desk.url}/label/{single.id}")
        for number in range(count):
            expect(page.locator("#label-card")).to_be_visible()
            if number % 8 == 0:
                hostile.assert_inert(page)
            page.keyboard.press("g")
            settled(page, number + 1)
        page.goto(f"{desk.url}/label/{pairs.id}")
        for number in range(0, 40):
            page.keyboard.press("1")
            settled(page, number + 1)
        hostile.assert_inert(page)
        page.goto(f"{desk.url}/judge")
        hostile.assert_inert(page)
    finally:
        desk.kill(signal.SIGTERM)
