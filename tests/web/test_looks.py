"""Held-out examples are used up by being looked at: every screen that shows their texts notes who saw them."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ratchet import datasets
from ratchet.records import Dataset
from ratchet.stores import sqlite_views
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import dataset_columns, looks

from .samples import Sample

DEV, TEST = "ticket-003", "ticket-045"


@pytest.fixture
def address(client: TestClient, page_store: Sample) -> str:
    """The address of the run, once its rows are there."""
    found, end = f"/runs/{page_store.run.id}", time.monotonic() + 30
    while client.get(f"{found}/live").headers.get("X-Live") != "done":
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def seen(sample: Sample) -> list[tuple[str, str, str]]:
    """Who saw which split where."""
    with SQLiteStore(sample.store) as store:
        return [(look.by, look.split, look.what) for look in store.looks(sample.run.task.dataset.id)]


def answer_to(sample: Sample, example: str) -> str:
    with SQLiteStore(sample.store, read_only=True) as store:
        units = sqlite_views.units(store, sample.run.id, "champion")
        return next(trace for name, _, trace in units if name == example)


def place_of(client: TestClient, sample: Sample, example: str) -> int:
    """The row of this example in the comparison."""
    html = client.get(f"/compare/{sample.verdict_id}/rows?text={example}").text
    found = re.search(r"row=(\d+)", html)
    assert found is not None
    return int(found[1])


def test_opening_a_held_out_answer_beside_the_table_is_a_look_once_a_person_and_run(
    client: TestClient, page_store: Sample, address: str
) -> None:
    client.get(f"{address}/rows/{answer_to(page_store, DEV)}")
    assert seen(page_store) == []
    for example in (TEST, TEST, "ticket-046"):
        client.get(f"{address}/rows/{answer_to(page_store, example)}")
    assert seen(page_store) == [("ann", "test", f"read answers of run {page_store.run.id}")]


def test_a_link_to_a_held_out_answer_is_a_look(client: TestClient, page_store: Sample, address: str) -> None:
    client.get(f"{address}?text={DEV}&row={answer_to(page_store, TEST)}")
    assert [split for _, split, _ in seen(page_store)] == ["test"]


@pytest.mark.parametrize("path", ["/rows?", "?"])
def test_a_page_of_rows_is_a_look_where_it_shows_held_out_examples(
    client: TestClient, page_store: Sample, address: str, path: str
) -> None:
    client.get(f"{address}{path}text={DEV}")
    assert seen(page_store) == []
    client.get(f"{address}{path}text={TEST}")
    assert [split for _, split, _ in seen(page_store)] == ["test"]


def test_an_export_with_held_out_texts_is_a_look_of_its_own(
    client: TestClient, page_store: Sample, address: str
) -> None:
    client.get(f"{address}/export?format=csv&text={DEV}")
    assert seen(page_store) == []
    assert TEST in client.get(f"{address}/export?format=jsonl").text
    assert seen(page_store) == [("ann", "test", f"exported answers of run {page_store.run.id}")]


def test_held_out_examples_of_a_comparison_are_looked_at_in_its_rows_and_its_details(
    client: TestClient, page_store: Sample
) -> None:
    base = f"/compare/{page_store.verdict_id}"
    client.get(f"{base}/rows/{place_of(client, page_store, DEV)}")
    client.get(f"{base}?text={DEV}")
    assert seen(page_store) == []
    client.get(f"{base}/rows/{place_of(client, page_store, TEST)}")
    assert seen(page_store) == [("ann", "test", f"read the comparison {page_store.verdict_id[:12]}")]


def test_the_open_example_of_a_comparison_is_looked_at(client: TestClient, page_store: Sample) -> None:
    row = place_of(client, page_store, TEST)
    with SQLiteStore(page_store.store) as store:
        store._call(lambda db: db.execute("DELETE FROM looks"))
    client.get(f"/compare/{page_store.verdict_id}?text={DEV}&row={row}")
    assert [split for _, split, _ in seen(page_store)] == ["test"]


@pytest.mark.slow
def test_an_exported_report_is_a_look(client: TestClient, page_store: Sample) -> None:
    assert client.get(f"/compare/{page_store.verdict_id}/report.html").status_code == 200
    assert seen(page_store) == [("ann", "test", f"exported the comparison {page_store.verdict_id[:12]}")]


def test_the_list_of_traces_is_a_look_where_it_shows_held_out_examples(
    client: TestClient, page_store: Sample
) -> None:
    client.get(f"/traces?text={answer_to(page_store, DEV)}")
    assert seen(page_store) == []
    client.get(f"/traces?text={answer_to(page_store, TEST)}")
    assert seen(page_store) == [("ann", "test", "read the list of traces")]


def test_each_person_looks_for_themselves(client: TestClient, page_store: Sample, address: str) -> None:
    path = f"{address}/rows/{answer_to(page_store, TEST)}"
    client.get(path)
    client.post("/person", data={"name": "ben"})
    client.get(path)
    assert [by for by, _, _ in seen(page_store)] == ["ann", "ben"]


def test_the_dataset_s_page_says_who_read_the_answers(
    client: TestClient, page_store: Sample, address: str
) -> None:
    client.get(f"{address}/rows/{answer_to(page_store, TEST)}")
    dataset_columns.build(page_store.store, page_store.run.task.dataset.id, lambda *_: None)
    page = f"/datasets/{page_store.run.task.dataset.id}?show=looks"
    assert f"read answers of run {page_store.run.id}" in client.get(page).text


@pytest.mark.parametrize("id_of", ["e{}", "e{}\nsecond line"])
def test_a_large_dataset_s_splits_come_from_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id_of: str
) -> None:
    splits = [*["dev"] * 20, *["test"] * 10, *["Holdout"] * 5]
    rows = ({"id": id_of.format(i), "input": f"q{i}", "split": split} for i, split in enumerate(splits))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    dataset = datasets.load(tmp_path / "rows.jsonl")
    with SQLiteStore(tmp_path / "ratchet.db") as store:
        datasets.register(store, dataset)
    of_file = _held_out(tmp_path, dataset)
    dataset_columns.build(tmp_path / "ratchet.db", dataset.id, lambda *_: None)
    monkeypatch.setattr(looks, "_held_out", OrderedDict())
    monkeypatch.setattr(looks, "MOST_READ", 0)
    of_columns = _held_out(tmp_path, dataset)
    assert {split: len(hashes) for split, hashes in of_file.items()} == {"test": 10, "Holdout": 5}
    assert {split: hashes.tolist() for split, hashes in of_columns.items()} == {
        split: hashes.tolist() for split, hashes in of_file.items()
    }


def _held_out(root: Path, dataset: Dataset) -> looks.HeldOut:
    with SQLiteStore(root / "ratchet.db") as store:
        return looks.held_out(store, dataset, root=root)
