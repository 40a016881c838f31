"""Where an HTTP/1.1 answer ends, and what of it is payload: as much of the protocol as a load generator needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import repeat

from ratchet.providers.failures import clean, protocol_error

MAX_HEAD_BYTES = 64 * 2**10
_MAX_LINE_BYTES = 4096
_HEX = frozenset(b"0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of an answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of several with one name, joined by commas."""
    length: int | None
    """Bytes of payload; None: the body is chunked or lasts until the connection closes."""
    chunked: bool
    keep_alive: bool


def parse_head(data: bytes) -> Head:
    """The head in these bytes, which end before the empty line.

    Raises:
        ProviderError: It is not HTTP/1, or says nonsense of its length (kind "protocol").
    """
    first, *lines = data.split(b"\r\n") if b"\r\n" in data else data.split(b"\n")
    version, _, rest = first.partition(b" ")
    code = rest[:3]
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not (len(code) == 3 and code.isdigit()):
        sample = clean(first[:80].decode("latin-1"))
        raise protocol_error(f"the server did not answer in HTTP/1.1: {sample!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise protocol_error(f"a header line is not one: {clean(line[:80].decode('latin-1'))!r}")
        key, text = name.decode("latin-1").lower(), value.strip().decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    status = int(code)
    chunked = headers.get("transfer-encoding", "").lower().rpartition(",")[2].strip() == "chunked"
    connection = headers.get("connection", "").lower()
    bare = status in (204, 304) or status < 200
    length = 0 if bare else None if chunked else _length(headers.get("content-length"))
    return Head(
        status=status,
        headers=headers,
        length=length,
        chunked=chunked and not bare,
        keep_alive="keep-alive" in connection if version == b"HTTP/1.0" else "close" not in connection,
    )


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    values = {value.strip() for value in text.split(",")}
    value = values.pop()
    if values or not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise protocol_error(f"content-length is {clean(text[:80])!r}, expected one whole number")
    return int(value)


class Chunks:
    """Takes the chunk framing off a body, piece by piece, and keeps which arrival each payload came in."""

    __slots__ = ("_line", "_skip", "_state", "ended", "payloads", "places", "surplus")

    def __init__(self) -> None:
        self._line = b""
        """The start of a line whose end has not come."""
        self._skip = 0
        """Bytes left of the current chunk."""
        self._state = "size"  # then "data", "end" (the line end after the data), "trailer"
        self.ended = False
        self.surplus = False
        """Bytes came after the end: the connection is of no more use."""
        self.payloads: list[bytes] = []
        self.places: list[int] = []
        """For each payload, the number of the piece it came in."""

    def feed(self, pieces: list[bytes], first: int) -> None:
        """Take in the pieces from number `first` on, and let go of them.

        Raises:
            ProviderError: It is no chunk framing (kind "protocol").
        """
        if first or not self._take_whole(pieces):
            for place in range(first, len(pieces)):
                self._feed(pieces[place], place)
        pieces[first:] = [b""] * (len(pieces) - first)

    def _take_whole(self, pieces: list[bytes]) -> bool:
        """Take in a whole body of plain chunks without a line end of Windows in them, as nearly all are, at once."""
        body = b"".join(pieces)
        if not body.endswith(b"\r\n0\r\n\r\n"):
            return False
        lines = body.split(b"\r\n")
        sizes, payloads = lines[:-3:2], lines[1:-3:2]
        lengths = [len(payload) for payload in payloads]
        try:
            if list(map(int, sizes, repeat(16))) != lengths or 0 in lengths:
                return False
        except ValueError:
            return False
        places = _places(pieces, list(map(len, sizes)), lengths)
        if places is None:
            return False
        self.ended = True
        self.payloads, self.places = payloads, places
        return True

    def _feed(self, piece: bytes, place: int) -> None:
        position, total = 0, len(piece)
        while position < total:
            if self.ended:
                self.surplus = True
                return
            if self._state == "data":
                taken = min(self._skip, total - position)
                self.payloads.append(piece[position : position + taken])
                self.places.append(place)
                position += taken
                self._skip -= taken
                if not self._skip:
                    self._state = "end"
                continue
            end = piece.find(b"\n", position)
            if end < 0:
                self._line += piece[position:]
                self._check_line()
                return
            line = (self._line + piece[position:end]).rstrip(b"\r")
            self._line = b""
            position = end + 1
            self._take_line(line)

    def _check_line(self) -> None:
        if len(self._line) > _MAX_LINE_BYTES:
            raise protocol_error(f"a line of the chunk framing has more than {_MAX_LINE_BYTES} bytes")

    def _take_line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise protocol_error("a chunk is longer than it says")
            self._state = "size"
        elif self._state == "trailer":
            self.ended = not line
        else:
            self._skip = _size(line.partition(b";")[0].strip())
            self._state = "data" if self._skip else "trailer"


def _places(pieces: list[bytes], digits: list[int], lengths: list[int]) -> list[int] | None:
    """The number of the piece that each payload stands in; None: one came in several pieces."""
    places: list[int] = []
    place, edge, begin = 0, len(pieces[0]), 0
    for size, length in zip(digits, lengths, strict=True):
        begin += size + 2
        while edge <= begin:
            place += 1
            edge += len(pieces[place])
        if edge < begin + length:
            return None
        places.append(place)
        begin += length + 2
    return places


def _size(text: bytes) -> int:
    if not text or len(text) > 12 or not _HEX.issuperset(text):
        raise protocol_error(
            f"a chunk's size is {clean(text[:40].decode('latin-1'))!r}, expected hexadecimal"
        )
    return int(text, 16)
