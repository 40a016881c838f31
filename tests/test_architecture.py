"""The shape of the source: layers, sizes, and what stands nowhere in it."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ratchet"
MODULES = sorted(SOURCE.rglob("*.py"))
WRITTEN = [
    path for folder in ("src", "tests", "docs", "bench") for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".toml", ".yaml", ".js", ".css", ".html") and path != Path(__file__)
]  # fmt: skip
MOST_LINES = 600
MOST_LINES_A_FUNCTION = 100
MOST_PARAMETERS = 8


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node for node in ast.walk(parsed(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def test_modules_import_only_what_stands_below_them() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_too_long_to_read() -> None:
    sizes = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


def test_no_function_is_too_long_to_read() -> None:
    sizes = {
        f"{named(path)}:{f.name}": (f.end_lineno or 0) - f.lineno + 1
        for path in MODULES
        for f in functions(path)
    }
    assert {name: size for name, size in sizes.items() if size > MOST_LINES_A_FUNCTION} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        named(path) for path in MODULES if path.name != "__main__.py" and not ast.get_docstring(parsed(path))
    ]
    assert [name for name in silent if (ROOT / name).stat().st_size] == []


def test_nothing_swallows_an_error() -> None:
    swallowing = [
        f"{named(path)}:{node.lineno}" for path in MODULES for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None
            or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException") and isinstance(node.body[0], ast.Pass))
        )
    ]  # fmt: skip
    assert swallowing == []


def test_nothing_prints_but_the_command_line() -> None:
    printing = [
        f"{named(path)}:{node.lineno}" for path in MODULES if "cli" not in path.parts and "simulated" not in path.parts
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]  # fmt: skip
    assert printing == []


def test_no_module_does_anything_when_it_is_imported() -> None:
    """Beyond definitions, constants and imports: nothing is called for its effect."""
    doing = [
        f"{named(path)}:{node.lineno}" for path in MODULES if path.name != "__main__.py" for node in parsed(path).body
        if isinstance(node, (ast.While, ast.With)) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    ]  # fmt: skip
    assert doing == []


@pytest.mark.parametrize("banned", [r"import scipy\.stats", r"from scipy import stats", r"from scipy\.stats", r"asyncio\.get_event_loop\(", r"datetime\.utcnow", r"\beval\(", r"\bos\.system\(", r"shell=True", r"pickle\.loads?\("])  # fmt: skip
def test_what_is_banned_stands_nowhere_in_the_source(banned: str) -> None:
    assert [named(path) for path in MODULES if re.search(banned, path.read_text(encoding="utf-8"))] == []


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of anybody's machine, in code, tests or docs."""
    private = re.compile(r"(?<![\w.])/(?:work|home/\w+|root|Users/\w+)/\w")
    assert [named(path) for path in WRITTEN if private.search(path.read_text(encoding="utf-8"))] == []


def test_every_module_of_the_source_stands_in_a_layer() -> None:
    import tomllib

    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layered = set(re.findall(r"ratchet\.(\w+)", " ".join(contract["layers"])))
    there = {
        path.stem if path.is_file() else path.name
        for path in SOURCE.iterdir()
        if not path.name.startswith("_")
    }
    there = {
        name for name in there if (SOURCE / f"{name}.py").exists() or (SOURCE / name / "__init__.py").exists()
    }
    assert there - layered == set()
