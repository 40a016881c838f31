"""botocore calls the server unmodified: Converse and ConverseStream with its binary event streams."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import botocore.eventstream
import botocore.exceptions
import botocore.session
import jsonschema
import pytest
from botocore.config import Config

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_SCHEMA

TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": WEATHER_SCHEMA}}}]}


@pytest.fixture(scope="module")
def client(server: SimulatedServer) -> Iterator[Any]:
    client = botocore.session.get_session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=server.base_url("bedrock"),
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def ask(text: str = QUESTION, model: str = "us.vendor.model-v1:0", **more: Any) -> Any:
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}], **more}


def test_an_answer_has_its_text_and_usage(client: Any) -> None:
    answer = client.converse(**ask(system=[{"text": "You review programs."}]))
    assert answer["output"]["message"]["content"] == [{"text": LONG_ANSWER}]
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"]["outputTokens"] == -(-len(LONG_ANSWER) // 4)
    assert answer["ResponseMetadata"]["RequestId"].startswith("req_")
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-ratchet-simulated"] == "1"


def test_cached_tokens_are_counted_apart_from_input_tokens(client: Any) -> None:
    plain = client.converse(**ask())["usage"]
    cached = client.converse(**ask(model="thinker"))["usage"]
    assert cached["cacheReadInputTokens"] > 0
    assert cached["inputTokens"] + cached["cacheReadInputTokens"] == plain["inputTokens"]


def test_a_models_arn_is_a_name_like_any_other(server: SimulatedServer, client: Any) -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.vendor.model-v1:0"
    assert client.converse(**ask(model=arn))["output"]["message"]["content"] == [{"text": LONG_ANSWER}]
    assert server.stats().by_model[arn] >= 1


def test_a_stream_is_read_by_botocore(client: Any) -> None:
    events = list(client.converse_stream(**ask())["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == LONG_ANSWER
    assert [next(iter(event)) for event in (events[0], *events[-3:])] == [
        "messageStart",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-1]["metadata"]["usage"]["outputTokens"] == -(-len(LONG_ANSWER) // 4)


def test_a_tool_is_called(client: Any) -> None:
    answer = client.converse(**ask(TOOL_QUESTION, toolConfig=TOOLS))
    used = answer["output"]["message"]["content"][0]["toolUse"]
    assert answer["stopReason"] == "tool_use"
    assert (used["name"], used["input"]) == ("get_weather", {"city": "Oslo"})


def test_a_streamed_tool_call_comes_in_pieces(client: Any) -> None:
    events = list(client.converse_stream(**ask(TOOL_QUESTION, toolConfig=TOOLS))["stream"])
    start = next(event["contentBlockStart"] for event in events if "contentBlockStart" in event)
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    assert start["start"]["toolUse"]["name"] == "get_weather"
    assert json.loads("".join(delta["toolUse"]["input"] for delta in deltas)) == {"city": "Oslo"}


def test_any_and_named_tool_choices_force_a_call(client: Any) -> None:
    for choice in ({"any": {}}, {"tool": {"name": "get_weather"}}):
        answer = client.converse(**ask("Hello", toolConfig=TOOLS | {"toolChoice": choice}))
        assert answer["stopReason"] == "tool_use"


def test_a_tool_result_is_answered_with_text(client: Any) -> None:
    used = {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Rome"}}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"json": {"degrees": 21}}]}}
    asked = ask("And in Rome?", toolConfig=TOOLS)
    asked["messages"] += [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    assert "text" in client.converse(**asked)["output"]["message"]["content"][0]


def test_structured_output_is_valid_against_the_schema(client: Any) -> None:
    structure = {"jsonSchema": {"schema": json.dumps(VERDICT_SCHEMA), "name": "v"}}
    config = {"textFormat": {"type": "json_schema", "structure": structure}}
    answer = client.converse(**ask("Judge", outputConfig=config))
    jsonschema.validate(json.loads(answer["output"]["message"]["content"][0]["text"]), VERDICT_SCHEMA)


def test_limits_and_refusals_have_their_stop_reasons(client: Any) -> None:
    assert client.converse(**ask(inferenceConfig={"maxTokens": 3}))["stopReason"] == "max_tokens"
    assert client.converse(**ask(model="m+refusal"))["stopReason"] == "guardrail_intervened"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", "ValidationException"),
        ("403", "AccessDeniedException"),
        ("404", "ResourceNotFoundException"),
        ("408", "ModelTimeoutException"),
        ("429", "ThrottlingException"),
        ("500", "InternalServerException"),
        ("503", "ServiceUnavailableException"),
    ],
)
def test_each_status_is_botocores_own_exception(client: Any, fault: str, error: str) -> None:
    for call in (client.converse, client.converse_stream):
        with pytest.raises(getattr(client.exceptions, error)):
            call(**ask(model=f"m+{fault}"))


def test_an_exception_in_mid_stream_is_an_event_stream_error(client: Any) -> None:
    stream = client.converse_stream(**ask(model="m+error_event"))["stream"]
    with (
        contextlib.closing(stream),
        pytest.raises(botocore.exceptions.EventStreamError, match="internalServerException"),
    ):
        list(stream)


def test_a_malformed_frame_fails_its_checksum(client: Any) -> None:
    stream = client.converse_stream(**ask(model="m+malformed"))["stream"]
    with contextlib.closing(stream), pytest.raises(botocore.eventstream.ChecksumMismatch):
        list(stream)


def test_wrong_requests_are_validation_exceptions(client: Any) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="temperature"):
        client.converse(**ask(inferenceConfig={"temperature": 1.5}))
