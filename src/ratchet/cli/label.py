"""`ratchet label`: queues of answers for people, and their labels as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from ratchet.cli.options import echo_json, project_at, run_named, store_for, with_json, with_store

if TYPE_CHECKING:
    from ratchet.ports import Store

ORDERS = ("random", "disagreement", "worst", "pairs")
BETWEEN = ("judge-code", "repeats", "arms", "people")


@click.group(
    invoke_without_command=True, short_help="Deal answers out to people, and take their labels along."
)
@click.option(
    "--export",
    "export_to",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write labels: .jsonl, .csv, or .json for Label Studio.",
)
@click.option(
    "--import",
    "import_from",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Keep the labels of a file in one of these formats.",
)
@click.option(
    "--by",
    metavar="NAME",
    help="Who labelled, where the file does not say; in Label Studio files instead of who is named.",
)
@click.option("--queue", "queue_id", metavar="QUEUE", help="Export this queue's labels alone.")
@click.option("--run", "run_name", metavar="RUN", help="Export this run's labels alone.")
@click.option("--score", metavar="NAME", help="Export scores of this name alone.")
@with_json
@with_store
@click.pass_context
def label(
    context: click.Context, export_to: Path | None, import_from: Path | None, by: str | None, queue_id: str | None,
    run_name: str | None, score: str | None, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None,
) -> None:  # fmt: skip
    """List the queues of labels; people label in `ratchet view`, on the screen Label.

    \b
      ratchet label new -n 100 --score quality     100 examples of the last run, at random
      ratchet label new --order worst              the worst changes of the last run first
      ratchet label --export labels.csv            people's labels as a file
      ratchet label --import labels.csv --by ada   and back
    """
    if context.invoked_subcommand is not None:
        return
    if export_to and import_from:
        raise click.UsageError("--export and --import are two commands; give one of them")
    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        if import_from:
            _import(store, import_from, by, as_json=as_json)
        elif export_to:
            _export(store, export_to, queue_id, run_name, score, as_json=as_json)
        else:
            _list(store, as_json=as_json)
    finally:
        store.close()


@label.command()
@click.argument("run", required=False)
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="random",
    help="At random, where scores differ, worst change first, or blind pairs [random].",
)
@click.option(
    "--score",
    "-s",
    metavar="NAME",
    help="What the labels are called; a judge's own name lets them count for its calibration [quality, or preference for pairs].",
)
@click.option(
    "--items",
    "-n",
    "count",
    type=click.IntRange(1),
    default=100,
    help="Examples, each with the answers of all arms; else items [100].",
)
@click.option("--seed", type=int, default=0, help="Seed of the draw and of the order [0].")
@click.option("--stratify", metavar="KEY", help="Give each value of this metadata (or `group`) its share.")
@click.option(
    "--where", metavar="KEY=VALUE", multiple=True, help="Only examples with this metadata; repeatable."
)
@click.option("--arm", "arms", metavar="ARM", multiple=True, help="Only this arm's answers; repeatable.")
@click.option(
    "--between", type=click.Choice(BETWEEN), default="judge-code", help="Whose disagreement [judge-code]."
)
@click.option("--other", metavar="SCORE", help="The second score of judge-code [the first by code].")
@click.option("--metric", metavar="SCORE", help="What `worst` goes by [the queue's score].")
@click.option("--lower-is-better", is_flag=True, help="Of that metric.")
@click.option("--baseline", metavar="ARM", help="The arm to compare with [the run's baseline].")
@click.option("--candidate", metavar="ARM", help="The other arm; needed where there are several.")
@click.option("--per-item", type=click.IntRange(1, 20), default=1, help="People who label each item [1].")
@click.option(
    "--repeats",
    type=click.FloatRange(0.0, 0.5),
    default=0.0,
    help="Share of the items shown to the same person again, such as 0.1 [0].",
)
@click.option(
    "--asked",
    metavar="RUBRIC",
    help="pass, a scale such as 1-5, labels a,b,c, or many:a,b,c [what the score's scorer can say].",
)
@click.option(
    "--text",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file that says when to give which answer.",
)
@click.option("--name", default="", help="What the queue is called.")
@with_json
@with_store
def new(
    run: str | None, order: str, score: str | None, where: tuple[str, ...], asked: str | None, text: Path | None,
    as_json: bool, project_file: Path | None, store_at: str | None, env_file: Path | None, **settings: Any,
) -> None:  # fmt: skip
    """Make a queue over the answers of RUN (the last by default). Its order is drawn once and never changes."""
    from ratchet.labels import queues, rubrics

    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        found = store.run(run_named(store, run))
        assert found is not None
        name = score or ("preference" if order == "pairs" else "quality")
        written = text.read_text("utf-8-sig") if text else ""
        rubric = None
        if order == "pairs":
            rubric = rubrics.pairwise(name, written) if written else None
        elif asked or written:
            rubric = rubrics.parse(name, asked or "", written)
        settings["n"] = settings.pop("count")
        recipe = queues.Recipe(
            order=cast("Any", order), score=name, where=dict(_pair(one) for one in where), **settings
        )
        queue = queues.build(found, store, recipe, by=_me(), rubric=rubric)
        items = store.label_progress(queue.id, now=time.time()).total
    finally:
        store.close()
    if as_json:
        echo_json({"queue": queue.id, "items": items, "run": queue.run_id, "score": name})
        return
    click.echo(
        f"Queue {queue.id}, {_safe(queue.name)}: {items} items of run {queue.run_id[:13]}, drawn with seed {recipe.seed}.\n"
        f"Next: ratchet view, then /label/{queue.id}"
    )


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key.strip():
        raise click.UsageError(f"--where {text}: expected KEY=VALUE, such as topic=billing")
    return key.strip(), value.strip()


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user database
        return ""


def _list(store: Store, *, as_json: bool) -> None:
    from ratchet.labels import queues

    now = time.time()
    found = [(queue, store.label_progress(queue.id, now=now)) for queue in queues.all_of(store)]
    if as_json:
        echo_json(
            [
                {"queue": q.id, "name": q.name, "score": q.recipe.score, "run": q.run_id, "done": p.done, "items": p.total, "people": dict(p.by_person)}
                for q, p in found
            ]
        )  # fmt: skip
        return
    if not found:
        click.echo("No queue yet. Make one: ratchet label new -n 100 --score quality")
        return
    from ratchet.cli.run import width
    from ratchet.cli.tables import table

    rows = [
        (q.id, q.name, q.describe(), q.recipe.score, f"{p.done} of {p.total}", ", ".join(p.by_person))
        for q, p in found
    ]
    click.echo(table(("queue", "name", "order", "score", "done", "people"), rows, width=max(width(), 80)))


def _export(
    store: Store, path: Path, queue_id: str | None, run_name: str | None, score: str | None, *, as_json: bool
) -> None:
    from ratchet.labels import formats, queues

    kind = formats.format_of(path)
    queue = queues.load(store, queue_id) if queue_id else None
    run_id = queue.run_id if queue else run_named(store, run_name) if run_name else None
    found = formats.labels_of(store, run_id, name=score, queue_id=queue.id if queue else None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(formats.lines(found, store, kind))
    if as_json:
        echo_json({"file": str(path), "labels": len(found)})
        return
    click.echo(f"{path}: {len(found)} labels, {formats.FORMATS[kind]}")


def _import(store: Store, path: Path, by: str | None, *, as_json: bool) -> None:
    from ratchet.labels import formats

    with path.open("rb") as file:
        count = formats.bring_in(file, path, store, by=by)
    if as_json:
        echo_json({"file": str(path), "labels": count})
        return
    click.echo(f"{path}: {count} labels kept. Those that the store held already are not counted.")


def _safe(text: str) -> str:
    from ratchet.cli.tables import safe

    return safe(text)
