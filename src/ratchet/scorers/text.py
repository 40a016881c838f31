"""Scorers that compare an answer's text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ratchet.errors import ConfigError, ScorerError
from ratchet.patterns import compile_pattern, find
from ratchet.records import Example, Json, Judgement, Trace
from ratchet.scorers._inputs import answer_of, as_text, expected_of, same, short
from ratchet.scores import scorer


@scorer(version="1", inline=True)
def exact_match(
    trace: Trace,
    example: Example,
    *,
    ignore_case: bool = False,
    strip: bool = True,
    normalise: bool = False,
    field: str | None = None,
) -> bool:
    """True where the answer equals what is expected; where a list is expected, any of it.

    Values other than text are equal as JSON; a number and a text are compared as text.

    Args:
        strip: White space around either doesn't count.
        normalise: Nor do case, punctuation, articles (a, an, the) and the width of white space.
        field: Compare with this key of `expected`.
    """
    answer, expected = answer_of(trace), expected_of(example, field)
    if isinstance(answer, str) and isinstance(expected, str):
        return _equal_text(answer, expected, ignore_case, strip, normalise)
    if isinstance(expected, list) and not isinstance(answer, list):
        return any(_equal(answer, one, ignore_case, strip, normalise) for one in expected)
    return _equal(answer, expected, ignore_case, strip, normalise)


def _equal(answer: Json, expected: Json, ignore_case: bool, strip: bool, normalise: bool) -> bool:
    if isinstance(answer, str) or isinstance(expected, str):
        return _equal_text(as_text(answer), as_text(expected), ignore_case, strip, normalise)
    return same(answer, expected)


def _equal_text(answer: str, expected: str, ignore_case: bool, strip: bool, normalise: bool) -> bool:
    if strip:
        answer, expected = answer.strip(), expected.strip()
    if normalise:
        answer, expected = normal(answer), normal(expected)
    if ignore_case:
        answer, expected = answer.casefold(), expected.casefold()
    return answer == expected


def normal(text: str) -> str:
    """The text in lower case without punctuation and articles, words one space apart.

    Source: the answer normalisation of SQuAD (Rajpurkar et al. 2016), on Unicode text.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in text)
    return " ".join(word for word in kept.split() if word not in ("a", "an", "the"))


@scorer(version="1", inline=True)
def contains(
    trace: Trace,
    example: Example,
    *,
    text: str | list[str] | None = None,
    match: Literal["all", "any"] = "all",
    ignore_case: bool = False,
    field: str | None = None,
) -> Judgement:
    """True where the answer holds the text, or all (or any) of several; the reason names what is missing.

    Args:
        text: What to look for; without it, what the example expects.
    """
    answer = as_text(answer_of(trace))
    wanted = _texts(text if text is not None else expected_of(example, field))
    fold: Callable[[str], str] = str.casefold if ignore_case else str
    folded = fold(answer)
    missing = [one for one in wanted if fold(one) not in folded]
    return _all_or_any(wanted, missing, match)


def _prepare_regex(settings: dict[str, Json], root: Path) -> dict[str, Json]:
    for pattern in _texts(settings.get("pattern") or []):
        compile_pattern(pattern, str(settings.get("flags", "")))
    return settings


@scorer(version="1", prepare=_prepare_regex)
def regex(
    trace: Trace,
    example: Example,
    *,
    pattern: str | list[str] | None = None,
    match: Literal["all", "any"] = "any",
    flags: str = "",
    whole: bool = False,
    field: str | None = None,
) -> Judgement:
    """True where the answer matches any (or all) of the patterns; the reason names those that don't match.

    Args:
        pattern: What to search for; without it, what the example expects.
        flags: Letters: i ignores case, m lets ^ and $ match at lines, s lets . match a newline.
        whole: The whole answer must match, not a part of it.
    """
    answer = as_text(answer_of(trace))
    wanted = _texts(pattern if pattern is not None else expected_of(example, field))
    try:
        compiled = [compile_pattern(one, flags) for one in wanted]
    except ConfigError as error:
        raise ScorerError(str(error)) from None
    missing = [
        one for one, each in zip(wanted, compiled, strict=True) if find(each, answer, whole=whole) is None
    ]
    return _all_or_any(wanted, missing, match)


def _texts(value: Json) -> list[str]:
    return [as_text(item) for item in value] if isinstance(value, (list, tuple)) else [as_text(value)]


def _all_or_any(wanted: list[str], missing: list[str], match: str) -> Judgement:
    if not wanted:
        raise ScorerError("there is nothing to look for: the list is empty")
    passed = not missing if match == "all" else len(missing) < len(wanted)
    return Judgement(value=passed, reason=None if passed else f"missing: {short(missing, 300)}")


@scorer(version="1", inline=True)
def numeric(
    trace: Trace,
    example: Example,
    *,
    abs_tol: float = 0.0,
    rel_tol: float = 1e-9,
    which: Literal["whole", "first", "last"] = "whole",
    percent: Literal["ignore", "share"] = "ignore",
    decimal: Literal[".", ","] = ".",
    field: str | None = None,
) -> Judgement:
    """True where the answer is the expected number, within a tolerance; no number in the answer is False.

    Thousands separators and currency signs are read: "$1,234.50" is 1234.5.

    Args:
        abs_tol: Largest difference allowed, in the number's own unit.
        rel_tol: Largest difference allowed, as a share of the expected number. Either one suffices.
        which: "whole": the answer is a number and nothing else; or the "first" or "last" number in it.
        percent: "ignore": 12% is 12; "share": 12% is 0.12.
        decimal: The decimal mark; the other of "." and "," then separates thousands.
    """
    wanted = parse_number(expected_of(example, field), "whole", percent, decimal)
    if wanted is None:
        raise ScorerError(f"what example {example.id!r} expects, {short(example.expected)}, is not a number")
    answer = answer_of(trace)
    found = parse_number(answer, which, percent, decimal)
    if found is None:
        return Judgement(value=False, reason=f"no number in the answer {short(answer)}")
    if abs(found - wanted) <= max(abs_tol, rel_tol * abs(wanted)):
        return Judgement(value=True)
    return Judgement(value=False, reason=f"{found:g} is not {wanted:g}")


_SIGN, _CURRENCY = "-+\u2212", "$€£¥₹"
_NUMBER = {
    mark: re.compile(
        rf"(?<![\w{re.escape(mark)}])[{_SIGN}]?\s?[{_CURRENCY}]?\s?[{_SIGN}]?"
        rf"((?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9])|[0-9]+)(?:{re.escape(mark)}[0-9]+)?|{re.escape(mark)}[0-9]+)"
        r"((?:[eE][-+]?[0-9]{1,4})?)(?:\s?[%€])?"
    )
    for mark, group in ((".", "[,\u00a0\u202f]"), (",", "[.\u00a0\u202f ]"))
}


def parse_number(
    value: Json, which: str = "whole", percent: str = "ignore", decimal: str = "."
) -> float | None:
    """The number that this is, or that stands first or last in it; None where there is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if which == "whole":
        found = _NUMBER[decimal].fullmatch(text)
    else:
        matches = _NUMBER[decimal].finditer(text)
        ends = [next(matches, None)] if which == "first" else deque(matches, maxlen=1)
        found = ends[0] if ends else None
    if found is None:
        return None
    digits = re.sub(r"[^0-9,.]" if decimal == "," else r"[^0-9.]", "", found[1])
    digits = digits.replace(".", "").replace(",", ".") if decimal == "," else digits
    number = float(digits + found[2])
    head = found[0][: found.start(1) - found.start()]
    if any(sign in head for sign in "-\u2212"):
        number = -number
    if percent == "share" and "%" in found[0]:
        number /= 100
    return number if math.isfinite(number) else None
