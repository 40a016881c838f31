"""What stands before every screen: names, sizes, people, origins and tokens; and the headers of every answer.

A page on a loopback address is within reach of every web site that its user visits: of one that resolves its own name
to 127.0.0.1 (so the `Host` must be one of ours), and of one that posts here (so `Origin` must be ours, and a token of a
page of ours must come along).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from ratchet.web import failing, pages
from ratchet.web.access import Access, Person, name_in_cookie
from ratchet.web.settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers name no origin when a form is sent
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer that doesn't set its own."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_OPEN_TO_ALL = ("/static/", "/login", "/favicon.ico")
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


@dataclass(slots=True)
class _Visit:
    """What the guard found out about one request."""

    person: Person | None
    csrf: str
    cookies: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """To be set with the answer."""


class Guard:
    """ASGI middleware; `app.state` holds `settings` and `access`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(send, secure=scope["scheme"] == "https")
        limit: int = scope["app"].state.settings.most_body_bytes
        try:
            await self._guarded(scope, _limited(receive, limit), answer)
        except Exception as error:
            if answer.started:
                raise
            request = Request(scope)
            page = failing.http if isinstance(error, HTTPException) else failing.unexpected
            await page(request, error)(scope, receive, answer)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        settings: Settings = scope["app"].state.settings
        access: Access = scope["app"].state.access
        request = Request(scope, receive)
        refusal = _refused_host(request.headers, settings)
        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, answer)
            return
        if request.url.path.startswith("/static/") and request.method in SAFE_METHODS:
            await self.app(scope, receive, answer)  # the same for everybody
            return
        visit = await run_in_threadpool(_visit, request, settings, access)
        answer.cookies = visit.cookies
        scope.setdefault("state", {}).update(person=visit.person, csrf=visit.csrf)
        response = _refused_size(request, settings)
        if response is None and visit.person is None and not request.url.path.startswith(_OPEN_TO_ALL):
            response = _to_login(request)
        if response is None and request.method not in SAFE_METHODS:
            body = await request.body() if _is_form(request) else b""
            response = _refused_post(request, body, visit.csrf)
            receive = _again(body, receive) if _is_form(request) else receive
        await (response or self.app)(scope, receive, answer)


class _Answer:
    """Sends an answer with the headers that every answer has."""

    def __init__(self, send: Send, *, secure: bool) -> None:
        self._send = send
        self._secure = secure
        self.started = False
        self.cookies: list[tuple[str, str]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            for name, value in self.cookies:
                headers.append("set-cookie", cookie(name, value, secure=self._secure))
        await self._send(message)


def cookie(name: str, value: str, *, secure: bool, max_age_s: int | None = None) -> str:
    """A `Set-Cookie` that no script reads and no other site's request carries; 0 seconds ends it."""
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Strict"]
    if max_age_s is not None:
        parts.append(f"Max-Age={max_age_s}")
    if secure:
        parts.append("Secure")
    return "; ".join(parts)


def host_name(header: str) -> str:
    """The name of a `Host` header without port and brackets, in lower case; empty where it is malformed."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return ""
    return "" if parts.username or parts.path or parts.query else (parts.hostname or "").rstrip(".")


def _refused_host(headers: Headers, settings: Settings) -> str:
    """Why a request under this name is refused; empty where it is not."""
    name = host_name(headers.get("host", ""))
    if not name or not (
        name in LOOPBACK
        or name in settings.allowed_hosts
        or name == settings.host
        or (not settings.is_loopback and _is_address(name))
    ):
        return (
            f"This server is not known as {name[:100] or 'what was asked for'}.\n"
            "Open it under the address that `ratchet view` printed, or start it with --allow-host and the name.\n"
        )
    if not settings.token_required and any(header in headers for header in _PROXY_HEADERS):
        # whoever comes through a proxy does not sit at this machine
        return (
            "This request came through a proxy, and this server asks nobody for a token.\n"
            "Start it with --allow-host and the proxy's name; people then need tokens: ratchet view --add-token NAME\n"
        )
    return ""


def _is_address(name: str) -> bool:
    """Whether it is an IP address: no name server is asked for it, so none can lie."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _visit(request: Request, settings: Settings, access: Access) -> _Visit:
    browser = access.cookie_name("browser")
    value = request.cookies.get(browser, "")
    cookies: list[tuple[str, str]] = []
    if not (len(value) == 32 and value.isalnum()):
        value = secrets.token_hex(16)
        cookies = [(browser, value)]
    csrf = access.sign("csrf", value)
    if settings.token_required:
        session = request.cookies.get(access.cookie_name("session"), "")
        return _Visit(access.person_of_session(session) if session else None, csrf, cookies)
    given = request.cookies.get(access.cookie_name("person"), "")
    name = name_in_cookie(given, settings.person or "me")
    return _Visit(Person(name=name, role="admin", is_local=True), csrf, cookies)


def _to_login(request: Request) -> Response:
    is_part = request.headers.get("x-fragment") or "application/json" in request.headers.get("accept", "")
    if request.method not in SAFE_METHODS or is_part:
        return pages.problem(request, 401, "You are not signed in, or not any more.", "Sign in at /login.")
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(target, safe='')}", status_code=303)


def _refused_size(request: Request, settings: Settings) -> Response | None:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) <= settings.most_body_bytes:
        return None
    most = settings.most_body_bytes // 1024 // 1024
    return pages.problem(request, 413, "What was sent is too large.", f"Send at most {most} MiB at once.")


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _refused_post(request: Request, form: bytes, csrf: str) -> Response | None:
    """The refusal of a request that would change something and does not come from a page of ours."""
    if not _same_origin(request.headers):
        return pages.problem(
            request, 403, "This request came from another site.", "Use the page itself; nothing was changed."
        )
    given = request.headers.get("x-csrf-token", "")
    if not given and form:
        given = dict(parse_qsl(form.decode("utf-8", "replace"))).get("csrf", "")
    if hmac.compare_digest(given.encode(), csrf.encode()):
        return None
    return pages.problem(
        request,
        403,
        "This page is out of date, so nothing was changed.",
        "Load it again and repeat the step.",
    )


def _same_origin(headers: Headers) -> bool:
    """Whether the browser says that a page of this very server asks. Other programs say nothing; they need the token."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, up to so many bytes, whatever its header promised."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413)
        return message

    return counted


def _again(body: bytes, then: Receive) -> Receive:
    """A body that was read already, once more; then what else comes."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return await then()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
