"""Scorers of one label, or of a set of labels, an answer.

Their metadata holds `predicted` and `expected`, so that `measures` finds F1, tables by label and the confusion
matrix without reading an answer again. An answer from which no known label can be read has None for `predicted`:
a class of its own, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ratchet.errors import ScorerError
from ratchet.extractions import find_json
from ratchet.records import Example, Json, Judgement, Trace
from ratchet.scorers._inputs import as_text, expected_of, short
from ratchet.scores import scorer

UNKNOWN = "(unknown)"
"""Stands in a set for labels that the vocabulary doesn't hold."""

_MAX_LABEL = 100


@scorer(version="1", inline=True, judges_errors=True)
def classification(
    trace: Trace,
    example: Example,
    *,
    vocabulary: list[str] | None = None,
    search: bool = False,
    ignore_case: bool = True,
    field: str | None = None,
) -> Judgement:
    """True where the answer is the expected label; white space around it doesn't count.

    Args:
        vocabulary: The labels there are, as they should be spelt; an answer that is none of them is no label.
        search: The answer may be prose that names exactly one label of the vocabulary.
        ignore_case: Case doesn't count; without a vocabulary, labels are then lower case.
    """
    expected = _spelt(as_text(expected_of(example, field)), vocabulary, ignore_case)
    if expected is None:
        raise ScorerError(
            f"example {example.id!r} expects {short(example.expected)}, which the vocabulary doesn't hold"
        )
    if trace.error is not None:
        return _no_answer(f"no answer: {trace.error.kind}", None, expected)
    if trace.answer_error is not None:
        return _no_answer(f"no answer: {trace.answer_error}", False, expected)
    text = as_text(trace.answer)
    predicted = _spelt(text, vocabulary, ignore_case)
    if predicted is None and search:
        named = _named_in(text, vocabulary or (), ignore_case)
        predicted = named[0] if len(named) == 1 else None
    if not predicted:
        return _no_answer(f"no label in the answer {short(text)}", False, expected)
    passed = predicted == expected
    return Judgement(
        value=passed,
        reason=None if passed else f"{predicted!r} is not {expected!r}",
        metadata={"predicted": predicted, "expected": expected},
    )


def _no_answer(reason: str, value: bool | None, expected: Json) -> Judgement:
    return Judgement(value=value, reason=reason, metadata={"predicted": None, "expected": expected})


def _spelt(text: str, vocabulary: Sequence[str] | None, ignore_case: bool) -> str | None:
    """The label as the vocabulary spells it; None where it isn't there."""
    text = text.strip()
    folded = text.casefold() if ignore_case else text
    if vocabulary is None:
        return folded if len(folded) <= _MAX_LABEL else f"{folded[: _MAX_LABEL - 1]}…"
    for label in vocabulary:
        if (label.strip().casefold() if ignore_case else label.strip()) == folded:
            return label
    return None


def _named_in(text: str, vocabulary: Sequence[str], ignore_case: bool) -> list[str]:
    flags = re.IGNORECASE if ignore_case else 0
    return [
        label
        for label in vocabulary
        if label.strip() and re.search(rf"(?<!\w){re.escape(label.strip())}(?!\w)", text, flags)
    ]


_PARTS = ("", "exact", "jaccard", "f1")


@scorer(version="1", inline=True, judges_errors=True, parts=_PARTS)
def labels(
    trace: Trace,
    example: Example,
    *,
    vocabulary: list[str] | None = None,
    search: bool = False,
    ignore_case: bool = True,
    empty: float = 1.0,
    none: list[str] | None = None,
    field: str | None = None,
) -> dict[str, Judgement]:
    """The set of labels in the answer as `labels`, and how it meets the expected set: `labels.exact` (True or
    False), `labels.jaccard` and `labels.f1` (0 to 1).

    Sets are read from lists, JSON, or text with a label a line or between commas.

    Args:
        vocabulary: The labels there are; all others count as one wrong label, "(unknown)".
        search: The answer may be prose: the labels are those of the vocabulary that it names.
        empty: Jaccard and F1 where nothing is expected and nothing predicted; such rows have `both_empty`.
        none: Words that mean no label at all; by default none, nothing, "no labels" and n/a.
    """
    nothing = [word.casefold() for word in (_NONE if none is None else none)]
    expected = read_labels(expected_of(example, field), vocabulary, ignore_case, nothing)
    if expected is None or UNKNOWN in expected:
        raise ScorerError(
            f"example {example.id!r} expects {short(example.expected)}, which are not known labels"
        )
    if trace.error is not None:
        return _unread(f"no answer: {trace.error.kind}", None, expected)
    if trace.answer_error is not None:
        return _unread(f"no answer: {trace.answer_error}", 0.0, expected)
    if isinstance(trace.answer, str) and not trace.answer.strip():
        predicted: frozenset[str] | None = None  # silence names no set, not the empty one
    elif search and isinstance(trace.answer, str):
        predicted = frozenset(_named_in(trace.answer, vocabulary or (), ignore_case))
    else:
        predicted = read_labels(trace.answer, vocabulary, ignore_case, nothing)
    if predicted is None:
        return _unread(f"no labels in the answer {short(trace.answer)}", 0.0, expected)
    union, shared = predicted | expected, predicted & expected
    metadata: dict[str, Json] = {"predicted": sorted(predicted), "expected": sorted(expected)}
    if not union:
        metadata["both_empty"] = True
    wrong = [f"unexpected: {', '.join(sorted(predicted - expected))}"] if predicted - expected else []
    wrong += [f"missing: {', '.join(sorted(expected - predicted))}"] if expected - predicted else []
    reason = "; ".join(wrong) or None
    return {
        "": Judgement(value=predicted, reason=reason, metadata=metadata),
        "exact": Judgement(value=predicted == expected, reason=reason),
        "jaccard": Judgement(value=len(shared) / len(union) if union else empty),
        "f1": Judgement(value=2 * len(shared) / (len(predicted) + len(expected)) if union else empty),
    }


_NONE = ("none", "nothing", "no labels", "n/a", "null")


def _unread(reason: str, value: float | None, expected: frozenset[str]) -> dict[str, Judgement]:
    """Scores of an answer without a readable set: 0 where the model answered, None where the call failed."""
    metadata = {"predicted": None, "expected": sorted(expected)}
    exact = None if value is None else False
    return {
        "": Judgement(value=None, reason=reason, metadata=metadata),
        "exact": Judgement(value=exact, reason=reason),
        "jaccard": Judgement(value=value, reason=reason),
        "f1": Judgement(value=value, reason=reason),
    }


def read_labels(
    value: Json, vocabulary: Sequence[str] | None, ignore_case: bool, none: Sequence[str] = _NONE
) -> frozenset[str] | None:
    """The set of labels that this value says; None where it says no set at all."""
    if isinstance(value, str):
        value = _split_labels(value)
    if isinstance(value, Mapping):
        # {"DRY": true, "SRP": false}: a set by its members
        if not all(isinstance(member, bool) for member in value.values()):
            return None
        value = [str(label) for label, member in value.items() if member]
    if not isinstance(value, (list, tuple, set, frozenset)):
        return None
    words = [item.strip() for item in value if isinstance(item, str)]
    if len(words) != len(value):
        return None
    words = [word for word in words if word and word.casefold() not in none]
    return frozenset(_spelt(word, vocabulary, ignore_case) or UNKNOWN for word in words)


def _split_labels(text: str) -> Json:
    stripped = text.strip()
    if stripped.startswith(("[", "{", "```")):
        try:
            return find_json(stripped)
        except ScorerError:
            stripped = stripped.strip("`[]{}")
    parts = re.split(r"[,;\n]", stripped)
    return [_BULLET.sub("", part).strip().strip("\"'`.").strip() for part in parts]


_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
