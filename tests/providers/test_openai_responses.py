from __future__ import annotations

from typing import Any

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Request, Usage

from .conftest import FORMAT, HELLO, PICTURE, PIXEL, SCHEMA, TALK, TOOL, Canned, Wire, sse

MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
ANSWER: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "gpt-5.1-2025-11-13",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        MESSAGE,
    ],
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 30},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 123,
    },
}


def ask(**fields: object) -> Request:
    return Request(**{"model": "gpt-5.1", "messages": HELLO, **fields})  # type: ignore[arg-type]


def stream_of(*deltas: str, end: str = "response.completed", **changes: object) -> Canned:
    said: list[dict[str, Any]] = [{"type": "response.created", "response": {**ANSWER, "output": []}}]
    said += [{"type": "response.output_text.delta", "item_id": "msg_1", "delta": delta} for delta in deltas]
    said.append({"type": end, "response": {**ANSWER, **changes}})
    return sse(*said, named=True)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_brings_text_usage_and_the_summary_of_its_reasoning(wire: Wire, stream: bool) -> None:
    reply = stream_of("Hel", "lo") if stream else Canned(ANSWER)
    answered = wire.call("openai-responses", ask(stream=stream), reply, path="/v1")
    assert (answered.text, answered.finish_reason, answered.model) == ("Hello", "stop", "gpt-5.1-2025-11-13")
    assert answered.usage == Usage(input_tokens=36, output_tokens=87, cached_tokens=30, reasoning_tokens=64)
    assert answered.metadata == {"reasoning": "Hm."}
    assert wire.asked[0].path == "/v1/responses"
    assert len(answered.chunks) == (3 if stream else 1)


def test_chat_names_become_those_of_responses(wire: Wire) -> None:
    params = {"max_tokens": 9, "reasoning_effort": "low", "top_p": 0.5}
    wire.call(
        "openai-responses",
        ask(messages=TALK, tools=[TOOL], params=params, response_format=FORMAT),
        Canned(ANSWER),
    )
    body = wire.asked[0].body
    assert (body["max_output_tokens"], body["reasoning"], body["top_p"]) == (9, {"effort": "low"}, 0.5)
    assert body["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris?"},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": '{"celsius": 21}'},
    ]
    assert body["tools"][0]["type"] == "function"
    assert body["tools"][0]["name"] == "get_weather"
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "number",
        "schema": SCHEMA,
        "strict": True,
    }


def test_images_become_input_images(wire: Wire) -> None:
    wire.call("openai-responses", ask(messages=PICTURE), Canned(ANSWER))
    assert wire.asked[0].body["input"][0]["content"] == [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"},
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_and_refusals_are_read_from_the_output(wire: Wire, stream: bool) -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c9", "name": "get_weather", "arguments": "{}"}
    refusal = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
    reply = stream_of(output=[refusal, call]) if stream else Canned({**ANSWER, "output": [refusal, call]})
    answered = wire.call("openai-responses", ask(stream=stream), reply)
    assert (answered.text, answered.refusal, answered.finish_reason) == ("", "No.", "tool_calls")
    assert answered.tool_calls[0]["id"] == "c9"


def test_an_incomplete_response_says_why(wire: Wire) -> None:
    details = {"reason": "max_output_tokens"}
    reply = stream_of("Hel", end="response.incomplete", status="incomplete", incomplete_details=details)
    assert wire.call("openai-responses", ask(stream=True), reply).finish_reason == "length"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            stream_of(
                "x", end="response.failed", status="failed", error={"code": "server_error", "message": "m"}
            ),
            "server",
        ),
        (sse({"type": "error", "code": "rate_limit_exceeded", "message": "m"}, named=True), "rate_limit"),
        (Canned(stream_of("x").body[:-1], content_type="text/event-stream"), "protocol"),
        (Canned({**ANSWER, "output": []}), "protocol"),
    ],
)
def test_failures_are_errors_of_their_kind(wire: Wire, reply: Canned, kind: str) -> None:
    with pytest.raises(ProviderError) as caught:
        wire.call("openai-responses", ask(stream=True), reply)
    assert (caught.value.kind, caught.value.retryable) == (kind, True)
