"""Which path speaks which wire."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import orjson
from aiohttp import web

from ratchet.records import Json
from ratchet.simulated.calls import Wire
from ratchet.simulated.counts import Received
from ratchet.simulated.wires.anthropic import AnthropicMessages
from ratchet.simulated.wires.bedrock import BedrockConverse
from ratchet.simulated.wires.embeddings import Embeddings
from ratchet.simulated.wires.gemini import Gemini
from ratchet.simulated.wires.ollama import OllamaChat
from ratchet.simulated.wires.openai import OpenAIChat
from ratchet.simulated.wires.responses import OpenAIResponses

if TYPE_CHECKING:
    from ratchet.simulated.server import SimulatedServer

Respond: TypeAlias = Callable[[web.Request, bytes, Received], web.Response]

BASE_PATHS: Mapping[str, str] = {
    "openai": "/v1",
    "responses": "/v1",
    "embeddings": "/v1",
    "azure": "",
    "anthropic": "",
    "gemini": "",
    "vertex": "",
    "bedrock": "",
    "ollama": "",
}
"""What stands after host and port in the base URL that each vendor's own client takes."""

_VERTEX = "/{version:v1|v1beta1}/projects/{project}/locations/{location}"


def chat_routes() -> Iterator[tuple[str, Wire]]:
    """(path, wire) of everything a model answers."""
    openai, embeddings, responses = OpenAIChat(), Embeddings(), OpenAIResponses()
    for prefix in ("/v1", "", "/openai/v1"):
        yield f"{prefix}/chat/completions", openai
        yield f"{prefix}/responses", responses
        yield f"{prefix}/embeddings", embeddings
    yield "/openai/deployments/{deployment}/chat/completions", openai
    yield "/openai/deployments/{deployment}/embeddings", embeddings
    yield "/openai/responses", responses
    yield _VERTEX + "/endpoints/{endpoint}/chat/completions", openai
    anthropic = AnthropicMessages()
    yield "/v1/messages", anthropic
    yield "/messages", anthropic
    gemini, vertex = Gemini(), Gemini("vertex")
    for version in ("v1beta", "v1", "v1alpha"):
        yield f"/{version}/models/{{target}}", gemini
    yield "/models/{target}", gemini
    yield _VERTEX + "/publishers/google/models/{target}", vertex
    yield "/{version:v1|v1beta1}/publishers/google/models/{target}", vertex
    yield "/publishers/google/models/{target}", vertex
    yield "/model/{model:.+}/{method:converse|converse-stream}", BedrockConverse()
    yield "/api/chat", OllamaChat()
    yield "/api/embed", Embeddings("ollama")


def plain_routes(server: SimulatedServer) -> Iterator[tuple[str, str, str, Respond]]:
    """(method, path, wire, function) of what needs no model."""

    def models(request: web.Request, body: bytes, received: Received) -> web.Response:
        return _json({"object": "list", "data": [_openai_model(name) for name in server.models]})

    def model(request: web.Request, body: bytes, received: Received) -> web.Response:
        name = request.match_info["name"]
        if name in server.models:
            return _json(_openai_model(name))
        error = {
            "message": f"The model {name!r} does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
        return _json({"error": error}, status=404)

    def gemini_models(request: web.Request, body: bytes, received: Received) -> web.Response:
        return _json(
            {"models": [{"name": f"models/{name}", "version": "simulated"} for name in server.models]}
        )

    def tags(request: web.Request, body: bytes, received: Received) -> web.Response:
        return _json({"models": [_ollama_model(name) for name in server.models]})

    def version(request: web.Request, body: bytes, received: Received) -> web.Response:
        return _json({"version": "0.0.0-simulated"})

    for prefix in ("/v1", "", "/openai/v1"):
        yield "GET", f"{prefix}/models", "openai", models
        yield "GET", f"{prefix}/models/{{name}}", "openai", model
    yield "GET", "/v1beta/models", "gemini", gemini_models
    yield "GET", "/api/tags", "ollama", tags
    yield "GET", "/api/version", "ollama", version


def _json(content: Json, *, status: int = 200) -> web.Response:
    headers = {"x-ratchet-simulated": "1"}
    return web.Response(
        status=status, body=orjson.dumps(content), headers=headers, content_type="application/json"
    )


def _openai_model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ratchet-simulated"}


def _ollama_model(name: str) -> Json:
    epoch = datetime.datetime.fromtimestamp(0, datetime.UTC).isoformat()
    details = {"format": "simulated", "family": "simulated", "parameter_size": "0", "quantization_level": ""}
    return {"name": name, "model": name, "modified_at": epoch, "size": 0, "digest": "", "details": details}
