"""Writes tests/data/stores/v1.db, a store as version 1 wrote it: `python tests/stores/make_fixture.py`.

Released fixtures are never made again; when the schema moves on, add a file for the version before.
"""

from __future__ import annotations

from pathlib import Path

from ratchet.records import Failure, Score
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_full_trace, a_run, a_trace

DATA = Path(__file__).parents[1] / "data" / "stores"
TRACES = (
    a_full_trace("full"),
    a_trace("old", error=Failure(kind="timeout", message="too slow")),
    a_trace("new", output="yes", request_key="k1"),
    a_trace("long", example_id="2", output="word " * 2000),
)
SCORES = (
    Score(trace_id="new", name="exact", value=False, by="exact@1", created_at=1.0),
    Score(trace_id="new", name="exact", value=True, by="exact@1", created_at=2.0),
    Score(trace_id="new", name="labels", value=frozenset({"DRY", "SRP"}), metadata={"expected": ["DRY"]}),
    Score(trace_id="long", name="judge", value=0.5, source="judge", by="j@1", reason="because " * 100),
)


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    with SQLiteStore(DATA / "v1.db") as store:
        store.write([*TRACES, *SCORES])
        store.save_run(a_run(name="first"))
        store.set_run_state("run", "stopped", "budget spent")
        store.put_content("Variant", "c1", {"model": "m"})
        store.move_ref("serve/bot", "v1", expected=None, by="ann")
        store.move_ref("serve/bot", "v2", expected="v1", by="ann")


if __name__ == "__main__":
    main()
