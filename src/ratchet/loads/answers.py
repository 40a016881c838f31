"""What an answer that has ended says: when each token came, how many there were, what failed.

The wires' own readers decide what counts as a token (text, reasoning, part of a tool call; never a role, a ping or
the usage). The commonest stream is read by a short cut that gives the same result, several times faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import orjson

from ratchet.errors import ProviderError
from ratchet.loads.exchanges import Exchange
from ratchet.ports import Usage
from ratchet.providers import fields, openai_chat
from ratchet.providers.failures import failure, protocol_error
from ratchet.providers.http import parse_json
from ratchet.providers.streams import Event, EventStream, Lines
from ratchet.providers.wires import Reading, Whole

_MAX_ERROR_BYTES = 64 * 2**10
_BEGIN = b"data: {"
_BETWEEN = b"}\n\ndata: {"
_END = b"}\n\n"
_DONE = b"}\n\ndata: [DONE]\n\n"


@dataclass(slots=True, kw_only=True)
class Answer:
    """The facts of one answer. Times are of `perf_counter_ns`."""

    tokens_ns: list[int] = field(default_factory=list[int])
    """When each event that carried tokens came; those of one arrival share its time. Empty: it did not stream."""
    usage: Usage | None = None
    error: ProviderError | None = None


def read(exchange: Exchange) -> Answer:
    """The facts of an exchange that has ended; what can't be read is an error in them."""
    answer = Answer(error=exchange.error)
    try:
        _read(exchange, answer)
    except ProviderError as error:
        answer.error = answer.error or error
    except Exception as error:  # a shape that no wire sends, of which the readers did not think
        answer.error = answer.error or protocol_error(f"the answer can't be read: {type(error).__name__}")
    if answer.error is not None:
        # its frames hold what holds it, and there is no garbage collection while a test is under way
        answer.error.__traceback__ = answer.error.__context__ = exchange.error = None
    return answer


def _read(exchange: Exchange, answer: Answer) -> None:
    head, route = exchange.head, exchange.route
    if head is None:
        return
    payloads, stamps = exchange.payloads
    if head.status >= 300:
        if answer.error is None:
            body = b"".join(payloads)[:_MAX_ERROR_BYTES]
            answer.error = failure(head.status, head.headers, body, secrets=route.secrets)
        return
    if (coding := head.headers.get("content-encoding", "identity").strip().lower()) not in ("identity", ""):
        raise protocol_error(f"the answer came compressed ({coding[:20]!r}), though it was asked not to")
    whole = Whole(headers=head.headers, secrets=route.secrets)
    reading = route.wire.reading(route.template, head.headers.get("content-type", ""))
    if reading is None:
        if answer.error is None:
            data = parse_json(b"".join(payloads), request_id=whole.request_id)
            answer.usage = route.wire.answer(data, route.template, whole).usage
        return
    if isinstance(reading, openai_chat.Reading) and _read_plain_chat(payloads, stamps, answer):
        return
    answer.tokens_ns.clear()
    _read_stream(reading, payloads, stamps, answer, whole)


def _read_stream(
    reading: Reading, payloads: list[bytes], stamps: list[int], answer: Answer, whole: Whole
) -> None:
    stream, lines = EventStream(), Lines()
    tokens = answer.tokens_ns
    for payload, stamp in zip(payloads, stamps, strict=True):
        if reading.by_line:
            events = [Event("", line) for line in lines.feed(payload) if line.strip()]
        else:
            events = stream.feed(payload)
        for name, data in events:
            before = reading.outputs
            reading.add(name, data, whole)
            if reading.outputs > before:
                tokens.append(stamp)
    if reading.by_line and (rest := lines.rest()).strip():
        before = reading.outputs
        reading.add("", rest, whole)
        if reading.outputs > before and stamps:
            tokens.append(stamps[-1])
    if answer.error is None:
        answer.usage = reading.last(whole).usage


def _read_plain_chat(payloads: list[bytes], stamps: list[int], answer: Answer) -> bool:
    """Read a stream of chat that holds nothing out of the ordinary; False: it does, and nothing is certain."""
    body = b"".join(payloads)
    done = body.endswith(_DONE)
    if not body.startswith(_BEGIN) or not (done or body.endswith(_END)):
        return False
    inner = body[len(_BEGIN) - 1 : 1 - len(_DONE) if done else 1 - len(_END)]
    joined = inner.replace(_BETWEEN, b"},{")
    if b"\n" in joined or b'"x_groq"' in joined:  # events of other fields, comments, several lines
        return False
    texts = 1 + (len(inner) - len(joined)) // (len(_BETWEEN) - 3)
    if texts + done != len(payloads) or not all([payload.endswith(b"\n\n") for payload in payloads]):
        stamps = _stamps_of(body, payloads, stamps)  # events split over arrivals, or several in one
    try:
        data = orjson.loads(b"[%b]" % joined)
        return len(data) == texts and _take_plain_chat(data, stamps, answer)
    except (orjson.JSONDecodeError, AttributeError, KeyError, IndexError, TypeError):
        return False


def _take_plain_chat(data: list[dict[str, Any]], stamps: list[int], answer: Answer) -> bool:
    tokens = answer.tokens_ns
    finished = False
    for event, stamp in zip(data, stamps, strict=False):
        if "error" in event:
            return False
        if choices := event["choices"]:
            choice = choices[0]
            delta = choice["delta"]
            content = delta.get("content")
            if content and type(content) is str:
                tokens.append(stamp)
            elif any([value for name, value in delta.items() if name != "role"]):
                return False  # reasoning, a tool call, a refusal, content in parts
            if choice.get("finish_reason"):
                finished = True
            if choice.get("index"):
                return False
    if not finished or answer.error is not None:
        return False
    usage = next((event["usage"] for event in reversed(data) if event.get("usage")), None)
    answer.usage = openai_chat.usage_of(fields.dict_of(usage))
    return True


def _stamps_of(body: bytes, payloads: list[bytes], stamps: list[int]) -> list[int]:
    """When the last byte of each event of this body came."""
    ends = accumulate(len(event) + 2 for event in body.split(b"\n\n")[:-1])
    edges = zip(accumulate(map(len, payloads)), stamps, strict=True)
    found: list[int] = []
    edge, stamp = next(edges)
    for end in ends:
        while edge < end:
            edge, stamp = next(edges)
        found.append(stamp)
    return found


def gaps_s(tokens_ns: list[int]) -> list[float]:
    """Seconds between neighbouring tokens."""
    return [(after - before) / 1e9 for before, after in pairwise(tokens_ns)]
