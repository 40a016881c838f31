from __future__ import annotations

import pytest

from ratchet.web.times import ago

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("passed_s", "text"),
    [(0, "0 s ago"), (59.9, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"), (3600, "1 h ago"),
     (86_400, "1 d ago"), (6.9 * 86_400, "6 d ago"), (7 * 86_400, "2023-11-07"), (-5, "0 s ago")],
)  # fmt: skip
def test_a_time_says_how_long_ago_and_when_exactly(passed_s: float, text: str) -> None:
    shown = ago(NOW - passed_s, now=NOW)
    assert f">{text}</time>" in shown
    assert 'datetime="20' in shown


def test_a_time_that_never_was_is_a_dash() -> None:
    assert ago(None) == "-"
