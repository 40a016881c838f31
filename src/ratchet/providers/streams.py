"""Bytes of a stream become events: server-sent events and lines of JSON."""

from __future__ import annotations

from typing import NamedTuple

from ratchet.providers.failures import protocol_error

MAX_EVENT_BYTES = 8 * 2**20
"""One event or line longer than this is a protocol error."""


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    """Empty where the server gave none."""
    data: bytes


class Lines:
    """Gathers whole lines from pieces; `feed` gives those that are complete."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece completes, without their ends.

        Raises:
            ProviderError: A line is longer than 8 MiB.
        """
        if b"\n" not in piece:
            self._buffer += piece
            self._check(len(self._buffer))
            return []
        if self._buffer:
            self._buffer += piece
            piece = bytes(self._buffer)
            self._buffer.clear()
        *lines, rest = piece.split(b"\n")
        self._buffer += rest
        for line in lines:
            self._check(len(line))
        return lines

    def rest(self) -> bytes:
        """What came after the last line end."""
        return bytes(self._buffer)

    def _check(self, length: int) -> None:
        if length > MAX_EVENT_BYTES:
            raise protocol_error(f"one line of the stream has more than {MAX_EVENT_BYTES} bytes")


class EventStream:
    """Server-sent events (WHATWG HTML, section 9.2) from pieces; comments, `id` and `retry` are skipped."""

    __slots__ = ("_data", "_lines", "_name", "_size")

    def __init__(self) -> None:
        self._lines = Lines()
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Event]:
        """The events that this piece completes.

        Raises:
            ProviderError: An event has more than 8 MiB.
        """
        events: list[Event] = []
        for line in self._lines.feed(piece):
            if line.endswith(b"\r"):
                line = line[:-1]
            if not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    events.append(Event(self._name, data))
                    self._data, self._size = [], 0
                self._name = ""
            elif line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif line.startswith(b"event:"):
                self._name = line[6:].strip().decode("utf-8", "replace")
            elif line.startswith(b"\xef\xbb\xbfdata:"):
                self._add(line[8:].lstrip(b" "))
        return events

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            raise protocol_error(f"one event of the stream has more than {MAX_EVENT_BYTES} bytes")
        self._data.append(data)
