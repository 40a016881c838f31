"""The server over real HTTP, read by a plain client: faults, counts, limits, determinism."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from ratchet.errors import ConfigError, DatasetError, UnknownNameError
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.profiles import Delay, Profile
from ratchet.simulated.server import SimulatedServer, serve_in_thread

T = TypeVar("T")
Talk = Callable[[SimulatedServer, aiohttp.ClientSession], Awaitable[T]]
KEY = AnswerKey([Answer(prompt="Q", answer="The first word. The second word. The third word.")])


def talk(work: Talk[T], **settings: Any) -> T:
    """What `work` returns, given a running server and a client."""
    options: dict[str, Any] = {"answers": KEY, **settings}

    async def run() -> T:
        async with SimulatedServer(**options) as server, aiohttp.ClientSession() as http:
            return await work(server, http)

    return asyncio.run(run())


def body(text: str = "Q", model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def post(
    server: SimulatedServer, http: aiohttp.ClientSession, content: Any, **headers: str
) -> tuple[int, Any, str]:
    """Status, headers and text of one chat completion."""
    url = server.base_url() + "/chat/completions"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.post(url, json=content, headers=named) as answer:
        return answer.status, answer.headers, await answer.text()


def test_repeats_of_one_request_differ_as_the_noise_says_and_a_rerun_is_the_same() -> None:
    key = AnswerKey([Answer(prompt="Q", answer="a", labels=("a", "b", "c"))])
    profile = Profile(name="m", skill=0.5, noise=1.0)

    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> list[str]:
        return [json.loads((await post(server, http, body()))[2])["choices"] for _ in range(12)]

    first = talk(work, answers=key, profiles=[profile], seed=4)
    assert len({str(choice) for choice in first}) > 1
    assert talk(work, answers=key, profiles=[profile], seed=4) == first


def test_a_request_that_a_fault_broke_is_answered_alike_when_tried_again() -> None:
    key = AnswerKey([Answer(prompt="Q", answer="a", labels=("a", "b", "c", "d"))])
    profile = Profile(name="m", skill=0.5, noise=1.0)

    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> list[str]:
        answers = [await post(server, http, body()) for _ in range(20)]
        return [json.loads(text)["choices"] for status, _, text in answers if status == 200][:10]

    clean = talk(work, answers=key, profiles=[profile])
    assert talk(work, answers=key, profiles=[profile], faults=["429:every=3"]) == clean


def test_the_first_profile_answers_for_names_it_does_not_know() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> Any:
        return json.loads((await post(server, http, body(model="gpt-4o")))[2])["usage"]

    profile = Profile(name="thinker", reasoning_tokens=9)
    assert talk(work, profiles=[profile])["completion_tokens_details"]["reasoning_tokens"] == 9


def test_counts_tell_wires_models_statuses_and_duplicates_apart() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        await post(server, http, body("one"))
        await post(server, http, body("one"))
        await post(server, http, body("two", model="n+429"))
        message = {"role": "user", "content": "three"}
        content = {"model": "c", "max_tokens": 9, "messages": [message]}
        headers = {"anthropic-version": "2023-06-01"}
        async with http.post(server.url + "/v1/messages", json=content, headers=headers) as answer:
            assert answer.status == 200
        stats = server.stats()
        assert (stats.requests, stats.answered, stats.unique, stats.duplicates) == (4, 4, 3, 1)
        assert stats.by_wire == {"openai": 3, "anthropic": 1}
        assert stats.by_model == {"m": 2, "n": 1, "c": 1}
        assert stats.by_status == {"200": 3, "429": 1}
        assert stats.by_fault == {"429": 1}
        async with http.get(server.url + "/stats") as answer:
            assert (await answer.json())["duplicates"] == 1
        async with http.post(server.url + "/reset") as answer:
            assert (await answer.json())["requests"] == 0

    talk(work)


def test_the_peak_in_flight_is_what_the_client_kept_open() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as tasks:
            for n in range(7):
                tasks.create_task(post(server, http, body(f"request {n}")))
        stats = server.stats()
        assert (stats.requests, stats.peak_in_flight, stats.in_flight) == (7, 7, 0)

    talk(work, profiles=[Profile(name="slow", ttft_s=Delay(low_s=0.1))])


def test_the_log_has_every_request_with_its_hash_and_its_times(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"

    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        for text in ("one", "one", "two"):
            await post(server, http, body(text))

    talk(work, log=path)
    one, again, two = (json.loads(line) for line in path.read_text().splitlines())
    assert one["hash"] == again["hash"] != two["hash"]
    assert [entry["nth"] for entry in (one, again, two)] == [0, 1, 0]
    assert one["received_s"] <= one["answered_s"] <= again["received_s"]
    assert (one["wire"], one["model"], one["status"]) == ("openai", "m", 200)


def test_a_client_that_goes_away_is_counted_as_broken() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await post(server, http, body(model="m+hang"))
        async with asyncio.timeout(5):
            while server.stats().in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stats = server.stats()
        assert (stats.broken, stats.answered, stats.by_fault) == (1, 0, {"hang": 1})

    talk(work)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_sends_a_part_and_breaks_the_connection(stream: bool) -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> bytes:
        received = bytearray()

        async def read(answer: aiohttp.ClientResponse) -> None:
            async for data in answer.content.iter_any():
                received.extend(data)

        url = server.base_url() + "/chat/completions"
        async with http.post(url, json=body(model="m+cut", stream=stream)) as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await read(answer)
        assert server.stats().broken == 1
        return bytes(received)

    received = talk(work)
    assert b"chatcmpl-" in received
    assert b"[DONE]" not in received


def test_malformed_answers_are_whole_http_with_broken_json() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        for fault in ("malformed", "malformed_json"):
            status, _, text = await post(server, http, body(model=f"m+{fault}"))
            assert status == 200
            with pytest.raises(json.JSONDecodeError):
                json.loads(text)
        for fault in ("malformed", "malformed_sse"):
            _, _, text = await post(server, http, body(model=f"m+{fault}", stream=True))
            events = [event.removeprefix("data: ") for event in text.split("\n\n")[:-2]]
            broken = [event for event in events if not event.endswith("}")]
            assert len(broken) == 1
            assert text.endswith("data: [DONE]\n\n")
        assert json.loads((await post(server, http, body(model="m+malformed_sse")))[2])["choices"]

    talk(work)


def test_empty_answers_have_no_choices_and_wrong_usage_is_wrong() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        right = json.loads((await post(server, http, body()))[2])
        empty = json.loads((await post(server, http, body(model="m+empty")))[2])
        wrong = json.loads((await post(server, http, body(model="m+wrong_usage,factor=3")))[2])
        assert empty["choices"] == []
        assert wrong["usage"]["prompt_tokens"] == 3 * right["usage"]["prompt_tokens"]
        assert wrong["choices"][0]["message"] == right["choices"][0]["message"]
        _, _, text = await post(server, http, body(model="m+empty", stream=True))
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert all(event["choices"] == [] for event in events)

    talk(work)


@pytest.mark.parametrize("stream", [False, True])
def test_a_drip_is_slow_but_whole(stream: bool) -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> tuple[int, str]:
        url = server.base_url() + "/chat/completions"
        pieces: list[bytes] = []
        content = body(model="m+drip,gap=0.005", stream=stream)
        async with http.post(url, json=content) as answer:
            async for data in answer.content.iter_any():
                pieces.append(data)
        return len(pieces), b"".join(pieces).decode()

    count, text = talk(work)
    assert count >= 4
    assert text.endswith("[DONE]\n\n" if stream else "}")


@pytest.mark.parametrize("stream", [False, True])
def test_a_closed_connection_is_whole_but_not_to_be_used_again(stream: bool) -> None:
    async def work(server: SimulatedServer) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        content = json.dumps(body(model="m+close", stream=stream)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        headers, _, rest = received.partition(b"\r\n\r\n")
        return headers, rest

    async def run() -> tuple[bytes, bytes]:
        async with SimulatedServer(answers=KEY) as server:
            return await work(server)

    headers, rest = asyncio.run(run())
    assert b"connection: close" not in headers.lower()
    assert rest.endswith(b"0\r\n\r\n") if stream else json.loads(rest)["choices"]


def test_faults_by_number_header_and_name_all_work() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> list[int]:
        statuses = [(await post(server, http, body(f"request {n}")))[0] for n in range(6)]
        statuses.append((await post(server, http, body(), x_ratchet_fault="503"))[0])
        statuses.append((await post(server, http, body(), x_ratchet_fault="no-such"))[0])
        return statuses

    assert talk(work, faults=["429:every=3"]) == [200, 200, 429, 200, 200, 429, 503, 400]


def test_each_kind_of_retry_after_reaches_the_client() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        for retry, header in (
            ("seconds", "retry-after"),
            ("date", "retry-after"),
            ("ms", "retry-after-ms"),
            ("reset", "x-ratelimit-reset-requests"),
        ):
            _, headers, _ = await post(server, http, body(model=f"m+429,retry={retry},after=3"))
            assert header in headers
        _, headers, _ = await post(server, http, body(model="m+429,retry=none"))
        assert not [name for name in headers if "retry" in name.lower()]

    talk(work)


def test_tokens_per_minute_are_held_and_reset_starts_anew() -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> list[int]:
        long = "word " * 200
        statuses = [(await post(server, http, body(long)))[0] for _ in range(3)]
        server.reset()
        return [*statuses, (await post(server, http, body(long)))[0]]

    assert talk(work, profiles=[Profile(name="m", tpm=600)]) == [200, 200, 429, 200]


def test_hostile_bodies_are_refused_in_the_vendors_shape_and_never_end_the_server() -> None:
    bodies = [b"", b"{", b"[]", b"null", b'{"model": 3}', b'{"model": "m", "messages": [1]}', b"\xff\xfe"]
    bodies += [b'{"model": "m", "messages": "x"}', b'{"model": "m", "messages": []}', b"[" * 100_000]
    bodies += [b'{"model": "m", "messages": [{"role": "user", "content": 7}], "tools": [{}]}']
    bodies += [b'{"model": "m", "contents": [{"parts": 3}], "system": 3, "max_tokens": 1, "input": [{}]}']
    bodies += [b'{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}], "input": "x"}']
    paths = ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/api/chat"]
    paths += ["/v1beta/models/m:generateContent", "/v1beta/models/m:x", "/model/m/converse", "/api/embed"]

    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> None:
        headers = {"anthropic-version": "2023-06-01"}
        for path in paths:
            for content in bodies:
                async with http.post(server.url + path, data=content, headers=headers) as answer:
                    text = await answer.text()
                    # Ollama alone takes an empty list of messages
                    assert answer.status in (400, 404) or path == "/api/chat", (path, content[:60], text)
                    assert answer.status < 500
                    assert isinstance(json.loads(text.splitlines()[0]), dict)
        assert (await post(server, http, body()))[0] == 200

    talk(work)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": 3}}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"enum": 5}}}]},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"minimum": "x", "type": "integer"}},
            }
        },
        {"messages": [{"role": "assistant", "tool_calls": ["x"]}]},
        {"messages": [{"role": "user", "content": {"a": [None]}}]},
        {"stop": [7], "max_tokens": 10**30},
        {"seed": {"a": 10**40}},
        {"tool_choice": {"function": 3}, "tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
)
@pytest.mark.parametrize("profile", [Profile(name="m"), Profile(name="m", tpm=10_000)])
def test_odd_parameters_are_answered_or_refused_and_never_a_server_error(
    more: dict[str, Any], profile: Profile
) -> None:
    async def work(server: SimulatedServer, http: aiohttp.ClientSession) -> tuple[int, str]:
        status, _, text = await post(server, http, body() | more)
        return status, text

    status, text = talk(work, profiles=[profile], answers=AnswerKey())
    assert status in (200, 400), text
    assert isinstance(json.loads(text), dict)


def test_a_server_in_a_thread_serves_code_that_is_not_async() -> None:
    import urllib.request

    with serve_in_thread(answers=KEY) as server:
        with urllib.request.urlopen(server.url + "/v1/models") as answer:
            assert "champion" in [model["id"] for model in json.loads(answer.read())["data"]]
        assert server.stats().requests == 1


def test_what_can_not_be_served_is_said_before_serving(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="wire"):
        SimulatedServer().base_url("cohere")
    with pytest.raises(DatasetError, match="can't be read"):
        SimulatedServer(answers=[tmp_path / "none.jsonl"])
    with serve_in_thread() as server:
        taken = SimulatedServer(port=server.port)
        with (
            pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{server.port}"),
            serve_in_thread(taken),
        ):
            pass
