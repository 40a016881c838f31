"""`ratchet run --config-path`: runs of two arms end in a verdict, and too few rows are said and refuse nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ratchet.simulated.server import SimulatedServer

from .conftest import Ratchet

PROMPTS = "- name: classify\n  system: {value: 'Pick a label.'}\n  user: {value: 'Ticket: {ticket}'}\n"


def config(model: str, **changes: Any) -> dict[str, Any]:
    return {
        "project": "bank",
        "task_config": {"name": "tickets"},
        "client_config": {"name": "openai", "type": "research", "model_name": model, "model_options": {}},
        "prompt_config": {"name": "classify", "path": "prompts.yaml", "version": "1"},
        "evaluator_config": {"metrics": [{"type": "accuracy", "aspect": "classification"}, {"type": "cost"}]},
        "dataset_config": {"data_path": "data.csv", "label_col": "category"},
        "controller_config": {"parallelism": 4, "use_streaming": False, "save_path": "out"},
        **changes,
    }


@pytest.fixture
def configs(project: Path, server: SimulatedServer) -> list[str]:
    (project / "prompts.yaml").write_text(PROMPTS)
    rows = "".join(f"{i},ticket {i},card\n" for i in range(40))
    (project / "data.csv").write_text(f",ticket,category\n{rows}")
    given: list[str] = []
    for name in ("instant", "instant-2"):
        (project / f"{name}.json").write_text(json.dumps(config(name)))
        given += ["--config-path", f"{name}.json"]
    return given


def test_two_configurations_end_in_a_verdict_that_informs(ratchet: Ratchet, configs: list[str]) -> None:
    found = ratchet("run", *configs, "-o", "verdict.json")
    said = " ".join(found.out.split())
    assert found.code == 0, found.err
    assert "openai-instant-2" in said
    assert "anytime" not in said
    assert "Note: a pass rate: 40 examples can't see a drop under" in found.err
    assert "verdict.json written" in found.err
    verdicts = ratchet("run", *configs, "--json").json["verdicts"]
    assert [verdict["inputs"]["candidate"] for verdict in verdicts] == ["openai-instant-2"]
    assert verdicts[0]["inputs"]["checks"] == "default"


def test_one_configuration_has_no_verdict(ratchet: Ratchet, configs: list[str]) -> None:
    found = ratchet("run", *configs[:2], "--json")
    assert found.code == 0
    assert "verdicts" not in found.json


def test_a_configuration_that_only_infers_has_no_verdict(
    ratchet: Ratchet, configs: list[str], project: Path
) -> None:
    for name in ("instant", "instant-2"):
        (project / f"{name}.json").write_text(json.dumps(config(name, inference_only=True)))
    assert "verdicts" not in ratchet("run", *configs, "--json").json
