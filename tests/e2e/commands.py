"""Small projects, and the `ratchet` command run on them as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ratchet.ports import TraceRow
from ratchet.stores.sqlite import SQLiteStore

LONGEST_S = 60
VARIANT = "{model: openai/instant, prompt: 'Answer: {question}', params: {max_tokens: 20}, limits: {retries: 2, total_s: 10}}"


def lay(
    folder: Path, rows: int = 20, *, variants: str = f"a: {VARIANT}", scorers: str = "exact_match"
) -> Path:
    """A project with one task, `questions`, of so many rows."""
    examples = (
        {"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": str(i)} for i in range(rows)
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
    (folder / "ratchet.yaml").write_text(
        f"variants: {{{variants}}}\ntasks:\n  questions: {{dataset: rows.jsonl, scorers: [{scorers}]}}\n"
    )
    return folder


def start(folder: Path, *args: str, **environment: str) -> subprocess.Popen[str]:
    """`ratchet` with these arguments, under way."""
    command = [sys.executable, "-m", "ratchet", *args]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What it said, once it has ended by itself; it is killed and the test fails where it doesn't."""
    try:
        out, err = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"did not end in {LONGEST_S} s\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ratchet(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`ratchet` with these arguments, to its end."""
    return end(start(folder, *args, **environment))


def kept(folder: Path) -> list[TraceRow]:
    """The answers in the project's store, which is sound."""
    with SQLiteStore(folder / ".ratchet" / "ratchet.db", read_only=True) as store:
        assert store.check() == []
        return [row for run in store.runs() for row in store.rows(run.id) if row.arm is not None]


def once(rows: list[TraceRow]) -> bool:
    """Whether no answer is there twice."""
    counts = Counter((row.run_id, row.arm, row.example_id, row.repeat) for row in rows)
    return set(counts.values()) <= {1}


def summary(done: subprocess.CompletedProcess[str]) -> Any:
    """What `--json` printed."""
    return json.loads(done.stdout)
