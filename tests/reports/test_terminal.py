from __future__ import annotations

import pytest

from ratchet.records import Verdict
from ratchet.reports import terminal, texts

from .samples import HOSTILE, evidence, results, verdict


def test_the_first_line_says_the_verdict_and_what_decided_it() -> None:
    text = terminal.render(verdict(), evidence())
    assert text.startswith("HOLD: challenger should not replace champion: exact_match -17.1 pp")


def test_a_check_is_one_line_with_dimension_estimate_interval_margin_n_and_outcome() -> None:
    (line,) = [
        x for x in terminal.render(verdict(), evidence()).splitlines() if x.startswith("accuracy exact")
    ]
    for part in (
        "accuracy",
        "exact_match",
        "-17.1 pp",
        "[-20.1, -14.0]",
        "-2 pp",
        " 60 ",
        "failed",
        "●",
        "│",
        "┊",
    ):
        assert part in line


def test_an_open_check_says_how_many_examples_would_decide_it() -> None:
    assert "To decide: judge: about 1,400 examples would decide it (now 60)." in terminal.render(verdict())


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("outcome", ["ship", "hold", "inconclusive", "invalid"])
@pytest.mark.parametrize("text", ["", HOSTILE, "質問" * 50, "x" * 300])
def test_no_line_is_wider_than_asked(width: int, outcome: str, text: str) -> None:
    shown = terminal.render(verdict(outcome, text=text), evidence(text=text), width=width)
    assert max(map(texts.cell_width, shown.splitlines())) <= width


def test_hostile_names_reach_the_terminal_only_as_code_points() -> None:
    shown = terminal.render(verdict(text=HOSTILE), evidence(text=HOSTILE))
    assert not {"\x1b", "\x00", "\u202e", "\u200b", "\ud800"} & set(shown)
    assert "\\u001b" in shown


def test_colour_is_only_there_when_asked_for() -> None:
    assert "\x1b[" not in terminal.render(verdict(), evidence())
    assert "\x1b[1;33mHOLD\x1b[0m" in terminal.render(verdict(), evidence(), colour=True)


def test_plots_can_be_ascii() -> None:
    assert terminal.render(verdict(), evidence(), ascii_only=True).isascii()


def test_an_interval_without_an_upper_end_points_on() -> None:
    one = results()[1].replace(high=None)
    (line,) = [
        x
        for x in terminal.render(verdict().replace(results=(one,))).splitlines()
        if "exact" in x and "●" in x
    ]
    assert "▸" in line
    assert "+inf]" in line


def test_a_verdict_without_checks_still_says_why() -> None:
    bare = Verdict(
        outcome="invalid", task_id="", baseline="a", candidate="b", reasons=("no shared examples",)
    )
    assert terminal.render(bare) == "INVALID: these inputs allow no verdict: no shared examples."
