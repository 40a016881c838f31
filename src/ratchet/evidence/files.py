"""Evidence as a file: every number and hash that a verdict rests on, to be recomputed anywhere.

One JSON document, columns of values, gzip where the name ends in .gz. Missing numbers are null, flags a text of 0 and
1, values that repeat (labels, answers, slices) a list of distinct ones with their numbers.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from ratchet import codec
from ratchet.errors import CodecError, PlanError
from ratchet.evidence.codes import Codes
from ratchet.evidence.records import ArmData, Bools, Column, Evidence, Floats, Ints, Labels
from ratchet.records import Check, Json, Verdict

FORMAT = "ratchet.evidence"
VERSION = 1
MAX_BYTES = 4_000_000_000
"""Of a file unpacked; above it, it is refused."""
_CHUNK = 1 << 20


def write(evidence: Evidence, verdict: Verdict | None, path: str | Path) -> None:
    """Write evidence, and the verdict made of it, to a file; gzip where the name ends in .gz."""
    body = orjson.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "verdict_id": None if verdict is None else codec.content_id(verdict),
            "verdict": None if verdict is None else codec.encode(verdict),
            "evidence": encode(evidence),
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no time stamp: equal evidence gives equal bytes
    path.write_bytes(gzip.compress(body, 6, mtime=0) if path.name.endswith(".gz") else body)


def read(path: str | Path) -> tuple[Evidence, Verdict | None]:
    """The evidence in this file, and the verdict that was made of it.

    Raises:
        PlanError: It can't be read, or is no evidence file.
    """
    path = Path(path)
    try:
        data = codec.parse(_unpacked(path))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise CodecError(f"it has no format: {FORMAT!r}")
        if data.get("version") != VERSION:
            raise CodecError(f"its version is {data.get('version')!r}; this Ratchet reads {VERSION}")
        verdict = None if data.get("verdict") is None else codec.decode(Verdict, data["verdict"])
        return decode(data.get("evidence")), verdict
    except OSError as error:
        raise PlanError(f"{path} can't be read: {error.strerror or error}") from None
    except (CodecError, zlib.error, EOFError) as error:
        raise PlanError(
            f"{path} is no evidence file: {error}; `ratchet compare --evidence FILE` writes one"
        ) from None


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    parts: list[bytes] = []
    size = 0
    with gzip.open(path) if packed else path.open("rb") as file:
        while part := file.read(_CHUNK):
            size += len(part)
            if size > MAX_BYTES:
                raise CodecError(f"it holds more than {MAX_BYTES:,} bytes")
            parts.append(part)
    return b"".join(parts)


def encode(evidence: Evidence) -> dict[str, Json]:
    """The evidence as JSON values and arrays that orjson writes."""
    return {
        "examples": list(evidence.examples),
        "groups": np.ascontiguousarray(evidence.groups) if evidence.grouped else None,
        "contents": list(evidence.contents) if any(evidence.contents) else None,
        "slices": {key: _coded(texts) for key, texts in evidence.slices.items()},
        "arms": {name: _encode_arm(arm) for name, arm in evidence.arms.items()},
        "checks": [codec.encode(check) for check in evidence.checks],
        "facts": codec.plain(evidence.facts),
        "warnings": list(evidence.warnings),
    }


def _encode_arm(arm: ArmData) -> dict[str, Json]:
    return {
        "variant_id": arm.variant_id,
        "example": np.ascontiguousarray(arm.example),
        "repeat": np.ascontiguousarray(arm.repeat),
        "failed": _bits(arm.failed),
        "refused": _bits(arm.refused),
        "unparsable": _bits(arm.unparsable),
        "cached": _bits(arm.cached),
        "columns": {name: _encode_column(column) for name, column in arm.columns.items()},
        "answers": _coded(arm.answers) if arm.answers else None,
        "error_kinds": dict(arm.error_kinds),
    }


def _encode_column(column: Column) -> dict[str, Json]:
    pairs = [
        [None if predicted is None else sorted(predicted), sorted(expected)]
        for predicted, expected in dict.fromkeys(column.labels)
    ]
    places = {labels: code for code, labels in enumerate(dict.fromkeys(column.labels))}
    return {
        "kind": column.kind,
        "dimension": column.dimension,
        "higher_is_better": column.higher_is_better,
        "by": column.by,
        "values": np.ascontiguousarray(column.values) if column.kind != "labels" else None,
        "labels": {"distinct": pairs, "codes": [places[labels] for labels in column.labels]}
        if column.labels
        else None,
    }


def _bits(flags: Bools) -> str:
    return (flags.astype(np.uint8) + 48).tobytes().decode()


def _coded(values: Sequence[Any]) -> dict[str, Json]:
    codes = Codes()
    numbers = [codes.of(_key(value)) for value in values]
    return {"distinct": [value for _, value in codes.values], "codes": numbers}


def _key(value: Any) -> tuple[str, Any]:
    """Tells True from 1, which are equal as keys."""
    return type(value).__name__, value


def decode(data: Json) -> Evidence:
    """The evidence that `encode` made this of, read back from JSON.

    Raises:
        CodecError: Something is missing, of another type or length; the path leads to it.
    """
    top = _mapping(data, "evidence")
    examples = tuple(_listed(top, "examples", str))
    groups = top.get("groups")
    contents = top.get("contents")
    arms = _mapping(top.get("arms"), "arms")
    return Evidence(
        examples=examples,
        groups=np.arange(len(examples)) if groups is None else _ints(groups, len(examples), "groups"),
        grouped=groups is not None,
        contents=("",) * len(examples) if contents is None else tuple(_listed(top, "contents", str, len(examples))),
        slices={key: tuple(map(str, _decoded(value, f"slices.{key}", len(examples)))) for key, value in _mapping(top.get("slices"), "slices").items()},
        arms={name: _decode_arm(name, value, len(examples)) for name, value in arms.items()},
        checks=tuple(codec.decode(Check, check) for check in _listed(top, "checks", dict)),
        facts=_mapping(top.get("facts"), "facts"),
        warnings=tuple(_listed(top, "warnings", str)),
    )  # fmt: skip


def _decode_arm(name: str, data: Json, examples: int) -> ArmData:
    at = f"arms.{name}"
    arm = _mapping(data, at)
    example = _ints(arm.get("example"), None, f"{at}.example")
    n = len(example)
    if n and (int(example.min()) < 0 or int(example.max()) >= examples):
        raise CodecError(f"an index outside the {examples} examples", path=(f"{at}.example",))
    repeat = _ints(arm.get("repeat"), n, f"{at}.repeat")
    if n and int(repeat.min()) < 0:
        raise CodecError("a repeat below 0", path=(f"{at}.repeat",))
    answers = arm.get("answers")
    return ArmData(
        name=name,
        variant_id=_text(arm, "variant_id", at),
        example=example,
        repeat=repeat,
        failed=_flags(arm, "failed", n, at),
        refused=_flags(arm, "refused", n, at),
        unparsable=_flags(arm, "unparsable", n, at),
        cached=_flags(arm, "cached", n, at),
        columns={
            key: _decode_column(key, value, n, f"{at}.columns.{key}")
            for key, value in _mapping(arm.get("columns"), f"{at}.columns").items()
        },
        answers=() if answers is None else tuple(_decoded(answers, f"{at}.answers", n)),
        error_kinds={key: int(count) for key, count in _mapping(arm.get("error_kinds"), at).items()},
    )


def _decode_column(name: str, data: Json, n: int, at: str) -> Column:
    column = _mapping(data, at)
    labels = column.get("labels")
    pairs: list[Labels] = []
    if labels is not None:
        try:
            pairs = [
                (None if predicted is None else frozenset(map(str, predicted)), frozenset(map(str, expected)))
                for predicted, expected in _decoded(labels, f"{at}.labels", n)
            ]
        except (TypeError, ValueError):
            raise CodecError("expected pairs of lists of labels", path=(f"{at}.labels",)) from None
    values = column.get("values")
    dimension = _text(column, "dimension", at)
    if dimension not in ("cost", "latency", "accuracy", "security", "stability"):
        raise CodecError(f"{dimension!r} is no dimension", path=(f"{at}.dimension",))
    return Column(
        name=name,
        values=np.full(n, np.nan) if values is None else _floats(values, n, f"{at}.values"),
        kind=_text(column, "kind", at),
        dimension=cast("Any", dimension),
        higher_is_better=column.get("higher_is_better") is not False,
        by=_text(column, "by", at),
        labels=tuple(pairs),
    )


def _mapping(value: Json, at: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise CodecError(f"{type(value).__name__}, expected a mapping", path=(at,))
    return dict(cast("Mapping[str, Any]", value))


def _listed(data: Mapping[str, Json], key: str, kind: type, n: int | None = None) -> list[Any]:
    values = data.get(key) or []
    if not isinstance(values, list) or not all(
        isinstance(value, kind) for value in cast("list[Any]", values)
    ):
        raise CodecError(f"expected a list of {kind.__name__}", path=(key,))
    listed = cast("list[Any]", values)
    if n is not None and len(listed) != n:
        raise CodecError(f"{len(listed)} entries, expected {n}", path=(key,))
    return listed


def _text(data: Mapping[str, Json], key: str, at: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise CodecError(f"{value!r:.60}, expected text", path=(at, key))
    return value


def _array(values: Json, n: int | None, at: str, make: Callable[[Any], np.ndarray]) -> np.ndarray:
    if not isinstance(values, list):
        raise CodecError("expected a list of numbers", path=(at,))
    try:
        array = make(values)
    except (TypeError, ValueError, OverflowError):
        raise CodecError("holds something that is no number", path=(at,)) from None
    if n is not None and len(array) != n:
        raise CodecError(f"{len(array)} entries, expected {n}", path=(at,))
    return array


def _ints(values: Json, n: int | None, at: str) -> Ints:
    return _array(values, n, at, lambda given: np.array([int(value) for value in given], np.int64))


def _floats(values: Json, n: int, at: str) -> Floats:
    return _array(values, n, at, lambda given: np.array(given, np.float64))


def _flags(data: Mapping[str, Json], key: str, n: int, at: str) -> Bools:
    text = _text(data, key, at)
    if len(text) != n or set(text) - {"0", "1"}:
        raise CodecError(f"expected {n} times 0 or 1", path=(at, key))
    return np.frombuffer(text.encode(), np.uint8) == ord("1")


def _decoded(data: Json, at: str, n: int) -> list[Any]:
    coded = _mapping(data, at)
    distinct = coded.get("distinct")
    codes = _ints(coded.get("codes"), n, f"{at}.codes")
    if not isinstance(distinct, list) or (n and (int(codes.min()) < 0 or int(codes.max()) >= len(distinct))):
        raise CodecError("a number without its value", path=(at,))
    values = cast("list[Any]", distinct)
    return [values[code] for code in codes.tolist()]
