"""Write examples to a file, split them by group, and keep versions of a dataset under one name."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from ratchet import codec
from ratchet.datasets import readers
from ratchet.datasets.manifests import examples as examples_of, load
from ratchet.datasets.values import canonical
from ratchet.errors import DatasetError, MissingExtraError, StoreError, UnknownNameError
from ratchet.ports import Store
from ratchet.records import Dataset, Example, Json

_FIELDS = ("id", "input", "expected", "group", "split", "metadata")
_TYPED = ("input", "expected", "metadata")
_WRITTEN = ("jsonl", "json", "csv", "tsv", "parquet")
_MOVES = 5


def version(dataset: Dataset, *, parent: Dataset | str | None, made_by: str) -> Dataset:
    """The same examples, as made from `parent` by these means; its id stays."""
    return dataset.replace(parent=parent.id if isinstance(parent, Dataset) else parent, made_by=made_by)


def save(
    examples: Iterable[Example],
    path: str | Path,
    *,
    format: str | None = None,
    name: str = "",
    parent: Dataset | str | None = None,
    made_by: str = "save",
) -> Dataset:
    """The manifest of the file that these examples were written to; loading it gives the same id.

    In CSV, TSV and Parquet the columns `input`, `expected` and `metadata` hold JSON, and the manifest types them
    so. The file appears whole or not at all; a path that ends in .gz is packed.

    Raises:
        DatasetError: There are no examples, or the file can't be written.
    """
    file = Path(os.path.expanduser(path)).absolute()
    kind = readers.format_of(file, format)
    if kind not in _WRITTEN:
        raise UnknownNameError("format to write", kind, _WRITTEN)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as raw, _packed(raw, file) as out:
            _WRITERS[kind](out, examples)
        part.replace(file)
    except OSError as error:
        raise DatasetError(f"can't be written: {error.strerror or error}", file=file) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    types = {column: "json" for column in _TYPED} if kind in ("csv", "tsv", "parquet") else None
    return version(load(file, id="id", format=kind, types=types, name=name), parent=parent, made_by=made_by)


@contextmanager
def _packed(raw: BinaryIO, file: Path) -> Generator[BinaryIO]:
    if file.suffix.lower() != ".gz":
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
        yield cast("BinaryIO", packed)


def _row(example: Example) -> dict[str, Json]:
    """The example as a JSON object: `input` always, the rest where it is there."""
    pairs = ((field, codec.plain(getattr(example, field))) for field in _FIELDS)
    row = {field: value for field, value in pairs if field == "input" or value is not None}
    if not row["metadata"]:
        del row["metadata"]
    return row


def _cells(example: Example) -> list[str | None]:
    row = _row(example)
    return [
        codec.dumps(row[field]).decode() if field in _TYPED and field in row else row.get(field)
        for field in _FIELDS
    ]


def _write_jsonl(out: BinaryIO, examples: Iterable[Example]) -> None:
    for example in examples:
        out.write(codec.dumps(_row(example)) + b"\n")


def _write_json(out: BinaryIO, examples: Iterable[Example]) -> None:
    between = b"[\n"
    for example in examples:
        out.write(between + codec.dumps(_row(example)))
        between = b",\n"
    out.write(b"\n]\n" if between == b",\n" else b"[]\n")


def _write_csv(out: BinaryIO, examples: Iterable[Example], delimiter: str = ",") -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")  # else a bare \r is not quoted
    writer.writerow(_FIELDS)
    writer.writerows(_cells(example) for example in examples)
    text.detach()


def _write_parquet(out: BinaryIO, examples: Iterable[Example]) -> None:
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise MissingExtraError("writing Parquet", "parquet") from None
    schema = arrow.schema([(field, arrow.string()) for field in _FIELDS])
    with ParquetWriter(out, schema) as writer:
        batch: list[list[str | None]] = []
        for example in examples:
            batch.append(_cells(example))
            if len(batch) == 4096:
                writer.write_table(_table(arrow, schema, batch))
                batch = []
        if batch:
            writer.write_table(_table(arrow, schema, batch))


def _table(arrow: Any, schema: Any, rows: list[list[str | None]]) -> Any:
    return arrow.table([list(column) for column in zip(*rows, strict=True)], schema=schema)


_WRITERS: Mapping[str, Callable[[BinaryIO, Iterable[Example]], None]] = {
    "jsonl": _write_jsonl,
    "json": _write_json,
    "csv": _write_csv,
    "tsv": lambda out, examples: _write_csv(out, examples, "\t"),
    "parquet": _write_parquet,
}


def split(
    dataset: Dataset, shares: Mapping[str, float], *, folder: str | Path, seed: int = 0, format: str = "jsonl"
) -> dict[str, Dataset]:
    """One dataset for each share, by name, each in a file of its own; a group is never divided.

    A group (without groups: all examples with one input) goes to a side by the hash of its name and the seed
    alone, so it stays there when the dataset grows. With few groups the shares are met roughly.

    Args:
        shares: Weights by name, as in `{"dev": 0.8, "test": 0.2}`; they need not add up to 1.

    Raises:
        DatasetError: A share is not a positive number, or receives no example.
    """
    if not shares or not all(math.isfinite(share) and share > 0 for share in shares.values()):
        raise DatasetError(f"shares are {dict(shares)}, expected a positive number for each name")
    made: dict[str, Dataset] = {}
    for name in shares:
        file = Path(folder) / f"{dataset.name or 'dataset'}-{name}.{format}"
        chosen = (
            example.replace(split=name)
            for example in examples_of(dataset)
            if side_of(example, shares, seed=seed) == name
        )
        made[name] = save(
            chosen,
            file,
            name=f"{dataset.name}-{name}" if dataset.name else name,
            parent=dataset,
            made_by=f"split: {name} of {codec.canonical(dict(shares)).decode()}, seed {seed}",
        )
    return made


def side_of(example: Example, shares: Mapping[str, float], *, seed: int = 0) -> str:
    """The share that this example's group falls to."""
    key = example.group.encode() if example.group is not None else canonical(codec.plain(example.input))
    kind = b"group" if example.group is not None else b"input"
    digest = hashlib.sha256(b"%d %s " % (seed, kind) + key).digest()
    mark = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for name, share in shares.items():
        mark -= share
        if mark < 0:
            return name
    return list(shares)[-1]


def register(store: Store, dataset: Dataset, *, ref: str | None = None, by: str = "") -> str:
    """The ref that now names this dataset: `datasets/<name>`; its log keeps what it named before.

    Raises:
        DatasetError: The dataset has no name and none is given.
        StoreError: Others keep moving the same ref.
    """
    if ref is None and not dataset.name:
        raise DatasetError(f"dataset {dataset.id} has no name: give ref='datasets/<name>'")
    ref = ref or f"datasets/{dataset.name}"
    store.put_content("dataset", dataset.id, codec.encode(dataset))
    for _ in range(_MOVES):
        old = store.ref(ref)
        if old == dataset.id or store.move_ref(ref, dataset.id, expected=old, by=by):
            return ref
    raise StoreError(f"the ref {ref!r} was moved by others {_MOVES} times in a row; try again")


def lineage(store: Store, dataset: Dataset | str) -> list[Dataset]:
    """This version and those it came from, newest first, as far as the store knows them."""
    found: list[Dataset] = []
    seen: set[str] = set()
    following: str | None = dataset if isinstance(dataset, str) else dataset.id
    current = dataset if isinstance(dataset, Dataset) else None
    while following is not None and following not in seen:
        seen.add(following)
        if current is None:
            data = store.content(following)
            if data is None:
                break
            current = codec.decode(Dataset, dict(data))
        found.append(current)
        following, current = current.parent, None
    return found
