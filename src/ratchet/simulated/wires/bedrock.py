"""Amazon Bedrock `Converse` and `ConverseStream`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import orjson

from ratchet import codec
from ratchet.errors import CodecError
from ratchet.ports import Usage
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, number, objects, optional, required
from ratchet.simulated.models import Plan, split_text
from ratchet.simulated.wires.eventstream import encode_event, encode_exception

_EXCEPTIONS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}


class BedrockConverse:
    """The Converse wire; the path's last part says whether it streams."""

    name = "bedrock"
    stream_type = "application/vnd.amazon.eventstream"
    key_headers = ("authorization",)
    required_header = ""
    no_key_status = 403
    request_id_header = "x-amzn-requestid"

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        config = optional(body, "inferenceConfig", dict) or {}
        number(config, "maxTokens", 1, 10_000_000)
        number(config, "temperature", 0, 1)
        number(config, "topP", 0, 1)
        system = objects(body.get("system") or [], "system")
        messages: list[Message] = [{"role": "system", "content": cast("Json", system)}] if system else []
        messages.extend(_messages(required(body, "messages", list)))
        tool_config = optional(body, "toolConfig", dict) or {}
        tools = tuple(_tools(tool_config.get("tools")))
        return Call(
            model=path["model"],
            messages=messages,
            params={
                "max_tokens": config.get("maxTokens"),
                "stop": config.get("stopSequences"),
                "tool_choice": _tool_choice(tool_config.get("toolChoice")),
            },
            tools=tools,
            response_format=_response_format(body),
            stream=path["method"] == "converse-stream",
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        return {
            "output": {"message": {"role": "assistant", "content": [] if plan.empty else _content(plan)}},
            "stopReason": _stop_reason(plan),
            "usage": _usage(plan.usage),
            "metrics": {"latencyMs": round(plan.latency_s * 1000)},
        }

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        waits = plan.waits()
        yield 0.0, _event("messageStart", {"role": "assistant"})
        index = 0
        if chunks := plan.chunks:
            for text in chunks:
                yield (
                    next(waits),
                    _event("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": index}),
                )
            yield 0.0, _event("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        for call_made in plan.tool_calls:
            function = call_made["function"]
            start = {"toolUse": {"toolUseId": call_made["id"], "name": function["name"]}}
            yield next(waits), _event("contentBlockStart", {"start": start, "contentBlockIndex": index})
            for piece in split_text(function["arguments"], plan.chunk_characters):
                delta = {"toolUse": {"input": piece}}
                yield next(waits), _event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index})
            yield 0.0, _event("contentBlockStop", {"contentBlockIndex": index})
            index += 1
        yield 0.0, _event("messageStop", {"stopReason": _stop_reason(plan)})
        metrics = {"latencyMs": round(plan.latency_s * 1000)}
        yield 0.0, _event("metadata", {"usage": _usage(plan.usage), "metrics": metrics})

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        return {"message": refused.message}, {"x-amzn-errortype": _exception(refused.status)}

    def error_event(self, refused: Refused) -> bytes:
        kind = _exception(refused.status)
        return encode_exception(kind[0].lower() + kind[1:], orjson.dumps({"message": refused.message}))


def _exception(status: int) -> str:
    known = "InternalServerException" if status >= 500 else "ValidationException"
    return _EXCEPTIONS.get(status, known)


def _event(kind: str, payload: Json) -> bytes:
    return encode_event(kind, orjson.dumps(payload))


def _content(plan: Plan) -> list[Json]:
    text = plan.text if plan.refusal is None else plan.refusal
    content: list[Json] = [{"text": text}] if text else []
    for call in plan.tool_calls:
        function = call["function"]
        arguments = codec.parse(function["arguments"])
        used = {"toolUseId": call["id"], "name": function["name"], "input": arguments}
        content.append({"toolUse": used})
    return content


def _stop_reason(plan: Plan) -> str:
    return "guardrail_intervened" if plan.refusal is not None else _STOP_REASONS[plan.finish_reason]


def _usage(usage: Usage) -> Json:
    """As Bedrock counts: input without the tokens read from the cache."""
    given, made, cached = usage.input_tokens or 0, usage.output_tokens or 0, usage.cached_tokens or 0
    counts = {"inputTokens": given - cached, "outputTokens": made, "totalTokens": given + made}
    if cached:
        counts |= {"cacheReadInputTokens": cached, "cacheWriteInputTokens": 0}
    return counts


def _messages(value: list[Json]) -> Iterator[Message]:
    for index, message in enumerate(objects(value, "messages")):
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise InvalidRequestError(
                f"1 validation error detected: Value {role!r} at 'messages.{index + 1}.member.role' failed to "
                "satisfy constraint: Member must satisfy enum value set: [user, assistant]"
            )
        parts: list[Json] = []
        calls: list[Json] = []
        for block in objects(message.get("content"), "content"):
            if isinstance(result := block.get("toolResult"), dict):
                content = cast("dict[str, Json]", result).get("content")
                yield {"role": "tool", "content": [_result(part) for part in objects(content, "content")]}
            elif isinstance(used := block.get("toolUse"), dict):
                use = cast("dict[str, Json]", used)
                function = {"name": use.get("name"), "arguments": codec.dumps(use.get("input")).decode()}
                calls.append({"id": use.get("toolUseId"), "type": "function", "function": function})
            else:
                parts.append(block)
        if parts or calls:
            yield {"role": role, "content": parts, **({"tool_calls": calls} if calls else {})}


def _result(part: dict[str, Json]) -> Json:
    return {"text": codec.dumps(part["json"]).decode()} if "json" in part else part


def _tools(value: Json) -> Iterator[Json]:
    for tool in objects(value or [], "toolConfig.tools"):
        spec = optional(tool, "toolSpec", dict)
        if spec is None:
            continue
        schema = (optional(spec, "inputSchema", dict) or {}).get("json")
        function = {"name": required(spec, "name", str), "parameters": schema or {"type": "object"}}
        yield {"type": "function", "function": function}


def _tool_choice(choice: Json) -> Json:
    if not isinstance(choice, dict):
        return None
    entry = cast("dict[str, Json]", choice)
    if isinstance(tool := entry.get("tool"), dict):
        return {"function": {"name": cast("dict[str, Json]", tool).get("name")}}
    return "required" if "any" in entry else "auto"


def _response_format(body: Mapping[str, Json]) -> Json:
    form = optional(optional(body, "outputConfig", dict) or {}, "textFormat", dict)
    if form is None:
        return None
    structure = optional(form, "structure", dict) or {}
    given = (optional(structure, "jsonSchema", dict) or {}).get("schema")
    try:
        schema = codec.parse(given if isinstance(given, str) else "")
    except CodecError as error:
        raise InvalidRequestError(
            f"The JSON schema of outputConfig.textFormat is not JSON: {error}"
        ) from None
    return {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
