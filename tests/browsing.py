"""What the browser tests share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route


def until(page: Page, expression: str, argument: Any = None, *, timeout_s: float = 15.0) -> Any:
    """What this JavaScript gives once it gives something true.

    Playwright's `wait_for_function` evaluates its text within the page, which the page's security policy forbids.
    """
    end = time.monotonic() + timeout_s
    while not (found := page.evaluate(expression, argument)):
        assert time.monotonic() < end, f"never came true: {expression}"
        page.wait_for_timeout(20)
    return found


class Cut:
    """Requests that reach nobody while `on`.

    Made before the page is opened: an interception that begins later may miss the very next request.
    """

    def __init__(self, page: Page, pattern: str) -> None:
        self.on = False
        page.route(pattern, self._route)

    def _route(self, route: Route) -> None:
        if self.on:
            route.abort("connectionrefused")
        else:
            route.continue_()
