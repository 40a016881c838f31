from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ratchet.checks import at_least, at_most, better, no_worse
from ratchet.errors import PairingError, PlanError, UnknownNameError
from ratchet.records import Check, CheckResult, Verdict
from ratchet.stats.binary import tango_interval
from ratchet.stats.ratios import ratio_of_means
from ratchet.verdicts import decide, decide_aa
from verdicts.made import Array, arm, column, evidence, passes

RNG = np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = np.random.default_rng(7).bit_generator.state


COSTS = RNG.lognormal(-5, 0.4, 600)
TIMES = RNG.lognormal(0, 0.4, 600)


def pair(n: int = 600, *, right: Array | None = None, wrong: int = 0, cost: float = 1.0, time: float = 1.0):
    base = passes(n, range(0, n, 10))
    after = base.copy() if right is None else right
    after[:0] = 0
    flipped = after.copy()
    flipped[np.flatnonzero(after)[:wrong]] = 0.0
    return evidence(
        arm("old", {"exact": base, "cost_usd": COSTS[:n], "latency_s": TIMES[:n]}),
        arm("new", {"exact": flipped, "cost_usd": COSTS[:n] * cost, "latency_s": TIMES[:n] * time}),
    )


def result(verdict: Verdict, metric: str) -> CheckResult:
    return next(found for found in verdict.results if found.check.metric == metric)


def test_a_cheaper_arm_that_answers_alike_ships() -> None:
    verdict = decide(pair(cost=0.5), checks=[no_worse("exact", margin_pp=2), better("cost_usd", ratio=0.7)])
    assert verdict.outcome == "ship"
    assert [found.outcome for found in verdict.results] == ["passed", "passed", "passed"]
    assert "new may replace old" in verdict.reasons[0]


def test_an_arm_that_is_shown_worse_is_held_whatever_it_saves() -> None:
    verdict = decide(
        pair(cost=0.01, wrong=80), checks=[no_worse("exact", margin_pp=2), better("cost_usd", ratio=0.7)]
    )
    assert verdict.outcome == "hold"
    assert result(verdict, "exact").outcome == "failed"
    assert result(verdict, "cost_usd").outcome == "passed"
    assert verdict.reasons[0].startswith("keep old")


def test_too_little_to_tell_is_inconclusive_and_says_how_many_examples_would_do() -> None:
    verdict = decide(pair(200, wrong=5), checks=[no_worse("exact", margin_pp=3)])
    found = result(verdict, "exact")
    assert (verdict.outcome, found.outcome) == ("inconclusive", "open")
    assert found.needed_n is not None
    assert found.needed_n > 200
    assert f"{found.needed_n:,} examples would decide it" in verdict.reasons[0]


def test_the_interval_is_tangos_at_two_sided_90_percent_of_candidate_minus_baseline() -> None:
    found = result(decide(pair(wrong=20), checks=[no_worse("exact", margin_pp=2)]), "exact")
    wanted = tango_interval(20, 0, 600, level=0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (wanted.estimate, wanted.low, wanted.high)
    )
    assert found.level == pytest.approx(0.9)
    assert (found.baseline_value, found.candidate_value) == pytest.approx((0.9, 0.9 - 20 / 600))


def test_a_relative_change_is_the_ratio_of_means_less_one() -> None:
    data = pair(cost=0.8)
    found = result(decide(data, checks=[better("cost_usd", ratio=0.9)]), "cost_usd")
    wanted = ratio_of_means(COSTS, COSTS * 0.8, level=0.9)
    assert found.estimate == pytest.approx(wanted.estimate - 1)
    assert found.outcome == "passed"
    assert found.unit == "usd"


def test_not_worse_is_never_taken_from_not_significant() -> None:
    verdict = decide(pair(100), checks=[no_worse("exact", margin_pp=2)])
    assert result(verdict, "exact").outcome == "open"


@pytest.mark.parametrize(
    ("n", "outcome"), [(19, "inconclusive"), (400, "ship")], ids=["too few for a ship", "enough"]
)
def test_fewer_than_20_examples_never_ship(n: int, outcome: str) -> None:
    data = evidence(
        arm("old", {"score": np.zeros(n) + 0.01 * np.arange(n) / n}), arm("new", {"score": np.ones(n)})
    )
    assert decide(data, checks=[better("score")]).outcome == outcome


def test_fewer_than_20_examples_may_still_be_held() -> None:
    n = 19
    data = evidence(
        arm("old", {"score": np.ones(n) - 0.01 * np.arange(n)}), arm("new", {"score": np.zeros(n)})
    )
    assert decide(data, checks=[no_worse("score", margin=0.1)]).outcome == "hold"


def test_groups_come_from_the_data_and_widen_the_interval() -> None:
    before = np.ones(600)
    after = np.repeat(RNG.random(40) > 0.1, 15).astype(float)
    arms = arm("old", {"exact": before}), arm("new", {"exact": after})
    alone = result(decide(evidence(*arms), checks=[no_worse("exact", margin_pp=2)]), "exact")
    grouped = result(
        decide(evidence(*arms, groups=np.arange(600) // 15), checks=[no_worse("exact", margin_pp=2)]), "exact"
    )
    assert grouped.n_groups == 40
    assert _width(grouped) > 2 * _width(alone)


def test_nine_groups_never_ship() -> None:
    arms = arm("old", {"score": np.zeros(450)}), arm("new", {"score": np.ones(450) + RNG.random(450)})
    verdict = decide(evidence(*arms, groups=np.arange(450) // 50), checks=[better("score")])
    assert (verdict.outcome, result(verdict, "score").outcome) == ("inconclusive", "open")
    assert "groups are too few" in result(verdict, "score").reason


def test_repeats_are_no_new_examples() -> None:
    once = passes(200, range(0, 200, 9)), passes(200, range(0, 200, 7))
    single = evidence(arm("old", {"exact": once[0]}), arm("new", {"exact": once[1]}))
    tenfold = evidence(
        arm("old", {"exact": np.repeat(once[0], 10)}, repeats=10),
        arm("new", {"exact": np.repeat(once[1], 10)}, repeats=10),
    )
    checks = [no_worse("exact", margin_pp=2)]
    first, second = (
        result(decide(single, checks=checks), "exact"),
        result(decide(tenfold, checks=checks), "exact"),
    )
    assert second.n == 200
    assert _width(second) == pytest.approx(_width(first))


def test_a_failed_answer_is_a_fail_of_a_rate_and_counts_in_the_error_guard() -> None:
    failed = np.zeros(600, bool)
    failed[:60] = True
    data = evidence(arm("old", {"exact": passes(600)}), arm("new", {"exact": passes(600)}, failed=failed))
    verdict = decide(data, checks=[no_worse("exact", margin_pp=2)])
    assert verdict.outcome == "hold"
    assert result(verdict, "exact").candidate_value == pytest.approx(0.9)
    assert result(verdict, "error").outcome == "failed"


@pytest.mark.parametrize("flag", ["refused", "unparsable"])
def test_a_refused_or_unparsable_answer_is_a_fail_unless_its_score_is_asked_to_stand(flag: str) -> None:
    marked = np.zeros(600, bool)
    marked[:60] = True
    new = replace(arm("new", {"exact": passes(600)}), **{flag: marked})
    data = evidence(arm("old", {"exact": passes(600)}), new)
    strict = decide(data, checks=[no_worse("exact", margin_pp=2)])
    lenient = decide(data, checks=[no_worse("exact", margin_pp=2, **{flag: "as_scored"})])
    assert result(strict, "exact").candidate_value == pytest.approx(0.9)
    assert result(lenient, "exact").candidate_value == 1.0


def test_a_refusal_may_be_right_where_security_is_judged() -> None:
    marked = np.ones(600, bool)
    safe = column("safe", passes(600), dimension="security")
    data = evidence(arm("old", {"safe": safe}), replace(arm("new", {"safe": safe}), refused=marked))
    verdict = decide(data, checks=[no_worse("safe", margin_pp=2, dimension="security")])
    assert result(verdict, "safe").outcome == "passed"


def test_answers_that_a_scorer_gave_up_on_are_not_dropped_silently() -> None:
    gone = np.where(np.arange(600) < 60, np.nan, 1.0)
    data = evidence(arm("old", {"exact": passes(600)}), arm("new", {"exact": column("exact", gone)}))
    verdict = decide(data, checks=[no_worse("exact", margin_pp=2)])
    assert verdict.outcome == "invalid"
    assert "60 of 600 answers of new have no exact" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("errors", "outcome"), [("fail", "invalid"), ("exclude", "passed"), ("invalid", "invalid")]
)
def test_means_of_cost_over_errors_are_void_unless_leaving_them_out_is_asked_for(
    errors: str, outcome: str
) -> None:
    failed = np.arange(600) % 20 == 0
    data = evidence(arm("old", {"cost_usd": COSTS}), arm("new", {"cost_usd": COSTS * 0.5}, failed=failed))
    found = result(decide(data, checks=[better("cost_usd", ratio=0.7, errors=errors)]), "cost_usd")
    assert found.outcome == outcome
    assert "30" in found.reason


@pytest.mark.parametrize("p", [50, 95])
def test_failing_a_third_of_the_calls_is_never_faster(p: int) -> None:
    failed = np.arange(600) % 3 == 0
    data = evidence(arm("old", {"latency_s": TIMES}), arm("new", {"latency_s": TIMES * 0.2}, failed=failed))
    verdict = decide(data, checks=[better("latency_s", p=p)])
    assert verdict.outcome == "hold"
    assert result(verdict, "latency_s").outcome != "passed"
    assert decide(data, checks=[better("latency_s")]).outcome == "hold"


def test_times_of_arms_that_did_not_run_interleaved_are_only_reported() -> None:
    data = pair(time=0.5)
    apart = replace(data, facts={**data.facts, "interleaved": False})
    guards = decide(apart, checks=[no_worse("latency_s", p=95, ratio=1.1), no_worse("exact", margin_pp=2)])
    assert result(guards, "latency_s").outcome == "reported"
    assert any("interleaved" in warning for warning in guards.warnings)
    wins = decide(apart, checks=[better("latency_s", p=95)])
    assert (wins.outcome, result(wins, "latency_s").outcome) == ("inconclusive", "open")
    limit = decide(apart, checks=[at_most("latency_s", p=95, limit=100)])
    assert result(limit, "latency_s").outcome == "passed"


def test_a_cached_answer_has_no_time() -> None:
    data = pair()
    cached = np.arange(600) < 400
    data = replace(data, arms={**data.arms, "new": replace(data.arms["new"], cached=cached)})
    verdict = decide(data, checks=[no_worse("latency_s", p=50, ratio=1.1)])
    assert result(verdict, "latency_s").n == 200
    assert "400 answers of new came from the cache" in result(verdict, "latency_s").reason
    assert any("their times differ in kind" in warning for warning in verdict.warnings)


def test_nothing_seen_in_100_is_not_never() -> None:
    leaks = column("leaks", np.zeros(100), dimension="security", higher_is_better=False)
    data = evidence(arm("old", {"leaks": leaks}), arm("new", {"leaks": leaks}))
    found = result(decide(data, checks=[at_most("leaks", limit=0.02)]), "leaks")
    assert found.outcome == "open"
    assert found.high == pytest.approx(0.0295, abs=1e-4)
    assert result(decide(data, checks=[at_most("leaks", limit=0.03)]), "leaks").outcome == "passed"


@pytest.mark.parametrize(("limit", "outcome"), [(0.5, "passed"), (0.9, "open"), (0.99, "failed")])
def test_a_limit_is_held_against_the_candidates_own_interval(limit: float, outcome: str) -> None:
    found = result(decide(pair(), checks=[at_least("exact", limit=limit)]), "exact")
    assert (found.outcome, found.estimate) == (outcome, pytest.approx(0.9))


def test_a_limit_asks_nothing_of_the_baseline() -> None:
    data = evidence(
        arm("old", {"exact": passes(600)}), arm("new", {"exact": passes(600), "latency_s": TIMES})
    )
    found = result(decide(data, checks=[at_most("latency_s", p=95, limit=100)]), "latency_s")
    assert (found.outcome, found.baseline_value) == ("passed", None)


def test_the_added_error_guard_asks_no_more_than_error_free_answers_can_show() -> None:
    small = decide(pair(100), checks=[no_worse("exact", margin_pp=10)])
    guard = result(small, "error")
    assert (small.outcome, guard.outcome) == ("ship", "passed")
    assert guard.check.margin == pytest.approx(0.0295, abs=1e-4)
    assert guard.check.settings["margin_asked"] == 0.01
    one = np.arange(100) == 3
    data = evidence(arm("old", {"exact": passes(100)}), arm("new", {"exact": passes(100)}, failed=one))
    assert result(decide(data, checks=[no_worse("exact", margin_pp=10)]), "error").outcome == "open"


def test_a_written_error_check_replaces_the_added_one() -> None:
    verdict = decide(pair(), checks=[no_worse("error", margin_pp=3), no_worse("exact", margin_pp=2)])
    assert [found.check.margin for found in verdict.results if found.check.metric == "error"] == [0.03]


def test_what_is_shown_worse_is_corrected_for_the_number_of_checks() -> None:
    n = 400
    shifts = np.array([0.11] + [0.0] * 9)
    noise = RNG.normal(size=(10, n))
    noise = (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, keepdims=True)
    before = {f"s{i}": np.zeros(n) for i in range(10)}
    after = {f"s{i}": noise[i] - shifts[i] for i in range(10)}
    data = evidence(arm("old", before), arm("new", after))
    alone = decide(data, checks=[no_worse("s0")])
    among = decide(data, checks=[no_worse(f"s{i}") for i in range(10)])
    assert (alone.outcome, result(alone, "s0").outcome) == ("hold", "failed")
    assert (among.outcome, result(among, "s0").outcome) == ("inconclusive", "open")
    assert "Holm" in result(among, "s0").reason


def test_any_one_of_several_primaries_may_win_but_only_after_correction() -> None:
    data = pair(cost=0.5, time=1.0)
    both = [better("cost_usd", ratio=0.9), better("latency_s", p=50, ratio=0.9)]
    assert decide(data, checks=both).outcome == "hold"
    any_of = [check.replace(settings={"primary": "any"}) for check in both]
    assert decide(data, checks=any_of).outcome == "ship"


def test_a_check_of_an_unknown_score_is_invalid_and_names_the_known_ones() -> None:
    verdict = decide(pair(), checks=[no_worse("exakt", margin_pp=2)])
    assert verdict.outcome == "invalid"
    assert "Did you mean 'exact'?" in verdict.reasons[0]


def test_reports_decide_nothing() -> None:
    verdict = decide(
        pair(wrong=100),
        checks=[no_worse("exact", margin_pp=2, role="report"), better("cost_usd", role="report")],
    )
    assert verdict.outcome == "inconclusive"
    assert "nothing but the error rate" in verdict.reasons[0]


def test_a_task_without_checks_gets_some_by_dimension_and_says_so() -> None:
    verdict = decide(pair(wrong=100))
    roles = {found.check.metric: found.check.role for found in verdict.results}
    assert roles == {"exact": "guard", "cost_usd": "report", "latency_s": "report", "error": "guard"}
    assert verdict.outcome == "hold"
    assert any("defaults" in warning for warning in verdict.warnings)
    assert verdict.inputs["checks"] == "default"


def test_other_checks_than_those_written_before_the_run_are_post_hoc() -> None:
    written = no_worse("exact", margin_pp=2)
    data = replace(pair(), checks=(written,))
    assert decide(data).inputs["checks"] == "written"
    assert decide(data, checks=[written]).inputs["checks"] == "written"
    wider = decide(data, checks=[no_worse("exact", margin_pp=9)])
    assert wider.inputs["checks"] == "post hoc"
    assert any("post hoc" in warning for warning in wider.warnings)


def test_rows_that_one_arm_lacks_void_the_verdict_above_two_percent() -> None:
    def without(count: int) -> Verdict:
        whole = arm("new", {"exact": passes(600)})
        part = arm("new", {"exact": passes(600 - count)}, example=np.arange(count, 600))
        assert len(whole.example) == len(part.example) + count
        return decide(
            evidence(arm("old", {"exact": passes(600)}), part), checks=[no_worse("exact", margin_pp=2)]
        )

    assert without(12).outcome == "ship"
    assert any("12 of 600 rows are in one arm only" in warning for warning in without(12).warnings)
    assert without(13).outcome == "invalid"


def test_an_id_and_repeat_twice_is_refused_by_name() -> None:
    twice = arm("new", {"exact": passes(600)}, example=np.maximum(np.arange(600) - 1, 0))
    with pytest.raises(PairingError, match=r"new has example 'e0', repeat 0, 2 times"):
        decide(evidence(arm("old", {"exact": passes(600)}), twice))


def test_arms_without_a_common_example_are_refused() -> None:
    other = arm("new", {"exact": passes(600)}, example=np.arange(600, 1200))
    with pytest.raises(PairingError, match="share no example"):
        decide(evidence(arm("old", {"exact": passes(600)}), other))


def test_scores_of_another_scorer_version_void_the_verdict() -> None:
    data = evidence(
        arm("old", {"exact": column("exact", passes(600), by="exact@1")}),
        arm("new", {"exact": column("exact", passes(600), by="exact@2")}),
    )
    verdict = decide(data, checks=[no_worse("exact", margin_pp=2)])
    assert verdict.outcome == "invalid"
    assert "exact@1" in verdict.reasons[0]
    assert "exact@2" in verdict.reasons[0]


def test_an_arm_whose_answers_mostly_failed_is_no_ground_for_a_verdict() -> None:
    failed = np.arange(600) < 400
    data = evidence(arm("old", {"exact": passes(600)}), arm("new", {"exact": passes(600)}, failed=failed))
    verdict = decide(data, checks=[no_worse("exact", margin_pp=2)])
    assert verdict.outcome == "invalid"
    assert "66.7% of the answers of new failed" in verdict.reasons[0]


def test_one_model_at_other_prices_is_a_warning() -> None:
    data = pair()
    facts = {**data.facts, "models": {"old": "m", "new": "m"}, "prices": {"old": "p1", "new": "p2"}}
    assert any("other prices" in warning for warning in decide(replace(data, facts=facts)).warnings)


def test_several_arms_need_a_named_candidate_and_unknown_ones_are_refused() -> None:
    arms = [arm(name, {"exact": passes(600)}) for name in ("a", "b", "c")]
    with pytest.raises(PlanError, match="which candidate"):
        decide(evidence(*arms))
    with pytest.raises(UnknownNameError, match="Did you mean"):
        decide(evidence(*arms), candidate="bb")
    assert decide(evidence(*arms), candidate="c").candidate == "variant-c"


def test_skewed_values_decide_no_ship() -> None:
    gain = np.zeros(60)
    gain[:2] = 50.0
    gain[2:] = RNG.normal(0.5, 0.01, 58)
    data = evidence(arm("old", {"points": np.zeros(60)}), arm("new", {"points": gain}))
    found = result(decide(data, checks=[no_worse("points", margin=5)]), "points")
    assert (found.outcome, found.reason) == ("open", "the values are too skewed for so few examples")


def test_an_a_a_finds_no_difference_between_equal_arms_and_one_between_others() -> None:
    assert decide_aa(pair(), baseline="old", candidate="new").outcome == "inconclusive"
    worse, better_ = pair(wrong=60), pair(right=np.ones(600))
    for data in (worse, better_):
        found = decide_aa(data, baseline="old", candidate="new")
        assert (found.outcome, result(found, "exact").outcome) == ("hold", "failed")


def test_slices_are_reported_and_never_ship() -> None:
    data = pair(wrong=60)
    sliced = replace(data, slices={"language": tuple("de" if i % 2 else "en" for i in range(600))})
    verdict = decide(sliced, checks=[no_worse("exact", margin_pp=20)])
    assert verdict.outcome == "ship"
    assert {tuple(found.where.items()) for found in verdict.slices} == {
        (("language", "de"),),
        (("language", "en"),),
    }
    assert {found.outcome for found in verdict.slices} == {"reported"}
    assert all("worse here" in found.reason for found in verdict.slices)


def test_a_verdict_prints_its_answer_first() -> None:
    text = str(decide(pair(wrong=80), checks=[no_worse("exact", margin_pp=2)]))
    assert text.splitlines()[0].startswith("Hold: keep old; exact -13.3 points")
    assert "no_worse exact: failed" in text


def test_a_margin_of_a_whole_baseline_is_refused() -> None:
    check = Check(metric="exact", rule="no_worse", margin=1.0, relative=True)
    assert decide(pair(), checks=[check]).outcome == "invalid"


def _width(found: CheckResult) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low
