"""A judge asked again about the same answers: does it say the same twice?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet import asking, runs, scores, sheets
from ratchet.errors import PlanError
from ratchet.ports import Ask, Store
from ratchet.records import Example, Json, Run, Scorer, ScoreValue, Trace, Variant

# a judge tries an unreadable reply again under the next repeat index: far more room than it may use
_APART = 1000


def retest(
    run: Run,
    store: Store,
    score: str,
    traces: Sequence[str],
    *,
    times: int = 1,
    root: Path,
    concurrency: int = 16,
) -> dict[str, list[ScoreValue]]:
    """What the judge says of these answers when asked `times` more, by trace id; None where it gives no score.

    Its calls are kept and paid like all others, under a repeat index of their own, so that no cache answers them. The
    scores are returned and not kept: the run's own stay the ones that count.

    Raises:
        PlanError: The run's task has no scorer of this name.
    """
    recorded = sheets.scorer_of(run, score)
    if recorded is None:
        raise PlanError(f"{score} is of no scorer of this run's task, so its judge can't be asked again")
    scorer = scores.resolve(recorded, root=root)
    return runs.drive(
        lambda _: _retest(run, store, scorer, score, traces, times=times, root=root, concurrency=concurrency)
    )


async def _retest(
    run: Run,
    store: Store,
    scorer: Scorer,
    score: str,
    traces: Sequence[str],
    *,
    times: int,
    root: Path,
    concurrency: int,
) -> dict[str, list[ScoreValue]]:
    wanted = set(traces)
    pairs = [(t, e) for t, e in runs.pairs(run, store) if t.id in wanted]
    found: dict[str, list[ScoreValue]] = {trace.id: [] for trace, _ in pairs}
    room = asyncio.Semaphore(concurrency)
    models = scores.models_of(scorer)
    async with asking.asking(run, store, models, root=root, concurrency=concurrency, use_cache=False) as base:

        async def judge(trace: Trace, example: Example, ask: Ask) -> None:
            async with room:
                for made in await scores.judge_trace(scorer, trace, example, ask=ask):
                    if made.name == score:
                        found[trace.id].append(made.value)

        async with asyncio.TaskGroup() as group:
            for again in range(1, times + 1):
                ask = _Apart(base, again * _APART)
                for trace, example in pairs:
                    group.create_task(judge(trace, example, ask))
    return found


class _Apart:
    """An `Ask` whose repeats begin elsewhere: the same question asked anew."""

    def __init__(self, ask: Ask, start: int) -> None:
        self._ask = ask
        self._start = start

    async def __call__(
        self, variant: Variant, variables: Mapping[str, Json], *, judged: Trace, repeat: int = 0
    ) -> Trace:
        return await self._ask(variant, variables, judged=judged, repeat=self._start + repeat)
