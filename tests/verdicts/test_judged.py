"""A verdict on a judge's scores: people's labels decide how far it is believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from judged import Judged, fill, judged_run
from ratchet import calibrations, evidence, sheets, verdicts
from ratchet.checks import at_least, no_worse
from ratchet.evidence import Evidence, from_runs
from ratchet.ports import Store
from ratchet.records import Check, CheckResult, Failure, Score, Verdict
from ratchet.stores import open_store

CHECK = no_worse("judge", margin_pp=10, measure="rate")


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def judged(store: Store, project: Path) -> Iterator[Judged]:
    with judged_run(store, project, count=90, right=(0.8, 0.8)) as found:
        yield found


def label(judged: Judged, store: Store, *, n: int = 40, by: str = "ada", error: float = 0.0) -> None:
    sheet = Path(f"labels-{by}-{n}.csv")
    _, sample = sheets.draw(judged.run, store, "judge", n=n, seed=4)
    sheets.write(sheet, sample, judged.run, store)
    fill(sheet, judged.person(error, seed=1))
    sheets.bring_in(sheet, store, by=by)


def decided(found: Evidence, *checks: Check) -> tuple[CheckResult, Verdict]:
    verdict = verdicts.decide(found, baseline="champion", candidate="challenger", checks=checks or (CHECK,))
    return verdict.results[0], verdict


def test_labels_turn_the_interval_into_that_of_people(judged: Judged, store: Store) -> None:
    raw, before = decided(from_runs(store, judged.run))
    assert any("uncalibrated here" in w and "ratchet judge calibrate sample" in w for w in before.warnings)
    assert raw.method == "Tango score interval"
    label(judged, store)
    result, after = decided(from_runs(store, judged.run))
    assert result.method.startswith("PPI++ (lambda")
    assert "the judge's own difference is" in result.reason
    assert not any("uncalibrated" in w for w in after.warnings)
    assert result.low is not None
    assert result.high is not None
    assert raw.low is not None
    assert raw.high is not None
    assert result.high - result.low > raw.high - raw.low, "the judge's error is in it"


def test_a_judge_that_favours_an_arm_is_corrected(judged: Judged, store: Store) -> None:
    run = judged.run
    outputs = {t.id: t.output for t in store.traces(run.id) if t.arm}
    newest = 1 + max(s.created_at for s in store.scores(run.id))
    store.write(
        [
            s.replace(value=row.arm == "challenger" or judged.truth[outputs[row.id]], created_at=newest)
            for row in list(store.rows(run.id))
            if row.arm
            for s in list(store.scores(trace_id=row.id))
        ]
    )
    raw, _ = decided(from_runs(store, run))
    label(judged, store)
    result, _ = decided(from_runs(store, run))
    truth = np.mean([judged.truth[outputs[t]] for t in outputs if _arm(store, t) == "challenger"])
    truth -= np.mean([judged.truth[outputs[t]] for t in outputs if _arm(store, t) == "champion"])
    assert raw.low is not None
    assert result.low is not None
    assert result.high is not None
    assert raw.low > truth + 0.05
    assert result.low < truth < result.high


def _arm(store: Store, trace_id: str) -> str | None:
    trace = store.trace(trace_id)
    return trace.arm if trace else None


def test_few_labels_stand_alone_and_say_so(judged: Judged, store: Store) -> None:
    label(judged, store, n=12)
    result, verdict = decided(from_runs(store, judged.run))
    assert "people's labels only" in result.method
    assert result.n == 12
    assert result.outcome != "passed"
    assert any("is uncalibrated: people labelled 12 examples, at least 30" in w for w in verdict.warnings)


def test_several_people_are_averaged(judged: Judged, store: Store) -> None:
    label(judged, store)
    label(judged, store, by="ben", error=0.3)
    column = from_runs(store, judged.run).arms["champion"].columns["human:judge"]
    assert set(column.values[~np.isnan(column.values)].tolist()) == {0.0, 0.5, 1.0}
    assert int((~np.isnan(column.values)).sum()) == 40


def test_a_limit_is_held_against_people_too(judged: Judged, store: Store) -> None:
    label(judged, store)
    result, _ = decided(from_runs(store, judged.run), at_least("judge", limit=0.6))
    assert result.method.startswith("PPI++")


def test_a_failed_answer_is_a_fail_for_judge_and_people(judged: Judged, store: Store) -> None:
    label(judged, store)
    run = judged.run
    human = [s for s in store.scores(run.id, name="judge") if s.source == "human"]
    lost = [t for s in human if (t := store.trace(s.trace_id)) and t.arm == "challenger"][:2]
    broken = [t.replace(id=f"{i:032x}", output=None, answer=None, error=Failure(kind="server", message="x")) for i, t in enumerate(lost)]  # fmt: skip
    store.write(broken)
    store.write(Score(trace_id=t.id, name="judge", value=None, reason="no answer", source="judge", by=run_by(store, run.id)) for t in broken)  # fmt: skip
    result, _ = decided(from_runs(store, run))
    assert result.n == 40
    assert result.method.startswith("PPI++")


def run_by(store: Store, run_id: str) -> str:
    return next(s.by for s in store.scores(run_id) if s.source == "judge")


def test_a_relative_margin_is_not_corrected_and_that_is_told(judged: Judged, store: Store) -> None:
    label(judged, store)
    result, verdict = decided(from_runs(store, judged.run), no_worse("judge", ratio=0.9))
    assert "PPI" not in result.method
    assert any("is not in the interval of judge" in warning for warning in verdict.warnings)


def test_people_are_no_metric_of_their_own(judged: Judged, store: Store) -> None:
    label(judged, store)
    verdict = verdicts.decide(from_runs(store, judged.run), baseline="champion", candidate="challenger")
    assert {result.check.metric for result in verdict.results} == {"judge", "error", "latency_s"} & {
        result.check.metric for result in verdict.results
    }
    assert any(result.method.startswith("PPI++") for result in verdict.results)


def test_the_evidence_file_gives_the_same_verdict(judged: Judged, store: Store, project: Path) -> None:
    label(judged, store)
    calibrations.keep(store, calibrations.calibrate(judged.run, store, "judge"))
    found = from_runs(store, judged.run)
    assert found.facts["calibrations"] == {"judge": "fresh"}
    evidence.write(found, None, project / "evidence.json")
    first, again = decided(found)[0], decided(evidence.read(project / "evidence.json")[0])[0]
    assert (first.low, first.high, first.method) == (again.low, again.high, again.method)
