"""How `compare`, `run` and `verify` show a verdict, write it, and exit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.records import Verdict

Command = TypeVar("Command", bound=Callable[..., Any])
EXITS = {"ship": 0, "hold": 1, "inconclusive": 3, "invalid": 4}
ENDINGS = (".json", ".md", ".markdown", ".html", ".htm", ".xml", ".csv")


def with_inconclusive(command: Command) -> Command:
    """`--inconclusive pass|fail`."""
    return click.option(
        "--inconclusive",
        type=click.Choice(["pass", "fail"]),
        default="fail",
        help="Whether an inconclusive verdict exits with 0 or 3 [fail].",
    )(command)


def exit_of(verdict: Verdict, inconclusive: str = "fail") -> int:
    """0 ship, 1 hold, 3 inconclusive (0 where that may pass), 4 invalid."""
    return 0 if verdict.outcome == "inconclusive" and inconclusive == "pass" else EXITS[verdict.outcome]


def worst_exit(codes: Sequence[int]) -> int:
    """The exit status of several verdicts: 4 before 1 before 3 before 0."""
    return next((code for code in (4, 1, 3) if code in codes), 0)


def write(
    verdict: Verdict,
    evidence: Evidence,
    paths: Sequence[Path],
    *,
    inconclusive: Literal["pass", "fail"] = "fail",
) -> None:
    """Write the verdict to each of these files, in the format of its ending."""
    from ratchet import reports

    for path in paths:
        reports.write(verdict, evidence, path, inconclusive=inconclusive)
        click.echo(f"{path} written", err=True)


def show(verdict: Verdict, evidence: Evidence) -> None:
    """The verdict as text, as wide as the terminal."""
    from ratchet.cli.run import width
    from ratchet.reports import terminal

    click.echo(terminal.render(verdict, evidence, width=width()))


def check_endings(paths: Sequence[Path]) -> None:
    """Refuse a file whose ending names no report, before anything is done."""
    from ratchet import reports

    for path in paths:
        reports.format_of(path)
