"""AWS Bedrock: Converse and ConverseStream. Signing and event framing are botocore's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from yarl import URL

from ratchet.errors import ConfigError, MissingExtraError, MissingKeyError, ProviderError
from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields, is_local
from ratchet.providers.failures import failure_in_body, protocol_error
from ratchet.providers.headers import make_headers
from ratchet.providers.http import Http, Reply, json_bytes, parse_json
from ratchet.providers.wires import is_json
from ratchet.records import Json, Message

_INFERENCE = {
    "max_tokens": "maxTokens",
    "max_completion_tokens": "maxTokens",
    "maxTokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "topP": "topP",
    "stop": "stopSequences",
    "stopSequences": "stopSequences",
    "stop_sequences": "stopSequences",
}
# fields of the request itself, by their own names
_TOP = frozenset(
    {"guardrailConfig", "performanceConfig", "requestMetadata", "serviceTier", "outputConfig", "promptVariables",
     "additionalModelResponseFieldPaths", "toolConfig"}
)  # fmt: skip
CREDENTIAL_VARIABLES = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE")


class Bedrock:
    """Converse, streaming or not.

    Options: `region`, `profile`, `headers`. Credentials: AWS_BEARER_TOKEN_BEDROCK, else whatever botocore finds.

    Raises:
        MissingExtraError: botocore is not installed and is needed.
        MissingKeyError: There are no credentials.
    """

    def __init__(self, *, endpoint: Endpoint, http: Http) -> None:
        self._http = http
        self._headers, self._secrets = make_headers(endpoint, key_header="authorization")
        self._credentials: Any = None
        local = is_local(endpoint.base_url)
        region = endpoint.options.get("region")
        # asking botocore in vain costs seconds; a server on this machine checks no signature
        if endpoint.api_key is None and (
            not local or os.environ.get("AWS_ACCESS_KEY_ID") or endpoint.options.get("profile")
        ):
            session = _session(endpoint.options.get("profile"))
            self._credentials = session.get_credentials()
            region = region or session.get_config_variable("region")
            if self._credentials is None:
                raise MissingKeyError(
                    f"there are no AWS credentials for Bedrock: set {' or '.join(CREDENTIAL_VARIABLES)}",
                    variables=CREDENTIAL_VARIABLES,
                )
        self._region = str(region or ("us-east-1" if local else ""))
        if not self._region:
            raise ConfigError("Bedrock needs a region: set AWS_REGION, or options: {region: us-east-1}")
        suffix = ".cn" if self._region.startswith("cn-") else ""
        host = f"https://bedrock-runtime.{self._region}.amazonaws.com{suffix}"
        self._base = (endpoint.base_url or host).rstrip("/")

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        method = "converse-stream" if request.stream else "converse"
        url = f"{self._base}/model/{quote(request.model, safe='')}/{method}"
        body = json_bytes(body_of(request))
        headers, secrets = self._headers, self._secrets
        if self._credentials is not None:
            headers, secrets = await self._signed(url, body)
        reply = await self._http.post(
            URL(url, encoded=True), body, headers, connect_s=request.connect_s, secrets=secrets
        )
        async with reply:
            if request.stream and not is_json(reply.headers.get("content-type", "")):
                async for chunk in stream(reply, secrets):
                    yield chunk
            else:
                yield answer(await reply.json(), reply, secrets)

    async def _signed(self, url: str, body: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        try:
            # temporary credentials are renewed over the network when they are about to end
            if getattr(self._credentials, "refresh_needed", lambda: False)():
                frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
            else:
                frozen = self._credentials.get_frozen_credentials()
            request = AWSRequest(method="POST", url=url, data=body, headers=dict(self._headers))
            SigV4Auth(frozen, "bedrock", self._region).add_auth(request)
        except BotoCoreError as error:
            raise ProviderError(f"the call could not be signed: {error}", kind="auth") from None
        secrets = tuple(secret for secret in (frozen.access_key, frozen.secret_key, frozen.token) if secret)
        secrets += self._secrets
        return dict(request.headers.items()), secrets


def _session(profile: Json) -> Any:
    try:
        import botocore.session
    except ModuleNotFoundError:
        raise MissingExtraError("Bedrock with AWS credentials", "bedrock") from None
    from botocore.exceptions import ProfileNotFound

    session = botocore.session.Session(profile=str(profile) if profile else None)
    try:
        session.get_scoped_config()
    except ProfileNotFound as error:
        raise ConfigError(f"{error}; set AWS_PROFILE or options: {{profile: …}} to one that exists") from None
    return session


def body_of(request: Request) -> dict[str, Json]:
    """The request's body: known parameters in `inferenceConfig`, others in `additionalModelRequestFields`."""
    system, messages = fields.split_system(request.messages)
    params = dict(request.params)
    body: dict[str, Json] = {
        "messages": [{"role": role, "content": _turn(group)} for role, group in fields.by_role(messages)]
    }
    if system:
        body["system"] = [block for content in system for block in _blocks(content)]
    choice = params.pop("tool_choice", None)
    if request.tools and choice != "none":
        body["toolConfig"] = _tool_config(request.tools, choice)
    output: dict[str, Json] = {}
    if (effort := params.pop("reasoning_effort", None)) is not None:
        output["effort"] = effort
    if (schema := fields.json_schema_of(request.response_format)) and schema[0]:
        structure = {"jsonSchema": {"schema": json_bytes(schema[1]).decode(), "name": schema[0]}}
        output["textFormat"] = {"type": "json_schema", "structure": structure}
    if output:
        body["outputConfig"] = output
    inference = dict(fields.dict_of(params.pop("inferenceConfig", None)))
    additional = dict(fields.dict_of(params.pop("additionalModelRequestFields", None)))
    for name, value in params.items():
        if known := _INFERENCE.get(name):
            inference[known] = [value] if known == "stopSequences" and isinstance(value, str) else value
        elif name in _TOP:
            body[name] = value
        else:
            additional[name] = value
    if inference:
        body["inferenceConfig"] = inference
    if additional:
        body["additionalModelRequestFields"] = additional
    return body


def _tool_config(tools: Sequence[Json], choice: Json) -> Json:
    specs: list[Json] = []
    for function, other in fields.functions_of(tools):
        if function is None:
            specs.append(other)
            continue
        spec = {
            "name": function.get("name"),
            "inputSchema": {"json": function.get("parameters") or {"type": "object"}},
        }
        if function.get("description"):
            spec["description"] = function["description"]
        if function.get("strict"):
            spec["strict"] = True
        specs.append({"toolSpec": spec})
    config: dict[str, Json] = {"tools": specs}
    if name := fields.chosen_tool(choice):
        config["toolChoice"] = {"tool": {"name": name}}
    elif isinstance(choice, str):
        config["toolChoice"] = {{"required": "any"}.get(choice, choice): {}}
    elif choice is not None:
        config["toolChoice"] = choice
    return config


def _turn(messages: Sequence[Message]) -> list[Json]:
    blocks: list[Json] = []
    for message in messages:
        if message.get("role") == "tool":
            content = _blocks(message.get("content"))
            blocks.append({"toolResult": {"toolUseId": message.get("tool_call_id"), "content": content}})
            continue
        blocks += _blocks(message.get("content"))
        for call in fields.list_of(message.get("tool_calls")):
            name = fields.dict_of(call.get("function")).get("name")
            use = {"toolUseId": call.get("id"), "name": name, "input": fields.arguments_of(call)}
            blocks.append({"toolUse": use})
    return blocks


def _blocks(content: Json) -> list[Json]:
    blocks: list[Json] = []
    for part in fields.parts_of(content):
        if part.other is not None:
            blocks.append(part.other)
        elif part.text is not None:
            if part.text:  # the API refuses empty text
                blocks.append({"text": part.text})
        elif part.url is not None:
            if not part.url.startswith("s3://"):
                raise ProviderError(
                    "Bedrock takes images as data URLs or s3:// locations, not by http(s) URL",
                    kind="bad_request",
                )
            form = part.url.rpartition(".")[2].lower().replace("jpg", "jpeg")
            blocks.append({"image": {"format": form, "source": {"s3Location": {"uri": part.url}}}})
        else:
            family, _, form = (part.media_type or "image/png").partition("/")
            source = {"bytes": part.data}
            if family == "application":
                blocks.append({"document": {"format": form, "name": "document", "source": source}})
            else:
                blocks.append({family: {"format": form.replace("jpg", "jpeg"), "source": source}})
    return blocks


def usage_of(data: Mapping[str, Any]) -> Usage | None:
    """Bedrock counts cached input apart from `inputTokens`: here it is included."""
    read = fields.token_count(data.get("cacheReadInputTokens"))
    written = fields.token_count(data.get("cacheWriteInputTokens"))
    plain = fields.token_count(data.get("inputTokens"))
    usage = Usage(
        input_tokens=fields.total(plain, read, written) if plain is not None else None,
        output_tokens=fields.token_count(data.get("outputTokens")),
        cached_tokens=read,
        cache_write_tokens=written,
    )
    return fields.usage_or_none(usage)


def answer(data: Json, reply: Reply, secrets: tuple[str, ...]) -> Chunk:
    """The whole answer in one chunk."""
    message = fields.dict_of(fields.dict_of(data).get("output")).get("message")
    if not isinstance(message, dict):
        if isinstance(data, dict) and fields.text_of(data.get("message")):
            raise failure_in_body(data, secrets=secrets, request_id=reply.request_id)
        raise protocol_error("the answer has no output.message", request_id=reply.request_id)
    gathered = _Gathered()
    gathered.stop_reason = fields.text_of(data.get("stopReason"))
    gathered.usage = fields.dict_of(data.get("usage"))
    texts: list[str] = []
    for index, block in enumerate(map(fields.dict_of, fields.list_of(message.get("content")))):
        texts.append(fields.text_of(block.get("text")))
        if use := fields.dict_of(block.get("toolUse")):
            gathered.calls[index] = {**use, "json": []}
        thought = fields.dict_of(fields.dict_of(block.get("reasoningContent")).get("reasoningText"))
        gathered.thoughts.append(fields.text_of(thought.get("text")))
    return gathered.last(reply, "".join(texts))


class _Gathered:
    """What the answer has said so far besides text."""

    __slots__ = ("calls", "stop_reason", "thoughts", "usage")

    def __init__(self) -> None:
        self.calls: dict[int, dict[str, Any]] = {}
        self.stop_reason = ""
        self.thoughts: list[str] = []
        self.usage: dict[str, Any] = {}

    def add(self, kind: str, data: dict[str, Any]) -> str:
        """The text in one event; all else is kept here."""
        index = data.get("contentBlockIndex")
        index = index if isinstance(index, int) else 0
        if kind == "contentBlockDelta":
            delta = fields.dict_of(data.get("delta"))
            use = fields.dict_of(delta.get("toolUse"))
            if use and index in self.calls:
                self.calls[index]["json"].append(fields.text_of(use.get("input")))
            self.thoughts.append(fields.text_of(fields.dict_of(delta.get("reasoningContent")).get("text")))
            return fields.text_of(delta.get("text"))
        if kind == "contentBlockStart":
            if use := fields.dict_of(fields.dict_of(data.get("start")).get("toolUse")):
                self.calls[index] = {**use, "json": []}
        elif kind == "messageStop":
            self.stop_reason = fields.text_of(data.get("stopReason"))
        elif kind == "metadata":
            self.usage = fields.dict_of(data.get("usage"))
        return ""

    def last(self, reply: Reply, text: str = "") -> Chunk:
        calls = [
            fields.tool_call(use.get("toolUseId"), use.get("name"), "".join(use["json"]) or use.get("input"))
            for _, use in sorted(self.calls.items())
        ]
        finish = fields.finish_reason(self.stop_reason)
        thoughts = "".join(self.thoughts)
        return Chunk(
            text=text,
            tool_calls=tuple(calls) or None,
            refusal=f"blocked: {self.stop_reason}" if finish == "content_filter" else None,
            finish_reason=finish,
            usage=usage_of(self.usage),
            request_id=reply.request_id,
            received_s=reply.received_s,
            sent_s=reply.sent_s,
            metadata={"reasoning": thoughts} if thoughts else {},
        )


async def stream(reply: Reply, secrets: tuple[str, ...]) -> AsyncIterator[Chunk]:
    """The answer as it arrives: a chunk for the text of each arrival, then one with all else."""
    try:
        from botocore.eventstream import EventStreamBuffer, ParserError
    except ModuleNotFoundError:
        raise MissingExtraError("streaming from Bedrock", "bedrock") from None

    buffer = EventStreamBuffer()
    gathered = _Gathered()
    first = True
    async for piece in reply.pieces():
        buffer.add_data(piece)
        texts: list[str] = []
        try:
            for message in buffer:
                kind = _event_kind(message.headers, message.payload, reply, secrets)
                data = parse_json(message.payload, request_id=reply.request_id) if message.payload else {}
                texts.append(gathered.add(kind, fields.dict_of(data)))
        except ParserError as error:
            raise protocol_error(
                f"the event stream is damaged: {error}", request_id=reply.request_id
            ) from None
        if any(texts):
            sent_s = reply.sent_s if first else None
            first = False
            yield Chunk(text="".join(texts), received_s=reply.received_s, sent_s=sent_s)
    if not gathered.stop_reason:
        raise protocol_error("the stream ended before messageStop", request_id=reply.request_id)
    yield gathered.last(reply)


def _event_kind(headers: Mapping[str, Any], payload: bytes, reply: Reply, secrets: tuple[str, ...]) -> str:
    kind = headers.get(":message-type")
    if kind == "event":
        return str(headers.get(":event-type", ""))
    if kind == "error":
        error = {"code": headers.get(":error-code"), "message": headers.get(":error-message")}
    else:
        said = fields.dict_of(parse_json(payload, request_id=reply.request_id)) if payload else {}
        message = said.get("message") or said.get("Message") or said.get("originalMessage")
        error = {"code": headers.get(":exception-type"), "message": message}
    raise failure_in_body({"error": error}, secrets=secrets, request_id=reply.request_id)
