"""What the traces and scores of one example say, ready to show: cost and time, reasons, people's labels, steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ratchet.records import Score, ScoreValue, Trace
from ratchet.reports import texts, timings, waterfalls
from ratchet.reports.examples import Detail

MOST_REASONS = 12
_SOURCES = {"judge": "judge", "human": "person", "user": "user"}


def answers(given: Detail, arm: str) -> list[dict[str, Any]]:
    """Of each repeat: what it cost, where its time went, which model answered, its trace."""
    return [
        {
            "trace_id": trace.id,
            "cost": timings.cost(trace),
            "time": timings.time(trace),
            "error": "" if trace.error is None else f"{trace.error.kind}: {trace.error.message}",
            "refusal": trace.refusal or "",
            "unread": trace.answer_error or "",
            "model": trace.model or "",
            "finish": trace.finish_reason if trace.finish_reason not in (None, "stop") else "",
            "answer": answer(trace),
        }
        for trace in given.traces.get(arm, ())
    ]


def answer(trace: Trace) -> str:
    """What scorers judged, where that is another text than the output."""
    if trace.answer is None or trace.answer == trace.output:
        return ""
    value = trace.answer
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(map(str, value)) or "(none)"
    text = texts.as_text(value)
    return text if len(text) <= 2_000 and text != texts.as_text(trace.output) else ""


def value_text(value: ScoreValue) -> str:
    """A score's value in a cell.

    >>> value_text(True), value_text(0.25), value_text(frozenset())
    ('pass', '0.25', '(none)')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "pass" if value else "fail"
    if isinstance(value, (int, float)):
        return f"{value:.4g}"
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "(none)"
    return texts.cut(value, 200)


def scores(given: Detail, arms: Sequence[str]) -> list[dict[str, Any]]:
    """A line a score of code and judges, with the values of both arms, repeat by repeat."""
    columns: list[dict[str, list[str]]] = [{}, {}]
    for column, arm in zip(columns, arms, strict=True):
        for number, trace in enumerate(given.traces.get(arm, ())):
            for score in given.scores.get(trace.id, ()):
                if score.source in ("code", "judge") and score.against is None:
                    line = column.setdefault(score.name, [])
                    line += ["-"] * (number - len(line))
                    line.append(value_text(score.value))
    names = dict.fromkeys((*columns[0], *columns[1]))
    return [{"name": name, "values": [_joined(column.get(name, [])) for column in columns]} for name in names]


def _joined(values: Sequence[str]) -> str:
    """Equal values of all repeats once."""
    if len(values) > 1 and len(set(values)) == 1:
        return f"{values[0]} (all {len(values)})"
    return ", ".join(values)


def judged(given: Detail, arm: str) -> list[dict[str, Any]]:
    """Reasons that code and judges gave, and what people said, the same words once."""
    found: dict[tuple[str, str, str, str, str], int] = {}
    for score in _told(given, arm):
        source = _SOURCES.get(score.source, "")
        line = (
            score.name,
            source,
            score.by if source else "",
            value_text(score.value) if source else "",
            texts.cut(score.reason or "", 4_000),
        )
        found[line] = found.get(line, 0) + 1
    names = ("name", "source", "by", "value", "reason")
    return [
        {**dict(zip(names, line, strict=True)), "count": count}
        for line, count in list(found.items())[:MOST_REASONS]
    ]


def _told(given: Detail, arm: str) -> Iterable[Score]:
    """Scores worth words: with a reason, or by people; one reason of several scores of a scorer stands once."""
    for trace in given.traces.get(arm, ()):
        seen: set[tuple[str, str]] = set()
        for score in given.scores.get(trace.id, ()):
            if score.against is not None or (score.source == "human" and score.value is None):
                continue
            key = (score.by, score.reason or "")
            if score.source in ("human", "user") or (score.reason and key not in seen):
                seen.add(key)
                yield score


def steps(given: Detail, arms: Sequence[str]) -> list[dict[str, Any]]:
    """The steps of both arms' first answers on one axis; of an answer that has none, nothing."""
    firsts = [given.traces[arm][0] if given.traces.get(arm) else None for arm in arms]
    rows = [waterfalls.steps(trace) if trace is not None else [] for trace in firsts]
    scale_s = max(map(waterfalls.total_s, rows))
    return [
        {
            "letter": letter,
            "name": arm,
            "chart": waterfalls.waterfall(found, label=texts.visible(f"Steps of {arm}"), scale_s=scale_s),
        }
        for letter, arm, found in zip("AB", arms, rows, strict=True)
        if found
    ]
