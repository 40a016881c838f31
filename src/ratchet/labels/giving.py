"""One label: what a person said becomes a Score, and is kept, skipped or taken back."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ratchet import codec, sheets
from ratchet.errors import ConfigError, PlanError, UnknownNameError
from ratchet.labels import rubrics
from ratchet.labels.queues import Queue
from ratchet.labels.rubrics import TIE, Rubric
from ratchet.ports import LabelEvent, LabelItem, Store
from ratchet.records import Json, Score, ScoreValue

MOST_NOTE = 4000
MOST_SECONDS = 3600.0
UNDO_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person said about one item."""

    position: int
    slot: int
    value: Json
    """A choice's value or name; for pairs "left", "right" or "tie"."""
    note: str = ""
    seconds: float | None = None
    """From the item shown to the key pressed."""
    rubric_version: str = ""
    """Of the rubric that the person saw; the newest by default."""
    token: str = ""
    """Tells a label sent twice from two labels."""


def lease(store: Store, queue: Queue, person: str, *, most: int) -> list[LabelItem]:
    """The items that this person may label now, in order; those they hold already are among them."""
    now = time.time()
    return store.lease_items(queue.id, person, most=most, now=now, until=now + queue.recipe.lease_s)


def give(store: Store, queue: Queue, item: LabelItem, person: str, answer: Answer) -> Score | None:
    """The Score of this answer, kept and counted; None where the item has gone to another person by now.

    Raises:
        ConfigError: The value is none of the rubric's; the message says what was expected.
        UnknownNameError: No such version of the rubric.
    """
    rubric = rubrics.load(store, queue.rubric, answer.rubric_version or None)
    if rubric is None:
        raise UnknownNameError(
            f"version of the rubric {queue.rubric!r}",
            answer.rubric_version,
            [version for version, _, _ in rubrics.versions(store, queue.rubric)],
        )
    score = to_score(queue, item, person, answer, rubric)
    kept = store.finish_item(queue.id, item.position, item.slot, score, token=answer.token)
    return None if kept is None else score


def to_score(queue: Queue, item: LabelItem, person: str, answer: Answer, rubric: Rubric) -> Score:
    """The Score that this answer is.

    Raises:
        ConfigError: The value is none of the rubric's.
    """
    metadata: dict[str, Json] = {
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "queue": queue.id,
        "position": item.position,
        "why": item.details.get("why"),
        "probability": item.details.get("probability"),
        "seconds": _seconds(answer.seconds),
        "repeat_of": item.repeat_of,
    }
    if item.against is not None:
        metadata["left"] = item.details.get("left")
    return Score(
        trace_id=item.trace_id,
        against=item.against if queue.is_pairwise else None,
        name=queue.recipe.score,
        value=_value(rubric, answer.value, item.details),
        reason=note_of(answer.note),
        source="human",
        by=person,
        dimension=queue.dimension,
        metadata={key: value for key, value in metadata.items() if value is not None},
        created_at=time.time(),
    )


def _value(rubric: Rubric, said: Json, details: Mapping[str, Json]) -> ScoreValue:
    if rubric.kind == "pair":
        won = {"left": details.get("left") == "candidate", "right": details.get("left") != "candidate"}
        if said == "tie":
            return TIE
        if said not in won:
            raise ConfigError(f"{said!r}: expected left, right or tie")
        return 1.0 if won[str(said)] else 0.0
    return _read(rubric, said)


def _read(rubric: Rubric, said: Json) -> ScoreValue:
    try:
        return rubric.read(said)
    except ValueError as error:
        shown = repr(said)
        raise ConfigError(f"{shown[:60]}: {error}") from None


def note_of(text: str) -> str | None:
    """A note as it is kept: at most 4,000 characters, None where it is blank."""
    return codec.clean_text(text.strip())[:MOST_NOTE] or None


def _seconds(seconds: float | None) -> float | None:
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return round(min(seconds, MOST_SECONDS), 2)


def quick(
    store: Store, trace_id: str, name: str, value: Json, *, by: str, note: str = "", why: str = "compare"
) -> Score:
    """A label given in passing, outside any queue: on the page of a comparison or of a trace.

    Without a rubric of this name, true, false, a number or text is taken as it is.

    Raises:
        PlanError: The store has no such trace.
        ConfigError: The value is none of the rubric's, or no value of a score; or the score has no name.
    """
    trace = store.trace(trace_id)
    if trace is None:
        raise PlanError(f"the store has no trace {trace_id!r}")
    if not name.strip():
        raise ConfigError("the label has no name; expected what the score is to be called, such as quality")
    rubric = rubrics.load(store, name)
    if rubric is None and not isinstance(value, (bool, int, float, str)):
        raise ConfigError(f"{value!r}: expected true, false, a number or a label")
    run = store.run(trace.run_id) if trace.run_id else None
    scorer = sheets.scorer_of(run, name) if run is not None else None
    metadata: dict[str, Json] = {"why": why}
    if rubric is not None:
        metadata |= {"rubric": rubric.name, "rubric_version": rubric.version}
    score = Score(
        trace_id=trace_id,
        name=codec.clean_text(name.strip()),
        value=value if rubric is None else _read(rubric, value),
        reason=note_of(note),
        source="human",
        by=by,
        dimension=scorer.dimension if scorer else "accuracy",
        metadata=metadata,
        created_at=time.time(),
    )
    store.write([score])
    return score


def undo(store: Store, queue: Queue, person: str, *, token: str = "") -> LabelEvent | None:
    """What this person's last label or skip was, taken back; None where nothing is left of their last 50 steps."""
    now = time.time()
    return store.undo_label(
        queue.id, person, now=now, until=now + queue.recipe.lease_s, steps=UNDO_STEPS, token=token
    )
