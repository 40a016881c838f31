"""One HTTP session for a whole run: JSON goes out, a body or a stream comes back, with honest times.

Times are `time.perf_counter()`: `sent_s` is taken when the connection is there and the request leaves, so no
handshake counts; `received_s` is taken when bytes arrive at the socket's callback, so no waiting for our own
event loop counts.
"""

from __future__ import annotations

import functools
import io
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Self

import aiohttp
import orjson
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from ratchet import codec
from ratchet.errors import CodecError, ProviderError
from ratchet.providers.failures import clean, failure, protocol_error, request_id_of
from ratchet.providers.streams import Event, EventStream, Lines
from ratchet.records import Json

MAX_ANSWER_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 64 * 2**10
_LARGE_BODY_BYTES = 2**20


class _Wire(ResponseHandler):
    """aiohttp's protocol, noting when bytes arrive."""

    arrived_s = 0.0

    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp also calls this with nothing, when it goes on with what it holds
            self.arrived_s = perf_counter()
        super().data_received(data)


class _Connector(aiohttp.TCPConnector):
    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=60, ttl_dns_cache=300)
        if hasattr(self, "_factory"):
            self._factory = functools.partial(_Wire, loop=self._loop)


class _Response(aiohttp.ClientResponse):
    sent_s = 0.0
    wire: _Wire | None = None


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, noting when it leaves."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        sent_s = perf_counter()
        response = await super().send(conn)
        if isinstance(response, _Response):
            response.sent_s = sent_s
            response.wire = conn.protocol if isinstance(conn.protocol, _Wire) else None
        return response


def json_bytes(value: Json) -> bytes:
    """The value as JSON; integers past 64 bits and lone surrogates too."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return codec.dumps(value)


def parse_json(data: bytes, *, request_id: str | None = None) -> Json:
    """The JSON value in an answer.

    Raises:
        ProviderError: It is not JSON (kind "protocol").
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return codec.parse(data)
        except CodecError as error:
            sample = clean(data[:120].decode("utf-8", "replace"))
            message = f"the server's answer is not JSON ({len(data)} bytes: {sample!r}): {error}"
            raise protocol_error(message, request_id=request_id) from None


class Reply:
    """An answer whose head is here. Read it once, by `read`, `json`, `pieces`, `events` or `lines`."""

    __slots__ = ("_response", "_size", "headers", "received_s", "request_id", "secrets", "sent_s", "status")

    def __init__(self, response: aiohttp.ClientResponse, secrets: Sequence[str]) -> None:
        self._response = response
        self.secrets = secrets
        self._size = 0
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.sent_s = response.sent_s if isinstance(response, _Response) else 0.0
        self.received_s = self.sent_s
        """When the newest piece arrived."""
        self.request_id = request_id_of(response.headers, secrets)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back if the answer was read to its end, else drop it."""
        if not self._response.closed:
            self._response.close()

    async def _next(self) -> bytes:
        """The bytes that have arrived, waiting for some; empty at the end."""
        response = self._response
        try:
            piece = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken(error) from None
        if piece:
            wire = response.wire if isinstance(response, _Response) else None
            self.received_s = wire.arrived_s if wire is not None else perf_counter()
            self._size += len(piece)
            if self._size > MAX_ANSWER_BYTES:
                message = f"the answer has more than {MAX_ANSWER_BYTES} bytes"
                raise protocol_error(message, request_id=self.request_id)
        return piece

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives; `received_s` tells when each piece did.

        Raises:
            ProviderError: Cut off, or more than 64 MiB (kind "protocol").
        """
        while piece := await self._next():
            yield piece

    async def read(self) -> bytes:
        """The whole body."""
        body = await self._next()
        if not self._response.content.at_eof():
            pieces = [body]
            while piece := await self._next():
                pieces.append(piece)
            body = b"".join(pieces)
        return body

    async def json(self) -> Json:
        """The whole body, parsed."""
        return parse_json(await self.read(), request_id=self.request_id)

    async def events(self) -> AsyncIterator[list[Event]]:
        """Server-sent events, those of one arrival together."""
        stream = EventStream()
        async for piece in self.pieces():
            if events := stream.feed(piece):
                yield events

    async def lines(self) -> AsyncIterator[list[Event]]:
        """Lines that are not blank (NDJSON), as events without a name, those of one arrival together."""
        gathered = Lines()
        async for piece in self.pieces():
            if lines := [Event("", line) for line in gathered.feed(piece) if line.strip()]:
                yield lines
        if (rest := gathered.rest()).strip():
            yield [Event("", rest)]

    def _broken(self, error: BaseException) -> ProviderError:
        if isinstance(error, TimeoutError):
            return ProviderError(
                "the answer stopped arriving", kind="timeout", retryable=True, request_id=self.request_id
            )
        detail = clean(str(error) or type(error).__name__, self.secrets)
        return protocol_error(f"the answer was cut off: {detail}", request_id=self.request_id)


class Http:
    """Posts JSON through one session with kept connections; use it as an async context manager.

    No cookies, no redirects (a key never follows to another host), proxies from the environment.

    Args:
        concurrency: How many calls may be under way; the engine holds the limit, not this class.
    """

    def __init__(self, concurrency: int = 64) -> None:
        self.concurrency = concurrency
        self._open: aiohttp.ClientSession | None = None
        self._proxies: dict[str, URL | None] = {}
        self._environment_proxies: dict[str, str] | None = None
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        self._session()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        session, self._open = self._open, None
        if session is not None:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._open is None or self._open.closed:
            self._open = aiohttp.ClientSession(
                connector=_Connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_Request,
                response_class=_Response,
                read_bufsize=2**18,
                max_line_size=32 * 2**10,
                max_field_size=32 * 2**10,
                # compression delays the first token of a stream and lets a small answer swell
                headers={"Accept-Encoding": "identity", "User-Agent": "ratchet"},
            )
        return self._open

    async def post(
        self,
        url: URL,
        body: bytes,
        headers: Mapping[str, str],
        *,
        connect_s: float = 10.0,
        secrets: Sequence[str] = (),
    ) -> Reply:
        """The reply, its head read and its status below 300; the caller reads it within `async with`.

        Args:
            connect_s: Longest time for name lookup, connection and TLS handshake. Nothing else is timed here.
            secrets: Values masked in every error message.

        Raises:
            ProviderError: No connection, no head, or a status of 300 and more.
        """
        timeout = self._timeouts.get(connect_s)
        if timeout is None:
            timeout = self._timeouts[connect_s] = aiohttp.ClientTimeout(total=None, connect=connect_s)
        origin = f"{url.scheme}://{url.host_port_subcomponent}"
        if origin in self._proxies:
            proxy = self._proxies[origin]
        else:
            proxy = self._proxies[origin] = self._proxy(url)
        # aiohttp warns of large bytes, which it writes at once; from a file it writes pieces
        data = body if len(body) < _LARGE_BODY_BYTES else io.BytesIO(body)
        try:
            response = await self._session().post(
                url, data=data, headers=headers, allow_redirects=False, timeout=timeout, proxy=proxy
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _not_reached(error, url, connect_s, secrets) from None
        if response.status < 300:
            return Reply(response, secrets)
        raise await self._failure(response, secrets)

    async def _failure(self, response: aiohttp.ClientResponse, secrets: Sequence[str]) -> ProviderError:
        body = bytearray()
        try:
            while len(body) < _MAX_ERROR_BYTES and (piece := await response.content.readany()):
                body += piece
        except (aiohttp.ClientError, OSError):
            pass  # the status alone says enough
        finally:
            if not response.closed:
                response.close()
        return failure(response.status, response.headers, bytes(body), secrets=secrets)

    def _proxy(self, url: URL) -> URL | None:
        """The environment's proxy for this host (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), looked up once a host."""
        if self._environment_proxies is None:
            self._environment_proxies = urllib.request.getproxies()
        proxy = self._environment_proxies.get(url.scheme) or self._environment_proxies.get("all")
        if (
            not proxy
            or proxy.startswith("socks")
            or urllib.request.proxy_bypass(url.host_port_subcomponent or "")
        ):
            return None
        return URL(proxy if "://" in proxy else f"http://{proxy}")


def _not_reached(error: Exception, url: URL, connect_s: float, secrets: Sequence[str]) -> ProviderError:
    where = f"{url.scheme}://{url.host_port_subcomponent}"
    detail = clean(str(error) or type(error).__name__, secrets)
    if isinstance(error, TimeoutError):
        return ProviderError(
            f"no connection to {where} within {connect_s:g} s", kind="timeout", retryable=True
        )
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLError, aiohttp.ClientSSLError)):
        return ProviderError(
            f"no trusted connection to {where}: {detail}", kind="connection", retryable=False
        )
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ProviderError(
            f"{where} closed the connection before it answered", kind="connection", retryable=True
        )
    if isinstance(error, aiohttp.ClientResponseError):
        return protocol_error(f"{where} did not answer in HTTP: {detail}")
    if isinstance(error, (aiohttp.ClientError, OSError)) and not isinstance(error, aiohttp.InvalidURL):
        return ProviderError(f"no connection to {where}: {detail}", kind="connection", retryable=True)
    return ProviderError(f"the call to {where} can't be made: {detail}", kind="bad_request", retryable=False)
