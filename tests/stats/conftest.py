from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def recorded() -> Callable[[str], Path]:
    """The path of a recorded file; skips where the folder is not beside the checkout."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"recorded data are not here: {path}")
        return path

    return find


@pytest.fixture
def table(recorded: Callable[[str], Path]) -> Callable[[str], list[dict[str, str]]]:
    def read(name: str) -> list[dict[str, str]]:
        with recorded(name).open(newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture
def cruxeval(recorded: Callable[[str], Path]) -> NDArray[np.float64]:
    """800 problems x 10 samples, 1 where the sample was correct."""
    lines = recorded("cruxeval_codellama7b_input.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["correct"] for line in lines], dtype=np.float64)


@pytest.fixture
def bbh(recorded: Callable[[str], Path]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """865 questions: answer-only correct, chain-of-thought correct, task."""
    rows = [json.loads(line) for line in recorded("bbh_codex_4tasks.jsonl").read_text().splitlines()]
    direct = [float(row["direct"] == row["target"]) for row in rows]
    answers = [row["cot_tail"].rpartition("the answer is ")[2].strip().removesuffix(".") for row in rows]
    cot = [float(answer == row["target"]) for answer, row in zip(answers, rows, strict=True)]
    return np.array(direct), np.array(cot), [row["task"] for row in rows]
