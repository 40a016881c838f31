from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ratchet import scores
from ratchet.records import Example, Score, Trace

Judge = Callable[..., dict[str, Score]]


@pytest.fixture
def score() -> Judge:
    """Judges one answer by a scorer as a config writes it; the scores by name."""

    def judge(spec: Any, answer: Any, expected: Any = None, **facts: Any) -> dict[str, Score]:
        trace = Trace(id="a" * 32, answer=answer, output=answer, **facts)
        example = Example(id="1", input={}, expected=expected)
        found = asyncio.run(scores.judge_trace(scores.resolve(spec), trace, example))
        return {each.name: each for each in found}

    return judge
