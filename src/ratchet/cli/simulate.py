"""`ratchet simulate`: serve simulated models until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(short_help="Serve simulated models over HTTP.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one and prints it.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--answers",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Answer key: .jsonl, .json, .csv, .tsv or .yaml. Repeatable.",
)
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="FILE|NAME=SETTINGS",
    help="How models behave, as in quick=challenger,skill=0.8,ttft_s=0.1~0.3. The first answers for unknown names.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SPEC",
    help="What goes wrong and when, as in 429:0.1,retry=date or cut:every=7. Repeatable.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--log", type=click.Path(dir_okay=False, path_type=Path), help="Append every request as a line of JSON."
)
@click.option("--require-key", is_flag=True, help="Refuse requests without an API key.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def simulate(*, as_json: bool, **settings: Any) -> None:
    """Serve simulated models in the vendors' HTTP formats, for tests of your own pipelines."""
    import asyncio
    import contextlib

    from ratchet.simulated.server import SimulatedServer

    server = SimulatedServer(**settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, contextlib.suppress(KeyboardInterrupt):
        runner.run(_serve(server, as_json=as_json))
    stats = server.stats()
    click.echo(f"Stopped after {stats.requests} requests.", err=True)


def _loop_factory() -> Any:
    """uvloop's where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(server: Any, *, as_json: bool) -> None:
    import asyncio
    import contextlib
    import signal

    from ratchet import codec
    from ratchet.simulated.routes import BASE_PATHS

    stop = asyncio.Event()
    with contextlib.suppress(NotImplementedError):  # Windows
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        urls = {wire: server.base_url(wire) for wire in BASE_PATHS}
        if as_json:
            click.echo(codec.dumps({"url": server.url, "base_urls": urls}))
        else:
            click.echo(f"Simulated models on {server.url} (Ctrl-C stops)\n")
            for wire, url in urls.items():
                click.echo(f"  {wire:<11} {url}")
            click.echo(
                f"\n  models      {', '.join(server.models)}; other names answer as {server.default.profile.name}"
            )
            click.echo(f"  counts      {server.url}/stats")
        await stop.wait()
