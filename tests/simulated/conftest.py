from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.profiles import Profile
from ratchet.simulated.server import SimulatedServer, serve_in_thread

QUESTION = "Which principle does this program break?"
TOOL_QUESTION = "What is the weather in Oslo?"
LONG_ANSWER = "It repeats the same conversion three times, so every change must be made three times."


@pytest.fixture(scope="session")
def server() -> Iterator[SimulatedServer]:
    """One server for all conformance tests; each test asks questions of its own where counts matter."""
    key = AnswerKey(
        [
            Answer(prompt=QUESTION, answer=LONG_ANSWER),
            Answer(prompt=TOOL_QUESTION, answer={"name": "get_weather", "arguments": {"city": "Oslo"}}),
        ]
    )
    profiles = [
        Profile(name="instant"),
        Profile(name="thinker", reasoning_tokens=40, cached_share=0.5),
        Profile(name="limited", rpm=2),
    ]
    with serve_in_thread(profiles=profiles, answers=key, seed=7) as running:
        yield running


@pytest.fixture(scope="session")
def locked_server() -> Iterator[SimulatedServer]:
    with serve_in_thread(require_key=True) as running:
        yield running


WEATHER_SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather now.", "parameters": WEATHER_SCHEMA},
}
VERDICT_SCHEMA: Any = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["dry", "srp", "none"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "lines": {"type": "array", "items": {"type": "integer", "minimum": 1}},
    },
    "required": ["label", "confidence", "lines"],
    "additionalProperties": False,
}
