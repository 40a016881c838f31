"""Files laid in a folder, and never over somebody's work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ratchet import codec, projects
from ratchet.errors import ConfigError

SCHEMA_FILE = "ratchet.schema.json"


def shipped(name: str) -> dict[str, bytes]:
    """The files of a folder that ships beside this module, by path; "dot-" begins the names of hidden ones."""
    return dict(_read(resources.files("ratchet.demo") / name, ""))


def _read(folder: Traversable, under: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _read(entry, f"{under}{entry.name}/")
        else:
            name = entry.name.replace("dot-", ".", 1) if entry.name.startswith("dot-") else entry.name
            yield under + name, entry.read_bytes()


def schema() -> dict[str, bytes]:
    """The schema of ratchet.yaml, for completion in editors."""
    import orjson

    return {SCHEMA_FILE: orjson.dumps(codec.plain(projects.schema()), option=orjson.OPT_INDENT_2) + b"\n"}


def lay(folder: Path, files: Mapping[str, bytes], *, keep: Collection[str] = (), hint: str = "") -> list[str]:
    """Write these files, by their paths in the folder; those already there with this very content stay.

    Args:
        keep: Files that stay as they are, whatever they hold.
        hint: What to do where a file is in the way.

    Returns:
        The paths written.

    Raises:
        ConfigError: A file is there with other content, and then nothing is written; or writing failed.
    """
    try:
        missing = [name for name in files if not (folder / name).exists()]
        in_the_way = [
            name
            for name, content in files.items()
            if name not in missing and name not in keep and (folder / name).read_bytes() != content
        ]
        if in_the_way:
            raise ConfigError(
                f"there already, with other content: {', '.join(in_the_way)}. Nothing was written.{hint}",
                file=folder,
            )
        for name in missing:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(files[name])
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", file=error.filename or folder) from None
    return missing


def starter() -> dict[str, bytes]:
    """The files of a small project, with an answer key for its simulated models."""
    files = {**shipped("starter"), **schema()}
    rows = [codec.parse(line) for line in files["datasets/tickets.jsonl"].splitlines()]
    known = [codec.dumps({"contains": row["ticket"], "answer": row["queue"]}) for row in rows]
    return {**files, "answers.jsonl": b"\n".join(known) + b"\n"}
