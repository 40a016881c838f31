"""A real HTTP server that gives canned answers and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from ratchet.ports import Chunk, Endpoint, Provider, Request, Secret, Usage
from ratchet.providers import make
from ratchet.providers.http import Http

KEY = "sk-planted-0123456789abcdef"


@dataclass
class Canned:
    """One answer: a body, or pieces that are flushed one by one."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content_type: str = "application/json"
    cut: bool = False
    """Drop the connection after the pieces."""

    @property
    def pieces(self) -> list[bytes]:
        if isinstance(self.body, list):
            return self.body
        return [self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()]


@dataclass
class Asked:
    """A request as the server saw it."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answered:
    """All chunks of an answer, added up."""

    text: str = ""
    value: Any = None
    tool_calls: tuple[Any, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    cost_usd: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    spans: tuple[Any, ...] = ()
    chunks: list[Chunk] = field(default_factory=list[Chunk])


async def gather(provider: Provider, request: Request) -> Answered:
    answered = Answered()
    async for chunk in provider.generate(request):
        answered.chunks.append(chunk)
        answered.text += chunk.text
        answered.spans += chunk.spans
        answered.metadata.update(chunk.metadata)
        for name in (
            "value",
            "tool_calls",
            "refusal",
            "finish_reason",
            "usage",
            "model",
            "request_id",
            "cost_usd",
        ):
            if (value := getattr(chunk, name)) is not None:
                setattr(answered, name, value)
    return answered


class Wire:
    """Serves the canned answers in order (the last one for ever) while `call` runs."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.base_url = ""

    def call(
        self,
        provider: str,
        request: Request,
        *replies: Canned,
        path: str = "",
        key: str | None = KEY,
        **options: Any,
    ) -> Answered:
        """What this provider answers when the server answers so."""

        async def use(base_url: str, http: Http) -> Answered:
            endpoint = Endpoint(
                provider=provider,
                base_url=base_url + path,
                api_key=Secret(key) if key else None,
                options=options,
            )
            return await gather(make(endpoint, http), request)

        return self.run(use, *replies)

    def run(self, use: Callable[[str, Http], Any], *replies: Canned) -> Any:
        return asyncio.run(self._run(use, list(replies)))

    async def _run(self, use: Callable[[str, Http], Any], replies: list[Canned]) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            self.asked.append(
                Asked(request.raw_path, dict(request.headers), json.loads(body) if body else None)
            )
            reply = replies[min(len(self.asked), len(replies)) - 1]
            headers = {"Content-Type": reply.content_type, **reply.headers}
            if not isinstance(reply.body, list):
                return web.Response(body=reply.pieces[0], status=reply.status, headers=headers)
            response = web.StreamResponse(status=reply.status, headers=headers)
            await response.prepare(request)
            for piece in reply.pieces:
                await response.write(piece)
                await asyncio.sleep(0.002)  # so that each piece arrives by itself
            if reply.cut and request.transport is not None:
                request.transport.abort()
            return response

        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        self.base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with Http(8) as http:
                return await use(self.base_url, http)
        finally:
            await runner.cleanup()


def sse(*events: dict[str, Any] | str, done: bool = False, named: bool = False) -> Canned:
    """A stream of server-sent events, each flushed by itself."""
    pieces: list[bytes] = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        name = f"event: {event['type']}\n" if named and isinstance(event, dict) else ""
        pieces.append(f"{name}data: {data}\n\n".encode())
    if done:
        pieces.append(b"data: [DONE]\n\n")
    return Canned(pieces, content_type="text/event-stream")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return Wire()


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "number", "schema": SCHEMA, "strict": True},
}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": '{"celsius": 21}'},
]
PIXEL = "iVBORw0KGgo="
PICTURE: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
