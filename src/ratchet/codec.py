"""Records to JSON and back, and the ids of content.

Numbers hash as in RFC 8785 (an integral float is its integer), so that the same typed content has the same id
whether it came from JSON, YAML or Parquet.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import math
import os
import random
import re
import time
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union

import orjson

from ratchet.errors import CodecError, did_you_mean
from ratchet.records import Dataset, Example, Json, Prompt, Task, Trace, Variant

Record = TypeVar("Record")

# what the design calls "not identity"; everything else is hashed
_OUTSIDE_IDENTITY: dict[type, frozenset[str]] = {
    Example: frozenset({"id"}),
    Prompt: frozenset({"name", "path"}),
    Variant: frozenset({"function", "api_key_env", "price", "limits"}),
    Task: frozenset({"name"}),
}


def content_id(value: object) -> str:
    """32 hex digits (128 bits of SHA-256) that name this content.

    Args:
        value: A record, or any JSON value.

    Raises:
        CodecError: It holds something JSON can't say (NaN, bytes…), or a variant not yet resolved.
    """
    return hashlib.sha256(canonical(identity(value))).hexdigest()[:32]


def identity(value: object) -> Json:
    """The JSON value whose hash is the content id: a record without the fields that are not identity."""
    if isinstance(value, Dataset):
        return {"dataset": value.id}
    if isinstance(value, Variant):
        _check_resolved(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        outside = _OUTSIDE_IDENTITY.get(type(value), frozenset())
        pairs = (
            (f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if _is_identity(f, outside)
        )
        # an absent field and a field that did not exist yet hash alike, so that a new field keeps old ids
        kept = {
            name: identity(item) for name, item in pairs if item is not None and item != () and item != {}
        }
        return {type(value).__name__: kept}
    if isinstance(value, (list, tuple)):
        return [identity(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): identity(item) for key, item in value.items()}
    return plain(value)


def _is_identity(field: dataclasses.Field[Any], outside: frozenset[str]) -> bool:
    return field.compare and field.name not in outside


def _check_resolved(variant: Variant) -> None:
    if isinstance(variant.prompt, str) or (variant.target and variant.version is None):
        raise CodecError(
            "a variant has no id before its prompt is read and its target found: variants.resolve does it"
        )


def canonical(value: Json) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, integral floats as integers."""
    value = plain(value, numbers=True)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers past 64 bits, lone surrogates
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "surrogatepass")


def plain(value: object, *, numbers: bool = False) -> Json:
    """The value as plain JSON: dates as ISO text, sets as sorted lists, tuples as lists.

    Args:
        numbers: Also write integral floats as integers, for hashing.

    Raises:
        CodecError: NaN, infinity, or a type JSON doesn't have.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CodecError(f"{value} is not a JSON number; use null for a missing value")
        return int(value) if numbers and value.is_integer() else value
    if isinstance(value, Mapping):
        return {_key(key): plain(item, numbers=numbers) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, numbers=numbers) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, numbers=numbers) for item in value), key=str)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    raise CodecError(f"a value of type {type(value).__name__} has no JSON form")


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or key is None or isinstance(key, (int, float, datetime.date)):
        return str(plain(key)) if not isinstance(key, bool) and key is not None else json.dumps(key)
    raise CodecError(f"a key of type {type(key).__name__} has no JSON form")


def dumps(record: object) -> bytes:
    """A record as JSON bytes: every field but functions."""
    if isinstance(record, Trace):
        try:
            return orjson.dumps(record, default=_default)
        except TypeError:
            pass
    return _json_bytes(encode(record))


def encode(record: object) -> Json:
    """A record as a JSON value: every field but functions, absent ones left out."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        pairs = ((f, getattr(record, f.name)) for f in dataclasses.fields(record))
        return {
            f.name: encode(item) for f, item in pairs if item is not None and not callable(item) and f.repr
        }
    if isinstance(record, (list, tuple)):
        return [encode(item) for item in record]
    if isinstance(record, Mapping):
        return {_key(key): encode(item) for key, item in record.items()}
    return plain(record)


def pretty(record: object) -> str:
    """A record as indented JSON for people and pipes, whatever numbers and characters it holds."""
    value = encode(record)
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # integers past 64 bits, lone surrogates
        return json.dumps(value, indent=2)


def _default(value: object) -> Json:
    return plain(value)


def _json_bytes(value: Json) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def parse(data: bytes | str) -> Json:
    """The JSON value in `data`; NaN and infinity are refused.

    Raises:
        CodecError: Not JSON; the message names line and column.
    """
    try:
        if not _LONG_NUMBER.search(
            data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        ):
            return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        first = str(error)
    else:
        first = ""
    try:  # integers past 64 bits, which orjson rounds, and lone surrogates
        return json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except CodecError:
        raise
    except (ValueError, RecursionError) as error:
        raise CodecError(first or str(error)) from None


_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def _refuse_constant(name: str) -> Json:
    raise CodecError(f"{name} is not a JSON number; use null for a missing value")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def clean_text(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be encoded as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def loads(cls: type[Record], data: bytes | str) -> Record:
    """The record of this class in these JSON bytes."""
    return decode(cls, parse(data))


def decode(cls: type[Record], data: Json) -> Record:
    """The record of this class that `encode` made this value from.

    Raises:
        CodecError: A field is missing, unknown, or of another type; the message names it, `path` leads to it.
    """
    return _decoder(cls)(data, ())


Place = tuple[str | int, ...]
Decoder = Callable[[Any, Place], Any]


@cache
def _decoder(hint: Any) -> Decoder:
    """A function that turns JSON into `hint`; built once a type."""
    if dataclasses.is_dataclass(hint):
        return _record_decoder(typing.cast("type", hint))
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _union_decoder(args)
    if origin is Literal:
        return _literal_decoder(args)
    if origin in (tuple, list, frozenset):
        item = _decoder(args[0])
        return lambda value, path: origin(
            item(x, (*path, i)) for i, x in enumerate(_expect(value, list, path))
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        member = _decoder(args[1])
        return lambda value, path: {k: member(v, (*path, k)) for k, v in _expect(value, dict, path).items()}
    if hint is float:
        return lambda value, path: _float(_expect(value, (int, float), path), path)
    if hint in (str, int, bool):
        return lambda value, path: _expect(value, hint, path)
    return lambda value, path: value  # Any: user payload


def _float(value: float, path: Place) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise CodecError(f"{_short(value)}, expected a finite number", path=path)
    return number


def _record_decoder(cls: type) -> Decoder:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    decoders: dict[str, Decoder] = {}  # filled when first used: a record may hold its own kind
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }

    def decode_record(value: Any, path: Place) -> Any:
        data = _expect(value, dict, path)
        if not decoders:
            hints = typing.get_type_hints(cls)
            decoders.update({name: _decoder(hints[name]) for name in fields if name != "function"})
        if unknown := [key for key in data if key not in decoders]:
            known = ", ".join(decoders)
            hint = did_you_mean(str(unknown[0]), decoders)
            raise CodecError(f"unknown key {unknown[0]!r}.{hint} Known: {known}", path=(*path, unknown[0]))
        values = {name: decoders[name](item, (*path, name)) for name, item in data.items()}
        # a field without default is left out by `encode` when it is None
        for name in required - values.keys():
            values[name] = decoders[name](None, (*path, name))
        return cls(**values)

    return decode_record


def _union_decoder(args: tuple[Any, ...]) -> Decoder:
    options = [arg for arg in args if arg is not type(None)]
    optional = len(options) < len(args)
    scalars = {str, int, bool, float}
    exact = [o for o in options if o in scalars]
    others = [(_shape(o), _decoder(o)) for o in options if o not in scalars]

    def decode_union(value: Any, path: Place) -> Any:
        if value is None and optional:
            return None
        if (
            float in exact
            and int not in exact
            and isinstance(value, (int, float))
            and type(value) is not bool
        ):
            return _float(value, path)
        if type(value) in exact:
            return value
        fitting = [decoder for shape, decoder in others if shape is None or isinstance(value, shape)]
        for index, decoder in enumerate(fitting):
            try:
                return decoder(value, path)
            except CodecError:
                if index == len(fitting) - 1:
                    raise
        names = " or ".join(_name(arg) for arg in options)
        what = "nothing" if value is None else _short(value)
        raise CodecError(f"{what}, expected {names}", path=path)

    return decode_union


def _shape(hint: Any) -> type | None:
    """The JSON type that this hint is read from; None: any."""
    if dataclasses.is_dataclass(hint):
        return dict
    origin = typing.get_origin(hint)
    if origin in (tuple, list, frozenset):
        return list
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    return None


def _literal_decoder(allowed: tuple[Any, ...]) -> Decoder:
    def decode_literal(value: Any, path: Place) -> Any:
        if value not in allowed:
            hint = did_you_mean(str(value), [str(a) for a in allowed])
            raise CodecError(
                f"{_short(value)}, expected one of {', '.join(map(repr, allowed))}.{hint}", path=path
            )
        return value

    return decode_literal


def _expect(value: Any, kind: Any, path: Place) -> Any:
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits:
        kinds = kind if isinstance(kind, tuple) else (kind,)
        what = "nothing" if value is None else _short(value)
        raise CodecError(f"{what}, expected {' or '.join(_name(k) for k in kinds)}", path=path)
    return value


_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}


def _name(hint: Any) -> str:
    shape = hint if hint in _NAMES else _shape(hint)
    return _NAMES.get(shape, str(hint)) if shape else str(hint)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# a generator of its own: a function under test that seeds `random` would make every answer's id the same, and
# os.urandom is a system call, which costs more than the rest of an id a hundred times over
_random = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id(bits: int = 128) -> str:
    """Random hex digits: 128 bits for a trace, 64 for a span."""
    return f"{_random.getrandbits(bits):0{bits // 4}x}"


def new_run_id() -> str:
    """A UUIDv7 (RFC 9562): sorts by the time it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
