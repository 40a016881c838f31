"""What several commands share: finding the project and its store, reading `.env`, writing results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ratchet.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.projects import Project

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS = ("json", "jsonl", "csv", "md")


def with_store(command: Command) -> Command:
    """`--file`, `--store` and `--env-file`."""
    for option in (
        click.option("--env-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Read keys from this file instead of .env."),
        click.option("--store", "store_at", metavar="LOCATION", help="Where runs are kept [.ratchet/ratchet.db]."),
        click.option("--file", "-f", "project_file", type=click.Path(path_type=Path), help="The project's ratchet.yaml."),
    ):  # fmt: skip
        command = option(command)
    return command


def with_json(command: Command) -> Command:
    """`--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on standard output."
    )(command)


def project_at(path: Path | None, *, needed: bool = True) -> Project | None:
    """The project at this path, or the one found from the working directory upwards."""
    from ratchet import projects

    found = path or projects.find()
    if found is None:
        if needed:
            raise ConfigError(
                f"no {projects.FILE_NAME} here or in a folder above.\n"
                "  `ratchet init` lays one; or say what to run: ratchet run --dataset F --model openai/gpt-4o --prompt P"
            )
        return None
    return projects.load(found)


def read_env(env_file: Path | None, root: Path) -> None:
    """Put the variables of `.env` into the environment; those already there win."""
    path = env_file or root / ".env"
    if path.is_file():
        from dotenv import load_dotenv

        load_dotenv(path, override=False)


def store_for(store_at: str | None, project: Project | None, *, must_exist: bool = False) -> Store:
    """The store named by `--store`, `RATCHET_STORE`, the project, or the default in this folder."""
    from ratchet import stores

    default = project.store if project else str(Path.cwd() / ".ratchet" / "ratchet.db")
    location = store_at or os.environ.get("RATCHET_STORE") or default
    if must_exist and "://" not in location and not Path(location).exists():
        raise PlanError(f"there is no store at {location}; `ratchet run` makes one, --store names another")
    return stores.open_store(location)


def run_named(store: Store, name: str | None) -> str:
    """The id of the run that this names: an id, the beginning of one, a run's name, or "last" (the default)."""
    rows = store.runs()
    if not rows:
        raise PlanError("this store holds no run yet; `ratchet run` makes one")
    if name is None or name == "last":
        return rows[0].id
    named = [row.id for row in rows if name in (row.id, row.name)]
    if named:  # of several with one name, the newest
        return named[0]
    begun = [row.id for row in rows if row.id.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise PlanError(f"{name!r} fits {len(begun)} runs; give more of the id: {', '.join(begun[:3])}")
    raise PlanError(f"no run is named {name!r}; `ratchet list` shows the runs of this store")


def echo_json(value: Any) -> None:
    """One JSON document on standard output."""
    from ratchet import codec

    click.echo(codec.pretty(value))


def format_of(path: Path, allowed: tuple[str, ...] = FORMATS) -> str:
    """The format that a file's extension says."""
    extension = path.name.rsplit(".", 1)[-1].lower() if "." in path.name else ""
    if extension not in allowed:
        raise click.UsageError(f"-o {path}: the extension says the format; known: {', '.join(allowed)}")
    return extension


def environment() -> Mapping[str, str]:
    return os.environ
