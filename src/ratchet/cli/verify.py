"""`ratchet verify`: make the verdict of an evidence file again."""

from __future__ import annotations

from pathlib import Path

import click

from ratchet.cli.options import echo_json, with_json

EXIT_DIFFERENT = 1
_SHOWN = 20


@click.command(short_help="Make the verdict of an evidence file again, offline: same or different.")
@click.argument("path", metavar="EVIDENCE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@with_json
def verify(path: Path, as_json: bool) -> int:
    """Make the verdict of EVIDENCE again, from its numbers alone, and say whether it is the same.

    `ratchet compare --evidence FILE` writes such a file. Exit status: 0 the same, 1 different, 2 no evidence file.
    """
    from ratchet import verdicts

    found = verdicts.verify(path)
    if as_json:
        echo_json({"same": found.same, "differences": list(found.differences), "verdict": found.verdict})
    elif found.same:
        click.echo(f"Same. {found.verdict.outcome.capitalize()}: {'; '.join(found.verdict.reasons)}.")
    else:
        click.echo(
            f"Different, in {len(found.differences):,} places; made again it is {found.verdict.outcome}:"
        )
        for difference in found.differences[:_SHOWN]:
            click.echo(f"  {difference}")
    return 0 if found.same else EXIT_DIFFERENT
