from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ratchet.simulated.answers import make_answer
from ratchet.simulated.faults import KINDS, STATUSES, parse_fault
from ratchet.simulated.profiles import make_profile, parse_profile

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_the_python_on_the_page_runs(block: str) -> None:
    exec(compile(block, "docs/simulate.md", "exec"), {})


def test_the_options_on_the_page_are_understood() -> None:
    commands = " ".join(blocks("console"))
    for spec in re.findall(r"--fault (\S+)", commands):
        parse_fault(spec)
    for settings in re.findall(r"--profile (\w+=\S+)", commands):
        parse_profile(settings)
    profiles: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    assert make_profile("slow", profiles["slow"]).rpm == 60
    assert make_answer(json.loads(blocks("json")[0])).difficulty == 0.3


def test_the_page_names_every_fault() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {*KINDS, *map(str, STATUSES)} <= named
