"""Ollama's native API, read as its documentation has it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import jsonschema
import pytest

from ratchet.simulated.server import SimulatedServer

from ..conftest import LONG_ANSWER, QUESTION, TOOL_QUESTION, VERDICT_SCHEMA, WEATHER_TOOL


def post(server: SimulatedServer, path: str = "/api/chat", **body: Any) -> tuple[str, list[Any]]:
    request = urllib.request.Request(server.base_url("ollama") + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as answer:
        lines = [json.loads(line) for line in answer.read().splitlines()]
        return answer.headers["content-type"], lines


def ask(text: str = QUESTION, model: str = "llama3.2", **more: Any) -> Any:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def test_an_answer_has_its_text_and_counts(server: SimulatedServer) -> None:
    kind, (answer,) = post(server, **ask(stream=False))
    assert kind.startswith("application/json")
    assert answer["message"] == {"role": "assistant", "content": LONG_ANSWER}
    assert answer["model"] == "llama3.2-simulated"
    assert (answer["done"], answer["done_reason"]) == (True, "stop")
    assert answer["eval_count"] == -(-len(LONG_ANSWER) // 4)
    assert answer["prompt_eval_count"] > 0


def test_it_streams_lines_unless_told_otherwise(server: SimulatedServer) -> None:
    kind, lines = post(server, **ask())
    assert kind == "application/x-ndjson"
    assert "".join(line["message"]["content"] for line in lines) == LONG_ANSWER
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "eval_count" in lines[-1]


def test_tools_schemas_and_limits_are_understood(server: SimulatedServer) -> None:
    _, (called,) = post(server, **ask(TOOL_QUESTION, tools=[WEATHER_TOOL], stream=False))
    assert called["message"]["tool_calls"] == [
        {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    ]
    _, (judged,) = post(server, **ask("Judge", format=VERDICT_SCHEMA, stream=False))
    jsonschema.validate(json.loads(judged["message"]["content"]), VERDICT_SCHEMA)
    _, (cut,) = post(server, **ask(options={"num_predict": 2}, stream=False))
    assert (cut["message"]["content"], cut["done_reason"]) == (LONG_ANSWER[:8], "length")


def test_errors_are_ollamas_own(server: SimulatedServer) -> None:
    for body, status in ((ask(model="llama+404"), 404), (ask() | {"format": "xml"}, 400)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(server, **body)
        with caught.value as answer:
            assert answer.code == status
            assert isinstance(json.loads(answer.read())["error"], str)
    _, lines = post(server, **ask(model="llama+error_event"))
    assert "error" in lines[-1]


def test_models_and_vectors_are_served(server: SimulatedServer) -> None:
    with urllib.request.urlopen(server.url + "/api/tags") as answer:
        assert "champion" in [model["name"] for model in json.loads(answer.read())["models"]]
    _, (answer,) = post(server, "/api/embed", model="nomic", input=["one", "two"])
    assert [len(vector) for vector in answer["embeddings"]] == [256, 256]
