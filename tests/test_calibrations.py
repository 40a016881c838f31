"""A judge measured against people whose error is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from judged import Human, Judged, fill, judged_run
from ratchet import calibrations, codec, retests, sheets, summaries
from ratchet.calibrations import Calibration, Status, corrected_difference, status
from ratchet.cli import export
from ratchet.errors import PlanError
from ratchet.families import family_of
from ratchet.ports import Store
from ratchet.records import Run, Score
from ratchet.stats.lengths import length_effect
from ratchet.stores import open_store


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


@pytest.fixture
def judged(store: Store, project: Path) -> Iterator[Judged]:
    with judged_run(store, project) as found:
        yield found


def label(run: Run, store: Store, human: Human, *, by: str = "ada", n: int = 50) -> None:
    sheet = Path(f"labels-{by}.csv")
    _, sample = sheets.draw(run, store, "judge", n=n, seed=1)
    sheets.write(sheet, sample, run, store)
    fill(sheet, human)
    sheets.bring_in(sheet, store, by=by)


def judge_says(run: Run, store: Store) -> dict[str, bool]:
    return {s.trace_id: s.value is True for s in store.scores(run.id, name="judge") if s.source == "judge"}


def test_agreement_is_what_can_be_counted_by_hand(judged: Judged, store: Store) -> None:
    label(judged.run, store, judged.person())
    found = calibrations.calibrate(judged.run, store, "judge")
    said = judge_says(judged.run, store)
    same: dict[str, list[bool]] = {"champion": [], "challenger": []}
    for score in store.scores(judged.run.id, name="judge"):
        trace = store.trace(score.trace_id)
        if score.source == "human" and trace is not None:
            same[trace.arm or ""].append(score.value == said[score.trace_id])
    assert (found.n, found.pairs, found.people, found.labels) == (100, 50, ("ada",), "true | false")
    for arm, own in same.items():
        assert found.arms[arm].raw.value == pytest.approx(np.mean(own))
    change = found.agreement_difference["challenger"]
    assert change.value == pytest.approx(np.mean(same["challenger"]) - np.mean(same["champion"]))
    confusion = found.overall.confusion
    assert sum(sum(row.values()) for row in confusion.values()) == 100
    assert confusion["true"]["true"] + confusion["false"]["false"] == sum(map(sum, same.values()))
    assert {own.label for own in found.overall.by_label} == {"true", "false"}
    assert found.overall.raw.low is not None
    assert found.overall.raw.low < found.overall.raw.value < (found.overall.raw.high or 0)
    assert found.probability == 50 / 80
    assert len(found.disagreements) == 100 - sum(map(sum, same.values()))


def test_a_perfect_judge_agrees_and_a_judge_of_noise_does_not(store: Store, project: Path) -> None:
    for skill, low, high in ((1.0, 1.0, 1.0), (0.5, 0.3, 0.7)):
        with judged_run(store, project, profile=f"critic=instant,skill={skill}") as judged:
            label(judged.run, store, judged.person())
            found = calibrations.calibrate(judged.run, store, "judge").overall
        assert low <= found.raw.value <= high
        assert found.kappa is not None
        assert (found.kappa.value > 0.9) == (skill == 1.0)


def test_two_people_are_compared_with_each_other_and_their_ties_are_left_out(
    judged: Judged, store: Store
) -> None:
    label(judged.run, store, judged.person())
    label(judged.run, store, judged.person(error=0.2, seed=9), by="ben")
    found = calibrations.calibrate(judged.run, store, "judge")
    assert found.people == ("ada", "ben")
    assert found.people_raw is not None
    assert 0.7 < found.people_raw < 0.9
    assert found.between_people is not None
    assert found.undecided == round(100 * (1 - found.people_raw))
    assert found.n == 100 - found.undecided


def test_the_newest_label_of_a_person_counts(judged: Judged, store: Store) -> None:
    label(judged.run, store, lambda output: not judged.truth[output])
    label(judged.run, store, judged.person())
    assert calibrations.calibrate(judged.run, store, "judge").overall.raw.value > 0.7


def test_without_labels_it_says_how_to_get_some(judged: Judged, store: Store) -> None:
    with pytest.raises(PlanError, match=r"ratchet judge calibrate sample .* --scorer judge -o labels\.csv"):
        calibrations.calibrate(judged.run, store, "judge")


def test_few_labels_and_a_judge_of_the_same_family_are_warned_of(store: Store, project: Path) -> None:
    with judged_run(
        store, project, count=20, profile="gpt-5-mini=instant,skill=0.9", model="gpt-5-mini"
    ) as judged:
        label(judged.run, store, judged.person(), n=10)
        arms = {"champion": judged.run.arms["champion"], "challenger": judged.run.arms["challenger"]}
        own = judged.run.replace(
            arms={**arms, "challenger": arms["challenger"].replace(model="azure/gpt-4o")}
        )
        warnings = calibrations.calibrate(own, store, "judge").warnings
    assert any("uncalibrated: 10 examples are labelled on all arms, at least 30" in w for w in warnings)
    assert any("self-preference" in w and "openai/gpt-5-mini" in w and "OpenAI" in w for w in warnings)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("openai/gpt-4o", "OpenAI"),
        ("bedrock/us.anthropic.claude-sonnet-4-5", "Anthropic"),
        ("vertex/gemini-2.5-pro", "Google"),
        ("together/meta-llama/Llama-3-70b", "Meta"),
        ("vllm/our-own", "our-own"),
        (None, None),
    ],
)
def test_a_models_family_is_told_by_its_name(model: str | None, family: str | None) -> None:
    assert family_of(model) == family


def test_disagreements_stand_worst_first_with_the_judges_reason(judged: Judged, store: Store) -> None:
    label(judged.run, store, judged.person())
    label(judged.run, store, judged.person(), by="ben", n=10)
    found = calibrations.calibrate(judged.run, store, "judge").disagreements
    assert found
    for each in found:
        assert each.human != each.judge
        assert each.reason in ("looks right", "looks wrong")


def test_it_is_kept_by_version_and_goes_stale_when_judge_or_variant_changes(
    judged: Judged, store: Store
) -> None:
    run = judged.run
    label(run, store, judged.person())
    made = calibrations.calibrate(run, store, "judge")
    assert status(calibrations.load(store, "judge"), made.judge, run.arms) == Status(state="none")
    first = calibrations.keep(store, made)
    assert calibrations.load(store, "judge") == made
    assert codec.decode(Calibration, codec.encode(made)) == made
    assert calibrations.keep(store, made) == first
    scorer = run.task.scorers[0]
    assert status(made, scorer, run.arms).state == "fresh"
    assert status(made, scorer, {"renamed": run.arms["challenger"]}).state == "fresh"
    changed = status(made, scorer.replace(version="1+other"), run.arms)
    assert changed.state == "stale"
    assert "the judge is judge@1+other" in str(changed)
    other = status(made, scorer, {"challenger": run.arms["challenger"].replace(version="2")})
    assert "the variant challenger is not one of those calibrated" in str(other)
    label(run, store, judged.person(error=0.3), by="ben")
    assert calibrations.keep(store, calibrations.calibrate(run, store, "judge")) != first
    assert [move.old for move in store.ref_log("calibrations/judge")] == [None, first]


def test_the_judge_asked_again_is_compared_with_itself(store: Store, project: Path) -> None:
    agreed: dict[float, float] = {}
    for noise in (0.0, 1.0):
        profile = f"critic=instant,skill=0.7,noise={noise}"
        with judged_run(store, project, count=40, profile=profile) as judged:
            label(judged.run, store, judged.person(), n=20)
            traces = sorted({s.trace_id for s in store.scores(judged.run.id) if s.source == "human"})
            before, asked = judge_says(judged.run, store), judged.server.stats().requests
            again = retests.retest(judged.run, store, "judge", traces, times=2, root=project)
            assert judged.server.stats().requests == asked + 80
            assert judge_says(judged.run, store) == before
            own = [row.repeat for row in store.rows(judged.run.id) if row.arm is None]
            assert sorted(own)[-80:] == [1000] * 40 + [2000] * 40, "no cache takes them for the first answers"
            assert sorted(again) == traces
            found = calibrations.calibrate(judged.run, store, "judge", retests=again).retest
        assert found is not None
        assert found.n == 80
        agreed[noise] = found.raw.value
    assert agreed[0.0] == 1.0
    assert agreed[1.0] < 0.8


def test_a_judge_that_likes_length_is_found_out() -> None:
    rng = np.random.default_rng(1)
    longer, better = rng.normal(100, 200, 400), rng.normal(0, 1, 400)
    honest = (better + rng.normal(0, 1, 400) > 0).astype(float)
    fooled = (better + 2 * np.tanh(longer / 200) + rng.normal(0, 1, 400) > 0).astype(float)
    assert (
        length_effect(honest, longer, quality=better).low
        < 0
        < length_effect(honest, longer, quality=better).high
    )
    found = length_effect(fooled, longer, quality=better)
    assert found.low > 1
    assert found.controlled_win_rate < found.win_rate - 0.1
    assert found.controlled_low < 0.5 < found.controlled_high


def test_length_is_looked_at_between_the_arms(store: Store, project: Path) -> None:
    with judged_run(store, project, longer=True) as judged:
        label(judged.run, store, judged.person())
        found = calibrations.calibrate(judged.run, store, "judge")
    assert set(found.lengths) <= {"challenger"}
    if found.lengths:
        assert found.lengths["challenger"].n == found.pairs


def test_people_are_read_as_numbers(judged: Judged, store: Store) -> None:
    label(judged.run, store, judged.person(), n=10)
    label(judged.run, store, lambda output: not judged.truth[output], by="ben", n=10)
    values = calibrations.human_values(store, judged.run.id, "judge")
    assert len(values) == 20
    assert set(values.values()) == {0.5}


def test_labels_stand_beside_the_judges_scores_in_summary_and_export(judged: Judged, store: Store) -> None:
    before = summaries.summarise(judged.run, store).arms["champion"].scores["judge"]
    label(judged.run, store, lambda output: not judged.truth[output])
    assert summaries.summarise(judged.run, store).arms["champion"].scores["judge"] == before
    said = judge_says(judged.run, store)
    rows = list(export.rows(judged.run, store))
    assert all(row["score.judge"] is said[row["trace_id"]] for row in rows)
    assert sum("score.human.judge.ada" in row for row in rows) == 100


def test_a_label_without_a_judgement_is_counted(judged: Judged, store: Store) -> None:
    label(judged.run, store, judged.person())
    score = next(s for s in store.scores(judged.run.id) if s.source == "human")
    kept = next(s for s in store.scores(trace_id=score.trace_id) if s.source == "judge")
    store.write([kept.replace(value=None, reason="unreadable", created_at=kept.created_at + 1)])
    found = calibrations.calibrate(judged.run, store, "judge")
    assert (found.unscored, found.n, found.pairs) == (1, 99, 49)


def test_scores_on_a_scale_have_a_weighted_kappa_and_a_bias(judged: Judged, store: Store) -> None:
    run = judged.run
    rng = np.random.default_rng(0)
    for row in list(store.rows(run.id)):
        if row.arm is not None:
            human = float(rng.integers(1, 6))
            judge = min(human + (row.arm == "challenger"), 5.0)
            store.write([
                Score(trace_id=row.id, name="quality", value=judge, source="judge", by="quality@1"),
                Score(trace_id=row.id, name="quality", value=human, source="human", by="ada"),
            ])  # fmt: skip
    found = calibrations.calibrate(run, store, "quality")
    assert found.arms["champion"].raw.value == 1.0
    assert found.arms["challenger"].kappa is not None
    assert 0.5 < found.arms["challenger"].kappa.value < 1.0
    assert found.bias_difference["challenger"].value > 0.5
    assert any("the judge favours challenger" in warning for warning in found.warnings)
    assert found.probability is None
    assert found.disagreements[0].distance == 1.0


def draw(
    rng: np.random.Generator, n: int, labelled: int, truth: tuple[float, float], errors: tuple[float, float]
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Judge's and people's values of both arms; the judge passes a share `errors` of each arm's failures."""
    ease = rng.normal(0, 1, n)
    human = [(ease + rng.normal(0, 1, n) < math.sqrt(2) * _quantile(share)).astype(float) for share in truth]
    judge = [np.where(rng.random(n) < error, 1.0, side) for side, error in zip(human, errors, strict=True)]
    unlabelled = rng.permutation(n) >= labelled
    for side in human:
        side[unlabelled] = np.nan
    return (judge[0], judge[1]), (human[0], human[1])


def _quantile(share: float) -> float:
    from ratchet.stats._special import normal_quantile

    return normal_quantile(share)


def coverage(labelled: int, rounds: int) -> tuple[float, float]:
    rng, inside, raw = np.random.default_rng(labelled), 0, 0
    for _ in range(rounds):
        judge, human = draw(rng, 600, labelled, (0.8, 0.7), (0.1, 0.5))
        found = corrected_difference(judge, human, level=0.9)
        assert found is not None
        inside += not found.excludes(-0.1)
        change = judge[1] - judge[0]
        raw += abs(change.mean() + 0.1) < 1.645 * change.std() / math.sqrt(len(change))
    return inside / rounds, raw / rounds


def test_the_corrected_interval_covers_where_the_raw_one_does_not() -> None:
    corrected, raw = coverage(60, 200)
    assert corrected > 0.85
    assert raw < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [10, 30, 60, 150])
def test_the_corrected_interval_covers_at_its_level(labelled: int) -> None:
    assert coverage(labelled, 2000)[0] > 0.88


def test_labels_narrow_by_the_judge_and_below_30_stand_alone() -> None:
    rng = np.random.default_rng(2)
    judge, human = draw(rng, 1000, 100, (0.8, 0.7), (0.05, 0.05))
    with_judge = corrected_difference(judge, human)
    noise = (rng.permutation(judge[0]), rng.permutation(judge[1]))
    without = corrected_difference(noise, human)
    assert with_judge is not None
    assert without is not None
    assert with_judge.method.startswith("PPI++ (lambda")
    assert with_judge.high - with_judge.low < 0.8 * (without.high - without.low)
    few = corrected_difference(*draw(rng, 1000, 20, (0.8, 0.7), (0.05, 0.05)))
    assert few is not None
    assert "people's labels only" in few.method
    assert "uncalibrated" in (few.note or "")


def test_one_labelled_pair_corrects_nothing_and_all_labelled_need_no_judge() -> None:
    judge, human = draw(np.random.default_rng(3), 200, 1, (0.8, 0.7), (0.1, 0.5))
    assert corrected_difference(judge, human) is None
    judge, human = draw(np.random.default_rng(3), 200, 200, (0.8, 0.7), (0.1, 0.5))
    found = corrected_difference(judge, human)
    assert found is not None
    assert found.estimate == pytest.approx((human[1] - human[0]).mean())
    assert found.method.endswith("people's labels")
