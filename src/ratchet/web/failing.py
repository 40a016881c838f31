"""Errors as pages: what happened and the next step, never a traceback."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from ratchet.errors import CodecError, StoreBusyError, StoreError, UnknownNameError
from ratchet.web import pages
from ratchet.web.opening import NoStoreError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOG = logging.getLogger("ratchet.web")
_HTTP = {
    404: ("There is no such page.", "The list at the left, or Ctrl+K, leads to what there is."),
    405: ("This address can't be used that way.", "Go back, and use the controls of the page."),
    413: ("What was sent is too large.", "Send less at once."),
}


def http(request: Request, error: Exception) -> Response:
    """A page for a status that a route or Starlette raised."""
    status = getattr(error, "status_code", 500)
    known = _HTTP.get(status)
    detail = str(getattr(error, "detail", "") or "")
    if known and detail in ("", "Not Found", "Method Not Allowed"):
        return pages.problem(request, status, *known)
    return pages.problem(request, status, detail or "This request can't be answered.", (known or ("", ""))[1])


def ratchet(request: Request, error: Exception) -> Response:
    """A page that shows one of our own errors: they say what happened and what to do."""
    from ratchet.policy import redact

    if isinstance(error, NoStoreError):
        return no_store(request, error)
    what, _, next_step = redact(str(error)).partition("\n")
    status = 400
    if isinstance(error, UnknownNameError):
        status = 404
    elif isinstance(error, StoreError):
        status = 503
        if isinstance(error, StoreBusyError):
            next_step = next_step or "Try again in a moment."
    elif isinstance(error, CodecError):
        status = 422
    return pages.problem(request, status, what[:1].upper() + what[1:], next_step.strip())


def no_store(request: Request, error: NoStoreError) -> Response:
    """What to type where nothing was run yet."""
    return pages.render(request, "no_store.html", status=404, where=str(error.path))


def unexpected(request: Request, error: Exception) -> Response:
    """A page for a defect of ours; the log names it."""
    from ratchet.policy import redact

    text = f"{type(error).__name__}: {error}"
    if os.environ.get("RATCHET_DEBUG"):
        import traceback

        text = "".join(traceback.format_exception(error))
    LOG.error("%s %s: %s", request.method, request.url.path, redact(text))
    what = "Something went wrong in Ratchet itself."
    next_step = (
        "The terminal where `ratchet view` runs names it; with RATCHET_DEBUG=1 it shows where. "
        "Please report it with that."
    )
    try:
        return pages.problem(request, 500, what, next_step)
    except Exception:  # the page itself may be what is broken
        LOG.error("the page that says so failed too")
        return PlainTextResponse(f"{what}\n{next_step}\n", status_code=500)
