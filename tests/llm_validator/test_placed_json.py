from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from ratchet.errors import ConfigError
from ratchet.llm_validator.placed_json import parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_it_reads_what_json_writes(value: object) -> None:
    for indent in (None, 2):
        assert parse(json.dumps(value, indent=indent)).value == value


@given(st.text(alphabet='{}[]",:0truefalsn \n\\', max_size=40))
def test_any_text_gives_what_json_gives_or_an_error_with_a_line(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ConfigError) as caught:
            parse(text)
        assert caught.value.line is not None
    else:
        assert parse(text).value == expected


def test_every_value_has_its_line() -> None:
    placed = parse('{\n "a": 1,\n "b": [\n  2,\n  {"c": 3}\n ]\n}')
    assert placed.lines == {
        (): 1, ("a",): 2, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "c"): 5,
    }  # fmt: skip


def test_a_tab_indented_file_and_escaped_pairs_are_read_as_python_reads_them() -> None:
    assert parse('{\n\t"a":\t"\\ud83d\\ude00 \\/"\n}').value == {"a": "😀 /"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{"a": 1,\n}', 2, "a comma before the closing '}'; remove it"),
        ("[1,\n 2,\n]", 3, "a comma before the closing ']'"),
        ('{"a": 1\n "b": 2}', 2, "expected ',' or '}'"),
        ("{'a': 1}", 1, "names stand in double quotes"),
        ("{\n\"a\": 'x'}", 2, "text stands in double quotes"),
        ('{"a": True}', 1, "JSON writes it true"),
        ('{"a": None}', 1, "JSON writes it null"),
        ('{"a": NaN}', 1, "a missing value is null"),
        ('{"a": 1} // end', 1, "the comment // follows the end"),
        ('{"a" 1}', 1, "after the key 'a', expected ':'"),
        ('{"a": "x\ny"}', 1, "a text without its closing quote"),
        ("", 1, "the end of the file"),
        ("[" * 500, 1, "nested more than"),
        ("1e999", 1, "too large"),
    ],
)
def test_what_a_person_did_wrong_is_named_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match="not JSON") as caught:
        parse(text)
    assert caught.value.line == line
    assert says in caught.value.message


def test_a_key_that_stands_twice_is_told_and_the_last_counts() -> None:
    placed = parse('{"a": 1,\n"b": {"c": 1,\n"c": 2}}')
    assert placed.value == {"a": 1, "b": {"c": 2}}
    assert placed.doubled == ((("b", "c"), 3),)
