"""The scheduler: starts calls as limits allow, retries, makes each answer durable, then scores it.

One event loop, no locks. `pump` is the heart: whenever something changes it starts what may start, first what
waits in a lane, then what the plan gives next. A slot is held from sending until the answer is committed, so
"in flight" never passes the concurrency; a call that waits for its retry holds none.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ratchet import budgets, calls, codec, policy, scores
from ratchet.arms import Arm, Call
from ratchet.budgets import Amount, Ledger
from ratchet.calls import Origin, Outcome
from ratchet.errors import PromptError
from ratchet.limits import Lane, Turnstile
from ratchet.plans import Block
from ratchet.ports import Store
from ratchet.progress import ArmProgress, Progress
from ratchet.records import Example, Failure, Score, Scorer, Trace, Variant

MOST_WAITING = 2000
"""How far one arm may run ahead of another that its vendor holds back, in calls."""
RAMP_FROM, RAMP_S = 64, 1.0
"""More calls in flight than this start over a second: sent all at once they would come back all at once, for as long
as the run lasts, and wait for one another each time; vendors, too, refuse such a burst."""
AT_A_TIME = 8
"""Answers that may be worked on at once, from their arrival until the next calls have left. Without this limit all that
arrive together take every step together, and leave together: they would go on arriving in one clump, and wait for
one another each time."""
HOPELESS = 10
"""Refused logins in a row, with no success, after which a run stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the engine needs to know beside the arms."""

    run_id: str
    concurrency: int = 16
    seed: int = 0
    use_cache: bool = True
    deadline_s: float | None = None
    """On the `time.perf_counter` clock."""
    on_done: Callable[[str], None] = lambda example_id: None
    """Called with the example's id when one of its answers is kept and scored."""


class AbandonedError(BaseException):
    """The run was stopped before a judge answered: no score is kept, the resume asks again.

    Not an Exception, so that no scorer takes it for a failed judge.
    """


class Control:
    """Lets a signal handler, task or thread stop a run: once to finish what is in flight, twice to drop it."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.asked = 0

    def stop(self) -> None:
        self.asked += 1
        if self.engine is not None:
            self._tell(self.engine)

    def attach(self, engine: Engine) -> None:
        """Stop this engine when asked, or now if it was asked already."""
        self.engine = engine
        if self.asked:
            engine.stop("interrupted", drop=self.asked > 1)

    def _tell(self, engine: Engine) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended, and the run with it
            engine.loop.call_soon_threadsafe(
                functools.partial(engine.stop, "interrupted", drop=self.asked > 1)
            )


class Engine:
    """Runs blocks to their end. Make one, `await execute(blocks)`, read `stopped`."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        arms: Mapping[str, Arm],
        scorers: Sequence[Scorer],
        ledger: Ledger,
        make_judge: Callable[[Variant], Awaitable[Arm]],
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.store = store
        self.arms = arms
        self.ledger = ledger
        self.progress = progress
        self.stopped = ""
        """Why the run stopped before its end, or nothing."""
        self._inline = [scorer for scorer in scorers if scorer.inline]
        self._slow = [scorer for scorer in scorers if not scorer.inline]
        self._make_judge = make_judge
        self._judges: dict[str, asyncio.Future[Arm]] = {}
        self._blocks: Iterator[Block] = iter(())
        self._fed: list[Call] = []
        self._held: Block | None = None
        self._exhausted = True
        self._executing = False
        self._lanes: list[Lane[Call]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._delayed: dict[Call, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._scoring = 0
        self._waiting = 0
        self._random = random.Random(settings.seed)
        self.loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] = self.loop.create_future()
        self._started_s = time.perf_counter()
        self._ramp: asyncio.TimerHandle | None = None
        self._turnstile = Turnstile(AT_A_TIME)

    async def execute(self, blocks: Iterator[Block]) -> None:
        """Work through the blocks; returns when everything that was started is durable and scored.

        Raises:
            StoreError: An answer could not be kept; nothing more is started.
        """
        self._blocks = blocks
        self._exhausted, self._executing = bool(self.stopped), True
        self._started_s = time.perf_counter()
        self._pump()
        try:
            await self._idle
        finally:
            self._cancel_timers()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)  # noqa: TID251 - all are cancelled already

    def stop(self, reason: str, *, drop: bool = False) -> None:
        """Start nothing more. What is in flight ends and is kept, or with `drop` is left to a later resume."""
        self.stopped = self.stopped or reason
        self.progress.state = "stopping"
        self._exhausted = True
        self._fed.clear()
        self._held = None
        for call, timer in self._delayed.items():
            timer.cancel()
            self._abandon(call)
        self._delayed.clear()
        for lane in self._lanes:
            # a judge's call belongs to an answer already paid for: it may still start
            kept = [call for call in lane.waiting if call.future is not None]
            self._waiting -= len(lane.waiting) - len(kept)
            lane.waiting.clear()
            lane.waiting.extend(kept)
        if drop:
            self._finish()
        else:
            self._pump()

    def _abandon(self, call: Call) -> None:
        if call.future is not None and not call.future.done():
            call.future.set_exception(AbandonedError())

    # --- starting -------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start everything that may start now."""
        for call in self._take():
            self._spawn(self._execute(call))

    def _take(self) -> list[Call]:
        """Everything that may start now, its slots taken; the caller executes it."""
        taken: list[Call] = []
        now_s = time.perf_counter()
        wake_s = float("inf")
        most = self._most_in_flight(now_s)
        while self._in_flight < most:
            call, lane_wake_s = self._next_waiting(now_s)
            wake_s = min(wake_s, lane_wake_s)
            if call is None:
                call = self._next_planned(now_s)
            if call is None:
                break
            self._start(call, now_s)
            taken.append(call)
        self._wake_at(now_s, wake_s)
        self.progress.in_flight = self._in_flight
        self.progress.waiting = self._waiting
        busy = taken or self._tasks or self._waiting or self._delayed or self._fed
        if self._executing and self._exhausted and not busy:
            self._finish()
        return taken

    def _most_in_flight(self, now_s: float) -> int:
        """The concurrency, or what of it the first second allows."""
        most = self.settings.concurrency
        share = (now_s - self._started_s) / RAMP_S
        if most <= RAMP_FROM or share >= 1:
            return most
        if self._ramp is None or self._ramp.when() <= self.loop.time():
            self._ramp = self.loop.call_later(0.005, self._pump)
        return RAMP_FROM + int((most - RAMP_FROM) * share)

    def _next_waiting(self, now_s: float) -> tuple[Call | None, float]:
        """A call that a lane held back and now lets go, else None and the seconds until a lane might."""
        wake_s = float("inf")
        for lane in self._lanes:
            if not lane.waiting:
                continue
            wait_s = lane.wait_s(now_s)
            if wait_s <= 0:
                self._waiting -= 1
                return lane.waiting.popleft(), 0.0
            wake_s = min(wake_s, wait_s)
        return None, wake_s

    def _next_planned(self, now_s: float) -> Call | None:
        """The next call of the plan whose lane lets it start; others wait in their lanes."""
        while self._scoring < 2 * self.settings.concurrency + 32:
            if not self._fed and (self._waiting >= MOST_WAITING or not self._feed(now_s)):
                return None
            call = self._fed.pop()
            lane = call.arm.lane
            if not lane.waiting and lane.wait_s(now_s) <= 0:
                return call
            self._enqueue(call)
        return None

    def _enqueue(self, call: Call, *, first: bool = False) -> None:
        lane = call.arm.lane
        if lane not in self._lanes:
            self._lanes.append(lane)
        (lane.waiting.appendleft if first else lane.waiting.append)(call)
        self._waiting += 1

    def _wake_at(self, now_s: float, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._in_flight < self.settings.concurrency:
            for lane in self._lanes:
                if lane.waiting:
                    wait_s = min(wait_s, lane.wait_s(now_s))
            if wait_s != float("inf"):
                self._timer = asyncio.get_running_loop().call_later(max(wait_s, 0.001), self._pump)

    def _feed(self, now_s: float) -> bool:
        """Take the plan's next example, with all its calls; False when there is none or no money for it yet."""
        while not self._exhausted:
            deadline_s = self.settings.deadline_s
            if deadline_s is not None and now_s >= deadline_s:
                self.stop_feeding("the budget of minutes is used up")
                return False
            block = self._held or next(self._blocks, None)
            self._held = None
            if block is None:
                self._exhausted = True
                return False
            prepared = self._prepare(block, now_s)
            if prepared is None:
                self._held = block
                if self.ledger.reserved.tokens == 0:
                    self.stop_feeding("the budget is used up")
                return False
            if prepared:
                self._fed = prepared
                return True
        return False

    def stop_feeding(self, reason: str) -> None:
        """Start no further example; those that were started end on all arms."""
        self._exhausted = True
        self._held = None
        self.stopped = self.stopped or reason
        self.progress.state = "stopping"

    def _prepare(self, block: Block, now_s: float) -> list[Call] | None:
        """The block's calls, last first; None where the budget has no room for all of them together."""
        prepared: list[Call] = []
        broken: list[tuple[Arm, int, PromptError]] = []
        needed = Amount()
        counts = self.ledger.budget.limits_spending
        for name, repeat in block.items:
            arm = self.arms[name]
            try:
                call = self._call(arm, block.example, repeat, now_s)
            except PromptError as error:
                broken.append((arm, repeat, error))
                continue
            if counts:
                call.reserved = budgets.most(call.request, arm.price)
                needed += call.reserved
            prepared.append(call)
        if counts and not self.ledger.reserve(needed):
            return None
        for arm, repeat, error in broken:
            self._spawn(self._keep_broken(arm, block.example, repeat, error))
        prepared.reverse()
        return prepared

    def _call(self, arm: Arm, example: Example, repeat: int, now_s: float) -> Call:
        request = calls.request_for(arm.variant, arm.render, example, name=arm.model, repeat=repeat)
        key = calls.request_key(
            arm.endpoint_key, request, repeat=repeat, twin=arm.twin, version=arm.variant.version
        )
        call = Call(arm, request, key, arm.variant.limits, now_s, example=example, repeat=repeat)
        if arm.lane.tokens is not None:
            call.likely = sum(budgets.likely_tokens(request))
        return call

    def _start(self, call: Call, now_s: float) -> None:
        call.queue_s += now_s - call.ready_s
        call.arm.lane.start(call.likely, now_s)
        self._in_flight += 1

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, AbandonedError):
            error = None
        if self._idle.done():
            return
        if error is not None:
            self._idle.set_exception(error)
        else:
            self._pump()

    def _finish(self) -> None:
        self._cancel_timers()
        if not self._idle.done():
            self._idle.set_result(None)

    def _cancel_timers(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._ramp is not None:
            self._ramp.cancel()
        for timer in self._delayed.values():
            timer.cancel()

    # --- one call -------------------------------------------------------------------------------------------

    async def _execute(self, call: Call) -> None:
        """This call, and then what may start when it has ended: a call more costs less than a task more."""
        while True:
            if await self._attempt(call):
                self.loop.call_soon(self._turnstile.leave)  # that is, when the next calls have been sent
            taken = [] if self._idle.done() else self._take()
            if not taken:
                return
            call = taken[0]
            for other in taken[1:]:
                self._spawn(self._execute(other))

    async def _attempt(self, call: Call) -> bool:
        """One attempt, then either the wait for another or the end of the call; whether it is in the turnstile."""
        lane = call.arm.lane
        cached = self._from_cache(call)
        if cached is not None:
            self._leave_lane(call, lane, None)
            await self._keep(call, cached)
            return False
        outcome = await calls.attempt(call.arm.provider, call.request, call.limits)
        await self._turnstile.enter()
        call.attempts += 1
        self._note_attempt(call, outcome)
        self._leave_lane(call, lane, outcome)
        failure = outcome.failure
        again = failure is not None and outcome.retryable and call.attempts <= call.limits.retries
        if again and self._may_retry(call, outcome):
            self._in_flight -= 1
            if self.stopped == "interrupted":  # the resume will try it, nobody waits for it now
                self._abandon(call)
            else:
                self._retry_later(call, failure)
        else:
            await self._keep(call, self._trace(call, outcome))
        return True

    def _from_cache(self, call: Call) -> Trace | None:
        if not self.settings.use_cache or call.attempts or not call.arm.cacheable:
            return None
        found = self.store.cached(call.request_key, not_in_run=self.settings.run_id)
        if found is None:
            return None
        return found.replace(
            id=call.trace_id, cached=True, ttft_s=None, latency_s=None, queue_s=None, attempts=0, spans=(),
            answer=found.output, answer_error=None, created_at=time.time(),
            metadata={**found.metadata, "cached_from": found.id}, **asdict(self._origin(call)),
        )  # fmt: skip

    def _note_attempt(self, call: Call, outcome: Outcome) -> None:
        variant = call.arm.variant
        operation = "invoke_agent" if variant.target is not None else "chat"
        span = calls.span_of(outcome, call.request, call.trace_id, number=call.attempts, operation=operation)
        call.spans.append(span)
        if outcome.spans:
            call.spans.extend(calls.adopt(outcome.spans, call.trace_id, span))
        call.costs.append(calls.price_of(outcome, call.arm.price))
        call.tokens += (outcome.usage.input_tokens or 0) + (outcome.usage.output_tokens or 0)

    def _leave_lane(self, call: Call, lane: Lane[Call], outcome: Outcome | None) -> None:
        now_s = time.perf_counter()
        used = (outcome.usage.input_tokens or 0) + (outcome.usage.output_tokens or 0) if outcome else 0
        billed = outcome is not None and outcome.usage.input_tokens is not None
        over = used - call.likely if billed or outcome is None else 0
        lane.finish(tokens_over=over, now_s=now_s, sent=outcome is not None)
        if outcome is None:
            return
        failure = outcome.failure
        if failure is None:
            lane.succeeded()
        elif failure.kind == "rate_limit" or failure.status in (503, 529):
            lane.refused(now_s, failure.retry_after_s)

    def _may_retry(self, call: Call, outcome: Outcome) -> bool:
        """Whether the budget has room for a further attempt, what this one was billed being set aside."""
        if not self.ledger.budget.limits_spending:
            return True
        usage = outcome.usage
        billed = Amount(call.costs[-1] or 0.0, (usage.input_tokens or 0) + (usage.output_tokens or 0))
        if not self.ledger.reserve(billed):
            return False
        call.reserved += billed
        return True

    def _retry_later(self, call: Call, failure: Failure | None) -> None:
        call.arm.progress.retried += 1
        named_s = failure.retry_after_s if failure else None
        wait_s = policy.retry_wait_s(call.attempts, named_s, self._random.random())
        now_s = time.perf_counter()
        call.ready_s = now_s
        loop = asyncio.get_running_loop()
        self._delayed[call] = loop.call_later(wait_s, self._ready_again, call)

    def _ready_again(self, call: Call) -> None:
        self._delayed.pop(call, None)
        self._enqueue(call, first=True)
        self._pump()

    def _trace(self, call: Call, outcome: Outcome) -> Trace:
        known = [cost for cost in call.costs if cost is not None]
        cost = sum(known) if len(known) == len(call.costs) else None
        return calls.trace_of(
            outcome, call.request, trace_id=call.trace_id, spans=call.spans, cost=cost, queue_s=call.queue_s,
            origin=self._origin(call),
        )  # fmt: skip

    def _origin(self, call: Call) -> Origin:
        """Its place in this run; a scorer's own call is of no arm."""
        example = call.example
        if example is None:
            return Origin(run_id=self.settings.run_id, repeat=call.repeat, request_key=call.request_key)
        return Origin(
            run_id=self.settings.run_id, arm=call.arm.name, example_id=example.id, repeat=call.repeat,
            group=example.group, request_key=call.request_key,
        )  # fmt: skip

    async def _keep_broken(self, arm: Arm, example: Example, repeat: int, error: PromptError) -> None:
        """An example that the prompt can't be filled in from is an answer that failed, like any other."""
        failure = Failure(kind="prompt", message=str(error))
        trace = Trace(
            id=codec.new_id(), run_id=self.settings.run_id, arm=arm.name, example_id=example.id, repeat=repeat,
            group=example.group, input=example.input, error=failure, attempts=0, created_at=time.time(),
        )  # fmt: skip
        await self.store.awrite([trace, *self._inline_scores(trace, example)])
        self._count(arm.progress, trace)
        self.settings.on_done(example.id)

    async def _keep(self, call: Call, trace: Trace) -> None:
        """Make the answer durable and give the slot back; what takes long to score is scored beside the next calls."""
        arm, example = call.arm, call.example
        if example is None:
            await self._keep_asked(call, trace)
            return
        if arm.extract is not None and trace.error is None:
            trace = arm.extract(trace)
        found = self._inline_scores(trace, example)
        await self.store.awrite([trace, *found])
        self._in_flight -= 1
        self._settle(call, trace)
        self._count(arm.progress, trace)
        self._watch_logins(arm, trace)
        if self._slow:
            self._scoring += 1
            self.progress.judging = self._scoring
            self._spawn(self._score_slowly(trace, example))
        else:
            self.settings.on_done(example.id)

    def _inline_scores(self, trace: Trace, example: Example) -> list[Score]:
        return [s for scorer in self._inline for s in scores.judge_now(scorer, trace, example) or ()]

    async def _score_slowly(self, trace: Trace, example: Example) -> None:
        try:
            for scorer in self._slow:
                await self.store.awrite(await scores.judge_trace(scorer, trace, example, ask=self.ask))
        finally:
            self._scoring -= 1
            self.progress.judging = self._scoring
        self.settings.on_done(example.id)

    def _settle(self, call: Call, trace: Trace) -> None:
        cost = 0.0 if trace.cached else sum(cost for cost in call.costs if cost is not None)
        self.ledger.settle(call.reserved, Amount(cost, call.tokens))

    def _count(self, arm: ArmProgress, trace: Trace) -> None:
        arm.done += 1
        arm.failed += trace.error is not None
        arm.cached += trace.cached
        arm.input_tokens += trace.input_tokens or 0
        arm.output_tokens += trace.output_tokens or 0
        if trace.cost_usd is None:
            arm.unpriced += trace.error is None
        elif not trace.cached:
            arm.cost_usd += trace.cost_usd

    def _watch_logins(self, arm: Arm, trace: Trace) -> None:
        if trace.error is None:
            arm.ok += 1
        elif trace.error.kind == "auth":
            arm.refused_logins += 1
            if arm.ok == 0 and arm.refused_logins >= HOPELESS and not self.stopped:
                self.stop(
                    f"{arm.refused_logins} calls of arm {arm.name!r} were refused: {trace.error.message}"
                )

    # --- a scorer's own calls -------------------------------------------------------------------------------

    async def ask(
        self, variant: Variant, variables: Mapping[str, Any], *, judged: Trace, repeat: int = 0
    ) -> Trace:
        """`ports.Ask` for this run."""
        arm = await self._judge_arm(variant)
        now_s = time.perf_counter()
        asked = Example(id=judged.id, input=dict(variables))
        request = calls.request_for(arm.variant, arm.render, asked, name=arm.model, repeat=repeat)
        # the judged answer's repeat is part of its text; `repeat` counts the judge's own tries
        key = calls.request_key(arm.endpoint_key, request, repeat=repeat, twin=0)
        loop = asyncio.get_running_loop()
        call = Call(arm, request, key, arm.variant.limits, now_s, repeat=repeat, future=loop.create_future())
        call.judged = judged.id
        if self.ledger.budget.limits_spending:
            call.reserved = budgets.most(request, arm.price)
            if not self.ledger.reserve(call.reserved):
                failure = Failure(kind="budget", message="the run's budget has no room for this judge call")
                refused = Trace(
                    id=call.trace_id, run_id=self.settings.run_id, repeat=repeat, request_key=key,
                    input=list(request.messages), error=failure, created_at=time.time(),
                )  # fmt: skip
                refused = self._asked(call, refused)
                await self.store.awrite([refused])
                return refused
        if arm.lane.tokens is not None:
            call.likely = sum(budgets.likely_tokens(request))
        self._enqueue(call)
        self._pump()
        assert call.future is not None
        return await call.future

    def _asked(self, call: Call, trace: Trace) -> Trace:
        """The trace of a scorer's own call, with what it judges."""
        return trace.replace(metadata={**trace.metadata, "judged": call.judged})

    async def _judge_arm(self, variant: Variant) -> Arm:
        """The judge made ready, once a variant."""
        name = repr(variant)
        if name not in self._judges:
            self._judges[name] = asyncio.ensure_future(self._make_judge(variant))
        return await self._judges[name]

    async def _keep_asked(self, call: Call, trace: Trace) -> None:
        trace = self._asked(call, trace)
        await self.store.awrite([trace])
        self._in_flight -= 1
        self._settle(call, trace)
        self.progress.judge_cost_usd += 0.0 if trace.cached else trace.cost_usd or 0.0
        if call.future is not None and not call.future.done():
            call.future.set_result(trace)
