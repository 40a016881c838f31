"""JSON as a tree that folds, without script: nested `<details>`, bounded in size and depth."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from markupsafe import Markup, escape

from ratchet.records import Json
from ratchet.reports import texts

MOST_VALUES = 1_000
"""Shown of one tree; further ones are counted."""
MOST_DEPTH = 40
OPEN_DEPTH = 3
"""Levels that stand open at first."""
MOST_TEXT = 2_000
"""Characters of one text value."""
MOST_PARSED = 1_000_000
"""Characters of a text that is tried as JSON."""


def parsed(text: str) -> Json:
    """The object or list that this text is, else None: a bare number or word gains nothing from a tree."""
    if len(text) > MOST_PARSED or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def is_json(text: str) -> bool:
    """Whether this text is an object or a list."""
    return parsed(text) is not None


def json_tree(value: Json) -> Markup:
    """The value as nested lists: objects and lists fold, every text is escaped with hidden characters shown."""
    return Markup(f'<div class="json">{_Tree().of(value, 0)}</div>')


class _Tree:
    """Counts what has been drawn."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_VALUES

    def of(self, value: Json, depth: int) -> str:
        self.left -= 1
        if isinstance(value, Mapping):
            pairs = cast("Mapping[str, Json]", value)
            return self._folding([(f"{_text(str(key))}: ", pairs[key]) for key in self._some(list(pairs))],
                                 len(pairs), "{}", "keys", depth)  # fmt: skip
        if isinstance(value, (list, tuple)):
            items = cast("Sequence[Json]", value)
            return self._folding([("", item) for item in self._some(items)], len(items), "[]", "items", depth)
        return _leaf(value)

    def _some(self, items: Sequence[Json]) -> Sequence[Json]:
        return items[: max(self.left, 0)]

    def _folding(
        self, items: Sequence[tuple[str, Json]], count: int, marks: str, unit: str, depth: int
    ) -> str:
        if not count:
            return f'<span class="j-mark">{marks}</span>'
        if depth >= MOST_DEPTH or self.left <= 0:
            return f'<span class="j-more">{marks[0]}… {count:,} {unit}{marks[1]}</span>'
        rows: list[str] = []
        for key, item in items:
            if self.left <= 0:
                break
            rows.append(f"<li>{key}{self.of(item, depth + 1)}</li>")
        if len(rows) < count:
            rows.append(f'<li class="j-more">{count - len(rows):,} more</li>')
        state = " open" if depth < OPEN_DEPTH else ""
        head = f'<summary><span class="j-mark">{marks[0]}</span> <small>{count:,} {unit if count > 1 else unit[:-1]}</small></summary>'
        return (
            f'<details{state}>{head}<ul>{"".join(rows)}</ul><span class="j-mark">{marks[1]}</span></details>'
        )


def _text(text: str) -> str:
    more = (
        f'<small class="j-more"> {len(text) - MOST_TEXT:,} more characters</small>'
        if len(text) > MOST_TEXT
        else ""
    )
    return f'<span class="j-key">{texts.inert(text[:MOST_TEXT])}</span>{more}'


def _leaf(value: Json) -> str:
    if isinstance(value, str):
        rest = len(value) - MOST_TEXT
        more = f'<small class="j-more"> {rest:,} more characters</small>' if rest > 0 else ""
        return f'<span class="j-text">"{texts.inert(value[:MOST_TEXT])}"</span>{more}'
    if value is None or isinstance(value, bool):
        return f'<span class="j-word">{json.dumps(value)}</span>'
    shown = str(value)
    return f'<span class="j-number">{escape(texts.cut(shown, MOST_TEXT))}</span>'
