"""The home page: the newest answer first, then the runs; and what to type where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from ratchet.web import pages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_VERDICTS = 5
_RUNS = 10


def home(request: Request) -> Response:
    """The newest verdict in a sentence, older ones below it, the newest runs."""
    from ratchet.verdicts import keeping

    store = pages.store(request)
    verdicts = keeping.kept(store, limit=_VERDICTS)
    return pages.render(request, "home.html", verdicts=verdicts, runs=store.runs(limit=_RUNS))


routes = [Route("/", home, methods=["GET"])]
