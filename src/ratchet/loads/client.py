"""A bare HTTP/1.1 client on `asyncio.Protocol`: it stamps bytes as they arrive, keeps them, and reads them later.

While an answer is arriving nothing is parsed but what tells its end, so that one answer's reading never delays
another's stamps. Connections are kept alive, as many as the load needs; nothing is retried, but for a request that
met a kept connection which the server had just closed.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any, cast

from ratchet.errors import ConfigError, ProviderError
from ratchet.loads.exchanges import Exchange, Route
from ratchet.loads.framing import MAX_HEAD_BYTES, Chunks, parse_head
from ratchet.providers.failures import clean, protocol_error

MAX_ANSWER_BYTES = 64 * 2**20
MAX_HELD_BYTES = 512 * 2**20
"""Of all answers that are arriving; past it the largest is given up."""
_PIECE_BYTES = 150
"""What one more arrival costs in memory besides its bytes."""
_SWEEP_S = 0.1
_SHORT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
_SETTLE_NS = 300_000
"""Longest time spent on reading finished answers before the loop looks at its sockets again."""


class Connection(asyncio.Protocol):
    """One connection, with at most one exchange at a time."""

    __slots__ = ("_buffer", "_chunked", "_exchange", "_pool", "_stamp", "_take", "_transport", "used")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._chunked = False
        """The head is here, and what follows are chunks: the common case, for which `_take` and `_stamp` stand ready."""
        self._take: Callable[[bytes], None] = _ignore
        self._stamp: Callable[[int], None] = _ignore
        self.used = 0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._pool.opened(self)

    def start(self, exchange: Exchange) -> None:
        """Send the request; the connection is free."""
        assert self._transport is not None
        self._exchange = exchange
        exchange.connection = self
        body = exchange.shot.body
        data = b"%b%d\r\n\r\n%b" % (exchange.route.prefix, len(body), body)
        exchange.sent_ns = perf_counter_ns()
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        now = perf_counter_ns()
        if self._chunked:
            self._stamp(now)
            self._take(data)
            # the last bytes of a chunked body are always these, in pieces or whole
            if data.endswith(b"\r\n\r\n") or len(data) < 4:
                self._walk()
            return
        exchange = self._exchange
        if exchange is None or exchange.head is None:
            self._head_received(data, now)
            return
        exchange.pieces.append(data)
        exchange.stamps.append(now)
        self._check_length(exchange)

    def _check_length(self, exchange: Exchange) -> None:
        assert exchange.head is not None
        size = exchange.weigh()
        if exchange.head.length is not None and size >= exchange.head.length:
            self._end(exchange, reusable=size == exchange.head.length)

    def _walk(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        try:
            if exchange.walk():
                assert exchange.chunks is not None
                self._end(exchange, reusable=not exchange.chunks.surplus)
        except ProviderError as error:
            self.fail(error)

    def _head_received(self, data: bytes, now: int) -> None:
        exchange = self._exchange
        if exchange is None:  # nobody asked
            self.abort()
            return
        self._buffer += data
        while exchange.head is None:
            end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    self.fail(protocol_error(f"the head of the answer has more than {MAX_HEAD_BYTES} bytes"))
                return
            try:
                head = parse_head(self._buffer[:end])
            except ProviderError as error:
                self.fail(error)
                return
            self._buffer = self._buffer[end + 4 :]
            if head.status == 101:
                self.fail(protocol_error("the server switched to another protocol unasked"))
                return
            if head.status >= 200:  # an interim answer is followed by the real one
                exchange.head = head
        rest, self._buffer = self._buffer, b""
        if rest:
            exchange.pieces.append(rest)
            exchange.stamps.append(now)
        if not exchange.head.chunked:
            self._check_length(exchange)
            return
        exchange.chunks = Chunks()
        self._chunked, self._take, self._stamp = True, exchange.pieces.append, exchange.stamps.append
        if rest.endswith(b"\r\n\r\n") or 0 < len(rest) < 4:
            self._walk()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.closed(self)
        exchange = self._exchange
        if exchange is None:
            return
        head = exchange.head
        if head is not None and head.length is None and not head.chunked and exc is None:
            self._end(exchange, reusable=False)  # its body lasts until the connection closes
            return
        if head is None and not self._buffer and self.used and not exchange.resent:
            self._exchange = None
            exchange.resent = True
            self._pool.send_again(exchange)
            return
        detail = clean(str(exc), exchange.route.secrets) if exc else "the server closed the connection"
        if head is None:
            error = ProviderError(f"no answer: {detail}", kind="connection", retryable=True)
        else:
            error = protocol_error(f"the answer was cut off: {detail}")
        try:
            if exchange.walk():
                self._end(exchange, reusable=False)
                return
        except ProviderError as found:
            error = found
        self.fail(error)

    def fail(self, error: ProviderError) -> None:
        """End the exchange under way with this error, and the connection with it."""
        exchange = self._exchange
        if exchange is not None:
            exchange.error = error
            self._end(exchange, reusable=False)

    def finish_late(self, exchange: Exchange) -> None:
        """End an exchange whose end was overlooked."""
        self._end(exchange, reusable=False)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, exchange: Exchange, *, reusable: bool) -> None:
        self._exchange = None
        self._chunked, self._take, self._stamp = False, _ignore, _ignore
        exchange.connection = None
        exchange.weigh()
        self.used += 1
        head = exchange.head
        if reusable and self.open and head is not None and head.keep_alive:
            self._pool.idle.append(self)
        else:
            self.abort()
        if exchange.error is None:
            exchange.ended_ns = exchange.stamps[-1] if exchange.stamps else perf_counter_ns()
        self._pool.client.end(exchange)


def _ignore(_: object) -> None:
    """What a connection without an answer under way does with more."""


class Pool:
    """The connections to one origin: those free are used newest first, so that few stay warm rather than all cool."""

    def __init__(self, client: Client, origin: tuple[str, int, bool], tls: ssl.SSLContext | None) -> None:
        self.client = client
        self.idle: list[Connection] = []
        self.all: set[Connection] = set()
        self._origin = origin
        self._tls = tls
        self._addresses: deque[str] = deque()

    async def resolve(self) -> None:
        """Look the host up, once for the test.

        Raises:
            ConfigError: It has no address.
        """
        host, port, _ = self._origin
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=1)
        except OSError as error:
            raise ConfigError(f"host {host!r} has no address: {error.strerror or error}") from None
        self._addresses.extend(dict.fromkeys(str(entry[4][0]) for entry in found))

    def send(self, exchange: Exchange) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.open:
                connection.start(exchange)
                return
        self.client.spawn(self._connect_and_send(exchange))

    def send_again(self, exchange: Exchange) -> None:
        self.client.resent += 1
        self.client.spawn(self._connect_and_send(exchange))

    def opened(self, connection: Connection) -> None:
        self.all.add(connection)
        self.client.connections += 1
        self.client.sockets += 1
        self.client.peak_sockets = max(self.client.peak_sockets, self.client.sockets)

    def closed(self, connection: Connection) -> None:
        if connection in self.all:
            self.all.discard(connection)
            self.client.sockets -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    async def _connect_and_send(self, exchange: Exchange) -> None:
        began_ns = perf_counter_ns()
        try:
            async with asyncio.timeout(exchange.route.connect_s):
                connection = await self._connect()
        except TimeoutError:
            seconds = exchange.route.connect_s
            self._failed(exchange, f"no connection within {seconds:g} s", "timeout")
        except OSError as error:
            if error.errno in _SHORT_OF_SOCKETS:
                self.client.refused += 1
            self._failed(exchange, f"no connection: {error.strerror or error}", "connection")
        else:
            exchange.connect_ns = perf_counter_ns() - began_ns
            if exchange.done:  # given up meanwhile
                self.idle.append(connection)
            elif connection.open:
                connection.start(exchange)
            else:
                self._failed(exchange, "no connection: closed at once", "connection")

    async def _connect(self) -> Connection:
        host, port, _ = self._origin
        loop = asyncio.get_running_loop()
        tries = len(self._addresses)
        while True:
            address = self._addresses[0]
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    address,
                    port,
                    ssl=self._tls,
                    server_hostname=host if self._tls else None,
                )
            except OSError as error:
                tries -= 1
                if tries <= 0 or error.errno in _SHORT_OF_SOCKETS:
                    raise
                if self._addresses[0] == address:
                    self._addresses.rotate(-1)
                continue
            return connection

    def _failed(self, exchange: Exchange, message: str, kind: str) -> None:
        if exchange.done:
            return
        host, port, _ = self._origin
        text = clean(f"{host}:{port}: {message}", exchange.route.secrets)
        exchange.error = ProviderError(text, kind=kind, retryable=True)
        self.client.end(exchange)


class Client:
    """Sends exchanges and hands each one back when it has ended: to `ended` at once, to `settle` when there is time.

    Args:
        settle: Reads the answer and keeps what counts; called outside the sockets' callbacks.
        ended: Called as soon as an exchange is over; a closed loop sends its next request then.
    """

    def __init__(
        self, settle: Callable[[Exchange], None], ended: Callable[[Exchange], None] | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settle = settle
        self._ended = ended
        self._pools: dict[tuple[str, int, bool], Pool] = {}
        self._flying: dict[int, Exchange] = {}
        self._finished: deque[Exchange] = deque()
        self._settling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None
        self.connections = self.resent = self.refused = 0
        self.sockets = self.peak_sockets = 0

    async def open(self, routes: list[Route]) -> None:
        """Look up every host.

        Raises:
            ConfigError: One has no address.
        """
        for route in routes:
            if route.origin not in self._pools:
                if route.origin[2] and self._tls is None:
                    self._tls = ssl.create_default_context()
                pool = Pool(self, route.origin, self._tls if route.origin[2] else None)
                await pool.resolve()
                self._pools[route.origin] = pool
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def send(self, exchange: Exchange) -> None:
        self._flying[id(exchange)] = exchange
        self._pools[exchange.route.origin].send(exchange)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self, exchange: Exchange) -> None:
        if exchange.done:
            return
        exchange.done = True
        if not exchange.ended_ns:
            exchange.ended_ns = perf_counter_ns()
        self._flying.pop(id(exchange), None)
        if self._ended is not None:
            self._ended(exchange)
        self._finished.append(exchange)
        if not self._settling:
            self._settling = True
            self._loop.call_soon(self._settle_some)

    def give_up(self, exchange: Exchange, error: ProviderError) -> None:
        """End an exchange that is under way, wherever it stands."""
        connection = exchange.connection
        try:
            complete = exchange.walk()
        except ProviderError as found:
            error, complete = found, False
        if not complete:
            exchange.error = error
        if connection is None:
            self.end(exchange)
        elif complete:  # the end was there, with bytes after it that hid it
            connection.finish_late(exchange)
        else:
            connection.fail(error)

    def give_up_all(self, error: Callable[[], ProviderError]) -> None:
        for exchange in list(self._flying.values()):
            self.give_up(exchange, error())

    async def close(self) -> None:
        """Drop the connections and read what has ended."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for task in list(self._tasks):
            task.cancel()
        for pool in self._pools.values():
            for connection in list(pool.all):
                connection.abort()
        while self._finished:
            self._settle(self._finished.popleft())
        await asyncio.sleep(0)

    def _settle_some(self) -> None:
        # called after all sockets of this round have been stamped
        until = perf_counter_ns() + _SETTLE_NS
        while self._finished:
            self._settle(self._finished.popleft())
            if perf_counter_ns() > until:
                break
        self._settling = bool(self._finished)
        if self._settling:
            self._loop.call_soon(self._settle_some)

    def _sweep(self) -> None:
        """Give up what takes too long or sends too much."""
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        now = perf_counter_ns()
        held = 0
        late: list[tuple[Exchange, ProviderError]] = []
        largest: Exchange | None = None
        most = 0
        for exchange in self._flying.values():
            route = exchange.route
            size = exchange.weigh() + _PIECE_BYTES * len(exchange.stamps)
            held += size
            if size > most:
                largest, most = exchange, size
            if now - exchange.dispatched_ns > route.total_ns:
                message = f"the answer was not complete within {route.total_ns / 1e9:g} s"
            elif exchange.sent_ns and not exchange.stamps and now - exchange.sent_ns > route.first_byte_ns:
                message = f"no byte of the answer came within {route.first_byte_ns / 1e9:g} s"
            elif size > MAX_ANSWER_BYTES:
                late.append((exchange, protocol_error(f"the answer has more than {MAX_ANSWER_BYTES} bytes")))
                continue
            else:
                continue
            late.append((exchange, ProviderError(message, kind="timeout", retryable=True)))
        if held > MAX_HELD_BYTES and largest is not None:
            self.refused += 1
            message = f"the answers under way hold more than {MAX_HELD_BYTES} bytes"
            late.append((largest, protocol_error(message)))
        for exchange, error in late:
            if not exchange.done:
                self.give_up(exchange, error)
