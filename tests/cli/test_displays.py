from __future__ import annotations

import io
import re
import time

from hypothesis import given, strategies as st

from ratchet.cli.displays import Display, plain_line
from ratchet.progress import ArmProgress, Progress
from ratchet.reports.texts import cell_width


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
    assert "$0.5000" in said


def long_run(
    names: tuple[str, ...] = ("openai/gpt-4o-2024-11-20", "openai/gpt-4o-mini-2024-07-18"),
) -> Progress:
    """As long a line as a large run gives."""
    arms = {
        name: ArmProgress(
            total=100_000, done=50_000, failed=1_234, retried=56_789, input_tokens=123_456_789,
            output_tokens=23_456_789, cost_usd=1234.5678,
        )
        for name in names
    }  # fmt: skip
    return Progress(
        arms=arms, in_flight=1000, waiting=200, judging=300, started_s=time.perf_counter() - 9_000
    )


def test_a_plain_line_of_two_arms_is_at_most_100_columns_and_says_everything() -> None:
    said = plain_line(long_run())
    assert len(said) <= 100
    assert re.fullmatch(
        r"\S+…\S+ 50k/100k; \S+…\S+ 50k/100k; 2468 failed, 113k retried, "
        r"\d+ rows/s, 293M tok, \$2\.4k, 2h30 left",
        said,
    ), said
    assert "20 50k" in said, "names that begin alike are told apart by their ends"
    assert "18 50k" in said


def test_a_plain_line_of_one_arm_keeps_both_ends_of_its_name() -> None:
    said = plain_line(long_run(("openai/gpt-4o-mini-2024-07-18",)))
    assert len(said) <= 100
    assert said.startswith("openai/…24-07-18 50k/100k, 1234 failed, 56k retried; ")


def test_a_short_plain_line_says_what_is_in_flight_too() -> None:
    said = plain_line(progress(in_flight=7, waiting=3, started_s=time.perf_counter() - 60))
    assert said.startswith("champion 4/10, 1 failed, 2 retried; b 5/10; ")
    assert "7 in flight, 3 waiting" in said
    assert len(said) <= 100


@given(
    names=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=2, unique=True),
    counts=st.tuples(*[st.integers(0, 1_000_000)] * 4),
    cost_usd=st.floats(0, 99_999),
    state=st.sampled_from(["running", "stopping"]),
)
def test_no_plain_line_of_one_or_two_arms_is_wider(
    names: list[str], counts: tuple[int, int, int, int], cost_usd: float, state: str
) -> None:
    total, failed, retried, tokens = counts
    arm = ArmProgress(
        total=total, done=total // 2, failed=failed, retried=retried, input_tokens=tokens * 1000, cost_usd=cost_usd / 2
    )  # fmt: skip
    made = Progress(arms=dict.fromkeys(names, arm), in_flight=1000, waiting=50, judging=9, state=state)
    made.started_s = time.perf_counter() - 3_700
    said = plain_line(made)
    assert cell_width(said) <= 100
    assert said.isprintable(), "names are shown, and never obeyed"


def test_large_counts_are_rounded_down_so_that_all_but_done_is_not_done() -> None:
    made = long_run()
    for arm in made.arms.values():
        arm.done = 99_999
    assert "99k/100k" in plain_line(made)


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
