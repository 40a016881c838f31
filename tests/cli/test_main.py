from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ratchet import cli
from ratchet.errors import ConfigError, ProviderError, StoreFullError

from .conftest import Ratchet

HEAVY = (
    "numpy",
    "scipy",
    "aiohttp",
    "sqlalchemy",
    "pydantic",
    "yaml",
    "jinja2",
    "orjson",
    "genai_prices",
    "uvloop",
    "sqlite3",
    "asyncio",
)


@pytest.mark.parametrize(
    "args", [["-c", "import ratchet"], ["-m", "ratchet", "--help"], ["-m", "ratchet", "--version"]]
)
def test_nothing_heavy_is_imported_before_it_is_needed(args: list[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *args], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.stderr.splitlines()}
    assert "ratchet" in loaded
    assert loaded & set(HEAVY) == set()


def commands() -> list[list[str]]:
    found: list[list[str]] = []
    for name in cli.COMMANDS:
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, inner] for inner in command.list_commands(click.Context(command))]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help(ratchet: Ratchet, command: list[str]) -> None:
    found = ratchet(*command, "--help")
    assert found.code == 0
    assert found.out.startswith(f"Usage: ratchet {' '.join(command)}")
    assert found.err == ""


def test_the_help_lists_every_command_as_it_describes_itself(ratchet: Ratchet) -> None:
    said = ratchet("--help").out
    for name, (_, line) in cli.COMMANDS.items():
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200).rstrip(".") == line.rstrip(".")
        assert name in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["run", "--nope"], "No such option"),
        (["run", "-j", "0"], "0 is not in the range"),
        (["run"], "no ratchet.yaml here or in a folder above"),
        (["list"], "there is no store at"),
        (["show"], "there is no store at"),
        (["export", "-o", "x.xlsx"], "the extension says the format; known: json, jsonl, csv, md"),
        (["run", "-d", "x.jsonl"], "needs at least one --model"),
        (["run", "t", "-d", "x.jsonl", "-m", "openai/x"], "leave one out"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_right(ratchet: Ratchet, args: list[str], said: str) -> None:
    found = ratchet(*args)
    assert found.code == 2
    assert said in found.err
    assert found.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong"), 2), (StoreFullError("full"), 4), (ProviderError("down", kind="server"), 4),
        (ZeroDivisionError("ours"), 4), (KeyboardInterrupt(), 4), (click.Abort(), 4), (click.UsageError("wrong"), 2),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_error_is_a_message_and_an_exit_code(
    ratchet: Ratchet, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: broken)
    found = ratchet("run")
    assert found.code == code
    assert found.err
    if isinstance(error, ZeroDivisionError):
        assert "This is a defect in Ratchet" in found.err


def test_no_message_holds_a_key(ratchet: Ratchet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SPECIAL_KEY", "planted-value-1234")

    @click.command()
    def broken() -> None:
        raise ConfigError("refused planted-value-1234 and sk-abcdefgh12345678")

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: broken)
    found = ratchet("run")
    assert "planted" not in found.err
    assert "sk-abc" not in found.err


def test_a_reader_that_goes_away_gets_no_verdict(project: Path) -> None:
    command = f"{sys.executable} -m ratchet --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout == "4\n", "1 would say hold, and 0 ship"
    assert done.stderr == ""
