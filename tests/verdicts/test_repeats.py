"""Checks on how alike repeated answers are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ratchet import checks, datasets, evidence, runs, verdicts
from ratchet.checks import at_least, no_worse
from ratchet.evidence import Evidence
from ratchet.measures import similarity_by_example
from ratchet.records import Task, Variant
from ratchet.stores import open_store
from ratchet.verdicts import decide
from verdicts.made import arm, evidence as made, passes

LIKE = no_worse("stability", measure="similarity", margin_pp=5)
SAID = {"n": 0}


def answered(old: tuple[str | None, ...], new: tuple[str | None, ...], n: int = 40) -> Evidence:
    def one(name: str, answers: tuple[str | None, ...]) -> object:
        return arm(name, {"ok": passes(n * len(answers))}, repeats=len(answers), answers=answers * n)

    return made(one("old", old), one("new", new))  # type: ignore[arg-type]


def test_similarity_is_the_mean_likeness_of_pairs_of_answers() -> None:
    found = decide(answered(("a red car", "a red car"), ("a red car", "a red cat")), checks=[LIKE]).results[0]
    assert (found.baseline_value, found.unit) == (1.0, "share")
    assert found.candidate_value == pytest.approx(
        similarity_by_example({"x": ["a red car", "a red cat"]})["x"]
    )
    assert found.outcome == "failed"


def test_a_repeat_without_an_answer_is_like_nothing() -> None:
    found = decide(answered(("yes", "yes", "yes"), ("yes", "yes", None)), checks=[LIKE]).results[0]
    assert found.candidate_value == pytest.approx(1 / 3)


def test_a_limit_on_similarity_looks_at_the_candidate_alone() -> None:
    limit = at_least("stability", measure="similarity", limit=0.9)
    found = decide(answered(("a", "b"), ("same", "same")), checks=[limit]).results[0]
    assert found.outcome == "passed"


@pytest.mark.parametrize(
    ("data", "check", "says"),
    [
        (answered(("a",), ("a",)), LIKE, "needs repeats"),
        (answered(("a", "a"), ("a", "a")), no_worse("ok", measure="similarity"), "is of the answers, not of ok"),
        (answered(("a", "a"), ("a", "sha256:" + "0" * 32)), LIKE, "were kept as hashes"),
    ],
)  # fmt: skip
def test_what_similarity_can_not_be_taken_of_says_why(data: Evidence, check: checks.Check, says: str) -> None:
    found = decide(data, checks=[check]).results[0]
    assert found.outcome == "invalid"
    assert says in found.reason


def steady(row: Mapping[str, str]) -> str:
    return row["x"] * 40


def wandering(row: Mapping[str, str]) -> str:
    SAID["n"] += 1
    return row["x"] * 40 + hashlib.sha256(str(SAID["n"]).encode()).hexdigest()


def test_long_answers_of_a_run_are_compared_whole_and_the_evidence_file_agrees(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"input": {"x": f"{i:02d}"}}) + "\n" for i in range(90)))
    task = Task(dataset=datasets.load(path), checks=(LIKE,), repeats=3)
    with open_store(tmp_path / "runs.db") as store:
        run = runs.run(task, {"old": Variant(target=steady), "new": Variant(target=wandering)}, store=store)
        verdict = verdicts.compare(run, store=store)
        found = evidence.from_runs(store, run)
    assert verdict.outcome == "hold"
    result = verdict.results[0]
    assert result.baseline_value == 1.0
    assert result.candidate_value is not None
    assert 0.6 < result.candidate_value < 1.0
    assert not np.isnan(found.arms["new"].columns[evidence.SIMILARITY].values).any()
    evidence.write(found, verdict, tmp_path / "evidence.json")
    assert verdicts.verify(tmp_path / "evidence.json").same
