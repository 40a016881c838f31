"""YAML as version 1.2's core schema reads it: `no` is text, dates stay the text they are, aliases can't explode.

So a value written without quotes is the same in YAML as in JSON. PyYAML parses (in C where it can) and is
loaded when first used.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, BinaryIO

from ratchet.errors import RatchetError
from ratchet.records import Json

MAX_NODES = 1_000_000
"""Values in one document or list item, aliases written out."""

_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)

Path = tuple[str | int, ...]


class YamlError(RatchetError, ValueError):
    """Text that is not YAML we read; `line` counts from 1."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def load(text: str | bytes | BinaryIO) -> Json:
    """The value of the first document; None where there is none."""
    return next(documents(text), (1, None))[1]


def load_with_lines(text: str | bytes) -> tuple[Json, dict[Path, int]]:
    """The value of the first document, and the line (from 1) where each part of it begins, by path.

    For a block of text (`|` or `>`) that is the line of its first character.
    """
    loader = _loader()(text)
    with _Guard(loader, text):
        loader.get_event()
        if loader.check_event(_yaml().StreamEndEvent):
            return None, {}
        loader.get_event()
        node = loader.compose_node(None, None)
        _check_size(node)
        lines: dict[Path, int] = {}
        _collect_lines(node, (), lines)
        return loader.construct_document(node), lines
    raise AssertionError


def documents(source: str | bytes | BinaryIO) -> Iterator[tuple[int, Json]]:
    """Each document with its line."""
    for line, value, _ in _stream(source, split_lists=False):
        yield line, value


def items(source: str | bytes | BinaryIO) -> Iterator[tuple[int, Json]]:
    """Each item of each top-level list, read one at a time, and each other document whole; with its line."""
    for line, value, _ in _stream(source, split_lists=True):
        yield line, value


def _stream(source: str | bytes | BinaryIO, *, split_lists: bool) -> Iterator[tuple[int, Json, None]]:
    yaml = _yaml()
    loader = _loader()(source)
    with _Guard(loader, source):
        loader.get_event()
        while not loader.check_event(yaml.StreamEndEvent):
            loader.get_event()
            loader.anchors = {}
            if split_lists and loader.check_event(yaml.SequenceStartEvent):
                loader.get_event()
                while not loader.check_event(yaml.SequenceEndEvent):
                    yield _next_value(loader)
                loader.get_event()
            else:
                yield _next_value(loader)
            loader.get_event()


def _next_value(loader: Any) -> tuple[int, Json, None]:
    node = loader.compose_node(None, None)
    _check_size(node)
    return node.start_mark.line + 1, loader.construct_document(node), None


class _Guard:
    """Turns what PyYAML and Python raise about hostile text into `YamlError`, and frees the parser."""

    def __init__(self, loader: Any, source: str | bytes | BinaryIO) -> None:
        self._loader = loader
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._loader.dispose()
        if error is None or isinstance(error, (YamlError, GeneratorExit)):
            return
        if isinstance(error, _yaml().YAMLError):
            mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
            line = mark.line + 1 if mark else _line_at(self._source, getattr(error, "position", None))
            raise YamlError(f"not YAML: {problem}", line) from None
        if isinstance(error, RecursionError):
            raise YamlError("nested too deeply", None) from None
        if isinstance(error, UnicodeDecodeError):
            raise YamlError(f"not UTF-8: {error.reason}", None) from None
        if isinstance(error, (ValueError, TypeError, OverflowError)):
            raise YamlError(f"not YAML: {error}", None) from None


def _line_at(source: str | bytes | BinaryIO, position: int | None) -> int | None:
    """The line (from 1) of this byte; None where it can't be told any more."""
    if position is None:
        return None
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    if isinstance(source, bytes):
        return source.count(b"\n", 0, position) + 1
    if not source.seekable():
        return None
    source.seek(0)
    line = 1
    while position > 0 and (piece := source.read(min(position, 1 << 20))):
        line += piece.count(b"\n")
        position -= len(piece)
    return line


def _check_size(node: Any) -> None:
    """Refuse aliases that contain themselves, and those that write out to too much."""
    sizes: dict[int, int] = {}
    if _size(node, sizes) > MAX_NODES:
        raise YamlError(f"aliases write out to more than {MAX_NODES:,} values", node.start_mark.line + 1)


def _size(node: Any, sizes: dict[int, int]) -> int:
    known = sizes.get(id(node))
    if known == -1:
        raise YamlError("an alias contains itself", node.start_mark.line + 1)
    if known is not None:
        return known
    if isinstance(node.value, str):
        return 1
    sizes[id(node)] = -1
    if node.id == "mapping":
        _check_keys(node)
    total = 1
    for child in node.value:
        parts = child if isinstance(child, tuple) else (child,)
        total += sum(_size(part, sizes) for part in parts)
    sizes[id(node)] = total
    return total


def _check_keys(node: Any) -> None:
    """Refuse a key that stands twice: YAML 1.2 forbids it, PyYAML lets the last one win in silence."""
    first: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key.value, str):
            continue
        line = key.start_mark.line + 1
        if key.value in first:
            raise YamlError(f"the key {key.value!r} stands on line {first[key.value]} already", line)
        first[key.value] = line


def _collect_lines(node: Any, path: Path, lines: dict[Path, int]) -> None:
    block = getattr(node, "style", None) in ("|", ">")
    lines[path] = node.start_mark.line + (2 if block else 1)
    if isinstance(node.value, str):
        return
    for index, child in enumerate(node.value):
        if isinstance(child, tuple):
            _collect_lines(child[1], (*path, str(child[0].value)), lines)
        else:
            _collect_lines(child, (*path, index), lines)


def _yaml() -> Any:
    import yaml

    return yaml


@cache
def _loader() -> Callable[[str | bytes | BinaryIO], Any]:
    """A class like `yaml.CSafeLoader` that composes item by item and resolves by the core schema."""
    yaml = _yaml()
    if yaml.__with_libyaml__:
        CParser: Any = importlib.import_module("yaml.cyaml").CParser

        class CLoader(
            CParser, yaml.composer.Composer, yaml.constructor.SafeConstructor, yaml.resolver.BaseResolver
        ):
            def __init__(self, stream: Any) -> None:
                CParser.__init__(self, stream)
                _init(self)

        made: Any = CLoader
    else:

        class PyLoader(
            yaml.reader.Reader,
            yaml.scanner.Scanner,
            yaml.parser.Parser,
            yaml.composer.Composer,
            yaml.constructor.SafeConstructor,
            yaml.resolver.BaseResolver,
        ):
            def __init__(self, stream: Any) -> None:
                yaml.reader.Reader.__init__(self, stream)
                yaml.scanner.Scanner.__init__(self)
                yaml.parser.Parser.__init__(self)
                _init(self)

        made = PyLoader
    _teach(made)
    return made


def _init(loader: Any) -> None:
    yaml = _yaml()
    yaml.composer.Composer.__init__(loader)
    yaml.constructor.SafeConstructor.__init__(loader)
    yaml.resolver.BaseResolver.__init__(loader)


def _teach(made: Any) -> None:
    tag = "tag:yaml.org,2002:"
    made.add_implicit_resolver(f"{tag}bool", _BOOL, list("tTfF"))
    made.add_implicit_resolver(f"{tag}null", _NULL, ["~", "n", "N", ""])
    made.add_implicit_resolver(f"{tag}int", _INT, list("-+0123456789"))
    made.add_implicit_resolver(f"{tag}float", _FLOAT, list("-+0123456789."))
    made.add_implicit_resolver(f"{tag}merge", re.compile(r"^<<$"), ["<"])
    made.add_constructor(f"{tag}int", _construct_int)
    made.add_constructor(f"{tag}timestamp", lambda loader, node: loader.construct_scalar(node))


def _construct_int(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text[2:] if base != 10 else text, base)
    except ValueError:
        raise YamlError(
            f"{text[:40]!r} is not a whole number that can be read", node.start_mark.line + 1
        ) from None
