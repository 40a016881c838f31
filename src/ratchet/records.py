"""The nouns: plain frozen records without I/O.

Immutable content (Example, Dataset, Variant, Task, Verdict, Release) is named by its hash, computed in
`codec.content_id`; events (Span, Trace, Score) are append-only. Units stand in the names. JSON enters and
leaves through `codec` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

Message: TypeAlias = dict[str, Any]
"""One chat message in the OpenAI shape: `role`, `content`, and where they apply `tool_calls`, `tool_call_id`."""

Dimension: TypeAlias = Literal["cost", "latency", "accuracy", "security", "stability"]
Source: TypeAlias = Literal["code", "judge", "human", "user"]
SpanKind: TypeAlias = Literal["model", "tool", "retrieval", "guard", "function", "recorded", "other"]
FailureKind: TypeAlias = Literal[
    "rate_limit",
    "timeout",
    "connection",
    "server",
    "auth",
    "bad_request",
    "protocol",
    "function",
    "prompt",
    "budget",
]
ScoreValue: TypeAlias = bool | float | str | frozenset[str] | None


def _dict() -> dict[str, Any]:
    return {}


class _Record:
    """`replace` for every record; no state, no other behaviour."""

    __slots__ = ()

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed."""
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(_Record):
    """One case to try: what goes in, and what should come out."""

    id: str
    """The user's id column, else the content hash, with `#2`, `#3`… for further occurrences."""
    input: Json
    """Variables for the prompt by name, or a list of messages."""
    expected: Json = None
    metadata: Mapping[str, Json] = field(default_factory=_dict)
    group: str | None = None
    """The cluster it belongs to (a problem, a customer, a set of paraphrases); never paired across."""
    split: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns(_Record):
    """Which columns of a file play which part; every column not named is an input variable."""

    id: str | None = None
    input: str | tuple[str, ...] | None = None
    """One column that holds the whole input, or the columns that are its variables."""
    expected: str | tuple[str, ...] | None = None
    group: str | None = None
    split: str | None = None
    metadata: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=_dict)
    """For text formats: column to "str", "int", "float", "bool" or "json"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset(_Record):
    """A manifest of ordered examples; the rows stay in their file and are iterated.

    Only `id` (the hash of the ordered examples) is identity; name, source and lineage are not.
    """

    id: str
    count: int
    name: str = ""
    path: str = ""
    """Where the rows are: an absolute path."""
    format: str = ""
    columns: Columns = field(default_factory=Columns)
    parent: str | None = None
    made_by: str = ""
    """How it came to be: "load", "split", "harvest"…, with its settings."""
    skipped: int = 0
    """Bad rows left out under `on_bad_row="skip"`."""
    on_bad_row: Literal["stop", "skip"] = "stop"

    @classmethod
    def load(cls, path: str | Path, **settings: Any) -> Dataset:
        """The manifest of the examples in a file: `datasets.load`, where its settings are described."""
        from ratchet import datasets  # the one door from a record to a verb: it is what people type

        return datasets.load(path, **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(_Record):
    """A template of messages; `syntax` says how variables are written."""

    messages: tuple[Message, ...]
    syntax: Literal["format", "jinja"] = "format"
    """"format": `{column}`, with `{{` and `}}` for braces. "jinja": sandboxed Jinja."""
    name: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(_Record):
    """What a model costs, in dollars per million tokens; an absent rate falls back as said."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    """Input tokens read from the provider's cache; None: as input."""
    cache_write_usd_per_mtok: float | None = None
    """Input tokens written to the provider's cache; None: as input."""
    reasoning_usd_per_mtok: float | None = None
    """Output tokens spent on reasoning; None: as output."""
    request_usd: float = 0.0
    above_tokens: int | None = None
    """A request with more input tokens than this is priced by `above`, as a whole."""
    above: Price | None = None
    source: str = ""
    as_of: str = ""
    """Date of the price list, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(_Record):
    """How one endpoint may be called; nothing here changes what is asked."""

    concurrency: int | None = None
    rpm: float | None = None
    """Requests per minute."""
    tpm: float | None = None
    """Tokens per minute, input and output."""
    retries: int = 4
    connect_s: float = 10.0
    first_token_s: float = 120.0
    """From the request sent to the first content token; streaming only."""
    total_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant(_Record):
    """What may change: a model with its prompt and parameters, or any callable.

    `limits`, `price`, `api_key_env` and `function` are not identity; everything else is. A variant whose
    `prompt` is text or whose `target` has no `version` yet is completed by `variants.resolve`.
    """

    model: str | None = None
    """"provider/model", as in "openai/gpt-4o"."""
    params: Mapping[str, Json] = field(default_factory=_dict)
    """`temperature`, `max_tokens`, `top_p`, `stop`, `seed`…; names a wire doesn't know pass as they are."""
    prompt: Prompt | str | None = None
    """A Prompt; or a path to a prompt file (.yaml, .yml, .json, .txt, .md, .j2, .jinja), with `#name` for one
    of several; or the text of a user message."""
    tools: tuple[Json, ...] = ()
    """Function tools in the OpenAI shape: `{"type": "function", "function": {...}}`."""
    response_format: Json = None
    """As in OpenAI chat completions: `{"type": "json_object"}` or `{"type": "json_schema", "json_schema": {...}}`."""
    stream: bool = False
    base_url: str | None = None
    options: Mapping[str, Json] = field(default_factory=_dict)
    """What the provider needs beside the model: region, project, location, api_version, headers, path, answers…"""
    target: Any = None
    """"pkg.module:function", or the callable itself: called with the example's input instead of a model."""
    version: str | None = None
    """The target's declared version, else the hash of its source."""
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    api_key_env: str | None = None
    """Name of the variable that holds the key; None: the vendor's own."""
    price: Price | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        target: object = self.target
        if callable(target):  # `Variant(target=reply)` is what people write
            name = f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__name__)}"
            object.__setattr__(self, "function", target)
            object.__setattr__(self, "target", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction(_Record):
    """How `trace.output` becomes `trace.answer`."""

    kind: str
    """"json_key", "nested_key", "split", "regex", "json", "strip", "custom_answer", or "pkg.module:function"."""
    args: Mapping[str, Json] = field(default_factory=_dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer(_Record):
    """A function that judges one trace, with what names it. Made by `@ratchet.scorer`; call it like the function.

    The function takes `(trace)` or `(trace, example)` and its settings as keyword-only parameters, may be async,
    and returns a bool, number, label, set of labels, None, a `Judgement`, or a dict of these by name. A keyword-only
    parameter named `ask` receives a `ports.Ask`: the way to call a model, as a judge does.
    """

    name: str
    target: str = ""
    """"pkg.module:function", or a built-in name."""
    version: str = "1"
    """Bump it whenever earlier scores stop being comparable."""
    dimension: Dimension = "accuracy"
    settings: Mapping[str, Json] = field(default_factory=_dict)
    function: Callable[..., Any] | None = field(default=None, compare=False, repr=False)
    inline: bool = field(default=False, compare=False, repr=False)
    """Takes microseconds and never waits: run between two calls; all others run in a thread."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            raise TypeError(
                f"scorer {self.name!r} was read from a record; `scores.resolve` finds its function"
            )
        return self.function(*args, **{**self.settings, **kwargs})

    def using(self, **settings: Json) -> Scorer:
        """The same scorer with these settings: keyword arguments of its function."""
        return replace(self, settings={**self.settings, **settings})

    def __hash__(self) -> int:
        return hash((self.name, self.target, self.version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(_Record):
    """One rule, written before the run. `checks` has the four functions that make one."""

    metric: str
    """A score's name, or a fact of the trace: cost_usd, ttft_s, latency_s, input_tokens, output_tokens, error."""
    rule: Literal["better", "no_worse", "at_most", "at_least"]
    measure: str = "mean"
    """"mean", "rate", "quantile", "ratio", "macro_f1", "jaccard", "agreement", "pass_hat_k"…"""
    margin: float | None = None
    """In the metric's own unit; a share of the baseline where `relative`."""
    limit: float | None = None
    relative: bool = False
    quantile: float | None = None
    """0 to 1, for the quantile measure."""
    label: str | None = None
    role: Literal["primary", "guard", "report"] = "guard"
    dimension: Dimension = "accuracy"
    higher_is_better: bool = True
    errors: Literal["fail", "exclude", "invalid"] = "fail"
    """How a failed, refused or unparsable answer counts."""
    max_error_share: float = 0.02
    settings: Mapping[str, Json] = field(default_factory=_dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_Record):
    """What must stay good: the rule, written before the run. `name` is not identity."""

    dataset: Dataset
    scorers: tuple[Scorer, ...] = ()
    checks: tuple[Check, ...] = ()
    repeats: int = 1
    extraction: Extraction | None = None
    arm_extraction: Mapping[str, Extraction] = field(default_factory=_dict)
    """By arm's name, where an arm answers in its own shape."""
    name: str = ""

    def __post_init__(self) -> None:
        # lists are what people write
        object.__setattr__(self, "scorers", tuple(self.scorers))
        object.__setattr__(self, "checks", tuple(self.checks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(_Record):
    """One task tried on named arms; two names may hold one variant (A/A)."""

    id: str
    """UUIDv7."""
    task: Task
    arms: Mapping[str, Variant]
    baseline: str | None = None
    name: str = ""
    seed: int = 0
    limit: int | None = None
    """Only the first so many examples."""
    sample: int | None = None
    """Only so many examples, drawn with `seed`."""
    stop_when_decided: bool = False
    """Examples are tried in an order drawn from `seed`, and judged at looks (`plans.looks`) by anytime-valid intervals."""
    created_at: float = 0.0
    """Unix time, seconds."""
    prices: Mapping[str, Price | None] = field(default_factory=_dict)
    """By arm; None: unknown, never 0."""
    environment: Mapping[str, str] = field(default_factory=_dict)


RunState: TypeAlias = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(_Record):
    """Why a call or a whole answer failed."""

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after_s: float | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span(_Record):
    """One timed step, with OpenTelemetry's ids and attribute names."""

    trace_id: str
    """32 hex digits."""
    id: str
    """16 hex digits."""
    name: str
    kind: SpanKind = "other"
    parent_id: str | None = None
    start_ns: int = 0
    """Unix time, nanoseconds."""
    duration_ns: int = 0
    attributes: Mapping[str, Json] = field(default_factory=_dict)
    """As in the GenAI conventions: `gen_ai.request.model`, `gen_ai.usage.input_tokens`…; ours begin `ratchet.`."""
    error: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(_Record):
    """One answer with all its steps; the same record offline and in production. Absent facts are None."""

    id: str
    """32 hex digits; its spans carry it."""
    run_id: str | None = None
    arm: str | None = None
    example_id: str | None = None
    repeat: int = 0
    group: str | None = None
    release_id: str | None = None
    sticky_key: str | None = None
    shadow_of: str | None = None
    input: Json = None
    """What was sent: the rendered messages, or the variables of a function."""
    output: Json = None
    """What came back: text, or the value a function returned."""
    answer: Json = None
    """What scorers judge: the output after extraction."""
    answer_error: str | None = None
    """Why no answer could be extracted."""
    tool_calls: tuple[Json, ...] = ()
    """In the OpenAI shape: `{"id", "type": "function", "function": {"name", "arguments": "<JSON text>"}}`."""
    refusal: str | None = None
    finish_reason: str | None = None
    """"stop", "length", "tool_calls", "content_filter", or the vendor's own word."""
    model: str | None = None
    """The model as the server named it."""
    input_tokens: int | None = None
    """All input tokens, cached ones included."""
    output_tokens: int | None = None
    """All output tokens, reasoning ones included."""
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    """Price of the answer and of its failed attempts; None: unknown."""
    ttft_s: float | None = None
    """Request sent to first content token; None unless streamed."""
    latency_s: float | None = None
    """Request sent to last byte, of the attempt that answered; None for a cache hit or a recorded row."""
    queue_s: float | None = None
    """Waiting for limits and for retries, reported apart from latency."""
    attempts: int = 1
    error: Failure | None = None
    cached: bool = False
    """Taken from the response cache: not paid for, not timed."""
    request_key: str | None = None
    """The response cache's key: hash of the whole request, the repeat and the twin number of equal arms."""
    created_at: float = 0.0
    """Unix time, seconds."""
    metadata: Mapping[str, Json] = field(default_factory=_dict)
    spans: tuple[Span, ...] = ()

    @property
    def tokens_per_s(self) -> float | None:
        """How fast its tokens came: `generation_speed`."""
        return generation_speed(self.output_tokens, self.latency_s, self.ttft_s)


def generation_speed(
    output_tokens: int | None, latency_s: float | None, ttft_s: float | None
) -> float | None:
    """Output tokens per second: of a stream those after its first, else all over the whole latency.

    None where it can't be seen: a count or time is missing, or a stream came in one piece (`ONE_PIECE_S`).
    """
    if not output_tokens or not latency_s:
        return None
    if ttft_s is None:
        return output_tokens / latency_s
    generating_s = latency_s - ttft_s
    return (output_tokens - 1) / generating_s if output_tokens > 1 and generating_s > ONE_PIECE_S else None


ONE_PIECE_S = 0.001
"""A stream whose tokens all come within this time was sent in one piece: nothing tells how fast they were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(_Record):
    """What a scorer may return instead of a bare value."""

    value: ScoreValue
    reason: str | None = None
    metadata: Mapping[str, Json] = field(default_factory=_dict)
    cost_trace_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(_Record):
    """One judgement of one trace by one source. The newest per (trace, against, name, source, by) counts."""

    trace_id: str
    name: str
    value: ScoreValue
    """None means not scored; `reason` says why. Never NaN."""
    against: str | None = None
    """The other trace, for pairwise judgements."""
    reason: str | None = None
    source: Source = "code"
    """What judged; `by` says which one."""
    by: str = ""
    """scorer@version, or a person."""
    dimension: Dimension = "accuracy"
    cost_trace_ids: tuple[str, ...] = ()
    """Traces of the judge's own calls: their cost is counted apart."""
    metadata: Mapping[str, Json] = field(default_factory=_dict)
    """Rubric version, sampling probability; for label scorers `predicted` and `expected`."""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult(_Record):
    """What one check found."""

    check: Check
    outcome: Literal["passed", "failed", "open", "invalid", "reported"]
    estimate: float | None = None
    """Candidate minus baseline in the metric's unit; as a share of the baseline where relative (-0.3 is 30 % less);
    for a limit, the candidate's own value. Never turned round: less cost is negative."""
    low: float | None = None
    """None beside a `level`: no finite limit on this side."""
    high: float | None = None
    level: float | None = None
    """Two-sided coverage of [low, high], 0 to 1."""
    baseline_value: float | None = None
    candidate_value: float | None = None
    n: int = 0
    n_groups: int | None = None
    method: str = ""
    p: float | None = None
    """One-sided, of the claim that the outcome makes; for an open check, of the claim that it passes."""
    seed: int | None = None
    needed_n: int | None = None
    """About how many examples would decide it."""
    reason: str = ""
    where: Mapping[str, str] = field(default_factory=_dict)
    """The slice it is about, as in {"language": "de"}; empty for all examples."""
    unit: str = ""
    """"share" (0 to 1; differences are points), "usd", "s", "tokens", or "" for a score's own scale."""

    def __str__(self) -> str:
        ends = ", ".join("unbounded" if end is None else f"{end:.4g}" for end in (self.low, self.high))
        found = "" if self.estimate is None else f" {self.estimate:.4g} [{ends}], n = {self.n:,}"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.check.rule} {self.check.metric}: {self.outcome}{found}{why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(_Record):
    """May this change ship? With everything needed to recompute it."""

    outcome: Literal["ship", "hold", "inconclusive", "invalid"]
    task_id: str
    baseline: str
    candidate: str
    """Content ids of the variants."""
    results: tuple[CheckResult, ...] = ()
    run_ids: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    inputs: Mapping[str, Json] = field(default_factory=_dict)
    """Hashes of dataset, prompts, prices, scorers and rules; seeds."""
    slices: tuple[CheckResult, ...] = ()
    """Differences within slices of the data; they are reported and never decide."""
    cost_case: Mapping[str, Json] = field(default_factory=_dict)
    """What both arms cost and what the change saves, as `costs.section` writes it; it never decides."""
    created_at: float = 0.0

    def __str__(self) -> str:
        answer = f"{self.outcome.capitalize()}: {'; '.join(self.reasons)}"
        warnings = (f"Warning: {warning}" for warning in self.warnings)
        return "\n".join((answer, *(f"  {result}" for result in self.results), *warnings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(_Record):
    """A route that clients call, what serves it, and what licenses it."""

    route: str
    arms: Mapping[str, Variant]
    shares: Mapping[str, float] = field(default_factory=_dict)
    fallbacks: tuple[str, ...] = ()
    guards: tuple[Scorer, ...] = ()
    verdict_id: str | None = None
    approvals: tuple[Json, ...] = ()
