"""Metrics of the older configuration become scorers, repeats and notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from ratchet import plugins, prompts, scores
from ratchet.errors import ConfigError, PromptError, did_you_mean
from ratchet.llm_validator import clients, judging
from ratchet.llm_validator.configs import Client, Metric, OlderConfig, find_file
from ratchet.records import Json, Prompt, Scorer, Variant

DEFAULT_REPEATS = 5

_JUDGE_KEYS = (
    "client_name", "client_type", "model_name", "model_type", "model_options", "model_base_url", "base_url",
    "prompt_name", "prompt_path", "prompt_version", "prompt_verions",
)  # fmt: skip
_SUMMARY_JUDGES = ("accuracy", "adherence", "quality")
_CODE_GENERATION = ("codegen", "code-generation")

Known: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Wanted:
    """What the metrics of a run ask for; filled metric by metric."""

    scorers: dict[str, Scorer] = field(default_factory=dict[str, Scorer])
    """By what they judge: the first that asks for it counts."""
    repeats: int = 1
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What metrics are read against."""

    config: OlderConfig
    columns: Sequence[str]
    """The prompt variables that the dataset gives."""
    judge: Client
    """Who judges where a metric names nobody: the baseline's client."""
    root: Path
    environ: Mapping[str, str]


def read(context: Context, wanted: Wanted) -> None:
    """Add to `wanted` what the metrics of this config ask for.

    Raises:
        ConfigError: An aspect is unknown, an option doesn't fit, or a column is missing.
    """
    for metric in context.config.metrics:
        if metric.type in ("cost", "latency"):
            continue  # facts of every trace: nothing to score
        if metric.type == "security":
            _security(metric, context, wanted)
        elif metric.type == "stability":
            _stability(metric, context, wanted)
        else:
            _accuracy(metric, context, wanted)


def _security(metric: Metric, context: Context, wanted: Wanted) -> None:
    # the one place where security's own scorers are to be added
    wanted.warnings.append(
        str(
            context.config.error(
                "security is not scored: this version of Ratchet has no security scorers yet. All else runs",
                *metric.place,
            )
        )
    )


def _stability(metric: Metric, context: Context, wanted: Wanted) -> None:
    _unknown(metric, ("repeats",), context, wanted)
    repeats = metric.kwargs.get("repeats", DEFAULT_REPEATS)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or not 1 <= repeats <= 1000:
        raise context.config.error(
            f"found {repeats!r}, expected a whole number from 1 to 1000", *metric.place, "kwargs", "repeats"
        )
    wanted.repeats = max(wanted.repeats, repeats)
    wanted.notes.append(f"stability: every row is asked {repeats} times")


def _unknown(metric: Metric, known: Known, context: Context, wanted: Wanted) -> None:
    for key in metric.kwargs:
        if key not in known:
            near = did_you_mean(key, known)
            message = f"is not known, and ignored. Known: {', '.join(known)}.{near}"
            wanted.warnings.append(str(context.config.error(message, *metric.place, "kwargs", key)))


def _accuracy(metric: Metric, context: Context, wanted: Wanted) -> None:
    named = [name for name in (metric.aspect, metric.name) if name]
    for name in named:
        if aspect := _ASPECTS.get(_normal(name)):
            aspect(metric, context, wanted)
            return
    for name in named:
        if name in plugins.SCORERS or ":" in name:
            _add(wanted, name, context, metric, {"use": name, **metric.kwargs})
            return
    shown = metric.aspect or metric.name
    known = [*_ASPECTS, *plugins.SCORERS]
    raise context.config.error(
        f"{shown!r} is no accuracy aspect. Known: {', '.join(known)}.{did_you_mean(_normal(shown), known)}"
        if shown
        else f"accuracy needs an aspect. Known: {', '.join(known)}.",
        *metric.place,
        "aspect",
    )


def _normal(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _add(
    wanted: Wanted, what: str, context: Context, metric: Metric, spec: Mapping[str, Json] | Scorer
) -> None:
    try:
        made = scores.resolve(spec, root=context.root)
    except ConfigError as error:
        raise context.config.error(error.message, *metric.place, "kwargs") from None
    known = wanted.scorers.setdefault(what, made)
    if (known.target, known.settings) != (made.target, made.settings):
        message = f"{what} is judged as the first file says; other settings for it here are ignored"
        wanted.warnings.append(str(context.config.error(message, *metric.place)))


def _need_label(metric: Metric, context: Context) -> None:
    if context.config.label_column is None:
        raise context.config.error(
            f"{metric.aspect or metric.name} compares with the label: name its column in dataset_config.label_col. "
            f"Columns: {', '.join(context.columns)}",
            *metric.place,
        )


# aspects without a judge


def _classification(metric: Metric, context: Context, wanted: Wanted) -> None:
    _need_label(metric, context)
    _unknown(metric, (), context, wanted)
    _add(wanted, "correctness", context, metric, {"use": "classification", "name": "correctness"})


def _function_calling(metric: Metric, context: Context, wanted: Wanted) -> None:
    _need_label(metric, context)
    _unknown(metric, (), context, wanted)
    _add(wanted, "function-calling", context, metric, judging.function_calling)


def _cosine(metric: Metric, context: Context, wanted: Wanted) -> None:
    _need_label(metric, context)
    known = ("embed", "n", "ignore_case")
    _unknown(metric, known, context, wanted)
    settings = _kept(metric, known)
    if "embed" not in settings:
        wanted.notes.append(
            "cosine similarity is taken of character n-grams: it needs no model. For sentence embeddings give "
            'kwargs: {"embed": "pkg.module:function"}, from texts to vectors'
        )
    _add(wanted, "cosine", context, metric, {"use": "cosine", "name": "cosine_similarity", **settings})


def _regex(match: str) -> Callable[[Metric, Context, Wanted], None]:
    def add(metric: Metric, context: Context, wanted: Wanted) -> None:
        spellings = ("pattern", "patterns", "regex", "regexes")
        _unknown(metric, (*spellings, "flags", "match"), context, wanted)
        patterns = next((metric.kwargs[key] for key in spellings if key in metric.kwargs), None)
        if patterns is None:
            _need_label(metric, context)
        settings: dict[str, Json] = {"match": match, **_kept(metric, ("flags", "match"))}
        if patterns is not None:
            settings["pattern"] = patterns
        _add(
            wanted,
            f"regex_{settings['match']}",
            context,
            metric,
            {"use": "regex", "name": f"regex_{settings['match']}", **settings},
        )

    return add


def _json_field(match: str) -> Callable[[Metric, Context, Wanted], None]:
    def add(metric: Metric, context: Context, wanted: Wanted) -> None:
        _need_label(metric, context)
        _unknown(metric, ("fields", "match", "ignore_case"), context, wanted)
        settings = {"match": match, **_kept(metric, ("fields", "match", "ignore_case"))}
        name = f"json_field_{settings['match']}"
        _add(wanted, name, context, metric, {"use": "json_field", "name": name, **settings})

    return add


def _json_valid(metric: Metric, context: Context, wanted: Wanted) -> None:
    _unknown(metric, ("lenient", "kind"), context, wanted)
    settings = _kept(metric, ("lenient", "kind"))
    _add(wanted, "valid_json", context, metric, {"use": "json_valid", "name": "valid_json", **settings})


def _json_structure(metric: Metric, context: Context, wanted: Wanted) -> None:
    _need_label(metric, context)
    _unknown(metric, ("extra",), context, wanted)
    _add(wanted, "json_structure", context, metric, {"use": "json_structure", **_kept(metric, ("extra",))})


def _kept(metric: Metric, known: Known) -> dict[str, Json]:
    return {key: metric.kwargs[key] for key in known if key in metric.kwargs}


# aspects with a judge


def _code_generation(metric: Metric, context: Context, wanted: Wanted) -> None:
    judge = _judge(metric, context, wanted, built_in="code_generation")
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    if "expected_code_answer" in _used(judge):
        _need_label(metric, context)
    _add_judge(wanted, "code_quality", context, metric, judging.code_generation, judge)


def _code_explanation(metric: Metric, context: Context, wanted: Wanted) -> None:
    judge = _judge(metric, context, wanted, built_in="code_explanation")
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    _add_judge(wanted, "code-explanation", context, metric, judging.code_explanation, judge)


def _qa(metric: Metric, context: Context, wanted: Wanted) -> None:
    judge = _judge(metric, context, wanted, built_in="qa")
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    _add_judge(wanted, "qa", context, metric, judging.question_answering, judge)


def _summarization(metric: Metric, context: Context, wanted: Wanted) -> None:
    own = tuple(f"{which}_{key}" for which in _SUMMARY_JUDGES for key in _JUDGE_KEYS)
    _unknown(metric, (*_JUDGE_KEYS, *own), context, wanted)
    for which in _SUMMARY_JUDGES:
        judge = _judge(metric, context, wanted, built_in=f"summarization_{which}", prefix=f"{which}_")
        scorer = judging.summary_score.replace(name=f"{which}_score")
        _add_judge(wanted, f"summarization {which}", context, metric, scorer, judge)


_ASPECTS: Mapping[str, Callable[[Metric, Context, Wanted], None]] = {
    "classification-all": _classification,
    "classification": _classification,
    **dict.fromkeys(_CODE_GENERATION, _code_generation),
    "code-explanation": _code_explanation,
    "qa": _qa,
    "summarization": _summarization,
    "function-calling": _function_calling,
    "cosine-similarity": _cosine,
    "regex": _regex("any"),
    "regex-any": _regex("any"),
    "regex-all": _regex("all"),
    "json-field": _json_field("all"),
    "json-field-all": _json_field("all"),
    "json-field-any": _json_field("any"),
    "json-field-comparison": _json_field("all"),
    "valid-json": _json_valid,
    "json-structure": _json_structure,
}


def _add_judge(
    wanted: Wanted, what: str, context: Context, metric: Metric, scorer: Scorer, judge: Variant
) -> None:
    _add(wanted, what, context, metric, scorer.using(judge=judging.judge_settings(judge)))


def _used(judge: Variant) -> set[str]:
    return prompts.variables(judge.prompt) if isinstance(judge.prompt, Prompt) else set()


def _judge(metric: Metric, context: Context, wanted: Wanted, *, built_in: str, prefix: str = "") -> Variant:
    """The judge that the kwargs describe; those with the prefix come before the plain ones."""

    def given(key: str) -> Json:
        return metric.kwargs.get(f"{prefix}{key}") or metric.kwargs.get(key)

    def text(*keys: str) -> str:
        for key in keys:
            value = given(key)
            if value and not isinstance(value, str):
                raise context.config.error(f"found {value!r}, expected text", *metric.place, "kwargs", key)
            if value:
                return str(value)
        return ""

    options = given("model_options") or {}
    if not isinstance(options, Mapping):
        raise context.config.error(
            f"found {options!r}, expected an object", *metric.place, "kwargs", "model_options"
        )
    own = context.config.client
    client = context.judge
    name, model = text("client_name"), text("model_name")
    if name or model:
        client = Client(
            name=name or own.name,
            type=text("client_type") or ("" if name else own.type),
            model_name=model or own.model_name,
            base_url=text("model_base_url", "base_url")
            or (None if name and name != own.name else own.base_url),
            model_options=options,
        )
    else:
        wanted.notes.append(
            f"no judge is named for {built_in.replace('_', ' ')}: {client.name}/{client.model_name}, itself under test, "
            "judges; name another in kwargs (client_name, model_name)"
        )
    prompt = _judge_prompt(metric, context, wanted, built_in, text("prompt_name"), text("prompt_path"))
    place = (*metric.place, "kwargs", "client_name")
    made, notes = clients.variant(client, context.config, *place, environ=context.environ, prompt=prompt)
    wanted.notes.extend(f"judge: {note}" for note in notes)
    return made


def _judge_prompt(
    metric: Metric, context: Context, wanted: Wanted, built_in: str, name: str, path: str
) -> Prompt:
    """The prompt named in the kwargs; else the built-in one, and a note that says so."""
    config = context.config
    place = (*metric.place, "kwargs", "prompt_path" if path else "prompt_name")
    if path:
        file = find_file(path, config, *place, root=context.root)
        prompt = _load(file, name or None, config, place)
    elif name:
        file = find_file(config.prompt_path, config, "prompt_config", "path", root=context.root)
        try:
            prompt = prompts.load(file, name=name)
        except PromptError:
            wanted.warnings.append(
                str(config.error(f"there is no prompt_path, and {file} holds no prompt {name!r}", *place))
            )
            prompt = None
    else:
        prompt = None
    if prompt is None:
        wanted.notes.append(f"the judge of {built_in.replace('_', ' ')} has Ratchet's built-in prompt")
        prompt = built_in_prompt(built_in)
    aspect = built_in.partition("_")[0] if built_in.startswith("summarization") else built_in
    columns = [*context.columns, *_variables(aspect, context.columns)]
    try:
        prompts.check(prompt, columns)
    except PromptError as error:
        raise config.error(error.message, *metric.place) from None
    return prompt


def _variables(aspect: str, columns: Sequence[str]) -> list[str]:
    """The variables of this judge that can be filled in from these columns."""
    sources = judging.SOURCE_COLUMNS
    names = judging.VARIABLES[aspect]
    return [name for name in names if name not in sources or sources[name] in columns]


def _load(file: Path, name: str | None, config: OlderConfig, place: tuple[str | int, ...]) -> Prompt:
    try:
        return prompts.load(file, name=name)
    except PromptError as error:
        raise config.error(str(error), *place) from None


@cache
def built_in_prompt(name: str) -> Prompt:
    """Ratchet's own prompt for a judge: code_generation, code_explanation, qa, or summarization_<which>."""
    with resources.as_file(resources.files("ratchet.llm_validator") / "judges.yaml") as file:
        return prompts.load(file, name=name).replace(path="", name=f"built-in {name}")
