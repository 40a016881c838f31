from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ratchet.errors import StatisticsError
from ratchet.stats.retrieval import rank, retrieval_scores


def test_trec_evals_own_test_to_the_last_digit(recorded: Callable[[str], Path]) -> None:
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for line in recorded("trec_eval/qrels.test").read_text().splitlines():
        query, _, document, grade = line.split()
        qrels.setdefault(query, {})[document] = int(grade)
    for line in recorded("trec_eval/results.test").read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    published = {
        "map": 0.1785,
        "mrr": 0.4064,
        "p@5": 0.2667,
        "p@10": 0.3000,
        "p@1000": 0.0437,
        "recall@10": 0.0317,
        "recall@100": 0.4980,
        "ndcg": 0.4021,
        "ndcg@10": 0.3016,
    }
    for measure, value in published.items():
        assert round(float(np.mean(list(retrieval_scores(qrels, run, measure).values()))), 4) == value


def test_ties_go_by_document_id_descending_in_single_precision() -> None:
    assert rank({"a": 1.0, "b": 1.0, "c": 2.0}) == ["c", "b", "a"]
    assert rank({"a": 1.000000001, "b": 1.0}) == ["b", "a"]


def test_missing_queries_count_only_when_complete() -> None:
    qrels, run = {"q1": {"a": 1}, "q2": {"b": 1}}, {"q1": {"a": 1.0}, "q9": {"z": 1.0}}
    assert retrieval_scores(qrels, run, "map") == {"q1": 1.0}
    assert retrieval_scores(qrels, run, "map", complete=True) == {"q1": 1.0, "q2": 0.0}


def test_negative_grades_are_not_relevant_and_unjudged_neither() -> None:
    found = retrieval_scores(
        {"q": {"spam": -2, "good": 2}}, {"q": {"spam": 3.0, "new": 2.0, "good": 1.0}}, "ndcg"
    )
    assert found["q"] == pytest.approx(0.5)


def test_unknown_measures_and_scores_are_refused() -> None:
    with pytest.raises(StatisticsError, match="Unknown measure 'bleu'"):
        retrieval_scores({}, {}, "bleu")
    with pytest.raises(StatisticsError, match="Unknown measure 'p'"):
        retrieval_scores({}, {}, "p")
    with pytest.raises(StatisticsError, match="is NaN"):
        rank({"a": float("nan")})
