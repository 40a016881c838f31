"""Task x arms becomes traces and scores: `run` and `arun`, and `score` and `ascore` to judge them again."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet import codec, datasets, plans, providers, scores, stores
from ratchet.driving import drive
from ratchet.engine import Control, Engine
from ratchet.errors import PlanError, StoreError
from ratchet.planning import (
    ArmPlan,
    Options,
    Place,
    Plan,
    held,
    judges_of,
    place,
    plan,
    replace_options,
    selected,
    selected_count,
)
from ratchet.ports import Store
from ratchet.progress import Progress
from ratchet.records import Example, Run, RunState, Scorer, Task, Trace, Variant
from ratchet.workers import open_engine, reporting

if TYPE_CHECKING:
    from ratchet.stopping import Looks

__all__ = [
    "ArmPlan", "Options", "Place", "Plan", "arun", "ascore", "drive", "execute", "place", "plan", "replace_options",
    "run", "score", "selected", "selected_count",
]  # fmt: skip


def run(
    task: Task,
    arms: Mapping[str, Variant],
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop_when_decided: bool = False,
) -> Run:
    """Try the task on every arm, and keep a trace and scores of every answer.

    Args:
        stop_when_decided: Try the examples in an order drawn from the seed, judge them at looks by intervals that hold
            at every look, and stop when a verdict stands. `verdicts.compare` of the run stops at the same look.
        store: A store or its location; None: `RATCHET_STORE`, else `.ratchet/ratchet.db`.
        root: Folder that prompt paths and modules are looked up from; the working directory by default.
        on_progress: Called a few times a second.

    Returns:
        The run; its traces and scores are in the store. Failed answers are data, not exceptions.

    Raises:
        RatchetError: Nothing was called, or the store gave way; what was answered before is kept.
    """
    return drive(
        lambda control: arun(
            task, arms, options=options, store=store, root=root, on_progress=on_progress, control=control,
            stop_when_decided=stop_when_decided,
        )
    )  # fmt: skip


async def arun(
    task: Task,
    arms: Mapping[str, Variant],
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
    stop_when_decided: bool = False,
) -> Run:
    """`run` for a program that has an event loop; `control.stop()` ends it early and resumably."""
    options = options or Options()
    if stop_when_decided:
        options = replace_options(options, stop_when_decided=True)
    async with _placed(store, root) as place:
        planned = plan(task, arms, options=options, place=place)
        return await execute(planned, options=options, place=place, on_progress=on_progress, control=control)


async def execute(
    planned: Plan,
    *,
    options: Options,
    place: Place,
    on_progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
) -> Run:
    """Do what the plan says, as the only one who works on this run.

    Raises:
        StoreBusyError: Another process works on it.
        PlanError: One did, since it was planned.
        RatchetError: The store gave way; what was answered before is kept.
    """
    with place.store.hold_run(planned.run.id):
        return await _execute(planned, options, place, on_progress, control)


async def _execute(
    planned: Plan,
    options: Options,
    place: Place,
    on_progress: Callable[[Progress], None] | None,
    control: Control | None,
) -> Run:
    run, store = planned.run, place.store
    if store.run(run.id) is None:
        store.put_content("task", codec.content_id(run.task), codec.encode(run.task))
        for arm in planned.arms:
            store.put_content("variant", arm.variant_id, codec.encode(arm.variant))
        store.save_run(run)
    elif held(run.id, options, store) != planned.done:
        raise PlanError(
            f"another process went on with run {run.id} while it was planned here.\n  Give the same command again"
        )
    else:
        store.set_run_state(run.id, "running")
    state, reason = "failed", ""
    looks = _looks_at(run, store)
    try:
        async with open_engine(planned, options, place, control, looks=looks) as (worker, progress):
            async with reporting(progress, on_progress):
                if looks is not None:
                    await _execute_in_looks(planned, worker, looks, store)
                else:
                    await worker.execute(_blocks(planned))
                    if planned.done and not worker.stopped:
                        await _score_missing(run, worker, store)
            state, reason = ("stopped", worker.stopped) if worker.stopped else ("finished", "")
            if looks is not None and looks.decided and worker.stopped in ("", looks.decided):
                state, reason = "finished", looks.decided
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        _save_state(store, run.id, state, reason)
    return run


def _blocks(planned: Plan, *, empty: bool = False) -> Iterator[plans.Block]:
    run = planned.run
    return plans.blocks(
        selected(run), list(run.arms), repeats=run.task.repeats, seed=run.seed, done=planned.done, empty=empty
    )


def _looks_at(run: Run, store: Store) -> Looks | None:
    """The looks of a run that stops when decided; None for all others."""
    if not run.stop_when_decided:
        return None
    from ratchet.stopping import Looks

    return Looks(run, store)


async def _execute_in_looks(planned: Plan, worker: Engine, looks: Looks, store: Store) -> None:
    """Work through the plan until a look has decided; what an earlier part did may have decided already."""
    if planned.done:
        await _score_missing(planned.run, worker, store)
        await looks.look_back()
    if not looks.decided and not worker.stopped:
        await worker.execute(looks.feed(_blocks(planned, empty=True)))
        await looks.settled()


def _save_state(store: Store, run_id: str, state: RunState, reason: str) -> None:
    # a store that just gave way would make us wait for its lock again, to say what the error says already
    if not isinstance(sys.exception(), StoreError):
        store.set_run_state(run_id, state, reason)


@asynccontextmanager
async def _placed(store: Store | str | Path | None, root: Path | None) -> AsyncGenerator[Place]:
    folder = root or Path.cwd()
    if store is None or isinstance(store, (str, Path)):
        opened = stores.open_store(
            store or os.environ.get("RATCHET_STORE") or folder / ".ratchet" / "ratchet.db"
        )
        try:
            yield Place(store=opened, root=folder, environ=os.environ)
        finally:
            opened.close()
    else:
        yield Place(store=store, root=folder, environ=os.environ)


# --- scoring again ------------------------------------------------------------------------------------------


def score(
    run_id: str,
    scorers: Sequence[Scorer] | None = None,
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Judge the kept answers of a run again, or with other scorers, without calling its models.

    Args:
        scorers: None: those of the run's task, as their functions are now.

    Returns:
        The run with these scorers. New scores join the old ones; the newest of each (trace, name, source, by) counts.
    """
    return drive(
        lambda _: ascore(run_id, scorers, options=options, store=store, root=root, on_progress=on_progress)
    )


async def ascore(
    run_id: str,
    scorers: Sequence[Scorer] | None = None,
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """`score` for a program that has an event loop."""
    options = options or Options()
    async with _placed(store, root) as place:
        run = place.store.run(run_id)
        if run is None:
            raise PlanError(f"there is no run {run_id!r}; `ratchet list` shows the runs of this store")
        chosen = tuple(scores.resolve(scorer, root=place.root) for scorer in (scorers or run.task.scorers))
        if not chosen:
            raise PlanError(f"run {run_id} has no scorers; name some: scorers=[exact_match]")
        providers.check_keys(judges_of(chosen), place.environ)
        run = run.replace(task=run.task.replace(scorers=chosen))
        planned = Plan(run=run.replace(arms={}), arms=(), done={}, examples=0, budget=options.budget)
        judged = pairs(run, place.store)
        async with (
            open_engine(planned, options, place, None) as (worker, progress),
            reporting(progress, on_progress),
        ):
            await _score_traces(judged, chosen, worker, place.store, options.concurrency)
        return run


def pairs(run: Run, store: Store) -> Iterator[tuple[Trace, Example]]:
    """Every answer of the run with its example, in the dataset's order."""
    by_example: dict[str, list[tuple[str, str]]] = {}
    for (arm, example_id, _), (trace_id, _) in store.done(run.id).items():
        by_example.setdefault(example_id, []).append((arm, trace_id))
    for example in datasets.examples(run.task.dataset):
        for _, trace_id in by_example.get(example.id, ()):
            trace = store.trace(trace_id)
            if trace is not None:
                yield trace, example


async def _score_traces(
    pairs: Iterable[tuple[Trace, Example]],
    scorers: Sequence[Scorer],
    worker: Engine,
    store: Store,
    concurrency: int,
) -> None:
    """Judge each pair, so many at once that the calls of judges keep their concurrency."""
    room = asyncio.Semaphore(concurrency)

    async def judge(trace: Trace, example: Example) -> None:
        try:
            for scorer in scorers:
                found = scores.judge_now(scorer, trace, example)
                if found is None:
                    found = await scores.judge_trace(scorer, trace, example, ask=worker.ask)
                await store.awrite(found)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for trace, example in pairs:
            await room.acquire()
            if worker.stopped:  # the next resume makes up the rest
                break
            group.create_task(judge(trace, example))


async def _score_missing(run: Run, worker: Engine, store: Store) -> None:
    """Scores that an earlier part of the run did not get to."""
    scored: dict[str, set[str]] = {}
    for score in store.scores(run.id):
        scored.setdefault(score.trace_id, set()).add(score.by)
    for scorer in run.task.scorers:
        by = scores.signature_of(scorer)
        missing = ((t, e) for t, e in pairs(run, store) if by not in scored.get(t.id, ()))
        await _score_traces(missing, [scorer], worker, store, worker.settings.concurrency)
