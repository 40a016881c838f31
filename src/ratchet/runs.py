"""Task x arms becomes traces and scores: `run` and `arun`, and `score` and `ascore` to judge them again."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ratchet import (
    budgets,
    codec,
    datasets,
    engine,
    extractions,
    plans,
    prices,
    prompts,
    providers,
    scores,
    stores,
    variants,
)
from ratchet.budgets import Amount, Budget, Ledger
from ratchet.calls import Render, request_for
from ratchet.engine import Arm, Control, Engine
from ratchet.errors import PlanError, PromptError, RatchetError
from ratchet.limits import Lane
from ratchet.ports import Endpoint, Provider, Store, Usage
from ratchet.progress import ArmProgress, Progress
from ratchet.records import Example, Price, Prompt, Run, Scorer, Task, Trace, Variant

if TYPE_CHECKING:
    from ratchet.providers.http import Http

Result = TypeVar("Result")
SAMPLED_FOR_ESTIMATE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to execute a run; nothing here is part of the task."""

    concurrency: int = 16
    seed: int = 0
    limit: int | None = None
    """Only the first so many examples."""
    sample: int | None = None
    """Only so many examples, drawn with the seed."""
    budget: Budget = field(default_factory=Budget)
    use_cache: bool = True
    resume: str | None = None
    """Id of the run to go on with; "last": the newest of this task that isn't finished."""
    retry_failed: bool = False
    """When resuming, also try answers again that failed."""
    name: str = ""
    baseline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """What one arm will take; tokens and dollars are estimates."""

    name: str
    variant: Variant
    variant_id: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None: the price is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run before it starts."""

    run: Run
    arms: tuple[ArmPlan, ...]
    done: Mapping[plans.Key, str]
    """Items that the run already holds, with their traces."""
    examples: int
    budget: Budget

    @property
    def calls(self) -> int:
        return sum(arm.calls for arm in self.arms)

    @property
    def cost_usd(self) -> float | None:
        costs = [arm.cost_usd for arm in self.arms]
        return None if None in costs else sum(cost or 0.0 for cost in costs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run happens: its store, the folder that paths start from, and the environment with the keys."""

    store: Store
    root: Path
    environ: Mapping[str, str]


def plan(task: Task, arms: Mapping[str, Variant], *, options: Options, place: Place) -> Plan:
    """What `arun` would do, without a call: variants resolved, keys and prices looked up, a resumed run checked.

    Raises:
        ConfigError, PromptError, DatasetError: Something written is wrong.
        MissingKeyError: Keys that are not set, all of them at once.
        PlanError: The run to resume isn't there, or its task or arms are others.
    """
    if not arms:
        raise PlanError("a run needs at least one arm: arms={'baseline': Variant(model='openai/gpt-4o', …)}")
    if options.concurrency < 1:
        raise PlanError(f"concurrency is {options.concurrency}, expected 1 or more")
    if task.repeats < 1:
        raise PlanError(f"repeats is {task.repeats}, expected 1 or more")
    resolved = {name: variants.resolve(variant, root=place.root) for name, variant in arms.items()}
    task = task.replace(scorers=tuple(scores.resolve(scorer, root=place.root) for scorer in task.scorers))
    providers.check_keys({**resolved, **_judges(task.scorers)}, place.environ)
    price_table = {name: _price(variant, place.store) for name, variant in resolved.items()}
    _check_priced(options.budget, price_table)
    run, done = _resumed(task, resolved, options, place.store) or (
        _new_run(task, resolved, options, price_table),
        {},
    )
    return _estimate(run, resolved, done, options)


def _judges(scorers: Sequence[Scorer]) -> dict[str, Variant]:
    """The models that these scorers call, by a name for messages."""
    return {f"scorer {scorer.name}": judge for scorer in scorers for judge in scores.models_of(scorer)}


def _price(variant: Variant, store: Store) -> Price | None:
    if variant.price is not None:
        return variant.price
    if variant.model is None:
        return None
    provider, name = providers.split_model(variant.model)
    return prices.lookup(provider, name, store=store)


def _check_priced(budget: Budget, table: Mapping[str, Price | None]) -> None:
    unpriced = [name for name, price in table.items() if price is None]
    if budget.usd is not None and unpriced:
        raise PlanError(
            f"a budget of ${budget.usd:g} can't be kept: the price of {', '.join(unpriced)} is unknown.\n"
            "  Give it in the variant (price: {input_usd_per_mtok: …, output_usd_per_mtok: …}), or cap tokens instead."
        )


def _new_run(
    task: Task, arms: Mapping[str, Variant], options: Options, price_table: Mapping[str, Price | None]
) -> Run:
    baseline = options.baseline or next(iter(arms))
    if baseline not in arms:
        raise PlanError(f"the baseline is {baseline!r}, but the arms are {', '.join(arms)}")
    return Run(
        id=codec.new_run_id(),
        task=task,
        arms=arms,
        baseline=baseline,
        name=options.name,
        seed=options.seed,
        limit=options.limit,
        sample=options.sample,
        created_at=time.time(),
        prices=price_table,
        environment={
            "ratchet": metadata.version("ratchet-llm"),
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
    )


def _resumed(
    task: Task, arms: Mapping[str, Variant], options: Options, store: Store
) -> tuple[Run, dict[plans.Key, str]] | None:
    """The run to go on with and what it holds, its functions put back; None for a new run."""
    if options.resume is None:
        return None
    task_id = codec.content_id(task)
    run = _find_unfinished(task_id, store) if options.resume == "last" else store.run(options.resume)
    if run is None:
        raise PlanError(
            f"there is no run {options.resume!r} to resume; `ratchet list` shows the runs of this store"
        )
    if codec.content_id(run.task) != task_id:
        raise PlanError(
            f"run {run.id} was made of another task (dataset, scorers, checks or repeats differ); start a new run"
        )
    before = {name: codec.content_id(variant) for name, variant in run.arms.items()}
    now = {name: codec.content_id(variant) for name, variant in arms.items()}
    if before != now:
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        raise PlanError(f"run {run.id} had other variants in {', '.join(changed)}; start a new run")
    lost = [name for name, variant in arms.items() if not variants.importable(variant)]
    if lost:
        raise PlanError(
            f"the target of {', '.join(lost)} can't be found again by name, so the run can't be resumed; name a function in a module"
        )
    done = {
        key: trace_id
        for key, (trace_id, failed) in store.done(run.id).items()
        if not (failed and options.retry_failed)
    }
    return run.replace(arms=arms, task=task), done


def _find_unfinished(task_id: str, store: Store) -> Run | None:
    for row in store.runs():
        if row.task_id == task_id and row.state != "finished":
            return store.run(row.id)
    raise PlanError("there is no unfinished run of this task; start one without --resume")


def _estimate(run: Run, arms: Mapping[str, Variant], done: Mapping[plans.Key, str], options: Options) -> Plan:
    """Calls, tokens and dollars, from the first examples; a prompt that doesn't fit the first example is an error."""
    task = run.task
    count = selected_count(run)
    sampled = list(islice(selected(run), SAMPLED_FOR_ESTIMATE))
    planned: list[ArmPlan] = []
    for name, variant in arms.items():
        render = _render(variant)
        total_in = total_out = counted = 0
        for index, example in enumerate(sampled):
            try:
                request = request_for(variant, render, example, name=variant.model or "")
            except PromptError:
                if index == 0:
                    raise
                continue
            likely_in, likely_out = budgets.likely_tokens(request)
            total_in, total_out, counted = total_in + likely_in, total_out + likely_out, counted + 1
        already = sum(1 for arm, _, _ in done if arm == name)
        calls = max(count * task.repeats - already, 0)
        scale = calls / counted if counted and variant.target is None else 0.0
        tokens = Usage(input_tokens=round(total_in * scale), output_tokens=round(total_out * scale))
        price = run.prices.get(name)
        planned.append(
            ArmPlan(
                name=name,
                variant=variant,
                variant_id=codec.content_id(variant),
                calls=calls,
                input_tokens=tokens.input_tokens or 0,
                output_tokens=tokens.output_tokens or 0,
                cost_usd=prices.cost_usd(price, tokens),
            )
        )
    return Plan(run=run, arms=tuple(planned), done=done, examples=count, budget=options.budget)


def _render(variant: Variant) -> Render | None:
    """The compiled prompt of a resolved variant."""
    return prompts.compile(variant.prompt) if isinstance(variant.prompt, Prompt) else None


def selected(run: Run) -> Iterator[Example]:
    """The examples that this run tries, in the dataset's order."""
    return datasets.examples(run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed)


def selected_count(run: Run) -> int:
    """How many examples this run tries."""
    bounds = [bound for bound in (run.limit, run.sample) if bound is not None]
    return min([run.task.dataset.count, *bounds])


def run(
    task: Task,
    arms: Mapping[str, Variant],
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Try the task on every arm, and keep a trace and scores of every answer.

    Args:
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
            task, arms, options=options, store=store, root=root, on_progress=on_progress, control=control
        )
    )


async def arun(
    task: Task,
    arms: Mapping[str, Variant],
    *,
    options: Options | None = None,
    store: Store | str | Path | None = None,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    control: Control | None = None,
) -> Run:
    """`run` for a program that has an event loop; `control.stop()` ends it early and resumably."""
    options = options or Options()
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
    """Do what the plan says."""
    run, store = planned.run, place.store
    if store.run(run.id) is None:
        store.put_content("task", codec.content_id(run.task), codec.encode(run.task))
        for arm in planned.arms:
            store.put_content("variant", arm.variant_id, codec.encode(arm.variant))
        store.save_run(run)
    else:
        store.set_run_state(run.id, "running")
    state, reason = "failed", ""
    try:
        async with _engine(planned, options, place, control) as (worker, progress):
            async with _reporting(progress, on_progress):
                blocks = plans.blocks(
                    selected(run), list(run.arms), repeats=run.task.repeats, seed=run.seed, done=planned.done
                )
                await worker.execute(blocks)
                if planned.done and not worker.stopped:
                    await _score_missing(run, worker, place.store)
            state, reason = ("stopped", worker.stopped) if worker.stopped else ("finished", "")
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        _save_state(store, run.id, state, reason)
    return run


def _save_state(store: Store, run_id: str, state: Any, reason: str) -> None:
    try:
        store.set_run_state(run_id, state, reason)
    except RatchetError:
        if sys.exception() is None:  # a store that gave way has already said so
            raise


def place(store: Store, root: Path) -> Place:
    """The place of a run in this process's environment."""
    return Place(store=store, root=root, environ=os.environ)


def replace_options(options: Options, **changes: Any) -> Options:
    """The options with these changed."""
    return replace(options, **changes)


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


@asynccontextmanager
async def _engine(
    planned: Plan, options: Options, place: Place, control: Control | None
) -> AsyncGenerator[tuple[Engine, Progress]]:
    """An engine with its providers open."""
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
    from ratchet.providers.http import Http

    _raise_file_limit(options.concurrency + 256)
    async with AsyncExitStack() as stack:
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
        yield worker, progress


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
        self._lanes: dict[str, Lane[engine.Call]] = {}

    def arm(
        self,
        name: str,
        variant: Variant,
        price: Price | None,
        progress: ArmProgress,
        *,
        extract: engine.Extract | None = None,
    ) -> Arm:
        endpoint = providers.endpoint_for(variant, self._place.environ)
        _, model = providers.split_model(variant.model) if variant.model else ("", variant.target or "")
        lane_key = f"{endpoint.key} {model}"
        if lane_key not in self._lanes:
            self._lanes[lane_key] = Lane(variant.limits, self._options.concurrency)
        return Arm(
            name=name,
            variant=variant,
            model=model,
            provider=self._provider(variant, endpoint),
            lane=self._lanes[lane_key],
            endpoint_key=endpoint.key,
            render=_render(variant),
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
        return self.arm("", resolved, _price(resolved, self._place.store), ArmProgress())


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
async def _reporting(progress: Progress, report: Callable[[Progress], None] | None) -> AsyncGenerator[None]:
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
        providers.check_keys(_judges(chosen), place.environ)
        run = run.replace(task=run.task.replace(scorers=chosen))
        planned = Plan(run=run.replace(arms={}), arms=(), done={}, examples=0, budget=options.budget)
        pairs = _pairs(run, place.store, place.root)
        async with (
            _engine(planned, options, place, None) as (worker, progress),
            _reporting(progress, on_progress),
        ):
            await _score_traces(pairs, chosen, worker, place.store, options.concurrency)
        return run


def _pairs(run: Run, store: Store, root: Path) -> Iterator[tuple[Trace, Example]]:
    """Every answer of the run with its example, in the dataset's order, its answer extracted anew."""
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
            group.create_task(judge(trace, example))


async def _score_missing(run: Run, worker: Engine, store: Store) -> None:
    """Scores that an earlier part of the run did not get to."""
    scored: dict[str, set[str]] = {}
    for score in store.scores(run.id):
        scored.setdefault(score.trace_id, set()).add(score.by)
    for scorer in run.task.scorers:
        by = scores.signature_of(scorer)
        missing = ((t, e) for t, e in _pairs(run, store, Path.cwd()) if by not in scored.get(t.id, ()))
        await _score_traces(missing, [scorer], worker, store, worker.settings.concurrency)


# --- driving from synchronous code --------------------------------------------------------------------------


def drive(start: Callable[[Control], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine to its end: here, or in a thread of its own where a loop is already running (notebooks)."""
    control = Control()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with interruptible(control):
            return _in_new_loop(start(control))
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(_caught(start(control))), name="ratchet-run")
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        control.stop()
        thread.join()
    result, error = box[0]
    if error is not None:
        raise error
    return result


def _caught(work: Coroutine[Any, Any, Result]) -> tuple[Result | None, BaseException | None]:
    try:
        return _in_new_loop(work), None
    except BaseException as error:
        return None, error


def _in_new_loop(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def interruptible(control: Control) -> Generator[None]:
    """Ctrl-C asks the run to stop rather than breaking it off, while this is entered in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def interrupt(*_: object) -> None:
        if control.engine is None:  # nothing is under way yet
            raise KeyboardInterrupt
        control.stop()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
