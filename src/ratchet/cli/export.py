"""`ratchet export`: the answers and scores of a run as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import format_of, project_at, run_named, store_for, with_store

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.records import Run, Score
    from ratchet.summaries import Summary

_FACTS = (
    "arm", "example_id", "repeat", "group", "output", "answer", "answer_error", "refusal", "finish_reason", "model",
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd", "ttft_s", "latency_s", "queue_s",
    "attempts", "cached", "created_at",
)  # fmt: skip


@click.command(short_help="Write the answers and scores of a run to a file.")
@click.argument("run", required=False)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file: .jsonl or .csv for answers, .json or .md for the summary.",
)
@with_store
def export(
    run: str | None, output: Path, project_file: Path | None, store_at: str | None, env_file: Path | None
) -> None:
    """Write RUN (an id, its beginning, a name; the last by default) to a file."""
    from ratchet import summaries

    format_of(output)
    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        found = store.run(run_named(store, run))
        assert found is not None
        write(output, found, summaries.summarise(found, store), store)
        click.echo(f"{output} written", err=True)
    finally:
        store.close()


def write(path: Path, run: Run, summary: Summary, store: Store) -> None:
    """Write the run in the format of the file's extension."""
    kind = format_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "jsonl":
        _write_jsonl(path, run, store)
    elif kind == "csv":
        _write_csv(path, run, store)
    elif kind == "json":
        from ratchet import codec

        path.write_text(codec.pretty(summary) + "\n", encoding="utf-8")
    else:
        from ratchet.cli.tables import render_summary

        path.write_text(
            f"# {summary.task or 'Run'}\n\n```\n{render_summary(summary)}\n```\n", encoding="utf-8"
        )


def rows(run: Run, store: Store) -> Iterator[dict[str, Any]]:
    """Each answer with its scores, one mapping an answer."""
    from ratchet import codec

    for trace in store.traces(run.id):
        if trace.arm is None:
            continue
        row: dict[str, Any] = {"trace_id": trace.id, **{name: getattr(trace, name) for name in _FACTS}}
        row["error"] = trace.error.kind if trace.error else None
        row["error_message"] = trace.error.message if trace.error else None
        for score in store.scores(trace_id=trace.id):
            name = _name(score)
            row[f"score.{name}"] = codec.plain(score.value)
            if score.reason:
                row[f"reason.{name}"] = score.reason
        yield row


def _name(score: Score) -> str:
    """The score's column: people's labels stand beside the judge's score, never in its place."""
    return f"{score.source}.{score.name}.{score.by}" if score.source in ("human", "user") else score.name


def _write_jsonl(path: Path, run: Run, store: Store) -> None:
    from ratchet import codec

    with path.open("wb") as file:
        for row in rows(run, store):
            file.write(codec.dumps(row) + b"\n")


def _write_csv(path: Path, run: Run, store: Store) -> None:
    from ratchet import codec

    names = ["trace_id", *_FACTS, "error", "error_message"]
    extra: dict[str, None] = {}
    for score in store.scores(run.id):
        extra.setdefault(f"score.{_name(score)}")
        if score.reason:
            extra.setdefault(f"reason.{_name(score)}")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*names, *extra], restval="", extrasaction="ignore")
        writer.writeheader()
        for row in rows(run, store):
            writer.writerow({name: _cell(value, codec) for name, value in row.items()})


def _cell(value: Any, codec: Any) -> Any:
    return codec.dumps(value).decode() if isinstance(value, (dict, list)) else value
