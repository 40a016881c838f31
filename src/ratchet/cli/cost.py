"""`ratchet cost`: what a change is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import echo_json, format_of, project_at, run_named, store_for, with_json, with_store
from ratchet.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from ratchet.costs.records import CostCase, Hosting, Traffic
    from ratchet.ports import Store
    from ratchet.records import Price, Run

FORMATS = ("json", "csv", "md", "html")
_PRICE = re.compile(r"(?P<arm>[^=]+)=(?P<rates>[0-9.eE/+-]+)")


@click.command(short_help="Say what a change costs and saves.")
@click.argument("run", required=False)
@click.option("--baseline", "-b", metavar="ARM", help="What runs today [the run's baseline].")
@click.option("--candidate", "-c", metavar="ARM", help="What it may become [the other arm].")
@click.option("--traffic", metavar="RATE", help="How often the product calls: 2M/month, 40k/day, 5/s.")
@click.option(
    "--traffic-from",
    metavar="RUN|FILE",
    help="Count the traffic from recorded calls: a run, or a file of times.",
)
@click.option(
    "--success",
    metavar="SCORE",
    help="What makes an answer correct: exact_match, or similarity>=0.8 [the task's].",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="ARM=IN/OUT[/CACHED]",
    help="Dollars per million tokens, in place of the run's.",
)
@click.option(
    "--cached-share",
    type=click.FloatRange(0, 1),
    help="What if this share of input came from the provider's cache?",
)
@click.option(
    "--batch-discount", type=click.FloatRange(0, 1), help="What if batches took this share off the price?"
)
@click.option(
    "--one-off-usd",
    type=click.FloatRange(0),
    default=0.0,
    help="What going over costs beside validation [0].",
)
@click.option("--self-hosted", metavar="ARM", help="This arm runs on machines of one's own.")
@click.option(
    "--gpu-usd-per-hour", type=click.FloatRange(0, min_open=True), help="With --self-hosted: a GPU's price."
)
@click.option(
    "--gpus", type=click.IntRange(1), default=1, help="With --self-hosted: GPUs a replica needs [1]."
)
@click.option(
    "--requests-per-s",
    type=click.FloatRange(0, min_open=True),
    help="With --self-hosted: what a replica holds within the SLO.",
)
@click.option("--load", "load_run", metavar="RUN", help="With --self-hosted: a load test to take that from.")
@click.option(
    "--utilisation",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    help="With --self-hosted: share of it that traffic uses [0.5].",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the case to this file: json, csv, md or html.",
)
@with_json
@with_store
def cost(
    run: str | None, baseline: str | None, candidate: str | None, output: Path | None, as_json: bool,
    project_file: Path | None, store_at: str | None, env_file: Path | None, **given: Any,
) -> None:  # fmt: skip
    """Say what the arms of RUN (the last by default) cost, and what going from one to the other saves.

    Money comes from the answers' own tokens; intervals are 95 %, groups as clusters.
    """
    from ratchet import costs
    from ratchet.costs import Terms

    if output is not None:
        format_of(output, FORMATS)
    store = store_for(store_at, project_at(project_file, needed=False), must_exist=True)
    try:
        chosen = store.run(run_named(store, run))
        assert chosen is not None
        terms = Terms(
            traffic=_traffic(store, given["traffic"], given["traffic_from"]),
            one_off_usd=given["one_off_usd"],
            spent_usd=costs.spent_usd(store, _of_dataset(store, chosen)),
            prices=_prices(given["prices"]),
            cached_share=given["cached_share"],
            batch_discount=given["batch_discount"],
        )
        bills = costs.from_run(store, chosen, success=given["success"])
        case = costs.build(bills, terms, baseline=baseline or chosen.baseline, candidate=candidate)
        if given["self_hosted"] is not None:
            case = costs.with_hosting(case, _hosting(store, case, given))
    finally:
        store.close()
    _show(case, output, as_json=as_json)


def _show(case: CostCase, output: Path | None, *, as_json: bool) -> None:
    from ratchet.cli.run import width
    from ratchet.reports import cost_reports

    if output is not None:
        cost_reports.write(case, output)
    if as_json:
        echo_json(cost_reports.as_json(case))
        return
    click.echo(cost_reports.terminal(case, width=width()))
    if output is not None:
        click.echo(f"\nWritten to {output}.")


def _of_dataset(store: Store, run: Run) -> list[Run]:
    """Every run over the same examples: what was spent on finding out."""
    rows = [store.run(row.id) for row in store.runs()]
    return [found for found in rows if found is not None and found.task.dataset.id == run.task.dataset.id]


def _traffic(store: Store, text: str | None, recorded: str | None) -> Traffic | None:
    from ratchet.costs import traffic

    if text and recorded:
        raise click.UsageError("--traffic and --traffic-from both say how often; give one of them")
    if text:
        return traffic.stated(text)
    if recorded is None:
        return None
    if Path(recorded).is_file():
        from ratchet.loads.recordings import load_times

        return traffic.counted(load_times(recorded), recorded)
    run_id = run_named(store, recorded)
    return traffic.counted((row.created_at for row in store.rows(run_id) if row.arm), f"run {recorded}")


def _prices(texts: tuple[str, ...]) -> dict[str, Price]:
    from ratchet.records import Price

    found: dict[str, Price] = {}
    for text in texts:
        match = _PRICE.fullmatch(text.strip())
        rates = match["rates"].split("/") if match else []
        try:
            numbers = [float(rate) for rate in rates]
        except ValueError:
            numbers = []
        if match is None or len(numbers) not in (2, 3) or min(numbers) < 0:
            raise ConfigError(
                f"--price {text!r}: expected ARM=INPUT/OUTPUT or ARM=INPUT/OUTPUT/CACHED in dollars per million "
                "tokens, as in candidate=0.25/2"
            )
        found[match["arm"].strip()] = Price(
            input_usd_per_mtok=numbers[0],
            output_usd_per_mtok=numbers[1],
            cached_usd_per_mtok=numbers[2] if len(numbers) == 3 else None,
            source="given by --price",
        )
    return found


def _hosting(store: Store, case: CostCase, given: Mapping[str, Any]) -> Hosting:
    from ratchet.costs.hosting import hosting
    from ratchet.loads.rates import measured_rate

    arm = str(given["self_hosted"])
    gpu_usd, rate, load = given["gpu_usd_per_hour"], given["requests_per_s"], given["load_run"]
    if not isinstance(gpu_usd, float):
        raise click.UsageError("--self-hosted needs --gpu-usd-per-hour, the price of one GPU")
    if (rate is None) == (load is None):
        raise click.UsageError(
            "--self-hosted needs --requests-per-s or --load RUN, one of them: what a replica holds"
        )
    known = {each.name: each for each in case.arms}
    others = [each for each in case.arms if each.name != arm and each.per_call_usd]
    if arm not in known:
        raise click.UsageError(f"--self-hosted {arm}: the run has no such arm; known: {', '.join(known)}")
    if not others or others[0].per_call_usd is None:
        raise PlanError(f"the run has no arm with a known price beside {arm!r} to compare machines with")
    source = "stated"
    if load is not None:
        run_id = run_named(store, str(load))
        rate, source = measured_rate(store, run_id, arm), f"load test {load}"
    assert isinstance(rate, float)
    gpus, utilisation = given["gpus"], given["utilisation"]
    assert isinstance(gpus, int)
    assert isinstance(utilisation, float)
    return hosting(
        arm=arm, against=others[0].name, against_per_call_usd=others[0].per_call_usd.value, gpu_usd_per_hour=gpu_usd,
        requests_per_s=rate, gpus=gpus, utilisation=utilisation, throughput_from=source, traffic=case.traffic,
    )  # fmt: skip
