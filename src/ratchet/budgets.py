"""What a run may spend: reserved before a call, settled after it, so that spending can't pass the cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ratchet.ports import Request, Usage
from ratchet.prices import cost_usd
from ratchet.records import Json, Message, Price

ASSUMED_OUTPUT_TOKENS = 8192
"""Reserved for an answer whose `max_tokens` isn't set."""
MOST_IMAGE_TOKENS = (
    ("gpt-4o-mini", 48_169),  # 2,833 + 5,667 for each of at most 8 tiles of 512 px
    ("gpt-4", 3_779),  # 85 + 170 a tile are less than 4.1-nano's 1,536 patches of 32 px at 2.46 tokens
    ("claude", 4_784),  # patches of 28 px at the highest native resolution, 2,576 px
    ("gemini", 4_128),  # 258 for each of 16 tiles of 768 px; `media_resolution` takes at most 2,240
)
"""The most tokens of one image by what stands in the model's name: worked out from the vendors' rules for tiles and
patches as known in 2026; too much rather than too little."""
MOST_TOKENS_OF_ANY_IMAGE = 10_000
"""Of every other model: gpt-5's budget of patches at `detail: original`, the largest that a vendor publishes."""
LIKELY_IMAGE_TOKENS = 1_000
"""A megapixel is 765 tokens to gpt-4o, 1,300 to Claude and 1,000 to 1,500 to Gemini."""


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
    """The most that a call can cost: a token is at least one byte of input, and each of `n` answers ends at `max_tokens`.

    An image counts by its model (`MOST_IMAGE_TOKENS`), whether it is sent or named by a URL. Every other part that is
    not text counts by the bytes of its JSON, which says nothing of a file, sound or video that is only named.
    """
    messages, images = _without_images(request.messages)
    input_bytes = len(orjson.dumps([messages, list(request.tools), request.response_format], default=str))
    tokens_in = input_bytes + images * most_image_tokens(request.model)
    output = answers(request) * (max_tokens(request) or ASSUMED_OUTPUT_TOKENS)
    usage = Usage(input_tokens=tokens_in, output_tokens=output)
    return Amount(cost_usd(_dearest(price), usage) or 0.0, tokens_in + output)


def most_image_tokens(model: str) -> int:
    """The most tokens that one image can be to this model.

    >>> most_image_tokens("openai/gpt-4o-mini-2024-07-18"), most_image_tokens("another")
    (48169, 10000)
    """
    name = model.lower()
    return next((tokens for part, tokens in MOST_IMAGE_TOKENS if part in name), MOST_TOKENS_OF_ANY_IMAGE)


def _without_images(messages: Sequence[Message]) -> tuple[list[Message], int]:
    """The messages with their images left out, and how many those are."""
    kept: list[Message] = []
    images = 0
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            others = [part for part in content if not _is_image(part)]
            images += len(content) - len(others)
            message = {**message, "content": others}
        kept.append(message)
    return kept, images


def _is_image(part: Json) -> bool:
    """Whether this is an image in OpenAI's, Anthropic's or Bedrock's shape."""
    return isinstance(part, dict) and (
        part.get("type") in ("image_url", "input_image", "image") or "image" in part
    )


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
    """A guess of (input, output) tokens before the call: four bytes a token, a quarter of `max_tokens` or 256 an answer."""
    messages, images = _without_images(request.messages)
    size = sum(_size(message) for message in messages)
    limit = max_tokens(request)
    answer = min(limit, max(limit // 4, 64)) if limit else 256
    return size // 4 + 8 + images * LIKELY_IMAGE_TOKENS, answer * answers(request)


def _size(message: Message) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, str) else len(orjson.dumps(content, default=str))


def answers(request: Request) -> int:
    """How many answers the call asks for: `n` under any of its names, 1 without it."""
    asked = [request.params.get(name) for name in ("n", "candidate_count", "candidateCount", "best_of")]
    return max(
        [int(n) for n in asked if isinstance(n, (int, float)) and not isinstance(n, bool) and n >= 1],
        default=1,
    )


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
