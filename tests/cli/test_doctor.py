from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.simulated.server import SimulatedServer

from .conftest import Ratchet


def findings(found: Any) -> dict[tuple[str, str], tuple[str, str]]:
    return {(one["topic"], one["name"]): (one["state"], one["message"]) for one in found.json}


def test_a_project_that_has_all_it_needs_exits_with_0(ratchet: Ratchet, laid: Path) -> None:
    found = ratchet("doctor", "--json")
    assert found.code == 0
    said = findings(found)
    assert said["key", "champion"] == ("ok", "none needed")
    assert said["variant", "rules"] == ("ok", "function own_rules:reply")
    assert said["endpoint", "champion"][0] == "ok"
    assert said["price", "champion"][1].startswith("$1 in, $2 out per million tokens")


def test_a_missing_key_and_a_dead_endpoint_exit_with_4(
    ratchet: Ratchet, laid: Path, server: SimulatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    found = ratchet("doctor", "--json")
    assert found.code == 4
    assert findings(found)["endpoint", "champion"][0] == "missing"
    assert ratchet("doctor", "--offline").code == 0
    monkeypatch.delenv("OPENAI_BASE_URL")
    found = ratchet("doctor", "--offline", "--json")
    assert found.code == 4
    assert findings(found)["key", "champion"] == ("missing", "set OPENAI_API_KEY")


def test_a_key_is_said_to_be_set_and_never_shown(
    ratchet: Ratchet, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key-0123456789")
    found = ratchet("doctor", "--offline")
    assert "planted" not in found.out + found.err


def test_a_function_that_is_not_there_is_missing(ratchet: Ratchet, laid: Path) -> None:
    (laid / "own_rules.py").write_text("")
    found = ratchet("doctor", "--offline", "--json")
    assert found.code == 4
    assert findings(found)["variant", "rules"][0] == "missing"


def test_without_a_project_the_machine_is_looked_at(ratchet: Ratchet) -> None:
    found = ratchet("doctor")
    assert found.code == 0
    assert "No ratchet.yaml here or above" in found.out


def test_a_store_that_can_not_be_opened_is_missing(ratchet: Ratchet, laid: Path) -> None:
    (laid / "not-a-store.db").write_text("hello " * 1000)
    found = ratchet("doctor", "--offline", "--store", "not-a-store.db", "--json")
    assert found.code == 4
    assert findings(found)["store", "not-a-store.db"][0] == "missing"
