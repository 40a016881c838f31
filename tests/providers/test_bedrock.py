from __future__ import annotations

import base64
import binascii
import json
import struct
from typing import Any

import pytest

from ratchet.errors import MissingKeyError, ProviderError
from ratchet.ports import Endpoint, Request, Usage
from ratchet.providers import make
from ratchet.providers.http import Http

from .conftest import FORMAT, HELLO, KEY, PICTURE, PIXEL, SCHEMA, TALK, TOOL, Canned, Wire

MODEL = "anthropic.claude-3-5-sonnet-20240620-v1:0"
USAGE = {
    "inputTokens": 30,
    "outputTokens": 628,
    "totalTokens": 658,
    "cacheReadInputTokens": 5,
    "cacheWriteInputTokens": 7,
}
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Here"}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 1275},
}


def ask(**fields: object) -> Request:
    return Request(**{"model": MODEL, "messages": HELLO, **fields})  # type: ignore[arg-type]


def frame(payload: Any, **headers: str) -> bytes:
    """One message of AWS's event stream: prelude, headers of strings, payload, two checksums."""
    packed = b""
    for name, value in headers.items():
        name = ":" + name.replace("_", "-")
        packed += (
            struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        )
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(packed) + len(body), len(packed))
    prelude += struct.pack("!I", binascii.crc32(prelude))
    message = prelude + packed + body
    return message + struct.pack("!I", binascii.crc32(message))


def event(kind: str, payload: Any) -> bytes:
    return frame(payload, message_type="event", event_type=kind, content_type="application/json")


def stream_of(*frames: bytes) -> Canned:
    return Canned(list(frames), content_type="application/vnd.amazon.eventstream")


END = (event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"usage": USAGE, "metrics": {}}))


def test_cached_tokens_are_added_to_the_input_and_the_model_is_quoted_in_the_path(wire: Wire) -> None:
    answered = wire.call("bedrock", ask(), Canned(ANSWER, headers={"x-amzn-requestid": "a1"}))
    assert (answered.text, answered.finish_reason, answered.request_id) == ("Here", "stop", "a1")
    assert answered.usage == Usage(input_tokens=42, output_tokens=628, cached_tokens=5, cache_write_tokens=7)
    assert wire.asked[0].path == "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse"
    assert wire.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_credentials_sign_the_request_as_botocore_does(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    wire.call("bedrock", ask(), Canned(ANSWER), key=None, region="eu-west-1")
    headers = wire.asked[0].headers
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "session"


def test_no_credentials_are_told_before_the_first_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(MissingKeyError, match="AWS_BEARER_TOKEN_BEDROCK"):
        make(Endpoint(provider="bedrock", options={"region": "us-east-1"}), Http())


def test_a_stream_of_frames_adds_up_even_when_frames_are_split(wire: Wire) -> None:
    data = b"".join(
        [
            event("messageStart", {"role": "assistant"}),
            event("contentBlockDelta", {"delta": {"text": "Hel"}, "contentBlockIndex": 0}),
            event("contentBlockDelta", {"delta": {"text": "lo"}, "contentBlockIndex": 0}),
            event("contentBlockStop", {"contentBlockIndex": 0}),
            *END,
        ]
    )
    answered = wire.call(
        "bedrock", ask(stream=True), stream_of(*[data[i : i + 100] for i in range(0, len(data), 100)])
    )
    assert answered.text == "Hello"
    assert answered.finish_reason == "stop"
    assert answered.usage is not None
    assert answered.usage.input_tokens == 42
    assert wire.asked[0].path.endswith("/converse-stream")


def test_known_parameters_go_to_inference_config_and_others_to_the_models_own_fields(wire: Wire) -> None:
    params = {
        "max_tokens": 9,
        "stop": ["A"],
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "tool_choice": "required",
    }
    wire.call(
        "bedrock", ask(messages=TALK, tools=[TOOL], params=params, response_format=FORMAT), Canned(ANSWER)
    )
    body = wire.asked[0].body
    assert body["inferenceConfig"] == {"maxTokens": 9, "stopSequences": ["A"], "temperature": 0, "topP": 0.5}
    assert body["additionalModelRequestFields"] == {"top_k": 3}
    assert body["system"] == [{"text": "Be brief."}]
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    spec = body["toolConfig"]["tools"][0]["toolSpec"]
    assert spec["inputSchema"] == {"json": TOOL["function"]["parameters"]}
    assert body["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "c1", "name": "get_weather", "input": {"city": "Paris"}}}
    ]
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "c1", "content": [{"text": '{"celsius": 21}'}]}}
    ]
    form = body["outputConfig"]["textFormat"]
    assert form["type"] == "json_schema"
    assert json.loads(form["structure"]["jsonSchema"]["schema"]) == SCHEMA


def test_tool_calls_come_back_in_the_openai_shape_streamed_or_not(wire: Wire) -> None:
    use = {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Rome"}}
    message = {"role": "assistant", "content": [{"toolUse": use}]}
    whole = wire.call(
        "bedrock", ask(), Canned({**ANSWER, "output": {"message": message}, "stopReason": "tool_use"})
    )
    start = {"start": {"toolUse": {"toolUseId": "t1", "name": "get_weather"}}, "contentBlockIndex": 0}
    reply = stream_of(
        event("contentBlockStart", start),
        event("contentBlockDelta", {"delta": {"toolUse": {"input": '{"city":'}}, "contentBlockIndex": 0}),
        event("contentBlockDelta", {"delta": {"toolUse": {"input": '"Rome"}'}}, "contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "tool_use"}),
    )
    for answered in (whole, Wire().call("bedrock", ask(stream=True), reply)):
        assert answered.finish_reason == "tool_calls"
        assert answered.tool_calls == (
            {
                "id": "t1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
            },
        )


def test_a_guardrail_is_a_refusal(wire: Wire) -> None:
    answered = wire.call("bedrock", ask(), Canned({**ANSWER, "stopReason": "guardrail_intervened"}))
    assert (answered.refusal, answered.finish_reason) == ("blocked: guardrail_intervened", "content_filter")


def test_images_are_sent_as_bytes_and_web_addresses_refused(wire: Wire) -> None:
    wire.call("bedrock", ask(messages=PICTURE), Canned(ANSWER))
    image = wire.asked[0].body["messages"][0]["content"][1]["image"]
    assert image == {"format": "png", "source": {"bytes": PIXEL}}
    assert base64.b64decode(PIXEL)
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(ProviderError, match="data URLs") as caught:
        Wire().call("bedrock", ask(messages=[{"role": "user", "content": [part]}]), Canned(ANSWER))
    assert not caught.value.retryable


def test_an_exception_in_the_stream_keeps_its_kind(wire: Wire) -> None:
    thrown = frame(
        {"message": "Too many tokens"}, message_type="exception", exception_type="throttlingException"
    )
    with pytest.raises(ProviderError, match="Too many tokens") as caught:
        wire.call("bedrock", ask(stream=True), stream_of(thrown))
    assert (caught.value.kind, caught.value.retryable) == ("rate_limit", True)


def test_damaged_and_cut_streams_are_protocol_errors(wire: Wire) -> None:
    whole = event("contentBlockDelta", {"delta": {"text": "Hi"}, "contentBlockIndex": 0})
    damaged = whole[:-3] + b"\0\0\0"
    for frames in ((whole,), (damaged, *END), (whole, END[0][:20])):
        with pytest.raises(ProviderError) as caught:
            Wire().call("bedrock", ask(stream=True), stream_of(*frames))
        assert (caught.value.kind, caught.value.retryable) == ("protocol", True)


def test_throttling_is_named_in_a_header(wire: Wire) -> None:
    reply = Canned(
        {"message": "slow down"}, status=429, headers={"x-amzn-errortype": "ThrottlingException:http://x/"}
    )
    with pytest.raises(ProviderError, match="HTTP 429 ThrottlingException: slow down") as caught:
        wire.call("bedrock", ask(), reply)
    assert caught.value.kind == "rate_limit"
