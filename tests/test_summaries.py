from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from ratchet import codec
from ratchet.cli.tables import cell_width, render_summary
from ratchet.ports import Store
from ratchet.records import Dataset, Failure, Run, Score, Task, Trace, Variant
from ratchet.stores import open_store
from ratchet.summaries import ScoreSummary, Summary, summarise

RUN = Run(
    id=codec.new_run_id(), task=Task(dataset=Dataset(id="0" * 32, count=4), name="tickets"),
    arms={"a": Variant(model="openai/x"), "b": Variant(model="openai/y")}, baseline="a", created_at=1.0,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "runs.db")
    opened.save_run(RUN)
    yield opened
    opened.close()


def trace(example: str, arm: str | None = "a", **facts: Any) -> Trace:
    return Trace(
        id=codec.new_id(), run_id=RUN.id, arm=arm, example_id=example, output="x", answer="x", **facts
    )


def score(of: Trace, value: Any, name: str = "right", **more: Any) -> Score:
    return Score(trace_id=of.id, name=name, value=value, by=f"{name}@1", **more)


def summary_of(store: Store, *records: Trace | Score, worst: int = 5) -> Summary:
    store.write(records)
    return summarise(RUN, store, worst=worst)


def right(summary: Summary, arm: str = "a") -> ScoreSummary:
    return summary.arms[arm].scores["right"]


def test_a_rate_averages_repeats_before_examples(store: Store) -> None:
    rows = [
        trace("1", repeat=0),
        trace("1", repeat=1),
        trace("2", repeat=0),
        trace("2", repeat=1),
        trace("3"),
        trace("3", repeat=1),
    ]
    passed = [True, True, True, False, False, False]
    found = right(summary_of(store, *rows, *(score(r, p) for r, p in zip(rows, passed, strict=True))))
    assert found.kind == "rate"
    assert found.estimate is not None
    assert found.estimate.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.estimate.n == 3
    assert found.estimate.low is not None
    assert found.estimate.high is not None
    assert 0 <= found.estimate.low < 0.5 < found.estimate.high <= 1


def test_a_mean_has_the_t_interval_of_its_examples(store: Store) -> None:
    values = [0.2, 0.4, 0.9, 0.7]
    rows = [trace(str(i)) for i in range(4)]
    found = right(summary_of(store, *rows, *(score(r, v) for r, v in zip(rows, values, strict=True))))
    assert found.kind == "mean"
    assert found.estimate is not None
    half = 3.182446 * statistics.stdev(values) / 2  # t of 3 degrees of freedom at 97.5 %
    assert found.estimate.value == pytest.approx(0.55)
    assert found.estimate.low == pytest.approx(0.55 - half, rel=1e-5)
    assert found.estimate.high == pytest.approx(0.55 + half, rel=1e-5)


def test_groups_are_clusters_so_that_copies_are_no_new_evidence(store: Store) -> None:
    rows = [trace(str(i), group=f"g{i // 5}") for i in range(20)]
    scores = [score(r, 0.1 * (i // 5)) for i, r in enumerate(rows)]
    clustered = right(summary_of(store, *rows, *scores)).estimate
    assert clustered is not None
    assert clustered.low is not None
    assert clustered.high is not None
    spread = statistics.stdev([0.0, 0.1, 0.2, 0.3])
    assert clustered.value == pytest.approx(0.15)
    assert clustered.high - clustered.low > 2 * 1.96 * spread / math.sqrt(20) * 1.5


def test_an_answer_that_failed_is_a_fail_and_one_that_a_scorer_gave_up_on_is_not(store: Store) -> None:
    failed, refused, unparsable, broken, good = (
        trace("1", error=Failure(kind="server", message="")), trace("2", refusal="no"), trace("3", answer_error="no JSON"), trace("4"), trace("5"),
    )  # fmt: skip
    nones = [score(failed, None, reason="no answer: server"), score(refused, None, reason="refused"),
             score(unparsable, None, reason="no answer: no JSON"), score(broken, None, reason="ZeroDivisionError")]  # fmt: skip
    found = right(summary_of(store, failed, refused, unparsable, broken, good, *nones, score(good, True)))
    assert found.estimate is not None
    assert (found.estimate.value, found.estimate.n) == (0.25, 4)
    assert (found.scored, found.unscored) == (1, 4)
    assert len(found.reasons) == 3, "the most frequent only"


def test_an_arm_whose_every_call_failed_has_a_rate_of_zero(store: Store) -> None:
    good, bad = trace("1"), trace("1", arm="b", error=Failure(kind="auth", message=""))
    summary = summary_of(store, good, bad, score(good, True), score(bad, None, reason="no answer: auth"))
    found = right(summary, "b")
    assert (found.kind, found.estimate and found.estimate.value) == ("rate", 0.0)
    assert "b: every call failed (auth)" in summary.notes


def test_the_newest_score_counts_and_scores_of_other_arms_do_not(store: Store) -> None:
    mine, other = trace("1"), trace("1", arm="b")
    store.write([mine, other, score(mine, False), score(other, True)])
    found = right(summary_of(store, score(mine, True, created_at=9.0)))
    assert found.estimate is not None
    assert (found.estimate.value, found.scored) == (1.0, 1)


def test_facts_of_an_arm_are_the_sums_and_quantiles_of_its_rows(store: Store) -> None:
    rows = [
        trace(
            str(i),
            cost_usd=0.01 * (i + 1),
            input_tokens=100,
            output_tokens=10,
            latency_s=float(i + 1),
            ttft_s=0.5,
            attempts=1 + (i == 0),
        )
        for i in range(4)
    ]
    rows += [
        trace("5", error=Failure(kind="timeout", message=""), latency_s=None, cost_usd=None, attempts=3),
        trace("6", cached=True, latency_s=None, cost_usd=0.5, attempts=0),
        trace("7", cost_usd=None, latency_s=None),
        trace("1", arm=None, cost_usd=0.125),
    ]
    summary = summary_of(store, *rows)
    arm = summary.arms["a"]
    assert (arm.rows, arm.examples, arm.failed, dict(arm.errors), arm.cached, arm.retried) == (
        7,
        7,
        1,
        {"timeout": 1},
        1,
        3,
    )
    assert arm.cost_usd == pytest.approx(0.6)
    assert arm.unpriced == 1
    assert arm.cost_per_call_usd is not None
    assert arm.cost_per_call_usd.value == pytest.approx(0.6 / 5)
    assert (arm.input_tokens, arm.output_tokens) == (400, 40)
    assert arm.latency_s["p50"] == 2.5
    assert arm.latency_s["p95"] == pytest.approx(3.85)
    assert (arm.latency_s["min"], arm.latency_s["max"], arm.latency_s["mean"]) == (1.0, 4.0, 2.5)
    assert "p99" not in arm.latency_s
    speeds = [9 / (i + 0.5) for i in range(4)]
    assert arm.tokens_per_s == pytest.approx(statistics.median(speeds))
    assert (summary.judge_calls, summary.judge_cost_usd) == (1, 0.125)
    assert "a: 1 of 7 answers came from the cache; they have no latency" in summary.notes
    assert "a: the price of 1 answers is unknown" in summary.notes


def test_the_worst_rows_are_the_failed_ones_then_those_that_missed_most(store: Store) -> None:
    failed, two, one, none = (
        trace("failed", error=Failure(kind="server", message="")),
        trace("two"),
        trace("one"),
        trace("none"),
    )
    scores = [score(row, value, name) for row, pair in ((two, (False, False)), (one, (True, False)), (none, (True, True)))
              for name, value in zip(("right", "brief"), pair, strict=True)]  # fmt: skip
    summary = summary_of(store, none, one, two, failed, *scores, score(failed, None, reason="no answer"))
    assert [row.example_id for row in summary.worst] == ["failed", "two", "one"]
    assert summary.worst[0].error == "server"
    assert summary.worst[1].missed == {"right": False, "brief": False}
    assert summary.worst[1].trace_id == two.id
    assert [row.example_id for row in summarise(RUN, store, worst=1).worst] == ["failed"]
    assert summarise(RUN, store, worst=0).worst == ()


def test_labels_have_a_table_reckoned_by_hand(store: Store) -> None:
    pairs = [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("dog", "dog"), ("cat", "dog")]
    rows = [trace(str(i)) for i in range(5)]
    scores = [
        score(r, got == want, metadata={"predicted": got, "expected": want})
        for r, (got, want) in zip(rows, pairs, strict=True)
    ]
    found = right(summary_of(store, *rows, *scores))
    table = {row.label: row for row in found.by_label}
    assert (table["cat"].support, table["cat"].tp, table["cat"].fp, table["cat"].fn) == (1, 1, 2, 0)
    assert (table["dog"].support, table["dog"].tp, table["dog"].fp, table["dog"].fn) == (4, 2, 0, 2)
    assert table["cat"].f1 == pytest.approx(0.5)
    assert table["dog"].f1 == pytest.approx(2 / 3)
    assert found.measures["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert found.measures["accuracy"] == pytest.approx(0.6)


def test_scores_that_are_labels_are_counted(store: Store) -> None:
    rows = [trace(str(i)) for i in range(4)]
    values = ["good", "bad", "good", frozenset({"b", "a"})]
    found = right(summary_of(store, *rows, *(score(r, v) for r, v in zip(rows, values, strict=True))))
    assert (found.kind, found.estimate, dict(found.counts)) == (
        "labels",
        None,
        {"good": 2, "bad": 1, "a, b": 1},
    )


def test_a_run_without_a_row_is_a_summary_too(store: Store) -> None:
    summary = summarise(RUN, store)
    assert (summary.arms["a"].rows, summary.arms["a"].cost_usd, dict(summary.arms["a"].latency_s)) == (
        0,
        None,
        {},
    )
    json.loads(codec.pretty(summary))
    render_summary(summary)


FACTS = st.fixed_dictionaries({
    "cost_usd": st.none() | st.floats(0, 1e3), "latency_s": st.none() | st.floats(0, 1e4), "ttft_s": st.none() | st.floats(0, 1e4),
    "input_tokens": st.none() | st.integers(0, 10**9), "output_tokens": st.none() | st.integers(0, 10**9),
    "group": st.none() | st.sampled_from("gh"), "repeat": st.integers(0, 2), "attempts": st.integers(0, 5), "cached": st.booleans(),
    "error": st.none() | st.just(Failure(kind="server", message="x")),
})  # fmt: skip
VALUES = (
    st.none()
    | st.booleans()
    | st.floats(-1e6, 1e6)
    | st.sampled_from(["x", "日本", "\x1b[31m"])
    | st.just(frozenset({"a"}))
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("1234"), FACTS, st.lists(VALUES, max_size=2)),
        max_size=8,
    )
)
def test_whatever_the_rows_hold_the_summary_is_json_without_nan_and_fits_eighty_columns(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    store = open_store(tmp_path_factory.mktemp("store") / "runs.db")
    store.save_run(RUN)
    records: list[Trace | Score] = []
    for arm, example, facts, values in rows:
        made = trace(example, arm=arm, **facts)
        records += [made, *(score(made, value, f"s{i}", reason="why") for i, value in enumerate(values))]
    summary = summary_of(store, *records)
    store.close()
    text = codec.pretty(summary)
    assert "NaN" not in text
    assert "Infinity" not in text
    lines = render_summary(summary).splitlines()
    assert max(map(cell_width, lines)) <= 80
    assert all(line.isprintable() for line in lines)
