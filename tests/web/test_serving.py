"""`ratchet view` as a person runs it: ports, workers, tokens, the end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import replace
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from ratchet.errors import PlanError
from ratchet.web import serving
from ratchet.web.settings import Settings

from .conftest import serving as running
from .samples import Sample

pytestmark = pytest.mark.slow


def ratchet(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ratchet", *args], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_the_address_is_printed_and_ctrl_c_ends_it_quietly(page_store: Sample) -> None:
    with running(page_store.root) as site:
        assert urllib.request.urlopen(site.url).status == 200
        site.process.send_signal(signal.SIGINT)
        assert site.process.wait(10) == 0
        assert site.process.stdout is not None
        said = site.process.stdout.read()
    assert said.splitlines() == [f"{site.url}  (Ctrl-C ends it)"]


def test_what_is_under_way_is_answered_before_the_end(page_store: Sample) -> None:
    with (
        running(page_store.root) as site,
        closing(socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])))) as wire,
    ):
        wire.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert wire.recv(12) == b"HTTP/1.1 200"
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(10) in (0, -signal.SIGTERM)


def test_any_number_of_workers_know_each_other_s_pages(page_store: Sample) -> None:
    """A token from one worker's page is good at whichever worker the form reaches."""
    with running(page_store.root, "--workers", "2", "--as", "ann") as site:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        text = opener.open(f"{site.url}/person").read().decode()
        csrf = re.search(r'name="csrf" content="([0-9a-f]+)"', text)
        assert csrf is not None
        for n in range(6):
            with opener.open(f"{site.url}/person", data=f"csrf={csrf[1]}&name=bob{n}".encode()) as answer:
                assert answer.status == 200
            assert f"bob{n}" in opener.open(f"{site.url}/person").read().decode()


def test_a_taken_port_is_named_and_the_default_moves_on() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlanError, match=f"port {port} is taken"):
            serving.listen("127.0.0.1", port)
    with serving.listen("127.0.0.1", None) as first, serving.listen("127.0.0.1", None) as second:
        assert first.getsockname()[1] < second.getsockname()[1]


def test_a_host_that_is_not_this_machine_s_is_a_message() -> None:
    with pytest.raises(PlanError, match=r"can't listen at 203\.0\.113\.1"):
        serving.listen("203.0.113.1", 0)


def test_settings_reach_a_worker_as_they_were(settings: Settings) -> None:
    full = replace(settings, allowed_hosts=("a", "b"), env_file=Path("/x/.env"), port=7)
    assert serving.loads(serving.dumps(full)) == full
    assert serving.loads(serving.dumps(Settings(store=Path("s")))) == Settings(store=Path("s"))


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", "127.0.0.1")]
)
def test_the_address_can_be_typed_into_a_browser(settings: Settings, host: str, shown: str) -> None:
    assert serving.address(replace(settings, host=host, port=8190)) == f"http://{shown}:8190"


def test_others_are_served_only_once_somebody_has_a_token(page_store: Sample) -> None:
    refused = ratchet(page_store.root, "view", "--no-browser", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "--add-token" in refused.stderr
    made = ratchet(page_store.root, "view", "--add-token", "ann", "--role", "label")
    assert made.returncode == 0
    token = made.stdout.strip()
    assert re.fullmatch(r"rtk_[0-9a-f]{8}_[\w-]{43}", token)
    listed = ratchet(page_store.root, "view", "--tokens")
    assert listed.stdout.startswith("ann  label  since ")
    assert token not in listed.stdout + listed.stderr + made.stderr
    with running(page_store.root, "--host", "0.0.0.0") as site:
        answer = urllib.request.urlopen(site.url)
        assert answer.url.endswith("/login?next=%2F")
    ended = ratchet(page_store.root, "view", "--revoke-token", "ann")
    assert ended.returncode == 0
    assert "revoked" in ratchet(page_store.root, "view", "--tokens").stdout


def test_a_folder_without_a_store_is_served_with_what_to_type(tmp_path: Path) -> None:
    with running(tmp_path) as site, pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(site.url)
    text = refused.value.read().decode()
    assert refused.value.code == 404
    assert "ratchet demo" in text
    assert not (tmp_path / ".ratchet").exists()


def test_a_store_of_another_kind_is_refused_in_words(tmp_path: Path) -> None:
    done = ratchet(tmp_path, "view", "--store", "postgresql://user:hidden@host/db")
    assert done.returncode == 2
    assert "the page shows SQLite stores" in done.stderr
    assert "hidden" not in done.stderr


def test_the_server_loads_no_statistics(page_store: Sample) -> None:
    """Each worker must stay small: what a page shows was computed before."""
    program = f"""
import sys
from pathlib import Path
from starlette.testclient import TestClient
from ratchet.web.app import create_app
from ratchet.web.settings import Settings
with TestClient(create_app(Settings(store=Path({str(page_store.store)!r}))), base_url="http://127.0.0.1") as client:
    for path in ("/", "/runs", "/compare", "/traces", "/datasets", "/label", "/judge"):
        client.get(path)
print([name for name in ("scipy", "scipy.stats", "pandas", "aiohttp", "pydantic", "jsonschema") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
