from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ratchet.errors import ProviderError
from ratchet.providers.streams import Event, EventStream, Lines

STREAM = (
    b'\xef\xbb\xbfdata: first\r\n\r\n: comment\n\nevent: delta\ndata: {"a":\ndata: 1}\nid: 7\nretry: 5\n\n'
    b"event: lost\n\ndata:no space\n\ndata:  two spaces\n\ndata\n\ndata: unfinished"
)
EVENTS = [
    Event("", b"first"),
    Event("delta", b'{"a":\n1}'),
    Event("", b"no space"),
    Event("", b" two spaces"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_however_the_bytes_are_split(cuts: list[int]) -> None:
    stream, events, start = EventStream(), list[Event](), 0
    for end in [*sorted(cuts), len(STREAM)]:
        events += stream.feed(STREAM[start:end])
        start = end
    assert events == EVENTS


@pytest.mark.parametrize("line", [b"data: " + b"x" * 2000, b"data: " + b"x" * 2000 + b"\n"])
def test_a_line_without_bound_is_refused(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.providers.streams.MAX_EVENT_BYTES", 1000)
    with pytest.raises(ProviderError, match="more than 1000 bytes"):
        EventStream().feed(line)


def test_an_event_of_many_lines_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratchet.providers.streams.MAX_EVENT_BYTES", 1000)
    with pytest.raises(ProviderError, match="event of the stream"):
        EventStream().feed(b"data: 0123456789\n" * 200)


def test_the_rest_of_lines_is_what_has_no_end_yet() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == [b"a"]
    assert lines.feed(b"c\n\nd") == [b"bc", b""]
    assert lines.rest() == b"d"
