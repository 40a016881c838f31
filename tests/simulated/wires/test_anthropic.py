"""The official anthropic SDK calls the server unmodified."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import jsonschema
import pytest
from anthropic import Anthropic, AsyncAnthropic

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_SCHEMA

TOOLS: Any = [{"name": "get_weather", "description": "The weather now.", "input_schema": WEATHER_SCHEMA}]


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[Anthropic]:
    with Anthropic(base_url=server.base_url("anthropic"), api_key="k", max_retries=0, timeout=5) as client:
        yield client


def ask(text: str = QUESTION, model: str = "claude-next", **more: Any) -> Any:
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": text}], **more}


def test_an_answer_has_its_text_and_usage(client: Anthropic) -> None:
    answer: Any = client.messages.create(**ask(system="You review programs."))
    assert answer.content[0].text == LONG_ANSWER
    assert answer.stop_reason == "end_turn"
    assert answer.model == "claude-next-simulated"
    assert answer.usage.output_tokens == -(-len(LONG_ANSWER) // 4)


def test_cached_tokens_are_counted_apart_from_input_tokens(client: Anthropic) -> None:
    plain: Any = client.messages.create(**ask()).usage
    cached: Any = client.messages.create(**ask(model="thinker")).usage
    assert cached.cache_read_input_tokens > 0
    assert cached.input_tokens + cached.cache_read_input_tokens == plain.input_tokens


def test_a_stream_is_put_together_by_the_sdk(client: Anthropic) -> None:
    with client.messages.stream(**ask()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == LONG_ANSWER
    assert len(pieces) > 3
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == -(-len(LONG_ANSWER) // 4)


def test_the_raw_events_come_in_anthropics_order(client: Anthropic) -> None:
    kinds = [event.type for event in client.messages.create(**ask(), stream=True)]
    assert kinds[0] == "message_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(client: Anthropic, stream: bool) -> None:
    if stream:
        with client.messages.stream(**ask(TOOL_QUESTION, tools=TOOLS)) as events:
            answer: Any = events.get_final_message()
    else:
        answer = client.messages.create(**ask(TOOL_QUESTION, tools=TOOLS))
    assert answer.stop_reason == "tool_use"
    assert (answer.content[0].name, answer.content[0].input) == ("get_weather", {"city": "Oslo"})


def test_a_forced_tool_is_called_and_its_result_answered_with_text(client: Anthropic) -> None:
    asked = ask("Hello", tools=TOOLS, tool_choice={"type": "tool", "name": "get_weather"})
    first: Any = client.messages.create(**asked)
    assert first.content[0].type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "21 degrees"}
    turns = [*asked["messages"], {"role": "assistant", "content": first.content}]
    turns.append({"role": "user", "content": [result]})
    second: Any = client.messages.create(**ask(tools=TOOLS) | {"messages": turns})
    assert second.content[0].type == "text"


def test_structured_output_is_valid_against_the_schema(client: Anthropic) -> None:
    config = {"format": {"type": "json_schema", "schema": VERDICT_SCHEMA}}
    answer: Any = client.messages.create(**ask("Judge", output_config=config))
    jsonschema.validate(json.loads(answer.content[0].text), VERDICT_SCHEMA)


def test_max_tokens_and_refusals_have_their_stop_reasons(client: Anthropic) -> None:
    assert client.messages.create(**ask() | {"max_tokens": 3}).stop_reason == "max_tokens"
    assert client.messages.create(**ask(model="claude+refusal")).stop_reason == "refusal"
    with client.messages.stream(**ask(model="claude+refusal")) as stream:
        assert stream.get_final_message().stop_reason == "refusal"


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("400", anthropic.BadRequestError, "invalid_request_error"),
        ("401", anthropic.AuthenticationError, "authentication_error"),
        ("403", anthropic.PermissionDeniedError, "permission_error"),
        ("404", anthropic.NotFoundError, "not_found_error"),
        ("413", anthropic.RequestTooLargeError, "request_too_large"),
        ("429", anthropic.RateLimitError, "rate_limit_error"),
        ("500", anthropic.InternalServerError, "api_error"),
        ("529", anthropic.OverloadedError, "overloaded_error"),
    ],
)
def test_each_status_is_the_sdks_own_error(
    client: Anthropic, fault: str, error: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(error) as caught:
        client.messages.create(**ask(model=f"claude+{fault}"))
    body: Any = caught.value.body
    assert body["error"]["type"] == kind


def test_an_overload_in_mid_stream_is_an_error(client: Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(client.messages.create(**ask(model="claude+error_event"), stream=True))


def test_a_cut_stream_is_no_short_answer(client: Anthropic) -> None:
    with pytest.raises(httpx2.RemoteProtocolError, match="incomplete chunked read"):
        list(client.messages.create(**ask(model="claude+cut"), stream=True))


def test_wrong_requests_are_refused(client: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.messages.create(**ask() | {"max_tokens": 0})
    with pytest.raises(anthropic.BadRequestError, match="role"):
        client.messages.create(**ask() | {"messages": [{"role": "tool", "content": "x"}]})


def test_a_missing_key_and_a_missing_version_are_told_apart(locked_server: SimulatedServer) -> None:
    def status(**headers: str) -> tuple[int, str]:
        body = json.dumps(ask()).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(locked_server.url + "/v1/messages", body, named)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as answer:
            return answer.code, json.loads(answer.read())["error"]["message"]

    assert status(anthropic_version="2023-06-01")[0] == 401
    assert status(x_api_key="k") == (400, "anthropic-version: header is required")


def test_the_async_client_streams_too(server: SimulatedServer) -> None:
    async def read() -> str:
        async with (
            AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as client,
            client.messages.stream(**ask()) as stream,
        ):
            return "".join([text async for text in stream.text_stream])

    assert asyncio.run(read()) == LONG_ANSWER
