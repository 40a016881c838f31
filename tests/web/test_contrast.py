"""Every pair of colours that stands as text on a ground, against WCAG 2.2 AA, in light and dark."""

from __future__ import annotations

import re

import pytest

from ratchet.web import assets

TEXT, SHAPE = 4.5, 3.0
GROUNDS = ("bg", "surface", "sunken", "raised")
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "ink-2") for ground in (*GROUNDS, "accent-soft")),
    *(("ink", ground, TEXT) for ground in ("q0", "q1", "q2", "q3", "q4", "ins", "del", "up-soft", "down-soft")),
    *(("accent", ground, TEXT) for ground in (*GROUNDS, "accent-soft")),
    *((tone, ground, TEXT) for tone in ("up", "down", "danger") for ground in ("bg", "surface", "raised", "sunken", "accent-soft")),
    ("ink-3", "surface", TEXT),
    ("ink-2", "line", TEXT),
    ("ink", "line", TEXT),
    ("on-accent", "accent-fill", TEXT),
    *(("line-input", ground, SHAPE) for ground in ("surface", "raised")),
    *(("accent", ground, SHAPE) for ground in GROUNDS),
    *((fill, ground, SHAPE) for fill in ("accent-fill", "flat") for ground in ("surface", "bg")),
]  # fmt: skip


def tokens(theme: str) -> dict[str, str]:
    """The colours of this theme, by name."""
    css = assets.assets()["app.css"].body.decode()
    found = dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})\b", css))
    for name, light, dark in re.findall(r"--([\w-]+):\s*light-dark\((#\w+),\s*(#\w+)\)", css):
        found[name] = light if theme == "light" else dark
    return found


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2), 0 to 1."""
    text = colour.lstrip("#")
    text = "".join(2 * c for c in text) if len(text) == 3 else text
    parts = [int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_a_colour_can_be_read_on_its_ground(theme: str, ink: str, ground: str, least: float) -> None:
    found = tokens(theme)
    assert contrast(found[ink], found[ground]) >= least


def test_black_on_white_is_21_to_1() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
