"""Simulated migrations: they have the truth that they claim, and the verdict's claims hold on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ratchet.evidence import Evidence, Floats
from ratchet.testing.migrations.claims import Claim
from ratchet.testing.migrations.looks import false_alarms
from ratchet.testing.migrations.pages import page
from ratchet.testing.simulate import (
    Counts,
    Migration,
    all_settings,
    check_public,
    checks_of,
    claims_of,
    main,
    measure,
    simulate,
)
from ratchet.verdicts import decide

SETTINGS = all_settings()
BY_NAME = {setting.name: setting for setting in SETTINGS}


def columns(evidence: Evidence) -> tuple[Floats, Floats]:
    before, after = (next(iter(arm.columns.values())).values for arm in evidence.arms.values())
    return before, after


def shares(outcome: str, setting: Migration, migrations: int = 30) -> float:
    rules = checks_of(setting)
    found = [decide(simulate(setting, seed), checks=rules, seed=seed).outcome for seed in range(migrations)]
    return found.count(outcome) / migrations


def test_settings_have_names_of_their_own_and_tables_that_exist() -> None:
    assert len(BY_NAME) == len(SETTINGS)
    for setting in SETTINGS:
        assert len(simulate(setting, 0).arms) == 2


def test_the_same_seed_draws_the_same_evidence_and_another_seed_another() -> None:
    setting = Migration(name="x")
    first, same, other = (columns(simulate(setting, seed)) for seed in (1, 1, 2))
    assert (first[0] == same[0]).all()
    assert (first[1] == same[1]).all()
    assert (first[1] != other[1]).any()


def test_pass_and_fail_have_the_stated_rates_also_in_groups_and_repeats() -> None:
    for groups, repeats in ((0, 1), (4000, 2)):
        setting = Migration(
            name="x", n=40_000, difference=-0.05, discordant=0.2, groups=groups, repeats=repeats
        )
        before, after = columns(simulate(setting, 0))
        assert before.mean() == pytest.approx(0.8, abs=0.01)
        assert (after - before).mean() == pytest.approx(-0.05, abs=0.01)
        assert (after != before).mean() == pytest.approx(0.2, abs=0.01)


def test_failures_are_part_of_the_stated_difference() -> None:
    setting = Migration(name="x", n=200_000, difference=-0.05, error_rates=(0.01, 0.03))
    evidence = simulate(setting, 0)
    before, after = (np.nan_to_num(values) for values in columns(evidence))
    assert (after - before).mean() == pytest.approx(-0.05, abs=0.004)
    assert evidence.arms["candidate"].failed.mean() == pytest.approx(0.03, abs=0.002)


def test_groups_share_the_stated_part_of_the_variance() -> None:
    setting = Migration(name="x", kind="continuous", n=40_000, groups=4000, icc=0.2)
    before, after = columns(simulate(setting, 0))
    change = (after - before).reshape(4000, 10)
    within = change.var(axis=1, ddof=1).mean()
    between = change.mean(axis=1).var(ddof=1) - within / 10
    assert between / (between + within) == pytest.approx(0.2, abs=0.02)


def test_cost_and_latency_change_by_the_stated_share() -> None:
    before, after = columns(simulate(Migration(name="x", kind="cost", n=400_000, difference=0.1), 0))
    assert after.mean() / before.mean() == pytest.approx(1.1, abs=0.003)
    before, after = columns(simulate(Migration(name="x", kind="latency", n=400_000, difference=0.2), 0))
    for q in (0.5, 0.95):
        assert np.quantile(after, q) / np.quantile(before, q) == pytest.approx(1.2, abs=0.02)
    assert after.max() > 20 * np.quantile(after, 0.95)


def test_counting_each_table_once_gives_the_counts_of_deciding_every_migration() -> None:
    for name in ("pass/fail, on the margin, n 100", "at least 90 %, at 90 %, n 100", "better, equal, n 50"):
        setting = BY_NAME[name]
        counts = measure(setting, 60)
        verdicts = [decide(simulate(setting, seed), checks=checks_of(setting)) for seed in range(60)]
        outcomes = [verdict.outcome for verdict in verdicts]
        assert (counts.ships, counts.holds) == (outcomes.count("ship"), outcomes.count("hold"))
        limits = [(v.results[0].low or 0.0, v.results[0].high or 0.0) for v in verdicts]
        assert counts.covered_90 == sum(low <= setting.truth <= high for low, high in limits)


def test_a_claim_breaks_only_where_its_exact_bound_excludes_it() -> None:
    claim = Claim(setting="x", what="false ship", count=560, of=10_000, at_most=0.05)
    assert claim.holds
    assert not replace(claim, count=600).holds
    assert not replace(claim, count=1, at_most=0.0).holds
    assert not replace(claim, count=9000, at_most=None, at_least=0.93).holds
    assert "claimed at most 5.0%" in str(claim)


def test_a_broken_claim_is_named_on_the_page() -> None:
    setting = BY_NAME["pass/fail, on the margin, n 100"]
    counts = Counts(setting=setting, migrations=1000, ships=100, covered_95=950, method="m")
    text = page([counts], [], [], [], "make validity")
    assert "Broken: pass/fail, on the margin, n 100: false ship 10.00%" in text
    assert "m (breaks)" in text


def test_a_short_run_breaks_no_claim() -> None:
    few = [measure(setting, 4 if setting.resamples else 12) for setting in SETTINGS]
    broken = [str(claim) for each in few for claim in claims_of(each) if not claim.holds]
    assert broken == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_longer_run_breaks_no_claim(setting: Migration) -> None:
    counts = measure(setting, 100 if setting.resamples else 600)
    assert [str(claim) for claim in claims_of(counts) if not claim.holds] == []


@pytest.mark.slow
def test_39_looks_raise_few_false_alarms_where_a_t_interval_raises_many() -> None:
    *methods, fixed = false_alarms(150)
    assert [str(claim) for claim in methods if not claim.holds] == []
    assert fixed.share > 0.1


@pytest.mark.parametrize(
    "name",
    [
        "pass/fail, on the margin, n 50",
        "pass/fail, 5 repeats, n 20",
        "pass/fail, 12 groups, n 120",
        "scores, on the margin, n 50",
        "cost ratio, log-SD 1, n 50",
        "latency p50, n 40",
        "errors 1 % and 1.5 %, on the margin, n 500",
    ],
)
def test_a_run_in_a_store_gives_the_verdict_of_its_evidence(name: str, tmp_path: Path) -> None:
    found = check_public(BY_NAME[name], 2, tmp_path)
    assert (found.stored, found.differing) == (2, ())


def test_what_is_more_goes_through_evidence_files_and_give_the_same_verdict(tmp_path: Path) -> None:
    setting = Migration(name="x", n=6000, groups=500)
    found = check_public(setting, 2, tmp_path)
    assert (found.stored, found.filed, found.differing) == (1, 1, ())


def test_equal_arms_with_repeats_can_ship_below_270_examples() -> None:
    setting = Migration(name="x", n=100, repeats=3, margin=0.1, discordant=0.05)
    assert shares("ship", setting) > 0.8


def test_a_saving_with_a_long_tail_is_not_held_by_its_middle() -> None:
    assert shares("hold", BY_NAME["cost saving, log-SD 1.5, n 50"], 60) <= 0.05


def test_a_cost_that_rises_in_its_tail_does_not_ship_by_its_middle() -> None:
    assert shares("ship", BY_NAME["cost difference, log-SD 1.5, n 50"], 60) <= 0.05


def test_scores_with_a_clear_loss_are_still_held() -> None:
    setting = Migration(name="x", kind="continuous", n=100, difference=-0.2, margin=0.05)
    assert shares("hold", setting) == 1.0
    cost = Migration(name="x", kind="cost", n=100, spread=1.5, difference=2.0, margin=0.1, absolute=True)
    assert shares("hold", cost) > 0.9


def test_failing_a_third_of_the_calls_is_always_held() -> None:
    assert shares("hold", BY_NAME["a third of the calls fail, n 300"]) == 1.0


def test_the_command_writes_the_page_and_says_that_all_claims_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "validity.md"
    found = main(["--share", "0.002", "--only", "n 20", "--workers", "1", "--write", str(target)])
    assert found == 0
    assert "0 broken; 0 public verdicts differ" in capsys.readouterr().out
    assert "pass/fail, on the margin, n 20 " in target.read_text(encoding="utf-8")


def test_the_command_refuses_an_unknown_setting() -> None:
    assert main(["--only", "no such setting"]) == 2
