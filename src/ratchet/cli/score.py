"""`ratchet score`: judge kept answers again."""

from __future__ import annotations

from pathlib import Path

import click

from ratchet.cli.options import project_at, read_env, run_named, store_for, with_json, with_store


@click.command(short_help="Judge the answers of a run again, without calling its models.")
@click.argument("run", required=False)
@click.option(
    "--scorer",
    "-s",
    "scorers",
    multiple=True,
    metavar="NAME",
    help="Scorers to use instead of the run's own (repeatable).",
)
@click.option(
    "--concurrency", "-j", type=click.IntRange(1, 10_000), default=16, help="Answers judged at once [16]."
)
@with_json
@with_store
def score(
    run: str | None, scorers: tuple[str, ...], concurrency: int, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
    """Judge the answers of RUN again: an id, its beginning, a name, or the last run.

    New scores join the old ones; of each scorer's, the newest counts. Models are not called, judges are.
    """
    from ratchet import runs, scores, summaries
    from ratchet.cli.displays import Display
    from ratchet.cli.run import report

    project = project_at(project_file, needed=False)
    root = project.root if project else Path.cwd()
    read_env(env_file, root)
    store = store_for(store_at, project, must_exist=True)
    display = Display()
    try:
        chosen = [scores.resolve(name, root=root) for name in scorers] or None
        options = runs.Options(concurrency=concurrency)
        run_id = run_named(store, run)
        runs.score(run_id, chosen, options=options, store=store, root=root, on_progress=display)
        judged = store.run(run_id)
        assert judged is not None
        return report(judged, summaries.summarise(judged, store), store, as_json=as_json, max_errors=10**9)
    finally:
        display.close()
        store.close()
