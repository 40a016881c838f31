from __future__ import annotations

import pytest

from ratchet import yaml12
from ratchet.yaml12 import YamlError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("2024-01-02", "2024-01-02"),
        ("1:30", "1:30"),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("-1.5", -1.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("!!timestamp 2024-01-02", "2024-01-02"),
    ],
)
def test_values_read_as_the_core_schema_says(text: str, value: object) -> None:
    found = yaml12.load(text)
    assert (found, type(found)) == (value, type(value))


def test_a_list_is_read_item_by_item_and_documents_whole() -> None:
    assert list(yaml12.items("- a\n- {b: 1}\n---\nc: 2\n")) == [(1, "a"), (2, {"b": 1}), (4, {"c": 2})]
    assert list(yaml12.documents("- a\n---\nb\n")) == [(1, ["a"]), (3, "b")]


def test_lines_of_parts_are_known() -> None:
    value, lines = yaml12.load_with_lines("a:\n  - x\n  - |\n    one\n    two\nb: 1\n")
    assert value == {"a": ["x", "one\ntwo\n"], "b": 1}
    assert (lines["a", 0], lines["a", 1], lines["b",]) == (2, 4, 6)


def test_aliases_that_explode_are_refused() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    merges = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9)
    )
    for text in (bomb, merges):
        with pytest.raises(YamlError, match="more than 1,000,000 values"):
            yaml12.load(text)


@pytest.mark.parametrize(
    "text",
    ["a: [", "&a [*a]", "[" * 5000, "\0", "!!python/name:os.system", "!!int abc", "? [a]\n: 1", "*x", "!x y"],
)
def test_hostile_text_is_one_kind_of_error(text: str) -> None:
    with pytest.raises(YamlError):
        yaml12.load(text)


def test_a_key_that_stands_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(yaml12.YamlError, match="the key 'a' stands on line 1 already") as caught:
        yaml12.load("a: 1\nb: 2\na: 3\n")
    assert caught.value.line == 3
