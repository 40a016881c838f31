"""Which columns of a file of recorded results play which part, and the small languages that say so on a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from ratchet import checks as check_functions, extractions
from ratchet.errors import ConfigError, did_you_mean
from ratchet.evidence import FACTS
from ratchet.records import Check, Dimension, Extraction, Json, Scorer

MAX_MISSING = 0.02
"""Share of rows that one arm may lack before two files are no longer comparable."""

_MEASURE = re.compile(r"pass(@|\^|_at_|_hat_)(\d{1,6})")
_FILTER = re.compile(r"([^=!]+?)\s*(!?=)(.*)", re.DOTALL)


def _strings() -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Keeps the rows whose cell is one of these texts, or none of them."""

    column: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wide:
    """One metric that has a column an arm; `metric` is "text" where the columns hold outputs to be scored."""

    metric: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAtK:
    """pass@k (`every` false: any of k passes) or pass^k (`every` true: all of k pass)."""

    k: int
    every: bool

    @property
    def name(self) -> str:
        """`pass@5`, `pass^5`."""
        return f"pass{'^' if self.every else '@'}{self.k}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How files become evidence. A column not named takes the one of its usual name, where the file has it."""

    format: str | None = None
    """As in `datasets.load`; None: by the extension."""
    by: str | None = None
    """The column that names the arm, where one file holds several."""
    arms: tuple[str, ...] = ()
    """Names for the arms: of the files in their order, or of wide columns."""
    wide: tuple[Wide, ...] = ()
    id: tuple[str, ...] = ()
    """Several columns together are a compound id."""
    by_row: bool = False
    """There is no id: rows are paired by their place in the file."""
    group: str | None = None
    repeat: str | None = None
    number_repeats: bool = False
    """Rows of one id are repeats, numbered in the file's order."""
    max_repeats: int | None = None
    """Only the first so many repeats of each example."""
    inputs: tuple[str, ...] = ()
    """Columns that hold what was asked: with `expected`, the content that must agree under one id."""
    expected: str | None = None
    ignore_content: bool = False
    """One id may have several contents: prompts that differ in their wording."""
    scores: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=_strings)
    """Fact (`cost_usd`, `latency_s`, `ttft_s`, `input_tokens`, `output_tokens`) to column; a column whose name ends
    in `_ms` is read as milliseconds."""
    error: str | None = None
    refused: str | None = None
    cached: str | None = None
    text: str | None = None
    """The output as it came; extracted and scored."""
    answer: str | None = None
    """An answer that is already extracted."""
    extraction: Extraction | None = None
    arm_extraction: Mapping[str, Extraction] = field(default_factory=dict[str, Extraction])
    scorers: tuple[Scorer, ...] = ()
    slices: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()
    lower_is_better: frozenset[str] = frozenset()
    dimensions: Mapping[str, Dimension] = field(default_factory=dict[str, Dimension])
    agreement: tuple[str, ...] = ()
    """Columns whose agreement over repeats is measured."""
    stability: bool = False
    """Adds the agreement over repeats of text, answers and scores."""
    measures: tuple[PassAtK, ...] = ()
    max_missing: float = MAX_MISSING
    interleaved: bool = False
    """The arms' calls were made in turns: only then may a difference in latency decide."""
    checks: tuple[Check, ...] = ()


def columns_of(text: str) -> tuple[str, ...]:
    """`task,index` as column names.

    >>> columns_of("task, index")
    ('task', 'index')
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ConfigError(f"found {text!r}, expected the name of a column, or several with commas between")
    return names


def wide_of(text: str, *, metric: str = "score") -> Wide:
    """`direct,cot` or `accuracy=direct,cot`: columns that are arms.

    >>> wide_of("latency_s=old,new")
    Wide(metric='latency_s', columns=('old', 'new'))
    """
    name, mark, rest = text.partition("=")
    columns = columns_of(rest if mark else text)
    if len(columns) < 2 or len(set(columns)) != len(columns):
        raise ConfigError(f"found {text!r}, expected two or more columns that are arms, as in direct,cot")
    return Wide(metric=name.strip() if mark else metric, columns=columns)


def filter_of(text: str) -> Filter:
    """`task=navigate`, `task=navigate|snarks` or `task!=navigate`: rows to keep.

    >>> filter_of("task!=navigate|snarks")
    Filter(column='task', values=('navigate', 'snarks'), negated=True)
    """
    found = _FILTER.fullmatch(text)
    if found is None:
        raise ConfigError(f"found {text!r}, expected COLUMN=VALUE, COLUMN=A|B or COLUMN!=VALUE")
    return Filter(
        column=found[1].strip(),
        values=tuple(value.strip() for value in found[3].split("|")),
        negated=found[2] == "!=",
    )


def measure_of(text: str) -> PassAtK:
    """`pass@5` (any of 5 passes) or `pass^5` (all of 5 pass).

    >>> measure_of("pass_hat_5").name
    'pass^5'
    """
    found = _MEASURE.fullmatch(text.strip().lower())
    if found is None or int(found[2]) < 1:
        raise ConfigError(f"measure {text!r} is not known; expected pass@K or pass^K, such as pass@5")
    return PassAtK(k=int(found[2]), every=found[1] in ("^", "_hat_"))


def extraction_of(text: str) -> Extraction:
    r"""`strip`, `json_key=answer`, `tag=answer`, `regex=PATTERN` (its last match), or YAML as in ratchet.yaml.

    >>> extraction_of(r"regex=the answer is (.*)").args
    {'pattern': 'the answer is (.*)', 'which': 'last'}
    """
    short = re.fullmatch(r"\s*(json_key|nested_key|tag|regex)=(.*)", text, re.DOTALL)
    if short is not None:
        kind, rest = short[1], short[2]
        if kind == "nested_key":
            keys = [int(key) if key.lstrip("-").isdigit() else key for key in rest.split(".")]
            return Extraction(kind=kind, args={"keys": keys})
        if kind == "regex":
            return Extraction(kind=kind, args={"pattern": rest, "which": "last"})
        return Extraction(kind=kind, args={"key" if kind == "json_key" else "name": rest})
    return extractions.resolve(cast("str | Mapping[str, Json]", _yaml(text, "an extraction")))


def scorer_spec_of(text: str) -> str | Mapping[str, Json]:
    """`exact_match`, or YAML as in ratchet.yaml: `{contains: {text: refund}}`."""
    value = _yaml(text, "a scorer")
    if not isinstance(value, (str, dict)):
        raise ConfigError(f"found {text!r}, expected a scorer's name or {{name: {{setting: value}}}}")
    return cast("str | dict[str, Json]", value)


def _yaml(text: str, what: str) -> Json:
    if not text.lstrip().startswith("{"):
        return text.strip()
    from ratchet import yaml12

    try:
        return yaml12.load(text)
    except yaml12.YamlError as error:
        raise ConfigError(f"found {text!r}, which is not YAML and so not {what}: {error}") from None


def check_of(text: str, *, lower_is_better: frozenset[str] = frozenset()) -> Check:
    """`no_worse score margin_pp=2`: a rule, a metric, and the settings of `checks.make`.

    Raises:
        ConfigError: No such rule or setting, or one that doesn't fit.

    >>> check_of("at_most latency_s p=95 limit=2.0").quantile
    0.95
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"check {text!r} can't be read: {error}") from None
    if len(words) < 2 or "=" in words[0]:
        raise ConfigError(
            f"check {text!r}: expected RULE METRIC [SETTING=VALUE …], as in 'no_worse score margin_pp=2'"
        )
    rule = next((known for known in check_functions.RULES if known == words[0]), None)
    if rule is None:
        known = ", ".join(check_functions.RULES)
        raise ConfigError(
            f"check {text!r}: no rule {words[0]!r}. Known: {known}.{did_you_mean(words[0], check_functions.RULES)}"
        )
    settings: dict[str, Json] = {}
    for word in words[2:]:
        key, mark, value = word.partition("=")
        if not mark:
            raise ConfigError(f"check {text!r}: found {word!r}, expected SETTING=VALUE")
        settings[key] = _scalar(value)
    if words[1] in lower_is_better:
        settings.setdefault("higher_is_better", False)
    try:
        return check_functions.make(cast("check_functions.Rule", rule), words[1], settings)
    except ConfigError as error:
        raise ConfigError(f"check {text!r}: {error.message}") from None


def _scalar(text: str) -> Json:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def fact_named(name: str) -> str | None:
    """The fact that this metric is, if it is one."""
    return name if name in FACTS else None
