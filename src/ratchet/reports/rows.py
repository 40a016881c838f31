"""The rows of the table of examples and what opens beside them: the same for the report and for the page.

`item` says how one example stands in the table, `detail` what its two sides are; the templates `_row.html` and
`_detail.html` show both. `Rows` makes the fragments that a report carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ratchet.evidence import FACTS, Evidence
from ratchet.records import Json
from ratchet.reports import charts, diffs, examples, measured, numbers, texts, views
from ratchet.reports.examples import Detail, Paired
from ratchet.reports.numbers import Unit

if TYPE_CHECKING:
    from jinja2 import Environment

FOLD_INPUT_CHARS = 600
FOLD_INPUT_LINES = 8
MOST_FILE_CHARS = 40_000_000
"""All texts of one report together; the rows after that stand without theirs."""
MOST_REPEATS = 20
_EMPTY: Mapping[str, Any] = {"head": Markup(), "rest": Markup(), "rest_chars": 0, "cut_chars": 0}


def item(
    index: int,
    example: str,
    *,
    cells: Mapping[str, Any],
    before: float,
    after: float,
    gain: float,
    preview: str = "",
    slices: Mapping[str, str | None] | None = None,
    group: int | None = None,
    flipped: bool = False,
    errored: bool = False,
) -> dict[str, Any]:
    """One example as `_row.html` shows it.

    Args:
        cells: How numbers are shown, as in `comparisons.cells`.
        before, after: Of the headline metric; NaN: none.
        gain: The change, signed so that more is better; -inf an answer lost, inf one won, NaN unknown.
    """
    unit = Unit(**cells["unit"])
    known = {name: value for name, value in (slices or {}).items() if value}
    change = "lost" if gain == -math.inf else "won" if gain == math.inf else "-"
    return {
        "index": index,
        "id": example,
        "preview": texts.cut(preview or ", ".join(known.values()), 120),
        "slices": known,
        "group": group,
        "before": _cell(before, unit, cells["graded"]),
        "after": _cell(after, unit, cells["graded"]),
        "change": unit.change(after - before) if math.isfinite(gain) else change,
        "tone": "down" if gain < 0 else "up" if gain > 0 else "flat",
        "bar": charts.change_bar(after - before, gain, cells["top"]),
        "flipped": flipped,
        "errored": errored,
    }


def _cell(value: float, unit: Unit, graded: bool) -> dict[str, str]:
    if math.isnan(value):
        return {"text": "none", "grade": "none"}
    grade = min(4, int(5 * value)) if graded else 2
    return {"text": unit.level(value), "grade": f"q{grade}"}


def detail(
    found: Detail | None,
    called: views.Names,
    *,
    outputs: Mapping[str, Sequence[Json]] | None = None,
    scores: Sequence[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Both sides of one example as `_detail.html` shows them.

    Args:
        outputs: What to show where `found` holds no outputs: the short answers that evidence keeps.
        scores: Lines of the table of scores, where `found` holds none.
    """
    given = found or Detail()
    arms = (called.baseline, called.candidate)
    answers = [_outputs(given, arm, outputs or {}) for arm in arms]
    sides: list[list[dict[str, Any]]] = [[], []]
    for number in range(min(MOST_REPEATS, max(map(len, answers)))):
        pair = [answer[number] if number < len(answer) else None for answer in answers]
        again = number > 0 and all(
            number < len(answer) and answer[number] == answer[0] is not None for answer in answers
        )
        for side, shown in zip(sides, diffed(pair[0], pair[1]), strict=True):
            side.append({**(_EMPTY if again or shown is None else shown), "again": again})
    asked, expected = spelled(given.input), spelled(given.expected)
    measures = [measured.answers(given, arm) for arm in arms]
    return {
        "input": texts.folded(asked, most=FOLD_INPUT_CHARS, lines=FOLD_INPUT_LINES) if asked else None,
        "expected": texts.folded(expected, most=FOLD_INPUT_CHARS) if expected else None,
        "sides": [
            {
                "name": arm,
                "letter": "AB"[k],
                "texts": _with_measures(sides[k], measures[k]),
                "error": given.errors.get(arm, ""),
                "reasons": given.reasons.get(arm, {}),
                "judged": measured.judged(given, arm),
                "spent": measures[k][0] if measures[k] else None,
                "shown": len(answers[k]) <= MOST_REPEATS,
            }
            for k, arm in enumerate(arms)
        ],
        "scores": list(scores or measured.scores(given, arms)),
        "steps": measured.steps(given, arms),
    }


def _with_measures(
    shown: list[dict[str, Any]], measures: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each output with what its answer cost; an answer without output stands for itself."""
    count = max(len(shown), min(MOST_REPEATS, len(measures)))
    return [
        {
            **(shown[k] if k < len(shown) else {**_EMPTY, "again": False}),
            "spent": measures[k] if k < len(measures) else None,
        }
        for k in range(count)
    ]


def _outputs(given: Detail, arm: str, kept: Mapping[str, Sequence[Json]]) -> list[str | None]:
    if given.traces.get(arm):
        return [plain(trace.output) if trace.error is None else None for trace in given.traces[arm]]
    answers: Sequence[Json] = given.outputs.get(arm, ())
    if isinstance(answers, str):  # one answer, not one a character
        answers = [answers]
    return [plain(value) for value in (answers or kept.get(arm, ())) if value is not None]


def plain(value: Json) -> str:
    """A value as text; a list of messages as `role: content`."""
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        return "\n\n".join(f"{m['role']}: {texts.as_text(m.get('content'))}" for m in value)
    if isinstance(value, dict) and len(value) == 1:
        return texts.as_text(next(iter(value.values())))
    return texts.as_text(value)


def preview(value: Json) -> str:
    """The beginning of an input on one line; of messages the last one a user wrote, of columns their values."""
    if isinstance(value, list):
        asked = [m.get("content") for m in value if isinstance(m, dict) and m.get("role") == "user"]
        value = asked[-1] if asked else value
    parts: list[Json] = list(value.values()) if isinstance(value, dict) else [value]
    return " · ".join(" ".join(texts.cut(plain(part), 800).split()) for part in parts[:8])


def spelled(value: Json) -> str:
    """An input or an expected answer to be read: columns each under its name, labels in one line; else as `plain`."""
    if isinstance(value, dict) and len(value) > 1 and any(isinstance(part, str) for part in value.values()):
        return "\n\n".join(f"{name}:\n{texts.as_text(part)}" for name, part in value.items())
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return plain(value)


def diffed(before: str | None, after: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Both texts folded; with marks on words that only one has."""
    if before is None or after is None or before == after or max(len(before), len(after)) > diffs.MOST_CHARS:
        return None if before is None else texts.folded(before), None if after is None else texts.folded(
            after
        )
    return _marked(before, after)


@lru_cache(maxsize=256)
def _marked(before: str, after: str) -> tuple[dict[str, Any], dict[str, Any]]:
    left, right = diffs.word_diff(before, after)
    return _with_marks(left, "del"), _with_marks(right, "ins")


def _with_marks(runs: Sequence[diffs.Run], tag: str) -> dict[str, Any]:
    head, rest, shown = Markup(), Markup(), 0
    whole = sum(len(run.text) for run in runs)
    fold = whole if whole <= texts.FOLD_CHARS * 1.2 else texts.FOLD_CHARS
    for run in runs:
        for part, early in (
            (run.text[: max(0, fold - shown)], True),
            (run.text[max(0, fold - shown) :], False),
        ):
            if part:
                marked = Markup(f"<{tag}>{texts.inert(part)}</{tag}>") if run.changed else texts.inert(part)
                head, rest = (head + marked, rest) if early else (head, rest + marked)
        shown += len(run.text)
    return {"head": head, "rest": rest, "rest_chars": whole - fold, "cut_chars": 0}


class Rows:
    """Makes the fragments of one report, from worst to best."""

    def __init__(
        self,
        evidence: Evidence,
        found: Paired,
        called: views.Names,
        cells: Mapping[str, Any],
        templates: Environment,
        details: Callable[[int], Detail | None] | None = None,
    ) -> None:
        self._evidence, self._found, self._details, self._cells = evidence, found, details, cells
        self._called = called
        self._arms = [evidence.arms[name] for name in (called.baseline, called.candidate)]
        self._left = MOST_FILE_CHARS
        self._row = templates.get_template("_row.html")
        self._detail = templates.get_template("_detail.html")

    def fragment(self, index: int) -> dict[str, Any]:
        """Row and detail as HTML, with what the browser filters and sorts by."""
        found, evidence = self._found, self._evidence
        given = self._details(index) if self._details and self._left > 0 else None
        before, after, gain = (float(a[index]) for a in (found.before, found.after, found.gain))
        row = item(
            index,
            evidence.examples[index],
            cells=self._cells,
            before=before, after=after, gain=gain,
            preview=preview(given.input) if given else "",
            slices={name: values[index] for name, values in evidence.slices.items()},
            group=int(evidence.groups[index]) if evidence.grouped else None,
            flipped=bool(found.flipped[index]), errored=bool(found.errored[index]),
        )  # fmt: skip
        flags = (
            ("worse", gain < 0),
            ("better", gain > 0),
            ("flipped", row["flipped"]),
            ("errored", row["errored"]),
        )
        return {
            "i": index,
            "id": texts.visible(evidence.examples[index]),
            "a": _number(before),
            "b": _number(after),
            # an answer lost or won sorts beyond every number
            "c": _number(after - before) if math.isfinite(gain) else None,
            "gain": max(-1e300, min(1e300, gain)) if not math.isnan(gain) else 0,
            "show": [name for name, on in flags if on],
            "slices": {texts.visible(name): texts.visible(value) for name, value in row["slices"].items()},
            "text": texts.cut(
                " ".join([evidence.examples[index], row["preview"], *row["slices"].values()]), 400
            ).lower(),
            "html": self._row.render(row=row, link=f"#row={index}"),
            "detail": self._shown(index, given, row),
        }

    def _shown(self, index: int, given: Detail | None, row: Mapping[str, Any]) -> str:
        kept = {arm.name: examples.answers(arm, index) for arm in self._arms}
        shown = detail(given, self._called, outputs=kept, scores=self._scores(index))
        if given:
            self._left -= _size(given)
        return self._detail.render(
            row=row, called=self._called, metric=self._found.metric, live=None, **shown
        )

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


def _size(given: Detail) -> int:
    """Characters of the texts that this example adds to a file, about."""
    outputs = [value for values in given.outputs.values() for value in values]
    outputs += [trace.output for traces in given.traces.values() for trace in traces]
    return sum(min(texts.MOST_CHARS, len(plain(value))) for value in (given.input, given.expected, *outputs))


def _value(unit: Unit, value: float) -> str:
    return "none" if math.isnan(value) else f"{value:g}" if value in (0.0, 1.0) else unit.level(value)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
