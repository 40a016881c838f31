"""Rows become examples: columns get their parts, examples their ids."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

from ratchet.datasets.values import canonical, converter
from ratchet.errors import DatasetError, did_you_mean
from ratchet.records import Columns, Example, Json

Parts: TypeAlias = tuple[str | None, Json, Json, Mapping[str, Json], str | None, str | None]
"""Id, input, expected, metadata, group, split."""
ToParts: TypeAlias = Callable[[int, dict[str, Json]], Parts]

_ABSENT: Any = object()
_EXPECTED = ("expected", "target")


def to_parts(columns: Columns, path: Path) -> ToParts:
    """A function from (line, row) to an example's parts; it takes the row apart.

    A role without a column takes the column of its own name where a row has it (`expected` also `target`).
    What is left is the input's variables; where the input has its own column it is metadata, unless metadata
    has columns of its own.
    """
    typed = {column: converter(kind) for column, kind in columns.types.items()}
    by_name = columns.replace(types={}) in (Columns(), Columns(id="id"))
    split_up = _by_name(columns.id is not None, path) if by_name else _by_columns(columns, path)

    def parts(line: int, row: dict[str, Json]) -> Parts:
        if type(row) is not dict:
            raise DatasetError(f"found {_short(row)}, expected an object", file=path, line=line, value=row)
        if typed:
            _convert(row, typed, path, line)
        return split_up(line, row)

    return parts if typed else split_up


def _by_name(needs_id: bool, path: Path) -> ToParts:
    """Where no column is named: the common case, with few steps."""

    def parts(line: int, row: dict[str, Json]) -> Parts:
        if type(row) is not dict:
            raise DatasetError(f"found {_short(row)}, expected an object", file=path, line=line, value=row)
        pop = row.pop
        raw_id, expected, group, split = (
            pop("id", _ABSENT),
            pop("expected", _ABSENT),
            pop("group", None),
            pop("split", None),
        )
        if raw_id is _ABSENT and needs_id:
            raise _no_column(row, "id", path, line)
        if expected is _ABSENT:
            expected = pop("target", None)
        metadata = pop("metadata", None)
        if metadata is None:
            metadata = {}
        elif type(metadata) is not dict:
            metadata = {"metadata": metadata}
        given = pop("input", _ABSENT)
        if given is _ABSENT:
            given = row
        elif row:
            metadata = {**metadata, **row}
        return (
            None if raw_id is _ABSENT else _id(raw_id, "id", path, line),
            given,
            expected,
            metadata,
            None if group is None else _label(group, "group", path, line),
            None if split is None else _label(split, "split", path, line),
        )

    return parts


def _by_columns(columns: Columns, path: Path) -> ToParts:
    take = _Taker(path)

    def parts(line: int, row: dict[str, Json]) -> Parts:
        if type(row) is not dict:
            raise DatasetError(f"found {_short(row)}, expected an object", file=path, line=line, value=row)
        take.start()
        raw_id = take.role(row, columns.id, ("id",), line)
        group = take.role(row, columns.group, ("group",), line)
        split = take.role(row, columns.split, ("split",), line)
        expected = take.role(row, columns.expected, _EXPECTED, line)
        metadata = take.metadata(row, columns.metadata, line)
        given = take.role(row, columns.input, ("input",), line)
        take.finish(row)
        if given is _ABSENT:
            given = row
        elif row and not columns.metadata:
            metadata = {**metadata, **row}
        absent = (_ABSENT, None)
        return (
            None if raw_id is _ABSENT else _id(raw_id, columns.id or "id", path, line),
            given,
            None if expected is _ABSENT else expected,
            metadata,
            None if group in absent else _label(group, columns.group or "group", path, line),
            None if split in absent else _label(split, columns.split or "split", path, line),
        )

    return parts


class _Taker:
    """Takes columns out of a row; a column named twice is taken at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: set[str] = set()

    def start(self) -> None:
        """A new row: what an error left behind is forgotten."""
        self._taken.clear()

    def one(self, row: dict[str, Json], column: str, line: int) -> Json:
        if column in row:
            self._taken.add(column)
            return row[column]
        value: Json = row
        root, *steps = column.split(".")
        for step in (root, *steps):
            if not isinstance(value, dict) or step not in value:
                raise _no_column(row, column, self._path, line)
            value = cast("dict[str, Json]", value)[step]
        self._taken.add(root)
        return value

    def role(
        self, row: dict[str, Json], named: str | tuple[str, ...] | None, names: tuple[str, ...], line: int
    ) -> Json:
        if named is None:
            for name in names:
                if name in row and name not in self._taken:
                    return row.pop(name)
            return _ABSENT
        if isinstance(named, str):
            return self.one(row, named, line)
        return {column: self.one(row, column, line) for column in named}

    def metadata(self, row: dict[str, Json], named: tuple[str, ...], line: int) -> Mapping[str, Json]:
        if named:
            return {column: self.one(row, column, line) for column in named}
        found = row.pop("metadata", None) if "metadata" not in self._taken else None
        if found is None:
            return {}
        return cast("dict[str, Json]", found) if isinstance(found, dict) else {"metadata": found}

    def finish(self, row: dict[str, Json]) -> None:
        for column in self._taken:
            row.pop(column, None)


def _no_column(row: Mapping[str, Json], column: str, path: Path, line: int) -> DatasetError:
    names = list(row)
    shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
    return DatasetError(
        f"there is no such column. Columns there are: {shown or 'none'}.{did_you_mean(column, names)}",
        file=path,
        line=line,
        column=column,
    )


def _convert(row: dict[str, Json], typed: Mapping[str, Callable[[str], Json]], path: Path, line: int) -> None:
    for column, convert in typed.items():
        value = row.get(column, _ABSENT)
        if value is _ABSENT:
            raise _no_column(row, column, path, line)
        if type(value) is str:
            try:
                row[column] = convert(value)
            except ValueError as error:
                raise DatasetError(
                    f"found {_short(value)}, {error}", file=path, line=line, column=column, value=value
                ) from None


def _id(value: Json, column: str, path: Path, line: int) -> str:
    if type(value) is str and value:
        return value
    if type(value) is int:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # a whole column with gaps is read as floats
    raise DatasetError(
        f"found {_short(value)}, expected text or a whole number as the example's id",
        file=path,
        line=line,
        column=column,
        value=value,
    )


def _label(value: Json, column: str, path: Path, line: int) -> str | None:
    if type(value) is str:
        return value or None
    if isinstance(value, (bool, dict, list)):
        raise DatasetError(
            f"found {_short(value)}, expected text or a number",
            file=path,
            line=line,
            column=column,
            value=value,
        )
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def body_of(example: Example | Parts) -> bytes:
    """The bytes whose hash is the example's content id: all of it but its id."""
    if isinstance(example, Example):
        given, expected, metadata = example.input, example.expected, example.metadata
        group, split = example.group, example.split
    else:
        _, given, expected, metadata, group, split = example
    # as `codec.identity` leaves out what is absent
    kept: dict[str, Json] = {}
    if expected is not None and expected != {}:
        kept["expected"] = expected
    if group is not None:
        kept["group"] = group
    if given is not None and given != {}:
        kept["input"] = given
    if metadata:
        kept["metadata"] = metadata
    if split is not None:
        kept["split"] = split
    return canonical({"Example": kept})


class Ids:
    """Gives every example an id of its own, and finds ids given twice.

    Knows each id by 64 bits of its hash in one flat table: 16 to 32 bytes an example.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * 1024))
        self._count = 0
        self._repeats: dict[int, int] = {}

    def add(self, id: str) -> bool:
        """Whether this id is new."""
        key = hash(id) & 0xFFFF_FFFF_FFFF_FFFF or 1
        table, mask = self._table, len(self._table) - 1
        place = key & mask
        while known := table[place]:
            if known == key:
                return False
            place = (place + 1) & mask
        table[place] = key
        self._count += 1
        if self._count * 2 > mask:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._table
        self._table = table = array("Q", bytes(16 * len(old)))
        mask = len(table) - 1
        for key in old:
            if key:
                place = key & mask
                while table[place]:
                    place = (place + 1) & mask
                table[place] = key

    def of_content(self, body: bytes) -> str:
        """The content's hash, with `#2`, `#3`… for further occurrences."""
        base = hashlib.sha256(body).hexdigest()[:32]
        if self.add(base):
            return base
        key = hash(base)
        while True:
            number = self._repeats[key] = self._repeats.get(key, 1) + 1
            if self.add(f"{base}#{number}"):
                return f"{base}#{number}"


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, (dict, list)) else f"{type(value).__name__} of {len(value)}"  # pyright: ignore[reportUnknownArgumentType]
    return text if len(text) <= 60 else f"{text[:57]}..."
