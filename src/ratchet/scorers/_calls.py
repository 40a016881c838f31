"""Function calls read from whatever shape they come in."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ratchet.errors import ScorerError
from ratchet.extractions import find_json
from ratchet.records import Json

_MAX_CHARACTERS = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """One function call."""

    name: str
    arguments: Mapping[str, Json]


def calls_in(value: Json) -> list[Call] | None:
    """The function calls that this value means; None where it means none.

    Text is read as JSON, else as a Python literal, else as `name(key=value)` or a list of these.
    """
    if isinstance(value, str):
        return _calls_in_text(value)
    if isinstance(value, Mapping):
        if isinstance(value.get("tool_calls"), list):
            return calls_in(value["tool_calls"])
        call = _call(value)
        return None if call is None else [call]
    if isinstance(value, (list, tuple)):
        calls = [_call(item) for item in value]
        return None if None in calls else [call for call in calls if call is not None]
    return None


def _call(value: Json) -> Call | None:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = _literal(arguments) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        return None
    return Call(value["name"].strip(), {str(key): item for key, item in arguments.items()})


def _literal(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        tree = _parse(text)
        return None if tree is None else _evaluated(tree)


def _calls_in_text(text: str) -> list[Call] | None:
    try:
        calls = calls_in(find_json(text))
    except ScorerError:
        calls = None
    if calls is not None:
        return calls
    tree = _parse(_unfenced(text))
    if tree is None:
        return None
    items = tree.elts if isinstance(tree, (ast.List, ast.Tuple)) else [tree]
    if items and all(isinstance(item, ast.Call) for item in items):
        made = [_python_call(item) for item in items if isinstance(item, ast.Call)]
        return None if None in made else [call for call in made if call is not None]
    value = _evaluated(tree)
    return calls_in(value) if isinstance(value, (dict, list)) else None


def _unfenced(text: str) -> str:
    fenced = re.search(r"```[a-z]*\n(.*?)```", text[:_MAX_CHARACTERS], re.DOTALL)
    return (fenced[1] if fenced else text).strip()


def _parse(text: str) -> ast.expr | None:
    if len(text) > _MAX_CHARACTERS:
        return None
    # a backslash that escapes nothing would make the parser warn
    text = re.sub(r"\\([\\'\"abfnrtvxuUN0-7\n])|\\", lambda m: m[0] if m[1] else r"\\", text.strip())
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
        return None


_NOTHING: Any = object()
_NAMES = {"true": True, "false": False, "null": None}


def _evaluated(node: ast.expr) -> Json:
    """The value of a literal; None where it isn't one."""
    value = _value(node)
    return None if value is _NOTHING else value


def _value(node: ast.expr) -> Json:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, (str, int, float, bool, type(None))) else _NOTHING
    if isinstance(node, ast.Name):
        return _NAMES.get(node.id, _NOTHING)
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and isinstance(node.operand, ast.Constant)
    ):
        number = node.operand.value
        return -number if isinstance(number, (int, float)) else _NOTHING
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return _NOTHING if any(item is _NOTHING for item in items) else items
    if isinstance(node, ast.Dict):
        keys = [_value(key) if key is not None else _NOTHING for key in node.keys]
        values = [_value(item) for item in node.values]
        if all(isinstance(key, str) for key in keys) and all(item is not _NOTHING for item in values):
            return dict(zip(keys, values, strict=True))
    return _NOTHING


def _python_call(node: ast.Call) -> Call | None:
    name = _dotted(node.func)
    arguments = {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
    whole = not node.args and len(arguments) == len(node.keywords)
    if name is None or not whole or any(value is _NOTHING for value in arguments.values()):
        return None
    return Call(name, arguments)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    return None
