"""OpenAI chat completions: `POST /v1/chat/completions`, also under Azure's deployment paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ratchet.ports import Usage
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, number, objects, optional, required
from ratchet.simulated.models import Plan, split_text

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "requests",
}
_ERROR_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
FINGERPRINT = "fp_simulated"


class OpenAIChat:
    """The chat completions wire."""

    name = "openai"
    stream_type = "text/event-stream; charset=utf-8"
    key_headers = ("authorization", "api-key")
    required_header = ""
    no_key_status = 401
    request_id_header = "x-request-id"

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        model = path.get("deployment") or required(body, "model", str)
        messages = _messages(required(body, "messages", list))
        number(body, "temperature", 0, 2)
        number(body, "top_p", 0, 1)
        for name in ("max_tokens", "max_completion_tokens"):
            number(body, name, 1, 1_000_000)
        if (number(body, "n", 1, 128) or 1) > 1:
            raise InvalidRequestError("Invalid 'n': the simulated server answers with one choice.", param="n")
        tools = tuple(check_tools(body.get("tools")))
        if body.get("tool_choice") is not None and not tools:
            raise InvalidRequestError(
                "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
                param="tool_choice",
            )
        stream_options = optional(body, "stream_options", dict) or {}
        return Call(
            model=model,
            messages=messages,
            params=body,
            tools=tools,
            response_format=check_response_format(body.get("response_format")),
            stream=bool(optional(body, "stream", bool)),
            extras={"include_usage": bool(stream_options.get("include_usage"))},
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        message: dict[str, Json] = {
            "role": "assistant",
            "content": None if plan.tool_calls or plan.refusal is not None else plan.text,
            "refusal": plan.refusal,
            "annotations": [],
        }
        if plan.tool_calls:
            message["tool_calls"] = list(plan.tool_calls)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": plan.finish_reason}
        return {
            "id": f"chatcmpl-{call.id}",
            "object": "chat.completion",
            "created": call.created_s,
            "model": plan.model,
            "choices": [] if plan.empty else [choice],
            "usage": usage_body(plan.usage),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        include_usage = bool(call.extras.get("include_usage"))
        waits = plan.waits()

        def event(delta: Json, finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return _event(
                call, plan, [] if plan.empty else [choice], {"usage": None} if include_usage else {}
            )

        first: dict[str, Json] = {"role": "assistant", "content": None if plan.tool_calls else ""}
        yield 0.0, event(first | {"refusal": None})
        key = "content" if plan.refusal is None else "refusal"
        for text in plan.chunks:
            yield next(waits), event({key: text})
        for index, tool_call in enumerate(plan.tool_calls):
            function = tool_call["function"]
            opening = {**tool_call, "index": index, "function": {"name": function["name"], "arguments": ""}}
            yield next(waits), event({"tool_calls": [opening]})
            for piece in split_text(function["arguments"], plan.chunk_characters):
                part = {"index": index, "function": {"arguments": piece}}
                yield next(waits), event({"tool_calls": [part]})
        yield 0.0, event({}, plan.finish_reason)
        if include_usage:
            yield 0.0, _event(call, plan, [], {"usage": usage_body(plan.usage)})
        yield 0.0, b"data: [DONE]\n\n"

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        status = refused.status
        kind = _ERROR_TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
        error = {
            "message": refused.message,
            "type": kind,
            "param": refused.param,
            "code": refused.code or _ERROR_CODES.get(status),
        }
        return {"error": error}, {}

    def error_event(self, refused: Refused) -> bytes:
        return b"data: " + orjson.dumps(self.error(refused)[0]) + b"\n\n"


def _event(call: Call, plan: Plan, choices: list[Json], more: dict[str, Json]) -> bytes:
    chunk = {
        "id": f"chatcmpl-{call.id}",
        "object": "chat.completion.chunk",
        "created": call.created_s,
        "model": plan.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
        **more,
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def usage_body(usage: Usage) -> Json:
    """Usage as chat completions report it."""
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens or 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _messages(value: list[Json]) -> list[Message]:
    for index, message in enumerate(value):
        if not isinstance(message, dict):
            raise InvalidRequestError(
                f"Invalid type for 'messages[{index}]': expected an object.", param=f"messages[{index}]"
            )
        role = cast("dict[str, Any]", message).get("role")
        if role not in _ROLES:
            raise InvalidRequestError(
                f"Invalid value: {role!r}. Supported values are: {', '.join(map(repr, _ROLES))}.",
                param=f"messages[{index}].role",
            )
    return cast("list[Message]", value)


def check_tools(value: Json) -> list[Json]:
    """Function tools in the OpenAI shape; raises InvalidRequestError."""
    if value is None:
        return []
    for index, tool in enumerate(tools := objects(value, "tools")):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, dict) or not function.get("name"):
            raise InvalidRequestError(
                f"Missing required parameter: 'tools[{index}].function.name'.",
                param=f"tools[{index}].function.name",
            )
    return cast("list[Json]", tools)


def check_response_format(value: Json) -> Json:
    """The response format, None for plain text; raises InvalidRequestError."""
    if value is None:
        return None
    kind = cast("dict[str, Any]", value).get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidRequestError(
            f"Invalid value: {kind!r}. Supported values are: 'text', 'json_object', and 'json_schema'.",
            param="response_format.type",
        )
    if kind == "json_schema":
        schema = value.get("json_schema")
        if not isinstance(schema, dict) or not cast("dict[str, Any]", schema).get("name"):
            raise InvalidRequestError(
                "Missing required parameter: 'response_format.json_schema.name'.",
                param="response_format.json_schema.name",
            )
    return None if kind == "text" else value
