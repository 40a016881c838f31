from __future__ import annotations

from typing import Any

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Request, Usage

from .conftest import FORMAT, HELLO, KEY, TALK, TOOL, Canned, Wire, sse

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}


def delta(finish: str | None = None, **fields: object) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }


def ask(**fields: object) -> Request:
    return Request(**{"model": "gpt-4.1", "messages": HELLO, **fields})  # type: ignore[arg-type]


def test_an_answer_brings_text_usage_model_request_id_and_times(wire: Wire) -> None:
    answered = wire.call(
        "openai", ask(params={"temperature": 0}), Canned(ANSWER, headers={"x-request-id": "r1"}), path="/v1"
    )
    assert (answered.text, answered.finish_reason, answered.model) == ("Hello!", "stop", "gpt-4.1-2025-04-14")
    assert answered.request_id == "r1"
    assert answered.usage == Usage(input_tokens=19, output_tokens=10, cached_tokens=8, reasoning_tokens=4)
    [chunk] = answered.chunks
    assert chunk.sent_s is not None
    assert chunk.received_s is not None
    assert chunk.sent_s < chunk.received_s
    [asked] = wire.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body == {"model": "gpt-4.1", "messages": HELLO, "temperature": 0}


def test_a_stream_gives_a_chunk_for_each_arrival_and_usage_at_its_end(wire: Wire) -> None:
    usage = {"choices": [], "model": "gpt-4o-mini", "usage": ANSWER["usage"]}
    reply = sse(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        usage,
        done=True,
    )
    answered = wire.call("openai", ask(stream=True), reply)
    assert [chunk.text for chunk in answered.chunks] == ["Hel", "lo", ""]
    assert answered.finish_reason == "stop"
    assert answered.usage is not None
    assert answered.usage.input_tokens == 19
    times = [chunk.received_s for chunk in answered.chunks]
    assert times == sorted(times)  # type: ignore[type-var]
    assert wire.asked[0].body["stream_options"] == {"include_usage": True}


def test_mistral_is_not_sent_stream_options_which_it_refuses(wire: Wire) -> None:
    wire.call("mistral", ask(stream=True), sse(delta("stop", content="x"), done=True))
    assert "stream_options" not in wire.asked[0].body


def test_tool_calls_and_results_travel_unchanged_and_come_back_whole(wire: Wire) -> None:
    call = {
        "id": "c9",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = {**ANSWER, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    answered = wire.call("openai", ask(messages=TALK, tools=[TOOL], response_format=FORMAT), Canned(reply))
    assert answered.tool_calls == (call,)
    assert answered.finish_reason == "tool_calls"
    assert wire.asked[0].body["messages"] == TALK
    assert wire.asked[0].body["tools"] == [TOOL]
    assert wire.asked[0].body["response_format"] == FORMAT


def test_streamed_tool_calls_are_put_together_by_index(wire: Wire) -> None:
    def part(index: int, arguments: str, **more: object) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
        return delta(tool_calls=[{"index": index, "function": function, **more}])

    reply = sse(
        part(0, "", id="c1", name="get_weather"),
        part(0, '{"city":'),
        part(1, '{"city":"Rome"}', id="c2", name="get_weather"),
        part(0, '"Paris"}'),
        delta("tool_calls"),
        done=True,
    )
    answered = wire.call("openai", ask(stream=True), reply)
    assert [(c["id"], c["function"]["arguments"]) for c in answered.tool_calls] == [
        ("c1", '{"city":"Paris"}'),
        ("c2", '{"city":"Rome"}'),
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_kept_apart_from_the_text(wire: Wire, stream: bool) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I can't help."}
    whole = {**ANSWER, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    reply = (
        sse(delta(refusal="I can't"), delta(refusal=" help."), delta("stop"), done=True)
        if stream
        else Canned(whole)
    )
    answered = wire.call("openai", ask(stream=stream), reply)
    assert (answered.text, answered.refusal) == ("", "I can't help.")


def test_a_server_that_ignores_stream_is_still_understood(wire: Wire) -> None:
    assert wire.call("vllm", ask(stream=True), Canned(ANSWER)).text == "Hello!"


@pytest.mark.parametrize(
    ("model", "name"),
    [("o3-mini", "max_completion_tokens"), ("gpt-5.1", "max_completion_tokens"), ("gpt-4o", "max_tokens")],
)
def test_reasoning_models_of_openai_get_the_limit_under_the_name_they_take(
    wire: Wire, model: str, name: str
) -> None:
    wire.call("openai", ask(model=model, params={"max_tokens": 5}), Canned(ANSWER))
    assert wire.asked[0].body[name] == 5
    assert len({"max_tokens", "max_completion_tokens"} & wire.asked[0].body.keys()) == 1


def test_azure_names_the_deployment_in_the_path_and_the_key_in_its_own_header(wire: Wire) -> None:
    wire.call("azure", ask(model="my gpt"), Canned(ANSWER), api_version="2025-01-01-preview")
    assert (
        wire.asked[0].path == "/openai/deployments/my%20gpt/chat/completions?api-version=2025-01-01-preview"
    )
    assert wire.asked[0].headers["api-key"] == KEY
    assert "Authorization" not in wire.asked[0].headers


@pytest.mark.parametrize(
    "reply",
    [
        Canned({"choices": []}),
        Canned({"choices": [{"index": 0}]}),
        Canned(b"[1]"),
        Canned(b'{"choices": [{'),
        Canned(b"<html>busy</html>", content_type="text/html"),
        Canned(b""),
        sse(delta(content="half")),
        sse(done=True),
        sse(delta(content="x"), "{broken"),
        Canned(sse(delta(content="half")).body, content_type="text/event-stream", cut=True),
    ],
)
def test_answers_that_break_the_protocol_are_retryable_errors_never_short_answers(
    wire: Wire, reply: Canned
) -> None:
    stream = reply.content_type == "text/event-stream"
    with pytest.raises(ProviderError) as caught:
        wire.call("openai", ask(stream=stream), reply)
    assert (caught.value.kind, caught.value.retryable) == ("protocol", True)


def test_an_error_in_mid_stream_keeps_its_kind(wire: Wire) -> None:
    error = {"error": {"message": "overloaded", "type": "server_error", "code": None}}
    with pytest.raises(ProviderError, match="overloaded") as caught:
        wire.call("openai", ask(stream=True), sse(delta(content="x"), error))
    assert (caught.value.kind, caught.value.retryable) == ("server", True)


def test_an_error_with_status_200_is_an_error(wire: Wire) -> None:
    reply = Canned({"error": {"message": "no credits", "code": 402}})
    with pytest.raises(ProviderError, match="no credits") as caught:
        wire.call("openrouter", ask(), reply)
    assert (caught.value.kind, caught.value.status, caught.value.retryable) == ("bad_request", 402, False)


def test_absurd_usage_is_unknown_usage(wire: Wire) -> None:
    reply = {**ANSWER, "usage": {"prompt_tokens": -5, "completion_tokens": "many", "total_tokens": None}}
    assert wire.call("openai", ask(), Canned(reply)).usage is None


def test_surrogates_and_huge_integers_can_be_sent(wire: Wire) -> None:
    messages = [{"role": "user", "content": "lone \ud83d here"}]
    wire.call("openai", ask(messages=messages, params={"seed": 2**70}), Canned(ANSWER))
    assert wire.asked[0].body["messages"] == messages
    assert wire.asked[0].body["seed"] == 2**70


def test_reasoning_and_the_price_that_the_server_names_are_kept(wire: Wire) -> None:
    message = {"role": "assistant", "content": "4", "reasoning": "2+2"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.00125}
    reply = {**ANSWER, "usage": usage, "choices": [{"index": 0, "message": message, "finish_reason": "eos"}]}
    answered = wire.call("openrouter", ask(), Canned(reply))
    assert (answered.metadata, answered.cost_usd, answered.finish_reason) == (
        {"reasoning": "2+2"},
        0.00125,
        "stop",
    )


def test_of_several_answers_the_first_one_counts(wire: Wire) -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "length"}]}
    answered = wire.call(
        "openai", ask(stream=True), sse(delta(content="one"), second, delta("stop"), done=True)
    )
    assert (answered.text, answered.finish_reason) == ("one", "stop")
