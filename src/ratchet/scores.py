"""`@scorer`, and the Scores that a scorer's return value becomes.

A scorer is a function of `(trace)` or `(trace, example)`; its settings are keyword-only parameters:

    @scorer
    def mentions(trace, example, *, word: str = "refund") -> bool:
        return word in trace.answer

What it returns says what kind of score it is: a bool is a pass or a fail, a number a score, text a label, a set (or
list) of texts a set of labels, None "not scored"; `Judgement` adds a reason; a dict gives several Scores, named
`scorer.key` (the key "" keeps the scorer's own name). What it raises becomes a Score of None with the reason.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import numbers
import time
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, overload

from ratchet import codec, plugins, policy
from ratchet.errors import CodecError, ConfigError, ScorerError, did_you_mean
from ratchet.ports import Ask
from ratchet.records import Dimension, Example, Json, Judgement, Score, Scorer, ScoreValue, Trace, Variant

Function = Callable[..., Any]
Prepare = Callable[[dict[str, Json], Path], dict[str, Json]]
"""Settings as written and the project's root to settings that stand alone: files read, patterns checked."""
Models = Callable[[Mapping[str, Json]], list[Variant]]
Revision = Callable[[Mapping[str, Json]], str]
Parts = Sequence[str] | Callable[[Mapping[str, Json]], Sequence[str]]

_RESERVED = ("name", "dimension", "version")
_MAX_REASON = 1_000


@overload
def scorer(function: Function, /) -> Scorer: ...
@overload
def scorer(
    *,
    name: str | None = None,
    dimension: Dimension = "accuracy",
    version: str | None = None,
    inline: bool = False,
    prepare: Prepare | None = None,
    models: Models | None = None,
    parts: Parts = (),
    revision: Revision | None = None,
    judges_errors: bool = False,
    whole_names: bool = False,
) -> Callable[[Function], Scorer]: ...
def scorer(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    dimension: Dimension = "accuracy",
    version: str | None = None,
    inline: bool = False,
    prepare: Prepare | None = None,
    models: Models | None = None,
    parts: Parts = (),
    revision: Revision | None = None,
    judges_errors: bool = False,
    whole_names: bool = False,
) -> Scorer | Callable[[Function], Scorer]:
    """A `Scorer` made of the function below; the function itself stays at `.function`.

    Args:
        name: What its scores are called; the function's name by default.
        version: Bump it whenever earlier scores stop being comparable; by default the function's
            `__version__`, else the hash of its source.
        inline: It takes microseconds and never waits: called between two model calls. Others run in a thread.
        prepare: Called once by `resolve`, to read files named in the settings and refuse bad ones.
        models: The models it will call under these settings, so that keys are asked for before the first call.
        parts: The keys of the dict it returns, or a function of the settings that gives them: so that an answer
            that failed has a None under each name.
        revision: What of the settings makes earlier scores incomparable; it is added to the version, after a "+".
        judges_errors: Also called for traces that failed; all others are then not scored.
        whole_names: The keys of the dict it returns are the scores' names as they are, not `scorer.key`.

    Raises:
        ConfigError: The function doesn't take one or two positional parameters, or is both async and inline.
    """
    if function is None:
        return functools.partial(
            _make,
            name=name,
            dimension=dimension,
            version=version,
            inline=inline,
            extras=_Extras(
                prepare=prepare,
                models=models,
                parts=parts,
                revision=revision,
                judges_errors=judges_errors,
                whole_names=whole_names,
            ),
        )
    return _make(function)


@dataclass(frozen=True, slots=True)
class _Extras:
    """What `@scorer` knows beside the record; kept on the function, because records hold no code."""

    prepare: Prepare | None = None
    models: Models | None = None
    parts: Parts = ()
    revision: Revision | None = None
    judges_errors: bool = False
    whole_names: bool = False


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a function wants to be called."""

    takes_example: bool
    takes_ask: bool
    needs_ask: bool
    is_async: bool
    extras: _Extras
    settings: Mapping[str, inspect.Parameter]
    any_settings: bool


def _make(
    function: Function,
    *,
    name: str | None = None,
    dimension: Dimension = "accuracy",
    version: str | None = None,
    inline: bool = False,
    extras: _Extras | None = None,
) -> Scorer:
    if isinstance(function, Scorer):
        raise ConfigError(f"{function.name!r} is a scorer already; use .using(…) or .replace(…) to change it")
    if extras is not None and extras != _Extras():
        function._ratchet_extras = extras  # type: ignore[attr-defined]
    shape = _shape(function)
    own_name = _function_name(function)
    if inline and shape.is_async:
        raise ConfigError(f"scorer {own_name!r} is async, and inline scorers never wait: drop inline=True")
    return Scorer(
        name=name or own_name,
        target=_target(function),
        version=version or _version(function),
        dimension=dimension,
        function=function,
        inline=inline,
    )


def _function_name(function: Function) -> str:
    function = function.func if isinstance(function, functools.partial) else function
    name = getattr(function, "__name__", None) or type(function).__name__
    return "lambda" if name == "<lambda>" else name


def _target(function: Function) -> str:
    function = function.func if isinstance(function, functools.partial) else function
    module = getattr(function, "__module__", "") or ""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    # built-ins are known by name, so that moving one to another file changes no identity
    if plugins.SCORERS.get(name) == f"{module}:{name}":
        return name
    return f"{module}:{name}"


def _version(function: Function) -> str:
    from ratchet import variants  # it reads prompts, which only some scorers need

    if isinstance(function, functools.partial):
        bound = codec.content_id([repr(function.args), repr(function.keywords)])
        return f"{variants.version_of(function.func)} {bound[:8]}"
    return variants.version_of(function)


@functools.lru_cache(maxsize=4096)
def _shape(function: Function) -> _Shape:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"{function!r} can't be a scorer: its parameters can't be read") from None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    required = [p for p in positional if p.default is p.empty]
    if len(required) > 2 or not (positional or variadic):
        raise ConfigError(
            f"scorer {_function_name(function)!r} takes ({', '.join(p.name for p in positional)}); expected "
            "(trace) or (trace, example), and settings after a *: def f(trace, example, *, word)"
        )
    keyword_only = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    ask = keyword_only.pop("ask", None)
    extras = getattr(function, "_ratchet_extras", None) or _Extras()
    call = function.func if isinstance(function, functools.partial) else function
    is_async = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004
    )
    return _Shape(
        takes_example=len(positional) > 1 or variadic,
        takes_ask=ask is not None,
        needs_ask=ask is not None and ask.default is ask.empty,
        is_async=is_async,
        extras=extras,
        settings=keyword_only,
        any_settings=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def resolve(spec: str | Mapping[str, Json] | Scorer | Function, *, root: Path | None = None) -> Scorer:
    """The scorer that this stands for, its function found and its settings checked.

    Args:
        spec: `"exact_match"`, `"pkg.module:function"`, `{"contains": {"text": "refund"}}`,
            `{"use": "contains", "name": "mentions_refund", "text": "refund"}`, a function, or a `Scorer` (also one
            read from a record). `name`, `version` and `dimension` among the settings are the scorer's own.
        root: Folder that paths and modules are looked up from; the working directory by default.

    Raises:
        UnknownNameError: No such scorer.
        ConfigError: A module or setting that doesn't fit; the message says what is known.
    """
    root = root or Path.cwd()
    if isinstance(spec, Scorer):
        return _finish(spec if spec.function is not None else _reload(spec, root), {}, root)
    if isinstance(spec, str):
        return _finish(_find(spec, root), {}, root)
    if isinstance(spec, Mapping):
        name, settings = _split(spec)
        return _finish(_find(name, root), settings, root)
    if callable(spec):
        return _finish(_make(spec), {}, root)
    raise ConfigError(f"{_short(spec)} is not a scorer; expected a name, 'pkg.module:function' or a mapping")


def _find(name: str, root: Path) -> Scorer:
    found = plugins.load(name, root=root) if ":" in name else plugins.scorer(name)
    if isinstance(found, Scorer):
        return found
    if not callable(found):
        raise ConfigError(f"{name!r} is a {type(found).__name__}, expected a scorer or a function")
    made = _make(found)
    return made.replace(target=name) if "<" in made.target or made.target.startswith("__main__") else made


def _reload(recorded: Scorer, root: Path) -> Scorer:
    """The recorded scorer with its function: the code, and so the version, of today."""
    target = recorded.target or recorded.name
    if "<" in target:
        raise ConfigError(
            f"scorer {recorded.name!r} was defined inside a function ({target}), so it can't be found again; "
            "move it to the top of a module"
        )
    found = _find(target, root)
    return found.replace(
        name=recorded.name,
        dimension=recorded.dimension,
        settings={**found.settings, **recorded.settings},
    )


def _split(spec: Mapping[str, Json]) -> tuple[str, dict[str, Json]]:
    if "use" in spec:
        name, settings = spec["use"], {key: value for key, value in spec.items() if key != "use"}
    elif len(spec) == 1:
        name, settings = next(iter(spec.items()))
        settings = {} if settings is None else settings
    else:
        keys = ", ".join(map(str, spec)) or "nothing"
        raise ConfigError(
            f"a scorer with {keys}: expected one name with its settings below it, as in "
            "{contains: {text: refund}}, or {use: contains, text: refund}"
        )
    if not isinstance(name, str):
        raise ConfigError(f"a scorer's name is text, found {_short(name)}")
    if not isinstance(settings, Mapping):
        raise ConfigError(f"the settings of scorer {name!r} are {_short(settings)}, expected a mapping")
    return name, dict(settings)


def _finish(base: Scorer, settings: dict[str, Json], root: Path) -> Scorer:
    """The scorer under these settings, checked against its function's parameters."""
    changes: dict[str, Any] = {}
    for key in _RESERVED:
        if key in settings:
            changes[key] = _reserved(base, key, settings.pop(key))
    merged = {**base.settings, **settings}
    if base.function is None:  # _find and _make always set it
        raise ScorerError(f"scorer {base.name!r} has no function")
    shape = _shape(base.function)
    _check_settings(base, shape, merged)
    if shape.extras.prepare is not None:
        merged = shape.extras.prepare(merged, root)
    if shape.extras.revision is not None and (revision := shape.extras.revision(merged)):
        version = str(changes.get("version", base.version)).partition("+")[0]
        changes["version"] = f"{version}+{revision}"
    return base.replace(**changes, settings=merged)


def _reserved(base: Scorer, key: str, value: Json) -> str:
    if key == "version" and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key} of scorer {base.name!r} is {_short(value)}, expected text")
    known = typing.get_args(Dimension)
    if key == "dimension" and value not in known:
        raise ConfigError(
            f"dimension of scorer {base.name!r} is {value!r}. Known: {', '.join(known)}.{did_you_mean(value, known)}"
        )
    return value


def _check_settings(base: Scorer, shape: _Shape, settings: Mapping[str, Json]) -> None:
    known = [*shape.settings, *_RESERVED]
    for key in settings:
        if key not in shape.settings and not (shape.any_settings and isinstance(key, str)):
            raise ConfigError(
                f"scorer {base.name!r} has no setting {str(key)!r}. "
                f"Known: {', '.join(known)}.{did_you_mean(str(key), known)}"
            )
    missing = [n for n, p in shape.settings.items() if p.default is p.empty and n not in settings]
    if missing:
        raise ConfigError(
            f"scorer {base.name!r} needs the setting {missing[0]!r}: {{{base.name}: {{{missing[0]}: …}}}}"
        )
    hints = _hints(base.function)
    for key, value in settings.items():
        if key not in hints or callable(value):
            continue
        try:
            codec._decoder(hints[key])(codec.plain(value), (key,))
        except CodecError as error:
            raise ConfigError(f"setting {key!r} of scorer {base.name!r} is {error.message}") from None


def _hints(function: Function | None) -> Mapping[str, Any]:
    """The parameters' types; none where they can't be evaluated, and then nothing is checked."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def signature_of(scorer: Scorer) -> str:
    """What stands in `Score.by`: name@version."""
    return f"{scorer.name}@{scorer.version}"


def models_of(scorer: Scorer) -> list[Variant]:
    """The models that this scorer calls, as variants without prompt; none for most."""
    found = scorer if scorer.function is not None else _reload(scorer, Path.cwd())
    models = _shape(found.function).extras.models if found.function is not None else None
    return models(found.settings) if models is not None else []


def judge_now(scorer: Scorer, trace: Trace, example: Example) -> list[Score] | None:
    """The scores of this trace by an inline scorer, without waiting; None where the scorer is not inline."""
    if not scorer.inline:
        return None
    function = scorer.function
    if function is None:
        raise _no_function(scorer)
    shape = _shape(function)
    if trace.error is not None and not shape.extras.judges_errors:
        return _unanswered(scorer, trace, shape)
    try:
        if shape.takes_example:
            value = function(trace, example, **scorer.settings)
        else:
            value = function(trace, **scorer.settings)
    except (Exception, SystemExit) as error:
        return _failed(scorer, trace, error, shape)
    return to_scores(scorer, trace, value)


async def judge_trace(
    scorer: Scorer, trace: Trace, example: Example, *, ask: Ask | None = None
) -> list[Score]:
    """The scores of this trace, at least one; a scorer that fails gives a Score of None with its reason.

    A plain function runs in a thread unless it is inline; a coroutine function is awaited. A trace with an error
    has no answer to judge: its score is None, "no answer: <kind>". How that counts is the check's to say.
    """
    if scorer.inline:
        return judge_now(scorer, trace, example) or []
    function = scorer.function
    if function is None:
        raise _no_function(scorer)
    shape = _shape(function)
    if trace.error is not None and not shape.extras.judges_errors:
        return _unanswered(scorer, trace, shape)
    settings = dict(scorer.settings)
    if shape.takes_ask and ask is not None:
        settings["ask"] = ask
    elif shape.needs_ask:
        return _not_scored(scorer, trace, "it calls a model, and none can be called here", shape)
    arguments = (trace, example) if shape.takes_example else (trace,)
    try:
        if shape.is_async:
            value = await function(*arguments, **settings)
        else:
            value = await asyncio.to_thread(_call, function, arguments, settings)
            if inspect.isawaitable(value):
                value = await value
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _failed(scorer, trace, error, shape)  # the scorer's own doing
    except (Exception, SystemExit) as error:
        return _failed(scorer, trace, error, shape)
    if isinstance(value, _Raised):
        return _failed(scorer, trace, value.error, shape)
    return to_scores(scorer, trace, value)


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


def _call(function: Function, arguments: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    # a StopIteration can't cross from a thread into a future: it would never be delivered
    try:
        return function(*arguments, **settings)
    except (Exception, SystemExit) as error:
        return _Raised(error)


def _no_function(scorer: Scorer) -> ScorerError:
    return ScorerError(f"scorer {scorer.name!r} was read from a record: pass it through scores.resolve first")


def _unanswered(scorer: Scorer, trace: Trace, shape: _Shape) -> list[Score]:
    kind = trace.error.kind if trace.error is not None else "unknown"
    return _not_scored(scorer, trace, f"no answer: {kind}", shape)


def _failed(scorer: Scorer, trace: Trace, error: BaseException, shape: _Shape) -> list[Score]:
    if trace.answer_error is not None and not isinstance(error, ScorerError):
        return _not_scored(scorer, trace, f"no answer: {trace.answer_error}", shape)
    return _not_scored(scorer, trace, _explain(error, scorer.function), shape)


def _explain(error: BaseException, function: Function | None) -> str:
    if isinstance(error, ScorerError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(function) if function else None, "__code__", None)
    own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    frame = own[-1] if own else (frames[-1] if frames else None)
    place = f" ({Path(frame.filename).name}:{frame.lineno})" if frame else ""
    try:
        message = str(error)
    except Exception as second:
        message = f"its message can't be shown: {type(second).__name__}"
    message = policy.redact(message)
    message = message if len(message) <= 500 else f"{message[:497]}..."
    return f"{type(error).__name__}: {message}{place}"


def _not_scored(scorer: Scorer, trace: Trace, reason: str, shape: _Shape) -> list[Score]:
    parts = shape.extras.parts
    keys = parts(scorer.settings) if callable(parts) else parts
    nothing = Judgement(value=None, reason=reason)
    return [_score(scorer, trace, key, nothing, shape) for key in keys or ("",)]


def to_scores(scorer: Scorer, trace: Trace, returned: object) -> list[Score]:
    """The Scores that a scorer's return value stands for; what it can't stand for is None with a reason."""
    if scorer.function is None:
        raise _no_function(scorer)
    shape = _shape(scorer.function)
    if not isinstance(returned, Mapping):
        return [_score(scorer, trace, "", returned, shape)]
    if not returned:
        returned = {"": Judgement(value=None, reason="it returned an empty dict")}
    return [_score(scorer, trace, str(key), value, shape) for key, value in returned.items()]


def _score(scorer: Scorer, trace: Trace, key: str, returned: object, shape: _Shape) -> Score:
    reason: str | None = None
    metadata: Mapping[str, Json] = {}
    cost_trace_ids: tuple[str, ...] = ()
    if isinstance(returned, Judgement):
        reason, metadata, cost_trace_ids = returned.reason, returned.metadata, returned.cost_trace_ids
        returned = returned.value
    value, problem = _value(returned)
    if metadata:
        try:
            metadata = codec.plain(metadata)
        except CodecError as error:
            value, metadata, problem = None, {}, f"its metadata can't be kept: {error}"
    if problem is not None:
        reason = f"{problem}; {reason}" if reason else problem
    elif value is None and not reason:
        reason = "the scorer returned None"
    return Score(
        trace_id=trace.id,
        name=_score_name(scorer, key, shape),
        value=value,
        reason=_text(reason) if reason else None,
        source="judge" if shape.takes_ask else "code",
        by=signature_of(scorer),
        dimension=scorer.dimension,
        cost_trace_ids=tuple(cost_trace_ids),
        metadata=metadata,
        created_at=time.time(),
    )


def _score_name(scorer: Scorer, key: str, shape: _Shape) -> str:
    if not key:
        return scorer.name
    return key if shape.extras.whole_names else f"{scorer.name}.{key}"


def _value(returned: object) -> tuple[ScoreValue, str | None]:
    """The value as a score holds it, and what was wrong with it where it had to become None."""
    if returned is None or isinstance(returned, bool):
        return returned, None
    if isinstance(returned, str):
        return codec.clean_text(str.__str__(returned)), None
    if isinstance(returned, (set, frozenset, list, tuple)):
        if all(isinstance(item, str) for item in returned):
            return frozenset(codec.clean_text(str.__str__(item)) for item in returned), None
        return None, f"it returned {_short(returned)}; a set of labels holds only text"
    if type(returned).__module__ == "numpy" and hasattr(returned, "item"):
        try:
            returned = typing.cast("Any", returned).item()
        except ValueError:
            return None, f"it returned an array, {_short(returned)}; expected one number"
        if isinstance(returned, bool):
            return returned, None
    if isinstance(returned, (numbers.Real, Decimal)):
        return _number(returned)
    return None, (
        f"it returned a {type(returned).__name__}; expected a bool, number, text, set of texts, None, "
        "Judgement or a dict of these"
    )


def _number(value: numbers.Real | Decimal) -> tuple[float | None, str | None]:
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None, f"it returned a {type(value).__name__} that is no finite number"
    if not math.isfinite(number):
        return None, f"it returned {number}, which is not a score"
    return number, None


def _text(text: str) -> str:
    text = policy.redact(codec.clean_text(text))
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."
