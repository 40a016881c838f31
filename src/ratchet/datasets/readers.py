"""Files become rows: one generator a format, each yielding the line and the row, or the error in its place.

What is wrong with one row is yielded, so that it can be skipped; what ends the file is raised.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import orjson

from ratchet import codec
from ratchet.datasets.values import tidy
from ratchet.errors import CodecError, DatasetError, MissingExtraError, UnknownNameError, did_you_mean
from ratchet.records import Json

Row: TypeAlias = Json | DatasetError
Rows: TypeAlias = Iterator[tuple[int, Row]]

FORMATS = ("jsonl", "csv", "tsv", "json", "yaml", "parquet")
TEXT_FORMATS = ("csv", "tsv")
MAX_ROW_BYTES = 512 * 2**20
"""A longer line is refused: it would not fit in memory several times over."""

_EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_LISTS = ("examples", "data")
Stamp: TypeAlias = tuple[int, int, int]
"""Size, time of change and inode: equal stamps, same bytes."""


def format_of(path: Path, given: str | None = None) -> str:
    """The format asked for, else the one the extension says."""
    if given is not None:
        if given.lower() not in FORMATS:
            raise UnknownNameError("dataset format", given, FORMATS)
        return given.lower()
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    known = _EXTENSIONS.get(suffixes[-1]) if suffixes else None
    if known is None:
        raise DatasetError(
            f"the extension doesn't say the format. Known: {', '.join(_EXTENSIONS)} (and .gz); or name one: --format, in Python format=",
            file=path,
        )
    return known


def stamp_of(path: Path) -> Stamp:
    """What tells that the file is still the same, without reading it."""
    status = _stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ino


def _stat(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DatasetError(f"there is no such file.{_near(path)}", file=path) from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"can't be read: {getattr(error, 'strerror', None) or error}", file=path) from None
    if stat.S_ISDIR(status.st_mode):
        raise DatasetError("is a folder, expected a file", file=path)
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError("is not a regular file; to read from a pipe give '-' and pipe into it", file=path)
    return status


def _near(path: Path) -> str:
    try:
        return did_you_mean(path.name, [other.name for other in path.parent.iterdir()])
    except (OSError, ValueError):
        return ""


@contextmanager
def opened(path: Path) -> Generator[tuple[BinaryIO, Callable[[], Stamp]]]:
    """The file's bytes, unpacked where it is gzip, and a function that gives its stamp at any time."""
    _stat(path)
    try:
        with path.open("rb") as raw:

            def stamp() -> Stamp:
                status = os.fstat(raw.fileno())
                return status.st_size, status.st_mtime_ns, status.st_ino

            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unpacked:
                    yield cast("BinaryIO", unpacked), stamp
            else:
                yield raw, stamp
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"is not a whole gzip file: {error}", file=path) from None
    except OSError as error:
        raise DatasetError(f"can't be read: {error.strerror or error}", file=path) from None


def read(file: BinaryIO, path: Path, format: str) -> Rows:
    """Every row with its line (in Parquet its number, from 1)."""
    if format == "jsonl":
        return read_jsonl(file, path)
    if format in TEXT_FORMATS:
        return read_csv(file, path, "\t" if format == "tsv" else None)
    if format == "json":
        from ratchet.datasets.json_lists import read_json

        return read_json(file, path)
    return read_yaml(file, path) if format == "yaml" else read_parquet(file, path)


def lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Lines without their end; a byte order mark before the first is dropped."""
    pieces: list[bytes] = []
    held, number = 0, 1
    chunk = file.read(_CHUNK)
    if chunk.startswith(_BOM):
        chunk = chunk[3:]
    elif chunk[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DatasetError("is UTF-16, expected UTF-8: save it as UTF-8", file=path, line=1)
    while chunk:
        found = chunk.split(b"\n")
        if len(found) > 1:
            yield b"".join((*pieces, found[0]))
            for index in range(1, len(found) - 1):
                yield found[index]
            number += len(found) - 1
            pieces, held = [found[-1]], len(found[-1])
        else:
            pieces.append(chunk)
            held += len(chunk)
            if held > MAX_ROW_BYTES:
                raise DatasetError(
                    f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB; is it {path.suffix}?",
                    file=path,
                    line=number,
                )
        chunk = file.read(_CHUNK)
    if held:
        yield b"".join(pieces)


def read_jsonl(file: BinaryIO, path: Path) -> Rows:
    """One JSON object a line; blank lines are passed over."""
    loads = orjson.loads
    for number, line in enumerate(lines(file, path), 1):
        try:
            yield number, loads(line)
        except orjson.JSONDecodeError:
            if line.strip():
                yield number, json_row(line, path, number)


def json_row(data: bytes, path: Path, line: int) -> Row:
    """The value that orjson would not read, or why it can't be read."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _not_utf8(error, path, line)
    try:
        return tidy(codec.parse(text))
    except CodecError as error:
        message = re.sub(r": line \d+ column \d+ \(char (\d+)\)$", r" at character \1", str(error))
        if re.search(r"[\[:,]\s*-?(?:NaN|Infinity)\b", text):
            message += "; NaN and Infinity are not JSON, a missing value is null"
        return DatasetError(f"not JSON: {message}", file=path, line=line, value=_short(text))


def _not_utf8(error: UnicodeDecodeError, path: Path, line: int) -> DatasetError:
    around = error.object[max(0, error.start - 20) : error.start + 20].decode(errors="replace")
    return DatasetError(
        f"byte {error.object[error.start]:#04x} after {error.start} bytes of the line is not UTF-8",
        file=path,
        line=line,
        value=around,
    )


class _DecodedLines:
    """Lines as text for `csv`; a line that isn't UTF-8 raises, and the next call goes on after it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._lines, self._path, self.number = lines(file, path), path, 0

    def __iter__(self) -> _DecodedLines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError as error:
            raise _not_utf8(error, self._path, self.number) from None


def read_csv(file: BinaryIO, path: Path, delimiter: str | None = None) -> Rows:
    """One row a record; a first column without a name is an index and left out.

    Args:
        delimiter: None takes the comma, or where the header has none the semicolon or tab that it has.
    """
    if csv.field_size_limit() < MAX_ROW_BYTES:
        csv.field_size_limit(MAX_ROW_BYTES)
    source = _DecodedLines(file, path)
    first = next(source, "")
    if delimiter is None:
        delimiter = "," if "," in first else next((mark for mark in ";\t" if mark in first), ",")
    reader = csv.reader(_after(first, source), delimiter=delimiter, strict=True)
    header = _header(reader, path)
    skip = 1 if header and header[0] in ("", "Unnamed: 0") else 0
    names, width = header[skip:], len(header)
    while True:
        line = source.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, _not_csv(error, path, line)
            continue
        except DatasetError as error:
            yield line, error
            continue
        if len(fields) == width:
            yield line, dict(zip(names, fields[skip:] if skip else fields, strict=True))
        elif fields:
            yield (
                line,
                DatasetError(
                    f"has {len(fields)} fields, the header has {width}",
                    file=path,
                    line=line,
                    value=_short(delimiter.join(fields)),
                ),
            )


def _not_csv(error: csv.Error, path: Path, line: int) -> DatasetError:
    message = str(error)
    if "new-line character" in message:
        message = "a carriage return outside quotes; end lines with a newline"
    elif "unexpected end" in message:
        message = "a quote opens here and is never closed"
    return DatasetError(f"not CSV: {message}", file=path, line=line)


def _after(first: str, rest: Iterator[str]) -> Iterator[str]:
    """As `itertools.chain`, but it lives on after an error."""
    pending = [first]

    class Lines:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return pending.pop() if pending else next(rest)

    return Lines()


def _header(reader: Iterator[list[str]], path: Path) -> list[str]:
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise _not_csv(error, path, 1) from None
    if not header or header == [""]:
        raise DatasetError("holds no header; the first line must name the columns", file=path, line=1)
    seen: dict[str, int] = {}
    for place, name in enumerate(header, 1):
        if not name and place > 1:
            raise DatasetError(f"column {place} has no name; the columns are {header!r}", file=path, line=1)
        if name in seen:
            raise DatasetError(
                f"columns {seen[name]} and {place} have the same name", file=path, line=1, column=name
            )
        seen[name] = place
    return header


def read_yaml(file: BinaryIO, path: Path) -> Rows:
    """The items of a list (or of `examples:` or `data:`), or one document an example."""
    from ratchet import yaml12

    try:
        for line, value in yaml12.items(file):
            for item in _listed(value):
                try:
                    yield line, tidy(item)
                except CodecError as error:
                    yield line, DatasetError(str(error), file=path, line=line)
    except yaml12.YamlError as error:
        raise DatasetError(str(error), file=path, line=error.line) from None


def _listed(value: Json) -> list[Json]:
    if isinstance(value, dict):
        for name in _LISTS:
            if isinstance(value.get(name), list):
                return cast("list[Json]", value[name])
    return [] if value is None else [value]


def read_parquet(file: BinaryIO, path: Path) -> Rows:
    """One example a row; NaN is a missing value, decimals are floats, dates ISO text, bytes base64."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "parquet") from None
    number = 0
    try:
        table: Any = pyarrow.parquet.ParquetFile(
            file if isinstance(file, io.BufferedReader) else io.BytesIO(file.read())
        )
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                try:
                    yield number, tidy(row, nan_is_missing=True)
                except CodecError as error:
                    yield number, DatasetError(str(error), file=path, line=number)
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise DatasetError(f"not Parquet that can be read: {_short(str(error))}", file=path) from None


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def column_names(path: str | Path, *, format: str | None = None) -> list[str]:
    """The columns of the first row; of CSV and TSV all that the header names."""
    file_path = Path(os.path.expanduser(path)).absolute()
    kind = format_of(file_path, format)
    with opened(file_path) as (file, _):
        for _, row in read(file, file_path, kind):
            if isinstance(row, DatasetError):
                raise row
            return list(cast("dict[str, Json]", row)) if isinstance(row, dict) else []
    return []
