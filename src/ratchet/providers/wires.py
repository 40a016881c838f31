"""A wire taken apart: the pieces of a call without the session that carries it.

The load generator has a transport of its own; bodies, addresses, keys and the reading of answers are those of the
providers. A provider that posts JSON over HTTP is a `Wire`; the others are driven by `generate` alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from yarl import URL

from ratchet.ports import Chunk, Request
from ratchet.providers.failures import request_id_of
from ratchet.providers.http import Http
from ratchet.records import Json


class Arrived(Protocol):
    """What a chunk says of the answer that it came in."""

    @property
    def request_id(self) -> str | None: ...

    @property
    def secrets(self) -> Sequence[str]:
        """Values masked in every error."""
        ...

    @property
    def sent_s(self) -> float: ...

    @property
    def received_s(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An answer that is here to its last byte."""

    headers: Mapping[str, str]
    """Names in lower case."""
    secrets: Sequence[str] = field(default=(), repr=False)
    sent_s: float = 0.0
    received_s: float = 0.0

    @property
    def request_id(self) -> str | None:
        return request_id_of(self.headers, self.secrets)


def is_json(content_type: str) -> bool:
    """One JSON value, not a stream: a server may ignore `stream`."""
    return content_type.startswith("application/json")


class Reading(Protocol):
    """Reads a stream event by event, or line by line where the wire sends lines."""

    by_line: bool
    """The stream is lines of JSON; else server-sent events."""
    outputs: int
    """Events so far that carried something the model produced: text, reasoning, a refusal, part of a tool call."""

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one event (its name is empty for a line).

        Raises:
            ProviderError: It is an error of the server's, or not what this wire sends.
        """
        ...

    def last(self, reply: Arrived) -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: The stream ended before it said so.
        """
        ...


@runtime_checkable
class Wire(Protocol):
    """A provider whose calls are single HTTP posts of JSON."""

    def url(self, request: Request) -> URL: ...

    def body(self, request: Request) -> bytes: ...

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """(headers, secrets in them), good for this moment."""
        ...

    def reading(self, request: Request, content_type: str) -> Reading | None:
        """What reads this answer; None: it is one JSON value, for `answer`."""
        ...

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        """The whole answer in one chunk.

        Raises:
            ProviderError: It is an error, or no answer.
        """
        ...


async def call(wire: Wire, http: Http, request: Request) -> AsyncIterator[Chunk]:
    """The answer as it arrives: a chunk for the text of each arrival, then one with all else.

    Raises:
        ProviderError: See `Provider`.
    """
    headers, secrets = await wire.headers()
    reply = await http.post(
        wire.url(request), wire.body(request), headers, connect_s=request.connect_s, secrets=secrets
    )
    async with reply:
        reading = wire.reading(request, reply.headers.get("content-type", ""))
        if reading is None:
            yield wire.answer(await reply.json(), request, reply)
            return
        first = True
        async for events in reply.lines() if reading.by_line else reply.events():
            if texts := [text for name, data in events if (text := reading.add(name, data, reply))]:
                sent_s = reply.sent_s if first else None
                first = False
                yield Chunk(text="".join(texts), received_s=reply.received_s, sent_s=sent_s)
        yield reading.last(reply)
