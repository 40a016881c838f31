"""An arm of a load test made ready to be called: where it listens, how its requests are written and answers read."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson

from ratchet import providers, variants
from ratchet.errors import ConfigError
from ratchet.ports import Endpoint, Provider, Request
from ratchet.providers.http import Http, json_bytes
from ratchet.providers.wires import Wire
from ratchet.records import Limits, Variant

_IN_PROCESS = (
    "model",
    "messages",
    "params",
    "tools",
    "response_format",
    "stream",
    "input",
    "example_id",
    "repeat",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One arm. `wire` is None where the bare client can't carry it: functions, simulated models, Bedrock, plugins."""

    name: str
    variant: Variant
    model: str
    """The vendor's own name."""
    endpoint: Endpoint = field(repr=False)
    provider: Provider = field(repr=False)
    wire: Wire | None = field(repr=False)
    http: Http = field(repr=False)
    """For a provider that is no wire."""

    @property
    def limits(self) -> Limits:
        return self.variant.limits

    @property
    def template(self) -> Request:
        """What all requests of this arm have in common, enough to know its URL and how to read its answers."""
        return Request(
            model=self.model,
            stream=self.variant.stream,
            response_format=self.variant.response_format,
            connect_s=self.variant.limits.connect_s,
        )

    def body(self, request: Request) -> bytes:
        """The bytes of a `Shot` that makes this request; make it with `calls.request_of`."""
        if self.wire is not None:
            return self.wire.body(request)
        return json_bytes({name: getattr(request, name) for name in _IN_PROCESS})

    def request(self, body: bytes) -> Request:
        """The request in the body of a shot at a provider that is no wire."""
        data = cast("dict[str, Any]", orjson.loads(body))
        return Request(connect_s=self.variant.limits.connect_s, **data)


def aim(
    name: str, variant: Variant, *, environ: Mapping[str, str] | None = None, root: Path | None = None
) -> Target:
    """The arm, ready; it opens no connection.

    Raises:
        ConfigError, UnknownNameError, MissingKeyError, MissingExtraError: The variant can't be called.
    """
    variant = variants.resolve(variant, root=root)
    endpoint = providers.endpoint_for(variant, environ)
    if endpoint.provider == "recorded":
        raise ConfigError(
            f"arm {name!r} replays recorded answers, and a load test measures a server: name a model or a function"
        )
    _, model = providers.split_model(variant.model) if variant.model else ("", variant.target or "")
    http = Http()
    provider = providers.make(endpoint, http, function=variant.function, root=root)
    return Target(
        name=name,
        variant=variant,
        model=model,
        endpoint=endpoint,
        provider=provider,
        wire=provider if isinstance(provider, Wire) and not _proxied(provider, model) else None,
        http=http,
    )


def aim_all(
    arms: Mapping[str, Variant], *, environ: Mapping[str, str] | None = None, root: Path | None = None
) -> list[Target]:
    """The arms in their order, each with its key.

    Raises:
        MissingKeyError: Names every arm without a key.
    """
    providers.check_keys({name: arm for name, arm in arms.items() if arm.model is not None}, environ)
    return [aim(name, variant, environ=environ, root=root) for name, variant in arms.items()]


def notes(targets: Sequence[Target]) -> tuple[str, ...]:
    """What a reader should know of how these arms are called."""
    said: list[str] = []
    for target in targets:
        if target.wire is None:
            said.append(
                f"arm {target.name!r} ({target.endpoint.provider}) is called through its provider, not by the bare client: "
                "its times include our own work on each chunk, and it shares a core with the generator"
            )
    return tuple(said)


def _proxied(provider: Wire, model: str) -> bool:
    """Whether the environment sends calls to this host through a proxy, which the bare client doesn't speak to."""
    url = provider.url(Request(model=model))
    found = urllib.request.getproxies()
    proxy = found.get(url.scheme) or found.get("all")
    return bool(proxy) and not urllib.request.proxy_bypass(url.host_port_subcomponent or "")
