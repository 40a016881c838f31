"""The screens of runs as HTML: what they show, what they filter, what they refuse."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import shutil
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ratchet.records import Run, Trace
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import columns, runs
from ratchet.web.app import create_app
from ratchet.web.settings import Settings

from .samples import COUNT, Sample
from .test_indexing import a_run, trace_id


def text_of(html: str) -> str:
    """The page's words, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def keys_of(html: str) -> list[str]:
    """Trace ids of the rows in a fragment."""
    return re.findall(r'<tr data-key="(\w+)"', html)


@pytest.fixture
def address(client: TestClient, page_store: Sample) -> str:
    """The page of the sample's run, its columns and figures made."""
    return ready(client, f"/runs/{page_store.run.id}")


def ready(client: TestClient, url: str) -> str:
    """The same address, once its columns and figures are made."""
    end = time.monotonic() + 60
    while client.get(f"{url}/live").headers.get("X-Live") != "done":
        assert time.monotonic() < end
        time.sleep(0.05)
    return url


def test_the_list_shows_each_run_with_its_state_arms_counts_and_cost(client: TestClient) -> None:
    words = text_of(client.get("/runs").text)
    for word in ("first", "tickets", "finished", "champion", "challenger", f"{4 * COUNT:,}", "$0."):
        assert word in words
    assert "1 run" in words


def test_the_list_is_filtered_by_words_and_offers_a_way_back(client: TestClient) -> None:
    assert "first" in text_of(client.get("/runs?text=FIR fin").text)
    assert "No run fits" in client.get("/runs?text=nothing").text


def test_a_store_without_runs_says_what_to_type(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "ratchet.db").close()
    with TestClient(
        create_app(Settings(store=tmp_path / "ratchet.db")), base_url="http://127.0.0.1"
    ) as client:
        assert "ratchet demo" in client.get("/runs").text
        assert "ratchet run" in client.get("/traces").text


def test_the_list_ends_its_own_polling_where_nothing_changes(client: TestClient, settings: Settings) -> None:
    assert "live-part" not in client.get("/runs").text
    assert client.get("/runs/live").headers["X-Live"] == "done"
    with SQLiteStore(settings.store) as store:
        store.save_run(a_run("under-way", created_at=time.time()))
    assert "live-part" in client.get("/runs").text
    answer = client.get("/runs/live")
    assert "X-Live" not in answer.headers
    assert "running" in text_of(answer.text)


def test_a_run_shows_scores_costs_times_and_rows_side_by_side(client: TestClient, address: str) -> None:
    html = client.get(address).text
    words = text_of(html)
    for word in (
        "contains",
        "passed",
        "Cost per 1,000",
        "Errors",
        "Tokens in",
        "p50",
        "p90",
        "p95",
        "p99",
        "First token",
    ):
        assert word in words
    assert len(keys_of(html)) == runs.FIRST_ROWS
    assert f'total="{4 * COUNT}"' in html
    assert "95 % intervals" in words
    assert re.search(r"contains passed .*% \[\d", words)


def test_charts_are_labelled_and_use_classes_alone(client: TestClient, address: str) -> None:
    html = client.get(address).text
    charts = re.findall(r"<svg class=\"chart.*?</svg>", html, re.DOTALL)
    assert len(charts) >= 4
    assert all('role="img" aria-label="' in chart for chart in charts)
    assert all("<title>" in chart for chart in charts)
    assert 'style="' not in html
    assert "<script>" not in html


def test_rows_are_filtered_by_arm_error_score_and_words(
    client: TestClient, address: str, page_store: Sample
) -> None:
    def total(query: str) -> int:
        answer = client.get(f"{address}/rows?{query}&limit=200")
        assert answer.status_code == 200
        return int(answer.headers["X-Total"])

    with SQLiteStore(page_store.store) as store:
        failed = len(list(store.rows(page_store.run.id, which="failed")))
        right = sum(s.value is True for s in store.scores(page_store.run.id, name="contains"))
    assert total("") == 4 * COUNT
    assert total("arm=champion") == 2 * COUNT
    assert total("error=failed") == failed
    assert total("error=ok") == 4 * COUNT - failed
    assert total("error=server") == failed
    assert total("score=score:contains|1") == right
    assert total("text=ticket-007") == 4
    assert total("arm=challenger&text=ticket-007") == 2
    assert total("arm=nobody") == 0
    assert total("score=score:contains|nonsense") == 0


def test_rows_are_sorted_by_any_column_in_both_directions(
    client: TestClient, address: str, page_store: Sample
) -> None:
    with SQLiteStore(page_store.store) as store:
        latencies = {row.id: row.latency_s for row in store.rows(page_store.run.id)}
    for sort, falling in (("latency_s", False), ("-latency_s", True)):
        found = keys_of(client.get(f"{address}/rows?sort={sort}&limit=200").text)
        known = [latency for key in found if (latency := latencies[key]) is not None]
        assert known == sorted(known, reverse=falling)
        assert latencies[found[0]] is not None
    for sort in ("example", "-arm", "cost_usd", "error", "score:contains"):
        assert client.get(f"{address}/rows?sort={sort}").status_code == 200


def test_pages_of_rows_neither_overlap_nor_leave_one_out(client: TestClient, address: str) -> None:
    query = f"{address}/rows?sort=-score:contains&limit=50"
    found = [
        key
        for offset in range(0, 4 * COUNT, 50)
        for key in keys_of(client.get(f"{query}&offset={offset}").text)
    ]
    assert len(found) == len(set(found)) == 4 * COUNT


def test_an_unknown_column_is_a_page_that_names_those_there_are(client: TestClient, address: str) -> None:
    answer = client.get(f"{address}?sort=price")
    assert answer.status_code == 404
    assert "cost_usd" in answer.text


def test_a_row_opens_with_what_was_asked_answered_and_scored(client: TestClient, address: str) -> None:
    key = keys_of(client.get(f"{address}/rows?text=ticket-007&error=ok").text)[0]
    words = text_of(client.get(f"{address}/rows/{key}").text)
    for word in (
        "ticket-007",
        "Asked",
        "We have 149 seats",
        "Answer",
        "This is a",
        "contains",
        "Latency",
        "Tokens",
    ):
        assert word in words, word
    assert "All answers to this example" in words
    assert f'href="/traces/{key}"' in client.get(f"{address}/rows/{key}").text


def test_an_address_with_a_row_opens_it_and_has_the_rows_around_it(client: TestClient, address: str) -> None:
    every = [
        key
        for offset in (0, 200)
        for key in keys_of(client.get(f"{address}/rows?sort=latency_s&limit=200&offset={offset}").text)
    ]
    html = client.get(f"{address}?sort=latency_s&row={every[150]}").text
    assert 'open-index="150"' in html
    assert every[150] in keys_of(html)
    offset = int(re.findall(r' offset="(\d+)"', html)[0])
    assert keys_of(html) == every[offset : offset + runs.FIRST_ROWS]
    assert '<div class="body">' in html


def test_a_row_of_another_run_is_not_shown(client: TestClient, address: str, page_store: Sample) -> None:
    with SQLiteStore(page_store.store) as store:
        store.write([Trace(id=trace_id(9), run_id="other", arm="a", output="secret of another run")])
    answer = client.get(f"{address}/rows/{trace_id(9)}")
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert client.get(f"{address}/rows/..%2F..%2Fetc").status_code == 404


@pytest.mark.parametrize("name", ["nope", "..", "%2e%2e%2fetc", "a" * 500, "%00"])
def test_an_unknown_run_is_said_to_be_unknown(client: TestClient, name: str) -> None:
    for path in ("", "/rows", "/live", "/export"):
        assert client.get(f"/runs/{name}{path}").status_code in (404, 200 if name == ".." else 404)


def test_the_export_is_what_the_table_shows_with_whole_texts(client: TestClient, address: str) -> None:
    answer = client.get(f"{address}/export?format=csv&arm=champion&error=ok&sort=-latency_s")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.headers["content-disposition"] == 'attachment; filename="run-first.csv"'
    assert {row["arm"] for row in rows} == {"champion"}
    latencies = [float(row["latency_s"]) for row in rows]
    assert latencies == sorted(latencies, reverse=True)
    assert rows[0]["score:contains"] in ("true", "false")
    assert "question" in rows[0]["output"]
    lines = client.get(f"{address}/export?format=jsonl").text.splitlines()
    assert len(lines) == 4 * COUNT
    first = json.loads(lines[0])
    assert isinstance(first["score:contains"], (bool, type(None)))
    assert isinstance(first["input"], list)


def test_the_list_of_runs_is_exported(client: TestClient, page_store: Sample) -> None:
    (row,) = csv.DictReader(io.StringIO(client.get("/runs/export").text, newline=""))
    assert (row["id"], row["state"], row["answers"]) == (page_store.run.id, "finished", str(4 * COUNT))


def test_a_run_under_way_shows_counts_pace_and_time_left_from_counts_alone(
    client: TestClient, settings: Settings
) -> None:
    run = a_run("under-way", count=100, created_at=time.time())
    with SQLiteStore(settings.store) as store:
        store.save_run(run)
        now = time.time()
        store.write(
            [
                Trace(
                    id=trace_id(i),
                    run_id=run.id,
                    arm="ab"[i % 2],
                    example_id=str(i),
                    cost_usd=0.25,
                    created_at=now - i / 10,
                )
                for i in range(1, 41)
            ]
        )
    words = text_of(client.get("/runs/under-way/live").text)
    for word in ("running", "40 of 200", "answers", "left", "$10.00 so far", "20 of 100"):
        assert word in words, words


def test_a_run_that_is_silent_says_how_to_take_it_up_again(client: TestClient, settings: Settings) -> None:
    with SQLiteStore(settings.store) as store:
        store.save_run(a_run("gone", created_at=time.time() - 7200))
    words = text_of(client.get("/runs/gone").text)
    assert "no answer for 2 h 0 min" in words or "no answer for 120 min" in words
    assert "ratchet run --resume gone" in words


def test_a_run_without_answers_that_ended_says_why(client: TestClient, settings: Settings) -> None:
    with SQLiteStore(settings.store) as store:
        store.save_run(a_run("empty", created_at=1.0))
        store.set_run_state("empty", "failed", "the key is missing")
    words = text_of(client.get("/runs/empty").text)
    assert "the key is missing" in words


def test_figures_that_can_not_be_made_leave_the_rest_of_the_page(
    client: TestClient, settings: Settings, page_store: Sample
) -> None:
    views = columns.views_of(settings.store)
    if views.exists():
        shutil.rmtree(views)
    views.write_text("in the way")
    answer = client.get(f"/runs/{page_store.run.id}")
    assert answer.status_code == 200
    assert "can&#39;t be" in answer.text
    assert f"{2 * COUNT:,}" in text_of(answer.text)


def test_hidden_values_of_the_address_do_nothing_bad(client: TestClient, address: str) -> None:
    for query in (
        "offset=-1",
        "offset=99999999999999999999",
        "limit=100000",
        "row=<script>",
        "text=%00",
        "score=|",
        "arm=%ff",
    ):
        answer = client.get(f"{address}?{query}")
        assert answer.status_code in (200, 404)
        assert "<script>" not in answer.text
    assert len(keys_of(client.get(f"{address}/rows?limit=100000").text)) <= runs.MOST_ROWS


def test_a_person_who_may_only_view_sees_runs(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 200
    assert client.post(address).status_code == 405


def test_when_and_how_long_are_said_as_people_say_it() -> None:
    now = time.time()
    assert runs.when(now - 5) == "just now"
    assert runs.when(now - 600) == "10 minutes ago"
    assert runs.when(now - 3 * 3600) == "3 hours ago"
    assert [runs.duration(s) for s in (4, 200, 7500)] == ["4 s", "3 min", "2 h 5 min"]


def test_a_long_answer_is_named_by_its_size_in_the_table_and_folded_in_the_detail(
    client: TestClient, settings: Settings
) -> None:
    run: Run = a_run("long", created_at=1.0)
    noise = random.Random(1).randbytes(500_000).hex()
    with SQLiteStore(settings.store) as store:
        store.save_run(run)
        store.write([Trace(id=trace_id(1), run_id="long", arm="a", example_id="1", output=noise)])
        store.set_run_state("long", "finished")
    html = client.get(ready(client, "/runs/long")).text
    assert "A long answer: open it to read it." in html
    detail = client.get(f"/runs/long/rows/{trace_id(1)}").text
    assert len(detail) < 100_000
    assert "more characters" in detail
