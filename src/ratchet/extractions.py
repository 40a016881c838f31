"""An output becomes an answer: `compile` turns an `Extraction` into a function from Trace to Trace.

What can't be extracted is an answer of None with `answer_error`, never the raw output. JSON is looked for by one
rule (`find_json`): the whole text; else the last fenced block that holds JSON; else the last object that stands
anywhere in the text; else the last array.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ratchet import codec, plugins, policy
from ratchet.errors import CodecError, ConfigError, ScorerError, UnknownNameError, did_you_mean
from ratchet.patterns import compile_pattern, find
from ratchet.records import Extraction, Json, Trace

MAX_CHARACTERS = 500_000
"""Longer outputs are not searched for JSON."""

Step = Callable[[Json], Json]
"""An output (text, or the value a function returned) to an answer; raises ScorerError where there is none."""


@dataclass(frozen=True, slots=True)
class Extractor:
    """Gives a trace its answer; call it."""

    step: Step
    inline: bool = True
    """Never waits for long; call it between two model calls. Others belong in a thread."""

    def __call__(self, trace: Trace) -> Trace:
        """The trace with `answer`, or with `answer_error`; a failed one as it is."""
        if trace.error is not None:
            return trace
        if trace.output is None:
            return trace.replace(answer=None, answer_error=_why_empty(trace))
        try:
            answer = self.step(trace.output)
        except ScorerError as error:
            return trace.replace(answer=None, answer_error=codec.clean_text(str(error)))
        return trace.replace(answer=answer, answer_error=None)


def _why_empty(trace: Trace) -> str:
    if trace.refusal is not None:
        return "the model refused"
    return "there is no text: the model called tools instead" if trace.tool_calls else "the output is empty"


def compile(extraction: Extraction | None, *, root: Path | None = None) -> Callable[[Trace], Trace]:
    """A function that gives a trace its answer; without an extraction, the answer is the output.

    Raises:
        UnknownNameError: No such kind.
        ConfigError: Arguments that don't fit the kind.
    """
    return Extractor(_same) if extraction is None else extractor(extraction, root=root)


def extractor(extraction: Extraction, *, root: Path | None = None) -> Extractor:
    """As `compile`, typed: its `inline` says whether it may be called on an event loop."""
    root = root or Path.cwd()
    if extraction.kind == "chain":
        steps = [extractor(resolve(spec), root=root) for spec in _steps(extraction.args)]
        return Extractor(_chained([each.step for each in steps]), all(each.inline for each in steps))
    if ":" in extraction.kind:
        return Extractor(_own(extraction.kind, extraction.args, root), inline=False)
    if extraction.kind not in _KINDS:
        raise UnknownNameError("extraction", extraction.kind, KINDS, hint="Your own: pkg.module:function")
    return Extractor(_build(extraction.kind, extraction.args))


def resolve(spec: str | Mapping[str, Json] | Extraction) -> Extraction:
    """The extraction that a config means: `strip`, `{json_key: {key: answer}}` or `{type: json_key, args: {…}}`."""
    if isinstance(spec, Extraction):
        return spec
    if isinstance(spec, str):
        return Extraction(kind=spec)
    if isinstance(spec, Mapping):
        named = spec.get("type", spec.get("kind"))
        if isinstance(named, str) and set(spec) <= {"type", "kind", "args"}:
            return Extraction(kind=named, args=_arguments(named, spec.get("args")))
        if len(spec) == 1:
            kind, args = next(iter(spec.items()))
            return Extraction(kind=str(kind), args=_arguments(str(kind), args))
    raise ConfigError(
        f"{_short(spec)} is not an extraction; expected {{json_key: {{key: answer}}}} or a name"
    )


def _arguments(kind: str, args: Json) -> Mapping[str, Json]:
    if kind == "chain" and isinstance(args, list):
        return {"steps": args}
    if args is None or isinstance(args, Mapping):
        return dict(args or {})
    raise ConfigError(f"the arguments of extraction {kind!r} are {_short(args)}, expected a mapping")


def _steps(args: Mapping[str, Json]) -> list[Any]:
    steps = args.get("steps")
    if not isinstance(steps, (list, tuple)) or not steps or set(args) != {"steps"}:
        raise ConfigError("extraction 'chain' needs steps: a list of extractions")
    return list(steps)


def _build(kind: str, args: Mapping[str, Json]) -> Step:
    builder = _KINDS[kind]
    known = inspect.signature(builder).parameters
    for key in args:
        if key not in known:
            raise ConfigError(
                f"extraction {kind!r} has no argument {str(key)!r}. "
                f"Known: {', '.join(known) or 'none'}.{did_you_mean(str(key), known)}"
            )
    missing = [name for name, p in known.items() if p.default is p.empty and name not in args]
    if missing:
        raise ConfigError(f"extraction {kind!r} needs the argument {missing[0]!r}")
    hints = typing.get_type_hints(builder)
    for key, value in args.items():
        try:
            codec._decoder(hints[key])(codec.plain(value), (key,))
        except CodecError as error:
            raise ConfigError(f"argument {key!r} of extraction {kind!r} is {error.message}") from None
    return builder(**args)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _same(output: Json) -> Json:
    return output


def _chained(steps: list[Step]) -> Step:
    def run(output: Json) -> Json:
        for step in steps:
            output = step(output)
        return output

    return run


def _own(target: str, args: Mapping[str, Json], root: Path) -> Step:
    function = plugins.load(target, root=root)
    if not callable(function):
        raise ConfigError(f"extraction {target!r} is {type(function).__name__}, expected a function")

    def run(output: Json) -> Json:
        try:
            answer = codec.plain(function(output, **args))
        except ScorerError:
            raise
        except (Exception, SystemExit) as error:
            said = _short(policy.redact(str(error)))
            raise ScorerError(f"{target} raised {type(error).__name__}: {said}") from None
        if answer is None:
            raise ScorerError(f"{target} returned None")
        return answer

    return run


def _strip() -> Step:
    return lambda output: _text(output).strip()


def _json() -> Step:
    return _value


def _json_key(*, key: str) -> Step:
    return lambda output: _member(_value(output), key)


def _nested_key(*, keys: list[str | int]) -> Step:
    if not keys:
        raise ConfigError("extraction 'nested_key' has no keys")

    def run(output: Json) -> Json:
        value = _value(output)
        for key in keys:
            value = _member(value, key)
        return value

    return run


def _custom_answer(*, primary_key: str, fallback_key: str) -> Step:
    def run(output: Json) -> Json:
        value = _value(output)
        if isinstance(value, Mapping) and value.get(primary_key) is not None:
            return value[primary_key]
        return _member(value, fallback_key)

    return run


def _split(*, delimiter: str, index: int) -> Step:
    if not delimiter:
        raise ConfigError("extraction 'split' has an empty delimiter")

    def run(output: Json) -> Json:
        parts = _text(output).split(delimiter)
        try:
            return parts[index]
        except IndexError:
            raise ScorerError(
                f"splitting at {delimiter!r} gives {len(parts)} part(s), no part {index}"
            ) from None

    return run


def _regex(
    *,
    pattern: str,
    group: int | str | None = None,
    flags: str = "",
    which: Literal["first", "last"] = "first",
) -> Step:
    compiled = compile_pattern(pattern, flags)
    chosen = group if group is not None else min(1, compiled.groups)
    known = [*range(compiled.groups + 1), *compiled.groupindex]
    if chosen not in known:
        raise ConfigError(f"{pattern!r} has no group {chosen!r}. Known: {', '.join(map(str, known))}.")

    def run(output: Json) -> Json:
        match = find(compiled, _text(output), last=which == "last")
        if match is None:
            raise ScorerError(f"{pattern!r} matches nothing in {_short(output)}")
        if match[chosen] is None:
            raise ScorerError(f"group {chosen!r} of {pattern!r} matched nothing")
        return match[chosen]

    return run


def _tag(*, name: str, which: Literal["first", "last"] = "last") -> Step:
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(f"{name!r} is not a tag's name; expected letters, digits, '_', '-' or '.'")
    return lambda output: find_tag(_text(output), name, which=which)


_KINDS: dict[str, Callable[..., Step]] = {
    "json_key": _json_key,
    "nested_key": _nested_key,
    "split": _split,
    "custom_answer": _custom_answer,
    "regex": _regex,
    "json": _json,
    "strip": _strip,
    "tag": _tag,
}
KINDS = (*_KINDS, "chain")


def _text(output: Json) -> str:
    if not isinstance(output, str):
        raise ScorerError(f"the output is a {type(output).__name__}, expected text")
    return output


def _value(output: Json) -> Json:
    return find_json(output) if isinstance(output, str) else output


def _member(value: Json, key: str | int) -> Json:
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        if str(key) in value:
            return value[str(key)]
        raise ScorerError(f"there is no key {key!r}; the keys are {_short(list(value))}")
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool):
        if -len(value) <= key < len(value):
            return value[key]
        raise ScorerError(f"there is no item {key}; the list has {len(value)}")
    raise ScorerError(f"there is no key {key!r} in a {type(value).__name__}")


def find_tag(text: str, name: str, *, which: Literal["first", "last"] = "last") -> str:
    """The text between `<name>` and `</name>`, stripped; case doesn't count.

    Raises:
        ScorerError: There is no such pair.
    """
    folded, opening, closing = text.lower(), f"<{name.lower()}>", f"</{name.lower()}>"
    # a few capitals change their length in lower case; then places in `folded` are not places in `text`
    source = text if len(folded) == len(text) else folded
    if which == "last":
        end = folded.rfind(closing)
        start = folded.rfind(opening, 0, max(end, 0))
    else:
        start = folded.find(opening)
        end = folded.find(closing, max(start, 0))
    if start < 0 or end < 0:
        raise ScorerError(f"there is no {opening}…{closing} in {_short(text)}")
    return source[start + len(opening) : end].strip()


def find_json(text: str) -> Json:
    """The JSON value in this text: all of it; else the last fenced block that is JSON; else the last object in it,
    else the last array.

    Raises:
        ScorerError: There is none, or the text is longer than `MAX_CHARACTERS`.
    """
    if len(text) > MAX_CHARACTERS:
        raise ScorerError(
            f"the output has {len(text):,} characters; JSON is looked for in {MAX_CHARACTERS:,}"
        )
    stripped = text.strip().removeprefix("\ufeff")
    try:
        return _DECODER.decode(stripped)
    except (ValueError, RecursionError):
        pass  # not JSON as a whole: look inside
    for block in reversed(list(_fenced(stripped))):
        try:
            return _DECODER.decode(block)
        except (ValueError, RecursionError):
            continue
    values = list(_embedded(stripped))
    for kind in (dict, list):
        for value in reversed(values):
            if isinstance(value, kind):
                return value
    raise ScorerError(f"there is no JSON in {_short(text)}")


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _fenced(text: str) -> Iterator[str]:
    """What stands between ``` marks at the start of lines."""
    block: list[str] | None = None
    for line in text.splitlines():
        if not line.lstrip().startswith("```"):
            if block is not None:
                block.append(line)
        elif block is None:
            block = []
        else:
            yield "\n".join(block)
            block = None


def _embedded(text: str) -> Iterator[Json]:
    """Every outermost object and array in the text that is complete, in order."""
    # text made to be parsed again and again from each bracket ends here
    budget = 2 * len(text) + 10_000
    start = 0
    while budget > 0 and (opening := _OPENING.search(text, start)):
        start = opening.start()
        if (
            start > _WINDOW
        ):  # a JSONDecodeError counts the lines before it, so the text before it is kept short
            text, start = text[start:], 0
        try:
            value, end = _DECODER.raw_decode(text, start)
            yield value
            budget -= end - start
            start = end
        except json.JSONDecodeError as error:
            budget -= error.pos - start + 1
            start += 1
        except (ValueError, RecursionError):
            budget -= 1_000
            start += 1


_WINDOW = 4_096
_OPENING = re.compile(r"[{\[]")
