"""Ollama's native chat, and any local server that is posted to at its full URL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from yarl import URL

from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, openai_chat, wires
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.http import Http, json_bytes, parse_json
from ratchet.providers.openai_chat import openai_headers
from ratchet.providers.wires import Arrived, is_json
from ratchet.records import Json, Message

# fields of /api/chat itself; every other parameter is a model option
_TOP = frozenset(
    {"format", "keep_alive", "think", "options", "tools", "logprobs", "top_logprobs", "truncate", "shift"}
)
_OPTIONS = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}


class Ollama:
    """`/api/chat`, streaming (lines of JSON) or not; an OpenAI-shaped answer is read too.

    A base URL with a path beyond `/api` or `/v1` is posted to as it is.
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        base = (endpoint.base_url or "http://localhost:11434").rstrip("/")
        path = URL(base).path.rstrip("/")
        if path in ("", "/v1", "/api"):
            base = f"{base.removesuffix('/v1').removesuffix('/api')}/api/chat"
        self._url = URL(base)
        self._openai = base.endswith("/chat/completions")
        self._headers, self._secrets = openai_headers(endpoint, "authorization")

    def generate(self, request: Request) -> AsyncIterator[Chunk]:
        return wires.call(self, self._http, request)

    def url(self, request: Request) -> URL:
        return self._url

    def body(self, request: Request) -> bytes:
        return json_bytes(openai_body(request) if self._openai else body_of(request))

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        return self._headers, self._secrets

    def reading(self, request: Request, content_type: str) -> wires.Reading | None:
        if content_type.startswith("text/event-stream"):
            return openai_chat.Reading()
        return Reading() if request.stream and not is_json(content_type) else None

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        if isinstance(data, dict) and "choices" in data:
            return openai_chat.answer(data, reply)
        return answer(data, reply)


def openai_body(request: Request) -> dict[str, Json]:
    """The body for a server that speaks OpenAI's format at the URL given."""
    body: dict[str, Json] = {"model": request.model, "messages": request.messages, **request.params}
    if request.tools:
        body["tools"] = request.tools
    if request.response_format is not None:
        body["response_format"] = request.response_format
    body["stream"] = request.stream
    return body


def body_of(request: Request) -> dict[str, Json]:
    """The body for `/api/chat`: parameters of the model go under `options`."""
    body: dict[str, Json] = {
        "model": request.model,
        "messages": _messages(request.messages),
        "stream": request.stream,
    }
    options = dict(fields.dict_of(request.params.get("options")))
    for name, value in request.params.items():
        if name == "stop":
            options["stop"] = [value] if isinstance(value, str) else value
        elif name == "reasoning_effort":
            body["think"] = value
        elif name not in _TOP:
            options[_OPTIONS.get(name, name)] = value
        elif name != "options":
            body[name] = value
    if options:
        body["options"] = options
    if request.tools:
        body["tools"] = request.tools
    if schema := fields.json_schema_of(request.response_format):
        body["format"] = schema[1] or "json"
    return body


def _messages(messages: Sequence[Message]) -> list[Json]:
    names = fields.tool_names(messages)
    result: list[Json] = []
    for message in messages:
        sent: dict[str, Any] = {
            "role": message.get("role"),
            "content": fields.plain_text(message.get("content")),
        }
        images = [
            p for p in fields.parts_of(message.get("content")) if p.data is not None or p.url is not None
        ]
        if images:
            sent["images"] = [part.data or part.url for part in images]
        if message.get("role") == "tool":
            sent["tool_name"] = message.get("name") or names.get(
                fields.text_of(message.get("tool_call_id")), ""
            )
        if calls := fields.list_of(message.get("tool_calls")):
            sent["tool_calls"] = [
                {
                    "function": {
                        "name": fields.dict_of(call.get("function")).get("name"),
                        "arguments": fields.arguments_of(call),
                    }
                }
                for call in calls
            ]
        result.append(sent)
    return result


def _tool_calls(message: dict[str, Any], start: int = 0) -> list[Json]:
    """Calls in the OpenAI shape; Ollama gives no ids, so they are numbered."""
    calls: list[Json] = []
    for call in map(fields.dict_of, fields.list_of(message.get("tool_calls"))):
        function = fields.dict_of(call.get("function"))
        call_id = fields.text_of(call.get("id")) or f"call_{start + len(calls)}"
        calls.append(fields.tool_call(call_id, function.get("name"), function.get("arguments")))
    return calls


def _last(data: dict[str, Any], calls: list[Json], thoughts: str, reply: Arrived, text: str) -> Chunk:
    usage = Usage(
        input_tokens=fields.token_count(data.get("prompt_eval_count")),
        output_tokens=fields.token_count(data.get("eval_count")),
    )
    finish = fields.finish_reason(data.get("done_reason"))
    return Chunk(
        text=text,
        tool_calls=tuple(calls) or None,
        finish_reason="tool_calls" if calls and finish == "stop" else finish,
        usage=fields.usage_or_none(usage),
        model=fields.text_of(data.get("model")) or None,
        request_id=reply.request_id,
        received_s=reply.received_s,
        sent_s=reply.sent_s,
        metadata={"reasoning": thoughts} if thoughts else {},
    )


def answer(data: Json, reply: Arrived) -> Chunk:
    """The whole answer in one chunk."""
    if isinstance(data, dict) and data.get("error"):
        raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(message, dict):
        raise protocol_error("the answer has neither message nor choices", request_id=reply.request_id)
    thoughts = fields.text_of(message.get("thinking"))
    return _last(data, _tool_calls(message), thoughts, reply, fields.text_of(message.get("content")))


class Reading:
    """The stream of lines; keeps what it has said so far besides text."""

    __slots__ = ("_calls", "_last", "_spoke", "_thoughts", "outputs")
    by_line = True

    def __init__(self) -> None:
        self._calls: list[Json] = []
        self._last: dict[str, Any] | None = None
        self._spoke = False
        self._thoughts: list[str] = []
        self.outputs = 0

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one line; all else is kept here."""
        line = parse_json(data, request_id=reply.request_id)
        if not isinstance(line, dict):
            raise protocol_error("a line of the stream is not an object", request_id=reply.request_id)
        if line.get("error"):
            raise failure_in_body(line, secrets=reply.secrets, request_id=reply.request_id)
        message = fields.dict_of(line.get("message"))
        self._spoke = self._spoke or bool(message)
        text = fields.text_of(message.get("content"))
        thought = fields.text_of(message.get("thinking"))
        calls = _tool_calls(message, len(self._calls))
        self._thoughts.append(thought)
        self._calls += calls
        if text or thought or calls:
            self.outputs += 1
        if line.get("done"):
            self._last = line
        return text

    def last(self, reply: Arrived) -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: The stream ended before a message and `"done": true`.
        """
        if self._last is None or not self._spoke:
            raise protocol_error(
                'the stream ended before a message and "done": true', request_id=reply.request_id
            )
        return _last(self._last, self._calls, "".join(self._thoughts), reply, "")
