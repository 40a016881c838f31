"""The scorers behind the older tool's accuracy aspects that need a judge, and its function calling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ratchet import codec
from ratchet.errors import ScorerError
from ratchet.extractions import find_json, find_tag
from ratchet.ports import Ask
from ratchet.records import Example, Json, Judgement, Trace, Variant
from ratchet.scorers._inputs import answer_of, as_text
from ratchet.scorers.structure import function_call
from ratchet.scores import scorer

Verdict = TypeVar("Verdict")

TRIES = 3
"""Calls of the judge before an answer that can't be read counts as not scored."""
CODE_QUALITY = ("correct", "incomplete", "wrong")
RESPONSE_QUALITY = ("good", "fair", "bad")

VARIABLES: Mapping[str, Mapping[str, str]] = {
    "code_generation": {
        "user_request": "the messages sent",
        "generated_code_answer": "the answer",
        "expected_code_answer": "the label",
    },
    "code_explanation": {"code_snippet": "the column whole_func_string", "explanation": "the answer"},
    "qa": {"answer": "the answer"},
    "summarization": {"original_content": "the column record", "summary": "the answer"},
}
"""What each judge's prompt may use beside the dataset's columns, and where it is from."""
SOURCE_COLUMNS = {"code_snippet": "whole_func_string", "original_content": "record"}


def judge_settings(variant: Variant) -> Json:
    """A judge as a scorer's setting: JSON, without the place of its prompt's file, which is not identity."""
    prompt = variant.prompt
    if prompt is not None and not isinstance(prompt, str):
        variant = variant.replace(prompt=prompt.replace(path=""))
    return codec.encode(variant)


def _models(settings: Mapping[str, Json]) -> list[Variant]:
    return [codec.decode(Variant, settings["judge"])]


@scorer(
    name="code_quality",
    version="1",
    models=_models,
    parts=("code_quality", "response_quality"),
    whole_names=True,
)
async def code_generation(
    trace: Trace, example: Example, *, ask: Ask, judge: dict[str, Any]
) -> dict[str, Judgement]:
    """`code_quality` (correct, incomplete, wrong) and `response_quality` (good, fair, bad), as a judge's JSON says."""
    variables = {
        "user_request": _messages_text(trace.input),
        "generated_code_answer": as_text(answer_of(trace)),
        "expected_code_answer": as_text(example.expected),
    }
    said, cost, problem = await _ask(ask, judge, variables, _read_code, trace, example)
    if said is None:
        nothing = Judgement(value=None, reason=problem, cost_trace_ids=cost)
        return {"code_quality": nothing, "response_quality": Judgement(value=None, reason=problem)}
    code, response, reason = said
    return {
        "code_quality": Judgement(value=code, reason=reason, cost_trace_ids=cost),
        "response_quality": Judgement(value=response, reason=reason),
    }


def _read_code(text: str) -> tuple[str, str, str]:
    said = find_json(text)
    if not isinstance(said, Mapping):
        raise ScorerError("the judge's JSON is not an object")
    return (
        _label(said, "code_quality", CODE_QUALITY),
        _label(said, "response_quality", RESPONSE_QUALITY),
        as_text(said.get("reason")),
    )


def _label(said: Mapping[str, Json], key: str, known: tuple[str, ...]) -> str:
    value = said.get(key)
    label = value.strip().lower() if isinstance(value, str) else value
    if label not in known:
        raise ScorerError(f"the judge's {key} is {as_text(value)[:60]!r}, expected one of {', '.join(known)}")
    return str(label)


@scorer(name="score", version="1", models=_models)
async def code_explanation(trace: Trace, example: Example, *, ask: Ask, judge: dict[str, Any]) -> Judgement:
    """The `<score>` that a judge gives an explanation of code, with its `<reason>`."""
    variables = {"code_snippet": _column(example, "code_snippet"), "explanation": as_text(answer_of(trace))}
    return await _scored(ask, judge, variables, _read_score, trace, example)


@scorer(name="score", version="1", models=_models)
async def question_answering(trace: Trace, example: Example, *, ask: Ask, judge: dict[str, Any]) -> Judgement:
    """The `<score>`, 0 to 10, that a judge gives an answer to a question about a context, with its `<reason>`."""
    return await _scored(ask, judge, {"answer": as_text(answer_of(trace))}, _read_ten, trace, example)


@scorer(version="1", models=_models)
async def summary_score(trace: Trace, example: Example, *, ask: Ask, judge: dict[str, Any]) -> Judgement:
    """The `<score>` of one of the three judges of a summary, with its `<reason>`; named for what it judges."""
    variables = {
        "original_content": _column(example, "original_content"),
        "summary": as_text(answer_of(trace)),
    }
    return await _scored(ask, judge, variables, _read_score, trace, example)


@scorer(version="1", inline=True, whole_names=True, parts=("function_accuracy", "argument_correctness"))
def function_calling(trace: Trace, example: Example) -> dict[str, Judgement]:
    """`function_accuracy` and `argument_correctness`: whether the right function is called with the right arguments.

    Label and answer are JSON or Python literals that hold `name` and `parameters` (or `arguments`).
    """
    found: dict[str, Judgement] = function_call.function(trace, example)  # type: ignore[misc]
    return {
        "function_accuracy": found["name_correct"],
        "argument_correctness": found["arguments_correct"],
    }


def _column(example: Example, variable: str) -> str:
    """What this variable of a judge is taken from: its column, or a column of the variable's own name."""
    column = SOURCE_COLUMNS[variable]
    values = example.input if isinstance(example.input, Mapping) else {}
    for name in (variable, column):
        if name in values:
            return as_text(values[name])
    raise ScorerError(
        f"the judge's {variable} is taken from the column {column!r}; columns are {', '.join(values)}"
    )


def _messages_text(messages: Json) -> str:
    if not isinstance(messages, list):
        return as_text(messages)
    parts = [
        f"{message.get('role')}: {as_text(message.get('content'))}"
        for message in messages
        if isinstance(message, Mapping)
    ]
    return "\n\n".join(parts)


async def _scored(
    ask: Ask,
    judge: Mapping[str, Json],
    variables: Mapping[str, Json],
    read: Callable[[str], tuple[float, str]],
    trace: Trace,
    example: Example,
) -> Judgement:
    said, cost, problem = await _ask(ask, judge, variables, read, trace, example)
    if said is None:
        return Judgement(value=None, reason=problem, cost_trace_ids=cost)
    return Judgement(value=said[0], reason=said[1] or None, cost_trace_ids=cost)


def _read_score(text: str) -> tuple[float, str]:
    written = find_tag(text, "score")
    number = written.split("/")[0].strip()  # "7/10" is what some judges write
    try:
        score = float(number)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise ScorerError(f"the judge's score is {written[:60]!r}, expected a number")
    try:
        reason = find_tag(text, "reason")
    except ScorerError:
        reason = ""  # a score without a reason is still a score
    return score, reason


def _read_ten(text: str) -> tuple[float, str]:
    score, reason = _read_score(text)
    if not 0 <= score <= 10:
        raise ScorerError(f"the judge's score is {score:g}, expected 0 to 10")
    return score, reason


async def _ask(
    ask: Ask,
    judge: Mapping[str, Json],
    variables: Mapping[str, Json],
    read: Callable[[str], Verdict],
    trace: Trace,
    example: Example,
) -> tuple[Verdict | None, tuple[str, ...], str]:
    """What the judge says as `read` reads it, the ids of its calls, and why there is nothing where there isn't."""
    variant = codec.decode(Variant, judge)
    columns: Mapping[str, Json] = example.input if isinstance(example.input, Mapping) else {}
    asked: list[str] = []
    problem = ""
    for attempt in range(TRIES):
        said = await ask(variant, {**columns, **variables}, judged=trace, repeat=attempt)
        asked.append(said.id)
        if said.error is not None:
            return None, tuple(asked), f"the judge failed: {said.error.kind}: {said.error.message}"
        try:
            return read(as_text(said.output)), tuple(asked), ""
        except ScorerError as error:
            problem = f"the judge can't be read after {attempt + 1} tries: {error}"
    return None, tuple(asked), problem
