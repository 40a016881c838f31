from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ratchet import costs
from ratchet.costs.bills import Success
from ratchet.errors import PlanError, UnknownNameError
from ratchet.records import Score
from ratchet.stores.sqlite import SQLiteStore

from .stores import a_call, filled, run_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with filled(tmp_path) as store:
        yield store


def test_every_call_is_billed_to_its_arm_and_the_judge_apart(store: SQLiteStore) -> None:
    bills = costs.from_run(store, run_of())
    assert {name: round(float(np.nansum(bill.cost_usd)), 6) for name, bill in bills.arms.items()} == {
        "old": 0.8,
        "new": 0.08,
    }
    assert bills.judge_usd == 0.05
    assert bills.success_metric == "exact_match"


def test_no_answer_is_no_success(store: SQLiteStore) -> None:
    bills = costs.from_run(store, run_of())
    assert bills.arms["new"].success[1] == 0.0
    assert float(bills.arms["new"].success.sum()) == 19.0


def test_a_number_counts_as_a_success_from_the_limit_given(store: SQLiteStore) -> None:
    run = run_of()
    rows = [row for row in store.rows(run.id) if row.arm == "old"]
    store.write([Score(trace_id=row.id, name="similarity", value=i / 40) for i, row in enumerate(rows)])
    bills = costs.from_run(store, run, success="similarity>=0.75")
    assert float(np.nansum(bills.arms["old"].success)) == 10
    assert Success.parse("toxicity<=0.1")(0.05) == 1.0
    assert Success.parse("toxicity<=0.1")(0.5) == 0.0


def test_a_score_that_the_run_lacks_is_refused_with_those_it_has(store: SQLiteStore) -> None:
    with pytest.raises(UnknownNameError, match="exact_match"):
        costs.from_run(store, run_of(), success="exact_mtch")


def test_a_run_without_an_answer_has_no_bill(store: SQLiteStore) -> None:
    run = run_of("empty")
    store.save_run(run)
    with pytest.raises(PlanError, match="holds no answer"):
        costs.from_run(store, run)


def test_answers_from_the_cache_cost_as_much_a_call_but_were_not_paid_again(store: SQLiteStore) -> None:
    run = run_of("again")
    store.save_run(run)
    store.write([a_call(run, "old", n, 0.02, cached=True) for n in range(5)])
    bill = costs.from_run(store, run).arms["old"]
    assert float(bill.cost_usd.mean()) == pytest.approx(0.02)
    assert bill.paid_usd == 0.0
    assert costs.spent_usd(store, [run_of(), run]) == pytest.approx(0.8 + 0.08 + 0.05)
