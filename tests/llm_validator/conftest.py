"""Older configs in a folder of their own, in either spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

Json = Any

PROMPTS = """\
- name: classify
  system: {value: "Pick $One of the labels, as {{\\"label\\": …}}."}
  user: {value: "Ticket: {ticket}"}
- name: other
  user: {value: "{nothing}"}
"""
DATA = """\
,ticket,category
10,my card is blocked,card
11,where is my parcel,parcel
12,money back please,refund
13,a question,other
"""


def article(**changes: Json) -> dict[str, Json]:
    """A config in the published article's spelling."""
    base: dict[str, Json] = {
        "project": "bank",
        "task_config": {"name": "tickets"},
        "client_config": {
            "name": "openai",
            "type": "research",
            "model_name": "gpt-4o-mini",
            "model_options": {"temperature": 0, "max_tokens": 64},
        },
        "prompt_config": {"name": "classify", "path": "prompts.yaml", "version": "1"},
        "evaluator_config": {"metrics": [{"type": "cost"}, {"type": "latency"}]},
        "dataset_config": {"data_path": "data.csv", "label_col": "category"},
        "controller_config": {"parallelism": 4, "use_streaming": False, "save_path": "out"},
    }
    return merged(base, changes)


def tool(**changes: Json) -> dict[str, Json]:
    """The same config in the tool's own spelling."""
    config = article()
    client = config["client_config"]
    config["client_config"] = {
        "client_name": client["name"],
        "client_type": "third_party_llm",
        "model_type": "chat",
        "model_name": client["model_name"],
        "model_base_url": "",
        "model_options": client["model_options"],
    }
    config["prompt_config"]["tenant"] = "default"
    return merged(config, changes)


def merged(base: dict[str, Json], changes: Mapping[str, Json]) -> dict[str, Json]:
    """The base with these keys changed, sections key by key; a key of None is taken out."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


class Folder:
    """A working directory with the files that a config names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("prompts.yaml", PROMPTS)
        self.write("data.csv", DATA)

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def config(self, value: Json, name: str = "config.json") -> Path:
        return self.write(name, json.dumps(value, indent=2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)
