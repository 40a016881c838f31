from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ratchet import codec
from ratchet.errors import PlanError
from ratchet.reports import comparisons, drawing
from ratchet.reports.traits import Observed

from .samples import HOSTILE, evidence, verdict


def test_a_view_is_plain_json_and_draws_the_same_after_it_was_kept() -> None:
    view = comparisons.view(verdict(), evidence(), others=[verdict("ship").replace(candidate="c" * 32)])
    kept = codec.parse(codec.dumps(view))
    assert drawing.drawn(kept) == drawing.drawn(view)
    assert json.loads(json.dumps(view, allow_nan=False)) == kept


def test_a_view_without_evidence_has_the_answer_and_no_examples() -> None:
    view = comparisons.view(verdict())
    assert view["word"] == "Hold"
    assert (view["tally"], view["common"], view["counts"]) == (None, None, {})
    assert drawing.drawn(view)["forest"] == ""


def test_how_sure_the_answer_is_follows_the_outcome_and_the_risk_that_was_set() -> None:
    said = {
        outcome: str(comparisons.view(verdict(outcome))["sure"])
        for outcome in ("ship", "hold", "inconclusive", "invalid")
    }
    assert "at most 5 % of cases" in said["ship"]
    assert "95 % confidence" in said["hold"]
    assert "not decided" in said["inconclusive"]
    assert "not at all" in said["invalid"]
    strict = verdict("ship").replace(inputs={"alpha": 0.01})
    assert "at most 1 % of cases" in str(comparisons.view(strict)["sure"])


def test_what_texts_share_is_found_when_they_are_read() -> None:
    found = evidence(60)

    def observe(index: int) -> Observed:
        passed = [arm.columns["exact_match"].values[index] for arm in found.arms.values()]
        return Observed(input="refund" if passed[0] > passed[1] else "login", output="ok")

    view = comparisons.view(verdict(), found, observe=observe)
    texts = [finding["text"] for finding in view["common"]["findings"]]  # type: ignore[index, call-overload]
    assert "the input says “refund”" in texts
    assert comparisons.view(verdict(), found)["common"] != view["common"]


def test_hostile_names_stay_texts_in_charts() -> None:
    drawn = drawing.drawn(comparisons.view(verdict(text=HOSTILE), evidence(text=HOSTILE)))
    for chart in (drawn["forest"], drawn["tally_bar"], *(check["plot"] for check in drawn["checks"])):
        assert "<script" not in chart
        assert "<img" not in chart
        assert "\u202e" not in chart


def test_a_view_of_another_version_says_how_to_make_it_anew() -> None:
    view = {**comparisons.view(verdict()), "version": 99}
    with pytest.raises(PlanError, match="ratchet compare"):
        drawing.drawn(view)


def test_many_slices_are_shown_in_part_first_and_all_of_them_below() -> None:
    found = evidence(240)
    many = {"level": tuple(f"level {i % 10}" for i in range(240))}
    drawn = drawing.drawn(comparisons.view(verdict(), replace(found, slices=many)))
    assert drawn["forest"].count("<circle") == drawing.SHOWN_SLICES
    assert drawn["whole_forest"].count("<circle") == 11
