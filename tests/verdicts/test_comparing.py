from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ratchet
from ratchet import checks, verdicts
from ratchet.errors import PlanError
from ratchet.evidence import ArmData
from ratchet.scorers.text import exact_match
from ratchet.verdicts import flips, front
from verdicts.made import arm, evidence, passes


def right(row: dict[str, str]) -> str:
    return row["n"]


def wrong_on_every_third(row: dict[str, str]) -> str:
    return "?" if int(row["n"]) % 3 == 0 else row["n"]


def test_a_run_is_compared_by_the_checks_written_before_it(project: Path) -> None:
    rows = ({"id": f"q{i}", "input": {"n": str(i)}, "expected": str(i)} for i in range(120))
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = ratchet.Task(
        dataset=ratchet.Dataset.load(project / "rows.jsonl"),
        scorers=(exact_match,),
        checks=(checks.no_worse(exact_match, margin_pp=10),),
    )
    arms = {"right": ratchet.Variant(target=right), "wrong": ratchet.Variant(target=wrong_on_every_third)}
    run = ratchet.run(task, arms)
    verdict = ratchet.compare(run)
    assert (verdict.outcome, verdict.inputs["checks"]) == ("hold", "written")
    assert verdict.results[0].estimate == pytest.approx(-1 / 3)
    assert verdict.created_at > 0
    assert str(verdict).startswith("Hold: keep right; exact_match -33.3 points")
    assert ratchet.compare(run.id, baseline="wrong", candidate="right").outcome == "ship"


def test_flips_come_worst_first_and_leave_out_what_stayed() -> None:
    before, after = np.array([1.0, 0.2, 0.5, 0.9] * 10), np.array([0.0, 0.8, 0.5, 0.7] * 10)
    data = evidence(arm("old", {"score": before}), arm("new", {"score": after}))
    found = flips(data, checks.no_worse("score"), baseline="old", candidate="new", most=25)
    assert [round(flip.gain, 9) for flip in found] == [-1.0] * 10 + [-0.2] * 10 + [0.6] * 5
    assert (found[0].example_id, found[0].baseline_value, found[0].candidate_value) == ("e0", 1.0, 0.0)
    with pytest.raises(PlanError, match="no flips of scor"):
        flips(data, checks.no_worse("scor"), baseline="old", candidate="new")


def test_an_example_that_failed_flips_to_the_worst() -> None:
    failed = np.arange(40) == 7
    data = evidence(arm("old", {"exact": passes(40)}), arm("new", {"exact": passes(40)}, failed=failed))
    (flip,) = flips(data, checks.no_worse("exact"), baseline="old", candidate="new")
    assert (flip.example_id, flip.gain) == ("e7", -1.0)


def test_several_candidates_are_each_judged_against_the_baseline() -> None:
    arms = [
        arm(name, {"exact": passes(400, range(0, wrong))})
        for name, wrong in (("a", 40), ("b", 40), ("c", 200))
    ]
    found = verdicts.compare_all(
        evidence(*arms), baseline="a", checks=[checks.no_worse("exact", margin_pp=5)]
    )
    assert [(each.inputs["candidate"], each.outcome) for each in found] == [("b", "ship"), ("c", "hold")]
    ship, hold = found
    assert "2 candidates were tried against a: b ships among all of them too (Holm p = 0." in ship.reasons[-1]
    assert "each verdict holds its error rate for its own candidate alone" in hold.warnings[-1]
    assert ship.inputs["candidates"]["b"]["holm_p"] == pytest.approx(2 * ship.inputs["candidates"]["b"]["p"])
    assert ship.inputs["candidates"] == hold.inputs["candidates"]


def test_a_ship_that_is_the_luckiest_of_many_is_told_from_one_that_stands() -> None:
    better = checks.better("exact", measure="rate")
    base = arm("a", {"exact": passes(400, range(40))})
    others = [arm(f"same {i}", {"exact": passes(400, range(40))}) for i in range(4)]
    lucky = arm("lucky", {"exact": passes(400, range(9, 40))})
    some = arm("some", {"exact": passes(400, [*range(14, 40), *range(100, 106)])})
    clear, few, many = (
        verdicts.decide(evidence(base, *arms), baseline="a", candidate=arms[0].name, checks=[better])
        for arms in ([lucky, *others], [some], [some, *others])
    )
    assert [clear.outcome, few.outcome, many.outcome] == ["ship", "ship", "ship"]
    assert "lucky ships among all of them too" in clear.reasons[-1]
    assert not any("candidates were tried" in warning for warning in few.warnings)
    assert "5 candidates were tried against a: some ships by itself" in many.warnings[-1]
    assert "Confirm it on fresh examples" in many.warnings[-1]


def test_each_candidate_gets_the_same_words_alone_as_among_the_others() -> None:
    arms = [
        arm(name, {"exact": passes(400, range(wrong))}) for name, wrong in (("a", 40), ("b", 38), ("c", 42))
    ]
    data = evidence(*arms)
    rules = [checks.no_worse("exact", margin_pp=5)]
    for found in verdicts.compare_all(data, baseline="a", checks=rules):
        alone = verdicts.decide(data, baseline="a", candidate=found.inputs["candidate"], checks=rules)
        assert alone == found


def test_the_front_holds_the_arms_that_no_other_beats() -> None:
    def priced(name: str, wrong: int, cost: float) -> ArmData:
        return arm(name, {"exact": passes(100, range(wrong)), "cost_usd": np.full(100, cost)})

    data = evidence(
        priced("dear", 5, 0.9), priced("cheap", 20, 0.1), priced("poor", 30, 0.5), priced("same", 20, 0.1)
    )
    points = {point.arm: point for point in front(data, checks.no_worse("exact"))}
    assert {name for name, point in points.items() if point.front} == {"dear", "cheap", "same"}
    assert (points["dear"].quality, points["dear"].cost_usd, points["dear"].latency_s) == (
        pytest.approx(0.95), pytest.approx(0.9), None,
    )  # fmt: skip
