"""What scorers read from a trace and its example; what is not there raises ScorerError, so the score says why."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ratchet import codec
from ratchet.errors import ScorerError, did_you_mean
from ratchet.records import Example, Json, Trace


def answer_of(trace: Trace) -> Json:
    """The trace's answer.

    Raises:
        ScorerError: None could be extracted from the output.
    """
    if trace.answer_error is not None:
        raise ScorerError(f"no answer: {trace.answer_error}")
    return trace.answer


def expected_of(example: Example, field: str | None = None) -> Json:
    """What the example expects: all of it, or this key of it.

    Raises:
        ScorerError: It expects nothing, or has no such key.
    """
    if example.expected is None:
        raise ScorerError(
            f"example {example.id!r} has no expected value; name its column in the dataset's columns"
        )
    if field is None:
        return example.expected
    if not isinstance(example.expected, Mapping):
        kind = type(example.expected).__name__
        raise ScorerError(f"example {example.id!r} expects a {kind}, so it has no key {field!r}")
    if field not in example.expected:
        known = [str(key) for key in example.expected]
        raise ScorerError(
            f"what example {example.id!r} expects has no key {field!r}. "
            f"Known: {', '.join(known)}.{did_you_mean(field, known)}"
        )
    return example.expected[field]


def as_text(value: Json) -> str:
    """The value as a person writes it: text as it is, nothing as "", everything else as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def same(left: Json, right: Json) -> bool:
    """True where two JSON values are equal: 1 equals 1.0 and not true, keys in any order."""
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return codec.canonical(left) == codec.canonical(right)


def short(value: object, limit: int = 80) -> str:
    """The value for a reason: its repr, cut."""
    text = repr(value[: limit * 2] if isinstance(value, str) else value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
