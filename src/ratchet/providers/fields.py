"""Fields of answers and messages, read with suspicion and brought into one shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ratchet.errors import ProviderError
from ratchet.ports import Usage
from ratchet.records import Json, Message

_FINISH: dict[str, str] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "completed": "stop",
    "complete": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "language": "content_filter",
}


def finish_reason(value: object) -> str | None:
    """ "stop", "length", "tool_calls" or "content_filter"; a word not known stays as it is."""
    if not isinstance(value, str) or not value:
        return None
    return _FINISH.get(value) or _FINISH.get(value.lower(), value)


def text_of(value: object) -> str:
    """`value` if it is text, else nothing: servers send null, numbers and lists where text belongs."""
    return value if isinstance(value, str) else ""


def dict_of(value: object) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def token_count(value: object) -> int | None:
    """`value` if it can be a number of tokens, else None."""
    if type(value) is int and 0 <= value < 2**53:
        return value
    if isinstance(value, float) and 0 <= value < 2**53 and value.is_integer():
        return int(value)
    return None


def total(*counts: int | None) -> int | None:
    """The sum of those that are known; None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def usage_or_none(usage: Usage) -> Usage | None:
    """None instead of a usage that says nothing."""
    return None if usage == Usage() else usage


def tool_call(call_id: object, name: object, arguments: object) -> dict[str, Any]:
    """A tool call in the OpenAI shape; arguments that are not text become JSON text."""
    if not isinstance(arguments, str):
        arguments = orjson.dumps({} if arguments is None else arguments).decode()
    function = {"name": text_of(name), "arguments": arguments}
    return {"id": text_of(call_id), "type": "function", "function": function}


def arguments_of(call: Mapping[str, Any]) -> Json:
    """The arguments of a tool call as a value; text that is no JSON object stays under "arguments"."""
    text = dict_of(call.get("function")).get("arguments")
    if isinstance(text, dict):
        return text
    try:
        value = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"arguments": text}


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message's content: text, or an image (or other file)."""

    text: str | None = None
    url: str | None = None
    media_type: str | None = None
    data: str | None = None
    """Base64, from a `data:` URL."""
    other: Json = None
    """A part of a vendor's own shape: it passes as it is."""


def parts_of(content: Json) -> Iterator[Part]:
    """The parts of a message's `content`: text, or OpenAI's list of `text`, `image_url`, `input_audio`, `file`."""
    if content is None:
        return
    if not isinstance(content, list):
        yield Part(text=content if isinstance(content, str) else orjson.dumps(content).decode())
        return
    for item in content:
        yield _part(item)


def _part(item: Json) -> Part:
    if isinstance(item, str):
        return Part(text=item)
    if not isinstance(item, dict):
        return Part(text=str(item))
    kind = item.get("type")
    if kind in ("text", "input_text", "output_text") and isinstance(item.get("text"), str) and len(item) <= 2:
        return Part(text=item["text"])
    if kind in ("image_url", "input_image"):
        image = item.get("image_url")
        return _from_url(text_of(image.get("url") if isinstance(image, dict) else image))
    if kind == "input_audio":
        audio = dict_of(item.get("input_audio"))
        return Part(
            media_type=f"audio/{text_of(audio.get('format')) or 'wav'}", data=text_of(audio.get("data"))
        )
    if kind == "file" and isinstance(dict_of(item.get("file")).get("file_data"), str):
        return _from_url(item["file"]["file_data"])
    return Part(other=item)


def _from_url(url: str) -> Part:
    if not url.startswith("data:"):
        return Part(url=url)
    head, _, data = url[5:].partition(",")
    if not head.endswith(";base64"):
        raise ProviderError(
            f"an image's data URL must be base64, as in data:image/png;base64,…; got {url[:40]!r}",
            kind="bad_request",
        )
    return Part(media_type=head.removesuffix(";base64").partition(";")[0] or "image/png", data=data)


def plain_text(content: Json) -> str:
    """The text of a message's content, parts joined by line ends."""
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in parts_of(content) if part.text is not None)


def split_system(messages: Sequence[Message]) -> tuple[list[Json], list[Message]]:
    """(contents of the system and developer messages, the other messages)."""
    system = [m.get("content") for m in messages if m.get("role") in ("system", "developer")]
    return system, [m for m in messages if m.get("role") not in ("system", "developer")]


def by_role(messages: Sequence[Message]) -> Iterator[tuple[str, list[Message]]]:
    """Neighbouring messages of one side together: wires that want turns to alternate. Roles: user, assistant."""
    for role, group in itertools.groupby(
        messages, key=lambda m: "assistant" if m.get("role") == "assistant" else "user"
    ):
        yield role, list(group)


def tool_names(messages: Sequence[Message]) -> dict[str, str]:
    """The name of the tool behind each call id in these messages."""
    return {
        text_of(call.get("id")): text_of(dict_of(call.get("function")).get("name"))
        for message in messages
        for call in list_of(message.get("tool_calls"))
        if isinstance(call, dict)
    }


def functions_of(tools: Sequence[Json]) -> Iterator[tuple[dict[str, Any] | None, Json]]:
    """(the function of an OpenAI tool, None) or (None, a tool of the vendor's own shape, passed as it is)."""
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        yield (function, None) if isinstance(function, dict) else (None, tool)


def json_schema_of(response_format: Json) -> tuple[str, dict[str, Any]] | None:
    """(name, schema) of a `json_schema` response format; ("", {}) of `json_object`; None of text or none."""
    data = dict_of(response_format)
    if data.get("type") == "json_schema":
        inner = dict_of(data.get("json_schema"))
        return text_of(inner.get("name")) or "answer", dict_of(inner.get("schema"))
    return ("", {}) if data.get("type") == "json_object" else None


def chosen_tool(choice: Json) -> str | None:
    """The name in OpenAI's `tool_choice: {"type": "function", "function": {"name": …}}`."""
    name = dict_of(dict_of(choice).get("function")).get("name")
    return name if isinstance(name, str) else None
