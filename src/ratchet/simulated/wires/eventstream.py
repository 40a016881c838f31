"""Amazon's binary event stream: `application/vnd.amazon.eventstream`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

_STRING = 7


def encode_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame: total length, header length, CRC32 of these; headers; payload; CRC32 of all before it.

    All numbers are big-endian; each header is name length (1 byte), name, type 7, value length (2 bytes), value.
    Source: the "Event Stream encoding" chapter of the Smithy and Amazon Transcribe documentation.
    """
    head = b"".join(
        struct.pack(f"!B{len(name)}sBH", len(name), name, _STRING, len(value)) + value
        for name, value in ((key.encode(), text.encode()) for key, text in headers.items())
    )
    prelude = struct.pack("!II", 12 + len(head) + len(payload) + 4, len(head))
    frame = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return frame + struct.pack("!I", zlib.crc32(frame))


def encode_event(kind: str, payload: bytes) -> bytes:
    return encode_frame(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload
    )


def encode_exception(kind: str, payload: bytes) -> bytes:
    return encode_frame(
        {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}, payload
    )
