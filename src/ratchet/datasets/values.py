"""What a cell or a JSON value becomes: plain JSON that every format can say, or an error."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from ratchet import codec
from ratchet.errors import CodecError, UnknownNameError
from ratchet.records import Json

MAX_DEPTH = 240
"""Nesting in one row; JSON libraries refuse to write more than 254."""

_TRUE = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_MAYBE_FLOAT = re.compile(rb"[0-9](?:\.0|e)")


def tidy(value: Any, *, nan_is_missing: bool = False, depth: int = 0) -> Json:
    """The value as plain JSON: dates as ISO text, decimals as floats, integers past 64 bits as floats (as orjson
    reads them), durations as seconds, bytes as base64.

    Raises:
        CodecError: It has no JSON form: NaN, half a surrogate pair, nested too deeply.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else _float(value)
    if isinstance(value, (float, decimal.Decimal)):
        return None if nan_is_missing and math.isnan(value) else _float(value)
    if depth > MAX_DEPTH:
        raise CodecError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        made: dict[str, Json] = {}
        for key, item in cast("Mapping[Any, Any]", value).items():
            made[_text(codec._key(key))] = tidy(item, nan_is_missing=nan_is_missing, depth=depth + 1)
        return made
    if isinstance(value, (list, tuple)):
        return [
            tidy(item, nan_is_missing=nan_is_missing, depth=depth + 1) for item in cast("list[Any]", value)
        ]
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, uuid.UUID) else codec.plain(value)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CodecError(f"{value[:40]!r} holds half of a surrogate pair, which is not text") from None
    return value


def _float(value: Any) -> float:
    try:
        number = float(value)
    except (OverflowError, ValueError):
        raise CodecError("a number too large for a float") from None
    if not math.isfinite(number):
        raise CodecError(f"{number} is not a JSON number; use null for a missing value")
    return number


def canonical(value: Json) -> bytes:
    """`codec.canonical`, faster for what is already plain JSON."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return codec.canonical(tidy(value))
    # only floats are written otherwise there
    if _MAYBE_FLOAT.search(data) and _has_float(value):
        return codec.canonical(value)
    return data


def _has_float(value: Json) -> bool:
    kind = type(value)
    if kind is dict:
        return any(_has_float(item) for item in value.values() if type(item) is not str)
    if kind is list:
        return any(_has_float(item) for item in value if type(item) is not str)
    return kind is float


def converter(kind: str) -> Callable[[str], Json]:
    """What turns the text of a cell into this type; empty text is a missing value, but for "str".

    Its ValueError says what was expected.
    """
    try:
        return _CONVERTERS[kind]
    except KeyError:
        raise UnknownNameError("column type", kind, tuple(_CONVERTERS)) from None


def _as_int(text: str) -> Json:
    try:
        return tidy(int(text)) if text.strip() else None
    except ValueError:
        raise ValueError("expected a whole number") from None


def _as_float(text: str) -> Json:
    try:
        return _float(text) if text.strip() else None
    except CodecError:
        raise ValueError("expected a finite number") from None


def _as_bool(text: str) -> Json:
    try:
        return _TRUE[text.strip().lower()] if text.strip() else None
    except KeyError:
        raise ValueError("expected true or false") from None


def _as_json(text: str) -> Json:
    try:
        return tidy(codec.parse(text)) if text.strip() else None
    except CodecError as error:
        raise ValueError(f"expected JSON ({error})") from None


_CONVERTERS: dict[str, Callable[[str], Json]] = {
    "str": lambda text: text,
    "int": _as_int,
    "float": _as_float,
    "bool": _as_bool,
    "json": _as_json,
}
