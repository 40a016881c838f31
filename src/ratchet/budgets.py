"""What a run may spend: reserved before a call, settled after it, so that spending can't pass the cap."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from ratchet.ports import Request, Usage
from ratchet.prices import cost_usd
from ratchet.records import Message, Price

ASSUMED_OUTPUT_TOKENS = 8192
"""Reserved for an answer whose `max_tokens` isn't set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The caps of one run, resumed parts included; None: no cap."""

    usd: float | None = None
    tokens: int | None = None
    minutes: float | None = None

    @property
    def limits_spending(self) -> bool:
        return self.usd is not None or self.tokens is not None


@dataclass(frozen=True, slots=True)
class Amount:
    """Dollars and tokens, reserved or spent."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.tokens + other.tokens)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.usd - other.usd, self.tokens - other.tokens)


class Ledger:
    """Spent and reserved against a budget."""

    def __init__(self, budget: Budget, spent: Amount | None = None) -> None:
        self.budget = budget
        self.spent = spent or Amount()
        self.reserved = Amount()

    def fits(self, amount: Amount) -> bool:
        total = self.spent + self.reserved + amount
        usd, tokens = self.budget.usd, self.budget.tokens
        return (usd is None or total.usd <= usd + 1e-12) and (tokens is None or total.tokens <= tokens)

    def reserve(self, amount: Amount) -> bool:
        """Set this aside; False, and nothing set aside, where it would pass the cap."""
        if not self.fits(amount):
            return False
        self.reserved += amount
        return True

    def settle(self, reserved: Amount, spent: Amount) -> None:
        """Give back what was reserved and count what was spent."""
        self.reserved -= reserved
        self.spent += spent


def most(request: Request, price: Price | None) -> Amount:
    """The most that a call can cost: a token is at least one byte of input, and output ends at `max_tokens`.

    Images and other parts that are not text are counted by the bytes of their JSON.
    """
    input_bytes = len(
        orjson.dumps([list(request.messages), list(request.tools), request.response_format], default=str)
    )
    output = max_tokens(request) or ASSUMED_OUTPUT_TOKENS
    usage = Usage(input_tokens=input_bytes, output_tokens=output)
    return Amount(cost_usd(_dearest(price), usage) or 0.0, input_bytes + output)


def _dearest(price: Price | None) -> Price | None:
    """The price with every token at its dearest rate, for an upper bound."""
    if price is None:
        return None
    rates_in = (
        price.input_usd_per_mtok,
        price.cached_usd_per_mtok or 0.0,
        price.cache_write_usd_per_mtok or 0.0,
    )
    rates_out = (price.output_usd_per_mtok, price.reasoning_usd_per_mtok or 0.0)
    above = _dearest(price.above)
    if above is not None:
        rates_in, rates_out = (*rates_in, above.input_usd_per_mtok), (*rates_out, above.output_usd_per_mtok)
    request_usd = max(price.request_usd, above.request_usd if above else 0.0)
    return Price(
        input_usd_per_mtok=max(rates_in), output_usd_per_mtok=max(rates_out), request_usd=request_usd
    )


def likely_tokens(request: Request) -> tuple[int, int]:
    """A guess of (input, output) tokens before the call: four bytes a token, a quarter of `max_tokens` or 256."""
    size = sum(_size(message) for message in request.messages)
    limit = max_tokens(request)
    return size // 4 + 8, min(limit, max(limit // 4, 64)) if limit else 256


def _size(message: Message) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, str) else len(orjson.dumps(content, default=str))


def max_tokens(request: Request) -> int | None:
    """The cap on output tokens under any of its names, or None."""
    for name in (
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "maxTokens",
        "maxOutputTokens",
        "num_predict",
    ):
        value = request.params.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return int(value)
    return None
