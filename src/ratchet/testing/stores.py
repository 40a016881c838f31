"""What every store must do, as tests to inherit. Needs pytest.

class TestMyStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: MyStore(tmp_path / "store")
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from ratchet.errors import CodecError, StoreBusyError, StoreError
from ratchet.ports import Store
from ratchet.records import Dataset, Failure, Run, Score, Span, Task, Trace, Variant
from ratchet.testing.access import AccessContract
from ratchet.testing.labels import LabelContract

MakeStore = Callable[[], Store]


def a_trace(
    id: str, *, arm: str | None = "a", example_id: str | None = "1", run_id: str | None = "run", **fields: Any
) -> Trace:
    """A trace of one unit; fields as in `Trace`."""
    return Trace(id=id, run_id=run_id, arm=arm, example_id=example_id, **fields)


def a_full_trace(id: str) -> Trace:
    """A trace with something in every field, so that a lost one shows."""
    span = Span(
        trace_id=id,
        id="1" * 16,
        name="chat",
        kind="model",
        parent_id="2" * 16,
        start_ns=1_700_000_000_000_000_001,
        duration_ns=5,
        attributes={"gen_ai.usage.input_tokens": 12, "nested": {"list": [1, None, "x"]}},
        error=Failure(kind="timeout", message="slow", status=504, retry_after_s=1.5, request_id="q"),
    )
    return Trace(
        id=id, run_id="run", arm="a", example_id="é\u4e2d\U0001f600", repeat=2, group="g", release_id="rel",
        sticky_key="user", shadow_of="other", input=[{"role": "user", "content": "hi\x00 there"}],
        output={"label": ["x", 1, 2.5, None, True]}, answer="x", answer_error="half", tool_calls=({"id": "c"},),
        refusal="no", finish_reason="stop", model="m-1", input_tokens=12, output_tokens=3, cached_tokens=1,
        cache_write_tokens=4, reasoning_tokens=2, cost_usd=0.1, ttft_s=0.2, latency_s=0.3, queue_s=0.4, attempts=2,
        error=Failure(kind="server", message="broke"), cached=True, request_key="key", created_at=1.7e9,
        metadata={"deep": {"er": [1]}}, spans=(span,),
    )  # fmt: skip


def a_run(id: str = "run", *, created_at: float = 0.0, name: str = "") -> Run:
    """A run of one arm over a dataset of one example."""
    task = Task(dataset=Dataset(id="d" * 32, count=1))
    return Run(id=id, task=task, arms={"a": Variant(model="simulated/m")}, created_at=created_at, name=name)


def _values(store: Store, **query: Any) -> list[Any]:
    return [score.value for score in store.scores(**query)]


class StoreContract(LabelContract, AccessContract):
    """Inherit and override `make_store`; every test then runs against your store."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """A function that opens one and the same place each time it is called."""
        raise TypeError(
            f"{type(self).__name__} must override the fixture `make_store`: a function that opens the store"
        )

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[Store]:
        store = make_store()
        yield store
        store.close()

    # traces

    def test_a_trace_comes_back_as_it_was(self, store: Store) -> None:
        trace = a_full_trace("t1")
        store.write([trace])
        assert store.trace("t1") == trace
        assert list(store.traces()) == [trace]

    def test_a_large_trace_comes_back_as_it_was(self, store: Store) -> None:
        trace = a_trace("t1", input="word " * 50_000, output="\U0001f600" * 10_000)
        store.write([trace])
        assert store.trace("t1") == trace

    def test_narrow_rows_hold_the_facts_of_the_trace(self, store: Store) -> None:
        trace = a_full_trace("t1")
        store.write([trace])
        (row,) = store.rows()
        names = set(type(row).__dataclass_fields__) - {"refused", "unparsable", "error_kind"}
        assert {name: getattr(row, name) for name in names} == {name: getattr(trace, name) for name in names}
        assert (row.refused, row.unparsable, row.error_kind) == (True, True, "server")

    def test_absent_facts_stay_none(self, store: Store) -> None:
        store.write([Trace(id="t1")])
        (row,) = store.rows()
        assert (row.run_id, row.arm, row.cost_usd, row.ttft_s, row.input_tokens) == (None,) * 5
        assert (row.refused, row.unparsable, row.cached, row.error_kind) == (False, False, False, None)

    def test_an_unknown_trace_is_none(self, store: Store) -> None:
        assert store.trace("none") is None

    def test_traces_are_read_by_id_in_the_order_asked_for(self, store: Store) -> None:
        store.write(
            [a_trace("t1", output="x" * 5000), a_trace("t2", example_id="2"), a_trace("t3", example_id="3")]
        )
        assert list(store.traces_by_id(["t3", "none", "t1"])) == ["t3", "t1"]
        assert store.traces_by_id(["t1"])["t1"].output == "x" * 5000
        assert store.traces_by_id([]) == {}

    def test_traces_that_take_too_much_are_left_out_where_asked(self, store: Store) -> None:
        noise = "".join(chr(33 + i * i % 90) + str(i) for i in range(20_000))
        store.write([a_trace("t1", output=noise), a_trace("t2", example_id="2")])
        assert list(store.traces_by_id(["t1", "t2"], at_most_bytes=10_000)) == ["t2"]

    def test_counts_are_those_of_the_traces_that_count(self, store: Store) -> None:
        failure = Failure(kind="timeout", message="slow")
        store.write([a_trace("t1", error=failure), a_trace("t2", cost_usd=0.5, input_tokens=7, cached=True)])
        store.write([a_trace("t3", example_id="2", created_at=9.0), a_trace("t4", arm=None, cost_usd=2.0)])
        found = {counts.arm: counts for counts in store.counts("run")}
        assert found.keys() == {"a", None}
        assert (found["a"].rows, found["a"].failed, found["a"].cached, found["a"].unpriced) == (2, 0, 1, 1)
        assert (found["a"].cost_usd, found["a"].input_tokens, found["a"].newest_at) == (0.5, 7, 9.0)
        assert found[None].cost_usd == 2.0
        assert store.counts("none") == []

    def test_what_was_written_is_there_after_reopening(self, store: Store, make_store: MakeStore) -> None:
        store.write([a_trace("t1"), Score(trace_id="t1", name="s", value=True)])
        store.save_run(a_run())
        store.move_ref("r", "1", expected=None)
        store.close()
        again = make_store()
        try:
            assert [row.id for row in again.rows("run")] == ["t1"]
            assert _values(again) == [True]
            assert again.run("run") == a_run()
            assert again.ref("r") == "1"
        finally:
            again.close()

    def test_rows_come_in_order_of_commit(self, store: Store) -> None:
        ids = [f"{n * 7919 % 100:02d}" for n in range(100)]
        for some in (ids[:10], ids[10:60], ids[60:]):
            store.write([a_trace(id, example_id=id) for id in some])
        assert [row.id for row in store.rows("run")] == ids
        assert [row.id for row in store.rows()] == ids
        assert [trace.id for trace in store.traces("run", arm="a")] == ids

    def test_rows_and_traces_filter_by_run_arm_and_outcome(self, store: Store) -> None:
        failed = Failure(kind="server", message="")
        store.write(
            [
                a_trace("1", arm="a"),
                a_trace("2", arm="b", error=failed),
                a_trace("3", arm=None, example_id=None),
                a_trace("4", run_id="other", error=failed),
            ]
        )
        asked: list[tuple[dict[str, Any], str]] = [
            ({}, "1234"),
            ({"run_id": "run"}, "123"),
            ({"run_id": "run", "arm": "b"}, "2"),
            ({"run_id": "run", "which": "ok"}, "13"),
            ({"run_id": "run", "which": "failed"}, "2"),
            ({"which": "failed"}, "24"),
            ({"arm": "a"}, "14"),
        ]
        for query, ids in asked:
            assert "".join(row.id for row in store.rows(**query)) == ids
            assert "".join(trace.id for trace in store.traces(**query)) == ids

    def test_the_newest_trace_of_a_unit_counts_and_the_older_is_kept_by_id(self, store: Store) -> None:
        old = a_trace("old", error=Failure(kind="timeout", message=""), request_key="k")
        new = a_trace("new", output="yes")
        store.write([old, Score(trace_id="old", name="s", value=False)])
        store.write([new, Score(trace_id="new", name="s", value=True)])
        assert [row.id for row in store.rows("run")] == ["new"]
        assert list(store.traces("run")) == [new]
        assert store.done("run") == {("a", "1", 0): ("new", False)}
        assert _values(store, run_id="run") == [True]
        assert _values(store) == [True]
        assert store.trace("old") == old
        assert _values(store, trace_id="old") == [False]

    def test_of_one_unit_twice_in_one_batch_the_later_counts(self, store: Store) -> None:
        store.write([a_trace("old"), a_trace("new")])
        assert [row.id for row in store.rows()] == ["new"]

    def test_repeats_arms_and_runs_are_units_of_their_own(self, store: Store) -> None:
        store.write(
            [a_trace("1"), a_trace("2", repeat=1), a_trace("3", arm="b"), a_trace("4", run_id="other")]
        )
        assert [row.id for row in store.rows()] == ["1", "2", "3", "4"]

    def test_traces_without_arm_or_run_never_supersede_each_other(self, store: Store) -> None:
        store.write([a_trace("1", arm=None), a_trace("2", arm=None)])
        store.write([a_trace("3", run_id=None), a_trace("4", run_id=None)])
        assert [row.id for row in store.rows()] == ["1", "2", "3", "4"]

    def test_the_same_trace_written_again_takes_its_own_place(self, store: Store) -> None:
        store.write([a_trace("t1", output="first"), a_trace("t2", example_id="2")])
        store.write([a_trace("t1", output="second")])
        assert [trace.output for trace in store.traces() if trace.id == "t1"] == ["second"]
        assert sorted(row.id for row in store.rows("run")) == ["t1", "t2"]

    def test_done_tells_what_a_run_holds_and_what_failed(self, store: Store) -> None:
        store.write(
            [
                a_trace("1", example_id="x"),
                a_trace("2", example_id="x", repeat=1, error=Failure(kind="auth", message="")),
                a_trace("3", arm=None, example_id=None),
                a_trace("4", run_id="other"),
            ]
        )
        assert store.done("run") == {("a", "x", 0): ("1", False), ("a", "x", 1): ("2", True)}
        assert store.done("none") == {}

    def test_a_cached_answer_comes_from_another_run_newest_first_and_never_from_a_failure(
        self, store: Store
    ) -> None:
        store.write([a_trace("1", run_id="r1", request_key="k", output="old")])
        store.write([a_trace("2", run_id="r2", request_key="k", output="new")])
        store.write([a_trace("3", run_id="r3", request_key="k", error=Failure(kind="server", message=""))])
        found = store.cached("k", not_in_run="r4")
        assert found is not None
        assert found.output == "new"
        found = store.cached("k", not_in_run="r2")
        assert found is not None
        assert found.output == "old"
        assert store.cached("other", not_in_run="r4") is None

    def test_hostile_values_are_kept(self, store: Store) -> None:
        trace = a_trace(
            "t1", model="bad \ud800 text", input_tokens=10**30, example_id="'; DROP TABLE traces; --"
        )
        store.write([trace, a_trace("t2", example_id="2")])
        assert store.trace("t1") == trace
        assert [row.id for row in store.rows("run")] == ["t1", "t2"]
        assert ("a", "'; DROP TABLE traces; --", 0) in store.done("run")

    # batches

    def test_a_batch_is_all_or_nothing(self, store: Store) -> None:
        with pytest.raises((CodecError, StoreError)):
            store.write([a_trace("t1"), Score(trace_id="t1", name="s", value=float("nan"))])
        assert list(store.rows()) == []
        store.write([a_trace("t1")])
        assert [row.id for row in store.rows()] == ["t1"]

    def test_what_is_neither_trace_nor_score_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="Run"):
            store.write([a_run()])  # pyright: ignore[reportArgumentType]

    def test_an_empty_batch_is_fine(self, store: Store) -> None:
        store.write([])
        store.write(iter(()))
        assert list(store.rows()) == []

    def test_many_async_writers_all_get_their_records_in(self, store: Store) -> None:
        async def some(worker: int) -> None:
            for n in range(10):
                id = f"{worker}-{n}"
                await store.awrite([a_trace(id, example_id=id), Score(trace_id=id, name="s", value=n / 10)])
                assert store.trace(id) is not None

        async def everyone() -> None:
            async with asyncio.TaskGroup() as group:
                for worker in range(20):
                    group.create_task(some(worker))

        asyncio.run(everyone())
        assert sum(1 for _ in store.rows("run")) == 200
        assert sum(1 for _ in store.scores("run")) == 200

    def test_a_bad_batch_among_good_ones_fails_alone(self, store: Store) -> None:
        async def everyone() -> list[bool]:
            async def one(n: int) -> bool:
                value = float("inf") if n == 7 else float(n)
                try:
                    await store.awrite(
                        [a_trace(str(n), example_id=str(n)), Score(trace_id=str(n), name="s", value=value)]
                    )
                except (CodecError, StoreError):
                    return False
                return True

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(n)) for n in range(20)]
            return [task.result() for task in tasks]

        assert [n for n, kept in enumerate(asyncio.run(everyone())) if not kept] == [7]
        assert {row.id for row in store.rows()} == {str(n) for n in range(20) if n != 7}

    def test_a_large_async_batch_is_one_commit(self, store: Store) -> None:
        asyncio.run(store.awrite(a_trace(str(n), example_id=str(n)) for n in range(1000)))
        assert sum(1 for _ in store.rows("run")) == 1000

    def test_threads_share_one_store(self, store: Store) -> None:
        def work(worker: int) -> None:
            for n in range(10):
                id = f"{worker}-{n}"
                store.write([a_trace(id, example_id=id)])
                assert store.trace(id) is not None

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(1 for _ in store.rows("run")) == 80

    def test_an_open_iterator_neither_blocks_the_writer_nor_loses_rows(self, store: Store) -> None:
        store.write([a_trace(str(n), example_id=str(n)) for n in range(50)])
        reading = store.rows("run")
        first = [row.id for row in islice(reading, 5)]
        store.write([a_trace(f"again-{n}", example_id=str(n)) for n in range(50)])
        rest = [row.id for row in reading]
        assert first + rest == [str(n) for n in range(50)]
        assert {row.id for row in store.rows("run")} == {f"again-{n}" for n in range(50)}

    def test_an_iterator_moves_between_threads_and_may_be_dropped(self, store: Store) -> None:
        store.write([a_trace(str(n), example_id=str(n)) for n in range(50)])
        reading = store.rows("run")
        next(reading)
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.extend(row.id for row in islice(reading, 3)))
        thread.start()
        thread.join()
        assert found == ["1", "2", "3"]
        dropped = store.rows("run")
        next(dropped)
        del dropped
        store.write([a_trace("last", example_id="last")])

    # scores

    def test_every_kind_of_value_comes_back_as_it_was(self, store: Store) -> None:
        values = [True, False, 0.25, 0.0, "label", "", frozenset({"a", "b"}), frozenset[str](), None]
        scores = [
            Score(trace_id="t", name=f"s{n}", value=value, reason="because" if value is None else None)
            for n, value in enumerate(values)
        ]
        store.write([a_trace("t"), *scores])
        assert list(store.scores("run")) == scores
        assert [type(score.value) for score in store.scores()] == [type(value) for value in values]

    def test_a_score_keeps_every_field_short_or_long(self, store: Store) -> None:
        short = Score(
            trace_id="t", name="s", value=0.5, against="other", reason="so", source="judge", by="j@1",
            dimension="security", cost_trace_ids=("c1", "c2"), created_at=5.5,
            metadata={"predicted": ["a"], "expected": ["b"]},
        )  # fmt: skip
        long = short.replace(name="long", reason="é" * 10_000, metadata={"expected": ["b"] * 1000})
        store.write([a_trace("t"), short, long])
        assert list(store.scores("run")) == [short, long]

    def test_the_newest_score_of_each_source_counts_and_history_keeps_all(self, store: Store) -> None:
        base = Score(trace_id="t", name="s", value=1.0, by="s@1")
        others = [
            base.replace(value=2.0, by="s@2"),
            base.replace(value=3.0, source="human", by="s@1"),
            base.replace(value=4.0, against="u"),
            base.replace(value=5.0, name="other"),
        ]
        store.write([a_trace("t"), base, *others])
        store.write([base.replace(value=10.0), base.replace(value=40.0, against="u")])
        assert sorted(_values(store, run_id="run")) == [2.0, 3.0, 5.0, 10.0, 40.0]
        assert sorted(_values(store, trace_id="t")) == [2.0, 3.0, 5.0, 10.0, 40.0]
        assert sorted(_values(store, run_id="run", history=True)) == [1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 40.0]

    def test_of_one_score_twice_in_one_batch_the_later_counts(self, store: Store) -> None:
        score = Score(trace_id="t", name="s", value=1.0)
        store.write([a_trace("t"), score, score.replace(value=2.0)])
        assert _values(store) == [2.0]

    def test_scores_filter_by_run_trace_and_name(self, store: Store) -> None:
        store.write(
            [a_trace("1", example_id="1"), a_trace("2", example_id="2"), a_trace("3", run_id="other")]
        )
        for id in "123":
            store.write([Score(trace_id=id, name=name, value=f"{id}{name}") for name in "xy"])
        assert _values(store, run_id="run") == ["1x", "1y", "2x", "2y"]
        assert _values(store, run_id="run", name="x") == ["1x", "2x"]
        assert _values(store, trace_id="2") == ["2x", "2y"]
        assert _values(store, run_id="other", trace_id="2") == []
        assert _values(store, name="y") == ["1y", "2y", "3y"]

    def test_a_score_may_come_before_its_trace_or_without_one(self, store: Store) -> None:
        store.write([Score(trace_id="t", name="s", value=True)])
        assert _values(store) == [True]
        assert _values(store, run_id="run") == []
        store.write([a_trace("t")])
        assert _values(store, run_id="run") == [True]

    # content, runs, refs

    def test_content_is_kept_once_by_its_id(self, store: Store) -> None:
        store.put_content("Variant", "c1", {"model": "m", "n": [1, None]})
        store.put_content("Variant", "c1", {"model": "changed"})
        assert store.content("c1") == {"model": "m", "n": [1, None]}
        assert store.content("c2") is None

    def test_a_run_comes_back_as_it_was(self, store: Store) -> None:
        store.save_run(a_run(name="first"))
        assert store.run("run") == a_run(name="first")
        assert store.run("none") is None

    def test_runs_are_listed_newest_first_with_their_state(self, store: Store) -> None:
        for n in range(3):
            store.save_run(a_run(f"r{n}", created_at=float(n), name=f"n{n}"))
        store.set_run_state("r1", "stopped", "budget spent")
        found = store.runs()
        assert [row.id for row in found] == ["r2", "r1", "r0"]
        assert [row.state for row in found] == ["running", "stopped", "running"]
        assert found[1].reason == "budget spent"
        assert found[1].name == "n1"
        assert found[0].finished_at is None
        assert found[1].finished_at is not None
        assert abs(found[1].finished_at - time.time()) < 60
        assert [row.id for row in store.runs(limit=1)] == ["r2"]

    def test_a_stopped_run_can_run_again(self, store: Store) -> None:
        store.save_run(a_run())
        store.set_run_state("run", "stopped", "ctrl-c")
        store.set_run_state("run", "running")
        (row,) = store.runs()
        assert (row.state, row.reason, row.finished_at) == ("running", "", None)

    def test_a_run_is_held_by_one_at_a_time(self, store: Store, make_store: MakeStore) -> None:
        with make_store() as other:
            for name in ("0199-a", "a run/of: any name"):
                with store.hold_run(name):
                    with pytest.raises(StoreBusyError, match=name), other.hold_run(name):
                        pytest.fail("two hold one run")
                    with other.hold_run(name + "b"):
                        pass
                with other.hold_run(name):
                    pass

    def test_a_run_is_free_again_after_an_error(self, store: Store) -> None:
        with pytest.raises(KeyError), store.hold_run("run"):
            raise KeyError
        with store.hold_run("run"):
            pass

    def test_of_many_who_hold_a_run_in_turns_no_two_hold_it_together(
        self, store: Store, make_store: MakeStore
    ) -> None:
        inside: list[int] = []
        most: list[int] = []

        def work(mine: Store) -> None:
            for _ in range(40):
                try:
                    with mine.hold_run("run"):
                        inside.append(1)
                        most.append(len(inside))
                        inside.pop()
                except StoreBusyError:
                    continue

        with make_store() as other:
            threads = [threading.Thread(target=work, args=(each,)) for each in (store, other, store, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert most
        assert max(most) == 1

    def test_another_run_with_a_kept_id_is_refused(self, store: Store) -> None:
        store.save_run(a_run(name="first"))
        store.save_run(a_run(name="first"))
        with pytest.raises(StoreError, match="run is kept already"):
            store.save_run(a_run(name="second"))
        assert store.run("run") == a_run(name="first")

    def test_the_state_of_an_unknown_run_is_an_error_that_names_it(self, store: Store) -> None:
        with pytest.raises(StoreError, match="'none'"):
            store.set_run_state("none", "finished")

    def test_a_ref_moves_only_from_what_was_expected(self, store: Store) -> None:
        assert store.ref("serve/bot") is None
        assert store.move_ref("serve/bot", "v1", expected=None, by="ann")
        assert not store.move_ref("serve/bot", "v2", expected=None)
        assert not store.move_ref("serve/bot", "v2", expected="v0")
        assert store.ref("serve/bot") == "v1"
        assert store.move_ref("serve/bot", "v2", expected="v1")
        assert store.move_ref("serve/bot", None, expected="v2")
        assert store.ref("serve/bot") is None
        moves = store.ref_log("serve/bot")
        assert [(m.old, m.new) for m in moves] == [(None, "v1"), ("v1", "v2"), ("v2", None)]
        assert moves[0].by == "ann"
        assert moves[0].name == "serve/bot"

    def test_refs_are_listed_by_prefix_taken_literally(self, store: Store) -> None:
        for name in ("a/1", "a/2", "a%", "A/3", "b/1"):
            store.move_ref(name, name.upper(), expected=None)
        assert store.refs("a/") == {"a/1": "A/1", "a/2": "A/2"}
        assert store.refs("a%") == {"a%": "A%"}
        assert set(store.refs()) == {"a/1", "a/2", "a%", "A/3", "b/1"}

    def test_of_many_who_move_one_ref_exactly_one_wins(self, store: Store) -> None:
        won: list[int] = []

        def move(n: int) -> None:
            if store.move_ref("r", str(n), expected=None):
                won.append(n)

        threads = [threading.Thread(target=move, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert store.ref("r") == str(won[0])

    # the end

    def test_closing_twice_is_fine_and_using_a_closed_store_is_a_store_error(self, store: Store) -> None:
        store.write([a_trace("t1")])
        store.flush()
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.write([a_trace("t2")])
        with pytest.raises(StoreError, match="closed"):
            store.trace("t1")
