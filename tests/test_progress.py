from __future__ import annotations

import time

import pytest

from ratchet.progress import ArmProgress, Progress


def test_a_run_is_the_sum_of_its_arms_and_its_judges() -> None:
    progress = Progress(
        arms={
            "a": ArmProgress(total=10, done=4, cost_usd=0.5),
            "b": ArmProgress(total=10, done=1, cost_usd=0.25),
        }
    )
    progress.judge_cost_usd = 0.125
    assert (progress.done, progress.total, progress.cost_usd) == (5, 20, 0.875)


def test_one_unknown_total_makes_the_whole_unknown() -> None:
    progress = Progress(arms={"a": ArmProgress(total=10), "b": ArmProgress()})
    assert progress.total is None
    assert progress.left_s is None


def test_pace_and_time_left_count_only_this_part_of_a_resumed_run() -> None:
    progress = Progress(arms={"a": ArmProgress(total=100, done=90)}, started_s=time.perf_counter() - 10)
    progress.resumed = 70
    assert progress.rows_per_s == pytest.approx(2.0, rel=0.01)
    assert progress.left_s == pytest.approx(5.0, rel=0.01)


def test_nothing_is_known_before_the_first_answer() -> None:
    progress = Progress(arms={"a": ArmProgress(total=5)}, started_s=time.perf_counter() - 1)
    assert progress.rows_per_s == 0
    assert progress.left_s is None
