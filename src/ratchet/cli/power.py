"""`ratchet power`: what difference the data can show, before money is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ratchet.cli.options import echo_json, project_at, run_named, store_for, with_json, with_store

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.powers import Guess

_TABLE = (50, 100, 200, 500, 1000, 2000, 5000)


@click.command(short_help="Say what difference the data can show, before money is spent.")
@click.argument("task", required=False)
@click.option(
    "--examples", "-n", type=click.IntRange(2), help="How many examples there will be [the task's]."
)
@click.option(
    "--discordant", type=(float, float), default=(0.10, 0.20), metavar="LOW HIGH",
    help="Guess: the share of examples on which the arms' passes and fails disagree [0.1 0.2].",
)  # fmt: skip
@click.option(
    "--sd",
    type=click.FloatRange(0, min_open=True),
    help="Guess: the standard deviation of the difference per example, for scores that are numbers.",
)
@click.option("--pilot", metavar="RUN", help="A run to take the spread from instead of guesses.")
@click.option("--baseline", "-b", metavar="ARM", help="With --pilot: the baseline's arm.")
@click.option("--candidate", "-c", metavar="ARM", help="With --pilot: the candidate's arm.")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.05,
    help="Risk of a false ship, one-sided, a check [0.05].",
)
@with_json
@with_store
def power(
    task: str | None, examples: int | None, discordant: tuple[float, float], sd: float | None, pilot: str | None,
    baseline: str | None, candidate: str | None, alpha: float, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
    """Say what TASK's examples can show of its checks, and how many each check needs, with 80 % power.

    Without a ratchet.yaml, `ratchet power -n 200` speaks of a pass rate. Exit status: 0 all checks can be decided,
    3 some can't.
    """
    from ratchet import powers, projects
    from ratchet.records import Check

    project = project_at(project_file, needed=examples is None)
    checks: tuple[Check, ...] = ()
    if project is not None and (task is not None or examples is None or len(project.file.tasks) == 1):
        chosen = projects.job(project, task).task
        checks, examples = chosen.checks, examples or chosen.dataset.count
    assert examples is not None
    shown = checks or (Check(metric="a pass rate", rule="no_worse", measure="rate"),)
    guess = powers.Guess(low=discordant[0], high=discordant[1], sd=sd)
    evidence: Evidence | None = None
    if pilot is not None:
        from ratchet.evidence import from_runs

        store = store_for(store_at, project, must_exist=True)
        try:
            evidence = from_runs(store, run_named(store, pilot))
        finally:
            store.close()
    found = powers.power(
        shown, examples, guess=guess, pilot=evidence, baseline=baseline, candidate=candidate, alpha=alpha
    )
    if as_json:
        echo_json({"examples": examples, "alpha": alpha, "power": 0.8, "checks": list(found)})
    else:
        for each in found:
            click.echo(f"{each.sentence}{' (from the pilot)' if each.from_pilot else ''}")
        _explain(guess, alpha, from_pilot=any(each.from_pilot for each in found))
        _show_table(guess)
    return 3 if checks and any(not each.can_decide for each in found if each.check.role != "report") else 0


def _explain(guess: Guess, alpha: float, *, from_pilot: bool) -> None:
    source = "the pilot's spread" if from_pilot else (
        f"the guess that passes and fails disagree on {100 * guess.low:g} to {100 * guess.high:g} % of the examples"
    )  # fmt: skip
    click.echo(
        f"\nOne-sided {100 * alpha:g} % a check, 80 % power, {source}; more repeats seldom help as much as more examples."
    )


def _show_table(guess: Guess) -> None:
    """The detectable difference of a pass rate at round numbers of examples."""
    from ratchet.cli.run import width
    from ratchet.cli.tables import table
    from ratchet.stats.power import detectable_difference

    shares = list(dict.fromkeys((guess.low, guess.high, 0.4)))
    rows = [
        (f"{n:,}", *(f"{100 * detectable_difference(n, share):.1f} points" for share in shares))
        for n in _TABLE
    ]
    click.echo("\nA drop of a pass rate that is seen, by examples and by how many of them disagree:")
    click.echo(table(("examples", *(f"{100 * share:g} %" for share in shares)), rows, width=width()))
