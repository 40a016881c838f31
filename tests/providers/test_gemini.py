from __future__ import annotations

from typing import Any

import pytest

from ratchet.errors import ConfigError, ProviderError
from ratchet.ports import Endpoint, Request, Secret, Usage
from ratchet.providers import make
from ratchet.providers.http import Http

from .conftest import FORMAT, HELLO, KEY, PICTURE, PIXEL, SCHEMA, TALK, TOOL, Canned, Wire, sse

USAGE: dict[str, Any] = {
    "promptTokenCount": 40,
    "cachedContentTokenCount": 10,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 52,
}


def said(*parts: dict[str, Any], finish: str | None = "STOP", **more: object) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-flash", "usageMetadata": USAGE, **more}


def ask(**fields: object) -> Request:
    return Request(**{"model": "gemini-2.5-flash", "messages": HELLO, **fields})  # type: ignore[arg-type]


def test_thoughts_count_as_output_and_stay_out_of_the_text(wire: Wire) -> None:
    reply = Canned(said({"text": "Hm.", "thought": True}, {"text": "Hi"}))
    answered = wire.call("gemini", ask(), reply)
    assert (answered.text, answered.finish_reason, answered.metadata) == ("Hi", "stop", {"reasoning": "Hm."})
    assert answered.usage == Usage(input_tokens=40, output_tokens=12, cached_tokens=10, reasoning_tokens=7)
    assert wire.asked[0].path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert wire.asked[0].headers["x-goog-api-key"] == KEY


def test_a_stream_asks_for_events_and_adds_up(wire: Wire) -> None:
    reply = sse(said({"text": "Hel"}, finish=None), said({"text": "lo"}))
    answered = wire.call("gemini", ask(stream=True), reply)
    assert [chunk.text for chunk in answered.chunks] == ["Hel", "lo", ""]
    assert wire.asked[0].path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


def test_vertex_names_project_location_and_publisher_and_sends_a_bearer_token(wire: Wire) -> None:
    wire.call("vertex", ask(), Canned(said({"text": "Hi"})), project="p1", location="europe-west4")
    path = "/v1/projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent"
    assert wire.asked[0].path == path
    assert wire.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_vertex_without_a_project_names_the_variables() -> None:
    endpoint = Endpoint(provider="vertex", api_key=Secret("t"))
    with pytest.raises(ConfigError, match="VERTEX_AI_GCP_PROJECT"):
        make(endpoint, Http())


def test_chat_names_become_generation_config(wire: Wire) -> None:
    params = {
        "max_tokens": 9,
        "stop": "END",
        "top_p": 0.5,
        "safety_settings": [{"category": "c", "threshold": "t"}],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    }
    request = ask(messages=TALK, tools=[TOOL], params=params, response_format=FORMAT)
    wire.call("gemini", request, Canned(said({"text": "{}"})))
    body = wire.asked[0].body
    assert body["generationConfig"] == {
        "maxOutputTokens": 9,
        "stopSequences": ["END"],
        "topP": 0.5,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    assert body["safetySettings"] == [{"category": "c", "threshold": "t"}]
    calling = {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}
    assert body["toolConfig"] == {"functionCallingConfig": calling}
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    declared = body["tools"][0]["functionDeclarations"][0]
    assert declared["parametersJsonSchema"] == TOOL["function"]["parameters"]
    assert body["contents"][1:] == [
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"name": "get_weather", "response": {"celsius": 21}, "id": "c1"}}],
        },
    ]


def test_tool_calls_keep_the_signature_that_the_next_turn_must_repeat(wire: Wire) -> None:
    call = {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}}, "thoughtSignature": "sig"}
    answered = wire.call("gemini", ask(), Canned(said(call)))
    assert answered.finish_reason == "tool_calls"
    [made] = answered.tool_calls
    assert made["function"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    turn = [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [made]}]
    again = Wire()
    again.call("gemini", ask(messages=turn), Canned(said({"text": "ok"})))
    assert again.asked[0].body["contents"][1]["parts"][0]["thoughtSignature"] == "sig"


def test_images_become_inline_data(wire: Wire) -> None:
    wire.call("gemini", ask(messages=PICTURE), Canned(said({"text": "a pixel"})))
    parts = wire.asked[0].body["contents"][0]["parts"]
    assert parts[1] == {"inlineData": {"mimeType": "image/png", "data": PIXEL}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "prompt blocked: PROHIBITED_CONTENT"),
        ({"candidates": [{"finishReason": "SAFETY", "index": 0}]}, "blocked: SAFETY"),
    ],
)
def test_a_block_is_a_refusal_with_its_reason(
    wire: Wire, stream: bool, answer: dict[str, Any], refusal: str
) -> None:
    answered = wire.call("gemini", ask(stream=stream), sse(answer) if stream else Canned(answer))
    assert (answered.refusal, answered.finish_reason) == (refusal, "content_filter")


def test_the_delay_in_retry_info_is_read(wire: Wire) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}
    error = {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    with pytest.raises(ProviderError) as caught:
        wire.call("gemini", ask(), Canned(error, status=429))
    assert (caught.value.kind, caught.value.retryable, caught.value.retry_after_s) == (
        "rate_limit",
        True,
        12.5,
    )


@pytest.mark.parametrize(
    "reply", [Canned({}), Canned(said({"text": "x"}, finish=None)), sse(said({"text": "x"}, finish=None))]
)
def test_an_answer_without_finish_reason_was_cut(wire: Wire, reply: Canned) -> None:
    with pytest.raises(ProviderError) as caught:
        wire.call("gemini", ask(stream=reply.content_type != "application/json"), reply)
    assert (caught.value.kind, caught.value.retryable) == ("protocol", True)
