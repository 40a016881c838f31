"""A server that answers each request with the bytes and pauses it is told to, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ratchet.loads import processes
from ratchet.loads.driving import Drive
from ratchet.loads.records import Measured, Shot
from ratchet.records import Limits, Variant

Step: TypeAlias = bytes | float | Literal["close", "reset", "until closed"]
Script: TypeAlias = list[Step]
KEY = "sk-planted-0123456789abcdef"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return f"data: {text}\n\n".encode()


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def chat(tokens: int = 3) -> list[bytes]:
    """The events of an ordinary stream of chat."""
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return [
        event(delta(role="assistant", content="")),
        *(event(delta(content=f" word{i}")) for i in range(tokens)),
        event(delta("stop")),
        event({"choices": [], "usage": usage}),
        event("[DONE]"),
    ]


def stream(tokens: int = 3, *, first_s: float = 0.0, gap_s: float = 0.0) -> Script:
    """A whole answer in chunks, one event each."""
    opening, *words = chat(tokens)
    script: Script = [HEAD + chunk(opening), first_s]
    for number, word in enumerate(words):
        script += [chunk(word), gap_s if number < tokens - 1 else 0.0]
    return [*script, b"0\r\n\r\n"]


class Scripted:
    """Answers request n, counted from 0, with `script(n)`; `frozen` between two moments it does nothing at all."""

    def __init__(self, script: Callable[[int], Script], *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self.requests: list[bytes] = []
        self.connections = 0
        self.transports: set[asyncio.Transport] = set()
        self.freeze: tuple[float, float] | None = None
        """From when to when, in seconds from the first request."""
        self._first_s: float | None = None

    def __enter__(self) -> Scripted:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _serve(self) -> None:
        async def serve() -> None:
            server = await self._loop.create_server(
                lambda: _Connection(self), "127.0.0.1", 0, backlog=1024, ssl=self._tls
            )
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._over.wait()
            server.close()
            for transport in self.transports:
                transport.abort()
            await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(serve())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def thaw(self) -> None:
        """Wait for the end of the freeze, if one is on."""
        if self.freeze is None:
            return
        now = time.monotonic()
        self._first_s = self._first_s or now
        begin, end = (self._first_s + moment for moment in self.freeze)
        if begin <= now < end:
            await asyncio.sleep(end - now)

    def answer(self, request: bytes) -> Script:
        self.requests.append(request)
        return self._script(len(self.requests) - 1)


class _Connection(asyncio.Protocol):
    def __init__(self, server: Scripted) -> None:
        self._server = server
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        server.connections += 1

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        found = _LENGTH.search(self._buffer, 0, end)
        size = end + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) >= size:
            request, self._buffer = self._buffer[:size], self._buffer[size:]
            script = self._server.answer(request)
            self._task = asyncio.get_running_loop().create_task(self._play(script))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.transports.discard(self._transport)
        if self._task is not None:
            self._task.cancel()

    async def _play(self, script: Script) -> None:
        await self._server.thaw()
        for step in script:
            if isinstance(step, bytes):
                self._transport.write(step)
                await asyncio.sleep(0)
            elif isinstance(step, float):
                if step:
                    await asyncio.sleep(step)
                    await self._server.thaw()
            elif step == "close":
                self._transport.close()
            elif step == "reset":
                self._transport.abort()
            else:
                await asyncio.Event().wait()


def variant(url: str, *, stream: bool = True, limits: Limits | None = None) -> Variant:
    return Variant(model="openai/m", base_url=url, stream=stream, limits=limits or Limits())


BODY = b'{"model":"m","messages":[{"role":"user","content":"#%d#"}],"stream":true}'


@dataclass(frozen=True)
class Even:
    """Shots at even gaps, over several arms in turn."""

    rate: float
    count: int
    arms: int = 1
    warm_up: int = 0

    def __call__(self, part: int, parts: int) -> Iterator[Shot]:
        for index in range(part, self.count, parts):
            yield Shot(
                index=index,
                arm=index % self.arms,
                at_s=index / self.rate,
                body=BODY % index,
                warm_up=index < self.warm_up,
            )


def fire(
    server: Scripted,
    count: int = 1,
    *,
    rate: float = 100.0,
    drive: Drive | None = None,
    stream: bool = True,
    workers: int = 1,
    limits: Limits | None = None,
) -> Measured:
    """An open loop of this many requests at this server."""
    return processes.measure(
        {"a": variant(server.url, stream=stream, limits=limits)},
        Even(rate, count),
        drive or Drive(grace_s=5.0),
        processes=workers,
        environ={"OPENAI_API_KEY": KEY},
    )
