"""The pages of datasets: rows by their place in the file, duplicates, leaks, versions, and looks at what is held out."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from ratchet import datasets
from ratchet.records import Dataset
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import columns, dataset_columns, dataset_rows
from ratchet.web.dataset_columns import normal

from .conftest import OpenPage
from .samples import COUNT, Sample, question

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def ignore(step: str, done: int = 0, total: int = 0) -> None:
    """Nobody waits."""


@pytest.fixture
def known(page_store: Sample) -> Dataset:
    """The sample's dataset with its columns made."""
    dataset = page_store.run.task.dataset.replace(path=str(page_store.root / "tickets.jsonl"))
    dataset_columns.build(page_store.store, dataset.id, ignore)
    return dataset


Laid = Callable[..., tuple[Dataset, columns.Table]]


@pytest.fixture
def laid(page_store: Sample) -> Laid:
    """A function that writes rows to a file of the project, registers them and makes their columns."""

    def lay(
        rows: list[dict[str, Any]], name: str = "rows", format: str = "jsonl", **settings: Any
    ) -> tuple[Dataset, columns.Table]:
        file = page_store.root / f"{name}.{format}"
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if format == "jsonl.gz":
            file.write_bytes(gzip.compress(text.encode()))
        elif format == "csv":
            head = list(rows[0])
            lines = [",".join(head), *(",".join(str(row[column]) for column in head) for row in rows)]
            file.write_text("\n".join(lines) + "\n", "utf-8")
        else:
            file.write_text(text, "utf-8")
        dataset = datasets.load(file, **settings)
        with SQLiteStore(page_store.store) as store:
            datasets.register(store, dataset, by="ann")
        dataset_columns.build(page_store.store, dataset.id, ignore)
        table = columns.read(page_store.store, f"dataset-{dataset.id}")
        assert table is not None
        return dataset, table

    return lay


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "csv"])
def test_any_row_of_any_format_is_read_at_its_own_place(laid: Laid, format: str) -> None:
    dataset, table = laid([{"question": f"q{i}", "expected": f"a{i}"} for i in range(300)], format=format)
    found = dataset_rows.examples(dataset, table, [299, 0, 150])
    assert [example.expected for example in found] == ["a299", "a0", "a150"]
    assert [example.id for example in found] == [
        list(datasets.examples(dataset))[i].id for i in (299, 0, 150)
    ]


def test_blank_lines_a_mark_of_order_and_long_rows_keep_rows_in_place(laid: Laid, page_store: Sample) -> None:
    file = page_store.root / "odd.jsonl"
    rows = [json.dumps({"id": str(i), "input": "x" * (10**i), "split": "dev"}) for i in range(1, 6)]
    file.write_text("\ufeff" + rows[0] + "\n\n  \n" + "\r\n".join(rows[1:]) + "\n\n", "utf-8")
    dataset = datasets.load(file)
    with SQLiteStore(page_store.store) as store:
        datasets.register(store, dataset)
    dataset_columns.build(page_store.store, dataset.id, ignore)
    table = columns.read(page_store.store, f"dataset-{dataset.id}")
    assert table is not None
    found = dataset_rows.examples(dataset, table, range(5))
    assert [(e.id, len(e.input)) for e in found] == [(str(i), 10**i) for i in range(1, 6)]


def test_bad_rows_are_left_out_and_told_with_their_lines(
    laid: Laid, page_store: Sample, client: TestClient
) -> None:
    file = page_store.root / "bad.jsonl"
    file.write_text('{"id": "a", "input": "1"}\n{broken\n{"id": "c", "input": "3"}\n', "utf-8")
    dataset = datasets.load(file, on_bad_row="skip")
    with SQLiteStore(page_store.store) as store:
        datasets.register(store, dataset)
    dataset_columns.build(page_store.store, dataset.id, ignore)
    text = client.get(f"/datasets/{dataset.id}?show=skipped").text
    assert "not JSON" in text
    assert re.search(r'<td class="n">2</td>', text)
    assert "<b>c</b>" not in client.get(f"/datasets/{dataset.id}").text
    assert client.get(f"/datasets/{dataset.id}/rows/1").text.count("c") > 0


def test_twins_are_found_exactly_and_but_for_case_and_punctuation(laid: Laid) -> None:
    texts = [
        "Where is my invoice?",
        "where is my  invoice",
        "Where is my invoice?",
        "Something else",
        "Ünïcode!",
        "ünïcode",
    ]
    _, table = laid([{"input": text, "id": str(i)} for i, text in enumerate(texts)])
    facts = columns.read_extra(table)
    assert [one["ids"] for one in facts["repeated"]["sets"]] == [["0", "2"]]
    assert [one["ids"] for one in facts["near"]["sets"]] == [["0", "1", "2"], ["4", "5"]]
    assert table.count([columns.Filter(column="near", op="is", value=True)]) == 5


def test_what_stands_in_two_splits_leaks(laid: Laid) -> None:
    rows = [{"id": "a", "input": "one", "group": "g1", "split": "dev"}, {"id": "b", "input": "two", "group": "g1", "split": "test"},
            {"id": "c", "input": "three", "group": "g2", "split": "dev"}, {"id": "d", "input": "Three!", "group": "g3", "split": "test"},
            {"id": "e", "input": "three", "group": "g2", "split": "dev"}, {"id": "f", "input": "six"}]  # fmt: skip
    _, table = laid(rows)
    facts = columns.read_extra(table)
    assert [(one["group"], one["ids"], one["splits"]) for one in facts["group_leaks"]["sets"]] == [
        ("g1", ["a", "b"], ["dev", "test"])
    ]
    assert [one["ids"] for one in facts["input_leaks"]["sets"]] == [["c", "d", "e"]]
    assert facts["unsplit"] == 1


def test_normal_text_has_no_case_spaces_or_punctuation() -> None:
    assert normal("  Café — OK? ") == normal("cafe\u0301 ok")
    assert normal("a b") != normal("ab")


def test_labels_are_counted_and_texts_are_not(laid: Laid) -> None:
    _, table = laid([{"input": str(i), "expected": "yes" if i % 3 else "no"} for i in range(30)])
    assert columns.read_extra(table)["labels"] == {"yes": 20, "no": 10}
    _, table = laid([{"input": str(i), "expected": f"text {i}"} for i in range(300)], name="texts")
    assert columns.read_extra(table)["labels"] is None


def test_a_search_stops_after_its_share_of_bytes_and_goes_on(laid: Laid) -> None:
    dataset, table = laid([{"input": f"row {i} {'x' * 100}", "id": str(i)} for i in range(1000)])
    found, start = list[int](), 0
    while True:
        part = dataset_rows.search(dataset, table, "ROW 99", start=start, most=500, most_bytes=20_000)
        found += part.rows
        if part.following is None:
            break
        assert part.following > start
        start = part.following
    assert found == [99, *range(990, 1000)]


def test_a_search_finds_escaped_letters(laid: Laid) -> None:
    dataset, table = laid([{"input": 'caf\u00e9 "quoted"'}, {"input": "tea"}])
    assert dataset_rows.search(dataset, table, "caf\u00e9", start=0, most=10).rows == (0,)
    assert dataset_rows.search(dataset, table, '"quoted"', start=0, most=10).rows == (0,)


def test_columns_of_a_file_that_changed_are_not_used(
    page_store: Sample, known: Dataset, client: TestClient
) -> None:
    assert "ticket-000" in client.get(f"/datasets/{known.id}").text
    with (page_store.root / "tickets.jsonl").open("a") as file:
        file.write(
            '{"id": "new", "question": "?", "expected": "x", "customer": "c", "split": "dev", "topic": "t"}\n'
        )
    answer = client.get(f"/datasets/{known.id}")
    assert "ticket-000" not in answer.text


def test_the_list_names_every_dataset_and_what_ratchet_yaml_will_read(
    page_store: Sample, known: Dataset, client: TestClient, laid: Laid
) -> None:
    laid([{"input": "1"}], name="other")
    project = page_store.root / "ratchet.yaml"
    project.write_text(project.read_text("utf-8") + "  later:\n    dataset: later.jsonl\n", "utf-8")
    text = client.get("/datasets").text
    for part in ("tickets.jsonl", "other.jsonl", "later.jsonl", "ratchet run later"):
        assert part in text


def test_a_file_outside_the_project_is_never_served(
    client: TestClient, page_store: Sample, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_text('{"id": "1", "input": "the secret of another folder"}\n', "utf-8")
    link = page_store.root / "inside.jsonl"
    link.symlink_to(outside)
    for path in (outside, link):
        dataset = datasets.load(path)
        with SQLiteStore(page_store.store) as store:
            datasets.register(store, dataset, ref=f"datasets/{path.stem}")
        for address in ("", "/rows", "/rows/0", "/rows/0/text", "/export"):
            answer = client.get(f"/datasets/{dataset.id}{address}")
            assert "secret of another folder" not in answer.text
            assert "outside the project" in answer.text


def test_an_unknown_dataset_and_row_are_said(client: TestClient, known: Dataset) -> None:
    assert client.get("/datasets/nothing").status_code == 404
    assert client.get(f"/datasets/{known.id}/rows/999").status_code == 404


def test_versions_show_where_they_came_from(client: TestClient, page_store: Sample, known: Dataset) -> None:
    with SQLiteStore(page_store.store) as store:
        datasets.register(store, known, by="ben")
        more = datasets.save(
            list(datasets.examples(known))[:10],
            page_store.root / "few.jsonl",
            name="tickets",
            parent=known,
            made_by="first ten",
        )
        datasets.register(store, more, by="cleo")
    text = client.get(f"/datasets/{more.id}?show=versions").text
    for part in (more.id[:12], known.id[:12], "first ten", "by ben", "by cleo", "current"):
        assert part in text
    exported = [
        json.loads(line)
        for line in client.get(f"/datasets/{more.id}/export?what=versions&format=jsonl").text.splitlines()
    ]
    assert [row["parent"] for row in exported] == [known.id, None]


# what is held out


def rows_of(client: TestClient, dataset: Dataset, query: str = "") -> str:
    return client.get(f"/datasets/{dataset.id}/rows?limit=100&{query}").text


def test_held_out_examples_are_hidden_in_rows_search_row_text_and_export(
    client: TestClient, known: Dataset
) -> None:
    hidden = question(45)
    assert question(5)[:30] in rows_of(client, known)
    for address in ("?split=test", "/rows?split=test&limit=100", "/rows/45", "/rows/45/text?part=input", "/export?format=jsonl",
                    "/rows?q=Ticket&limit=100"):  # fmt: skip
        answer = client.get(f"/datasets/{known.id}{address}")
        assert hidden[:12] not in answer.text, address
    assert len(client.get(f"/datasets/{known.id}/export?format=jsonl").text.splitlines()) == 40


def look(client: TestClient, dataset: Dataset, **fields: str) -> str:
    answer = client.post(
        f"/datasets/{dataset.id}/looks", data={"split": "test", **fields}, follow_redirects=False
    )
    assert answer.status_code == 303
    return answer.headers["location"]


def test_asking_for_them_shows_them_and_is_remembered(
    client: TestClient, page_store: Sample, known: Dataset
) -> None:
    location = look(client, known)
    assert question(45)[:12] in client.get(location).text
    with SQLiteStore(page_store.store) as store:
        looks = store.looks(known.id)
    assert [(one.by, one.split) for one in looks] == [("ann", "test")]
    assert "looked at examples" in client.get(f"/datasets/{known.id}?show=looks").text


def test_a_look_is_for_one_person_and_one_split(
    client: TestClient, page_store: Sample, known: Dataset
) -> None:
    query = look(client, known).partition("?")[2]
    assert question(45)[:12] in rows_of(client, known, query)
    with SQLiteStore(page_store.store) as store:
        token = re.search(r"look=([0-9.]+)", query)
        assert token is not None
        store._call(lambda db: db.execute("UPDATE looks SET \"by\" = 'ben'"))
    assert question(45)[:12] not in rows_of(client, known, query)
    assert question(45)[:12] not in rows_of(client, known, "split=test&look=1.0")


def test_a_split_that_is_not_held_out_needs_no_look(client: TestClient, known: Dataset) -> None:
    assert client.post(f"/datasets/{known.id}/looks", data={"split": "dev"}).status_code == 422


def test_runs_over_held_out_examples_count_as_looks(client: TestClient, known: Dataset) -> None:
    text = client.get(f"/datasets/{known.id}?show=looks").text
    assert "run first" in text
    assert f"tried {COUNT - 40} of {COUNT - 40} test examples on 2 arms" in text


def test_columns_are_made_by_a_child_when_a_page_needs_them(page_store: Sample) -> None:
    command = [
        sys.executable,
        "-m",
        "ratchet.web.indexing",
        str(page_store.store),
        "dataset",
        page_store.run.task.dataset.id,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert columns.read(page_store.store, f"dataset-{page_store.run.task.dataset.id}") is not None


# in a browser


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_rows_open_by_keyboard_and_a_link_opens_the_same_row(
    open_page: OpenPage, site: str, known: Dataset, theme: str
) -> None:
    page = open_page(theme=theme)
    page.goto(f"{site}/datasets/{known.id}")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_contain_text(question(1))
    assert "row=1" in page.url
    again = open_page(theme=theme)
    again.goto(page.url)
    expect(again.locator("#detail")).to_contain_text(question(1))


@pytest.mark.slow
def test_the_split_filter_keeps_rows_hidden_until_one_asks(
    open_page: OpenPage, site: str, known: Dataset
) -> None:
    page = open_page()
    page.goto(f"{site}/datasets/{known.id}")
    page.select_option("#by-split", "test")
    expect(page.locator("output")).to_have_text("20 rows")
    expect(page.locator("tbody tr[data-key]").first).to_contain_text("held out")
    page.locator("#look").click()
    expect(page.locator("tbody tr[data-key]").first).to_contain_text("Ticket 40")
    assert "look=" in page.url


@pytest.mark.slow
def test_typing_finds_rows_without_leaving_the_field(open_page: OpenPage, site: str, known: Dataset) -> None:
    page = open_page()
    page.goto(f"{site}/datasets/{known.id}")
    page.keyboard.press("/")
    page.keyboard.type("Ticket 17")
    expect(page.locator("output")).to_have_text("1 row")
    expect(page.locator("#find")).to_be_focused()
    assert "q=Ticket+17" in page.url


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1000, 1440])
@pytest.mark.parametrize("show", ["examples", "versions", "leaks", "looks"])
def test_nothing_is_wider_than_the_window(
    open_page: OpenPage, site: str, known: Dataset, width: int, show: str
) -> None:
    page = open_page(width=width)
    page.goto(f"{site}/datasets/{known.id}?show={show}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
