"""The numbers a verdict rests on: every arm's facts and scores per (example, repeat), as columns.

It comes from runs in the store (`from_runs`), from files (`tabular`), or from an evidence file (`read`), and is all
that `verdicts.compare` looks at, so that a verdict can be recomputed anywhere. Missing numbers are NaN in the arrays
and null in files.
"""

from ratchet.evidence.arms import is_short, short_answer, similarity_of
from ratchet.evidence.examples import content_of
from ratchet.evidence.files import read, write
from ratchet.evidence.gathering import from_runs
from ratchet.evidence.records import (
    DIMENSIONS,
    FACTS,
    HUMAN,
    LOWER_IS_BETTER,
    SIMILARITY,
    ArmData,
    Bools,
    Column,
    Evidence,
    Floats,
    Ints,
    Labels,
    first_examples,
)

__all__ = [
    "DIMENSIONS",
    "FACTS",
    "HUMAN",
    "LOWER_IS_BETTER",
    "SIMILARITY",
    "ArmData",
    "Bools",
    "Column",
    "Evidence",
    "Floats",
    "Ints",
    "Labels",
    "content_of",
    "first_examples",
    "from_runs",
    "is_short",
    "read",
    "short_answer",
    "similarity_of",
    "write",
]
