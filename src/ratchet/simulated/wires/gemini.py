"""Google's `generateContent` and `streamGenerateContent`, of the Gemini API and of Vertex AI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ratchet import codec
from ratchet.ports import Usage
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, objects
from ratchet.simulated.models import Plan

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISH_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_METHODS = ("generateContent", "streamGenerateContent")


class Gemini:
    """The generateContent wire; `name` tells Vertex apart in the counts."""

    stream_type = "text/event-stream"
    key_headers = ("x-goog-api-key", "authorization")
    required_header = ""
    no_key_status = 403
    request_id_header = "x-request-id"

    def __init__(self, name: str = "gemini") -> None:
        self.name = name

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        model, _, method = path["target"].rpartition(":")
        if method not in _METHODS:
            raise InvalidRequestError(f"Unknown method {method!r}; known: {', '.join(_METHODS)}", status=404)
        config = _object(body, "generationConfig")
        messages = [*_system(_object(body, "systemInstruction")), *_contents(_get(body, "contents"))]
        tools = tuple(_tools(_get(body, "tools")))
        params: dict[str, Json] = {
            "max_tokens": _get(config, "maxOutputTokens"),
            "stop": _get(config, "stopSequences"),
            "seed": config.get("seed"),
            "tool_choice": _tool_choice(_object(body, "toolConfig"), tools),
        }
        stream = method == "streamGenerateContent"
        as_array = stream and path.get("alt") != "sse"
        return Call(
            model=model,
            messages=messages,
            params=params,
            tools=tools,
            response_format=_response_format(config),
            stream=stream,
            extras={"stream_type": "application/json"} if as_array else {},
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        return self._response(call, plan, _parts(plan), finished=True)

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        as_array = "stream_type" in call.extras
        first = True
        for wait_s, response in self._responses(call, plan):
            if as_array:
                yield wait_s, (b"[" if first else b",\r\n") + orjson.dumps(response)
            else:
                yield wait_s, _event(response)
            first = False
        if as_array:
            yield 0.0, b"]"

    def _responses(self, call: Call, plan: Plan) -> Iterator[tuple[float, Json]]:
        waits = plan.waits()
        whole = plan.refusal is not None or bool(plan.tool_calls)
        pieces: list[Json] = _parts(plan) if whole else [{"text": text} for text in plan.chunks]
        for index, part in enumerate(pieces):
            finished = index == len(pieces) - 1
            yield next(waits), self._response(call, plan, [part], finished=finished)
        if not pieces:
            yield next(waits), self._response(call, plan, [], finished=True)

    def _response(self, call: Call, plan: Plan, parts: list[Json], *, finished: bool) -> Json:
        candidate: dict[str, Json] = {"index": 0}
        if parts:
            candidate["content"] = {"parts": parts, "role": "model"}
        if finished:
            refused = plan.refusal is not None
            candidate["finishReason"] = "SAFETY" if refused else _FINISH_REASONS[plan.finish_reason]
        response: dict[str, Json] = {"candidates": [candidate]} if not plan.empty else {}
        return response | {
            "usageMetadata": _usage(plan.usage),
            "modelVersion": plan.model,
            "responseId": call.id,
        }

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        error: dict[str, Json] = {
            "code": refused.status,
            "message": refused.message,
            "status": _STATUSES.get(refused.status, "UNKNOWN"),
        }
        if refused.tell_in_body:
            retry = {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{refused.retry_after_s or 0:g}s",
            }
            error["details"] = [retry]
        return {"error": error}, {}

    def error_event(self, refused: Refused) -> bytes:
        return _event(self.error(refused)[0])


def _event(response: Json) -> bytes:
    return b"data: " + orjson.dumps(response) + b"\r\n\r\n"


def _parts(plan: Plan) -> list[Json]:
    if plan.refusal is not None:  # Google blocks instead of refusing: a finish reason without content
        return []
    parts: list[Json] = [{"text": plan.text}] if plan.text else []
    for call in plan.tool_calls:
        function = call["function"]
        parts.append({"functionCall": {"name": function["name"], "args": codec.parse(function["arguments"])}})
    return parts


def _usage(usage: Usage) -> Json:
    """As Google counts: candidates without thoughts; the prompt with what was cached."""
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    thoughts = usage.reasoning_tokens or 0
    counts = {
        "promptTokenCount": given,
        "candidatesTokenCount": made - thoughts,
        "totalTokenCount": given + made,
    }
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if usage.cached_tokens:
        counts["cachedContentTokenCount"] = usage.cached_tokens
    return counts


def _get(body: Mapping[str, Json], name: str) -> Json:
    """A field by its JSON name or by its proto name (`systemInstruction`, `system_instruction`)."""
    if name in body:
        return body[name]
    return body.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))


def _object(body: Mapping[str, Json], name: str) -> dict[str, Json]:
    value = _get(body, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError(f"Invalid value at '{name}': expected an object.", param=name)
    return cast("dict[str, Json]", value)


def _system(instruction: dict[str, Json]) -> list[Message]:
    parts = objects(instruction.get("parts") or [], "system_instruction.parts")
    return [{"role": "system", "content": cast("Json", parts)}] if parts else []


def _contents(value: Json) -> Iterator[Message]:
    if not value:
        raise InvalidRequestError("* GenerateContentRequest.contents: contents is not specified")
    for content in objects(value, "contents"):
        role = content.get("role") or "user"
        if role not in ("user", "model", "function"):
            raise InvalidRequestError("Please use a valid role: user, model.")
        parts: list[Json] = []
        calls: list[Json] = []
        for part in objects(content.get("parts") or [], "contents.parts"):
            answered, called = _object(part, "functionResponse"), _object(part, "functionCall")
            if answered:
                yield {"role": "tool", "content": codec.dumps(answered.get("response")).decode()}
            elif called:
                function = {"name": called.get("name"), "arguments": codec.dumps(called.get("args")).decode()}
                calls.append({"type": "function", "function": function})
            else:
                parts.append(part)
        if parts or calls:
            name = "assistant" if role == "model" else "user"
            yield {"role": name, "content": parts, **({"tool_calls": calls} if calls else {})}


def _tools(value: Json) -> Iterator[Json]:
    for tool in objects(value or [], "tools"):
        for declared in objects(_get(tool, "functionDeclarations") or [], "function_declarations"):
            if not isinstance(declared.get("name"), str):
                raise InvalidRequestError("tools.function_declarations.name: [REQUIRED_FIELD_MISSING]")
            schema = _get(declared, "parametersJsonSchema") or declared.get("parameters")
            function = {"name": declared["name"], "parameters": schema or {"type": "object"}}
            yield {"type": "function", "function": function}


def _tool_choice(config: dict[str, Json], tools: tuple[Json, ...]) -> Json:
    calling = _object(config, "functionCallingConfig")
    mode = str(calling.get("mode") or "AUTO").upper()
    if mode == "ANY":
        allowed = cast("list[Any]", _get(calling, "allowedFunctionNames") or [])
        return {"function": {"name": allowed[0]}} if allowed else "required"
    return "none" if mode == "NONE" else "auto"


def _response_format(config: dict[str, Json]) -> Json:
    schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
    if isinstance(schema, dict):
        return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    return {"type": "json_object"} if _get(config, "responseMimeType") == "application/json" else None
