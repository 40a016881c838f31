from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given, strategies as st

from ratchet.policy import MASK, redact, retry_wait_s

KEYS = [
    "sk-proj-AbCdEfGh1234567890",
    "sk-ant-api03-aaaaaaaaaaaaaaaaaaaa",
    "gsk_abcdefgh12345678",
    "xai-abcdefgh12345678",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopq",
    "ya29.a0AfH6SMBx1234567890",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc123",
    "ghp_abcdefghijklmnop1234",
    "hf_abcdefghijklmnop1234",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "around", ["{}", "Incorrect API key provided: {}.", '{{"key":"{}"}}', "x={}&y=1", "\n{}\n"]
)
def test_what_looks_like_a_key_is_masked_whoever_says_it(key: str, around: str) -> None:
    said = redact(around.format(key))
    assert key not in said
    assert MASK in said


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer ***"),
        ("https://h/v1?key=abc123&model=m", "https://h/v1?key=***&model=m"),
        ("https://h/?X-Amz-Signature=0a1b&X-Amz-Date=1", "https://h/?X-Amz-Signature=***&X-Amz-Date=1"),
        ("api_key=s3cr3t-value rest", "api_key=*** rest"),
    ],
)
def test_only_the_secret_part_of_a_header_or_a_url_is_masked(text: str, masked: str) -> None:
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is 42.",
        "a skill-based task",
        "risk-averse",
        "monkey business",
        "the key is under the mat",
    ],
)
def test_plain_words_stay(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_go_whole_even_where_one_holds_another() -> None:
    assert redact("value hunter2hunter2 and hunter2", ["hunter2", "hunter2hunter2"]) == "value *** and ***"


def test_secrets_too_short_to_be_any_are_left_alone() -> None:
    assert redact("a cat sat", ["a", "cat", ""]) == "a cat sat"


@given(st.text(), st.text(min_size=4).filter(lambda s: s not in MASK and MASK not in s), st.text())
def test_a_known_secret_never_survives(before: str, secret: str, after: str) -> None:
    text = f"{before}{secret}{after}"
    masked = redact(text, [secret])
    assert secret not in masked or secret in text.replace(secret, MASK)


@given(st.integers(1, 5000), st.floats(0, 1, exclude_max=True))
def test_waiting_is_bounded_by_a_minute_and_grows_with_the_attempts(attempt: int, draw: float) -> None:
    wait_s = retry_wait_s(attempt, None, draw)
    assert 0 <= wait_s <= min(0.5 * 2 ** min(attempt, 60), 60)


@given(st.integers(1, 20), st.floats(0.001, 1e9), st.floats(0, 1, exclude_max=True))
def test_a_time_that_the_server_named_is_kept_and_never_doubled(
    attempt: int, named_s: float, draw: float
) -> None:
    wait_s = retry_wait_s(attempt, named_s, draw)
    assert min(named_s, 600) <= wait_s <= min(named_s, 600) * 1.1


def test_waits_spread_evenly_over_their_range_so_that_clients_do_not_return_together() -> None:
    draw = random.Random(1)
    waits = [retry_wait_s(3, None, draw.random()) for _ in range(4000)]
    assert statistics.mean(waits) == pytest.approx(2.0, rel=0.05)
    assert statistics.quantiles(waits, n=4) == pytest.approx([1.0, 2.0, 3.0], rel=0.08)


def test_a_server_that_names_no_time_or_zero_gets_the_usual_wait() -> None:
    assert retry_wait_s(2, 0.0, 0.5) == retry_wait_s(2, None, 0.5) == 1.0
