"""Texts become scores: extraction and scorers on a recorded output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ratchet import extractions, scores
from ratchet.errors import ConfigError, DatasetError
from ratchet.records import Dimension, Example, Extraction, Failure, Json, Score, Scorer, Trace
from ratchet.tabular.cells import Kind, Metric
from ratchet.tabular.tables import Table

Labels = list[tuple[frozenset[str] | None, frozenset[str]]]
_TRACE_ID = "0" * 32
_NAN = float("nan")
_AS_NUMBER = DatasetError("a scorer returned it")


@dataclass(slots=True)
class Judge:
    """Extracts and scores the text of one row; call it. One an arm."""

    extract: Callable[[Trace], Trace]
    scorers: tuple[Scorer, ...]
    kinds: dict[str, Kind]
    by: dict[str, str] = field(default_factory=dict[str, str])
    dimensions: dict[str, Dimension] = field(default_factory=dict[str, Dimension])
    labels: dict[str, Labels] = field(default_factory=dict[str, Labels])
    _loop: asyncio.AbstractEventLoop | None = None

    def __call__(
        self, table: Table, id: str, text: Json, answer: Json, expected: Json, failure: str | None
    ) -> tuple[Json, bool]:
        """The extracted answer, and whether none could be extracted; the scores are appended to the table."""
        trace = Trace(id=_TRACE_ID, example_id=id, output=text if answer is None else answer)
        if failure is not None:
            trace = trace.replace(error=Failure(kind="function", message=failure))
        elif answer is None:
            trace = self.extract(trace)
        else:
            trace = trace.replace(answer=answer)
        example = Example(id=id, input={}, expected=expected)
        for scorer in self.scorers:
            found = scores.judge_now(scorer, trace, example)
            if found is None:
                found = self._run(scorer, trace, example)
            for score in found:
                self._append(table, score, failed=failure is not None)
        return trace.answer, trace.answer_error is not None

    def _run(self, scorer: Scorer, trace: Trace, example: Example) -> list[Score]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(scores.judge_trace(scorer, trace, example))

    def _append(self, table: Table, score: Score, *, failed: bool) -> None:
        name, value, at = score.name, score.value, len(table.example) - 1
        kind = self.kinds.setdefault(name, Kind())
        if not isinstance(value, bool) and isinstance(value, (int, float)) and kind.number is None:
            kind.number = _AS_NUMBER
        metric = table.metrics.setdefault(name, Metric(name, kind))
        self.by[name], self.dimensions[name] = score.by, score.dimension
        # a scorer that returns other names for other answers leaves gaps
        metric.values.extend([_NAN] * (at - len(metric.values)))
        metric.values.append(_NAN if failed or not isinstance(value, (bool, int, float)) else float(value))
        labels = _labels_of(score)
        if labels is not None:
            kept = self.labels.setdefault(name, [])
            kept.extend([(None, frozenset[str]())] * (at - len(kept)))
            kept.append(labels)

    def close(self) -> None:
        """Let go of the event loop that scorers which wait ran on."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._loop = None


def _labels_of(score: Score) -> tuple[frozenset[str] | None, frozenset[str]] | None:
    expected = score.metadata.get("expected")
    if expected is None:
        if isinstance(score.value, (str, frozenset)):
            return _as_set(score.value), frozenset()
        return None
    predicted = score.metadata.get("predicted")
    return (None if predicted is None else _as_set(predicted)), _as_set(expected)


def _as_set(value: Json) -> frozenset[str]:
    return frozenset({value}) if isinstance(value, str) else frozenset(map(str, value))


def judge_for(
    extraction: Extraction | None, scorers: tuple[Scorer, ...], kinds: dict[str, Kind], root: Path
) -> Judge:
    """What extracts and scores the texts of one arm.

    Raises:
        ConfigError: A scorer that calls a model: recorded results are judged without one.
    """
    resolved = tuple(scores.resolve(scorer, root=root) for scorer in scorers)
    for scorer in resolved:
        if scores.models_of(scorer):
            raise ConfigError(
                f"scorer {scorer.name!r} calls a model; recorded results are judged without calls. "
                "Judge them in a run (`ratchet run`), or give the judge's scores as a column: --score COLUMN"
            )
    return Judge(extractions.compile(extraction, root=root), resolved, kinds)
