"""One value of a trace as the page shows it: a view (raw, rendered, JSON), a fold, and where the rest is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from markupsafe import Markup

from ratchet.records import Json
from ratchet.reports import texts
from ratchet.web.rendering.json_trees import json_tree, parsed
from ratchet.web.rendering.markdown import MOST_RENDERED, rendered

View: TypeAlias = Literal["rendered", "raw", "json"]
VIEWS: tuple[View, ...] = ("rendered", "raw", "json")
_MARKUP = re.compile(r"[*_`#\[\]<>|~&\\\n]|^[ \t]|^[-+] |^\d+[.)] ")
FOLD = 4_000
"""Characters shown at first."""
PAGE = 40_000
"""Characters of each further piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A value ready for `_block.html`."""

    name: str
    """Its part of the record: "output", "input.0", "reason.3"…"""
    view: View
    views: tuple[View, ...]
    html: Markup
    chars: int
    """Of the whole text."""
    start: int
    """First character shown here."""
    end: int
    """One past the last; less than `chars` where there is more."""
    is_plain: bool = False
    """Looks the same rendered and raw."""


def block(
    value: Json, *, name: str = "text", view: str | None = None, start: int = 0, most: int | None = None
) -> Block:
    """The value in this view, or in the one that suits it; from character `start`, at most `most` of them.

    Args:
        view: Of `VIEWS`; one that the value doesn't have is as None. JSON that can't be read as such has no "json".
        most: None: `FOLD` at the start, `PAGE` further on. At most `PAGE`.
    """
    tree: Json = (
        parsed(value) if isinstance(value, str) else value if isinstance(value, (dict, list)) else None
    )
    text = texts.as_text(value)
    most = min(most or (PAGE if start else FOLD), PAGE)
    start = max(0, min(start, len(text)))
    views: tuple[View, ...] = tuple(v for v in VIEWS if v != "json" or tree is not None)
    chosen = view if view in views else "json" if tree is not None else "rendered"
    if chosen == "json":
        return Block(
            name=name, view="json", views=views, html=json_tree(tree), chars=len(text), start=0, end=len(text)
        )
    end = _end(text, start, most)
    piece = text[start:end]
    if chosen == "rendered" and not start and end <= MOST_RENDERED and not isinstance(value, (dict, list)):
        html = rendered(piece)
    else:
        html = Markup('<div class="plain-text">{}</div>').format(texts.inert(piece))
    is_plain = len(text) <= FOLD and tree is None and not _MARKUP.search(text)
    return Block(
        name=name,
        view=chosen,
        views=views,
        html=html,
        chars=len(text),
        start=start,
        end=end,
        is_plain=is_plain,
    )


def _end(text: str, start: int, most: int) -> int:
    """Where to cut: at a line's end in the last tenth, where there is one."""
    end = start + most
    if end >= len(text):
        return len(text)
    line = text.rfind("\n", end - most // 10, end)
    return line + 1 if line > start else end
