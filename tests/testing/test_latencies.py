from __future__ import annotations

import numpy as np
import pytest

from ratchet.testing import latencies
from ratchet.testing.latencies import LATENCIES, PAIRED, Coverage, Setting

CLAIMED = [setting for setting in latencies.all_settings() if setting.claimed]


def test_p50_p95_and_p99_of_every_kind_of_latency_are_measured() -> None:
    assert {setting.latencies for setting in latencies.all_settings()} == set(LATENCIES)
    assert {setting.q for setting in CLAIMED} == {0.5, 0.95, 0.99}
    assert all(setting.n >= 1000 for setting in CLAIMED if setting.q == 0.99)
    assert set(LATENCIES) >= PAIRED


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_the_interval_of_a_difference_holds_the_truth_in_95_of_100_tests(q: float) -> None:
    found = latencies.measure(Setting(latencies="lognormal", q=q, n=1000), 300)
    assert found.holds, found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("setting", CLAIMED, ids=str)
def test_every_claimed_setting_is_covered_within_two_points(setting: Setting) -> None:
    found = latencies.measure(setting, 1500, seed=1)
    assert found.holds, found


def test_a_method_that_covers_too_little_is_found_out() -> None:
    setting = Setting(latencies="lognormal", q=0.5, n=100)
    assert not Coverage(setting=setting, draws=4000, held=3660, too_low=170, too_high=170).holds
    assert Coverage(setting=setting, draws=4000, held=3760, too_low=120, too_high=120).holds


def test_the_truth_is_known_where_it_can_be_computed() -> None:
    true = latencies.truth(Setting(latencies="lognormal", q=0.5, n=100))
    assert true == pytest.approx(0.1, abs=0.001), "medians of 0.6 and 0.5"
    high = latencies.truth(Setting(latencies="lognormal", q=0.95, n=100))
    assert high == pytest.approx(0.6 * np.exp(0.6 * 1.6449) - 0.5 * np.exp(0.5 * 1.6449), rel=0.01)


def test_the_command_prints_each_setting_and_what_broke(capsys: pytest.CaptureFixture[str]) -> None:
    assert latencies.main(["--draws", "60", "--only", "steady, p50, n = 200"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("steady, p50, n = 200: ")
    assert said[-1] == "0 broken"
