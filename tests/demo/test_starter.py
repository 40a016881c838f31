from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ratchet import codec, projects, stores
from ratchet.cli.init import init
from ratchet.cli.run import run
from ratchet.errors import ConfigError


def test_init_lays_a_project_that_runs_without_a_key(project: Path) -> None:
    laid = CliRunner().invoke(init, [])
    assert laid.exit_code == 0, laid.output
    planned = CliRunner().invoke(run, ["--dry-run", "--json"], standalone_mode=False, catch_exceptions=False)
    assert codec.parse(planned.stdout)["calls"] == 12 * 2 * 2
    done = CliRunner().invoke(run, [], standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0, done.output
    store = stores.open_store(projects.load(project / "ratchet.yaml").store)
    try:
        found = list(store.scores(store.runs()[0].id))
    finally:
        store.close()
    assert {score.name for score in found} == {"classification", "is_one_word"}
    assert all(score.value is not None for score in found)


def test_its_ratchet_yaml_fits_the_schema_laid_beside_it(project: Path) -> None:
    import jsonschema

    from ratchet import yaml12

    CliRunner().invoke(init, [])
    text = (project / "ratchet.yaml").read_text()
    schema_name = text.splitlines()[0].partition("$schema=")[2]
    jsonschema.validate(yaml12.load(text), codec.parse((project / schema_name).read_text()))


def test_init_in_a_folder_with_a_project_writes_nothing(project: Path) -> None:
    (project / "ratchet.yaml").write_text("project: mine\n")
    with pytest.raises(ConfigError, match=r"ratchet\.yaml.*Nothing was written"):
        CliRunner().invoke(init, [], catch_exceptions=False)
    assert [path.name for path in project.iterdir()] == ["ratchet.yaml"]


def test_init_keeps_the_gitignore_a_repository_has(project: Path) -> None:
    (project / ".gitignore").write_text("*.o\n")
    laid = CliRunner().invoke(init, [])
    assert laid.exit_code == 0
    assert (project / ".gitignore").read_text() == "*.o\n"
    assert "kept" in laid.output
    assert (project / "ratchet.yaml").exists()


def test_init_makes_the_folder_it_is_given(project: Path) -> None:
    CliRunner().invoke(init, ["deep/folder"])
    assert (project / "deep" / "folder" / ".env.example").is_file()
    assert not any(line for line in (project / "deep/folder/.env.example").read_text().splitlines()
                   if "=" in line and not line.endswith("="))  # fmt: skip
