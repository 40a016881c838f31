from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ratchet import checks, stores, summaries as run_summaries, variants, verdicts
from ratchet.loads import loading, schedules, storing, summaries, workloads
from ratchet.loads.records import Measured, Slo
from ratchet.loads.schedules import Schedule
from ratchet.loads.workloads import Workload
from ratchet.ports import Store
from ratchet.records import Check, Price, Run, Variant

from .drawn import TIMEOUT, measured, samples

SLOTS = 400
SLO = Slo(e2e_s=0.5)
PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return workloads.synthetic(
        workloads.parse_lengths("8"), workloads.parse_lengths("4"), tmp_path, distinct=100
    )


def two_arms(ratio: float, *, errors: Sequence[int] = (), valid: bool = True) -> Measured:
    """A hundred slots a second, b so many times as slow as a; these rows fail."""
    rng = np.random.default_rng(1)
    arm = np.tile([0, 1], SLOTS)
    at = np.repeat(np.arange(SLOTS) / 100, 2)
    error = np.zeros(2 * SLOTS, np.int64)
    error[list(errors)] = TIMEOUT
    e2e = 0.2 * rng.lognormal(0, 0.2, 2 * SLOTS) * np.where(arm == 1, ratio, 1.0)
    return measured(samples(at, e2e, arms=("a", "b"), arm=arm, error=error), valid=valid)


def keep(
    store: Store,
    workload: Workload,
    found: Measured,
    *,
    written: Sequence[Check] = (),
    price: Price | None = PRICE,
) -> Run:
    schedule: Schedule = schedules.constant(100, count=SLOTS)
    arms = {name: variants.resolve(Variant(model=f"openai/{name}", stream=True)) for name in ("a", "b")}
    prices = {"a": price, "b": price}
    result = summaries.summarise(found, load=schedules.describe(schedule), slo=SLO, prices_by_arm=prices)
    run = storing.run_of(schedule, workload, arms, result, checks=written, prices=prices)
    return storing.save(store, run, found, result, schedule=schedule, workload=workload)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.open_store(tmp_path / "store.db")


def test_every_request_is_a_trace_with_its_times_and_a_score(store: Store, workload: Workload) -> None:
    run = keep(store, workload, two_arms(1.0))
    traces = list(store.traces(run.id))
    scores = list(store.scores(run.id))
    assert len(traces) == len(scores) == 2 * SLOTS
    first = traces[0]
    assert (first.example_id, first.repeat, first.arm) == ("s000000", 0, "a")
    assert first.latency_s == pytest.approx(0.2, rel=0.9)
    assert first.ttft_s == pytest.approx((first.latency_s or 0) / 2, rel=1e-6)
    assert (first.input_tokens, first.output_tokens) == (100, 5)
    assert first.cost_usd == pytest.approx(100e-6 + 10e-6)
    (span,) = first.spans
    assert span.attributes["ratchet.load.scheduled_s"] == 0
    assert span.attributes["ratchet.load.sent_s"] == pytest.approx(2e-5)
    assert {score.name for score in scores} == {"goodput"}
    assert {score.by for score in scores} == {"goodput@1 (e2e <= 0.5 s)"}
    assert traces[-1].repeat == 3, "the hundred prompts came round four times"


def test_latency_counts_from_the_intended_start(store: Store, workload: Workload) -> None:
    found = two_arms(1.0)
    late = replace(found.samples, sent_s=found.samples.sent_s + 0.1)
    run = keep(store, workload, replace(found, samples=late))
    row = next(iter(store.rows(run.id)))
    assert row.latency_s == pytest.approx(float(late.e2e_s[0]))
    assert row.queue_s == pytest.approx(0.1, abs=1e-3)


def test_failed_requests_are_kept_as_failed(store: Store, workload: Workload) -> None:
    run = keep(store, workload, two_arms(1.0, errors=[0, 10]))
    failed = [row for row in store.rows(run.id) if row.error_kind]
    assert [row.error_kind for row in failed] == ["timeout", "timeout"]
    assert all(row.latency_s is None for row in failed)
    by_trace = {score.trace_id: score.value for score in store.scores(run.id)}
    assert [by_trace[row.id] for row in failed] == [False, False]


def test_a_verdict_rests_on_the_load_and_says_which(store: Store, workload: Workload) -> None:
    written = [
        checks.no_worse("latency_s", p=95, ratio=1.5),
        checks.no_worse("goodput", margin_pp=5),
        checks.at_most("ttft_s", p=95, limit=0.5),
        checks.no_worse("exact_match"),
    ]
    run = keep(store, workload, two_arms(1.02), written=written)
    verdict = verdicts.compare(run, store=store)
    assert verdict.outcome == "ship"
    assert {result.check.metric for result in verdict.results} == {"latency_s", "goodput", "ttft_s", "error"}
    assert any("measured at 100 requests/s constant, open loop" in text for text in verdict.warnings)
    assert verdict.inputs["environment"]["load"] == "100 requests/s constant, open loop"
    assert verdict.inputs["environment"]["load_goodput"] == "e2e <= 0.5 s"


def test_a_slower_variant_is_held(store: Store, workload: Workload) -> None:
    run = keep(store, workload, two_arms(2.2))
    verdict = verdicts.compare(run, store=store)
    assert verdict.outcome == "hold"
    failed = {result.check.metric for result in verdict.results if result.outcome == "failed"}
    assert failed == {"goodput", "latency_s"}


def test_no_check_on_time_rests_on_an_invalid_load_test(store: Store, workload: Workload) -> None:
    run = keep(
        store, workload, two_arms(1.0, valid=False), written=[checks.at_most("latency_s", p=95, limit=9.0)]
    )
    verdict = verdicts.compare(run, store=store)
    assert verdict.outcome == "invalid"
    assert any(
        "That load test is invalid" in text and "one core was busy" in text for text in verdict.warnings
    )
    assert all(row.latency_s is None and row.ttft_s is None for row in store.rows(run.id))
    assert {score.value for score in store.scores(run.id)} == {None}


def test_a_task_without_load_checks_gets_guards_on_goodput_and_the_tail() -> None:
    made = storing.load_checks([checks.no_worse("exact_match")], 2)
    assert [(check.metric, check.rule) for check in made] == [
        ("goodput", "no_worse"),
        ("latency_s", "no_worse"),
    ]
    assert storing.load_checks([], 1) == ()
    assert checks.no_worse("goodput").dimension == "latency"


def test_a_load_test_is_summarised_and_listed_as_any_run(store: Store, workload: Workload) -> None:
    run = keep(store, workload, two_arms(1.0))
    summary = run_summaries.summarise(run, store)
    assert summary.arms["a"].latency_s["p50"] == pytest.approx(0.2, rel=0.1)
    assert store.runs()[0].state == "finished"
    assert storing.load_of(run) == "100 requests/s constant, open loop"


def test_an_unknown_price_is_no_price(store: Store, workload: Workload) -> None:
    run = keep(store, workload, two_arms(1.0), price=None)
    assert {row.cost_usd for row in store.rows(run.id)} == {None}


def test_a_sweeps_step_is_another_load_with_other_draws(
    store: Store, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    made = loading.plan(
        {"a": Variant(model="openai/a"), "b": Variant(model="openai/b")},
        workload,
        schedules.constant(1, duration_s=10),
        store=store,
    )
    one, two = (loading.at_rate(made, "b", rate, 10.0) for rate in (4.0, 16.0))
    assert list(one.arms) == ["b"]
    assert one.load == "4 requests/s constant, open loop"
    assert one.workload.seed != two.workload.seed, "or a cache would know the second step's prompts"
    assert math.isclose(one.options.warm_up_s, 2.0)
