"""Every screen by the first part of its addresses; one is imported when it is first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.routing import Router

if TYPE_CHECKING:
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send

# first part -> modules of this package, each with its `routes`: listing them imports none, so the first page comes soon
SCREENS = {
    "": ("home",),
    "static": ("assets",),
    "favicon.ico": ("assets",),
    "login": ("access_pages",),
    "logout": ("access_pages",),
    "person": ("access_pages",),
    "palette": ("palette",),
    "runs": ("runs",),
    "compare": ("comparing",),
    "traces": ("trace_list", "traces"),
    "label": ("labelling",),
    "judge": ("judges",),
    "playground": ("playground",),
    "datasets": ("datasets",),
}


def routes_of(part: str) -> list[Route]:
    """The routes of the screen whose addresses begin so; none where no screen's do."""
    modules = [importlib.import_module(f"ratchet.web.{name}") for name in SCREENS.get(part, ())]
    return [route for module in modules for route in module.routes]


class Screens:
    """ASGI application that hands a request to its screen."""

    def __init__(self) -> None:
        self._routers: dict[str, Router] = {}
        self._unknown = Router()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        part = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if part not in SCREENS:
            await self._unknown(scope, receive, send)
            return
        router = self._routers.get(part) or await run_in_threadpool(self._load, part)
        await router(scope, receive, send)

    def _load(self, part: str) -> Router:
        return self._routers.setdefault(part, Router(routes_of(part)))

    def warm(self, parts: Iterable[str] = tuple(SCREENS)) -> None:
        """Import what was not asked for yet, so that nobody waits for it later."""
        for part in parts:
            self._load(part)
