"""Writes what the docs repeat of the code, between its markers: `.venv/bin/python -m tests.docs_help`.

`tests/test_docs.py` fails where a page has fallen behind.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ratchet"
WIDTH = 80


def command_help() -> str:
    """The help of `ratchet` and of every command below it."""
    from ratchet.cli import cli

    sections = (
        f"## {context.command_path}\n\n```text\n{context.command.get_help(context)}\n```"
        for context in _commands(cli, None)
    )
    return "\n\n".join(sections)


def _commands(command: click.Command, parent: click.Context | None) -> Iterator[click.Context]:
    name = command.name if parent else "ratchet"
    # click keeps the help option of the first context that asked: a test that called the command by itself may have been
    command = copy.copy(command)
    command._help_option = None
    context = click.Context(
        command, parent=parent, info_name=name, terminal_width=WIDTH, **command.context_settings
    )
    yield context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None:
                yield from _commands(child, context)


def tree() -> str:
    """Every module with the first line of its docstring, from the records up to the surfaces."""
    named: list[tuple[str, Path]] = []
    without = sorted(
        {file.relative_to(SOURCE).parts[0].removesuffix(".py") for file in modules()} - set(layered())
    )
    for name in dict.fromkeys(("__init__", *reversed(layered()), *without)):
        path = SOURCE / name
        if path.is_dir():
            named.append((f"  {name}/", path / "__init__.py"))
            inside = [file for file in modules() if path in file.parents and file != path / "__init__.py"]
            named += [(f"    {file.relative_to(path)}".removesuffix("__init__.py"), file) for file in inside]
        elif path.with_suffix(".py").exists():
            named.append((f"  {name}.py", path.with_suffix(".py")))
    width = max(len(name) for name, _ in named) + 2
    lines = [f"{name:{width}}{_first_line(file)}".rstrip() for name, file in named]
    return "\n".join(["```text", "src/ratchet/", *lines, "```"])


def modules() -> list[Path]:
    """Every module but the `__main__.py`, which only call another."""
    return sorted(file for file in SOURCE.rglob("*.py") if file.name != "__main__.py")


def layered() -> list[str]:
    """The top modules in the order of the import contract, highest layer first; within a layer as in pyproject.toml."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = config["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [name for layer in layers for name in re.findall(r"ratchet\.(\w+)", layer)]


def _first_line(file: Path) -> str:
    docstring = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "") if file.exists() else ""
    return docstring.partition("\n")[0]


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/cli.md": {"help": command_help},
    "docs/architecture.md": {"tree": tree},
}
"""By page: what stands between `<!-- NAME: written by tests/docs_help.py -->` and `<!-- end of NAME -->`."""


def renewed(page: str) -> str:
    """The page with its generated parts as they should be."""
    text = (ROOT / page).read_text("utf-8")
    for name, write in PARTS[page].items():
        begin, end = f"<!-- {name}: written by tests/docs_help.py -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{page} lacks the markers {begin} and {end}")
        text = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
    return text


def main() -> None:
    for page in PARTS:
        (ROOT / page).write_text(renewed(page), "utf-8")
        sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
