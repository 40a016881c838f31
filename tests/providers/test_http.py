from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from yarl import URL

from ratchet.errors import ProviderError
from ratchet.providers.http import MAX_ANSWER_BYTES, Http

from .conftest import KEY, Canned, Wire


def failing(wire: Wire, *replies: Canned, **more: Any) -> ProviderError:
    async def use(base_url: str, http: Http) -> None:
        reply = await http.post(URL(base_url), b"{}", {}, secrets=(KEY,), **more)
        async with reply:
            await reply.read()

    with pytest.raises(ProviderError) as caught:
        wire.run(use, *replies)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad_request", False), (401, "auth", False), (403, "auth", False), (404, "bad_request", False),
        (408, "timeout", True), (413, "bad_request", False), (422, "bad_request", False), (429, "rate_limit", True),
        (500, "server", True), (502, "server", True), (503, "server", True), (504, "timeout", True),
        (529, "server", True),
    ],
)  # fmt: skip
def test_each_status_has_its_kind(wire: Wire, status: int, kind: str, retryable: bool) -> None:
    error = failing(wire, Canned({"error": {"message": "no"}}, status=status, headers={"request-id": "r7"}))
    assert (error.kind, error.retryable, error.status, error.request_id) == (kind, retryable, status, "r7")


def test_a_redirect_is_not_followed_so_the_key_stays_where_it_was_sent(wire: Wire) -> None:
    error = failing(wire, Canned(status=307, headers={"location": "http://elsewhere.example/"}))
    assert (error.kind, error.retryable) == ("bad_request", False)
    assert "elsewhere.example" in str(error)
    assert len(wire.asked) == 1


def test_a_key_that_the_server_repeats_is_masked(wire: Wire) -> None:
    body = {"error": {"message": f"Incorrect API key provided: {KEY}.\x1b[31m" + "x" * 900}}
    error = failing(wire, Canned(body, status=401))
    assert KEY not in str(error)
    assert "***" in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) <= 300


def test_nobody_listening_is_a_connection_error(wire: Wire) -> None:
    async def use(_: str, http: Http) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        await http.post(URL(f"http://127.0.0.1:{port}"), b"{}", {})

    with pytest.raises(ProviderError, match=r"no connection to http://127\.0\.0\.1") as caught:
        wire.run(use, Canned())
    assert (caught.value.kind, caught.value.retryable) == ("connection", True)


def test_a_host_that_never_accepts_is_a_timeout() -> None:
    async def use() -> None:
        # a full backlog: the kernel leaves further connections unanswered
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            fillers: list[socket.socket] = []
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(address)
                fillers.append(filler)
            try:
                async with Http() as http:
                    await http.post(URL(f"http://127.0.0.1:{address[1]}"), b"{}", {}, connect_s=0.1)
            finally:
                for filler in fillers:
                    filler.close()

    with pytest.raises(ProviderError) as caught:
        asyncio.run(use())
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)


def raw_server(data: bytes) -> Any:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        writer.close()
        await writer.wait_closed()

    return answer


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "protocol"),
    ],
)
def test_a_connection_cut_before_or_in_the_answer_can_be_tried_again(data: bytes, kind: str) -> None:
    async def use() -> None:
        server = await asyncio.start_server(raw_server(data), "127.0.0.1", 0)
        async with server, Http() as http:
            port = server.sockets[0].getsockname()[1]
            async with await http.post(URL(f"http://127.0.0.1:{port}"), b"", {}) as reply:
                await reply.read()

    with pytest.raises(ProviderError) as caught:
        asyncio.run(use())
    assert (caught.value.kind, caught.value.retryable) == (kind, True)


def test_an_answer_without_end_is_given_up_at_its_bound(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_ANSWER_BYTES == 64 * 2**20
    monkeypatch.setattr("ratchet.providers.http.MAX_ANSWER_BYTES", 1000)
    error = failing(wire, Canned([b"x" * 600, b"x" * 600]))
    assert error.kind == "protocol"
    assert "more than 1000 bytes" in str(error)


def test_the_connection_is_kept_for_the_next_call(wire: Wire) -> None:
    async def use(base_url: str, http: Http) -> int:
        for _ in range(5):
            async with await http.post(URL(base_url), b"{}", {}) as reply:
                await reply.read()
        session = http._session()
        assert session.connector is not None
        return sum(len(kept) for kept in session.connector._conns.values())

    assert wire.run(use, Canned(b"{}")) == 1


def test_an_answer_has_the_time_of_its_arrival_however_late_it_is_read(wire: Wire) -> None:
    waited: list[float] = []

    async def use(base_url: str, http: Http) -> None:
        async with await http.post(URL(base_url), b"{}", {}) as reply:
            await asyncio.sleep(0.2)
            await reply.read()
            waited.append(time.perf_counter() - reply.received_s)

    wire.run(use, Canned({"text": "yes"}))
    assert waited[0] > 0.15


def test_cookies_are_not_kept(wire: Wire) -> None:
    async def use(base_url: str, http: Http) -> None:
        for _ in range(2):
            async with await http.post(URL(base_url.replace("127.0.0.1", "localhost")), b"{}", {}) as reply:
                await reply.read()

    wire.run(use, Canned(b"{}", headers={"Set-Cookie": "session=1"}))
    assert "Cookie" not in wire.asked[1].headers


def test_the_environments_proxy_is_used_but_not_for_hosts_it_excepts(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(base_url: str, http: Http) -> None:
        monkeypatch.setenv("http_proxy", base_url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for url in ("http://model.example/v1", f"{base_url}/direct"):
            async with await http.post(URL(url), b"{}", {}) as reply:
                await reply.read()

    wire.run(use, Canned(b"{}"))
    assert [asked.headers["Host"].partition(":")[0] for asked in wire.asked] == ["model.example", "127.0.0.1"]


def test_a_large_body_arrives_whole(wire: Wire) -> None:
    async def use(base_url: str, http: Http) -> None:
        body = b'{"image": "' + b"A" * 3_000_000 + b'"}'
        async with await http.post(URL(base_url), body, {"Content-Type": "application/json"}) as reply:
            await reply.read()

    wire.run(use, Canned(b"{}"))
    assert len(wire.asked[0].body["image"]) == 3_000_000
