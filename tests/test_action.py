"""The GitHub Action: its steps are run by bash as the runner would, against a local stand-in for GitHub's API.

GitHub itself is not here: `uses:` steps, the runner's own reading of workflow commands and real tokens are untried.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ratchet import yaml12
from test_against import PROJECT, git, lay

ROOT = Path(__file__).parents[1]
TOKEN = "ghs_not-for-any-log"


@dataclass
class GitHub:
    """Comments of one pull request, behind the three calls that are needed."""

    comments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    readable_only: bool = False
    url: str = ""

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        self.calls.append((method, path))
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        parts = urlsplit(path)
        if method == "GET" and parts.path == "/repos/acme/support/issues/7/comments":
            asked = parse_qs(parts.query)
            size, page = int(asked["per_page"][0]), int(asked["page"][0])
            return 200, self.comments[size * (page - 1) : size * page]
        if self.readable_only:
            return 403, {"message": "Resource not accessible by integration"}
        if method == "POST" and parts.path == "/repos/acme/support/issues/7/comments":
            self.add("github-actions[bot]", body["body"])
            return 201, self.comments[-1]
        found = re.fullmatch(r"/repos/acme/support/issues/comments/(\d+)", parts.path)
        if method == "PATCH" and found:
            comment = next(c for c in self.comments if c["id"] == int(found.group(1)))
            comment["body"] = body["body"]
            return 200, comment
        return 404, {"message": "Not Found"}

    def add(self, login: str, body: str) -> None:
        self.comments.append({"id": 1000 + len(self.comments), "user": {"login": login}, "body": body})


@pytest.fixture
def github() -> Iterator[GitHub]:
    hub = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = hub.answer(
                self.command, self.path, self.headers.get("Authorization", ""), json.loads(body or b"null")
            )
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = handle_one

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def action() -> dict[str, Any]:
    return yaml12.load((ROOT / "action.yml").read_bytes())


def value_of(expression: str, context: Mapping[str, Any]) -> Any:
    """What GitHub would make of this expression: names with dots, texts, ||, && and ==."""
    for sign in ("||", "&&"):
        left, found, right = expression.partition(sign)
        if found:
            value = value_of(left, context)
            return (
                (value or value_of(right, context)) if sign == "||" else (value and value_of(right, context))
            )
    for sign in ("==", "!="):
        left, found, right = expression.partition(sign)
        if found:
            return (value_of(left, context) == value_of(right, context)) == (sign == "==")
    text = expression.strip()
    if text.startswith("'"):
        return text[1:-1]
    value: Any = context
    for name in text.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else value


def filled(text: str, context: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(value_of(found.group(1), context)), text)


@dataclass
class Done:
    code: int
    log: str
    outputs: dict[str, str]
    summary: str


@dataclass
class Runner:
    """Runs the composite action's steps in a checkout, as far as they are bash."""

    checkout: Path
    temp: Path
    github: GitHub
    number: int | None = 7

    def __call__(self, **inputs: str) -> Done:
        found = action()
        pull = {"number": self.number, "base": {"sha": git(self.checkout, "rev-parse", "HEAD")}}
        hub = {"token": TOKEN, "event": {"pull_request": pull}, "run_id": "1", "run_attempt": "1"}
        context: dict[str, Any] = {"github": hub, "steps": {}}
        defaults = {name: filled(entry["default"], context) for name, entry in found["inputs"].items()}
        context["inputs"] = {**defaults, "python-version": "", "install": "", **inputs}
        summary, log, code = self.temp / "summary.md", "", 0
        summary.write_text("")
        for step in found["runs"]["steps"]:
            if "if" in step and not value_of(step["if"], context):
                continue
            assert "uses" not in step, "a step of another action can't run here"
            done, outputs = self._step(step, context, summary)
            context["steps"][step.get("id", "")] = {"outputs": outputs}
            log += done.stdout + done.stderr
            code = done.returncode
            if code:
                break
        names = {name: filled(entry["value"], context) for name, entry in found["outputs"].items()}
        assert TOKEN not in log + summary.read_text()
        return Done(code, log, names, summary.read_text())

    def _step(
        self, step: Mapping[str, Any], context: Mapping[str, Any], summary: Path
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        assert "${{" not in step["run"], "an input within a script would be read by the shell"
        outputs = self.temp / "outputs"
        outputs.write_text("")
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_API_URL": self.github.url, "GITHUB_REPOSITORY": "acme/support", "RUNNER_TEMP": str(self.temp),
            **{name: filled(value, context) for name, value in step["env"].items()},
        }  # fmt: skip
        # as the runner calls bash
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = subprocess.run(
            command, cwd=self.checkout, env=env, capture_output=True, text=True, check=False
        )
        pairs = (line.partition("=") for line in outputs.read_text().splitlines())
        return done, {name: value for name, _, value in pairs}


@pytest.fixture
def runner(project: Path, github: GitHub) -> Runner:
    (project / "temp").mkdir()
    return Runner(lay(project / "checkout"), project / "temp", github)


def test_a_worse_baseline_is_held_with_one_comment_that_is_changed_after_that(
    runner: Runner, github: GitHub
) -> None:
    file = runner.checkout / "ratchet.yaml"
    file.write_text("baseline: next\n" + PROJECT)
    done = runner(task="sums")
    assert (done.code, done.outputs["outcome"], done.outputs["exit-code"]) == (1, "hold", "1"), done.log
    (comment,) = github.comments
    assert comment["body"].startswith(
        "<!-- ratchet:sums -->\n\n### Ratchet: `sums`\n\n> [!CAUTION]\n> **Hold**: head"
    )
    assert done.summary == comment["body"]
    assert "::error title=Ratchet::Hold: head should not replace base" in done.log
    written = {path.name for path in Path(done.outputs["report"]).iterdir()}
    assert written >= {"verdict.json", "verdict.md", "verdict.html", "verdict.junit.xml", "evidence.json.gz"}

    file.write_text(PROJECT)
    (runner.checkout / "prompts/ask.txt").write_text("Please add: {input}\n")
    done = runner(task="sums")
    assert (done.code, done.outputs["outcome"]) == (0, "ship"), done.log
    (comment,) = github.comments
    assert "**Ship**: head may replace base" in comment["body"]
    assert [method for method, _ in github.calls] == ["GET", "POST", "GET", "PATCH"]


def test_a_pull_request_that_changes_nothing_that_ships_passes_without_a_comment(
    runner: Runner, github: GitHub
) -> None:
    done = runner(task="sums")
    assert (done.code, done.outputs["outcome"]) == (0, "same"), done.log
    assert github.comments == []
    assert "Nothing that ships has changed" in done.summary


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "code"), [("fail", 3), ("pass", 0)])
def test_the_policy_says_what_inconclusive_exits_with(runner: Runner, policy: str, code: int) -> None:
    (runner.checkout / "prompts/ask.txt").write_text("Please add: {input}\n")
    rows = runner.checkout / "rows.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:20]))
    done = runner(**{"inconclusive": policy, "extra-args": "--force --name 'two words'", "comment": "false"})
    assert "sums (two words)" in done.log
    assert (done.code, done.outputs["outcome"]) == (code, "inconclusive"), done.log
    assert runner.github.calls == []


def test_wrong_use_is_told_in_the_comment_and_exits_with_two(runner: Runner, github: GitHub) -> None:
    done = runner(task="smus")
    assert (done.code, done.outputs["outcome"]) == (2, "failed")
    assert "Did you mean 'sums'?" in github.comments[0]["body"]
    assert "::error title=Ratchet::UnknownNameError: no task named 'smus'" in done.log


def test_an_open_quote_in_the_options_is_wrong_use(runner: Runner) -> None:
    done = runner(**{"extra-args": "--name 'two"})
    assert done.code == 2
    assert "::error title=Ratchet::extra-args can't be read: No closing quotation" in done.log


@pytest.mark.slow
def test_a_head_that_is_named_gets_a_working_tree_of_its_own(runner: Runner) -> None:
    base = git(runner.checkout, "rev-parse", "HEAD")
    (runner.checkout / "ratchet.yaml").write_text("baseline: next\n" + PROJECT)
    git(runner.checkout, "add", "-f", "rows.jsonl", "ratchet.yaml")
    git(runner.checkout, "commit", "-qm", "worse")
    head = git(runner.checkout, "rev-parse", "HEAD")
    git(runner.checkout, "reset", "-q", "--hard", base)
    done = runner(base=base, head=head, comment="false")
    assert done.outputs["outcome"] == "hold", done.log


def test_a_base_that_a_shallow_checkout_lacks_is_fetched(runner: Runner) -> None:
    origin = runner.checkout
    base = git(origin, "rev-parse", "HEAD")
    git(origin, "branch", "release")
    git(origin, "add", "-f", "rows.jsonl")
    git(origin, "commit", "-qm", "more")
    git(origin.parent, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    runner.checkout = origin.parent / "shallow"
    for named in (base, "release"):
        done = runner(base=named)
        assert (done.code, done.outputs["outcome"]) == (0, "same"), done.log
    assert "no revision 'elsewhere' here or at origin" in runner(base="elsewhere").log


def test_an_input_is_never_a_command(runner: Runner) -> None:
    for name in ("task", "variant", "config-file", "base", "head"):
        done = runner(**{name: '$(touch pwned); `touch pwned`" ; touch pwned #'})
        assert done.code == 2, (name, done.log)
    assert list(runner.checkout.parent.rglob("pwned")) == []


def comment_alone(runner: Runner, tmp: Path) -> subprocess.CompletedProcess[str]:
    (tmp / "comment.md").write_text("<!-- ratchet:sums -->\n\nnew\n")
    env = {
        "PATH": os.environ["PATH"], "GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": runner.github.url, "NUMBER": "7",
        "GITHUB_REPOSITORY": "acme/support", "REPORT": str(tmp), "OUTCOME": "ship", "COMMENT_AUTHOR": "github-actions[bot]",
    }  # fmt: skip
    script = str(ROOT / ".github/actions/comment.py")
    return subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)


def test_our_comment_is_found_behind_a_hundred_others(runner: Runner, github: GitHub) -> None:
    for i in range(130):
        github.add("someone", f"comment {i}")
    github.add("github-actions[bot]", "<!-- ratchet:sums -->\n\nold\n")
    assert comment_alone(runner, runner.temp).returncode == 0
    assert len(github.comments) == 131
    assert github.comments[-1]["body"].endswith("new\n")


def test_a_comment_that_another_person_or_task_wrote_is_left_alone(runner: Runner, github: GitHub) -> None:
    github.add("mallory", "<!-- ratchet:sums -->\n\nforged\n")
    github.add("github-actions[bot]", "<!-- ratchet:sums-long -->\n\nanother task\n")
    github.add("github-actions[bot]", "quoting\n<!-- ratchet:sums -->\n")
    assert comment_alone(runner, runner.temp).returncode == 0
    assert len(github.comments) == 4
    assert [c["body"].splitlines()[-1] for c in github.comments[:2]] == ["forged", "another task"]


def test_a_token_that_may_only_read_is_a_warning(runner: Runner, github: GitHub) -> None:
    github.readable_only = True
    done = comment_alone(runner, runner.temp)
    assert done.returncode == 0
    assert "::warning title=Ratchet::the comment could not be written: GitHub answered 403" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


def test_an_api_that_is_gone_is_a_warning(runner: Runner, github: GitHub) -> None:
    github.url = "http://127.0.0.1:9"
    done = comment_alone(runner, runner.temp)
    assert done.returncode == 0
    assert "::warning title=Ratchet::the comment could not be written: URLError" in done.stdout


def test_a_page_of_a_task_with_odd_letters_has_one_mark_on_its_first_line(runner: Runner) -> None:
    done = runner(task="--> <b>\nx")
    assert re.match(r"<!-- ratchet:[-\w]+ -->\n\n", done.summary)
    assert "<b>" not in done.summary.splitlines()[0]
