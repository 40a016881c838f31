"""Faults on demand: which request goes wrong, and how.

A spec is `KIND[:WHEN][,OPTION=VALUE]…`, as in `429:0.1`, `429:every=3,retry=date,after=5`, `cut:every=7`,
`hang:0.01`, `500:first=2,model=champion`. The same after a `+` in a model's name (`gpt-4o+cut`) or in the header
`x-ratchet-fault` hits that request alone.
"""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet.errors import ConfigError, UnknownNameError

HEADER = "x-ratchet-fault"

STATUSES: Mapping[int, str] = {
    400: "The request is invalid.",
    401: "Incorrect API key provided.",
    403: "You are not allowed to use this model.",
    404: "The model does not exist or you do not have access to it.",
    408: "The request timed out.",
    409: "The request conflicts with another.",
    413: "The request is too large.",
    422: "The request could not be processed.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "The request timed out upstream.",
    529: "Overloaded.",
}
KINDS: Mapping[str, str] = {
    "hang": "never answers; the connection stays open",
    "drop": "closes the connection instead of answering",
    "drip": "sends the answer in small pieces, `gap` seconds apart (0.2)",
    "cut": "closes the connection in the middle of the answer",
    "malformed": "answers with broken JSON, or a broken event in the middle of a stream",
    "malformed_json": "the same, for answers that are not streamed",
    "malformed_sse": "the same, for streams",
    "html": "answers 502 with an HTML page, as proxies do",
    "error_event": "reports an error in the middle of a stream; 500 without streaming",
    "empty": "answers without any choice or content",
    "wrong_usage": "reports token counts `factor` times the true ones (10); 0 leaves them at zero",
    "refusal": "refuses to answer, as models do",
    "content_filter": "ends with the finish reason of a content filter",
    "close": "closes the connection after the answer without saying so",
}
RETRIES = ("none", "seconds", "date", "ms", "reset", "info")
_WHEN = ("every", "first", "at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to go wrong, and when."""

    kind: str
    """A status code as text, or one of `KINDS`."""
    probability: float = 1.0
    every: int | None = None
    """Each request whose number (from 1) this divides."""
    first: int | None = None
    """Only the first so many requests."""
    at: int | None = None
    """Only the request of this number."""
    retry: str = "seconds"
    """How a refusal says when to come back: one of `RETRIES`."""
    after_s: float = 1.0
    gap_s: float = 0.2
    factor: float = 10.0
    wire: str | None = None
    model: str | None = None

    @property
    def status(self) -> int | None:
        return int(self.kind) if self.kind.isdigit() else None


def parse_fault(spec: str) -> Fault:
    """The fault that a spec names.

    Raises:
        UnknownNameError: No such kind of fault.
        ConfigError: A part of it can't be read.
    """
    head, *options = (part.strip() for part in spec.split(","))
    kind, colon, when = head.partition(":")
    kind = kind.strip().replace("-", "_")
    if kind not in KINDS and not (kind.isdigit() and int(kind) in STATUSES):
        raise UnknownNameError("fault", kind, [*map(str, STATUSES), *KINDS])
    values: dict[str, Any] = {}
    if colon:
        values |= _when(when.strip(), spec)
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"{option!r} is not an option; expected name=value", key=f"fault {spec!r}")
        values |= _option(name.strip(), value.strip(), spec)
    return Fault(kind=kind, **values)


def _when(text: str, spec: str) -> dict[str, Any]:
    name, equals, value = text.partition("=")
    if equals and name in _WHEN:
        return {name: _whole(value, spec)}
    if not equals:
        chance = _number(text, spec)
        if 0 <= chance <= 1:
            return {"probability": chance}
    raise ConfigError(
        f"{text!r} does not say when; expected a probability (0.1), every=N, first=N or at=N",
        key=f"fault {spec!r}",
    )


def _option(name: str, value: str, spec: str) -> dict[str, Any]:
    if name in _WHEN:
        return {name: _whole(value, spec)}
    if name in ("after", "gap", "factor"):
        return {name if name == "factor" else f"{name}_s": _number(value, spec)}
    if name in ("wire", "model"):
        return {name: value}
    if name == "retry":
        if value not in RETRIES:
            raise UnknownNameError("way to say Retry-After", value, RETRIES)
        return {name: value}
    raise UnknownNameError(
        "option of a fault", name, ["retry", "after", "gap", "factor", "wire", "model", *_WHEN]
    )


def _whole(text: str, spec: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ConfigError(f"{text!r} is not a whole number from 1", key=f"fault {spec!r}")
    return int(text)


def _number(text: str, spec: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{text!r} is not a number, 0 or more", key=f"fault {spec!r}")
    return value


class FaultPlan:
    """Decides for each request. Of several faults that hit, the first named counts."""

    def __init__(self, faults: Sequence[Fault | str] = (), *, seed: int = 0) -> None:
        self.faults = tuple(parse_fault(each) if isinstance(each, str) else each for each in faults)
        self.seed = seed

    def draw(self, number: int, wire: str, model: str, key: str) -> Fault | None:
        """The fault of one request, or None.

        Args:
            number: Of the request on this server, from 1; `every`, `first` and `at` count it.
            key: Names the request and which call of it this is; chance depends on nothing else, so that a rerun
                in another order meets the same faults.
        """
        for index, fault in enumerate(self.faults):
            if fault.wire not in (None, wire) or fault.model not in (None, model):
                continue
            if fault.every is not None and number % fault.every:
                continue
            if (fault.first is not None and number > fault.first) or (fault.at or number) != number:
                continue
            if fault.probability < 1 and (
                random.Random(f"{self.seed}/{index}/{key}").random() >= fault.probability
            ):
                continue
            return fault
        return None


def split_model(name: str) -> tuple[str, Fault | None]:
    """A model's name without the fault it carries after a `+`, and that fault.

    A `+` followed by anything else belongs to the name.
    """
    base, plus, spec = name.rpartition("+")
    if not plus or not base:
        return name, None
    try:
        return base, parse_fault(spec)
    except (ConfigError, UnknownNameError):
        return name, None


def retry_headers(retry: str, after_s: float) -> dict[str, str]:
    """The headers that say when to come back; "info" says it in the body instead."""
    if retry == "seconds":
        return {"retry-after": str(max(0, math.ceil(after_s)))}
    if retry == "date":
        return {"retry-after": email.utils.formatdate(time.time() + after_s, usegmt=True)}
    if retry == "ms":
        return {"retry-after-ms": str(round(after_s * 1000))}
    if retry == "reset":
        reset = f"{after_s:g}s"
        return {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": reset,
            "x-ratelimit-reset-tokens": reset,
        }
    return {}


def spoil_json(data: bytes) -> bytes:
    """The first part of a body: no longer JSON."""
    return data[: max(1, len(data) * 3 // 5)]


def spoil_event(data: bytes, content_type: str) -> bytes:
    """An event that can't be read: half of its text, or for binary frames a wrong checksum."""
    if "vnd.amazon.eventstream" in content_type:
        return data[:-1] + bytes([data[-1] ^ 0xFF])
    text = data.rstrip(b"\r\n")
    return text[: max(1, len(text) * 3 // 5)] + data[len(text) :]


def known_faults() -> list[tuple[str, str]]:
    """(kind, what it does) of every fault."""
    statuses = [(str(status), f"answers {status}") for status in STATUSES]
    return [*statuses, *KINDS.items()]
