"""The older tool's clients become our variants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ratchet import plugins
from ratchet.errors import did_you_mean
from ratchet.llm_validator.configs import Client, OlderConfig, Place
from ratchet.records import Json, Limits, Prompt, Variant

CLIENTS = ("openai", "anthropic", "bedrock", "together", "vertex", "anyscale", "local")
"""The names the older tool has; those of Ratchet's own providers are read too."""

_PROVIDERS = {"local": "ollama", "vertexai": "vertex", "vertex_ai": "vertex", "togetherai": "together"}
# other wires' words for what every provider of ours takes as `max_tokens` and `stop`
_PARAMS = {
    "max_tokens_to_sample": "max_tokens", "maxTokens": "max_tokens", "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens", "max_gen_len": "max_tokens",
    "topP": "top_p", "topK": "top_k", "stop_sequences": "stop", "stopSequences": "stop",
}  # fmt: skip
_NESTED = ("inferenceConfig", "generationConfig", "generation_config", "inference_config")


def variant(
    client: Client,
    config: OlderConfig,
    *place: str | int,
    environ: Mapping[str, str],
    prompt: Prompt | None,
    stream: bool = False,
) -> tuple[Variant, tuple[str, ...]]:
    """The variant that this client and prompt make, and notes on it.

    The base URL is the environment's (`OPENAI_BASE_URL`, …), so that a file can be tried against another server
    as it is; else the file's; else the vendor's.

    Raises:
        ConfigError: There is no such client, or an option doesn't fit.
    """
    provider = _provider(client, config, place)
    base_url, notes = _base_url(client, provider, environ)
    params, changes = _params(client.model_options, config, place)
    made = Variant(
        model=f"{provider}/{client.model_name}",
        params=params,
        prompt=prompt,
        stream=changes.pop("stream", stream),
        base_url=base_url,
        **changes,
    )
    return made, notes


def _provider(client: Client, config: OlderConfig, place: Place) -> str:
    name = client.name.strip().lower()
    provider = _PROVIDERS.get(name, name)
    if provider in plugins.PROVIDERS:
        return provider
    if client.type.strip().lower() == "local":
        return "ollama"
    known = [*CLIENTS, *(p for p in plugins.PROVIDERS if p not in CLIENTS)]
    near = did_you_mean(name, known)
    raise config.error(f"there is no client {client.name!r}. Known: {', '.join(known)}.{near}", *place)


def _base_url(
    client: Client, provider: str, environ: Mapping[str, str]
) -> tuple[str | None, tuple[str, ...]]:
    names = [f"{re.sub(r'[^A-Z0-9]', '_', provider.upper())}_BASE_URL"]
    if provider == "ollama":
        names.insert(0, "LOCAL_BASE_URL")
    for name in names:
        url = environ.get(name, "").strip()
        if not url:
            continue
        if provider == "ollama":  # posts to a full URL: a variable with only a host keeps the file's path
            url = _with_path_of(url, client.base_url)
        elif client.base_url is None:
            return None, ()  # the provider looks there itself
        note = f"{name} is set: {client.name} is called at {url}"
        return url, (f"{note}, not at {client.base_url}" if client.base_url else note,)
    return client.base_url, ()


def _with_path_of(url: str, other: str | None) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.path.strip("/") or not other:
        return url
    return urlunsplit(parts._replace(path=urlsplit(other if "://" in other else f"http://{other}").path))


def _params(
    options: Mapping[str, Json], config: OlderConfig, place: Place
) -> tuple[dict[str, Json], dict[str, Any]]:
    """Parameters under the names that every wire of ours translates, and the fields that have a place of their own."""
    flat: dict[str, Json] = {}
    for key, value in options.items():
        if key in _NESTED and isinstance(value, Mapping):
            flat.update({str(k): v for k, v in value.items()})
        else:
            flat[key] = value
    changes: dict[str, Any] = {}
    if isinstance(flat.get("tools"), list) and all(isinstance(tool, Mapping) for tool in flat["tools"]):
        changes["tools"] = tuple(flat.pop("tools"))
    if isinstance(flat.get("response_format"), Mapping):
        changes["response_format"] = flat.pop("response_format")
    if isinstance(flat.get("stream"), bool):
        changes["stream"] = flat.pop("stream")
    timeout_s = flat.pop("timeout", None)
    if timeout_s is not None:
        if isinstance(timeout_s, bool) or not isinstance(timeout_s, (int, float)) or timeout_s <= 0:
            raise config.error(
                f"timeout is {timeout_s!r}, expected seconds above 0", *place[:1], "model_options", "timeout"
            )
        changes["limits"] = Limits(total_s=float(timeout_s))
    params: dict[str, Json] = {}
    for key, value in flat.items():
        name = _PARAMS.get(key, key)
        if name not in flat or name == key:  # the common name counts where both stand
            params[name] = value
    return params, changes
