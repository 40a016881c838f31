from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ratchet.errors import ConfigError, StoreError, UnknownNameError
from ratchet.stores import open_store
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_trace


def test_a_path_opens_with_its_folders_and_keeps_them_out_of_git(tmp_path: Path) -> None:
    path = tmp_path / "project" / ".ratchet" / "ratchet.db"
    store = open_store(path)
    store.write([a_trace("t")])
    store.close()
    assert path.is_file()
    assert (path.parent / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "project" / ".gitignore").exists()


def test_a_folder_that_was_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".ratchet").mkdir()
    open_store(tmp_path / ".ratchet" / "ratchet.db").close()
    assert not (tmp_path / ".ratchet" / ".gitignore").exists()


def test_without_a_location_the_project_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store(None).close()
    assert (tmp_path / ".ratchet" / "ratchet.db").is_file()


def test_sqlite_urls_name_relative_and_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:///one.db").close()
    open_store(f"sqlite:///{tmp_path / 'sub' / 'two.db'}").close()
    assert (tmp_path / "one.db").is_file()
    assert (tmp_path / "sub" / "two.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/file.db"])
def test_a_sqlite_url_without_a_path_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="names no file"):
        open_store(url)


def test_postgresql_is_told_to_be_unavailable_without_showing_the_password() -> None:
    with pytest.raises(ConfigError, match=r"not available yet(.|\n)*sqlite:///") as caught:
        open_store("postgresql+psycopg://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="sqlite"):
        open_store("redis://:hunter2@host")


def test_reading_makes_neither_folder_nor_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / ".ratchet" / "ratchet.db", read_only=True)
    assert not (tmp_path / ".ratchet").exists()


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be made"):
        open_store(tmp_path / "file" / "ratchet.db")


def test_opened_stores_are_sqlite(tmp_path: Path) -> None:
    store = open_store(tmp_path / "ratchet.db")
    assert isinstance(store, SQLiteStore)
    store.close()


def test_naming_the_package_loads_no_driver() -> None:
    code = "import sys, ratchet.stores, ratchet.testing; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlite3", "pytest", "orjson"} & set(loaded)
