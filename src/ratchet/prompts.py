"""Prompt files become prompts, and prompts with an example's input become messages.

Two ways to write variables: `{column}` with `{{` and `}}` for braces ("format"), or sandboxed Jinja, chosen by
the file's extension. Values are put in as they are, never read as templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from ratchet import codec
from ratchet.errors import CodecError, PromptError, did_you_mean
from ratchet.records import Json, Message, Prompt

Render: TypeAlias = Callable[[Json], list[Message]]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_FILE_BYTES = 16 * 2**20
MAX_TEXT_CHARS = 10_000_000
"""Longest text a Jinja template may make of one message."""
MAX_STEPS = 1_000_000
"""Loop steps a Jinja template may take in one message."""

_JINJA = (".j2", ".jinja", ".jinja2")
_TEXT = (".txt", ".md")
_STRUCTURED = (".yaml", ".yml", ".json")
_ENTRY_KEYS = ("name", "messages", "system", "user", "assistant", "examples")
_FEW_SHOT_KEYS = ("user", "assistant")

Lines: TypeAlias = Mapping[tuple[str | int, ...], int]
_Path: TypeAlias = tuple[str | int, ...]


def load(path_or_text: str | Path, *, name: str | None = None, root: Path | None = None) -> Prompt:
    """The prompt in this file, or this text as one user message; its templates are checked.

    Args:
        path_or_text: A path that ends in .yaml, .yml, .json, .txt, .md, .j2, .jinja or .jinja2, with `#name` for
            one of several prompts; anything else is the text itself.
        name: The same as `#name`.
        root: Folder that relative paths start from; the working directory by default.

    Raises:
        PromptError: No such file or name, not of the form expected, or malformed; names file and line.
    """
    found = _find(path_or_text, root or Path.cwd())
    if found is None:
        prompt = Prompt(messages=({"role": "user", "content": str(path_or_text)},), name=name or "")
        compile(prompt)
        return prompt
    path, fragment = found
    syntax = "jinja" if path.suffix.lower() in _JINJA else "format"
    inner = Path(path.stem) if syntax == "jinja" else path
    text = _read(path)
    lines: Lines = {}
    if inner.suffix.lower() in _STRUCTURED:
        value, lines = _parse(text, path, json=inner.suffix.lower() == ".json")
        place, chosen, entry = _choose(value, _Place(path, lines), name or fragment)
        messages, places = _messages(entry, place)
    else:
        chosen = name or fragment or inner.stem
        text = text[:-1] if text.endswith("\n") else text  # the newline editors add
        messages, places = [{"role": "user", "content": text}], [_Place(path, {(): 1})]
    prompt = Prompt(messages=tuple(messages), syntax=syntax, name=chosen, path=str(path))
    for message, where in zip(messages, places, strict=True):
        _compile_content(message["content"], prompt, where)
    return prompt


def render(prompt: Prompt | None, variables: Json) -> list[Message]:
    """The messages of this prompt for one example's input.

    Args:
        variables: Values by name. Text is `{input}`. A list of messages takes the place of a turn that is only
            `{input}`, or else follows the prompt's turns. Without a prompt, text is one user message and a list
            of messages is taken as it is.

    Raises:
        PromptError: A variable is missing, or can't be written as asked.
    """
    return (_without_prompt if prompt is None else compile(prompt))(variables)


def compile(prompt: Prompt) -> Render:
    """A function from variables to messages; compiled once a prompt.

    Raises:
        PromptError: A template is malformed.
    """
    key = id(prompt)
    known = _compiled.get(key)
    if known is not None and known[0] is prompt:
        return known[1]
    made = _compile(prompt)
    if len(_compiled) >= 256:
        _compiled.clear()
    _compiled[key] = (prompt, made)
    return made


# a prompt holds dicts, so it can't be hashed: kept by identity, with the prompt itself so that ids stay true
_compiled: dict[int, tuple[Prompt, Render]] = {}


def variables(prompt: Prompt) -> set[str]:
    """The names this prompt is filled in from; of `{a.b}` only `a`.

    Jinja variables that a template tests with `is defined` are among them.
    """
    names: set[str] = set()
    for text in _texts(message.get("content") for message in prompt.messages):
        if prompt.syntax == "jinja":
            from jinja2 import meta

            names |= meta.find_undeclared_variables(_environment().parse(text)) - set(_environment().globals)
        else:
            names |= {_root(field.name) for _, field in _parse_format(text, _Where(prompt)) if field}
    return names


def check(prompt: Prompt, columns: Iterable[str]) -> None:
    """Nothing, where these columns fill in the prompt; for a look before the first call.

    Raises:
        PromptError: A `{variable}` has no column.
    """
    if prompt.syntax == "jinja":
        return  # a template may test what is defined: only rendering tells
    known = {column: None for column in columns}
    for text in _texts(message.get("content") for message in prompt.messages):
        for _, field in _parse_format(text, _Where(prompt)):
            if field and field.name not in known and _root(field.name) not in known and field.name != "input":
                raise _missing(prompt, field.name, known)


# reading files


class _Place:
    """Where in a prompt file something stands."""

    def __init__(self, file: Path | None, lines: Lines, path: _Path = ()) -> None:
        self.file, self.lines, self.path = file, lines, path

    def at(self, *keys: str | int) -> _Place:
        return _Place(self.file, self.lines, (*self.path, *keys))

    @property
    def line(self) -> int | None:
        return self.lines.get(self.path)

    @property
    def key(self) -> str | None:
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).lstrip(".") or None

    def error(self, message: str, line: int | None = None) -> PromptError:
        return PromptError(message, file=self.file, line=line or self.line, key=self.key)


class _Where(_Place):
    """A prompt whose file is not at hand any more."""

    def __init__(self, prompt: Prompt) -> None:
        name = f"{prompt.path}#{prompt.name}" if prompt.path and prompt.name else prompt.path or prompt.name
        super().__init__(Path(name) if name else None, {})


def _find(given: str | Path, root: Path) -> tuple[Path, str | None] | None:
    """The file meant, and the name after `#`; None where it is text."""
    text = str(given)
    is_path = isinstance(given, Path)
    if not is_path and ("\n" in text or len(text) > 4096 or "\0" in text):
        return None
    for name, fragment in ((text, None), (text.partition("#")[0], text.partition("#")[2] or None)):
        if Path(name).suffix.lower() in (*_JINJA, *_TEXT, *_STRUCTURED):
            path = root / Path(name).expanduser()
            if path.is_file():
                return path.absolute(), fragment
            if path.exists():
                raise PromptError("is not a file", file=path)
            if is_path or not re.search(r"[\s{}]", name):
                near = _near(path)
                raise PromptError(f"there is no such prompt file.{near}", file=path)
    if is_path or re.fullmatch(r"[^\s{}]+/[^\s{}]+", text):
        raise PromptError(
            f"{text!r} is neither a prompt file ({', '.join((*_STRUCTURED, *_TEXT, *_JINJA))}) nor the text of a message"
        )
    return None


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PromptError(f"can't be read: {error.strerror}", file=path) from None
    if len(data) > MAX_FILE_BYTES:
        raise PromptError(f"is larger than {MAX_FILE_BYTES // 2**20} MiB, the most for a prompt", file=path)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PromptError(f"byte {data[error.start]:#04x} is not UTF-8", file=path, line=line) from None


def _parse(text: str, path: Path, *, json: bool) -> tuple[Json, Lines]:
    if json:
        try:
            return codec.parse(text), {}
        except CodecError as error:
            raise PromptError(f"not JSON: {error}", file=path) from None
    from ratchet import yaml12

    try:
        return yaml12.load_with_lines(text)
    except yaml12.YamlError as error:
        raise PromptError(str(error), file=path, line=error.line) from None


def _choose(value: Json, place: _Place, name: str | None) -> tuple[_Place, str, dict[str, Json]]:
    """The entry of this name among all that the file holds."""
    entries = _entries(value, place)
    names = [known for known, _, _ in entries]
    if doubled := {known for known in names if names.count(known) > 1}:
        raise place.error(f"holds several prompts named {min(doubled)!r}")
    if name is None:
        if len(entries) == 1:
            return entries[0][1], entries[0][0], entries[0][2]
        raise place.error(
            f"holds {len(entries)} prompts: {', '.join(names)}. Choose one: {place.file}#{names[0]}"
        )
    for known, where, entry in entries:
        if known == name or (len(entries) == 1 and not known):
            return where, name, entry
    raise place.error(
        f"holds no prompt named {name!r}. Known: {', '.join(names)}.{did_you_mean(name, names)}"
    )


def _entries(value: Json, place: _Place) -> list[tuple[str, _Place, dict[str, Json]]]:
    if isinstance(value, dict) and "prompts" in value:
        value, place = value["prompts"], place.at("prompts")
        if isinstance(value, dict):
            return [_entry(item, place.at(str(key)), str(key)) for key, item in value.items()]
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        value = {"messages": value}
        place = _Place(place.file, {("messages", *k[len(place.path) :]): v for k, v in place.lines.items()})
    if isinstance(value, dict) and value:
        return [_entry(value, place, str(value.get("name") or ""))]
    if isinstance(value, list) and value:
        found: list[tuple[str, _Place, dict[str, Json]]] = []
        for index, item in enumerate(value):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise place.at(index).error("a prompt in a list needs a name: {name, system, user}")
            found.append(_entry(item, place.at(index), item["name"]))
        return found
    raise place.error(
        f"found {_kind(value)}, expected {{messages: [...]}}, {{system, user}} or a list of named prompts"
    )


def _entry(item: Json, place: _Place, name: str) -> tuple[str, _Place, dict[str, Json]]:
    if not isinstance(item, dict):
        raise place.error(f"found {_kind(item)}, expected a prompt: {{messages: [...]}} or {{system, user}}")
    return name, place, cast("dict[str, Json]", item)


def _messages(entry: dict[str, Json], place: _Place) -> tuple[list[Message], list[_Place]]:
    """The turns of one prompt in order: system, few-shot turns, the rest."""
    for key in entry:
        if key not in _ENTRY_KEYS and (near := did_you_mean(str(key), _ENTRY_KEYS)):
            raise place.at(str(key)).error(f"is not part of a prompt.{near}")
    turns: list[tuple[Message, _Place]] = []
    if "messages" in entry:
        turns = [_message(m, where) for m, where in _list_of(entry["messages"], place.at("messages"))]
    else:
        for role in ("system", "user", "assistant"):
            if entry.get(role) is not None:
                content, where = _value(entry[role], place.at(role))
                turns.append(({"role": role, "content": content}, where))
    if entry.get("examples") is not None:
        start = next(
            (i for i, (m, _) in enumerate(turns) if m["role"] not in ("system", "developer")), len(turns)
        )
        turns[start:start] = _few_shot(entry["examples"], place.at("examples"))
    if not turns:
        raise place.error("a prompt needs at least one turn: system, user, assistant or messages")
    return [message for message, _ in turns], [where for _, where in turns]


def _few_shot(examples: Json, place: _Place) -> list[tuple[Message, _Place]]:
    turns: list[tuple[Message, _Place]] = []
    for shot, where in _list_of(examples, place):
        if not isinstance(shot, dict) or set(shot) != set(_FEW_SHOT_KEYS):
            raise where.error(f"found {_kind(shot)}, expected {{user: ..., assistant: ...}}")
        for role in _FEW_SHOT_KEYS:
            content, here = _value(shot[role], where.at(role))
            turns.append(({"role": role, "content": content}, here))
    return turns


def _message(item: Json, place: _Place) -> tuple[Message, _Place]:
    if not isinstance(item, dict):
        raise place.error(f"found {_kind(item)}, expected {{role: ..., content: ...}}")
    role = item.get("role")
    if role not in ROLES:
        near = did_you_mean(str(role), ROLES)
        raise place.error(f"role is {_short(role)}, expected one of {', '.join(ROLES)}.{near}")
    content = item.get("content")
    if content is None and "tool_calls" in item:
        return {**item, "content": None}, place.at("content")
    if not isinstance(content, list):
        content, where = _value(content, place.at("content"))
        return {**item, "content": content}, where
    for part, where in _list_of(content, place.at("content")):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise where.error(f"found {_kind(part)}, expected a part such as {{type: text, text: ...}}")
    return {**item}, place.at("content")


def _value(item: Json, place: _Place) -> tuple[str, _Place]:
    """The text of a turn: itself, or under `value`."""
    if isinstance(item, dict) and "value" in item:
        item, place = item["value"], place.at("value")
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        item = str(item)
    if not isinstance(item, str):
        raise place.error(f"found {_kind(item)}, expected text")
    return item, place


def _list_of(value: Json, place: _Place) -> list[tuple[Json, _Place]]:
    if not isinstance(value, list):
        raise place.error(f"found {_kind(value)}, expected a list")
    return [(item, place.at(index)) for index, item in enumerate(cast("list[Json]", value))]


# compiling and rendering

_Fill: TypeAlias = Callable[[Mapping[str, Json], Json], Json]
"""Variables and the whole input become the content of one turn."""


def _compile(prompt: Prompt) -> Render:
    where = _Where(prompt)
    turns: list[tuple[Message, _Fill, bool]] = []
    for message in prompt.messages:
        content = message.get("content")
        only_input = isinstance(content, str) and re.fullmatch(r"\s*\{{1,2}\s*input\s*\}{1,2}\s*", content)
        turns.append((message, _compile_content(content, prompt, where), bool(only_input)))
    takes_input = "input" in variables(prompt)

    def render_turns(given: Json) -> list[Message]:
        if type(given) is dict:
            return [{**message, "content": fill(given, given)} for message, fill, _ in turns]
        values = cast("Mapping[str, Json]", given) if isinstance(given, Mapping) else {"input": given}
        if not _are_messages(given):
            return [{**message, "content": fill(values, given)} for message, fill, _ in turns]
        out: list[Message] = []
        for message, fill, only_input in turns:
            out.extend(given if only_input else [{**message, "content": fill(values, given)}])
        return out if takes_input else [*out, *given]

    return render_turns


def _without_prompt(given: Json) -> list[Message]:
    if _are_messages(given):
        return list(given)
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if isinstance(given, Mapping) and _are_messages(given.get("messages")):
        return list(given["messages"])
    raise PromptError(
        f"the input is {_kind(given)} and there is no prompt. Name a prompt, or give text or a list of messages"
    )


def _are_messages(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and "role" in m for m in value)


def _compile_content(content: Json, prompt: Prompt, place: _Place) -> _Fill:
    if isinstance(content, str):
        if prompt.syntax == "jinja":
            return _compile_jinja(content, prompt, place)
        return _compile_format(content, prompt, place)
    if isinstance(content, list):
        fills = [_compile_content(item, prompt, place) for item in cast("list[Json]", content)]
        return lambda values, given: [fill(values, given) for fill in fills]
    if isinstance(content, Mapping):
        # the type of a part is a word of the wire's, not a template
        parts = {k: None if k == "type" else _compile_content(v, prompt, place) for k, v in content.items()}
        return lambda values, given: {k: f(values, given) if f else content[k] for k, f in parts.items()}
    return lambda values, given: content


def _texts(contents: Iterable[Json]) -> Iterable[str]:
    for content in contents:
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from _texts(cast("list[Json]", content))
        elif isinstance(content, Mapping):
            yield from _texts(value for key, value in content.items() if key != "type")


# format syntax


class _Field:
    __slots__ = ("conversion", "name", "spec")

    def __init__(self, name: str, conversion: str, spec: str) -> None:
        self.name, self.conversion, self.spec = name, conversion, spec


_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_FIELD = re.compile(r"([^!:]*)(?:!([^:]*))?(?::(.*))?", re.DOTALL)
_SPEC = re.compile(r"(?:[^{}]?[<>=^])?[-+ ]?z?#?0?\d{0,4}[,_]?(?:\.\d{1,3})?[bcdeEfFgGnosxX%]?", re.DOTALL)
_STEPS = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^\[\]]+\])+")
_STEP = re.compile(r"[^.\[\]]+")


def _parse_format(text: str, place: _Place) -> list[tuple[str, _Field | None]]:
    """Literal texts, each with the field that follows it."""
    pieces: list[tuple[str, _Field | None]] = []
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


def _field(inside: str, place: _Place, line: int) -> _Field:
    shown = _short("{" + inside + "}")
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
    return _Field(name, conversion, spec)


def _compile_format(text: str, prompt: Prompt, place: _Place) -> _Fill:
    pieces = _parse_format(text, place)
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
        raise _missing(prompt, name, values)
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
                else f"is {_kind(value)}"
            )
            raise _Where(prompt).error(f"{{{name}}} can't be filled in: what {step!r} is looked for in {has}")
    return value


def as_text(value: Json) -> str:
    """Text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return codec.dumps(value).decode()


def _written(value: Json, field: _Field, prompt: Prompt) -> str:
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
            raise ValueError(f"it is {_kind(value)}, not one number or text")
        return format(value, field.spec)
    except (ValueError, OverflowError) as error:
        raise _Where(prompt).error(
            f"{{{field.name}:{field.spec}}} can't be written from {_short(value)}: {error}"
        ) from None


def _root(name: str) -> str:
    return _STEP.findall(name)[0] if _STEPS.fullmatch(name) else name


def _missing(prompt: Prompt, name: str, known: Iterable[str]) -> PromptError:
    columns = [str(column) for column in known]
    shown = ", ".join(columns[:30]) + (", …" if len(columns) > 30 else "")
    return _Where(prompt).error(
        f"needs the variable {name!r}, which the example doesn't have. "
        f"Columns there are: {shown or 'none'}.{did_you_mean(name, columns)}"
    )


# Jinja


@cache
def _environment() -> Any:
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


def _compile_jinja(text: str, prompt: Prompt, place: _Place) -> _Fill:
    import jinja2.meta

    try:
        template = _environment().from_string(text)
        needed: set[str] = jinja2.meta.find_undeclared_variables(_environment().parse(text))
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
                    raise _missing(prompt, name, values) from None
            raise _Where(prompt).error(f"can't be filled in: {error.message}") from None
        except Exception as error:  # a template runs as code: whatever it raises is the prompt's fault
            raise _Where(prompt).error(
                f"can't be filled in: {type(error).__name__}: {_short(str(error))}"
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


def _kind(value: Json) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(repr, list(value)[:8])) or 'no keys'}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)}"
    return _short(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
