"""The seams: what a provider, a store and a scorer must do, in prose as well as in types.

`ratchet.testing` holds the contract tests that a new store or provider inherits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from ratchet.records import Json, Limits, Message, Run, RunState, Score, Source, Span, Trace, Variant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Secret:
    """A key that can't be printed by accident: only `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is never written down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where and as whom a provider calls. Variants with equal endpoints share their limits."""

    provider: str
    """The name before the slash: "openai", "groq", "bedrock"…"""
    base_url: str | None = None
    api_key: Secret | None = None
    options: Mapping[str, Json] = field(default_factory=dict[str, Any])
    limits: Limits = field(default_factory=Limits)

    @property
    def key(self) -> str:
        """What tells two endpoints apart, without any secret."""
        return (
            f"{self.provider} {self.base_url or ''} {sorted(self.options.items(), key=lambda item: item[0])}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as the engine hands it to a provider."""

    model: str
    """The vendor's own name: what stands after "provider/"."""
    messages: Sequence[Message] = ()
    params: Mapping[str, Json] = field(default_factory=dict[str, Any])
    tools: Sequence[Json] = ()
    response_format: Json = None
    stream: bool = False
    input: Json = None
    """The example's input as it was, for functions; no wire sends it."""
    example_id: str | None = None
    """For `recorded` answers; no wire sends it."""
    repeat: int = 0
    """For `recorded` and `simulated` answers; no wire sends it."""
    connect_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call; None where the server did not say."""

    input_tokens: int | None = None
    """Cached ones included."""
    output_tokens: int | None = None
    """Reasoning ones included."""
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of an answer. Text adds up; for everything else the last chunk that says it counts."""

    text: str = ""
    value: Json = None
    """A whole answer that is not text, from a function."""
    tool_calls: tuple[Json, ...] | None = None
    """Complete tool calls (a provider gathers the deltas), in the OpenAI shape."""
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    cost_usd: float | None = None
    """Where the server or function names the price itself."""
    received_s: float | None = None
    """`time.perf_counter()` when the bytes arrived; None: when the engine sees the chunk."""
    sent_s: float | None = None
    """`time.perf_counter()` when the request was sent, connection made; on any chunk."""
    latency_s: float | None = None
    """A latency measured elsewhere (`recorded`); replaces the engine's."""
    ttft_s: float | None = None
    spans: tuple[Span, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])


class Provider(Protocol):
    """Answers one request, chunk by chunk.

    **Errors**: raise `ProviderError` with its `kind`, `retryable`, `status` and `retry_after_s`; anything else
    that is raised is recorded as a failure that is not retried. A stream that ends before the protocol says so
    is a `protocol` error (retryable), never a short answer.
    **Concurrency**: one instance serves many calls at once on one event loop. It does not retry, time, price or
    log: the engine does.
    **Construction**: a class is called with those of the keyword arguments `endpoint` (`Endpoint`) and `http`
    (`ratchet.providers.http.Http`) that its `__init__` declares. An optional `async aclose()` is awaited at the end.
    """

    def generate(self, request: Request) -> AsyncIterator[Chunk]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """The narrow facts of a trace: what lists and statistics read. No text, no payload."""

    id: str
    run_id: str | None
    arm: str | None
    example_id: str | None
    repeat: int
    group: str | None
    release_id: str | None
    sticky_key: str | None
    shadow_of: str | None
    model: str | None
    finish_reason: str | None
    refused: bool
    unparsable: bool
    """No answer could be extracted from the output."""
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    ttft_s: float | None
    latency_s: float | None
    queue_s: float | None
    attempts: int
    error_kind: str | None
    cached: bool
    created_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of the list of runs."""

    id: str
    name: str
    task_id: str
    state: RunState
    reason: str
    """Why it stopped, where it did."""
    created_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmCounts:
    """What one arm of a run holds so far."""

    arm: str | None
    """None: the calls of its judges."""
    rows: int
    failed: int
    cost_usd: float | None
    """Of the answers whose price is known; None: of none."""
    unpriced: int
    """Answers, not failures, whose price is unknown."""
    cached: int
    input_tokens: int
    output_tokens: int
    newest_at: float
    """When the newest came, Unix time, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefMove:
    """One entry of a ref's log."""

    name: str
    old: str | None
    new: str | None
    at: float
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelQueue:
    """What is to be labelled, as a store keeps it: who made it how is in `data`, and never changes."""

    id: str
    created_at: float
    data: Mapping[str, Json]


ItemState = Literal["open", "leased", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelItem:
    """One place in a queue: an answer, or a pair of them, for one person."""

    queue_id: str
    position: int
    slot: int
    """0, 1…: an item that several people are to label has a slot for each."""
    trace_id: str
    against: str | None = None
    repeat_of: int | None = None
    """The position that this one shows again, to the same person."""
    state: ItemState = "open"
    person: str | None = None
    lease_until: float | None = None
    """Unix time, seconds."""
    done_at: float | None = None
    details: Mapping[str, Json] = field(default_factory=dict[str, Any])


LabelEventKind = Literal["label", "skip", "disagree", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEvent:
    """What a person did with an item."""

    seq: int
    queue_id: str
    position: int
    slot: int
    person: str
    kind: LabelEventKind
    at: float
    undone: bool = False
    data: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """Of a label: its value, and the Score that it replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelProgress:
    """How far a queue is; counts are slots."""

    total: int
    """Without those that show an item again."""
    done: int
    leased: int
    """With somebody at this moment."""
    by_person: Mapping[str, int]
    repeats_done: int = 0


AccessRole = Literal["view", "label", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """Who may look at the page from elsewhere; the token itself is kept nowhere."""

    hash: str = field(repr=False)
    name: str
    role: AccessRole
    created_at: float
    """Unix time, seconds."""
    revoked_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Somebody saw examples of a split: held-out data is used up by being looked at."""

    dataset_id: str
    split: str
    at: float
    """Unix time, seconds."""
    by: str
    what: str
    """Which screen or command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMaker:
    """Somebody or something that gave scores of one name."""

    name: str
    by: str
    count: int
    """Scores, those replaced by newer ones included."""
    newest_trace_id: str
    newest: int
    """Grows with every score that is kept."""


TraceFilter = Literal["all", "ok", "failed"]


class Store(Protocol):
    """Keeps everything; callers never see SQL.

    **Durability**: when `write` or `awrite` returns, the records survive the death of this process.
    **Order**: writes of one caller become visible in order; a batch is all or nothing.
    **Once**: of the traces with one (run_id, arm, example_id, repeat) the newest counts; older ones are kept
    and marked superseded, and no reader below returns them unless asked by id.
    **Threads**: every method may be called from any thread. Readers never wait for the writer.
    **Memory**: readers that return an iterator hold a bounded number of rows.
    **Errors**: `StoreError` and its kinds, never the driver's own.
    """

    def write(self, records: Iterable[Trace | Score]) -> None:
        """Commit these records; group commit makes many small calls cheap."""
        ...

    async def awrite(self, records: Iterable[Trace | Score]) -> None:
        """The same without blocking the event loop."""
        ...

    def put_content(self, kind: str, content_id: str, data: Mapping[str, Json]) -> None:
        """Keep immutable content by its hash; a second put of one id changes nothing."""
        ...

    def content(self, content_id: str) -> Mapping[str, Json] | None: ...

    def save_run(self, run: Run) -> None:
        """Keep a new run, in state "running"."""
        ...

    def set_run_state(self, run_id: str, state: RunState, reason: str = "") -> None: ...

    def hold_run(self, run_id: str) -> AbstractContextManager[None]:
        """Keep the work on this run to this caller until the context ends, or its process does, however it ends.

        Entering it raises `StoreBusyError` at once where somebody else holds the run, in another process or in this
        one, and says which. Readers don't ask for it, nor do scores that are given later.
        """
        ...

    def run(self, run_id: str) -> Run | None: ...

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Newest first."""
        ...

    def rows(
        self, run_id: str | None = None, *, arm: str | None = None, which: TraceFilter = "all"
    ) -> Iterator[TraceRow]:
        """Narrow facts, in order of commit."""
        ...

    def done(self, run_id: str) -> dict[tuple[str, str, int], tuple[str, bool]]:
        """(arm, example_id, repeat) to (trace id, failed) of what this run already holds."""
        ...

    def trace(self, trace_id: str) -> Trace | None: ...

    def traces(
        self, run_id: str | None = None, *, arm: str | None = None, which: TraceFilter = "all"
    ) -> Iterator[Trace]:
        """Whole traces with payloads; for lists and statistics use `rows`."""
        ...

    def traces_by_id(self, ids: Sequence[str], *, at_most_bytes: int | None = None) -> dict[str, Trace]:
        """The traces there are, in the order asked for; what takes more than `at_most_bytes` is left out."""
        ...

    def counts(self, run_id: str) -> list[ArmCounts]:
        """What each arm holds; the calls of judges under the arm None."""
        ...

    def cached(self, request_key: str, *, not_in_run: str) -> Trace | None:
        """The newest trace without error that answered this very request in another run."""
        ...

    def scores(
        self,
        run_id: str | None = None,
        *,
        trace_id: str | None = None,
        name: str | None = None,
        history: bool = False,
    ) -> Iterator[Score]:
        """The newest score per (trace, against, name, source, by); all of them with `history`."""
        ...

    def score_makers(self, source: Source, *, after: int = 0) -> list[ScoreMaker]:
        """Who gave scores from this source, by name and newest; with `after`, only since then. Reads every such score."""
        ...

    def ref(self, name: str) -> str | None: ...

    def move_ref(self, name: str, new: str | None, *, expected: str | None, by: str = "") -> bool:
        """Compare-and-swap: False, and nothing changed, where the ref isn't `expected`."""
        ...

    def refs(self, prefix: str = "") -> dict[str, str]: ...

    def ref_log(self, name: str) -> list[RefMove]: ...

    # labels

    def save_queue(self, queue: LabelQueue, items: Iterable[LabelItem]) -> None:
        """Keep a new queue with its items, all open; a second save of one id changes nothing."""
        ...

    def label_queue(self, queue_id: str) -> LabelQueue | None: ...

    def label_queues(self) -> list[LabelQueue]:
        """Newest first."""
        ...

    def label_items(self, queue_id: str) -> Iterator[LabelItem]:
        """By position and slot."""
        ...

    def label_item(self, queue_id: str, position: int, slot: int) -> LabelItem | None: ...

    def lease_items(
        self, queue_id: str, person: str, *, most: int, now: float, until: float
    ) -> list[LabelItem]:
        """At most so many items for this person until then: first those they hold already, then the next open ones.

        A lease that ran out is open to everyone. Nobody gets an item twice that they labelled or skipped, and a
        repeat goes to the person alone who labelled what it repeats. Two callers never get one slot.
        """
        ...

    def finish_item(
        self, queue_id: str, position: int, slot: int, score: Score, *, token: str = ""
    ) -> LabelItem | None:
        """Keep this label, by the person in `score.by`, and close the item, in one commit; the item as it was.

        None, and nothing was kept, where another person has the slot by now or has closed it. The same `token` once
        more changes nothing, so that a caller who got no answer may ask again.
        """
        ...

    def skip_item(
        self, queue_id: str, position: int, slot: int, person: str, *, now: float, token: str = ""
    ) -> bool:
        """Leave the item to others; whether it was this person's, or open."""
        ...

    def undo_label(
        self, queue_id: str, person: str, *, now: float, until: float, steps: int = 50, token: str = ""
    ) -> LabelEvent | None:
        """Take back this person's last label or skip; what it was, None without any among their last `steps`.

        Scores are only added: what counted before is written again, or None with the reason "undone". The item is
        leased to the person again, unless another has it by now. The same `token` once more takes nothing else back.
        """
        ...

    def flag_item(
        self, queue_id: str, position: int, slot: int, person: str, kind: LabelEventKind, *, now: float, on: bool,
        data: Mapping[str, Json] | None = None,
    ) -> None:  # fmt: skip
        """Note, or take back, that a person disagrees with the judge or finds the rubric unclear here."""
        ...

    def label_events(self, queue_id: str, *, person: str | None = None) -> Iterator[LabelEvent]:
        """What was done and not undone, in order."""
        ...

    def label_progress(self, queue_id: str, *, now: float) -> LabelProgress: ...

    # access

    def add_token(self, token: AccessToken) -> bool:
        """Keep a new token; False, and nothing was kept, where one of that name is still good."""
        ...

    def revoke_token(self, name: str, *, at: float) -> bool:
        """End the good token of this name; False where there is none."""
        ...

    def tokens(self) -> list[AccessToken]:
        """All of them, those revoked included, newest first."""
        ...

    def note_look(self, look: Look) -> None:
        """Remember that somebody saw examples of a split; looks are only added."""
        ...

    def looks(self, dataset_id: str, *, split: str | None = None) -> list[Look]:
        """Who saw examples of this dataset, or of one split of it, oldest first."""
        ...

    def keep_secret(self, name: str, fresh: str) -> str:
        """The secret kept under this name; `fresh` is kept, and returned, where there was none."""
        ...

    def flush(self) -> None:
        """Wait until everything handed over is durable."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Ask(Protocol):
    """Calls a model on behalf of a scorer: with the run's limits, retries, prices and cache.

    The call becomes a Trace of its own (with the run's id and no arm), already durable when it is returned; name its
    id in `Judgement.cost_trace_ids`. A failure is `trace.error`, not an exception.
    """

    async def __call__(
        self, variant: Variant, variables: Mapping[str, Json], *, judged: Trace, repeat: int = 0
    ) -> Trace:
        """The answer of this variant (its prompt filled in from `variables`); `repeat` tells further tries apart."""
        ...


class Embed(Protocol):
    """Turns texts into vectors whose angles say how alike the texts are. `ratchet.embeddings` has three.

    **Shape**: (texts, d), finite, one d for all calls of an instance; an empty text gives zeros.
    **Errors**: `ProviderError` where a server fails, once retries are spent.
    """

    async def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]: ...


class Sandbox(Protocol):
    """Runs a hostile program with bounded time, memory and output, without network."""

    async def run(
        self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 10.0
    ) -> tuple[int, bytes, bytes]:
        """Exit status, standard output, standard error."""
        ...
