"""Times as a page shows them: how long ago, with the exact moment at hand."""

from __future__ import annotations

import time

from markupsafe import Markup

_STEPS = ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (86_400.0, 3600.0, "h"), (7 * 86_400.0, 86_400.0, "d"))


def ago(at: float | None, *, now: float | None = None) -> Markup:
    """`<time>` that says "5 min ago", or the day where it is more than a week; "-" for None.

    Args:
        at: Unix time, seconds.
    """
    if at is None:
        return Markup("-")
    passed = max(0.0, (time.time() if now is None else now) - at)
    moment = time.gmtime(at)
    text = time.strftime("%Y-%m-%d", moment)
    for below, unit, name in _STEPS:
        if passed < below:
            text = f"{int(passed / unit)} {name} ago"
            break
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", moment), time.strftime("%Y-%m-%d %H:%M:%S UTC", moment), text
    )
