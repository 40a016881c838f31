from __future__ import annotations

import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ratchet import yaml12
from ratchet.demo import folders, tour

COLUMNS = ["id", "problem", "statement", "program", "labels", "difficulty", "stdin", "stdout"]
TELLS = r"(?i)\b(dry|srp|magic\w*|naming|duplicat\w*|refactor\w*|principles?|code smell|copy.?past\w*|hard.?coded)\b"


@pytest.fixture(scope="module")
def programs() -> list[dict[str, Any]]:
    return yaml12.load(folders.shipped("case")["programs.yaml"])


def test_there_are_enough_programs_over_enough_problems(programs: list[dict[str, Any]]) -> None:
    by_problem = Counter(row["problem"] for row in programs)
    assert len(programs) >= 240
    assert len(by_problem) >= 40
    assert min(by_problem.values()) >= 3


def test_every_row_has_every_column_and_known_labels(programs: list[dict[str, Any]]) -> None:
    for row in programs:
        assert list(row) == COLUMNS, row["id"]
        assert set(row["labels"]) <= set(tour.LABELS), row["id"]
        assert len(set(row["labels"])) == len(row["labels"]), row["id"]
        assert row["id"].startswith(row["problem"] + "-")
        assert 0 <= row["difficulty"] <= 1


def test_a_problem_has_one_statement(programs: list[dict[str, Any]]) -> None:
    statements = {(row["problem"], row["statement"]) for row in programs}
    assert len(statements) == len({problem for problem, _ in statements})


def test_no_program_stands_twice(programs: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in programs}) == len(programs)
    assert len({" ".join(row["program"].split()) for row in programs}) == len(programs)


def test_labels_are_balanced_and_come_alone_and_together(programs: list[dict[str, Any]]) -> None:
    count = len(programs)
    for label in tour.LABELS:
        assert 0.25 <= sum(label in row["labels"] for row in programs) / count <= 0.4, label
        assert sum(row["labels"] == [label] for row in programs) >= 20, label
    assert 0.15 <= sum(not row["labels"] for row in programs) / count <= 0.3
    assert sum(len(row["labels"]) > 1 for row in programs) / count >= 0.25


def test_neither_a_programs_text_nor_its_number_tells_its_labels(programs: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in programs if re.search(TELLS, row["program"])] == []
    by_number: dict[str, Counter[tuple[str, ...]]] = {}
    for row in programs:
        by_number.setdefault(row["id"].rsplit("-")[-1], Counter())[tuple(sorted(row["labels"]))] += 1
    for number, found in by_number.items():
        assert max(found.values()) <= 0.5 * found.total(), number


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_program_compiles_without_a_warning_and_prints_what_is_recorded(
    programs: list[dict[str, Any]], gcc: str, tmp_path: Path
) -> None:
    def problem_of(row: dict[str, Any]) -> str | None:
        source, binary = tmp_path / f"{row['id']}.c", tmp_path / row["id"]
        source.write_text(row["program"])
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-o", str(binary), str(source), "-lm"]
        built = subprocess.run([gcc, *flags], capture_output=True, text=True, timeout=30, check=False)
        if built.returncode:
            return f"{row['id']}: {built.stderr[:300]}"
        done = subprocess.run(
            [binary], input=row["stdin"], capture_output=True, text=True, timeout=5, check=False
        )
        if done.stdout != row["stdout"]:
            return f"{row['id']}: printed {done.stdout[:200]!r}, recorded is {row['stdout'][:200]!r}"
        return None

    with ThreadPoolExecutor(2) as pool:
        assert [found for found in pool.map(problem_of, programs) if found] == []
