"""The page's style sheets and scripts, held in memory under one address that changes with their content."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

HERE = Path(__file__).parent
SHARED = "app.js"
"""The module that every page loads."""
FOLDERS = (HERE.parent / "reports" / "static", HERE / "static")
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMPORT = re.compile(r'^(?:import|export)\b[^;]*?"\./([\w.]+)";', re.MULTILINE)
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file as it is sent."""

    media_type: str
    body: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """Every file of the two static folders by its name; the page's own wins over the report's."""
    found: dict[str, Asset] = {}
    for folder in FOLDERS:
        for path in sorted(folder.iterdir()):
            if path.suffix in TYPES:
                body = path.read_bytes()
                packed = gzip.compress(body, 9, mtime=0)
                found[path.name] = Asset(media_type=TYPES[path.suffix], body=body, packed=packed)
    return found


@cache
def version() -> str:
    """A hash of all files: modules import one another by relative names, so they share one folder."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(name.encode() + b"\0" + asset.body)
    return digest.hexdigest()[:12]


def address(name: str) -> str:
    """The URL of this file, good for as long as its content.

    Raises:
        KeyError: There is no such file.
    """
    assets()[name]
    return f"/static/{version()}/{name}"


@cache
def imported(name: str) -> tuple[str, ...]:
    """The modules that this one needs, those that they need included: a browser told of all loads them at once."""
    found: dict[str, None] = {}
    wanted = [name]
    while wanted:
        for one in _IMPORT.findall(assets()[wanted.pop(0)].body.decode()):
            if one not in found and one != name:
                found[one] = None
                wanted.append(one)
    return tuple(found)


def script(name: str) -> Markup:
    """The tags for a module: those that it needs are asked for with it, and not one after the other."""
    loads = [
        f'<link rel="modulepreload" href="{address(one)}">'
        for one in imported(name)
        if name == SHARED or one not in _shared()
    ]
    return Markup("\n".join([f'<script type="module" src="{address(name)}"></script>', *loads]))


@cache
def _shared() -> frozenset[str]:
    return frozenset([SHARED, *imported(SHARED)])


async def serve(request: Request) -> Response:
    """One file: kept by browsers for ever under the present version, asked for again under any other."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return Response("no such file", status_code=404, media_type="text/plain")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    if request.path_params["version"] != version():
        headers["Cache-Control"] = "no-cache"
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.packed, media_type=asset.media_type, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)


async def favicon(request: Request) -> Response:
    """The icon under the address that browsers try by themselves, as for pages without one of their own."""
    return Response(assets()["icon.svg"].body, media_type=TYPES[".svg"])


routes = [
    Route("/static/{version}/{name}", serve, methods=["GET"]),
    Route("/favicon.ico", favicon, methods=["GET"]),
]
