"""The release engineer for model changes: run, judge, release, watch.

Names are resolved when they are first used: `import ratchet` loads the standard library alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.budgets import Budget as Budget
    from ratchet.datasets import (
        examples as examples,
    )
    from ratchet.errors import RatchetError as RatchetError
    from ratchet.ports import Chunk as Chunk, Request as Request, Usage as Usage
    from ratchet.records import (
        Check as Check,
        Dataset as Dataset,
        Example as Example,
        Extraction as Extraction,
        Judgement as Judgement,
        Limits as Limits,
        Price as Price,
        Prompt as Prompt,
        Run as Run,
        Score as Score,
        Scorer as Scorer,
        Span as Span,
        Task as Task,
        Trace as Trace,
        Variant as Variant,
        Verdict as Verdict,
    )
    from ratchet.runs import Options as Options, arun as arun, ascore as ascore, run as run, score as score
    from ratchet.scores import scorer as scorer
    from ratchet.spans import span as span
    from ratchet.stores import open_store as open_store
    from ratchet.summaries import summarise as summarise
    from ratchet.verdicts import compare as compare

_HOMES = {
    "Budget": "budgets",
    "Check": "records",
    "Chunk": "ports",
    "Dataset": "records",
    "Example": "records",
    "Extraction": "records",
    "Judgement": "records",
    "Limits": "records",
    "Options": "runs",
    "Price": "records",
    "Prompt": "records",
    "RatchetError": "errors",
    "Request": "ports",
    "Run": "records",
    "Score": "records",
    "Scorer": "records",
    "Span": "records",
    "Task": "records",
    "Trace": "records",
    "Usage": "ports",
    "Variant": "records",
    "Verdict": "records",
    "arun": "runs",
    "ascore": "runs",
    "compare": "verdicts",
    "examples": "datasets",
    "open_store": "stores",
    "run": "runs",
    "score": "runs",
    "scorer": "scores",
    "span": "spans",
    "summarise": "summaries",
}

__all__ = [
    "Budget",
    "Check",
    "Chunk",
    "Dataset",
    "Example",
    "Extraction",
    "Judgement",
    "Limits",
    "Options",
    "Price",
    "Prompt",
    "RatchetError",
    "Request",
    "Run",
    "Score",
    "Scorer",
    "Span",
    "Task",
    "Trace",
    "Usage",
    "Variant",
    "Verdict",
    "arun",
    "ascore",
    "compare",
    "examples",
    "open_store",
    "run",
    "score",
    "scorer",
    "span",
    "summarise",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ratchet' has no attribute {name!r}")
    module, _, inside = home.partition(":")
    value = getattr(importlib.import_module(f"ratchet.{module}"), inside or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
