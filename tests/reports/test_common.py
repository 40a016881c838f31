from __future__ import annotations

import numpy as np
import pytest

from ratchet.reports import common, traits, views
from ratchet.reports.common import Trait, in_common
from ratchet.reports.traits import Observed

from .samples import evidence

N = 200
CALLED = views.Names(baseline="champion", candidate="challenger")


def gains(worse: np.ndarray) -> np.ndarray:
    return np.where(worse, -1.0, 0.0)


def test_a_property_of_the_regressions_is_found_with_its_counts() -> None:
    hard = np.arange(N) < 40
    worse = np.isin(np.arange(N), [*range(25), 100, 101])
    found = in_common(
        gains(worse),
        [Trait(kind="slice", text="level: hard", where=hard, slice=("level", "hard"))],
        rate=True,
    )
    (finding,) = found.findings
    assert (finding.worst, finding.others, finding.slice) == (25, 15, ("level", "hard"))
    assert common.describe(finding, found) == "25 of 27 (93 %), elsewhere 15 of 173 (9 %)"
    assert common.sentence(found) == "Among the 27 regressions, more often than among the other 173 examples:"


def test_random_properties_are_not_claimed() -> None:
    rng = np.random.default_rng(2)
    claims = 0
    for _ in range(40):
        worse = rng.random(N) < 0.15
        tried = [Trait(kind="word", text=str(k), where=rng.random(N) < 0.3) for k in range(60)]
        found = in_common(gains(worse), tried, rate=True)
        claims += bool(found.findings)
        if not found.findings:
            assert "Nothing stands out" in common.sentence(found)
    assert claims <= 6  # 5 % of 40 are expected


def test_what_is_less_frequent_among_them_is_not_claimed() -> None:
    easy = np.arange(N) >= 50
    worse = np.arange(N) < 40
    assert in_common(gains(worse), [Trait(kind="slice", text="easy", where=easy)], rate=True).findings == ()


def test_two_names_of_one_thing_are_shown_once_and_ways_of_failing_leave_room_for_places() -> None:
    rng = np.random.default_rng(3)
    worse = np.arange(N) < 40
    tried = [
        Trait(kind=kind, text=f"{kind} {k}", where=worse & (rng.random(N) < 0.6))
        for kind in ("reason", "word")
        for k in range(6)
    ]
    tried.append(Trait(kind="word", text="the same again", where=tried[-1].where))
    shown = [finding.kind for finding in in_common(gains(worse), tried, rate=True).findings]
    assert shown == ["reason", "reason", "word", "word", "word"]
    texts = {finding.text for finding in in_common(gains(worse), tried, rate=True).findings}
    assert not {"word 5", "the same again"} <= texts


def test_few_regressions_and_none_are_said_as_such() -> None:
    everywhere = [Trait(kind="word", text="x", where=np.arange(N) < 3)]
    assert common.sentence(in_common(gains(np.arange(N) < 3), everywhere, rate=True)).endswith(
        "too few to tell what they have in common."
    )
    assert common.sentence(in_common(np.zeros(N), everywhere, rate=True)) == "No example got worse."
    assert common.note(in_common(np.zeros(N), everywhere, rate=True)) == ""


def test_of_a_graded_score_the_worst_quarter_is_looked_at_and_lost_answers_are_among_it() -> None:
    gain = np.concatenate([[-np.inf, -np.inf], -np.arange(1, 101) / 100, np.zeros(50), [np.nan]])
    worst = common.worst_of(gain, rate=False)
    assert worst.sum() == 25
    assert worst[:2].all()
    found = in_common(gain, [], rate=False)
    assert (found.worst, found.worse, found.others) == (25, 102, 127)


def test_groups_that_fail_as_a_whole_are_one_observation() -> None:
    groups = np.repeat(np.arange(20), 10)
    worse = groups == 3
    only = [Trait(kind="slice", text="customer: 3", where=groups == 3)]
    assert in_common(gains(worse), only, rate=True).findings
    assert in_common(gains(worse), only, rate=True, groups=groups).findings == ()


def test_texts_become_words_reasons_errors_and_length() -> None:
    def observe(index: int) -> Observed | None:
        refund = index % 2 == 0
        return None if index == 59 else Observed(
            input=("Refund " if refund else "Login ") + "please" + " more" * (index // 4),
            output="Sorry!" if refund else "Done",
            errors=("timeout",) if index < 8 else (),
            reasons=(("judge", "too   long"),) if index < 10 else (),
        )  # fmt: skip

    found = {trait.text: trait for trait in traits.of_texts(observe, range(60), 60, CALLED)}
    assert found["the input says “refund”"].where.sum() == 30
    assert found["challenger says “sorry”"].where.sum() == 30
    assert found["challenger: timeout"].where.sum() == 8
    assert found["judge said “too long”"].where.sum() == 10
    assert "the input says “please”" not in found  # nearly everywhere
    assert any("the input is long" in text for text in found)


def test_evidence_gives_slices_and_failures() -> None:
    found = {trait.text: trait for trait in traits.of_evidence(evidence(60), CALLED)}
    assert found["topic: billing"].where.sum() == 20
    assert found["challenger failed"].where.sum() == 1


@pytest.mark.parametrize(("n", "bad"), [(100, 30), (30_000, 12_000)])
def test_of_too_many_examples_the_worst_and_a_random_part_are_read(n: int, bad: int) -> None:
    worst = np.arange(n) < bad
    chosen = np.array(traits.to_read(worst, np.ones(n, np.bool_), most=2_000))
    assert len(chosen) == len(set(chosen.tolist())) == min(n, 2_000)
    assert worst[chosen].sum() == min(bad, 1_000)
