"""Sheets of answers for people to label: drawn from a run, written to a file, read back as Scores.

A sheet hides which arm gave an answer and what the judge said: its items have names of their own, in an order
drawn with the seed, and the sample in the store knows which answer each stands for.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ratchet import codec, datasets, scores
from ratchet.errors import CodecError, ConfigError, DatasetError, PlanError, UnknownNameError, did_you_mean
from ratchet.labels.draws import choose
from ratchet.ports import Store
from ratchet.records import Example, Json, Run, Score, Scorer, ScoreValue

COLUMNS = ("item", "example", "input", "expected", "output", "label", "note")
FORMATS = ("csv", "jsonl")
_MAX_CELL = 16 * 1024 * 1024
_MAX_TOLD = 10
_BOOLS = {"true": True, "yes": True, "pass": True, "1": True, "false": False, "no": False, "fail": False, "0": False}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a person may write into the label column."""

    kind: str
    """"bool", "label" or "number"."""
    words: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """Label to the score's value: itself, or a number."""
    low: float | None = None
    high: float | None = None

    def describe(self) -> str:
        """What is allowed, in words."""
        if self.words:
            return " | ".join(self.words)
        if self.kind == "bool":
            return "true | false"
        if self.low is None or self.high is None:
            return "a label" if self.kind == "label" else "a number"
        return f"a number from {self.low:g} to {self.high:g}"

    def read(self, said: str) -> ScoreValue:
        """The value that this text stands for.

        Raises:
            ValueError: None; the message says what was expected.
        """
        folded = said.strip().casefold()
        if self.words:
            known = {word.casefold(): value for word, value in self.words.items()}
            if folded not in known:
                raise ValueError(f"expected {self.describe()}.{did_you_mean(said.strip(), self.words)}")
            return known[folded]
        if self.kind == "bool":
            if folded not in _BOOLS:
                raise ValueError("expected true or false (yes, no, pass, fail, 1 and 0 do too)")
            return _BOOLS[folded]
        if self.kind == "label":
            return codec.clean_text(said.strip())
        try:
            number = float(folded)
        except ValueError:
            raise ValueError(f"expected {self.describe()}") from None
        low, high = self.low, self.high
        if number - number != 0 or (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"expected {self.describe()}")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Answers drawn for labelling. Each example was drawn with `probability`, with all its arms' answers."""

    run_id: str
    score: str
    """The score's name: "judge", "judge.quality"…"""
    judge: str
    """Its scorer@version when the sample was drawn."""
    labels: Labels
    items: Mapping[str, str]
    """Item's name on the sheet to trace id, in the sheet's order."""
    examples: int
    frame: int
    """Examples that could have been drawn."""
    probability: float
    seed: int
    stratify: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of a sheet."""

    sample: Sample
    sample_id: str
    labels: int
    blank: int
    """Items without a label yet."""


def judged_score(run: Run, store: Store, name: str) -> str:
    """The name of the judge's score that `name` means: a score's own name, or a judge with only one.

    Raises:
        UnknownNameError: No judge gave such a score in this run.
        ConfigError: The judge gave several.
    """
    known = sorted({score.name for score in store.scores(run.id) if score.source == "judge"})
    if name in known:
        return name
    parts = [score for score in known if score.startswith(f"{name}.")]
    if len(parts) == 1:
        return parts[0]
    if parts:
        raise ConfigError(
            f"{name} gives several scores ({', '.join(parts)}); label one at a time: --scorer {parts[0]}"
        )
    raise UnknownNameError(
        "judge's score", name, known, hint="" if known else f"Run {run.id} was scored by no judge: ratchet score -s …"
    )  # fmt: skip


def scorer_of(run: Run, score: str) -> Scorer | None:
    """The scorer of the run's task that gives this score; None where the task has another by now."""
    fits = [s for s in run.task.scorers if score == s.name or score.startswith(f"{s.name}.")]
    return max(fits, key=lambda s: len(s.name), default=None)


def labels_for(run: Run, score: str, values: Iterable[ScoreValue]) -> Labels:
    """What a label may be: as the judge's criterion says, else as the values that it gave."""
    scorer = scorer_of(run, score)
    criteria: Json = scorer.settings.get("criteria") if scorer else None
    if scorer is not None and isinstance(criteria, Mapping):
        criterion = cast("Mapping[str, Json]", criteria).get(score[len(scorer.name) + 1 :])
        if isinstance(criterion, Mapping):
            words, scale = criterion.get("labels"), criterion.get("scale")
            if words:
                numbers = all(isinstance(v, (int, float)) for v in words.values())
                return Labels(kind="number" if numbers else "label", words=dict(words))
            return Labels(kind="number", low=scale[0], high=scale[1]) if scale else Labels(kind="bool")
    given = [value for value in values if value is not None]
    if any(isinstance(value, frozenset) for value in given):
        raise ConfigError(f"{score} is a set of labels; sheets take one label an answer")
    if all(isinstance(value, bool) for value in given):
        return Labels(kind="bool")
    if any(isinstance(value, str) for value in given):
        return Labels(kind="label", words={str(value): str(value) for value in given})
    return Labels(kind="number")


def draw(
    run: Run, store: Store, score: str, *, n: int, seed: int = 0, stratify: str | None = None
) -> tuple[str, Sample]:
    """A sample of `n` examples with the answers of every arm, kept in the store; its id and the sample.

    Every example has the same chance: a systematic draw from the shuffled list, which with `stratify` (a key of the
    metadata, or "group") is sorted by it first, so that each stratum gets its share. Of several repeats one is drawn.
    An example whose answers all failed is not drawn: there is nothing to label.

    Raises:
        PlanError: The run has no such examples.
    """
    chosen = choose(run, store, n=n, seed=seed, stratify=stratify)
    found = [s for s in store.scores(run.id, name=score) if s.source == "judge"]
    sample = Sample(
        run_id=run.id,
        score=score,
        judge=max(found, key=lambda s: s.created_at).by if found else "",
        labels=labels_for(run, score, (s.value for s in found)),
        items={},
        examples=chosen.examples,
        frame=chosen.frame,
        probability=chosen.probability,
        seed=seed,
        stratify=stratify,
    )
    mark = codec.content_id([run.id, score, seed, n, stratify, chosen.traces])[:8]
    sample = replace(sample, items={f"{mark}-{i:03d}": trace for i, trace in enumerate(chosen.traces, 1)})
    sample_id = codec.content_id(sample)
    store.put_content("label_sample", sample_id, codec.encode(sample))
    ref = f"samples/{mark}"
    store.move_ref(ref, sample_id, expected=store.ref(ref), by="ratchet")
    return sample_id, sample


def write(path: Path, sample: Sample, run: Run, store: Store) -> None:
    """Write the sheet: CSV for a spreadsheet, or JSONL, by the extension.

    Raises:
        ConfigError: Another extension.
    """
    kind = _format_of(path)
    examples = _examples(run, store, sample)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file) if kind == "csv" else None
        if writer is not None:
            writer.writerow(COLUMNS)
        for item, trace_id in sample.items.items():
            trace = store.trace(trace_id)
            if trace is None:
                raise PlanError(f"the answer of item {item} is no longer in the store")
            example = examples.get(trace.example_id or "")
            row: dict[str, Json] = {
                "item": item,
                "example": trace.example_id,
                "input": trace.input if example is None else example.input,
                "expected": None if example is None else example.expected,
                "output": trace.output if trace.output is not None else trace.refusal,
                "label": "",
                "note": "",
            }
            if writer is not None:
                writer.writerow([as_cell(value) for value in row.values()])
            else:
                file.write(codec.dumps({**row, "labels": sample.labels.describe()}).decode() + "\n")


def _format_of(path: Path) -> str:
    extension = path.suffix.lower().removeprefix(".")
    if extension not in FORMATS:
        raise ConfigError(f"{path}: the extension says the format of a sheet; known: {', '.join(FORMATS)}")
    return extension


def _examples(run: Run, store: Store, sample: Sample) -> dict[str, Example]:
    wanted = {trace.example_id for i in sample.items.values() if (trace := store.trace(i)) is not None}
    return {e.id: e for e in datasets.examples(run.task.dataset) if e.id in wanted}


def as_cell(value: Json) -> str:
    """The value as a CSV cell that no spreadsheet takes for a formula."""
    text = "" if value is None else value if isinstance(value, str) else codec.dumps(value).decode()
    # a spreadsheet would run an answer that begins so as a formula
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def read(path: Path, store: Store) -> tuple[str, Sample, list[tuple[str, ScoreValue, str]]]:
    """The sample's id, the sample, and (trace id, label, note) of every labelled row of a filled-in sheet.

    Only the columns item, label and note are read. A blank label is left out.

    Raises:
        DatasetError: Cells that can't be used, the first ten by line, column and value.
        ConfigError: Another extension than .csv or .jsonl.
    """
    rows = _csv_rows(path) if _format_of(path) == "csv" else _jsonl_rows(path)
    sample_id, sample = "", None
    found: list[tuple[str, ScoreValue, str]] = []
    problems: list[DatasetError] = []
    seen: dict[str, int] = {}
    for line, item, label, note in rows:
        try:
            if item in seen:
                raise bad_cell(
                    path, line, "item", item, f"is on line {seen[item]} already; expected each item once"
                )
            if sample is None:
                sample_id, sample = _sample_of(item, store, path, line)
            if item not in sample.items:
                raise bad_cell(
                    path, line, "item", item, "is not of this sample; expected the names as they were written"
                )
            seen[item] = line
            if label.strip():
                try:
                    value = sample.labels.read(label)
                except ValueError as error:
                    raise bad_cell(path, line, "label", label, f"{error}") from None
                found.append((sample.items[item], value, codec.clean_text(note.strip())))
        except DatasetError as problem:
            problems.append(problem)
    if problems:
        raise all_problems(problems)
    if sample is None:
        raise DatasetError("the sheet has no rows; expected those that were written", file=path)
    return sample_id, sample, found


def all_problems(problems: Sequence[DatasetError]) -> DatasetError:
    """One error that tells the first ten."""
    first, *rest = problems
    lines = [first.message, *(f"  {problem}" for problem in rest[: _MAX_TOLD - 1])]
    if len(problems) > _MAX_TOLD:
        lines.append(f"  and {len(problems) - _MAX_TOLD} more")
    return DatasetError(
        "\n".join(lines), file=first.file, line=first.line, column=first.column, value=first.value
    )


def bad_cell(path: Path, line: int | None, column: str, value: str, message: str) -> DatasetError:
    """What stood there, and what was expected."""
    shown = repr(value if len(value) <= 60 else f"{value[:57]}...")
    return DatasetError(f"{shown}: {message}", file=path, line=line, column=column, value=value)


def _sample_of(item: str, store: Store, path: Path, line: int) -> tuple[str, Sample]:
    sample_id = store.ref(f"samples/{item.partition('-')[0]}")
    data = store.content(sample_id) if sample_id else None
    if sample_id is None or data is None:
        raise bad_cell(
            path, line, "item", item, "no sample of this store has it; is --store the one it was drawn from?"
        )
    return sample_id, codec.decode(Sample, dict(data))


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = max(",;\t", key=_first_line(path).count)
            rows = csv_cells(file, path, needed=("item", "label"), known=COLUMNS, delimiter=delimiter)
            for line, row in rows:
                yield line, row["item"].strip(), row.get("label", ""), row.get("note", "")
    except OSError as error:
        raise DatasetError(f"it can't be read: {error.strerror}", file=path) from None


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline().decode("utf-8", "replace")


def csv_cells(
    lines: Iterable[str], path: Path, *, needed: Sequence[str], known: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with the line that each begins at; its columns in any spelling of case and order.

    Raises:
        DatasetError: A needed column is missing or doubled, a row has more cells than the header, or it is no CSV; names
            the line.
    """
    before = csv.field_size_limit(_MAX_CELL)
    line = 1
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = [name.strip().casefold() for name in next(reader, [])]
        for column in needed:
            if header.count(column) != 1:
                raise DatasetError(
                    f"there is {'no' if column not in header else 'more than one'} such column among "
                    f"{', '.join(header)[:200] or 'nothing'}; expected {', '.join(known)}",
                    file=path, line=1, column=column,
                )  # fmt: skip
        line = reader.line_num + 1
        for cells in reader:
            if any(cells):
                if len(cells) > len(header):
                    raise bad_cell(
                        path, line, header[0], cells[0], f"has {len(cells)} cells, expected {len(header)}"
                    )
                yield line, dict(zip(header, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"this is no CSV: {error}", file=path, line=line) from None
    except UnicodeDecodeError:
        raise DatasetError("the file is not UTF-8; save it as 'CSV UTF-8'", file=path, line=line) from None
    finally:
        csv.field_size_limit(before)


def _jsonl_rows(path: Path) -> Iterator[tuple[int, str, str, str]]:
    try:
        with path.open("rb") as file:
            for line, data in enumerate(file, 1):
                if not data.strip():
                    continue
                try:
                    row: Json = codec.parse(data)
                except CodecError as error:
                    raise DatasetError(f"this is no JSON: {error}", file=path, line=line) from None
                if not isinstance(row, dict) or not isinstance(row.get("item"), str) or "label" not in row:
                    raise DatasetError("expected an object with item and label", file=path, line=line)
                label, note = row["label"], row.get("note")
                yield (
                    line,
                    row["item"].strip(),
                    _plain(label, path, line, "label"),
                    _plain(note, path, line, "note"),
                )
    except OSError as error:
        raise DatasetError(f"it can't be read: {error.strerror}", file=path) from None


def _plain(value: Json, path: Path, line: int, column: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    raise bad_cell(path, line, column, repr(value), "expected text, a number, true or false")


def bring_in(path: Path, store: Store, *, by: str) -> Imported:
    """Keep the labels of a filled-in sheet as Scores with source "human"; what came of it.

    A later sheet by the same person replaces the labels of the earlier one.

    Raises:
        DatasetError: A cell that can't be used; nothing is kept then.
        ConfigError: `by` is empty.
    """
    person = codec.clean_text(by.strip())
    if not person:
        raise ConfigError("the labels are nobody's; say whose: --by ada")
    sample_id, sample, found = read(path, store)
    run = store.run(sample.run_id)
    scorer = scorer_of(run, sample.score) if run is not None else None
    metadata: dict[str, Json] = {
        "sample": sample_id,
        "probability": sample.probability,
        "rubric_version": sample.judge,
    }
    store.write(
        Score(
            trace_id=trace_id,
            name=sample.score,
            value=value,
            reason=note[:1000] or None,
            source="human",
            by=person,
            dimension=scorer.dimension if scorer else "accuracy",
            metadata=metadata,
            created_at=time.time(),
        )
        for trace_id, value, note in found
    )
    return Imported(
        sample=sample, sample_id=sample_id, labels=len(found), blank=len(sample.items) - len(found)
    )


def signature_of(run: Run, score: str) -> str | None:
    """scorer@version that the run's task would give this score with."""
    scorer = scorer_of(run, score)
    return None if scorer is None else scores.signature_of(scorer)
