"""Bearer tokens for Vertex from google-auth or gcloud, where none is given."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import time
from typing import Any

from ratchet.errors import MissingKeyError, ProviderError
from ratchet.providers.failures import clean

_GCLOUD_LIFE_S = 1800.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
VARIABLES = ("VERTEX_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN")


class GoogleTokens:
    """The token of the moment; a new one is fetched, in a thread, before the old one ends.

    Raises:
        MissingKeyError: There is no token, no google-auth and no gcloud.
    """

    def __init__(self) -> None:
        self._token = ""
        self._until = 0.0
        self._credentials: Any = None
        self._lock = asyncio.Lock()
        self._has_library = _has_google_auth()
        if not self._has_library and not shutil.which("gcloud"):
            raise MissingKeyError(
                f"Vertex needs an access token: set {' or '.join(VARIABLES)}, or install google-auth or gcloud",
                variables=VARIABLES,
            )

    async def token(self) -> str:
        """The bearer token.

        Raises:
            ProviderError: None could be had (kind "auth").
        """
        if time.monotonic() >= self._until:
            async with self._lock:
                if time.monotonic() >= self._until:
                    await asyncio.to_thread(self._refresh)
        return self._token

    def _refresh(self) -> None:
        if self._has_library:
            self._refresh_by_library()
            return
        command = ["gcloud", "auth", "print-access-token"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProviderError(f"{' '.join(command)} failed: {error}", kind="auth") from None
        if done.returncode or not done.stdout.strip():
            raise ProviderError(f"{' '.join(command)} failed: {clean(done.stderr)}", kind="auth")
        self._token = done.stdout.strip()
        self._until = time.monotonic() + _GCLOUD_LIFE_S

    def _refresh_by_library(self) -> None:
        import google.auth  # pyright: ignore[reportMissingImports]
        import google.auth.exceptions  # pyright: ignore[reportMissingImports]
        import google.auth.transport.requests  # pyright: ignore[reportMissingImports]

        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=[_SCOPE])
            self._credentials.refresh(google.auth.transport.requests.Request())
        except google.auth.exceptions.GoogleAuthError as error:
            raise ProviderError(f"google-auth gave no token: {clean(str(error))}", kind="auth") from None
        self._token = self._credentials.token
        expiry = self._credentials.expiry
        life_s = expiry.timestamp() - time.time() if expiry and expiry.tzinfo else _GCLOUD_LIFE_S
        self._until = time.monotonic() + max(60.0, min(life_s - 120, _GCLOUD_LIFE_S))


def _has_google_auth() -> bool:
    try:
        return (
            importlib.util.find_spec("google.auth") is not None
            and importlib.util.find_spec("requests") is not None
        )
    except ModuleNotFoundError:
        return False
