"""Retrieval runs against judgements, in the formats and by the names of trec_eval.

Judgements (qrels) have four fields a line: query, iteration, document, grade; runs have six: query, Q0, document, rank,
score, tag. The rank is not read: documents are ordered by score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ratchet import codec
from ratchet.datasets import readers
from ratchet.errors import DatasetError, PlanError, UnknownNameError
from ratchet.evidence import ArmData, Column, Evidence
from ratchet.records import Json
from ratchet.stats import retrieval
from ratchet.tabular.specs import Spec

Qrels = dict[str, dict[str, int]]
Measure = Callable[[Mapping[str, int], Sequence[str], int], float]
"""Of grades, ranking and relevance level."""

CUTS = (5, 10, 15, 20, 30, 100, 200, 500, 1000)
OFFICIAL = (
    "num_ret", "num_rel", "num_rel_ret", "map", "gm_map", "Rprec", "bpref", "recip_rank",
    *(f"iprec_at_recall_{level / 10:.2f}" for level in range(11)),
    *(f"P_{k}" for k in CUTS),
)  # fmt: skip
"""What trec_eval prints unless told otherwise."""
COMPARED = ("map", "ndcg_cut_10")
_FAMILIES = {
    "p": "P", "precision": "P", "recall": "recall", "r": "recall", "ndcg_cut": "ndcg_cut", "ndcg": "ndcg_cut",
    "map_cut": "map_cut", "map": "map_cut", "ap": "map_cut", "success": "success", "hit": "success",
    "hits": "success", "mrr": "recip_rank_cut", "recip_rank": "recip_rank_cut", "rr": "recip_rank_cut",
}  # fmt: skip
_ALIASES = {
    "map": "map", "ap": "map", "mrr": "recip_rank", "rr": "recip_rank", "recip_rank": "recip_rank", "ndcg": "ndcg",
    "rprec": "Rprec", "r-prec": "Rprec", "r_precision": "Rprec", "bpref": "bpref", "gm_map": "gm_map",
    "gmap": "gm_map", "num_ret": "num_ret", "num_rel": "num_rel", "num_rel_ret": "num_rel_ret", "set_p": "set_P",
    "set_recall": "set_recall", "set_f": "set_F", "11pt_avg": "11pt_avg",
}  # fmt: skip
_COUNTS = frozenset({"num_ret", "num_rel", "num_rel_ret"})
_GROUPS = ("official", "P", "recall", "ndcg_cut", "map_cut", "success", "iprec_at_recall")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One run: the score of each document, by query."""

    tag: str
    scores: Mapping[str, Mapping[str, float]]


def names_of(text: str) -> tuple[str, ...]:
    """trec_eval's names of the metrics that this means: `ndcg@10`, `P_5`, `recall.10,100`, `official`, `P` (all cuts).

    Raises:
        UnknownNameError: No such metric.

    >>> names_of("ndcg@10"), names_of("recall.10,100"), names_of("MRR")
    (('ndcg_cut_10',), ('recall_10', 'recall_100'), ('recip_rank',))
    """
    given = text.strip()
    if given == "official":
        return OFFICIAL
    if given.lower() in _ALIASES:
        return (_ALIASES[given.lower()],)
    if given == "iprec_at_recall":
        return tuple(f"iprec_at_recall_{level / 10:.2f}" for level in range(11))
    if re.fullmatch(r"iprec_at_recall_[01]\.\d\d", given):
        return (given,)
    if given in ("P", "recall", "ndcg_cut", "map_cut"):
        return tuple(f"{given}_{k}" for k in CUTS)
    if given == "success":
        return ("success_1", "success_5", "success_10")
    found = re.fullmatch(r"([A-Za-z_]+?)[@_.](\d{1,7}(?:,\d{1,7})*)", given)
    family = _FAMILIES.get(found[1].lower()) if found else None
    if found is None or family is None or any(int(k) < 1 for k in found[2].split(",")):
        known = [
            *dict.fromkeys(_ALIASES.values()),
            *_GROUPS,
            "P@k",
            "recall@k",
            "ndcg@k",
            "map@k",
            "mrr@k",
            "success@k",
        ]
        raise UnknownNameError("retrieval metric", text, known)
    return tuple(f"{family}_{int(k)}" for k in found[2].split(","))


def value_of(name: str, grades: Mapping[str, int], ranking: Sequence[str], level: int) -> float:
    """One metric of one query; grades below `level` are not relevant (nDCG's gains are the grades all the same)."""
    raw = grades
    if level > 1:
        grades = {document: grade if grade >= level else min(grade, 0) for document, grade in grades.items()}
    family, _, cut = name.rpartition("_")
    if family == "iprec_at_recall":
        return retrieval.interpolated_precision(grades, ranking, float(cut))
    if family in _AT_K and cut.isdigit():
        return _AT_K[family](raw if family == "ndcg_cut" else grades, ranking, int(cut))
    if name == "ndcg":
        return retrieval.ndcg(raw, ranking)
    return _WHOLE[name](grades, ranking)


def _average(grades: Mapping[str, int], ranking: Sequence[str]) -> float:
    return sum(retrieval.interpolated_precision(grades, ranking, level / 10) for level in range(11)) / 11


def _found(grades: Mapping[str, int], ranking: Sequence[str]) -> float:
    return float(sum(grades.get(document, 0) > 0 for document in ranking))


def _relevant(grades: Mapping[str, int], ranking: Sequence[str]) -> float:
    return float(sum(grade > 0 for grade in grades.values()))


def _set_precision(grades: Mapping[str, int], ranking: Sequence[str]) -> float:
    return _found(grades, ranking) / len(ranking) if ranking else 0.0


def _set_f(grades: Mapping[str, int], ranking: Sequence[str]) -> float:
    p, r = _set_precision(grades, ranking), retrieval.recall(grades, ranking)
    return 2 * p * r / (p + r) if p + r else 0.0


_AT_K: dict[str, Callable[[Mapping[str, int], Sequence[str], int], float]] = {
    "P": retrieval.precision,
    "recall": retrieval.recall,
    "ndcg_cut": retrieval.ndcg,
    "map_cut": retrieval.average_precision,
    "recip_rank_cut": retrieval.reciprocal_rank,
    "success": retrieval.success,
}
_WHOLE: dict[str, Callable[[Mapping[str, int], Sequence[str]], float]] = {
    "map": retrieval.average_precision,
    "gm_map": retrieval.average_precision,
    "recip_rank": retrieval.reciprocal_rank,
    "Rprec": retrieval.r_precision,
    "bpref": retrieval.bpref,
    "11pt_avg": _average,
    "num_ret": lambda grades, ranking: float(len(ranking)),
    "num_rel": _relevant,
    "num_rel_ret": _found,
    "set_P": _set_precision,
    "set_recall": retrieval.recall,
    "set_F": _set_f,
}


def summary_of(name: str, values: Sequence[float]) -> float:
    """One number of all queries: the sum of counts, the geometric mean for gm_map (each at least 0.00001), else the mean.

    >>> summary_of("map", [0.5, 0.25]), summary_of("num_ret", [10.0, 20.0])
    (0.375, 30.0)
    """
    if name in _COUNTS:
        return math.fsum(values)
    if name == "gm_map":
        return math.exp(math.fsum(math.log(max(value, 1e-5)) for value in values) / len(values))
    return math.fsum(values) / len(values)


def read_qrels(path: Path) -> Qrels:
    """The judgements in this file: grade by document by query.

    Raises:
        DatasetError: A line that is no judgement, or a document judged twice.
    """
    found: Qrels = {}
    for line, fields in _fields(path, 4, "query iteration document grade"):
        query, _, document, grade = fields
        try:
            value = int(grade)
        except ValueError:
            raise DatasetError(
                f"found {grade[:40]!r}, expected a whole number as grade", file=path, line=line
            ) from None
        documents = found.setdefault(query, {})
        if document in documents:
            raise DatasetError(f"judges document {document!r} of query {query!r} again", file=path, line=line)
        documents[document] = value
    if not found:
        raise DatasetError("holds no judgement", file=path)
    return found


def read_run(path: Path) -> Ranking:
    """The run in this file.

    Raises:
        DatasetError: A line that is no result, or a document returned twice for one query.
    """
    found: dict[str, dict[str, float]] = {}
    tag = ""
    for line, fields in _fields(path, 6, "query Q0 document rank score tag"):
        query, _, document, _, score, tag = fields
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DatasetError(
                f"found {score[:40]!r}, expected a finite number as score", file=path, line=line
            )
        documents = found.setdefault(query, {})
        if document in documents:
            raise DatasetError(
                f"returns document {document!r} for query {query!r} again", file=path, line=line
            )
        documents[document] = value
    if not found:
        raise DatasetError("holds no result", file=path)
    return Ranking(tag=tag, scores=found)


def _fields(path: Path, count: int, names: str) -> list[tuple[int, list[str]]]:
    made: list[tuple[int, list[str]]] = []
    with readers.opened(path) as (file, _):
        for number, data in enumerate(readers.lines(file, path), 1):
            try:
                fields = data.decode().split()
            except UnicodeDecodeError:
                raise DatasetError("is not UTF-8", file=path, line=number) from None
            if not fields:
                continue
            if len(fields) != count:
                raise DatasetError(
                    f"has {len(fields)} fields, expected {count}: {names}",
                    file=path,
                    line=number,
                    value=data[:80],
                )
            made.append((number, fields))
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One run's metrics: values by metric, one a query in the order of `queries`."""

    tag: str
    queries: tuple[str, ...]
    values: Mapping[str, tuple[float, ...]]

    def summary(self) -> dict[str, float]:
        """Each metric over all queries."""
        return {name: summary_of(name, values) for name, values in self.values.items()}


def judge(
    qrels: Qrels, run: Ranking, names: Sequence[str], *, level: int = 1, queries: Sequence[str] | None = None,
    complete: bool = False,
) -> Judged:  # fmt: skip
    """The metrics of this run.

    Args:
        level: Grades from here on are relevant.
        queries: Those to judge; None: judged and returned ones, or with `complete` all judged ones.

    Raises:
        PlanError: The run and the judgements share no query.
    """
    chosen = sorted(queries if queries is not None else (q for q in qrels if complete or q in run.scores))
    if not chosen:
        raise PlanError(
            f"the run has no judged query: it answers {_few(run.scores)}, and judged are {_few(qrels)}"
        )
    rankings = {query: retrieval.rank(run.scores.get(query, {})) for query in chosen}
    values = {
        name: tuple(value_of(name, qrels[query], rankings[query], level) for query in chosen)
        for name in names
    }
    return Judged(tag=run.tag, queries=tuple(chosen), values=values)


def _few(names: Mapping[str, object]) -> str:
    shown = [repr(name) for name in list(names)[:3]]
    return ", ".join(shown) + (", …" if len(names) > 3 else "")


def load(
    paths: Sequence[str | Path], qrels: Path, spec: Spec, *,
    metrics: Sequence[str] = (), level: int = 1, complete: bool = False,
) -> Evidence:  # fmt: skip
    """The evidence of runs on the same judgements, paired by query.

    A judged query that any of the runs answers counts in all: as 0 where nothing was returned.

    Raises:
        PlanError: There are fewer than two runs.
    """
    from ratchet.tabular import arm_files

    files = arm_files(paths, spec)
    if len(files) < 2:
        raise PlanError(f"found one run, {files[0][1]}; expected two or more to compare")
    judgements = read_qrels(qrels)
    names = list(dict.fromkeys(name for text in metrics or COMPARED for name in names_of(text)))
    refused = [name for name in names if name in _COUNTS or name == "gm_map"]
    if refused:
        raise PlanError(
            f"{refused[0]} has no value a query that could be compared; map, ndcg@10 and others have"
        )
    runs = {name: read_run(path) for name, path in files}
    queries = sorted(q for q in judgements if complete or any(q in run.scores for run in runs.values()))
    warnings: list[str] = []
    arms: dict[str, ArmData] = {}
    for name, run in runs.items():
        judged = judge(judgements, run, names, level=level, queries=queries)
        absent = sum(query not in run.scores for query in queries)
        if absent:
            warnings.append(
                f"Run {name!r} returned nothing for {absent:,} of {len(queries):,} queries; each counts as 0."
            )
        arms[name] = _arm(name, judged)
    dataset_id = codec.content_id([queries, codec.content_id(judgements)])
    facts: dict[str, Json] = {
        "source": "files",
        "files": [str(path) for _, path in files],
        "qrels": str(qrels),
        "dataset_id": dataset_id,
        "task_id": codec.content_id([dataset_id, names, level]),
        "run_ids": [],
        "scorers": {name: f"trec_eval {name}" for name in names},
        "repeats": 1,
    }
    return Evidence(
        examples=tuple(queries),
        groups=np.arange(len(queries), dtype=np.int64),
        grouped=False,
        contents=tuple("" for _ in queries),
        slices={},
        arms=arms,
        checks=spec.checks,
        facts=facts,
        warnings=tuple(warnings),
    )


def _arm(name: str, judged: Judged) -> ArmData:
    count = len(judged.queries)
    no = np.zeros(count, np.bool_)
    return ArmData(
        name=name,
        variant_id=codec.content_id(
            {"arm": name, "tag": judged.tag, "values": [list(v) for v in judged.values.values()]}
        ),
        example=np.arange(count, dtype=np.int64),
        repeat=np.zeros(count, np.int64),
        failed=no,
        refused=no,
        unparsable=no,
        cached=no,
        columns={
            metric: Column(name=metric, values=np.array(values, np.float64), by=f"trec_eval {metric}")
            for metric, values in judged.values.items()
        },
    )
