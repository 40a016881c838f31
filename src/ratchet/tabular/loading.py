"""Files become tables: one pass over every row, one table an arm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from ratchet.datasets import readers
from ratchet.errors import ConfigError, DatasetError, UnknownNameError
from ratchet.records import Json
from ratchet.tabular import batches
from ratchet.tabular.answers import Judge, judge_for
from ratchet.tabular.cells import Kind, Place, cell_at, content_of
from ratchet.tabular.layouts import Layout, Peeked, layout_of, peek
from ratchet.tabular.specs import Filter, Spec
from ratchet.tabular.tables import ArmColumns, ArmReader, Examples, Row, Table, id_of, label_of

MAX_ARMS = 1000
"""More distinct values than this in the column of the arms: it names something else."""


@dataclass(slots=True)
class Loaded:
    """What the files hold."""

    layout: Layout
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    examples: dict[str, Examples] = field(default_factory=dict[str, Examples])
    """Of each arm; the same register for all where they are paired."""
    kinds: dict[str, Kind] = field(default_factory=dict[str, Kind])
    judges: dict[str, Judge] = field(default_factory=dict[str, Judge])
    sources: list[dict[str, Json]] = field(default_factory=list[dict[str, Json]])


def read_tables(
    files: Sequence[tuple[str, Path]],
    spec: Spec,
    *,
    only: frozenset[str] = frozenset(),
    paired: bool = True,
    root: Path | None = None,
) -> Loaded:
    """The tables of these files.

    Args:
        files: Each with the name its arm gets where a file is an arm.
        only: The arms to read; empty reads all.
        paired: The arms answer the same examples: what differs under one id is refused.

    Raises:
        DatasetError: A bad file, row, column or cell.
        PairingError: One id has different contents, or groups.
    """
    peeked = [peek(path, spec.format) for _, path in files]
    layout = layout_of(spec, peeked, content=paired and not spec.ignore_content)
    arm_a_file = layout.by is None and not spec.wide
    loading = _Loading(spec, Loaded(layout), only, paired, root or Path.cwd())
    try:
        for (name, _), file in zip(files, peeked, strict=True):
            loading.read(file, name if arm_a_file else None)
    finally:
        for judge in loading.made.judges.values():
            judge.close()
    made = loading.made
    missing = sorted(only - set(made.tables))
    if missing:
        raise UnknownNameError("arm", missing[0], sorted(loading.seen))
    if not made.tables:
        kept = " after --where" if spec.where else ""
        raise ConfigError(
            f"no row of {', '.join(str(path) for _, path in files)} is left{kept}; expected at least one"
        )
    for kind in made.kinds.values():
        kind.check()
    return made


class _Loading:
    """The state of one pass over the files."""

    def __init__(self, spec: Spec, made: Loaded, only: frozenset[str], paired: bool, root: Path) -> None:
        self.spec, self.made, self._only, self._paired, self._root = spec, made, only, paired, root
        self.seen: set[str] = set()
        """Names of all arms there are, read or not."""
        self._readers: dict[str, ArmReader] = {}
        self._shared = Examples()
        self._batches: dict[str, tuple[list[Row], list[int]]] = {}
        self._numbers: dict[str, int] = {}
        self._occurrences: dict[str, dict[str, int]] = {}

    def read(self, file: Peeked, arm: str | None) -> None:
        """Append every row of this file."""
        layout, path = self.made.layout, file.path
        identify, keep = id_of(layout.id, path), _keeper(self.spec.where)
        place = Place(path)
        rows = 0
        unseen = (
            set()
            if file.complete
            else {column for _, columns in layout.arms for column in columns.metrics.values()}
        )
        with readers.opened(path) as (opened, _):
            for line, row in readers.read(opened, path, file.format):
                if isinstance(row, DatasetError):
                    raise row
                if not isinstance(row, dict):
                    raise DatasetError(
                        f"found {type(row).__name__}, expected an object", file=path, line=line, value=row
                    )
                found = cast("Row", row)
                if unseen:
                    unseen = {column for column in unseen if cell_at(found, column, _NO) is _NO}
                if keep is not None and not keep(found):
                    continue
                rows += self._row(found, line, arm, identify, place)
        for name in list(self._batches):
            self._flush(name, identify, place)
        if unseen and rows:
            column = min(unseen)
            raise DatasetError("no row has this column", file=path, column=column)
        self.made.sources.append({"path": str(path), "sha256": _sha256(path), "rows": rows})

    def _row(
        self, row: Row, line: int, arm: str | None, identify: Callable[[Row, int, int], str], place: Place
    ) -> int:
        layout = self.made.layout
        if layout.by is not None:
            arm = label_of(row, layout.by, place.file, line)
            if arm is None:
                raise DatasetError(
                    "is empty, expected the name of an arm", file=place.file, line=line, column=layout.by
                )
        arms = [(name or arm or "", columns) for name, columns in layout.arms]
        taken = 0
        for name, columns in arms:
            if name not in self.seen:
                self._meet(name, place)
            if self._only and name not in self._only:
                continue
            reader = self._readers.get(name) or self._start(name, columns)
            batch = self._batches.get(name)
            if batch is None:
                batch = self._batches[name] = ([], [])
                reader.table.files.append(place.file)
            batch[0].append(row)
            batch[1].append(line)
            if len(batch[0]) >= batches.SIZE:
                self._flush(name, identify, place)
            taken = 1
        return taken

    def _flush(self, name: str, identify: Callable[[Row, int, int], str], place: Place) -> None:
        """Append the rows that wait: together if they are plain, else one by one."""
        rows, lines = self._batches.pop(name)
        reader = self._readers[name]
        first = self._numbers.get(name, 0) + 1
        self._numbers[name] = first + len(rows) - 1
        ids = [
            identify(row, line, first + at) for at, (row, line) in enumerate(zip(rows, lines, strict=True))
        ]
        examples = self._know(name, ids, rows, lines, place)
        repeats = self._repeats(name, ids, rows, lines, place)
        register = self.made.examples[name]
        if batches.is_plain(reader) and batches.add_batch(reader, register, ids, repeats, rows, lines):
            return
        expected = self.made.layout.expected
        for at, row in enumerate(rows):
            place.line = lines[at]
            before = len(reader.table.example)
            wanted = cell_at(row, expected) if expected else None
            reader.add(row, examples[at], ids[at], repeats[at] if repeats else None, wanted, place)
            reader.flags(row, place, len(reader.table.example) - before)

    def _know(
        self, name: str, ids: Sequence[str], rows: Sequence[Row], lines: Sequence[int], place: Place
    ) -> list[int]:
        """The index of each row's example, its content, group and slices checked."""
        layout, path, register = self.made.layout, place.file, self.made.examples[name]
        bare = not (layout.content or layout.group or layout.slices)
        found: list[int] = []
        for id, row, line in zip(ids, rows, lines, strict=True):
            if bare and (known := register.index.get(id)) is not None:
                found.append(known)
                continue
            place.line = line
            group = label_of(row, layout.group, path, line) if layout.group else None
            content = content_of(row, layout.content) if layout.content else 0
            slices = {column: label_of(row, column, path, line) or "" for column in layout.slices}
            found.append(register.add(id, content, group, slices, place))
        return found

    def _repeats(
        self, name: str, ids: Sequence[str], rows: Sequence[Row], lines: Sequence[int], place: Place
    ) -> list[str] | None:
        """Which repeat each row is, where something says so."""
        column = self.made.layout.repeat
        if self.spec.number_repeats:
            counts = self._occurrences.setdefault(name, {})
            made: list[str] = []
            for id in ids:
                counts[id] = number = counts.get(id, 0) + 1
                made.append(str(number))
            return made
        if column is None:
            return None
        labels = [label_of(row, column, place.file, line) for row, line in zip(rows, lines, strict=True)]
        for label, line in zip(labels, lines, strict=True):
            if label is None:
                raise DatasetError(
                    "is empty, expected the number of a repeat", file=place.file, line=line, column=column
                )
        return cast("list[str]", labels)

    def _meet(self, name: str, place: Place) -> None:
        self.seen.add(name)
        if len(self.seen) > MAX_ARMS:
            raise DatasetError(
                f"holds more than {MAX_ARMS:,} different values; expected the names of a few arms",
                file=place.file, line=place.line, column=self.made.layout.by,
            )  # fmt: skip

    def _start(self, name: str, columns: ArmColumns) -> ArmReader:
        made, spec = self.made, self.spec
        table = made.tables[name] = Table(name)
        made.examples[name] = self._shared if self._paired else Examples()
        judge: Judge | None = None
        extraction = spec.arm_extraction.get(name, spec.extraction)
        if columns.text or (columns.answer and spec.scorers):
            judge = made.judges[name] = judge_for(extraction, spec.scorers, made.kinds, self._root)
        reader = ArmReader(table, columns, made.kinds, judge, spec.stability or bool(columns.agreement))
        self._readers[name] = reader
        return reader


_NO = object()


def _keeper(filters: Sequence[Filter]) -> Callable[[Mapping[str, Json]], bool] | None:
    if not filters:
        return None
    wanted = [(entry.column, frozenset(entry.values), entry.negated) for entry in filters]

    def keep(row: Mapping[str, Json]) -> bool:
        return all((_text(cell_at(row, column)) in values) != negated for column, values, negated in wanted)

    return keep


def _text(cell: Json) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
