"""Columns next to the store: what is written comes back filtered, sorted and paged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ratchet.errors import UnknownNameError
from ratchet.web import columns
from ratchet.web.columns import Filter, Table, Writer

NAN = float("nan")


def table_of(store: Path, subject: str = "run-1") -> Table:
    found = columns.read(store, subject)
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


@pytest.fixture
def table(store: Path) -> Table:
    writer = Writer(store, "run-1", 6)
    writer.number("cost", np.array([3.0, NAN, 1.0, 2.0, NAN, 2.0]))
    writer.flag("failed", np.array([False, True, False, False, True, False]))
    writer.code("arm", np.array([0, 1, 0, 1, 0, -1]), ["champion", "challenger"])
    writer.text(
        "example", np.array([0, 1, 2, 3, 4, 5]), ["row-10", "row-2", "Row-1", "zé", "row\t3", "ro\nw-2"]
    )
    writer.trace("trace", np.arange(96, dtype=np.uint8).reshape(6, 16))
    writer.finish({"what": "a test"}, {"more": [1]})
    return table_of(store)


def rows(table: Table, *filters: Filter, sort: str = "") -> list[int]:
    return table.page(filters, sort=sort).rows.tolist()


def test_rows_come_as_they_stand_and_in_pages(table: Table) -> None:
    assert rows(table) == [0, 1, 2, 3, 4, 5]
    page = table.page(offset=4, limit=3)
    assert (page.rows.tolist(), page.total) == ([4, 5], 6)
    assert table.page(offset=9, limit=3).rows.tolist() == []


def test_rows_without_a_value_come_last_in_both_directions(table: Table) -> None:
    assert rows(table, sort="cost") == [2, 3, 5, 0, 1, 4]
    falling = rows(table, sort="-cost")
    assert falling[0] == 0
    assert set(falling[-2:]) == {1, 4}


def test_texts_are_sorted_as_people_count(table: Table) -> None:
    ordered = [r["example"] for r in table.records(table.page(sort="example").rows, ["example"])]
    assert ordered.index("Row-1") < ordered.index("row-2") < ordered.index("row-10")


def test_several_filters_must_all_hold(table: Table) -> None:
    champion = Filter(column="arm", op="is", value="champion")
    assert rows(table, champion) == [0, 2, 4]
    assert rows(table, champion, Filter(column="failed", op="is", value=False), sort="cost") == [2, 0]
    assert table.count([champion]) == 3
    assert rows(table, Filter(column="arm", op="is", value="nobody")) == []


def test_numbers_are_filtered_by_range_and_by_absence(table: Table) -> None:
    assert rows(
        table, Filter(column="cost", op="at_least", value=2), Filter(column="cost", op="below", value=3)
    ) == [3, 5]
    assert rows(table, Filter(column="cost", op="missing")) == [1, 4]
    assert rows(table, Filter(column="arm", op="missing")) == [5]
    assert rows(table, Filter(column="arm", op="present")) == [0, 1, 2, 3, 4]


def test_a_text_is_found_whole_by_a_filter_and_in_part_by_a_search(table: Table) -> None:
    assert rows(table, Filter(column="example", op="is", value="row-2")) == [1]
    assert table.holding("example", "ROW").tolist() == [0, 1, 2, 4]
    assert table.holding("example", "é").tolist() == [3]
    assert table.holding("example", "").tolist() == []


def test_only_given_rows_are_looked_at_and_strangers_among_them_ignored(table: Table) -> None:
    found = table.page(sort="cost", among=np.array([0, 2, 99, -5]))
    assert (found.rows.tolist(), found.total) == ([2, 0], 2)


def test_the_place_of_a_row_is_that_in_the_order_shown(table: Table) -> None:
    assert table.place(0, sort="cost") == 3
    assert table.place(1, [Filter(column="failed", op="is", value=False)], sort="cost") is None
    assert table.place(4) == 4
    assert table.place(6) is None


def test_traces_are_found_by_their_ids(table: Table) -> None:
    ids = [bytes(range(16, 32)).hex(), "f" * 32, bytes(range(16)).hex()]
    assert table.find("trace", ids).tolist() == [1, -1, 0]


def test_records_give_words_and_none(table: Table) -> None:
    (record,) = table.records([5])
    assert record == {
        "row": 5, "cost": 2.0, "failed": False, "arm": None, "example": "ro\nw-2", "trace": bytes(range(80, 96)).hex(),
    }  # fmt: skip


def test_facts_counts_and_extras_come_back(table: Table) -> None:
    assert table.facts == {"what": "a test"}
    assert columns.read_extra(table) == {"more": [1]}
    assert table.info("arm").counts == (3, 2)
    assert table.info("failed").counts == (4, 2)
    assert (table.info("cost").low, table.info("cost").high, table.info("cost").known) == (1.0, 3.0, 4)


def test_an_unknown_column_is_told_with_those_there_are(table: Table) -> None:
    with pytest.raises(UnknownNameError, match="cost, failed, arm"):
        table.page(sort="-price")
    with pytest.raises(UnknownNameError, match="column to sort by"):
        table.page(sort="trace")


@pytest.mark.parametrize("subject", ["run-../../etc", "run-", "other-1", "run-a/b", "run-\0", "run-a\n"])
def test_no_subject_leads_out_of_the_folder(store: Path, subject: str) -> None:
    with pytest.raises(UnknownNameError):
        columns.read(store, subject)


def test_a_new_version_takes_the_place_of_the_old_one_and_readers_keep_theirs(
    store: Path, table: Table
) -> None:
    for version in range(3):
        writer = Writer(store, "run-1", 1)
        writer.number("cost", np.array([float(version)]))
        writer.finish({})
        if version == 0:
            assert rows(table, sort="cost")[0] == 2  # the former version can still be read
    assert table_of(store).records([0]) == [{"row": 0, "cost": 2.0}]
    assert len([p for p in columns.folder_of(store, "run-1").iterdir() if p.is_dir()]) == 2


def test_a_table_without_rows_can_be_asked_anything(store: Path) -> None:
    writer = Writer(store, "run-1", 0)
    writer.number("cost", np.zeros(0))
    writer.code("arm", np.zeros(0, np.int32), [])
    writer.text("example", np.zeros(0, np.int32), [])
    writer.trace("trace", np.zeros((0, 16), np.uint8))
    writer.finish({})
    table = table_of(store)
    assert table.page([Filter(column="arm", op="is", value="a")], sort="-cost").total == 0
    assert table.find("trace", ["0" * 32]).tolist() == [-1]
    assert table.holding("example", "x").tolist() == []


def test_columns_of_another_format_are_not_read(store: Path, table: Table) -> None:
    meta = columns.folder_of(store, "run-1") / "meta.json"
    meta.write_text(meta.read_text().replace(f'"format":{columns.FORMAT}', '"format":0'))
    assert columns.read(store, "run-1") is None


def test_a_column_of_too_many_words_names_the_common_ones_first_seen_and_one_for_the_rest(
    store: Path,
) -> None:
    count = columns.MOST_WORDS + 5
    writer = Writer(store, "run-1", count)
    writer.code("label", np.arange(count), [f"w{i}" for i in range(count)])
    writer.finish({})
    table = table_of(store)
    assert table.records([count - 1], ["label"])[0]["label"] == columns.OTHER
    assert table.count([Filter(column="label", op="is", value=columns.OTHER)]) == 6


def test_a_column_of_another_length_is_refused(store: Path) -> None:
    writer = Writer(store, "run-1", 2)
    with pytest.raises(ValueError, match="3 rows"):
        writer.number("cost", np.zeros(3))
