"""What one served page needs to know; made by the command line, the same in every worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULT_PORT = 8190


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the data is, who may see it, and under which names the page answers."""

    store: Path
    """The store's file; it need not be there yet."""
    root: Path = field(default_factory=Path.cwd)
    """The project's folder: no file outside of it and of the store's folder is ever read for a page."""
    project_file: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    """Further names, without port, that a browser may call this server by."""
    person: str = ""
    """Who sits at this machine, where no token says it."""
    most_body_bytes: int = 32 * 1024 * 1024
    env_file: Path | None = None
    """Keys for the playground are read from here, or from `.env` in the project's folder."""

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK

    @property
    def token_required(self) -> bool:
        """Whether people must show a token: always where others than this machine can reach the server."""
        return not self.is_loopback or bool(self.allowed_hosts)
