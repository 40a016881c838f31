"""The simulated model server: the vendors' HTTP formats before simulated models.

async with SimulatedServer(profiles=["champion"], answers=["key.jsonl"]) as server:
    ...  # server.base_url("openai")
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import orjson
from aiohttp import web

from ratchet.errors import ConfigError
from ratchet.simulated.answering import Answering
from ratchet.simulated.answers import AnswerKey, load_answers
from ratchet.simulated.calls import Wire
from ratchet.simulated.counts import Counts, Stats
from ratchet.simulated.faults import Fault, FaultPlan
from ratchet.simulated.models import SimulatedModel
from ratchet.simulated.profiles import PROFILES, Profile, read_profiles
from ratchet.simulated.rates import Rates
from ratchet.simulated.routes import BASE_PATHS, chat_routes, plain_routes

MAX_BODY_BYTES = 64 * 1024 * 1024


class SimulatedServer:
    """Serves simulated models until it is closed.

    Args:
        profiles: Profiles, or what `--profile` takes (a file, `NAME=settings`, a shipped name). A request for another
            model is answered by the first of these; the shipped ones are always there. None: "instant" is first.
        answers: The answer key, or its files.
        faults: Faults or their specs.
        port: 0 takes a free one; read it from `url`.
        log: Where each request is appended as a line of JSON when it ends.
        require_key: Answer 401 to requests without a key in the vendor's own header.
    """

    def __init__(
        self,
        *,
        profiles: Sequence[Profile | str] | None = None,
        answers: AnswerKey | Sequence[str | Path] = (),
        faults: Sequence[Fault | str] = (),
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        log: str | Path | None = None,
        require_key: bool = False,
    ) -> None:
        key = answers if isinstance(answers, AnswerKey) else load_answers(*answers)
        named = _named(profiles or ())
        first = next(iter(named.values()), PROFILES["instant"])
        self.default = SimulatedModel(first, answers=key, seed=seed)
        self.models = {
            name: SimulatedModel(profile, answers=key, seed=seed)
            for name, profile in {**PROFILES, **named}.items()
        }
        self.faults = FaultPlan(faults, seed=seed)
        self.rates = Rates()
        self.require_key = require_key
        self.host, self.port = host, port
        self._log = log
        self.counts = Counts()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def base_url(self, wire: str = "openai") -> str:
        """What a client of this vendor takes as its base URL.

        Raises:
            UnknownNameError: No such wire.
        """
        if wire not in BASE_PATHS:
            from ratchet.errors import UnknownNameError

            raise UnknownNameError("wire", wire, BASE_PATHS)
        return self.url + BASE_PATHS[wire]

    def stats(self) -> Stats:
        return self.counts.stats()

    def reset(self) -> None:
        """Counts, repeats and limits as at the start."""
        self.counts.reset()
        self.rates.reset()

    async def start(self) -> None:
        """Listen; raises ConfigError where the port is taken."""
        if self._log:
            self.counts = Counts(self._log)
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=4096)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise ConfigError(
                f"can't listen on {self.host}:{self.port}: {error.strerror}; try --port 0"
            ) from None
        self.port = cast("int", self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        self.counts.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for path, wire in chat_routes():
            app.router.add_post(path, self._handler(wire))
        for method, path, wire, respond in plain_routes(self):
            app.router.add_route(method, path, self._counted(wire, respond))
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/reset", self._reset)
        return app

    def _handler(self, wire: Wire) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            received = self.counts.start(wire.name, request.path, _digest(request.path, body))
            try:
                return await Answering(self, wire, request, body, received).respond()
            finally:
                self.counts.end(received)

        return handle

    def _counted(self, wire: str, respond: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            received = self.counts.start(wire, request.path, _digest(request.path, body))
            try:
                response: web.Response = respond(request, body, received)
                received.status = response.status
                return response
            finally:
                self.counts.end(received)

        return handle

    async def _stats(self, request: web.Request) -> web.Response:
        body = orjson.dumps(dataclasses.asdict(self.stats()))
        return web.Response(body=body, content_type="application/json")

    async def _reset(self, request: web.Request) -> web.Response:
        self.reset()
        return await self._stats(request)


def _digest(path: str, body: bytes) -> bytes:
    return hashlib.blake2b(path.encode() + b"\0" + body, digest_size=16).digest()


def _named(profiles: Sequence[Profile | str]) -> dict[str, Profile]:
    named: dict[str, Profile] = {}
    for each in profiles:
        named |= {each.name: each} if isinstance(each, Profile) else read_profiles(each)
    return named


@contextmanager
def serve_in_thread(server: SimulatedServer | None = None, **settings: Any) -> Generator[SimulatedServer]:
    """A running server in a thread of its own, for code that is not async.

    Args:
        server: One not yet started; None makes one from `settings`, the keyword arguments of `SimulatedServer`.
    """
    server = server or SimulatedServer(**settings)
    started = threading.Event()
    failures: list[BaseException] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        try:
            await server.start()
        except BaseException as error:
            failures.append(error)
            return
        finally:
            started.set()
        await stop.wait()
        await server.close()

    def work() -> None:
        try:
            loop.run_until_complete(run())
        finally:
            loop.close()

    thread = threading.Thread(target=work, name="ratchet-simulate", daemon=True)
    thread.start()
    started.wait()
    if failures:
        thread.join()
        raise failures[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
