"""Steps inside a function under test: timed, nested, and handed on with its answer.

    def answer(ticket):
        with ratchet.spans.span("retrieve", kind="retrieval", top_k=5) as s:
            documents = search(ticket)
            s.set(found=len(documents))

Outside an answer that is being tried, a span does nothing. Steps are collected by context variable: tasks and
`asyncio.to_thread` carry it on, a thread started by hand does not.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

from ratchet import codec
from ratchet.errors import CodecError
from ratchet.policy import redact
from ratchet.records import Failure, Json, Span, SpanKind

MAX_SPANS = 1000
"""Kept of one answer; further ones are counted in `Collected.dropped`."""
UNPLACED = "0" * 32
"""The trace id of a span before its trace has one."""


class Collected:
    """The spans of one answer, in the order in which they ended."""

    __slots__ = ("dropped", "spans")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.dropped = 0

    def add(self, span: Span) -> None:
        if len(self.spans) < MAX_SPANS:
            self.spans.append(span)
        else:
            self.dropped += 1


_collected: ContextVar[Collected | None] = ContextVar("ratchet_collected", default=None)
_parent: ContextVar[str | None] = ContextVar("ratchet_parent_span", default=None)


class OpenSpan:
    """A step under way: `with` times it; `set` adds attributes."""

    __slots__ = (
        "_attributes",
        "_into",
        "_kind",
        "_name",
        "_parent_id",
        "_started",
        "_token",
        "id",
        "start_ns",
    )

    def __init__(self, into: Collected, name: str, kind: SpanKind, attributes: dict[str, Any]) -> None:
        self._into = into
        self._name = name
        self._kind: SpanKind = kind
        self._attributes = attributes
        self._token: Token[str | None] | None = None
        self.id = codec.new_id(64)

    def set(self, **attributes: Json) -> None:
        """Add attributes; a value that JSON can't say becomes text."""
        self._attributes.update(attributes)

    def __enter__(self) -> Self:
        self._parent_id = _parent.get()
        self._token = _parent.set(self.id)
        self.start_ns = time.time_ns()
        self._started = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        duration_ns = time.perf_counter_ns() - self._started
        if self._token is not None:
            try:
                _parent.reset(self._token)
            except ValueError:  # entered in another context: a generator that moved between tasks
                _parent.set(self._parent_id)
        failure = None
        if error is not None:
            message = redact(codec.clean_text(f"{type(error).__name__}: {error}"))[:500]
            failure = Failure(kind="function", message=message)
        self._into.add(
            Span(
                trace_id=UNPLACED,
                id=self.id,
                name=self._name,
                kind=self._kind,
                parent_id=self._parent_id,
                start_ns=self.start_ns,
                duration_ns=duration_ns,
                attributes={name: _json(value) for name, value in self._attributes.items()},
                error=failure,
            )
        )


class _NoSpan:
    """What `span` gives where nothing is collected."""

    __slots__ = ()

    def set(self, **attributes: Json) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


_NOTHING = _NoSpan()


def span(name: str, kind: SpanKind = "other", **attributes: Json) -> OpenSpan | _NoSpan:
    """A step to be timed by `with`; an exception that passes through is noted on it."""
    into = _collected.get()
    return _NOTHING if into is None else OpenSpan(into, name, kind, attributes)


def collect_into(into: Collected) -> None:
    """Gather here the spans opened from now on in this context: run it inside a copied one."""
    _collected.set(into)
    _parent.set(None)


def _json(value: object) -> Json:
    try:
        return codec.plain(value)
    except CodecError:
        return str(value)
