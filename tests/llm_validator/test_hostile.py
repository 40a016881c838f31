from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ratchet.errors import RatchetError
from ratchet.llm_validator import load, to_runs

from .conftest import DATA, PROMPTS, Folder, Json, article, tool

ODD: list[Json] = [
    None, True, 0, -1, 1e308, "", " ", "x" * 5000, "a\0b", "../../..", "/", "{", "{x.__class__}", [], {}, [[]],
    {"a": {}}, "\ud800", "=cmd", ["x"], {"": None},
]  # fmt: skip


def mutated(value: Json, rng: random.Random) -> Json:
    """The config with one value, anywhere, replaced, dropped or doubled."""
    if rng.random() < 0.2 or not isinstance(value, (dict, list)) or not value:
        return rng.choice(ODD)
    if isinstance(value, list):
        place = rng.randrange(len(value))
        return [mutated(item, rng) if i == place else item for i, item in enumerate(value)]
    key = rng.choice(list(value))
    if rng.random() < 0.15:
        return {k: v for k, v in value.items() if k != key}
    return {k: mutated(v, rng) if k == key else v for k, v in value.items()}


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a piece cut out, changed or put elsewhere."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    end = min(end, start + 12)
    piece = rng.choice(
        [b"", b"\xff", b'"', b"{", b"}}", b",", b"\n\n", data[start:end] * 2, bytes([rng.randrange(256)])]
    )
    return data[:start] + piece + data[end:]


METRICS: list[Json] = [
    {"type": "cost"},
    {"type": "stability", "kwargs": {"repeats": 2}},
    {"type": "accuracy", "aspect": "codegen", "kwargs": {"client_name": "openai", "model_name": "j", "prompt_name": "classify", "prompt_path": "prompts.yaml"}},
    {"type": "accuracy", "aspect": "regex", "kwargs": {"patterns": ["a"]}},
]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_config_gives_runs_or_a_message_that_names_the_place(folder: Folder, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(60):
        config = mutated(rng.choice([article, tool])(evaluator_config={"metrics": METRICS}), rng)
        path = folder.write("config.json", json.dumps(config))
        if number % 3 == 0:
            path.write_bytes(spoilt(path.read_bytes(), rng))
        _reads_or_says_where(path)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_data_and_prompts_give_runs_or_a_message_that_names_the_file(
    folder: Folder, seed: int
) -> None:
    rng = random.Random(seed)
    path = folder.config(article(evaluator_config={"metrics": METRICS}))
    for name, text in (("data.csv", DATA), ("prompts.yaml", PROMPTS)):
        for _ in range(40):
            (folder.path / name).write_bytes(spoilt(text.encode(), rng))
            _reads_or_says_where(path)
        folder.write(name, text)


def _reads_or_says_where(path: Path) -> None:
    said = str(path)
    try:
        assert to_runs([load(path)], environ={})
    except RatchetError as error:
        said = str(error)
    assert path.parent.name in said or path.name in said
