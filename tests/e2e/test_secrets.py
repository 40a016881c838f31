"""A key in the environment is written down nowhere, whatever happens."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ratchet.simulated.server import serve_in_thread

from .commands import lay, ratchet

# none looks like a vendor's key, so that only knowing them helps
PLANTED = {
    "OPENAI_API_KEY": "plantedopenai0123456789",
    "ANTHROPIC_API_KEY": "plantedanthropic0123456789",
    "GEMINI_API_KEY": "plantedgemini0123456789",
    "AWS_ACCESS_KEY_ID": "PLANTEDAWSID012345",
    "AWS_SECRET_ACCESS_KEY": "plantedawssecret/0123456789+abc",
    "AWS_SESSION_TOKEN": "plantedawssession0123456789",
    "VERTEX_ACCESS_TOKEN": "plantedvertex0123456789",
}
IN_FILE = {"TOGETHER_API_KEY": "plantedinfile0123456789"}
LIMITS = "limits: {retries: 1, total_s: 5}"
MODELS = {
    "openai": "openai/m", "responses": "openai-responses/m", "anthropic": "anthropic/m", "gemini": "gemini/m",
    "vertex": "vertex/m", "bedrock": "bedrock/m", "together": "together/m",
}  # fmt: skip
OPTIONS = {"vertex": "options: {project: p, location: l}, ", "bedrock": "options: {region: us-east-1}, "}
MODULE = """
import os

def tells(row):
    if "3" in row["question"]:
        raise RuntimeError(f"failed with {dict(os.environ)}")
    return "fine"

def judges(trace):
    raise RuntimeError(f"can't judge with {os.environ['ANTHROPIC_API_KEY']} and {os.environ['TOGETHER_API_KEY']}")
"""


@pytest.fixture
def folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    variants = ", ".join(
        f"{arm}{'-streaming' * stream}: {{model: {model}, prompt: 'Answer: {{question}}', {OPTIONS.get(arm, '')}{LIMITS}, stream: {str(stream).lower()}}}"
        for arm, model in MODELS.items()
        for stream in (False, True)
    )
    lay(
        project,
        4,
        variants=f"{variants}, own: {{target: 'telling:tells'}}",
        scorers="exact_match, 'telling:judges'",
    )
    (project / "telling.py").write_text(MODULE)
    (project / ".env").write_text("".join(f"{name}={value}\n" for name, value in IN_FILE.items()))
    return project


def urls(base: str | dict[str, str]) -> dict[str, str]:
    """Every vendor's base URL; one for all, or by wire."""
    names = {"OPENAI": "openai", "OPENAI_RESPONSES": "openai", "ANTHROPIC": "anthropic", "GEMINI": "gemini", "VERTEX": "vertex", "BEDROCK": "bedrock", "TOGETHER": "openai"}  # fmt: skip
    return {f"{name}_BASE_URL": base if isinstance(base, str) else base[wire] for name, wire in names.items()}


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All that was written in the folder, that of the store unpacked too."""
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == ".env":
            continue
        data = path.read_bytes()
        yield str(path), data
        if data[:2] == b"\x1f\x8b":
            yield f"{path} unpacked", gzip.decompress(data)
        if path.suffix == ".db":
            yield from _cells(path)


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(path)) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in db.execute(f"SELECT * FROM {table}"):
                for cell in row:
                    if not isinstance(cell, (bytes, str)):
                        continue
                    data = cell if isinstance(cell, bytes) else cell.encode()
                    yield f"{path} {table}", data
                    with suppress(zlib.error):
                        yield f"{path} {table} unpacked", zlib.decompress(data)


def found_in(folder: Path, *said: str) -> list[str]:
    """Where a planted key stands, and which."""
    texts = [*everything(folder), *((f"what was said ({i})", text.encode()) for i, text in enumerate(said))]
    return [
        f"{name} in {place}: …{data[max(0, data.find(value.encode()) - 80) : data.find(value.encode()) + 60]!r}"
        for place, data in texts
        for name, value in {**PLANTED, **IN_FILE}.items()
        if value.encode() in data or json.dumps(value).strip('"').encode() in data
    ]


FEW = (
    ("doctor", "--json"),
    ("run", "--json", "-o", "answers.csv"),
    ("show", "--json", "--worst", "99"),
    ("export", "-o", "answers.jsonl"),
)
ALL = (
    ("doctor",), ("run", "--dry-run"), *FEW, ("run", "-v", "own", "--no-cache"), ("score",), ("list", "--json"),
    ("export", "-o", "summary.md"),
)  # fmt: skip


def tried(
    folder: Path, base: str | dict[str, str], commands: Sequence[tuple[str, ...]], **more: str
) -> list[str]:
    """Everything said by these commands."""
    environment = {**urls(base), **more}
    said: list[str] = []
    for args in commands:
        done = ratchet(folder, *args, **environment)
        assert done.returncode in (0, 4), done.stderr
        assert "Traceback" not in done.stderr or more
        said += [done.stdout, done.stderr]
    return said


def test_a_good_run_writes_no_key_anywhere(folder: Path) -> None:
    with serve_in_thread(log=folder / "requests.jsonl") as server:
        base = {
            wire: server.base_url(wire) for wire in ("openai", "anthropic", "gemini", "vertex", "bedrock")
        }
        said = tried(folder, base, FEW)
    exported = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert exported
    assert "\n".join(found_in(folder, *said)) == ""


class Echo(BaseHTTPRequestHandler):
    """Refuses every request and says back, in the body and in the answer's headers, all that it was sent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        sent = {name: value for name, value in self.headers.items()}
        message = f"{dict(sent)} is not allowed here, {sent.get('Authorization')}"
        if self.server.nested:  # type: ignore[attr-defined]
            body = json.dumps(
                {"error": {"message": message, "type": sent, "code": message, "status": message}}
            )
        else:
            body = message
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        for name, value in sent.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        key = sent.get("Authorization") or sent.get("x-api-key") or sent.get("x-goog-api-key") or ""
        for name in (
            "x-request-id",
            "request-id",
            "x-amzn-requestid",
            "location",
            "x-amzn-errortype",
            "retry-after",
        ):
            self.send_header(name, key)
        self.send_header("content-type", "application/json" if self.server.nested else "text/plain")  # type: ignore[attr-defined]
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def echoing(status: int, nested: bool) -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.status, server.nested = status, nested  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("status", [200, 307, 400, 401, 429, 500])
def test_a_server_that_says_the_key_back_does_not_get_it_written_down(
    folder: Path, status: int, nested: bool
) -> None:
    with echoing(status, nested) as url:
        done = ratchet(folder, "run", "--json", **urls(url))
        assert done.returncode == 4, done.stderr
        shown = ratchet(folder, "show", "--worst", "99")
        ratchet(folder, "export", "-o", "answers.jsonl")
    assert "\n".join(found_in(folder, done.stdout, done.stderr, shown.stdout)) == ""


@pytest.mark.slow
def test_a_refused_login_whose_error_says_the_key_back_does_not_get_it_written_down(folder: Path) -> None:
    with echoing(401, nested=True) as url:
        done = ratchet(folder, "run", "--json", **urls(url))
    assert done.returncode == 4, done.stderr
    assert "\n".join(found_in(folder, done.stdout, done.stderr)) == ""


@pytest.mark.slow
def test_with_debugging_on_no_connection_and_a_broken_project_say_no_key(folder: Path) -> None:
    debug = {"RATCHET_DEBUG": "1", "PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    said = tried(folder, "http://127.0.0.1:9", ALL, **debug)
    (folder / "telling.py").write_text("import os\nraise ValueError(str(os.environ))\n")
    done = ratchet(folder, "run", "-v", "own", **debug)
    assert done.returncode == 2
    assert "telling" in done.stderr
    assert "\n".join(found_in(folder, *said, done.stdout, done.stderr)) == ""
