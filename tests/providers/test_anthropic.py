from __future__ import annotations

from typing import Any

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Request, Usage

from .conftest import FORMAT, HELLO, KEY, PICTURE, PIXEL, SCHEMA, TALK, TOOL, Canned, Wire, sse

USAGE: dict[str, Any] = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 188,
    "cache_read_input_tokens": 30,
    "output_tokens": 305,
    "output_tokens_details": {"thinking_tokens": 100},
}
ANSWER: dict[str, Any] = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Hi!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}


def ask(**fields: object) -> Request:
    return Request(**{"model": "claude-sonnet-4-5", "messages": HELLO, **fields})  # type: ignore[arg-type]


def events(
    *blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str = "end_turn", **delta: Any
) -> Canned:
    """A stream as the API sends it: start, blocks with their deltas, delta, stop."""
    start = {**ANSWER, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    said: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        said.append({"type": "content_block_start", "index": index, "content_block": block})
        said += [{"type": "content_block_delta", "index": index, "delta": each} for each in deltas]
        said.append({"type": "content_block_stop", "index": index})
    said.append(
        {"type": "message_delta", "delta": {"stop_reason": stop, **delta}, "usage": {"output_tokens": 15}}
    )
    said.append({"type": "message_stop"})
    return sse(*said, named=True)


TEXT: tuple[dict[str, Any], list[dict[str, Any]]] = (
    {"type": "text", "text": ""},
    [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}],
)


def test_cached_tokens_are_added_to_the_input(wire: Wire) -> None:
    answered = wire.call("anthropic", ask(), Canned(ANSWER, headers={"request-id": "req_1"}))
    assert (answered.text, answered.finish_reason, answered.request_id) == ("Hi!", "stop", "req_1")
    assert answered.usage == Usage(
        input_tokens=239, output_tokens=305, cached_tokens=30, cache_write_tokens=188, reasoning_tokens=100
    )
    assert answered.metadata == {"reasoning": "Hm."}
    assert wire.asked[0].headers["x-api-key"] == KEY
    assert wire.asked[0].headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_end_in_v1_or_not(wire: Wire, path: str) -> None:
    wire.call("anthropic", ask(), Canned(ANSWER), path=path)
    assert wire.asked[0].path == "/v1/messages"


def test_a_stream_adds_up_and_its_last_usage_counts(wire: Wire) -> None:
    answered = wire.call("anthropic", ask(stream=True), events(TEXT))
    assert [chunk.text for chunk in answered.chunks] == ["Hel", "lo", ""]
    assert answered.usage is not None
    assert (answered.usage.input_tokens, answered.usage.output_tokens) == (239, 15)
    assert answered.model == "claude-sonnet-4-5-20250929"


def test_chat_names_become_anthropics(wire: Wire) -> None:
    params = {"stop": "END", "user": "u1", "temperature": 0.5, "top_k": 3, "parallel_tool_calls": False}
    wire.call(
        "anthropic",
        ask(messages=TALK, tools=[TOOL], params={**params, "tool_choice": "required"}),
        Canned(ANSWER),
    )
    body = wire.asked[0].body
    assert body["system"] == "Be brief."
    assert body["max_tokens"] == 4096
    assert body["stop_sequences"] == ["END"]
    assert body["metadata"] == {"user_id": "u1"}
    assert (body["temperature"], body["top_k"]) == (0.5, 3)
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body["tools"] == [
        {
            "name": "get_weather",
            "description": "Weather of a city.",
            "input_schema": TOOL["function"]["parameters"],
        }
    ]
    assert body["messages"][1]["content"] == [
        {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Paris"}}
    ]
    assert body["messages"][2] == {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c1", "content": '{"celsius": 21}'}],
    }


def test_tool_calls_come_back_in_the_openai_shape_streamed_or_not(wire: Wire) -> None:
    use: dict[str, Any] = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "get_weather",
        "input": {"city": "Rome"},
    }
    whole = wire.call("anthropic", ask(), Canned({**ANSWER, "content": [use], "stop_reason": "tool_use"}))
    deltas: list[dict[str, Any]] = [
        {"type": "input_json_delta", "partial_json": piece} for piece in ("", '{"city":', '"Rome"}')
    ]
    streamed = Wire().call(
        "anthropic", ask(stream=True), events(({**use, "input": {}}, deltas), stop="tool_use")
    )
    for answered in (whole, streamed):
        assert answered.finish_reason == "tool_calls"
        assert answered.tool_calls == (
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
            },
        )


def test_a_schema_goes_into_output_config(wire: Wire) -> None:
    wire.call("anthropic", ask(response_format=FORMAT, params={"reasoning_effort": "low"}), Canned(ANSWER))
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"}
    assert wire.asked[0].body["output_config"] == wanted


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_can_be_asked_for_by_a_forced_tool_whose_input_is_the_answer(
    wire: Wire, stream: bool
) -> None:
    use: dict[str, Any] = {"type": "tool_use", "id": "t", "name": "number", "input": {"n": 7}}
    pieces: list[dict[str, Any]] = [
        {"type": "input_json_delta", "partial_json": piece} for piece in ('{"n"', ":7}")
    ]
    reply = (
        events(({**use, "input": {}}, pieces), stop="tool_use")
        if stream
        else Canned({**ANSWER, "content": [use], "stop_reason": "tool_use"})
    )
    request = ask(response_format=FORMAT, stream=stream)
    answered = wire.call("anthropic", request, reply, structured_output="tool")
    assert (answered.text, answered.tool_calls, answered.finish_reason) == ('{"n":7}', (), "stop")
    assert wire.asked[0].body["tool_choice"] == {"type": "tool", "name": "number"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_says_why(wire: Wire, stream: bool) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    whole = Canned({**ANSWER, "content": [], "stop_reason": "refusal", "stop_details": details})
    reply = events(stop="refusal", stop_details=details) if stream else whole
    answered = wire.call("anthropic", ask(stream=stream), reply)
    assert (answered.refusal, answered.finish_reason, answered.text) == (
        "refusal: cyber",
        "content_filter",
        "",
    )


def test_images_become_base64_sources(wire: Wire) -> None:
    wire.call("anthropic", ask(messages=PICTURE), Canned(ANSWER))
    assert wire.asked[0].body["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
    ]


def test_overload_is_retryable_before_and_within_a_stream(wire: Wire) -> None:
    error = {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_9",
    }
    for reply in (Canned(error, status=529), sse({"type": "ping"}, error, named=True)):
        with pytest.raises(ProviderError, match="Overloaded") as caught:
            Wire().call("anthropic", ask(stream=True), reply)
        assert (caught.value.kind, caught.value.retryable, caught.value.request_id) == (
            "server",
            True,
            "req_9",
        )


def test_a_stream_without_message_stop_was_cut(wire: Wire) -> None:
    reply = events(TEXT)
    reply.body = reply.body[:-1]
    with pytest.raises(ProviderError, match="message_stop") as caught:
        wire.call("anthropic", ask(stream=True), reply)
    assert (caught.value.kind, caught.value.retryable) == ("protocol", True)
