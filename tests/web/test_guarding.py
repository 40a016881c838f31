"""Requests that a hostile web site, name server or program could make its way in with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ratchet.web.app import create_app
from ratchet.web.guarding import CSP, host_name
from ratchet.web.settings import Settings

from .conftest import ORIGIN, csrf_of
from .samples import Sample

RENAME = {"name": "bob"}


def renamed(client: TestClient) -> bool:
    return "bob" in client.get("/person").text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8190", "evil@127.0.0.1", "", "10.0.0.7"])  # fmt: skip
def test_a_name_that_is_not_ours_is_refused_and_learns_nothing(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "csrf" not in answer.text
    assert "ticket" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8190", "localhost:9", "[::1]:8190", "LOCALHOST"])
def test_every_name_of_this_machine_is_ours_at_any_port(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_a_further_name_is_ours_where_the_settings_say_so(settings: Settings) -> None:
    allowed = replace(settings, allowed_hosts=("ratchet.example.org",))
    with TestClient(create_app(allowed), base_url=ORIGIN) as client:
        assert client.get("/login", headers={"Host": "ratchet.example.org"}).status_code == 200
        assert client.get("/login", headers={"Host": "other.example.org"}).status_code == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "X-Real-IP"])
def test_what_comes_through_a_proxy_does_not_sit_at_this_machine(client: TestClient, header: str) -> None:
    answer = client.get("/", headers={header: "203.0.113.9"})
    assert answer.status_code == 403
    assert "--allow-host" in answer.text


def test_a_post_without_the_token_of_a_page_changes_nothing(client: TestClient) -> None:
    del client.headers["X-CSRF-Token"]
    answer = client.post("/person", data=RENAME)
    assert answer.status_code == 403
    assert "out of date" in answer.text
    assert not renamed(client)


def test_a_token_of_another_browser_changes_nothing(client: TestClient, settings: Settings) -> None:
    with TestClient(create_app(settings), base_url=ORIGIN) as other:
        client.headers["X-CSRF-Token"] = csrf_of(other)
    assert client.post("/person", data=RENAME).status_code == 403
    assert not renamed(client)


def test_the_token_may_stand_in_a_form_or_in_a_header(client: TestClient) -> None:
    token = client.headers.pop("X-CSRF-Token")
    assert client.post("/person", data={**RENAME, "csrf": token}).status_code == 200
    assert renamed(client)
    assert client.post("/person", json={"name": "eve"}, headers={"X-CSRF-Token": token}).status_code == 200
    assert "eve" in client.get("/person").text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
)
def test_a_post_from_another_site_is_refused_even_with_the_token(
    client: TestClient, headers: dict[str, str]
) -> None:
    answer = client.post("/person", data=RENAME, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text
    assert not renamed(client)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_every_unsafe_method_is_guarded(client: TestClient, method: str) -> None:
    answer = client.request(method, "/person", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_the_refusal_of_a_script_is_json_that_says_what_to_do(client: TestClient) -> None:
    answer = client.post("/person", json={}, headers={"X-CSRF-Token": "x", "Accept": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["next_step"] == "Load it again and repeat the step."


def test_a_body_beyond_the_limit_is_refused_whatever_its_header_says(settings: Settings) -> None:
    small = replace(settings, most_body_bytes=1000)
    with TestClient(create_app(small), base_url=ORIGIN) as client:
        client.headers["X-CSRF-Token"] = csrf_of(client)
        assert client.post("/person", content=b"x" * 1001).status_code == 413
        assert client.post("/person", content=iter([b"x" * 600, b"x" * 600])).status_code == 413
        assert client.post("/person", data=RENAME).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/static/x/app.js", "/static/x/none.js", "/login", "/palette"]
)
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path, follow_redirects=False).headers
    assert headers["content-security-policy"] == CSP
    assert "unsafe" not in CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_cookies_are_hidden_from_scripts_and_from_other_sites(settings: Settings) -> None:
    for origin, secure in ((ORIGIN, False), ("https://127.0.0.1", True)):
        with TestClient(create_app(settings), base_url=origin) as client:
            cookie = client.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ("Secure" in cookie) == secure


def test_long_answers_are_compressed(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "</html>" in answer.text


def test_a_defect_shows_neither_a_traceback_nor_a_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-12345678abcdefgh")

    def broken(request: Request) -> PlainTextResponse:
        raise KeyError("sk-12345678abcdefgh")

    app = create_app(settings)
    app.router.routes.append(Route("/broken", broken))
    with TestClient(app, base_url=ORIGIN) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    for text in (answer.text, caplog.text):
        assert "sk-1234" not in text
    assert "Traceback" not in answer.text
    assert "KeyError" in caplog.text
    assert "RATCHET_DEBUG" in answer.text


@pytest.mark.parametrize(
    ("header", "name"),
    [("LocalHost:80", "localhost"), ("[::1]:80", "::1"), ("a.b.", "a.b"), ("x/y", ""), ("u@h", ""), ("h:x", ""), ("h:99999", "")],
)  # fmt: skip
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


def test_a_websocket_is_refused(client: TestClient, page_store: Sample) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
        pass
