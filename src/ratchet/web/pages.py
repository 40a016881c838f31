"""What every screen uses: the settings, the store and the person of a request, and how a page is rendered."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl

from starlette.responses import HTMLResponse, JSONResponse, Response

from ratchet.errors import CodecError
from ratchet.web import assets
from ratchet.web.access import ROLES, Person, Role
from ratchet.web.screens import SCREENS

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.settings import Settings

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

HERE = Path(__file__).parent
_MOST_FIELDS = 1000
NAV = (
    ("runs", "Runs", "/runs"),
    ("compare", "Compare", "/compare"),
    ("traces", "Traces", "/traces"),
    ("label", "Label", "/label"),
    ("judge", "Judge", "/judge"),
    ("playground", "Playground", "/playground"),
    ("datasets", "Datasets", "/datasets"),
)


def settings(request: Request) -> Settings:
    """The settings of this server."""
    return request.app.state.settings


def store(request: Request) -> SQLiteStore:
    """The project's store, opened once a process.

    Raises:
        NoStoreError: There is none yet; the page then says what to type.
        StoreError: It can't be opened.
    """
    return request.app.state.stores.get()


def person(request: Request) -> Person:
    """Who asks, and what they may do."""
    found = person_or_none(request)
    assert found is not None, "the guard lets nobody pass without a name"
    return found


def person_or_none(request: Request) -> Person | None:
    """Who asks; None before they signed in, which only the page to sign in sees."""
    return request.scope.get("state", {}).get("person")


def needs(role: Role) -> Callable[[Endpoint], Endpoint]:
    """Refuse people below this role: view < label < admin. For sync and async endpoints."""

    def decorate(endpoint: Endpoint) -> Endpoint:
        def refusal(request: Request) -> Response | None:
            who = person(request)
            if ROLES.index(who.role) >= ROLES.index(role):
                return None
            return problem(
                request,
                403,
                f"{who.name} may {who.role}; this needs the role {role}.",
                f"Ask an admin for a token with that role: ratchet view --add-token NAME --role {role}",
            )

        if inspect.iscoroutinefunction(endpoint):

            @functools.wraps(endpoint)
            async def later(request: Request) -> Response:
                return refusal(request) or await endpoint(request)

            return later  # type: ignore[return-value]

        @functools.wraps(endpoint)
        def now(request: Request) -> Response:
            return refusal(request) or endpoint(request)

        return now  # type: ignore[return-value]

    return decorate


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted HTML form, or of a posted JSON object: texts as they are, other values as JSON.

    Raises:
        CodecError: It is neither.
    """
    from ratchet import codec

    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        data = codec.parse(body) if body else {}
        if not isinstance(data, dict):
            raise CodecError("what was posted is JSON, but no object of fields")
        return {
            str(k): v if isinstance(v, str) else "" if v is None else codec.dumps(v).decode()
            for k, v in data.items()
        }
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise CodecError(f"what was posted is no form of at most {_MOST_FIELDS:,} fields: {error}") from None
    return dict(pairs)


@cache
def environment() -> Environment:
    """The page's templates, then the report's: autoescaped, unknown names refused."""
    import jinja2

    from ratchet.reports import texts
    from ratchet.web import times

    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(HERE / "templates"),
                jinja2.FileSystemLoader(HERE.parent / "reports" / "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters["inert"] = texts.inert
    found.filters["visible"] = texts.visible
    found.filters["ago"] = times.ago
    names = cast("dict[str, Any]", found.globals)
    names["static"], names["script"] = assets.address, assets.script
    return found


def compile_templates(names: Iterable[str]) -> None:
    """Have these templates ready; they are kept."""
    for name in names:
        environment().get_template(name)


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """This template as a whole page; with the request's header `X-Fragment: 1` only its block `main`."""
    is_fragment = request.headers.get("x-fragment") == "1"
    text = environment().get_template(template).render(_context(request, context, is_fragment=is_fragment))
    return HTMLResponse(text, status_code=status, headers={"Vary": "X-Fragment", **(headers or {})})


def fragment(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """This template alone, with the names that every page has."""
    text = environment().get_template(template).render(_context(request, context, is_fragment=True))
    return HTMLResponse(text, status_code=status, headers=headers)


def problem(request: Request, status: int, what: str, next_step: str = "") -> Response:
    """A page, a fragment or JSON, as the request asks for, that says what happened and what to do next."""
    if request.headers.get("accept", "").startswith("application/json"):
        return JSONResponse({"what": what, "next_step": next_step}, status_code=status)
    return render(request, "problem.html", status=status, what=what, next_step=next_step, status_code=status)


def _context(request: Request, context: Mapping[str, Any], *, is_fragment: bool) -> dict[str, Any]:
    state = request.scope.get("state", {})
    section = request.url.path.split("/")[1]
    return {
        "person": state.get("person"),
        "csrf": state.get("csrf", ""),
        "is_fragment": is_fragment,
        "nav": [entry for entry in NAV if entry[0] in SCREENS],
        "nav_current": {"": "home"}.get(section, section),
        "path": request.url.path,
        "token_required": settings(request).token_required,
        **context,
    }
