"""Tables as CSV or JSONL, streamed: any number of rows, a few hundred of them in memory."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from ratchet import codec
from ratchet.errors import UnknownNameError

if TYPE_CHECKING:
    from starlette.responses import Response

FORMATS = ("csv", "jsonl")
_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NOT_NAME = re.compile(r"[^0-9A-Za-z_.-]+")
_CHUNK = 200


def respond(format: str, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
    """The rows as a file to be saved.

    Args:
        format: "csv" or "jsonl".
        name: Of the file, without ending; what no file system takes is left out.
        columns: The header of the CSV, and the keys of each object; what a row lacks is empty or null.

    Raises:
        UnknownNameError: No such format.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    lines = csv_lines(columns, rows) if format == "csv" else json_lines(columns, rows)
    safe = _NOT_NAME.sub("-", name).strip(".-") or "export"
    return StreamingResponse(
        lines,
        media_type=_TYPES[format],
        headers={
            "Content-Disposition": f'attachment; filename="{safe[:100]}.{format}"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The table as CSV in pieces: a header, then the rows; numbers unrounded, lists and objects as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([safe_cell(name) for name in columns])
    for count, row in enumerate(rows, 1):
        writer.writerow([safe_cell(row.get(name)) for name in columns])
        if count % _CHUNK == 0:
            yield _taken(text)
    yield _taken(text)


def json_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """The table as one JSON object a line, in pieces."""
    piece: list[bytes] = []
    for row in rows:
        piece.append(codec.dumps({name: row.get(name) for name in columns}) + b"\n")
        if len(piece) == _CHUNK:
            yield b"".join(piece)
            piece = []
    yield b"".join(piece)


def safe_cell(value: Any) -> Any:
    """What may stand in a CSV: texts that a spreadsheet would run as a formula begin with an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = value if isinstance(value, str) else codec.dumps(codec.plain(value)).decode()
    text = codec.clean_text(text).replace("\0", "")
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _taken(text: io.StringIO) -> bytes:
    piece = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return piece
