"""What a judge is asked and how its reply is read: settings become a `Rubric`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ratchet import codec, prompts
from ratchet.errors import CodecError, ConfigError, ScorerError, UnknownNameError, did_you_mean
from ratchet.extractions import find_json, find_tag
from ratchet.records import Example, Json, Prompt, ScoreValue, Trace, Variant
from ratchet.scorers._inputs import as_text, short

OUTPUTS = ("json", "tags", "tool")
NO_REFERENCE = "(no reference is given)"

_OWN = ("prompt", "criteria", "labels", "scale", "output", "variables", "retries")
_MODEL = (
    "model",
    "params",
    "base_url",
    "options",
    "api_key_env",
    "response_format",
    "stream",
    "price",
    "limits",
)
_MAX_RETRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing to judge: by labels, on a scale, or true or false."""

    field: str = "score"
    """What the reply calls it."""
    reason: str = "reason"
    labels: Mapping[str, Json] | None = None
    """Label to the score's value: itself, or a number."""
    scale: tuple[float, float] | None = None

    def read(self, said: Json) -> tuple[ScoreValue, str]:
        """The score's value, and what is wrong where there is none."""
        if said is None:
            return None, f"the reply has no {self.field!r}"
        if self.labels is not None:
            folded = {label.casefold(): value for label, value in self.labels.items()}
            word = as_text(said).strip().strip("\"'`.").strip().casefold()
            return (
                (folded[word], "")
                if word in folded
                else (None, self._unexpected(said, ", ".join(self.labels)))
            )
        if self.scale is not None:
            low, high = self.scale
            value = _number(said)
            if value is None or not low <= value <= high:
                return None, self._unexpected(said, f"{low:g} to {high:g}")
            return value, ""
        word = as_text(said).strip().strip("\"'`.").casefold()
        if word not in _BOOLS:
            return None, self._unexpected(said, "true or false")
        return _BOOLS[word], ""

    def _unexpected(self, said: Json, expected: str) -> str:
        return f"{self.field} is {short(said)}, expected {expected}"

    def schema(self) -> Json:
        """The JSON Schema of what is to be said."""
        if self.labels is not None:
            return {"type": "string", "enum": list(self.labels)}
        if self.scale is not None:
            return {"type": "number", "description": f"{self.scale[0]:g} (worst) to {self.scale[1]:g} (best)"}
        return {"type": "boolean"}

    def format(self) -> str:
        """What is to be said, for a prompt."""
        if self.labels is not None:
            return " | ".join(json.dumps(label, ensure_ascii=False) for label in self.labels)
        if self.scale is not None:
            return f"a number from {self.scale[0]:g} (worst) to {self.scale[1]:g} (best)"
        return "true | false"


_BOOLS = {
    "true": True,
    "yes": True,
    "pass": True,
    "1": True,
    "false": False,
    "no": False,
    "fail": False,
    "0": False,
}
_NUMBER = re.compile(r"([-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?)(?:\s*(?:/|out of)\s*[0-9]{1,9})?")


def _number(said: Json) -> float | None:
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        try:
            return float(said)
        except OverflowError:
            return None
    found = _NUMBER.fullmatch(said.strip().strip("*`\"'.").strip()) if isinstance(said, str) else None
    return float(found[1]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """Everything a judge works by."""

    name: str
    version: str
    prompt: Prompt
    criteria: Mapping[str, Criterion]
    output: str
    variables: Mapping[str, str]
    retries: int
    variant: Variant


@dataclass(slots=True)
class Reading:
    """What has been understood of a judge's replies so far."""

    values: dict[str, ScoreValue] = field(default_factory=dict[str, ScoreValue])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    problems: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = "the judge was not asked"
    """Why nothing could be read."""

    @property
    def complete(self) -> bool:
        return not (self.problem or self.problems)

    def improved_by(self, later: Reading) -> Reading:
        """The reading of the later reply, unless the earlier one says more."""
        return later if len(later.values) >= len(self.values) else self

    def or_else(self, problem: str) -> Reading:
        """This reading, with a reason for what it doesn't say."""
        return self if self.values else Reading(problem=problem)


def prepare(settings: dict[str, Json], root: Path) -> dict[str, Json]:
    """The settings standing alone: the prompt's text instead of its path, each criterion written out.

    Raises:
        ConfigError: A setting that doesn't fit.
        PromptError: The prompt can't be read.
    """
    _check_names(settings)
    prompt, defaults = _prompt(settings.get("prompt", "correctness"), root)
    merged = {**_with_criteria(defaults), **_with_criteria(settings)}
    merged["prompt"] = codec.encode(prompt)
    criteria = merged.get("criteria", {"": "bool"})
    if not isinstance(criteria, Mapping) or not criteria:
        raise ConfigError(
            f"criteria of the judge is {short(criteria)}, expected names with labels or a scale"
        )
    merged["criteria"] = {str(name): _criterion(str(name), spec) for name, spec in criteria.items()}
    rubric_of(merged)
    if not merged.get("model"):
        raise ConfigError("the judge needs a model: {judge: {model: openai/gpt-5-mini, prompt: …}}")
    return merged


def _with_criteria(settings: Mapping[str, Json]) -> dict[str, Json]:
    """The settings with `labels` or `scale` as what they are short for: a single criterion without a name."""
    rest = {key: value for key, value in settings.items() if key not in ("labels", "scale")}
    short_for = {key: settings[key] for key in ("labels", "scale") if settings.get(key) is not None}
    return {**rest, "criteria": {"": short_for}} if short_for else rest


def _check_names(settings: Mapping[str, Json]) -> None:
    known = (*_OWN, *_MODEL)
    for key in settings:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(f"the judge has no setting {key!r}. Known: {', '.join(known)}.{hint}")
    given = [key for key in ("criteria", "labels", "scale") if settings.get(key) is not None]
    if len(given) > 1:
        raise ConfigError(f"the judge takes one of criteria, labels and scale; found {', '.join(given)}")
    if settings.get("output") not in (None, *OUTPUTS):
        hint = did_you_mean(str(settings["output"]), OUTPUTS)
        raise ConfigError(
            f"output of the judge is {short(settings['output'])}, expected {', '.join(OUTPUTS)}.{hint}"
        )
    retries = settings.get("retries", 2)
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= _MAX_RETRIES:
        raise ConfigError(f"retries of the judge is {short(retries)}, expected 0 to {_MAX_RETRIES}")


def built_in() -> dict[str, Path]:
    """The rubrics that come with Ratchet, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "prompts").glob("*.yaml"))}


def _prompt(given: Json, root: Path) -> tuple[Prompt, dict[str, Json]]:
    """The prompt, and what its file says under `judge` about how to use it."""
    if isinstance(given, Mapping):
        try:
            prompt = codec.decode(Prompt, dict(cast("Mapping[str, Json]", given)))
        except CodecError as error:
            raise ConfigError(f"the judge's prompt: {error}") from None
        prompts.compile(prompt)
        return prompt, {}
    if not isinstance(given, str) or not given:
        raise ConfigError(f"prompt of the judge is {short(given)}, expected a name, a path or text")
    known = built_in()
    name = given.replace("-", "_")
    if name in known:
        prompt = prompts.load(known[name])
        return prompt.replace(path="", name=name), _usage(known[name])
    if re.fullmatch(r"[\w-]+", given):
        raise UnknownNameError(
            "judge prompt", given, known, hint="Your own: a path such as prompts/judge.yaml"
        )
    prompt = prompts.load(given, root=root)
    return prompt.replace(path=""), _usage(Path(prompt.path), prompt.name) if prompt.path else {}


def _usage(path: Path, name: str = "") -> dict[str, Json]:
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        return {}
    from ratchet import yaml12

    value, _ = yaml12.load_with_lines(path.read_text(encoding="utf-8-sig"))
    if isinstance(value, Mapping) and "prompts" in value:
        value = value["prompts"]
    if isinstance(value, Mapping) and name and name in value and isinstance(value[name], Mapping):
        value = value[name]
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if isinstance(entry, Mapping) and (len(entries) == 1 or entry.get("name") == name):
            usage = entry.get("judge") or {}
            if not isinstance(usage, Mapping):
                raise ConfigError(
                    f"is {short(usage)}, expected settings of the judge", file=path, key="judge"
                )
            _check_names(usage)
            return dict(usage)
    return {}


def _criterion(name: str, spec: Json) -> dict[str, Json]:
    """One criterion written out: `{field, reason, labels or scale}`."""
    if spec in ("bool", None):
        spec = {}
    elif isinstance(spec, (list, tuple)):
        spec = {"labels": list(spec)}
    if not isinstance(spec, Mapping):
        raise ConfigError(f"criterion {name!r} is {short(spec)}, expected labels, a scale or bool")
    known = ("labels", "scale", "field", "reason")
    for key in spec:
        if key not in known:
            raise ConfigError(
                f"criterion {name!r} has no {key!r}. Known: {', '.join(known)}.{did_you_mean(str(key), known)}"
            )
    made: dict[str, Json] = {
        "field": spec.get("field", name or "score"),
        "reason": spec.get("reason", "reason"),
    }
    for key, value in made.items():
        if not isinstance(value, str) or not re.fullmatch(r"[\w.-]+", value):
            raise ConfigError(f"{key} of criterion {name!r} is {short(value)}, expected one word")
    if spec.get("labels") is not None:
        made["labels"] = _labels(name, spec["labels"])
    if spec.get("scale") is not None:
        made["scale"] = _scale(name, spec["scale"])
    return made


def _labels(name: str, labels: Json) -> dict[str, Json]:
    if isinstance(labels, (list, tuple)):
        labels = {as_text(label): as_text(label) for label in labels}
    usable = isinstance(labels, Mapping) and len(labels) > 1
    if not usable or not all(isinstance(v, (str, bool, int, float)) for v in labels.values()):
        raise ConfigError(
            f"labels of criterion {name!r} are {short(labels)}, expected two or more, or label: number"
        )
    return {str(label): value for label, value in labels.items()}


def _scale(name: str, scale: Json) -> list[float]:
    ends: list[Any] = []
    if isinstance(scale, int) and not isinstance(scale, bool):
        ends = [1, scale]
    elif isinstance(scale, Mapping) and set(scale) == {"min", "max"}:
        ends = [scale["min"], scale["max"]]
    elif isinstance(scale, (list, tuple)):
        ends = list(scale)
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
    if not numbers or len(ends) != 2 or not ends[0] < ends[1]:
        raise ConfigError(
            f"scale of criterion {name!r} is {short(scale)}, expected [lowest, highest], such as [1, 5]"
        )
    return ends


def rubric_of(settings: Mapping[str, Json]) -> Rubric:
    """The rubric of these settings, prepared or not."""
    prompt_spec, criteria = settings.get("prompt"), settings.get("criteria")
    if not isinstance(prompt_spec, Mapping) or not isinstance(criteria, Mapping):
        settings = prepare(dict(settings), Path.cwd())
        prompt_spec, criteria = settings["prompt"], settings["criteria"]
    prompt = codec.decode(Prompt, dict(prompt_spec))
    output = settings.get("output") or "json"
    named = {name: codec.decode(Criterion, spec) for name, spec in criteria.items()}
    variables = settings.get("variables") or {}
    if not isinstance(variables, Mapping) or not all(isinstance(v, str) for v in variables.values()):
        raise ConfigError(f"variables of the judge are {short(variables)}, expected variable: place")
    return Rubric(
        name=prompt.name or "inline",
        version=revision_of(settings),
        prompt=prompt,
        criteria=named,
        output=output,
        variables=dict(variables),
        retries=settings.get("retries", 2),
        variant=variant_of(settings),
    )


def revision_of(settings: Mapping[str, Json]) -> str:
    """8 hex digits that change with anything the judge is, or is told; "" before the prompt is read."""
    if not isinstance(settings.get("prompt"), Mapping):
        return ""
    prompt = codec.decode(Prompt, dict(settings["prompt"]))
    told = [prompt, settings.get("criteria"), settings.get("output"), settings.get("variables")]
    return codec.content_id([codec.identity(told), codec.identity(variant_of(settings))])[:8]


def variant_of(settings: Mapping[str, Json]) -> Variant:
    """The judge's model as a variant without prompt.

    Raises:
        ConfigError: A setting of the model doesn't fit.
    """
    chosen = {key: codec.encode(settings[key]) for key in _MODEL if settings.get(key) is not None}
    try:
        return codec.decode(Variant, chosen)
    except CodecError as error:
        raise ConfigError(f"the judge's model: {error}") from None


def variables_for(rubric: Rubric, trace: Trace, example: Example) -> dict[str, Json]:
    """What fills in the prompt: every column of the example's input, and

    `answer`, `output`, `expected`, `input`, `request` (the messages that were sent, as text), `verdict_format` (how
    to reply) and `boundary` (a mark that the judged text can't know, to fence it in).
    """
    columns = dict(example.input) if isinstance(example.input, Mapping) else {}
    own: dict[str, Json] = {
        "answer": trace.refusal if trace.answer is None and trace.refusal else _answer(trace),
        "output": as_text(trace.output),
        "expected": NO_REFERENCE if example.expected is None else example.expected,
        "input": example.input,
        "request": _request(trace.input),
        "metadata": dict(example.metadata),
    }
    filled: dict[str, Json] = {**columns, **own}
    for name, place in rubric.variables.items():
        filled[name] = _at({**columns, **own}, place, name)
    filled["verdict_format"] = _verdict_format(rubric)
    judged = codec.dumps({key: as_text(value) for key, value in filled.items()})
    filled["boundary"] = hashlib.sha256(judged).hexdigest()[:12]
    return filled


def _answer(trace: Trace) -> str:
    if trace.answer is None and trace.tool_calls:
        return as_text(list(trace.tool_calls))
    return as_text(trace.answer)


def _request(sent: Json) -> str:
    if isinstance(sent, list) and all(isinstance(message, Mapping) for message in sent):
        return "\n\n".join(f"[{m.get('role', '')}]\n{as_text(m.get('content'))}" for m in sent)
    return as_text(sent)


def _at(values: Mapping[str, Json], place: str, name: str) -> Json:
    value: Json = values
    for part in place.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = [str(key) for key in value] if isinstance(value, Mapping) else []
            raise ScorerError(
                f"variable {name!r} is to be filled from {place!r}, and there is no {part!r}. "
                f"Known: {', '.join(known[:20]) or 'nothing'}.{did_you_mean(part, known)}"
            )
        value = value[part]
    return value


def _verdict_format(rubric: Rubric) -> str:
    """How the judge is to reply, in words."""
    says: dict[str, str] = {}
    for criterion in rubric.criteria.values():
        says.setdefault(criterion.reason, "why, in one or two sentences")
        says[criterion.field] = criterion.format()
    if rubric.output == "tool":
        return f"Reply by calling the function `verdict` with {', '.join(says)}."
    if rubric.output == "tags":
        lines = "\n".join(f"<{name}>{what}</{name}>" for name, what in says.items())
        return f"Reply with these tags and nothing else:\n{lines}"
    quoted = (f'"{name}": {_json_says(what)}' for name, what in says.items())
    return f"Reply with one JSON object and nothing else:\n{{{', '.join(quoted)}}}"


def _json_says(what: str) -> str:
    return f'"<{what}>"' if what.startswith("why") else what if "|" in what else f"<{what}>"


def fields_in(
    text: str, tool_calls: Sequence[Json], criteria: Mapping[str, Criterion], output: str
) -> dict[str, Json] | str:
    """What the reply says by field; or, as text, why it can't be read."""
    if output == "tags":
        found: dict[str, Json] = {}
        for name in {n for c in criteria.values() for n in (c.field, c.reason)} | {"reason"}:
            try:
                found[name] = find_tag(text, name)
            except ScorerError:
                continue  # a missing tag is the criterion's to report
        return found or f"the reply has no tags: {short(text)}"
    if output == "tool":
        for call in reversed(tool_calls):
            function = call.get("function") if isinstance(call, Mapping) else None
            arguments = function.get("arguments") if isinstance(function, Mapping) else None
            if isinstance(arguments, str):
                text = arguments
                break
    try:
        value = find_json(text)
    except ScorerError as error:
        return f"the judge's reply can't be read: {error}"
    return (
        dict(cast("dict[str, Any]", value))
        if isinstance(value, dict)
        else f"the reply is no object: {short(value)}"
    )
