"""What the engine moves: an arm made ready, and one answer to get from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ratchet import calls, codec
from ratchet.budgets import Amount
from ratchet.limits import Lane
from ratchet.ports import Provider, Request
from ratchet.progress import ArmProgress
from ratchet.records import Example, Limits, Price, Span, Trace, Variant

Extract = Callable[[Trace], Trace]


@dataclass(slots=True, eq=False)
class Arm:
    """An arm made ready: everything a call needs that doesn't change between examples."""

    name: str
    variant: Variant
    model: str
    """The vendor's name of the model."""
    provider: Provider
    lane: Lane[Call]
    endpoint_key: str
    render: calls.Render | None
    price: Price | None
    extract: Extract | None
    cacheable: bool = True
    """Whether an answer of another run may serve; not where the same request can't be told by its key."""
    twin: int = 0
    progress: ArmProgress = field(default_factory=ArmProgress)
    ok: int = 0
    refused_logins: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """One answer to get, over as many attempts as it takes."""

    arm: Arm
    request: Request
    request_key: str
    limits: Limits
    ready_s: float
    """When it last became ready to start; what passes until it starts is queueing."""
    example: Example | None = None
    repeat: int = 0
    future: asyncio.Future[Trace] | None = None
    """Set for a call that a scorer waits for."""
    judged: str | None = None
    """The trace that such a call judges."""
    trace_id: str = field(default_factory=codec.new_id)
    attempts: int = 0
    queue_s: float = 0.0
    spans: list[Span] = field(default_factory=list[Span])
    costs: list[float | None] = field(default_factory=list["float | None"])
    tokens: int = 0
    likely: int = 0
    reserved: Amount = field(default_factory=Amount)
