"""Which datasets the store knows, and their examples one page at a time, straight from their files."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet import codec, datasets
from ratchet.datasets import readers
from ratchet.datasets.rows import to_parts
from ratchet.errors import DatasetError, RatchetError
from ratchet.records import Dataset, Example
from ratchet.web import columns, indexing
from ratchet.web.columns import Ints, Table

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

ROWS = "rows.jsonl"
"""The rows of a dataset that isn't plain JSONL, in the folder of its columns."""
HELD_OUT = frozenset({"test", "holdout", "held-out", "held_out", "heldout"})
"""Splits whose examples are used up by being looked at."""
_PIECE = 4 * 2**20
MOST_RUNS = 2_000
"""Newest runs whose datasets are known."""

_of_run: dict[tuple[str, str], Dataset] = {}
"""Runs don't change: each is read once a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The datasets that a store knows."""

    datasets: Mapping[str, Dataset]
    """By id, newest first."""
    runs: Mapping[str, tuple[str, ...]]
    """Ids of the runs over each, newest first."""
    refs: Mapping[str, str]
    """Name of each ref, without `datasets/`, to the id it names."""


def is_held_out(split: str | None) -> bool:
    """Whether examples of this split should be seen by nobody who changes what is tried."""
    return split is not None and split.casefold() in HELD_OUT


def is_plain(dataset: Dataset) -> bool:
    """Whether each row of its file can be read by itself: JSONL, unpacked, without rows left out."""
    if dataset.format != "jsonl" or dataset.on_bad_row != "stop":
        return False
    try:
        with Path(dataset.path).open("rb") as file:
            return file.read(2) != b"\x1f\x8b"
    except OSError:
        return False


def shelf(store: SQLiteStore) -> Shelf:
    """Every dataset that runs, refs and their logs name."""
    runs: dict[str, list[str]] = {}
    found: dict[str, Dataset] = {}
    for row in store.runs(limit=MOST_RUNS):
        dataset = dataset_of(store, row.id)
        if dataset is not None:
            found.setdefault(dataset.id, dataset)
            runs.setdefault(dataset.id, []).append(row.id)
    refs = {name.removeprefix("datasets/"): target for name, target in store.refs("datasets/").items()}
    named = [
        *refs.values(),
        *(move.new for name in refs for move in store.ref_log(f"datasets/{name}") if move.new),
    ]
    for dataset_id in dict.fromkeys(named):
        if dataset_id not in found and (dataset := kept(store, dataset_id)):
            found[dataset_id] = dataset
    return Shelf(datasets=found, runs={id_: tuple(ids) for id_, ids in runs.items()}, refs=refs)


def find(store: SQLiteStore, dataset_id: str) -> Dataset | None:
    """The manifest of this dataset, from the store's content or from a run over it."""
    found = kept(store, dataset_id)
    if found is not None:
        return found
    rows = store.runs(limit=MOST_RUNS)
    return next((d for row in rows if (d := dataset_of(store, row.id)) and d.id == dataset_id), None)


def kept(store: SQLiteStore, dataset_id: str) -> Dataset | None:
    """The manifest that the store keeps under this id."""
    data = store.content(dataset_id)
    if data is None or "count" not in data or data.get("id") != dataset_id:
        return None
    try:
        return codec.decode(Dataset, dict(data))
    except RatchetError:  # content of another kind
        return None


def dataset_of(store: SQLiteStore, run_id: str) -> Dataset | None:
    """The dataset of this run; None where there is no such run."""
    key = (str(store.path), run_id)
    if key not in _of_run:
        run = store.run(run_id)
        if run is None:
            return None
        if len(_of_run) > 2 * MOST_RUNS:
            _of_run.clear()
        _of_run[key] = run.task.dataset
    return _of_run[key]


def refusal(dataset: Dataset, root: Path) -> str:
    """Why its file may not be shown; empty where it may."""
    if not dataset.path:
        return "This version doesn't say where its rows are."
    path = Path(dataset.path)
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):
        inside = False
    if not inside:
        return (
            f"Its file, {dataset.path}, stands outside the project's folder, and nothing outside it is shown."
        )
    return "" if path.is_file() else f"Its file, {dataset.path}, is no longer there."


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetView:
    """The columns of a dataset as far as there are any."""

    table: Table | None
    progress: indexing.Progress | None
    """Of the child that makes them, or why it failed."""


def view(store: SQLiteStore, dataset: Dataset, *, root: Path, wait_s: float = 0.0) -> DatasetView:
    """The columns; where there are none, or the file has changed since, a child is started to make them."""

    def fresh() -> Table | None:
        table = columns.read(store.path, f"dataset-{dataset.id}")
        return table if table is not None and stamp(dataset) == tuple(table.facts["stamp"]) else None

    table = fresh()
    if table is None and not refusal(dataset, root):
        indexing.ensure(store.path, "dataset", dataset.id)
        until = time.monotonic() + wait_s
        while (
            table is None
            and time.monotonic() < until
            and indexing.under_way(store.path, "dataset", dataset.id)
        ):
            time.sleep(0.02)
            table = fresh()
        table = table or fresh()
    return DatasetView(
        table=table, progress=None if table else indexing.progress(store.path, "dataset", dataset.id)
    )


def stamp(dataset: Dataset) -> tuple[int, ...] | None:
    """What changes with its file; None where there is none."""
    try:
        return readers.stamp_of(Path(dataset.path))
    except DatasetError:
        return None


def examples(dataset: Dataset, table: Table, rows: Sequence[int]) -> list[Example]:
    """These rows of the dataset, each read at its own place in the file.

    Raises:
        DatasetError: A row isn't there as it was.
    """
    plain = bool(table.facts["plain"])
    path = Path(dataset.path) if plain else table.folder / ROWS
    facts = table.records(rows, ["id", "offset"])
    found: list[Example] = []
    try:
        with path.open("rb") as file:
            for fact in facts:
                file.seek(int(fact["offset"]))
                line = file.readline(readers.MAX_ROW_BYTES)
                example = _parsed(dataset, line) if plain else codec.loads(Example, line)
                found.append(example.replace(id=fact["id"]))
    except OSError as error:
        raise DatasetError(f"can't be read: {error.strerror or error}", file=path) from None
    return found


def _parsed(dataset: Dataset, line: bytes) -> Example:
    row: Any = codec.parse(line)
    _, given, expected, metadata, group, split = to_parts(dataset.columns, Path(dataset.path))(0, row)
    return Example(id="", input=given, expected=expected, metadata=metadata, group=group, split=split)


def example_of(dataset: Dataset, table: Table | None, example_id: str) -> Example | None:
    """The example with this id; without columns the file is looked through from its beginning.

    Raises:
        DatasetError: The file is not what it was.
    """
    if table is None:
        return next((one for one in datasets.examples(dataset) if one.id == example_id), None)
    rows = table.page([columns.Filter(column="id", op="is", value=example_id)], limit=1).rows
    return examples(dataset, table, [int(rows[0])])[0] if len(rows) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Rows whose text holds what was looked for."""

    rows: tuple[int, ...]
    following: int | None
    """The row to go on from; None: to the end of the dataset."""


def search(
    dataset: Dataset, table: Table, text: str, *, start: int, most: int, most_bytes: int = 48 * 2**20
) -> Found:
    """Rows from `start` on whose line in the file holds this text, in any case; looks through so many bytes at most."""
    path = Path(dataset.path) if table.facts["plain"] else table.folder / ROWS
    offsets = table.values("offset").astype(np.int64)
    if not text or start >= len(offsets):
        return Found(rows=(), following=None)
    needles, found, row, looked = _needles(text), list[int](), start, 0
    with path.open("rb") as file:
        while row < len(offsets) and looked < most_bytes and len(found) < most:
            # pieces of whole rows: nothing that is looked for goes across an edge
            size = min(_PIECE, most_bytes - looked)
            after = max(row + 1, int(np.searchsorted(offsets, offsets[row] + size)))
            file.seek(int(offsets[row]))
            piece = file.read(int(offsets[after] - offsets[row]) if after < len(offsets) else -1).lower()
            found += _rows_in(piece, needles, offsets[row:after] - offsets[row], row)
            looked, row = looked + len(piece), after
    if len(found) > most:
        return Found(rows=tuple(found[:most]), following=found[most])
    return Found(rows=tuple(found), following=row if row < len(offsets) else None)


def _needles(text: str) -> set[bytes]:
    """The ways that a file may write this text, in small ASCII letters; letters beyond ASCII in their usual cases."""
    cases = {text, text.lower(), text.upper(), text.capitalize()}
    ways = {
        way
        for case in cases
        for way in (case, json.dumps(case)[1:-1], json.dumps(case, ensure_ascii=False)[1:-1])
    }
    return {way.encode("utf-8", "replace").lower() for way in ways}


def _rows_in(piece: bytes, needles: set[bytes], starts: Ints, first: int) -> list[int]:
    """The rows of this piece that hold one of the needles."""
    found: set[int] = set()
    for needle in needles:
        at = piece.find(needle)
        while at >= 0:
            row = int(np.searchsorted(starts, at, side="right")) - 1
            found.add(first + row)
            at = piece.find(needle, int(starts[row + 1])) if row + 1 < len(starts) else -1
    return sorted(found)
