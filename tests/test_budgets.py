from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from ratchet.budgets import ASSUMED_OUTPUT_TOKENS, Amount, Budget, Ledger, likely_tokens, max_tokens, most
from ratchet.ports import Request, Usage
from ratchet.prices import cost_usd
from ratchet.records import Price

PRICE = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=10.0)


def request(text: str = "hello", **changes: object) -> Request:
    return Request(model="m", messages=[{"role": "user", "content": text}], **changes)  # type: ignore[arg-type]


@given(
    st.floats(0.01, 10), st.integers(100, 100_000),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5000), st.floats(0, 1)), max_size=60), st.randoms(),
)  # fmt: skip
def test_spending_never_passes_a_cap_whatever_is_reserved_and_settled_when(
    usd: float, tokens: int, calls: list[tuple[float, int, float]], draw: random.Random
) -> None:
    ledger = Ledger(Budget(usd=usd, tokens=tokens))
    open_calls: list[tuple[Amount, float]] = []
    for cost, count, share in calls:
        wanted = Amount(cost, count)
        if ledger.reserve(wanted):
            open_calls.append((wanted, share))
        if open_calls and draw.random() < 0.5:
            reserved, used = open_calls.pop(draw.randrange(len(open_calls)))
            ledger.settle(reserved, Amount(reserved.usd * used, int(reserved.tokens * used)))
        assert ledger.spent.usd <= usd + 1e-9
        assert ledger.spent.tokens <= tokens
    for reserved, used in open_calls:
        ledger.settle(reserved, Amount(reserved.usd * used, int(reserved.tokens * used)))
    assert ledger.spent.usd <= usd + 1e-9
    assert ledger.reserved.tokens == 0
    assert ledger.reserved.usd == pytest.approx(0, abs=1e-9)


def test_a_refused_reservation_sets_nothing_aside() -> None:
    ledger = Ledger(Budget(usd=1.0))
    assert ledger.reserve(Amount(0.8, 10))
    assert not ledger.reserve(Amount(0.3, 10))
    assert ledger.reserved == Amount(0.8, 10)
    assert ledger.reserve(Amount(0.2, 10))


def test_what_was_spent_before_counts() -> None:
    assert not Ledger(Budget(usd=1.0), Amount(0.9, 0)).fits(Amount(0.2, 0))
    assert not Ledger(Budget(tokens=100), Amount(0, 90)).fits(Amount(0, 11))


def test_without_a_cap_everything_fits_and_minutes_are_no_spending() -> None:
    assert Ledger(Budget()).fits(Amount(1e9, 10**12))
    assert not Budget(minutes=1).limits_spending
    assert Budget(usd=1).limits_spending
    assert Budget(tokens=1).limits_spending


@given(st.text(max_size=200), st.integers(1, 4000))
def test_no_answer_can_cost_more_than_was_reserved_for_it(text: str, limit: int) -> None:
    text = text.encode("utf-8", "replace").decode()
    amount = most(request(text, params={"max_tokens": limit}), PRICE)
    dearest = cost_usd(PRICE, Usage(input_tokens=len(text.encode()), output_tokens=limit))
    assert dearest is not None
    assert amount.usd >= dearest
    assert amount.tokens >= len(text.encode()) + limit


@pytest.mark.parametrize(
    ("price", "usage"),
    [
        (PRICE.replace(reasoning_usd_per_mtok=50.0), Usage(input_tokens=5, output_tokens=100, reasoning_tokens=100)),
        (PRICE.replace(cache_write_usd_per_mtok=40.0), Usage(input_tokens=5, output_tokens=100, cache_write_tokens=5)),
        (PRICE.replace(above_tokens=3, above=Price(input_usd_per_mtok=7.0, output_usd_per_mtok=70.0)), Usage(input_tokens=5, output_tokens=100)),
        (PRICE.replace(request_usd=0.5), Usage(input_tokens=5, output_tokens=100)),
    ],
)  # fmt: skip
def test_the_reservation_takes_every_token_at_its_dearest_rate(price: Price, usage: Usage) -> None:
    cost = cost_usd(price, usage)
    assert cost is not None
    assert most(request(params={"max_tokens": 100}), price).usd >= cost


def test_an_answer_without_a_limit_is_reserved_for_as_a_long_one() -> None:
    assert most(request(), PRICE).tokens > ASSUMED_OUTPUT_TOKENS
    assert most(request(), None).usd == 0.0


def test_tools_are_counted_by_their_bytes() -> None:
    plain = most(request(params={"max_tokens": 1}), PRICE)
    with_tool = most(
        request(params={"max_tokens": 1}, tools=[{"type": "function", "function": {"name": "f" * 500}}]),
        PRICE,
    )
    assert with_tool.tokens > plain.tokens + 500


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "maxTokens",
        "maxOutputTokens",
        "num_predict",
    ],
)
def test_the_cap_on_output_is_known_under_every_vendors_name(name: str) -> None:
    assert max_tokens(request(params={name: 77})) == 77


@pytest.mark.parametrize("value", [None, True, 0, -1, "many", [5]])
def test_a_cap_that_is_no_positive_number_is_none(value: object) -> None:
    assert max_tokens(request(params={"max_tokens": value})) is None


def test_a_guess_counts_four_bytes_a_token() -> None:
    assert likely_tokens(request("x" * 400)) == (108, 256)
    assert likely_tokens(request("x" * 400, params={"max_tokens": 1000})) == (108, 250)
    assert likely_tokens(request("x" * 400, params={"max_tokens": 20})) == (108, 20)


@pytest.mark.parametrize("name", ["n", "candidate_count", "candidateCount"])
def test_every_answer_that_is_asked_for_is_reserved(name: str) -> None:
    one = most(request(params={"max_tokens": 100}), PRICE)
    four = most(request(params={"max_tokens": 100, name: 4}), PRICE)
    assert four.tokens - one.tokens == 300
    assert four.usd - one.usd == pytest.approx(300 * 10 / 1e6)
    unset = most(request(params={name: 3}), PRICE)
    assert unset.tokens - most(request(), PRICE).tokens == 2 * ASSUMED_OUTPUT_TOKENS
    assert likely_tokens(request(params={"max_tokens": 100, name: 4}))[1] == 4 * 64


@pytest.mark.parametrize("n", [0, -2, True, None, "3"])
def test_a_number_of_answers_that_is_none_counts_as_one(n: object) -> None:
    assert most(request(params={"n": n}), PRICE) == most(request(), PRICE)


def with_images(model: str, *images: object) -> Request:
    content = [{"type": "text", "text": "What is it?"}, *images]
    return Request(model=model, messages=[{"role": "user", "content": content}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 85 + 8 * 170),
        ("gpt-4o-mini-2024-07-18", 2833 + 8 * 5667),
        ("gpt-4.1-nano", 3778),
        ("gpt-5.4", 10_000),
        ("claude-sonnet-4-5", 1600),
        ("anthropic.claude-opus-4-7-v1:0", 4784),
        ("gemini-2.5-pro", 16 * 258),
        ("some-vision-model", 4160),
    ],
)
@pytest.mark.parametrize(
    "image",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_image", "image_url": "https://example.org/a.png"},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}},
    ],
)
def test_an_image_whose_size_nobody_knows_is_reserved_at_its_most(
    model: str, tokens: int, image: dict[str, object]
) -> None:
    bare = most(with_images(model), PRICE)
    assert most(with_images(model, image), PRICE).tokens - bare.tokens >= tokens
    both = most(with_images(model, image, image), PRICE)
    assert both.tokens - bare.tokens >= 2 * tokens
    assert both.usd - bare.usd == pytest.approx((both.tokens - bare.tokens) / 1e6)


def test_an_image_that_is_sent_counts_by_its_model_and_not_by_its_bytes() -> None:
    url = "data:image/png;base64," + "A" * 1_000_000
    image = {"type": "image_url", "image_url": {"url": url}}
    assert most(with_images("gpt-4o", image), PRICE).tokens < 20_000
    assert likely_tokens(with_images("gpt-4o", image))[0] < 2_000


def test_parts_that_are_neither_text_nor_image_count_by_their_bytes() -> None:
    sound = {"type": "input_audio", "input_audio": {"format": "wav", "data": "A" * 5000}}
    assert most(with_images("gpt-4o", sound), PRICE).tokens > 5000
