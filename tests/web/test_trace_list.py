"""The list of all answers: newest first, over all runs."""

from __future__ import annotations

import csv
import io
import re
import time

from starlette.testclient import TestClient

from ratchet.records import Failure, Trace
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import searching
from ratchet.web.settings import Settings

from .samples import COUNT, Sample
from .test_indexing import quiet, trace_id


def ids(html: str) -> list[str]:
    return re.findall(r'class="row-link" href="/traces/(\w+)"', html)


def test_the_newest_come_first_and_older_ones_are_a_page_away(client: TestClient, settings: Settings) -> None:
    with SQLiteStore(settings.store) as store:
        store.write([Trace(id=trace_id(7), arm=None, output="from production", created_at=time.time())])
    first = client.get("/traces").text
    assert ids(first)[0] == trace_id(7)
    older = re.findall(r'href="(/traces\?[^"]*before=\d+)"', first)[0].replace("&amp;", "&")
    assert not set(ids(client.get(older).text)) & set(ids(first))
    assert len(ids(first)) == 100


def test_they_are_filtered_by_arm_and_by_how_they_ended(client: TestClient, settings: Settings) -> None:
    failure = Failure(kind="timeout", message="too slow")
    with SQLiteStore(settings.store) as store:
        store.write(
            [Trace(id=trace_id(8), arm="odd", error=failure), Trace(id=trace_id(9), arm="odd", output="x")]
        )
    assert ids(client.get("/traces?arm=odd").text) == [trace_id(9), trace_id(8)]
    assert ids(client.get("/traces?arm=odd&error=failed").text) == [trace_id(8)]
    assert ids(client.get("/traces?arm=odd&error=ok").text) == [trace_id(9)]
    assert "No answer fits" in client.get("/traces?arm=nobody").text


def test_words_are_searched_over_all_runs_and_an_id_leads_to_its_trace(
    client: TestClient, page_store: Sample
) -> None:
    assert "still being indexed" in client.get("/traces?text=billing").text
    searching.fill(page_store.store, page_store.run.id, quiet)
    found = client.get("/traces?text=billing+033").text
    assert "still being indexed" not in found
    assert len(ids(found)) == 4
    assert ids(client.get(f"/traces?text={ids(found)[2]}").text) == [ids(found)[2]]


def test_all_of_them_are_exported(client: TestClient) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get("/traces/export?format=csv").text, newline="")))
    assert len(rows) == 4 * COUNT
    assert len({row["id"] for row in rows}) == 4 * COUNT
