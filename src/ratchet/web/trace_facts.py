"""What the page of one answer says in words and numbers: how it ended, where its time went, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from ratchet.records import Json, Price, Score, ScoreValue, Trace
from ratchet.reports import waterfalls
from ratchet.reports.waterfalls import Step, seconds

OutcomeTone = Literal["fine", "bad", "odd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the answer ended."""

    word: str
    tone: OutcomeTone
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One kind of token, what it costs each, and what it cost."""

    name: str
    tokens: int | None
    usd_per_mtok: float | None
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the answer cost, split as its price list splits it."""

    sentence: str
    lines: tuple[CostLine, ...]
    total_usd: float | None
    source: str
    """Of the price; empty where none is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of the input."""

    part: str
    role: str
    content: Json
    calls: tuple[ToolCall, ...] = ()
    name: str = ""
    """Of the tool or the call that a result belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model asked for."""

    part: str
    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """The newest judgement of one name by one source, with those it replaced."""

    score: Score
    value: str
    tone: str
    """"q0" to "q4" for values between 0 and 1, else empty."""
    part: str
    details: tuple[tuple[str, str], ...]
    """Rubric version, sampling probability and whatever else was noted."""
    older: tuple[Score, ...]


def outcome(trace: Trace) -> Outcome:
    """How the answer ended, in a word and a sentence."""
    if trace.error is not None:
        status = f", status {trace.error.status}" if trace.error.status else ""
        tried = f" after {trace.attempts:,} attempts" if trace.attempts > 1 else ""
        return Outcome(word="Failed", tone="bad", detail=f"{trace.error.kind}{status}{tried}")
    if trace.refusal is not None:
        return Outcome(word="Refused", tone="odd", detail="the model declined to answer")
    if trace.answer_error is not None:
        return Outcome(word="Unparsable", tone="odd", detail="no answer could be taken from the output")
    if trace.finish_reason == "length":
        return Outcome(word="Cut short", tone="odd", detail="the output reached its limit of tokens")
    if trace.finish_reason == "content_filter":
        return Outcome(word="Filtered", tone="odd", detail="the vendor's filter ended the output")
    return Outcome(
        word="Answered", tone="fine", detail="from the cache, without a call" if trace.cached else ""
    )


def where_time_went(trace: Trace) -> str:
    """A sentence or three: the answer's latency and its parts, the wait before it, the attempts that failed."""
    if trace.cached:
        return "No time: the answer was taken from the response cache, and no call was made."
    said: list[str] = []
    if trace.latency_s is not None:
        said.append(_latency(trace, trace.latency_s))
        around_s = waterfalls.around_s(trace)
        if around_s > max(0.001, 0.05 * trace.latency_s):
            said.append(f"Connecting, before the request was sent, took {seconds(around_s)}.")
    if busiest := _busiest(waterfalls.steps(trace)):
        said.append(busiest)
    failed = [s for s in trace.spans if "ratchet.attempt" in s.attributes and s.error is not None]
    if failed:
        spent = sum(s.duration_ns for s in failed) / 1e9
        which = "The attempt" if len(failed) == 1 else f"{len(failed):,} attempts"
        kinds = ", ".join(dict.fromkeys(s.error.kind for s in failed if s.error is not None))
        said.append(f"{which} that failed ({kinds}) took {seconds(spent)}.")
    if trace.queue_s:
        said.append(f"Before and between calls it waited {seconds(trace.queue_s)} for limits and retries.")
    return " ".join(said) or "It was not timed."


def _latency(trace: Trace, latency_s: float) -> str:
    if trace.ttft_s is None or not 0 < trace.ttft_s < latency_s:
        return f"{seconds(latency_s)} from request to last byte."
    generating_s = latency_s - trace.ttft_s
    rate = f" at {trace.tokens_per_s:,.0f} tokens a second" if trace.tokens_per_s else ""
    tokens = f" for {trace.output_tokens:,} tokens{rate}" if trace.output_tokens else ""
    return (
        f"{seconds(latency_s)} from request to last byte: {seconds(trace.ttft_s)} "
        f"({_share(trace.ttft_s, latency_s)}) to the first token, {seconds(generating_s)} after it{tokens}."
    )


def _busiest(rows: Sequence[Step]) -> str:
    """The steps inside a function that took most of it."""
    inner = [row for row in rows if row.depth == 1]
    whole = sum(row.duration_s for row in rows if row.is_parent and row.depth == 0)
    if not inner or not whole:
        return ""
    most = sorted(inner, key=lambda row: -row.duration_s)[:3]
    parts = ", ".join(
        f"{row.name} {seconds(row.duration_s)} ({_share(row.duration_s, whole)})" for row in most
    )
    return f"Inside it, most went to {parts}."


def what_it_cost(trace: Trace, price: Price | None) -> Cost:
    """The cost of the answer by kind of token, at the price list of its run."""
    lines = _lines(trace, price)
    source = _source(price)
    if trace.cached:
        sentence = "Nothing: the answer was taken from the response cache."
        return Cost(sentence=sentence, lines=lines, total_usd=trace.cost_usd, source=source)
    if trace.cost_usd is None:
        why = (
            "no price is known for this model"
            if price is None
            else "the server did not say how many tokens it took"
        )
        return Cost(sentence=f"Unknown: {why}.", lines=lines, total_usd=None, source=source)
    known = [line for line in lines if line.usd]
    named = sum(line.usd or 0.0 for line in known)
    parts = (
        [f"{_share(line.usd or 0.0, trace.cost_usd)} for {line.name}" for line in known]
        if trace.cost_usd > 0
        else []
    )
    rest = trace.cost_usd - named
    if known and trace.cost_usd > 0 and rest > 0.005 * trace.cost_usd:
        why = "attempts that failed" if trace.attempts > 1 else "what the price list does not name"
        parts.append(f"{_share(rest, trace.cost_usd)} for {why}")
    sentence = f"{', '.join(parts)}." if parts else "Nothing was billed." if not trace.cost_usd else ""
    return Cost(sentence=sentence, lines=lines, total_usd=trace.cost_usd, source=source)


def _lines(trace: Trace, price: Price | None) -> tuple[CostLine, ...]:
    while (
        price
        and price.above
        and price.above_tokens is not None
        and (trace.input_tokens or 0) > price.above_tokens
    ):
        price = price.above
    cached, written = trace.cached_tokens or 0, trace.cache_write_tokens or 0
    reasoning = trace.reasoning_tokens or 0
    plain = None if trace.input_tokens is None else max(trace.input_tokens - cached - written, 0)
    answer = None if trace.output_tokens is None else max(trace.output_tokens - reasoning, 0)
    rate_in = price.input_usd_per_mtok if price else None
    rate_out = price.output_usd_per_mtok if price else None
    rows: list[tuple[str, int | None, float | None]] = [("input", plain, rate_in)]
    if cached:
        rows.append(("input from the cache", cached, _rate(price and price.cached_usd_per_mtok, rate_in)))
    if written:
        rows.append(
            ("input written to the cache", written, _rate(price and price.cache_write_usd_per_mtok, rate_in))
        )
    rows.append(("output", answer, rate_out))
    if reasoning:
        rows.append(("reasoning", reasoning, _rate(price and price.reasoning_usd_per_mtok, rate_out)))
    lines = [
        CostLine(
            name=name,
            tokens=n,
            usd_per_mtok=rate,
            usd=n * rate / 1e6 if n is not None and rate is not None else None,
        )
        for name, n, rate in rows
    ]
    if price and price.request_usd:
        lines.append(CostLine(name="the request", tokens=None, usd_per_mtok=None, usd=price.request_usd))
    return tuple(lines)


def _rate(rate: float | None, otherwise: float | None) -> float | None:
    return otherwise if rate is None else rate


def _source(price: Price | None) -> str:
    if price is None:
        return ""
    dated = f", as of {price.as_of}" if price.as_of else ""
    return f"{price.source or 'set in the project'}{dated}"


def dollars(value: float | None) -> str:
    """An amount with three figures that count: "$0.00123"; "unknown" for None.

    >>> dollars(0.001234), dollars(12.5), dollars(0)
    ('$0.00123', '$12.50', '$0')
    """
    if value is None:
        return "unknown"
    if not value:
        return "$0"
    if abs(value) >= 1:
        return f"${value:,.2f}"
    return f"${value:.9f}".rstrip("0") if abs(value) < 1e-6 else f"${float(f'{value:.3g}'):.9f}".rstrip("0")


def _share(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 1 or not share else "under 1 %"


def messages(trace: Trace) -> list[Message]:
    """What was sent, message by message; empty where the input is no list of messages."""
    if not isinstance(trace.input, list):
        return []
    found: list[Message] = []
    for index, item in enumerate(cast("list[Any]", trace.input)):
        if not isinstance(item, Mapping):
            return []
        message = cast("Mapping[str, Json]", item)
        found.append(
            Message(
                part=f"input.{index}",
                role=str(message.get("role") or "message"),
                content=_content(message.get("content")),
                calls=tool_calls(message.get("tool_calls") or (), f"input.{index}.call"),
                name=str(message.get("name") or message.get("tool_call_id") or ""),
            )
        )
    return found


def _content(content: Json) -> Json:
    """Text where all parts are text, else the parts as they are."""
    if not isinstance(content, list):
        return content
    parts = cast("list[Any]", content)
    texts = [
        str(part["text"]) for part in parts if isinstance(part, Mapping) and set(part) == {"type", "text"}
    ]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def tool_calls(calls: Sequence[Json], part: str) -> tuple[ToolCall, ...]:
    """The calls in the OpenAI shape; what has another shape is shown whole as the arguments."""
    found: list[ToolCall] = []
    for index, call in enumerate(calls if isinstance(calls, (list, tuple)) else ()):
        function = call.get("function") if isinstance(call, Mapping) else None
        if isinstance(function, Mapping):
            name, arguments = str(function.get("name") or ""), function.get("arguments")
            id_ = str(cast("Mapping[str, Json]", call).get("id") or "")
        else:
            name, arguments, id_ = "", call, ""
        found.append(ToolCall(part=f"{part}.{index}", id=id_, name=name, arguments=arguments))
    return tuple(found)


def score_lines(scores: Sequence[Score]) -> list[ScoreLine]:
    """The newest of each (name, against, source, by), people first, then the judge, then code.

    Args:
        scores: Of one trace, the older ones included, oldest first.
    """
    kept: dict[tuple[str, str | None, str, str], list[Score]] = {}
    for score in scores:
        kept.setdefault((score.name, score.against, score.source, score.by), []).append(score)
    order = {"human": 0, "user": 1, "judge": 2, "code": 3}
    newest = sorted(kept.values(), key=lambda all_: (order.get(all_[-1].source, 4), all_[-1].name))
    return [
        ScoreLine(
            score=all_[-1],
            value=score_text(all_[-1].value),
            tone=_grade(all_[-1].value),
            part=f"reason.{index}",
            details=tuple((name, _short(value)) for name, value in all_[-1].metadata.items()),
            older=tuple(reversed(all_[:-1])),
        )
        for index, all_ in enumerate(newest)
    ]


def score_text(value: ScoreValue) -> str:
    """A score's value as text: "pass", "0.83", a label, labels, or "not scored"."""
    if value is None:
        return "not scored"
    if isinstance(value, bool):
        return "pass" if value else "fail"
    if isinstance(value, (int, float)):
        return f"{value:.4g}"
    return value if isinstance(value, str) else ", ".join(sorted(value)) or "(none)"


def _grade(value: ScoreValue) -> str:
    if isinstance(value, str) or value is None or isinstance(value, frozenset) or not 0 <= value <= 1:
        return ""
    return f"q{min(4, int(float(value) * 5))}"


def _short(value: Json) -> str:
    from ratchet.reports.texts import as_text, cut

    return cut(" ".join(as_text(value).split()), 200)
