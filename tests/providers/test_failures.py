from __future__ import annotations

import email.utils
import time

import pytest

from ratchet.policy import redact
from ratchet.providers.failures import duration_s, failure, retry_after_s


@pytest.mark.parametrize(
    ("headers", "data", "message", "seconds"),
    [
        ({"retry-after": "7"}, None, "", 7.0),
        ({"retry-after": "0.5"}, None, "", 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, None, "", 0.25),
        ({"retry-after": "-3"}, None, "", 0.0),
        ({"retry-after": "soon"}, None, "", None),
        ({"retry-after": "nan"}, None, "", None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None, "", 0.0),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-remaining-requests": "0"}, None, "", 90.0),
        (
            {
                "x-ratelimit-reset-requests": "6ms", "x-ratelimit-remaining-requests": "9",
                "x-ratelimit-reset-tokens": "12s", "x-ratelimit-remaining-tokens": "0",
            },
            None, "", 12.0,
        ),
        ({"x-ratelimit-reset-requests": "6ms", "x-ratelimit-reset-tokens": "12s"}, None, "", 0.006),
        ({}, {"error": {"details": [{"@type": "x"}, {"retryDelay": "12s"}]}}, "", 12.0),
        ({}, [{"error": {"details": [{"retryDelay": "0.5s"}]}}], "", 0.5),
        ({}, None, "Rate limit reached. Please try again in 1.2s. Visit", 1.2),
        ({}, None, "Please try again in 6m0s.", 360.0),
        ({}, None, "Please try again in 20ms.", 0.02),
        ({}, None, "Please retry after 6 seconds.", 6.0),
        ({}, None, "Please retry in 41.3s.", 41.3),
        ({}, None, "try again later", None),
        ({}, None, "try again in 3 models", None),
        ({}, None, "", None),
    ],
)  # fmt: skip
def test_the_wait_is_read_in_every_spelling(
    headers: dict[str, str], data: object, message: str, seconds: float | None
) -> None:
    assert retry_after_s(headers, data, message) == (None if seconds is None else pytest.approx(seconds))


def test_an_http_date_is_counted_from_now() -> None:
    seconds = retry_after_s({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert seconds is not None
    assert 25 < seconds <= 30


def test_reset_may_be_a_unix_time_in_milliseconds() -> None:
    seconds = retry_after_s({"x-ratelimit-reset": str(int((time.time() + 30) * 1000))})
    assert seconds is not None
    assert 25 < seconds <= 30


@pytest.mark.parametrize("text", ["", "1 parsec", "s", "1m nonsense", "12s;drop"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert duration_s(text) is None


def test_a_quota_that_is_used_up_is_not_tried_again() -> None:
    body = b'{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}}'
    error = failure(429, {"retry-after": "1"}, body)
    assert (error.kind, error.retryable, error.retry_after_s) == ("rate_limit", False, None)


def test_the_server_may_overrule_what_its_status_says() -> None:
    assert not failure(500, {"x-should-retry": "false"}, b"").retryable
    assert failure(400, {"x-should-retry": "true"}, b"").retryable


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "broken"}}',
        b'{"error": "broken"}',
        b'{"message": "broken"}',
        b'{"Message": "broken"}',
        b'{"detail": "broken"}',
        b'[{"error": {"code": 400, "message": "broken", "status": "INVALID_ARGUMENT"}}]',
        b"broken",
        b'{"error": {"message": {"why": "broken"}}}',
    ],
)
def test_the_message_is_found_in_each_vendors_shape(body: bytes) -> None:
    assert "broken" in str(failure(400, {}, body))


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"[[]]", b'{"error": null}', b'{"error": 5}', b"\xff\xfe", b"{" * 5000]
)
def test_no_body_is_too_strange(body: bytes) -> None:
    assert failure(500, {}, body).kind == "server"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefgh",
        "gsk_abcdefghijkl",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "ya29.a0AfH6SMBx-123456",
        "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK",
        "hf_abcdefghijklmnopqrst",
    ],
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    for text in (
        f"bad key {secret}.",
        f'{{"Authorization": "Bearer {secret}"}}',
        f"https://x/?key={secret}&a=1",
    ):
        masked = redact(text)
        assert secret not in masked
        assert "***" in masked


def test_known_secrets_are_masked_whatever_they_look_like() -> None:
    assert redact("my hunter22 and hunter22222", ["hunter22", "hunter22222", "", "my"]) == "my *** and ***"


def test_plain_prose_is_left_alone() -> None:
    text = "The basic token count is 5; bearer of bad news, key: value, risk-averse."
    assert redact(text) == text
