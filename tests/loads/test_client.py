from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from ratchet.errors import ConfigError
from ratchet.loads import client, exchanges, processes, targets
from ratchet.loads.driving import Drive
from ratchet.loads.records import ERROR_KINDS, Measured
from ratchet.records import Limits, Variant

from .scripted import HEAD, KEY, Even, Script, Scripted, chat, chunk, fire, stream, variant

ONE_BY_ONE = Drive(mode="closed", users=1, grace_s=5.0)


def kinds(found: Measured) -> list[str]:
    return [ERROR_KINDS[code] for code in found.samples.error]


def message(found: Measured) -> str:
    (error,) = found.errors
    return error.message


def answered(script: Script, **given: float) -> Measured:
    with Scripted(lambda _: script) as server:
        return fire(server, limits=limits(**given))


def limits(*, first_token_s: float = 120.0, total_s: float = 600.0) -> Limits:
    return Limits(first_token_s=first_token_s, total_s=total_s)


def test_a_stream_is_timed_token_by_token_and_counted_by_the_server() -> None:
    found = answered(stream(4, first_s=0.05, gap_s=0.02)).samples
    assert found.error.tolist() == [0]
    assert found.status.tolist() == [200]
    assert found.chunks.tolist() == [4]
    assert found.output_tokens.tolist() == [4]
    assert found.input_tokens.tolist() == [7]
    assert found.ttft_s[0] >= 0.05
    assert len(found.gaps) == 3
    assert found.gaps.min() >= 0.015
    assert found.last_byte_s[0] >= found.last_token_s[0] >= found.first_token_s[0] + 0.06
    assert found.scheduled_s[0] <= found.dispatched_s[0] <= found.sent_s[0]


def test_the_role_alone_is_no_first_token() -> None:
    found = answered(stream(2, first_s=0.1)).samples
    assert found.chunks.tolist() == [2]
    assert found.ttft_from_send_s[0] >= 0.1


BODY = b"".join(chat(3))
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
FRAMINGS: dict[str, Script] = {
    "chunks": [HEAD, chunk(BODY), b"0\r\n\r\n"],
    "chunks of seven bytes": [HEAD, *(chunk(BODY[i : i + 7]) for i in range(0, len(BODY), 7)), b"0\r\n\r\n"],
    "an end in two pieces": [HEAD, chunk(BODY), b"0\r\n", 0.01, b"\r\n"],
    "trailers": [HEAD, chunk(BODY), b"0\r\nx-checksum: 1\r\n\r\n"],
    "extensions": [HEAD, b"%x;a=b\r\n%b\r\n" % (len(BODY), BODY), b"0\r\n\r\n"],
    "a length": [PLAIN + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY],
    "a length, in pieces": [PLAIN + b"content-length: %d\r\n\r\n" % len(BODY), 0.01, BODY[:50], 0.01, BODY[50:]],
    "until the connection closes": [PLAIN + b"\r\n", BODY, "close"],
    "an interim answer first": [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", PLAIN + b"\r\n" + BODY, "close"],
    "a head byte by byte": [*(bytes([byte]) for byte in PLAIN + b"\r\n"), BODY, "close"],
    "line ends of Windows": [HEAD, *(chunk(e.replace(b"\n", b"\r\n")) for e in chat(3)), b"0\r\n\r\n"],
}  # fmt: skip


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_is_read_whole_whatever_its_framing(framing: str) -> None:
    found = answered(FRAMINGS[framing], first_token_s=3.0)
    assert found.errors == ()
    assert found.samples.chunks.tolist() == [3]
    assert found.samples.output_tokens.tolist() == [3]


def test_an_answer_that_does_not_stream_has_an_end_but_no_tokens_to_time() -> None:
    body = json.dumps(
        {
            "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        }
    ).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    with Scripted(lambda _: [head, body]) as server:
        found = fire(server, stream=False).samples
    assert found.error.tolist() == [0]
    assert found.chunks.tolist() == [0]
    assert str(found.first_token_s[0]) == "nan"
    assert (found.input_tokens[0], found.output_tokens[0], found.cached_tokens[0]) == (5, 2, 4)


def test_connections_are_kept_alive_and_used_again() -> None:
    with Scripted(lambda _: stream()) as server:
        found = fire(server, 5, drive=ONE_BY_ONE)
        assert server.connections == 1
    assert found.health.connections == 1
    assert found.samples.connect_s[0] > 0
    assert found.samples.connect_s[1:].tolist() == [0] * 4


@pytest.mark.parametrize("said", [b"connection: close\r\n", b""], ids=["close", "HTTP/1.0"])
def test_a_connection_that_ends_with_its_answer_is_not_used_again(said: bytes) -> None:
    version = b"HTTP/1.1" if said else b"HTTP/1.0"
    head = version + b" 200 OK\r\n" + said + b"content-length: %d\r\n\r\n" % len(BODY)
    with Scripted(lambda _: [head + BODY]) as server:
        found = fire(server, 3, rate=20)
        assert server.connections == 3
    assert found.errors == ()


def test_a_kept_connection_that_the_server_has_closed_costs_one_more_try_and_no_error() -> None:
    def script(number: int) -> Script:
        return stream() if number != 1 else ["reset"]

    with Scripted(script) as server:
        found = fire(server, 2, drive=ONE_BY_ONE)
        assert len(server.requests) == 3
    assert found.errors == ()
    assert found.health.resent == 1


BROKEN: dict[str, tuple[Script, str, str]] = {
    "no HTTP": ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], "protocol", "did not answer in HTTP"),
    "a header without a colon": ([b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"], "protocol", "header line"),
    "an endless head": ([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000], "protocol", "the head of the answer"),
    "two lengths": ([b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello"], "protocol", "content-length"),
    "a length of words": ([b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"], "protocol", "content-length"),
    "no chunk size": ([HEAD, b"zz\r\nhello\r\n\r\n\r\n"], "protocol", "a chunk's size"),
    "a chunk that lies": ([HEAD, b"3\r\nhello\r\n\r\n"], "protocol", "a chunk is longer"),
    "an endless chunk size": ([HEAD, b"1" * 5000 + b"\r\n\r\n"], "protocol", "a chunk's size"),
    "another protocol": ([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"], "protocol", "another protocol"),
    "closed before a byte": (["close"], "connection", "no answer"),
    "closed in the head": ([b"HTTP/1.1 200", "close"], "connection", "no answer"),
    "cut off": ([HEAD, chunk(BODY[:100]), "close"], "protocol", "cut off"),
    "cut off by a reset": ([HEAD, chunk(BODY[:100]), 0.02, "reset"], "protocol", "cut off"),
    "ended too early": ([HEAD, chunk(chat(3)[1]), b"0\r\n\r\n"], "protocol", "ended before"),
    "empty": ([HEAD, b"0\r\n\r\n"], "protocol", "no choices"),
    "an event that is no JSON": ([HEAD, chunk(b"data: {]\n\n"), b"0\r\n\r\n"], "protocol", "not JSON"),
    "compressed": ([b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx"], "protocol", "compressed"),
    "an error in the stream": ([HEAD, chunk(b'data: {"error":{"message":"melted","code":503}}\n\n'), b"0\r\n\r\n"], "server", "melted"),
    "throttled": ([b'HTTP/1.1 429 Too Many\r\ncontent-length: 33\r\n\r\n{"error":{"message":"slow down"}}'], "rate_limit", "slow down"),
    "a redirect": ([b"HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n"], "bad_request", "redirect"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_answer_is_an_error_with_its_kind_and_its_reason(case: str) -> None:
    script, kind, reason = BROKEN[case]
    found = answered(script, first_token_s=3.0)
    assert kinds(found) == [kind]
    assert reason in message(found)


def test_the_tokens_before_a_cut_are_still_timed() -> None:
    found = answered([HEAD, *map(chunk, chat(3)[:3]), "close"])
    assert kinds(found) == ["protocol"]
    assert found.samples.chunks.tolist() == [2]


def test_a_server_that_says_nothing_is_a_timeout() -> None:
    found = answered(["until closed"], first_token_s=0.1)
    assert kinds(found) == ["timeout"]
    assert message(found) == "no byte of the answer came within 0.1 s"


def test_a_server_that_drips_for_ever_is_a_timeout() -> None:
    found = answered([HEAD, *[b"1\r\n:\r\n", 0.02] * 200], total_s=0.2)
    assert kinds(found) == ["timeout"]
    assert message(found) == "the answer was not complete within 0.2 s"


def test_bytes_after_the_end_do_not_hide_it() -> None:
    script: Script = [HEAD, b"".join(map(chunk, chat(3))) + b"0\r\n\r\nHTTP/1.1 200 OK"]
    with Scripted(lambda _: script) as server:
        found = fire(server, 2, rate=20, limits=limits(total_s=0.2))
        assert server.connections == 2
    assert found.errors == ()
    assert found.samples.chunks.tolist() == [3, 3]


def test_a_server_that_never_stops_sending_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER_BYTES", 100_000)
    found = answered([HEAD, *[chunk(b": nothing\n\n" * 1000), 0.01] * 200])
    assert kinds(found) == ["protocol"]
    assert "more than 100000 bytes" in message(found)
    assert found.samples.received_bytes[0] < 2_000_000


def test_all_answers_together_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_HELD_BYTES", 100_000)
    with Scripted(lambda _: [HEAD, *[chunk(b": nothing\n\n" * 500), 0.02] * 50]) as server:
        found = fire(server, 4, limits=limits(total_s=3.0))
    assert "hold more than 100000 bytes" in " ".join(error.message for error in found.errors)
    assert not found.health.valid
    assert found.health.shortages[0].resource == "sockets"


def test_nobody_listening_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    found = processes.measure(
        {"a": variant(f"http://127.0.0.1:{port}/v1")}, Even(100, 2), Drive(), environ={"OPENAI_API_KEY": KEY}
    )
    assert kinds(found) == ["connection", "connection"]
    assert str(found.samples.sent_s[0]) == "nan"


def test_a_host_without_an_address_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match=r"host 'nowhere\.invalid' has no address"):
        processes.measure(
            {"a": variant("http://nowhere.invalid/v1")}, Even(1, 1), Drive(), environ={"OPENAI_API_KEY": KEY}
        )


def test_a_key_is_in_no_repr_and_in_no_error() -> None:
    body = json.dumps({"error": {"message": f"wrong key {KEY}"}}).encode()
    with Scripted(lambda _: [b"HTTP/1.1 401 No\r\ncontent-length: %d\r\n\r\n" % len(body), body]) as server:
        found = fire(server)
        assert KEY.encode() in server.requests[0]
        target = targets.aim("a", variant(server.url), environ={"OPENAI_API_KEY": KEY})
        route = asyncio.run(exchanges.route_of(target))
    assert kinds(found) == ["auth"]
    assert KEY not in f"{found!r} {target!r} {route!r}"


def test_a_header_with_a_line_end_is_refused() -> None:
    bad = Variant(model="openai/m", base_url="http://127.0.0.1:1", options={"headers": {"x": "a\r\nhost: b"}})
    target = targets.aim("a", bad, environ={"OPENAI_API_KEY": KEY})
    with pytest.raises(ConfigError, match="header with a line end"):
        asyncio.run(exchanges.route_of(target))


def test_the_request_is_what_the_provider_would_send() -> None:
    with Scripted(lambda _: stream()) as server:
        fire(server)
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    assert json.loads(body)["messages"] == [{"role": "user", "content": "#0#"}]


def test_tls_is_spoken_and_an_unknown_certificate_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"), "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl here to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with Scripted(lambda _: stream(), tls=context) as server:
        arms = {"a": variant(f"https://localhost:{server.port}/v1")}
        refused = processes.measure(arms, Even(100, 1), Drive(), environ={"OPENAI_API_KEY": KEY})
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        trusted = processes.measure(arms, Even(100, 2), Drive(), environ={"OPENAI_API_KEY": KEY})
    assert kinds(refused) == ["connection"]
    assert "certificate" in message(refused)
    assert trusted.errors == ()
    assert trusted.samples.chunks.tolist() == [3, 3]
