"""The official google-genai SDK calls the server unmodified: the Gemini API and Vertex AI."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema
import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_SCHEMA


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[genai.Client]:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=server.base_url("gemini")))
    yield client
    client.close()


@pytest.fixture
def vertex(server: SimulatedServer) -> Iterator[genai.Client]:
    client = genai.Client(
        vertexai=True,
        project="my-project",
        location="europe-west1",
        credentials=Credentials(token="t"),  # type: ignore[no-untyped-call]
        http_options=types.HttpOptions(base_url=server.base_url("vertex")),
    )
    yield client
    client.close()


def weather_tool(**more: Any) -> types.GenerateContentConfig:
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=WEATHER_SCHEMA)
    return types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        **more,
    )


def test_an_answer_has_its_text_and_usage(client: genai.Client) -> None:
    config = types.GenerateContentConfig(system_instruction="You review programs.")
    answer = client.models.generate_content(model="gemini-next", contents=QUESTION, config=config)
    assert answer.text == LONG_ANSWER
    assert answer.model_version == "gemini-next-simulated"
    assert answer.candidates is not None
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP


def test_thoughts_are_counted_apart_and_cached_tokens_within_the_prompt(client: genai.Client) -> None:
    usage = client.models.generate_content(model="thinker", contents=QUESTION).usage_metadata
    assert usage is not None
    assert usage.thoughts_token_count == 40
    assert usage.candidates_token_count == -(-len(LONG_ANSWER) // 4)
    assert usage.prompt_token_count is not None
    assert usage.cached_content_token_count == usage.prompt_token_count // 2
    assert usage.total_token_count == usage.prompt_token_count + 40 + -(-len(LONG_ANSWER) // 4)


def test_a_stream_adds_up_to_the_whole_answer(client: genai.Client) -> None:
    chunks = list(client.models.generate_content_stream(model="gemini-next", contents=QUESTION))
    assert "".join(chunk.text or "" for chunk in chunks) == LONG_ANSWER
    assert len(chunks) > 3
    assert chunks[-1].candidates is not None
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_without_alt_sse_a_stream_is_one_json_array(server: SimulatedServer) -> None:
    url = f"{server.url}/v1beta/models/gemini-next:streamGenerateContent"
    body = json.dumps({"contents": [{"parts": [{"text": QUESTION}]}]}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        assert answer.headers["content-type"] == "application/json"
        chunks = json.loads(answer.read())
    assert "".join(c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks) == LONG_ANSWER


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called(client: genai.Client, stream: bool) -> None:
    asked: Any = {"model": "gemini-next", "contents": TOOL_QUESTION, "config": weather_tool()}
    if stream:
        answer = next(iter(client.models.generate_content_stream(**asked)))
    else:
        answer = client.models.generate_content(**asked)
    assert answer.function_calls is not None
    assert (answer.function_calls[0].name, answer.function_calls[0].args) == ("get_weather", {"city": "Oslo"})


def test_a_mode_of_any_forces_a_call_and_none_forbids_it(client: genai.Client) -> None:
    def ask(mode: str) -> Any:
        calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode(mode))
        config = weather_tool(tool_config=types.ToolConfig(function_calling_config=calling))
        return client.models.generate_content(model="gemini-next", contents="Hello", config=config)

    assert ask("ANY").function_calls[0].name == "get_weather"
    assert ask("NONE").function_calls is None


def test_a_function_response_is_answered_with_text(client: genai.Client) -> None:
    contents = [
        types.Content(role="user", parts=[types.Part(text="And in Rome?")]),
        types.Content(role="model", parts=[types.Part.from_function_call(name="get_weather", args={})]),
        types.Content(
            role="user", parts=[types.Part.from_function_response(name="get_weather", response={"t": 21})]
        ),
    ]
    answer = client.models.generate_content(
        model="gemini-next", contents=list(contents), config=weather_tool()
    )
    assert answer.text
    assert answer.function_calls is None


@pytest.mark.parametrize("key", ["response_json_schema", "response_schema"])
def test_structured_output_is_valid_against_the_schema(client: genai.Client, key: str) -> None:
    schema = {name: value for name, value in VERDICT_SCHEMA.items() if name != "additionalProperties"}
    config: Any = {"response_mime_type": "application/json", key: schema}
    answer = client.models.generate_content(model="gemini-next", contents="Judge", config=config)
    jsonschema.validate(json.loads(answer.text or ""), VERDICT_SCHEMA)


def test_limits_and_refusals_have_their_finish_reasons(client: genai.Client) -> None:
    config = types.GenerateContentConfig(max_output_tokens=3)
    cut = client.models.generate_content(model="gemini-next", contents=QUESTION, config=config)
    assert cut.candidates is not None
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    for blocked in (
        client.models.generate_content(model="gemini+refusal", contents=QUESTION),
        *client.models.generate_content_stream(model="gemini+refusal", contents=QUESTION),
    ):
        assert blocked.candidates is not None
        assert blocked.candidates[0].finish_reason == types.FinishReason.SAFETY
        assert blocked.candidates[0].content is None


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("400", errors.ClientError, "INVALID_ARGUMENT"),
        ("401", errors.ClientError, "UNAUTHENTICATED"),
        ("403", errors.ClientError, "PERMISSION_DENIED"),
        ("404", errors.ClientError, "NOT_FOUND"),
        ("429", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, "INTERNAL"),
        ("503", errors.ServerError, "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_status_is_the_sdks_own_error(
    client: genai.Client, fault: str, error: type[errors.APIError], status: str, stream: bool
) -> None:
    call = client.models.generate_content_stream if stream else client.models.generate_content
    with pytest.raises(error) as caught:
        list(call(model=f"gemini+{fault}", contents=QUESTION))
    assert (caught.value.code, caught.value.status) == (int(fault), status)


def test_retry_info_stands_in_the_body(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="gemini+429,retry=info,after=17", contents=QUESTION)
    details: Any = caught.value.details
    assert details["error"]["details"][0]["retryDelay"] == "17s"


def test_a_stream_that_breaks_is_an_error(client: genai.Client) -> None:
    with pytest.raises(errors.ServerError):
        list(client.models.generate_content_stream(model="gemini+error_event", contents=QUESTION))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(client.models.generate_content_stream(model="gemini+cut", contents=QUESTION))
    with pytest.raises(errors.UnknownApiResponseError):
        list(client.models.generate_content_stream(model="gemini+malformed", contents=QUESTION))


def test_vertex_answers_and_streams_and_is_counted_apart(
    server: SimulatedServer, vertex: genai.Client
) -> None:
    before = server.stats().by_wire.get("vertex", 0)
    assert vertex.models.generate_content(model="gemini-next", contents=QUESTION).text == LONG_ANSWER
    chunks = vertex.models.generate_content_stream(model="gemini-next", contents=QUESTION)
    assert "".join(chunk.text or "" for chunk in chunks) == LONG_ANSWER
    with pytest.raises(errors.ClientError):
        vertex.models.generate_content(model="gemini-next+429", contents=QUESTION)
    assert server.stats().by_wire["vertex"] == before + 3


def test_a_missing_key_is_forbidden(locked_server: SimulatedServer) -> None:
    url = f"{locked_server.url}/v1beta/models/gemini-next:generateContent"
    body = json.dumps({"contents": [{"parts": [{"text": "x"}]}]}).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, body))
    with caught.value as answer:
        assert json.loads(answer.read())["error"]["status"] == "PERMISSION_DENIED"
    with urllib.request.urlopen(urllib.request.Request(f"{url}?key=k", body)) as answer:
        assert answer.status == 200


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")  # the SDK's own
def test_the_async_client_streams_too(client: genai.Client) -> None:
    async def read() -> str:
        stream = await client.aio.models.generate_content_stream(model="gemini-next", contents=QUESTION)
        text = "".join([chunk.text or "" async for chunk in stream])
        await client.aio.aclose()
        return text

    assert asyncio.run(read()) == LONG_ANSWER
