"""Scorers of how alike two texts are, 0 (nothing shared) to 1 (the same). A list of expected texts: the best one."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ratchet import plugins
from ratchet.errors import ConfigError, MissingExtraError, ScorerError
from ratchet.records import Example, Json, Trace
from ratchet.scorers._inputs import answer_of, as_text, expected_of, short
from ratchet.scores import scorer

MAX_CHARACTERS = 200_000
"""Longer texts are not compared: the time grows with the product of both lengths."""


def _texts(trace: Trace, example: Example, field: str | None) -> tuple[str, list[str]]:
    """The answer, and every text that was expected."""
    answer, expected = as_text(answer_of(trace)), expected_of(example, field)
    references = [as_text(item) for item in expected] if isinstance(expected, list) else [as_text(expected)]
    if not references:
        raise ScorerError(f"example {example.id!r} expects an empty list of texts")
    longest = max(map(len, (answer, *references)))
    if longest > MAX_CHARACTERS:
        raise ScorerError(f"a text of {longest:,} characters is not compared; the most is {MAX_CHARACTERS:,}")
    return answer, references


@scorer(version="1")
def edit_ratio(
    trace: Trace, example: Example, *, ignore_case: bool = False, field: str | None = None
) -> float:
    """1 minus the Levenshtein distance over the longer length; two empty texts are alike."""
    from rapidfuzz.distance import Levenshtein

    fold: Callable[[str], str] = str.casefold if ignore_case else str
    answer, references = _texts(trace, example, field)
    return max(Levenshtein.normalized_similarity(fold(answer), fold(text)) for text in references)


@scorer(version="1")
def rouge_l(trace: Trace, example: Example, *, field: str | None = None) -> float:
    """ROUGE-L: F1 of the longest common subsequence of words, lower case, letters a to z and digits only.

    Source: Lin 2004; the same words and value as the rouge-score package without stemming.
    """
    from rapidfuzz.distance import LCSseq

    answer, references = _texts(trace, example, field)
    words = _words(answer)
    best = 0.0
    for text in references:
        wanted = _words(text)
        shared = LCSseq.similarity(words, wanted) if words and wanted else 0
        best = max(best, 2 * shared / (len(words) + len(wanted)) if shared else 0.0)
    return best


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@scorer(version="1")
def chrf(trace: Trace, example: Example, *, words: int = 0, field: str | None = None) -> float:
    """chrF by sacrebleu, divided by 100.

    Args:
        words: Longest word n-grams counted beside characters; 2 gives chrF++.
    """
    answer, references = _texts(trace, example, field)
    return _sacrebleu().sentence_chrf(answer, references, word_order=words).score / 100


@scorer(version="1")
def bleu(trace: Trace, example: Example, *, field: str | None = None) -> float:
    """Sentence BLEU by sacrebleu, divided by 100; mean it over examples, but it is not the corpus BLEU."""
    answer, references = _texts(trace, example, field)
    return _sacrebleu().sentence_bleu(answer, references).score / 100


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise MissingExtraError("scorers chrf and bleu", "text") from None
    return sacrebleu


Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""Texts to one vector each, all of one length."""


def _prepare_cosine(settings: dict[str, Json], root: Path) -> dict[str, Json]:
    embed = settings.get("embed")
    if isinstance(embed, str) and not callable(plugins.load(embed, root=root)):
        raise ConfigError(f"embed: {embed!r} is not a function")
    return settings


@scorer(version="1", prepare=_prepare_cosine)
def cosine(
    trace: Trace,
    example: Example,
    *,
    embed: str | None = None,
    n: int = 3,
    ignore_case: bool = True,
    field: str | None = None,
) -> float:
    """Cosine of the angle between two embeddings: without `embed`, of the counts of hashed character n-grams.

    Args:
        embed: "pkg.module:function" from a list of texts to a vector each; then the cosine may be below 0.
        n: Length of the n-grams, in characters.
    """
    answer, references = _texts(trace, example, field)
    if embed is not None:
        vectors = [[float(x) for x in vector] for vector in plugins.load(embed)([answer, *references])]
        if len(vectors) != 1 + len(references) or len({len(vector) for vector in vectors}) != 1:
            raise ScorerError(
                f"{embed} gave {short([len(v) for v in vectors])}, expected a vector a text, of one length"
            )
        return max(_cosine(dict(enumerate(vectors[0])), dict(enumerate(other))) for other in vectors[1:])
    counts = [hashed_ngrams(text.casefold() if ignore_case else text, n) for text in (answer, *references)]
    return max(_cosine(counts[0], other) for other in counts[1:])


def hashed_ngrams(text: str, n: int = 3, *, buckets: int = 2**18) -> dict[int, float]:
    """How often each character n-gram occurs, by its hash; the same in every process.

    Source: feature hashing, Weinberger et al. 2009, without signs.
    """
    padded = f" {' '.join(text.split())} "
    grams = (padded[i : i + n] for i in range(max(len(padded) - n + 1, 1)))
    counts = Counter(zlib.crc32(gram.encode("utf-8", "surrogatepass")) % buckets for gram in grams)
    return {bucket: float(count) for bucket, count in counts.items()}


def _cosine(left: dict[int, float], right: dict[int, float]) -> float:
    if left == right:
        return 1.0
    length = math.sqrt(sum(x * x for x in left.values()) * sum(x * x for x in right.values()))
    return sum(x * right.get(key, 0.0) for key, x in left.items()) / length if length else 0.0
