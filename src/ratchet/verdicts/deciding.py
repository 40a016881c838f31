"""`decide`: evidence and checks become a Verdict; `compare` starts from a run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ratchet import codec, stores
from ratchet.errors import PlanError
from ratchet.evidence import Evidence, from_runs
from ratchet.ports import Store
from ratchet.records import Check, CheckResult, Json, Run, Verdict
from ratchet.verdicts import sentences
from ratchet.verdicts.conditions import examine
from ratchet.verdicts.decisions import Outcome, outcome_of, results_of
from ratchet.verdicts.defaults import default_checks, error_guard
from ratchet.verdicts.pairs import Pair, arm_of, pair
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
    baseline, candidate = arms_of(evidence, baseline, candidate)
    chosen, how = _checks(evidence, checks)
    asked = (*chosen, *(() if any(check.metric == "error" for check in chosen) else (error_guard(),)))
    found = pair(evidence, baseline, candidate)
    conditions = examine(evidence, found, asked)
    results = results_of(evidence, found, asked, alpha=alpha, seed=seed)
    outcome: Outcome = "invalid" if conditions.broken else outcome_of(results)
    return Verdict(
        outcome=outcome,
        task_id=str(evidence.facts.get("task_id", "")),
        baseline=arm_of(evidence, baseline).variant_id or baseline,
        candidate=arm_of(evidence, candidate).variant_id or candidate,
        results=results,
        run_ids=tuple(map(str, evidence.facts.get("run_ids", ()))),
        reasons=sentences.reasons(
            outcome, results, baseline=baseline, candidate=candidate, broken=conditions.broken
        ),
        warnings=(*_about_checks(how), *conditions.warnings, *_about_candidates(evidence, baseline, alpha)),
        inputs=_inputs(evidence, found, chosen, how, alpha, seed),
        slices=slices_of(evidence, found, chosen, alpha=alpha, seed=seed),
    )


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
    if store is None or isinstance(store, (str, Path)):
        opened = stores.open_store(
            store or os.environ.get("RATCHET_STORE") or Path(".ratchet") / "ratchet.db"
        )
        try:
            evidence = from_runs(opened, run)
        finally:
            opened.close()
    else:
        evidence = from_runs(store, run)
    verdict = decide(evidence, baseline=baseline, candidate=candidate, checks=checks, alpha=alpha, seed=seed)
    return verdict.replace(created_at=time.time())


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


def _about_candidates(evidence: Evidence, baseline: str, alpha: float) -> tuple[str, ...]:
    """The more candidates are tried, the likelier one of them ships by luck."""
    tried = len(evidence.arms) - 1
    if tried < 2:
        return ()
    return (
        f"{tried} candidates were tried against {baseline}: the chance that one of them ships by luck is up to "
        f"{1.0 - (1.0 - alpha) ** tried:.0%}. Confirm the chosen one on fresh examples.",
    )


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
