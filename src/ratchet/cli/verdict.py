"""How `compare` and `run` reach a verdict, show it, write it, and exit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from ratchet.errors import PairingError, PlanError

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.ports import Store
    from ratchet.records import Run, Verdict
    from ratchet.reports.examples import Detail
    from ratchet.reports.traits import Observe
    from ratchet.runs import Plan

Command = TypeVar("Command", bound=Callable[..., Any])
EXITS = {"ship": 0, "hold": 1, "inconclusive": 3, "invalid": 4}
_REPORTS = (".html", ".htm", ".xml")


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
    store: Store | None = None,
    others: Sequence[Verdict] = (),
) -> None:
    """Write the verdict to each of these files, in the format of its ending.

    Args:
        store: Where the answers are, for pages that show them.
        others: Verdicts on the other candidates, for pages that show them beside this one.
    """
    from ratchet import reports

    details, observe = _reading(verdict, evidence, paths, store)
    for path in paths:
        reports.write(
            verdict,
            evidence,
            path,
            details=details,
            observe=observe,
            others=others,
            inconclusive=inconclusive,
        )
        click.echo(f"{path} written", err=True)


def _reading(
    verdict: Verdict, evidence: Evidence, paths: Sequence[Path], store: Store | None
) -> tuple[Callable[[int], Detail | None] | None, Observe | None]:
    """How a page reads its examples; nothing where no page is written, or the answers are not in the store."""
    from ratchet import reports

    if store is None or not any(reports.format_of(path) == "html" for path in paths):
        return None, None
    from ratchet.reports import reading

    sources = reading.sources_of(store, verdict, evidence)
    if len(sources) < 2:
        return None, None
    reader = reading.Reader(store, sources, evidence.examples)
    return reader.detail, reader.observed


def keep(store: Store, evidence: Evidence, verdicts: Sequence[Verdict]) -> None:
    """Keep these verdicts in the store, with what the page shows of them; one that can't be kept is said."""
    from ratchet.errors import StoreError
    from ratchet.web import verdict_pages

    for verdict in verdicts:
        others = [other for other in verdicts if other is not verdict]
        try:
            verdict_pages.keep(store, verdict, evidence, others=others)
        except (StoreError, OSError) as error:
            click.echo(f"Note: the verdict was not kept for `ratchet view`: {error}", err=True)
            return


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


def is_report(path: Path | None) -> bool:
    """Whether `run -o` names a verdict's file rather than the run's answers: verdict.*, or a format only reports have."""
    return path is not None and (path.name.startswith("verdict.") or path.name.lower().endswith(_REPORTS))


def say_power(planned: Plan, given: Mapping[str, Any]) -> None:
    """Say what this plan can't show; refuse one whose written checks can't be decided, unless forced or partial."""
    if given["resume"] or (len(planned.arms) < 2 and not planned.run.task.checks):
        return
    from ratchet import powers

    partial = any(given[name] for name in ("limit", "sample", "aa", "dry_run", "config_path"))
    for sentence in powers.refuse_or_warn(
        planned.run.task,
        planned.examples,
        arms=len(planned.arms),
        force=given["force"],
        only_warn=partial,
    ):
        click.echo(f"Note: {sentence}", err=True)


def looks_ahead(planned: Plan) -> str:
    """When a run that stops when decided is looked at, and what that costs in width."""
    from ratchet import plans
    from ratchet.verdicts import anytime, sentences

    looks = plans.looks(planned.examples)
    if len(looks) < 2:
        return f"Stops when decided: {planned.examples:,} examples are too few to look at before the end."
    text = (
        f"Stops when decided: after {', '.join(f'{n:,}' for n in looks)} examples, in an order drawn from seed "
        f"{planned.run.seed}. Intervals hold at every look; at the end they are up to {anytime.end_width(0.05):.1f} times as "
        "wide as without looks."
    )
    late = [
        sentences.title(check)
        for check in planned.run.task.checks
        if check.role != "report" and not anytime.has_method(check)
    ]
    if late:
        text += f" {', '.join(late)} can be judged at the end alone: before it, only a hold or futility stops this run."
    return text


@dataclass(frozen=True, slots=True)
class Judged:
    """A run's verdicts, one a candidate, and what they rest on."""

    evidence: Evidence
    verdicts: tuple[Verdict, ...]
    decides: bool
    """Whether the exit status follows the verdicts: checks were written, or it is an A/A."""
    partial: bool = False
    """A try-out (`--limit`): it may show harm, but too few examples are no failure."""

    def exit_code(self, inconclusive: str) -> int:
        """The worst of the verdicts' exit statuses; 0 where they only inform."""
        codes = [exit_of(verdict, inconclusive) for verdict in self.verdicts]
        if self.partial:
            codes = [code for code in codes if code == EXITS["hold"]]
        return worst_exit(codes) if self.decides else 0


def judge(run: Run, store: Store, given: Mapping[str, Any]) -> Judged | None:
    """The verdicts on a run of two arms or more; None with one arm, or where the arms share no answer."""
    if len(run.arms) < 2:
        if is_report(given.get("output")):
            raise PlanError(
                f"-o {given['output']}: a verdict needs two arms, and the run has {', '.join(run.arms)}"
            )
        return None
    import time

    from ratchet import verdicts
    from ratchet.evidence import from_runs
    from ratchet.verdicts.costing import costed

    try:
        evidence = from_runs(store, run)
        if given.get("aa"):
            first, second = list(run.arms)[:2]
            found = (verdicts.decide_aa(evidence, baseline=first, candidate=second),)
        else:
            found = verdicts.compare_all(evidence, baseline=run.baseline)
    except PairingError as error:
        click.echo(f"No verdict: {error}", err=True)
        return None
    now = time.time()
    dated = tuple(costed(verdict, evidence).replace(created_at=now) for verdict in found)
    keep(store, evidence, dated)
    decides = dated[0].outcome in ("hold", "invalid") if given.get("aa") else bool(run.task.checks)
    return Judged(evidence, dated, decides, partial=run.limit is not None)


def show_all(judged: Judged) -> None:
    """Every verdict as text."""
    for verdict in judged.verdicts:
        click.echo("")
        show(verdict, judged.evidence)


def write_all(
    judged: Judged,
    path: Path,
    *,
    inconclusive: Literal["pass", "fail"] = "fail",
    store: Store | None = None,
) -> None:
    """Every verdict to its own file: the path, with the candidate's name in it where there are several."""
    for verdict in judged.verdicts:
        others = [other for other in judged.verdicts if other is not verdict]
        paths = [named(path, verdict, len(judged.verdicts))]
        write(verdict, judged.evidence, paths, inconclusive=inconclusive, store=store, others=others)


def named(path: Path, verdict: Verdict, count: int) -> Path:
    """The path, with the candidate's name in it where there are several."""
    if count == 1:
        return path
    stem, dot, ending = path.name.partition(".")
    safe = "".join(c if c.isalnum() or c in "-_" else "-" for c in str(verdict.inputs.get("candidate", "")))
    return path.with_name(f"{stem}-{safe}{dot}{ending}")
