from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import scores
from ratchet.errors import ConfigError
from ratchet.records import Score
from ratchet.scorers._calls import calls_in

Judge = Callable[..., dict[str, Score]]

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
CALL = {"name": "weather", "parameters": {"city": "Paris", "days": 5}}


@pytest.mark.parametrize(
    ("spec", "answer", "expected", "value"),
    [
        ("json_valid", '{"a": 1}', None, True),
        ("json_valid", 'Here: {"a": 1}', None, False),
        ("json_valid", "NaN", None, False),
        ({"json_valid": {"lenient": True}}, 'Here: {"a": 1}', None, True),
        ({"json_valid": {"kind": "array"}}, '{"a": 1}', None, False),
        ({"json_schema": {"schema": SCHEMA}}, '{"a": 1}', None, True),
        ({"json_schema": {"schema": SCHEMA}}, '{"a": "1"}', None, False),
        ({"json_schema": {"schema": SCHEMA}}, "no", None, False),
        ("json_field", '{"a": 1, "b": 2}', {"a": 1}, True),
        ("json_field", '{"a": 1}', '{"a": 1}', True),
        ({"json_field": {"fields": ["x.y"]}}, '{"x": {"y": [1]}}', {"x": {"y": [1]}, "z": 1}, True),
        ({"json_field": {"match": "any"}}, '{"a": 1}', {"a": 1, "b": 2}, True),
        ({"json_field": {"ignore_case": True}}, '{"a": "X"}', {"a": "x"}, True),
        ("json_structure", '{"a": 5, "b": [{"c": "x"}]}', {"a": 1, "b": [{"c": ""}]}, True),
        ("json_structure", '{"a": 5, "z": 1}', {"a": 1}, False),
        ({"json_structure": {"extra": True}}, '{"a": 5, "z": 1}', {"a": 1}, True),
    ],
)
def test_structure_is_judged(score: Judge, spec: Any, answer: Any, expected: Any, value: bool) -> None:
    (found,) = score(spec, answer, expected).values()
    assert found.value is value


def test_a_schema_names_the_place_that_does_not_fit(score: Judge) -> None:
    found = score({"json_schema": {"schema": SCHEMA}}, '{"a": "1"}')["json_schema"]
    assert found.reason == "at $.a: '1' is not of type 'integer'"


def test_a_schema_file_is_read_when_the_scorer_is_resolved(tmp_path: Path, score: Judge) -> None:
    (tmp_path / "answer.yaml").write_text("type: object\nrequired: [a]\n")
    found = scores.resolve({"json_schema": {"schema": "answer.yaml"}}, root=tmp_path)
    assert found.settings["schema"] == {"type": "object", "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objct"}, r"the schema is wrong at \$.type"),
        ("missing.json", "missing.json: the schema can't be read"),
    ],
)
def test_a_bad_schema_is_told_before_the_run(tmp_path: Path, schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scores.resolve({"json_schema": {"schema": schema}}, root=tmp_path)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#"}, "RecursionError"),
        ({"type": "string", "pattern": "^(a|aa)+$"}, "took over"),
    ],
)
def test_a_schema_that_cannot_be_applied_scores_none(score: Judge, schema: Any, reason: str) -> None:
    found = score({"json_schema": {"schema": schema}}, '"' + "a" * 60 + '!"')["json_schema"]
    assert found.value is None
    assert reason in (found.reason or "")


def test_a_schema_elsewhere_is_never_fetched(score: Judge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        found = score({"json_schema": {"schema": {"$ref": url}}}, "{}")["json_schema"]
        with pytest.raises(TimeoutError):
            server.accept()
    assert "nothing is fetched" in (found.reason or "")


def test_a_field_comparison_reports_mismatching_and_missing_fields(score: Judge) -> None:
    found = score("json_field", '{"a": 1, "b": 2}', {"a": 1, "b": 3, "c": 1})["json_field"]
    assert found.reason == "mismatching: b; missing: c"
    assert found.metadata == {"mismatching": ["b"], "missing": ["c"]}


@pytest.mark.parametrize(
    "answer",
    [
        '{"name": "weather", "parameters": {"city": "Paris", "days": 5}}',
        "{'name': 'weather', 'arguments': {'days': 5, 'city': 'Paris'}}",
        'Sure:\n```json\n[{"name": "weather", "arguments": "{\\"city\\": \\"Paris\\", \\"days\\": 5}"}]\n```',
        "weather(city='Paris', days=5)",
        '[weather(days=5, city="Paris")]',
        {"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Paris", "days": 5.0}}}]},
    ],
)
def test_a_function_call_is_read_in_many_shapes(score: Judge, answer: Any) -> None:
    assert {name: s.value for name, s in score("function_call", answer, CALL).items()} == {
        "function_call": True,
        "function_call.name_correct": True,
        "function_call.arguments_correct": True,
    }


@pytest.mark.parametrize(
    ("answer", "name", "arguments"),
    [
        ("forecast(city='Paris', days=5)", False, True),
        ("weather(city='Rome', days=5)", True, False),
        ("weather(city='Paris')", True, False),
        ("weather(city='Paris', days=5, unit='C')", True, False),
        ("weather(city='Paris', days='5')", True, False),
        ("[weather(city='Paris', days=5), weather(city='Rome', days=5)]", False, False),
        ("It will rain.", False, False),
    ],
)
def test_name_and_arguments_are_judged_apart(score: Judge, answer: str, name: bool, arguments: bool) -> None:
    found = score("function_call", answer, CALL)
    assert found["function_call.name_correct"].value is name
    assert found["function_call.arguments_correct"].value is arguments
    assert found["function_call"].value is False


def test_tool_calls_of_the_trace_come_first_and_types_may_be_lenient(score: Judge) -> None:
    calls = (
        {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris", "days": "5"}'}},
    )
    assert score("function_call", "text", CALL, tool_calls=calls)["function_call"].value is False
    lenient = {"function_call": {"types": "lenient"}}
    assert score(lenient, "text", CALL, tool_calls=calls)["function_call"].value is True


def test_several_calls_come_in_any_order_unless_ordered(score: Judge) -> None:
    wanted = [{"name": "f", "arguments": {"x": 1}}, {"name": "f", "arguments": {"x": 2}}, {"name": "g"}]
    answer = "[g(), f(x=2), f(x=1)]"
    assert score("function_call", answer, wanted)["function_call"].value is True
    assert score({"function_call": {"ordered": True}}, answer, wanted)["function_call"].value is False


def test_no_call_is_right_where_none_is_expected(score: Judge) -> None:
    assert score("function_call", "Hello!", [])["function_call"].value is True
    assert score("function_call", "f(x=1)", [])["function_call"].value is False


@given(st.text(max_size=150) | st.text(alphabet="()[]{}'\":,=\\xf0 -*fa\n`", max_size=150))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_reading_calls_raise(text: str) -> None:
    calls_in(text)


@pytest.mark.parametrize(
    "text", ["(" * 50_000, "-" * 50_000 + "1", "[" * 99_000, "f(" * 40_000, "'\\d' + 1", "1_000if x"]
)
def test_literals_made_to_break_a_parser_are_no_calls(text: str) -> None:
    assert calls_in(text) is None
