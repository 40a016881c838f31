"""Every wire end to end, against the simulated server that the vendors' own SDKs also call."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ProviderError
from ratchet.ports import Request
from ratchet.providers import endpoint_for, make
from ratchet.providers.http import Http
from ratchet.records import Variant
from ratchet.simulated.server import SimulatedServer

from .conftest import FORMAT, TOOL, Answered, gather

QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]
WIRES = {
    "openai": ("OPENAI_BASE_URL", "/v1"),
    "azure": ("AZURE_OPENAI_ENDPOINT", ""),
    "groq": ("GROQ_BASE_URL", ""),
    "together": ("TOGETHER_BASE_URL", "/v1"),
    "openai-responses": ("OPENAI_BASE_URL", "/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", ""),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", ""),
    "vertex": ("VERTEX_BASE_URL", ""),
    "bedrock": ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ""),
    "ollama": ("OLLAMA_HOST", ""),
}
KEYS = {
    "OPENAI_API_KEY": "sk-test", "AZURE_OPENAI_API_KEY": "azure", "GROQ_API_KEY": "gsk", "TOGETHER_API_KEY": "t",
    "ANTHROPIC_API_KEY": "sk-ant", "GEMINI_API_KEY": "AIza", "VERTEX_ACCESS_TOKEN": "ya29",
    "VERTEX_AI_GCP_PROJECT": "p", "VERTEX_AI_GCP_LOCATION": "us-central1", "AWS_BEARER_TOKEN_BEDROCK": "b",
    "AWS_REGION": "us-east-1",
}  # fmt: skip
every_wire = pytest.mark.parametrize("provider", sorted(WIRES))
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def ask(tmp_path: Path, provider: str, *faults: str, **fields: Any) -> Answered:
    """What a model that always knows the answer says over this wire."""
    key = tmp_path / "key.jsonl"
    key.write_text(json.dumps({"contains": "Capital of France?", "answer": "Paris"}) + "\n")
    variable, path = WIRES[provider]

    async def use() -> Answered:
        profile = "sure=skill=1,noise=0,verbosity=0"
        async with (
            SimulatedServer(profiles=[profile], answers=[key], faults=faults, require_key=True) as server,
            Http(4) as http,
        ):
            environ = {**KEYS, variable: server.url + path}
            endpoint = endpoint_for(Variant(model=f"{provider}/sure"), environ)
            whole: dict[str, Any] = {"model": "sure", "messages": QUESTION, **fields}
            request = Request(**whole)
            return await gather(make(endpoint, http), request)

    return asyncio.run(use())


@every_wire
@both_ways
def test_a_plain_answer_with_usage(tmp_path: Path, provider: str, stream: bool) -> None:
    answered = ask(tmp_path, provider, stream=stream, params={"max_tokens": 50, "temperature": 0})
    assert "Paris" in answered.text
    assert answered.finish_reason == "stop"
    assert answered.usage is not None
    assert answered.usage.input_tokens
    assert answered.usage.output_tokens
    last = answered.chunks[-1]
    assert last.sent_s is not None
    assert last.received_s is not None
    assert last.sent_s <= last.received_s


@every_wire
@both_ways
def test_a_tool_call(tmp_path: Path, provider: str, stream: bool) -> None:
    messages = [{"role": "user", "content": "Weather in Rome?"}]
    answered = ask(tmp_path, provider, stream=stream, tools=(TOOL,), messages=messages)
    assert answered.finish_reason == "tool_calls"
    [call] = answered.tool_calls
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert "city" in json.loads(call["function"]["arguments"])


@every_wire
@both_ways
def test_a_structured_answer(tmp_path: Path, provider: str, stream: bool) -> None:
    messages = [{"role": "user", "content": "A number, please."}]
    answered = ask(tmp_path, provider, stream=stream, response_format=FORMAT, messages=messages)
    assert isinstance(json.loads(answered.text)["n"], int)


@every_wire
@both_ways
@pytest.mark.parametrize(
    ("fault", "kind", "retryable"),
    [
        ("429,retry=seconds,after=3", "rate_limit", True),
        ("429,retry=ms,after=3", "rate_limit", True),
        ("429,retry=reset,after=3", "rate_limit", True),
        ("500", "server", True),
        ("529", "server", True),
        ("401", "auth", False),
        ("404", "bad_request", False),
        ("html", "server", True),
        ("cut", "protocol", True),
        ("drop", "connection", True),
        ("malformed", "protocol", True),
    ],
)
def test_a_fault_has_its_kind(
    tmp_path: Path, provider: str, stream: bool, fault: str, kind: str, retryable: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        ask(tmp_path, provider, fault, stream=stream)
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    if "after=3" in fault:
        assert caught.value.retry_after_s == pytest.approx(3, abs=0.1)


@every_wire
@both_ways
def test_an_answer_without_choices_is_broken_but_one_without_content_is_empty(
    tmp_path: Path, provider: str, stream: bool
) -> None:
    if provider in ("anthropic", "bedrock"):  # Claude may end its turn without a word: another try won't help
        answered = ask(tmp_path, provider, "empty", stream=stream)
        assert (answered.text, answered.finish_reason) == ("", "stop")
        return
    with pytest.raises(ProviderError) as caught:
        ask(tmp_path, provider, "empty", stream=stream)
    assert (caught.value.kind, caught.value.retryable) == ("protocol", True)


@every_wire
@both_ways
def test_a_limit_of_tokens_is_a_finish_reason(tmp_path: Path, provider: str, stream: bool) -> None:
    messages = [{"role": "user", "content": "Tell me a long story about everything in the world."}]
    answered = ask(tmp_path, provider, stream=stream, params={"max_tokens": 1}, messages=messages)
    assert answered.finish_reason == "length"


@pytest.mark.parametrize("provider", ["openai", "openai-responses", "anthropic", "gemini", "vertex"])
@both_ways
def test_a_refusal_is_a_refusal(tmp_path: Path, provider: str, stream: bool) -> None:
    assert ask(tmp_path, provider, "refusal", stream=stream).refusal
