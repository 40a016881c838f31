"""Examples of a verdict read from the store: both sides with their answers, scores and expected answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ratchet import codec, datasets
from ratchet.errors import DatasetError
from ratchet.evidence import ArmData, Evidence
from ratchet.ports import Store
from ratchet.records import Json, Run, Score, Trace, Verdict
from ratchet.reports import views
from ratchet.reports.examples import Detail
from ratchet.reports.rows import MOST_REPEATS
from ratchet.reports.traits import Observed
from ratchet.verdicts.keeping import Source


class Reader:
    """Reads what examples looked like; one for a verdict, as it holds the ids of all its answers."""

    def __init__(
        self,
        store: Store,
        sources: Mapping[str, Source],
        examples: Sequence[str],
        *,
        expected: Mapping[str, Json] | None = None,
    ) -> None:
        """Args:
        sources: Where each arm's answers lie, the baseline first.
        expected: By example; by default read from the dataset when the first example is.
        """
        self._store, self._sources, self._examples = store, sources, examples
        self._expected = expected
        self._ids: dict[str, dict[str, list[str]]] = {}

    def _answers(self, source: Source) -> dict[str, list[str]]:
        """Trace ids by example, in order of repeats."""
        found: dict[str, list[tuple[int, str]]] = {}
        for (arm, example, repeat), (trace_id, _) in self._store.done(source.run_id).items():
            if arm == source.arm:
                found.setdefault(example, []).append((repeat, trace_id))
        return {example: [trace_id for _, trace_id in sorted(pairs)] for example, pairs in found.items()}

    def _traces(self, name: str, example: str) -> list[Trace]:
        """One arm's answers to this example, by repeat."""
        from ratchet.stores.sqlite import SQLiteStore

        source = self._sources[name]
        if isinstance(self._store, SQLiteStore):
            from ratchet.stores import sqlite_views

            return sqlite_views.repeats_of(self._store, source.run_id, source.arm, example, most=MOST_REPEATS)
        if name not in self._ids:  # any other store is asked once for all ids
            self._ids[name] = self._answers(source)
        ids = self._ids[name].get(example, [])[:MOST_REPEATS]
        return list(self._store.traces_by_id(ids).values())

    def detail(self, index: int) -> Detail | None:
        """Both sides of the example at this index; None where the store has no answer to it."""
        example = self._examples[index]
        traces = {name: self._traces(name, example) for name in self._sources}
        if not any(traces.values()):
            return None
        if self._expected is None:
            runs = {source.run_id: self._store.run(source.run_id) for source in self._sources.values()}
            self._expected = expected_of(runs.values())
        return detail_of(traces, self._scores(traces), self._expected.get(example))

    def _scores(self, traces: Mapping[str, Sequence[Trace]]) -> dict[str, list[Score]]:
        return {
            trace.id: list(self._store.scores(trace_id=trace.id))
            for side in traces.values()
            for trace in side
        }

    def observed(self, index: int) -> Observed | None:
        """What the candidate's answers to this example say in words; None where it gave none."""
        candidate = list(self._sources)[-1]
        traces = self._traces(candidate, self._examples[index])
        if not traces:
            return None
        scores = [score for trace in traces for score in self._store.scores(trace_id=trace.id)]
        return Observed(
            input="\n".join(_words(_asked(traces[0].input))),
            output="\n".join(text for trace in traces for text in _words(trace.output)),
            errors=tuple(kind for trace in traces for kind in _errors(trace)),
            reasons=tuple(
                dict.fromkeys(
                    (score.name.partition(".")[0], score.reason)
                    for score in scores
                    if score.reason and score.against is None and score.source in ("code", "judge")
                )
            ),
        )


def _words(value: Json) -> Iterator[str]:
    """Every text within a value, without the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)


def _errors(trace: Trace) -> list[str]:
    found = [trace.error.kind] if trace.error is not None else []
    if trace.finish_reason not in (None, "stop", "tool_calls", "end_turn"):
        found.append(f"stopped by {trace.finish_reason}")
    return found


def detail_of(
    traces: Mapping[str, Sequence[Trace]], scores: Mapping[str, Sequence[Score]], expected: Json
) -> Detail:
    """The example that these answers belong to."""
    firsts = [side[0] for side in traces.values() if side]
    given = firsts[-1].input if firsts else None
    return Detail(
        input=_asked(given),
        expected=expected,
        traces=traces,
        scores=scores,
        errors={
            name: f"{side[0].error.kind}: {side[0].error.message}"
            for name, side in traces.items()
            if side and side[0].error is not None
        },
    )


def _asked(given: Json) -> Json:
    """What was asked: of messages all but the system's, which stand in the trace."""
    if isinstance(given, list) and given and all(isinstance(m, dict) and "role" in m for m in given):
        asked = [m for m in given if m["role"] not in ("system", "developer")]
        if len(asked) == 1 and isinstance(asked[0].get("content"), str):
            return asked[0]["content"]
        return asked or given
    return given


def expected_of(runs: Iterable[Run | None]) -> dict[str, Json]:
    """The expected answers of these runs' datasets by example; of a file that is gone, none."""
    found: dict[str, Json] = {}
    read: set[str] = set()
    for run in runs:
        if run is None or run.task.dataset.id in read:
            continue
        read.add(run.task.dataset.id)
        try:
            for example in datasets.examples(
                run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed
            ):
                if example.expected is not None:
                    found.setdefault(example.id, example.expected)
        except (DatasetError, OSError):
            continue  # the evidence says that it can't be read any more
    return found


def sources_of(store: Store, verdict: Verdict, evidence: Evidence) -> dict[str, Source]:
    """Where the answers of both arms lie, the baseline first; empty where the evidence is not of runs in this store."""
    called = views.names(verdict, evidence)
    runs = [run for run_id in verdict.run_ids if (run := store.run(run_id)) is not None]
    found: dict[str, Source] = {}
    for name in (called.baseline, called.candidate):
        arm = evidence.arms.get(name)
        places = [] if arm is None else _places(runs, arm)
        free = [place for place in places if place not in found.values()]
        if not free:
            return {}
        found[name] = free[0]
    return found


def _places(runs: Sequence[Run], arm: ArmData) -> list[Source]:
    """Where this arm may come from: the places of its variant, those of its name first."""
    alike: list[tuple[bool, Source]] = []
    for run in runs:
        for name, variant in run.arms.items():
            if codec.content_id(variant) == arm.variant_id:
                named = arm.name in (name, f"{run.name or run.id[:13]}:{name}")
                alike.append((not named, Source(run_id=run.id, arm=name)))
    return [place for _, place in sorted(alike, key=lambda pair: pair[0])]
