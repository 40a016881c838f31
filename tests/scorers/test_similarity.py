from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ratchet import scores
from ratchet.errors import ConfigError
from ratchet.records import Example, Score, Trace
from ratchet.scorers.similarity import rouge_l

Judge = Callable[..., dict[str, Score]]

NAMES = ["edit_ratio", "rouge_l", "chrf", "bleu", "cosine"]


@pytest.mark.parametrize("name", NAMES)
def test_equal_texts_score_one_strangers_near_zero_and_the_best_reference_counts(
    score: Judge, name: str
) -> None:
    text = "the cat sat on the mat again"
    assert score(name, text, text)[name].value == pytest.approx(1.0)
    low = score(name, text, "zzzz")[name].value
    assert isinstance(low, float)
    assert 0 <= low < 0.25
    assert score(name, text, ["zzzz", text])[name].value == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_text_has_a_score(score: Judge, name: str) -> None:
    value = score(name, "", "a b c")[name].value
    assert isinstance(value, float)
    assert 0 <= value < 0.1


def test_edit_ratio_is_the_share_of_characters_kept(score: Judge) -> None:
    assert score("edit_ratio", "kitten", "sitting")["edit_ratio"].value == pytest.approx(1 - 3 / 7)


WORDS = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "Dog,", "12", "don't"]), max_size=12
).map(" ".join)


@given(WORDS, WORDS)
@settings(max_examples=40, deadline=None)
def test_rouge_l_is_that_of_the_rouge_score_package(answer: str, expected: str) -> None:
    rouge_scorer: Any = pytest.importorskip("rouge_score.rouge_scorer")
    reference = rouge_scorer.RougeScorer(["rougeL"]).score(expected, answer)["rougeL"].fmeasure
    own = rouge_l(Trace(id="a" * 32, answer=answer), Example(id="1", input={}, expected=expected))
    assert own == pytest.approx(reference)


def test_texts_too_long_to_compare_are_not_scored(score: Judge) -> None:
    found = score("edit_ratio", "a" * 200_001, "b")["edit_ratio"]
    assert found.reason == "a text of 200,001 characters is not compared; the most is 200,000"


def test_cosine_takes_embeddings_from_a_function(tmp_path: Path, score: Judge) -> None:
    (tmp_path / "own_embed_a.py").write_text("def embed(texts):\n    return [[len(t), 1.0] for t in texts]\n")
    spec = scores.resolve({"cosine": {"embed": "own_embed_a:embed"}}, root=tmp_path)
    found = score(spec, "ab", "cd")["cosine"]
    assert found.value == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="no module 'own_embed_missing'"):
        scores.resolve({"cosine": {"embed": "own_embed_missing:embed"}}, root=tmp_path)


def test_hashed_ngrams_rank_by_likeness_and_fold_case(score: Judge) -> None:
    near = score("cosine", "Refund the ORDER", "refund the order")["cosine"].value
    far = score("cosine", "Refund the order", "close the window")["cosine"].value
    assert near == pytest.approx(1.0)
    assert isinstance(far, float)
    assert far < 0.6
