from __future__ import annotations

import json

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Request, Usage

from .conftest import FORMAT, HELLO, PICTURE, PIXEL, SCHEMA, TALK, TOOL, Canned, Wire
from .test_openai_chat import ANSWER as OPENAI_ANSWER

ANSWER = {
    "model": "llama3.2",
    "created_at": "2023-12-12T14:13:43.416799Z",
    "message": {"role": "assistant", "content": "Hello!"},
    "done": True,
    "done_reason": "stop",
    "total_duration": 5191566416,
    "prompt_eval_count": 26,
    "eval_count": 298,
}


def ask(**fields: object) -> Request:
    return Request(**{"model": "llama3.2", "messages": HELLO, **fields})  # type: ignore[arg-type]


def lines(*values: object) -> Canned:
    return Canned(
        [json.dumps(value).encode() + b"\n" for value in values], content_type="application/x-ndjson"
    )


def piece(content: str) -> dict[str, object]:
    return {"model": "llama3.2", "message": {"role": "assistant", "content": content}, "done": False}


def test_an_answer_brings_text_and_counts(wire: Wire) -> None:
    answered = wire.call("ollama", ask(), Canned(ANSWER), key=None)
    assert (answered.text, answered.finish_reason) == ("Hello!", "stop")
    assert answered.usage == Usage(input_tokens=26, output_tokens=298)
    assert wire.asked[0].path == "/api/chat"
    assert wire.asked[0].body["stream"] is False
    assert "Authorization" not in wire.asked[0].headers


def test_lines_of_a_stream_add_up(wire: Wire) -> None:
    last = {**ANSWER, "message": {"role": "assistant", "content": ""}}
    answered = wire.call("ollama", ask(stream=True), lines(piece("Hel"), piece("lo"), last))
    assert [chunk.text for chunk in answered.chunks] == ["Hel", "lo", ""]
    assert answered.usage == Usage(input_tokens=26, output_tokens=298)


@pytest.mark.parametrize("stream", [False, True])
def test_a_full_url_is_posted_to_as_it_is_and_an_openai_answer_is_read(wire: Wire, stream: bool) -> None:
    answered = wire.call("ollama", ask(stream=stream), Canned(OPENAI_ANSWER), path="/my/endpoint")
    assert wire.asked[0].path == "/my/endpoint"
    assert (answered.text, answered.usage and answered.usage.input_tokens) == ("Hello!", 19)


def test_parameters_go_under_options(wire: Wire) -> None:
    params = {
        "max_tokens": 9,
        "temperature": 0,
        "stop": "X",
        "keep_alive": "5m",
        "options": {"num_ctx": 4096},
    }
    wire.call(
        "ollama", ask(messages=TALK, tools=[TOOL], params=params, response_format=FORMAT), Canned(ANSWER)
    )
    body = wire.asked[0].body
    assert body["options"] == {"num_ctx": 4096, "num_predict": 9, "temperature": 0, "stop": ["X"]}
    assert body["keep_alive"] == "5m"
    assert body["format"] == SCHEMA
    assert body["messages"][2]["tool_calls"] == [
        {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    ]
    assert body["messages"][3] == {"role": "tool", "content": '{"celsius": 21}', "tool_name": "get_weather"}


def test_images_stand_beside_the_text(wire: Wire) -> None:
    wire.call("ollama", ask(messages=PICTURE), Canned(ANSWER))
    assert wire.asked[0].body["messages"][0] == {
        "role": "user",
        "content": "What is this?",
        "images": [PIXEL],
    }


def test_tool_calls_get_ids_of_their_own(wire: Wire) -> None:
    call = {"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    message = {"role": "assistant", "content": "", "tool_calls": [call]}
    answered = wire.call(
        "ollama", ask(stream=True), lines({**ANSWER, "message": message, "done": False}, ANSWER)
    )
    [made] = answered.tool_calls
    assert made == {
        "id": "call_0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
    }
    assert answered.finish_reason == "tool_calls"


def test_errors_and_cut_streams_are_told_apart(wire: Wire) -> None:
    with pytest.raises(ProviderError, match="not found, try pulling it") as caught:
        wire.call("ollama", ask(), Canned({"error": "model 'x' not found, try pulling it first"}, status=404))
    assert (caught.value.kind, caught.value.retryable) == ("bad_request", False)
    with pytest.raises(ProviderError, match="unexpected EOF") as caught:
        Wire().call("ollama", ask(stream=True), lines(piece("x"), {"error": "unexpected EOF"}))
    assert (caught.value.kind, caught.value.retryable) == ("server", True)
    with pytest.raises(ProviderError) as caught:
        Wire().call("ollama", ask(stream=True), lines(piece("x")))
    assert (caught.value.kind, caught.value.retryable) == ("protocol", True)
