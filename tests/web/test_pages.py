"""What screens use: forms, problems in the shape that was asked for."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ratchet.web import pages
from ratchet.web.app import create_app
from ratchet.web.settings import Settings

from .conftest import ORIGIN, csrf_of


@pytest.fixture
def echo(settings: Settings) -> TestClient:
    async def fields(request: Request) -> Response:
        return JSONResponse(await pages.form(request))

    app = create_app(settings)
    app.router.routes.append(Route("/echo", fields, methods=["POST"]))
    client = TestClient(app, base_url=ORIGIN)
    client.headers["X-CSRF-Token"] = csrf_of(client)
    return client


def test_a_form_gives_its_fields_even_after_the_guard_read_it(echo: TestClient) -> None:
    csrf = echo.headers.pop("X-CSRF-Token")
    answer = echo.post("/echo", data={"name": "Zoë & co", "empty": "", "csrf": csrf})
    assert answer.json() == {"name": "Zoë & co", "empty": "", "csrf": csrf}


def test_json_gives_texts_as_they_are_and_all_else_as_json(echo: TestClient) -> None:
    sent = {"text": "a", "none": None, "yes": True, "number": 1.5, "list": ["x", 1]}
    assert echo.post("/echo", json=sent).json() == {
        "text": "a", "none": "", "yes": "true", "number": "1.5", "list": '["x",1]',
    }  # fmt: skip
    assert echo.post("/echo", headers={"Content-Type": "application/json"}).json() == {}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"[1]", "application/json"),
        (b"\xff=1", "application/x-www-form-urlencoded"),
        (b"a=%FF", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(1001)), "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form_is_refused_in_words(echo: TestClient, content: bytes, kind: str) -> None:
    answer = echo.post("/echo", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert 'class="blank"' in answer.text


def test_a_problem_comes_in_the_shape_that_was_asked_for(echo: TestClient) -> None:
    whole = echo.get("/nope")
    part = echo.get("/nope", headers={"X-Fragment": "1"})
    data = echo.get("/nope", headers={"Accept": "application/json"})
    assert whole.status_code == part.status_code == data.status_code == 404
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert data.json()["what"] == "There is no such page."
    assert data.json()["what"] in part.text
