from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ratchet.errors import ProviderError
from ratchet.loads import records
from ratchet.loads.answers import Answer
from ratchet.loads.records import COLUMNS, INTERRUPTED, Samples, Slo
from ratchet.loads.sampling import Fact, Recorder
from ratchet.ports import Usage

MS = 1_000_000


def fact(index: int, **given: Any) -> Fact:
    at = index * 10 * MS
    times = {"scheduled_ns": at, "dispatched_ns": at + MS, "sent_ns": at + 2 * MS, "ended_ns": at + 100 * MS}
    whole: dict[str, Any] = {
        "index": index,
        "arm": index % 2,
        "warm_up": False,
        "status": 200,
        **times,
        **given,
    }
    return Fact(**whole)


def row(recorder: Recorder, index: int, tokens_ms: list[int], **given: Any) -> None:
    error: ProviderError | None = given.pop("error", None)
    usage: Usage | None = given.pop("usage", None)
    start = index * 10 * MS
    answer = Answer(tokens_ns=[start + ms * MS for ms in tokens_ms], usage=usage, error=error)
    recorder.add(fact(index, **given), answer)


def samples_of(rows: list[tuple[int, list[int]]], *, max_gaps: int = records.MAX_GAPS) -> Samples:
    recorder = Recorder(("a", "b"), 0, max_gaps=max_gaps)
    for index, tokens_ms in rows:
        row(recorder, index, tokens_ms)
    return recorder.samples()


def equal(one: Samples, other: Samples) -> bool:
    names = (*COLUMNS, "gaps", "offsets")
    same = [np.array_equal(getattr(one, n), getattr(other, n), equal_nan=n.endswith("_s")) for n in names]
    return all(same) and one.arms == other.arms and one.gap_stride == other.gap_stride


TOKENS = st.lists(st.integers(1, 500), max_size=6).map(sorted)
ROWS = st.lists(TOKENS, max_size=30)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, parts=st.integers(1, 4), max_gaps=st.integers(1, 60), order=st.randoms())
def test_parts_merge_to_what_one_process_would_have_kept(
    rows: list[list[int]], parts: int, max_gaps: int, order: Any
) -> None:
    numbered = list(enumerate(rows))
    order.shuffle(numbered)  # answers end in any order
    whole = records.merge([samples_of(numbered, max_gaps=max_gaps)], max_gaps=max_gaps)
    split = [samples_of([r for r in numbered if r[0] % parts == p], max_gaps=max_gaps) for p in range(parts)]
    merged = records.merge(split, max_gaps=max_gaps)
    assert equal(merged, whole)
    assert merged.index.tolist() == list(range(len(rows)))
    assert len(merged.gaps) <= max(max_gaps, len(merged.gaps_of(0)) if rows else 0)
    if len(merged):
        for quantile in (0.5, 0.9, 0.99):
            assert np.quantile(merged.e2e_s, quantile) == np.quantile(whole.e2e_s, quantile)


def test_past_the_limit_whole_requests_lose_their_gaps_and_keep_everything_else() -> None:
    rows = [(index, [100, 110, 130]) for index in range(16)]
    full, thin = samples_of(rows), samples_of(rows, max_gaps=10)
    assert thin.gap_stride == 4
    assert [len(thin.gaps_of(i)) for i in range(16)] == [2, 0, 0, 0] * 4
    assert np.array_equal(thin.max_gap_s, full.max_gap_s)
    assert np.array_equal(thin.tpot_s, full.tpot_s)


def test_parts_of_different_tests_do_not_merge() -> None:
    other = Recorder(("x",), 0).samples()
    with pytest.raises(ValueError, match="with equal arms"):
        records.merge([samples_of([]), other])


def test_times_count_from_the_intended_start_and_from_the_send_apart() -> None:
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 3, [50, 60, 90], usage=Usage(input_tokens=5, output_tokens=5, cached_tokens=2))
    found = recorder.samples()
    assert found.ttft_s.tolist() == pytest.approx([0.05])
    assert found.ttft_from_send_s.tolist() == pytest.approx([0.048])
    assert found.e2e_s.tolist() == pytest.approx([0.1])
    assert found.lag_s.tolist() == pytest.approx([0.001])
    assert found.tpot_s.tolist() == pytest.approx([0.01])  # 40 ms over the 4 tokens after the first
    assert found.gaps_of(0).tolist() == pytest.approx([0.01, 0.03])
    assert found.max_gap_s.tolist() == pytest.approx([0.03])


def test_tokens_are_counted_by_events_where_the_server_does_not_say() -> None:
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 0, [50, 60, 90])
    found = recorder.samples()
    assert found.output_tokens.tolist() == [-1]
    assert found.tpot_s.tolist() == pytest.approx([0.02])


SLO = Slo(ttft_s=0.06, tpot_s=0.02, e2e_s=0.2, gap_s=0.025)
CASES: dict[str, tuple[list[int], dict[str, Any], bool]] = {
    "all held": ([50, 60, 80], {}, True),
    "late first token": ([70, 80], {}, False),
    "slow tokens": ([50, 75, 99], {}, False),
    "a long gap": ([50, 51, 52, 53, 80], {}, False),
    "a late end": ([50, 60], {"ended_ns": 300 * MS}, False),
    "one token": ([50], {}, True),
    "failed": ([50, 60], {"error": ProviderError("no", kind="server")}, False),
    "no tokens to time": ([], {}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_good_is_what_succeeded_within_every_limit(case: str) -> None:
    tokens_ms, given_, good = CASES[case]
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 0, tokens_ms, **given_)
    assert recorder.samples().meets(SLO).tolist() == [good]


def test_limits_that_are_not_set_are_not_looked_at() -> None:
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 0, [])
    assert recorder.samples().meets(Slo(e2e_s=0.2)).tolist() == [True]
    assert recorder.samples().meets(Slo()).tolist() == [True]


def test_select_keeps_each_row_with_its_gaps() -> None:
    found = samples_of([(0, [10, 20]), (1, [10, 30, 60]), (2, [10, 50])])
    picked = found.select(np.array([False, True, True]))
    assert picked.index.tolist() == [1, 2]
    assert picked.gaps_of(0).tolist() == pytest.approx([0.02, 0.03])
    assert picked.gaps_of(1).tolist() == pytest.approx([0.04])


def test_interrupted_requests_are_no_part_of_what_was_measured() -> None:
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 0, [10])
    row(recorder, 1, [], error=ProviderError("cut short", kind="interrupted"))
    found = recorder.samples()
    assert found.error.tolist() == [0, INTERRUPTED]
    assert found.measured().index.tolist() == [0]


def test_absurd_counts_of_tokens_are_bounded() -> None:
    recorder = Recorder(("a", "b"), 0)
    row(recorder, 0, [10], usage=Usage(input_tokens=10**30, output_tokens=-5))
    found = recorder.samples()
    assert found.input_tokens.tolist() == [2**31 - 1]
    assert found.output_tokens.tolist() == [0]


def test_many_kinds_of_error_take_bounded_room() -> None:
    recorder = Recorder(("a", "b"), 0)
    for index in range(200):
        row(
            recorder, 2 * index, [], error=ProviderError(f"request {index} failed", kind="server", status=500)
        )
    errors = recorder.errors
    assert len(errors) <= 51
    assert sum(error.count for error in errors) == 200
    assert errors[0].message == ""


def test_a_hundred_thousand_requests_of_fifty_gaps_stay_small() -> None:
    recorder = Recorder(("a", "b"), 0)
    tokens_ms = list(range(100, 600, 10))
    for index in range(2_000):
        row(recorder, index, [*tokens_ms, 610])
    found = recorder.samples()
    held = sum(getattr(found, name).nbytes for name in (*COLUMNS, "gaps", "offsets"))
    assert held / len(found) < 350  # bytes a request, 200 of them gaps: 35 MB for 100,000


@pytest.mark.slow
def test_a_hundred_thousand_requests_fit_in_300_megabytes_of_process() -> None:
    program = """
from peaks import peak_mb
from ratchet.loads import processes, records
from ratchet.loads.answers import Answer
from ratchet.loads.sampling import Fact, Recorder
recorder = Recorder(("a",), 0)
for index in range(100_000):
    at = index * 1_000_000
    fact = Fact(index=index, arm=0, warm_up=False, scheduled_ns=at, dispatched_ns=at, sent_ns=at, ended_ns=at + 600)
    recorder.add(fact, Answer(tokens_ns=[at + 10_000_000 * token for token in range(51)]))
merged = records.merge([recorder.samples()])
assert len(merged.gaps) == 5_000_000
print(peak_mb())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert float(done.stdout) < 300
