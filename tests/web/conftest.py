"""A store that was really written, the page on it, and a browser that notices what should not be."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import require

from . import hostile
from .samples import Sample, build

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request
    from starlette.testclient import TestClient

    from ratchet.web.settings import Settings

ORIGIN = "http://127.0.0.1"


@pytest.fixture(scope="session")
def page_template(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The project as it was run once; never change it."""
    return build(tmp_path_factory.mktemp("page") / "project")


@pytest.fixture
def page_store(page_template: Sample, tmp_path: Path) -> Sample:
    """A copy of the project of one's own."""
    root = tmp_path / "project"
    shutil.copytree(page_template.root, root)
    _moved(root / ".ratchet" / "ratchet.db", page_template.root, root)
    return replace(page_template, root=root, store=root / ".ratchet" / "ratchet.db")


def _moved(store: Path, old: Path, new: Path) -> None:
    """Let the runs of a copied store find their datasets in the copied folder."""
    with closing(sqlite3.connect(store)) as db, db:
        for table, column in (("runs", "record"), ("contents", "data")):
            db.execute(
                f"UPDATE {table} SET {column} = CAST(replace(CAST({column} AS TEXT), ?, ?) AS BLOB)",
                (f"{old}/", f"{new}/"),
            )


@pytest.fixture
def settings(page_store: Sample) -> Settings:
    from ratchet.web.settings import Settings

    return Settings(
        store=page_store.store,
        root=page_store.root,
        project_file=page_store.root / "ratchet.yaml",
        person="ann",
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The page without a network; `post` and the like carry the CSRF token of a first visit."""
    from starlette.testclient import TestClient

    from ratchet.web.app import create_app

    with TestClient(create_app(settings), base_url=ORIGIN) as found:
        found.headers["X-CSRF-Token"] = csrf_of(found)
        yield found


def csrf_of(client: TestClient) -> str:
    """The token that this client's pages carry; it keeps the cookie that belongs to it."""
    text = client.get("/person").text
    return text.split('<meta name="csrf" content="')[1].split('"')[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server of its own process."""

    url: str
    process: subprocess.Popen[str]


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def serving(root: Path, *args: str, **environment: str) -> Generator[Site]:
    """`ratchet view` in this folder with these further arguments, until the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "ratchet", "view", "--no-browser", "--port", str(port), *args],
        cwd=root,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process)
        yield Site(url=url, process=process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _wait_for(url: str, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if process.poll() is not None:
            assert process.stdout is not None
            raise AssertionError(f"the server ended by itself: {process.stdout.read()}")
        try:
            urllib.request.urlopen(f"{url}/person", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server did not answer within 30 s")


@pytest.fixture
def site(page_store: Sample) -> Iterator[str]:
    """The address of a real server on `page_store`."""
    with serving(page_store.root, "--as", "ann") as found:
        yield found.url


@pytest.fixture(scope="session")
def shared_site(page_template: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one real server for all tests that change nothing in the store."""
    root = tmp_path_factory.mktemp("shared") / "project"
    shutil.copytree(page_template.root, root)
    _moved(root / ".ratchet" / "ratchet.db", page_template.root, root)
    with serving(root, "--as", "ann") as found:
        yield found.url


@dataclass
class Watch:
    """What a browser asked for and complained about."""

    requests: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])
    expected: list[str] = field(default_factory=list[str])
    """Parts of complaints that a test provokes on purpose."""

    def on(self, page: Page) -> None:
        page.on("request", self._request)
        page.on("requestfailed", self._failed)
        page.on("console", self._console)
        page.on("pageerror", self._error)

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _failed(self, request: Request) -> None:
        if "csp" in (request.failure or "").lower():  # it never left
            self.requests.remove(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _error(self, error: Error) -> None:
        self.complaints.append(str(error))

    def check(self) -> None:
        """The console stayed empty, and no request left for another host."""
        unexpected = [c for c in self.complaints if not any(part in c for part in self.expected)]
        assert unexpected == []
        foreign = [u for u in self.requests if not u.startswith(("http://127.0.0.1:", "data:", "blob:"))]
        assert foreign == []


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, one for all tests of this process."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    require("Chromium (apt-get install chromium)", path is not None)  # pyright: ignore[reportCallIssue]
    require("playwright (pip install playwright)", find_spec("playwright") is not None)  # pyright: ignore[reportCallIssue]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def watch() -> Watch:
    """What the browser of this test complained about; name in `expected` what a test provokes."""
    return Watch()


OpenPage = Callable[..., "Page"]


@pytest.fixture
def open_page(chromium: Browser, watch: Watch) -> Iterator[OpenPage]:
    """A function that opens a page of its own browser context: `open_page(width=360, theme="dark")`.

    At the end of the test the console must have stayed empty and no request may have left for another host.
    """
    opened: list[BrowserContext] = []

    def open_one(*, width: int = 1440, height: int = 900, theme: str = "light", **options: Any) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            **options,
        )
        opened.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        watch.on(page)
        return page

    yield open_one
    for context in opened:
        context.close()
    watch.check()


@pytest.fixture
def theme() -> str:
    """Override by `@pytest.mark.parametrize("theme", ["light", "dark"])`."""
    return "light"


@pytest.fixture
def browser_page(open_page: OpenPage, theme: str) -> Page:
    """A page of a real Chromium, 1440x900."""
    return open_page(theme=theme)


@pytest.fixture(scope="session")
def hostile_project(tmp_path_factory: pytest.TempPathFactory) -> hostile.Hostile:
    """A project whose every text is hostile; look at it, change nothing."""
    return hostile.build(tmp_path_factory.mktemp("hostile") / "project")


@pytest.fixture(scope="session")
def hostile_site(hostile_project: hostile.Hostile) -> Iterator[str]:
    """The address of a real server on `hostile_project`."""
    with serving(hostile_project.root, "--as", "ann") as found:
        yield found.url
