from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from ratchet.errors import ProviderError
from ratchet.loads.framing import Chunks, parse_head

from .scripted import chunk

PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


@settings(max_examples=200, deadline=None)
@given(payloads=PAYLOADS, cuts=st.sets(st.integers(1, 400)))
def test_a_chunked_body_is_the_same_however_it_is_cut(payloads: list[bytes], cuts: set[int]) -> None:
    framed = b"".join(map(chunk, payloads)) + b"0\r\n\r\n"
    edges = [0, *sorted(cut for cut in cuts if cut < len(framed)), len(framed)]
    pieces = [framed[a:b] for a, b in pairwise(edges)]
    chunks = Chunks()
    chunks.feed(list(pieces), 0)
    assert chunks.ended
    assert not chunks.surplus
    assert b"".join(chunks.payloads) == b"".join(payloads)
    for payload, place in zip(chunks.payloads, chunks.places, strict=True):
        assert payload in pieces[place]


def test_what_has_been_taken_in_is_let_go_of() -> None:
    pieces = [chunk(b"hello"), b"0\r\n\r\n"]
    Chunks().feed(pieces, 0)
    assert pieces == [b"", b""]


@pytest.mark.parametrize(
    "body",
    [b"5\r\nhelloXX0\r\n\r\n", b"-5\r\nhello\r\n", b"0x5\r\nhello\r\n", b"\r\n\r\n", b"f" * 13 + b"\r\nx"],
)
def test_what_is_no_chunk_framing_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProviderError) as caught:
        Chunks().feed([body], 0)
    assert caught.value.kind == "protocol"


def test_a_head_gives_status_headers_and_framing() -> None:
    head = parse_head(
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 5"
    )
    assert head.status == 200
    assert head.headers["x-a"] == "1, 2"
    assert head.chunked  # and the length is not believed (RFC 9112, section 6.3)
    assert head.length is None
    assert head.keep_alive


@pytest.mark.parametrize(
    ("text", "length", "keep_alive"),
    [
        (b"HTTP/1.1 204 No Content", 0, True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 12", 12, True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 12, 12\r\nConnection: Close", 12, False),
        (b"HTTP/1.0 200 OK", None, False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1", 1, True),
    ],
)
def test_a_head_says_how_long_the_body_is_and_whether_the_connection_stays(
    text: bytes, length: int | None, keep_alive: bool
) -> None:
    head = parse_head(text)
    assert head.length == length
    assert head.keep_alive == keep_alive


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_no_head_breaks_the_reader(data: bytes) -> None:
    with contextlib.suppress(ProviderError):
        parse_head(b"HTTP/1.1 " + data)
