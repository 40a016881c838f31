from __future__ import annotations

from typing import Any

import pytest

from ratchet import measures
from ratchet.errors import StatisticsError, UnknownNameError
from ratchet.measures import Options, measure
from ratchet.ports import TraceRow
from ratchet.records import Score


def of(*values: Any) -> list[Score]:
    return [Score(trace_id=f"{i:032x}", name="s", value=value) for i, value in enumerate(values)]


def labelled(*pairs: tuple[Any, Any]) -> list[Score]:
    """Scores of (expected, predicted)."""
    return [
        Score(
            trace_id=f"{i:032x}",
            name="c",
            value=None if predicted is None else predicted == expected,
            metadata={"expected": expected, "predicted": predicted},
        )
        for i, (expected, predicted) in enumerate(pairs)
    ]


def test_mean_leaves_out_what_was_not_scored_and_a_rate_counts_it_as_a_fail() -> None:
    assert measure("mean", of(1.0, 3.0, None)) == 2.0
    assert measure("rate", of(True, True, False, None)) == 0.5
    assert measure("quantile", of(1.0, 2.0, 3.0, None), Options(quantile=0.5)) == 2.0


def test_repeats_are_averaged_within_their_example_first() -> None:
    scores = of(True, True, True, False)
    assert measure("rate", scores) == 0.75
    assert measure("rate", scores, Options(examples=["a", "a", "a", "b"])) == 0.5


def test_a_rate_may_be_of_one_label() -> None:
    assert measure("rate", of("good", "bad", None, "good"), Options(label="good")) == 0.5
    assert measure("rate", of(frozenset({"a", "b"}), frozenset()), Options(label="a")) == 0.5


def test_a_rate_of_numbers_is_refused() -> None:
    with pytest.raises(StatisticsError, match=r"found 0\.5"):
        measure("rate", of(0.5))


def test_f1_of_single_labels_is_that_of_the_textbook() -> None:
    scores = labelled(("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"))
    assert measure("macro_f1", scores) == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert measure("micro_f1", scores) == pytest.approx(0.75)
    assert measure("accuracy", scores) == 0.75
    assert measure("macro_f1", scores, Options(label="c")) == 1.0


def test_an_answer_without_a_label_is_a_miss_and_a_class_of_its_own_in_the_tables() -> None:
    scores = labelled(("a", "a"), ("b", "b"), ("b", None))
    assert measure("accuracy", scores) == pytest.approx(2 / 3)
    assert measure("micro_f1", scores) == pytest.approx(2 / 3)
    assert measure("macro_f1", scores) == pytest.approx((1 + 2 / 3) / 2)
    assert [(row.label, row.support, row.fp) for row in measures.label_table(scores)] == [
        (measures.UNKNOWN, 0, 1),
        ("a", 1, 0),
        ("b", 2, 0),
    ]
    matrix = measures.confusion(scores)
    assert matrix.labels == (measures.UNKNOWN, "a", "b")
    assert matrix.counts == ((0, 0, 0), (0, 1, 0), (1, 0, 1))


def test_jaccard_of_label_sets_counts_empty_against_empty_as_one_and_silence_as_zero() -> None:
    scores = labelled((["a", "b"], ["a"]), ([], []), ([], None))
    assert measure("jaccard", scores) == pytest.approx(0.5)
    assert measure("jaccard", scores, Options(label="a")) == 1.0
    assert measures.of_labels(scores)["accuracy"] == pytest.approx(1 / 3)


def test_agreement_and_pass_hat_k_are_over_the_repeats_of_an_example() -> None:
    options = Options(examples=["a", "a", "b", "b"], k=2)
    assert measure("agreement", of("x", "x", "x", "y"), options) == 0.5
    assert measure("agreement", of(frozenset("ab"), frozenset("ba"), None, None), options) == 0.5
    assert measure("pass_hat_k", of(True, True, True, None), options) == 0.5
    with pytest.raises(StatisticsError, match="needs each score's example"):
        measure("agreement", of("x"))


@pytest.mark.parametrize("name", measures.MEASURES)
def test_no_scores_have_no_measure(name: str) -> None:
    assert measure(name, []) is None


def test_scores_that_were_all_not_scored_have_no_mean() -> None:
    assert measure("mean", of(None, None)) is None
    assert measure("quantile", of(None)) is None


@pytest.mark.parametrize("scores", [labelled(("a", None)), labelled(([], []))])
def test_label_measures_of_rows_without_hits_do_not_fail(scores: list[Score]) -> None:
    assert measures.of_labels(scores)["accuracy"] in (0.0, 1.0)


def test_an_unknown_measure_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'macro_f1'"):
        measure("macro_f", of(True))


def test_a_score_without_labels_is_named() -> None:
    with pytest.raises(StatisticsError, match=r"score 's' of trace 0+ has no expected label"):
        measure("macro_f1", of(True))


def test_a_confusion_matrix_of_sets_is_refused() -> None:
    with pytest.raises(StatisticsError, match="sets of labels"):
        measures.confusion(labelled((["a"], ["a"])))


def test_facts_of_a_trace_are_read_by_the_names_that_checks_use() -> None:
    blank: dict[str, Any] = dict.fromkeys(TraceRow.__dataclass_fields__)
    blank |= {"cost_usd": 0.5, "output_tokens": 30, "latency_s": 2.0, "ttft_s": 0.5}
    row = TraceRow(**blank)
    assert [
        measures.fact(name, row) for name in ("cost_usd", "tokens_per_s", "error", "ttft_s", "input_tokens")
    ] == [
        0.5,
        20.0,
        0.0,
        0.5,
        None,
    ]
    with pytest.raises(UnknownNameError, match="Did you mean 'latency_s'"):
        measures.fact("latency", row)
