from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import extractions
from ratchet.errors import ConfigError, ScorerError, UnknownNameError
from ratchet.records import Extraction, Failure, Trace


def extract(spec: Any, output: Any, **facts: Any) -> Trace:
    return extractions.compile(extractions.resolve(spec))(Trace(id="a" * 32, output=output, **facts))


FENCED = 'Here it is:\n```json\n{"answer": "yes", "inner": {"list": [1, 2]}}\n```\nHope that helps {friend}.'


@pytest.mark.parametrize(
    ("spec", "output", "answer"),
    [
        ({"json_key": {"key": "answer"}}, '{"answer": "yes"}', "yes"),
        ({"json_key": {"key": "answer"}}, FENCED, "yes"),
        ({"json_key": {"key": "answer"}}, {"answer": 4}, 4),
        ({"type": "nested_key", "args": {"keys": ["inner", "list", -1]}}, FENCED, 2),
        ({"split": {"delimiter": "Answer:", "index": -1}}, "Thought. Answer: 42", " 42"),
        ({"custom_answer": {"primary_key": "final", "fallback_key": "answer"}}, FENCED, "yes"),
        ({"custom_answer": {"primary_key": "answer", "fallback_key": "x"}}, '{"answer": 0, "x": 1}', 0),
        ({"custom_answer": {"primary_key": "a", "fallback_key": "b"}}, '{"a": null, "b": 1}', 1),
        ({"regex": {"pattern": r"answer is (\w+)"}}, "The answer is A, no: the answer is B", "A"),
        ({"regex": {"pattern": r"answer is (\w+)", "which": "last"}}, "answer is A, no: answer is B", "B"),
        ({"regex": {"pattern": r"(?P<x>\d+)-(\d+)", "group": 2}}, "12-34", "34"),
        ({"regex": {"pattern": "YES", "flags": "i"}}, "well, yes", "yes"),
        ("json", '[1, {"a": 2}]', [1, {"a": 2}]),
        ("strip", "  x\n", "x"),
        ({"tag": {"name": "score"}}, "<score>1</score> or rather <SCORE> 2 </SCORE>", "2"),
        ({"tag": {"name": "score", "which": "first"}}, "<score>1</score> <score>2</score>", "1"),
        ({"chain": [{"json_key": {"key": "answer"}}, {"split": {"delimiter": ",", "index": 1}}, "strip"]},
         '{"answer": "a, b"}', "b"),
    ],
)  # fmt: skip
def test_an_answer_is_extracted(spec: Any, output: Any, answer: Any) -> None:
    trace = extract(spec, output)
    assert trace.answer == answer
    assert trace.answer_error is None


@pytest.mark.parametrize(
    ("spec", "output", "error"),
    [
        ({"json_key": {"key": "answer"}}, '{"anser": 1}', "there is no key 'answer'; the keys are ['anser']"),
        ({"json_key": {"key": "answer"}}, "yes", "there is no JSON in 'yes'"),
        ({"json_key": {"key": "answer"}}, "[1]", "there is no key 'answer' in a list"),
        ({"nested_key": {"keys": ["a", 3]}}, '{"a": [1]}', "there is no item 3; the list has 1"),
        ({"split": {"delimiter": "|", "index": 2}}, "a|b", "gives 2 part(s), no part 2"),
        ({"split": {"delimiter": "|", "index": 0}}, {"a": 1}, "the output is a dict, expected text"),
        ({"regex": {"pattern": "x(y)?"}}, "x", "group 1 of 'x(y)?' matched nothing"),
        ({"regex": {"pattern": "(x+x+)+y"}}, "x" * 60, "matches nothing"),
        ({"regex": {"pattern": "^(a|aa)+$"}}, "a" * 60 + "!", "took over"),
        ({"tag": {"name": "score"}}, "<score>4", "there is no <score>…</score>"),
        ("json", '{"a": NaN}', "there is no JSON"),
        ("strip", None, "the output is empty"),
    ],
)
def test_an_output_without_an_answer_is_none_with_the_reason_never_the_raw_text(
    spec: Any, output: Any, error: str
) -> None:
    trace = extract(spec, output)
    assert trace.answer is None
    assert error in (trace.answer_error or "")


def test_without_an_extraction_the_answer_is_the_output() -> None:
    assert extractions.compile(None)(Trace(id="a" * 32, output="x")).answer == "x"


def test_a_failed_trace_stays_as_it_is() -> None:
    failed = Trace(id="a" * 32, error=Failure(kind="timeout", message=""))
    assert extractions.compile(Extraction(kind="json"))(failed) is failed


def test_a_refusal_is_named_as_the_reason() -> None:
    assert extract("json", None, refusal="I can't").answer_error == "the model refused"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} and {"a": 2}', {"a": 2}),
        ('{"a": 1} [2]', {"a": 1}),
        ("first [1], then [2]", [2]),
        ('```\n{"a": 1}\n```\nlater {"a": 2}', {"a": 1}),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', {"a": 2}),
        ('\ufeff{"a": {"b": [{}]}}', {"a": {"b": [{}]}}),
        ("if (x) { y } " * 500 + '{"a": 1}', {"a": 1}),
    ],
)
def test_json_is_found_by_the_written_rule(text: str, value: Any) -> None:
    assert extractions.find_json(text) == value


@pytest.mark.parametrize(
    "text", ["[" * 300_000, '["' * 200_000, '{"a":' * 90_000, "[1," * 150_000, "x" * 500_001]
)
def test_text_made_to_be_slow_ends_without_json(text: str) -> None:
    with pytest.raises(ScorerError):
        extractions.find_json(text)


@given(st.one_of(st.text(max_size=200), st.text(alphabet='[]{}",:`\n\\ud8 01<>/a', max_size=200)))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_an_extraction_raise(text: str) -> None:
    for spec in (
        "json",
        {"json_key": {"key": "a"}},
        {"tag": {"name": "a"}},
        {"regex": {"pattern": "(a|b)c"}},
        {"split": {"delimiter": ",", "index": 1}},
    ):
        trace = extract(spec, text)
        assert trace.answer is not None or trace.answer_error or text.strip() == "null"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
@settings(max_examples=100, deadline=None)
def test_an_object_is_found_in_a_fence_whatever_it_holds(value: Any) -> None:
    text = f"So:\n```json\n{json.dumps({'value': value}, indent=1)}\n```\nDone [1]."
    assert extractions.find_json(text) == {"value": value}


def test_a_function_of_the_users_own_extracts_and_its_exceptions_are_reasons(tmp_path: Path) -> None:
    (tmp_path / "own_extract_a.py").write_text("def third(output, *, at=2):\n    return output.split()[at]\n")
    find = extractions.compile(Extraction(kind="own_extract_a:third"), root=tmp_path)
    assert find(Trace(id="a" * 32, output="a b c")).answer == "c"
    assert "raised IndexError" in (find(Trace(id="a" * 32, output="a")).answer_error or "")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"json_key": {"kye": "a"}}, "has no argument 'kye'.*Did you mean 'key'"),
        ({"json_key": {}}, "needs the argument 'key'"),
        ({"json_key": {"key": 3}}, "argument 'key' of extraction 'json_key' is 3"),
        ({"split": {"delimiter": "", "index": 0}}, "empty delimiter"),
        ({"regex": {"pattern": "("}}, "is not a regular expression"),
        ({"regex": {"pattern": "a", "group": 1}}, "has no group 1"),
        ({"regex": {"pattern": "a", "flags": "q"}}, "'q' in flags 'q' is unknown"),
        ({"chain": []}, "needs steps"),
        ({"tag": {"name": "a b"}}, "is not a tag's name"),
        (7, "7 is not an extraction"),
    ],
)
def test_arguments_that_do_not_fit_are_told_before_the_run(spec: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extractions.compile(extractions.resolve(spec))


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'json_key'"):
        extractions.compile(Extraction(kind="json_kee"))
