"""`decide`: evidence and checks become a Verdict; `compare` starts from a run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from ratchet import codec, stores
from ratchet.errors import PlanError
from ratchet.evidence import Evidence, from_runs
from ratchet.ports import Store
from ratchet.records import Check, CheckResult, Json, Run, Verdict
from ratchet.verdicts import sentences
from ratchet.verdicts.conditions import examine
from ratchet.verdicts.costing import costed
from ratchet.verdicts.decisions import Outcome, results_of
from ratchet.verdicts.defaults import default_checks, error_guard
from ratchet.verdicts.looks import Judged, judge
from ratchet.verdicts.pairs import Pair, arm_of, pair
from ratchet.verdicts.rivals import rivals_of
from ratchet.verdicts.slices import slices_of

ALPHA = 0.05


def decide(
    evidence: Evidence,
    *,
    baseline: str | None = None,
    candidate: str | None = None,
    checks: Sequence[Check] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Verdict:
    """The verdict on replacing one arm by another.

    Args:
        baseline, candidate: Names of arms; by default the evidence's own baseline and the only other arm.
        checks: The rules; by default those written before the run, else `default_checks`. A guard on the error rate
            is added where none of them is about errors.
        alpha: One-sided, a check: what a false "ship" costs at most.
        seed: Of what is resampled.

    Raises:
        PairingError: The arms share no example, or one holds an (id, repeat) twice.
        UnknownNameError, PlanError: No such arm, or it is not clear which.
    """
    return decide_among({}, evidence, baseline, candidate, checks, alpha=alpha, seed=seed)


def decide_among(
    known: dict[str, Judged],
    evidence: Evidence,
    baseline: str | None,
    candidate: str | None,
    checks: Sequence[Check] | None,
    *,
    alpha: float,
    seed: int,
) -> Verdict:
    """`decide` where several candidates are judged in turn; `known` keeps their results from one call to the next."""
    baseline, candidate = first, second = arms_of(evidence, baseline, candidate)
    chosen, how = _checks(evidence, checks)
    asked = _with_error_guard(chosen)

    def judged(name: str) -> Judged:
        if name not in known:
            known[name] = judge(evidence, first, name, asked, alpha=alpha, seed=seed)
        return known[name]

    found = judged(second)
    conditions, results = found.conditions, found.results
    rivals = rivals_of(evidence, baseline, candidate, judged, alpha=alpha)
    why = sentences.reasons(
        found.outcome, results, baseline=baseline, candidate=candidate, broken=conditions.broken
    )
    return Verdict(
        outcome=found.outcome,
        task_id=str(evidence.facts.get("task_id", "")),
        baseline=arm_of(evidence, baseline).variant_id or baseline,
        candidate=arm_of(evidence, candidate).variant_id or candidate,
        results=results,
        run_ids=tuple(map(str, evidence.facts.get("run_ids", ()))),
        reasons=(*why, *found.note(), *rivals.notes()),
        warnings=(*_about_checks(how), *conditions.warnings, *rivals.warnings()),
        inputs={
            **_inputs(evidence, found.pair, chosen, how, alpha, seed),
            **found.facts(),
            **rivals.facts(),
        },
        slices=slices_of(found.evidence, found.pair, chosen, alpha=alpha, seed=seed, look=found.look),
    )


def stopping_point(
    evidence: Evidence, *, baseline: str | None = None, alpha: float = ALPHA, seed: int = 0
) -> str:
    """What looks have decided about every candidate, as in "decided after 400 of 1,000 examples: ship"; "" if not all.

    Raises:
        PairingError: The arms share no complete example.
    """
    names = [name for name in evidence.arms if name != baseline]
    found: list[str] = []
    most = 0
    for name in names:
        first, second = arms_of(evidence, baseline, name)
        checks, _ = _checks(evidence, None)
        judged = judge(evidence, first, second, _with_error_guard(checks), alpha=alpha, seed=seed)
        if judged.look is None or judged.look.final or not (judged.number and judged.decided):
            return ""
        most = max(most, judged.look.n)
        what = "futility" if judged.ended == "futility" else judged.outcome
        found.append(f"{name} {what}" if len(names) > 1 else what)
    planned = cast("dict[str, Json]", evidence.facts["looks"])["planned"]
    return f"decided after {most:,} of {planned:,} examples: {', '.join(found)}"


def decide_aa(
    evidence: Evidence, *, baseline: str, candidate: str, alpha: float = ALPHA, seed: int = 0
) -> Verdict:
    """A noise check of two arms that hold one variant: "hold" where they are shown to differ, either way.

    Without a difference it is "inconclusive", which is what it should be: there is nothing to ship.
    """
    found = pair(evidence, baseline, candidate)
    one_way = tuple(
        check.replace(rule="no_worse", margin=None, role="guard")
        for check in (*default_checks(evidence), error_guard().replace(settings={}))
    )
    conditions = examine(evidence, found, one_way)
    other_way = tuple(check.replace(higher_is_better=not check.higher_is_better) for check in one_way)
    both = results_of(evidence, found, (*one_way, *other_way), alpha=alpha, seed=seed)
    results = tuple(_either(*sides) for sides in zip(both[: len(one_way)], both[len(one_way) :], strict=True))
    differing = [result for result in results if result.outcome == "failed"]
    if differing:
        answer = f"The two arms differ in {', '.join(sentences.title(r.check) for r in differing)}, though they should be one"
    else:
        answer = f"No difference between {baseline} and {candidate}, as it should be"
    outcome: Outcome = "invalid" if conditions.broken else "hold" if differing else "inconclusive"
    return Verdict(
        outcome=outcome,
        task_id=str(evidence.facts.get("task_id", "")),
        baseline=arm_of(evidence, baseline).variant_id or baseline,
        candidate=arm_of(evidence, candidate).variant_id or candidate,
        results=results,
        run_ids=tuple(map(str, evidence.facts.get("run_ids", ()))),
        reasons=conditions.broken or (f"A/A: {answer}",),
        warnings=conditions.warnings,
        inputs=_inputs(evidence, found, one_way, "a/a", alpha, seed),
    )


def _either(one: CheckResult, other: CheckResult) -> CheckResult:
    """One result of two directions: failed where either is."""
    if "failed" in (one.outcome, other.outcome):
        worse = one if one.outcome == "failed" else other
        return one.replace(outcome="failed", p=worse.p, needed_n=None)
    return one.replace(outcome="reported", needed_n=None)


def compare(
    run: Run | str | Mapping[str, tuple[str, str]],
    *,
    store: Store | str | Path | None = None,
    baseline: str | None = None,
    candidate: str | None = None,
    checks: Sequence[Check] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Verdict:
    """The verdict on a run, dated now: its baseline against its other arm. `print` it to read it.

    Args:
        run: A run, its id, or the arms of several runs: the name each shall have, with its (run id, arm's name).
        store: A store or its location; None: `RATCHET_STORE`, else `.ratchet/ratchet.db`.
    """
    alike = any(check.measure == "similarity" for check in checks or ())
    if store is None or isinstance(store, (str, Path)):
        opened = stores.open_store(
            store or os.environ.get("RATCHET_STORE") or Path(".ratchet") / "ratchet.db"
        )
        try:
            evidence = from_runs(opened, run, similarity=alike)
        finally:
            opened.close()
    else:
        evidence = from_runs(store, run, similarity=alike)
    verdict = decide(evidence, baseline=baseline, candidate=candidate, checks=checks, alpha=alpha, seed=seed)
    return costed(verdict, evidence).replace(created_at=time.time())


def arms_of(evidence: Evidence, baseline: str | None, candidate: str | None) -> tuple[str, str]:
    """The two arms to compare: those named, else the evidence's baseline and the only other arm.

    Raises:
        UnknownNameError: No such arm.
        PlanError: It isn't clear which two.
    """
    names = list(evidence.arms)
    for name in (baseline, candidate):
        if name is not None:
            arm_of(evidence, name)
    if baseline is None:
        written = evidence.facts.get("baseline")
        baseline = written if written in evidence.arms and written != candidate else None
    if baseline is None:
        baseline = next((name for name in names if name != candidate), None)
    others = [name for name in names if name != baseline]
    if baseline is None or not others:
        raise PlanError(f"a comparison needs two arms; there is {', '.join(names) or 'none'}")
    if candidate is None and len(others) > 1:
        raise PlanError(f"which candidate? there are {', '.join(others)} beside the baseline {baseline}")
    candidate = candidate or others[0]
    if candidate == baseline:
        raise PlanError(f"the baseline and the candidate are both {baseline!r}; name two arms")
    return baseline, candidate


def check_ids(checks: Sequence[Check]) -> tuple[str, ...]:
    """Content ids of the checks, sorted."""
    return tuple(sorted(codec.content_id(check) for check in checks))


def _with_error_guard(checks: Sequence[Check]) -> tuple[Check, ...]:
    written = any(check.metric == "error" for check in checks)
    return (*checks, *(() if written else (error_guard(),)))


def _checks(evidence: Evidence, given: Sequence[Check] | None) -> tuple[tuple[Check, ...], str]:
    """The checks to judge by, and where they come from."""
    if given is None:
        return (evidence.checks, "written") if evidence.checks else (default_checks(evidence), "default")
    chosen = tuple(given)
    if evidence.checks and check_ids(chosen) == check_ids(evidence.checks):
        return chosen, "written"
    return chosen, "post hoc" if evidence.facts.get("source") == "runs" else "given"


def _about_checks(how: str) -> tuple[str, ...]:
    if how == "default":
        return (
            "The task has no checks; these are defaults by dimension. Write your own before the next run.",
        )
    if how == "post hoc":
        return (
            "These checks are not those written before the run: post hoc, the stated error rate does not hold.",
        )
    return ()


def _inputs(
    evidence: Evidence, found: Pair, checks: Sequence[Check], how: str, alpha: float, seed: int
) -> dict[str, Json]:
    facts = {
        key: value
        for key, value in evidence.facts.items()
        if key not in ("task_id", "run_ids") and value is not None
    }
    return {
        **codec.plain(facts),
        "baseline": found.baseline.name,
        "candidate": found.candidate.name,
        "checks": how,
        "check_ids": list(check_ids(checks)),
        "alpha": alpha,
        "seed": seed,
        "examples": found.examples,
        "rows": [len(found.before), len(found.after)],
        "grouped": evidence.grouped,
    }
