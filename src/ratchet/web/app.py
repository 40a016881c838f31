"""The page as an ASGI application: every screen's routes behind one guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from ratchet.errors import RatchetError
from ratchet.web import failing
from ratchet.web.access import Access
from ratchet.web.guarding import Guard
from ratchet.web.opening import Stores
from ratchet.web.screens import Screens

if TYPE_CHECKING:
    from ratchet.web.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The application; nothing is opened before the first request."""
    stores = Stores(settings.store)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        stores.close()

    app = Starlette(
        middleware=[Middleware(GZipMiddleware, minimum_size=500, compresslevel=6), Middleware(Guard)],
        exception_handlers={HTTPException: failing.http, RatchetError: failing.ratchet},
        lifespan=lifespan,
    )
    app.state.screens = app.router.default = Screens()
    app.state.settings = settings
    app.state.stores = stores
    app.state.access = Access(stores)
    return app
