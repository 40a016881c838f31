"""OpenAI chat completions, and every server that speaks them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

from ratchet.errors import ConfigError
from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, wires
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.headers import make_headers
from ratchet.providers.http import Http, json_bytes, parse_json
from ratchet.providers.presets import PRESETS, Preset
from ratchet.providers.wires import Arrived, is_json
from ratchet.records import Json

AZURE_API_VERSION = "2024-10-21"
# models that take `max_completion_tokens` and refuse `max_tokens`
_REASONING = re.compile(r"^(?:o\d|gpt-(?:[5-9]|\d{2}))")


class OpenAIChat:
    """Chat completions, streaming or not.

    Options: `headers` (added to each request), `api_version` and `deployment` (azure), `organization`,
    `project` (openai), `path` (instead of "/chat/completions").
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        self._provider = endpoint.provider
        self._options = endpoint.options
        self._preset = PRESETS.get(endpoint.provider, Preset())
        self._base = endpoint.base_url or self._preset.base_url
        self._headers, self._secrets = openai_headers(endpoint, self._preset.key_header)
        self._urls: dict[str, URL] = {}

    def generate(self, request: Request) -> AsyncIterator[Chunk]:
        return wires.call(self, self._http, request)

    def url(self, request: Request) -> URL:
        found = self._urls.get(request.model)
        if found is None:
            found = self._urls[request.model] = self._url(request.model)
        return found

    def body(self, request: Request) -> bytes:
        return json_bytes(self._body(request))

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        return self._headers, self._secrets

    def reading(self, request: Request, content_type: str) -> Reading | None:
        return Reading() if request.stream and not is_json(content_type) else None

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        return answer(data, reply)

    def _url(self, model: str) -> URL:
        if not self._base:
            raise ConfigError(
                f"provider {self._provider!r} has no base URL: set base_url or {self._preset.url_env[0]}"
                if self._preset.url_env
                else f"provider {self._provider!r} has no base URL: set base_url"
            )
        base = self._base.rstrip("/")
        if base.endswith("/chat/completions"):
            return URL(base)
        path = str(self._options.get("path") or "/chat/completions")
        if self._provider != "azure" or base.endswith("/openai/v1"):
            return URL(base + path)
        if "/deployments/" not in base:
            base = base.removesuffix("/openai")
            base += f"/openai/deployments/{quote(str(self._options.get('deployment') or model), safe='')}"
        return URL(base + path).with_query(
            {"api-version": str(self._options.get("api_version") or AZURE_API_VERSION)}
        )

    def _body(self, request: Request) -> dict[str, Json]:
        body: dict[str, Json] = {"model": request.model, "messages": request.messages, **request.params}
        if (
            "max_tokens" in body
            and self._provider in ("openai", "azure")
            and "max_completion_tokens" not in body
            and _REASONING.match(request.model)
        ):
            body["max_completion_tokens"] = body.pop("max_tokens")
        if request.tools:
            body["tools"] = request.tools
        if request.response_format is not None:
            body["response_format"] = request.response_format
        if request.stream:
            body["stream"] = True
            if self._preset.stream_usage:
                body.setdefault("stream_options", {"include_usage": True})
        return body


def openai_headers(endpoint: Endpoint, key_header: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """(headers, secrets in them) of each request: key, organization and project, the endpoint's own."""
    headers, secrets = make_headers(endpoint, key_header=key_header)
    for option, name in (("organization", "OpenAI-Organization"), ("project", "OpenAI-Project")):
        if endpoint.provider.startswith("openai") and endpoint.options.get(option):
            headers.setdefault(name, str(endpoint.options[option]))
    return headers, secrets


def answer(data: Json, reply: Arrived) -> Chunk:
    """The whole answer in one chunk.

    Raises:
        ProviderError: The body is an error, or holds no choice.
    """
    if not isinstance(data, dict):
        raise protocol_error(
            f"the answer is {type(data).__name__}, expected an object", request_id=reply.request_id
        )
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        if data.get("error"):
            raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
        raise protocol_error("the answer has no choices", request_id=reply.request_id)
    choice = choices[0]
    if isinstance(choice.get("error"), dict):
        raise failure_in_body(choice, secrets=reply.secrets, request_id=reply.request_id)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise protocol_error("the answer's first choice has no message", request_id=reply.request_id)
    content = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    usage = data.get("usage")
    return Chunk(
        text=content if isinstance(content, str) else _joined(content),
        tool_calls=_tool_calls(message),
        refusal=fields.text_of(message.get("refusal")) or None,
        finish_reason=fields.finish_reason(choice.get("finish_reason")),
        usage=usage_of(usage),
        model=fields.text_of(data.get("model")) or None,
        request_id=reply.request_id,
        cost_usd=_cost(usage),
        received_s=reply.received_s,
        sent_s=reply.sent_s,
        metadata={"reasoning": reasoning} if isinstance(reasoning, str) else {},
    )


def _joined(content: Json) -> str:
    """The text of a content that is a list of parts, as Mistral's reasoning models send it."""
    texts = [fields.text_of(p.get("text")) for p in fields.list_of(content) if isinstance(p, dict)]
    return "".join(texts)


def _tool_calls(message: Mapping[str, Any]) -> tuple[Json, ...] | None:
    calls = [
        fields.tool_call(call.get("id"), function.get("name"), function.get("arguments"))
        for call in fields.list_of(message.get("tool_calls"))
        if isinstance(call, dict) and (function := fields.dict_of(call.get("function")))
    ]
    if legacy := fields.dict_of(message.get("function_call")):
        calls.append(fields.tool_call("", legacy.get("name"), legacy.get("arguments")))
    return tuple(calls) or None


def usage_of(data: Json) -> Usage | None:
    """Usage as OpenAI says it, DeepSeek's and OpenRouter's names for cached tokens too."""
    if not isinstance(data, dict):
        return None
    prompt = fields.dict_of(data.get("prompt_tokens_details"))
    completion = fields.dict_of(data.get("completion_tokens_details"))
    cached = prompt.get("cached_tokens", data.get("prompt_cache_hit_tokens"))
    usage = Usage(
        input_tokens=fields.token_count(data.get("prompt_tokens")),
        output_tokens=fields.token_count(data.get("completion_tokens")),
        cached_tokens=fields.token_count(cached),
        cache_write_tokens=fields.token_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=fields.token_count(completion.get("reasoning_tokens")),
    )
    return fields.usage_or_none(usage)


def _cost(usage: Json) -> float | None:
    cost: object = usage.get("cost") if isinstance(usage, dict) else None
    return (
        float(cost) if isinstance(cost, (int, float)) and not isinstance(cost, bool) and cost >= 0 else None
    )


class Reading:
    """Chat's stream; keeps what it has said so far besides text."""

    __slots__ = (
        "calls", "cost_usd", "done", "finish_reason", "model", "outputs", "reasoning", "refusal", "started", "usage"
    )  # fmt: skip
    by_line = False

    def __init__(self) -> None:
        self.calls: dict[int, dict[str, Any]] = {}
        self.cost_usd: float | None = None
        self.done = False
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.outputs = 0
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.started = False
        self.usage: Usage | None = None

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one event; all else is kept here."""
        if data == b"[DONE]":
            self.done = True
            return ""
        event = parse_json(data, request_id=reply.request_id)
        if not isinstance(event, dict):
            raise protocol_error("an event of the stream is not an object", request_id=reply.request_id)
        if event.get("error") or name == "error":
            raise failure_in_body(event, secrets=reply.secrets, request_id=reply.request_id)
        return self._add(event)

    def _add(self, data: dict[str, Any]) -> str:
        if self.model is None and isinstance(data.get("model"), str):
            self.model = data["model"] or None
        usage = data.get("usage") or fields.dict_of(data.get("x_groq")).get("usage")
        if usage:
            self.usage = usage_of(usage)
            self.cost_usd = _cost(usage)
        choices = data.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return ""
        choice = choices[0]
        if choice.get("index"):  # only the first of several answers counts
            return ""
        self.started = True
        if choice.get("finish_reason"):
            self.finish_reason = fields.finish_reason(choice["finish_reason"])
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        if calls := delta.get("tool_calls"):
            self._add_calls(calls)
        if isinstance(refusal := delta.get("refusal"), str):
            self.refusal.append(refusal)
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str):
            self.reasoning.append(reasoning)
        content = delta.get("content")
        text = content if isinstance(content, str) else _joined(content) if content else ""
        if text or calls or refusal or reasoning:
            self.outputs += 1
        return text

    def _add_calls(self, deltas: Json) -> None:
        for position, delta in enumerate(fields.list_of(deltas)):
            if not isinstance(delta, dict):
                continue
            index = delta.get("index")
            index = index if isinstance(index, int) else len(self.calls) if delta.get("id") else position
            call = self.calls.setdefault(index, {"id": "", "name": "", "arguments": []})
            function = fields.dict_of(delta.get("function"))
            call["id"] = call["id"] or fields.text_of(delta.get("id"))
            call["name"] = call["name"] or fields.text_of(function.get("name"))
            call["arguments"].append(fields.text_of(function.get("arguments")))

    def last(self, reply: Arrived) -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: The stream ended before `finish_reason` and `[DONE]`.
        """
        if not self.started:
            raise protocol_error("the stream has no choices", request_id=reply.request_id)
        if self.finish_reason is None and not self.done:
            raise protocol_error(
                "the stream ended before finish_reason and [DONE]", request_id=reply.request_id
            )
        calls = (
            fields.tool_call(call["id"], call["name"], "".join(call["arguments"]))
            for _, call in sorted(self.calls.items())
        )
        return Chunk(
            tool_calls=tuple(calls) or None,
            refusal="".join(self.refusal) or None,
            finish_reason=self.finish_reason,
            usage=self.usage,
            model=self.model,
            request_id=reply.request_id,
            cost_usd=self.cost_usd,
            received_s=reply.received_s,
            sent_s=reply.sent_s,
            metadata={"reasoning": "".join(self.reasoning)} if self.reasoning else {},
        )
