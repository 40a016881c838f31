"""Metrics of the older configuration become scorers, repeats and notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ratchet import codec, plugins, prompts, scores
from ratchet.errors import ConfigError, MissingExtraError, PromptError, did_you_mean
from ratchet.llm_validator import clients, judging
from ratchet.llm_validator.configs import Client, Metric, OlderConfig, find_file
from ratchet.records import Json, Prompt, Scorer
from ratchet.scorers.judge import built_in_prompts

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


_SECURITY = ("no_personal_data", "no_unsafe_markup", "no_secrets")
"""What a security metric that names no aspect is judged by."""
_SECURITY_ASPECTS = {
    "personal-data": "no_personal_data",
    "pii": "no_personal_data",
    "secrets": "no_secrets",
    "unsafe-markup": "no_unsafe_markup",
    "prompt-leak": "no_prompt_leak",
    "canary-leak": "no_canary_leak",
    "injection": "no_injection",
    "prompt-injection": "no_injection",
    "refusal": "no_refusal",
    "over-refusal": "no_over_refusal",
    "refused-as-expected": "refused_as_expected",
}


def _security(metric: Metric, context: Context, wanted: Wanted) -> None:
    known = {**_SECURITY_ASPECTS, **{_normal(name): name for name in _SECURITY_ASPECTS.values()}}
    for name in filter(None, (metric.aspect, metric.name)):
        if scorer := known.get(_normal(name)):
            _add(wanted, scorer, context, metric, {"use": scorer, **metric.kwargs})
            return
    if metric.aspect:
        raise context.config.error(
            f"{metric.aspect!r} is no security aspect. Known: {', '.join(_SECURITY_ASPECTS)}."
            f"{did_you_mean(_normal(metric.aspect), known)}",
            *metric.place,
            "aspect",
        )
    _unknown(metric, (), context, wanted)
    for scorer in _SECURITY:
        try:
            _add(wanted, scorer, context, metric, {"use": scorer})
        except MissingExtraError as error:
            wanted.warnings.append(str(context.config.error(f"{error}. All else runs", *metric.place)))
    wanted.notes.append(f"security: {', '.join(_SECURITY)}; name others as the metric's aspect")


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
            message = f"is not known, and ignored. Known: {', '.join(known) or 'none'}.{near}"
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
    known = ("embed", "n", "ignore_case", "base_url", "api_key_env")
    _unknown(metric, known, context, wanted)
    settings = _kept(metric, known)
    if "embed" not in settings:
        wanted.notes.append(
            "cosine similarity is taken of character n-grams: it needs no model. For sentence embeddings give "
            'kwargs: {"embed": "minilm"}, "openai/text-embedding-3-small", or "pkg.module:function"'
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
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    settings = _judge(metric, context, wanted, "codegen")
    _add(wanted, "code_quality", context, metric, judging.code_generation.using(**settings))


def _code_explanation(metric: Metric, context: Context, wanted: Wanted) -> None:
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    settings = _judge(metric, context, wanted, "code_explanation")
    _add(wanted, "code-explanation", context, metric, {"use": "judge", "name": "score", **settings})


def _qa(metric: Metric, context: Context, wanted: Wanted) -> None:
    _unknown(metric, _JUDGE_KEYS, context, wanted)
    _add(
        wanted,
        "qa",
        context,
        metric,
        {"use": "judge", "name": "score", **_judge(metric, context, wanted, "qa")},
    )


def _summarization(metric: Metric, context: Context, wanted: Wanted) -> None:
    own = tuple(f"{which}_{key}" for which in _SUMMARY_JUDGES for key in _JUDGE_KEYS)
    _unknown(metric, (*_JUDGE_KEYS, *own), context, wanted)
    for which in _SUMMARY_JUDGES:
        settings = _judge(metric, context, wanted, f"summarization_{which}", prefix=f"{which}_")
        spec = {"use": "judge", "name": f"{which}_score", **settings}
        _add(wanted, f"summarization {which}", context, metric, spec)


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


def _judge(
    metric: Metric, context: Context, wanted: Wanted, rubric: str, *, prefix: str = ""
) -> dict[str, Json]:
    """The settings of `scorers.judge` that the kwargs describe; keys with the prefix come before the plain ones."""
    given = _Given(metric, context, prefix)
    own, client = context.config.client, context.judge
    name, model = given.text("client_name"), given.text("model_name")
    if name or model:
        client = Client(
            name=name or own.name,
            type=given.text("client_type") or ("" if name else own.type),
            model_name=model or own.model_name,
            base_url=given.text("model_base_url", "base_url")
            or (own.base_url if name in ("", own.name) else None),
            model_options=given.options(),
        )
    else:
        wanted.notes.append(
            f"no judge is named for {rubric.replace('_', ' ')}: {client.name}/{client.model_name}, itself under test, "
            "judges; name another in kwargs (client_name, model_name)"
        )
    prompt = _own_prompt(metric, context, wanted, given.text("prompt_name"), given.text("prompt_path"))
    variables = judging.variables(rubric, context.columns)
    if prompt is None:
        wanted.notes.append(f"the judge of {rubric.replace('_', ' ')} has Ratchet's built-in prompt")
    _check_prompt(prompt or prompts.load(built_in_prompts()[rubric]), variables, metric, context)
    place = (*metric.place, "kwargs", "client_name")
    variant, notes = clients.variant(client, context.config, *place, environ=context.environ, prompt=None)
    wanted.notes.extend(f"judge: {note}" for note in notes)
    settings: dict[str, Json] = {
        "prompt": rubric if prompt is None else codec.encode(prompt.replace(path="")),
        "variables": variables,
        **{key: codec.encode(getattr(variant, key)) for key in _MODEL_SETTINGS if getattr(variant, key)},
    }
    return settings if prompt is None else {**settings, **judging.reading(rubric)}


_MODEL_SETTINGS = ("model", "params", "base_url", "response_format", "stream")


@dataclass(frozen=True, slots=True)
class _Given:
    """The kwargs of one judge."""

    metric: Metric
    context: Context
    prefix: str

    def value(self, key: str) -> Json:
        return self.metric.kwargs.get(f"{self.prefix}{key}") or self.metric.kwargs.get(key)

    def error(self, value: Json, expected: str, key: str) -> ConfigError:
        place = (*self.metric.place, "kwargs", key)
        return self.context.config.error(f"found {str(value)[:60]!r}, expected {expected}", *place)

    def text(self, *keys: str) -> str:
        """The first of these that is given; else nothing."""
        for key in keys:
            value = self.value(key)
            if value and not isinstance(value, str):
                raise self.error(value, "text", key)
            if value:
                return str(value)
        return ""

    def options(self) -> Mapping[str, Json]:
        options = self.value("model_options") or {}
        if not isinstance(options, Mapping):
            raise self.error(options, "an object", "model_options")
        return options


def _own_prompt(metric: Metric, context: Context, wanted: Wanted, name: str, path: str) -> Prompt | None:
    """The judge's prompt that the kwargs name; None where they name none, or none that can be found."""
    config = context.config
    place = (*metric.place, "kwargs", "prompt_path" if path else "prompt_name")
    if not path and not name:
        return None
    if path:
        file = find_file(path, config, *place, root=context.root)
    else:
        file = find_file(config.prompt_path, config, "prompt_config", "path", root=context.root)
    try:
        return prompts.load(file, name=name or None)
    except PromptError as error:
        if path:
            raise config.error(str(error), *place) from None
    wanted.warnings.append(
        str(config.error(f"there is no prompt_path, and {file} holds no prompt {name!r}", *place))
    )
    return None


def _check_prompt(prompt: Prompt, variables: Mapping[str, str], metric: Metric, context: Context) -> None:
    try:
        prompts.check(prompt, [*context.columns, *judging.ALWAYS, *variables])
    except PromptError as error:
        raise context.config.error(error.message, *metric.place) from None
