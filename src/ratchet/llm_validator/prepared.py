"""Files given together become runs: task, arms and options, ready for `runs.run`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratchet import datasets, prompts
from ratchet.datasets import readers
from ratchet.errors import DatasetError, PromptError
from ratchet.llm_validator import clients, metrics
from ratchet.llm_validator.configs import SANITY_ROWS, OlderConfig, find_file
from ratchet.records import Dataset, Extraction, Task, Variant
from ratchet.runs import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """One run that older configs ask for: `runs.run(prepared.task, prepared.arms, options=prepared.options)`."""

    name: str
    """project/task."""
    project: str
    """The first file's; each arm's results go to its own."""
    task: Task
    arms: Mapping[str, Variant]
    baseline: str
    options: Options
    configs: Mapping[str, OlderConfig]
    """By arm: where its results go, and whether the inference is saved, is in there."""
    inference_only: bool = False
    notes: tuple[str, ...] = ()
    """What the files left open and how it was settled; belongs in the plan and in the summary."""
    warnings: tuple[str, ...] = ()
    """Each once; belongs on stderr."""


def to_runs(
    configs: Iterable[OlderConfig],
    *,
    root: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[PreparedRun]:
    """The runs that these configs ask for, in the order of the files.

    Configs with equal task, dataset (file, label, `sanity_test`) and `inference_only` become arms of one run, the first the baseline.

    Args:
        root: Folder where relative paths are looked for first; the working directory by default.
        environ: Where base URLs are looked up; `os.environ` by default.

    Raises:
        ConfigError, DatasetError: A file, column, client, aspect or option is wrong; names file, line and key.
    """
    folder = root or Path.cwd()
    environ = os.environ if environ is None else environ
    grouped: dict[tuple[Any, ...], list[_Sourced]] = {}
    for config in configs:
        sourced = _Sourced.of(config, folder)
        key = (
            config.task, sourced.path, config.label_column, config.sanity_test, config.inference_only
        )  # fmt: skip
        grouped.setdefault(key, []).append(sourced)
    return [_prepared(group, folder, environ) for group in grouped.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sourced:
    """A config with its data file found and its header read."""

    config: OlderConfig
    path: Path
    header: tuple[str, ...]
    variables: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, config: OlderConfig, root: Path) -> _Sourced:
        path = find_file(config.data_path, config, "dataset_config", "data_path", root=root)
        header = read_header(path)
        label = config.label_column
        if label is not None and label not in header:
            raise config.error(
                f"{path.name} has no column {label!r}. Columns: {', '.join(header)}",
                "dataset_config",
                "label_col",
            )
        # a label in the first column is not its index: some files have none
        variables = [column for column in header[0 if header[0] == label else 1 :] if column != label]
        if not variables:
            raise config.error(
                f"{path.name} has the columns {', '.join(map(repr, header))}: the first is the row's index, and no "
                "other is left for the prompt's variables",
                "dataset_config", "data_path",
            )  # fmt: skip
        return cls(config=config, path=path, header=header, variables=tuple(variables))


def read_header(path: Path) -> tuple[str, ...]:
    """The names of a CSV's columns, the first (often unnamed) one included.

    Raises:
        DatasetError: It can't be read, or has no header.
    """
    with readers.opened(path) as (file, _):
        first = next(readers.lines(file, path), b"")
    try:
        text = first.decode()
        header = next(csv.reader([text], delimiter=delimiter_of(text), strict=False), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"the header is not CSV in UTF-8: {error}", file=path, line=1) from None
    if not any(header):
        raise DatasetError("holds no header; the first line must name the columns", file=path, line=1)
    return tuple(header)


def delimiter_of(header: str) -> str:
    """The comma; where the header has none, the semicolon or tab that it has."""
    return "," if "," in header else next((mark for mark in ";\t" if mark in header), ",")


def _dataset(sourced: _Sourced) -> Dataset:
    """The CSV with every column given its part, so that none is taken for its name."""
    config, variables = sourced.config, sourced.variables
    first = sourced.header[0]
    index = first if first not in ("", "Unnamed: 0", config.label_column) else None
    own = {name: name for name in ("id", "group", "split") if name in variables}
    metadata = [index] if index is not None else [name for name in ("metadata",) if name in variables]
    expected = config.label_column or next((n for n in ("expected", "target") if n in variables), None)
    return datasets.load(
        sourced.path,
        input=variables,
        expected=expected,
        metadata=metadata,
        name=config.task,
        format="csv",
        id=own.get("id"),
        group=own.get("group"),
        split=own.get("split"),
    )


def _prepared(group: Sequence[_Sourced], root: Path, environ: Mapping[str, str]) -> PreparedRun:
    first = group[0].config
    wanted = metrics.Wanted()
    warnings = [warning for sourced in group for warning in sourced.config.warnings]
    arms: dict[str, Variant] = {}
    by_arm: dict[str, OlderConfig] = {}
    for sourced in group:
        config = sourced.config
        variant, notes = _variant(sourced, root, environ)
        wanted.notes.extend(notes)
        name = _arm_name(config, arms)
        arms[name], by_arm[name] = variant, config
        if not config.inference_only:
            context = metrics.Context(
                config=config, columns=sourced.variables, judge=first.client, root=root, environ=environ
            )
            metrics.read(context, wanted)
    baseline = next(iter(arms))
    extraction, arm_extraction = _extractions(by_arm)
    task = Task(
        dataset=_dataset(group[0]),
        scorers=tuple(wanted.scorers.values()),
        repeats=wanted.repeats,
        extraction=extraction,
        arm_extraction=arm_extraction,
        name=first.task,
    )
    name = f"{first.project}/{first.task}"
    options = Options(
        concurrency=max(config.parallelism for config in by_arm.values()),
        limit=SANITY_ROWS if first.sanity_test else None,
        name=name,
        baseline=baseline,
    )
    if first.sanity_test:
        wanted.notes.append(f"sanity_test: only the first {SANITY_ROWS} rows")
    if first.inference_only:
        wanted.notes.append("inference_only: nothing is scored")
    return PreparedRun(
        name=name,
        project=first.project,
        task=task,
        arms=arms,
        baseline=baseline,
        options=options,
        configs=by_arm,
        inference_only=first.inference_only,
        notes=tuple(dict.fromkeys(wanted.notes)),
        warnings=tuple(dict.fromkeys([*warnings, *wanted.warnings])),
    )


def _variant(sourced: _Sourced, root: Path, environ: Mapping[str, str]) -> tuple[Variant, tuple[str, ...]]:
    config = sourced.config
    file = find_file(config.prompt_path, config, "prompt_config", "path", root=root)
    try:
        prompt = prompts.load(file, name=config.prompt_name)
    except PromptError as error:
        raise config.error(str(error), "prompt_config", "name") from None
    try:
        prompts.check(prompt, sourced.variables)
    except PromptError as error:
        index = sourced.header[0]
        missing = index and index not in sourced.variables and index in prompts.variables(prompt)
        hint = f" The first column, {index!r}, is the row's index and no variable" if missing else ""
        raise config.error(f"{error.message}{hint}", "prompt_config", "name") from None
    return clients.variant(
        config.client,
        config,
        "client_config",
        environ=environ,
        prompt=prompt,
        stream=config.streaming,
    )


def _arm_name(config: OlderConfig, taken: Mapping[str, Variant]) -> str:
    """client-model, numbered where another arm has that name."""
    name = f"{config.client.name}-{config.client.model_name}"
    number = 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    return unique


def _extractions(configs: Mapping[str, OlderConfig]) -> tuple[Extraction | None, dict[str, Extraction]]:
    """One extraction where all agree; else each arm's own."""
    each = {name: config.extraction for name, config in configs.items()}
    first = next(iter(each.values()))
    if all(extraction == first for extraction in each.values()):
        return first, {}
    return None, {name: extraction for name, extraction in each.items() if extraction is not None}
