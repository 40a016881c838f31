"""An engine with its providers open: what a run or a rescoring works with."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ratchet import engine, extractions, providers, variants
from ratchet.arms import Arm, Call, Extract
from ratchet.budgets import Amount, Ledger
from ratchet.engine import Control, Engine
from ratchet.limits import Lane
from ratchet.planning import Options, Place, Plan, price_of, render_of
from ratchet.ports import Endpoint, Provider, Store
from ratchet.progress import ArmProgress, Progress
from ratchet.records import Price, Variant

if TYPE_CHECKING:
    from ratchet.providers.http import Http
    from ratchet.stopping import Looks


@asynccontextmanager
async def open_engine(
    planned: Plan, options: Options, place: Place, control: Control | None, *, looks: Looks | None = None
) -> AsyncGenerator[tuple[Engine, Progress]]:
    """An engine with its providers open; `looks` are told what is done, and may stop it."""
    run = planned.run
    progress = Progress(arms={arm.name: ArmProgress() for arm in planned.arms})
    spent = _count_done(planned, place.store, progress)
    started_s = time.perf_counter()
    minutes = options.budget.minutes
    settings = engine.Settings(
        run_id=run.id,
        concurrency=options.concurrency,
        seed=run.seed,
        use_cache=options.use_cache and _others(place.store, run.id),
        deadline_s=None if minutes is None else started_s + minutes * 60,
    )
    if looks is not None:
        settings = replace(settings, on_done=looks.done)
    from ratchet.providers.http import Http

    _raise_file_limit(options.concurrency + 256)
    async with AsyncExitStack() as stack:
        stack.enter_context(_rare_collections())
        bench = _Bench(await stack.enter_async_context(Http()), options, place, stack)
        twins = variants.twins({arm.name: arm.variant_id for arm in planned.arms})
        arms: dict[str, Arm] = {}
        for name, variant in run.arms.items():
            extraction = run.task.arm_extraction.get(name, run.task.extraction)
            extract = extractions.compile(extraction, root=place.root) if extraction else None
            arm = bench.arm(name, variant, run.prices.get(name), progress.arms[name], extract=extract)
            arm.twin = twins[name]
            arms[name] = arm
        worker = Engine(
            settings,
            store=place.store,
            arms=arms,
            scorers=run.task.scorers,
            ledger=Ledger(options.budget, spent),
            make_judge=bench.judge,
            progress=progress,
        )
        if control is not None:
            control.attach(worker)
        if looks is not None:
            looks.attach(worker)
        yield worker, progress


@contextmanager
def _rare_collections() -> Generator[None]:
    """Python's collector looks less often for cycles while a run lasts: each look goes through everything that a
    thousand calls in flight hold, a tenth of the CPU, and finds next to nothing."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _others(store: Store, run_id: str) -> bool:
    """Whether the store holds another run, whose answers may serve again."""
    return any(row.id != run_id for row in store.runs(limit=2))


def _raise_file_limit(wanted: int) -> None:
    """Each call in flight holds a socket; the soft limit of many systems is 1,024 files."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


class _Bench:
    """Makes arms ready: one provider and one lane for each endpoint and model."""

    def __init__(self, http: Http, options: Options, place: Place, stack: AsyncExitStack) -> None:
        self._http = http
        self._options = options
        self._place = place
        self._stack = stack
        self._providers: dict[str, Provider] = {}
        self._lanes: dict[str, Lane[Call]] = {}

    def arm(
        self,
        name: str,
        variant: Variant,
        price: Price | None,
        progress: ArmProgress,
        *,
        extract: Extract | None = None,
    ) -> Arm:
        endpoint = providers.endpoint_for(variant, self._place.environ)
        _, model = providers.split_model(variant.model) if variant.model else ("", variant.target or "")
        lane_key = f"{endpoint.key} {model}"
        if lane_key not in self._lanes:
            self._lanes[lane_key] = Lane(variant.limits, self._options.concurrency)
        self._lanes[lane_key].tighten(variant.limits)
        return Arm(
            name=name,
            variant=variant,
            model=model,
            provider=self._provider(variant, endpoint),
            lane=self._lanes[lane_key],
            endpoint_key=endpoint.key,
            render=render_of(variant),
            price=price,
            extract=extract,
            cacheable=endpoint.provider != "recorded" and variants.importable(variant),
            progress=progress,
        )

    def _provider(self, variant: Variant, endpoint: Endpoint) -> Provider:
        # two lambdas bear one name, and two arms may call one endpoint with different keys
        key = f"{endpoint.key} {id(variant.function)} {variant.api_key_env or ''}"
        if key not in self._providers:
            made = providers.make(endpoint, self._http, function=variant.function, root=self._place.root)
            if close := getattr(made, "aclose", None):
                self._stack.push_async_callback(close)
            self._providers[key] = made
        return self._providers[key]

    async def judge(self, variant: Variant) -> Arm:
        resolved = variants.resolve(variant, root=self._place.root)
        return self.arm("", resolved, price_of(resolved, self._place.store), ArmProgress())


def _count_done(planned: Plan, store: Store, progress: Progress) -> Amount:
    """Counters and spending of earlier parts of this run, put into `progress`."""
    spent = Amount()
    for arm in planned.arms:
        progress.arms[arm.name].total = arm.calls + sum(1 for name, _, _ in planned.done if name == arm.name)
    if not planned.done:
        return spent
    kept = set(planned.done.values())
    for row in store.rows(planned.run.id):
        cost = 0.0 if row.cached else row.cost_usd or 0.0
        spent += Amount(cost, 0 if row.cached else (row.input_tokens or 0) + (row.output_tokens or 0))
        if row.arm is None:
            progress.judge_cost_usd += cost
        elif row.id in kept:
            counted = progress.arms[row.arm]
            counted.done += 1
            counted.failed += row.error_kind is not None
            counted.cached += row.cached
            counted.input_tokens += row.input_tokens or 0
            counted.output_tokens += row.output_tokens or 0
            counted.cost_usd += cost
            counted.unpriced += row.cost_usd is None and row.error_kind is None
    progress.resumed = progress.done
    return spent


@asynccontextmanager
async def reporting(progress: Progress, report: Callable[[Progress], None] | None) -> AsyncGenerator[None]:
    if report is None:
        yield
        return

    async def tick() -> None:
        while True:
            report(progress)
            await asyncio.sleep(0.2)

    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()
        report(progress)
