from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ratchet import plugins
from ratchet.errors import ConfigError, UnknownNameError
from ratchet.records import Scorer


@pytest.mark.parametrize("name", sorted(plugins.PROVIDERS))
def test_every_provider_named_is_there(name: str) -> None:
    assert callable(plugins.provider(name))


@pytest.mark.parametrize("name", sorted(plugins.SCORERS))
def test_every_scorer_named_is_there_under_its_own_name(name: str) -> None:
    found = plugins.scorer(name)
    assert isinstance(found, Scorer)
    assert found.name == name


def test_every_store_named_is_there() -> None:
    assert all(callable(plugins.store(name)) for name in plugins.STORES)


def test_an_unknown_name_says_what_is_known_and_how_to_bring_ones_own() -> None:
    with pytest.raises(UnknownNameError) as caught:
        plugins.scorer("exct_match")
    assert "Did you mean 'exact_match'?" in str(caught.value)
    assert "Your own: pkg.module:function" in str(caught.value)
    with pytest.raises(UnknownNameError, match="Did you mean 'anthropic'"):
        plugins.provider("antropic")


def test_a_name_of_a_module_is_found_in_the_project_and_dots_reach_into_it(project: Path) -> None:
    (project / "own_things.py").write_text(
        "class Judge:\n    @staticmethod\n    def score(trace):\n        return 1\n"
    )
    assert plugins.load("own_things:Judge.score")(None) == 1
    assert plugins.scorer("own_things:Judge").__name__ == "Judge"


def test_a_file_is_loaded_even_if_its_name_is_taken(project: Path) -> None:
    for folder in ("one", "two"):
        (project / folder).mkdir()
        (project / folder / "reply.py").write_text(f"def f(): return {folder!r}\n")
    (project / "random.py").write_text("def f(): return 'mine'\n")
    (project / "sys.py").write_text("def f(): return 'mine too'\n")
    assert plugins.load("one/reply.py:f")() == "one"
    assert plugins.load("two/reply.py:f")() == "two"
    assert plugins.load("two/reply.py:f") is plugins.load("two/reply.py:f")
    assert plugins.load("random.py:f")() == "mine"
    assert plugins.load("sys.py:f")() == "mine too"


@pytest.mark.parametrize("target", ["", "x", ":f", "module:", "exact_match"])
def test_a_target_of_another_form_is_refused(project: Path, target: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form 'pkg"):
        plugins.load(target)


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        (
            None,
            "no_such_module_a:f",
            "there is no module 'no_such_module_a' (wanted for 'no_such_module_a:f')",
        ),
        (None, "no/such.py:f", "there is no file "),
        (
            "import no_such_module_b",
            "broken_b:f",
            "importing 'broken_b' failed: No module named 'no_such_module_b'",
        ),
        ("import broke", "broken_c:f", "importing 'broken_c' failed: No module named 'broke'"),
        ("1 / 0", "broken_d:f", "importing 'broken_d' failed: ZeroDivisionError: division by zero"),
        ("def f(:", "broken_e:f", "importing 'broken_e' failed: SyntaxError"),
        ("raise SystemExit(0)", "broken_f:f", "importing 'broken_f' failed: SystemExit"),
        ("1 / 0", "broken_g.py:f", "failed: ZeroDivisionError"),
    ],
)
def test_what_can_not_be_imported_says_why(project: Path, code: str | None, target: str, said: str) -> None:
    if code is not None:
        (project / f"{target.partition(':')[0].removesuffix('.py')}.py").write_text(code)
    with pytest.raises(ConfigError) as caught:
        plugins.load(target)
    assert said in str(caught.value)


def test_a_name_that_is_not_in_the_module_names_what_is(project: Path) -> None:
    (project / "names_here.py").write_text("def reply(): ...\n_hidden = 1\n")
    with pytest.raises(UnknownNameError) as caught:
        plugins.load("names_here:replay")
    assert "Known: reply. Did you mean 'reply'?" in str(caught.value)


def test_a_factory_gets_what_it_declares() -> None:
    class Narrow:
        def __init__(self, *, endpoint: str) -> None:
            self.got = {"endpoint": endpoint}

    class Wide:
        def __init__(self, **got: str) -> None:
            self.got = got

    class Nothing:
        got: dict[str, str] = {}  # noqa: RUF012

    offered = {"endpoint": "e", "http": "h"}
    assert plugins.build(Narrow, **offered).got == {"endpoint": "e"}
    assert plugins.build(Wide, **offered).got == offered
    assert plugins.build(Nothing, **offered).got == {}


def test_an_installed_package_brings_a_provider_by_entry_point(project: Path) -> None:
    info = project / "ratchet_echo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ratchet-echo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ratchet.providers]\necho = echo_provider:Echo\n")
    (project / "echo_provider.py").write_text("class Echo: ...\n")
    code = "from ratchet import plugins; print(plugins.provider('echo').__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=True
    )
    assert done.stdout == "Echo\n"
