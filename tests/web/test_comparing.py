"""The compare screen's pages and fragments."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ratchet.stores.sqlite import SQLiteStore
from ratchet.verdicts import keeping
from ratchet.verdicts.keeping import Kept
from ratchet.web import columns

from .samples import COUNT, Sample

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def kept(page_store: Sample) -> Kept:
    with SQLiteStore(page_store.store, read_only=True) as store:
        (found,) = keeping.kept(store)
        return found


@pytest.fixture
def base(kept: Kept) -> str:
    return f"/compare/{kept.id}"


def text_of(html: str) -> str:
    """What a reader sees, near enough."""
    return " ".join(
        re.sub(r"<[^>]+>", " ", re.sub(r"<(svg|script)\b.*?</\1>", " ", html, flags=re.DOTALL)).split()
    )


def ids(html: str) -> list[str]:
    return re.findall(r'<td class="id"><a [^>]*>([^<]*)<', html)


def test_the_list_names_arms_answer_and_examples(client: TestClient, kept: Kept) -> None:
    page = client.get("/compare")
    shown = text_of(page.text)
    assert f'href="/compare/{kept.id}"' in page.text
    for part in ("challenger", "champion", str(COUNT), "may replace"):
        assert part in shown


def test_without_a_verdict_the_page_says_what_to_type(client: TestClient, page_store: Sample) -> None:
    with SQLiteStore(page_store.store) as store:
        for name, target in store.refs("verdicts/").items():
            store.move_ref(name, None, expected=target)
    assert "ratchet compare" in text_of(client.get("/compare").text)


def test_the_answer_its_surety_and_what_regressions_share_come_before_the_rows(
    client: TestClient, base: str
) -> None:
    shown = text_of(client.get(base).text)
    parts = [
        "Inconclusive",
        "challenger may replace champion",
        "How sure:",
        "What the worst have in common",
        "ticket-",
        "What one answer cost",
    ]
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)


def test_an_unknown_verdict_is_a_page_that_says_so(client: TestClient) -> None:
    for path in ("", "/rows", "/rows/1", "/report.html", "/export"):
        answer = client.get(f"/compare/{'0' * 32}{path}")
        assert answer.status_code == 404
        assert "no verdict" in answer.text


def test_rows_come_worst_first_and_in_pages(client: TestClient, base: str) -> None:
    first, second = (client.get(f"{base}/rows?limit=10&offset={offset}") for offset in (0, 10))
    assert first.headers["X-Total"] == str(COUNT)
    assert len(ids(first.text)) == len(ids(second.text)) == 10
    assert not set(ids(first.text)) & set(ids(second.text))
    assert client.get(f"{base}/rows?offset=9999").text == ""


def test_filters_sorts_and_words_choose_rows(client: TestClient, base: str) -> None:
    def total(query: str) -> int:
        return int(client.get(f"{base}/rows?{query}").headers["X-Total"])

    assert 0 < total("show=worse") < COUNT
    assert total("show=worse") + total("show=better") < COUNT
    assert total("slice=topic:billing") == COUNT // 3
    assert total("slice=topic:nothing") == 0
    assert total("text=ticket-007") == 1
    assert total("text=account+workspace") == COUNT // 3
    assert ids(client.get(f"{base}/rows?sort=id&limit=2").text) == ["ticket-000", "ticket-001"]
    assert ids(client.get(f"{base}/rows?sort=-id&limit=1").text) == [f"ticket-{COUNT - 1:03d}"]


@pytest.mark.parametrize(
    "query",
    [
        "show=nothing",
        "sort=drop",
        "offset=-1&limit=x",
        "row=99999999999",
        "slice=%00",
        "text=%F0%9F%92%A9%00",
    ],
)
def test_a_query_that_makes_no_sense_breaks_nothing(client: TestClient, base: str, query: str) -> None:
    assert client.get(f"{base}/rows?{query}").status_code == 200
    assert client.get(f"{base}?{query}").status_code == 200


def test_a_row_opens_with_both_answers_cost_time_steps_and_links_to_traces(
    client: TestClient, base: str
) -> None:
    worst = re.search(r'data-row="(\d+)"', client.get(f"{base}/rows?limit=1").text)
    assert worst is not None
    page = client.get(f"{base}/rows/{worst[1]}").text
    shown = text_of(page)
    for part in (
        "What one answer cost, and where its time went",
        "tokens in",
        "to the first token",
        "Expected",
        "Input",
        "Steps of the first answers",
    ):
        assert part in shown
    assert "<del>" in page
    assert "<ins>" in page
    assert len(re.findall(r'href="/traces/[0-9a-f]{32}"', page)) == 4  # two arms, two repeats
    assert client.get(f"{base}/rows/{COUNT}").status_code == 404


def test_a_row_says_where_it_stands_in_a_view(client: TestClient, base: str) -> None:
    found = re.findall(r'data-row="(\d+)"', client.get(f"{base}/rows?sort=-id&limit=5").text)
    assert client.get(f"{base}/rows/{found[3]}/place?sort=-id").json() == {"place": 3}
    assert client.get(f"{base}/rows/{found[3]}/place?text=no-such-word").json() == {"place": None}


def test_the_address_holds_the_view_also_without_scripts(client: TestClient, base: str) -> None:
    page = client.get(f"{base}?show=worse&sort=-id&row=5").text
    assert ids(page) == sorted(ids(page), reverse=True)
    assert "<h2>ticket-005</h2>" in page


def test_a_label_shows_on_its_row_and_takes_it_from_the_unlabelled(client: TestClient, base: str) -> None:
    row = re.search(r'data-row="(\d+)"', client.get(f"{base}/rows?limit=1").text)
    assert row is not None
    trace = re.search(
        r'data-trace="([0-9a-f]{32})" data-name="(\w+)"', client.get(f"{base}/rows/{row[1]}").text
    )
    assert trace is not None
    answer = client.post("/label/quick", json={"trace_id": trace[1], "name": trace[2], "value": False})
    assert answer.status_code == 200, answer.text
    assert int(client.get(f"{base}/rows?show=unlabelled").headers["X-Total"]) == COUNT - 1
    detail = client.get(f"{base}/rows/{row[1]}").text
    assert re.search(r'data-do="bad" aria-pressed="true"', detail)
    assert "person ann says fail" in text_of(detail)
    assert "bad" in client.get(f"{base}/rows?limit=1").text


def test_exports_hold_every_row_of_the_view(client: TestClient, base: str) -> None:
    lines = client.get(f"{base}/export?format=jsonl&show=worse").text.splitlines()
    total = int(client.get(f"{base}/rows?show=worse").headers["X-Total"])
    assert len(lines) == total
    assert {"example", "before", "after", "gain", "label", "after_trace"} <= json.loads(lines[0]).keys()
    table = list(csv.DictReader(io.StringIO(client.get(f"{base}/export?format=csv").text)))
    assert len(table) == COUNT
    assert client.get(f"{base}/export?format=xls").status_code == 404


def test_the_report_is_the_same_file_without_label_controls(client: TestClient, kept: Kept) -> None:
    answer = client.get(f"/compare/{kept.id}/report.html")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="verdict-challenger-')
    assert "Content-Security-Policy" in answer.text
    packed = re.search(r'id="rows">([^<]*)<', answer.text)
    assert packed is not None
    details = gzip.decompress(base64.b64decode(packed[1])).decode()
    assert "What one answer cost" in details
    assert "judge-bar" not in details
    assert "/traces/" not in details
    assert "What the worst have in common" in answer.text


def test_missing_columns_are_made_anew_by_a_child_while_the_page_says_so(
    client: TestClient, base: str, page_store: Sample, kept: Kept
) -> None:
    shutil.rmtree(columns.views_of(page_store.store))
    page = client.get(base)
    assert "is being made" in page.text
    assert client.get(f"{base}/rows").status_code == 409
    end = time.monotonic() + 30
    while not client.get(f"{base}/made").json()["made"] and time.monotonic() < end:
        time.sleep(0.1)
    assert client.get(f"{base}/rows").headers["X-Total"] == str(COUNT)


def test_the_screen_loads_no_statistics(page_store: Sample, base: str) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom starlette.testclient import TestClient\n"
        "from ratchet.web.app import create_app\nfrom ratchet.web.settings import Settings\n"
        f"client = TestClient(create_app(Settings(store=Path({str(page_store.store)!r}), root=Path({str(page_store.root)!r}))), base_url='http://127.0.0.1')\n"
        f"assert client.get({base!r}).status_code == 200\nassert client.get({base + '/rows/3'!r}).status_code == 200\n"
        "print(*[name for name in sys.modules if name.startswith('scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
