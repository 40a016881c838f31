"""Answers from a file: outputs produced elsewhere, so that they can be scored."""

from __future__ import annotations

import bisect
import csv
import hashlib
import math
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ratchet import codec
from ratchet.errors import CodecError, ConfigError, DatasetError, ProviderError, UnknownNameError
from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers import fields
from ratchet.providers.failures import clean
from ratchet.records import Json

COLUMNS = (
    "id", "output", "repeat", "error", "cost_usd", "latency_s", "ttft_s", "input_tokens", "output_tokens",
    "cached_tokens", "reasoning_tokens", "tool_calls", "refusal", "finish_reason", "model",
)  # fmt: skip
_ALIASES = {"cost": "cost_usd", "example_id": "id"}
_JSONL = (".jsonl", ".ndjson")


class Recorded:
    """Answers by example id and repeat from a CSV, TSV or JSONL file; the rows stay in the file.

    Options: `path` (by default the model's name); `columns`, where the file names them otherwise: ours to the
    file's, as in `{output: completion}`. A file without a `repeat` column answers repeat 0 with the first row of
    an id, repeat 1 with the second. Memory: 16 bytes a row.

    Raises:
        ConfigError, DatasetError: The file, a column, or a row can't be used.
    """

    def __init__(self, *, endpoint: Endpoint, root: Path | None = None) -> None:
        path = endpoint.options.get("path")
        columns = endpoint.options.get("columns") or {}
        if not isinstance(columns, Mapping):
            raise ConfigError(
                f"columns is {type(columns).__name__}, expected an object of our names to the file's"
            )
        for name in columns:
            if _ALIASES.get(name, name) not in COLUMNS:
                raise UnknownNameError("column of recorded answers", str(name), COLUMNS)
        self._columns = {str(theirs): _ALIASES.get(str(ours), str(ours)) for ours, theirs in columns.items()}
        self._files: dict[str, AnswerFile] = {}
        self._root = root or Path.cwd()
        self._path = str(path) if path else None
        if self._path:
            self._files[self._path] = AnswerFile(self._root / self._path, self._columns)

    async def aclose(self) -> None:
        for file in self._files.values():
            file.close()

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        path = self._path or request.model
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = AnswerFile(self._root / path, self._columns)
        row = file.find(request.example_id or "", request.repeat)
        if row is None:
            raise ProviderError(
                f"{file.path.name} holds no answer for example {request.example_id!r}, repeat {request.repeat}",
                kind="bad_request",
            )
        yield chunk_of(row)


class AnswerFile:
    """A file of answers and where each row starts."""

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self.path = path
        self._columns = columns
        self._jsonl = path.suffix.lower() in _JSONL
        if not self._jsonl and path.suffix.lower() not in (".csv", ".tsv"):
            raise ConfigError("recorded answers are read from .csv, .tsv or .jsonl", file=path)
        self._delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise DatasetError(f"the recorded answers can't be read: {error.strerror}", file=path) from None
        self._header: list[str] = []
        try:
            self._hashes, self._offsets = self._index()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def find(self, example_id: str, repeat: int) -> dict[str, Any] | None:
        """The row of this example and repeat, under our column names."""
        wanted = _hash(example_id)
        seen = 0
        for position in range(bisect.bisect_left(self._hashes, wanted), len(self._hashes)):
            if self._hashes[position] != wanted:
                return None
            row = self._read(self._offsets[position])
            if str(row.get("id")) != example_id:  # another id with the same hash
                continue
            said = row.get("repeat")
            if (seen if said in (None, "") else int(said)) == repeat:
                return row
            seen += 1
        return None

    def _index(self) -> tuple[array[int], array[int]]:
        """Hashes of the ids, sorted, and the offset of each one's row."""
        hashes, offsets = array("Q"), array("Q")
        for line, offset, row in self._rows():
            example_id = row.get("id")
            if example_id in (None, ""):
                raise DatasetError(
                    "no example id; expected one in each row. Name the column by options: {columns: {id: …}}",
                    file=self.path,
                    line=line,
                    column="id",
                )
            if row.get("repeat") not in (None, "") and not str(row["repeat"]).isdecimal():
                raise DatasetError(
                    f"{row['repeat']!r} is no repeat; expected 0, 1, 2…",
                    file=self.path,
                    line=line,
                    column="repeat",
                )
            hashes.append(_hash(str(example_id)))
            offsets.append(offset)
        order = sorted(range(len(hashes)), key=hashes.__getitem__)  # stable: rows of one id stay in order
        return array("Q", (hashes[i] for i in order)), array("Q", (offsets[i] for i in order))

    def _rows(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(line, offset, row) of each row."""
        if self._jsonl:
            offset = 0
            for line, data in enumerate(self._file, 1):
                if data.strip():
                    yield line, offset, self._parse(data, line)
                offset += len(data)
            return
        lines = _Lines(self._file)
        reader = csv.reader(lines, delimiter=self._delimiter)
        try:
            self._header = next(reader, [])
            names = [self._ours(name) for name in self._header]
            missing = [
                name for name in ("id", "output") if name not in names and not self._can_lack(name, names)
            ]
            if missing:
                raise DatasetError(
                    f"no column {missing[0]!r}. Columns: {', '.join(self._header)}. "
                    f"Name it by options: {{columns: {{{missing[0]}: …}}}}",
                    file=self.path,
                    line=1,
                )
            while True:
                start, line = lines.offset, reader.line_num + 1
                values = next(reader, None)
                if values is None:
                    return
                if values:
                    yield line, start, dict(zip(names, values, strict=False))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DatasetError(f"not CSV in UTF-8: {error}", file=self.path, line=reader.line_num) from None

    @staticmethod
    def _can_lack(name: str, names: list[str]) -> bool:
        return name == "output" and "error" in names

    def _read(self, offset: int) -> dict[str, Any]:
        self._file.seek(offset)
        if self._jsonl:
            return self._parse(self._file.readline(), None)
        values = next(csv.reader(_Lines(self._file), delimiter=self._delimiter))
        return dict(zip((self._ours(name) for name in self._header), values, strict=False))

    def _parse(self, data: bytes, line: int | None) -> dict[str, Any]:
        try:
            row = codec.parse(data.removeprefix(b"\xef\xbb\xbf"))
        except CodecError as error:
            raise DatasetError(f"not JSON: {error}", file=self.path, line=line) from None
        if not isinstance(row, dict):
            raise DatasetError(f"{type(row).__name__}, expected an object", file=self.path, line=line)
        return {self._ours(name): value for name, value in row.items()}

    def _ours(self, name: str) -> str:
        name = name.removeprefix("\ufeff").strip()
        return self._columns.get(name) or _ALIASES.get(name, name)


class _Lines:
    """Lines of text for the csv module, knowing how many bytes went by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.offset = file.tell()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._file.readline()
        if not data:
            raise StopIteration
        self.offset += len(data)
        return data.decode("utf-8")


def _hash(example_id: str) -> int:
    digest = hashlib.blake2b(example_id.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def chunk_of(row: Mapping[str, Any]) -> Chunk:
    """The answer that a row records.

    Raises:
        ProviderError: The row records an error; or a number in it is none.
    """
    if row.get("error") not in (None, "", False):
        error = row["error"]
        message = error if isinstance(error, str) else codec.dumps(error).decode()
        raise ProviderError(f"recorded error: {clean(message)}", kind="function")
    output = row.get("output")
    calls: Json = row.get("tool_calls")
    usage = Usage(
        **{
            name: fields.token_count(_number(row, name))
            for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
        }
    )
    return Chunk(
        text=output if isinstance(output, str) else "",
        value=None if isinstance(output, str) else output,
        tool_calls=tuple(calls) if isinstance(calls, list) else None,
        refusal=fields.text_of(row.get("refusal")) or None,
        finish_reason=fields.text_of(row.get("finish_reason")) or None,
        usage=fields.usage_or_none(usage),
        model=fields.text_of(row.get("model")) or None,
        cost_usd=_number(row, "cost_usd"),
        latency_s=_number(row, "latency_s"),
        ttft_s=_number(row, "ttft_s"),
        metadata={"recorded": True},
    )


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise ProviderError(
            f"{name} of example {row.get('id')!r} is {value!r}, expected a number of at least 0",
            kind="bad_request",
        )
    return number
