"""`ratchet doctor`: is everything here that a run would need?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import ssl
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ratchet.cli.options import echo_json, project_at, read_env, with_json, with_store
from ratchet.errors import RatchetError

if TYPE_CHECKING:
    from ratchet.projects import Project
    from ratchet.records import Variant

EXTRAS = {
    "bedrock": "botocore", "parquet": "pyarrow", "text": "rouge_score", "wandb": "wandb", "mlflow": "mlflow",
}  # fmt: skip
State = Literal["ok", "missing", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    topic: str
    name: str
    state: State
    message: str


@click.command(short_help="Check keys, endpoints, prices, sandbox and extras.")
@click.option("--offline", is_flag=True, help="Open no connection to endpoints.")
@with_json
@with_store
def doctor(
    offline: bool, as_json: bool, project_file: Path | None, store_at: str | None, env_file: Path | None
) -> int:
    """Check keys, endpoints, prices, sandbox and extras of this project. No model is called.

    Exit status: 0 nothing is missing, 4 something that this project needs is.
    """
    project = project_at(project_file, needed=False)
    read_env(env_file, project.root if project else Path.cwd())
    findings = [*_basics(), *_store(project, store_at), *_variants(project, offline), *_extras(), *_sandbox()]
    if as_json:
        echo_json(findings)
    else:
        from ratchet.cli.run import width
        from ratchet.cli.tables import table

        if project is None:
            click.echo(
                "No ratchet.yaml here or above: `ratchet init` lays one. Looking at this machine alone."
            )
        rows = [(f.state, f.topic, f.name, f.message) for f in findings]
        click.echo(table(("", "topic", "what", "found"), rows, width=max(width(), 80)))
    return 4 if any(finding.state == "missing" for finding in findings) else 0


def _basics() -> Iterator[Finding]:
    version = importlib.metadata.version("ratchet-llm")
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding(topic="ratchet", name="version", state="ok", message=f"{version} on Python {python}")


def _store(project: Project | None, store_at: str | None) -> Iterator[Finding]:
    from ratchet import stores

    location = (
        store_at or os.environ.get("RATCHET_STORE") or (project.store if project else ".ratchet/ratchet.db")
    )
    if "://" not in location and not Path(location).exists():
        yield Finding(
            topic="store", name=location, state="note", message="not made yet; the first run makes it"
        )
        return
    try:
        store = stores.open_store(location)
    except RatchetError as error:
        yield Finding(topic="store", name=location, state="missing", message=str(error))
        return
    yield Finding(topic="store", name=location, state="ok", message=f"{len(store.runs())} runs")
    store.close()


def _variants(project: Project | None, offline: bool) -> Iterator[Finding]:
    for name, variant in project.variants.items() if project else ():
        try:
            yield from _variant(name, variant, project, offline)
        except RatchetError as error:
            yield Finding(topic="variant", name=name, state="missing", message=str(error).splitlines()[0])


def _variant(name: str, variant: Variant, project: Project | None, offline: bool) -> Iterator[Finding]:
    from ratchet import prices, providers, variants

    variants.resolve(variant, root=project.root if project else None)
    if variant.model is None:
        yield Finding(topic="variant", name=name, state="ok", message=f"function {variant.target}")
        return
    missing = providers.missing_keys({name: variant})
    endpoint = providers.endpoint_for(variant)
    if missing:
        message = f"set {' or '.join(missing[0].variables)}"
        yield Finding(topic="key", name=name, state="missing", message=message)
    else:
        yield Finding(
            topic="key", name=name, state="ok", message="set" if endpoint.api_key else "none needed"
        )
    provider, model = providers.split_model(variant.model)
    price = variant.price or prices.lookup(provider, model)
    text = "unknown: cost will be unknown, give `price:`" if price is None else (
        f"${price.input_usd_per_mtok:g} in, ${price.output_usd_per_mtok:g} out per million tokens ({price.source or 'ratchet.yaml'})"
    )  # fmt: skip
    yield Finding(topic="price", name=name, state="note" if price is None else "ok", message=text)
    if endpoint.base_url and not offline:
        yield _reach(name, endpoint.base_url)


def _reach(name: str, url: str) -> Finding:
    """Whether a connection (and for https a handshake) can be made; nothing is sent."""
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(connection, server_hostname=host):
                    pass
    except OSError as error:
        return Finding(
            topic="endpoint", name=name, state="missing", message=f"{host}:{port} can't be reached: {error}"
        )
    return Finding(topic="endpoint", name=name, state="ok", message=f"{host}:{port} answers")


def _extras() -> Iterator[Finding]:
    for extra, module in EXTRAS.items():
        if importlib.util.find_spec(module):
            yield Finding(topic="extra", name=extra, state="ok", message="installed")
        else:
            message = f"not installed: pip install 'ratchet-llm[{extra}]'"
            yield Finding(topic="extra", name=extra, state="note", message=message)


def _sandbox() -> Iterator[Finding]:
    found = next((name for name in ("bwrap", "nsjail", "firejail") if shutil.which(name)), None)
    if found:
        yield Finding(topic="sandbox", name=found, state="ok", message="installed")
    else:
        yield Finding(
            topic="sandbox",
            name="bwrap",
            state="note",
            message="not installed: needed only by scorers that run programs",
        )
    gcc = shutil.which("gcc") or shutil.which("cc")
    message = gcc or "not found: needed only by scorers that compile C"
    yield Finding(topic="compiler", name="gcc", state="ok" if gcc else "note", message=message)
