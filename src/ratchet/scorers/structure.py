"""Scorers that judge the structure of an answer: JSON, its fields, and function calls."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ratchet.errors import ConfigError, ScorerError
from ratchet.extractions import find_json
from ratchet.patterns import compile_pattern, find
from ratchet.records import Example, Json, Judgement, Trace
from ratchet.scorers._calls import Call, calls_in
from ratchet.scorers._inputs import answer_of, as_text, expected_of, same, short
from ratchet.scores import scorer


@scorer(version="1", inline=True)
def json_valid(
    trace: Trace, *, lenient: bool = False, kind: Literal["any", "object", "array"] = "any"
) -> Judgement:
    """True where the answer is JSON.

    Args:
        lenient: It may stand in a fenced block or among prose.
        kind: What it must be.
    """
    try:
        value = _parsed(answer_of(trace), lenient)
    except _NotJsonError as error:
        return Judgement(value=False, reason=str(error))
    wanted = {"any": object, "object": dict, "array": list}[kind]
    if not isinstance(value, wanted):
        return Judgement(value=False, reason=f"it is a JSON {_kind(value)}, expected an {kind}")
    return Judgement(value=True)


class _NotJsonError(ScorerError):
    """An answer that should be JSON and isn't: a wrong answer, where other ScorerErrors mean no score."""


def _parsed(answer: Json, lenient: bool) -> Json:
    if not isinstance(answer, str):
        return answer
    if lenient:
        try:
            return find_json(answer)
        except ScorerError as error:
            raise _NotJsonError(str(error)) from None
    try:
        return json.loads(answer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _NotJsonError(f"not JSON: {error}") from None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return names.get(type(value), "null")


def _prepare_schema(settings: dict[str, Json], root: Path) -> dict[str, Json]:
    schema = settings["schema"]
    if isinstance(schema, str):
        schema = _read_schema(root / schema)
    _check_schema(schema)
    return {**settings, "schema": schema}


def _read_schema(path: Path) -> Json:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the schema can't be read: {error}", file=path) from None
    try:
        if path.suffix in (".yaml", ".yml"):
            import yaml

            return yaml.safe_load(text)
        return json.loads(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise ConfigError(f"the schema is not JSON: {error}", file=path) from None
    except Exception as error:  # yaml.YAMLError, which exists only where yaml is loaded
        raise ConfigError(f"the schema is not YAML: {error}", file=path) from None


def _check_schema(schema: Json) -> None:
    import jsonschema

    if not isinstance(schema, (dict, bool)):
        raise ConfigError(f"the schema is {short(schema)}, expected an object")
    try:
        _validator_class(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigError(f"the schema is wrong at {error.json_path}: {error.message}") from None
    except RecursionError:
        raise ConfigError("the schema is nested too deeply") from None


def _validator_class(schema: Json) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return _bounded(validator_for(schema, default=Draft202012Validator))


@functools.cache
def _bounded(base: Any) -> Any:
    """The validator with patterns that end on hostile text."""
    from jsonschema import ValidationError
    from jsonschema.validators import extend

    def pattern(_: Any, wanted: str, instance: Json, __: Json) -> Iterator[ValidationError]:
        if isinstance(instance, str) and find(compile_pattern(wanted), instance) is None:
            yield ValidationError(f"{short(instance)} does not match {wanted!r}")

    def pattern_properties(
        validator: Any, wanted: Mapping[str, Json], instance: Json, __: Json
    ) -> Iterator[ValidationError]:
        if not isinstance(instance, dict):
            return
        for regex, subschema in wanted.items():
            for key, value in instance.items():
                if find(compile_pattern(regex), key) is not None:
                    yield from validator.descend(value, subschema, path=key, schema_path=regex)

    return extend(base, {"pattern": pattern, "patternProperties": pattern_properties})


@scorer(version="1", prepare=_prepare_schema)
def json_schema(trace: Trace, *, schema: dict[str, Any] | bool | str, lenient: bool = False) -> Judgement:
    """True where the answer is JSON and fits the schema; the reason names the first place that doesn't.

    References to other documents are never fetched: such a schema scores None.

    Args:
        schema: The JSON Schema itself, or the path of a .json or .yaml file.
        lenient: The JSON may stand in a fenced block or among prose.
    """
    from jsonschema.exceptions import best_match
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable

    if isinstance(schema, str):
        schema = _read_schema(Path(schema))
        _check_schema(schema)
    try:
        value = _parsed(answer_of(trace), lenient)
    except _NotJsonError as error:
        return Judgement(value=False, reason=str(error))
    # a registry of our own: the default one fetches remote references
    validator = _validator_class(schema)(schema, registry=REGISTRY)
    try:
        error = best_match(itertools.islice(validator.iter_errors(value), 100))
    except Unresolvable as unresolved:
        raise ScorerError(
            f"the schema refers to {unresolved.ref!r}, which is not in it; nothing is fetched"
        ) from None
    except (ConfigError, RecursionError) as failure:
        raise ScorerError(f"the schema can't be applied: {type(failure).__name__}: {failure}") from None
    if error is None:
        return Judgement(value=True)
    return Judgement(value=False, reason=f"at {error.json_path}: {error.message[:300]}")


@scorer(version="1", inline=True)
def json_field(
    trace: Trace,
    example: Example,
    *,
    fields: list[str] | None = None,
    match: Literal["all", "any"] = "all",
    ignore_case: bool = False,
    field: str | None = None,
) -> Judgement:
    """True where all (or any) fields of the answer's object equal those of the expected one.

    The reason and the metadata name the `mismatching` and the `missing` fields.

    Args:
        fields: Which ones, dots reaching inwards ("address.city"); without it, every expected field.
    """
    expected = _object(expected_of(example, field), f"what example {example.id!r} expects")
    names = list(expected) if fields is None else fields
    if not names:
        raise ScorerError("there are no fields to compare")
    try:
        answer = _object(_parsed(answer_of(trace), lenient=True), "the answer")
    except _NotJsonError as error:
        return Judgement(value=False, reason=str(error), metadata={"mismatching": [], "missing": names})
    missing: list[str] = []
    mismatching: list[str] = []
    for name in names:
        wanted, found = _at(expected, name), _at(answer, name)
        if wanted is _ABSENT:
            raise ScorerError(f"what example {example.id!r} expects has no field {name!r}")
        if found is _ABSENT:
            missing.append(name)
        elif not _same_field(found, wanted, ignore_case):
            mismatching.append(name)
    wrong = len(missing) + len(mismatching)
    passed = wrong == 0 if match == "all" else wrong < len(names)
    parts = [("mismatching", mismatching), ("missing", missing)]
    reason = "; ".join(f"{word}: {', '.join(those)}" for word, those in parts if those)
    return Judgement(
        value=passed, reason=reason or None, metadata={"mismatching": mismatching, "missing": missing}
    )


_ABSENT: Any = object()


def _object(value: Json, what: str) -> dict[str, Json]:
    if isinstance(value, str):
        value = _parsed(value, lenient=True)
    if not isinstance(value, dict):
        raise _NotJsonError(f"{what} is a JSON {_kind(value)}, expected an object")
    return value


def _at(value: Json, name: str) -> Json:
    if isinstance(value, dict) and name in value:
        return value[name]
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _same_field(found: Json, wanted: Json, ignore_case: bool) -> bool:
    if ignore_case and isinstance(found, str) and isinstance(wanted, str):
        return found.casefold() == wanted.casefold()
    return same(found, wanted)


@scorer(version="1", inline=True)
def json_structure(
    trace: Trace, example: Example, *, extra: bool = False, field: str | None = None
) -> Judgement:
    """True where the answer has the expected value's keys and types, whatever its values.

    Every item of a list is held against the first expected item.

    Args:
        extra: Keys that are not expected are allowed.
    """
    expected = expected_of(example, field)
    expected = find_json(expected) if isinstance(expected, str) else expected
    try:
        answer = _parsed(answer_of(trace), lenient=True)
    except _NotJsonError as error:
        return Judgement(value=False, reason=str(error))
    differences = list(itertools.islice(_differences(answer, expected, "$", extra), 5))
    return Judgement(value=not differences, reason="; ".join(differences) or None)


def _differences(found: Json, wanted: Json, path: str, extra: bool) -> Iterator[str]:
    if _kind(found) != _kind(wanted):
        yield f"{path} is a {_kind(found)}, expected a {_kind(wanted)}"
    elif isinstance(wanted, dict):
        for key, value in wanted.items():
            if key in found:
                yield from _differences(found[key], value, f"{path}.{key}", extra)
            else:
                yield f"{path}.{key} is missing"
        if not extra:
            yield from (f"{path}.{key} is not expected" for key in found if key not in wanted)
    elif isinstance(wanted, list) and wanted:
        for index, item in enumerate(found):
            yield from _differences(item, wanted[0], f"{path}[{index}]", extra)


@scorer(version="1", inline=True, parts=("", "name_correct", "arguments_correct"))
def function_call(
    trace: Trace,
    example: Example,
    *,
    types: Literal["strict", "lenient"] = "strict",
    ordered: bool = False,
    field: str | None = None,
) -> dict[str, Judgement]:
    """Whether the model called the expected functions: `function_call` is True where both of the others are.

    `function_call.name_correct` and `function_call.arguments_correct` say which part is right. Calls are read from
    the trace's tool calls, else from the answer: JSON, a Python literal or `name(key=value)`, with `arguments` or
    `parameters`. An expected empty list means: no call.

    Args:
        types: "lenient": "5" equals 5, and "true" equals true.
        ordered: Several calls must come in the expected order.
    """
    wanted = calls_in(expected_of(example, field))
    if wanted is None:
        raise ScorerError(
            f"what example {example.id!r} expects is no function call: {short(example.expected)}"
        )
    made = calls_in(list(trace.tool_calls)) if trace.tool_calls else calls_in(answer_of(trace))
    if made is None and wanted:
        wrong = Judgement(value=False, reason=f"no function call in the answer {short(trace.answer)}")
        return {"": wrong, "name_correct": wrong, "arguments_correct": wrong}
    pairs = _pairs(made or [], wanted, types, ordered)
    names = [f"{_name(m)} instead of {_name(w)}" for m, w in pairs if _name(m) != _name(w)]
    arguments = [_argument_difference(m, w, types) for m, w in pairs]
    arguments = [difference for difference in arguments if difference]
    return {
        "": Judgement(value=not (names or arguments), reason="; ".join([*names, *arguments])[:500] or None),
        "name_correct": Judgement(value=not names, reason="; ".join(names)[:500] or None),
        "arguments_correct": Judgement(value=not arguments, reason="; ".join(arguments)[:500] or None),
    }


Pair = tuple[Call | None, Call | None]


def _name(call: Call | None) -> str:
    return "no call" if call is None else call.name


def _pairs(made: list[Call], wanted: list[Call], types: str, ordered: bool) -> list[Pair]:
    """Made calls beside wanted ones: equal ones first, then those of one name, then the rest in order."""
    if ordered:
        return list(itertools.zip_longest(made, wanted))
    made, wanted, pairs = list(made), list(wanted), list[Pair]()
    for fits in (_equal_in(types), lambda m, w: m.name == w.name):
        for call in list(wanted):
            partner = next((m for m in made if fits(m, call)), None)
            if partner is not None:
                pairs.append((partner, call))
                made.remove(partner)
                wanted.remove(call)
    return [*pairs, *itertools.zip_longest(made, wanted)]


def _equal_in(types: str) -> Any:
    return lambda m, w: m.name == w.name and not _argument_difference(m, w, types)


def _argument_difference(made: Call | None, wanted: Call | None, types: str) -> str:
    if made is None or wanted is None:
        return f"{'missing' if made is None else 'unexpected'} call of {_name(made or wanted)}"
    for key, value in wanted.arguments.items():
        if key not in made.arguments:
            return f"{wanted.name}: argument {key!r} is missing"
        if not _same_argument(made.arguments[key], value, types):
            return f"{wanted.name}: argument {key!r} is {short(made.arguments[key])}, expected {short(value)}"
    unexpected = [key for key in made.arguments if key not in wanted.arguments]
    return f"{wanted.name}: argument {unexpected[0]!r} is not expected" if unexpected else ""


def _same_argument(found: Json, wanted: Json, types: str) -> bool:
    if types == "strict":
        return same(found, wanted)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(
            _same_argument(found[k], wanted[k], types) for k in wanted
        )
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same_argument, found, wanted, itertools.repeat(types)))
    if isinstance(found, str) and isinstance(wanted, str):
        return found == wanted
    if isinstance(found, str) or isinstance(wanted, str):
        return as_text(found).strip().casefold() == as_text(wanted).strip().casefold()
    return same(found, wanted)
