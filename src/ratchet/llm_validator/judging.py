"""How the older tool's accuracy aspects are judged: the variables of their prompts, what is read from the reply."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ratchet.ports import Ask
from ratchet.records import Example, Json, Judgement, Trace, Variant
from ratchet.scorers import _rubrics
from ratchet.scorers.judge import judge
from ratchet.scorers.structure import function_call
from ratchet.scores import scorer

CODE_QUALITY = ("correct", "incomplete", "wrong")
RESPONSE_QUALITY = ("good", "fair", "bad")
ALWAYS = ("answer", "output", "expected", "input", "request", "metadata", "verdict_format", "boundary")
"""What every judge's prompt may use beside the dataset's columns."""

# a prompt's variable -> where it is taken from; of several columns the first that there is
_VARIABLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "codegen": {
        "user_request": ("request",),
        "generated_code_answer": ("answer",),
        "expected_code_answer": ("expected",),
    },
    "code_explanation": {
        "code_snippet": ("input.whole_func_string", "input.code_snippet"),
        "explanation": ("answer",),
    },
    "qa": {"answer": ("answer",)},
    "summarization": {"original_content": ("input.record", "input.original_content"), "summary": ("answer",)},
}
# a prompt of the user's own may have another scale than the 0 to 10 that ours ask for
_SCALES: Mapping[str, tuple[float, float]] = {
    "qa": (0, 10),
    "code_explanation": (0, 100),
    "summarization": (0, 100),
}


def _aspect(rubric: str) -> str:
    return "summarization" if rubric.startswith("summarization") else rubric


def variables(rubric: str, columns: Collection[str]) -> dict[str, str]:
    """The variables of this judge's prompt and where `scorers.judge` takes them from, as far as there are columns."""
    found: dict[str, str] = {}
    for name, places in _VARIABLES[_aspect(rubric)].items():
        for place in places:
            if not place.startswith("input.") or place.removeprefix("input.") in columns:
                found.setdefault(name, place)
    return found


def reading(rubric: str) -> dict[str, Json]:
    """How a reply to the user's own prompt is read; the built-in prompts bring theirs."""
    if rubric == "codegen":
        criteria = {
            "code_quality": {"labels": list(CODE_QUALITY)},
            "response_quality": {"labels": list(RESPONSE_QUALITY)},
        }
        return {"output": "json", "criteria": criteria}
    return {"output": "tags", "scale": list(_SCALES[_aspect(rubric)])}


def _models(settings: Mapping[str, Json]) -> list[Variant]:
    return [_rubrics.variant_of(settings)]


@scorer(
    name="code_quality",
    version="1",
    prepare=_rubrics.prepare,
    models=_models,
    revision=_rubrics.revision_of,
    parts=("code_quality", "response_quality"),
    whole_names=True,
)
async def code_generation(
    trace: Trace, example: Example, *, ask: Ask, **settings: Any
) -> dict[str, Judgement]:
    """`code_quality` (correct, incomplete, wrong) and `response_quality` (good, fair, bad), as a judge's JSON says."""
    return await judge(trace, example, ask=ask, **settings)


@scorer(version="1", inline=True, whole_names=True, parts=("function_accuracy", "argument_correctness"))
def function_calling(trace: Trace, example: Example) -> dict[str, Judgement]:
    """`function_accuracy` and `argument_correctness`: whether the right function is called with the right arguments.

    Label and answer are JSON or Python literals that hold `name` and `parameters` (or `arguments`).
    """
    found: dict[str, Judgement] = function_call(trace, example)
    return {
        "function_accuracy": found["name_correct"],
        "argument_correctness": found["arguments_correct"],
    }
