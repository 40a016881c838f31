from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ratchet.records import Failure, Score
from ratchet.scorers.labels import read_labels

Judge = Callable[..., dict[str, Score]]

TIMEOUT = Failure(kind="timeout", message="")
VOCABULARY = ["DRY", "SRP", "magic constants"]


@pytest.mark.parametrize(
    ("settings", "answer", "value", "predicted"),
    [
        ({}, " SPAM\n", True, "spam"),
        ({}, "ham", False, "ham"),
        ({"ignore_case": False}, "SPAM", False, "SPAM"),
        ({"vocabulary": ["Spam", "Ham"]}, "spam", True, "Spam"),
        ({"vocabulary": ["spam", "ham"]}, "It is spam.", False, None),
        ({"vocabulary": ["spam", "ham"], "search": True}, "It is spam.", True, "spam"),
        ({"vocabulary": ["spam", "ham"], "search": True}, "spam or ham", False, None),
        ({}, "", False, None),
        ({}, None, False, None),
    ],
)
def test_a_label_is_read_and_kept(
    score: Judge, settings: Any, answer: Any, value: bool, predicted: Any
) -> None:
    found = score({"classification": settings}, answer, "spam")["classification"]
    assert found.value is value
    assert found.metadata["predicted"] == predicted
    assert found.metadata["expected"].casefold() == "spam"


def test_a_failed_answer_keeps_what_was_expected(score: Judge) -> None:
    found = score("classification", None, "spam", error=TIMEOUT)["classification"]
    assert (found.value, found.reason) == (None, "no answer: timeout")
    assert found.metadata == {"predicted": None, "expected": "spam"}


def test_an_expected_label_outside_the_vocabulary_is_not_scored(score: Judge) -> None:
    found = score({"classification": {"vocabulary": ["a", "b"]}}, "a", "c")["classification"]
    assert found.value is None
    assert "which the vocabulary doesn't hold" in (found.reason or "")


@pytest.mark.parametrize(
    ("answer", "expected", "exact", "jaccard", "f1"),
    [
        ("DRY, SRP", ["srp", "dry"], True, 1.0, 1.0),
        ('["DRY"]', "DRY; SRP", False, 0.5, 2 / 3),
        ("- DRY\n- SRP\n- what?", "DRY", False, 1 / 3, 0.5),
        ('{"DRY": true, "SRP": false}', "DRY", True, 1.0, 1.0),
        ("```json\n[]\n```", "DRY", False, 0.0, 0.0),
        (["DRY"], ["DRY"], True, 1.0, 1.0),
        ("", "none", False, 0.0, 0.0),
        ("[1]", "none", False, 0.0, 0.0),
    ],
)
def test_label_sets_are_compared(
    score: Judge, answer: Any, expected: Any, exact: bool, jaccard: float, f1: float
) -> None:
    found = score({"labels": {"vocabulary": VOCABULARY}}, answer, expected)
    assert found["labels.exact"].value is exact
    assert found["labels.jaccard"].value == pytest.approx(jaccard)
    assert found["labels.f1"].value == pytest.approx(f1)


def test_empty_against_empty_is_declared_and_marked(score: Judge) -> None:
    found = score("labels", "None", [])
    assert (found["labels.jaccard"].value, found["labels"].value) == (1.0, frozenset())
    assert found["labels"].metadata["both_empty"] is True
    assert score({"labels": {"empty": 0.0}}, "[]", [])["labels.f1"].value == 0.0


def test_labels_are_found_in_prose_as_whole_words(score: Judge) -> None:
    spec = {"labels": {"vocabulary": VOCABULARY, "search": True}}
    assert score(spec, "It breaks DRY (see magic constants), LAUNDRY aside.", "DRY")["labels"].value == {
        "DRY",
        "magic constants",
    }


def test_the_metadata_holds_both_sets_and_unknown_labels_are_one(score: Judge) -> None:
    found = score({"labels": {"vocabulary": VOCABULARY}}, "srp, x, y", "DRY")["labels"]
    assert found.metadata == {"predicted": ["(unknown)", "SRP"], "expected": ["DRY"]}
    assert found.reason == "unexpected: (unknown), SRP; missing: DRY"


def test_a_failed_answer_is_none_under_each_name(score: Judge) -> None:
    found = score("labels", None, "a", error=TIMEOUT)
    assert {name: s.value for name, s in found.items()} == dict.fromkeys(
        ("labels", "labels.exact", "labels.jaccard", "labels.f1")
    )
    assert found["labels"].metadata == {"predicted": None, "expected": ["a"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON | st.text(alphabet='[]{}",:`\n-*.;1ab '))
def test_no_value_makes_reading_labels_raise(value: Any) -> None:
    found = read_labels(value, ["a", "b"], ignore_case=True)
    assert found is None or found <= {"a", "b", "(unknown)"}
