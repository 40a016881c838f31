"""`ratchet list`: the runs of a store."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ratchet.cli.options import echo_json, project_at, store_for, with_json, with_store


@click.command("list", short_help="List the runs of a store.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, help="The newest N [20].")
@with_json
@with_store
def list_runs(
    limit: int, as_json: bool, project_file: Path | None, store_at: str | None, env_file: Path | None
) -> None:
    """List the runs of a store, newest first."""
    from ratchet.cli.run import width
    from ratchet.cli.tables import table

    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        rows = store.runs(limit=limit)
        if as_json:
            echo_json(
                [
                    {
                        "id": r.id,
                        "name": r.name,
                        "state": r.state,
                        "reason": r.reason,
                        "task_id": r.task_id,
                        "created_at": r.created_at,
                        "finished_at": r.finished_at,
                    }
                    for r in rows
                ]
            )
            return
        lines: list[tuple[str, ...]] = []
        for row in rows:
            run = store.run(row.id)
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created_at))
            lines.append(
                (
                    row.id[:13],
                    at,
                    row.state,
                    run.task.name if run else "",
                    ", ".join(run.arms) if run else "",
                    row.name,
                )
            )
        click.echo(table(("run", "started", "state", "task", "arms", "name"), lines, width=width()))
    finally:
        store.close()
