from __future__ import annotations

import asyncio
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

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
    blank |= {"cost_usd": 0.5, "output_tokens": 31, "latency_s": 2.0, "ttft_s": 0.5}
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


REPEATS = {
    "a": ["yes", "yes", "no"],
    "b": ["x", "x", "x"],
    "c": [None, None, "x"],
    "d": [{"k": 1}, {"k": 1.0}, [1]],
}


def test_stability_is_the_share_of_pairs_of_repeats_that_agree() -> None:
    assert measures.stability_by_example(REPEATS) == pytest.approx(
        {"a": 1 / 3, "b": 1.0, "c": 0.0, "d": 1 / 3}
    )
    assert list(measures.stability_by_example(dict(reversed(REPEATS.items())))) == ["d", "c", "b", "a"]
    assert measures.stability_by_example({}) == {}
    assert measures.stability_by_example({"a": ["1", 1]}) == {"a": 0.0}


def test_one_repeat_says_nothing_of_stability() -> None:
    for by_example in (measures.stability_by_example, measures.similarity_by_example):
        with pytest.raises(StatisticsError, match=r"example 'b' has 1 answers.*\(repeats: 5\)"):
            by_example({"a": ["x", "y"], "b": ["x"]})


def test_similarity_is_the_mean_over_pairs_of_repeats() -> None:
    found = measures.similarity_by_example(
        {"a": ["kitten", "sitten", "sitten"], "b": ["x", "x"], "c": ["x", None]}
    )
    assert found == pytest.approx({"a": (1 + 2 * (1 - 1 / 6)) / 3, "b": 1.0, "c": 0.0})


def test_similarity_of_embedded_texts_is_their_cosine() -> None:
    from ratchet.embeddings import NGrams, cosine

    texts = ["refund the order", "refund my order", "a poem"]
    values: dict[str, list[Any]] = {"a": [*texts], "b": [{"k": 1}, {"k": 1}], "c": [None, None]}
    vectors = asyncio.run(measures.embed_texts(values, NGrams()))
    found = measures.similarity_by_example(values, vectors)
    pairs = [
        cosine(np.asarray(vectors[x]), np.asarray(vectors[y])) for x, y in itertools.combinations(texts, 2)
    ]
    assert found == pytest.approx({"a": sum(pairs) / 3, "b": 1.0, "c": 0.0})
    opposite = {"x": [1.0, 0.0], "y": [-1.0, 0.0]}
    assert measures.similarity_by_example({"a": ["x", "y"]}, opposite) == {"a": 0.0}


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.lists(st.sampled_from(["a", "b", "ab", None, 1, True]), min_size=2, max_size=6),
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_stability_lies_between_0_and_1_and_does_not_depend_on_the_order(
    values: dict[str, list[Any]],
) -> None:
    turned = {example: list(reversed(repeats)) for example, repeats in values.items()}
    for by_example in (measures.stability_by_example, measures.similarity_by_example):
        found = by_example(values)
        assert all(0 <= value <= 1 for value in found.values())
        assert by_example(turned) == pytest.approx(found)


def test_measures_over_repeats_and_groups() -> None:
    texts = of("yes", "yes", "no", "no")
    options = Options(examples=["a", "a", "b", "b"])
    assert measure("stability", texts, options) == 1.0
    assert measure("flip_rate", of("yes", "no", "x", "x"), options) == 0.5
    assert measure("similarity", of("kitten", "sitten", "x", "x"), options) == pytest.approx(1 - 1 / 12)
    passes = of(True, False, False, False)
    assert measure("pass_at_k", passes, Options(examples=options.examples, k=2)) == 0.5
    assert measure("pass_hat_k", passes, Options(examples=options.examples, k=1)) == 0.25
    assert [measure(name, passes, options) for name in ("worst", "group_mean", "best")] == [0.0, 0.25, 0.5]


def test_worst_and_best_are_of_groups_where_they_are_known() -> None:
    passes = of(True, False, True, None)
    options = Options(examples=["1", "2", "3", "4"], groups=["p", "p", "q", "q"])
    assert [measure(name, passes, options) for name in ("worst", "group_mean", "best")] == [0.5, 0.75, 1.0]
    with pytest.raises(StatisticsError, match="1 groups"):
        measure("worst", passes, Options(groups=["p"]))
    with pytest.raises(StatisticsError, match="over repeats"):
        measure("stability", passes)
