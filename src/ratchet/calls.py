"""One call to a model: the request, its attempts with their times, and the trace they become.

Engine, judge and gateway all go through here, so that the same call gives the same trace everywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ratchet import codec, policy
from ratchet.errors import PromptError, ProviderError
from ratchet.ports import Chunk, Provider, Request, Usage
from ratchet.prices import cost_usd
from ratchet.records import Example, Failure, Json, Limits, Message, Price, Span, Trace, Variant

Render = Callable[[Json], list[Message]]


@dataclass(slots=True)
class Outcome:
    """What one attempt gave; mutable while its chunks arrive."""

    start_ns: int
    text: str = ""
    value: Json = None
    tool_calls: tuple[Json, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    request_id: str | None = None
    cost_usd: float | None = None
    ttft_s: float | None = None
    latency_s: float | None = None
    duration_s: float = 0.0
    spans: tuple[Span, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])
    failure: Failure | None = None
    retryable: bool = False
    estimated: bool = False
    """The server gave no usage for a call it surely billed: tokens are a guess."""


def request_for(
    variant: Variant, render: Render | None, example: Example, *, name: str, repeat: int = 0
) -> Request:
    """The request that this variant makes of an example's input.

    Args:
        render: The compiled prompt; None passes a list of messages, or a text as the user's message.
        name: The vendor's name of the model.

    Raises:
        PromptError: The prompt needs a variable that the input doesn't have.
    """
    variables = example.input
    if variant.target is not None:
        messages: Sequence[Message] = ()
    elif render is not None:
        messages = render(variables)
    elif isinstance(variables, list):
        messages = variables
    elif isinstance(variables, str):
        messages = ({"role": "user", "content": variables},)
    elif isinstance(variables, dict) and len(variables) == 1:
        (only,) = variables.values()
        messages = only if isinstance(only, list) else ({"role": "user", "content": _text(only)},)
    else:
        names = ", ".join(variables) if isinstance(variables, dict) else type(variables).__name__
        raise PromptError(
            f"a variant without a prompt needs one text or a list of messages as input, not {names}"
        )
    return Request(
        model=name,
        messages=messages,
        params=variant.params,
        tools=variant.tools,
        response_format=variant.response_format,
        stream=variant.stream,
        input=variables,
        example_id=example.id,
        repeat=repeat,
        connect_s=variant.limits.connect_s,
    )


def _text(value: Json) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def request_key(
    endpoint_key: str, request: Request, *, repeat: int, twin: int, version: str | None = None
) -> str:
    """32 hex digits that name this very request; two requests with one key may share an answer.

    Args:
        twin: Number of this arm among arms that hold the same variant: A/A arms never share an answer.
        version: Of a target: another version is another request.
    """
    whole = [
        endpoint_key, version, request.model, request.messages, request.params, request.tools,
        request.response_format, request.stream, None if request.messages else request.input, repeat, twin,
    ]  # fmt: skip
    try:
        data = orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        data = codec.canonical(whole)
    return hashlib.sha256(data).hexdigest()[:32]


async def attempt(provider: Provider, request: Request, limits: Limits) -> Outcome:
    """One call, timed; a failure is in the outcome, never raised (but for cancellation)."""
    outcome = Outcome(time.time_ns())
    parts: list[str] = []
    started = time.perf_counter()
    sent = started
    first: float | None = None
    last: float | None = None
    streaming = request.stream
    budget_s = min(limits.first_token_s, limits.total_s) if streaming else limits.total_s
    clock = asyncio.timeout(budget_s)
    try:
        async with clock:
            async for chunk in provider.generate(request):
                last = chunk.received_s or time.perf_counter()
                if chunk.sent_s is not None:
                    sent = chunk.sent_s
                if first is None and (chunk.text or chunk.tool_calls or chunk.value is not None):
                    first = last
                    if streaming:
                        clock.reschedule(
                            asyncio.get_running_loop().time() + limits.total_s - (last - started)
                        )
                if chunk.text:
                    parts.append(chunk.text)
                _note(outcome, chunk)
    except ProviderError as error:
        outcome.failure = _failure(error)
        outcome.retryable = error.retryable
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        outcome.failure = _raised(error)  # the provider cancelled itself: no one else dropped this call
    except (
        Exception,
        SystemExit,
    ) as error:  # a provider of the user's own may raise anything: it becomes data
        if isinstance(error, TimeoutError) and clock.expired():
            waited = (
                f"no first token within {budget_s:g} s"
                if streaming and first is None
                else f"no end within {limits.total_s:g} s"
            )
            outcome.failure = Failure(kind="timeout", message=waited)
            outcome.retryable = True
        else:
            outcome.failure = _raised(error)
    outcome.duration_s = time.perf_counter() - started
    outcome.text = codec.clean_text("".join(parts)) if parts else ""
    if outcome.failure is None:
        if last is None:
            outcome.failure = Failure(kind="protocol", message="the provider ended without a single chunk")
            outcome.retryable = True
        else:
            _time(outcome, sent, first if streaming else None, last)
    elif parts and outcome.usage.input_tokens is None:
        _estimate(outcome, request)
    return outcome


def _time(outcome: Outcome, sent: float, first: float | None, last: float) -> None:
    """Our own times, unless the provider brought times measured elsewhere; a recorded row has no others."""
    if outcome.metadata.get("recorded"):
        return
    if outcome.latency_s is None:
        outcome.latency_s = last - sent
    if outcome.ttft_s is None and first is not None:
        outcome.ttft_s = first - sent


def _note(outcome: Outcome, chunk: Chunk) -> None:
    """Everything but text: the last chunk that says it counts."""
    if chunk.value is not None:
        outcome.value = chunk.value
    if chunk.tool_calls is not None:
        outcome.tool_calls = chunk.tool_calls
    if chunk.refusal is not None:
        outcome.refusal = chunk.refusal
    if chunk.finish_reason is not None:
        outcome.finish_reason = chunk.finish_reason
    if chunk.usage is not None:
        outcome.usage = chunk.usage
    if chunk.model is not None:
        outcome.model = chunk.model
    if chunk.request_id is not None:
        outcome.request_id = chunk.request_id
    if chunk.cost_usd is not None:
        outcome.cost_usd = chunk.cost_usd
    if chunk.latency_s is not None:
        outcome.latency_s = chunk.latency_s
    if chunk.ttft_s is not None:
        outcome.ttft_s = chunk.ttft_s
    if chunk.spans:
        outcome.spans += chunk.spans
    if chunk.metadata:
        outcome.metadata = {**outcome.metadata, **chunk.metadata}


def _raised(error: BaseException) -> Failure:
    message = policy.redact(codec.clean_text(f"{type(error).__name__}: {error}"))
    return Failure(kind="function", message=message[:500])


def _failure(error: ProviderError) -> Failure:
    return Failure(
        kind=error.kind,  # type: ignore[arg-type]
        message=policy.redact(codec.clean_text(str(error))),
        status=error.status,
        retry_after_s=error.retry_after_s,
        request_id=error.request_id,
    )


def _estimate(outcome: Outcome, request: Request) -> None:
    """An answer cut in the middle was billed: guess four bytes a token."""
    sent = sum(len(_text(message.get("content"))) for message in request.messages)
    outcome.usage = Usage(input_tokens=sent // 4 + 1, output_tokens=len(outcome.text) // 4 + 1)
    outcome.estimated = True


def span_of(outcome: Outcome, request: Request, trace_id: str, *, number: int, operation: str) -> Span:
    """The attempt as a span with the GenAI attribute names of OpenTelemetry."""
    usage = outcome.usage
    attributes: dict[str, Json] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": request.model,
        "ratchet.attempt": number,
    }
    optional = (
        ("gen_ai.response.model", outcome.model),
        ("gen_ai.response.id", outcome.request_id),
        ("gen_ai.usage.input_tokens", usage.input_tokens),
        ("gen_ai.usage.output_tokens", usage.output_tokens),
        ("ratchet.ttft_s", outcome.ttft_s),
        ("ratchet.usage_estimated", outcome.estimated or None),
    )
    attributes.update({name: value for name, value in optional if value is not None})
    return Span(
        trace_id=trace_id,
        id=codec.new_id(64),
        name=f"{operation} {request.model}",
        kind="function" if operation == "invoke_agent" else "model",
        start_ns=outcome.start_ns,
        duration_ns=int(outcome.duration_s * 1e9),
        attributes=attributes,
        error=outcome.failure,
    )


def adopt(spans: Sequence[Span], trace_id: str, parent: Span) -> tuple[Span, ...]:
    """Spans that a function reported, as part of this trace: those without a parent hang under its own span."""
    return tuple(span.replace(trace_id=trace_id, parent_id=span.parent_id or parent.id) for span in spans)


def price_of(outcome: Outcome, price: Price | None) -> float | None:
    """Dollars of one attempt; a refused or broken call without usage costs nothing; None: unknown."""
    if outcome.cost_usd is not None:
        return outcome.cost_usd
    if outcome.failure is not None and outcome.usage.input_tokens is None:
        return 0.0 if price is not None else None
    return cost_usd(price, outcome.usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in a run an answer belongs; the fields of a trace with these names."""

    run_id: str | None = None
    arm: str | None = None
    example_id: str | None = None
    repeat: int = 0
    group: str | None = None
    request_key: str | None = None


NOWHERE = Origin()


def trace_of(
    outcome: Outcome,
    request: Request,
    *,
    trace_id: str,
    spans: Sequence[Span],
    cost: float | None,
    queue_s: float,
    origin: Origin = NOWHERE,
) -> Trace:
    """The trace of an answer, its last attempt being `outcome`; its answer is its output until one is extracted."""
    usage = outcome.usage
    failed = outcome.failure is not None
    output = outcome.value if outcome.value is not None else outcome.text
    if failed and not outcome.text:
        output = None
    return Trace(
        id=trace_id,
        run_id=origin.run_id,
        arm=origin.arm,
        example_id=origin.example_id,
        repeat=origin.repeat,
        group=origin.group,
        request_key=origin.request_key,
        input=list(request.messages) or request.input,
        output=output,
        answer=output,
        tool_calls=outcome.tool_calls,
        refusal=outcome.refusal,
        finish_reason=outcome.finish_reason,
        model=outcome.model or request.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=cost,
        ttft_s=None if failed else outcome.ttft_s,
        latency_s=None if failed else outcome.latency_s,
        queue_s=queue_s,
        attempts=max(1, sum(1 for span in spans if "ratchet.attempt" in span.attributes)),
        error=outcome.failure,
        created_at=outcome.start_ns / 1e9,
        metadata=outcome.metadata,
        spans=tuple(spans),
    )
