"""What a server's refusal to answer means: kind, retryable or not, when to try again."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ratchet.errors import ProviderError
from ratchet.policy import redact
from ratchet.records import FailureKind, Json

REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "apim-request-id",
    "x-ms-request-id",
    "cf-ray",
)
_MESSAGE_LIMIT = 300
_PLAIN_ID = re.compile(r"[\w.:/+=-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

# error types and codes as the vendors name them, for errors that come without a status
_KINDS: dict[str, FailureKind] = {
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "throttlingexception": "rate_limit",
    "resource_exhausted": "rate_limit",
    "insufficient_quota": "rate_limit",
    "overloaded_error": "server",
    "server_error": "server",
    "api_error": "server",
    "internal": "server",
    "unavailable": "server",
    "internalserverexception": "server",
    "internalservererror": "server",
    "modelstreamerrorexception": "server",
    "modelnotreadyexception": "rate_limit",
    "serviceunavailableexception": "server",
    "modeltimeoutexception": "timeout",
    "deadline_exceeded": "timeout",
    "timeout_error": "timeout",
    "authentication_error": "auth",
    "permission_error": "auth",
    "permission_denied": "auth",
    "unauthenticated": "auth",
    "invalid_api_key": "auth",
    "accessdeniedexception": "auth",
    "unrecognizedclientexception": "auth",
    "expiredtokenexception": "auth",
    "invalidsignatureexception": "auth",
    "invalid_request_error": "bad_request",
    "not_found_error": "bad_request",
    "request_too_large": "bad_request",
    "invalid_argument": "bad_request",
    "failed_precondition": "bad_request",
    "not_found": "bad_request",
    "validationexception": "bad_request",
    "resourcenotfoundexception": "bad_request",
    "content_filter": "bad_request",
    "insufficient_balance": "bad_request",
    "billing_error": "bad_request",
}
_RETRYABLE: frozenset[str] = frozenset({"rate_limit", "timeout", "connection", "server", "protocol"})


def protocol_error(message: str, *, request_id: str | None = None) -> ProviderError:
    """The server's answer can't be understood, or was cut off: worth another try."""
    return ProviderError(message, kind="protocol", retryable=True, request_id=request_id)


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, secrets: Iterable[str] = (), model: str = ""
) -> ProviderError:
    """The error that this HTTP answer (status of 300 or more) stands for."""
    data = _json_or_none(body)
    message, code = describe(data)
    code = code or headers.get("x-amzn-errortype", "").partition(":")[0]
    if not message:
        message = body[:2000].decode("utf-8", "replace") if data is None else ""
    kind, retryable = _kind(status, code, message)
    asked = headers.get("x-should-retry", "").lower()
    if asked in ("true", "false"):
        retryable = asked == "true"
    if 300 <= status < 400:
        message = f"redirects to {headers.get('location', '?')}, and redirects are not followed: set base_url"
    where = f"HTTP {status}{f' {code}' if code else ''}"
    return ProviderError(
        clean(f"{where}: {message}" if message else where, secrets),
        kind=kind,
        retryable=retryable,
        status=status,
        retry_after_s=retry_after_s(headers, data, message) if retryable else None,
        request_id=request_id_of(headers, secrets) or _request_id_in(data, secrets),
    )


def failure_in_body(
    data: Json, *, secrets: Iterable[str] = (), request_id: str | None = None
) -> ProviderError:
    """The error that a server sent inside an answer or a stream of status 200."""
    message, code = describe(data)
    status = None
    error: Any = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict) and isinstance(error.get("code"), int) and 400 <= error["code"] < 600:
        status = error["code"]
    if status is not None:
        kind, retryable = _kind(status, code, message)
    else:
        kind = _KINDS.get(code.lower(), "server")
        retryable = kind in _RETRYABLE and code != "insufficient_quota"
    return ProviderError(
        clean(f"{code or 'error'} in the answer: {message}", secrets),
        kind=kind,
        retryable=retryable,
        status=status,
        retry_after_s=retry_after_s({}, data, message) if retryable else None,
        request_id=request_id or _request_id_in(data, secrets),
    )


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Server text fit for a message: keys masked, control characters gone, at most 300 characters."""
    text = redact(_CONTROL.sub(" ", text[:4000]), secrets).strip()
    return text if len(text) <= _MESSAGE_LIMIT else f"{text[: _MESSAGE_LIMIT - 1]}…"


def describe(data: Json) -> tuple[str, str]:
    """(message, code) of an error body in any of the vendors' shapes; empty where there is none."""
    if isinstance(data, list) and data:  # Gemini streams without alt=sse
        data = data[0]
    if isinstance(data, str):
        return data, ""
    if not isinstance(data, dict):
        return "", ""
    error = data.get("error", data)
    if isinstance(error, str):  # Ollama
        return error, str(data.get("code") or "")
    if not isinstance(error, dict):
        return "", ""
    message = next((error[k] for k in ("message", "Message", "detail", "msg") if error.get(k)), "")
    if not isinstance(message, str):
        message = orjson.dumps(message, default=str).decode()
    # Google's code is the status again; its `status` is the name. OpenAI's code is finer than its type.
    names = (error.get("status"), error.get("code"), error.get("type"), error.get("__type"))
    code = next((name for name in names if isinstance(name, str) and name and name != "error"), "")
    return message, code.rpartition("#")[2]


def _kind(status: int, code: str, message: str) -> tuple[FailureKind, bool]:
    if status == 429:
        # no retry brings back a quota that is used up
        spent = (
            code == "insufficient_quota" or "exceeded your current quota, please check your plan" in message
        )
        spent = spent and code.upper() != "RESOURCE_EXHAUSTED"
        return "rate_limit", not spent
    if status in (408, 504):
        return "timeout", True
    if status in (409, 424, 425) or status >= 500:
        return "server", status not in (501, 505)
    if status in (401, 403):
        throttled = _KINDS.get(code.lower()) == "rate_limit"
        return ("rate_limit", True) if throttled else ("auth", False)
    if status == 400 and _KINDS.get(code.lower()) == "rate_limit":  # AWS throttles with 400 at times
        return "rate_limit", True
    return "bad_request", False


def request_id_of(headers: Mapping[str, str], secrets: Iterable[str] = ()) -> str | None:
    """The id under which the vendor's support finds the call."""
    for name in REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return _plain_id(value, secrets)
    return None


def _request_id_in(data: Json, secrets: Iterable[str]) -> str | None:
    value: Any = data.get("request_id") if isinstance(data, dict) else None
    return _plain_id(value, secrets) if isinstance(value, str) else None


def _plain_id(value: str, secrets: Iterable[str]) -> str:
    """The id a server gave; one that isn't plain, or holds a key, is cleaned like any of its texts."""
    if len(value) <= 128 and _PLAIN_ID.fullmatch(value) and not any(s in value for s in secrets if s):
        return value
    return clean(value, secrets)[:128]


def retry_after_s(headers: Mapping[str, str], data: Json = None, message: str = "") -> float | None:
    """Seconds to wait before the next try, in whichever spelling the server said it; None: it did not.

    In this order: `retry-after-ms`, `Retry-After` (seconds or HTTP date), Google's `RetryInfo`, the
    `x-ratelimit-reset-…` of what is used up, "try again in 1.2s" in the message.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (ms := _number(headers.get(name))) is not None:
            return ms / 1000
    if value := headers.get("retry-after"):
        seconds = _number(value)
        return seconds if seconds is not None else _http_date(value)
    if (seconds := _retry_info(data)) is not None:
        return seconds
    if (seconds := _ratelimit_reset(headers)) is not None:
        return seconds
    return _from_message(message)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return max(0.0, value) if math.isfinite(value) else None


def _http_date(text: str) -> float | None:
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, at - time.time())


def _retry_info(data: Json) -> float | None:
    if isinstance(data, list) and data:
        data = data[0]
    error: Any = data.get("error") if isinstance(data, dict) else None
    details: Any = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return duration_s(detail["retryDelay"])
    return None


_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|us|µs|ns|s|m|h|d)", re.ASCII)
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(text: str) -> float | None:
    """Seconds in a text like "1m30s", "6ms", "12s" or "0.5"; None for anything else."""
    text = text.strip()
    if (plain := _number(text)) is not None:
        return plain
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return sum(float(part[1]) * _UNIT_S[part[2]] for part in parts)


def _ratelimit_reset(headers: Mapping[str, str]) -> float | None:
    spent: list[float] = []
    known: list[float] = []
    for what in ("requests", "tokens"):
        if (seconds := _moment(headers.get(f"x-ratelimit-reset-{what}"))) is not None:
            known.append(seconds)
            if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0:
                spent.append(seconds)
    if not known and (seconds := _moment(headers.get("x-ratelimit-reset"))) is not None:
        known.append(seconds)
    return max(spent) if spent else min(known, default=None)


def _moment(text: str | None) -> float | None:
    """Seconds until then: a duration, or a Unix time in seconds or milliseconds."""
    if not text:
        return None
    seconds = duration_s(text)
    if seconds is None or seconds < 1e9:
        return seconds
    return max(0.0, (seconds / 1000 if seconds > 1e11 else seconds) - time.time())


_IN_MESSAGE = re.compile(
    r"(?:try again|retry|retrying|wait)(?: after| in| for)? (?P<value>(?:\d+(?:\.\d+)?\s?(?:ms|h|m|s)(?![a-z]))+"
    r"|\d+(?:\.\d+)?\s(?:milli)?(?:second|minute|hour)s?)",
    re.IGNORECASE,
)


def _from_message(message: str) -> float | None:
    found = _IN_MESSAGE.search(message[:4000])
    if not found:
        return None
    value = found["value"].lower()
    for word, unit in (("millisecond", "ms"), ("second", "s"), ("minute", "m"), ("hour", "h")):
        value = re.sub(rf"\s*{word}s?", unit, value)
    return duration_s(value.replace(" ", ""))


def _json_or_none(body: bytes) -> Json:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
