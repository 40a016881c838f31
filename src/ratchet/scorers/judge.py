"""A model that judges an answer by a rubric, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ratchet.ports import Ask
from ratchet.records import Example, Json, Judgement, Trace, Variant
from ratchet.scorers import _rubrics
from ratchet.scorers._inputs import answer_of, as_text
from ratchet.scorers._rubrics import Criterion, Reading
from ratchet.scores import scorer

TOOL = "verdict"
"""The function a judge calls under `output: tool`."""


def _models(settings: Mapping[str, Json]) -> list[Variant]:
    return [_rubrics.variant_of(settings)]


def _parts(settings: Mapping[str, Json]) -> list[str]:
    criteria = settings.get("criteria")
    return list(criteria) if isinstance(criteria, Mapping) else [""]


@scorer(version="1", prepare=_rubrics.prepare, models=_models, parts=_parts, revision=_rubrics.revision_of)
async def judge(
    trace: Trace,
    example: Example,
    *,
    prompt: str | dict[str, Any] = "correctness",
    criteria: dict[str, Any] | None = None,
    output: str | None = None,
    variables: dict[str, str] | None = None,
    retries: int = 2,
    ask: Ask,
    **settings: Any,
) -> dict[str, Judgement]:
    """What a model finds, with its reason: one score, or one a criterion (`judge.quality`).

    A reply that doesn't say what was asked for is tried again, then the score is None with the reason. What the
    calls cost is counted apart, by the traces named in `cost_trace_ids`.

    Args:
        prompt: A built-in rubric's name, the path of a prompt file, or the text of a user message.
        criteria: What to judge, by name: `{labels: [good, bad]}`, `{labels: {good: 1, bad: 0}}` (the score is then
            the number), `{scale: [1, 5]}` or `bool`; `field` and `reason` say what the reply calls them.
        output: "json": an object in the reply; "tags": `<score>…</score>`; "tool": a call of the function `verdict`.
        variables: Prompt variables from elsewhere: `{snippet: input.code}`; see `_rubrics.variables_for`.
        retries: How often an unreadable reply is tried again.
        settings: `model` and everything else a variant takes (`params`, `base_url`, `options`, `api_key_env`…);
            `labels` or `scale` for a single criterion.
    """
    given = {
        "prompt": prompt,
        "criteria": criteria,
        "output": output,
        "variables": variables,
        "retries": retries,
    }
    rubric = _rubrics.rubric_of({**{k: v for k, v in given.items() if v is not None}, **settings})
    answer_of(trace)  # an answer that could not be extracted is not paid for twice
    filled = _rubrics.variables_for(rubric, trace, example)
    variant = _variant(rubric)
    asked: list[str] = []
    best = Reading()
    for attempt in range(rubric.retries + 1):
        reply = await ask(variant, filled, judged=trace, repeat=attempt)
        asked.append(reply.id)
        if reply.error is not None:
            best = best.or_else(f"the judge failed: {reply.error.kind}: {reply.error.message}")
            break
        best = best.improved_by(read_reply(reply, rubric.criteria, rubric.output))
        if best.complete:
            break
    metadata = {
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "judge": variant.model,
        "tries": len(asked),
    }
    return {
        name: Judgement(
            value=best.values.get(name),
            reason=best.reasons.get(name) if name in best.values else best.problems.get(name, best.problem),
            metadata=metadata,
            cost_trace_ids=tuple(asked),
        )
        for name in rubric.criteria
    }


def _variant(rubric: _rubrics.Rubric) -> Variant:
    """The judge as it is called: its prompt, and the tool where it answers by one."""
    variant = rubric.variant.replace(prompt=rubric.prompt)
    if rubric.output != "tool":
        return variant
    properties: dict[str, Json] = {}
    for criterion in rubric.criteria.values():
        properties[criterion.reason] = {"type": "string", "description": "why, in one or two sentences"}
        properties[criterion.field] = criterion.schema()
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    function = {"name": TOOL, "description": "Says what you found.", "parameters": schema}
    choice = {"type": "function", "function": {"name": TOOL}}
    return variant.replace(
        tools=(*variant.tools, {"type": "function", "function": function}),
        params={"tool_choice": choice, **variant.params},
    )


def read_reply(reply: Trace, criteria: Mapping[str, Criterion], output: str) -> Reading:
    """What this reply says about each criterion; never raises, whatever the reply holds."""
    text = as_text(reply.output)
    if reply.refusal is not None and not text:
        return Reading(problem="the judge refused")
    found = _rubrics.fields_in(text, reply.tool_calls, criteria, output)
    if isinstance(found, str):
        return Reading(problem=found)
    reading = Reading(problem="")
    for name, criterion in criteria.items():
        value, problem = criterion.read(found.get(criterion.field))
        if problem:
            reading.problems[name] = problem
        else:
            reading.values[name] = value
        reason = found.get(criterion.reason, found.get("reason"))
        if reason is not None:
            reading.reasons[name] = as_text(reason)
    return reading


def built_in_prompts() -> dict[str, Path]:
    """The rubrics that come with Ratchet, by name."""
    return _rubrics.built_in()
