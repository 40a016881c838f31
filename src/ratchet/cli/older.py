"""`ratchet run --config-path`: the files of llm-validator, unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import read_env, store_for

if TYPE_CHECKING:
    from ratchet.llm_validator import PreparedRun
    from ratchet.ports import Store
    from ratchet.records import Run


def run_older(given: Mapping[str, Any], *, store_at: str | None, env_file: Path | None, as_json: bool) -> int:
    """Run the files of `--config-path`, several as arms or one after the other; the worst exit status of all."""
    from ratchet import llm_validator

    root = Path.cwd()
    read_env(env_file, root)
    prepared = llm_validator.to_runs(
        [llm_validator.load(path, root=root) for path in given["config_path"]], root=root
    )
    for warning in dict.fromkeys(warning for one in prepared for warning in one.warnings):
        click.echo(f"Warning: {warning}", err=True)
    store = store_for(store_at, None)
    try:
        return max([_run(one, given, store=store, root=root, as_json=as_json) for one in prepared], default=0)
    finally:
        store.close()


def _run(prepared: PreparedRun, given: Mapping[str, Any], *, store: Store, root: Path, as_json: bool) -> int:
    from ratchet import llm_validator, runs, summaries
    from ratchet.cli.options import run_named
    from ratchet.cli.run import check_trackers, execute_with_progress, log, report, show_plan
    from ratchet.cli.verdict import is_report, judge, say_power, worst_exit, write_all

    check_trackers(given["trackers"])
    changes = {
        "concurrency": given["concurrency"], "seed": given["seed"], "limit": given["limit"], "sample": given["sample"],
        "retry_failed": given["retry_failed"] or None, "name": given["name"] or None,
        "use_cache": False if given["no_cache"] else None, "stop_when_decided": given["stop_when_decided"] or None,
        "resume": run_named(store, given["resume"]) if given["resume"] not in (None, "last") else given["resume"],
    }  # fmt: skip
    options = runs.replace_options(prepared.options, **{k: v for k, v in changes.items() if v is not None})
    place = runs.place(store, root)
    task = prepared.task.replace(repeats=given["repeat"] or prepared.task.repeats)
    planned = runs.plan(task, prepared.arms, options=options, place=place)
    say_power(planned, given)
    if given["dry_run"]:
        show_plan(planned, options, as_json=as_json)
        _say_notes(prepared)
        return 0
    run = execute_with_progress(planned, options, place)
    summary = summaries.summarise(run, store)
    words = [word for path in given["config_path"] for word in ("--config-path", str(path))]
    asked = {**given, "output": None}
    judged = None if prepared.inference_only else judge(run, store, asked)
    status = report(
        run, summary, store, as_json=as_json, max_errors=given["max_errors"], judged=judged, words=words
    )
    if judged is not None and is_report(given["output"]):
        write_all(judged, given["output"], inconclusive=given["inconclusive"], store=store)
    if given["verbose"]:
        _show_wrong(run, store, given["verbose"], as_json=as_json)
    _say_notes(prepared)
    written = llm_validator.write_results(run, store, prepared, root=root)
    for path in written:
        click.echo(f"{path} written", err=True)
    log(given["trackers"], run, summary, written)
    return status if judged is None else worst_exit([status, judged.exit_code(given["inconclusive"])])


def _say_notes(prepared: PreparedRun) -> None:
    for note in prepared.notes:
        click.echo(f"Note: {note}", err=True)


def _show_wrong(run: Run, store: Store, verbose: int, *, as_json: bool) -> None:
    from ratchet import llm_validator

    for row in llm_validator.wrong_rows(run, store):
        click.echo(llm_validator.render_row(row, verbose=verbose), err=as_json)
