from __future__ import annotations

import asyncio
import json

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Endpoint, Request, Secret
from ratchet.providers import make
from ratchet.providers.http import Http
from ratchet.providers.wires import Whole, Wire

from .conftest import HELLO, KEY

REQUEST = Request(model="m", messages=HELLO, stream=True)


def wire(provider: str) -> Wire:
    endpoint = Endpoint(provider=provider, base_url="http://127.0.0.1:1", api_key=Secret(KEY))
    made = make(endpoint, Http())
    assert isinstance(made, Wire)
    return made


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("openai", "/chat/completions"),
        ("openai-responses", "/responses"),
        ("anthropic", "/v1/messages"),
        ("gemini", "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("ollama", "/api/chat"),
    ],
)
def test_a_wire_writes_its_request_without_a_session(provider: str, path: str) -> None:
    made = wire(provider)
    headers, secrets = asyncio.run(made.headers())
    assert made.url(REQUEST).raw_path_qs == path
    assert "Hello" in json.dumps(json.loads(made.body(REQUEST)))
    assert KEY in " ".join(headers.values())
    assert secrets == (KEY,)


@pytest.mark.parametrize("provider", ["bedrock", "simulated", "function"])
def test_providers_that_sign_or_stay_in_process_are_no_wires(provider: str) -> None:
    options = {"target": "json:dumps", "region": "us-east-1"}
    endpoint = Endpoint(
        provider=provider, base_url="http://127.0.0.1:1", api_key=Secret(KEY), options=options
    )
    assert not isinstance(make(endpoint, Http(), function=json.dumps), Wire)


def test_a_stream_that_is_here_is_read_event_by_event() -> None:
    reading = wire("openai").reading(REQUEST, "text/event-stream")
    assert reading is not None
    whole = Whole(headers={"x-request-id": "r1"})
    events = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    ]
    texts = [reading.add("", json.dumps(event).encode(), whole) for event in events]
    assert texts == ["", "Hi", ""]
    assert reading.outputs == 1
    last = reading.last(whole)
    assert last.usage is not None
    assert (last.usage.output_tokens, last.finish_reason, last.request_id) == (1, "stop", "r1")


def test_an_answer_that_ignored_the_stream_is_read_whole() -> None:
    assert wire("openai").reading(REQUEST, "application/json; charset=utf-8") is None


def test_errors_hide_the_secrets_of_the_answer_they_are_in() -> None:
    reading = wire("anthropic").reading(REQUEST, "text/event-stream")
    assert reading is not None
    whole = Whole(headers={}, secrets=(KEY,))
    data = json.dumps({"type": "error", "error": {"type": "api_error", "message": f"bad {KEY}"}}).encode()
    with pytest.raises(ProviderError) as caught:
        reading.add("error", data, whole)
    assert KEY not in str(caught.value)
    assert KEY not in repr(whole)


def test_thoughts_and_tool_calls_count_as_outputs_and_plumbing_does_not() -> None:
    reading = wire("openai-responses").reading(REQUEST, "text/event-stream")
    assert reading is not None
    whole = Whole(headers={})
    events = {
        "response.created": 0,
        "response.reasoning_summary_text.delta": 1,
        "response.output_item.added": 1,
        "response.function_call_arguments.delta": 2,
        "response.output_text.delta": 3,
    }
    for name, outputs in events.items():
        reading.add(name, json.dumps({"type": name, "delta": "x"}).encode(), whole)
        assert reading.outputs == outputs
    unnamed = json.dumps({"type": ["odd"]}).encode()
    reading.add("", unnamed, whole)
    assert reading.outputs == 3


def test_a_text_that_was_not_streamed_comes_with_the_end() -> None:
    reading = wire("openai-responses").reading(REQUEST, "text/event-stream")
    assert reading is not None
    whole = Whole(headers={})
    reading.add("response.reasoning_summary_text.delta", b"{}", whole)
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Paris"}]}]
    done = {"type": "response.completed", "response": {"status": "completed", "output": output}}
    assert reading.add("response.completed", json.dumps(done).encode(), whole) == "Paris"
    assert reading.last(whole).text == ""
