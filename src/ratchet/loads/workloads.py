"""What is asked under load: a dataset's examples, the requests of a recorded run, or made-up ones of stated lengths.

Whatever its source, a workload is a dataset that is gone through again and again: a request is one of its examples
(`example_id`) and how often it came before (`repeat`), so the traces of a load test pair and group as those of a run.

Lengths are counted roughly, without a tokenizer: one word of three letters for one token, which is what common English
words are in most vocabularies. What the server charged is in its usage, and that is what reports show.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from ratchet import budgets, codec, datasets
from ratchet.calls import request_for
from ratchet.errors import ConfigError, DatasetError, PlanError
from ratchet.loads.recordings import MOST_TOKENS, Sizes, load_lengths
from ratchet.planning import render_of
from ratchet.ports import Request, Store
from ratchet.records import Dataset, Example, Json, Variant

Source: TypeAlias = Literal["dataset", "traces", "synthetic"]
DISTINCT = 1000
"""Made-up prompts of different lengths; their texts differ each time they come round."""
KEPT_IN_MEMORY = 20_000
"""A dataset of at most so many examples is read once; a longer one again for each round."""
_LIMITS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxTokens",
    "maxOutputTokens",
    "num_predict",
)
_Z95 = 1.6448536269514722
# words of three letters: one token each in common vocabularies, and four bytes with their space
_WORDS = [
    "the",
    "and",
    "for",
    "are",
    "but",
    "not",
    "you",
    "all",
    "any",
    "can",
    "her",
    "was",
    "one",
    "our",
    "out",
    "day",
    "get",
    "has",
    "him",
    "his",
    "how",
    "man",
    "new",
    "now",
    "old",
    "see",
    "two",
    "way",
    "who",
    "boy",
    "did",
    "its",
    "let",
    "put",
    "say",
    "she",
    "too",
    "use",
    "air",
    "art",
    "bed",
    "big",
    "box",
    "car",
    "cut",
    "eat",
    "end",
    "eye",
    "far",
    "few",
    "fun",
    "got",
    "hot",
    "job",
    "key",
    "law",
    "lay",
    "leg",
    "lot",
    "low",
    "map",
    "may",
    "men",
    "met",
    "oil",
    "pay",
    "per",
    "run",
    "sea",
    "set",
    "sir",
    "sit",
    "six",
    "sky",
    "son",
    "sun",
    "ten",
    "top",
    "try",
    "war",
    "win",
    "yes",
    "yet",
    "act",
    "add",
    "age",
    "ago",
    "aid",
    "arm",
    "ask",
    "bad",
    "bag",
    "bar",
    "bit",
    "bus",
    "buy",
    "cup",
    "dog",
    "dry",
    "due",
    "ear",
    "egg",
    "fit",
    "fly",
    "gas",
    "god",
    "gun",
    "hit",
    "ice",
    "ill",
    "joy",
    "lip",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """A distribution of whole tokens."""

    kind: Literal["fixed", "uniform", "normal", "lognormal"] = "fixed"
    low: float = 0.0
    """The value; the lower end; the mean; or the median."""
    high: float = 0.0
    """The upper end; the standard deviation; or the 95th percentile."""

    def draw(self, rng: random.Random) -> int:
        """One length, 1 or more."""
        if self.kind == "fixed":
            value = self.low
        elif self.kind == "uniform":
            value = rng.uniform(self.low, self.high)
        elif self.kind == "normal":
            value = rng.gauss(self.low, self.high)
        else:
            value = self.low * math.exp(math.log(self.high / self.low) / _Z95 * rng.gauss(0.0, 1.0))
        return max(1, min(round(value), MOST_TOKENS))

    def __str__(self) -> str:
        mark = {"fixed": "", "uniform": "..", "normal": "+-", "lognormal": "~"}[self.kind]
        return f"{self.low:g}{mark}{self.high:g}" if mark else f"{self.low:g}"


def parse_lengths(text: str, option: str = "--synthetic") -> Lengths:
    """`512` is fixed, `100..900` uniform, `512+-64` normal (mean and deviation), `512~2048` lognormal (median and p95).

    Raises:
        ConfigError: Anything else, or a length below 1.
    """
    marks: tuple[tuple[str, Literal["uniform", "normal", "lognormal"]], ...] = (
        ("..", "uniform"),
        ("+-", "normal"),
        ("~", "lognormal"),
    )
    kind: Literal["fixed", "uniform", "normal", "lognormal"] = "fixed"
    parts = [text]
    for mark, name in marks:
        if mark in text:
            kind, parts = name, text.split(mark, 1)
            break
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    ordered = numbers and (len(numbers) < 2 or kind == "normal" or numbers[0] <= numbers[1])
    if not ordered or not all(0 <= number <= MOST_TOKENS for number in numbers) or numbers[0] < 1:
        raise ConfigError(
            f"{option} {text!r} is no length in tokens; expected 512, 100..900 (uniform), 512+-64 (normal: mean and "
            "deviation) or 512~2048 (lognormal: median and 95th percentile)"
        )
    return Lengths(kind=kind, low=numbers[0], high=numbers[-1] if len(numbers) > 1 else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is asked, in which order. Make one with `of_dataset`, `of_run` or `synthetic`."""

    source: Source
    dataset: Dataset
    description: str
    max_tokens: int | None = None
    """For every request; None: the recorded or drawn length where there is one, else the variant's own."""
    shared_prefix: float = 0.0
    """Of a synthetic prompt, the share of its tokens that all prompts begin with alike: what a prefix cache can serve."""
    prefix_tokens: int = 0
    """How many these are at most: the share of the longest prompt."""
    seed: int = 0

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True, slots=True)
class Ask:
    """One request before it is any variant's."""

    example: Example
    repeat: int


def of_dataset(dataset: Dataset, *, max_tokens: int | None = None, seed: int = 0) -> Workload:
    """The dataset's examples in their order, again and again, in each variant's own prompt."""
    return Workload(
        source="dataset",
        dataset=dataset,
        description=f"{dataset.count:,} examples of {dataset.name or 'a dataset'}",
        max_tokens=max_tokens,
        seed=seed,
    )


def of_run(
    store: Store, run_id: str, folder: Path, *, arm: str | None = None, max_tokens: int | None = None
) -> Workload:
    """The requests of a recorded run's answered traces, as they were sent; each asks for as many tokens as were answered.

    The messages are the recorded ones, whatever prompt a variant has.

    Args:
        folder: Where the requests are written, as a dataset.
        arm: Whose requests; None: the run's first arm.

    Raises:
        PlanError: There is no such run, or it holds no answer with messages.
    """
    run = store.run(run_id)
    if run is None:
        raise PlanError(f"there is no run {run_id!r}; `ratchet list` shows the runs of this store")
    arm = arm or run.baseline or next(iter(run.arms))
    path = folder / f"requests-{run_id}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        dataset = datasets.save(_recorded(store, run_id, arm), path, made_by=f"traces of run {run_id}, {arm}")
    except DatasetError:
        raise PlanError(f"run {run_id}, arm {arm!r} holds no answer whose messages were recorded") from None
    return Workload(
        source="traces",
        dataset=dataset,
        description=f"{dataset.count:,} recorded requests of run {run_id[:13]}, {arm}",
        max_tokens=max_tokens,
    )


def _recorded(store: Store, run_id: str, arm: str) -> Iterator[Example]:
    for trace in store.traces(run_id, arm=arm, which="ok"):
        if isinstance(trace.input, list) and trace.input:
            yield Example(
                id=trace.id,
                input={"messages": cast("Json", trace.input)},
                metadata={"output_tokens": trace.output_tokens} if trace.output_tokens else {},
            )


def synthetic(
    input_tokens: Lengths,
    output_tokens: Lengths,
    folder: Path,
    *,
    shared_prefix: float = 0.0,
    distinct: int = DISTINCT,
    seed: int = 0,
) -> Workload:
    """Made-up prompts of drawn lengths, each asking for as many tokens as drawn: input and output apart."""
    rng = random.Random(seed)
    drawn = (
        Sizes(input_tokens=input_tokens.draw(rng), output_tokens=output_tokens.draw(rng)) for _ in count()
    )
    return _synthetic(
        islice(drawn, distinct), folder, shared_prefix, seed,
        f"synthetic, {input_tokens} tokens in, {output_tokens} out",
    )  # fmt: skip


def sampled(path: str | Path, folder: Path, *, shared_prefix: float = 0.0, seed: int = 0) -> Workload:
    """Made-up prompts of recorded lengths (`recordings.load_lengths`), input and output of a row together, shuffled."""
    sizes = load_lengths(path)
    random.Random(seed).shuffle(sizes)
    text = f"synthetic, lengths of {len(sizes):,} recorded requests ({Path(path).name})"
    return _synthetic(sizes, folder, shared_prefix, seed, text)


def _synthetic(
    sizes: Iterable[Sizes], folder: Path, shared_prefix: float, seed: int, description: str
) -> Workload:
    if not 0.0 <= shared_prefix <= 1.0:
        raise ConfigError(f"the shared prefix is {shared_prefix:g}; expected a share from 0 to 1")
    rows = list(sizes)
    folder.mkdir(parents=True, exist_ok=True)
    examples = [
        Example(
            id=f"s{number:06d}",
            input={"number": number, "input_tokens": size.input_tokens, "seed": seed},
            metadata={"output_tokens": size.output_tokens},
        )
        for number, size in enumerate(rows)
    ]
    name = codec.content_id([example.input | dict(example.metadata) for example in examples])[:16]
    dataset = datasets.save(
        examples, folder / f"synthetic-{name}.jsonl", name="synthetic", made_by=description
    )
    longest = max(size.input_tokens for size in rows)
    return Workload(
        source="synthetic",
        dataset=dataset,
        description=description + (f", {shared_prefix:.0%} shared prefix" if shared_prefix else ""),
        shared_prefix=shared_prefix,
        prefix_tokens=round(shared_prefix * longest),
        seed=seed,
    )


def asks(workload: Workload) -> Iterator[Ask]:
    """The requests, without end: all examples in order, then again with the next `repeat`."""
    kept: list[Example] | None = None
    if workload.dataset.count <= KEPT_IN_MEMORY:
        kept = list(datasets.examples(workload.dataset))
    for repeat in count():
        for example in kept or datasets.examples(workload.dataset):
            yield Ask(example, repeat)


def stand_in(workload: Workload, variant: Variant) -> Variant:
    """The variant as this workload asks it: without its prompt where the messages are recorded or made up."""
    return variant if workload.source == "dataset" else variant.replace(prompt=None)


class Writer:
    """Turns asks into the requests of one variant."""

    def __init__(self, workload: Workload, variant: Variant, *, model: str) -> None:
        self._workload, self._model = workload, model
        self._variant = stand_in(workload, variant)
        self._render = render_of(self._variant)
        self._prefix = _words(workload.prefix_tokens, f"{workload.seed}/prefix")

    def write(self, ask: Ask) -> Request:
        """The request.

        Raises:
            PromptError: The variant's prompt needs what the example doesn't have.
        """
        workload, example = self._workload, ask.example
        if workload.source == "synthetic":
            example = example.replace(input=[{"role": "user", "content": self._text(ask)}])
        elif workload.source == "traces":
            example = example.replace(input=example.input["messages"])
        request = request_for(self._variant, self._render, example, name=self._model, repeat=ask.repeat)
        limit = workload.max_tokens or _output_tokens(ask.example, workload)
        return request if limit is None else _limited(request, limit)

    def _text(self, ask: Ask) -> str:
        given: Mapping[str, Any] = ask.example.input
        tokens = int(given["input_tokens"])
        shared = min(round(self._workload.shared_prefix * tokens), len(self._prefix), tokens)
        # the number keeps two prompts of one length from being one prompt, even to a cache
        own = _words(tokens - shared, f"{self._workload.seed}/{given['number']}/{ask.repeat}")
        return " ".join([*self._prefix[:shared], *own])


def _words(tokens: int, seed: str) -> list[str]:
    return random.Random(seed).choices(_WORDS, k=tokens) if tokens > 0 else []


def _output_tokens(example: Example, workload: Workload) -> int | None:
    """How many tokens the workload itself says; a dataset's metadata is not ours to read."""
    if workload.source == "dataset":
        return None
    found = example.metadata.get("output_tokens")
    return int(found) if isinstance(found, (int, float)) and found >= 1 else None


def _limited(request: Request, tokens: int) -> Request:
    """The request with this cap on its answer, under whichever name the variant already caps it."""
    names = [name for name in _LIMITS if name in request.params] or ["max_tokens"]
    return dataclasses.replace(request, params={**request.params, **dict.fromkeys(names, tokens)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """About how many tokens one request takes."""

    input_tokens: float
    output_tokens: float


def likely_size(workload: Workload, variant: Variant, *, sample: int = 200) -> Size:
    """The mean of the first requests, guessed: four bytes a token, and the whole of what a made-up request asks for.

    Raises:
        PromptError: The first example doesn't fit the variant's prompt.
    """
    writer = Writer(workload, variant, model=variant.model or "")
    given = made = 0
    taken = min(sample, workload.dataset.count)
    for ask in islice(asks(workload), taken):
        request = writer.write(ask)
        likely = budgets.likely_tokens(request)
        limit = budgets.max_tokens(request)
        exact = limit if workload.source != "dataset" and limit else likely[1]
        given, made = given + likely[0], made + exact
    return Size(input_tokens=given / taken, output_tokens=made / taken)
