"""Arms that the bare client can't carry: functions, simulated models, Bedrock and plugins, through their providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter_ns

from ratchet.errors import ProviderError
from ratchet.loads.answers import Answer
from ratchet.loads.records import Shot
from ratchet.loads.sampling import Fact
from ratchet.loads.targets import Target
from ratchet.providers.failures import clean


class Caller:
    """Calls providers; each call is a task.

    Args:
        keep: Takes what each call came to.
        ended: Called when a call is over and no longer in flight; a closed loop makes its next call then.
    """

    def __init__(self, keep: Callable[[Fact, Answer], None], ended: Callable[[], None]) -> None:
        self._keep = keep
        self._ended = ended
        self._calls: dict[asyncio.Task[None], list[ProviderError]] = {}

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    def call(
        self, target: Target, shot: Shot, *, scheduled_ns: int, dispatched_ns: int, warm_up: bool
    ) -> None:
        given_up: list[ProviderError] = []
        work = self._call(target, shot, scheduled_ns, dispatched_ns, warm_up, given_up)
        task = asyncio.get_running_loop().create_task(work)
        self._calls[task] = given_up
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        del self._calls[task]
        self._ended()

    async def _call(
        self,
        target: Target,
        shot: Shot,
        scheduled_ns: int,
        dispatched_ns: int,
        warm_up: bool,
        given_up: list[ProviderError],
    ) -> None:
        answer = Answer()
        sent_ns = perf_counter_ns()
        try:
            async with asyncio.timeout(target.limits.total_s):
                await _gather(target, shot, answer)
        except ProviderError as error:
            answer.error = error
        except TimeoutError:
            message = f"the answer was not complete within {target.limits.total_s:g} s"
            answer.error = ProviderError(message, kind="timeout", retryable=True)
        except asyncio.CancelledError:
            if not given_up:
                raise
            answer.error = given_up[0]
        except Exception as error:  # a user's function may raise anything
            kind = "function" if target.variant.target is not None else "protocol"
            answer.error = ProviderError(clean(f"{type(error).__name__}: {error}"), kind=kind)
        fact = Fact(
            index=shot.index,
            arm=shot.arm,
            warm_up=warm_up,
            scheduled_ns=scheduled_ns,
            dispatched_ns=dispatched_ns,
            sent_ns=sent_ns,
            ended_ns=perf_counter_ns(),
            status=(answer.error.status or 0) if answer.error else 0,
        )
        self._keep(fact, answer)

    def give_up_all(self, error: Callable[[], ProviderError]) -> None:
        for task, given_up in self._calls.items():
            given_up.append(error())
            task.cancel()

    async def close(self) -> None:
        """Wait for the calls that were given up."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=5.0)


async def _gather(target: Target, shot: Shot, answer: Answer) -> None:
    request = target.request(shot.body)
    async for chunk in target.provider.generate(request):
        if chunk.text or chunk.value is not None or chunk.tool_calls or chunk.refusal:
            stamp = chunk.received_s
            answer.tokens_ns.append(perf_counter_ns() if stamp is None else int(stamp * 1e9))
        answer.usage = chunk.usage or answer.usage
    if not request.stream and len(answer.tokens_ns) < 2:
        answer.tokens_ns.clear()  # it came as a whole
