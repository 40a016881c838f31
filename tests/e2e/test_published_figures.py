"""Figures that papers and leaderboards published, from their recorded data, by the commands that a user types."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ratchet.cli import cli

SHARED_DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="the recorded data is not beside the checkout"
)

SHIP, HOLD, INCONCLUSIVE, INVALID = 0, 1, 3, 4
COT = r"--arms direct,cot --expected target --scorer exact_match --extract-arm cot 'regex=the answer is (.*?)\.?$'"


def ratchet(command: str) -> tuple[int, str]:
    """Exit status and standard output of this command, run beside the data."""
    words = [
        str(SHARED_DATA / word) if (SHARED_DATA / word).is_file() else word for word in shlex.split(command)
    ]
    found = CliRunner().invoke(cli, words, standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return found.return_value or 0, found.stdout


def numbers(command: str) -> Any:
    """What `ratchet score … --json` prints."""
    status, output = ratchet(f"score {command} --json")
    assert status == 0
    return json.loads(output)


def mean(found: Any, arm: str, metric: str) -> float:
    return found["arms"][arm]["metrics"][metric]["mean"]


@pytest.mark.parametrize(
    ("old", "new", "answered", "mismatch", "characters"),
    [
        ("gpt-4-0314", "gpt-4-0613", (21.0, 5.0), 16.0, (652.4, 141.4)),
        ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613", (2.0, 8.0), 6.0, (353.6, 298.4)),
    ],
)
def test_llm_drift_answers_to_sensitive_questions(
    old: str, new: str, answered: tuple[float, float], mismatch: float, characters: tuple[float, float]
) -> None:
    found = numbers(
        f"llmdrift_sensitive.csv --by model --score answered --score answer_chars --baseline {old}"
    )
    assert (mean(found, old, "answered") * 100, mean(found, new, "answered") * 100) == pytest.approx(answered)
    assert found["changed"][new]["answered"]["share"] * 100 == pytest.approx(mismatch)
    assert (
        round(mean(found, old, "answer_chars"), 1),
        round(mean(found, new, "answer_chars"), 1),
    ) == characters


@pytest.mark.parametrize(
    ("old", "new", "executable", "mismatch"),
    [
        ("gpt-4-0314", "gpt-4-0613", (52.0, 10.0), 50.0),
        ("gpt-3.5-turbo-0301", "gpt-3.5-turbo-0613", (22.0, 2.0), 20.0),
    ],
)
def test_llm_drift_code_that_runs(
    old: str, new: str, executable: tuple[float, float], mismatch: float
) -> None:
    found = numbers(f"llmdrift_leetcode.csv --by model --score directly_executable --baseline {old}")
    shares = (mean(found, old, "directly_executable") * 100, mean(found, new, "directly_executable") * 100)
    assert shares == pytest.approx(executable)
    assert found["changed"][new]["directly_executable"]["share"] * 100 == pytest.approx(mismatch)


def test_gpt_4_of_march_against_june_on_leetcode_is_hold() -> None:
    status, output = ratchet(
        "compare llmdrift_leetcode.csv --by model --score directly_executable --cost cost --latency latency "
        "-b gpt-4-0314 -c gpt-4-0613"
    )
    assert status == HOLD
    assert "directly_executable -42 p" in output


def test_a_saving_doesn_t_buy_off_lost_accuracy() -> None:
    status, _ = ratchet(
        "compare llmdrift_leetcode.csv --by model --score directly_executable --cost cost -b gpt-4-0314 "
        "-c gpt-3.5-turbo-0613 --check 'better cost_usd ratio=0.9' --check 'no_worse directly_executable margin_pp=2'"
    )
    assert status == HOLD


def test_cruxeval_pass_at_1_and_5() -> None:
    found = numbers(
        "cruxeval_codellama7b_input.jsonl --score correct --measure pass@1 --measure pass@5 --agreement answers"
    )
    arm = found["arms"]["cruxeval_codellama7b_input"]
    assert arm["examples"] == 800
    assert arm["repeats"] == 10
    assert round(arm["metrics"]["correct.pass@1"]["mean"] * 100, 6) == 35.95
    assert round(arm["metrics"]["correct.pass@5"]["mean"] * 100, 6) == 44.991071
    status, output = ratchet("score cruxeval_codellama7b_input.jsonl --score correct --measure pass@1")
    assert status == 0
    assert "35.95 %" in output


def _published_latencies() -> list[dict[str, str]]:
    with (SHARED_DATA / "llmperf_published_summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


LLMPERF = "llmperf_requests.csv --by run --id i --ttft ttft_s --latency end_to_end_latency_s"


@pytest.mark.parametrize("run", ["anyscale_70b", "together_70b", "fireworks_70b"])
def test_llmperf_summaries_to_the_last_digit(run: str) -> None:
    extra = "inter_token_latency_s", "request_output_throughput_token_per_s", "number_output_tokens"
    found = numbers(f"{LLMPERF} {' '.join(f'--score {name}' for name in extra)}")
    metrics = found["arms"][run]["metrics"]
    published = next(row for row in _published_latencies() if row["run"] == run)
    columns = {"ttft_s": "ttft_s", "latency_s": "end_to_end_latency_s", **{name: name for name in extra}}
    for metric, column in columns.items():
        for key in ("p25", "p50", "p75", "p90", "p95", "p99"):
            assert metrics[metric][key] == float(published[f"results_{column}_quantiles_{key}"]), (
                metric,
                key,
            )
        for ours, theirs in (("mean", "mean"), ("min", "min"), ("max", "max"), ("std", "stddev")):
            assert metrics[metric][ours] == pytest.approx(
                float(published[f"results_{column}_{theirs}"]), rel=1e-14
            )


def test_llmperf_readme() -> None:
    """The README cuts its medians at two digits and rounds its tails."""
    found = numbers(LLMPERF)
    readme = {
        "anyscale_70b": (0.21, 0.36, 0.47),
        "together_70b": (0.63, 0.77, 0.87),
        "fireworks_70b": (0.51, 0.79, 0.95),
    }
    for run, expected in readme.items():
        ttft = found["arms"][run]["metrics"]["ttft_s"]
        assert (int(ttft["p50"] * 100) / 100, round(ttft["p95"], 2), round(ttft["p99"], 2)) == expected


def _failing(folder: Path, share: int, *, drop: bool = False) -> Path:
    """The recorded requests with every `share`-th of together_70b failed, and the rest faster than anyone's."""
    path = folder / "requests.csv"
    with (SHARED_DATA / "llmperf_requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept: list[dict[str, str]] = []
    for row in rows:
        if row["run"] == "together_70b":
            row["ttft_s"], row["end_to_end_latency_s"] = "0.01", "0.1"
            if int(row["i"]) % share == 0:
                if drop:
                    continue
                row.update(error_code="429", ttft_s="0", end_to_end_latency_s="0")
        kept.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return path


FASTER = "--by run --id i --ttft ttft_s --latency end_to_end_latency_s -b anyscale_70b -c together_70b --interleaved"


@pytest.mark.parametrize(
    "check", ["better ttft_s p=50", "better ttft_s p=95", "better latency_s p=95", "better ttft_s"]
)
@pytest.mark.parametrize("share", [3, 10])
def test_a_provider_that_fails_many_calls_is_never_faster(tmp_path: Path, check: str, share: int) -> None:
    status, _ = ratchet(f"compare {_failing(tmp_path, share)} {FASTER} --check '{check}'")
    assert status in (HOLD, INVALID)


def test_failed_requests_that_the_file_omits_are_refused(tmp_path: Path) -> None:
    status, _ = ratchet(f"compare {_failing(tmp_path, 3, drop=True)} {FASTER} --check 'better ttft_s p=50'")
    assert status == INVALID


def test_a_provider_that_is_faster_and_answers_ships(tmp_path: Path) -> None:
    path = _failing(tmp_path, 1000)  # only request 0 failed
    status, _ = ratchet(f"compare {path} {FASTER} --where i!=0 --check 'better ttft_s p=50'")
    assert status == SHIP


BBH = {
    "causal_judgement": (63.6, 54.0, (HOLD, INCONCLUSIVE)),
    "date_understanding": (63.6, 87.2, (SHIP,)),
    "navigate": (50.4, 96.4, (SHIP,)),
    "snarks": (61.2, 59.6, (INCONCLUSIVE,)),
}


def test_bbh_accuracies_of_answers_and_of_chains_of_thought() -> None:
    found = numbers(f"bbh_codex_4tasks.jsonl --id task,i --texts direct,cot_tail --slice task {COT}")
    for task, (direct, cot, _) in BBH.items():
        for arm, expected in (("direct", direct), ("cot", cot)):
            metric = found["arms"][arm]["slices"]["task"][task]["metrics"]["exact_match"]
            assert round(metric["mean"] * 100, 1) == expected, (task, arm)


@pytest.mark.parametrize("task", list(BBH))
def test_bbh_verdicts_follow_the_task(task: str) -> None:
    status, _ = ratchet(
        f"compare bbh_codex_4tasks.jsonl --where task={task} --id i --texts direct,cot_tail {COT}"
    )
    assert status in BBH[task][2]


STABILITY = "stability_gpt35_runs.csv --by group --id item --repeat run"


@pytest.mark.parametrize(
    ("group", "same"),
    [
        ("navigate|2024-12-15_21-25-41", 217),
        ("logical_deduction|2024-12-20_19-52-06", 199),
        ("navigate|2025-03-14_09-09-18", 250),
        ("logical_deduction|2025-03-14_14-30-21", 249),
    ],
)
def test_total_agreement_of_raw_answers(group: str, same: int) -> None:
    found = numbers(f"{STABILITY} --agreement response_sha")["arms"][group]["agreement"]["response_sha"]
    assert (found["same"], found["examples"]) == (same, 250)
    assert found["share"] * 100 == pytest.approx(same / 2.5)


@pytest.mark.parametrize("task", ["navigate", "logical_deduction"])
def test_total_agreement_of_parsed_answers_and_correct_counts(task: str) -> None:
    with (SHARED_DATA / "stability_gpt35_published.csv").open(newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["task"] == task and r["model"] == "gpt-35-turbo")
    found = numbers(
        f"{STABILITY} --text response_tail --expected gt --stability --scorer '{{exact_match: {{normalise: true}}}}' "
        r"--extract 'regex=answer is[\s:*]*\(?([A-Za-z]+)\)?'"
    )["arms"][row["group"]]
    assert found["agreement"]["answer"]["same"] == int(row["TACa"])
    by_repeat = found["metrics"]["exact_match"]["by_repeat"]
    assert by_repeat["sums"] == json.loads(row["correct_count_per_run"])
    assert (by_repeat["best"], by_repeat["worst"]) == (
        int(row["best_possible_count"]),
        int(row["worst_possible_count"]),
    )


TREC = "--qrels trec_eval/qrels.test --run trec_eval/results.test"


def test_trec_eval_s_own_summary_line_by_line() -> None:
    status, output = ratchet(f"score {TREC}")
    assert status == 0
    assert output == (SHARED_DATA / "trec_eval" / "out.test").read_text()


def test_trec_eval_s_values_of_all_metrics_and_queries() -> None:
    published = {
        (name.strip(), query): value.strip()
        for line in (SHARED_DATA / "trec_eval" / "out.test.aq").read_text().splitlines()
        for name, query, value in [line.split("\t")]
    }
    metrics = [
        "official",
        "P",
        "recall",
        "ndcg_cut",
        "map_cut",
        "success",
        "ndcg",
        "set_P",
        "set_recall",
        "set_F",
        "11pt_avg",
    ]
    _, output = ratchet(f"score -q {TREC} {' '.join(f'--metric {name}' for name in metrics)}")
    lines = [line.split("\t") for line in output.splitlines()]
    assert len(lines) > 240
    for name, query, value in lines:
        assert published[name.strip(), query] == value, (name, query)


def test_trec_eval_s_figures_by_their_usual_names() -> None:
    _, output = ratchet(
        f"score {TREC} --metric map --metric mrr --metric P@10 --metric recall@10,100 --metric ndcg --metric ndcg@10"
    )
    values = [line.split("\t")[2] for line in output.splitlines()]
    assert values == ["0.1785", "0.4064", "0.3000", "0.0317", "0.4980", "0.4021", "0.3016"]


def test_a_retrieval_run_with_itself_is_no_difference_and_three_queries_decide_nothing(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.test"
    other.write_text((SHARED_DATA / "trec_eval" / "results.test").read_text())
    status, output = ratchet(f"compare --qrels trec_eval/qrels.test trec_eval/results.test {other}")
    assert status == INCONCLUSIVE
    assert "map" in output
