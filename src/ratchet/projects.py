"""ratchet.yaml, the one file of a project: found by name, read strictly, turned into records.

The shape of the file is the dataclasses below; `schema()` gives it as JSON Schema for editors.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

from ratchet import checks, codec, datasets, extractions, providers, scores, yaml12
from ratchet.budgets import Budget
from ratchet.errors import CodecError, ConfigError, RatchetError, UnknownNameError, dotted
from ratchet.records import Dataset, Json, Limits, Price, Prompt, Task, Variant
from ratchet.variants import resolve as resolve_variant

FILE_NAME = "ratchet.yaml"
MOST_CONCURRENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSection:
    """One entry of `variants:`; the fields of `records.Variant`, and what it starts from."""

    extends: str | None = None
    model: str | None = None
    params: Mapping[str, Json] | None = None
    prompt: str | list[dict[str, Json]] | None = None
    """A path, a text, or a list of messages."""
    tools: list[Json] | None = None
    response_format: Json = None
    stream: bool | None = None
    base_url: str | None = None
    options: Mapping[str, Json] | None = None
    target: str | None = None
    version: str | None = None
    api_key_env: str | None = None
    price: Price | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSection:
    """`dataset:` of a task: a file, and which of its columns play which part."""

    path: str
    format: str | None = None
    id: str | None = None
    input: str | list[str] | None = None
    expected: str | list[str] | None = None
    group: str | None = None
    split: str | None = None
    metadata: list[str] = field(default_factory=list[str])
    types: Mapping[str, Literal["str", "int", "float", "bool", "json"]] = field(
        default_factory=dict[str, Any]
    )
    on_bad_row: Literal["stop", "skip"] = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """One entry of `tasks:`."""

    dataset: str | DatasetSection
    variants: list[str] | None = None
    """The arms of a run; None: all variants of the project."""
    baseline: str | None = None
    repeats: int = 1
    scorers: list[str | dict[str, Json]] = field(default_factory=list["str | dict[str, Json]"])
    checks: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])
    extract: str | dict[str, Json] | None = None
    arm_extract: Mapping[str, str | dict[str, Json]] = field(default_factory=dict[str, Any])
    """By variant, where one answers in its own shape."""
    concurrency: int | None = None
    seed: int = 0
    budget_usd: float | None = None
    budget_tokens: int | None = None
    budget_minutes: float | None = None
    traffic: str | None = None
    """How often the product calls the model, as in 2M/month: verdicts then say what the change saves a month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """The whole of ratchet.yaml."""

    project: str = ""
    store: str | None = None
    variants: Mapping[str, VariantSection] = field(default_factory=dict[str, VariantSection])
    baseline: str | None = None
    tasks: Mapping[str, TaskSection] = field(default_factory=dict[str, TaskSection])


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project read: its variants ready, its tasks by name."""

    path: Path
    file: ProjectFile
    variants: Mapping[str, Variant]
    lines: Mapping[tuple[str | int, ...], int] = field(default_factory=dict[Any, int], repr=False)

    @property
    def root(self) -> Path:
        return self.path.parent

    @property
    def store(self) -> str:
        """Where its store is."""
        location = self.file.store or ".ratchet/ratchet.db"
        return location if "://" in location else str(self.root / location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What `ratchet run TASK` needs to know."""

    task: Task
    arms: Mapping[str, Variant]
    baseline: str
    budget: Budget
    concurrency: int | None
    seed: int
    traffic: str | None = None


def find(start: Path | None = None) -> Path | None:
    """The ratchet.yaml of this folder or the nearest one above it."""
    folder = (start or Path.cwd()).resolve()
    for parent in (folder, *folder.parents):
        if (parent / FILE_NAME).is_file():
            return parent / FILE_NAME
    return None


def load(path: Path) -> Project:
    """The project in this file.

    Raises:
        ConfigError: It can't be read, or a key or value is wrong; names file, line and key.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=path) from None
    try:
        data, lines = yaml12.load_with_lines(text)
    except yaml12.YamlError as error:
        raise ConfigError(str(error), file=path, line=error.line) from None
    try:
        file = codec.decode(ProjectFile, {} if data is None else data)
    except CodecError as error:
        raise _placed(error.message, path, lines, error.path) from None
    project = Project(path=path, file=file, variants={}, lines=lines)
    variants = {name: _variant(project, name, ()) for name in file.variants}
    if file.baseline is not None and file.baseline not in variants:
        raise _unknown(project, "variant", file.baseline, ("baseline",))
    return dataclasses.replace(project, variants=variants)


def job(
    project: Project,
    name: str | None = None,
    *,
    on_bad_row: str | None = None,
    on_problem: Callable[[Exception], None] | None = None,
) -> Job:
    """The task of this name (or the only one) with its dataset loaded, scorers found and arms chosen."""
    name = name or _only_task(project)
    if name not in project.file.tasks:
        raise UnknownNameError("task", name, project.file.tasks, hint=f"Tasks stand in {project.path}")
    section = project.file.tasks[name]
    if on_bad_row is not None:
        data = DatasetSection(path=section.dataset) if isinstance(section.dataset, str) else section.dataset
        section = dataclasses.replace(section, dataset=dataclasses.replace(data, on_bad_row=on_bad_row))
    at: tuple[str | int, ...] = ("tasks", name)
    _check_numbers(project, section, at)
    arms = _arms(project, section, at)
    baseline = section.baseline or project.file.baseline or next(iter(arms))
    if baseline not in arms:
        raise _unknown(project, "arm", baseline, (*at, "baseline"))
    arms = {baseline: arms[baseline], **arms}
    extraction, by_arm = _extractions(project, section, at)
    task = Task(
        name=name,
        dataset=_dataset(project, section.dataset, (*at, "dataset"), name, on_problem),
        scorers=tuple(
            _each(project, section.scorers, (*at, "scorers"), lambda s: scores.resolve(s, root=project.root))
        ),
        checks=tuple(_each(project, section.checks, (*at, "checks"), checks.resolve)),
        repeats=section.repeats,
        extraction=extraction,
        arm_extraction=by_arm,
    )
    budget = Budget(usd=section.budget_usd, tokens=section.budget_tokens, minutes=section.budget_minutes)
    return Job(
        task=task,
        arms=arms,
        baseline=baseline,
        budget=budget,
        concurrency=section.concurrency,
        seed=section.seed,
        traffic=section.traffic,
    )


def ready(project: Project, arms: Mapping[str, Variant]) -> dict[str, Variant]:
    """These variants of the project with their prompts read and functions found.

    Raises:
        ConfigError: Something in one of them is wrong; names the file, line and key that it stands at.
    """
    return {name: _ready(project, name, variant) for name, variant in arms.items()}


def _ready(project: Project, name: str, variant: Variant) -> Variant:
    key = "model"
    try:
        if variant.model is not None:
            providers.split_model(variant.model)
        key = "target" if variant.target is not None else "prompt"
        return resolve_variant(variant, root=project.root)
    except RatchetError as error:
        if isinstance(error, ConfigError) and error.file is not None:  # a prompt file's own place says more
            raise
        raise _placed(str(error), project.path, project.lines, ("variants", name, key)) from error


def _only_task(project: Project) -> str:
    names = list(project.file.tasks)
    if len(names) != 1:
        known = ", ".join(names) or "none yet"
        raise ConfigError(f"which task? say `ratchet run NAME`; there are: {known}", file=project.path)
    return names[0]


def _variant(project: Project, name: str, under: tuple[str, ...]) -> Variant:
    """The variant of this name, built upon those it extends."""
    sections = project.file.variants
    if name in under:
        chain = " -> ".join((*under, name))
        raise _placed(f"extends itself: {chain}", project.path, project.lines, ("variants", name, "extends"))
    section = sections[name]
    base = Variant()
    if section.extends is not None:
        if section.extends not in sections:
            raise _unknown(project, "variant", section.extends, ("variants", name, "extends"))
        base = _variant(project, section.extends, (*under, name))
    given = {f.name: getattr(section, f.name) for f in dataclasses.fields(section) if f.name != "extends"}
    changes = {key: value for key, value in given.items() if value is not None}
    for merged in ("params", "options"):  # a child changes single parameters of its parent
        if merged in changes:
            changes[merged] = {**getattr(base, merged), **changes[merged]}
    if "model" in changes and base.target is not None:
        changes.setdefault("target", None)
    if "target" in changes and base.model is not None:
        changes.setdefault("model", None)
    if "tools" in changes:
        changes["tools"] = tuple(changes["tools"])
    if isinstance(changes.get("prompt"), list):
        changes["prompt"] = Prompt(messages=tuple(changes["prompt"]), name=name)
    variant = base.replace(**changes)
    if (variant.model is None) == (variant.target is None):
        raise _placed(
            "needs either a model (model: openai/gpt-4o) or a target (target: pkg.module:function)",
            project.path, project.lines, ("variants", name),
        )  # fmt: skip
    return variant


def _arms(project: Project, section: TaskSection, at: tuple[str | int, ...]) -> dict[str, Variant]:
    names = section.variants if section.variants is not None else list(project.variants)
    if not names:
        raise _placed("there is no variant to run: add one under variants:", project.path, project.lines, at)
    for index, name in enumerate(names):
        if name not in project.variants:
            raise _unknown(project, "variant", name, (*at, "variants", index))
    return {name: project.variants[name] for name in names}


def _dataset(
    project: Project,
    section: str | DatasetSection,
    at: tuple[str | int, ...],
    name: str,
    on_problem: Callable[[Exception], None] | None,
) -> Dataset:
    section = DatasetSection(path=section) if isinstance(section, str) else section
    try:
        return datasets.load(
            "-" if section.path == "-" else project.root / section.path,
            id=section.id,
            input=_column(section.input),
            expected=_column(section.expected),
            group=section.group,
            split=section.split,
            metadata=tuple(section.metadata),
            types=section.types,
            name=name,
            format=section.format,
            on_bad_row=section.on_bad_row,
            on_problem=on_problem,
            cache_folder=project.root / ".ratchet" / "stdin",
        )
    except ConfigError as error:
        raise _placed(error.message, project.path, project.lines, at) from error


def _column(value: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) else value


def _extractions(project: Project, section: TaskSection, at: tuple[str | int, ...]) -> Any:
    def extraction(spec: Any) -> Any:
        found = extractions.resolve(spec)
        extractions.compile(found, root=project.root)  # its errors are told here, with their place
        return found

    whole = None
    if section.extract is not None:
        (whole,) = _each(project, [section.extract], (*at, "extract"), extraction, indexed=False)
    by_arm: dict[str, Any] = {}
    for arm, spec in section.arm_extract.items():
        if arm not in project.variants:
            raise _unknown(project, "arm", arm, (*at, "arm_extract", arm))
        (by_arm[arm],) = _each(project, [spec], (*at, "arm_extract", arm), extraction, indexed=False)
    return whole, by_arm


def _each(
    project: Project, specs: Any, at: tuple[str | int, ...], resolve: Any, *, indexed: bool = True
) -> list[Any]:
    """Each entry resolved; its errors get the place in the file."""
    found: list[Any] = []
    for index, spec in enumerate(specs):
        try:
            found.append(resolve(spec))
        except RatchetError as error:
            message = error.message if isinstance(error, ConfigError) and error.file is None else str(error)
            raise _placed(message, project.path, project.lines, (*at, index) if indexed else at) from error
    return found


def _check_numbers(project: Project, section: TaskSection, at: tuple[str | int, ...]) -> None:
    """Raise where a number of the task would let nothing start."""
    ranges = {
        "repeats": (1, math.inf), "concurrency": (1, MOST_CONCURRENT), "budget_tokens": (1, math.inf),
        "budget_usd": (0, math.inf), "budget_minutes": (0, math.inf),
    }  # fmt: skip
    for name, (least, most) in ranges.items():
        value = getattr(section, name)
        if value is None or (least <= value <= most and value not in (0, math.inf)):
            continue
        expected = f"{least} or more" if least else "more than 0"
        expected = f"{least} to {most:,}" if most < math.inf else expected
        raise _placed(f"{value:g}, expected {expected}", project.path, project.lines, (*at, name))
    if section.traffic is not None:
        from ratchet.costs import traffic  # numpy comes with it

        try:
            traffic.stated(section.traffic)
        except ConfigError as error:
            raise _placed(error.message, project.path, project.lines, (*at, "traffic")) from None


def _unknown(project: Project, kind: str, name: str, at: tuple[str | int, ...]) -> ConfigError:
    message = str(UnknownNameError(kind, name, project.file.variants))
    return _placed(message, project.path, project.lines, at)


def _placed(
    message: str, path: Path, lines: Mapping[tuple[str | int, ...], int], at: tuple[str | int, ...]
) -> ConfigError:
    """The error at this key, or at the nearest key above it that the file has."""
    for length in range(len(at), -1, -1):
        if at[:length] in lines:
            return ConfigError(message, file=path, line=lines[at[:length]], key=dotted(at) or None)
    return ConfigError(message, file=path, key=dotted(at) or None)


# --- the schema ---------------------------------------------------------------------------------------------


def schema() -> dict[str, Json]:
    """JSON Schema (2020-12) of ratchet.yaml, for completion in editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ratchet.yaml",
        **_schema_of(ProjectFile, set()),
    }


def _schema_of(hint: Any, inside: set[Any]) -> dict[str, Json]:
    if dataclasses.is_dataclass(hint):
        return _schema_of_record(hint, inside)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if arg is type(None) else _schema_of(arg, inside) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema_of(args[0], inside)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema_of(args[1], inside)}
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return {"type": names[hint]} if hint in names else {}


def _schema_of_record(cls: Any, inside: set[Any]) -> dict[str, Json]:
    if cls in inside:  # a price above a threshold holds a price
        return {"type": "object"}
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    properties = {f.name: _schema_of(hints[f.name], inside | {cls}) for f in fields}
    required = [
        f.name
        for f in fields
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    found: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found
