"""The seams: what a provider, a store and a scorer must do, in prose as well as in types.

`ratchet.testing` holds the contract tests that a new store or provider inherits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from ratchet.records import Json, Limits, Message, Run, RunState, Score, Span, Trace, Variant

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
class RefMove:
    """One entry of a ref's log."""

    name: str
    old: str | None
    new: str | None
    at: float
    by: str


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

    def ref(self, name: str) -> str | None: ...

    def move_ref(self, name: str, new: str | None, *, expected: str | None, by: str = "") -> bool:
        """Compare-and-swap: False, and nothing changed, where the ref isn't `expected`."""
        ...

    def refs(self, prefix: str = "") -> dict[str, str]: ...

    def ref_log(self, name: str) -> list[RefMove]: ...

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
