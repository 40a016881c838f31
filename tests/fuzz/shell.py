"""The command line many times over in one process that may be killed: its limits hold for whatever it is given.

As a program, it reads `{"folder": …, "args": […]}` lines from standard input and answers each with a line of JSON.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

LONGEST_S = 2.0
KILLED_AFTER_S = 10.0
MEMORY_BYTES = 4 * 2**30
"""Address space; what threads and libraries reserve without using counts too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    code: int | None
    """None: it took longer than it may, or the process died."""
    out: str = ""
    err: str = ""
    took_s: float = 0.0
    """Processor time: the machine may be busy."""
    grown_bytes: int = 0
    """By how much the process's peak memory rose."""


class Shell:
    """Runs `ratchet` with these arguments in this folder, over and over; use it as a context manager."""

    def __init__(self, **environment: str) -> None:
        self._environment = {**os.environ, **environment}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, folder: Path, *args: str) -> Result:
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"folder": str(folder), "args": args}).encode() + b"\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], KILLED_AFTER_S)
        line = child.stdout.readline() if ready else b""
        if line:
            return Result(**json.loads(line))
        stderr = self._end()
        return Result(code=None, err=stderr)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, __file__],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self.run(Path.cwd(), "--version")  # else the first is charged for what is imported
        return self._child

    def _end(self) -> str:
        child, self._child = self._child, None
        if child is None:
            return ""
        child.kill()
        return child.communicate()[1].decode("utf-8", "replace")


def _serve() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    sys.path.append(os.environ["FUZZ_MODULES"])
    for line in sys.stdin:
        asked = json.loads(line)
        faulthandler.dump_traceback_later(KILLED_AFTER_S * 0.8)  # says where it hangs, before it is killed
        found = _once(asked["folder"], asked["args"])
        faulthandler.cancel_dump_traceback_later()
        answers.write(json.dumps(found) + "\n")
        answers.flush()


def _once(folder: str, args: list[str]) -> dict[str, Any]:
    from ratchet.cli import main

    environment, path = dict(os.environ), list(sys.path)
    os.chdir(folder)
    sys.argv = ["ratchet", *args]
    # as a real one: what can't be encoded must not end the command
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict") for _ in range(2))
    before = _peak_bytes()
    started = time.process_time()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code
        except BaseException as error:  # what would be a traceback
            code = 99
            err.write(f"Traceback: {type(error).__name__}: {error!a}")
    took_s = time.process_time() - started
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    texts = {}
    for name, stream in (("out", out), ("err", err)):
        stream.flush()
        texts[name] = stream.buffer.getvalue().decode()  # type: ignore[attr-defined]
    return {"code": code, "took_s": took_s, "grown_bytes": _peak_bytes() - before, **texts}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    _serve()
