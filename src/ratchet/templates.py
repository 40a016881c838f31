"""Templates of one text: `{column}` fields as Python writes them but safe, and sandboxed Jinja.

A compiled template is a function from variables to text. Values are put in as they are, never read as templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from ratchet import codec
from ratchet.errors import PromptError, did_you_mean
from ratchet.records import Json, Prompt

MAX_TEXT_CHARS = 10_000_000
"""Longest text a Jinja template may make of one message."""
MAX_STEPS = 1_000_000
"""Loop steps a Jinja template may take in one message."""

Lines: TypeAlias = Mapping[tuple[str | int, ...], int]
Fill: TypeAlias = Callable[[Mapping[str, Json], Json], Json]
"""Variables and the whole input become the content of one turn."""


class Place:
    """Where in a prompt file something stands."""

    def __init__(self, file: Path | None, lines: Lines, path: tuple[str | int, ...] = ()) -> None:
        self.file, self.lines, self.path = file, lines, path

    def at(self, *keys: str | int) -> Place:
        return Place(self.file, self.lines, (*self.path, *keys))

    @property
    def line(self) -> int | None:
        return self.lines.get(self.path)

    @property
    def key(self) -> str | None:
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).lstrip(".") or None

    def error(self, message: str, line: int | None = None) -> PromptError:
        return PromptError(message, file=self.file, line=line or self.line, key=self.key)


class Where(Place):
    """A prompt whose file is not at hand any more."""

    def __init__(self, prompt: Prompt) -> None:
        name = f"{prompt.path}#{prompt.name}" if prompt.path and prompt.name else prompt.path or prompt.name
        super().__init__(Path(name) if name else None, {})


class Field:
    __slots__ = ("conversion", "name", "spec")

    def __init__(self, name: str, conversion: str, spec: str) -> None:
        self.name, self.conversion, self.spec = name, conversion, spec


_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"([^!:]*)(?:!([^:]*))?(?::(.*))?", re.DOTALL)
_SPEC = re.compile(r"(?:[^{}]?[<>=^])?[-+ ]?z?#?0?\d{0,4}[,_]?(?:\.\d{1,3})?[bcdeEfFgGnosxX%]?", re.DOTALL)
_STEPS = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^\[\]]+\])+")
_STEP = re.compile(r"[^.\[\]]+")


def parse_format(text: str, place: Place) -> list[tuple[str, Field | None]]:
    """Literal texts, each with the field that follows it."""
    pieces: list[tuple[str, Field | None]] = []
    literal, end = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        found = token.group()
        if found in ("{{", "}}"):
            literal += found[0]
            continue
        line = (place.line or 1) + text.count("\n", 0, token.start())
        if found in ("{", "}"):
            raise place.error(
                f"a {found!r} without its partner; for a literal brace write {found * 2!r}", line
            )
        pieces.append((literal, _field(token.group(1), place, line)))
        literal = ""
    return [*pieces, (literal + text[end:], None)]


def _field(inside: str, place: Place, line: int) -> Field:
    shown = short("{" + inside + "}")
    match = _FIELD.fullmatch(inside)
    name, conversion, spec = match.groups(default="") if match else (inside, "", "")
    if not name.strip():
        raise place.error(f"{shown} names no column; for literal braces write '{{{{' and '}}}}'", line)
    if name.lstrip()[0] in "\"'" or "\n" in name:
        raise place.error(f"{shown} is not a column; for literal braces write '{{{{' and '}}}}'", line)
    if conversion not in ("", "s", "r", "a") or (not conversion and inside[len(name) : len(name) + 1] == "!"):
        raise place.error(f"{shown} has the conversion {conversion!r}, expected !s, !r or !a", line)
    if not _SPEC.fullmatch(spec):
        raise place.error(f"{shown} has the format {spec!r}, which is not one of Python's simple ones", line)
    return Field(name, conversion, spec)


def compile_format(text: str, prompt: Prompt, place: Place) -> Fill:
    pieces = parse_format(text, place)
    if len(pieces) == 1:
        whole = pieces[0][0]
        return lambda values, given: whole
    last = pieces[-1][0]
    simple = [(literal, f.name) for literal, f in pieces if f and not f.conversion and not f.spec]
    if len(simple) == len(pieces) - 1:

        def fill_simple(values: Mapping[str, Json], given: Json) -> str:
            out: list[str] = []
            for literal, name in simple:
                try:
                    value = values[name]
                except KeyError:
                    value = _reach(prompt, name, values, given)
                out.append(literal)
                out.append(value if type(value) is str else as_text(value))
            out.append(last)
            return "".join(out)

        return fill_simple

    def fill(values: Mapping[str, Json], given: Json) -> str:
        out: list[str] = []
        for literal, field in pieces:
            out.append(literal)
            if field:
                value = (
                    values[field.name] if field.name in values else _reach(prompt, field.name, values, given)
                )
                out.append(_written(value, field, prompt))
        return "".join(out)

    return fill


def _reach(prompt: Prompt, name: str, values: Mapping[str, Json], given: Json) -> Json:
    """What `a.b` or `a[0]` stands for: keys of JSON objects and places in lists, never attributes."""
    if name == "input":
        return given
    root, *steps = _STEP.findall(name) if _STEPS.fullmatch(name) else [name]
    if not steps or root not in values:
        raise missing(prompt, name, values)
    value = values[root]
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and len(step) < 9 and int(step) < len(value):
            value = cast("list[Json]", value)[int(step)]
        else:
            has = (
                f"has {', '.join(map(str, list(value)[:20]))}"
                if isinstance(value, Mapping)
                else f"is {kind_of(value)}"
            )
            raise Where(prompt).error(f"{{{name}}} can't be filled in: what {step!r} is looked for in {has}")
    return value


def as_text(value: Json) -> str:
    """Text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return codec.dumps(value).decode()


def _written(value: Json, field: Field, prompt: Prompt) -> str:
    text = as_text(value)
    if field.conversion in ("r", "a"):
        value = text = (
            ascii(value) if field.conversion == "a" else repr(value) if isinstance(value, str) else text
        )
    if not field.spec:
        return text
    if field.conversion == "s":
        value = text
    try:
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"it is {kind_of(value)}, not one number or text")
        return format(value, field.spec)
    except (ValueError, OverflowError) as error:
        raise Where(prompt).error(
            f"{{{field.name}:{field.spec}}} can't be written from {short(value)}: {error}"
        ) from None


def root_of(name: str) -> str:
    return _STEP.findall(name)[0] if _STEPS.fullmatch(name) else name


def missing(prompt: Prompt, name: str, known: Iterable[str]) -> PromptError:
    columns = [str(column) for column in known]
    shown = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
    return Where(prompt).error(
        f"needs the variable {name!r}, which the example doesn't have. "
        f"Columns there are: {shown or 'none'}.{did_you_mean(name, columns)}"
    )


# Jinja


@cache
def environment() -> Any:
    from jinja2 import StrictUndefined, nodes, pass_context
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    too_wide = {"ljust", "rjust", "center", "zfill", "expandtabs", "format", "format_map"}

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**", "%"))

        def _parse(self, source: str, name: str | None, filename: str | None) -> Any:
            tree = super()._parse(source, name, filename)
            for loop in tree.find_all(nodes.For):
                loop.iter = nodes.Filter(loop.iter, "ratchet_counted", [], [], None, None)
            return tree

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if not all(isinstance(side, (int, float)) and abs(side) < 1e15 for side in (left, right)):
                raise SecurityError(f"{operator!r} is for numbers here")
            if operator == "**" and abs(right) > 64:
                raise SecurityError("a power above 64")
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in too_wide and super().is_safe_attribute(obj, attr, value)

    @pass_context
    def counted(context: Any, items: Any) -> Any:
        steps = context.resolve("ratchet_steps")
        for item in items:
            steps[0] += 1
            if steps[0] > MAX_STEPS:
                raise SecurityError(f"it loops more than {MAX_STEPS:,} times")
            yield item

    def finalize(value: Any) -> Any:
        return value if isinstance(value, (str, Undefined)) else as_text(value)

    made: Any = Environment(
        undefined=StrictUndefined, finalize=finalize, autoescape=False, keep_trailing_newline=True
    )
    made.filters["ratchet_counted"] = counted
    for name in ("center", "indent", "format", "pprint", "random"):
        made.filters.pop(name, None)
    for name in ("lipsum", "cycler", "joiner"):
        made.globals.pop(name, None)
    return made


def compile_jinja(text: str, prompt: Prompt, place: Place) -> Fill:
    import jinja2.meta

    try:
        template = environment().from_string(text)
        needed: set[str] = jinja2.meta.find_undeclared_variables(environment().parse(text))
    except jinja2.TemplateSyntaxError as error:
        line = (place.line or 1) + error.lineno - 1
        raise place.error(f"not a Jinja template: {error.message}", line) from None
    except (RecursionError, MemoryError, ValueError, OverflowError) as error:
        raise place.error(f"not a Jinja template: {error}") from None

    def fill(values: Mapping[str, Json], given: Json) -> str:
        names = {**values, "ratchet_steps": [0]}
        if "input" in needed:
            names.setdefault("input", given)
        try:
            return _joined(template.generate(names))
        except jinja2.UndefinedError as error:
            for name in sorted(needed - names.keys()):
                if f"{name!r} is undefined" in str(error.message):
                    raise missing(prompt, name, values) from None
            raise Where(prompt).error(f"can't be filled in: {error.message}") from None
        except Exception as error:  # a template runs as code: whatever it raises is the prompt's fault
            raise Where(prompt).error(
                f"can't be filled in: {type(error).__name__}: {short(str(error))}"
            ) from None

    return fill


def _joined(pieces: Iterable[str]) -> str:
    out: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_TEXT_CHARS:
            raise ValueError(f"it makes more than {MAX_TEXT_CHARS:,} characters")
        out.append(piece)
    return "".join(out)


def kind_of(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(repr, list(value)[:8])) or 'no keys'}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)}"
    return short(value)


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
