"""What a run found, as the files that the older tool wrote: a CSV with every row, and its totals and config as JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ratchet import codec, datasets
from ratchet.datasets import readers
from ratchet.llm_validator.configs import OlderConfig
from ratchet.llm_validator.prepared import PreparedRun, delimiter_of
from ratchet.llm_validator.totals import Totals
from ratchet.ports import Store
from ratchet.records import Example, Json, Run, Score, ScoreValue, Trace

DEFAULT_FOLDER = "results"
_FACTS = (
    "input_tokens", "output_tokens", "cost_usd", "ttft_s", "latency_s", "tokens_per_s", "attempts", "cached",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer with its example and its scores."""

    arm: str
    index: str
    """What stands in the file's first column; without one, the row's number from 0."""
    example: Example
    trace: Trace
    scores: tuple[Score, ...]

    @property
    def success(self) -> bool:
        """Whether a call succeeded and an answer could be extracted."""
        return self.trace.error is None and self.trace.answer_error is None

    @property
    def error(self) -> str:
        if self.trace.error is not None:
            return f"{self.trace.error.kind}: {self.trace.error.message}"
        return self.trace.answer_error or ""


def rows(run: Run, store: Store, *, arm: str | None = None) -> Iterator[Row]:
    """Every answer of the run, in the order of the dataset, arm by arm; one at a time."""
    done = store.done(run.id)
    arms = [name for name in run.arms if arm in (None, name)]
    indices = _indices(Path(run.task.dataset.path))
    examples = datasets.examples(run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed)
    whole = run.sample is None  # a sample leaves rows out: then only the example knows its place
    for number, example in enumerate(examples):
        index = next(indices, str(number)) if whole else example.id
        for name in arms:
            for repeat in range(run.task.repeats):
                found = done.get((name, example.id, repeat))
                trace = store.trace(found[0]) if found else None
                if trace is not None:
                    judged = tuple(store.scores(trace_id=trace.id))
                    yield Row(arm=name, index=index, example=example, trace=trace, scores=judged)


def _indices(path: Path) -> Iterator[str]:
    """The first column of a CSV, as it stands there."""
    if path.suffix.lower() not in (".csv", ".tsv", ".gz", ".txt", "") or not path.is_file():
        return
    with readers.opened(path) as (file, _):
        lines = (line.decode("utf-8", "replace") + "\n" for line in readers.lines(file, path))
        first = next(lines, "")
        header = next(csv.reader([first], delimiter=delimiter_of(first)), [""])
        del header
        for record in csv.reader(lines, delimiter=delimiter_of(first)):
            if record:
                yield record[0]


def write_results(
    run: Run,
    store: Store,
    prepared: PreparedRun,
    *,
    root: Path | None = None,
    spreadsheet_safe: bool = True,
) -> list[Path]:
    """The files written, arm by arm: `{save_path}/{project}/{task}/{arm}/{run}.csv`, beside it `{run}.metrics.json`
    and `{run}.config.json`, and with `save_inference` `{save_path}/{client}-inference-results.csv`.

    Args:
        root: Folder that `save_path` (by default `results`) starts from; the working directory by default.
        spreadsheet_safe: Write a `'` before text that a spreadsheet would run as a formula (it begins with = + - @, a
            tab or a carriage return); numbers stay as they are. The store and the JSON hold the exact text.
    """
    names = _score_names(run, store)
    judge = _judge_cost(run, store)
    written: list[Path] = []
    inference: set[Path] = set()
    for arm, config in prepared.configs.items():
        if arm not in run.arms:
            continue
        folder = (root or Path.cwd()) / (config.save_path or DEFAULT_FOLDER)
        home = folder / _safe(config.project) / _safe(config.task) / _safe(arm)
        kept = _inference_path(folder, config, arm, inference) if config.save_inference else None
        totals = Totals()
        totals.judge_cost_usd, totals.judge_calls = judge
        try:
            sheets = _write_sheets(
                run, store, arm, home / f"{run.id}.csv", kept, names, totals, spreadsheet_safe
            )
            metrics, copy = home / f"{run.id}.metrics.json", home / f"{run.id}.config.json"
            _write_json(
                metrics, {"run": run.id, "arm": arm, "notes": list(prepared.notes), **totals.summary()}
            )
            _write_json(copy, {"file": config.path.name, **config.data})
        except OSError as error:
            raise config.error(
                f"results can't be written to {folder}: {error}. The run is complete in the store",
                "controller_config", "save_path",
            ) from None  # fmt: skip
        written += [sheets[0], metrics, copy, *sheets[1:]]
    return written


def _write_sheets(
    run: Run,
    store: Store,
    arm: str,
    path: Path,
    inference: Path | None,
    names: Sequence[str],
    totals: Totals,
    spreadsheet_safe: bool,
) -> list[Path]:
    """One arm's rows, written and added up in one pass; the files."""
    columns = {path: _columns(run, names)}
    if inference is not None:
        columns[inference] = _columns(run, ())
    with ExitStack() as stack:
        sheets = [stack.enter_context(_sheet(file, of, spreadsheet_safe)) for file, of in columns.items()]
        for row in rows(run, store, arm=arm):
            cells = _cells(row)
            for sheet in sheets:
                sheet.write(cells)
            totals.add(row.trace, row.scores)
    return list(columns)


def _judge_cost(run: Run, store: Store) -> tuple[float | None, int]:
    """What the judges of the whole run cost, in dollars, and how often they were asked."""
    costs = [row.cost_usd for row in store.rows(run.id) if row.arm is None]
    known = [cost for cost in costs if cost is not None]
    return (sum(known) if known or not costs else None), len(costs)


def _inference_path(folder: Path, config: OlderConfig, arm: str, taken: set[Path]) -> Path:
    """One file a client; a second arm of a client has the arm's name."""
    path = folder / f"{_safe(config.client.name)}-inference-results.csv"
    if path in taken:
        path = folder / f"{_safe(arm)}-inference-results.csv"
    taken.add(path)
    return path


def _safe(name: str) -> str:
    """The name as one part of a path."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".-")[:120] or "unnamed"


def _score_names(run: Run, store: Store) -> tuple[str, ...]:
    """The names of the run's scores, in the order in which its scorers give them."""
    return tuple(dict.fromkeys(score.name for score in store.scores(run.id)))


def _columns(run: Run, names: Sequence[str]) -> list[str]:
    example = next(iter(datasets.examples(run.task.dataset, limit=1)), None)
    given = example.input if example is not None and isinstance(example.input, Mapping) else {"input": None}
    inputs = [_input_name(name) for name in given]
    fixed = ["index", *inputs, "messages", "response", "extracted_response", "label", "success", "error"]
    judged = [column for name in names for column in (name, _reason_name(name))]
    repeat = ["repeat"] if run.task.repeats > 1 else []
    return list(dict.fromkeys([*fixed[:1], *repeat, *fixed[1:], *judged, *_FACTS, "model", "trace_id"]))


_TAKEN = frozenset(
    {
        "index",
        "repeat",
        "messages",
        "response",
        "extracted_response",
        "label",
        "success",
        "error",
        "model",
        "trace_id",
    }
).union(_FACTS)


def _input_name(name: str) -> str:
    """The column of an input; `input_` before a name that the results use themselves."""
    return f"input_{name}" if name in _TAKEN else name


def _reason_name(name: str) -> str:
    """`reason` beside a plain score; `accuracy_reason` beside accuracy_score."""
    if name in ("score", "code_quality"):
        return "reason"
    return f"{name.removesuffix('_score')}_reason"


def _cells(row: Row) -> dict[str, Json]:
    trace, example = row.trace, row.example
    given: Mapping[str, Json] = (
        example.input if isinstance(example.input, Mapping) else {"input": example.input}
    )
    cells: dict[str, Json] = {
        **{_input_name(name): value for name, value in given.items()},
        "index": row.index,
        "repeat": trace.repeat,
        "messages": trace.input,
        "response": trace.output
        if trace.output not in (None, "") or not trace.tool_calls
        else list(trace.tool_calls),
        "extracted_response": trace.answer,
        "label": example.expected,
        "success": row.success,
        "error": row.error,
        "model": trace.model,
        "trace_id": trace.id,
    }
    for fact in _FACTS:
        cells[fact] = getattr(trace, fact)
    for score in row.scores:
        cells[score.name] = sorted(score.value) if isinstance(score.value, frozenset) else score.value
        cells[_reason_name(score.name)] = score.reason
    return cells


class _Sheet:
    def __init__(self, file: TextIO, columns: Sequence[str], spreadsheet_safe: bool) -> None:
        self._columns, self._safe = columns, spreadsheet_safe
        self._writer = csv.writer(file)
        self._writer.writerow([_inert(column) if spreadsheet_safe else column for column in columns])

    def write(self, cells: Mapping[str, Json]) -> None:
        self._writer.writerow([self._text(cells.get(column)) for column in self._columns])

    def _text(self, value: Json) -> Json:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        text = value if isinstance(value, str) else codec.dumps(value).decode()
        text = codec.clean_text(text)
        return _inert(text) if self._safe else text


_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)*(?:[eE][-+]?[0-9]+)?%?")


def _inert(text: str) -> str:
    """The text, with `'` before what a spreadsheet would take for a formula."""
    return (
        f"'{text}"
        if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(text)
        else text
    )


@contextmanager
def _sheet(path: Path, columns: Sequence[str], spreadsheet_safe: bool) -> Generator[_Sheet]:
    """A CSV that appears under its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield _Sheet(file, columns, spreadsheet_safe)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_json(path: Path, value: Mapping[str, Json]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


# rows that went wrong


def wrong_rows(run: Run, store: Store, *, arm: str | None = None) -> Iterator[Row]:
    """The answers that failed, could not be extracted, or were judged wrong: a score of False, `wrong` or
    `incomplete` code, a `bad` response. A score that is a number is neither right nor wrong."""
    for row in rows(run, store, arm=arm):
        if not row.success or any(is_wrong(score.value) for score in row.scores):
            yield row


def is_wrong(value: ScoreValue) -> bool:
    return value is False or value in ("wrong", "incomplete", "bad")


def render_row(row: Row, *, verbose: int = 1, width: int = 400) -> str:
    """The row as plain text; with `verbose` 2 also the messages sent, in full."""
    lines = [f"{row.arm}, row {row.index}" + (f", repeat {row.trace.repeat}" if row.trace.repeat else "")]
    if row.error:
        lines.append(f"  error     {_line(row.error, width)}")
    lines.append(f"  response  {_line(row.trace.output, width)}")
    if row.trace.answer != row.trace.output:
        lines.append(f"  extracted {_line(row.trace.answer, width)}")
    if row.example.expected is not None:
        lines.append(f"  label     {_line(row.example.expected, width)}")
    for score in row.scores:
        reason = f"  ({_line(score.reason, width)})" if score.reason else ""
        lines.append(f"  {score.name} = {_line(score.value, width)}{reason}")
    if verbose >= 2:
        lines += ["  messages", *_messages(row.trace.input)]
    return "\n".join(lines)


def _messages(messages: Json) -> Iterable[str]:
    entries: list[Any] = messages if isinstance(messages, list) else [messages]
    for entry in entries:
        message = entry if isinstance(entry, Mapping) else {"role": "input", "content": entry}
        content = _printable(_plain(message.get("content")))
        yield f"    {_printable(str(message.get('role')))}: " + content.replace("\n", "\n      ")


def _plain(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(str(item) for item in value))
    return value if isinstance(value, str) else codec.dumps(value).decode()


def _printable(text: str) -> str:
    """The text without control characters: a model's answer must not drive the terminal."""
    return "".join(c if c in "\n\t" or (c.isprintable() or c == "\u00a0") else "\ufffd" for c in text)


def _line(value: object, width: int) -> str:
    text = _printable(" ".join(_plain(value).split()))
    return text if len(text) <= width else f"{text[: width - 1]}…"
