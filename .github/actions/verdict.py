"""Runs the task at the base against the head; writes the reports, the job summary and the step's outputs.

Reads TASK, BASE, TREE, VARIANT, CONFIG_FILE, INCONCLUSIVE, STORE_CACHE and EXTRA_ARGS from the environment, so that no
input is ever read by a shell. Exits with 0; the action's last step exits with what the verdict says.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

EXITS = {0: "ship", 1: "hold", 2: "failed", 3: "inconclusive", 4: "failed"}
RATCHET = (sys.executable, "-m", "ratchet")


def main(environ: Mapping[str, str]) -> None:
    report = Path(tempfile.mkdtemp(prefix="ratchet-", dir=environ.get("RUNNER_TEMP")))
    tree = Path(environ["TREE"])
    place = ["--file", environ["CONFIG_FILE"], *_store(environ)]
    try:
        command = _run_command(environ, report, place)
    except ValueError as error:
        _annotate("error", f"extra-args can't be read: {error}")
        sys.exit(2)
    done = _call(tree, command)
    code, outcome, sentence = done.returncode, EXITS.get(done.returncode, "failed"), ""
    written = report / "verdict.json"
    if written.exists():
        found = json.loads(written.read_text("utf-8"))
        sentence = found["sentence"]
        outcome = found["verdict"]["outcome"]
        outputs = [
            f"--output={report / name}" for name in ("verdict.md", "verdict.html", "verdict.junit.xml")
        ]
        _call(tree, [
            *RATCHET, "compare", found["verdict"]["run_ids"][0], *place, *outputs,
            f"--evidence={report / 'evidence.json.gz'}", f"--inconclusive={environ['INCONCLUSIVE']}",
        ])  # fmt: skip
    elif code == 0:
        outcome = "same"
    page = _page(report, outcome, done.stderr, environ)
    (report / "comment.md").write_text(page, "utf-8")
    with Path(environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(page)
    with Path(environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
        outputs.write(f"outcome={outcome}\nexit-code={code}\nreport={report}\n")
    if code:
        _annotate("error", sentence or _last_words(done.stderr) or f"ratchet exited with {code}")


def _run_command(environ: Mapping[str, str], report: Path, place: Sequence[str]) -> list[str]:
    command = [*RATCHET, "run", *place, f"--against={environ['BASE']}", f"--inconclusive={environ['INCONCLUSIVE']}"]  # fmt: skip
    command += [f"--output={report / 'verdict.json'}"]
    if environ.get("VARIANT"):
        command.append(f"--variant={environ['VARIANT']}")
    command += shlex.split(environ.get("EXTRA_ARGS", ""))
    # what follows `--` is never an option
    return [*command, "--", environ["TASK"]] if environ.get("TASK") else command


def _store(environ: Mapping[str, str]) -> list[str]:
    folder = environ.get("STORE_CACHE", "")
    return [f"--store={Path.cwd() / folder / 'ratchet.db'}"] if folder else []


def _call(tree: Path, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run it; what it says goes to the log too."""
    done = subprocess.run(
        command, cwd=tree, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    # a dataset or a model may say `::set-output::`: the runner must not take it for a command
    token = f"ratchet-{os.urandom(12).hex()}"
    sys.stdout.write(f"::stop-commands::{token}\n{done.stdout}{done.stderr}\n::{token}::\n")
    sys.stdout.flush()
    return done


def _page(report: Path, outcome: str, said: str, environ: Mapping[str, str]) -> str:
    """The comment: its hidden marker, the verdict, what the reader should know."""
    task = environ.get("TASK", "")
    parts = [marker(task, environ.get("CONFIG_FILE", "")), f"### Ratchet{f': {_code(task)}' if task else ''}"]
    verdict = report / "verdict.md"
    if verdict.exists():
        parts.append(verdict.read_text("utf-8").rstrip())
    elif outcome == "same":
        parts.append("Nothing that ships has changed, so nothing was run.")
    else:
        words = "\n".join(line for line in said.splitlines() if not line.startswith("Note: "))[-2_000:]
        parts.append(f"> [!CAUTION]\n> **No verdict**: the run failed.\n\n{_fence(words)}")
    notes = [line for line in said.splitlines() if line.startswith("Note: ")]
    if notes:
        parts.append(_fence("\n".join(notes)[:4_000]))
    parts.append(f"<sub>against {_code(environ['BASE'][:12])}</sub>")
    return "\n\n".join(parts) + "\n"


def marker(task: str, file: str) -> str:
    """`<!-- ratchet:TASK -->`; with the project's file where it is not the usual one."""
    name = task if file in ("", "ratchet.yaml") else f"{file}:{task}"
    return f"<!-- ratchet:{re.sub(r'[^0-9A-Za-z_.:/]+', '-', name)} -->"


def _code(text: str) -> str:
    return "`" + re.sub(r"[`\s]+", " ", text) + "`"


def _fence(text: str) -> str:
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall("`+", text))]))
    return f"{fence}text\n{text}\n{fence}"


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("Note: ")]
    return lines[0] if lines else ""


def _annotate(kind: str, message: str) -> None:
    text = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    sys.stdout.write(f"::{kind} title=Ratchet::{text}\n")


if __name__ == "__main__":
    main(os.environ)
