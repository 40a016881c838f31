"""Which addresses may be clicked, and whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_CHARS = 2_000
"""Longer addresses are shown and can't be clicked: nobody reads where they lead."""

# no user part, no backslash, no hidden character: what a browser and a reader could take for different hosts
_WEB = re.compile(
    r"(https?)://([^\s/?#@\\:\[\]<>\"'`%]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?([/?#][\x21-\x7e]*)?", re.I
)
_MAIL = re.compile(r"mailto:([A-Za-z0-9._+-]+@[A-Za-z0-9.-]+)", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An address that may be clicked."""

    href: str
    host: str
    """Whose it is, in ASCII: a name in other letters stands as punycode."""


def link_to(address: str) -> Link | None:
    """Where this address leads, or None where it isn't plain http, https or mailto to one clear host.

    >>> link_to("https://xn--80ak6aa92e.com/a").host
    'xn--80ak6aa92e.com'
    >>> link_to("javascript:alert(1)") is None
    True
    """
    if len(address) > MOST_CHARS:
        return None
    if mail := _MAIL.fullmatch(address):
        return Link(href=f"mailto:{mail[1]}", host=mail[1])
    found = _WEB.fullmatch(address)
    host = ascii_host(found[2]) if found else None
    if found is None or host is None:
        return None
    port, rest = found[3] or "", found[4] or ""
    return Link(href=f"{found[1].lower()}://{host}{port}{rest}", host=host + port)


def ascii_host(host: str) -> str | None:
    """The host in ASCII, letters of other scripts as punycode; None where no host can be called so.

    >>> ascii_host("аррӏе.com")
    'xn--80ak6aa92e.com'
    """
    try:
        plain = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        return None
    return plain.lower() if re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]", plain) else None
