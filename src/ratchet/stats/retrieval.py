"""Retrieval metrics exactly as trec_eval computes them, one value a query.

A ranking is sorted by score descending, ties by document id descending; the rank column is ignored. Scores are
compared in single precision, as trec_eval stores them. An unjudged document is not relevant; the gain of nDCG is the raw
grade over log2(rank + 1). Compare systems paired by query. Source: NIST trec_eval 9 (m_map.c, m_recip_rank.c, m_P.c,
m_recall.c, m_ndcg.c, m_ndcg_cut.c).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ratchet.errors import StatisticsError

Grades = Mapping[str, int]
Scores = Mapping[str, float]


def rank(scores: Scores) -> list[str]:
    """Document ids by score descending, ties by id descending (bytewise).

    >>> rank({"d1": 2.0, "d2": 3.0, "d3": 2.0})
    ['d2', 'd3', 'd1']
    """
    bad = next((document for document, score in scores.items() if math.isnan(score)), None)
    if bad is not None:
        raise StatisticsError(f"The score of document {bad!r} is NaN; expected a number.")
    return sorted(scores, key=lambda d: (float(np.float32(scores[d])), d.encode()), reverse=True)


def _relevant(grades: Grades) -> int:
    return sum(grade > 0 for grade in grades.values())


def _hits(grades: Grades, ranking: Sequence[str], k: int | None) -> list[bool]:
    if k is not None and k < 1:
        raise StatisticsError(f"k is {k}; expected at least 1.")
    return [grades.get(document, 0) > 0 for document in ranking[:k]]


def precision(grades: Grades, ranking: Sequence[str], k: int) -> float:
    """P@k: relevant documents among the first k, over k even when fewer were returned.

    >>> precision({"a": 1}, ["a", "b"], 5)
    0.2
    """
    return sum(_hits(grades, ranking, k)) / k


def recall(grades: Grades, ranking: Sequence[str], k: int | None = None) -> float:
    """Recall@k: the share of the relevant documents among the first k; 0 when none is relevant.

    >>> recall({"a": 1, "c": 2}, ["a", "b"], 2)
    0.5
    """
    relevant = _relevant(grades)
    return sum(_hits(grades, ranking, k)) / relevant if relevant else 0.0


def reciprocal_rank(grades: Grades, ranking: Sequence[str], k: int | None = None) -> float:
    """One over the rank of the first relevant document; 0 when none is returned. Its mean is MRR.

    >>> reciprocal_rank({"b": 1}, ["a", "b"])
    0.5
    """
    return next((1.0 / place for place, hit in enumerate(_hits(grades, ranking, k), start=1) if hit), 0.0)


def average_precision(grades: Grades, ranking: Sequence[str], k: int | None = None) -> float:
    """The mean over all relevant documents of the precision at their rank (0 if not returned). Its mean is MAP.

    >>> round(average_precision({"a": 1, "c": 1}, ["a", "b", "c"]), 4)
    0.8333
    """
    relevant, found, total = _relevant(grades), 0, 0.0
    for place, hit in enumerate(_hits(grades, ranking, k), start=1):
        if hit:
            found += 1
            total += found / place
    return total / relevant if relevant else 0.0


def ndcg(grades: Grades, ranking: Sequence[str], k: int | None = None) -> float:
    """nDCG (at k): gain is the raw grade over log2(rank + 1), over that of the ideal ranking; 0 when none is relevant.

    >>> round(ndcg({"a": 1, "b": 2}, ["a", "b"]), 4)
    0.8597
    """
    _hits(grades, [], k)
    gains = [max(0, grades.get(document, 0)) for document in ranking[:k]]
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    best = sum(gain / math.log2(place + 1) for place, gain in enumerate(ideal, start=1))
    found = sum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))
    return found / best if best else 0.0


def r_precision(grades: Grades, ranking: Sequence[str]) -> float:
    """Precision at R, the number of relevant documents; 0 when none is relevant. Source: trec_eval m_Rprec.c.

    >>> r_precision({"a": 1, "c": 1}, ["a", "b", "c"])
    0.5
    """
    relevant = _relevant(grades)
    return sum(_hits(grades, ranking, relevant)) / relevant if relevant else 0.0


def success(grades: Grades, ranking: Sequence[str], k: int) -> float:
    """1 when a relevant document is among the first k, else 0; also called hit rate. Source: trec_eval m_success.c.

    >>> success({"b": 1}, ["a", "b"], 1), success({"b": 1}, ["a", "b"], 2)
    (0.0, 1.0)
    """
    return float(any(_hits(grades, ranking, k)))


def bpref(grades: Grades, ranking: Sequence[str]) -> float:
    """How seldom documents judged not relevant stand before relevant ones; unjudged ones don't count.

    Source: Buckley, Voorhees, SIGIR 2004, as in trec_eval m_bpref.c.

    >>> bpref({"a": 0, "b": 1, "c": 1}, ["a", "b", "x", "c"])
    0.0
    """
    relevant = _relevant(grades)
    others = sum(grade == 0 for grade in grades.values())
    before, total = 0, 0.0
    for document in ranking:
        grade = grades.get(document)
        if grade is not None and grade > 0:
            total += 1.0 - min(before, relevant) / min(others, relevant) if before else 1.0
        elif grade == 0:
            before += 1
    return total / relevant if relevant else 0.0


def interpolated_precision(grades: Grades, ranking: Sequence[str], recall_level: float) -> float:
    """The highest precision at any rank whose recall is at least this level (0 to 1).

    Source: trec_eval m_iprec_at_recall.c, the level as a count of documents, rounded half up.

    >>> round(interpolated_precision({"a": 1, "c": 1}, ["a", "b", "c"], 1.0), 4)
    0.6667
    """
    needed = int(recall_level * _relevant(grades) + 0.5)
    found, best = 0, 0.0
    for place, hit in enumerate(_hits(grades, ranking, None), start=1):
        found += hit
        if hit and found >= needed:
            best = max(best, found / place)
    return best


_MEASURES: dict[str, Callable[[Grades, Sequence[str], int | None], float]] = {
    "recall": recall,
    "mrr": reciprocal_rank,
    "map": average_precision,
    "ndcg": ndcg,
}


def retrieval_scores(
    qrels: Mapping[str, Grades], run: Mapping[str, Scores], measure: str, *, complete: bool = False
) -> dict[str, float]:
    """One measure for each query, in sorted order: "map", "mrr", "ndcg", "recall", "p@10", "recall@100", "ndcg@10"...

    Queries are those both judged and returned; with `complete` (trec_eval -c) every judged query counts, as 0 where
    nothing was returned.

    >>> retrieval_scores({"q": {"a": 1}}, {"q": {"a": 0.9, "b": 1.0}}, "mrr")
    {'q': 0.5}
    """
    form = re.fullmatch(r"(p|recall|mrr|map|ndcg)(?:@(\d+))?", measure.lower())
    if form is None or (form[1] == "p" and form[2] is None):
        raise StatisticsError(
            f"Unknown measure {measure!r}. Known: map, mrr, ndcg, recall, each also @k, and p@k."
        )
    k = int(form[2]) if form[2] else None
    queries = sorted(query for query in qrels if complete or query in run)
    scores: dict[str, float] = {}
    for query in queries:
        ranking = rank(run.get(query, {}))
        if form[1] == "p" and k is not None:
            scores[query] = precision(qrels[query], ranking, k)
        else:
            scores[query] = _MEASURES[form[1]](qrels[query], ranking, k)
    return scores
