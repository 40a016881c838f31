from __future__ import annotations

from collections import Counter

import pytest

from ratchet.llm_validator.totals import Totals, report
from ratchet.records import Failure, Score, Trace


def test_the_report_counts_each_class_and_everything_else_as_other() -> None:
    found = report(Counter({("a", "a"): 3, ("a", "b"): 1, ("b", "b"): 1, ("b", None): 1, ("b", "prose"): 2}))
    assert found["classes"] == {
        "a": {"precision": 1.0, "recall": 0.75, "f1": pytest.approx(6 / 7), "support": 4},
        "b": {"precision": 0.5, "recall": 0.25, "f1": pytest.approx(1 / 3), "support": 4},
    }
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1 / 3) / 2)
    assert found["(other)"] == 3


def test_ten_thousand_different_answers_make_no_table_of_ten_thousand_classes() -> None:
    found = report(Counter({("a", str(number)): 1 for number in range(10_000)}))
    assert list(found["classes"]) == ["a"]


def test_a_cached_answer_gives_neither_time_nor_dollars_and_absent_facts_are_none() -> None:
    totals = Totals()
    totals.add(Trace(id="1", latency_s=2.0, cost_usd=0.5, input_tokens=3), ())
    totals.add(Trace(id="2", latency_s=9.0, cost_usd=9.0, input_tokens=5, cached=True), ())
    totals.add(Trace(id="3", error=Failure(kind="timeout", message="late")), ())
    summary = totals.summary()
    assert summary["latency"]["latency_s"] == {"mean": 2.0, "min": 2.0, "max": 2.0, "n": 1}
    assert summary["latency"]["ttft_s"] is None
    assert summary["cost"]["total_usd"] == 0.5
    assert summary["cost"]["input_tokens"] == {"mean": 4.0, "min": 3, "max": 5, "n": 2}
    assert (summary["failed"], summary["errors"]) == (1, {"timeout": 1})


def test_labels_are_counted_and_a_score_of_none_is_unscored_not_wrong() -> None:
    totals = Totals()
    for value in ("correct", "correct", "wrong", None):
        totals.add(Trace(id="1"), [Score(trace_id="1", name="code_quality", value=value)])
    assert totals.summary()["accuracy"]["code_quality"] == {
        "counts": {"correct": 2, "wrong": 1},
        "unscored": 1,
    }
