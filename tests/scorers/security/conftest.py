from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ratchet import scores
from ratchet.records import Example, Score, Trace

Try = Callable[..., Score]


@pytest.fixture
def attempt() -> Try:
    """Judges one output by a scorer as a config writes it; further facts go into the trace or the example."""

    def attempt(spec: Any, output: Any, *, metadata: Any = None, expected: Any = None, **facts: Any) -> Score:
        trace = Trace(id="a" * 32, output=output, answer=facts.pop("answer", output), **facts)
        example = Example(id="1", input={}, expected=expected, metadata=metadata or {})
        [found] = asyncio.run(scores.judge_trace(scores.resolve(spec), trace, example))
        assert found.dimension == "security"
        return found

    return attempt


def called(name: str, arguments: str) -> dict[str, Any]:
    """A tool call in the OpenAI shape."""
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(system: str, user: str = "Hello") -> list[dict[str, Any]]:
    """Messages as they were sent."""
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
