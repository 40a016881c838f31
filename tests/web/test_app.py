"""The application as a whole: pages, fragments, errors, stores of every state."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ratchet.web import assets, pages
from ratchet.web.app import create_app
from ratchet.web.screens import SCREENS, routes_of
from ratchet.web.settings import Settings

from .conftest import ORIGIN
from .samples import Sample

OLD_STORES = Path(__file__).parents[1] / "data" / "stores"


def test_home_answers_first_which_arm_is_better(client: TestClient, page_store: Sample) -> None:
    text = client.get("/").text
    assert f'href="/compare/{page_store.verdict_id}"' in text
    word = page_store.verdict.outcome.capitalize()
    assert word in text
    assert text.index(word) < text.index("Newest runs")
    assert f'href="/runs/{page_store.run.id}"' in text


def test_a_fragment_is_the_middle_of_the_page_alone(client: TestClient) -> None:
    page, part = client.get("/"), client.get("/", headers={"X-Fragment": "1"})
    assert part.text.strip() in page.text
    assert "<html" not in part.text
    assert "<nav" not in part.text
    assert "X-Fragment" in part.headers["vary"]


@pytest.mark.parametrize("path", ["/nope", "/runs/nope", "/compare/nope", "/traces/nope", "/datasets/nope", "/label/nope", "/runs/nope/rows", "/%00", "/runs/%2e%2e%2f%2e%2e%2fetc%2fpasswd"])  # fmt: skip
def test_what_is_not_there_is_404_with_a_next_step(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert 'class="blank"' in answer.text
    assert "Traceback" not in answer.text


def test_a_method_that_does_not_fit_is_refused_in_words(client: TestClient) -> None:
    answer = client.put("/person")
    assert answer.status_code == 405
    assert "used that way" in answer.text


def test_static_files_are_kept_for_ever_under_their_version(client: TestClient) -> None:
    address = assets.address("web.css")
    assert address in client.get("/").text
    answer = client.get(address)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    plain = client.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == answer.text
    assert client.get("/static/old/web.css").headers["cache-control"] == "no-cache"


def test_a_page_asks_for_all_modules_of_its_scripts_at_once(client: TestClient) -> None:
    """One after the other they would take a round trip each."""
    html = client.get("/playground").text
    named = re.findall(r'(?:rel="modulepreload" href|<script type="module" src)="/static/\w+/([\w.]+)"', html)
    assert {
        "app.js",
        "table.js",
        "geometry.js",
        "playground.js",
        "playing.js",
        "playground_columns.js",
    } <= set(named)
    assert len(named) == len(set(named))
    needed = {
        one for name in named for one in re.findall(r'"\./([\w.]+)";', assets.assets()[name].body.decode())
    }
    assert needed <= set(named)


def test_every_file_that_a_page_names_is_there(client: TestClient) -> None:
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text):
        assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/static/x/..%2f..%2f__init__.py", "/static/x/../app.py", "/static/x/%2e%2e/app.py", "/static//etc/passwd",
     "/static/x/jsconfig.json", "/static/x/app.py", "/static/", "/static/x/", "/templates/base.html", "/static/x/base.html"],
)  # fmt: skip
def test_nothing_but_the_static_files_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_without_a_store_the_page_says_what_to_type_and_makes_none(
    settings: Settings, tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "ratchet.db"
    with TestClient(create_app(replace(settings, store=missing)), base_url=ORIGIN) as client:
        for path in ("/", "/runs", "/traces", "/datasets"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "ratchet run" in answer.text
            assert "ratchet demo" in answer.text
        assert client.get("/palette").json() == []
    assert not missing.parent.exists()


def test_a_store_that_comes_later_is_found_without_a_restart(
    settings: Settings, page_store: Sample, tmp_path: Path
) -> None:
    later = tmp_path / "later.db"
    with TestClient(create_app(replace(settings, store=later)), base_url=ORIGIN) as client:
        assert client.get("/").status_code == 404
        shutil.copy(page_store.store, later)
        assert client.get("/").status_code == 200


def test_a_store_of_an_older_version_is_brought_forward(settings: Settings, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    shutil.copy(OLD_STORES / "v1.db", old)
    with TestClient(create_app(replace(settings, store=old)), base_url=ORIGIN) as client:
        assert "first" in client.get("/").text


@pytest.mark.parametrize("content", [b"not a store", b"SQLite format 3\x00" + b"\0" * 100])
def test_a_file_that_is_no_store_is_named_and_left_alone(
    settings: Settings, tmp_path: Path, content: bytes
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(content)
    with TestClient(create_app(replace(settings, store=other)), base_url=ORIGIN) as client:
        answer = client.get("/")
    assert answer.status_code == 503
    assert "other.db" in answer.text
    assert other.read_bytes() == content


def test_a_store_of_a_newer_version_is_named_and_left_alone(settings: Settings, page_store: Sample) -> None:
    with closing(sqlite3.connect(page_store.store)) as db:
        db.execute("PRAGMA user_version = 99")
    with TestClient(create_app(settings), base_url=ORIGIN) as client:
        answer = client.get("/")
    assert answer.status_code == 503
    assert "newer" in answer.text


def test_a_store_without_runs_says_what_to_type(settings: Settings, tmp_path: Path) -> None:
    from ratchet.stores.sqlite import SQLiteStore

    empty = tmp_path / "empty.db"
    SQLiteStore(empty).close()
    with TestClient(create_app(replace(settings, store=empty)), base_url=ORIGIN) as client:
        text = client.get("/").text
    assert "holds no run yet" in text
    assert "ratchet run" in text


def test_the_palette_finds_runs_verdicts_and_datasets_by_name(client: TestClient, page_store: Sample) -> None:
    found = client.get("/palette").json()
    hrefs = [one["href"] for one in found]
    assert f"/runs/{page_store.run.id}" in hrefs
    assert f"/compare/{page_store.verdict_id}" in hrefs
    assert f"/datasets/{page_store.run.task.dataset.id}" in hrefs
    assert client.get("/palette", params={"q": "no such thing"}).json() == []
    only = client.get("/palette", params={"q": f"challenger {page_store.verdict.outcome}"}).json()
    assert [one["href"] for one in only] == [f"/compare/{page_store.verdict_id}"]


def test_every_page_has_its_landmarks_and_a_title(client: TestClient) -> None:
    for path in ("/", "/person", "/nope"):
        text = client.get(path).text
        for part in ('<html lang="en">', '<nav class="nav" aria-label="Screens">', '<main id="main"', 'href="#main"', 'name="viewport"'):  # fmt: skip
            assert part in text
        assert text.count("<h1") == 1
        assert re.search(r"<title>[^<]+</title>", text)
        assert not re.search(r"<[^>]+ style=", text)
        assert not re.search(r"<[^>]+ on\w+=", text)
        assert not re.search(r"<script(?![^>]* src=)", text)


@pytest.mark.parametrize("part", SCREENS)
def test_every_route_stands_below_the_part_that_its_screen_is_found_by(part: str) -> None:
    routes = routes_of(part)
    assert routes
    assert {
        route.path.split("/")[1]
        for route in routes
        if part not in ("static", "favicon.ico", "login", "logout", "person")
    } <= {part}


def test_every_link_of_the_nav_leads_to_a_page(client: TestClient) -> None:
    nav = client.get("/").text.split("<nav")[1].split("</nav>")[0]
    links = re.findall(r'href="([^"]+)"', nav)
    assert {"/", "/runs", "/compare", "/person"} <= set(links)
    for link in links:
        answer = client.get(link)
        assert answer.status_code == 200, link
        assert 'aria-current="page"' in answer.text or link == "/person"


def test_templates_compile() -> None:
    for name in pages.environment().list_templates():
        pages.environment().get_template(name)
