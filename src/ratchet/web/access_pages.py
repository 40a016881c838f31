"""Signing in with a token, signing out, and saying who one is at this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse
from starlette.routing import Route

from ratchet.errors import PlanError
from ratchet.web import pages
from ratchet.web.access import SESSION_S, Access, checked_name, person_cookie
from ratchet.web.guarding import cookie

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_YEAR_S = 365 * 24 * 3600


def login(request: Request) -> Response:
    """The form for a token; straight on for those who need none."""
    after = own_path(request.query_params.get("next", "/"))
    if pages.person_or_none(request) is not None:
        return RedirectResponse(after, status_code=303)
    return pages.render(request, "login.html", after=after, wrong=False)


async def sign_in(request: Request) -> Response:
    """A session for who shows a good token."""
    fields = await pages.form(request)
    access: Access = request.app.state.access
    after = own_path(fields.get("next", "/"))
    token = await run_in_threadpool(access.check_token, fields.get("token", ""))
    if token is None:
        return pages.render(request, "login.html", status=401, after=after, wrong=True)
    return _with_cookie(request, after, "session", access.session(token), SESSION_S)


async def sign_out(request: Request) -> Response:
    """The session's end in this browser."""
    return _with_cookie(request, "/", "session", "", 0)


def who(request: Request) -> Response:
    """Who the page takes one for, and what they may do."""
    return pages.render(request, "person.html", wrong="")


async def name_oneself(request: Request) -> Response:
    """The name of who sits at this machine now, kept in a cookie: labels are given under it."""
    if not pages.person(request).is_local:
        return pages.problem(request, 403, "Your name comes with your token.", "Ask an admin for another.")
    fields = await pages.form(request)
    try:
        name = checked_name(fields.get("name", ""))
    except PlanError as error:
        return pages.render(request, "person.html", status=422, wrong=str(error))
    return _with_cookie(request, own_path(fields.get("next", "/")), "person", person_cookie(name), _YEAR_S)


def own_path(target: str) -> str:
    """This path of our own; the home page for anything that leads elsewhere."""
    fine = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if fine else "/"


def _with_cookie(request: Request, target: str, what: str, value: str, max_age_s: int) -> Response:
    access: Access = request.app.state.access
    response = RedirectResponse(target, status_code=303)
    secure = request.url.scheme == "https"
    response.headers.append(
        "set-cookie", cookie(access.cookie_name(what), value, secure=secure, max_age_s=max_age_s)
    )
    return response


routes = [
    Route("/login", login, methods=["GET"]),
    Route("/login", sign_in, methods=["POST"]),
    Route("/logout", sign_out, methods=["POST"]),
    Route("/person", who, methods=["GET"]),
    Route("/person", name_oneself, methods=["POST"]),
]
