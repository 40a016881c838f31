"""Ollama's native `POST /api/chat`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import cast

import orjson

from ratchet import codec
from ratchet.records import Json, Message
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, objects, optional, required
from ratchet.simulated.models import Plan
from ratchet.simulated.wires.openai import check_tools


class OllamaChat:
    """The native chat wire: lines of JSON, streamed unless told otherwise."""

    name = "ollama"
    stream_type = "application/x-ndjson"
    key_headers: tuple[str, ...] = ()
    required_header = ""
    no_key_status = 401
    request_id_header = "x-request-id"

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        options = optional(body, "options", dict) or {}
        messages: list[Message] = []
        for message in objects(body.get("messages") or [], "messages"):
            if message.get("role") not in ("system", "user", "assistant", "tool"):
                raise InvalidRequestError(f"invalid role: {message.get('role')!r}")
            messages.append(message)
        limit = options.get("num_predict")
        stream = optional(body, "stream", bool)
        return Call(
            model=required(body, "model", str),
            messages=messages,
            params={
                "max_tokens": limit if isinstance(limit, int) and limit > 0 else None,
                "stop": options.get("stop"),
                "seed": options.get("seed"),
            },
            tools=tuple(check_tools(body.get("tools"))),
            response_format=_response_format(body.get("format")),
            stream=stream is None or stream,
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        text = plan.text if plan.refusal is None else plan.refusal
        message: dict[str, Json] = {"role": "assistant", "content": text}
        if plan.tool_calls:
            message["tool_calls"] = _tool_calls(plan)
        return _line(call, plan, {} if plan.empty else {"message": message}) | _done(plan)

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        waits = plan.waits()
        for text in plan.chunks:
            message = {"role": "assistant", "content": text}
            yield next(waits), _event(_line(call, plan, {"message": message}))
        if plan.tool_calls:
            message = {"role": "assistant", "content": "", "tool_calls": _tool_calls(plan)}
            yield plan.latency_s, _event(_line(call, plan, {"message": message}))
        last: dict[str, Json] = {} if plan.empty else {"message": {"role": "assistant", "content": ""}}
        yield 0.0, _event(_line(call, plan, last) | _done(plan))

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        return {"error": refused.message}, {}

    def error_event(self, refused: Refused) -> bytes:
        return _event(self.error(refused)[0])


def _event(line: Json) -> bytes:
    return orjson.dumps(line) + b"\n"


def _line(call: Call, plan: Plan, more: dict[str, Json]) -> dict[str, Json]:
    made = datetime.datetime.fromtimestamp(call.created_s, datetime.UTC)
    return {"model": plan.model, "created_at": made.isoformat().replace("+00:00", "Z"), **more, "done": False}


def _done(plan: Plan) -> dict[str, Json]:
    """Durations are in nanoseconds."""
    total_ns, first_ns = int(plan.latency_s * 1e9), int(plan.ttft_s * 1e9)
    return {
        "done": True,
        "done_reason": "length" if plan.finish_reason == "length" else "stop",
        "total_duration": total_ns,
        "load_duration": 0,
        "prompt_eval_count": plan.usage.input_tokens,
        "prompt_eval_duration": first_ns,
        "eval_count": plan.usage.output_tokens,
        "eval_duration": total_ns - first_ns,
    }


def _tool_calls(plan: Plan) -> list[Json]:
    functions = [call["function"] for call in plan.tool_calls]
    return [
        {"function": {"name": each["name"], "arguments": codec.parse(each["arguments"])}}
        for each in functions
    ]


def _response_format(value: Json) -> Json:
    if isinstance(value, dict):
        return {"type": "json_schema", "json_schema": {"name": "format", "schema": cast("Json", value)}}
    if value == "json":
        return {"type": "json_object"}
    if value in (None, ""):
        return None
    raise InvalidRequestError(f'invalid format: {value!r}; expected "json" or a JSON Schema object')
