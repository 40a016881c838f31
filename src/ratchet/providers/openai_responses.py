"""OpenAI's responses API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from yarl import URL

from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, wires
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.http import Http, json_bytes, parse_json
from ratchet.providers.openai_chat import openai_headers
from ratchet.providers.wires import Arrived, is_json
from ratchet.records import Json, Message

_ENDS = ("response.completed", "response.incomplete", "response.failed")
# besides text, what shows that the model is producing
_PRODUCE = frozenset(
    {"response.reasoning_summary_text.delta", "response.reasoning_text.delta", "response.refusal.delta",
     "response.function_call_arguments.delta"}
)  # fmt: skip


class OpenAIResponses:
    """Responses, streaming or not; nothing is stored at OpenAI unless `params` says `store: true`.

    Options: `headers`, `organization`, `project`.
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        base = (endpoint.base_url or "https://api.openai.com/v1").rstrip("/")
        self._url = URL(base if base.endswith("/responses") else f"{base}/responses")
        self._headers, self._secrets = openai_headers(endpoint, "authorization")

    def generate(self, request: Request) -> AsyncIterator[Chunk]:
        return wires.call(self, self._http, request)

    def url(self, request: Request) -> URL:
        return self._url

    def body(self, request: Request) -> bytes:
        return json_bytes(body_of(request))

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        return self._headers, self._secrets

    def reading(self, request: Request, content_type: str) -> Reading | None:
        return Reading() if request.stream and not is_json(content_type) else None

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        return answer(data, reply)


def body_of(request: Request) -> dict[str, Json]:
    """The request's body, chat's names of parameters translated."""
    params = dict(request.params)
    body: dict[str, Json] = {"model": request.model, "input": _items(request.messages), "store": False}
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params:
            params.setdefault("max_output_tokens", params.pop(name))
    if (effort := params.pop("reasoning_effort", None)) is not None:
        body["reasoning"] = {"effort": effort}
    if request.tools:
        body["tools"] = [_tool(function, other) for function, other in fields.functions_of(request.tools)]
    if name := fields.chosen_tool(params.get("tool_choice")):
        params["tool_choice"] = {"type": "function", "name": name}
    text = dict(fields.dict_of(params.pop("text", None)))
    if (verbosity := params.pop("verbosity", None)) is not None:
        text["verbosity"] = verbosity
    if (wanted := fields.dict_of(request.response_format)).get("type") == "json_schema":
        text["format"] = {
            "type": "json_schema",
            "name": "answer",
            **fields.dict_of(wanted.get("json_schema")),
        }
    elif wanted:
        text["format"] = wanted
    if text:
        body["text"] = text
    if request.stream:
        body["stream"] = True
    body.update(params)
    return body


def _tool(function: Mapping[str, Any] | None, other: Json) -> Json:
    if function is None:
        return other
    # chat's tools are loose unless they say strict; here they would be strict
    return {"type": "function", "parameters": None, "strict": False, **function}


def _items(messages: Sequence[Message]) -> list[Json]:
    items: list[Json] = []
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role == "tool":
            output = content if isinstance(content, str) else fields.plain_text(content)
            items.append(
                {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}
            )
            continue
        if content is not None and content != "":
            items.append({"role": role, "content": _content(content, role == "assistant")})
        for call in fields.list_of(message.get("tool_calls")):
            function = fields.dict_of(call.get("function"))
            arguments = function.get("arguments")
            text = arguments if isinstance(arguments, str) else json_bytes(arguments or {}).decode()
            items.append(
                {
                    "type": "function_call",
                    "call_id": call.get("id"),
                    "name": function.get("name"),
                    "arguments": text,
                }
            )
    return items


def _content(content: Json, from_model: bool) -> Json:
    if not isinstance(content, list):
        return content if isinstance(content, str) else json_bytes(content).decode()
    parts: list[Json] = []
    for item in content:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "text":
            parts.append({**item, "type": "output_text" if from_model else "input_text"})
        elif kind == "image_url":
            image = item.get("image_url")
            image = image if isinstance(image, dict) else {"url": image}
            detail = image.get("detail") or "auto"
            parts.append({"type": "input_image", "image_url": image.get("url"), "detail": detail})
        elif kind == "file":
            parts.append({"type": "input_file", **fields.dict_of(item.get("file"))})
        else:
            parts.append(item)
    return parts


def usage_of(data: Json) -> Usage | None:
    if not isinstance(data, dict):
        return None
    details = fields.dict_of(data.get("input_tokens_details"))
    usage = Usage(
        input_tokens=fields.token_count(data.get("input_tokens")),
        output_tokens=fields.token_count(data.get("output_tokens")),
        cached_tokens=fields.token_count(details.get("cached_tokens")),
        cache_write_tokens=fields.token_count(details.get("cache_write_tokens")),
        reasoning_tokens=fields.token_count(
            fields.dict_of(data.get("output_tokens_details")).get("reasoning_tokens")
        ),
    )
    return fields.usage_or_none(usage)


def answer(data: Json, reply: Arrived) -> Chunk:
    """The whole answer in one chunk.

    Raises:
        ProviderError: The response failed, or holds no output.
    """
    if not isinstance(data, dict) or not isinstance(data.get("output"), list):
        if isinstance(data, dict) and data.get("error"):
            raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
        raise protocol_error("the answer has no output", request_id=reply.request_id)
    if data.get("status") == "failed" or data.get("error"):
        raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
    texts: list[str] = []
    refusals: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for item in data["output"]:
        item = fields.dict_of(item)
        if item.get("type") == "message":
            for part in map(fields.dict_of, fields.list_of(item.get("content"))):
                texts.append(fields.text_of(part.get("text")))
                refusals.append(fields.text_of(part.get("refusal")))
        elif item.get("type") == "function_call":
            calls.append(fields.tool_call(item.get("call_id"), item.get("name"), item.get("arguments")))
        elif item.get("type") == "reasoning":
            summary = map(fields.dict_of, fields.list_of(item.get("summary")))
            thoughts += [fields.text_of(part.get("text")) for part in summary]
    reason: str | None = None
    if data.get("status") == "incomplete":
        reason = fields.finish_reason(fields.dict_of(data.get("incomplete_details")).get("reason"))
    elif not data["output"]:
        raise protocol_error("the answer's output is empty", request_id=reply.request_id)
    return Chunk(
        text="".join(texts),
        tool_calls=tuple(calls) or None,
        refusal="".join(refusals) or None,
        finish_reason=reason or ("tool_calls" if calls else "stop"),
        usage=usage_of(data.get("usage")),
        model=fields.text_of(data.get("model")) or None,
        request_id=reply.request_id,
        received_s=reply.received_s,
        sent_s=reply.sent_s,
        metadata={"reasoning": "\n".join(thoughts)} if any(thoughts) else {},
    )


class Reading:
    """The stream of events; its last one repeats all that the others said."""

    __slots__ = ("_last", "_streamed", "outputs")
    by_line = False

    def __init__(self) -> None:
        self._last: Chunk | None = None
        self._streamed = False
        self.outputs = 0

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one event."""
        if data == b"[DONE]":
            return ""
        if name and name not in ("response.output_text.delta", "error", *_ENDS):
            self.outputs += name in _PRODUCE
            return ""
        event = parse_json(data, request_id=reply.request_id)
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "response.output_text.delta":
            text = fields.text_of(event.get("delta"))
            self.outputs += bool(text)
            self._streamed = self._streamed or bool(text)
            return text
        if kind == "error" or (isinstance(event, dict) and event.get("error")):
            raise failure_in_body(event, secrets=reply.secrets, request_id=reply.request_id)
        if kind in _ENDS:
            self._last = answer(event.get("response"), reply)
            if not self._streamed and self._last.text:
                self._streamed = True
                self.outputs += 1
                return self._last.text
        self.outputs += isinstance(kind, str) and kind in _PRODUCE
        return ""

    def last(self, reply: Arrived) -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: The stream ended before `response.completed`.
        """
        if self._last is None:
            raise protocol_error("the stream ended before response.completed", request_id=reply.request_id)
        return replace(self._last, text="", received_s=reply.received_s)
