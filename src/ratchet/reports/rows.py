"""The rows of the table of examples and what opens below them, as HTML fragments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ratchet.evidence import FACTS, ArmData, Evidence
from ratchet.records import Json, Verdict
from ratchet.reports import charts, diffs, examples, numbers, texts, views
from ratchet.reports.examples import Detail, Paired

if TYPE_CHECKING:
    from jinja2 import Environment

FOLD_CHARS = 4_000
"""Longer texts show this much and fold the rest."""
MOST_CHARS = 40_000
"""Longer texts are cut: a report is not a store."""
MOST_FILE_CHARS = 40_000_000
"""All texts of one report together; the rows after that stand without theirs."""


class Rows:
    """Makes the fragments of one report, from worst to best."""

    def __init__(
        self,
        verdict: Verdict,
        evidence: Evidence,
        found: Paired,
        details: Callable[[int], Detail | None] | None,
        templates: Environment,
    ) -> None:
        self._evidence, self._found, self._details = evidence, found, details
        self._called = views.names(verdict, evidence)
        self._arms = [evidence.arms[name] for name in (self._called.baseline, self._called.candidate)]
        change = np.abs(found.after - found.before)
        self._top = float(np.nanmax(change)) if np.isfinite(change).any() else 0.0
        both = np.concatenate([found.before, found.after])
        both = both[np.isfinite(both)]
        low, high = (float(both.min()), float(both.max())) if len(both) else (math.nan, math.nan)
        self._unit = numbers.level_unit(found.metric, [low, high] if len(both) else [], rate=False)
        self._graded = found.higher_is_better and low >= 0 and high <= 1
        self._left = MOST_FILE_CHARS
        self._row = templates.get_template("_row.html")
        self._detail = templates.get_template("_detail.html")

    def fragment(self, index: int) -> dict[str, Any]:
        """Row and detail as HTML, with what the browser filters and sorts by."""
        found, evidence = self._found, self._evidence
        detail = self._details(index) if self._details and self._left > 0 else None
        before, after, gain = (float(a[index]) for a in (found.before, found.after, found.gain))
        item = self._item(index, detail, before, after, gain)
        return {
            "i": index,
            "id": texts.visible(evidence.examples[index]),
            "a": _number(before),
            "b": _number(after),
            # an answer lost or won sorts beyond every number
            "c": _number(after - before) if math.isfinite(gain) else None,
            "gain": max(-1e300, min(1e300, gain)) if not math.isnan(gain) else 0,
            "show": [name for name, on in (("worse", gain < 0), ("better", gain > 0), ("flipped", item["flipped"]), ("errored", item["errored"])) if on],
            "text": texts.cut(" ".join([evidence.examples[index], item["preview"], *item["slices"].values()]), 400).lower(),
            "html": self._row.render(row=item),
            "detail": self._detail.render(
                row=item, called=self._called, metric=found.metric, **self._detail_parts(index, detail)
            ),
        }  # fmt: skip

    def _item(
        self, index: int, detail: Detail | None, before: float, after: float, gain: float
    ) -> dict[str, Any]:
        slices = {name: values[index] for name, values in self._evidence.slices.items()}
        preview = " ".join(texts.cut(_plain(detail.input), 400).split()) if detail else ""
        return {
            "index": index,
            "id": self._evidence.examples[index],
            "preview": texts.cut(preview or ", ".join(filter(None, slices.values())), 120),
            "slices": slices,
            "group": int(self._evidence.groups[index]) if self._evidence.grouped else None,
            "before": self._cell(before),
            "after": self._cell(after),
            "change": self._unit.change(after - before) if math.isfinite(gain) else ("lost" if gain < 0 else "won" if gain > 0 else "-"),
            "tone": "down" if gain < 0 else "up" if gain > 0 else "flat",
            "bar": charts.change_bar(after - before, gain, self._top),
            "flipped": bool(self._found.flipped[index]),
            "errored": bool(self._found.errored[index]),
        }  # fmt: skip

    def _cell(self, value: float) -> dict[str, str]:
        if math.isnan(value):
            return {"text": "none", "grade": "none"}
        grade = min(4, int(5 * value)) if self._graded else 2
        return {"text": self._unit.level(value), "grade": f"q{grade}"}

    def _detail_parts(self, index: int, detail: Detail | None) -> dict[str, Any]:
        outputs = [self._outputs(arm, index, detail) for arm in self._arms]
        first, second = outputs
        sides: list[list[dict[str, Any]]] = [[], []]
        for number in range(max(len(first), len(second))):
            pair = [o[number] if number < len(o) else None for o in (first, second)]
            for side, shown in zip(sides, _diffed(pair), strict=True):
                if shown is not None:
                    side.append(shown)
        given = _plain(detail.input) if detail else ""
        expected = _plain(detail.expected) if detail else ""
        self._left -= len(given) + len(expected) + sum(len(o) for side in outputs for o in side)
        return {
            "input": folded(given) if given else None,
            "expected": folded(expected) if expected else None,
            "sides": [
                {
                    "name": arm.name,
                    "letter": "AB"[k],
                    "texts": sides[k],
                    "reasons": (detail.reasons.get(arm.name, {}) if detail else {}),
                    "error": (detail.errors.get(arm.name, "") if detail else ""),
                }
                for k, arm in enumerate(self._arms)
            ],
            "scores": self._scores(index),
        }

    def _outputs(self, arm: ArmData, index: int, detail: Detail | None) -> list[str]:
        given: Sequence[Json] = detail.outputs.get(arm.name, ()) if detail else ()
        if isinstance(given, str):  # one answer, not one a character
            given = [given]
        return [_plain(value) for value in (given or examples.answers(arm, index)) if value is not None]

    def _scores(self, index: int) -> list[dict[str, Any]]:
        """A line a metric with the values of both arms, repeat by repeat."""
        names = dict.fromkeys(name for arm in self._arms for name in arm.columns)
        ordered = sorted(names, key=lambda name: (name != self._found.metric, name in FACTS))
        found: list[dict[str, Any]] = []
        for name in ordered:
            values = [examples.repeats(arm, name, index) for arm in self._arms]
            known = [v for side in values for v in side if math.isfinite(v)]
            if known:
                unit = numbers.level_unit(name, known, rate=False)
                shown = [", ".join(_value(unit, v) for v in side) for side in values]
                found.append({"name": name, "values": shown})
        return found


def _value(unit: numbers.Unit, value: float) -> str:
    return "none" if math.isnan(value) else f"{value:g}" if value in (0.0, 1.0) else unit.level(value)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Json) -> str:
    """A value as text; a list of messages as `role: content`."""
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        return "\n\n".join(f"{m['role']}: {texts.as_text(m.get('content'))}" for m in value)
    if isinstance(value, dict) and len(value) == 1:
        return texts.as_text(next(iter(value.values())))
    return texts.as_text(value)


def folded(text: str) -> dict[str, Any]:
    """The text in three parts: shown, folded, and how many characters were cut."""
    return {
        "head": texts.inert(text[:FOLD_CHARS]),
        "rest": texts.inert(text[FOLD_CHARS:MOST_CHARS]),
        "rest_chars": max(0, min(len(text), MOST_CHARS) - FOLD_CHARS),
        "cut_chars": max(0, len(text) - MOST_CHARS),
    }


def _diffed(pair: Sequence[str | None]) -> list[dict[str, Any] | None]:
    """Both texts folded; with marks on words that only one has, where both are short enough to show whole."""
    before, after = pair
    if before is None or after is None or max(len(before), len(after)) > FOLD_CHARS or before == after:
        return [None if text is None else folded(text) for text in pair]
    shown: list[dict[str, Any] | None] = []
    for tag, runs in zip(("del", "ins"), diffs.word_diff(before, after), strict=True):
        marked = Markup(
            "".join(
                f"<{tag}>{texts.inert(run.text)}</{tag}>" if run.changed else texts.inert(run.text)
                for run in runs
            )
        )
        shown.append({"head": marked, "rest": Markup(""), "rest_chars": 0, "cut_chars": 0})
    return shown
