"""The page behind uvicorn: a port that is free, any number of workers, a browser, and a quiet end."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet.errors import PlanError
from ratchet.web.settings import DEFAULT_PORT, Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ratchet.web.screens import Screens

SETTINGS_VARIABLE = "_RATCHET_VIEW_SETTINGS"
"""How workers learn what to serve; it holds no secret."""
_APP = "ratchet.web.serving:app"
_OPTIONS: dict[str, Any] = {
    "factory": True,
    "log_level": "error",
    "access_log": False,
    "server_header": False,
    "ws": "none",
    "timeout_graceful_shutdown": 3,
}
_PORTS_TRIED = 20
_WARM_AFTER_S = 2.0
"""By then the first page is there, and the other screens can be made ready without slowing it."""
_FIRST = ("", "runs")
"""Screens that people begin with: made ready while their browser starts."""
_FIRST_TEMPLATES = (
    "home.html",
    "run.html",
    "_run_answers.html",
    "_run_table.html",
    "_run_more.html",
    "_run_overview.html",
)


def serve(settings: Settings, *, port: int | None, workers: int, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        port: None takes 8190 or the next free one; 0 any free one.
        on_ready: Called with the page's address once a browser may open it.

    Raises:
        PlanError: The port is taken, or the host is none of this machine's.
    """
    import uvicorn

    with listen(settings.host, port) as taken:
        settings = replace(settings, port=taken.getsockname()[1])
        os.environ[SETTINGS_VARIABLE] = dumps(settings)
        # the socket takes connections from now on: a browser that is quicker than the server waits for it
        threading.Thread(target=on_ready, args=(address(settings),), daemon=True).start()
        try:
            if workers == 1:
                uvicorn.Server(uvicorn.Config(_APP, **_OPTIONS)).run(sockets=[taken])
            else:
                uvicorn.run(_APP, workers=workers, fd=taken.fileno(), **_OPTIONS)
        except KeyboardInterrupt:
            pass  # uvicorn has ended everything by now and says again what made it
        finally:
            del os.environ[SETTINGS_VARIABLE]


def app() -> Starlette:
    """The application with the settings of the process that started this one."""
    from ratchet.web.app import create_app

    application = create_app(loads(os.environ[SETTINGS_VARIABLE]))
    threading.Thread(target=_warm, args=(application.state.screens,), daemon=True).start()
    return application


def _warm(screens: Screens) -> None:
    """Import the screens and compile their templates before somebody waits for that."""
    from ratchet.web import pages

    screens.warm(_FIRST)
    pages.compile_templates(_FIRST_TEMPLATES)
    time.sleep(_WARM_AFTER_S)
    screens.warm()


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens there.

    Raises:
        PlanError: It can't.
    """
    tried = range(DEFAULT_PORT, DEFAULT_PORT + _PORTS_TRIED) if port is None else (port,)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for one in tried:
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, one))
            taken.listen(256)
        except OSError as error:
            taken.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise PlanError(
                f"can't listen at {host}, port {one}: {error.strerror}.\n  --host and --port choose another address"
            ) from None
        taken.set_inheritable(True)
        return taken
    asked = f"port {port} is" if port is not None else f"ports {tried[0]} to {tried[-1]} are"
    raise PlanError(f"{asked} taken on {host}.\n  --port 0 takes any that is free")


def address(settings: Settings) -> str:
    """What to type into a browser on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def dumps(settings: Settings) -> str:
    """The settings as text for another process."""
    from ratchet import codec

    given: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return codec.dumps({k: str(v) if isinstance(v, Path) else v for k, v in given.items()}).decode()


def loads(text: str) -> Settings:
    """The settings that `dumps` wrote."""
    from ratchet import codec

    given: dict[str, Any] = codec.parse(text)
    for name in ("store", "root", "project_file", "env_file"):
        given[name] = None if given[name] is None else Path(given[name])
    given["allowed_hosts"] = tuple(given["allowed_hosts"])
    return Settings(**given)
