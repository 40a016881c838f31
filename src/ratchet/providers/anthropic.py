"""Anthropic's messages API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from yarl import URL

from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, wires
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.headers import make_headers
from ratchet.providers.http import Http, json_bytes, parse_json
from ratchet.providers.wires import Arrived, is_json
from ratchet.records import Json, Message

API_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096
"""The wire wants `max_tokens`; OpenAI's does not."""


class Anthropic:
    """Messages, streaming or not.

    Options: `headers` (such as `anthropic-beta`), `structured_output: tool` (a forced tool instead of
    `output_config`, for models without structured output), `auth: bearer`.
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        self._by_tool = endpoint.options.get("structured_output") == "tool"
        base = (endpoint.base_url or "https://api.anthropic.com").rstrip("/")
        if not base.endswith("/messages"):
            base = f"{base.removesuffix('/v1')}/v1/messages"
        self._url = URL(base)
        headers, self._secrets = make_headers(endpoint, key_header="x-api-key")
        self._headers = {"anthropic-version": API_VERSION, **headers}

    def generate(self, request: Request) -> AsyncIterator[Chunk]:
        return wires.call(self, self._http, request)

    def url(self, request: Request) -> URL:
        return self._url

    def body(self, request: Request) -> bytes:
        return json_bytes(body_of(request, answer_tool=self._answer_tool(request)))

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        return self._headers, self._secrets

    def reading(self, request: Request, content_type: str) -> Reading | None:
        wanted = request.stream and not is_json(content_type)
        return Reading(self._answer_tool(request)) if wanted else None

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        return answer(data, reply, self._answer_tool(request))

    def _answer_tool(self, request: Request) -> str | None:
        schema = fields.json_schema_of(request.response_format) if self._by_tool else None
        return schema[0] if schema and schema[0] else None


def body_of(request: Request, *, answer_tool: str | None = None) -> dict[str, Json]:
    """The request's body; `answer_tool` is the forced tool that carries a structured answer."""
    system, messages = fields.split_system(request.messages)
    params = dict(request.params)
    max_tokens = params.pop("max_completion_tokens", None)
    body: dict[str, Json] = {
        "model": request.model,
        "max_tokens": params.pop("max_tokens", max_tokens or DEFAULT_MAX_TOKENS),
        "messages": [{"role": role, "content": _content(group)} for role, group in fields.by_role(messages)],
    }
    if system:
        texts = all(isinstance(content, str) for content in system)
        body["system"] = "\n\n".join(system) if texts else [b for c in system for b in _blocks(c)]
    if (stop := params.pop("stop", None)) is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if (user := params.pop("user", None)) is not None:
        body["metadata"] = {"user_id": user}
    choice = _tool_choice(params.pop("tool_choice", None), params.pop("parallel_tool_calls", None))
    if choice and request.tools:
        body["tool_choice"] = choice
    if request.tools:
        body["tools"] = _tools(request.tools)
    output = dict(fields.dict_of(params.pop("output_config", None)))
    if (effort := params.pop("reasoning_effort", None)) is not None:
        output["effort"] = effort
    schema = fields.json_schema_of(request.response_format)
    if answer_tool and schema:
        body["tools"] = [*body.get("tools", []), {"name": answer_tool, "input_schema": schema[1]}]
        body["tool_choice"] = {"type": "tool", "name": answer_tool}
    elif schema and schema[0]:  # a plain json_object has no counterpart: the prompt asks for it
        output["format"] = {"type": "json_schema", "schema": schema[1]}
    if output:
        body["output_config"] = output
    if request.stream:
        body["stream"] = True
    body.update(params)
    return body


def _tools(tools: Sequence[Json]) -> list[Json]:
    result: list[Json] = []
    for function, other in fields.functions_of(tools):
        if function is None:
            result.append(other)
            continue
        tool = {
            "name": function.get("name"),
            "input_schema": function.get("parameters") or {"type": "object"},
        }
        if function.get("description"):
            tool["description"] = function["description"]
        if function.get("strict"):
            tool["strict"] = True
        result.append(tool)
    return result


def _tool_choice(choice: Json, parallel: Json) -> Json:
    if isinstance(choice, str):
        result: Json = {"type": {"required": "any"}.get(choice, choice)}
    elif name := fields.chosen_tool(choice):
        result = {"type": "tool", "name": name}
    else:
        result = choice
    if parallel is False:
        result = {**(result or {"type": "auto"}), "disable_parallel_tool_use": True}
    return result


def _content(messages: Sequence[Message]) -> Json:
    """One turn's content: the text alone, or blocks."""
    if len(messages) == 1 and messages[0].get("role") != "tool" and not messages[0].get("tool_calls"):
        content = messages[0].get("content")
        return content if isinstance(content, str) else _blocks(content)
    blocks: list[Json] = []
    for message in messages:
        if message.get("role") == "tool":
            content = message.get("content")
            blocks.append(
                {
                    "type": "tool_result",
                    "tool_use_id": message.get("tool_call_id"),
                    "content": content if isinstance(content, str) else _blocks(content),
                }
            )
            continue
        blocks += _blocks(message.get("content"))
        for call in fields.list_of(message.get("tool_calls")):
            name = fields.dict_of(call.get("function")).get("name")
            blocks.append(
                {"type": "tool_use", "id": call.get("id"), "name": name, "input": fields.arguments_of(call)}
            )
    return blocks


def _blocks(content: Json) -> list[Json]:
    blocks: list[Json] = []
    for part in fields.parts_of(content):
        if part.other is not None:
            blocks.append(part.other)
        elif part.text is not None:
            if part.text:  # the API refuses empty text blocks
                blocks.append({"type": "text", "text": part.text})
        elif part.url is not None:
            blocks.append({"type": "image", "source": {"type": "url", "url": part.url}})
        else:
            kind = "document" if part.media_type == "application/pdf" else "image"
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            blocks.append({"type": kind, "source": source})
    return blocks


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    """Anthropic counts cached input apart from `input_tokens`: here it is included."""
    read = fields.token_count(data.get("cache_read_input_tokens"))
    written = fields.token_count(data.get("cache_creation_input_tokens"))
    plain = fields.token_count(data.get("input_tokens"))
    details = fields.dict_of(data.get("output_tokens_details"))
    usage = Usage(
        input_tokens=fields.total(plain, read, written) if plain is not None else None,
        output_tokens=fields.token_count(data.get("output_tokens")),
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=fields.token_count(details.get("thinking_tokens")),
    )
    return fields.usage_or_none(usage)


def refusal_of(stop_reason: object, details: object) -> str | None:
    """What the server says of a refusal; None where there is none."""
    if stop_reason != "refusal":
        return None
    said = fields.dict_of(details)
    category = fields.text_of(said.get("category"))
    return fields.text_of(said.get("explanation")) or (f"refusal: {category}" if category else "refusal")


def answer(data: Json, reply: Arrived, answer_tool: str | None) -> Chunk:
    """The whole answer in one chunk."""
    if not isinstance(data, dict) or data.get("type") == "error" or not isinstance(data.get("content"), list):
        if isinstance(data, dict) and data.get("error"):
            raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
        raise protocol_error("the answer has no content", request_id=reply.request_id)
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for block in data["content"]:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            texts.append(fields.text_of(block.get("text")))
        elif kind == "thinking":
            thoughts.append(fields.text_of(block.get("thinking")))
        elif kind == "tool_use":
            call = fields.tool_call(block.get("id"), block.get("name"), block.get("input"))
            if block.get("name") == answer_tool:
                texts.append(call["function"]["arguments"])
            else:
                calls.append(call)
    finish = fields.finish_reason(data.get("stop_reason"))
    return Chunk(
        text="".join(texts),
        tool_calls=tuple(calls) or None,
        refusal=refusal_of(data.get("stop_reason"), data.get("stop_details")),
        finish_reason="stop" if answer_tool and finish == "tool_calls" and not calls else finish,
        usage=usage_of(fields.dict_of(data.get("usage"))),
        model=fields.text_of(data.get("model")) or None,
        request_id=reply.request_id,
        received_s=reply.received_s,
        sent_s=reply.sent_s,
        metadata={"reasoning": "".join(thoughts)} if thoughts else {},
    )


class Reading:
    """The stream of messages; keeps what it has said so far besides text."""

    __slots__ = (
        "answer_tool", "blocks", "details", "done", "model", "outputs", "stop_reason", "thoughts", "usage"
    )  # fmt: skip
    by_line = False

    def __init__(self, answer_tool: str | None) -> None:
        self.answer_tool = answer_tool
        self.blocks: dict[int, dict[str, Any]] = {}
        self.details: Json = None
        self.done = False
        self.model: str | None = None
        self.outputs = 0
        self.stop_reason: Json = None
        self.thoughts: list[str] = []
        self.usage: dict[str, Any] = {}

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one event; all else is kept here."""
        if name == "ping":
            return ""
        event = parse_json(data, request_id=reply.request_id)
        if not isinstance(event, dict):
            raise protocol_error("an event of the stream is not an object", request_id=reply.request_id)
        if event.get("type") == "error" or event.get("error"):
            raise failure_in_body(event, secrets=reply.secrets, request_id=reply.request_id)
        text = self._add(event)
        self.outputs += bool(text)
        return text

    def _add(self, data: dict[str, Any]) -> str:
        kind = data.get("type")
        if kind == "content_block_delta":
            return self._delta(data.get("index"), fields.dict_of(data.get("delta")))
        if kind == "content_block_start":
            block = fields.dict_of(data.get("content_block"))
            if block.get("type") == "tool_use" and isinstance(data.get("index"), int):
                self.blocks[data["index"]] = {**block, "json": []}
            return fields.text_of(block.get("text"))
        if kind == "message_start":
            message = fields.dict_of(data.get("message"))
            self.model = fields.text_of(message.get("model")) or None
            self.usage.update(fields.dict_of(message.get("usage")))
        elif kind == "message_delta":
            delta = fields.dict_of(data.get("delta"))
            self.stop_reason = delta.get("stop_reason") or self.stop_reason
            self.details = delta.get("stop_details") or self.details
            # cumulative: it replaces what message_start said
            said = fields.dict_of(data.get("usage"))
            self.usage.update({name: value for name, value in said.items() if value is not None})
        elif kind == "message_stop":
            self.done = True
        return ""

    def _delta(self, index: object, delta: dict[str, Any]) -> str:
        kind = delta.get("type")
        if kind == "text_delta":
            return fields.text_of(delta.get("text"))
        if kind == "input_json_delta" and isinstance(index, int) and index in self.blocks:
            block = self.blocks[index]
            piece = fields.text_of(delta.get("partial_json"))
            if block.get("name") == self.answer_tool:
                block["answered"] = True
                return piece
            block["json"].append(piece)
            self.outputs += bool(piece)
        elif kind == "thinking_delta":
            self.thoughts.append(fields.text_of(delta.get("thinking")))
            self.outputs += bool(self.thoughts[-1])
        return ""

    def last(self, reply: Arrived) -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: The stream ended before `message_stop`.
        """
        if not self.done:
            raise protocol_error("the stream ended before message_stop", request_id=reply.request_id)
        calls = [
            fields.tool_call(block.get("id"), block.get("name"), "".join(block["json"]) or block.get("input"))
            for _, block in sorted(self.blocks.items())
            if block.get("name") != self.answer_tool
        ]
        finish = fields.finish_reason(self.stop_reason)
        return Chunk(
            tool_calls=tuple(calls) or None,
            refusal=refusal_of(self.stop_reason, self.details),
            finish_reason="stop" if self.answer_tool and finish == "tool_calls" and not calls else finish,
            usage=usage_of(self.usage),
            model=self.model,
            request_id=reply.request_id,
            received_s=reply.received_s,
            sent_s=reply.sent_s,
            metadata={"reasoning": "".join(self.thoughts)} if self.thoughts else {},
        )
