"""Many rows at once: the plain case of one value a cell, a few times faster than row by row.

Whatever is not plain (a list in a cell, an error, a cell that can't be read) is left to the careful way, which also
words the refusals; both give the same table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ratchet.evidence import Floats
from ratchet.records import Json
from ratchet.tabular.cells import NO_ERROR, cell_at, number_of
from ratchet.tabular.tables import ArmReader, Examples, Row

SIZE = 4096
_FEW = 64
_EMPTY = frozenset({None, False, *NO_ERROR})


def column_of(rows: Sequence[Row], column: str) -> list[Json]:
    """The cells of one column."""
    try:
        return [row[column] for row in rows]
    except KeyError:
        return [cell_at(row, column) for row in rows]


def numbers_of(cells: Sequence[Json]) -> tuple[Floats, bool] | None:
    """The numbers of these cells and whether any is a word; None where one is not plain."""
    kinds = set(map(type, cells))
    try:
        if kinds <= {float, int}:
            values = np.array(cells, np.float64)
        elif kinds <= {float, int, bool, type(None)} or (kinds == {str} and len(set(cells)) <= _FEW):
            read = {(type(cell), cell): number_of(cell) for cell in set(cells)}
            if kinds & {bool} and len(kinds) > 1:
                return None  # True and 1 are one key of a set
            found = [read[type(cell), cell] for cell in cells]
            values = np.array([value for value, _ in found], np.float64)
            if any(is_word for _, is_word in found):
                mixed = any(
                    not is_word and value not in (0.0, 1.0) and value == value for value, is_word in found
                )
                return None if mixed else (values, True)
            return values, False
        elif kinds == {str}:
            if "_" in "".join(cells):
                return None
            values = np.array([float(cell or "nan") for cell in cells], np.float64)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return None if np.isinf(values).any() else (values, False)


def is_plain(reader: ArmReader) -> bool:
    """Whether this arm's columns allow batches at all."""
    columns = reader.columns
    return reader.judge is None and not (columns.text or columns.answer or reader.table.digests)


def add_batch(
    reader: ArmReader, examples: Examples, ids: Sequence[str], repeats: Sequence[str] | None,
    rows: Sequence[Row], lines: Sequence[int],
) -> bool:  # fmt: skip
    """Append these rows if all are plain; False, with nothing changed, where they are not.

    The ids must be known to `examples`.
    """
    columns, table = reader.columns, reader.table
    for column in columns.errors:
        if not all(cell in _EMPTY for cell in _distinct(column_of(rows, column))):
            return False
    flags = [column for column in (columns.refused, columns.cached) if column is not None]
    if any(not all(cell in _EMPTY for cell in _distinct(column_of(rows, column))) for column in flags):
        return False
    read: dict[str, tuple[Floats, bool]] = {}
    for name, column in columns.metrics.items():
        found = numbers_of(column_of(rows, column))
        if found is None:
            return False
        read[name] = found
    if not read or np.all([np.isnan(values) for values, _ in read.values()], axis=0).any():
        return False
    for name, (values, has_word) in read.items():
        reader.append_numbers(name, values, has_word, rows, lines)
    count = len(rows)
    index, known = examples.index, table.repeats
    table.example.extend([index[id] for id in ids])
    labels = repeats if repeats is not None else ("0",) * count
    table.repeat.extend([known.setdefault(label, len(known)) for label in labels])
    table.line.extend(lines)
    for each in (table.failed, table.refused, table.unparsable, table.cached):
        each.extend(bytes(count))
    return True


def _distinct(cells: Sequence[Json]) -> set[Json] | list[Json]:
    try:
        return {cell.strip().lower() if type(cell) is str else cell for cell in set(cells)}
    except TypeError:  # lists and objects: no plain cell
        return ["an object"]
