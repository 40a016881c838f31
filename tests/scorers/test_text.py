from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ratchet import scores
from ratchet.errors import ConfigError
from ratchet.records import Score
from ratchet.scorers.text import parse_number

Judge = Callable[..., dict[str, Score]]


@pytest.mark.parametrize(
    ("spec", "answer", "expected", "value"),
    [
        ("exact_match", " Paris\n", "Paris", True),
        ("exact_match", "paris", "Paris", False),
        ({"exact_match": {"ignore_case": True}}, "paris", "Paris", True),
        ({"exact_match": {"strip": False}}, "Paris ", "Paris", False),
        ({"exact_match": {"normalise": True}}, "The  Eiffel-Tower!", "eiffel tower", True),
        ({"exact_match": {"field": "city"}}, "Paris", {"city": "Paris"}, True),
        ("exact_match", "NYC", ["New York", "NYC"], True),
        ("exact_match", {"a": 1.0}, {"a": 1}, True),
        ("exact_match", True, 1, False),
        ("exact_match", "4", 4, True),
        ("exact_match", None, "Paris", False),
        ("contains", "Paris, France", "France", True),
        ({"contains": {"text": ["PARIS", "rome"], "ignore_case": True}}, "Paris", None, False),
        ({"contains": {"text": ["PARIS", "rome"], "ignore_case": True, "match": "any"}}, "Paris", None, True),
        ({"regex": {"pattern": ["^P", "x$"]}}, "Paris", None, True),
        ({"regex": {"pattern": ["^P", "x$"], "match": "all"}}, "Paris", None, False),
        ({"regex": {"pattern": "paris", "flags": "i", "whole": True}}, "Paris!", None, False),
        ("regex", "order 12", r"\d+", True),
        ("numeric", "$1,234.50", 1234.5, True),
        ("numeric", "1234.6", "1,234.5", False),
        ({"numeric": {"abs_tol": 0.2}}, "1234.6", "1,234.5", True),
        ({"numeric": {"rel_tol": 0.1}}, "95", 100, True),
        ({"numeric": {"which": "last"}}, "3 apples and 4 pears: 7.", 7, True),
        ({"numeric": {"which": "first"}}, "3 apples and 4 pears: 7.", 3, True),
        ({"numeric": {"percent": "share"}}, "12%", 0.12, True),
        ({"numeric": {"decimal": ","}}, "1.234,5", "1234,5", True),
        ("numeric", "none at all", 3, False),
        ("numeric", 7, 7.0, True),
    ],
)
def test_text_is_judged(score: Judge, spec: Any, answer: Any, expected: Any, value: bool) -> None:
    (found,) = score(spec, answer, expected).values()
    assert found.value is value


@pytest.mark.parametrize(
    ("spec", "answer", "expected", "reason"),
    [
        ({"contains": {"text": ["Paris", "Rome"]}}, "Paris", None, "missing: ['Rome']"),
        ("numeric", "about 3", 3, "no number in the answer 'about 3'"),
        ("numeric", "4", 3, "4 is not 3"),
    ],
)
def test_a_fail_says_why(score: Judge, spec: Any, answer: Any, expected: Any, reason: str) -> None:
    (found,) = score(spec, answer, expected).values()
    assert (found.value, found.reason) == (False, reason)


@pytest.mark.parametrize(
    ("spec", "expected", "reason"),
    [
        ("exact_match", None, "example '1' has no expected value"),
        ({"exact_match": {"field": "cty"}}, {"city": "x"}, "Did you mean 'city'?"),
        ({"exact_match": {"field": "city"}}, "x", "expects a str, so it has no key 'city'"),
        ("numeric", "many", "'many', is not a number"),
        ("regex", "(", "is not a regular expression"),
        ({"regex": {"pattern": "^(a|aa)+$"}}, None, "took over 0.5 s"),
    ],
)
def test_what_cannot_be_judged_is_none_with_the_reason(
    score: Judge, spec: Any, expected: Any, reason: str
) -> None:
    (found,) = score(spec, "a" * 60 + "!", expected).values()
    assert found.value is None
    assert reason in (found.reason or "")


def test_an_answer_that_was_not_extracted_scores_none(score: Judge) -> None:
    (found,) = score("exact_match", None, "x", answer_error="there is no JSON").values()
    assert (found.value, found.reason) == (None, "no answer: there is no JSON")


def test_a_bad_pattern_is_told_before_the_run() -> None:
    with pytest.raises(ConfigError, match="not a regular expression"):
        scores.resolve({"regex": {"pattern": "("}})


@pytest.mark.parametrize(
    ("text", "which", "number"),
    [
        ("-3", "whole", -3.0),
        ("\u22125", "whole", -5.0),
        ("-$5.25", "whole", -5.25),
        ("3e-2", "whole", 0.03),
        (".5", "whole", 0.5),
        ("1,2", "whole", None),
        ("1,2", "last", 2.0),
        ("9" * 400, "whole", None),
        ("x2", "last", None),
        (True, "whole", None),
        (float("inf"), "whole", None),
    ],
)
def test_a_number_is_read_as_people_write_it(text: Any, which: str, number: float | None) -> None:
    assert parse_number(text, which) == number


@given(st.text() | st.text(alphabet="0123456789.,-+$%eE "), st.sampled_from(["whole", "first", "last"]))
def test_no_text_makes_the_number_parser_raise(text: str, which: str) -> None:
    for decimal in (".", ","):
        number = parse_number(text, which, "share", decimal)
        assert number is None or number == number
