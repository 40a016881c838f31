"""Which answers people have labelled: read once a process, then only what is new."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ratchet.stores import sqlite_views

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratchet.records import ScoreValue
    from ratchet.stores.sqlite import SQLiteStore


class _Seen:
    """Labels by trace, as far as the scores were read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = 0
        self.labels: dict[str, dict[tuple[str, str], ScoreValue]] = {}


_SEEN: WeakKeyDictionary[SQLiteStore, _Seen] = WeakKeyDictionary()
_OPENING = threading.Lock()


def of_people(store: SQLiteStore) -> Mapping[str, Mapping[tuple[str, str], ScoreValue]]:
    """Labels by trace id, each by its name and who gave it; a label taken back is none."""
    with _OPENING:
        seen = _SEEN.setdefault(store, _Seen())
    with seen.lock:
        newest = sqlite_views.newest_score(store)
        for _, cell in sqlite_views.labels_since(store, seen.last):
            given = seen.labels.setdefault(cell.trace_id, {})
            given.pop((cell.name, cell.by), None)
            if cell.value is not None:
                given[(cell.name, cell.by)] = cell.value
            if not given:
                del seen.labels[cell.trace_id]
        # read before the labels were: what came in between is read again, which changes nothing
        seen.last = max(seen.last, newest)
        return dict(seen.labels)


def mark(given: Mapping[tuple[str, str], ScoreValue] | None) -> str:
    """`good`, `bad`, `mixed` or `labelled`: what the table says of an answer's labels; "" of none."""
    if not given:
        return ""
    values = set(given.values())
    if values == {True}:
        return "good"
    if values == {False}:
        return "bad"
    return "mixed" if values <= {True, False} else "labelled"
