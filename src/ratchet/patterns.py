"""Regular expressions on hostile text: searches that end.

The standard library's `re` can backtrack for hours on a few dozen characters and holds the interpreter's lock
meanwhile, so no thread or timer can end it. The `regex` package understands the same patterns and checks a clock.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import Any

from ratchet.errors import ConfigError, ScorerError

TIMEOUT_S = 0.5
"""Longest time one search may take."""

_FLAGS = {"i": "IGNORECASE", "m": "MULTILINE", "s": "DOTALL", "x": "VERBOSE", "a": "ASCII"}


@lru_cache(maxsize=512)
def compile_pattern(pattern: str, flags: str = "") -> Any:
    """The compiled pattern.

    Args:
        flags: Letters as in `(?imsx)`: i ignores case, m lets ^ and $ match at lines, s lets . match a newline.

    Raises:
        ConfigError: The pattern or a flag is wrong; the message says where.
    """
    import regex

    value = 0
    for letter in flags:
        if letter not in _FLAGS:
            raise ConfigError(
                f"{letter!r} in flags {flags!r} is unknown; expected letters of {', '.join(_FLAGS)}"
            )
        value |= getattr(regex, _FLAGS[letter])
    try:
        return regex.compile(pattern, value)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        raise ConfigError(f"{pattern!r} is not a regular expression: {error}") from None


def find(pattern: Any, text: str, *, last: bool = False, whole: bool = False) -> Any:
    """The first (or last) match object, or None.

    Raises:
        ScorerError: It took longer than `TIMEOUT_S`.
    """
    try:
        if whole:
            return pattern.fullmatch(text, timeout=TIMEOUT_S)
        if not last:
            return pattern.search(text, timeout=TIMEOUT_S)
        ends = deque(pattern.finditer(text, timeout=TIMEOUT_S), maxlen=1)
        return ends[0] if ends else None
    except TimeoutError:
        raise ScorerError(
            f"searching {len(text):,} characters for {pattern.pattern!r} took over {TIMEOUT_S:g} s; "
            "write the pattern without nested repetition"
        ) from None
