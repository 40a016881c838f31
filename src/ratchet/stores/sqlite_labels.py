"""Queues of labels in SQLite: leases by one conditional update each, labels and their Scores in one commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from ratchet import codec
from ratchet.ports import LabelEvent, LabelEventKind, LabelItem, LabelProgress, LabelQueue, ScoreMaker
from ratchet.records import Json, Score, Source
from ratchet.stores import sqlite_rows as rows_of
from ratchet.stores.sqlite_rows import Row
from ratchet.stores.sqlite_writer import Call, insert

_ITEM = "queue_id, position, slot, trace_id, against, repeat_of, state, person, lease_until, done_at, details"
_EVENT = "seq, queue_id, position, slot, person, kind, at, undone, data"
# for this person: not labelled, not held, not skipped; a repeat only of what they labelled
_ALLOWED = """
    NOT EXISTS (SELECT 1 FROM label_items o INDEXED BY label_items_person
        WHERE o.queue_id = i.queue_id AND o.position = i.position AND o.person = :person)
    AND NOT EXISTS (SELECT 1 FROM label_events e WHERE e.queue_id = i.queue_id AND e.person = :person
        AND e.position = i.position AND e.kind = 'skip' AND e.undone = 0)
    AND (i.repeat_of IS NULL OR EXISTS (SELECT 1 FROM label_items o INDEXED BY label_items_person
        WHERE o.queue_id = i.queue_id AND o.position = i.repeat_of AND o.person = :person AND o.state = 'done'))"""


class LabelTables:
    """The part of `SQLiteStore` that keeps queues of labels."""

    def _call(self, call: Call) -> Any:
        raise TypeError(f"{type(self).__name__} must say how a call is made inside a transaction")

    def _all(self, query: str, values: Iterable[Any]) -> Generator[Row, None, None]:
        raise TypeError(f"{type(self).__name__} must say how rows are read")

    def score_makers(self, source: Source, *, after: int = 0) -> list[ScoreMaker]:
        """Who gave scores from this source, by name and newest; with `after`, only since then."""
        query = (
            # of the other columns SQLite takes the values of the row with the maximum
            'SELECT name, "by", count(*), trace_id, max(seq) FROM scores WHERE source = ? AND seq > ? '
            'GROUP BY name, "by" ORDER BY name, max(seq) DESC'
        )
        return [
            ScoreMaker(name=name, by=by, count=count, newest_trace_id=trace_id, newest=seq)
            for name, by, count, trace_id, seq in self._all(query, (source, after))
        ]

    def save_queue(self, queue: LabelQueue, items: Iterable[LabelItem]) -> None:
        """Keep a new queue with its items, all open; a second save of one id changes nothing."""
        rows = [
            (
                queue.id,
                i.position,
                i.slot,
                i.trace_id,
                i.against,
                i.repeat_of,
                codec.dumps(i.details).decode(),
            )
            for i in items
        ]
        data = codec.dumps(queue.data)

        def save(db: sqlite3.Connection) -> None:
            made = db.execute(
                "INSERT OR IGNORE INTO label_queues (id, created_at, data) VALUES (?, ?, ?)",
                (queue.id, queue.created_at, data),
            )
            if made.rowcount:
                db.executemany(
                    "INSERT INTO label_items (queue_id, position, slot, trace_id, against, repeat_of, state, details) "
                    "VALUES (?, ?, ?, ?, ?, ?, 'open', ?)",
                    rows,
                )

        self._call(save)

    def label_queue(self, queue_id: str) -> LabelQueue | None:
        found = self._all("SELECT id, created_at, data FROM label_queues WHERE id = ?", (queue_id,))
        return next((_to_queue(row) for row in list(found)), None)

    def label_queues(self) -> list[LabelQueue]:
        """Newest first."""
        found = self._all("SELECT id, created_at, data FROM label_queues ORDER BY created_at DESC, id", ())
        return [_to_queue(row) for row in found]

    def label_items(self, queue_id: str) -> Iterator[LabelItem]:
        """By position and slot."""
        query = f"SELECT {_ITEM} FROM label_items WHERE queue_id = ? ORDER BY position, slot"
        return map(_to_item, self._all(query, (queue_id,)))

    def label_item(self, queue_id: str, position: int, slot: int) -> LabelItem | None:
        query = f"SELECT {_ITEM} FROM label_items WHERE queue_id = ? AND position = ? AND slot = ?"
        found = list(self._all(query, (queue_id, position, slot)))
        return _to_item(found[0]) if found else None

    def lease_items(
        self, queue_id: str, person: str, *, most: int, now: float, until: float
    ) -> list[LabelItem]:
        """At most so many items for this person until then: first those they hold already, then the next open ones."""
        return self._call(lambda db: _lease(db, queue_id, person, most, now, until))

    def finish_item(
        self, queue_id: str, position: int, slot: int, score: Score, *, token: str = ""
    ) -> LabelItem | None:
        """Keep this label and close the item, in one commit; the item as it was, None where it is another's."""
        rows = rows_of.to_rows([score])
        data: dict[str, Json] = {"value": codec.plain(score.value), "token": token}

        def finish(db: sqlite3.Connection) -> LabelItem | None:
            item = _item(db, queue_id, position, slot)
            if item is None or _is_done_with(db, item, score.by, token):
                return item
            if not _may_close(db, item, score.by):
                return None
            before = _newest(db, score)
            data["before"] = None if before is None else codec.encode(before)
            db.execute(
                "UPDATE label_items SET state = 'done', person = ?, lease_until = NULL, done_at = ? "
                "WHERE queue_id = ? AND position = ? AND slot = ?",
                (score.by, score.created_at, queue_id, position, slot),
            )
            data["score"] = codec.encode(score)
            _add_event(db, item, score.by, "label", score.created_at, data)
            insert(db, [rows])
            return item

        return self._call(finish)

    def skip_item(
        self, queue_id: str, position: int, slot: int, person: str, *, now: float, token: str = ""
    ) -> bool:
        """Leave the item to others; whether it was this person's, or open."""

        def skip(db: sqlite3.Connection) -> bool:
            item = _item(db, queue_id, position, slot)
            if item is None:
                return False
            last = _last(db, item, person)
            if token and last is not None and last.kind == "skip" and last.data.get("token") == token:
                return True
            if not _may_close(db, item, person):
                return False
            _reopen(db, item)
            _add_event(db, item, person, "skip", now, {"token": token})
            return True

        return bool(self._call(skip))

    def undo_label(
        self, queue_id: str, person: str, *, now: float, until: float, steps: int = 50, token: str = ""
    ) -> LabelEvent | None:
        """Take back this person's last label or skip; what it was, None without any among their last `steps`."""
        return self._call(lambda db: _undo(db, queue_id, person, (now, until), steps, token))

    def flag_item(
        self, queue_id: str, position: int, slot: int, person: str, kind: LabelEventKind, *, now: float, on: bool,
        data: Mapping[str, Json] | None = None,
    ) -> None:  # fmt: skip
        """Note, or take back, that a person disagrees with the judge or finds the rubric unclear here."""

        def flag(db: sqlite3.Connection) -> None:
            item = _item(db, queue_id, position, slot)
            if item is None:
                return
            db.execute(
                "UPDATE label_events SET undone = 1 WHERE queue_id = ? AND position = ? AND slot = ? AND person = ? "
                "AND kind = ? AND undone = 0",
                (queue_id, position, slot, person, kind),
            )
            if on:
                _add_event(db, item, person, kind, now, data or {})

        self._call(flag)

    def label_events(self, queue_id: str, *, person: str | None = None) -> Iterator[LabelEvent]:
        """What was done and not undone, in order."""
        query = f"SELECT {_EVENT} FROM label_events WHERE queue_id = ? AND undone = 0"
        values = [queue_id]
        if person is not None:
            query += " AND person = ?"
            values.append(person)
        return map(_to_event, self._all(f"{query} ORDER BY seq", values))

    def label_progress(self, queue_id: str, *, now: float) -> LabelProgress:
        total = done = leased = repeats = 0
        by_person: dict[str, int] = {}
        query = """SELECT state, person, repeat_of IS NOT NULL, state = 'leased' AND lease_until > ?, count(*)
            FROM label_items INDEXED BY label_items_state WHERE queue_id = ? GROUP BY 1, 2, 3, 4 ORDER BY 2"""
        for state, person, is_repeat, is_live, count in self._all(query, (now, queue_id)):
            total += 0 if is_repeat else count
            leased += count if is_live else 0
            if state == "done":
                by_person[person] = by_person.get(person, 0) + count
                repeats += count if is_repeat else 0
                done += 0 if is_repeat else count
        return LabelProgress(total=total, done=done, leased=leased, by_person=by_person, repeats_done=repeats)


def _lease(
    db: sqlite3.Connection, queue_id: str, person: str, most: int, now: float, until: float
) -> list[LabelItem]:
    values: dict[str, Any] = {"queue": queue_id, "person": person, "now": now, "until": until, "most": most}
    held = db.execute(
        "SELECT position, slot FROM label_items INDEXED BY label_items_person "
        "WHERE queue_id = :queue AND person = :person AND state = 'leased' ORDER BY position, slot LIMIT :most",
        values,
    ).fetchall()
    chosen: list[tuple[int, int]] = []
    for position, slot in held:
        values |= {"position": position, "slot": slot}
        db.execute(
            "UPDATE label_items SET lease_until = :until WHERE queue_id = :queue AND position = :position AND slot = :slot",
            values,
        )
        chosen.append((position, slot))
    while len(chosen) < most:
        free = [
            _free(db, values, state)
            for state in ("state = 'open'", "state = 'leased' AND lease_until <= :now")
        ]
        first = min((place for place in free if place is not None), default=None)
        if first is None:
            break
        values |= {"position": first[0], "slot": first[1]}
        taken = db.execute(
            "UPDATE label_items SET state = 'leased', person = :person, lease_until = :until "
            "WHERE queue_id = :queue AND position = :position AND slot = :slot "
            "AND (state = 'open' OR (state = 'leased' AND lease_until <= :now))",
            values,
        )
        assert taken.rowcount == 1, "no other writer is inside this transaction"
        chosen.append(first)
    found = (_item(db, queue_id, position, slot) for position, slot in chosen)
    return [item for item in found if item is not None]


def _free(db: sqlite3.Connection, values: Mapping[str, Any], state: str) -> tuple[int, int] | None:
    return db.execute(
        f"SELECT position, slot FROM label_items i INDEXED BY label_items_state "
        f"WHERE queue_id = :queue AND {state} AND {_ALLOWED} ORDER BY position, slot LIMIT 1",
        values,
    ).fetchone()


def _undo(
    db: sqlite3.Connection, queue_id: str, person: str, lease: tuple[float, float], steps: int, token: str
) -> LabelEvent | None:
    now, until = lease
    if token:
        query = f"SELECT {_EVENT} FROM label_events WHERE queue_id = ? AND person = ? AND undone = 1 ORDER BY seq DESC LIMIT ?"
        undone = map(_to_event, db.execute(query, (queue_id, person, steps)).fetchall())
        already = next((event for event in undone if event.data.get("undone_by") == token), None)
        if already is not None:
            return already
    row = db.execute(
        f"SELECT {_EVENT} FROM (SELECT * FROM label_events WHERE queue_id = ? AND person = ? "
        "AND kind IN ('label', 'skip') ORDER BY seq DESC LIMIT ?) WHERE undone = 0 ORDER BY seq DESC LIMIT 1",
        (queue_id, person, steps),
    ).fetchone()
    if row is None:
        return None
    event = _to_event(row)
    data = codec.dumps({**event.data, "undone_by": token}).decode()
    db.execute("UPDATE label_events SET undone = 1, data = ? WHERE seq = ?", (data, event.seq))
    item = _item(db, queue_id, event.position, event.slot)
    if event.kind == "label":
        said = codec.decode(Score, event.data["score"])
        if _is_still(_newest(db, said), said):
            insert(db, [rows_of.to_rows([_restored(event, said, now)])])
    mine = item is not None and item.person == person and item.state != "open"
    free = item is not None and item.state == "open"
    if mine or (free and not _holds(db, queue_id, event.position, person)):
        db.execute(
            "UPDATE label_items SET state = 'leased', person = ?, lease_until = ?, done_at = NULL "
            "WHERE queue_id = ? AND position = ? AND slot = ?",
            (person, until, queue_id, event.position, event.slot),
        )
    return event


def _is_still(newest: Score | None, said: Score) -> bool:
    """Whether this label is what counts: a newer one, given elsewhere, is not to be taken back."""
    if newest is None:
        return False
    metadata = {key: value for key, value in newest.metadata.items() if key != "restored"}
    return newest.value == said.value and metadata == said.metadata


def _restored(event: LabelEvent, said: Score, now: float) -> Score:
    """What the Score is again: what it replaced, else nothing."""
    before = event.data.get("before")
    if before is not None:
        kept = codec.decode(Score, before)
        return kept.replace(created_at=now, metadata={**kept.metadata, "restored": True})
    return said.replace(value=None, reason="undone", created_at=now)


def _may_close(db: sqlite3.Connection, item: LabelItem, person: str) -> bool:
    """Whether this person may finish or skip the slot: it is theirs, or nobody's and they have no other of it."""
    if item.state == "leased":
        return item.person == person
    return item.state == "open" and not _holds(db, item.queue_id, item.position, person)


def _holds(db: sqlite3.Connection, queue_id: str, position: int, person: str) -> bool:
    query = "SELECT 1 FROM label_items WHERE queue_id = ? AND position = ? AND person = ?"
    return db.execute(query, (queue_id, position, person)).fetchone() is not None


def _is_done_with(db: sqlite3.Connection, item: LabelItem, person: str, token: str) -> bool:
    if not token or item.state != "done" or item.person != person:
        return False
    last = _last(db, item, person)
    return last is not None and last.kind == "label" and last.data.get("token") == token


def _last(db: sqlite3.Connection, item: LabelItem, person: str) -> LabelEvent | None:
    row = db.execute(
        f"SELECT {_EVENT} FROM label_events WHERE queue_id = ? AND person = ? AND position = ? AND slot = ? "
        "AND kind IN ('label', 'skip') AND undone = 0 ORDER BY seq DESC LIMIT 1",
        (item.queue_id, person, item.position, item.slot),
    ).fetchone()
    return None if row is None else _to_event(row)


def _reopen(db: sqlite3.Connection, item: LabelItem) -> None:
    db.execute(
        "UPDATE label_items SET state = 'open', person = NULL, lease_until = NULL, done_at = NULL "
        "WHERE queue_id = ? AND position = ? AND slot = ?",
        (item.queue_id, item.position, item.slot),
    )


def _add_event(
    db: sqlite3.Connection,
    item: LabelItem,
    person: str,
    kind: LabelEventKind,
    at: float,
    data: Mapping[str, Json],
) -> None:
    db.execute(
        "INSERT INTO label_events (queue_id, position, slot, person, kind, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (item.queue_id, item.position, item.slot, person, kind, at, codec.dumps(data).decode()),
    )


def _newest(db: sqlite3.Connection, score: Score) -> Score | None:
    row = db.execute(
        f"SELECT {rows_of.SCORE_COLUMNS} FROM scores s INDEXED BY scores_trace WHERE s.trace_id = ? AND s.name = ? "
        'AND s.source = ? AND s."by" = ? AND s.against IS ? AND s.superseded = 0 ORDER BY s.seq DESC LIMIT 1',
        (score.trace_id, score.name, score.source, score.by, score.against),
    ).fetchone()
    return None if row is None else rows_of.to_score(row)


def _item(db: sqlite3.Connection, queue_id: str, position: int, slot: int) -> LabelItem | None:
    row = db.execute(
        f"SELECT {_ITEM} FROM label_items WHERE queue_id = ? AND position = ? AND slot = ?",
        (queue_id, position, slot),
    ).fetchone()
    return None if row is None else _to_item(row)


def _to_queue(row: Row) -> LabelQueue:
    return LabelQueue(id=row[0], created_at=row[1], data=codec.parse(row[2]))


def _to_item(row: Row) -> LabelItem:
    queue_id, position, slot, trace_id, against, repeat_of, state, person, lease_until, done_at, details = row
    return LabelItem(
        queue_id=queue_id, position=position, slot=slot, trace_id=trace_id, against=against, repeat_of=repeat_of,
        state=state, person=person, lease_until=lease_until, done_at=done_at, details=codec.parse(details),
    )  # fmt: skip


def _to_event(row: Row) -> LabelEvent:
    seq, queue_id, position, slot, person, kind, at, undone, data = row
    return LabelEvent(
        seq=seq, queue_id=queue_id, position=position, slot=slot, person=person, kind=kind, at=at,
        undone=bool(undone), data=codec.parse(data),
    )  # fmt: skip
