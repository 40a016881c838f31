"""Pure decisions without I/O: what may be written down, and how long to wait before trying again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

MASK = "***"

# things that look like keys, whoever sends them back
_KEY_LIKE = re.compile(
    r"""
      \b(?:sk|pk|rk|rtk|gsk|xai|fw|tgp|esecret|key)[-_][A-Za-z0-9_*.\-]{8,}   # OpenAI, Anthropic, Groq, Fireworks…
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}                                        # AWS access keys
    | \bAIza[A-Za-z0-9_\-]{20,}                                           # Google API keys
    | \bya29\.[A-Za-z0-9_\-.]{10,}                                        # Google access tokens
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*        # JSON web tokens
    | \b(?:gh[pousr]|hf|github_pat)_[A-Za-z0-9_]{16,}
    """,
    re.VERBOSE,
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9_\-.+/=]{8,}")
_QUERY = re.compile(
    r"(?i)\b((?:api[-_]?key|key|access[-_]?token|token|secret|password|x-amz-signature|x-amz-credential"
    r"|x-amz-security-token|sig|signature)=)[^&\s\"'<>]+"
)


# names of variables whose values are nobody's business; AWS_ACCESS_KEY_ID ends in none of the usual words
_SECRET_NAME = re.compile(r"(?i)(?:key|token|secret|password|passwd|credentials?|auth|key_id)$")


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """The values of variables that are named like keys, each as it is and without the space around it."""
    found = [value for name, value in environ.items() if _SECRET_NAME.search(name)]
    return [*found, *(value.strip() for value in found)]


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with these secrets, the environment's, and whatever looks like a key, replaced by `***`.

    Args:
        secrets: Known values; those shorter than four characters are left, they would mask plain words;
            of the environment's, those shorter than eight.
    """
    known = {s for s in secrets if len(s) >= 4} | {s for s in secrets_in(os.environ) if len(s) >= 8}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _BEARER.sub(lambda match: f"{match[1]} {MASK}", text)
    text = _QUERY.sub(lambda match: f"{match[1]}{MASK}", text)
    return _KEY_LIKE.sub(MASK, text)


def retry_wait_s(attempt: int, retry_after_s: float | None, draw: float) -> float:
    """Seconds to wait after this attempt (1 = the first) failed.

    Exponential with full jitter, up to a second after the first, doubling to a minute (Brooker, "Exponential backoff and jitter", 2015);
    where the server named a time, that time and up to a tenth more, ten minutes at most.

    Args:
        draw: Uniform in [0, 1).
    """
    if retry_after_s is not None and retry_after_s > 0:
        return min(retry_after_s, 600.0) * (1 + draw / 10)
    return draw * min(0.5 * 2 ** min(attempt, 7), 60.0)
