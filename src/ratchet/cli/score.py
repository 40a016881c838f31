"""`ratchet score`: judge kept answers again, or put recorded results in numbers."""

from __future__ import annotations

from pathlib import Path

import click

from ratchet.cli.file_options import FileOptions, are_files, with_file_options
from ratchet.cli.options import project_at, read_env, run_named, store_for, with_json, with_store


@click.command(short_help="Judge the answers of a run again, or put recorded results in numbers.")
@click.argument("what", nargs=-1, metavar="[RUN | FILE…]")
@click.option(
    "--concurrency", "-j", type=click.IntRange(1, 10_000), default=16, help="Answers judged at once [16]."
)
@click.option(
    "--run", "runs_of", multiple=True, metavar="FILE", help="With --qrels: a TREC run to judge (repeatable)."
)
@click.option("--per-query", "-q", is_flag=True, help="With --qrels: also each query by itself.")
@click.option("--baseline", metavar="ARM", help="Of files: also how many examples changed against this arm.")
@with_file_options
@with_json
@with_store
def score(
    what: tuple[str, ...], concurrency: int, runs_of: tuple[str, ...], per_query: bool, baseline: str | None,
    file_options: FileOptions, as_json: bool, project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
    """Judge the answers of RUN again: an id, its beginning, a name, or the last run.

    New scores join the old ones; of each scorer's, the newest counts. Models are not called, judges are.

    Of FILEs with recorded results (CSV, TSV, JSON, JSONL, Parquet), print every arm in numbers; options say what the
    columns mean. With --qrels, judge TREC runs as trec_eval does.
    """
    from ratchet.cli import file_scores

    if file_options.qrels is not None or runs_of:
        return file_scores.retrieval([*what, *runs_of], file_options, as_json=as_json, per_query=per_query)
    if are_files(what, file_options):
        project = project_at(project_file, needed=False)
        root = project.root if project else Path.cwd()
        return file_scores.files(what, file_options, baseline=baseline, as_json=as_json, root=root)
    used = [name for name in file_options.given() if name != "scorers"]
    if used or baseline is not None:
        raise click.UsageError(
            f"{', '.join([*used, *(['baseline'] if baseline else [])])}: these options are for files; no file was given"
        )
    if len(what) > 1:
        raise click.UsageError(f"found {len(what)} runs, expected one; or files with recorded results")
    return _score_run(
        what[0] if what else None, file_options.scorers, concurrency, as_json=as_json,
        project_file=project_file, store_at=store_at, env_file=env_file,
    )  # fmt: skip


def _score_run(
    run: str | None, scorers: tuple[str, ...], concurrency: int, *, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> int:  # fmt: skip
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
