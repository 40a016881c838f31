"""`ratchet run`: try variants on a dataset."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import echo_json, format_of, project_at, read_env, store_for, with_json, with_store
from ratchet.cli.run_options import Order, order_of
from ratchet.cli.verdict import (
    Judged,
    check_endings,
    is_report,
    judge,
    say_power,
    show_all,
    with_inconclusive,
    worst_exit,
    write_all,
)

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.records import Run, Task
    from ratchet.runs import Options, Plan
    from ratchet.summaries import Summary

EXIT_FAILED = 4


@click.command(short_help="Try variants on a dataset, score every answer, keep everything.")
@click.argument("task", required=False)
@click.option("--variant", "-v", "only", multiple=True, metavar="NAME", help="Only this arm (repeatable).")
@click.option(
    "--config-path",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An llm-validator JSON file (repeatable).",
)
@click.option(
    "--verbose",
    type=click.IntRange(0, 2),
    default=0,
    help="With --config-path: 1 shows wrong rows, 2 also their messages.",
)
@click.option(
    "--dataset", "-d", metavar="FILE", help="Without ratchet.yaml: the examples (- reads standard input)."
)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    metavar="PROVIDER/MODEL",
    help="… a model to try (repeatable; the first is the baseline).",
)
@click.option(
    "--target",
    "-t",
    "targets",
    multiple=True,
    metavar="PKG.MODULE:FUNCTION",
    help="… a function to try (repeatable).",
)
@click.option("--prompt", "-p", metavar="FILE|TEXT", help="… the prompt of every model.")
@click.option("--scorer", "-s", "scorers", multiple=True, metavar="NAME", help="… a scorer (repeatable).")
@click.option(
    "--format", "data_format", metavar="FORMAT", help="… the dataset's format, where its name doesn't say."
)
@click.option("--input", "input_column", metavar="COLUMN", help="… the column that is the input.")
@click.option("--expected", metavar="COLUMN", help="… the column that is expected.")
@click.option("--id", "id_column", metavar="COLUMN", help="… the column that names an example.")
@click.option("--group", metavar="COLUMN", help="… the column whose equal values belong together.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Stream the answers of every model, for the time to first token.",
)
@click.option("--on-bad-row", type=click.Choice(["stop", "skip"]), help="What a bad row of the dataset does.")
@click.option("--limit", "-n", type=click.IntRange(1), help="Only the first N examples.")
@click.option("--sample", type=click.IntRange(1), help="Only N examples, drawn with the seed.")
@click.option("--seed", type=int, help="Seed of the order of arms and of --sample.")
@click.option("--repeat", type=click.IntRange(1), help="Answers to each example.")
@click.option("--concurrency", "-j", type=click.IntRange(1, 10_000), help="Calls in flight at most [16].")
@click.option(
    "--resume", is_flag=False, flag_value="last", metavar="[ID]", help="Go on with an unfinished run."
)
@click.option("--retry-failed", is_flag=True, help="With --resume: try failed answers again.")
@click.option("--no-cache", is_flag=True, help="Never take an answer from an earlier run.")
@click.option("--dry-run", is_flag=True, help="Show the plan, its calls, tokens and dollars; call nothing.")
@click.option("--budget-usd", type=click.FloatRange(0, min_open=True), help="Stop before spending more.")
@click.option("--budget-tokens", type=click.IntRange(1), help="Stop before using more.")
@click.option(
    "--budget-minutes",
    type=click.FloatRange(0, min_open=True),
    help="Start no further example after so long.",
)
@click.option(
    "--max-errors", type=click.IntRange(0), default=0, help="Failed answers above this exit with 4 [0]."
)
@click.option("--aa", is_flag=True, help="Run the baseline twice, as two arms: what differs is noise.")
@click.option(
    "--against",
    metavar="REVISION",
    help="The baseline as it is at this git revision against the baseline (or --variant) as it is here.",
)
@click.option(
    "--stop-when-decided",
    is_flag=True,
    help="Try the examples in an order drawn from the seed, and stop as soon as a verdict stands.",
)
@click.option("--force", is_flag=True, help="Run even if so few examples can't decide the task's own checks.")
@click.option("--name", default="", help="A name for the run.")
@click.option(
    "--log",
    "trackers",
    multiple=True,
    type=click.Choice(["wandb", "mlflow"]),
    help="Log the summary to an experiment tracker.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write answers and scores: .jsonl, .csv; the summary: .json, .md; the verdict: verdict.* or .html, .junit.xml.",
)
@with_inconclusive
@with_json
@with_store
def run(
    project_file: Path | None, store_at: str | None, env_file: Path | None, as_json: bool, **given: Any
) -> int:
    """Try variants on a dataset, score every answer, keep everything.

    TASK is a task of ratchet.yaml (needed only if it has several). Without a ratchet.yaml:

    \b
      ratchet run -d tickets.jsonl -m openai/gpt-4o -m openai/gpt-4o-mini -p prompt.yaml -s exact_match

    With two arms or more it ends in a verdict. Exit status: 0 ship, or no checks were written and all is well; 1 hold;
    2 wrong use; 3 inconclusive; 4 invalid, failed answers above --max-errors, or the run was broken off.
    """
    if is_report(given["output"]):
        check_endings([given["output"]])
    elif given["output"] is not None:
        format_of(given["output"])
    if given["config_path"]:
        from ratchet.cli.older import run_older

        return run_older(given, store_at=store_at, env_file=env_file, as_json=as_json)
    adhoc = given["dataset"] is not None and project_file is None
    resumed = given["resume"] not in (None, "last")
    project = None if adhoc else project_at(project_file, needed=given["dataset"] is None and not resumed)
    root = project.root if project else Path.cwd()
    read_env(env_file, root)
    store = store_for(store_at, project)
    try:
        order = order_of(project, given, store, as_json=as_json)
        return 0 if order is None else _run(order, given, store=store, root=root, as_json=as_json)
    finally:
        store.close()


def _run(order: Order, given: Mapping[str, Any], *, store: Store, root: Path, as_json: bool) -> int:
    from ratchet import runs

    check_trackers(given["trackers"])
    if given["aa"] and given["stop_when_decided"]:
        raise click.UsageError(
            "--aa looks for noise in all examples, and --stop-when-decided stops early: leave one out"
        )
    options = order.options
    if options.resume and options.resume != "last":
        from ratchet.cli.options import run_named

        options = runs.replace_options(options, resume=run_named(store, options.resume))
    place = runs.place(store, root)
    planned = runs.plan(order.task, order.arms, options=options, place=place)
    _warn_skipped(order.task)
    say_power(planned, given)
    if given["dry_run"]:
        show_plan(planned, options, as_json=as_json)
        return 0
    run = execute_with_progress(planned, options, place)
    from ratchet import summaries

    summary = summaries.summarise(run, store)
    log(given["trackers"], run, summary)
    judged = judge(run, store, given)
    if judged is not None and is_report(given["output"]):
        write_all(judged, given["output"], inconclusive=given["inconclusive"], store=store)
    elif given["output"] is not None:
        from ratchet.cli.export import write

        write(given["output"], run, summary, store)
    status = report(
        run,
        summary,
        store,
        as_json=as_json,
        max_errors=_max_errors(run, given, judged),
        judged=judged,
        words=() if given["dataset"] is not None or not run.task.name else [run.task.name],
    )
    return status if judged is None else worst_exit([status, judged.exit_code(given["inconclusive"])])


def _max_errors(run: Run, given: Mapping[str, Any], judged: Judged | None) -> int:
    """How many failed answers are too many; where written checks decide, their error guard does, unless it was said."""
    said = click.get_current_context().get_parameter_source("max_errors")
    by_default = said is click.core.ParameterSource.DEFAULT
    guarded = judged is not None and run.task.checks and not judged.partial
    return 10**9 if guarded and by_default else given["max_errors"]


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker whose extra is missing before anything is paid for."""
    for name in names:
        from ratchet import trackers

        trackers.check(name)


def log(names: Sequence[str], run: Run, summary: Summary, files: Sequence[Path] = ()) -> None:
    """Send the summary to these experiment trackers and say where it went."""
    for name in names:
        from ratchet import codec, trackers

        click.echo(trackers.log_run(name, run, codec.encode(summary), files), err=True)


def execute_with_progress(planned: Plan, options: Options, place: Any) -> Run:
    """The run, its progress shown on standard error."""
    from ratchet import runs
    from ratchet.cli.displays import Display

    display = Display()
    try:
        return runs.drive(
            lambda control: runs.execute(
                planned, options=options, place=place, on_progress=display, control=control
            )
        )
    finally:
        display.close()


def report(
    run: Run,
    summary: Summary,
    store: Store,
    *,
    as_json: bool,
    max_errors: int,
    judged: Judged | None = None,
    words: Sequence[str] = (),
) -> int:
    """Print the summary, the verdicts and what to do next; the exit status, the verdicts' aside.

    Args:
        words: What stands after `ratchet run` to name this run's task again.
    """
    again = shlex.join(["ratchet", "run", *words, "--resume", run.id])
    state = next((row for row in store.runs() if row.id == run.id), None)
    stopped = state is not None and state.state != "finished"
    if as_json:
        echo_json(
            {
                "run": run.id,
                "state": state.state if state else "",
                "reason": state.reason if state else "",
                "summary": summary,
                **({} if judged is None else {"verdicts": list(judged.verdicts)}),
            }
        )
    else:
        from ratchet.cli.tables import render_summary

        click.echo(render_summary(summary, width=width()))
        if judged is not None:
            show_all(judged)
        click.echo(
            f"Next: ratchet show {run.id[:13]} --worst 20\n"
            f"      ratchet export {run.id[:13]} -o answers.jsonl"
        )
    if stopped and state is not None:
        click.echo(f"Stopped: {state.reason}. Go on with: {again}", err=True)
    failed = sum(arm.failed for arm in summary.arms.values())
    if stopped and state is not None and not state.reason.startswith("the budget "):
        return EXIT_FAILED
    if failed > max_errors:
        click.echo(
            f"{failed} answers failed, more than --max-errors {max_errors}; try them again with: {again} --retry-failed",
            err=True,
        )
        return EXIT_FAILED
    return 0


def width() -> int:
    """Columns to write in: the terminal's, 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else 80


def _warn_skipped(task: Task) -> None:
    if task.dataset.skipped:
        click.echo(f"Note: {task.dataset.skipped} bad rows of {task.dataset.path} were skipped", err=True)


def show_plan(planned: Plan, options: Options, *, as_json: bool) -> None:
    """The plan, on standard output."""
    from ratchet import plans

    if as_json:
        arms = {
            arm.name: {
                "model": arm.variant.model or arm.variant.target, "variant": arm.variant_id, "calls": arm.calls,
                "input_tokens": arm.input_tokens, "output_tokens": arm.output_tokens, "cost_usd": arm.cost_usd,
            }
            for arm in planned.arms
        }  # fmt: skip
        echo_json(
            {
                "examples": planned.examples,
                "repeats": planned.run.task.repeats,
                "calls": planned.calls,
                "cost_usd": planned.cost_usd,
                "arms": arms,
                "looks": list(plans.looks(planned.examples)) if planned.run.stop_when_decided else [],
            }
        )
        return
    from ratchet.cli.tables import _usd, table

    task = planned.run.task
    repeats = f" x {task.repeats} repeats" if task.repeats > 1 else ""
    click.echo(f"{task.name or 'run'}: {planned.examples:,} examples{repeats} x {len(planned.arms)} arms")
    rows: list[Sequence[str]] = [
        (arm.name, arm.variant.model or str(arm.variant.target), f"{arm.calls:,}", f"{arm.input_tokens:,}",
         f"{arm.output_tokens:,}", "-" if arm.variant.target else "unknown" if arm.cost_usd is None else _usd(arm.cost_usd))
        for arm in planned.arms
    ]  # fmt: skip
    click.echo(table(("arm", "model", "calls", "~tokens in", "~tokens out", "~cost"), rows, width=width()))
    if planned.done:
        click.echo(f"Already done in this run: {len(planned.done):,} answers.")
    scorers = ", ".join(scorer.name for scorer in task.scorers) or "none"
    if planned.run.stop_when_decided:
        from ratchet.cli.verdict import looks_ahead

        click.echo(looks_ahead(planned))
    click.echo(f"Scorers: {scorers}. In flight at most: {options.concurrency}. Nothing was called.")
