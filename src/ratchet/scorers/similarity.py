"""Scorers of how alike two texts are, 0 (nothing shared) to 1 (the same). A list of expected texts: the best one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ratchet import embeddings
from ratchet.errors import ConfigError, MissingExtraError, ScorerError
from ratchet.records import Example, Json, Trace, Variant
from ratchet.scorers._inputs import answer_of, as_text, expected_of
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


_EMBED_SETTINGS = ("embed", "base_url", "api_key_env")


def _prepare_cosine(settings: dict[str, Json], root: Path) -> dict[str, Json]:
    if not settings.get("embed") and any(settings.get(key) for key in _EMBED_SETTINGS):
        raise ConfigError(
            "base_url and api_key_env of cosine are for an embed such as 'openai/text-embedding-3-small'"
        )
    if settings.get("embed"):
        embeddings.check(settings["embed"], root=root, base_url=settings.get("base_url"))
    return settings


def _embedding_models(settings: Mapping[str, Json]) -> list[Variant]:
    variant = embeddings.variant_of(*(settings.get(key) for key in _EMBED_SETTINGS))
    return [] if variant is None else [variant]


@scorer(version="1", prepare=_prepare_cosine, models=_embedding_models)
async def cosine(
    trace: Trace,
    example: Example,
    *,
    embed: str | None = None,
    n: int = 3,
    ignore_case: bool = True,
    field: str | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
) -> float:
    """Cosine of the angle between two embeddings: without `embed`, of the counts of hashed character n-grams.

    Args:
        embed: "ngrams"; "provider/model" of an OpenAI-compatible /embeddings endpoint; "minilm" (local, an extra);
            or "pkg.module:function" from a list of texts to a vector each. But for n-grams it may be below 0.
        n: Length of the n-grams, in characters.
        ignore_case: For n-grams.
        base_url: Of the endpoint; the provider's own by default.
        api_key_env: Variable that holds the endpoint's key.
    """
    answer, references = _texts(trace, example, field)
    if embed is None or embed == "ngrams":
        fold: Callable[[str], str] = str.casefold if ignore_case else str
        counts = [embeddings.hashed_ngrams(fold(text), n) for text in (answer, *references)]
        return max(embeddings.sparse_cosine(counts[0], other) for other in counts[1:])
    async with embeddings.opened(embed, base_url=base_url, api_key_env=api_key_env) as vectors_of:
        vectors = await vectors_of([answer, *references])
    return max(embeddings.cosine(vectors[0], other) for other in vectors[1:])
