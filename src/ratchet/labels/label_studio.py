"""Label Studio's JSON: tasks with annotations by people and predictions by judges.

Its format is that of its documentation on importing pre-annotated data and on exporting annotations: a list of
tasks, each `{"data": {...}, "annotations": [{"result": [...], "lead_time": seconds, "was_cancelled": bool}]}`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from ratchet import codec
from ratchet.datasets.json_lists import read_json
from ratchet.errors import DatasetError
from ratchet.ports import Store
from ratchet.records import Json, Score, ScoreValue, Trace

Row = Mapping[str, Json]
_META = "ratchet"
"""In a task's data, which Label Studio keeps: what else a label here knows."""


def lines(scores: Iterable[Score], store: Store) -> Iterator[bytes]:
    """A JSON list of one task an answer, with everyone's annotations of it, and what judges said as predictions."""
    by_trace: dict[tuple[str, str | None, str], list[Score]] = {}
    for score in scores:
        by_trace.setdefault((score.trace_id, score.against, score.name), []).append(score)
    yield b"["
    for number, ((trace_id, against, name), own) in enumerate(by_trace.items(), 1):
        task: dict[str, Json] = {
            "id": number,
            "data": {
                "trace_id": trace_id,
                "name": name,
                **_texts(store.trace(trace_id), "output"),
                **(
                    {}
                    if against is None
                    else {"against": against, **_texts(store.trace(against), "output_against")}
                ),
            },
            "annotations": [_annotation(index, score) for index, score in enumerate(own, 1)],
            "predictions": _predictions(store, trace_id, against, name),
        }
        yield (b",\n" if number > 1 else b"\n") + codec.dumps(task)
    yield b"\n]\n"


def _texts(trace: Trace | None, name: str) -> dict[str, Json]:
    if trace is None:
        return {}
    found: dict[str, Json] = {name: _text(trace.output if trace.output is not None else trace.refusal)}
    if name == "output":
        found["input"] = _text(trace.input)
    return found


def _text(value: Json) -> str:
    return "" if value is None else value if isinstance(value, str) else codec.dumps(value).decode()


def _annotation(index: int, score: Score) -> dict[str, Json]:
    results = [_result(score.name, score.value)]
    if score.reason:
        results.append(
            {"from_name": "note", "to_name": "output", "type": "textarea", "value": {"text": [score.reason]}}
        )
    made: dict[str, Json] = {
        "id": index,
        "completed_by": {"email": score.by},
        "result": results,
        "was_cancelled": False,
        "created_at": datetime.datetime.fromtimestamp(score.created_at, datetime.UTC).isoformat(),
        "meta": {
            _META: {
                "created_at": score.created_at,
                "dimension": score.dimension,
                "metadata": dict(score.metadata),
            }
        },
    }
    if score.metadata.get("seconds") is not None:
        made["lead_time"] = score.metadata["seconds"]
    return made


def _predictions(store: Store, trace_id: str, against: str | None, name: str) -> list[Json]:
    return [
        {"model_version": score.by, "result": [_result(name, score.value)]}
        for score in store.scores(trace_id=trace_id, name=name)
        if score.source == "judge" and score.value is not None and score.against == against
    ]


def _result(name: str, value: ScoreValue) -> dict[str, Json]:
    result: dict[str, Json] = {"from_name": name, "to_name": "output"}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {**result, "type": "number", "value": {"number": value}}
    if isinstance(value, frozenset):
        return {
            **result,
            "type": "choices",
            "value": {"choices": sorted(value)},
            "meta": {"kind": ["labels"]},
        }
    if isinstance(value, bool):
        said = "true" if value else "false"
        return {**result, "type": "choices", "value": {"choices": [said]}, "meta": {"kind": ["bool"]}}
    return {**result, "type": "choices", "value": {"choices": [value]}, "meta": {"kind": ["label"]}}


def rows(file: BinaryIO, path: Path) -> Iterator[tuple[int, Row]]:
    """Every annotation as the row of one label, with the line its task begins on; cancelled ones are left out."""
    for line, task in read_json(file, path):
        if isinstance(task, DatasetError):
            raise task
        yield from ((line, row) for row in _task_rows(cast("Mapping[str, Json]", task), path, line))


def _task_rows(task: Mapping[str, Json], path: Path, line: int) -> Iterator[Row]:
    data = _object(task.get("data"), "data", path, line)
    annotations = task.get("annotations", task.get("completions", []))
    if not isinstance(annotations, list):
        raise DatasetError("expected a list of annotations", file=path, line=line, column="annotations")
    for given in cast("list[Json]", annotations):
        annotation = _object(given, "annotations", path, line)
        if annotation.get("was_cancelled"):
            continue
        results = annotation.get("result")
        if not isinstance(results, list):
            raise DatasetError("expected a list of results", file=path, line=line, column="result")
        found = [_object(result, "result", path, line) for result in cast("list[Json]", results)]
        notes = [_note(result) for result in found if result.get("type") == "textarea"]
        for result in found:
            if result.get("type") != "textarea":
                yield _row(data, annotation, result, "\n".join(note for note in notes if note), path, line)


def _row(data: Row, annotation: Row, result: Row, note: str, path: Path, line: int) -> dict[str, Json]:
    own = _mapping(_mapping(annotation.get("meta")).get(_META))
    metadata = dict(_mapping(own.get("metadata")))
    if metadata.get("seconds") is None and isinstance(annotation.get("lead_time"), (int, float)):
        metadata["seconds"] = annotation["lead_time"]
    value, kind = _value(result, path, line)
    row: dict[str, Json] = {
        "trace_id": data.get("trace_id"),
        "against": data.get("against"),
        "name": result.get("from_name") or data.get("name"),
        "value": value,
        "kind": kind,
        "by": _person(annotation.get("completed_by")),
        "note": note or None,
        "dimension": own.get("dimension"),
        "created_at": own.get("created_at", _unix(annotation.get("created_at"))),
        "metadata": metadata,
    }
    return {name: value for name, value in row.items() if value is not None}


def _value(result: Row, path: Path, line: int) -> tuple[Json, str | None]:
    value, kinds = _mapping(result.get("value")), _mapping(result.get("meta")).get("kind")
    kind: Json = cast("list[Json]", kinds)[0] if isinstance(kinds, list) and kinds else None
    for name in ("number", "rating"):
        if name in value:
            return value[name], "number"
    choices: Json = value.get("choices")
    if isinstance(choices, list) and choices:
        given = cast("list[Json]", choices)
        if kind == "labels" or len(given) > 1:
            return given, "labels"
        return given[0], kind if kind in ("bool", "label") else None
    if kind == "labels":
        return [], "labels"
    shown = str(result.get("type"))
    raise DatasetError(
        f"{shown!r}: expected a result of type choices, number, rating or textarea with its value",
        file=path, line=line, column="result", value=shown,
    )  # fmt: skip


def _note(result: Row) -> str:
    text: Json = _mapping(result.get("value")).get("text", "")
    return "\n".join(map(str, cast("list[Any]", text))) if isinstance(text, list) else str(text)


def _person(given: Json) -> str | None:
    """Label Studio names people by number, or by an object with their address."""
    if isinstance(given, Mapping):
        who = cast("Mapping[str, Json]", given)
        return str(who.get("email") or who.get("username") or who.get("id") or "") or None
    return None if given is None else str(given)


def _unix(given: Json) -> float | None:
    if not isinstance(given, str):
        return None
    try:
        return datetime.datetime.fromisoformat(given).timestamp()
    except ValueError:
        return None


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, Mapping) else {}


def _object(value: Json, column: str, path: Path, line: int) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise DatasetError(f"{value!r}: expected an object", file=path, line=line, column=column, value=value)
    return cast("Mapping[str, Json]", value)
