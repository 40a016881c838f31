"""OpenAI embeddings (`POST /v1/embeddings`) and Ollama's (`POST /api/embed`): hashed n-grams as vectors."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import cast

from ratchet.records import Json
from ratchet.simulated.answers import normalise
from ratchet.simulated.calls import Call, InvalidRequestError, Refused, number, required
from ratchet.simulated.models import MARK, Plan, count_tokens
from ratchet.simulated.wires.openai import OpenAIChat

DIMENSIONS = 256


class Embeddings:
    """The embeddings wire; the same text has the same vector, texts that share words are near."""

    stream_type = "application/json"
    required_header = ""
    no_key_status = 401
    request_id_header = "x-request-id"

    def __init__(self, name: str = "embeddings") -> None:
        self.name = name
        self.key_headers = ("authorization", "api-key") if name == "embeddings" else ()

    def parse(self, body: Mapping[str, Json], path: Mapping[str, str]) -> Call:
        model = path.get("deployment") or required(body, "model", str)
        number(body, "dimensions", 1, 4096)
        form = body.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise InvalidRequestError(f"Invalid value: {form!r}.", param="encoding_format")
        texts = _texts(body.get("input"))
        return Call(
            model=model,
            messages=[{"role": "user", "content": text} for text in texts],
            extras={"texts": texts, "dimensions": body.get("dimensions") or DIMENSIONS, "form": form},
            generates=False,
        )

    def whole(self, call: Call, plan: Plan) -> Json:
        texts: list[str] = [] if plan.empty else call.extras["texts"]
        vectors = [embed(text, int(call.extras["dimensions"])) for text in texts]
        tokens = sum(count_tokens(text) for text in texts)
        model = call.model if call.model.endswith(MARK) else call.model + MARK
        if self.name == "ollama":
            return {"model": model, "embeddings": vectors, "total_duration": 0, "prompt_eval_count": tokens}
        as_text = call.extras["form"] == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if as_text else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": model, "usage": usage}

    def events(self, call: Call, plan: Plan) -> Iterator[tuple[float, bytes]]:
        yield from ()

    def error(self, refused: Refused) -> tuple[Json, dict[str, str]]:
        return ({"error": refused.message}, {}) if self.name == "ollama" else OpenAIChat().error(refused)

    def error_event(self, refused: Refused) -> bytes:
        return b""


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1: counts of words and character trigrams, each hashed to a signed dimension."""
    vector = [0.0] * dimensions
    text = f" {normalise(text).lower()} "
    grams = [text[i : i + 3] for i in range(len(text) - 2)]
    for gram in [*grams, *text.split(), "\0"]:
        hashed = zlib.crc32(gram.encode("utf-8", "replace"))
        vector[hashed % dimensions] += 1.0 if hashed & 0x80000000 else -1.0
    norm = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / norm for value in vector]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _texts(value: Json) -> list[str]:
    """Texts, or lists of token numbers as if each were a word."""
    if isinstance(value, str) and value:
        return [value]
    items = cast("list[Json]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, str) and item for item in items):
        return cast("list[str]", items)
    if items and all(isinstance(item, int) for item in items):
        return [" ".join(map(str, items))]
    if items and all(isinstance(item, list) and item for item in items):
        return [" ".join(map(str, cast("list[Json]", item))) for item in items]
    raise InvalidRequestError(
        "Invalid 'input': expected text, or a list of texts without empty ones.", param="input"
    )
