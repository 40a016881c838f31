"""May this change ship? `decide` makes a Verdict of evidence, `compare` of a run, `verify` makes one again."""

from ratchet.verdicts.deciding import arms_of, check_ids, compare, decide, decide_aa, stopping_point
from ratchet.verdicts.defaults import default_checks, error_guard
from ratchet.verdicts.flips import Flip, flips
from ratchet.verdicts.fronts import Point, compare_all as compare_all, front
from ratchet.verdicts.verifying import Verification, verify

__all__ = [
    "Flip",
    "Point",
    "Verification",
    "arms_of",
    "check_ids",
    "compare",
    "compare_all",
    "decide",
    "decide_aa",
    "default_checks",
    "error_guard",
    "flips",
    "front",
    "stopping_point",
    "verify",
]
