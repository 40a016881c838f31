from __future__ import annotations

import datetime
import decimal
import gzip
import json
import os
from pathlib import Path

import pytest

from ratchet import datasets
from ratchet.errors import DatasetError, RatchetError, UnknownNameError
from ratchet.records import Dataset, Example, Json

ROWS: list[dict[str, Json]] = [
    {"id": "a", "input": {"question": "1 + 1?", "n": 1, "nested": [1, None, True]}, "expected": "no"},
    {"id": "b", "input": {"question": "é", "n": 2.5, "nested": []}, "group": "g", "metadata": {"k": 1}},
]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def problem(path: Path, data: str | bytes, **options: Json) -> DatasetError:
    write(path, data)
    with pytest.raises(DatasetError) as caught:
        datasets.load(path, **options)
    return caught.value


def inputs(dataset: Dataset) -> list[Json]:
    return [example.input for example in datasets.examples(dataset)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, ROWS))),
        ("rows.ndjson", "\r\n".join(map(json.dumps, ROWS))),
        ("rows.json", json.dumps(ROWS, indent=2)),
        ("listed.json", json.dumps({"about": {"x": "]"}, "examples": ROWS, "more": [1]})),
        ("data.json", json.dumps({"data": ROWS})),
        ("rows.yaml", json.dumps(ROWS, indent=1)),
        ("documents.yml", "\n---\n".join(map(json.dumps, ROWS))),
        ("listed.yaml", json.dumps({"examples": ROWS})),
    ],
)
def test_every_spelling_of_the_same_rows_gives_the_same_dataset(tmp_path: Path, name: str, text: str) -> None:
    plain = datasets.load(write(tmp_path / "plain.jsonl", "\n".join(map(json.dumps, ROWS))))
    read = datasets.load(write(tmp_path / name, text))
    assert read.id == plain.id
    assert list(datasets.examples(read)) == list(datasets.examples(plain))


def test_gzip_is_unpacked_whatever_the_name_says(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"q": 1}\n{"q": 2}\n')
    assert inputs(datasets.load(write(tmp_path / "rows.jsonl.gz", packed))) == [{"q": 1}, {"q": 2}]
    assert inputs(datasets.load(write(tmp_path / "rows.jsonl", packed))) == [{"q": 1}, {"q": 2}]
    assert "gzip" in str(problem(tmp_path / "cut.jsonl.gz", packed[:-6]))


def test_csv_values_are_text_and_the_unnamed_index_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", '\ufeff,question,expected\r\n0,"one,\r\ntwo",007\r\n1,three,\r\n')
    first, second = datasets.examples(datasets.load(path))
    assert (first.input, first.expected) == ({"question": "one,\r\ntwo"}, "007")
    assert (second.input, second.expected) == ({"question": "three"}, "")


@pytest.mark.parametrize("text", ["a;b\n1;2\n", "a\tb\n1\t2\n", "a,b\n1,2\n"])
def test_a_csv_without_commas_in_its_header_is_split_at_what_it_has(tmp_path: Path, text: str) -> None:
    assert inputs(datasets.load(write(tmp_path / "rows.csv", text))) == [{"a": "1", "b": "2"}]


def test_types_turn_text_into_values(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", 'i,f,b,j,s\n1,1.5,yes,"[1, null]",x\n,,,,\n')
    types = {"i": "int", "f": "float", "b": "bool", "j": "json", "s": "str"}
    assert inputs(datasets.load(path, types=types)) == [
        {"i": 1, "f": 1.5, "b": True, "j": [1, None], "s": "x"},
        {"i": None, "f": None, "b": None, "j": None, "s": ""},
    ]
    with pytest.raises(UnknownNameError, match="Did you mean 'int'"):
        datasets.load(path, types={"i": "inte"})


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [("int", "x", "whole number"), ("float", "nan", "finite"), ("bool", "2", "true"), ("json", "{", "JSON")],
)
def test_a_value_of_another_type_is_named_with_its_place(
    tmp_path: Path, kind: str, text: str, expected: str
) -> None:
    error = problem(tmp_path / "rows.csv", f"a,n\n1,{text}\n", types={"n": kind})
    assert (error.line, error.column, error.value) == (2, "n", text)
    assert expected in error.message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "header"),
        ("a,b\n", None, "no examples"),
        ("a,a\n1,2\n", 1, "same name"),
        ("a,,b\n1,2,3\n", 1, "column 2 has no name"),
        ('a,b\n1,"x\ny"\n3\n', 4, "has 1 fields, the header has 2"),
        ('a,b\n1,2\n1,"x\n3,4\n', 3, "never closed"),
        (b"a,b\n1,2\n1,\xff\n", 3, "0xff"),
        ("a,b\n1,2\n".encode("utf-16"), 1, "UTF-16"),
        ("a,b\r1,2\r", 1, "carriage return"),
    ],
)
def test_a_broken_csv_is_told_with_its_line(tmp_path: Path, text: str, line: int | None, said: str) -> None:
    error = problem(tmp_path / "rows.csv", text)
    assert (error.file, error.line) == (str(tmp_path / "rows.csv"), line)
    assert said in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"q": NaN}', "null"),
        ('{"q": "\\ud800"}', "surrogate"),
        ('{"q": "a\x00b"}', "control character"),
        ("[1]", "expected an object"),
        ('{"q":' + "[" * 300 + "]" * 300 + "}", "nested deeper"),
        ('{"q":' + "[" * 5000 + "]" * 5000 + "}", "depth"),
        ('{"q":' + "9" * 5000 + "}", "not JSON"),
        (b'{"q": "\xff"}', "UTF-8"),
        ('{"q": ', "not JSON"),
    ],
)
def test_a_broken_json_line_is_told_with_its_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    data = b'{"q": 1}\n\n' + (text.encode() if isinstance(text, str) else text) + b"\n"
    error = problem(tmp_path / "rows.jsonl", data)
    assert error.line == 3
    assert said in str(error)
    dataset = datasets.load(tmp_path / "rows.jsonl", on_bad_row="skip")
    assert (dataset.count, dataset.skipped) == (1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "end of the file"),
        ("[]", "no examples"),
        ('"x"', "list of objects"),
        ('{"a": 1}\n{"a": 2}', "format='jsonl'"),
        ('[{"a": 1} {"a": 2}]', "unexpected content"),
        ('[{"a": 1},]', "not JSON"),
        ('[{"a": "', "ends in the middle"),
        ('[{"a": 1}] x', "follows the end"),
        ('{"examples": [{"a": 1}]', "'}'"),
        ('[{"a": 1}, 2]', "expected an object"),
    ],
)
def test_a_broken_json_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    assert said in str(problem(tmp_path / "rows.json", text))


def test_a_json_list_is_read_across_the_edges_of_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"q": 'a "quoted" \\ ] } text' * n, "n": [{"deep": n}]} for n in range(30)]
    path = write(tmp_path / "rows.json", json.dumps(rows, indent=1))
    monkeypatch.setattr("ratchet.datasets.json_lists._CHUNK", 7)
    monkeypatch.setattr("ratchet.datasets.readers._CHUNK", 7)
    assert inputs(datasets.load(path)) == rows
    lines = write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert inputs(datasets.load(lines)) == rows


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- a: 1\n- b: .nan\n", 2, "null"),
        ("- a: 1\n- b: [\n", 3, "not YAML"),
        ("- &a [*a]\n", 1, "contains itself"),
        ("- a: !!python/object/apply:os.getcwd []\n", 1, "constructor"),
        ("[" * 5000, None, "nested"),
        (b"- a: \xff\n", 1, "UTF-8"),
        ("", None, "no examples"),
    ],
)
def test_a_broken_yaml_is_told(tmp_path: Path, text: str | bytes, line: int | None, said: str) -> None:
    error = problem(tmp_path / "rows.yaml", text)
    assert said in str(error)
    assert error.line == line


def test_parquet_gives_plain_json(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "id": [1, 2],
        "f": [1.5, float("nan")],
        "day": [datetime.date(2024, 1, 2), None],
        "price": [decimal.Decimal("1.50"), None],
        "raw": [b"hi", None],
        "nested": [{"x": [1]}, None],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "rows.parquet")
    first, second = datasets.examples(datasets.load(tmp_path / "rows.parquet"))
    assert first == Example(
        id="1", input={"f": 1.5, "day": "2024-01-02", "price": 1.5, "raw": "aGk=", "nested": {"x": [1]}}
    )
    assert second.input == dict.fromkeys(("f", "day", "price", "raw", "nested"))
    assert "Parquet" in str(problem(tmp_path / "broken.parquet", b"PAR1nonsense"))


def test_what_is_not_a_readable_file_is_told(tmp_path: Path) -> None:
    write(tmp_path / "tickets.jsonl", '{"a": 1}\n')
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    for path, said in (
        (tmp_path, "folder"),
        (tmp_path / "ticket.jsonl", "Did you mean 'tickets.jsonl'?"),
        (tmp_path / "pipe.jsonl", "'-'"),
        (tmp_path / "loop.jsonl", "symbolic links"),
        ("\0.jsonl", "null byte"),
        ("x" * 5000 + ".jsonl", "too long"),
        (write(tmp_path / "a.xyz", "x"), "format="),
    ):
        with pytest.raises(DatasetError, match=said):
            datasets.load(path)


def test_one_line_of_many_megabytes_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "long.jsonl", json.dumps({"q": "x" * 5_000_000}) + '\n{"q": "y"}')
    assert [len(given["q"]) for given in inputs(datasets.load(path))] == [5_000_000, 1]


def test_a_line_too_long_to_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.datasets.readers.MAX_ROW_BYTES", 1000)
    monkeypatch.setattr("ratchet.datasets.readers._CHUNK", 64)
    error = problem(tmp_path / "long.jsonl", '{"q": 1}\n' + "x" * 5000)
    assert error.line == 2
    assert "longer than" in str(error)


def test_column_names_are_those_of_the_first_row(tmp_path: Path) -> None:
    assert datasets.column_names(write(tmp_path / "rows.csv", ",q,answer\n0,x,y\n")) == ["q", "answer"]
    with pytest.raises(RatchetError):
        datasets.column_names(tmp_path / "nothing.csv")
