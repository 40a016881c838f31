"""`ratchet view`: the page on this project's store, and who may see it from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import project_at, with_store
from ratchet.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.projects import Project
    from ratchet.web.settings import Settings


@click.command(short_help="Look at runs, verdicts and answers in a browser.")
@click.option(
    "--host",
    default="127.0.0.1",
    help="Where to listen; any but this machine asks people for tokens [127.0.0.1].",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="0 takes a free one [8190, or the next free one]."
)
@click.option(
    "--allow-host",
    "allowed",
    metavar="NAME",
    multiple=True,
    help="A further name that browsers may use, as behind a proxy; repeatable.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes that answer [1].")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option(
    "--as",
    "person",
    metavar="NAME",
    help="Who sits here; labels are given under this name [the system's user].",
)
@click.option("--add-token", metavar="NAME", help="Make a token for NAME, print it once, and end.")
@click.option(
    "--role", type=click.Choice(["view", "label", "admin"]), help="What the new token allows [view]."
)
@click.option("--revoke-token", metavar="NAME", help="End NAME's token, and end.")
@click.option("--tokens", "list_tokens", is_flag=True, help="List who has a token, and end.")
@with_store
def view(project_file: Path | None, store_at: str | None, env_file: Path | None, **given: Any) -> None:
    """Serve the page on this project's store and open it in a browser. Ctrl-C ends it.

    Only this machine reaches it. With --host or --allow-host others do, and need a token each:

      ratchet view --add-token ann --role label

      ratchet view --host 0.0.0.0
    """
    project = project_at(project_file, needed=False)
    store = _store_file(store_at, project)
    if given["add_token"] or given["revoke_token"] or given["list_tokens"]:
        _tokens(store, add=given["add_token"], role=given["role"], revoke=given["revoke_token"])
        return
    if given["role"]:
        raise click.UsageError("--role belongs to --add-token NAME")
    from ratchet.web.settings import Settings

    settings = Settings(
        store=store,
        root=(project.root if project else Path.cwd()).resolve(),
        project_file=project.path.resolve() if project else None,
        host=given["host"].strip("[]"),
        allowed_hosts=tuple(name.lower().rstrip(".") for name in given["allowed"]),
        person=_name(given["person"]),
        env_file=env_file.resolve() if env_file else None,
    )
    _serve(settings, port=given["port"], workers=given["workers"], browser=not given["no_browser"])


def _serve(settings: Settings, *, port: int | None, workers: int, browser: bool) -> None:
    from ratchet.web import serving

    if settings.token_required:
        _check_somebody_may(settings.store)

    def ready(address: str) -> None:
        click.echo(f"{address}  (Ctrl-C ends it)")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serving.serve(settings, port=port, workers=workers, on_ready=ready)


def _check_somebody_may(path: Path) -> None:
    """Refuse to serve others before anybody could sign in."""
    from ratchet import stores
    from ratchet.web import access

    if path.exists():
        with stores.open_store(path) as store:
            if access.good_tokens(store):
                return
    raise PlanError(
        "people elsewhere need a token each, and there is none yet.\n"
        "  Make one: ratchet view --add-token NAME --role view|label|admin"
    )


def _store_file(store_at: str | None, project: Project | None) -> Path:
    """The file of the store named by `--store`, `RATCHET_STORE`, the project, or the default in this folder."""
    default = project.store if project else str(Path.cwd() / ".ratchet" / "ratchet.db")
    location = store_at or os.environ.get("RATCHET_STORE") or default
    scheme, separator, rest = location.partition("://")
    if separator and scheme != "sqlite":
        raise ConfigError(f"the page shows SQLite stores; {scheme}:// is none.\n  --store names a file")
    return Path(rest.removeprefix("/") if separator else location).resolve()


def _name(given: str | None) -> str:
    """Who sits here: as said, or as the system says."""
    from ratchet.web.access import checked_name

    if given is not None:
        return checked_name(given)
    import getpass

    try:
        return checked_name(getpass.getuser())
    except (OSError, KeyError, PlanError):  # no such user, as in some containers
        return "me"


def _tokens(path: Path, *, add: str | None, role: str | None, revoke: str | None) -> None:
    from ratchet import stores
    from ratchet.web import access

    with stores.open_store(path) as store:
        if revoke:
            access.revoke_token(store, revoke)
            click.echo(f"{revoke} has no token any more, and every session of it is over.")
        if add:
            token = access.add_token(store, add, role or "view")  # type: ignore[arg-type]
            click.echo(f"{add} may {role or 'view'}. This token is shown once:", err=True)
            click.echo(token)
        if not add and not revoke:
            _list(store)


def _list(store: Store) -> None:
    import time

    from ratchet.cli.tables import safe

    found = store.tokens()
    if not found:
        click.echo("Nobody has a token. ratchet view --add-token NAME --role view|label|admin makes one.")
    for token in found:
        since = time.strftime("%Y-%m-%d", time.gmtime(token.created_at))
        state = "" if token.revoked_at is None else "  revoked"
        click.echo(f"{safe(token.name)}  {token.role}  since {since}{state}")
