"""Tables as files: what a spreadsheet would run stays text."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from ratchet.errors import UnknownNameError
from ratchet.web import exporting


def cells(*values: Any) -> list[str]:
    text = b"".join(exporting.csv_lines(["a"], [{"a": value} for value in values])).decode()
    return [row[0] if row else "" for row in csv.reader(io.StringIO(text, newline=""))][1:]


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1", '=HYPERLINK("http://x")'],
)
def test_a_formula_becomes_text(text: str) -> None:
    assert cells(text) == [f"'{text}"]


def test_numbers_stay_numbers_unrounded() -> None:
    assert cells(-0.1, 1e-9, 12345678901234567890, True, False, None) == [
        "-0.1", "1e-09", "12345678901234567890", "true", "false", "",
    ]  # fmt: skip


def test_quotes_lines_and_hidden_characters_survive_and_null_bytes_do_not() -> None:
    assert cells('say "hi",\nthen\u202e go', "a\0b", "\ud800") == ['say "hi",\nthen\u202e go', "ab", "\ufffd"]


def test_lists_and_objects_are_json_and_can_be_no_formula() -> None:
    assert cells({"a": [1]}, ["=1"]) == ['{"a":[1]}', '["=1"]']


def test_a_header_is_no_formula_either() -> None:
    text = b"".join(exporting.csv_lines(["=cmd"], [])).decode()
    assert text == "'=cmd\r\n"


def test_each_row_is_one_line_of_json_with_every_column() -> None:
    lines = b"".join(exporting.json_lines(["a", "b"], [{"a": "x\ny"}, {"b": [1], "c": 2}])).splitlines()
    assert [json.loads(line) for line in lines] == [{"a": "x\ny", "b": None}, {"a": None, "b": [1]}]


def test_many_rows_come_in_pieces() -> None:
    pieces = list(exporting.csv_lines(["a"], ({"a": i} for i in range(1000))))
    assert len(pieces) > 4
    assert b"".join(pieces).count(b"\r\n") == 1001


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(UnknownNameError, match="csv, jsonl"):
        exporting.respond("xlsx", "run", ["a"], [])


def test_the_files_name_can_not_break_the_header() -> None:
    found = exporting.respond("csv", '../a"b\r\nX: y\u202e.exe', ["a"], [])
    assert found.headers["content-disposition"] == 'attachment; filename="a-b-X-y-.exe.csv"'
