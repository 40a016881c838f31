"""The options that say what the columns of recorded results mean; `compare` and `score` share them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import click

from ratchet.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.records import Check, Dimension
    from ratchet.tabular import Spec

Command = TypeVar("Command", bound=Callable[..., Any])
_EXTENSIONS = (
    ".csv",
    ".tsv",
    ".tab",
    ".json",
    ".jsonl",
    ".ndjson",
    ".parquet",
    ".pq",
    ".yaml",
    ".yml",
    ".gz",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What was given on the command line about files."""

    by: str | None
    wide_scores: tuple[str, ...]
    wide_texts: str | None
    arm_names: str | None
    id_columns: str | None
    by_row: bool
    group: str | None
    repeat: str | None
    number_repeats: bool
    max_repeats: int | None
    inputs: tuple[str, ...]
    expected: str | None
    ignore_content: bool
    score_columns: tuple[str, ...]
    cost: str | None
    latency: str | None
    ttft: str | None
    input_tokens: str | None
    output_tokens: str | None
    error: str | None
    refused: str | None
    cached: str | None
    text: str | None
    answer: str | None
    extract: str | None
    extract_arm: tuple[tuple[str, str], ...]
    scorers: tuple[str, ...]
    slices: tuple[str, ...]
    where: tuple[str, ...]
    lower_is_better: tuple[str, ...]
    dimensions: tuple[str, ...]
    agreement: tuple[str, ...]
    stability: bool
    measures: tuple[str, ...]
    max_missing: float | None
    interleaved: bool
    file_format: str | None
    qrels: Path | None
    metrics: tuple[str, ...]
    relevance_level: int
    complete: bool

    def given(self) -> list[str]:
        """Names of the options that were used."""
        plain = (None, (), False)
        return [
            f.name for f in fields(self) if f.name != "relevance_level" and getattr(self, f.name) not in plain
        ]


_COLUMN: dict[str, Any] = {"metavar": "COLUMN"}
_MANY: dict[str, Any] = {"metavar": "COLUMN", "multiple": True}
_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--by",), {**_COLUMN, "help": "One file of several arms: the column that names the arm."}),
    (("--scores", "wide_scores"), {"metavar": "[METRIC=]A,B", "multiple": True, "help": "One file with a column an arm: these columns are the arms' scores (repeatable; METRIC may be cost_usd, latency_s, error…)."}),
    (("--texts", "wide_texts"), {"metavar": "A,B", "help": "The same for outputs to be scored."}),
    (("--arms", "arm_names"), {"metavar": "A,B", "help": "Names for the files or columns that are arms."}),
    (("--id", "id_columns"), {"metavar": "COLUMN[,…]", "help": "What names the example; several columns make one id [id]."}),
    (("--by-row",), {"is_flag": True, "help": "There is no id: pair rows by their place."}),
    (("--group",), {**_COLUMN, "help": "The cluster of an example: its document, customer, problem."}),
    (("--repeat",), {**_COLUMN, "help": "Which of several tries a row is. A list in a cell holds repeats too."}),
    (("--number-repeats",), {"is_flag": True, "help": "Rows of one id are repeats, as they come."}),
    (("--max-repeats",), {"type": click.IntRange(1), "metavar": "N", "help": "Only the first N repeats of each example."}),
    (("--input", "inputs"), {**_MANY, "help": "What was asked (repeatable): it must agree under one id."}),
    (("--expected",), {**_COLUMN, "help": "What should come out."}),
    (("--ignore-content",), {"is_flag": True, "help": "Don't check that one id has one input and expected value."}),
    (("--score", "score_columns"), {**_MANY, "help": "A metric (repeatable): pass/fail, true/false, yes/no, 1/0, or numbers."}),
    (("--cost",), {**_COLUMN, "help": "Dollars a row [cost_usd]."}),
    (("--latency",), {**_COLUMN, "help": "Seconds a row; of a column named …_ms, milliseconds [latency_s]."}),
    (("--ttft",), {**_COLUMN, "help": "Seconds to the first token [ttft_s]."}),
    (("--input-tokens",), {**_COLUMN, "help": "Tokens in [input_tokens]."}),
    (("--output-tokens",), {**_COLUMN, "help": "Tokens out [output_tokens]."}),
    (("--error",), {**_COLUMN, "help": "Why a row has no answer; empty, 0, false, ok and 2xx are no error [error, error_code…]."}),
    (("--refused",), {**_COLUMN, "help": "True where the model refused."}),
    (("--cached",), {**_COLUMN, "help": "True where the answer came from a cache: it has no latency."}),
    (("--text",), {**_COLUMN, "help": "The output, to be extracted and scored."}),
    (("--answer",), {**_COLUMN, "help": "The answer, extracted already."}),
    (("--extract",), {"metavar": "SPEC", "help": "How --text becomes the answer: strip, regex=PATTERN, json_key=KEY, tag=NAME, or YAML as in ratchet.yaml."}),
    (("--extract-arm",), {"nargs": 2, "multiple": True, "metavar": "ARM SPEC", "help": "The same, for one arm (repeatable)."}),
    (("--scorer", "-s", "scorers"), {"multiple": True, "metavar": "NAME", "help": "Scorers of the answers (repeatable): a name, pkg.module:function, or YAML."}),
    (("--slice", "--metadata", "slices"), {**_MANY, "help": "Also show the parts by this column (repeatable)."}),
    (("--where",), {"multiple": True, "metavar": "COLUMN=VALUE", "help": "Only these rows (repeatable): A=x, A=x|y, A!=x."}),
    (("--lower-is-better",), {"multiple": True, "metavar": "METRIC", "help": "Less of this metric is better (repeatable)."}),
    (("--dimension", "dimensions"), {"multiple": True, "metavar": "METRIC=NAME", "help": "cost, latency, accuracy, security or stability [accuracy]."}),
    (("--agreement",), {**_MANY, "help": "Measure how often all repeats of this column agree (repeatable)."}),
    (("--stability",), {"is_flag": True, "help": "Measure how often all repeats agree: raw text, answer, or score."}),
    (("--measure", "measures"), {"multiple": True, "metavar": "pass@K", "help": "pass@K (any of K passes) or pass^K (all do) of the scores (repeatable)."}),
    (("--max-missing",), {"type": click.FloatRange(0, 1), "metavar": "SHARE", "help": "Rows an arm may lack; they count as failed [0.02]."}),
    (("--interleaved",), {"is_flag": True, "help": "The arms were called in turns, so that latency may decide."}),
    (("--format", "file_format"), {"metavar": "NAME", "help": "csv, tsv, json, jsonl, yaml or parquet [by the extension]."}),
    (("--qrels",), {"type": click.Path(path_type=Path), "metavar": "FILE", "help": "The files are TREC runs, judged by these judgements."}),
    (("--metric", "metrics"), {"multiple": True, "metavar": "NAME", "help": "With --qrels: map, recip_rank, ndcg@10, P@10, recall@100… (repeatable)."}),
    (("--relevance-level",), {"type": click.IntRange(1), "default": 1, "metavar": "N", "help": "With --qrels: grades from N on are relevant [1]."}),
    (("--complete",), {"is_flag": True, "help": "With --qrels: a judged query without results counts, as 0."}),
)  # fmt: skip


def with_file_options(command: Command) -> Command:
    """All options about files; the command gets them as one argument, `file_options`."""
    names = [f.name for f in fields(FileOptions)]

    @functools.wraps(command)
    def wrapped(*args: Any, **given: Any) -> Any:
        picked = {name: given.pop(name) for name in names}
        return command(*args, file_options=FileOptions(**picked), **given)

    for declarations, settings in reversed(_OPTIONS):
        wrapped = click.option(*declarations, **settings)(wrapped)
    return cast("Command", wrapped)


def are_files(what: Sequence[str], options: FileOptions) -> bool:
    """Whether these arguments name files of recorded results, and not runs."""
    if options.qrels is not None:
        return True
    for name in what:
        path = name.partition("=")[2] if "=" in name and not Path(name).exists() else name
        if path.lower().endswith(_EXTENSIONS) or Path(path).is_file():
            return True
    return False


def spec_of(options: FileOptions, *, checks: Sequence[str] = (), root: Path | None = None) -> Spec:
    """What the options say, checked.

    Raises:
        ConfigError: An option that can't be read, or two that don't go together.
    """
    from ratchet import scores
    from ratchet.tabular import specs

    facts = {
        "cost_usd": options.cost,
        "latency_s": options.latency,
        "ttft_s": options.ttft,
        "input_tokens": options.input_tokens,
        "output_tokens": options.output_tokens,
    }
    wide = [specs.wide_of(text) for text in options.wide_scores]
    if options.wide_texts:
        wide.append(specs.wide_of(f"text={options.wide_texts}"))
    if wide and options.by:
        raise ConfigError(
            "--by names arms by a column, --scores and --texts by several; expected one of both"
        )
    lower = frozenset(options.lower_is_better)
    return specs.Spec(
        format=options.file_format,
        by=options.by,
        arms=specs.columns_of(options.arm_names) if options.arm_names else (),
        wide=tuple(wide),
        id=specs.columns_of(options.id_columns) if options.id_columns else (),
        by_row=options.by_row,
        group=options.group,
        repeat=options.repeat,
        number_repeats=options.number_repeats,
        max_repeats=options.max_repeats,
        inputs=options.inputs,
        expected=options.expected,
        ignore_content=options.ignore_content,
        scores=options.score_columns,
        facts={fact: column for fact, column in facts.items() if column},
        error=options.error,
        refused=options.refused,
        cached=options.cached,
        text=options.text,
        answer=options.answer,
        extraction=specs.extraction_of(options.extract) if options.extract else None,
        arm_extraction={arm: specs.extraction_of(text) for arm, text in options.extract_arm},
        scorers=tuple(scores.resolve(specs.scorer_spec_of(text), root=root) for text in options.scorers),
        slices=options.slices,
        where=tuple(specs.filter_of(text) for text in options.where),
        lower_is_better=lower,
        dimensions=_dimensions(options.dimensions),
        agreement=options.agreement,
        stability=options.stability,
        measures=tuple(specs.measure_of(text) for text in options.measures),
        interleaved=options.interleaved,
        max_missing=specs.MAX_MISSING if options.max_missing is None else options.max_missing,
        checks=tuple(specs.check_of(text, lower_is_better=lower) for text in checks),
    )


def _dimensions(texts: Sequence[str]) -> dict[str, Dimension]:
    from ratchet.records import Dimension

    known = get_args(Dimension)
    made: dict[str, Dimension] = {}
    for text in texts:
        metric, _, name = text.partition("=")
        if name not in known:
            raise ConfigError(
                f"--dimension {text}: expected METRIC=NAME. Known: {', '.join(known)}.{did_you_mean(name, known)}"
            )
        made[metric] = cast("Dimension", name)
    return made


def evidence_from_files(
    paths: Sequence[str],
    options: FileOptions,
    *,
    baseline: str | None = None,
    candidates: Sequence[str] = (),
    checks: Sequence[str] = (),
    root: Path | None = None,
) -> Evidence:
    """The evidence in these files, the baseline's arm first.

    Args:
        baseline: An arm; None takes the first that the files hold.
        candidates: Arms to hold against it; empty takes all others.
        checks: As `specs.check_of` reads them.
    """
    from ratchet import tabular

    spec = spec_of(options, checks=checks, root=root)
    if options.qrels is not None:
        from ratchet.tabular import rankings

        found = rankings.load(
            paths,
            options.qrels,
            spec,
            metrics=options.metrics,
            level=options.relevance_level,
            complete=options.complete,
        )
    elif baseline is not None and candidates:
        found = tabular.load(paths, spec, arms=(baseline, *candidates), root=root)
    else:
        found = tabular.load(paths, spec, root=root)
    return _in_order(found, baseline, candidates)


def _in_order(evidence: Evidence, baseline: str | None, candidates: Sequence[str]) -> Evidence:
    from dataclasses import replace

    from ratchet.errors import UnknownNameError

    names = list(evidence.arms)
    for name in (*([baseline] if baseline else []), *candidates):
        if name not in names:
            raise UnknownNameError("arm", name, names)
    first = baseline or next(name for name in names if name not in candidates)
    kept = [first, *(candidates or [name for name in names if name != first])]
    return replace(
        evidence,
        arms={name: evidence.arms[name] for name in kept},
        facts={**evidence.facts, "baseline": first},
    )


def checks_of(texts: Sequence[str], options: FileOptions) -> tuple[Check, ...]:
    """The checks of `--check`."""
    from ratchet.tabular import specs

    return tuple(specs.check_of(text, lower_is_better=frozenset(options.lower_is_better)) for text in texts)
