"""One column of the playground against one input: what is asked, and the answer while it comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ratchet import calls, codec, planning, projects, providers
from ratchet.errors import ConfigError, RatchetError
from ratchet.records import Example, Json, Message, Price, Prompt, Trace, Variant

if TYPE_CHECKING:
    from ratchet.ports import Chunk, Provider, Request
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.settings import Settings

MOST_COLUMNS = 4
MOST_MESSAGES = 100
ROLES = ("system", "developer", "user", "assistant")
_SYNTAXES = ("format", "jinja")
_CLOSED = ("recorded", "function")
"""Providers that read files or run code: only a variant of the project's own file may name them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column asks: a variant of the project as it is or changed, or a model on its own."""

    model: str = ""
    variant: str = ""
    """Of ratchet.yaml; the column's model, parameters and messages take the place of its own."""
    params: Mapping[str, Json] = field(default_factory=dict[str, Any])
    messages: tuple[Message, ...] = ()
    syntax: str = "format"
    """How variables stand in the messages: "format" (`{column}`) or "jinja"."""


def column(data: Json) -> Column:
    """The column that a browser sent.

    Raises:
        ConfigError: Something in it is not what it should be; names it, with what was expected.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"a column is {type(data).__name__}, expected an object")
    given = cast("dict[str, Json]", data)
    for name, kind in (
        ("model", str),
        ("variant", str),
        ("params", dict),
        ("messages", list),
        ("syntax", str),
    ):
        if not isinstance(given.get(name, kind()), kind):
            raise ConfigError(f"{name} is {type(given[name]).__name__}, expected {kind.__name__}")
    syntax = given.get("syntax") or "format"
    if syntax not in _SYNTAXES:
        raise ConfigError(f"syntax is {syntax!r}; expected {' or '.join(_SYNTAXES)}")
    messages = [_message(each, at) for at, each in enumerate(given.get("messages", []))]
    if len(messages) > MOST_MESSAGES:
        raise ConfigError(f"{len(messages)} messages; at most {MOST_MESSAGES} fit a column")
    return Column(
        model=given.get("model", "").strip(),
        variant=given.get("variant", ""),
        params=given.get("params", {}),
        messages=tuple(message for message in messages if message["content"]),
        syntax=syntax,
    )


def _message(data: Json, at: int) -> Message:
    role, content = (data.get(key) for key in ("role", "content")) if isinstance(data, dict) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise ConfigError(f"message {at + 1} needs a role ({', '.join(ROLES)}) and a content that is text")
    return {"role": role, "content": content}


def column_of(variant: Variant, name: str = "") -> Column:
    """A column that asks what this variant asks; its prompt must have been read."""
    prompt = variant.prompt if isinstance(variant.prompt, Prompt) else None
    messages = [m for m in (prompt.messages if prompt else ()) if isinstance(m.get("content"), str)]
    return Column(
        model=variant.model or "",
        variant=name,
        params=dict(variant.params),
        messages=tuple({"role": m["role"], "content": m["content"]} for m in messages if m["role"] in ROLES),
        syntax=prompt.syntax if prompt else "format",
    )


def column_of_trace(trace: Trace, variant: Variant | None) -> Column:
    """A column that sends what this trace was sent, word for word: its braces are no variables.

    Args:
        variant: What it was sent to, where that is known.
    """
    sent = trace.input if isinstance(trace.input, list) else []
    messages: list[Message] = []
    for each in sent:
        content = each.get("content") if isinstance(each, dict) else None
        if isinstance(content, str) and each.get("role") in ROLES:
            messages.append({"role": each["role"], "content": content.replace("{", "{{").replace("}", "}}")})
    return Column(
        model=variant.model or "" if variant else "",
        params=dict(variant.params) if variant else {},
        messages=tuple(messages),
    )


def project_of(settings: Settings) -> projects.Project | None:
    """The project of this page, read anew: people change it while the page is open."""
    return projects.load(settings.project_file) if settings.project_file else None


def variant_of(asked: Column, project: projects.Project | None, root: Path) -> Variant:
    """What the column asks, ready to be called.

    Raises:
        ConfigError: There is no such variant, no model, or one that a page may not name.
    """
    base: Variant | None = None
    if asked.variant:
        if project is None or asked.variant not in project.variants:
            known = ", ".join(project.variants) if project else "none: there is no ratchet.yaml"
            raise ConfigError(f"variant {asked.variant!r} is not in the project; known: {known}")
        base = projects.ready(project, {asked.variant: project.variants[asked.variant]})[asked.variant]
        if base.target is not None:
            return base
    if not asked.model:
        raise ConfigError("a column needs a model, as in openai/gpt-4o")
    provider, _ = providers.split_model(asked.model)
    if (provider in _CLOSED or ":" in provider) and (base is None or base.model != asked.model):
        raise ConfigError(
            f"provider {provider!r} reads files or runs code; a column may use it through a variant of ratchet.yaml only"
        )
    prompt = Prompt(messages=asked.messages, syntax=asked.syntax) if asked.messages else None  # type: ignore[arg-type]
    start = base or Variant(model=asked.model)
    return start.replace(model=asked.model, params=dict(asked.params), prompt=prompt, stream=True)


def environment(settings: Settings) -> Mapping[str, str]:
    """Variables that keys are found in: those of `.env`, and of this process, which win."""
    from dotenv import dotenv_values

    path = settings.env_file or settings.root / ".env"
    read = dotenv_values(path) if path.is_file() else {}
    return {**{name: value for name, value in read.items() if value is not None}, **os.environ}


class _Tee:
    """A provider that hands on what comes while it comes."""

    def __init__(self, provider: Provider, queue: asyncio.Queue[Chunk | None]) -> None:
        self._provider = provider
        self._queue = queue

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        async for chunk in self._provider.generate(request):
            self._queue.put_nowait(chunk)
            yield chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One answer to get."""

    variant: Variant
    input: Json
    environ: Mapping[str, str]
    root: Path
    by: str
    """Who asks."""
    example_id: str = ""


async def answer(asked: Asked, store: SQLiteStore) -> AsyncIterator[dict[str, Json]]:
    """The answer as it comes: `{"start"}` once, `{"text"}` often, and `{"end"}` with the trace, which is kept.

    Closing the iterator gives the call up. Whatever goes wrong is in `end.error`, never raised.
    """
    variant = asked.variant
    price = await asyncio.to_thread(planning.price_of, variant, store)
    yield {"start": {"output_usd_per_mtok": price.output_usd_per_mtok if price else None}}
    from ratchet.providers.http import Http

    try:
        providers.check_keys({"this column": variant}, asked.environ)
        endpoint = providers.endpoint_for(variant, asked.environ)
        name = providers.split_model(variant.model)[1] if variant.model else str(variant.target)
        example = Example(id=asked.example_id or "playground", input=asked.input)
        request = calls.request_for(variant, planning.render_of(variant), example, name=name)
    except RatchetError as error:
        yield {"end": {"error": {"kind": "wrong use", "message": str(error)}}}
        return
    async with Http() as http:
        provider = providers.make(endpoint, http, function=variant.function, root=asked.root)
        try:
            async for event in _attempted(asked, provider, request, price, store):
                yield event
        finally:
            if close := getattr(provider, "aclose", None):
                await close()


async def _attempted(
    asked: Asked, provider: Provider, request: Request, price: Price | None, store: SQLiteStore
) -> AsyncIterator[dict[str, Json]]:
    queue: asyncio.Queue[Chunk | None] = asyncio.Queue()
    attempt = asyncio.create_task(calls.attempt(_Tee(provider, queue), request, asked.variant.limits))
    attempt.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (chunk := await queue.get()) is not None:
            if chunk.text:
                yield {"text": codec.clean_text(chunk.text)}
        outcome = await attempt
    finally:
        attempt.cancel()
    trace_id = codec.new_id()
    operation = "invoke_agent" if asked.variant.target is not None else "chat"
    span = calls.span_of(outcome, request, trace_id, number=1, operation=operation)
    trace = calls.trace_of(
        outcome, request, trace_id=trace_id, spans=(span,), cost=calls.price_of(outcome, price), queue_s=0.0,
        origin=calls.Origin(example_id=asked.example_id or None),
    ).replace(metadata={**outcome.metadata, "playground": asked.by})  # fmt: skip
    await store.awrite([trace])
    yield {"end": _end(trace, price)}


def _end(trace: Trace, price: Price | None) -> dict[str, Json]:
    """What the column shows of a finished answer, beside its text."""
    error = trace.error
    return {
        "trace": trace.id,
        "output": trace.output if isinstance(trace.output, str) else codec.dumps(trace.output).decode(),
        "ttft_s": trace.ttft_s,
        "latency_s": trace.latency_s,
        "input_tokens": trace.input_tokens,
        "output_tokens": trace.output_tokens,
        "cost_usd": trace.cost_usd,
        "price": prices_text(price),
        "finish_reason": trace.finish_reason,
        "refusal": trace.refusal,
        "tool_calls": list(trace.tool_calls),
        "error": None if error is None else {"kind": error.kind, "message": error.message},
    }


def prices_text(price: Price | None) -> str:
    """Where the dollars come from."""
    if price is None:
        return "no price is known"
    return price.source or "as given"
