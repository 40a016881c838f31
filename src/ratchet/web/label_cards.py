"""One item of a queue as the labelling screen shows it: what was asked, the answer or the pair, the rubric's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ratchet import codec
from ratchet.agreements import text_of
from ratchet.labels.rubrics import TIE, Rubric
from ratchet.ports import LabelItem
from ratchet.records import Json, Score, ScoreValue, Trace
from ratchet.reports import texts
from ratchet.reports.rows import diffed

if TYPE_CHECKING:
    from ratchet.labels.queues import Queue
    from ratchet.stores.sqlite import SQLiteStore

Folded = Mapping[str, Any]
_MOST_REASON = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One answer on a card."""

    letter: str
    """A or B; left and right of a blind pair."""
    name: str
    """The arm's name; empty where it is hidden."""
    text: Folded | None
    error: str = ""
    tool_calls: Folded | None = None
    labelled: bool = False
    """Whether this is the answer that the label is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One item ready to show."""

    position: int
    slot: int
    example: str
    asked: Folded | None
    sent: Folded | None
    """The whole of what the model was sent, where that is more than what was asked."""
    expected: Folded | None
    sides: tuple[Side, ...]
    question: str
    """What the keys answer."""
    equal: bool
    """Both answers are the same text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """What a person may see once they have committed."""

    said: str
    note: str
    why: str
    judges: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)
    trace_id: str = ""


def card(store: SQLiteStore, queue: Queue, item: LabelItem, rubric: Rubric) -> Card:
    """What to show of this item; the texts of a trace that is gone are absent."""
    trace = store.trace(item.trace_id)
    other = store.trace(item.against) if item.against else None
    details = item.details
    asked = as_asked(details.get("input", trace.input if trace else None))
    sent = _sent(trace.input) if trace is not None else ""
    sides = _sides(queue, item, trace, other)
    return Card(
        position=item.position,
        slot=item.slot,
        example=str(details.get("example") or (trace.example_id if trace else "") or ""),
        asked=texts.folded(asked) if asked else None,
        sent=texts.folded(sent) if sent and sent.strip() != asked.strip() else None,
        expected=None
        if details.get("expected") is None
        else texts.folded(texts.as_text(details["expected"])),
        sides=sides,
        question=_question(queue, rubric, sides),
        equal=trace is not None and other is not None and _output(trace) == _output(other),
    )


def as_asked(given: Json) -> str:
    """An example's input for a reader: the last user message, or the variables by name."""
    if isinstance(given, list):
        messages = [m for m in cast("list[Json]", given) if isinstance(m, Mapping)]
        users = [m for m in messages if cast("Mapping[str, Json]", m).get("role") == "user"]
        return _content(cast("Mapping[str, Json]", users[-1])) if users else texts.as_text(given)
    if isinstance(given, Mapping):
        variables = cast("Mapping[str, Json]", given)
        if len(variables) == 1:
            return texts.as_text(next(iter(variables.values())))
        return "\n\n".join(f"{name}: {texts.as_text(value)}" for name, value in variables.items())
    return texts.as_text(given)


def _sent(given: Json) -> str:
    """All messages with their roles."""
    if not isinstance(given, list):
        return ""
    messages = [cast("Mapping[str, Json]", m) for m in cast("list[Json]", given) if isinstance(m, Mapping)]
    if len(messages) == 1:
        return _content(messages[0])
    return "\n\n".join(f"[{message.get('role', '')}]\n{_content(message)}" for message in messages)


def _content(message: Mapping[str, Json]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [p.get("text") for p in cast("list[Json]", content) if isinstance(p, Mapping)]
        if parts and all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    return texts.as_text(content)


def _sides(queue: Queue, item: LabelItem, trace: Trace | None, other: Trace | None) -> tuple[Side, ...]:
    if item.against is None:
        return (_side("", "", trace, texts.folded(_output(trace)), labelled=True),)
    pair = [other, trace]
    if item.details.get("left") == "candidate":
        pair.reverse()
    # marked as shown, left against right: marks by arm would tell which is which
    marked = diffed(_output(pair[0]), _output(pair[1]))
    return tuple(
        _side(
            letter,
            "" if queue.recipe.blind else _arm(one),
            one,
            text,
            labelled=one is trace and not queue.is_pairwise,
        )
        for letter, one, text in zip("AB", pair, marked, strict=True)
    )


def _side(
    letter: str, name: str, trace: Trace | None, text: Folded | None, *, labelled: bool = False
) -> Side:
    if trace is None:
        return Side(letter=letter, name=name, text=None, error="this answer is no longer in the store")
    return Side(
        letter=letter,
        name=name,
        text=text,
        error=trace.error.message if trace.error else "",
        tool_calls=texts.folded(texts.as_text(list(trace.tool_calls))) if trace.tool_calls else None,
        labelled=labelled,
    )


def _arm(trace: Trace | None) -> str:
    return (trace.arm or "") if trace is not None else ""


def _output(trace: Trace | None) -> str:
    if trace is None:
        return ""
    return texts.as_text(trace.output if trace.output is not None else trace.refusal)


def _question(queue: Queue, rubric: Rubric, sides: tuple[Side, ...]) -> str:
    if rubric.kind == "pair":
        return "Which answer is better?"
    if len(sides) > 1:
        letter = next(side.letter for side in sides if side.labelled)
        return f"Is {letter} good?" if rubric.kind == "pass" else f"{rubric.name} of {letter}"
    return {"pass": "Is this answer good?", "many": f"{rubric.name}: all that apply"}.get(
        rubric.kind, rubric.name
    )


def reveal(store: SQLiteStore, queue: Queue, item: LabelItem, score: Score, rubric: Rubric) -> Reveal:
    """What was said, and what judges and code say of the same: for after the label."""
    found: list[Mapping[str, Any]] = []
    for other in store.scores(trace_id=item.trace_id):
        own = other.name == score.name or (queue.is_pairwise and other.source == "judge")
        if (
            other.source in ("human", "user")
            or other.value is None
            or other.against != score.against
            or not own
        ):
            continue
        found.append(
            {
                "by": other.by.partition("@")[0],
                "source": other.source,
                "said": said(rubric, other.value, item.details),
                "same": text_of(other.value) == text_of(score.value),
                "reason": (other.reason or "")[:_MOST_REASON],
            }
        )
    return Reveal(
        said=said(rubric, score.value, item.details),
        note=score.reason or "",
        why=str(item.details.get("why") or ""),
        judges=tuple(found),
        trace_id=item.trace_id,
    )


def said(rubric: Rubric, value: ScoreValue, details: Mapping[str, Json]) -> str:
    """A value in the words of the rubric's buttons; of a pair the side as it was shown."""
    if rubric.kind == "pair" and isinstance(value, (int, float)):
        if value == TIE:
            return "Tie"
        return (
            "Left is better" if (value > TIE) == (details.get("left") == "candidate") else "Right is better"
        )
    for choice in rubric.choices:
        if type(choice.value) is type(value) and choice.value == value:
            return choice.label
    return text_of(value) if not isinstance(value, frozenset) or value else "none"


def earlier(event_data: Mapping[str, Json], rubric: Rubric, item: LabelItem | None) -> dict[str, Json]:
    """What a label that was taken back had said, for the card that shows it again."""
    score = codec.decode(Score, event_data["score"])
    words = said(rubric, score.value, item.details if item else {})
    return {"said": words, "value": codec.plain(score.value), "note": score.reason or ""}
