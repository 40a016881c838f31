"""A file becomes a manifest in one streaming pass; a manifest gives its examples again, and only those."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from ratchet.datasets import readers
from ratchet.datasets.rows import Ids, Parts, body_of, to_parts
from ratchet.errors import DatasetError
from ratchet.records import Columns, Dataset, Example

OnProblem: TypeAlias = Callable[[DatasetError], None]
OnBadRow: TypeAlias = Literal["stop", "skip"]

_STAMP_EVERY = 4096
_DOUBLES_TOLD = 20
"""Duplicate ids whose first line is looked up: each is another pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What says which examples a file holds."""

    path: Path
    format: str
    columns: Columns
    on_bad_row: OnBadRow = "stop"


# (path, dataset id) to the stamp of the file when its content had that id: spares reading it again to be sure
_verified: dict[tuple[str, str], readers.Stamp] = {}


def load(
    path: str | Path,
    *,
    id: str | None = None,
    input: str | Sequence[str] | None = None,
    expected: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    metadata: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
    name: str = "",
    format: str | None = None,
    on_bad_row: OnBadRow = "stop",
    on_problem: OnProblem | None = None,
    cache_folder: Path | None = None,
) -> Dataset:
    """The manifest of the examples in this file: read once, in a stream, and hashed.

    A role without a column takes the column of its own name (`expected` also `target`); with no input column
    every column without a role is a variable. `a.b` reaches into objects.

    Args:
        path: A file, gzip or not; or "-" for standard input, which is kept in `cache_folder`.
        types: Column to "str", "int", "float", "bool" or "json", for values that are text.
        format: jsonl, csv, tsv, json, yaml or parquet; by the extension where it is None.
        on_bad_row: "skip" leaves bad rows out and counts them in `skipped`.
        on_problem: Called with the error of each row left out.

    Raises:
        DatasetError: The file can't be read, holds no example, or a row is bad; names file, line and column.
    """
    if on_bad_row not in ("stop", "skip"):
        raise DatasetError(f"on_bad_row is {on_bad_row!r}, expected 'stop' or 'skip'")
    columns = Columns(
        id=id,
        input=_names(input),
        expected=_names(expected),
        group=group,
        split=split,
        metadata=(metadata,) if isinstance(metadata, str) else tuple(metadata),
        types=dict(types or {}),
    )
    if str(path) == "-":
        path = _spooled(sys.stdin.buffer, format, cache_folder)
    file = Path(os.path.expanduser(path)).absolute()
    readers.stamp_of(file)  # whether it is there comes before what it is
    source = _Source(
        path=file, format=readers.format_of(file, format), columns=columns, on_bad_row=on_bad_row
    )
    return _measured(source, name or file.name.partition(".")[0], on_problem)


def _names(given: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    return given if given is None or isinstance(given, str) else tuple(given)


def _measured(source: _Source, name: str, on_problem: OnProblem | None) -> Dataset:
    digest, count, skipped, named = hashlib.sha256(), 0, 0, 0

    def skip(problem: DatasetError) -> None:
        nonlocal skipped
        skipped += 1
        if on_problem:
            on_problem(problem)

    with readers.opened(source.path) as (file, stamp):
        before = stamp()
        for example, body, given in _hashed(file, source, skip):
            digest.update(hash_part(example.id, body))
            count += 1
            named += given
        if stamp() != before:
            raise DatasetError("changed while it was being read; load it again", file=source.path)
    if not count:
        left_out = f"; {skipped} bad rows were left out" if skipped else ""
        raise DatasetError(f"holds no examples{left_out}", file=source.path)
    columns = source.columns
    if columns.id is None and named == count:
        columns = columns.replace(id="id")
    dataset = Dataset(
        id=digest.hexdigest()[:32],
        count=count,
        name=name,
        path=str(source.path),
        format=source.format,
        columns=columns,
        made_by="load",
        skipped=skipped,
        on_bad_row=source.on_bad_row,
    )
    _remember(dataset, before)
    return dataset


def hash_part(id: str, body: bytes) -> bytes:
    """One example's share of the bytes whose hash is the dataset's id."""
    name = id.encode("utf-8", "surrogatepass")
    return b"%d %d " % (len(name), len(body)) + name + body


def _remember(dataset: Dataset, stamp: readers.Stamp) -> None:
    if len(_verified) >= 64:
        _verified.clear()
    _verified[dataset.path, dataset.id] = stamp


def _hashed(file: BinaryIO, source: _Source, skip: OnProblem) -> Iterator[tuple[Example, bytes, bool]]:
    """Every example with the bytes of its content, and whether its id was given; every row is checked in full."""
    parts_of, ids, doubles = to_parts(source.columns, source.path), Ids(), 0
    for line, row in readers.read(file, source.path, source.format):
        try:
            if isinstance(row, DatasetError):
                raise row
            parts = parts_of(line, row)
            body = _body(parts, source.path, line)
            id = parts[0]
            if id is None:
                id = ids.of_content(body)
            elif not ids.add(id):
                doubles += 1
                raise _doubled(source, id, line, search=doubles <= _DOUBLES_TOLD)
        except DatasetError as problem:
            if source.on_bad_row == "stop":
                raise
            skip(problem)
            continue
        yield _example(id, parts), body, parts[0] is not None


def _body(parts: Parts, path: Path, line: int) -> bytes:
    try:
        return body_of(parts)
    except (ValueError, RecursionError) as error:
        raise DatasetError(str(error), file=path, line=line) from None


def _example(id: str, parts: Parts) -> Example:
    _, given, expected, metadata, group, split = parts
    return Example(id=id, input=given, expected=expected, metadata=metadata, group=group, split=split)


def _doubled(source: _Source, id: str, line: int, *, search: bool) -> DatasetError:
    first = _line_of(source, id, line) if search else None
    where = f" on line {first}" if first is not None else " before"
    return DatasetError(
        f"the id {id!r} stands{where} already; ids tell examples apart",
        file=source.path,
        line=line,
        column=source.columns.id or "id",
        value=id,
    )


def _line_of(source: _Source, id: str, before: int) -> int | None:
    """The line where this id stood first."""
    parts_of = to_parts(source.columns, source.path)
    with readers.opened(source.path) as (file, _):
        for line, row in readers.read(file, source.path, source.format):
            if line >= before:
                return None
            try:
                if not isinstance(row, DatasetError) and parts_of(line, row)[0] == id:
                    return line
            except DatasetError:
                continue
    return None


def _plain(file: BinaryIO, source: _Source) -> Iterator[Example]:
    """Every example of a file that is known to hold what its manifest says, without hashing."""
    parts_of = to_parts(source.columns, source.path)
    for line, row in readers.read(file, source.path, source.format):
        if isinstance(row, DatasetError):
            raise row
        parts = parts_of(line, row)
        yield _example(cast("str", parts[0]), parts)


def examples(
    dataset: Dataset,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    split: str | None = None,
) -> Iterator[Example]:
    """The dataset's examples in the order of its file; holds one row at a time.

    Args:
        limit: Only the first so many (of the sample, where there is one).
        sample: Only so many, drawn without replacement with `seed`; all of them where there are fewer.
        split: Only those of this split.

    Raises:
        DatasetError: The file no longer holds what the manifest says, or changes while it is read.
    """
    for option, value in (("limit", limit), ("sample", sample)):
        if value is not None and value < 0:
            raise DatasetError(f"{option} is {value}, expected 0 or more")
    check(dataset)
    return _chosen(dataset, limit, sample, seed, split)


def _chosen(
    dataset: Dataset, limit: int | None, sample: int | None, seed: int, split: str | None
) -> Iterator[Example]:
    kept = None
    if sample is not None:
        total = dataset.count if split is None else sum(1 for _ in _all(dataset, split))
        if sample < total:
            drawn = sorted(random.Random(seed).sample(range(total), sample))
            kept = iter(drawn)
            limit = sample if limit is None else min(limit, sample)
    if limit == 0:
        return
    wanted = next(kept, -1) if kept else -1
    given = 0
    for index, example in enumerate(_all(dataset, split)):
        if kept is not None:
            if index != wanted:
                continue
            wanted = next(kept, -1)
        yield example
        given += 1
        if given == limit:
            return


def _all(dataset: Dataset, split: str | None = None) -> Iterator[Example]:
    source = _source(dataset)
    expected = _verified.get((dataset.path, dataset.id))
    with readers.opened(source.path) as (file, stamp):
        found: Iterator[Any]
        if dataset.columns.id is not None and dataset.on_bad_row == "stop":
            found = _plain(file, source)
        else:
            found = (example for example, _, _ in _hashed(file, source, lambda problem: None))
        for index, example in enumerate(found):
            if not index % _STAMP_EVERY and stamp() != expected:
                raise _changed(dataset)
            if split is None or example.split == split:
                yield example
        if stamp() != expected:
            raise _changed(dataset)


def _changed(dataset: Dataset) -> DatasetError:
    return DatasetError("changed while it was in use; load it again", file=dataset.path)


def _source(dataset: Dataset) -> _Source:
    if not dataset.path:
        raise DatasetError(f"dataset {dataset.id} doesn't say where its rows are")
    return _Source(
        path=Path(dataset.path), format=dataset.format, columns=dataset.columns, on_bad_row=dataset.on_bad_row
    )


def check(dataset: Dataset) -> None:
    """Nothing, where the file still holds these examples: by size and time of change where this process has read
    them, else by reading it all.

    Raises:
        DatasetError: It holds others.
    """
    source = _source(dataset)
    if _verified.get((dataset.path, dataset.id)) == readers.stamp_of(source.path):
        return
    now = _measured(source, dataset.name, None)
    if now.id != dataset.id:
        raise DatasetError(
            f"has changed since it was loaded: it held {dataset.count} examples ({dataset.id[:12]}), "
            f"and now {now.count} ({now.id[:12]}). Load it again for a new dataset, or put the old file back",
            file=source.path,
        )


def _spooled(stream: BinaryIO, format: str | None, folder: Path | None) -> Path:
    """A copy of the stream, named by its content, so that it can be read again and resumed."""
    if folder is None:
        raise DatasetError("standard input can be read once only: give cache_folder= to keep it in")
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    part = folder / f".stdin-{random.getrandbits(64):016x}"
    try:
        with part.open("xb") as out:
            head = b""
            while chunk := stream.read(1 << 20):
                head = head or chunk[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
                digest.update(chunk)
                out.write(chunk)
        if format is None:
            format = {b"{": "jsonl", b"[": "json"}.get(head[:1])
        if format is None:
            raise DatasetError(
                f"what is the format of standard input? Give format=: {', '.join(readers.FORMATS)}"
            )
        path = folder / f"stdin-{digest.hexdigest()[:16]}.{format}"
        part.replace(path)
        return path
    finally:
        part.unlink(missing_ok=True)
