"""OpenAI responses: `POST /v1/responses`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from ratchet.ports import Usage
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, number, objects, optional, required
from ratchet.simulated.models import Plan, split_text
from ratchet.simulated.wires.openai import OpenAIChat


class OpenAIResponses:
    """The responses wire; nothing is stored, so `previous_response_id` is refused."""

    name = "responses"
    stream_type = "text/event-stream; charset=utf-8"
    key_headers = ("authorization", "api-key")
    required_header = ""
    no_key_status = 401
    request_id_header = "x-request-id"

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        if body.get("previous_response_id"):
            raise InvalidRequestError(
                f"Previous response with id {body['previous_response_id']!r} not found.",
                param="previous_response_id",
            )
        number(body, "temperature", 0, 2)
        number(body, "max_output_tokens", 1, 10_000_000)
        instructions = optional(body, "instructions", str)
        messages: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
        messages.extend(_input(body.get("input")))
        params = dict(body) | {"max_tokens": body.get("max_output_tokens")}
        params["tool_choice"] = _tool_choice(body.get("tool_choice"))
        return Call(
            model=required(body, "model", str),
            messages=messages,
            params=params,
            tools=tuple(_tools(body.get("tools"))),
            response_format=_response_format(optional(body, "text", dict)),
            stream=bool(optional(body, "stream", bool)),
            extras=body,
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        items = [] if plan.empty else _items(call, plan)
        return _response(call, plan, items)

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        for sequence, (wait_s, kind, more) in enumerate(_events(call, plan)):
            event = {"type": kind, **more, "sequence_number": sequence}
            yield wait_s, b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        return OpenAIChat().error(refused)

    def error_event(self, refused: Refused) -> bytes:
        event = {"type": "error", "code": "server_error", "message": refused.message, "param": None}
        return b"event: error\ndata: " + orjson.dumps(event | {"sequence_number": 0}) + b"\n\n"


def _events(call: Call, plan: Plan) -> Iterator[tuple[float, str, dict[str, Json]]]:
    waits = plan.waits()
    opening = _response(call, plan, [], status="in_progress")
    yield 0.0, "response.created", {"response": opening}
    yield 0.0, "response.in_progress", {"response": opening}
    items = [] if plan.empty else _items(call, plan)
    for index, item in enumerate(items):
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            started = item | {"status": "in_progress", "arguments": ""}
            yield next(waits), "response.output_item.added", {"output_index": index, "item": started}
            for piece in split_text(item["arguments"], plan.chunk_characters):
                yield next(waits), "response.function_call_arguments.delta", {**place, "delta": piece}
            whole = {"arguments": item["arguments"], "name": item["name"]}
            yield 0.0, "response.function_call_arguments.done", {**place, **whole}
        elif item["type"] == "message":
            started = item | {"status": "in_progress", "content": []}
            yield 0.0, "response.output_item.added", {"output_index": index, "item": started}
            yield from _message_events(plan, item, {**place, "content_index": 0}, waits)
        else:
            yield 0.0, "response.output_item.added", {"output_index": index, "item": item}
        yield 0.0, "response.output_item.done", {"output_index": index, "item": item}
    last = _response(call, plan, items)
    yield 0.0, f"response.{last['status']}", {"response": last}


def _message_events(
    plan: Plan, item: Json, place: dict[str, Json], waits: Iterator[float]
) -> Iterator[tuple[float, str, dict[str, Json]]]:
    part = item["content"][0]
    refused = part["type"] == "refusal"
    key, kind = ("refusal", "refusal") if refused else ("text", "output_text")
    more: dict[str, Json] = {} if refused else {"logprobs": []}
    yield 0.0, "response.content_part.added", {**place, "part": part | {key: ""}}
    for text in plan.chunks:
        yield next(waits), f"response.{kind}.delta", {**place, "delta": text, **more}
    yield 0.0, f"response.{kind}.done", {**place, key: part[key], **more}
    yield 0.0, "response.content_part.done", {**place, "part": part}


def _items(call: Call, plan: Plan) -> list[dict[str, Json]]:
    items: list[dict[str, Json]] = []
    if plan.usage.reasoning_tokens:
        items.append({"type": "reasoning", "id": f"rs_{call.id}", "summary": []})
    for tool_call in plan.tool_calls:
        item = {"type": "function_call", "id": f"fc_{tool_call['id'][5:]}", "call_id": tool_call["id"]}
        items.append(item | {**tool_call["function"], "status": "completed"})
    if not plan.tool_calls:
        part = {"type": "output_text", "text": plan.text, "annotations": [], "logprobs": []}
        if plan.refusal is not None:
            part = {"type": "refusal", "refusal": plan.refusal}
        status = "completed" if _reason(plan) is None else "incomplete"
        message = {"type": "message", "id": f"msg_{call.id}", "status": status, "role": "assistant"}
        items.append(message | {"content": [part]})
    return items


def _reason(plan: Plan) -> str | None:
    """Why an answer is incomplete."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(plan.finish_reason)


def _response(call: Call, plan: Plan, items: list[dict[str, Json]], *, status: str = "") -> dict[str, Json]:
    reason = None if status else _reason(plan)
    body = call.extras
    return {
        "id": f"resp_{call.id}",
        "object": "response",
        "created_at": call.created_s,
        "status": status or ("incomplete" if reason else "completed"),
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": plan.model,
        "output": items,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": None if status else _usage(plan.usage),
        "user": None,
    }


def _usage(usage: Usage) -> Json:
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": given + made,
    }


def _input(value: Json) -> Iterator[Message]:
    if not value or not isinstance(value, (str, list)):
        raise InvalidRequestError("Missing required parameter: 'input'.", param="input")
    if isinstance(value, str):
        yield {"role": "user", "content": value}
        return
    for index, item in enumerate(objects(value, "input")):
        kind = item.get("type") or "message"
        if kind == "message":
            role = item.get("role")
            if role not in ("system", "developer", "user", "assistant"):
                raise InvalidRequestError(f"Invalid value: {role!r}.", param=f"input[{index}].role")
            yield {"role": role, "content": item.get("content")}
        elif kind == "function_call_output":
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            yield {"role": "assistant", "content": None, "tool_calls": [call]}


def _tools(value: Json) -> Iterator[Json]:
    for tool in objects(value or [], "tools"):
        if tool.get("type") != "function":
            continue  # the vendor's own tools are not simulated
        schema = tool.get("parameters") or {"type": "object"}
        yield {"type": "function", "function": {"name": required(tool, "name", str), "parameters": schema}}


def _tool_choice(choice: Json) -> Json:
    if isinstance(choice, dict):
        return {"function": {"name": cast("dict[str, Json]", choice).get("name")}}
    return choice


def _response_format(text: dict[str, Any] | None) -> Json:
    form = (text or {}).get("format")
    kind = cast("dict[str, Any]", form).get("type") if isinstance(form, dict) else "text"
    if kind not in ("text", "json_object", "json_schema"):
        raise InvalidRequestError(f"Invalid value: {kind!r}.", param="text.format.type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": form}
