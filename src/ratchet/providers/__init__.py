"""Models and functions behind one port: one file a wire format, none of them imported before it is used."""

from __future__ import annotations

import importlib.metadata
import ipaddress
import os
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ratchet import plugins
from ratchet.errors import ConfigError, MissingKeyError, UnknownNameError
from ratchet.ports import Endpoint, Provider, Secret
from ratchet.providers.presets import PRESETS, Preset
from ratchet.records import Json, Variant

if TYPE_CHECKING:
    from ratchet.providers.http import Http

_PLUGIN = re.compile(r"(?P<target>[^/:\s]*(?:[^:\s]*\.py)?:[A-Za-z_][\w.]*)/(?P<name>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingKey:
    """A variant that has no key."""

    variant: str
    provider: str
    variables: tuple[str, ...]
    """Any one of these would do."""


def split_model(model: str) -> tuple[str, str]:
    """(provider, the vendor's name) of "provider/model" or "provider:model".

    "pkg.module:Class/model" and "path/file.py:Class/model" give the plugin's target as the provider.

    Raises:
        ConfigError: No provider stands in it.
        UnknownNameError: The provider is not known.
    """
    known = plugins.PROVIDERS
    slash, colon = model.find("/"), model.find(":")
    if colon > 0 and (slash < 0 or colon < slash) and model[:colon] in known:
        provider, name = model[:colon], model[colon + 1 :]
    elif found := _PLUGIN.fullmatch(model):
        return found["target"], found["name"]
    elif slash > 0:
        provider, name = model[:slash], model[slash + 1 :]
    else:
        raise ConfigError(
            f"model {model!r} doesn't say whose it is: write 'provider/model', as in 'openai/gpt-4o'. "
            f"Providers: {', '.join(sorted(known))}"
        )
    if provider not in known and not importlib.metadata.entry_points(
        group="ratchet.providers", name=provider
    ):
        hint = (
            "Your own: 'pkg.module:Class/model-name'. Any OpenAI-compatible server: 'openai/…' with base_url"
        )
        raise UnknownNameError("provider", provider, sorted(known), hint=hint)
    if not name and provider != "recorded":
        raise ConfigError(f"model {model!r} names no model after its provider")
    return provider, name


def endpoint_for(variant: Variant, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Where and as whom this variant is called. Pure: it opens nothing.

    Args:
        environ: Where keys, base URLs and options are looked up; `os.environ` by default.

    Raises:
        ConfigError, UnknownNameError: As in `split_model`; or neither model nor target is given.
    """
    environ = os.environ if environ is None else environ
    if variant.target is not None:
        options = {**variant.options, "target": variant.target}
        return Endpoint(provider="function", options=options, limits=variant.limits)
    if variant.model is None:
        raise ConfigError("a variant needs a model ('openai/gpt-4o') or a target ('pkg.module:function')")
    provider, _ = split_model(variant.model)
    preset = PRESETS.get(provider, Preset(needs_key=False))
    options: dict[str, Json] = dict(variant.options)
    for option, variables in preset.option_env.items():
        if option not in options and (found := _first(environ, variables)):
            options[option] = found[1]
    key = _first(environ, (variant.api_key_env,) if variant.api_key_env else preset.key_env)
    if key and key[0].endswith(("_AUTH_TOKEN", "_AD_TOKEN")):
        options.setdefault("auth", "bearer")
    return Endpoint(
        provider=provider,
        base_url=_base_url(provider, preset, variant.base_url, environ),
        api_key=Secret(key[1]) if key else None,
        options=options,
        limits=variant.limits,
    )


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    for name in names:
        # a key read from a file often ends in a line end, which no header may hold
        if value := environ.get(name, "").strip():
            return name, value
    return None


def _base_url(provider: str, preset: Preset, given: str | None, environ: Mapping[str, str]) -> str | None:
    name = re.sub(r"[^A-Z0-9]", "_", provider.upper())
    found = _first(environ, (f"{name}_BASE_URL", *preset.url_env))
    url = (given or (found[1] if found else None) or preset.base_url or "").rstrip("/")
    if not url:
        return None
    if "://" not in url:  # OLLAMA_HOST is often "127.0.0.1:11434"
        url = f"http://{url}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url {url!r} of provider {provider!r} is not an http(s) URL")
    if preset.path and parts.path in ("", "/"):
        url += preset.path
    return url


def is_local(base_url: str | None) -> bool:
    """Whether this URL points at this machine, where no key is needed."""
    host = urllib.parse.urlsplit(base_url or "").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def missing_keys(
    variants: Mapping[str, Variant], environ: Mapping[str, str] | None = None
) -> list[MissingKey]:
    """The variants, by name, whose key is in no environment variable; those at a local base URL need none."""
    missing: list[MissingKey] = []
    for name, variant in variants.items():
        endpoint = endpoint_for(variant, environ)
        preset = PRESETS.get(endpoint.provider, Preset(needs_key=False))
        wanted = preset.needs_key or variant.api_key_env is not None
        if wanted and endpoint.api_key is None and not is_local(endpoint.base_url):
            variables = (variant.api_key_env,) if variant.api_key_env else preset.key_env
            missing.append(MissingKey(variant=name, provider=endpoint.provider, variables=variables))
    return missing


def check_keys(variants: Mapping[str, Variant], environ: Mapping[str, str] | None = None) -> None:
    """Raise one `MissingKeyError` that names every variant without a key."""
    missing = missing_keys(variants, environ)
    if not missing:
        return
    lines = [f"  {m.variant} ({m.provider}): set {' or '.join(m.variables)}" for m in missing]
    count = f"{len(missing)} API key{'s are' if len(missing) > 1 else ' is'} not set"
    variables = dict.fromkeys(variable for m in missing for variable in m.variables)
    raise MissingKeyError("\n".join([f"{count}:", *lines]), variables=variables)


def make(
    endpoint: Endpoint,
    http: Http | None = None,
    *,
    function: Callable[..., Any] | None = None,
    root: Path | None = None,
) -> Provider:
    """The provider behind this endpoint.

    Args:
        http: The run's session; `function` and `recorded` do without.
        function: The callable of a variant with a target; by default it is imported from `options["target"]`.
        root: Folder that files named in the options are looked up from; the working directory by default.
    """
    if endpoint.provider == "function":
        from ratchet.providers.function import Function

        return Function(endpoint=endpoint, http=http, function=function)
    factory = plugins.provider(endpoint.provider)
    return plugins.build(factory, endpoint=endpoint, http=http, root=root or Path.cwd())
