"""What a model costs: looked up in genai-prices, overridable, unknown where unknown and never 0."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from ratchet import codec
from ratchet.ports import Store, Usage
from ratchet.records import Price

# our provider names -> genai-prices' own
_PROVIDER_IDS = {"gemini": "google", "vertex": "google", "bedrock": "aws", "openai-responses": "openai"}
# models run on hardware of one's own, or made up: no price list knows them
_UNLISTED = frozenset({"vllm", "ollama", "lmstudio", "simulated", "recorded", "local"})


def cost_usd(price: Price | None, usage: Usage) -> float | None:
    """Dollars for these tokens; None where the price or the token counts are unknown.

    A price whose rates are 0 needs no counts: a function that runs here, or is paid by the request.

    Cached and cache-written tokens are part of the input, reasoning tokens part of the output: each is taken out
    of its total and priced at its own rate, as vendors bill.

    >>> cost_usd(Price(input_usd_per_mtok=1, output_usd_per_mtok=2), Usage(input_tokens=1000, output_tokens=500))
    0.002
    """
    if price is None:
        return None
    if usage.input_tokens is None or usage.output_tokens is None:
        return None if price.input_usd_per_mtok or price.output_usd_per_mtok else price.request_usd
    while price.above and price.above_tokens is not None and usage.input_tokens > price.above_tokens:
        price = price.above
    cached = usage.cached_tokens or 0
    written = usage.cache_write_tokens or 0
    reasoning = usage.reasoning_tokens or 0
    rate_in, rate_out = price.input_usd_per_mtok, price.output_usd_per_mtok
    dollars = (
        max(usage.input_tokens - cached - written, 0) * rate_in
        + cached * _rate(price.cached_usd_per_mtok, rate_in)
        + written * _rate(price.cache_write_usd_per_mtok, rate_in)
        + max(usage.output_tokens - reasoning, 0) * rate_out
        + reasoning * _rate(price.reasoning_usd_per_mtok, rate_out)
    )
    return dollars / 1e6 + price.request_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What the dollars of one call were paid for; the parts add up to its price."""

    input_usd: float = 0.0
    """Without what was read from or written to the provider's cache."""
    cached_usd: float = 0.0
    cache_write_usd: float = 0.0
    output_usd: float = 0.0
    """Without reasoning."""
    reasoning_usd: float = 0.0
    request_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        return (
            self.input_usd + self.cached_usd + self.cache_write_usd + self.output_usd + self.reasoning_usd
            + self.request_usd
        )  # fmt: skip


def split(price: Price, usage: Usage) -> Split | None:
    """The parts of `cost_usd(price, usage)`; None where that is None.

    >>> split(Price(input_usd_per_mtok=1, output_usd_per_mtok=2), Usage(input_tokens=1000, output_tokens=500)).output_usd
    0.001
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        known = cost_usd(price, usage)
        return None if known is None else Split(request_usd=known)
    while price.above and price.above_tokens is not None and usage.input_tokens > price.above_tokens:
        price = price.above
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    reasoning = usage.reasoning_tokens or 0
    rate_in, rate_out = price.input_usd_per_mtok / 1e6, price.output_usd_per_mtok / 1e6
    return Split(
        input_usd=max(usage.input_tokens - cached - written, 0) * rate_in,
        cached_usd=cached * _rate(price.cached_usd_per_mtok, price.input_usd_per_mtok) / 1e6,
        cache_write_usd=written * _rate(price.cache_write_usd_per_mtok, price.input_usd_per_mtok) / 1e6,
        output_usd=max(usage.output_tokens - reasoning, 0) * rate_out,
        reasoning_usd=reasoning * _rate(price.reasoning_usd_per_mtok, price.output_usd_per_mtok) / 1e6,
        request_usd=price.request_usd,
    )


def _rate(rate: float | None, otherwise: float) -> float:
    return otherwise if rate is None else rate


def lookup(provider: str, model: str, *, store: Store | None = None) -> Price | None:
    """The list price of a model today, or None.

    Args:
        store: Remembers the answer for this version of the price list, because reading the list takes 0.3 s.
    """
    if provider in _UNLISTED or ":" in provider:
        return None
    version = importlib.metadata.version("genai-prices")
    ref = f"prices/{version}/{provider}/{model}"
    if store is not None and (known := store.ref(ref)):
        data = store.content(known)
        return codec.decode(Price, data["price"]) if data and data.get("price") else None
    price = _from_list(provider, model, version)
    if store is not None:
        content = {
            "model": f"{provider}/{model}",
            "price": codec.encode(price) if price else None,
            "list": version,
        }
        content_id = codec.content_id(content)
        store.put_content("price", content_id, content)
        store.move_ref(ref, content_id, expected=None, by="prices.lookup")
    return price


def _from_list(provider: str, model: str, version: str) -> Price | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    try:
        _, info = snapshot.find_provider_model(model, None, _PROVIDER_IDS.get(provider, provider), None)
    except LookupError:
        return None
    listed = info.get_prices(snapshot.timestamp) if hasattr(info, "get_prices") else info.prices
    source = f"genai-prices {version}"
    return _price(listed, source)


def _price(listed: Any, source: str) -> Price | None:
    """Our Price from genai-prices' `ModelPrice`: base rates, and the rates above each threshold."""
    names = {
        "input_usd_per_mtok": "input_mtok",
        "output_usd_per_mtok": "output_mtok",
        "cached_usd_per_mtok": "cache_read_mtok",
        "cache_write_usd_per_mtok": "cache_write_mtok",
    }
    values = {ours: getattr(listed, theirs, None) for ours, theirs in names.items()}
    if values["input_usd_per_mtok"] is None or values["output_usd_per_mtok"] is None:
        return None
    base = {name: float(getattr(value, "base", value)) for name, value in values.items() if value is not None}
    request_usd = float(getattr(listed, "requests_kcount", None) or 0) / 1000
    steps: dict[int, dict[str, float]] = {0: base}
    for name, value in values.items():
        for tier in getattr(value, "tiers", None) or ():
            steps.setdefault(int(tier.start), {})[name] = float(tier.price)
    rates, prices = dict[str, float](), list[Price]()
    for start in sorted(steps):
        rates = {**rates, **steps[start]}
        prices.append(_plain_price(rates, request_usd, source))
    price = prices.pop()
    for start in sorted(steps)[:0:-1]:
        price = prices.pop().replace(above_tokens=start, above=price)
    return price


def _plain_price(rates: dict[str, float], request_usd: float, source: str) -> Price:
    return Price(
        input_usd_per_mtok=rates["input_usd_per_mtok"],
        output_usd_per_mtok=rates["output_usd_per_mtok"],
        cached_usd_per_mtok=rates.get("cached_usd_per_mtok"),
        cache_write_usd_per_mtok=rates.get("cache_write_usd_per_mtok"),
        request_usd=request_usd,
        source=source,
    )
