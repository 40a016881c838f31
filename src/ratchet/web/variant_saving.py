"""A column of the playground becomes a variant of ratchet.yaml: written into the file as text, so that comments stay."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from ratchet import projects
from ratchet.errors import ConfigError, RatchetError
from ratchet.records import Json
from ratchet.web.playing import Column

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_VARIANTS = re.compile(r"^variants:[ \t]*(#.*)?$", re.MULTILINE)
_PROMPTS = "prompts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was written where."""

    name: str
    file: str
    prompt: str
    """The prompt's file, relative to the project; empty where the column has no messages."""


def save(column: Column, name: str, project: projects.Project) -> Saved:
    """Write the column as variant `name` below `variants:`, its messages as `prompts/<name>.yaml`.

    Raises:
        ConfigError: The name is none, or taken; or the file is laid out so that text can't be put into it. Nothing
            was changed.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r}: expected a letter, then letters, digits, _ or -, at most 64")
    if name in project.variants:
        raise ConfigError(f"there is a variant {name!r} already; choose another name")
    text = project.path.read_text("utf-8")
    found = _VARIANTS.search(text)
    section, prompt = _section(column, name, project)
    if found is None:
        raise ConfigError(
            f"{project.path.name} has no line `variants:` that entries can be put below. Add this by hand:\n{snippet(column, name, project)}"
        )
    block = "\n" + "".join(f"  {line}\n" for line in _yaml({name: section}).splitlines())
    changed = text[: found.end()] + block.rstrip("\n") + text[found.end() :]
    prompt_file = project.root / prompt if prompt else None
    if prompt_file is not None and prompt_file.exists():
        raise ConfigError(f"{prompt} exists already; choose another name")
    try:
        if prompt_file is not None:
            prompt_file.parent.mkdir(parents=True, exist_ok=True)
            prompt_file.write_text(_yaml(_messages(column)), "utf-8")
        _replace(project.path, changed, name)
    except (RatchetError, OSError) as error:
        if prompt_file is not None:
            prompt_file.unlink(missing_ok=True)
        raise ConfigError(f"{project.path.name} was left as it is: {error}") from None
    return Saved(name=name, file=project.path.name, prompt=prompt)


def snippet(column: Column, name: str, project: projects.Project | None) -> str:
    """The entry as text, for a file of one's own."""
    section, _ = _section(column, name, project)
    return "".join(f"  {line}\n" for line in _yaml({name: section}).splitlines())


def _section(column: Column, name: str, project: projects.Project | None) -> tuple[dict[str, Json], str]:
    """The variant's entry, and its prompt's file."""
    ending = "yaml" if column.syntax == "format" else "yaml.j2"
    prompt = f"{_PROMPTS}/{name}.{ending}" if column.messages else ""
    section: dict[str, Json] = {}
    if column.variant:
        section["extends"] = column.variant
    base = project.variants.get(column.variant) if project and column.variant else None
    if column.model and (base is None or base.model != column.model):
        section["model"] = column.model
    if prompt:
        section["prompt"] = prompt
    if column.params and (base is None or dict(base.params) != dict(column.params)):
        section["params"] = dict(column.params)
    return section, prompt


def _messages(column: Column) -> dict[str, Json]:
    return {"messages": [dict(message) for message in column.messages]}


def _yaml(value: Json) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100, default_flow_style=False)


def _replace(path: Path, text: str, name: str) -> None:
    """Put the text in the file's place, once it was read back as a project that has this variant."""
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".ratchet-", suffix=".yaml")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        again = projects.load(Path(made))
        if name not in again.variants:
            raise ConfigError("the entry would not stand below `variants:`")
        os.chmod(made, path.stat().st_mode & 0o777)
        Path(made).replace(path)
    finally:
        Path(made).unlink(missing_ok=True)
