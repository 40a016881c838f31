"""Scorers of this project: a function of one answer, or of an answer and its example, that judges it."""

from __future__ import annotations

from ratchet.records import Trace
from ratchet.scores import scorer


@scorer(version="1")  # raise it whenever earlier scores stop being comparable
def is_one_word(trace: Trace) -> bool:
    """True where the answer is a single word, as the prompt asks."""
    return len(str(trace.answer).split()) == 1
