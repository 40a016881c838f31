"""The official openai SDK calls the server unmodified: chat completions, embeddings, models, Azure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_TOOL


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url("openai"), api_key="k", max_retries=0, timeout=5) as client:
        yield client


def ask(text: str = QUESTION) -> Any:
    return [{"role": "system", "content": "You review programs."}, {"role": "user", "content": text}]


def test_an_answer_has_its_text_its_usage_and_its_label(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=ask())
    assert answer.choices[0].message.content == LONG_ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o-simulated"
    assert answer.system_fingerprint == "fp_simulated"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == -(-len(LONG_ANSWER) // 4)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_every_answer_says_in_a_header_that_it_is_simulated(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask())
    assert raw.headers["x-ratchet-simulated"] == "1"
    assert raw.headers["x-request-id"].startswith("req_")


def test_a_stream_adds_up_to_the_whole_answer_and_ends_with_usage(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=ask(), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == LONG_ANSWER
    assert len(chunks) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(c.usage is None for c in chunks[:-1])


def test_a_stream_reports_no_usage_unless_asked(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=ask(), stream=True))
    assert all(c.usage is None and c.choices for c in chunks)


def test_cached_and_reasoning_tokens_are_reported_within_their_totals(client: OpenAI) -> None:
    usage = client.chat.completions.create(model="thinker", messages=ask()).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens // 2
    assert usage.completion_tokens_details.reasoning_tokens == 40
    assert usage.completion_tokens == 40 + -(-len(LONG_ANSWER) // 4)


def test_a_tool_is_called_with_the_arguments_of_the_answer_key(client: OpenAI) -> None:
    tools: Any = [WEATHER_TOOL]
    answer = client.chat.completions.create(model="gpt-4o", messages=ask(TOOL_QUESTION), tools=tools)
    assert answer.choices[0].finish_reason == "tool_calls"
    call: Any = (answer.choices[0].message.tool_calls or [])[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
    assert answer.choices[0].message.content is None


def test_a_streamed_tool_call_comes_in_pieces_that_the_sdk_puts_together(client: OpenAI) -> None:
    tools: Any = [WEATHER_TOOL]
    with client.chat.completions.stream(model="gpt-4o", messages=ask(TOOL_QUESTION), tools=tools) as stream:
        final: Any = stream.get_final_completion()
    function = final.choices[0].message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("get_weather", {"city": "Oslo"})


def test_a_required_tool_is_called_even_without_a_key(client: OpenAI) -> None:
    tools: Any = [WEATHER_TOOL]
    answer = client.chat.completions.create(
        model="gpt-4o", messages=ask("Anything"), tools=tools, tool_choice="required"
    )
    call: Any = (answer.choices[0].message.tool_calls or [])[0]
    assert isinstance(json.loads(call.function.arguments)["city"], str)


def test_a_tool_result_is_answered_with_text(client: OpenAI) -> None:
    tools: Any = [WEATHER_TOOL]
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": "And in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "21 degrees"},
    ]
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools)
    assert answer.choices[0].message.content
    assert answer.choices[0].message.tool_calls is None


def test_structured_output_is_valid_against_the_schema(client: OpenAI) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "v", "schema": VERDICT_SCHEMA, "strict": True},
    }
    answer = client.chat.completions.create(model="gpt-4o", messages=ask("Judge"), response_format=form)
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), VERDICT_SCHEMA)


def test_a_json_object_is_json(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=ask("Judge, as JSON"), response_format={"type": "json_object"}
    )
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_max_tokens_cuts_the_answer_and_says_length(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=ask(), max_tokens=5)
    assert answer.choices[0].message.content == LONG_ANSWER[:20]
    assert answer.choices[0].finish_reason == "length"


def test_a_stop_sequence_ends_the_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=ask(), stop=[", so"])
    assert answer.choices[0].message.content == LONG_ANSWER.split(", so")[0]


def test_a_refusal_stands_in_its_own_field(client: OpenAI) -> None:
    message = client.chat.completions.create(model="gpt-4o+refusal", messages=ask()).choices[0].message
    assert message.refusal
    assert message.content is None
    stream = client.chat.completions.create(model="gpt-4o+refusal", messages=ask(), stream=True)
    assert "".join(c.choices[0].delta.refusal or "" for c in stream) == message.refusal


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("409", openai.ConflictError),
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("529", openai.InternalServerError),
        ("html", openai.InternalServerError),
        ("drop", openai.APIConnectionError),
        ("cut", openai.APIConnectionError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_fault_is_the_sdks_own_error(
    client: OpenAI, fault: str, error: type[Exception], stream: bool
) -> None:
    with pytest.raises(error):
        list(client.chat.completions.create(model=f"gpt-4o+{fault}", messages=ask(), stream=stream))


def test_an_error_event_ends_a_stream_with_an_api_error(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="gpt-4o+error_event", messages=ask(), stream=True)
    with pytest.raises(openai.APIError, match="The server had an error"):
        list(stream)


def test_a_rate_limit_error_carries_openais_own_body(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="gpt-4o+429,after=7", messages=ask())
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.type == "requests"
    assert caught.value.response.headers["retry-after"] == "7"


def test_wrong_requests_are_refused_with_the_parameters_name(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ask(), temperature=3)
    assert caught.value.param == "temperature"
    wrong: Any = [{"role": "narrator", "content": "x"}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=wrong)
    assert caught.value.param == "messages[0].role"


def test_a_missing_key_is_refused_where_keys_are_required(locked_server: SimulatedServer) -> None:
    without: Any = {"Authorization": openai.Omit()}
    with OpenAI(base_url=locked_server.base_url("openai"), api_key="k", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="gpt-4o", messages=ask(), extra_headers=without)
        answer = client.chat.completions.create(model="gpt-4o", messages=ask())
    assert answer.choices


def test_the_profiles_own_limit_is_held(server: SimulatedServer, client: OpenAI) -> None:
    server.rates.reset()
    for _ in range(2):
        client.chat.completions.create(model="limited", messages=ask())
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="limited", messages=ask())
    assert 25 <= int(caught.value.response.headers["retry-after"]) <= 30


def test_the_async_client_streams_too(server: SimulatedServer) -> None:
    import asyncio

    async def read() -> str:
        async with AsyncOpenAI(base_url=server.base_url("openai"), api_key="k", max_retries=0) as client:
            stream = await client.chat.completions.create(model="gpt-4o", messages=ask(), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(read()) == LONG_ANSWER


def test_embeddings_are_alike_for_alike_texts(client: OpenAI) -> None:
    texts = ["the cat sat on the mat", "the cat sat on a mat", "quarterly revenue rose"]
    answer = client.embeddings.create(model="text-embedding-3-small", input=texts, dimensions=128)
    first, near, far = (each.embedding for each in answer.data)
    assert len(first) == 128
    assert sum(a * a for a in first) == pytest.approx(1.0, abs=1e-5)
    assert sum(a * b for a, b in zip(first, near, strict=True)) > 0.7
    assert abs(sum(a * b for a, b in zip(first, far, strict=True))) < 0.5
    assert answer.usage.prompt_tokens > 0
    as_floats = client.embeddings.create(model="e", input=texts[0], dimensions=128, encoding_format="float")
    assert as_floats.data[0].embedding == pytest.approx(first, abs=1e-6)


def test_the_models_are_listed(client: OpenAI) -> None:
    assert {"instant", "champion", "challenger"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("champion").id == "champion"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_azure_deployments_are_served(server: SimulatedServer) -> None:
    with AzureOpenAI(
        azure_endpoint=server.base_url("azure"), api_key="k", api_version="2024-10-21", max_retries=0
    ) as client:
        answer = client.chat.completions.create(model="my-deployment", messages=ask())
        assert answer.choices[0].message.content == LONG_ANSWER
        assert answer.model == "my-deployment-simulated"
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="my-deployment+429", messages=ask())
