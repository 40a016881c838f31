"""Verdicts in the store: by the hash of what they say, with all that a page shows of them, newest first.

A verdict is kept as content; so are its *view* (what the page shows, no statistics left to do) and a *summary* of a few
hundred bytes that names both. The refs `verdicts/<id>` and `runs/<run id>/verdicts/<id>` point at the summary, so that
lists read summaries alone. The same comparison made again is the same verdict: its summary moves on, its address stays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from ratchet import codec
from ratchet.errors import PlanError
from ratchet.ports import Store
from ratchet.records import Json, Verdict

REF = "verdicts/"
_SHORTEST = 6
_ORDER = {"ship": 0, "inconclusive": 1, "hold": 2, "invalid": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an arm's answers lie in the store."""

    run_id: str
    arm: str
    """The arm's name in that run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One verdict in a list of verdicts."""

    id: str
    """32 hex digits: the verdict's content, its date aside."""
    outcome: str
    task: str
    """The task's name; its id where it has none."""
    baseline: str
    candidate: str
    """What the arms are called."""
    sentence: str
    n: int
    """Examples compared."""
    decided_at: float
    """Unix time, seconds; of the newest time that this verdict was reached."""
    run_ids: tuple[str, ...]
    view_id: str
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])
    """By the arm's name in the verdict: the baseline first, then the candidate."""


def keep(
    store: Store,
    verdict: Verdict,
    *,
    view: Mapping[str, Json],
    sources: Mapping[str, Source],
    task: str = "",
) -> Kept:
    """Keep this verdict with what a page shows of it.

    Args:
        view: As `reports.comparisons.view` makes it.
        sources: Where the answers of both arms lie, by the arms' names in the verdict, the baseline first.
    """
    verdict_id = id_of(verdict)
    store.put_content("verdict", verdict_id, codec.encode(verdict))
    view_id = codec.content_id(view)
    store.put_content("verdict_view", view_id, view)
    baseline, candidate = (*sources, "", "")[:2]
    found = Kept(
        id=verdict_id,
        outcome=verdict.outcome,
        task=task or verdict.task_id,
        baseline=str(verdict.inputs.get("baseline") or baseline or verdict.baseline),
        candidate=str(verdict.inputs.get("candidate") or candidate or verdict.candidate),
        sentence=str(view.get("sentence", "")),
        n=int(view.get("total") or 0),
        decided_at=verdict.created_at or time.time(),
        run_ids=verdict.run_ids,
        view_id=view_id,
        sources=sources,
    )
    summary = _encoded(found)
    summary_id = codec.content_id(summary)
    store.put_content("verdict_summary", summary_id, summary)
    for name in (REF + verdict_id, *(f"runs/{run_id}/{REF}{verdict_id}" for run_id in verdict.run_ids)):
        _move(store, name, summary_id)
    return found


def id_of(verdict: Verdict) -> str:
    """The id of this verdict: of all that it says but when."""
    return codec.content_id(verdict.replace(created_at=0.0))


def _move(store: Store, name: str, target: str) -> None:
    """Whoever writes last names the newest summary; a lost race is run again."""
    while (current := store.ref(name)) != target:
        store.move_ref(name, target, expected=current, by="ratchet")


def kept(store: Store, *, run_id: str | None = None, limit: int | None = None) -> list[Kept]:
    """The verdicts of this store, or those that rest on this run, newest first; of one moment what may ship first."""
    refs = store.refs(REF if run_id is None else f"runs/{run_id}/{REF}")
    found = [one for target in refs.values() if (one := _summary(store, target)) is not None]
    found.sort(key=lambda one: (-one.decided_at, _ORDER.get(one.outcome, 9), one.id))
    return found[:limit]


def find(store: Store, verdict_id: str) -> Kept | None:
    """The verdict of this id, or the only one whose id begins so; None where there is none.

    Raises:
        PlanError: Several begin so.
    """
    target = store.ref(REF + verdict_id)
    if target is None and len(verdict_id) >= _SHORTEST:
        begun = store.refs(REF + verdict_id)
        if len(begun) > 1:
            names = ", ".join(name.removeprefix(REF)[:12] for name in list(begun)[:3])
            raise PlanError(f"{verdict_id!r} fits {len(begun)} verdicts; give more of the id: {names}")
        target = next(iter(begun.values()), None)
    return None if target is None else _summary(store, target)


def verdict_of(store: Store, found: Kept) -> Verdict:
    """The whole verdict.

    Raises:
        PlanError: The store has lost it.
    """
    data = store.content(found.id)
    if data is None:
        raise PlanError(f"the store lost the verdict {found.id}; `ratchet compare` makes it again")
    return codec.decode(Verdict, {**data, "created_at": found.decided_at})


def view_of(store: Store, found: Kept) -> Mapping[str, Json]:
    """What a page shows of it.

    Raises:
        PlanError: The store has lost it.
    """
    data = store.content(found.view_id)
    if data is None:
        raise PlanError(f"the store lost the view of verdict {found.id}; `ratchet compare` makes it again")
    return data


def _encoded(found: Kept) -> dict[str, Json]:
    return {
        **{name: getattr(found, name) for name in _PLAIN},
        "run_ids": list(found.run_ids),
        "sources": [[name, source.run_id, source.arm] for name, source in found.sources.items()],
    }


_PLAIN = ("id", "outcome", "task", "baseline", "candidate", "sentence", "n", "decided_at", "view_id")


def _summary(store: Store, target: str) -> Kept | None:
    data = store.content(target)
    if data is None:
        return None
    sources = cast("list[list[str]]", data["sources"])
    plain: dict[str, Any] = {name: data[name] for name in _PLAIN}
    return Kept(
        **plain,
        run_ids=tuple(cast("list[str]", data["run_ids"])),
        sources={name: Source(run_id=run_id, arm=arm) for name, run_id, arm in sources},
    )
