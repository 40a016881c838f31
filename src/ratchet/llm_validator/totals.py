"""One arm's rows added up as the older tool reports them; memory doesn't grow with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ratchet.records import Json, Score, Trace


@dataclass(slots=True)
class Spread:
    """Mean, least and greatest of the values added."""

    n: int = 0
    total: float = 0.0
    least: float = float("inf")
    greatest: float = float("-inf")

    def add(self, value: float | None) -> None:
        if value is None:
            return
        self.n += 1
        self.total += value
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def summary(self) -> dict[str, Json] | None:
        """None where nothing was added."""
        if not self.n:
            return None
        return {"mean": self.total / self.n, "min": self.least, "max": self.greatest, "n": self.n}


@dataclass(slots=True)
class ScoreTotal:
    """All scores of one name."""

    correct: int = 0
    wrong: int = 0
    unscored: int = 0
    labels: Counter[str] = field(default_factory=Counter[str])
    numbers: Spread = field(default_factory=Spread)
    pairs: Counter[tuple[str, str | None]] = field(default_factory=Counter["tuple[str, str | None]"])
    """(expected, predicted) of label scorers."""

    def add(self, score: Score) -> None:
        value, expected = score.value, score.metadata.get("expected")
        if isinstance(expected, str):
            predicted = score.metadata.get("predicted")
            self.pairs[expected, predicted if isinstance(predicted, str) else None] += 1
        if value is None:
            self.unscored += 1
        elif isinstance(value, bool):
            self.correct += value
            self.wrong += not value
        elif isinstance(value, (int, float)):
            self.numbers.add(value)
        elif isinstance(value, str):
            self.labels[value] += 1
        else:
            self.labels.update(value)

    def summary(self) -> dict[str, Json]:
        found: dict[str, Json] = {}
        if self.correct or self.wrong:
            found |= {
                "correct": self.correct,
                "wrong": self.wrong,
                "accuracy": self.correct / (self.correct + self.wrong),
            }
        if self.labels:
            found["counts"] = dict(self.labels.most_common())
        if numbers := self.numbers.summary():
            found |= numbers
        if self.unscored:
            found["unscored"] = self.unscored
        if self.pairs:
            found["report"] = report(self.pairs)
        return found


@dataclass(slots=True)
class Totals:
    """What all rows of one arm add up to."""

    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    unextracted: int = 0
    facts: dict[str, Spread] = field(default_factory=dict[str, Spread])
    scores: dict[str, ScoreTotal] = field(default_factory=dict[str, ScoreTotal])
    judge_cost_usd: float | None = 0.0
    judge_calls: int = 0

    def add(self, trace: Trace, scores: Iterable[Score]) -> None:
        self.rows += 1
        if trace.error is not None:
            self.errors[trace.error.kind] += 1
        elif trace.answer_error is not None:
            self.unextracted += 1
        for name in ("latency_s", "ttft_s", "tokens_per_s", "input_tokens", "output_tokens", "cost_usd"):
            value = getattr(trace, name)
            # an answer from the cache was neither paid for nor timed
            if not (trace.cached and name in ("latency_s", "ttft_s", "tokens_per_s", "cost_usd")):
                self.facts.setdefault(name, Spread()).add(value)
        for score in scores:
            self.scores.setdefault(score.name, ScoreTotal()).add(score)

    def summary(self) -> dict[str, Json]:
        """The totals by kind of metric; None where nothing is known."""

        def fact(name: str) -> dict[str, Json] | None:
            return self.facts[name].summary() if name in self.facts else None

        dollars = self.facts.get("cost_usd", Spread())
        failed = sum(self.errors.values())
        return {
            "rows": self.rows,
            "succeeded": self.rows - failed - self.unextracted,
            "failed": failed,
            "errors": dict(self.errors.most_common()),
            "not_extracted": self.unextracted,
            "latency": {name: fact(name) for name in ("latency_s", "ttft_s", "tokens_per_s")},
            "cost": {
                "input_tokens": fact("input_tokens"),
                "output_tokens": fact("output_tokens"),
                "cost_usd": fact("cost_usd"),
                "total_usd": dollars.total if dollars.n else None,
                "judge_usd_whole_run": self.judge_cost_usd,
                "judge_calls_whole_run": self.judge_calls,
            },
            "accuracy": {name: total.summary() for name, total in self.scores.items()},
        }


def report(pairs: Mapping[tuple[str, str | None], int]) -> dict[str, Json]:
    """Precision, recall, F1 and support of each expected label, and their macro F1; 0/0 is None.

    Answers that are none of the expected labels (or none at all) count against recall, under "(other)".
    """
    known = dict.fromkeys(sorted({expected for expected, _ in pairs}))
    hits, wanted, found, other = Counter[str](), Counter[str](), Counter[str](), 0
    for (expected, predicted), count in pairs.items():
        wanted[expected] += count
        if predicted in known:
            found[predicted] += count
            hits[expected] += count if predicted == expected else 0
        else:
            other += count
    classes: dict[str, Json] = {}
    f1s: list[float] = []
    for label in known:
        f1s.append(2 * hits[label] / (wanted[label] + found[label]))
        classes[label] = {
            "precision": hits[label] / found[label] if found[label] else None,
            "recall": hits[label] / wanted[label],
            "f1": f1s[-1],
            "support": wanted[label],
        }
    return {"classes": classes, "macro_f1": sum(f1s) / len(f1s), "(other)": other}
