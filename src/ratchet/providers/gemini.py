"""Google Gemini: with an API key, or on Vertex with a bearer token."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from yarl import URL

from ratchet.errors import ConfigError
from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, is_local, wires
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.google_tokens import GoogleTokens
from ratchet.providers.headers import make_headers
from ratchet.providers.http import Http, json_bytes, parse_json
from ratchet.providers.wires import Arrived, is_json
from ratchet.records import Json, Message

_NAMES = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
_TOP = frozenset({"safetySettings", "toolConfig", "cachedContent", "labels", "systemInstruction", "tools"})


class Gemini:
    """generateContent and streamGenerateContent.

    Options: `headers`, `api_version`; for Vertex also `project` and `location`. Vertex takes the token in
    VERTEX_ACCESS_TOKEN or GOOGLE_OAUTH_ACCESS_TOKEN (or `api_key_env`), else asks google-auth or gcloud.
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        vertex = endpoint.provider == "vertex"
        key_header = "authorization" if vertex else "x-goog-api-key"
        self._headers, self._secrets = make_headers(endpoint, key_header=key_header)
        self._tokens: GoogleTokens | None = None
        if vertex:
            self._prefix = _vertex_prefix(endpoint)
            if endpoint.api_key is None and not is_local(endpoint.base_url):
                self._tokens = GoogleTokens()
        else:
            base = (endpoint.base_url or "https://generativelanguage.googleapis.com").rstrip("/")
            if not re.search(r"/v\d\w*$", base):
                base += f"/{endpoint.options.get('api_version') or 'v1beta'}"
            self._prefix = base
        self._vertex = vertex

    def generate(self, request: Request) -> AsyncIterator[Chunk]:
        return wires.call(self, self._http, request)

    def body(self, request: Request) -> bytes:
        return json_bytes(body_of(request))

    async def headers(self) -> tuple[Mapping[str, str], tuple[str, ...]]:
        if self._tokens is None:
            return self._headers, self._secrets
        token = await self._tokens.token()
        return {**self._headers, "Authorization": f"Bearer {token}"}, (*self._secrets, token)

    def reading(self, request: Request, content_type: str) -> Reading | None:
        return Reading() if request.stream and not is_json(content_type) else None

    def answer(self, data: Json, request: Request, reply: Arrived) -> Chunk:
        reading = Reading()
        texts = [reading.add_json(piece, reply) for piece in (data if isinstance(data, list) else [data])]
        return reading.last(reply, "".join(texts))

    def url(self, request: Request) -> URL:
        method = "streamGenerateContent" if request.stream else "generateContent"
        url = f"{self._prefix}/{_model_path(request.model, self._vertex)}:{method}"
        return URL(f"{url}?alt=sse" if request.stream else url, encoded=True)


def _vertex_prefix(endpoint: Endpoint) -> str:
    options, local = endpoint.options, is_local(endpoint.base_url)
    location = str(options.get("location") or "global")
    project = options.get("project") or ("local" if local else None)
    if not project:
        raise ConfigError(
            "Vertex needs a Google Cloud project: set VERTEX_AI_GCP_PROJECT (or GOOGLE_CLOUD_PROJECT), "
            "or options: {project: …}"
        )
    if endpoint.base_url:
        base = endpoint.base_url.rstrip("/")
    elif location == "global":
        base = "https://aiplatform.googleapis.com"
    elif location in ("us", "eu"):
        base = f"https://aiplatform.{location}.rep.googleapis.com"
    else:
        base = f"https://{quote(location, safe='')}-aiplatform.googleapis.com"
    if not re.search(r"/v\d\w*$", base):
        base += f"/{options.get('api_version') or 'v1'}"
    return f"{base}/projects/{quote(str(project), safe='')}/locations/{quote(location, safe='')}"


def _model_path(model: str, vertex: bool) -> str:
    name = quote(model, safe="/-._@")
    if name.startswith(("models/", "tunedModels/", "publishers/", "endpoints/")):
        return f"publishers/google/{name}" if vertex and name.startswith("models/") else name
    if not vertex:
        return f"models/{name}"
    publisher, slash, rest = name.partition("/")
    return f"publishers/{publisher}/models/{rest}" if slash else f"publishers/google/models/{name}"


def body_of(request: Request) -> dict[str, Json]:
    """The request's body, parameters in `generationConfig`."""
    system, messages = fields.split_system(request.messages)
    names = fields.tool_names(messages)
    body: dict[str, Json] = {
        "contents": [
            {"role": "model" if role == "assistant" else "user", "parts": _turn(group, names)}
            for role, group in fields.by_role(messages)
        ]
    }
    if system:
        body["systemInstruction"] = {"parts": [part for content in system for part in _parts(content)]}
    config = _generation_config(request, body)
    tools: list[Json] = []
    functions: list[Json] = []
    for function, other in fields.functions_of(request.tools):
        if function is None:
            tools.append(other)
            continue
        declared = {name: function[name] for name in ("name", "description") if function.get(name)}
        if function.get("parameters"):
            declared["parametersJsonSchema"] = function["parameters"]
        functions.append(declared)
    if functions:
        tools.append({"functionDeclarations": functions})
    if tools:
        body["tools"] = tools
    if config:
        body["generationConfig"] = config
    return body


def _generation_config(request: Request, body: dict[str, Json]) -> dict[str, Json]:
    config: dict[str, Json] = {}
    for name, value in request.params.items():
        camel = _NAMES.get(name) or re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
        if name == "stop":
            config["stopSequences"] = [value] if isinstance(value, str) else value
        elif name == "tool_choice":
            body["toolConfig"] = _tool_config(value)
        elif name == "reasoning_effort":
            config["thinkingConfig"] = {"thinkingLevel": value}
        elif camel in _TOP:
            body[camel] = value
        elif camel == "generationConfig":
            config.update(fields.dict_of(value))
        else:
            config[camel] = value
    if schema := fields.json_schema_of(request.response_format):
        config["responseMimeType"] = "application/json"
        if schema[1]:
            config["responseJsonSchema"] = schema[1]
    return config


def _tool_config(choice: Json) -> Json:
    if name := fields.chosen_tool(choice):
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}}
    if isinstance(choice, str):
        mode = {"auto": "AUTO", "none": "NONE", "required": "ANY"}.get(choice, choice)
        return {"functionCallingConfig": {"mode": mode}}
    return choice


def _turn(messages: Sequence[Message], names: Mapping[str, str]) -> list[Json]:
    parts: list[Json] = []
    for message in messages:
        if message.get("role") == "tool":
            call_id = fields.text_of(message.get("tool_call_id"))
            response: dict[str, Any] = {
                "name": message.get("name") or names.get(call_id) or call_id,
                "response": _result(message.get("content")),
            }
            if call_id and not call_id.startswith("call_"):  # our own numbering stays here
                response["id"] = call_id
            parts.append({"functionResponse": response})
            continue
        parts += _parts(message.get("content"))
        for call in fields.list_of(message.get("tool_calls")):
            function = fields.dict_of(call.get("function"))
            part: dict[str, Json] = {
                "functionCall": {"name": function.get("name"), "args": fields.arguments_of(call)}
            }
            google = fields.dict_of(fields.dict_of(call.get("extra_content")).get("google"))
            if google.get("thought_signature"):
                part["thoughtSignature"] = google["thought_signature"]
            parts.append(part)
    return parts


def _result(content: Json) -> Json:
    """A tool's result must be an object."""
    text = fields.plain_text(content)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"result": text}
    return value if isinstance(value, dict) else {"result": value}


def _parts(content: Json) -> list[Json]:
    parts: list[Json] = []
    for part in fields.parts_of(content):
        if part.other is not None:
            parts.append(part.other)
        elif part.text is not None:
            parts.append({"text": part.text})
        elif part.url is not None:
            parts.append({"fileData": {"fileUri": part.url}})
        else:
            parts.append({"inlineData": {"mimeType": part.media_type, "data": part.data}})
    return parts


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    """Gemini counts thoughts apart from the candidates: here output includes them."""
    thoughts = fields.token_count(data.get("thoughtsTokenCount"))
    candidates = fields.token_count(data.get("candidatesTokenCount"))
    prompt = fields.token_count(data.get("promptTokenCount"))
    if candidates is None and prompt is not None and data.get("totalTokenCount") is not None:
        candidates = 0  # left out where nothing was said
    usage = Usage(
        input_tokens=fields.total(prompt, fields.token_count(data.get("toolUsePromptTokenCount"))),
        output_tokens=fields.total(candidates, thoughts),
        cached_tokens=fields.token_count(data.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
    return fields.usage_or_none(usage)


class Reading:
    """The stream of responses; keeps what it has said so far besides text."""

    __slots__ = ("calls", "finish", "model", "outputs", "refusal", "thoughts", "usage")
    by_line = False

    def __init__(self) -> None:
        self.calls: list[Json] = []
        self.finish: str | None = None
        self.model: str | None = None
        self.outputs = 0
        self.refusal: str | None = None
        self.thoughts: list[str] = []
        self.usage: Usage | None = None

    def add(self, name: str, data: bytes, reply: Arrived) -> str:
        """The text in one event; all else is kept here."""
        return self.add_json(parse_json(data, request_id=reply.request_id), reply)

    def add_json(self, data: Json, reply: Arrived) -> str:
        """The text in one response object; all else is kept here."""
        if not isinstance(data, dict):
            raise protocol_error("an answer that is not an object", request_id=reply.request_id)
        if data.get("error"):
            raise failure_in_body(data, secrets=reply.secrets, request_id=reply.request_id)
        self.model = fields.text_of(data.get("modelVersion")) or self.model
        if usage := fields.dict_of(data.get("usageMetadata")):
            self.usage = usage_of(usage) or self.usage
        feedback = fields.dict_of(data.get("promptFeedback"))
        if reason := fields.text_of(feedback.get("blockReason")):
            said = fields.text_of(feedback.get("blockReasonMessage"))
            self.refusal = f"prompt blocked: {reason}{f': {said}' if said else ''}"
            self.finish = "content_filter"
        candidates = fields.list_of(data.get("candidates"))
        candidate = fields.dict_of(candidates[0]) if candidates else {}
        if candidate.get("finishReason"):
            self.finish = fields.finish_reason(candidate["finishReason"])
            if self.finish == "content_filter":
                said = fields.text_of(candidate.get("finishMessage"))
                self.refusal = f"blocked: {candidate['finishReason']}{f': {said}' if said else ''}"
        parts = fields.list_of(fields.dict_of(candidate.get("content")).get("parts"))
        calls, thoughts = len(self.calls), len(self.thoughts)
        text = "".join([self._part(fields.dict_of(part)) for part in parts])
        if text or len(self.calls) > calls or any(self.thoughts[thoughts:]):
            self.outputs += 1
        return text

    def _part(self, part: dict[str, Any]) -> str:
        if call := fields.dict_of(part.get("functionCall")):
            call_id = fields.text_of(call.get("id")) or f"call_{len(self.calls)}"
            made = fields.tool_call(call_id, call.get("name"), call.get("args"))
            if signature := fields.text_of(part.get("thoughtSignature")):
                made["extra_content"] = {"google": {"thought_signature": signature}}
            self.calls.append(made)
        text = fields.text_of(part.get("text"))
        if part.get("thought"):
            self.thoughts.append(text)
            return ""
        return text

    def last(self, reply: Arrived, text: str = "") -> Chunk:
        """The chunk that ends the answer.

        Raises:
            ProviderError: Nothing said that it ended.
        """
        if self.finish is None:
            what = "ended before a finishReason" if text or self.calls or self.usage else "has no candidates"
            raise protocol_error(f"the answer {what}", request_id=reply.request_id)
        return Chunk(
            text=text,
            tool_calls=tuple(self.calls) or None,
            refusal=self.refusal,
            finish_reason="tool_calls" if self.calls and self.finish == "stop" else self.finish,
            usage=self.usage,
            model=self.model,
            request_id=reply.request_id,
            received_s=reply.received_s,
            sent_s=reply.sent_s,
            metadata={"reasoning": "".join(self.thoughts)} if self.thoughts else {},
        )
