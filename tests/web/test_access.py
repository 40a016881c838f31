"""Tokens, sessions, roles and names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ratchet.errors import PlanError
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import access, pages
from ratchet.web.access_pages import own_path
from ratchet.web.app import create_app
from ratchet.web.settings import Settings

from .conftest import ORIGIN
from .samples import Sample

CSRF = 'name="csrf" content="'


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    """Served to others than this machine."""
    return replace(settings, host="0.0.0.0")


@pytest.fixture
def outside(guarded: Settings) -> Iterator[TestClient]:
    """A browser elsewhere, not signed in."""
    app = create_app(guarded)
    for role in access.ROLES:

        @pages.needs(role)
        def sync(request: Request) -> PlainTextResponse:
            return PlainTextResponse(pages.person(request).name)

        @pages.needs(role)
        async def later(request: Request) -> PlainTextResponse:
            return PlainTextResponse(pages.person(request).name)

        app.router.routes += [Route(f"/needs-{role}", sync), Route(f"/later-{role}", later)]
    with TestClient(app, base_url=ORIGIN) as client:
        yield client


def token_for(sample: Sample, name: str = "ann", role: access.Role = "view") -> str:
    with SQLiteStore(sample.store) as store:
        return access.add_token(store, name, role)


def sign_in(client: TestClient, token: str, **fields: str) -> Any:
    csrf = client.get("/login").text.split(CSRF)[1].split('"')[0]
    client.headers["X-CSRF-Token"] = csrf
    return client.post("/login", data={"token": token, **fields}, follow_redirects=False)


def test_without_a_token_every_page_leads_to_the_form_and_back(
    outside: TestClient, page_store: Sample
) -> None:
    answer = outside.get("/runs?sort=cost", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fruns%3Fsort%3Dcost"
    done = sign_in(outside, token_for(page_store), next="/runs?sort=cost")
    assert (done.status_code, done.headers["location"]) == (303, "/runs?sort=cost")
    assert "ann" in outside.get("/person").text


def test_scripts_are_told_rather_than_led_away(outside: TestClient) -> None:
    answer = outside.get("/palette", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert "signed in" in answer.json()["what"]
    assert outside.get("/", headers={"X-Fragment": "1"}).status_code == 401


def test_nothing_of_the_store_is_seen_before_signing_in(outside: TestClient, page_store: Sample) -> None:
    for path in ("/", "/runs", f"/runs/{page_store.run.id}", "/palette", "/person", "/nope"):
        answer = outside.get(path)
        assert "champion" not in answer.text
        assert "Sign in" in answer.text


@pytest.mark.parametrize("wrong", ["", "x", "rtk_00000000_x", "rtk__", "rtk_zz", "ann", "\x00"])
def test_a_wrong_token_opens_no_session(outside: TestClient, page_store: Sample, wrong: str) -> None:
    token_for(page_store)
    answer = sign_in(outside, wrong)
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert outside.get("/", follow_redirects=False).status_code == 303


def test_the_right_id_with_another_secret_opens_no_session(outside: TestClient, page_store: Sample) -> None:
    token = token_for(page_store)
    assert sign_in(outside, token[:-1] + ("A" if token[-1] != "A" else "B")).status_code == 401
    assert sign_in(outside, token).status_code == 303


def test_the_store_keeps_a_slow_hash_and_never_the_token(page_store: Sample) -> None:
    token = token_for(page_store)
    secret = token.split("_", 2)[2]
    with SQLiteStore(page_store.store) as store:
        (kept,) = store.tokens()
    assert "$scrypt$14$8$1$" in kept.hash
    assert kept.hash not in repr(kept)
    with closing(sqlite3.connect(page_store.store)) as db:
        dump = "\n".join(db.iterdump())
    assert secret not in dump
    assert token not in dump


def test_a_revoked_token_ends_its_sessions_at_once(outside: TestClient, page_store: Sample) -> None:
    assert sign_in(outside, token_for(page_store)).status_code == 303
    assert outside.get("/person").status_code == 200
    with SQLiteStore(page_store.store) as store:
        access.revoke_token(store, "ann")
    assert outside.get("/person", follow_redirects=False).status_code == 303


def test_a_session_can_be_forged_or_prolonged_by_nobody(outside: TestClient, page_store: Sample) -> None:
    sign_in(outside, token_for(page_store))
    (name,) = (name for name in outside.cookies if "session" in name)
    token_id, until, signature = outside.cookies[name].split(".")
    for forged in (
        f"{token_id}.{int(until) + 1}.{signature}",
        f"00000000.{until}.{signature}",
        f"{token_id}.{until}.{'0' * 64}",
        f"{token_id}.{until}",
        "..",
        "",
    ):
        outside.cookies.clear()
        outside.cookies.set(name, forged)
        assert outside.get("/person", follow_redirects=False).status_code == 303


def test_a_session_ends_in_time(
    outside: TestClient, page_store: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "SESSION_S", -1)
    sign_in(outside, token_for(page_store))
    assert outside.get("/person", follow_redirects=False).status_code == 303


def test_signing_out_ends_the_session(outside: TestClient, page_store: Sample) -> None:
    sign_in(outside, token_for(page_store))
    assert outside.post("/logout", follow_redirects=False).status_code == 303
    assert outside.get("/person", follow_redirects=False).status_code == 303


def test_another_worker_knows_session_and_csrf_token(
    outside: TestClient, page_store: Sample, guarded: Settings
) -> None:
    sign_in(outside, token_for(page_store, role="admin"))
    with TestClient(create_app(guarded), base_url=ORIGIN) as other:
        other.cookies.update(outside.cookies)
        other.headers["X-CSRF-Token"] = outside.headers["X-CSRF-Token"]
        assert other.get("/person").status_code == 200
        assert other.post("/logout", follow_redirects=False).status_code == 303


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("view", {"view"}), ("label", {"view", "label"}), ("admin", {"view", "label", "admin"})],
)
def test_a_role_allows_what_is_below_it(
    outside: TestClient, page_store: Sample, role: access.Role, allowed: set[str]
) -> None:
    sign_in(outside, token_for(page_store, role=role))
    for kind in ("needs", "later"):
        answers = {needed: outside.get(f"/{kind}-{needed}") for needed in access.ROLES}
        assert {needed for needed, answer in answers.items() if answer.status_code == 200} == allowed
        assert all(a.status_code == 403 and "role" in a.text for n, a in answers.items() if n not in allowed)


def test_nobody_names_themselves_where_tokens_do(outside: TestClient, page_store: Sample) -> None:
    sign_in(outside, token_for(page_store))
    assert outside.post("/person", data={"name": "bob"}).status_code == 403
    assert "bob" not in outside.get("/person").text


def test_several_people_work_at_one_machine_under_their_own_names(
    client: TestClient, settings: Settings
) -> None:
    with TestClient(create_app(settings), base_url=ORIGIN) as other:
        client.post("/person", data={"name": "Zoë Müller"})
        assert "Zoë Müller" in client.get("/person").text
        assert "ann" in other.get("/person").text


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "a\u202eb", "a\nb"])
def test_a_name_that_can_not_be_read_is_refused(client: TestClient, name: str) -> None:
    assert client.post("/person", data={"name": name}).status_code == 422
    with pytest.raises(PlanError, match="can't be a name"):
        access.checked_name(name)


def test_a_name_is_shown_as_text(client: TestClient) -> None:
    client.post("/person", data={"name": "<script>alert(1)</script>"})
    text = client.get("/person").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/a\nb"])  # fmt: skip
def test_signing_in_leads_nowhere_else(target: str) -> None:
    assert own_path(target) == "/"


def test_one_person_has_one_token(page_store: Sample) -> None:
    token_for(page_store)
    with SQLiteStore(page_store.store) as store:
        with pytest.raises(PlanError, match="--revoke-token ann"):
            access.add_token(store, " ann ", "admin")
        with pytest.raises(PlanError, match="Who has one: ann"):
            access.revoke_token(store, "bob")
