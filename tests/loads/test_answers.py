from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ratchet.errors import ProviderError
from ratchet.loads import answers, targets
from ratchet.loads.answers import Answer
from ratchet.loads.driving import Drive, Driver, Part
from ratchet.loads.records import Shot
from ratchet.ports import Request
from ratchet.providers import openai_chat
from ratchet.providers.wires import Whole
from ratchet.records import Variant
from ratchet.simulated.server import SimulatedServer

from .scripted import HEAD, Script, Scripted, chunk, delta, event, fire, stream

WIRES = {
    "openai": ("OPENAI_BASE_URL", "/v1"),
    "azure": ("AZURE_OPENAI_ENDPOINT", ""),
    "openai-responses": ("OPENAI_BASE_URL", "/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", ""),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", ""),
    "vertex": ("VERTEX_BASE_URL", ""),
    "bedrock": ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ""),
    "ollama": ("OLLAMA_HOST", ""),
}
KEYS = {
    "OPENAI_API_KEY": "sk-test", "AZURE_OPENAI_API_KEY": "azure", "ANTHROPIC_API_KEY": "sk-ant",
    "GEMINI_API_KEY": "AIza", "VERTEX_ACCESS_TOKEN": "ya29", "VERTEX_AI_GCP_PROJECT": "p",
    "VERTEX_AI_GCP_LOCATION": "us-central1", "AWS_BEARER_TOKEN_BEDROCK": "b", "AWS_REGION": "us-east-1",
}  # fmt: skip
QUESTION = [{"role": "user", "content": "Capital of France?"}]


async def one(provider: str, key: Path, *, stream: bool) -> Part:
    """One request over this wire at the simulated server."""
    variable, path = WIRES[provider]
    async with SimulatedServer(
        profiles=["sure=skill=1,noise=0,verbosity=0"], answers=[key], require_key=True
    ) as server:
        environ = {**KEYS, variable: server.url + path}
        target = targets.aim("a", Variant(model=f"{provider}/sure", stream=stream), environ=environ)
        body = target.body(Request(model="sure", messages=QUESTION, params={"max_tokens": 50}, stream=stream))
        driver = Driver([target], iter([Shot(index=0, arm=0, body=body)]), Drive())
        await driver.prepare()
        return await driver.run(0)


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_wire_gives_tokens_counts_and_no_error(tmp_path: Path, provider: str, stream: bool) -> None:
    key = tmp_path / "key.jsonl"
    key.write_text(json.dumps({"contains": "Capital of France?", "answer": "Paris, the old city"}) + "\n")
    part = asyncio.run(one(provider, key, stream=stream))
    samples = part.samples
    assert part.errors == ()
    assert samples.output_tokens[0] > 0
    assert samples.input_tokens[0] > 0
    assert (samples.chunks[0] > 0) == stream
    assert np.isnan(samples.first_token_s[0]) == (not stream)
    assert part.vitals.bare == (provider != "bedrock")


def said(events: list[bytes]) -> list[int]:
    """How many tokens had come after each event of this stream."""
    reading = openai_chat.Reading()
    counts: list[int] = []
    for data in events:
        reading.add("", data.removeprefix(b"data: ").strip(), Whole(headers={}))
        counts.append(reading.outputs)
    return counts


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": None, "refusal": None}, False),
        ({"content": ""}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}, True),
        ({"content": [{"type": "text", "text": "a"}]}, True),
    ],
)
def test_what_the_model_produced_counts_as_a_token_and_nothing_else(
    fields: dict[str, Any], counts: bool
) -> None:
    assert said([event(delta(**fields))]) == [int(counts)]


def test_pings_are_no_tokens_and_thoughts_are() -> None:
    events: list[tuple[str, Any]] = [
        ("message_start", {"message": {"model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}}),
        ("ping", {}),
        ("content_block_start", {"index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        ("content_block_start", {"index": 1, "content_block": {"type": "text", "text": ""}}),
        ("content_block_delta", {"index": 1, "delta": {"type": "text_delta", "text": "Paris"}}),
        ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 8}}),
        ("message_stop", {}),
    ]
    script: Script = [HEAD]
    for name, data in events:
        script += [chunk(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()), 0.01]
    with Scripted(lambda _: [*script, b"0\r\n\r\n"]) as server:
        target = Variant(model="anthropic/m", base_url=server.url, stream=True)

        async def use() -> Part:
            aimed = targets.aim("a", target, environ={"ANTHROPIC_API_KEY": "k"})
            driver = Driver([aimed], iter([Shot(index=0, arm=0, body=b"{}")]), Drive())
            await driver.prepare()
            return await driver.run(0)

        found = asyncio.run(use())
    assert found.errors == ()
    assert found.samples.chunks.tolist() == [2]
    assert (found.samples.input_tokens[0], found.samples.output_tokens[0]) == (9, 8)


DELTAS = st.sampled_from(
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None, "refusal": None},
        {"content": "word"},
        {"content": "line\nend } data: {"},
        {"content": ""},
        {},
        {"reasoning_content": "hm"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]},
    ]
)
EVENTS = st.one_of(
    st.builds(lambda fields: event(delta(**fields)), DELTAS),
    st.sampled_from(
        [
            event(delta("stop")),
            event(delta("stop", content="end")),
            event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}),
            event({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": None}]}),
            event({"error": {"message": "melted"}}),
            event([1]),
            event({"choices": {}}),
            b": a comment\n\n",
            b"event: x\ndata: {}\n\n",
            b'data: {"choices": [{"delta":\ndata: {"content": "two lines"}}]}\n\n',
            b'data: {"a":1},{"b":2}\n\n',
            b"data: [DONE]\n\n",
            b"data:{}\n\n",
            b"\n\n",
        ]
    ),
)


@settings(max_examples=400, deadline=None)
@given(
    events=st.lists(EVENTS, max_size=8),
    ending=st.lists(st.sampled_from([event(delta("stop")), event("[DONE]")]), max_size=2),
    cuts=st.sets(st.integers(1, 900), max_size=6),
    whole=st.booleans(),
)
def test_the_short_cut_reads_what_the_wire_itself_reads(
    events: list[bytes], ending: list[bytes], cuts: set[int], whole: bool
) -> None:
    body = b"".join(events + ending)
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    cut = [body[a:b] for a, b in pairwise(edges) if b > a]
    pieces = [*events, *ending] if whole else cut
    stamps = list(range(100, 100 + len(pieces)))
    slow, fast = Answer(), Answer()
    try:
        answers._read_stream(openai_chat.Reading(), pieces, stamps, slow, Whole(headers={}))
    except ProviderError as error:
        slow.error = error
    if answers._read_plain_chat(pieces, stamps, fast):
        assert slow.error is None
        assert fast.tokens_ns == slow.tokens_ns
        assert fast.usage == slow.usage


def test_the_short_cut_is_taken_for_an_ordinary_stream() -> None:
    events = [
        event(delta(role="assistant", content="", refusal=None)),
        event(delta(content="a")),
        event(delta(content="b")),
        event(delta("stop")),
        event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}),
        event("[DONE]"),
    ]
    answer = Answer()
    assert answers._read_plain_chat(events, list(range(6)), answer)
    assert answer.tokens_ns == [1, 2]
    assert answer.usage is not None
    assert answer.usage.output_tokens == 2


def test_tokens_of_one_arrival_share_its_time_and_a_token_counts_when_its_last_byte_came() -> None:
    first, second, third = (event(delta(content=text)) for text in "abc")
    end = event(delta("stop"))
    pieces = [first + second[:5], second[5:] + third + end]
    answer = Answer()
    assert answers._read_plain_chat(pieces, [10, 20], answer)
    assert answer.tokens_ns == [10, 20, 20]
    assert answers.gaps_s(answer.tokens_ns) == [1e-8, 0.0]


def test_errors_are_counted_with_their_reason() -> None:
    def script(number: int) -> Script:
        return stream() if number % 3 else [b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops"]

    with Scripted(script) as server:
        found = fire(server, 9, rate=200)
    (error,) = found.errors
    assert (error.kind, error.status, error.count) == ("server", 500, 3)
    assert error.message == "HTTP 500: oops"
    assert found.samples.ok.sum() == 6
