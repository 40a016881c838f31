"""Who may see the page: tokens hashed in the store, signed sessions, and names for people at this machine.

A token is shown once and kept as its scrypt hash (RFC 7914, N=2^14, r=8, p=1). A session is a cookie signed with the
store's own secret, so any number of workers know it, and a token that is revoked ends its sessions at once.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote

from ratchet.errors import PlanError, StoreError
from ratchet.ports import AccessRole, AccessToken

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.web.opening import Stores

Role: TypeAlias = AccessRole
ROLES: tuple[Role, ...] = ("view", "label", "admin")
SESSION_S = 7 * 24 * 3600
_PREFIX = "rtk"
_MOST_NAME = 60
_ONE_AT_A_TIME = threading.Lock()
"""Hashing takes 16 MiB: a flood of wrong tokens must not take it many times over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who looks at the page."""

    name: str
    role: Role
    is_local: bool = False
    """Sits at the machine that serves the page; needed no token."""


def add_token(store: Store, name: str, role: Role) -> str:
    """A new token for this person: the only time that it can be seen.

    Raises:
        PlanError: The name can't be used, or has a token already.
    """
    name = checked_name(name)
    token_id, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    kept = AccessToken(hash=_hashed(token_id, secret), name=name, role=role, created_at=time.time())
    if not store.add_token(kept):
        raise PlanError(f"{name} has a token already.\n  End it first: ratchet view --revoke-token {name}")
    return f"{_PREFIX}_{token_id}_{secret}"


def revoke_token(store: Store, name: str) -> None:
    """End this person's token and every session made with it.

    Raises:
        PlanError: Nobody of this name has one.
    """
    if not store.revoke_token(name, at=time.time()):
        known = ", ".join(sorted(t.name for t in good_tokens(store))) or "nobody"
        raise PlanError(f"{name!r} has no token. Who has one: {known}")


def good_tokens(store: Store) -> list[AccessToken]:
    """Those that let somebody in."""
    return [token for token in store.tokens() if token.revoked_at is None]


def checked_name(name: str) -> str:
    """The name without white space around it.

    Raises:
        PlanError: It is empty, long, or holds characters that don't show.
    """
    name = name.strip()
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise PlanError(
            f"{name[:80]!r} can't be a name: 1 to {_MOST_NAME} characters, each of which can be seen"
        )
    return name


def _hashed(token_id: str, secret: str) -> str:
    salt = secrets.token_bytes(16)
    return f"{token_id}$scrypt$14$8$1${salt.hex()}${_scrypt(secret, salt).hex()}"


def _scrypt(secret: str, salt: bytes) -> bytes:
    with _ONE_AT_A_TIME:
        return hashlib.scrypt(secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


class Access:
    """Recognises people. One for each process; all it knows comes from the store."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._kept: bytes | None = None
        self._until_then = secrets.token_bytes(32)

    def secret(self) -> bytes:
        """What signatures are made with: the same in every worker once there is a store."""
        if self._kept is None:
            try:
                self._kept = bytes.fromhex(self._stores.get().keep_secret("page", secrets.token_hex(32)))
            except StoreError:
                return self._until_then  # the page that says so needs one too
        return self._kept

    def sign(self, purpose: str, text: str) -> str:
        """The signature of this text for this purpose, as hex digits."""
        return hmac.new(self.secret(), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()

    def is_signed(self, purpose: str, text: str, signature: str) -> bool:
        return hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode())

    def cookie_name(self, what: str) -> str:
        """A cookie's name that the pages of two stores on one machine don't share: cookies know no ports."""
        return f"ratchet_{what}_{self.sign('cookie', what)[:8]}"

    def check_token(self, text: str) -> AccessToken | None:
        """The token that this text is, where it is good; takes as long for a wrong one."""
        prefix, _, rest = text.strip().partition("_")
        token_id, _, secret = rest.partition("_")
        found = self._token(token_id) if prefix == _PREFIX else None
        salt, digest = ("00" * 16, "") if found is None else found.hash.split("$")[5:7]
        same = hmac.compare_digest(_scrypt(secret, bytes.fromhex(salt)).hex(), digest)
        return found if same else None

    def session(self, token: AccessToken) -> str:
        """The cookie of a session that this token opened."""
        text = f"{token.hash.partition('$')[0]}.{int(time.time()) + SESSION_S}"
        return f"{text}.{self.sign('session', text)}"

    def person_of_session(self, cookie: str) -> Person | None:
        """Who opened this session; None where it is forged, over, or its token was revoked."""
        text, _, signature = cookie.rpartition(".")
        token_id, _, until = text.partition(".")
        if not self.is_signed("session", text, signature):
            return None
        if not until.isdigit() or int(until) < time.time():
            return None
        found = self._token(token_id)
        return found and Person(name=found.name, role=found.role)

    def _token(self, token_id: str) -> AccessToken | None:
        return next(
            (t for t in good_tokens(self._stores.get()) if t.hash.partition("$")[0] == token_id), None
        )


def person_cookie(name: str) -> str:
    """A name as a cookie holds it."""
    return quote(name, safe="")


def name_in_cookie(value: str, otherwise: str) -> str:
    """The name that a cookie holds; `otherwise` where it holds none that can be one."""
    try:
        return checked_name(unquote(value, errors="strict"))
    except (PlanError, UnicodeDecodeError):
        return otherwise
