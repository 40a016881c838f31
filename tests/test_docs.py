"""The pages are true: their code runs, their links lead somewhere, and what they repeat of the code is up to date.

A page is worked through from top to bottom in a folder of its own that holds `tests/data/docs` and a store with one
run; every vendor's base URL leads to a simulated server.

- ```python runs, in one namespace a page; "```python notest" does not.
- A block whose first line is a comment that names a file (`# prompts/support.yaml`) is written to that file.
- ```console: `$ ratchet …` runs and must exit with 0, or as a comment at its end says (`# exits 3`); `$ cd` is
  followed. Servers and other programs are not started, and the demo is cut short.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

import docs_help
from ratchet import checks, plugins, projects, yaml12
from ratchet.providers.presets import PRESETS
from ratchet.records import Limits, Price
from ratchet.simulated.server import serve_in_thread

ROOT = docs_help.ROOT
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name != "CHANGELOG.md"
)
FENCE = re.compile(r"^```(?P<language>\w*)(?P<flags>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FILE_NAMED = re.compile(r"\A#\s*(?P<path>[\w.-][\w./-]*\.\w+)\s*$", re.MULTILINE)
SERVERS = ("simulate", "serve", "view", "watch")
SHORTER = {"demo": ["--limit", "6"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    flags: str
    text: str
    line: int


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> Iterator[Block]:
    text = read(page)
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        yield Block(language=found["language"], flags=found["flags"], text=found["text"], line=line)


def prose(page: str) -> str:
    return FENCE.sub("", read(page))


# --- the code on the pages runs -----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def environment() -> Iterator[dict[str, str]]:
    """Variables that lead every vendor's wire to a simulated server."""
    with serve_in_thread(seed=1) as server:
        names = {name: re.sub(r"\W", "_", name.upper()) for name in PRESETS}
        wires = {
            "anthropic": "anthropic",
            "gemini": "gemini",
            "vertex": "gemini",
            "bedrock": "bedrock",
            "ollama": "ollama",
        }
        found = {
            f"{upper}_BASE_URL": server.base_url(wires.get(name, "openai")) for name, upper in names.items()
        }
        yield {
            name: url
            for name, url in found.items()
            if not name.startswith(("SIMULATED", "RECORDED", "FUNCTION"))
        }


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user's may look: a dataset, a prompt, and a store that holds one run."""
    folder = tmp_path_factory.mktemp("docs") / "page"
    shutil.copytree(ROOT / "tests" / "data" / "docs", folder)
    command = "run -d tickets.jsonl -m simulated/instant -p prompt.yaml --expected answer -s exact_match"
    status, output = ratchet(command.split(), folder, {})
    assert status == 0, output
    return folder


def ratchet(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ratchet", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def runnable(page: str) -> bool:
    languages = {block.language for block in blocks(page) if "notest" not in block.flags}
    return not languages.isdisjoint({"python", "console"})


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: str, prepared: Path, environment: dict[str, str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(prepared, project, dirs_exist_ok=True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = set(sys.modules)
    namespace: dict[str, Any] = {"__name__": "page"}
    try:
        for block in blocks(page):
            if "notest" in block.flags:
                continue
            if named := FILE_NAMED.match(block.text):
                write(Path(named["path"]), block.text)
            elif block.language == "python":
                code = "\n" * (block.line - 1) + block.text  # so that a traceback names the page's line
                exec(compile(code, str(ROOT / page), "exec"), namespace)
            elif block.language == "console":
                type_in(page, block, environment, monkeypatch)
    finally:
        for name in set(sys.modules) - before:  # a page's own modules are not another page's
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(project)):
                del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def type_in(page: str, block: Block, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The block's commands, typed one after the other."""
    text = block.text.replace("\\\n", " ")
    for command in re.findall(r"^\$ (.+)$", text, re.MULTILINE):
        expected = re.search(r"#\s*exits (\d)", command)
        program = command.split()[0]
        if program not in ("cd", "ratchet"):
            continue
        arguments = shlex.split(command, comments=True)[1:]
        if program == "cd":
            monkeypatch.chdir(Path.cwd() / arguments[0])
        if program == "cd" or arguments[0] in SERVERS:
            continue
        arguments += SHORTER.get(arguments[0], [])
        status, output = ratchet(arguments, Path.cwd(), environment)
        assert status == int(expected[1] if expected else 0), f"{page}:{block.line}: {command}\n{output}"


@pytest.mark.parametrize("page", PAGES)
def test_yaml_and_json_on_a_page_are_well_formed(page: str) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            yaml12.load(block.text.encode())
        if block.language == "json":
            orjson.loads(block.text)


# --- what the pages say of the project is true --------------------------------------------------------------


@pytest.mark.parametrize("page", docs_help.PARTS)
def test_what_a_page_repeats_of_the_code_is_up_to_date(page: str) -> None:
    assert read(page) == docs_help.renewed(page), "write it anew: .venv/bin/python -m tests.docs_help"


def test_the_tree_names_every_module_and_no_other() -> None:
    tree = read("docs/architecture.md").partition("```text\nsrc/ratchet/\n")[2].partition("```")[0]
    named: set[str] = set()
    package = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith("    "):
            package = name if name.endswith("/") else ""
            named.add(name if not package else f"{package}__init__.py")
        else:
            named.add(package + name + ("__init__.py" if name.endswith("/") else ""))
    assert named == {path.relative_to(docs_help.SOURCE).as_posix() for path in docs_help.modules()}


def test_every_module_has_a_layer_and_a_docstring() -> None:
    top = {path.stem if path.is_file() else path.name for path in docs_help.SOURCE.iterdir()}
    found = {name for name in top if not name.startswith("__") and name != "py.typed"}
    assert found <= set(docs_help.layered()), "name it in the layers of pyproject.toml"
    bare = [line for line in docs_help.tree().splitlines()[2:-1] if len(line.split()) < 2]
    assert not bare


SECTIONS = {
    "The file": projects.ProjectFile,
    "variants": projects.VariantSection,
    "price": Price,
    "limits": Limits,
    "tasks": projects.TaskSection,
    "dataset": projects.DatasetSection,
}


def table(heading: str) -> dict[str, str]:
    """By key, the default that the table under this heading of the configuration page says."""
    _, found, rest = read("docs/configuration.md").partition(f"\n## {heading}\n")
    assert found, f"docs/configuration.md has no section {heading!r}"
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", rest.partition("\n## ")[0], re.MULTILINE)
    return {key: default.strip("` ") for key, default in rows}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_of_ratchet_yaml_stands_in_the_reference_with_its_default(heading: str) -> None:
    said: dict[str, Any] = {}
    for key, default in table(heading).items():
        said[key] = (
            dataclasses.MISSING
            if default == "required"
            else yaml12.load(default.encode())
            if default
            else None
        )
    real: dict[str, Any] = {}
    for field in dataclasses.fields(SECTIONS[heading]):
        made = field.default_factory is not dataclasses.MISSING
        real[field.name] = None if made or field.default == "" else field.default
    assert said == real


def test_every_setting_of_a_check_stands_in_the_reference() -> None:
    assert set(table("checks")) == {*checks._KEYS, *checks.RULES}


def test_every_variable_of_the_environment_is_documented() -> None:
    code = "".join(path.read_text("utf-8") for path in docs_help.modules())
    variables = set(re.findall(r"\"(RATCHET_[A-Z_]+)\"", code)) - {"RATCHET_DEMO_KEY"}
    for preset in PRESETS.values():
        variables.update(preset.key_env, preset.url_env, *preset.option_env.values())
    text = read("docs/configuration.md") + read("docs/providers.md")
    assert sorted(name for name in variables if name not in text and not name.endswith("_API_KEY")) == []


def test_every_provider_and_scorer_is_documented() -> None:
    text = "".join(read(page) for page in PAGES if page.startswith("docs/") and page not in docs_help.PARTS)
    assert [
        name for name in (*plugins.PROVIDERS, *plugins.SCORERS) if not re.search(rf"\b{name}\b", text)
    ] == []


# --- links and paths ----------------------------------------------------------------------------------------


def anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in anchors(str(linked.resolve().relative_to(ROOT))), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_the_files_of_the_repository_that_a_page_names_exist(page: str) -> None:
    for path in re.findall(r"`((?:src|docs|tests|bench|\.ci)/[\w./-]+)`", prose(page)):
        assert (ROOT / path).exists(), f"{page} names {path}"


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_no_page_holds_a_path_of_one_machine(page: str) -> None:
    if not (ROOT / page).exists():
        pytest.skip("not written yet")
    folders = {ROOT, *ROOT.parents, Path.home(), Path(tempfile.gettempdir()), Path("/home"), Path("/Users")}
    for folder in folders - {Path("/")}:
        assert not re.search(rf"(?<![\w.~/-]){re.escape(str(folder))}/", read(page)), folder


def test_the_contents_name_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", read("docs/index.md")))
    listed = re.findall(r"\]\(([\w.-]+\.md)\)", read("docs/decisions/README.md"))
    linked.update(f"decisions/{page}" for page in listed)
    pages = {str(Path(page).relative_to("docs")) for page in PAGES if page.startswith("docs/")}
    assert pages - linked == {"index.md"}
