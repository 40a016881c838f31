from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ratchet.cli.tables import cell_width, estimate_cell, fit, safe, seconds, table
from ratchet.summaries import Estimate


@given(st.text(max_size=40), st.integers(1, 40))
def test_a_cell_is_cut_and_padded_to_its_width(text: str, width: int) -> None:
    assert cell_width(fit(safe(text), width)) == width


@given(st.lists(st.lists(st.text(max_size=60), min_size=4, max_size=4), max_size=6))
def test_a_table_fits_its_width_whatever_stands_in_it(rows: list[list[str]]) -> None:
    lines = table(("a", "b", "c", "d"), rows, width=60).split("\n")
    assert len(lines) == len(rows) + 1
    assert max(map(cell_width, lines)) <= 60


@given(st.text(max_size=60))
def test_nothing_that_drives_a_terminal_or_turns_text_round_is_left(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def test_plain_text_is_shown_as_it_is() -> None:
    assert safe("Grüße, 日本 🎉 'x'") == "Grüße, 日本 🎉 'x'"


def test_wide_characters_take_two_columns() -> None:
    assert cell_width("日本") == 4
    assert cell_width("e\u0301") == 1
    assert fit("日本語", 4) == "日… "


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00085, "850 µs"),
        (0.0123, "12.3 ms"),
        (0.25, "250 ms"),
        (1.239, "1.24 s"),
        (250.0, "250 s"),
        (0.0, "0 µs"),
    ],
)
def test_seconds_are_written_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


def test_an_estimate_shows_its_interval_where_it_has_one() -> None:
    assert estimate_cell(Estimate(value=0.912, low=0.881, high=0.941, n=9), percent=True) == "91.2 % [88, 94]"
    assert estimate_cell(Estimate(value=0.5, low=0.25, high=0.75, n=9), percent=False) == "0.500 [0.25, 0.75]"
    assert estimate_cell(Estimate(value=1.0, n=1), percent=True) == "100.0 %"
