from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ratchet import codec
from ratchet.ports import Store, Usage
from ratchet.prices import cost_usd, lookup
from ratchet.records import Price
from ratchet.stores import open_store

PLAIN = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=8.0)
FULL = PLAIN.replace(
    cached_usd_per_mtok=0.5, cache_write_usd_per_mtok=2.5, reasoning_usd_per_mtok=10.0, request_usd=0.01
)
TIERED = PLAIN.replace(
    above_tokens=1000, above=PLAIN.replace(input_usd_per_mtok=4.0, output_usd_per_mtok=16.0, above_tokens=2000, above=PLAIN.replace(input_usd_per_mtok=40.0))
)  # fmt: skip


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (PLAIN, Usage(input_tokens=1000, output_tokens=500), 0.002 + 0.004),
        (PLAIN, Usage(input_tokens=1000, output_tokens=500, cached_tokens=400, reasoning_tokens=100), 0.002 + 0.004),
        # 100 plain at 2, 600 cached at 0.5, 300 written at 2.5; 400 visible at 8, 100 reasoning at 10; one request
        (FULL, Usage(input_tokens=1000, output_tokens=500, cached_tokens=600, cache_write_tokens=300, reasoning_tokens=100),
         0.0002 + 0.0003 + 0.00075 + 0.0032 + 0.001 + 0.01),
        (FULL, Usage(input_tokens=0, output_tokens=0), 0.01),
        (TIERED, Usage(input_tokens=1000, output_tokens=100), 0.002 + 0.0008),
        (TIERED, Usage(input_tokens=1001, output_tokens=100), 1001 * 4e-6 + 0.0016),
        (TIERED, Usage(input_tokens=2001, output_tokens=100), 2001 * 40e-6 + 0.0008),
        (Price(input_usd_per_mtok=0, output_usd_per_mtok=0, request_usd=0.02), Usage(), 0.02),
        (Price(input_usd_per_mtok=0, output_usd_per_mtok=0), Usage(), 0.0),
    ],
)  # fmt: skip
def test_dollars_as_reckoned_by_hand(price: Price, usage: Usage, dollars: float) -> None:
    assert cost_usd(price, usage) == pytest.approx(dollars, rel=1e-12)


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)])
def test_unknown_tokens_and_unknown_prices_are_unknown_dollars_never_zero(usage: Usage) -> None:
    assert cost_usd(PLAIN, usage) is None
    assert cost_usd(None, Usage(input_tokens=5, output_tokens=5)) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_server_that_counts_nonsense_never_makes_a_cost_negative(
    sent: int, got: int, cached: int, reasoning: int
) -> None:
    cost = cost_usd(
        FULL, Usage(input_tokens=sent, output_tokens=got, cached_tokens=cached, reasoning_tokens=reasoning)
    )
    assert cost is not None
    assert cost >= 0


@pytest.mark.parametrize(
    ("provider", "model", "rates"),
    [
        ("openai", "gpt-4o", (2.5, 10.0, 1.25)),
        ("openai-responses", "gpt-4o", (2.5, 10.0, 1.25)),
        ("azure", "gpt-4o", (2.5, 10.0, 1.25)),
        ("openai", "gpt-4o-mini", (0.15, 0.6, 0.075)),
        ("anthropic", "claude-sonnet-4-5", (3.0, 15.0, 0.3)),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", (3.0, 15.0, 0.3)),
    ],
)
def test_list_prices_of_known_models(provider: str, model: str, rates: tuple[float, float, float]) -> None:
    price = lookup(provider, model)
    assert price is not None
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok, price.cached_usd_per_mtok) == rates
    assert price.source.startswith("genai-prices ")


def test_a_long_prompt_has_its_own_price_where_the_vendor_says_so() -> None:
    price = lookup("gemini", "gemini-2.5-pro")
    assert price is not None
    assert price.above is not None
    assert price.above_tokens == 200_000
    assert price.above.input_usd_per_mtok == 2 * price.input_usd_per_mtok
    below, above = (cost_usd(price, Usage(input_tokens=n, output_tokens=0)) for n in (200_000, 200_001))
    assert below is not None
    assert above is not None
    assert above / below == pytest.approx(2.0, rel=1e-4)


def test_every_step_of_a_price_is_kept() -> None:
    price = lookup("openrouter", "qwen/qwen3-coder-flash")
    steps: list[tuple[int | None, float]] = []
    while price is not None:
        steps.append((price.above_tokens, price.input_usd_per_mtok))
        price = price.above
    assert [start for start, _ in steps] == [32_000, 128_000, None]
    assert [rate for _, rate in steps] == sorted({rate for _, rate in steps})


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("vllm", "gpt-4o"),
        ("ollama", "llama3"),
        ("simulated", "gpt-4o"),
        ("pkg.module:Own", "gpt-4o"),
    ],
)
def test_a_model_that_no_list_knows_has_no_price(provider: str, model: str) -> None:
    assert lookup(provider, model) is None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs.db") as opened:  # type: ignore[attr-defined]
        yield opened


@pytest.mark.parametrize("model", ["gpt-4o", "no-such-model"])
def test_the_store_remembers_a_price_and_that_there_is_none(store: Store, model: str) -> None:
    first = lookup("openai", model, store=store)
    (content_id,) = store.refs("prices/").values()
    assert (store.content(content_id) or {})["price"] == (codec.encode(first) if first else None)
    assert lookup("openai", model, store=store) == first


def test_a_remembered_price_is_not_looked_up_again(store: Store) -> None:
    lookup("openai", "gpt-4o", store=store)
    ((name, before),) = store.refs("prices/").items()
    planted = {"model": "openai/gpt-4o", "price": codec.encode(PLAIN), "list": "test"}
    store.put_content("price", codec.content_id(planted), planted)
    assert store.move_ref(name, codec.content_id(planted), expected=before)
    assert lookup("openai", "gpt-4o", store=store) == PLAIN
