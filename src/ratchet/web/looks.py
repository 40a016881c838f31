"""Who saw held-out examples: noted wherever their texts are shown, once a person, split and place."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ratchet import datasets
from ratchet.errors import RatchetError
from ratchet.ports import Look
from ratchet.web import dataset_rows, pages
from ratchet.web.columns import Ints, Table

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.records import Dataset
    from ratchet.stores.sqlite import SQLiteStore

HeldOut = Mapping[str, Ints]
"""The held-out splits of a dataset, and the sorted hashes of their examples' ids: eight bytes an example."""
MOST_READ = 2**18
"""Bytes of a dataset that is read at once; of a larger one the columns are made first."""
_MOST_KEPT = 4
_held_out: OrderedDict[tuple[str, ...], HeldOut] = OrderedDict()


def note_splits(
    store: SQLiteStore, dataset_id: str, splits: Iterable[str | None], *, by: str, what: str
) -> None:
    """Remember that this person saw examples of those splits that are held out."""
    for split in {split for split in splits if split is not None and dataset_rows.is_held_out(split)}:
        if not is_noted(store, dataset_id, split, by=by, what=what):
            store.note_look(Look(dataset_id=dataset_id, split=split, at=time.time(), by=by, what=what))


def is_noted(store: SQLiteStore, dataset_id: str, split: str, *, by: str, what: str) -> bool:
    """Whether it is remembered already."""
    return any(look.by == by and look.what == what for look in store.looks(dataset_id, split=split))


class Watch:
    """Notes what one request shows of one dataset.

    A dataset outside of the project's folder, or one whose columns are still being made, is not known well enough: then
    nothing is noted.
    """

    def __init__(self, request: Request, dataset: Dataset, what: str, *, wait_s: float = 0.0) -> None:
        """Args:
        what: Where it is shown, such as "read answers of run 7f2": once for each is enough.
        wait_s: How long the columns of a dataset that was never looked at may take.
        """
        self._store, self._by, self._what = pages.store(request), pages.person(request).name, what
        self._dataset_id = dataset.id
        found = held_out(self._store, dataset, root=pages.settings(request).root, wait_s=wait_s)
        self._open = {
            split: hashes
            for split, hashes in found.items()
            if not is_noted(self._store, dataset.id, split, by=self._by, what=what)
        }

    def show(self, examples: Iterable[str | None]) -> None:
        """These examples are shown."""
        if not self._open:
            return
        shown = np.array(
            [hash(example.encode("utf-8", "replace")) for example in examples if example], np.int64
        )
        seen = [split for split, hashes in self._open.items() if np.isin(shown, hashes).any()]
        note_splits(self._store, self._dataset_id, seen, by=self._by, what=self._what)
        for split in seen:
            del self._open[split]

    def showing(self, rows: Iterable[Mapping[str, Any]], column: str) -> Iterator[Mapping[str, Any]]:
        """These rows, noted as they go; `column` holds the example's id."""
        for row in rows:
            self.show((row[column],))
            yield row


def show(
    request: Request, shown: Iterable[tuple[str, str | None]], what: str, *, wait_s: float = 0.0
) -> None:
    """Note that these are shown: each a run and the id of an example of its dataset."""
    examples: dict[str, list[str | None]] = {}
    for run_id, example in shown:
        examples.setdefault(run_id, []).append(example)
    for run_id, ids in examples.items():
        dataset = dataset_rows.dataset_of(pages.store(request), run_id)
        if dataset is not None:
            Watch(request, dataset, what, wait_s=wait_s).show(ids)


def held_out(store: SQLiteStore, dataset: Dataset, *, root: Path, wait_s: float = 0.0) -> HeldOut:
    """The held-out splits of this dataset; none where it can't be read, or not yet."""
    stamp = dataset_rows.stamp(dataset)
    if stamp is None or dataset_rows.refusal(dataset, root):
        return {}
    key = (str(store.path), dataset.id, str(root), str(stamp))
    found = _held_out.get(key)
    if found is None:
        if Path(dataset.path).stat().st_size <= MOST_READ:
            found = _of_file(dataset)
        else:
            table = dataset_rows.view(store, dataset, root=root, wait_s=wait_s).table
            if table is None:
                return {}
            found = _of_columns(table)
        while len(_held_out) >= _MOST_KEPT:
            _held_out.popitem(last=False)
        _held_out[key] = found
    return found


def _of_columns(table: Table) -> HeldOut:
    words = table.info("split").words
    wanted = {code: split for code, split in enumerate(words) if dataset_rows.is_held_out(split)}
    if not wanted:
        return {}
    codes, ids = (
        table.values("split"),
        (table.folder / f"{table.info('id').file}.texts").read_bytes().split(b"\n"),
    )
    if len(ids) != table.rows + 1:  # an id of several lines
        ids = [
            (record["id"] or "").encode("utf-8", "replace")
            for record in table.records(range(table.rows), ["id"])
        ]
    return {
        split: np.sort(np.array([hash(ids[row]) for row in np.flatnonzero(codes == code).tolist()], np.int64))
        for code, split in wanted.items()
    }


def _of_file(dataset: Dataset) -> HeldOut:
    found: dict[str, list[int]] = {}
    try:
        for example in datasets.examples(dataset):
            if example.split is not None and dataset_rows.is_held_out(example.split):
                found.setdefault(example.split, []).append(hash(example.id.encode("utf-8", "replace")))
    except (RatchetError, OSError):
        return {}  # its own page says what is wrong with it
    return {split: np.sort(np.array(hashes, np.int64)) for split, hashes in found.items()}
