"""One request of a load test: how its bytes go out, and what came back with the time of each arrival."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from yarl import URL

from ratchet.errors import ConfigError, ProviderError
from ratchet.loads.framing import Chunks, Head
from ratchet.loads.records import Shot
from ratchet.loads.targets import Target
from ratchet.ports import Request
from ratchet.providers.wires import Wire

if TYPE_CHECKING:
    from ratchet.loads.client import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How one arm's requests go out and what reads their answers."""

    origin: tuple[str, int, bool]
    """Host, port, TLS."""
    prefix: bytes = field(repr=False)
    """Request line and headers, up to the value of content-length."""
    secrets: tuple[str, ...] = field(repr=False)
    wire: Wire = field(repr=False)
    template: Request = field(repr=False)
    connect_s: float
    first_byte_ns: int
    total_ns: int


async def route_of(target: Target) -> Route:
    """The route of an arm whose provider is a wire.

    Raises:
        ConfigError: A header or URL can't be sent.
        ProviderError: No token could be had.
    """
    wire = cast("Wire", target.wire)
    url: URL = wire.url(target.template)
    headers, secrets = await wire.headers()
    lines = {
        "host": url.host_port_subcomponent or "",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "ratchet",
        **{name.lower(): value for name, value in headers.items()},
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    if any(set(name + value) & set("\r\n\0") for name, value in lines.items()):
        raise ConfigError(f"arm {target.name!r} has a header with a line end in it")
    try:
        prefix = f"POST {url.raw_path_qs} HTTP/1.1\r\n{text}content-length: ".encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"arm {target.name!r} has a header that is not in latin-1") from None
    return Route(
        origin=(url.raw_host or "", url.port or 80, url.scheme == "https"),
        prefix=prefix,
        secrets=secrets,
        wire=wire,
        template=target.template,
        connect_s=target.limits.connect_s,
        first_byte_ns=int(target.limits.first_token_s * 1e9),
        total_ns=int(target.limits.total_s * 1e9),
    )


class Exchange:
    """One request and what came of it; times are of `perf_counter_ns`, 0 where a thing did not happen."""

    __slots__ = (
        "chunks", "connect_ns", "connection", "dispatched_ns", "done", "ended_ns", "error", "head", "pieces", "resent",
        "route", "scheduled_ns", "sent_ns", "shot", "size", "sized", "stamps", "walked"
    )  # fmt: skip

    def __init__(self, shot: Shot, route: Route, scheduled_ns: int, dispatched_ns: int) -> None:
        self.shot = shot
        self.route = route
        self.scheduled_ns = scheduled_ns
        self.dispatched_ns = dispatched_ns
        self.sent_ns = 0
        self.connect_ns = 0
        self.ended_ns = 0
        self.connection: Connection | None = None
        self.head: Head | None = None
        self.pieces: list[bytes] = []
        """The body as it arrived, one entry an arrival."""
        self.stamps: list[int] = []
        self.size = 0
        """Bytes of the body when it was last weighed."""
        self.sized = 0
        self.chunks: Chunks | None = None
        self.walked = 0
        self.error: ProviderError | None = None
        self.done = False
        self.resent = False

    def weigh(self) -> int:
        """Bytes of the body so far, framing included."""
        if self.sized < len(self.pieces):
            self.size += sum(map(len, self.pieces[self.sized :]))
            self.sized = len(self.pieces)
        return self.size

    def walk(self) -> bool:
        """Take the framing off what has come; whether that is all there will be.

        Raises:
            ProviderError: It is no chunk framing.
        """
        chunks = self.chunks
        if chunks is None:
            return False
        self.weigh()
        chunks.feed(self.pieces, self.walked)
        self.walked = len(self.pieces)
        return chunks.ended

    @property
    def payloads(self) -> tuple[list[bytes], list[int]]:
        """The body without framing, and when each part of it arrived."""
        if self.chunks is None:
            return self.pieces, self.stamps
        stamps = self.stamps
        return self.chunks.payloads, [stamps[place] for place in self.chunks.places]
