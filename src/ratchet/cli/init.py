"""`ratchet init`: a small project to start from."""

from __future__ import annotations

from pathlib import Path

import click

KEPT = (".gitignore", ".env.example")
"""What a folder may have of its own already."""


@click.command(short_help="Lay a small project in a folder.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> int:
    """Lay a small project in FOLDER [this one]: ratchet.yaml, a dataset, a prompt, a scorer.

    It runs at once with simulated models. Nothing is asked, and no file is overwritten.
    """
    from ratchet.demo import folders

    files = folders.starter()
    kept = [name for name in KEPT if (folder / name).exists() and (folder / name).read_bytes() != files[name]]
    written = folders.lay(folder, files, keep=KEPT, hint="\n  Choose another folder: ratchet init FOLDER")
    for name in written:
        click.echo(f"  wrote {folder / name}")
    for name in kept:
        click.echo(f"  kept  {folder / name}, which was there; `ratchet` wants .ratchet/ and .env ignored by git"
                   if name == ".gitignore" else f"  kept  {folder / name}")  # fmt: skip
    go = f"cd {folder}\n  " if folder.resolve() != Path.cwd() else ""
    click.echo(
        "Next:\n"
        f"  {go}ratchet run --dry-run   the plan: calls, tokens, dollars\n"
        "  ratchet run             with simulated models, without a key\n"
        "  then put your model into ratchet.yaml, its key into .env, your rows into datasets/"
    )
    return 0
