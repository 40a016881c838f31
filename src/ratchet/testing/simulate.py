"""Simulated migrations with known truth: are the verdict's error rates what it says?

    python -m ratchet.testing.simulate --write docs/validity.md

measures every setting, prints the claims that break, and exits with 1 if any does. `simulate` draws the evidence of one
migration, `measure` judges many and counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ratchet.testing.migrations.claims import Claim, claims_of
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.looks import false_alarms
from ratchet.testing.migrations.measuring import measure, measure_all
from ratchet.testing.migrations.pages import all_claims, page, stop_lines, table
from ratchet.testing.migrations.public import PublicCheck, check_all, check_public
from ratchet.testing.migrations.records import Counts, Migration, checks_of
from ratchet.testing.migrations.settings import all_settings
from ratchet.testing.migrations.stopping import Stops, measure_all_stops, measure_stops, stopping_settings

__all__ = [
    "Claim",
    "Counts",
    "Migration",
    "PublicCheck",
    "Stops",
    "all_settings",
    "check_all",
    "check_public",
    "checks_of",
    "claims_of",
    "false_alarms",
    "main",
    "measure",
    "measure_all",
    "measure_all_stops",
    "measure_stops",
    "simulate",
    "stopping_settings",
]

CLOSED = 10_000
"""Migrations of a setting whose method has a closed form."""
RESAMPLED = 2_000
PUBLIC = 200
STOPPED = 500
"""Runs of a setting that stop when decided, each looked at 39 times."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the page where asked; 0 where every claim holds, else 1."""
    options = _parser().parse_args(arguments)
    settings = [setting for setting in all_settings() if options.only in setting.name]
    if not settings:
        sys.stderr.write(f"no setting has {options.only!r} in its name\n")
        return 2
    counts = measure_all(
        settings,
        [max(1, round(options.share * (RESAMPLED if each.resamples else CLOSED))) for each in settings],
        workers=options.workers,
    )
    looks = false_alarms(max(1, round(options.share * RESAMPLED)))
    stops = measure_all_stops(max(1, round(options.share * STOPPED)), workers=options.workers)
    with tempfile.TemporaryDirectory() as folder:
        repeated = max(1, round(min(1.0, options.share) * PUBLIC))
        public = check_all(settings, repeated, Path(folder), workers=options.workers)
    claims = all_claims(counts, looks, stops)
    broken = [claim for claim in claims if not claim.holds]
    differing = [line for each in public for line in each.differing]
    if options.write:
        share = "" if options.share == 1.0 else f" --share {options.share:g}"
        command = f"python -m ratchet.testing.simulate{share} --write {options.write}"
        text = page(counts, looks, stops, public, "make validity" if not share else command)
        Path(options.write).write_text(text, encoding="utf-8")
    lines = [
        table(counts),
        *map(str, looks),
        *stop_lines(stops),
        *(f"BROKEN {claim}" for claim in broken),
        *differing,
    ]
    lines.append(f"{len(claims)} claims, {len(broken)} broken; {len(differing)} public verdicts differ")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if broken or differing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ratchet.testing.simulate", description=__doc__)
    parser.add_argument("--write", metavar="PAGE", help="write the page here")
    parser.add_argument("--share", type=float, default=1.0, help=f"of {CLOSED:,} migrations a setting ({RESAMPLED:,} where a method resamples)")  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="only settings with this in their name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
