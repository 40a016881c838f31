"""Hostile text made harmless to read: control, bidi and invisible characters shown by their code points."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

# Controls but tab and newline, bidi controls, zero-width and filler characters, variation selectors but the two that
# emoji use, tags, and lone surrogates: what a reader can't see but a program or a copied text keeps.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0d\ufeff\uffa0\ufdd0-\ufdef\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
# more marks on one letter than any script needs: they pile up over the lines around
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a\ufe20-\ufe2f"
_ODD = re.compile(f"(?:{_HIDDEN.pattern})+|[{_MARKS}]{{6,}}")
_MOST_MARKS = 4
_MOST_TOLD = 16
"""Hidden characters in a row that are told one by one."""
FOLD_CHARS = 4_000
"""Longer outputs show this much and fold the rest."""
MOST_CHARS = 40_000
"""Longer texts are cut: a report is not a store."""
_TAGS = range(0xE0020, 0xE007F)
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def safe(text: str) -> str:
    """One line for a terminal: every character that does not print stands as its code point."""
    return "".join(
        c
        if c.isprintable() and unicodedata.bidirectional(c) not in _BIDI and not _HIDDEN.match(c)
        else f"\\u{ord(c):04x}"
        for c in text
    )


def inert(text: str) -> Markup:
    """HTML of this text, escaped, with hidden characters as `<span class="hidden-char">U+202E</span>`.

    Of a long row of them only the first are told, then how many follow; a row of tag characters is told as the ASCII
    text that it smuggles; of marks piled on one letter a few are kept.
    """
    # escaping neither makes nor removes hidden characters
    return Markup(_ODD.sub(_as_html, str(escape(text.replace("\r\n", "\n")))))


def visible(text: str) -> str:
    """Plain text with hidden characters as `[U+202E]`, told as by `inert`; newlines and tabs stay."""
    return _ODD.sub(_as_plain, text)


def _as_html(found: re.Match[str]) -> str:
    kept, told = _told(found.group())
    return kept + "".join(f'<span class="hidden-char">{escape(one)}</span>' for one in told)


def _as_plain(found: re.Match[str]) -> str:
    kept, told = _told(found.group())
    return kept + "".join(f"[{one}]" for one in told)


def _told(row: str) -> tuple[str, list[str]]:
    """What may stay of this row, and what is said of the rest."""
    if not _HIDDEN.match(row):
        return row[:_MOST_MARKS], [f"{len(row) - _MOST_MARKS:,} more marks"]
    if len(row) > 1 and all(ord(c) in _TAGS for c in row):
        return "", [f"tags: {''.join(chr(ord(c) - 0xE0000) for c in row)}"]
    told = [f"U+{ord(c):04X}" for c in row[:_MOST_TOLD]]
    return "", [*told, f"{len(row) - _MOST_TOLD:,} more hidden"] if len(row) > _MOST_TOLD else told


def as_text(value: Any) -> str:
    """A user's value as text: text as it is, all else as indented JSON; None is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (set, frozenset)):
        value = sorted(map(str, value))
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def cut(text: str, width: int) -> str:
    """At most this many characters, the last an ellipsis where some are missing."""
    return text if len(text) <= width else text[: width - 1] + "…"


def cell_width(text: str) -> int:
    """Columns that this text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text cut and padded to this many terminal columns."""
    if cell_width(text) > width:
        kept, used = "", 0
        for c in text:
            used += cell_width(c)
            if used > width - 1:
                break
            kept += c
        text = kept + "…"
    padding = " " * (width - cell_width(text))
    return padding + text if right else text + padding


def wrap(text: str, width: int, *, indent: str = "  ") -> Iterable[str]:
    """Lines of at most this many terminal columns; the second and later ones indented."""
    line = ""
    for word in text.split():
        while cell_width(word) > width - len(indent):
            head = fit(word, width - len(indent)).rstrip("… ")
            if line.strip():
                yield line
            yield head
            word, line = word[len(head) :], indent
        joined = f"{line} {word}" if line.strip() else f"{line}{word}"
        if cell_width(joined) > width:
            yield line
            joined = indent + word
        line = joined
    if line.strip():
        yield line


def folded(text: str, *, most: int = FOLD_CHARS, lines: int | None = None) -> dict[str, Any]:
    """The text in three parts: shown, folded, and how many characters were cut."""
    at = min(len(text), most)
    if lines is not None and text.count("\n", 0, at) >= lines:
        at = len("\n".join(text[:at].split("\n")[:lines]))
    if len(text) - at < most // 5:  # a fold that hides a line or two is a nuisance
        at = min(len(text), at + most // 5)
    return {
        "head": inert(text[:at]),
        "rest": inert(text[at:MOST_CHARS]),
        "rest_chars": max(0, min(len(text), MOST_CHARS) - at),
        "cut_chars": max(0, len(text) - MOST_CHARS),
    }
