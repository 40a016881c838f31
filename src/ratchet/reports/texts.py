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
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
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
    """HTML of this text, escaped, with hidden characters as `<span class="hidden-char">U+202E</span>`."""
    # escaping neither makes nor removes hidden characters
    return Markup(_HIDDEN.sub(_shown, str(escape(text.replace("\r\n", "\n")))))


def _shown(found: re.Match[str]) -> str:
    return f'<span class="hidden-char">U+{ord(found.group()):04X}</span>'


def visible(text: str) -> str:
    """Plain text with hidden characters as `[U+202E]`; newlines and tabs stay."""
    return _HIDDEN.sub(lambda found: f"[U+{ord(found.group()):04X}]", text)


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
