"""`ratchet load`: what a variant holds under traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.load_options import order_of, plan_of
from ratchet.cli.options import echo_json, project_at, read_env, store_for, with_json, with_store
from ratchet.cli.verdict import with_inconclusive

if TYPE_CHECKING:
    from ratchet.loads.loading import Loaded, Plan
    from ratchet.loads.sweeping import Step, Sweep
    from ratchet.ports import Store

EXIT_HOLD, EXIT_FAILED = 1, 4
_positive = click.FloatRange(0, min_open=True)
_share = click.FloatRange(0, 1)


@click.command(short_help="Drive variants as production would: latency, goodput, capacity.")
@click.argument("task", required=False)
@click.option(
    "--variant",
    "-V",
    "-v",
    "only",
    multiple=True,
    metavar="NAME",
    help="A variant of ratchet.yaml (repeatable).",
)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    metavar="PROVIDER/MODEL",
    help="A model, without ratchet.yaml (repeatable).",
)
@click.option("--prompt", "-p", metavar="FILE|TEXT", help="… the prompt of every model.")
@click.option("--dataset", "-d", metavar="FILE", help="Ask a dataset's examples [the task's].")
@click.option(
    "--synthetic",
    metavar="IN:OUT|FILE",
    help="Ask made-up prompts of these tokens, as in 512:128, 100..900:64~200; or of recorded lengths (CSV, JSONL).",
)
@click.option("--from-run", metavar="RUN", help="Ask again what a recorded run asked.")
@click.option(
    "--shared-prefix",
    type=_share,
    default=0.0,
    metavar="SHARE",
    help="With --synthetic: how much of each prompt all begin with alike.",
)
@click.option("--max-tokens", type=click.IntRange(1), help="Cap every answer.")
@click.option("--stream/--no-stream", default=True, help="Stream answers, for the time to first token [yes].")
@click.option(
    "--rate", type=_positive, metavar="R", help="Open loop: so many requests a second, for every variant."
)
@click.option(
    "--arrivals",
    metavar="KIND",
    help="constant, poisson or bursts:ON/OFF in seconds [poisson; a sweep: constant].",
)
@click.option("--ramp", "ramp_text", metavar="FROM:TO", help="Open loop: a rate that rises or falls evenly.")
@click.option(
    "--steps",
    "steps_text",
    metavar="R,R,…",
    help="Open loop: one rate after another, as in 5,10,20 or 5,10,20@30s.",
)
@click.option(
    "--replay", metavar="FILE|RUN", help="Open loop: recorded arrival times, of a file or of a run."
)
@click.option("--speed", type=_positive, default=1.0, help="With --replay: so many times as fast [1].")
@click.option(
    "--users",
    "users_number",
    type=click.IntRange(1),
    help="Closed loop: so many users a variant, each waiting for its answer.",
)
@click.option("--duration", metavar="TIME", help="How long, as in 60s or 5m.")
@click.option("--count", type=click.IntRange(1), help="How many requests a variant at most.")
@click.option(
    "--warmup", default="0s", metavar="TIME", help="Leave this much at the start out of every figure [0s]."
)
@click.option(
    "--slo",
    "slos",
    multiple=True,
    metavar="NAME=SECONDS",
    help="What a good request holds: ttft, tpot, e2e or gap (repeatable).",
)
@click.option(
    "--goodput",
    type=_share,
    metavar="SHARE",
    help="Share of requests that must be good [0.95 in a sweep; else it decides nothing].",
)
@click.option(
    "--sweep", "sweeping", is_flag=True, help="Find the highest rate that holds --slo, variant by variant."
)
@click.option("--start", type=_positive, default=1.0, metavar="R", help="With --sweep: the first rate [1].")
@click.option(
    "--step",
    "step_text",
    default="10s",
    metavar="TIME",
    help="With --sweep: how long a step lasts at least [10s].",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    help="Spread the generator over so many processes [1].",
)
@click.option(
    "--grace", default="30s", metavar="TIME", help="How long answers may take after the last request [30s]."
)
@click.option(
    "--budget",
    "--budget-usd",
    "budget_usd",
    type=_positive,
    help="Refuse what may cost more dollars than this.",
)
@click.option("--seed", type=int, default=0, help="Seed of arrivals, lengths and prompts.")
@click.option("--name", default="", help="A name for the run.")
@click.option("--dry-run", is_flag=True, help="Show the plan, its calls and dollars; call nothing.")
@click.option(
    "--output",
    "-o",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the result: .json, .csv, .html, .md (repeatable).",
)
@with_inconclusive
@with_json
@with_store
def load(
    project_file: Path | None, store_at: str | None, env_file: Path | None, as_json: bool, **given: Any
) -> int:
    """Drive variants the way production would, and say what they held.

    \b
      ratchet load -m openai/gpt-4o --synthetic 512:128 --rate 20 --duration 60s
      ratchet load TASK --rate 20 --duration 60s --slo ttft=0.5 --slo e2e=5
      ratchet load -m vllm/llama --synthetic 512:128 --sweep --slo ttft=1

    An open loop (--rate, --ramp, --steps, --replay) sends on time whatever the server does, and latency counts from the
    intended start; a closed loop (--users) hides stalls. Exit status: 0 measured, and what was asked for held; 1 not
    held; 2 wrong use; 3 inconclusive; 4 invalid, every request failed, or it was broken off.
    """  # fmt: skip
    from ratchet.reports import loads as pages

    for path in given["outputs"]:
        pages.format_of(path)
    adhoc = bool(given["models"])
    project = None if adhoc and project_file is None else project_at(project_file, needed=not adhoc)
    root = project.root if project else Path.cwd()
    read_env(env_file, root)
    store = store_for(store_at, project)
    try:
        order = order_of(project, given, store, root)
        made = plan_of(order, given, store, root)
        click.echo(_plan_line(made, given), err=True)
        if given["dry_run"]:
            return _show_plan(made, as_json=as_json)
        if given["sweeping"]:
            return _sweep(made, given, store, as_json=as_json)
        return _load(made, given, store, as_json=as_json)
    finally:
        store.close()


# --- the plan -------------------------------------------------------------------------------------------------


def _plan_line(made: Plan, given: Mapping[str, Any]) -> str:
    """`20 requests/s Poisson, open loop: 2,400 calls to a, b in about 60 s, about $1.20`."""
    from ratchet.loads import schedules

    if given["sweeping"]:
        return f"Sweep of {', '.join(made.arms)} from {given['start']:g} requests/s: {made.workload}. Calls and dollars depend on what it holds."
    length = schedules.length_s(made.schedule)
    calls = "calls until the time is up" if made.calls is None else f"{made.calls:,} calls"
    parts = [f"{calls} to {', '.join(made.arms)}"]
    if length:
        parts.append(f"in about {length:,.0f} s")
    if made.cost_usd is not None:
        parts.append(f"about ${made.cost_usd:,.4g}")
    elif any(made.prices.get(name) is None and arm.model for name, arm in made.arms.items()):
        parts.append("price unknown")
    return f"{made.load}: {', '.join(parts)}; {made.workload}."


def _show_plan(made: Plan, *, as_json: bool) -> int:
    if as_json:
        echo_json(
            {"load": made.load, "workload": made.workload.description, "calls": made.calls, "cost_usd": made.cost_usd,
             "arms": list(made.estimates)}
        )  # fmt: skip
        return 0
    from ratchet.cli.run import width
    from ratchet.cli.tables import _usd, table

    rows = [
        (arm.name, arm.model, "?" if arm.calls is None else f"{arm.calls:,}", f"{arm.input_tokens:,.0f}",
         f"{arm.output_tokens:,.0f}", "unknown" if arm.cost_usd is None else _usd(arm.cost_usd),
         "unknown" if arm.most_usd is None else _usd(arm.most_usd))
        for arm in made.estimates
    ]  # fmt: skip
    header = ("arm", "model", "calls", "~tokens in", "~out", "~cost", "at most")
    click.echo(table(header, rows, width=width()))
    click.echo("Tokens are of one call, counted roughly. Nothing was called.")
    return 0


# --- doing it -------------------------------------------------------------------------------------------------


def _load(made: Plan, given: Mapping[str, Any], store: Store, *, as_json: bool) -> int:
    from ratchet.cli.load_display import LoadDisplay
    from ratchet.cli.run import width
    from ratchet.loads import loading, schedules
    from ratchet.reports import loads as pages

    display = LoadDisplay(list(made.arms), total_s=schedules.length_s(made.schedule), calls=made.calls)
    try:
        done = loading.load(made, store, report=display)
    finally:
        display.close()
    report = pages.LoadReport(
        result=done.result, samples=done.measured.samples, facts=_facts(made, done.run.id)
    )
    _write(report, given["outputs"])
    judged = None
    if (
        len(made.arms) > 1
        and done.run.task.checks
        and done.result.valid
        and any(check in made.options.checks for check in done.run.task.checks)
    ):
        from ratchet.cli.verdict import judge

        judged = judge(done.run, store, {"output": None, "aa": False})
    if as_json:
        verdicts = {} if judged is None else {"verdicts": list(judged.verdicts)}
        echo_json({"run": done.run.id, **pages.as_json(report), **verdicts})
    else:
        click.echo(pages.render_terminal(report, width=width()))
        _show_errors(done)
        if judged is not None:
            from ratchet.cli.verdict import show_all

            show_all(judged)
        _show_next(done, made)
    code = _exit_of(done, given["goodput"])
    if code == 0 and judged is not None:
        return judged.exit_code(given["inconclusive"])
    return code


def _exit_of(done: Loaded, goodput: float | None) -> int:
    result = done.result
    if not result.valid or result.interrupted or any(not arm.succeeded for arm in result.arms.values()):
        return EXIT_FAILED
    short = [arm for arm in result.arms.values() if goodput is not None and arm.goodput.value < goodput]
    for arm in short:
        click.echo(
            f"{arm.name}: {arm.goodput.value:.1%} of requests were good, less than --goodput {goodput:g}",
            err=True,
        )
    return EXIT_HOLD if short else 0


def _show_errors(done: Loaded) -> None:
    from ratchet.reports import texts

    for error in done.measured.errors[:5]:
        status = f" HTTP {error.status}" if error.status else ""
        message = texts.cut(texts.safe(error.message), 160)
        click.echo(
            f"{error.arm}: {error.count:,} x {error.kind}{status}{f': {message}' if message else ''}",
            err=True,
        )


def _show_next(done: Loaded, made: Plan) -> None:
    run_id = done.run.id[:13]
    lines = [f"ratchet show {run_id} --worst 20"]
    if len(made.arms) > 1:
        lines.insert(0, f"ratchet compare {run_id}")
    click.echo("Next: " + "\n      ".join(lines))


def _sweep(made: Plan, given: Mapping[str, Any], store: Store, *, as_json: bool) -> int:
    from ratchet.cli.load_display import LoadDisplay
    from ratchet.cli.run import width
    from ratchet.loads import loading, schedules
    from ratchet.reports import loads as pages

    display = LoadDisplay(["latency"], total_s=None, calls=None)

    def say(arm: str, step: Step) -> None:
        display.close()
        reading = step.reading
        click.echo(
            f"{arm}: {pages.rate(reading.rate)} requests/s for {step.seconds:.0f} s: {pages.percent(reading.goodput)} good, "
            f"{pages.REASONS[reading.because]}",
            err=True,
        )

    how = loading.Sweeping(
        start=given["start"],
        step_s=schedules.parse_seconds(given["step_text"], "--step"),
        good=0.95 if given["goodput"] is None else given["goodput"],
    )
    try:
        found = loading.sweep(made, how, store=store, report=display, on_step=say)
    finally:
        display.close()
    report = pages.LoadReport(sweeps=tuple(found), facts=_facts(made, None))
    _write(report, given["outputs"])
    if as_json:
        echo_json(pages.as_json(report))
    else:
        click.echo(pages.render_terminal(report, width=width()))
        for sweep in found:
            if sweep.run_id is not None:
                click.echo(f"Kept: {sweep.arm} at its highest rate as run {sweep.run_id}")
    return _exit_of_sweeps(found)


def _exit_of_sweeps(found: Sequence[Sweep]) -> int:
    if any(not sweep.valid or any(step.result.interrupted for step in sweep.steps) for sweep in found):
        return EXIT_FAILED
    return EXIT_HOLD if any(sweep.highest_rate is None for sweep in found) else 0


def _facts(made: Plan, run_id: str | None) -> dict[str, str]:
    facts = {"Run": run_id or "", "Workload": made.workload.description, "Dataset": made.workload.dataset.id}
    facts |= {f"Model of {name}": arm.model or str(arm.target) for name, arm in made.arms.items()}
    facts["Seed"] = str(made.schedule.seed)
    return {name: value for name, value in facts.items() if value}


def _write(report: Any, outputs: Sequence[Path]) -> None:
    from ratchet.reports import loads as pages

    for path in outputs:
        pages.write(report, path)
        click.echo(f"{path} written", err=True)
