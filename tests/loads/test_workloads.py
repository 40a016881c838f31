from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ratchet import datasets, stores
from ratchet.errors import ConfigError, PlanError
from ratchet.loads import workloads
from ratchet.loads.workloads import Writer, parse_lengths
from ratchet.ports import Request
from ratchet.records import Example, Run, Task, Trace, Variant

PLAIN = Variant(model="openai/a")


def requests(workload: workloads.Workload, count: int, variant: Variant = PLAIN) -> list[Request]:
    writer = Writer(workload, variant, model="a")
    return [writer.write(ask) for ask in islice(workloads.asks(workload), count)]


def text_of(request: Request) -> str:
    return str(request.messages[0]["content"])


def test_a_dataset_is_gone_through_again_and_again_in_the_variants_prompt(tmp_path: Path) -> None:
    rows = [Example(id=f"q{i}", input={"question": f"What is {i}?"}) for i in range(3)]
    workload = workloads.of_dataset(datasets.save(rows, tmp_path / "rows.jsonl"))
    from ratchet import variants

    variant = variants.resolve(
        Variant(model="openai/a", prompt="Answer: {question}", params={"max_tokens": 9})
    )
    found = requests(workload, 4, variant)
    assert text_of(found[0]) == text_of(found[3]) == "Answer: What is 0?"
    assert [(ask.example.id, ask.repeat) for ask in islice(workloads.asks(workload), 5)] == [
        ("q0", 0), ("q1", 0), ("q2", 0), ("q0", 1), ("q1", 1),
    ]  # fmt: skip
    assert found[0].params == {"max_tokens": 9}, "a dataset says nothing of lengths"


def test_made_up_prompts_have_the_lengths_asked_for_and_never_repeat(tmp_path: Path) -> None:
    workload = workloads.synthetic(parse_lengths("50..150"), parse_lengths("64"), tmp_path, distinct=100)
    found = requests(workload, 300)
    words = [len(text_of(request).split()) for request in found]
    assert 50 <= min(words) < 60
    assert 140 < max(words) <= 150
    assert len({text_of(request) for request in found}) == 300, "also not when the lengths come round again"
    assert {request.params["max_tokens"] for request in found} == {64}
    assert len(text_of(found[0])) == pytest.approx(4 * words[0], abs=1), "four bytes a token"


def test_made_up_prompts_are_the_same_for_a_seed_and_others_for_another(tmp_path: Path) -> None:
    def first(seed: int) -> list[str]:
        made = workloads.synthetic(parse_lengths("20"), parse_lengths("5"), tmp_path, distinct=10, seed=seed)
        return [text_of(request) for request in requests(made, 10)]

    assert first(1) == first(1)
    assert not set(first(1)) & set(first(2))


def test_a_shared_prefix_is_what_all_prompts_begin_with_and_no_more(tmp_path: Path) -> None:
    made = workloads.synthetic(
        parse_lengths("100"), parse_lengths("5"), tmp_path, distinct=20, shared_prefix=0.6
    )
    words = [text_of(request).split() for request in requests(made, 20)]
    assert all(each[:60] == words[0][:60] for each in words)
    assert len({tuple(each[60:]) for each in words}) == 20
    assert "60% shared prefix" in str(made)


def test_lengths_of_recorded_requests_keep_prompt_and_answer_together(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("input_tokens,output_tokens\n10,100\n20,200\n30,300\n")
    found = requests(workloads.sampled(path, tmp_path), 3)
    pairs = {(len(text_of(request).split()), request.params["max_tokens"]) for request in found}
    assert pairs == {(10, 100), (20, 200), (30, 300)}


def test_recorded_requests_are_asked_as_they_were_sent_whatever_the_prompt(tmp_path: Path) -> None:
    dataset = datasets.save([Example(id="q", input="x")], tmp_path / "d.jsonl")
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    with stores.open_store(tmp_path / "store.db") as store:
        store.save_run(Run(id="r1", task=Task(dataset=dataset), arms={"a": PLAIN}, created_at=1.0))
        store.write(
            [
                Trace(
                    id="1" * 32,
                    run_id="r1",
                    arm="a",
                    example_id="q",
                    input=messages,
                    output="Hi",
                    output_tokens=7,
                )
            ]
        )
        workload = workloads.of_run(store, "r1", tmp_path / "loads")
        (found,) = requests(workload, 1, Variant(model="openai/a", prompt="another"))
        assert list(found.messages) == messages
        assert found.params["max_tokens"] == 7
        with pytest.raises(PlanError, match="there is no run 'nope'"):
            workloads.of_run(store, "nope", tmp_path)


def test_a_run_without_recorded_messages_is_refused(tmp_path: Path) -> None:
    dataset = datasets.save([Example(id="q", input="x")], tmp_path / "d.jsonl")
    with stores.open_store(tmp_path / "store.db") as store:
        store.save_run(Run(id="r1", task=Task(dataset=dataset), arms={"a": PLAIN}, created_at=1.0))
        with pytest.raises(PlanError, match="holds no answer whose messages were recorded"):
            workloads.of_run(store, "r1", tmp_path)


def test_a_cap_takes_the_name_that_the_variant_uses(tmp_path: Path) -> None:
    made = workloads.synthetic(parse_lengths("5"), parse_lengths("12"), tmp_path, distinct=1)
    (found,) = requests(made, 1, Variant(model="openai/a", params={"max_completion_tokens": 900}))
    assert found.params == {"max_completion_tokens": 12}


@pytest.mark.parametrize("text", ["512", "100..900", "512+-64", "512~2048"])
def test_a_distribution_reads_back_as_it_was_written(text: str) -> None:
    assert str(parse_lengths(text)) == text


def test_a_lognormal_has_its_median_and_its_95th_percentile() -> None:
    import random

    lengths, rng = parse_lengths("500~2000"), random.Random(1)
    drawn = np.array([lengths.draw(rng) for _ in range(20_000)])
    assert abs(np.median(drawn) / 500 - 1) < 0.03
    assert abs(np.quantile(drawn, 0.95) / 2000 - 1) < 0.05


@pytest.mark.parametrize("text", ["", "0", "-5", "9..3", "a lot", "5..x", "1e12"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no length in tokens; expected 512"):
        parse_lengths(text)


def test_the_likely_size_is_the_mean_of_what_will_be_asked(tmp_path: Path) -> None:
    made = workloads.synthetic(parse_lengths("100"), parse_lengths("40"), tmp_path, distinct=10)
    size = workloads.likely_size(made, PLAIN)
    assert size.input_tokens == pytest.approx(100, abs=10)
    assert size.output_tokens == 40


def test_a_workload_is_a_dataset_whose_rows_differ(tmp_path: Path) -> None:
    made = workloads.synthetic(parse_lengths("100"), parse_lengths("40"), tmp_path, distinct=5)
    rows = [json.loads(line) for line in Path(made.dataset.path).read_text().splitlines()]
    assert len({json.dumps(row["input"]) for row in rows}) == made.dataset.count == 5
