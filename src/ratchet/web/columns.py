"""Columns of a run or of a comparison, as files next to the store that are read by mapping them into memory.

`<store file>.views/` is a cache: it may be deleted at any time and is made again. One folder a subject (`run-<id>`,
`verdict-<id>`) holds `meta.json`, which names a folder beside it with one `.npy` a column and one with its sorting
order. A new version is written beside the old one and `meta.json` replaced, so a reader never sees half of one.

Nothing is kept open between two requests: a page of a million rows costs the memory of what it shows.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ratchet.errors import StoreError, UnknownNameError

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.records import Verdict

FORMAT = 2
"""Of the files; columns of another format are made again."""
MOST_WORDS = 2_000
"""Distinct values that a code column names; further ones share the last, `OTHER`."""
OTHER = "(other)"

Kind: TypeAlias = Literal["number", "code", "text", "flag", "trace"]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
AnyArray: TypeAlias = np.ndarray[Any, Any]
_SUBJECT = re.compile(r"(run|verdict|dataset)-[0-9A-Za-z_-]{1,80}")
_TYPES = {
    "number": (np.dtype("<f8"), 1),
    "code": (np.dtype("<i4"), 1),
    "text": (np.dtype("<i4"), 1),
    "flag": (np.dtype("?"), 1),
    "trace": (np.dtype("u1"), 16),
    "order": (np.dtype("<i4"), 1),
    "ends": (np.dtype("<i8"), 1),
}
"""How the values of each kind stand in their files, and how many make one."""
_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """One column as `meta.json` describes it."""

    name: str
    file: str
    """Its files are `<file>.npy`, `<file>.order.npy`, and for texts `<file>.texts` and `<file>.ends.npy`."""
    kind: Kind
    known: int
    """Rows that have a value; in the sorting order they stand first."""
    words: tuple[str, ...] = ()
    """Of a code column: the text of each code."""
    counts: tuple[int, ...] = ()
    """Rows with each code; of a flag, rows where it is off and on."""
    low: float | None = None
    high: float | None = None
    texts: int = 0
    """Of a text column: how many distinct ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One condition on a column; several of them must all hold."""

    column: str
    op: Literal["is", "not", "at_least", "below", "missing", "present"]
    """"is" and "not" compare with a word, a text, a number or True; the others with numbers or nothing."""
    value: str | float | bool = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some rows of a table in the order asked for."""

    rows: Ints
    total: int
    """Rows that fit the filters, all pages together."""


NO_FILTERS: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns of one subject; a row's number is its place in the order of commit, or of the dataset."""

    folder: Path
    rows: int
    columns: Mapping[str, ColumnInfo]
    facts: Mapping[str, Any]
    """What else was known when it was made; JSON."""
    made_at: float
    """Unix time, seconds."""

    def __len__(self) -> int:
        return self.rows

    def info(self, name: str) -> ColumnInfo:
        """The description of a column.

        Raises:
            UnknownNameError: There is no such column.
        """
        if name not in self.columns:
            raise UnknownNameError("column", name, list(self.columns))
        return self.columns[name]

    @property
    def sortable(self) -> list[str]:
        """Columns that a table can be sorted by."""
        return [c.name for c in self.columns.values() if (self.folder / f"{c.file}.order.npy").exists()]

    def values(self, name: str) -> AnyArray:
        """A column as it is in its file, mapped and not read."""
        info = self.info(name)
        return _mapped(self.folder / f"{info.file}.npy", info.kind, self.rows)

    def count(self, filters: Sequence[Filter] = NO_FILTERS, *, among: Ints | None = None) -> int:
        """How many rows fit."""
        mask = self._mask(filters, among)
        return self.rows if mask is None else int(np.count_nonzero(mask))

    def page(
        self,
        filters: Sequence[Filter] = NO_FILTERS,
        *,
        sort: str = "",
        offset: int = 0,
        limit: int = 50,
        among: Ints | None = None,
    ) -> Page:
        """Some of the rows that fit, in order.

        Args:
            sort: A column's name, with "-" before it for falling; rows without a value come last in either. "": as
                the rows stand.
            among: Only these rows, as a search found them.
        """
        order = self.ordered(filters, sort=sort, among=among)
        if order is None:
            first, last = max(0, offset), min(self.rows, max(0, offset) + limit)
            return Page(rows=np.arange(first, max(first, last)), total=self.rows)
        return Page(rows=np.array(order[max(0, offset) : max(0, offset) + limit]), total=len(order))

    def place(
        self, row: int, filters: Sequence[Filter] = NO_FILTERS, *, sort: str = "", among: Ints | None = None
    ) -> int | None:
        """Where this row stands in that order, from 0; None where it doesn't fit."""
        order = self.ordered(filters, sort=sort, among=among)
        if order is None:
            return row if 0 <= row < self.rows else None
        found = np.flatnonzero(order == row)
        return int(found[0]) if len(found) else None

    def ordered(
        self, filters: Sequence[Filter] = NO_FILTERS, *, sort: str = "", among: Ints | None = None
    ) -> Ints | None:
        """Every row that fits, in order; None where that is all of them as they stand."""
        mask = self._mask(filters, among)
        if not sort:
            return None if mask is None else np.flatnonzero(mask)
        info = self.info(sort.removeprefix("-"))
        path = self.folder / f"{info.file}.order.npy"
        if not path.exists():
            raise UnknownNameError("column to sort by", info.name, self.sortable)
        order = _mapped(path, "order", self.rows)
        if sort.startswith("-"):
            order = np.concatenate([order[: info.known][::-1], order[info.known :]])
        return order if mask is None else order[mask[order]]

    def find(self, column: str, ids: Sequence[str]) -> Ints:
        """The row of each trace id in a trace column; -1 where there is none."""
        values = self.values(column)
        heads = np.ascontiguousarray(values[:, :8]).view(">u8").ravel()
        wanted = np.array([int(i[:16], 16) for i in ids], dtype=np.uint64)
        rows = {bytes(values[row]).hex(): int(row) for row in np.flatnonzero(np.isin(heads, wanted))}
        return np.array([rows.get(i, -1) for i in ids], dtype=np.int64)

    def holding(self, column: str, text: str) -> Ints:
        """Rows whose text in a text column holds this, in any case; a way to search by id."""
        info = self.info(column)
        path = self.folder / f"{info.file}.texts"
        if not text or not path.stat().st_size:
            return np.zeros(0, np.int64)
        ends = self._ends(info)
        blob = np.memmap(path, np.uint8, "r")
        pattern = re.compile(re.escape(text.lower().encode("utf-8", "replace")))
        at = [match.start() for match in pattern.finditer(bytes(blob).lower())]
        codes = np.unique(np.searchsorted(ends, np.array(at, np.int64), side="right"))
        return np.flatnonzero(np.isin(self.values(column), codes))

    def records(self, rows: Sequence[int] | Ints, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """These rows as plain values by column: words for codes, None where there is nothing, `row` for its number."""
        at = np.asarray(rows, dtype=np.int64)
        found: list[dict[str, Any]] = [{"row": row} for row in at.tolist()]
        for name in self.columns if names is None else names:
            for record, value in zip(found, self._plain(self.info(name), at), strict=True):
                record[name] = value
        return found

    def _plain(self, info: ColumnInfo, rows: Ints) -> list[Any]:
        values = self.values(info.name)[rows]
        if info.kind == "trace":
            return [bytes(value).hex() if value.any() else None for value in values]
        if info.kind == "code":
            return [info.words[code] if code >= 0 else None for code in values.tolist()]
        if info.kind == "text":
            return self._texts(info, values.tolist())
        if info.kind == "flag":
            return values.tolist()
        return [None if value != value else value for value in values.tolist()]

    def _ends(self, info: ColumnInfo) -> AnyArray:
        """Where each distinct text of a text column ends."""
        return _mapped(self.folder / f"{info.file}.ends.npy", "ends", info.texts)

    def _texts(self, info: ColumnInfo, codes: Sequence[int]) -> list[str | None]:
        ends = self._ends(info)
        found: dict[int, str | None] = {-1: None}
        with (self.folder / f"{info.file}.texts").open("rb") as file:
            for code in set(codes) - {-1}:
                start = int(ends[code - 1]) if code else 0
                file.seek(start)
                found[code] = file.read(int(ends[code]) - start - 1).decode("utf-8", "replace")
        return [found[code] for code in codes]

    def _mask(self, filters: Sequence[Filter], among: Ints | None) -> Bools | None:
        """Which rows fit; None: all."""
        mask: Bools | None = None
        if among is not None:
            mask = np.zeros(self.rows, np.bool_)
            mask[among[(among >= 0) & (among < self.rows)]] = True
        for one in filters:
            fits = self._fits(one)
            mask = fits if mask is None else mask & fits
        return mask

    def _fits(self, one: Filter) -> Bools:
        info, values = self.info(one.column), self.values(one.column)
        if one.op in ("missing", "present"):
            absent = values < 0 if info.kind in ("code", "text") else values != values
            return np.asarray(absent if one.op == "missing" else ~absent)
        if one.op in ("at_least", "below"):
            limit = float(one.value)
            return np.asarray(values >= limit if one.op == "at_least" else values < limit)
        equal: Any
        if info.kind == "flag":
            equal = values == bool(one.value)
        elif info.kind == "code":
            equal = values == (info.words.index(str(one.value)) if str(one.value) in info.words else -2)
        elif info.kind == "text":
            codes = [code for code in np.unique(values[self.holding(one.column, str(one.value))]).tolist()
                     if self._texts(info, [code]) == [one.value]]  # fmt: skip
            equal = np.isin(values, codes)
        else:
            equal = values == float(one.value)
        return np.asarray(equal if one.op == "is" else ~equal)


class Writer:
    """Gathers the columns of one subject and puts them in place as one."""

    def __init__(self, store: str | Path, subject: str, rows: int) -> None:
        self.home = folder_of(store, subject)
        self.rows = rows
        self._columns: dict[str, ColumnInfo] = {}
        self._name = f"v{time.time_ns():x}-{os.getpid():x}"
        self.folder = self.home / self._name
        self.folder.mkdir(parents=True)
        _ignore(self.home.parent)

    def number(self, name: str, values: AnyArray, *, order: bool = True) -> None:
        """A column of numbers, NaN where there is none."""
        numbers = np.asarray(values, np.float64)
        absent = np.isnan(numbers)
        finite = numbers[np.isfinite(numbers)]
        self._add(
            ColumnInfo(
                name=name,
                file=self._file(),
                kind="number",
                known=self.rows - int(absent.sum()),
                low=float(finite.min()) if len(finite) else None,
                high=float(finite.max()) if len(finite) else None,
            ),
            numbers,
            np.argsort(numbers, kind="stable") if order else None,
        )

    def flag(self, name: str, values: AnyArray) -> None:
        """A column of yes and no."""
        flags = np.asarray(values, np.bool_)
        on = int(flags.sum())
        info = ColumnInfo(
            name=name, file=self._file(), kind="flag", known=self.rows, counts=(self.rows - on, on)
        )
        self._add(info, flags, np.argsort(flags, kind="stable"))

    def code(self, name: str, codes: AnyArray, words: Sequence[str]) -> None:
        """A column of few distinct texts; code -1 where there is none."""
        kept = np.asarray(codes, np.int32)
        if len(words) > MOST_WORDS:
            words = [*words[: MOST_WORDS - 1], OTHER]
            kept = np.minimum(kept, MOST_WORDS - 1)
        counts = np.bincount(kept[kept >= 0], minlength=len(words))
        info = ColumnInfo(
            name=name, file=self._file(), kind="code", known=int((kept >= 0).sum()),
            words=tuple(words), counts=tuple(counts.tolist()),
        )  # fmt: skip
        self._add(info, kept, _by_rank(kept, words))

    def text(self, name: str, codes: AnyArray, texts: Sequence[str], *, order: bool = True) -> None:
        """A column of many distinct texts, each kept once; code -1 where there is none."""
        kept = np.asarray(codes, np.int32)
        info = ColumnInfo(
            name=name, file=self._file(), kind="text", known=int((kept >= 0).sum()), texts=len(texts)
        )
        packed = [text.encode("utf-8", "replace") + b"\n" for text in texts]
        np.save(self.folder / f"{info.file}.ends.npy", np.cumsum([len(p) for p in packed], dtype=np.int64))
        (self.folder / f"{info.file}.texts").write_bytes(b"".join(packed))
        self._add(info, kept, _by_rank(kept, texts) if order else None)

    def trace(self, name: str, ids: AnyArray) -> None:
        """A column of trace ids: 16 bytes each, zeros where there is none."""
        kept = np.asarray(ids, np.uint8).reshape(self.rows, 16)
        known = int(kept.any(axis=1).sum())
        self._add(ColumnInfo(name=name, file=self._file(), kind="trace", known=known), kept, None)

    def finish(self, facts: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Path:
        """Put the columns in place; `extra` is kept in a file of its own, `extra.json`, that tables don't read."""
        if extra is not None:
            _write_json(self.folder / "extra.json", extra)
        columns = [{name: getattr(c, name) for name in ColumnInfo.__slots__} for c in self._columns.values()]
        meta = {
            "format": FORMAT,
            "folder": self._name,
            "rows": self.rows,
            "made_at": time.time(),
            "columns": columns,
            "facts": dict(facts),
        }
        draft = self.home / f"{self._name}.json"
        _write_json(draft, meta)
        os.replace(draft, self.home / "meta.json")
        self._sweep()
        return self.home

    def abandon(self) -> None:
        """Take away what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Take away versions before the last one: a request may still be reading that."""
        old = sorted(p for p in self.home.iterdir() if p.is_dir() and p.name != self._name)
        for path in old[:-1]:
            shutil.rmtree(path, ignore_errors=True)

    def _file(self) -> str:
        return f"c{len(self._columns)}"

    def _add(self, info: ColumnInfo, values: AnyArray, order: AnyArray | None) -> None:
        if len(values) != self.rows:
            raise ValueError(f"column {info.name!r} has {len(values)} rows, the table {self.rows}")
        np.save(self.folder / f"{info.file}.npy", values)
        if order is not None:
            np.save(self.folder / f"{info.file}.order.npy", order.astype(np.int32))
        self._columns[info.name] = info


def views_of(store: str | Path) -> Path:
    """The folder of this store's views."""
    path = Path(store)
    return path.with_name(f"{path.name}.views")


def folder_of(store: str | Path, subject: str) -> Path:
    """The folder of `run-<id>` or `verdict-<id>`.

    Raises:
        UnknownNameError: It is no such name, and so no name of a file either.
    """
    if not _SUBJECT.fullmatch(subject):
        raise UnknownNameError("view", subject, ["run-<id>", "verdict-<id>", "dataset-<id>"])
    return views_of(store) / subject


def read(store: str | Path, subject: str) -> Table | None:
    """The table of a subject; None where there is none of the present format."""
    home = folder_of(store, subject)
    try:
        meta = json.loads((home / "meta.json").read_bytes())
    except (OSError, ValueError):
        return None
    if meta.get("format") != FORMAT or not (home / str(meta["folder"])).is_dir():
        return None
    columns = [_info(column) for column in meta["columns"]]
    return Table(
        folder=home / str(meta["folder"]),
        rows=int(meta["rows"]),
        columns={column.name: column for column in columns},
        facts=meta["facts"],
        made_at=float(meta["made_at"]),
    )


def _info(data: Mapping[str, Any]) -> ColumnInfo:
    return ColumnInfo(
        name=data["name"], file=data["file"], kind=data["kind"], known=data["known"], words=tuple(data["words"]),
        counts=tuple(data["counts"]), low=data["low"], high=data["high"], texts=data["texts"],
    )  # fmt: skip


def read_extra(table: Table) -> Mapping[str, Any]:
    """What was kept beside the columns."""
    try:
        return json.loads((table.folder / "extra.json").read_bytes())
    except FileNotFoundError:
        return {}


@dataclass(slots=True)
class Words:
    """Small numbers for texts that repeat, in order of appearance."""

    texts: list[str] = field(default_factory=list[str])
    _codes: dict[str, int] = field(default_factory=dict[str, int])

    def of(self, text: str | None) -> int:
        """The code of this text; -1 for None."""
        if text is None:
            return -1
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = len(self.texts)
            self.texts.append(text)
        return code


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sorting key under which row-2 stands before row-10."""
    parts = _NUMBER.split(text.lower())
    return tuple((0, int(p)) if p.isdecimal() and p.isascii() and len(p) < 19 else (1, p) for p in parts if p)


def _by_rank(codes: Ints, texts: Sequence[str]) -> AnyArray:
    """The sorting order of coded texts; rows without one last."""
    ranks = np.full(len(texts) + 1, len(texts), np.int64)
    ranks[sorted(range(len(texts)), key=lambda code: natural(texts[code]))] = np.arange(len(texts))
    return np.argsort(ranks[codes], kind="stable")


def _mapped(path: Path, kind: str, count: int) -> AnyArray:
    """The array of an `.npy` file, mapped; ten times as fast as numpy's own way, which a page takes twenty times."""
    dtype, width = _TYPES[kind]
    size = count * width * dtype.itemsize
    if not count:
        return np.zeros((0, width) if width > 1 else 0, dtype)
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if len(held) < size:
        raise StoreError(
            f"{path} has {len(held)} bytes, expected {size}. Delete {path.parent.parent}: it is made again"
        )
    values = np.frombuffer(
        held, dtype, count * width, offset=len(held) - size
    )  # the header stands before the values
    return values.reshape(count, width) if width > 1 else values


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(
        json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf-8", errors="replace"
    )


def _ignore(folder: Path) -> None:
    """Say what the folder is, to people and to git."""
    if not (folder / ".gitignore").exists():
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (folder / "README.txt").write_text(
            "Made from the store beside it, for the pages of `ratchet view`. It may be deleted: it is made again.\n",
            encoding="utf-8",
        )


def write_comparison(
    store: str | Path, verdict: Verdict, evidence: Evidence, *, id: str | None = None
) -> Path:
    """Keep both arms example by example as `verdict-<id>`; see `verdict_columns`, which is heavy and loaded here."""
    from ratchet.web import verdict_columns

    return verdict_columns.write(store, verdict, evidence, id=id)
