"""Any callable as a provider: sync in a thread, async on the loop, yielding or not."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import itertools
import os
import queue
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import Context
from dataclasses import replace
from time import perf_counter
from typing import Any

from ratchet import codec, plugins, spans
from ratchet.errors import CodecError, ConfigError, ProviderError
from ratchet.ports import Chunk, Endpoint, Request
from ratchet.providers.failures import clean
from ratchet.providers.http import Http
from ratchet.records import Json

_MAX_THREADS = 512
_END = object()


class Function:
    """Calls a function with the example's input and passes on what it returns or yields.

    How it is called: a function that can take one positional argument gets the input whole; one that requires
    several parameters, or keyword-only ones, gets the input's keys by name.

    What it may give: text; any JSON value; a `Chunk`; or, yielding, any number of these. A sync function runs in
    a thread of its own pool (daemon threads: one that hangs never keeps the process alive).
    """

    def __init__(
        self, *, endpoint: Endpoint, http: Http | None = None, function: Callable[..., Any] | None = None
    ) -> None:
        target = endpoint.options.get("target")
        if function is None and not isinstance(target, str):
            raise ConfigError(
                "a function provider needs a function, or options: {target: 'pkg.module:function'}"
            )
        self._function: Callable[..., Any] = function or plugins.load(str(target))
        self._by_name = parameters_by_name(self._function)
        self._on_loop = _is_async(self._function)
        concurrency = endpoint.limits.concurrency or (http.concurrency if http else 64)
        self._threads = _Threads(min(max(1, concurrency), _MAX_THREADS))

    async def aclose(self) -> None:
        self._threads.close()

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        # the function's context is a copy: what it sets doesn't leak into the engine's
        context = contextvars.copy_context()
        found = spans.Collected()
        context.run(spans.collect_into, found)
        sent_s = perf_counter()
        try:
            async for value, received_s in self._values(request, context):
                yield _timed(chunk_of(value, self._function), sent_s, received_s)
        except ProviderError:
            if found.spans:
                yield _last(found, sent_s)
            raise
        except Exception as error:
            if found.spans:
                yield _last(found, sent_s)
            raise _failure(error) from error
        if found.spans:
            yield _last(found, sent_s)

    async def _values(self, request: Request, context: Context) -> AsyncIterator[tuple[Any, float]]:
        call = self._bind(request.input)
        if self._on_loop:
            result = context.run(call)
            ended_s = perf_counter()
        else:
            result, ended_s = await self._threads.run(context, call)
        if inspect.isawaitable(result):
            result = await asyncio.create_task(_await(result), context=context)
            ended_s = perf_counter()
        if inspect.isasyncgen(result):
            try:
                while True:
                    # a task per item keeps the generator in its own context
                    item = await asyncio.create_task(_await(anext(result, _END)), context=context)
                    if item is _END:
                        return
                    yield item, perf_counter()
            finally:
                await result.aclose()
        elif inspect.isgenerator(result):
            while True:
                item, ended_s = await self._threads.run(context, functools.partial(next, result, _END))
                if item is _END:
                    return
                yield item, ended_s
        else:
            yield result, ended_s

    def _bind(self, value: Json) -> Callable[[], Any]:
        if self._by_name is None:
            return functools.partial(self._function, value)
        if not isinstance(value, Mapping):
            raise ProviderError(
                f"{_name(self._function)} takes its input by name ({', '.join(self._by_name.names)}), "
                f"but the input is {type(value).__name__}, expected an object with these keys",
                kind="function",
            )
        missing = [name for name in self._by_name.required if name not in value]
        if missing:
            raise ProviderError(
                f"{_name(self._function)} needs {', '.join(map(repr, missing))}; "
                f"the input has {', '.join(map(repr, value)) or 'nothing'}",
                kind="function",
            )
        names = value if self._by_name.takes_all else [n for n in self._by_name.names if n in value]
        return functools.partial(self._function, **{name: value[name] for name in names})


class ByName:
    """The parameters of a function that is called with the input's keys."""

    __slots__ = ("names", "required", "takes_all")

    def __init__(self, names: list[str], required: list[str], takes_all: bool) -> None:
        self.names = names
        self.required = required
        self.takes_all = takes_all


def parameters_by_name(function: Callable[..., Any]) -> ByName | None:
    """How to call it by name; None where it takes the whole input as one positional argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # built in
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p for p in named if p.default is p.empty]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    keyword_only_required = any(p.kind is p.KEYWORD_ONLY for p in required)
    needed = sum(1 for p in positional if p.default is p.empty)
    if not keyword_only_required and (positional or variadic) and needed <= 1:
        return None
    if not named and not takes_all:
        return None
    return ByName([p.name for p in named], [p.name for p in required], takes_all)


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it only makes a coroutine or an async generator."""
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner):
        inner = getattr(inner, "__call__", inner)  # noqa: B004
    return inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)


async def _await(value: Any) -> Any:
    try:
        return await value
    except SystemExit as error:  # a task that raises it ends the whole event loop
        raise _failure(error) from error


def chunk_of(value: object, function: Callable[..., Any]) -> Chunk:
    """What a function gave, as a chunk.

    Raises:
        ProviderError: It is no text, JSON value or Chunk.
    """
    if isinstance(value, Chunk):
        return value
    if isinstance(value, str):
        return Chunk(text=value)
    try:
        return Chunk(value=codec.plain(value))
    except CodecError as error:
        raise ProviderError(
            f"{_name(function)} gave a {type(value).__name__}, expected text, a JSON value or a Chunk: {error}",
            kind="function",
        ) from None


def _timed(chunk: Chunk, sent_s: float, received_s: float) -> Chunk:
    if chunk.sent_s is not None and chunk.received_s is not None:
        return chunk
    return replace(chunk, sent_s=chunk.sent_s or sent_s, received_s=chunk.received_s or received_s)


def _last(found: spans.Collected, sent_s: float) -> Chunk:
    metadata = {"spans_dropped": found.dropped} if found.dropped else {}
    return Chunk(spans=tuple(found.spans), sent_s=sent_s, metadata=metadata)


def _failure(error: BaseException) -> ProviderError:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    said = clean(codec.clean_text(f"{type(error).__name__}: {error}"))
    return ProviderError(f"{said}{place}", kind="function")


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__name__)


class _Threads:
    """Daemon threads, started on demand, kept until closed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._numbers = itertools.count(1)

    async def run(self, context: Context, call: Callable[[], Any]) -> tuple[Any, float]:
        """What the call returns, and `perf_counter()` when it did."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Any, float, BaseException | None]] = loop.create_future()

        def settle(outcome: tuple[Any, float, BaseException | None]) -> None:
            if not future.done():
                future.set_result(outcome)

        def job() -> None:
            try:
                outcome: tuple[Any, float, BaseException | None] = (context.run(call), perf_counter(), None)
            except (
                BaseException
            ) as error:  # SystemExit and StopIteration too: they are the function's failure
                outcome = (None, perf_counter(), error)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(settle, outcome)

        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._started < self._limit:
            self._started += 1
            name = f"ratchet-function-{next(self._numbers)}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        value, ended_s, error = await future
        if error is not None:
            raise error if isinstance(error, ProviderError) else _failure(error)
        return value, ended_s

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._idle.release()

    def close(self) -> None:
        for _ in range(self._started):
            self._jobs.put(None)
        self._started = 0
