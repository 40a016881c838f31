from __future__ import annotations

import io
import re

from ratchet.cli.displays import Display
from ratchet.progress import ArmProgress, Progress


def progress(**changes: object) -> Progress:
    made = Progress(
        arms={
            "champion": ArmProgress(total=10, done=4, failed=1, retried=2, cost_usd=0.5),
            "b": ArmProgress(total=10, done=5),
        }
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def shown(made: Progress, *, live: bool, times: int = 1) -> str:
    stream = io.StringIO()
    display = Display(stream, live=live)
    for _ in range(times):
        display(made)
    display.close()
    return stream.getvalue()


def test_away_from_a_terminal_there_are_plain_lines_and_the_last_state_is_told_once() -> None:
    said = shown(progress(), live=False, times=50)
    assert said.count("\n") == 1
    assert said.startswith("champion 4/10, 1 failed, 2 retried; b 5/10; ")
    assert "\x1b" not in said
    assert "$0.5000 so far" in said


def test_in_a_terminal_the_lines_are_drawn_over_the_last_ones() -> None:
    said = shown(progress(), live=True, times=2)
    assert said.count("\x1b[3A") == 2
    plain = re.sub(r"\x1b\[(?:2K|\dA)", "", said).splitlines()
    assert plain[0].startswith("champion         ██████░░░░░░░░░░ 4/10  1 failed  2 retried")
    assert all(len(line) <= 200 for line in plain)


def test_stopping_says_what_happens_and_how_to_drop_it() -> None:
    assert "Ctrl-C again drops it" in shown(progress(state="stopping"), live=False)


def test_a_run_that_never_began_says_nothing() -> None:
    stream = io.StringIO()
    Display(stream, live=False).close()
    assert stream.getvalue() == ""
