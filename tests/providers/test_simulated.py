from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.errors import ConfigError
from ratchet.ports import Endpoint, Request
from ratchet.providers import make

from .conftest import Answered, gather


def ask(text: str, model: str = "instant", *, stream: bool = False, **options: Any) -> Answered:
    provider = make(Endpoint(provider="simulated", options=options))
    request = Request(model=model, messages=[{"role": "user", "content": text}], stream=stream)
    return asyncio.run(gather(provider, request))


def test_a_simulated_model_answers_from_its_key_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"prompt": "Capital of France?", "answer": "Paris"}) + "\n")
    profile = {"skill": 1, "noise": 0, "verbosity": 0}
    for stream in (False, True):
        answered = ask("Capital of France?", answers=str(path), profile=profile, stream=stream)
        assert "Paris" in answered.text
        assert answered.metadata["simulated"] is True
        assert answered.model is not None
        assert answered.model.endswith("-simulated")


def test_the_same_seed_gives_the_same_answer() -> None:
    assert ask("Tell me a story.", seed=3).text == ask("Tell me a story.", seed=3).text


def test_options_that_cant_be_used_are_named() -> None:
    with pytest.raises(ConfigError, match="seed is 'x'"):
        ask("hi", seed="x")
    with pytest.raises(ConfigError, match="profile is list"):
        ask("hi", profile=[1])
