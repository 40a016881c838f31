"""The official openai SDK calls the responses API of the server unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
from openai import OpenAI

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_TOOL

TOOLS: Any = [{"type": "function", **WEATHER_TOOL["function"], "strict": True}]


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url("responses"), api_key="k", max_retries=0, timeout=5) as client:
        yield client


def test_an_answer_has_its_text_and_usage(client: OpenAI) -> None:
    answer = client.responses.create(model="thinker", input=QUESTION, instructions="You review programs.")
    assert answer.output_text == LONG_ANSWER
    assert answer.status == "completed"
    assert answer.model == "thinker-simulated"
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 40
    assert answer.usage.input_tokens_details.cached_tokens == answer.usage.input_tokens // 2
    assert [item.type for item in answer.output] == ["reasoning", "message"]


def test_typed_input_parts_are_read_like_plain_text(client: OpenAI) -> None:
    content: Any = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    assert client.responses.create(model="gpt-5", input=content).output_text == LONG_ANSWER


def test_a_stream_is_put_together_by_the_sdk(client: OpenAI) -> None:
    with client.responses.stream(model="gpt-5", input=QUESTION) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == LONG_ANSWER
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") > 3


def test_events_are_numbered_without_gaps(client: OpenAI) -> None:
    events = list(client.responses.create(model="thinker", input=QUESTION, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(client: OpenAI, stream: bool) -> None:
    if stream:
        with client.responses.stream(model="gpt-5", input=TOOL_QUESTION, tools=TOOLS) as events:
            answer: Any = events.get_final_response()
    else:
        answer = client.responses.create(model="gpt-5", input=TOOL_QUESTION, tools=TOOLS)
    call = answer.output[0]
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "get_weather",
        {"city": "Oslo"},
    )


def test_structured_output_is_valid_against_the_schema(client: OpenAI) -> None:
    form: Any = {"format": {"type": "json_schema", "name": "v", "schema": VERDICT_SCHEMA, "strict": True}}
    answer = client.responses.create(model="gpt-5", input="Judge", text=form)
    jsonschema.validate(json.loads(answer.output_text), VERDICT_SCHEMA)


def test_a_cut_by_max_output_tokens_is_incomplete(client: OpenAI) -> None:
    answer = client.responses.create(model="gpt-5", input=QUESTION, max_output_tokens=16)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(model="gpt-5", input=QUESTION, max_output_tokens=16, stream=True))
    assert events[-1].type == "response.incomplete"


def test_a_refusal_is_a_part_of_its_own(client: OpenAI) -> None:
    answer: Any = client.responses.create(model="gpt-5+refusal", input=QUESTION)
    assert answer.output[0].content[0].type == "refusal"
    kinds = [e.type for e in client.responses.create(model="gpt-5+refusal", input=QUESTION, stream=True)]
    assert "response.refusal.done" in kinds


def test_errors_are_the_sdks_own(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="gpt-5+429", input=QUESTION)
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="gpt-5", input=QUESTION, previous_response_id="resp_0")
    events: Any = list(client.responses.create(model="gpt-5+error_event", input=QUESTION, stream=True))
    assert events[-1].type == "error"
