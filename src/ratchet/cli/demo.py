"""`ratchet demo`: a real case end to end, without a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ratchet.cli.options import echo_json, store_for, with_json
from ratchet.cli.verdict import judge, show_all

if TYPE_CHECKING:
    from ratchet.cli.verdict import Judged
    from ratchet.ports import Store
    from ratchet.projects import Project
    from ratchet.records import Run
    from ratchet.summaries import Summary

EXIT_FAILED = 4
WORST = 5
EXPECTED = {"challenger": "ship", "reviewer": "hold"}
"""What the whole demo reaches by its own data, as docs/demo.md says; a part of it may not."""


@click.command(short_help="Run a real case end to end, without a key.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="ratchet-demo")
@click.option("--limit", "-n", type=click.IntRange(1), help="Only the first N programs.")
@with_json
def demo(folder: Path, limit: int | None, as_json: bool) -> int:
    """Lay the demo in FOLDER [ratchet-demo] and run it.

    248 C programs of students, and which clean-code principles each breaks: two simulated models over HTTP and a
    reviewer made of rules say so, three times each. Needs no key and no network; nothing is left running.
    """
    from ratchet.demo import tour

    project = tour.prepare(folder)
    store = store_for(None, project)
    try:
        return _run(project, store, limit=limit, as_json=as_json)
    finally:
        store.close()


def _run(project: Project, store: Store, *, limit: int | None, as_json: bool) -> int:
    from ratchet import summaries
    from ratchet.cli.displays import Display
    from ratchet.demo import tour

    if not as_json:
        click.echo(
            f"Trying champion, challenger (simulated, over HTTP) and reviewer (rules) in {project.root}",
            err=True,
        )
    display = Display()
    try:
        run = tour.run(project, store, limit=limit, on_progress=display)
    finally:
        display.close()
    summary = summaries.summarise(run, store, worst=WORST)
    judged = judge(run, store, {"aa": False, "output": None, "limit": limit})
    if as_json:
        verdicts = [] if judged is None else list(judged.verdicts)
        echo_json({"run": run.id, "folder": str(project.root), "summary": summary, "verdicts": verdicts})
    else:
        _show(project, run, summary, judged)
    state = next((row.state for row in store.runs() if row.id == run.id), "failed")
    if state != "finished":
        click.echo(f"The demo was {state} early; `ratchet demo` starts it again", err=True)
    failed = any(arm.failed for arm in summary.arms.values()) or state != "finished"
    reached = {} if judged is None else {str(v.inputs.get("candidate")): v.outcome for v in judged.verdicts}
    if limit is None and not failed and reached != EXPECTED:
        click.echo(f"The verdicts are {reached}, expected {EXPECTED}; please report it", err=True)
        failed = True
    return EXIT_FAILED if failed else 0


def _show(project: Project, run: Run, summary: Summary, judged: Judged | None) -> None:
    from ratchet.cli.run import width
    from ratchet.cli.tables import render_summary

    click.echo(render_summary(summary, width=width()))
    if judged is not None:
        show_all(judged)
    click.echo()
    click.echo("\n".join(_next_steps(project.root, run, summary)))


def _next_steps(folder: Path, run: Run, summary: Summary) -> list[str]:
    trace = summary.worst[0].trace_id[:12] if summary.worst else run.id[:13]
    steps = [
        ("ratchet view", "all of it in a browser, example by example"),
        (f"ratchet show {trace}", "one of the worst answers, with all its steps"),
        ("ratchet cost --traffic 2M/month", "what the change saves a month"),
        ("ratchet compare -o verdict.html", "the verdicts as one file each"),
        ("ratchet run --limit 20", "your own run, once ratchet.yaml is changed"),
        ("ratchet export -o answers.csv", "every answer with its scores"),
        ("ratchet init ../my-project", "a small project for your own task"),
    ]
    lines = ["Both models are simulated; nothing is left running. What to try next:"]
    return [*lines, f"  cd {_shown(folder)}", *(f"  {command:32} {why}" for command, why in steps)]


def _shown(folder: Path) -> str:
    """As short as it can be typed from here."""
    import shlex

    here = Path.cwd()
    path = folder.resolve()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
