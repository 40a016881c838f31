"""Prompt files become prompts, and prompts with an example's input become messages.

Two ways to write variables: `{column}` with `{{` and `}}` for braces ("format"), or sandboxed Jinja, chosen by
the file's extension. Values are put in as they are, never read as templates.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

from ratchet import codec
from ratchet.errors import CodecError, PromptError, did_you_mean
from ratchet.records import Json, Message, Prompt
from ratchet.templates import (
    Fill,
    Lines,
    Place,
    Where,
    compile_format,
    compile_jinja,
    environment,
    kind_of,
    missing,
    parse_format,
    root_of,
    short,
)

Render: TypeAlias = Callable[[Json], list[Message]]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_FILE_BYTES = 16 * 2**20

_JINJA = (".j2", ".jinja", ".jinja2")
_TEXT = (".txt", ".md")
_STRUCTURED = (".yaml", ".yml", ".json")
_ENTRY_KEYS = ("name", "messages", "system", "user", "assistant", "examples")
_FEW_SHOT_KEYS = ("user", "assistant")
_ONLY_INPUT = {
    "format": re.compile(r"\s*\{input\}\s*"),
    "jinja": re.compile(r"\s*\{\{-?\s*input\s*-?\}\}\s*"),
}


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
        place, chosen, entry = _choose(value, Place(path, lines), name or fragment)
        messages, places = _messages(entry, place)
    else:
        chosen = name or fragment or inner.stem
        text = text[:-1] if text.endswith("\n") else text  # the newline editors add
        messages, places = [{"role": "user", "content": text}], [Place(path, {(): 1})]
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
    compile(prompt)
    return _names(prompt)


def _names(prompt: Prompt) -> set[str]:
    names: set[str] = set()
    for text in _texts(message.get("content") for message in prompt.messages):
        if prompt.syntax == "jinja":
            from jinja2 import meta

            names |= meta.find_undeclared_variables(environment().parse(text)) - set(environment().globals)
        else:
            names |= {root_of(field.name) for _, field in parse_format(text, Where(prompt)) if field}
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
        for _, field in parse_format(text, Where(prompt)):
            if (
                field
                and field.name not in known
                and root_of(field.name) not in known
                and field.name != "input"
            ):
                raise missing(prompt, field.name, known)


# reading files


def _find(given: str | Path, root: Path) -> tuple[Path, str | None] | None:
    """The file meant, and the name after `#`; None where it is text."""
    text = str(given)
    is_path = isinstance(given, Path)
    if not is_path and ("\n" in text or len(text) > 4096 or "\0" in text):
        return None
    for name, fragment in ((text, None), (text.partition("#")[0], text.partition("#")[2] or None)):
        if Path(name).suffix.lower() in (*_JINJA, *_TEXT, *_STRUCTURED):
            path = root / os.path.expanduser(name)
            if os.path.isfile(path):
                return path.absolute(), fragment
            if os.path.exists(path):
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


def _choose(value: Json, place: Place, name: str | None) -> tuple[Place, str, dict[str, Json]]:
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


def _entries(value: Json, place: Place) -> list[tuple[str, Place, dict[str, Json]]]:
    if isinstance(value, dict) and "prompts" in value:
        value, place = value["prompts"], place.at("prompts")
        if isinstance(value, dict):
            return [_entry(item, place.at(str(key)), str(key)) for key, item in value.items()]
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        value = {"messages": value}
        place = Place(place.file, {("messages", *k[len(place.path) :]): v for k, v in place.lines.items()})
    if isinstance(value, dict) and value:
        return [_entry(value, place, str(value.get("name") or ""))]
    if isinstance(value, list) and value:
        found: list[tuple[str, Place, dict[str, Json]]] = []
        for index, item in enumerate(value):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise place.at(index).error("a prompt in a list needs a name: {name, system, user}")
            found.append(_entry(item, place.at(index), item["name"]))
        return found
    raise place.error(
        f"found {kind_of(value)}, expected {{messages: [...]}}, {{system, user}} or a list of named prompts"
    )


def _entry(item: Json, place: Place, name: str) -> tuple[str, Place, dict[str, Json]]:
    if not isinstance(item, dict):
        raise place.error(
            f"found {kind_of(item)}, expected a prompt: {{messages: [...]}} or {{system, user}}"
        )
    return name, place, cast("dict[str, Json]", item)


def _messages(entry: dict[str, Json], place: Place) -> tuple[list[Message], list[Place]]:
    """The turns of one prompt in order: system, few-shot turns, the rest."""
    for key in entry:
        if key not in _ENTRY_KEYS and (near := did_you_mean(str(key), _ENTRY_KEYS)):
            raise place.at(str(key)).error(f"is not part of a prompt.{near}")
    turns: list[tuple[Message, Place]] = []
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


def _few_shot(examples: Json, place: Place) -> list[tuple[Message, Place]]:
    turns: list[tuple[Message, Place]] = []
    for shot, where in _list_of(examples, place):
        if not isinstance(shot, dict) or set(shot) != set(_FEW_SHOT_KEYS):
            raise where.error(f"found {kind_of(shot)}, expected {{user: ..., assistant: ...}}")
        for role in _FEW_SHOT_KEYS:
            content, here = _value(shot[role], where.at(role))
            turns.append(({"role": role, "content": content}, here))
    return turns


def _message(item: Json, place: Place) -> tuple[Message, Place]:
    if not isinstance(item, dict):
        raise place.error(f"found {kind_of(item)}, expected {{role: ..., content: ...}}")
    role = item.get("role")
    if role not in ROLES:
        near = did_you_mean(str(role), ROLES)
        raise place.error(f"role is {short(role)}, expected one of {', '.join(ROLES)}.{near}")
    content = item.get("content")
    if content is None and "tool_calls" in item:
        return {**item, "content": None}, place.at("content")
    if not isinstance(content, list):
        content, where = _value(content, place.at("content"))
        return {**item, "content": content}, where
    for part, where in _list_of(content, place.at("content")):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise where.error(f"found {kind_of(part)}, expected a part such as {{type: text, text: ...}}")
    return {**item}, place.at("content")


def _value(item: Json, place: Place) -> tuple[str, Place]:
    """The text of a turn: itself, or under `value`."""
    if isinstance(item, dict) and "value" in item:
        item, place = item["value"], place.at("value")
    if isinstance(item, (int, float)) and not isinstance(item, bool):
        item = str(item)
    if not isinstance(item, str):
        raise place.error(f"found {kind_of(item)}, expected text")
    return item, place


def _list_of(value: Json, place: Place) -> list[tuple[Json, Place]]:
    if not isinstance(value, list):
        raise place.error(f"found {kind_of(value)}, expected a list")
    return [(item, place.at(index)) for index, item in enumerate(cast("list[Json]", value))]


# compiling and rendering


def _compile(prompt: Prompt) -> Render:
    where = Where(prompt)
    turns: list[tuple[Message, Fill, bool]] = []
    for message in prompt.messages:
        content = message.get("content")
        only_input = isinstance(content, str) and _ONLY_INPUT[prompt.syntax].fullmatch(content) is not None
        turns.append((message, _compile_content(content, prompt, where), only_input))
    takes_input = "input" in _names(prompt)

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
        f"the input is {kind_of(given)} and there is no prompt. Name a prompt, or give text or a list of messages"
    )


def _are_messages(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, dict) and "role" in m for m in value)


def _compile_content(content: Json, prompt: Prompt, place: Place) -> Fill:
    if isinstance(content, str):
        if prompt.syntax == "jinja":
            return compile_jinja(content, prompt, place)
        return compile_format(content, prompt, place)
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
