"""What a request asks, whatever its wire: the one form that models answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from ratchet.errors import RatchetError
from ratchet.records import Json, Message
from ratchet.simulated.models import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; messages, tools and response format in the OpenAI shape."""

    model: str
    messages: list[Message] = field(default_factory=list[Message])
    params: Mapping[str, Json] = field(default_factory=dict[str, Any])
    tools: tuple[Json, ...] = ()
    response_format: Json = None
    stream: bool = False
    id: str = ""
    """Of the answer: hex digits that differ for each request and are the same in each run."""
    created_s: int = 0
    """Unix time."""
    extras: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """What only this wire needs to answer; `stream_type` replaces the wire's."""
    generates: bool = True
    """False for embeddings: nothing is written, only the time to the first token passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An answer that is an error, before it has its vendor's shape."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after_s: float | None = None
    """For the body, where a vendor says it there."""
    tell_in_body: bool = False


class InvalidRequestError(RatchetError):
    """A request that the vendor would answer with 400 (or with another `status`)."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.status = status


class Wire(Protocol):
    """One vendor's format: no I/O, no state."""

    @property
    def name(self) -> str: ...

    @property
    def stream_type(self) -> str:
        """Content type of a stream."""
        ...

    @property
    def key_headers(self) -> tuple[str, ...]:
        """Where a key may stand; none: no key is ever asked for."""
        ...

    @property
    def required_header(self) -> str:
        """One that every request must carry, or nothing."""
        ...

    @property
    def no_key_status(self) -> int: ...

    @property
    def request_id_header(self) -> str:
        """Where the answer names its request."""
        ...

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        """The call in a body; raises InvalidRequestError.

        Args:
            path: The named parts of the path, and `alt` of the query.
        """
        ...

    def whole(self, call: Call, plan: Plan) -> Json:
        """The body of an answer that is not streamed."""
        ...

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        """(seconds to wait, bytes) of a streamed answer."""
        ...

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        """Body and headers of an error in the vendor's own shape."""
        ...

    def error_event(self, refused: Refused) -> bytes:
        """The same within a stream that has begun."""
        ...


def required(body: Mapping[str, Json], name: str, kind: type) -> Any:
    """`body[name]`, which must be there, be of this kind and not be empty."""
    value = optional(body, name, kind)
    if value is None:
        raise InvalidRequestError(f"Missing required parameter: '{name}'.", param=name)
    if kind in (str, list) and not value:
        raise InvalidRequestError(f"Invalid '{name}': {_kind(value)} without content.", param=name)
    return value


def optional(body: Mapping[str, Json], name: str, kind: type) -> Any:
    """`body[name]` of this kind, or None where it is absent or null."""
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise InvalidRequestError(
            f"Invalid type for '{name}': expected {_kind(kind())}, but got {_kind(value)} instead.",
            param=name,
        )
    return value


def objects(value: Json, name: str) -> list[dict[str, Json]]:
    """The list of objects that this must be."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in cast("list[Json]", value)):
        raise InvalidRequestError(f"Invalid type for '{name}': expected an array of objects.", param=name)
    return cast("list[dict[str, Json]]", value)


def number(body: Mapping[str, Json], name: str, low: float, high: float) -> float | None:
    """`body[name]` within these bounds, or None where it is absent."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidRequestError(
            f"Invalid type for '{name}': expected a decimal, but got {_kind(value)} instead.", param=name
        )
    if not low <= value <= high:
        bound = f">= {low:g}" if value < low else f"<= {high:g}"
        raise InvalidRequestError(f"Invalid '{name}': got {value}, expected a value {bound}.", param=name)
    return value


def _kind(value: Json) -> str:
    kinds = {"str": "a string", "list": "an array", "dict": "an object", "bool": "a boolean"}
    kinds |= {"int": "an integer", "float": "a decimal", "NoneType": "null"}
    return kinds.get(type(value).__name__, type(value).__name__)
