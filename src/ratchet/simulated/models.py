"""A simulated model: what it answers, with which words, tokens and pace. No HTTP here.

Deterministic: the same seed, model, messages and repeat give the same answer and the same delays.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ratchet import codec
from ratchet.ports import Chunk, Request, Usage
from ratchet.records import Json, Message
from ratchet.simulated import plausible
from ratchet.simulated.answers import Answer, AnswerKey, load_answers, message_text
from ratchet.simulated.profiles import PROFILES, Profile, make_profile

CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4
"""Added to each message for its role and separators."""
MEDIA_TOKENS = 256
"""For an image or another part that is not text."""
MARK = "-simulated"
"""Ends the name of the model in every answer."""
REFUSAL = "I can't help with that. (A simulated refusal.)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One answer, decided but not yet sent."""

    model: str
    """As the answer names it: ends in "-simulated"."""
    text: str = ""
    tool_calls: tuple[Json, ...] = ()
    """In the OpenAI shape."""
    refusal: str | None = None
    finish_reason: str = "stop"
    """"stop", "length", "tool_calls" or "content_filter"."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    ttft_s: float = 0.0
    gaps_s: tuple[float, ...] = ()
    """Before each chunk after the first; empty: none."""
    chunk_characters: int = 16
    empty: bool = False
    """Answer without any choice or content: a fault."""

    @property
    def chunks(self) -> list[str]:
        """The text in pieces of `tokens_per_chunk` tokens; for a refusal, its text."""
        text = self.text if self.refusal is None else self.refusal
        return split_text(text, self.chunk_characters)

    @property
    def latency_s(self) -> float:
        """Request received to last byte."""
        return self.ttft_s + sum(self.gaps_s)

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each chunk, without end."""
        yield self.ttft_s
        yield from self.gaps_s
        while True:
            yield 0.0

    def pieces(self) -> Iterator[tuple[float, str]]:
        """(seconds to wait, text) of each chunk."""
        return zip(self.waits(), self.chunks, strict=False)


def split_text(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def count_tokens(text: str) -> int:
    """An estimate: one token for every four characters or part of them."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def count_input_tokens(messages: Sequence[Message], tools: Sequence[Json] = ()) -> int:
    """An estimate: the text, 4 tokens a message, 256 for a part that is not text, and the tools' JSON."""
    total = 0
    for message in messages:
        total += MESSAGE_TOKENS + count_tokens(message_text(message))
        content: Json = message.get("content")
        if isinstance(content, list):
            parts = cast("list[Any]", content)
            total += MEDIA_TOKENS * sum(isinstance(part, dict) and "text" not in part for part in parts)
        for call in message.get("tool_calls") or ():
            total += count_tokens(str(call.get("function")))
    if tools:
        total += count_tokens(codec.dumps(list(tools)).decode())
    return total


class SimulatedModel:
    """Answers like a model of this profile; any number of calls at once.

    Args:
        answers: What it may know; without a key it answers plausibly for the format asked.
    """

    def __init__(self, profile: Profile, *, answers: AnswerKey | None = None, seed: int = 0) -> None:
        self.profile = profile
        self.answers = answers if answers and answers.count else None
        self.seed = seed

    def respond(
        self,
        messages: Sequence[Message],
        params: Mapping[str, Json] | None = None,
        *,
        tools: Sequence[Json] = (),
        response_format: Json = None,
        repeat: int = 0,
        model: str | None = None,
    ) -> Plan:
        """The answer to these messages.

        Args:
            params: `seed` replaces `repeat`; `max_tokens`, `max_completion_tokens`, `stop` and `tool_choice` count.
            repeat: Which call of this very request it is, from 0.
            model: The name the caller used, where it isn't the profile's.
        """
        params = params or {}
        name = model or self.profile.name
        always = self._key(name, messages)
        nth = params.get("seed")
        nth = repeat if nth is None else nth
        once = random.Random(f"{always}/{nth}")
        text, tool_calls = self._answer(messages, params, tools, response_format, always, once)
        return self._plan(name, text, tool_calls, messages, params, tools, once)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The answer chunk by chunk, each after its delay; one chunk unless `request.stream`."""
        plan = self.respond(
            request.messages,
            request.params,
            tools=request.tools,
            response_format=request.response_format,
            repeat=request.repeat,
            model=request.model,
        )
        if request.stream:
            for delay_s, text in plan.pieces():
                if delay_s:
                    await asyncio.sleep(delay_s)
                yield Chunk(text=text)
        written = request.stream and bool(plan.chunks)
        if not written and plan.latency_s:
            await asyncio.sleep(plan.latency_s)
        yield Chunk(
            text="" if request.stream else plan.text,
            tool_calls=plan.tool_calls or None,
            refusal=plan.refusal,
            finish_reason=plan.finish_reason,
            usage=plan.usage,
            model=plan.model,
            cost_usd=plan.cost_usd,
            metadata={"simulated": True},
        )

    def _key(self, name: str, messages: Sequence[Message]) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.seed}\0{name}\0".encode())
        for message in messages:
            digest.update(f"{message.get('role')}\1{message_text(message)}\0".encode("utf-8", "replace"))
        return digest.hexdigest()

    def _answer(
        self,
        messages: Sequence[Message],
        params: Mapping[str, Json],
        tools: Sequence[Json],
        response_format: Json,
        always: str,
        once: random.Random,
    ) -> tuple[str, tuple[Json, ...]]:
        row = self.answers.find(messages) if self.answers else None
        forced = _forced_tool(params.get("tool_choice"), tools)
        if row is not None:
            value = self._known(row, always, once)
            if call := _as_tool_call(value, tools, once):
                return "", (call,)
            if forced is None:
                return self._text(value, response_format, once), ()
        varies = self.profile.noise > 0 and random.Random(f"{always}/varies").random() < self.profile.noise
        rng = once if varies else random.Random(always)
        tool = forced or (
            tools[0] if tools and params.get("tool_choice") != "none" and _asked_by_user(messages) else None
        )
        if tool is not None:
            return "", (_call_tool(tool, rng),)
        prompt = "\n\n".join(message_text(message) for message in messages)
        text = plausible.answer(prompt, response_format, rng)
        return text if response_format or text[:1] in "{<" else self._explain(text, once), ()

    def _known(self, row: Answer, always: str, once: random.Random) -> Json:
        """The right answer or a wrong one; a share `noise` of examples is drawn anew at each repeat."""
        rng = random.Random(always)
        if rng.random() < self.profile.noise:
            rng = once
        if rng.random() < self.profile.p_right(row.difficulty):
            return row.answer
        vocabulary = row.labels or (self.answers.vocabulary if self.answers else ())
        return plausible.wrong_answer(row.answer, row.wrong, vocabulary, rng)

    def _text(self, value: Json, response_format: Json, once: random.Random) -> str:
        if not isinstance(value, str):
            return codec.dumps(value).decode()
        schema = plausible.schema_of(response_format)
        if schema is None and not response_format:
            return self._explain(value, once)
        return plausible.fit(value, schema, once)

    def _explain(self, answer: str, once: random.Random) -> str:
        words = self.profile.verbosity
        form = self.profile.format or ("{explanation}\n\n{answer}" if words else "")
        if not form:
            return answer
        explanation = plausible.prose(words, once) if words else ""
        return form.replace("{explanation}", explanation).replace("{answer}", answer)

    def _plan(
        self,
        name: str,
        text: str,
        tool_calls: tuple[Json, ...],
        messages: Sequence[Message],
        params: Mapping[str, Json],
        tools: Sequence[Json],
        once: random.Random,
    ) -> Plan:
        profile = self.profile
        finish = "tool_calls" if tool_calls else "stop"
        text = _stop(text, params.get("stop"))
        limit = params.get("max_tokens") or params.get("max_completion_tokens")
        if isinstance(limit, int) and not tool_calls and count_tokens(text) > limit > 0:
            text, finish = text[: limit * CHARACTERS_PER_TOKEN], "length"
        usage = make_usage(profile, messages, tools, text, tool_calls)
        chunk_characters = profile.tokens_per_chunk * CHARACTERS_PER_TOKEN
        ttft_s, gaps_s = 0.0, ()
        if not profile.instant:
            ttft_s = profile.ttft_s.draw(once)
            written = text or "".join(call["function"]["arguments"] for call in tool_calls)
            more = max(0, -(-len(written) // chunk_characters) - 1)
            gaps_s = tuple(profile.gap_s.draw(once) for _ in range(more))
        return Plan(
            model=name if name.endswith(MARK) else name + MARK,
            text=text,
            tool_calls=tool_calls,
            finish_reason=finish,
            usage=usage,
            cost_usd=cost(profile, usage),
            ttft_s=ttft_s,
            gaps_s=gaps_s,
            chunk_characters=chunk_characters,
        )


def make_usage(
    profile: Profile,
    messages: Sequence[Message],
    tools: Sequence[Json],
    text: str,
    tool_calls: Sequence[Json] = (),
) -> Usage:
    """Tokens by the estimate of `count_tokens`; cached and reasoning ones as the profile says."""
    given = count_input_tokens(messages, tools)
    made = count_tokens(text) + profile.reasoning_tokens
    for call in tool_calls:
        made += count_tokens(call["function"]["name"] + call["function"]["arguments"])
    return Usage(
        input_tokens=given,
        output_tokens=max(1, made),
        cached_tokens=int(given * profile.cached_share),
        reasoning_tokens=profile.reasoning_tokens,
    )


def cost(profile: Profile, usage: Usage) -> float | None:
    """Dollars at the profile's price; None where it has none."""
    price = profile.price
    if price is None:
        return None
    cached, reasoning = usage.cached_tokens or 0, usage.reasoning_tokens or 0
    fresh = (usage.input_tokens or 0) - cached
    written = (usage.output_tokens or 0) - reasoning
    cached_rate = price.cached_usd_per_mtok
    reasoning_rate = price.reasoning_usd_per_mtok
    total = fresh * price.input_usd_per_mtok + written * price.output_usd_per_mtok
    total += cached * (price.input_usd_per_mtok if cached_rate is None else cached_rate)
    total += reasoning * (price.output_usd_per_mtok if reasoning_rate is None else reasoning_rate)
    return price.request_usd + total / 1_000_000


def load_model(
    name: str,
    *,
    settings: Mapping[str, Json] | None = None,
    answers: Sequence[str | Path] = (),
    seed: int = 0,
) -> SimulatedModel:
    """The model of this name: a shipped profile, else "instant", with `settings` of `Profile` changed.

    Args:
        answers: Files of the answer key.

    Raises:
        ConfigError: A setting is unknown or out of range.
        DatasetError: An answer key can't be read.
    """
    base = name if name in PROFILES else "instant"
    profile = make_profile(name, settings or {}, base=base)
    return SimulatedModel(profile, answers=load_answers(*answers), seed=seed)


def _stop(text: str, stop: Json) -> str:
    """The text before the first of the stop sequences."""
    for each in [stop] if isinstance(stop, str) else stop if isinstance(stop, (list, tuple)) else ():
        if isinstance(each, str) and each:
            text = text.split(each, 1)[0]
    return text


def _asked_by_user(messages: Sequence[Message]) -> bool:
    return bool(messages) and messages[-1].get("role") == "user"


def _forced_tool(choice: Json, tools: Sequence[Json]) -> Json:
    """The tool that must be called, or None."""
    if not tools or choice in (None, "auto", "none"):
        return None
    if isinstance(choice, dict):
        wanted = cast("dict[str, Any]", choice).get("function", {}).get("name")
        return next((tool for tool in tools if tool["function"]["name"] == wanted), None)
    return tools[0]


def _call_tool(tool: Json, rng: random.Random) -> Json:
    function = tool["function"]
    schema = function.get("parameters") or {"type": "object"}
    return _tool_call(function["name"], plausible.instance(schema, rng), rng)


def _as_tool_call(value: Json, tools: Sequence[Json], rng: random.Random) -> Json:
    """The tool call that an answer `{"name", "arguments"}` means, where such a tool is offered."""
    if not tools:
        return None
    if isinstance(value, str) and re.match(r"\s*\{", value):
        try:
            value = codec.parse(value)
        except codec.CodecError:
            return None
    if not isinstance(value, dict):
        return None
    entry = cast("dict[str, Any]", value)
    name, arguments = entry.get("name"), entry.get("arguments", entry.get("parameters"))
    if not isinstance(arguments, dict) or name not in [tool["function"]["name"] for tool in tools]:
        return None
    return _tool_call(cast("str", name), cast("Json", arguments), rng)


def _tool_call(name: str, arguments: Json, rng: random.Random) -> Json:
    return {
        "id": f"call_{rng.getrandbits(96):024x}",
        "type": "function",
        "function": {"name": name, "arguments": codec.dumps(arguments).decode()},
    }
