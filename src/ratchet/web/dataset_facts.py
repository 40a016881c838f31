"""What the pages of datasets say beside the rows: versions and where they came from, and who saw held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ratchet import codec, datasets, yaml12
from ratchet.errors import CodecError
from ratchet.ports import Look
from ratchet.projects import ProjectFile
from ratchet.records import Dataset
from ratchet.web import dataset_rows
from ratchet.web.dataset_rows import Shelf

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.columns import Table

MOST_LOOKS = 200
MOST_RUNS = 200
"""Runs over one dataset that are read for who looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a dataset."""

    dataset: Dataset
    at: float | None
    """When the ref came to name it, or its first run began; Unix time, seconds."""
    by: str
    runs: int
    is_current: bool
    """The ref names it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The versions of one name, newest first."""

    name: str
    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version:
        return self.versions[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A file that ratchet.yaml names as a task's dataset, and no run has read yet."""

    task: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One time that held-out examples were used."""

    at: float
    who: str
    what: str
    split: str
    href: str = ""


def families(store: SQLiteStore, shelf: Shelf) -> list[Family]:
    """Every known version by name; the name with the newest version first."""
    made: dict[str, tuple[float, str]] = {}
    for name in shelf.refs:
        for move in store.ref_log(f"datasets/{name}"):
            if move.new is not None:
                made[move.new] = (move.at, move.by)
    began = _began(store, shelf)
    current = set(shelf.refs.values())
    grouped: dict[str, list[Version]] = {}
    for id_, dataset in shelf.datasets.items():
        at, by = made.get(id_, (began.get(id_), ""))
        version = Version(
            dataset=dataset, at=at, by=by, runs=len(shelf.runs.get(id_, ())), is_current=id_ in current
        )
        grouped.setdefault(dataset.name, []).append(version)
    found = [
        Family(name=name, versions=tuple(sorted(versions, key=lambda v: (not v.is_current, -(v.at or 0.0)))))
        for name, versions in grouped.items()
    ]
    return sorted(found, key=lambda family: -max((v.at or 0.0) for v in family.versions))


def _began(store: SQLiteStore, shelf: Shelf) -> dict[str, float]:
    """When the first run over each dataset was made."""
    at = {row.id: row.created_at for row in store.runs(limit=dataset_rows.MOST_RUNS)}
    return {id_: min(at[run] for run in runs if run in at) for id_, runs in shelf.runs.items() if runs}


def versions(store: SQLiteStore, shelf: Shelf, dataset: Dataset) -> list[Version]:
    """This version's namesakes and ancestors, newest first."""
    named = {v.dataset.id: v for family in families(store, shelf) for v in family.versions}
    wanted = {id_: v for id_, v in named.items() if v.dataset.name == dataset.name}
    for ancestor in datasets.lineage(store, dataset):
        wanted.setdefault(
            ancestor.id,
            named.get(ancestor.id) or Version(dataset=ancestor, at=None, by="", runs=0, is_current=False),
        )
    wanted.setdefault(dataset.id, Version(dataset=dataset, at=None, by="", runs=0, is_current=False))
    return sorted(wanted.values(), key=lambda v: (not v.is_current, -(v.at or 0.0)))


def named_in(project_file: Path | None, root: Path, shelf: Shelf) -> list[Named]:
    """The files that ratchet.yaml names and no known dataset stands in."""
    if project_file is None or not project_file.is_file():
        return []
    try:
        data = yaml12.load(project_file.read_bytes())
        project = codec.decode(ProjectFile, data if data is not None else {})
    except (yaml12.YamlError, CodecError, OSError):
        return []  # its errors are the command line's to tell, with their places
    known = {dataset.path for dataset in shelf.datasets.values()}
    found: list[Named] = []
    for task, section in project.tasks.items():
        path = section.dataset if isinstance(section.dataset, str) else section.dataset.path
        if str((root / path).absolute()) not in known:
            found.append(Named(task=task, path=path))
    return found


def seen(store: SQLiteStore, shelf: Shelf, dataset: Dataset, table: Table | None) -> list[Seen]:
    """Who used examples of held-out splits when, newest first: runs that answered them, people who looked at them."""
    looks = [look for look in store.looks(dataset.id) if dataset_rows.is_held_out(look.split)]
    found = [Seen(at=look.at, who=look.by or "somebody", what=look.what, split=look.split) for look in looks]
    for run_id in shelf.runs.get(dataset.id, ())[:MOST_RUNS]:
        found.extend(_seen_by_run(store, run_id, table))
    return sorted(found, key=lambda one: -one.at)[:MOST_LOOKS]


def _seen_by_run(store: SQLiteStore, run_id: str, table: Table | None) -> list[Seen]:
    run = store.run(run_id)
    if run is None or table is None or "split" not in table.columns:
        return []
    codes, words = table.values("split"), table.info("split").words
    found: list[Seen] = []
    for code, split in enumerate(words):
        if not dataset_rows.is_held_out(split):
            continue
        total = int(np.count_nonzero(codes == code))
        if run.sample is not None:
            touched = f"a sample of {run.sample:,} of all {len(codes):,} examples"
        else:
            count = total if run.limit is None else int(np.count_nonzero(codes[: run.limit] == code))
            if not count:
                continue
            touched = f"{count:,} of {total:,} {split} examples"
        arms = "1 arm" if len(run.arms) == 1 else f"{len(run.arms):,} arms"
        found.append(
            Seen(at=run.created_at, who=f"run {run.name or run.id[:13]}", what=f"tried {touched} on {arms}",
                 split=split, href=f"/runs/{run.id}")
        )  # fmt: skip
    return found


def latest_look(looks: Sequence[Look], *, by: str, split: str, what: str | None = None) -> Look | None:
    """The newest look of this person at this split."""
    fitting = [look for look in looks if look.by == by and look.split == split and what in (None, look.what)]
    return fitting[-1] if fitting else None
