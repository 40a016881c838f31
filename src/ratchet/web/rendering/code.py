"""Code coloured by Pygments, with CSS classes alone (`static/code.css` has both themes)."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from markupsafe import Markup

from ratchet.reports import texts

MOST_CHARS = 4_000
"""Longer code is shown without colours: lexers are regular expressions, and some are slow on what isn't code."""
MOST_S = 0.03
"""What is not coloured by then stays plain."""

_LEXERS = {
    "bash": "bash", "c": "c", "cpp": "cpp", "css": "css", "diff": "diff", "go": "go", "html": "html", "java": "java",
    "javascript": "javascript", "js": "javascript", "json": "json", "py": "python", "python": "python", "rs": "rust",
    "rust": "rust", "sh": "bash", "shell": "bash", "sql": "sql", "toml": "toml", "ts": "typescript",
    "typescript": "typescript", "xml": "xml", "yaml": "yaml", "yml": "yaml",
}  # fmt: skip

# Pygments' token types to few classes: what helps reading, not every kind of literal
_CLASSES = (
    ("Comment", "k-comment"),
    ("Keyword", "k-keyword"),
    ("Literal.String", "k-text"),
    ("Literal.Number", "k-number"),
    ("Name.Tag", "k-name"),
    ("Name.Function", "k-name"),
    ("Name.Class", "k-name"),
    ("Name.Attribute", "k-name"),
    ("Name.Builtin", "k-keyword"),
    ("Generic.Deleted", "k-deleted"),
    ("Generic.Inserted", "k-inserted"),
)
CLASSES = frozenset(name for _, name in _CLASSES)


def highlighted(code: str, language: str) -> Markup:
    """The code, escaped, in spans of these classes; without them where the language is unknown or the code long."""
    name = _LEXERS.get(language.strip().lower())
    if name is None or len(code) > MOST_CHARS:
        return texts.inert(code)
    parts: list[str] = []
    lexer, end, done = _lexer(name), time.perf_counter() + MOST_S, 0
    for start, kind, text in lexer.get_tokens_unprocessed(code):
        if time.perf_counter() > end:
            break
        css = _class_of(kind)
        shown = texts.inert(text)
        parts.append(f'<span class="{css}">{shown}</span>' if css else shown)
        done = start + len(text)
    return Markup("".join((*parts, texts.inert(code[done:]))))


@cache
def _lexer(name: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


@cache
def _class_of(kind: Any) -> str:
    name = str(kind).removeprefix("Token.")
    return next((css for prefix, css in _CLASSES if name.startswith(prefix)), "")
