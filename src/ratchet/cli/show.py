"""`ratchet show`: a run in numbers, or one answer with all its steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ratchet.cli.options import echo_json, project_at, run_named, store_for, with_json, with_store
from ratchet.errors import PlanError

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.records import Trace


@click.command(short_help="Show a run, or one answer with all its steps.")
@click.argument("what", required=False, metavar="[RUN|TRACE]")
@click.option("--worst", type=click.IntRange(0), default=5, help="How many of the worst rows to show [5].")
@with_json
@with_store
def show(
    what: str | None,
    worst: int,
    as_json: bool,
    project_file: Path | None,
    store_at: str | None,
    env_file: Path | None,
) -> None:
    """Show RUN (an id, its beginning, a name; the last by default), or the answer TRACE (12 or more of its digits)."""
    from ratchet import summaries
    from ratchet.cli.run import width
    from ratchet.cli.tables import render_summary

    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        if what and re.fullmatch(r"[0-9a-f]{12,32}", what):
            _show_trace(store, what, as_json=as_json)
            return
        run = store.run(run_named(store, what))
        assert run is not None
        summary = summaries.summarise(run, store, worst=worst)
        if as_json:
            echo_json(summary)
        else:
            click.echo(render_summary(summary, width=width()))
    finally:
        store.close()


def _show_trace(store: Store, start: str, *, as_json: bool) -> None:
    trace = store.trace(start) if len(start) == 32 else _by_prefix(store, start)
    if trace is None:
        raise PlanError(f"no answer's id begins with {start!r}; `ratchet show RUN` names some")
    scores = list(store.scores(trace_id=trace.id))
    if as_json:
        echo_json({"trace": trace, "scores": scores})
        return
    click.echo("\n".join(_lines(trace)))
    for score in scores:
        why = f"  {_safe(score.reason)}" if score.reason else ""
        click.echo(f"score    {_safe(score.name)} = {_safe(str(score.value))}  ({_safe(score.by)}){why}")


def _by_prefix(store: Store, start: str) -> Trace | None:
    for run in store.runs():
        for row in store.rows(run.id):
            if row.id.startswith(start):
                return store.trace(row.id)
    return None


def _lines(trace: Trace) -> Iterator[str]:
    from ratchet.cli.tables import _usd, seconds

    yield f"trace    {trace.id}"
    yield f"of       {trace.run_id} {_safe(trace.arm or 'a judge')}, example {_safe(trace.example_id or '-')}, repeat {trace.repeat}"
    facts = [
        f"model {_safe(trace.model or '-')}",
        f"tokens {trace.input_tokens} in, {trace.output_tokens} out",
        _usd(trace.cost_usd),
    ]
    facts += [
        f"{name} {seconds(value)}"
        for name, value in (("TTFT", trace.ttft_s), ("latency", trace.latency_s), ("queue", trace.queue_s))
        if value is not None
    ]
    yield f"facts    {', '.join(facts)}{', from the cache' if trace.cached else ''}"
    for message in (
        trace.input if isinstance(trace.input, list) else [{"role": "input", "content": trace.input}]
    ):
        yield f"--- {_safe(str(message.get('role')))}"
        yield _safe(str(message.get("content")))
    if trace.error:
        yield f"--- error ({trace.error.kind})"
        yield _safe(trace.error.message)
    if trace.output is not None:
        yield "--- output"
        yield _safe(str(trace.output))
    if trace.answer != trace.output:
        yield f"--- answer{' (none: ' + _safe(trace.answer_error) + ')' if trace.answer_error else ''}"
        yield _safe(str(trace.answer))
    yield "---"
    for span in trace.spans:
        failed = f"  {span.error.kind}: {_safe(span.error.message)}" if span.error else ""
        yield f"span     {_safe(span.name)}  {seconds(span.duration_ns / 1e9)}{failed}"


def _safe(text: str) -> str:
    from ratchet.cli.tables import safe

    return "\n".join(safe(line) for line in text.split("\n"))
