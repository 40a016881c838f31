"""May this change ship? `decide` makes a Verdict of evidence, `compare` of a run, `verify` makes one again."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ratchet.verdicts.deciding import (
        arms_of as arms_of,
        check_ids as check_ids,
        compare as compare,
        decide as decide,
        decide_aa as decide_aa,
        stopping_point as stopping_point,
    )
    from ratchet.verdicts.defaults import default_checks as default_checks, error_guard as error_guard
    from ratchet.verdicts.flipped import Flip as Flip, flips as flips
    from ratchet.verdicts.fronts import Point as Point, compare_all as compare_all, front as front
    from ratchet.verdicts.verifying import Verification as Verification, verify as verify

_HOMES = {
    "deciding": ("arms_of", "check_ids", "compare", "decide", "decide_aa", "stopping_point"),
    "defaults": ("default_checks", "error_guard"),
    "flipped": ("Flip", "flips"),
    "fronts": ("Point", "compare_all", "front"),
    "verifying": ("Verification", "verify"),
}
"""The module of each name: found when it is asked for, so that a page that reads kept verdicts loads no statistics."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"ratchet.verdicts.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
