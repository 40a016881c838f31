from __future__ import annotations

import json
from pathlib import Path

import pytest

from ratchet import codec, datasets
from ratchet.datasets.rows import Ids
from ratchet.errors import DatasetError
from ratchet.records import Columns, Example, Json


def load_rows(folder: Path, rows: list[Json], **options: Json) -> list[Example]:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return list(datasets.examples(datasets.load(path, **options)))


def test_columns_with_the_names_of_roles_play_them(tmp_path: Path) -> None:
    row = {"id": 7, "question": "q", "target": "t", "group": 3, "split": "dev", "metadata": {"m": 1}}
    assert load_rows(tmp_path, [row]) == [
        Example(id="7", input={"question": "q"}, expected="t", group="3", split="dev", metadata={"m": 1})
    ]


def test_what_is_left_beside_an_input_column_is_metadata(tmp_path: Path) -> None:
    (example,) = load_rows(tmp_path, [{"input": "hi", "level": 2, "metadata": {"m": 1}}])
    assert (example.input, example.metadata) == ("hi", {"m": 1, "level": 2})
    (example,) = load_rows(tmp_path, [{"q": "hi", "level": 2, "other": 3}], input="q", metadata=("level",))
    assert (example.input, example.metadata) == ("hi", {"level": 2})


def test_columns_are_mapped_and_reach_into_objects(tmp_path: Path) -> None:
    rows: list[Json] = [{"case": {"no": 1}, "data": {"q": "x", "r": "y"}, "a": "A", "b": "B", "who": "u"}]
    (example,) = load_rows(
        tmp_path, rows, id="case.no", input=["data.q", "who"], expected=["a", "b"], group="who"
    )
    assert example == Example(
        id="1", input={"data.q": "x", "who": "u"}, expected={"a": "A", "b": "B"}, group="u", metadata={}
    )


def test_a_missing_column_names_the_place_and_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        load_rows(tmp_path, [{"q": 1, "answer": 2}, {"q": 1}], expected="anser")
    error = caught.value
    assert (error.line, error.column) == (1, "anser")
    assert "Columns there are: q, answer. Did you mean 'answer'?" in str(error)
    with pytest.raises(DatasetError) as caught:
        load_rows(tmp_path, [{"q": 1, "answer": 2}, {"q": 1}], expected="answer")
    assert caught.value.line == 2


@pytest.mark.parametrize("bad", [None, "", True, 1.5, [1], {"a": 1}])
def test_an_id_that_names_nothing_is_a_bad_row(tmp_path: Path, bad: Json) -> None:
    with pytest.raises(DatasetError, match="text or a whole number") as caught:
        load_rows(tmp_path, [{"id": "a", "q": 1}, {"id": bad, "q": 1}])
    assert (caught.value.line, caught.value.column) == (2, "id")


def test_an_id_given_twice_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="stands on line 1 already") as caught:
        load_rows(tmp_path, [{"id": "a", "q": 1}, {"id": "b", "q": 1}, {"id": "a", "q": 2}])
    assert caught.value.line == 3


def test_without_an_id_the_content_names_the_example_and_its_further_occurrences(tmp_path: Path) -> None:
    row = {"q": "x", "n": 1.0, "expected": {}, "metadata": {"z": 1e22}, "group": "2.0"}
    found = load_rows(tmp_path, [row, {"q": "y"}, row, {**row, "n": 1}])
    base = codec.content_id(found[0])
    assert [example.id for example in found] == [base, codec.content_id(found[1]), f"{base}#2", f"{base}#3"]


def test_the_table_of_ids_grows_and_forgets_none() -> None:
    ids = Ids()
    assert all(ids.add(f"id-{n}") for n in range(5000))
    assert not any(ids.add(f"id-{n}") for n in range(5000))


def test_a_given_id_that_looks_like_a_repeated_content_id_stays_unique(tmp_path: Path) -> None:
    base = codec.content_id(Example(id="", input={"q": 1}))
    found = load_rows(tmp_path, [{"q": 1}, {"id": f"{base}#2", "q": 5}, {"q": 1}])
    assert [example.id for example in found] == [base, f"{base}#2", f"{base}#3"]


def test_a_group_that_is_not_one_word_is_a_bad_row(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected text or a number") as caught:
        load_rows(tmp_path, [{"q": 1, "who": ["a"]}], group="who")
    assert caught.value.column == "who"


def test_metadata_of_one_example_is_not_shared_with_another(tmp_path: Path) -> None:
    first, second = load_rows(tmp_path, [{"q": 1}, {"q": 2}])
    assert first.metadata is not second.metadata


def test_the_manifest_says_that_ids_were_given_only_where_all_were(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "q": 1}\n{"id": "b", "q": 2}\n')
    assert datasets.load(path).columns == Columns(id="id")
    path.write_text('{"id": "a", "q": 1}\n{"q": 2}\n')
    assert datasets.load(path).columns == Columns()
