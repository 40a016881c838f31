"""Keeps one comment on a pull request: writes it the first time, changes it after that.

Reads GITHUB_TOKEN, GITHUB_API_URL, GITHUB_REPOSITORY, NUMBER, COMMENT_AUTHOR, REPORT and OUTCOME from the environment.
A comment that can't be written (a fork's token may only read) is a warning; the verdict stands without it.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PER_PAGE = 100
MOST_PAGES = 30
MOST_CHARS = 65_000
"""GitHub takes 65,536 characters."""


def main(environ: Mapping[str, str]) -> None:
    body = (Path(environ["REPORT"]) / "comment.md").read_text("utf-8")[:MOST_CHARS]
    mark = body.partition("\n")[0]
    try:
        found = find(environ, mark)
        if found is not None:
            call(environ, "PATCH", f"issues/comments/{found}", {"body": body})
        elif environ["OUTCOME"] != "same":  # a pull request about something else gets no comment
            call(environ, "POST", f"issues/{int(environ['NUMBER'])}/comments", {"body": body})
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        sys.stdout.write(f"::warning title=Ratchet::the comment could not be written: {why(error)}\n")


def find(environ: Mapping[str, str], mark: str) -> int | None:
    """The id of our comment with this mark: it begins with it, and we wrote it."""
    for page in range(1, MOST_PAGES + 1):
        comments = call(
            environ, "GET", f"issues/{int(environ['NUMBER'])}/comments?per_page={PER_PAGE}&page={page}"
        )
        for comment in comments:
            ours = (comment.get("user") or {}).get("login") == environ["COMMENT_AUTHOR"]
            if ours and (comment.get("body") or "").partition("\n")[0].rstrip() == mark:
                return int(comment["id"])
        if len(comments) < PER_PAGE:
            return None
    return None


def call(environ: Mapping[str, str], method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
    url = f"{environ.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{environ['GITHUB_REPOSITORY']}/{path}"
    request = urllib.request.Request(
        url, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json", "Authorization": f"Bearer {environ['GITHUB_TOKEN']}",
            "X-GitHub-Api-Version": "2022-11-28", "Content-Type": "application/json", "User-Agent": "ratchet",
        },
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def why(error: Exception) -> str:
    """The reason in one line, without what was sent."""
    if isinstance(error, urllib.error.HTTPError):
        rights = "; the token needs `pull-requests: write`" if error.code in (403, 404) else ""
        return f"GitHub answered {error.code}{rights}"
    return f"{type(error).__name__}: {getattr(error, 'reason', error)}".replace("\n", " ")


if __name__ == "__main__":
    main(os.environ)
