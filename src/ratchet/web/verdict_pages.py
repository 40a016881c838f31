"""A verdict made ready for the page: kept in the store with its view, its columns beside the store.

For the command line and for child processes: it computes statistics, which the server never does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ratchet import datasets
from ratchet.errors import DatasetError, PlanError
from ratchet.records import Run
from ratchet.reports import comparisons, reading, rows, texts
from ratchet.verdicts import keeping

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.ports import Store
    from ratchet.records import Verdict
    from ratchet.verdicts.keeping import Kept

MOST_TEXTS = 200_000
"""With more examples their texts are not copied beside the store; the page reads what it shows from the traces."""
INPUT_CHARS = 300
EXPECTED_CHARS = 20_000


def keep(
    store: Store, verdict: Verdict, evidence: Evidence, *, others: Sequence[Verdict] = ()
) -> Kept | None:
    """Keep this verdict for the page; None where its answers are not in this store.

    Args:
        others: Verdicts on further candidates of the same evidence.
    """
    from ratchet.stores.sqlite import SQLiteStore

    sources = reading.sources_of(store, verdict, evidence)
    if len(sources) != 2:
        return None
    reader = reading.Reader(store, sources, evidence.examples)
    made = comparisons.view(verdict, evidence, others=others, observe=reader.observed)
    kept = keeping.keep(
        store, verdict, view=made, sources=sources, task=str(evidence.facts.get("task") or "")
    )
    if isinstance(store, SQLiteStore):
        from ratchet.web import verdict_columns

        verdict_columns.write(
            store.path, verdict, evidence, id=kept.id, texts=_texts(store, sources, evidence.examples)
        )
    return kept


def build(store: Store, verdict_id: str) -> None:
    """Make the columns of a kept verdict anew, of what the store holds.

    Raises:
        PlanError: No such verdict.
    """
    from ratchet.evidence import from_runs
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web import verdict_columns

    kept = keeping.find(store, verdict_id)
    if kept is None:
        raise PlanError(f"there is no verdict {verdict_id!r} in this store")
    evidence = from_runs(store, {name: (s.run_id, s.arm) for name, s in kept.sources.items()})
    if isinstance(store, SQLiteStore):
        found = _texts(store, kept.sources, evidence.examples)
        verdict_columns.write(store.path, keeping.verdict_of(store, kept), evidence, id=kept.id, texts=found)


def _texts(
    store: Store, sources: Mapping[str, keeping.Source], examples: Sequence[str]
) -> dict[str, list[str]]:
    """Inputs, cut to a line, and expected answers, in the order of the examples; none of very many."""
    if len(examples) > MOST_TEXTS:
        return {}
    places = {example: place for place, example in enumerate(examples)}
    found = {"input": [""] * len(examples), "expected": [""] * len(examples)}
    for run in {s.run_id: store.run(s.run_id) for s in sources.values()}.values():
        try:
            _read(run, places, found)
        except (DatasetError, OSError):
            continue  # the file has gone: the page reads inputs from the traces
    return found


def _read(run: Run | None, places: Mapping[str, int], found: dict[str, list[str]]) -> None:
    if run is None:
        return
    for example in datasets.examples(run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed):
        place = places.get(example.id)
        if place is not None and not found["input"][place]:
            found["input"][place] = texts.cut(rows.preview(example.input), INPUT_CHARS)
            if example.expected is not None:
                found["expected"][place] = rows.spelled(example.expected)[:EXPECTED_CHARS]
