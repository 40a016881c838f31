"""Watches a run that stops when decided, and stops it at the first look that decides.

A look is taken on the examples of the plan that are complete on all arms, up to the first that is not: what came
sooner by being faster is no random sample.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator

from ratchet import plans
from ratchet.engine import Engine
from ratchet.errors import PairingError
from ratchet.evidence import from_runs
from ratchet.plans import Block
from ratchet.ports import Store
from ratchet.records import Run
from ratchet.verdicts import stopping_point


class Looks:
    """The looks at one run. Wrap its blocks with `feed`, tell it what is done, and wait for `settled` at the end."""

    def __init__(self, run: Run, store: Store) -> None:
        self.decided = ""
        """Why the run may stop; "" until it may."""
        self._run, self._store = run, store
        self._ahead = deque(plans.looks(plans.selected_count(run))[:-1])
        self._order: deque[str] = deque()
        self._missing: dict[str, int] = {}
        self._complete = 0
        self._engine: Engine | None = None
        self._looking: asyncio.Task[None] | None = None

    def attach(self, engine: Engine) -> None:
        """The engine to stop."""
        self._engine = engine

    async def look_back(self) -> None:
        """Look at what an earlier part of the run has left."""
        self.decided = await asyncio.to_thread(decided_by, self._run, self._store)

    def feed(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks that hold something to do; expects also those that hold nothing, for their place in the order."""
        for block in blocks:
            self._order.append(block.example.id)
            self._missing[block.example.id] = len(block.items)
            if block.items:
                yield block
            else:
                self._advance()

    def done(self, example_id: str) -> None:
        """One answer of this example is kept and scored."""
        self._missing[example_id] -= 1
        self._advance()

    async def settled(self) -> None:
        """Wait for a look that is still being taken."""
        if self._looking is not None:
            await self._looking

    def _advance(self) -> None:
        while self._order and not self._missing[self._order[0]]:
            del self._missing[self._order.popleft()]
            self._complete += 1
        due = self._ahead and self._complete >= self._ahead[0]
        if due and not self.decided and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while self._ahead and self._complete >= self._ahead[0] and not self.decided:
            while self._ahead and self._complete >= self._ahead[0]:
                self._ahead.popleft()
            self.decided = await asyncio.to_thread(decided_by, self._run, self._store)
        if self.decided and self._engine is not None:
            self._engine.stop_feeding(self.decided)


def decided_by(run: Run, store: Store) -> str:
    """What the run's complete examples have decided about every candidate, in words; "" where one is still open."""
    try:
        return stopping_point(from_runs(store, run), baseline=run.baseline)
    except PairingError:  # nothing is complete yet
        return ""
