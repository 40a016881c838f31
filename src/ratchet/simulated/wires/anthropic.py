"""Anthropic messages: `POST /v1/messages`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ratchet import codec
from ratchet.ports import Usage
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, number, objects, optional, required
from ratchet.simulated.models import Plan, split_text

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


class AnthropicMessages:
    """The messages wire."""

    name = "anthropic"
    stream_type = "text/event-stream; charset=utf-8"
    key_headers = ("x-api-key", "authorization")
    required_header = "anthropic-version"
    no_key_status = 401
    request_id_header = "request-id"

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        model = required(body, "model", str)
        if body.get("max_tokens") is None:
            raise InvalidRequestError("max_tokens: Field required", param="max_tokens")
        number(body, "max_tokens", 1, 10_000_000)
        number(body, "temperature", 0, 1)
        messages = [*_system(body.get("system")), *_messages(required(body, "messages", list))]
        tools = tuple(_tool(tool) for tool in objects(body.get("tools") or [], "tools"))
        params = dict(body) | {"stop": body.get("stop_sequences")}
        params["tool_choice"] = _tool_choice(optional(body, "tool_choice", dict), tools)
        return Call(
            model=model,
            messages=messages,
            params=params,
            tools=tools,
            response_format=_response_format(optional(body, "output_config", dict)),
            stream=bool(optional(body, "stream", bool)),
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        return self._message(call, plan) | {
            "content": [] if plan.empty else _content(plan),
            **_stopped(plan),
            "usage": _usage(plan.usage),
        }

    def _message(self, call: Call, plan: Plan) -> dict[str, Json]:
        return {
            "id": f"msg_{call.id}",
            "type": "message",
            "role": "assistant",
            "model": plan.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        waits = plan.waits()
        usage = _usage(plan.usage)
        opening = self._message(call, plan) | {"usage": usage | {"output_tokens": 1}}
        yield 0.0, _event("message_start", {"message": opening})
        index = 0
        if chunks := plan.chunks if not plan.empty else []:
            block = {"type": "text", "text": ""}
            yield 0.0, _event("content_block_start", {"index": index, "content_block": block})
            yield 0.0, _event("ping", {})
            for text in chunks:
                yield next(waits), _delta(index, {"type": "text_delta", "text": text})
            yield 0.0, _event("content_block_stop", {"index": index})
            index += 1
        for tool_call in plan.tool_calls:
            function = tool_call["function"]
            block = {"type": "tool_use", "id": tool_call["id"], "name": function["name"], "input": {}}
            yield next(waits), _event("content_block_start", {"index": index, "content_block": block})
            for piece in split_text(function["arguments"], plan.chunk_characters):
                yield next(waits), _delta(index, {"type": "input_json_delta", "partial_json": piece})
            yield 0.0, _event("content_block_stop", {"index": index})
            index += 1
        yield 0.0, _event("message_delta", {"delta": _stopped(plan), "usage": usage})
        yield 0.0, _event("message_stop", {})

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        kind = _ERROR_TYPES.get(refused.status) or (
            "api_error" if refused.status >= 500 else "invalid_request_error"
        )
        return {"type": "error", "error": {"type": kind, "message": refused.message}, "request_id": None}, {}

    def error_event(self, refused: Refused) -> bytes:
        return b"event: error\ndata: " + orjson.dumps(self.error(refused)[0]) + b"\n\n"


def _event(kind: str, more: dict[str, Json]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **more}) + b"\n\n"


def _delta(index: int, delta: Json) -> bytes:
    return _event("content_block_delta", {"index": index, "delta": delta})


def _content(plan: Plan) -> list[Json]:
    text = plan.text if plan.refusal is None else plan.refusal
    content: list[Json] = [{"type": "text", "text": text}] if text else []
    for call in plan.tool_calls:
        function = call["function"]
        arguments = codec.parse(function["arguments"])
        content.append({"type": "tool_use", "id": call["id"], "name": function["name"], "input": arguments})
    return content


def _stopped(plan: Plan) -> dict[str, Json]:
    if plan.refusal is not None:
        return {"stop_reason": "refusal", "stop_sequence": None}
    return {"stop_reason": _STOP_REASONS[plan.finish_reason], "stop_sequence": None}


def _usage(usage: Usage) -> dict[str, Json]:
    """As Anthropic counts: input without the tokens read from the cache."""
    cached = usage.cached_tokens or 0
    return {
        "input_tokens": (usage.input_tokens or 0) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_tokens or 0,
        "service_tier": "standard",
    }


def _system(value: Json) -> list[Message]:
    if value is None or value == "":
        return []
    if not isinstance(value, str):
        objects(value, "system")
    return [{"role": "system", "content": value}]


def _messages(value: list[Json]) -> list[Message]:
    messages: list[Message] = []
    for index, message in enumerate(objects(value, "messages")):
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system"):
            raise InvalidRequestError(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not isinstance(content, (str, list)):
            raise InvalidRequestError(f"messages.{index}.content: Input should be a valid string or list")
        if content in ("", []):
            raise InvalidRequestError(f"messages.{index}: all messages must have non-empty content")
        messages.extend(_blocks(cast("str", role), content))
    return messages


def _blocks(role: str, content: Json) -> Iterator[Message]:
    """One message, with its tool calls and tool results as OpenAI has them."""
    if isinstance(content, str):
        yield {"role": role, "content": content}
        return
    parts: list[Json] = []
    calls: list[Json] = []
    for block in objects(content, "content"):
        if block.get("type") == "tool_result":
            yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": block.get("content")}
        elif block.get("type") == "tool_use":
            function = {"name": block.get("name"), "arguments": codec.dumps(block.get("input")).decode()}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        else:
            parts.append(block)
    if parts or calls:
        yield {"role": role, "content": parts, **({"tool_calls": calls} if calls else {})}


def _tool(tool: dict[str, Json]) -> Json:
    if not isinstance(tool.get("name"), str):
        raise InvalidRequestError("tools.0.name: Field required")
    function = {"name": tool["name"], "parameters": tool.get("input_schema") or {"type": "object"}}
    return {"type": "function", "function": function}


def _tool_choice(choice: dict[str, Json] | None, tools: tuple[Json, ...]) -> Json:
    if choice is None:
        return None
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise InvalidRequestError(f"tool_choice.type: {kind!r}, expected 'auto', 'any', 'tool' or 'none'")
    if kind in ("any", "tool") and not tools:
        raise InvalidRequestError("tool_choice: may only be specified while providing tools")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return {"any": "required"}.get(kind, kind)


def _response_format(config: dict[str, Any] | None) -> Json:
    form = (config or {}).get("format")
    if not isinstance(form, dict):
        return None
    schema = cast("dict[str, Json]", form).get("schema")
    if not isinstance(schema, dict):
        raise InvalidRequestError("output_config.format.schema: Field required")
    return {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
